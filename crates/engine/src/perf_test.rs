use super::*;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn a_dump_is_a_header_and_records() {
    let path = std::env::temp_dir().join(format!("tinamou-{}-jit.dump", std::process::id()));
    let mut dump = Dump::create(path.to_str().unwrap()).unwrap();
    dump.add(0x1000, &[0x90, 0xc3], "first").unwrap();
    dump.add(0x2000, &[0xc3], "").unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!([0, 4, 8, 12, 20].map(|at| word(&bytes, at)), [MAGIC, 1, 40, 62, std::process::id()]);
    let first = &bytes[40..];
    let length = word(first, 4) as usize;
    assert_eq!((word(first, 0), length), (0, 56 + 6 + 2));
    assert_eq!([24, 32, 40, 48].map(|at| word(first, at)), [0x1000, 0x1000, 2, 0]);
    assert_eq!(&first[56..length], b"first\0\x90\xc3");
    let second = &first[length..];
    assert_eq!((word(second, 48), second.len()), (1, 56 + 1 + 1));
    assert!(second[8..16] >= first[8..16] || cfg!(target_endian = "little"));
}
