//! The archive's layout, field by field.

use super::Archive;

#[test]
fn a_file_has_a_110_byte_header_a_padded_name_and_padded_content() {
    let mut archive = Archive::default();
    archive.file("init", true, b"hello");
    let bytes = archive.finish();
    assert_eq!(&bytes[..6], b"070701");
    assert_eq!(&bytes[14..22], b"000081ED", "mode: a regular file, 0755");
    assert_eq!(&bytes[54..62], b"00000005", "file size");
    assert_eq!(&bytes[94..102], b"00000005", "name size counts the terminator");
    assert_eq!(&bytes[110..115], b"init\0");
    assert_eq!(&bytes[116..121], b"hello", "header and name are padded to four bytes");
    assert_eq!(&bytes[124..130], b"070701", "so is the content");
    assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
}

#[test]
fn a_device_has_its_numbers() {
    let mut archive = Archive::default();
    archive.character("dev/console", 5, 1);
    let bytes = archive.finish();
    assert_eq!(&bytes[14..22], b"00002180");
    assert_eq!(&bytes[78..94], b"0000000500000001");
}
