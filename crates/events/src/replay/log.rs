//! The file of a recording.
//!
//! ```text
//! magic "TINAMOURR" version | machine: length, text | shift | records
//! record: kind, stream, count, rounds, time, length, bytes, check sum
//! ```
//! Numbers are little-endian. Each record is written as it comes about and has a check sum of its own, so that what a
//! recorder that was killed has left can be replayed up to there, and a damaged file is told from a short one.

use super::Moment;

/// The first bytes of the file.
const MAGIC: [u8; 10] = *b"TINAMOURR\x01";
/// Longer texts and inputs are not written.
const LONGEST: u32 = 1 << 24;

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Input for a stream.
    Input = 1,
    /// What the host has answered while an instruction was executed.
    Value = 2,
    /// The user has asked for something.
    Request = 3,
    /// The end.
    End = 4,
}

/// One thing that the guest could not have known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Whom it concerns.
    pub stream: u32,
    /// Where in the execution.
    pub moment: Moment,
    /// The guest's clock, in nanoseconds.
    pub time: u64,
    /// The content.
    pub bytes: Vec<u8>,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What the machine was.
    pub machine: String,
    /// The shift of its clock.
    pub shift: u32,
    /// In the order of the execution.
    pub records: Vec<Record>,
}

/// FNV-1a.
fn check_sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The head of a file.
pub fn head(machine: &str, shift: u32) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend((machine.len() as u32).to_le_bytes());
    out.extend(machine.as_bytes());
    out.extend(shift.to_le_bytes());
    out
}

impl Record {
    /// As it stands in the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.kind as u8];
        out.extend(self.stream.to_le_bytes());
        for number in [self.moment.count, self.moment.rounds, self.time] {
            out.extend(number.to_le_bytes());
        }
        out.extend((self.bytes.len() as u32).to_le_bytes());
        out.extend(&self.bytes);
        out.extend(check_sum(&out).to_le_bytes());
        out
    }
}

/// Reads bytes from the front.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

impl Log {
    /// Reads a file. One that ends in the middle of a record ends before it.
    ///
    /// # Errors
    /// In words: it is no recording, of another version, or damaged.
    pub fn parse(bytes: &[u8]) -> Result<Log, String> {
        let mut from = Reader { bytes, at: 0 };
        if from.take(MAGIC.len()) != Some(&MAGIC[..]) {
            return Err("invalid input log file version".into());
        }
        let short = || "the file ends in its head".to_owned();
        let length = from.u32().ok_or_else(short)?;
        let text = from.take(length.min(LONGEST) as usize).ok_or_else(short)?;
        let machine =
            String::from_utf8(text.to_vec()).map_err(|_| "the file's head is damaged".to_owned())?;
        let shift = from.u32().ok_or_else(short)?;
        let mut records: Vec<Record> = Vec::new();
        while from.at < bytes.len() {
            let at = from.at;
            match record(&mut from) {
                Ok(Some(record)) => {
                    if records.last().is_some_and(|last| record.moment < last.moment) {
                        return Err(format!("the file is damaged at byte {at}: time runs backwards"));
                    }
                    records.push(record);
                }
                Ok(None) => break,
                Err(what) => return Err(format!("the file is damaged at byte {at}: {what}")),
            }
        }
        Ok(Log { machine, shift, records })
    }
}

/// The next record; `None` if the file ends in it.
fn record(from: &mut Reader<'_>) -> Result<Option<Record>, &'static str> {
    let begin = from.at;
    let mut body = || -> Option<Result<Record, &'static str>> {
        let kind = match from.take(1)?.first()? {
            1 => Kind::Input,
            2 => Kind::Value,
            3 => Kind::Request,
            4 => Kind::End,
            _ => return Some(Err("no such kind of record")),
        };
        let stream = from.u32()?;
        let moment = Moment { count: from.u64()?, rounds: from.u64()? };
        let time = from.u64()?;
        let length = from.u32()?;
        if length > LONGEST {
            return Some(Err("a record is too long"));
        }
        let bytes = from.take(length as usize)?.to_vec();
        let sum = check_sum(from.bytes.get(begin..from.at)?);
        if from.u32()? != sum {
            return Some(Err("the check sum differs"));
        }
        Some(Ok(Record { kind, stream, moment, time, bytes }))
    };
    body().transpose()
}

#[cfg(test)]
#[path = "log_test.rs"]
mod test;
