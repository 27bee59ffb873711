use super::*;

fn parse(text: &str, implied: Option<&str>) -> Opts {
    Opts::parse("x", text, implied).unwrap()
}

#[test]
fn keys_values_and_commas() {
    let o = parse("virt,acpi=off,dumpdtb=a,,b.dtb", Some("type"));
    let items: Vec<_> = o.items().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(items, [("type", "virt"), ("acpi", "off"), ("dumpdtb", "a,b.dtb")]);
    assert_eq!(parse("", Some("type")).items(), [("type".to_owned(), String::new())]);
    assert_eq!(parse("file=a=b", None).get("file"), Some("a=b"));
    assert_eq!(parse("a=1,a=2", None).get("a"), Some("2"));
}

#[test]
fn short_switches_warn() {
    let mut o = parse("unix:/tmp/s,server,nowait", Some("path"));
    assert_eq!(o.get("server"), Some("on"));
    assert_eq!(o.get("wait"), Some("off"));
    assert_eq!(o.take_warnings().len(), 2);
    assert!(parse("virtio-blk-device,help", Some("driver")).wants_help());
    assert!(parse("?", Some("driver")).wants_help());
}

#[test]
fn json_is_flattened() {
    let o =
        parse(r#"{"driver":"virtio-blk-device","drive":"d0","serial":null,"ro":true,"a":{"b":[1,2]}}"#, None);
    assert_eq!(o.get("driver"), Some("virtio-blk-device"));
    assert_eq!(o.get("ro"), Some("on"));
    assert_eq!(o.get("a.b.1"), Some("2"));
    assert!(Opts::parse("device", "{", None).is_err());
}

#[test]
fn identifiers() {
    assert!(is_identifier("d0") && is_identifier("a.b-c_d"));
    let e = Opts::parse("netdev", "user,id=1x", Some("type")).unwrap_err();
    assert_eq!(e.message(), "Parameter 'id' expects an identifier");
}

#[test]
fn sizes() {
    assert_eq!(size("size", "128", 1 << 20).unwrap(), 128 << 20);
    assert_eq!(size("size", "1.5G", 1).unwrap(), 3 << 29);
    assert_eq!(size("size", "1k", 1).unwrap(), 1024);
    assert_eq!(size("size", "0x1000", 1 << 20).unwrap(), 4096);
    for bad in ["foo", "1X", "", "-1", "1.2.3", ".5G"] {
        assert!(size("size", bad, 1).is_err(), "{bad}");
    }
    let e = size("size", "16E", 1).unwrap_err();
    assert_eq!(e.message(), "Value '16E' is out of range for parameter 'size'");
    assert_eq!(number("010"), Some(8));
    assert_eq!(number("0"), Some(0));
    assert_eq!(number("0x10"), Some(16));
}
