//! Reading a module's dependencies.

use super::dependencies;

#[test]
fn dependencies_are_read_from_the_modinfo_strings() {
    let module = b"...\0license=GPL\0depends=jbd2,mbcache,crc16\0intree=Y\0";
    assert_eq!(dependencies(module), ["jbd2", "mbcache", "crc16"]);
}

#[test]
fn an_empty_or_missing_entry_is_no_dependency() {
    assert!(dependencies(b"\0depends=\0").is_empty());
    assert!(dependencies(b"nothing").is_empty());
    assert!(dependencies(b"\0depends=").is_empty());
}
