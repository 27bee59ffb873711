use super::*;

#[test]
fn lists_are_those_of_nm() {
    let text = "ffffffff80000000 T _start\n                 U elsewhere\nffffffff80000010 t local [module]\nno line\n";
    let symbols = Symbols::new(list(text));
    assert_eq!(symbols.name(0xffff_ffff_8000_0008).as_deref(), Some("_start+0x8"));
    assert_eq!(symbols.name(0xffff_ffff_8000_0010).as_deref(), Some("local"));
    assert_eq!(list("\x00\x01 rubbish\n1 2 3").len(), 1);
}

#[test]
fn files_without_symbols_are_refused() {
    assert!(load(&[], Some(Path::new("/nonexistent"))).is_err());
    assert!(load(&[Some("/nonexistent"), None], None).unwrap() == Symbols::default());
    let text = load(&[], Some(Path::new("/dev/null"))).unwrap_err().to_string();
    assert_eq!(text, "'/dev/null' has no symbols");
}
