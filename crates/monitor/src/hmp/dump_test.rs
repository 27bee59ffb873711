use super::*;

const RESET: [u8; 40] = [
    0x97, 2, 0, 0, 0x13, 0x86, 0x82, 2, 0x73, 0x25, 0x40, 0xf1, 0x83, 0xb5, 2, 2, 0x83, 0xb2, 0x82, 1, 0x67,
    0x80, 2, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0xe0, 0x87, 0, 0, 0, 0,
];

fn dump(count: u64, format: char, size: u32) -> String {
    memory(Format { count, format, size }, 0x1000, &mut |at, out| {
        let from = (at - 0x1000) as usize;
        RESET.get(from..from + out.len()).map(|b| out.copy_from_slice(b)).is_some()
    })
}

#[test]
fn the_layouts_of_the_reference() {
    assert_eq!(dump(4, 'x', 4), "0000000000001000: 0x00000297 0x02828613 0xf1402573 0x0202b583\n");
    assert_eq!(
        dump(2, 'c', 4),
        "0000000000001000: '\\x97' '\\x02' '\\x00' '\\x00' '\\x13' '\\x86' '\\x82' '\\x02'\n"
    );
    assert_eq!(dump(3, 'd', 4), "0000000000001000:        663   42108435 4047512947\n");
    assert_eq!(dump(3, 'd', 2), "0000000000001000:   663     0 34323\n");
    assert_eq!(dump(3, 'o', 1), "0000000000001000: 0227  02   0\n");
    assert_eq!(
        dump(3, 'u', 8),
        "0000000000001000:   180854351210742423   144877716322133363\n0000000000001010:      704129848750723\n"
    );
    assert_eq!(
        dump(9, 'x', 2),
        "0000000000001000: 0x0297 0x0000 0x8613 0x0282 0x2573 0xf140 0xb583 0x0202\n0000000000001010: 0xb283\n"
    );
    assert_eq!(
        dump(3, 'x', 8),
        "0000000000001000: 0x0282861300000297 0x0202b583f1402573\n0000000000001010: 0x000280670182b283\n"
    );
    assert!(dump(100, 'x', 1).ends_with(": Cannot access memory\n"));
}

#[test]
fn values() {
    assert_eq!(value('x', 0x61), "0x61");
    assert_eq!(value('c', 65), "'A'");
    assert_eq!(value('o', 8), "010");
    assert_eq!(value('u', -1), "18446744073709551615");
    assert_eq!(value('d', -1), "-1");
    assert_eq!(value('i', 1), "1");
}
