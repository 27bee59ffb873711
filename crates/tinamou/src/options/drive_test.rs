use super::*;

fn drive(text: &str, earlier: &[Drive]) -> Result<Drive> {
    Drive::parse(Opts::parse("drive", text, None)?, earlier, false)
}

#[test]
fn units_and_names() {
    let a = drive("file=a.img,format=raw", &[]).unwrap();
    assert_eq!((a.interface, a.unit, a.id.as_str()), (DriveInterface::Virtio, 0, "virtio0"));
    let b = drive("file=b.img,if=virtio", std::slice::from_ref(&a)).unwrap();
    assert_eq!((b.unit, b.id.as_str()), (1, "virtio1"));
    let p = drive("if=pflash,unit=1,file=code.fd,readonly=on", &[]).unwrap();
    assert_eq!((p.interface, p.unit, p.readonly), (DriveInterface::Pflash, 1, true));
    let e = drive("file=c,index=0", std::slice::from_ref(&a)).unwrap_err();
    assert_eq!(e.to_string(), "-drive file=c,index=0: drive with bus=0, unit=0 (index=0) exists");
}

#[test]
fn errors() {
    let message = |text| drive(text, &[]).unwrap_err().to_string();
    assert_eq!(message("file=x,if=foo"), "-drive file=x,if=foo: unsupported bus type 'foo'");
    assert_eq!(message("foo=bar"), "-drive foo=bar: Must specify either driver or file");
}
