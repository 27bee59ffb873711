use super::*;

#[test]
fn names_are_those_of_what_is_around() {
    let row = |start, size, name: &str| (start, size, name.to_owned());
    let symbols = Symbols::new(vec![
        row(0x200, 0x10, "sized"),
        row(0x100, 0, "open"),
        row(0x200, 0, "label"),
        row(0x1000, 0, "last"),
    ]);
    for (address, name) in [
        (0xff, None),
        (0x100, Some("open")),
        (0x1ff, Some("open+0xff")),
        (0x20f, Some("sized+0xf")),
        (0x210, None),
        (0x1008, Some("last+0x8")),
        (0x1000 + REACH, None),
    ] {
        assert_eq!(symbols.name(address).as_deref(), name, "{address:#x}");
    }
    assert_eq!(Symbols::default().name(5), None);
}
