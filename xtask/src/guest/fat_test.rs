//! The image as somebody else's reader sees it, where one is installed, and by its bytes.

use super::*;

#[test]
fn the_program_is_where_the_tables_say() {
    let program: Vec<u8> = (0..20_000u32).map(|n| (n * 7) as u8).collect();
    let image = with_boot_program(&program);
    let word = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
    assert_eq!((word(11), word(510)), (512, 0xaa55));
    // From the directory's entry along the table.
    let at = CLUSTERS_AT + CLUSTER + 4 * ENTRY;
    assert_eq!(&image[at..at + 11], b"BOOTRI~1EFI");
    let mut cluster = word(at + 26);
    let mut read: Vec<u8> = Vec::new();
    while cluster != LAST {
        let from = CLUSTERS_AT + (usize::from(cluster) - 2) * CLUSTER;
        read.extend(&image[from..from + CLUSTER]);
        cluster = word(SECTOR + 2 * usize::from(cluster));
    }
    assert_eq!(read[..program.len()], program);
    assert_eq!(read.len(), 20_480);
    let name = &image[at - 2 * ENTRY..at];
    assert_eq!((name[0], name[ENTRY]), (0x42, 1));
    assert_eq!((name[1], name[3], name[ENTRY + 1]), (b'F', b'I', b'B'), "13 characters, then the rest");
}
