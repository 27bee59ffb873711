use super::*;

fn record(n: u64) -> Record {
    let kinds = [Kind::Input, Kind::Value, Kind::Request, Kind::End];
    Record {
        kind: kinds[n as usize % 4],
        stream: n as u32 * 7,
        moment: Moment { count: n * 1000, rounds: n },
        time: n * 8003,
        bytes: (0..n as u8 * 3).collect(),
    }
}

fn file(records: &[Record]) -> Vec<u8> {
    let mut bytes = head("virt of tests", 3);
    records.iter().for_each(|record| bytes.extend(record.to_bytes()));
    bytes
}

#[test]
fn what_is_written_is_read() {
    let records: Vec<_> = (0..20).map(record).collect();
    let log = Log::parse(&file(&records)).unwrap();
    assert_eq!(log, Log { machine: "virt of tests".into(), shift: 3, records });
}

#[test]
fn a_short_file_ends_early_and_a_damaged_one_is_refused() {
    let records: Vec<_> = (0..12).map(record).collect();
    let bytes = file(&records);
    let begin = head("virt of tests", 3).len();
    for end in 0..bytes.len() {
        match Log::parse(&bytes[..end]) {
            Ok(log) => assert!(end >= begin && records.starts_with(&log.records)),
            Err(_) => assert!(end < begin),
        }
    }
    // Any one bit that is another: refused, or the file seems to end there, but nothing false is read.
    for place in begin..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[place] ^= 1 << bit;
            if let Ok(log) = Log::parse(&other) {
                assert!(
                    log.records.len() < records.len() && records.starts_with(&log.records),
                    "{place}.{bit}"
                );
            }
        }
    }
}

#[test]
fn rubbish_is_refused() {
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    for length in 0..2000 {
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            })
            .collect();
        assert_eq!(Log::parse(&bytes).unwrap_err(), "invalid input log file version");
        let head = head("", 0);
        bytes.splice(0..0, head);
        let _ = Log::parse(&bytes);
    }
    assert!(Log::parse(&file(&[record(3), record(2)])).unwrap_err().contains("time runs backwards"));
}
