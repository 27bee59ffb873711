use super::*;

#[test]
fn places() {
    let parse = |uri| Place::parse(uri).unwrap();
    assert_eq!(parse("file:/a,offset=0x10"), Place::File("/a".into(), 16));
    assert_eq!(parse("file:a:b"), Place::File("a:b".into(), 0));
    assert_eq!(parse("unix:/s"), Place::Unix("/s".into()));
    assert_eq!(parse("tcp:[::1]:4444"), Place::Tcp("[::1]:4444".into()));
    assert_eq!(parse("exec:cat >x"), Place::Exec("cat >x".into()));
    assert_eq!(parse("fd:migrate"), Place::Fd("migrate".into()));
    for (uri, words) in [
        ("rdma:x", "unknown migration protocol: rdma:x"),
        ("", "unknown migration protocol: "),
        ("tcp:host", "error parsing address 'host'"),
        ("file:/a,offset=x", "file URI has bad offset x"),
    ] {
        assert_eq!(Place::parse(uri).unwrap_err().to_string(), words);
    }
}

#[test]
fn through_a_command_and_a_file() {
    let path = std::env::temp_dir().join(format!("tinamou-channel-{}", std::process::id()));
    let none = |_: &str| -> Result<OwnedFd> { Err(error!("none")) };
    let mut sink = Place::Exec(format!("cat >{}", path.display())).open_outgoing(none).unwrap();
    sink.write_all(b"0123456789").unwrap();
    sink.finish().unwrap();
    let mut text = String::new();
    Place::File(path.clone(), 4).open_incoming(none).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "456789");
    let mut sink = Place::File(path.clone(), 8).open_outgoing(none).unwrap();
    sink.write_all(b"ab").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"01234567ab");
    assert!(Place::Exec("exit 3".into()).open_outgoing(none).unwrap().finish().is_err());
    std::fs::remove_file(path).unwrap();
}
