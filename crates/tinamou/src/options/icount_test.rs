use super::*;

fn read(text: &str) -> Result<Option<IcountOptions>> {
    read_icount(Opts::parse("icount", text, Some("shift")).unwrap())
}

#[test]
fn shifts_and_switches() {
    let default = IcountOptions::default();
    assert_eq!(read("shift=7").unwrap(), Some(IcountOptions { shift: 7, ..default }));
    assert_eq!(read("0x2,sleep=off").unwrap(), Some(IcountOptions { shift: 2, sleep: false, ..default }));
    assert_eq!(read("auto").unwrap(), Some(IcountOptions { adaptive: true, ..default }));
    assert_eq!(read("1,align=on").unwrap(), Some(IcountOptions { shift: 1, align: true, ..default }));
    assert_eq!(read("sleep=off").unwrap(), None);
}

#[test]
fn errors_in_the_words_of_the_reference() {
    for (text, says) in [
        ("shift=11", "icount: Invalid shift value"),
        ("shift=x", "icount: Invalid shift value"),
        ("shift=-1", "icount: Invalid shift value"),
        ("shift=", "icount: Invalid shift value"),
        ("shift=1,align=on,sleep=off", "align=on and sleep=off are incompatible"),
        ("align=on", "Please specify shift option when using align"),
        ("shift=3,foo=1", "Invalid parameter 'foo'"),
        ("shift=3,sleep=maybe", "Parameter 'sleep' expects 'on' or 'off'"),
        ("shift=3,rr=foo", "Invalid icount rr option: foo"),
    ] {
        assert_eq!(read(text).unwrap_err().to_string(), format!("-icount {text}: {says}"));
    }
}
