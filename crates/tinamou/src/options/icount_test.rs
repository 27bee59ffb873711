use super::*;

fn read_all(text: &str) -> Result<IcountConfig> {
    read_icount(Opts::parse("icount", text, Some("shift")).unwrap())
}

fn read(text: &str) -> Result<Option<IcountOptions>> {
    read_all(text).map(|config| config.count)
}

#[test]
fn recordings() {
    let recording = |mode, snapshot: Option<&str>| Recording {
        mode,
        file: "f".into(),
        snapshot: snapshot.map(str::to_owned),
    };
    assert_eq!(
        read_all("3,rr=record,rrfile=f").unwrap().recording,
        Some(recording(ReplayMode::Record, None))
    );
    let config = read_all("auto,rr=replay,rrfile=f,rrsnapshot=s").unwrap();
    assert_eq!(config.recording, Some(recording(ReplayMode::Play, Some("s"))));
    assert_eq!(config.count, Some(IcountOptions::default()));
    let message = |text| read_all(text).unwrap_err().to_string();
    assert_eq!(message("rr=record,rrfile=f"), "Please enable icount to use record/replay");
    assert_eq!(message("3,rr=record"), "-icount 3,rr=record: File name not specified for replay");
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
