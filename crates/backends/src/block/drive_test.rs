use super::super::test_support::TempFile;
use super::super::{BlockdevOption, Blocks};
use super::*;

fn error(text: &str) -> String {
    let option = match DriveOption::parse(text) {
        Ok(option) => option,
        Err(error) => return error.to_string(),
    };
    option.open(&|_| {}).err().map_or("no error".to_owned(), |error| error.to_string())
}

#[test]
fn drive_errors_have_their_words() {
    for (option, text) in [
        (
            "file=/nonexistent.img,if=none,id=x",
            "Could not open '/nonexistent.img': No such file or directory",
        ),
        ("file=a,format=foo,if=none", "Unknown driver 'foo'"),
        ("file=a,if=foo", "unsupported bus type 'foo'"),
        ("file=a,format=raw,cache=foo", "invalid cache option"),
        ("file=a,format=raw,aio=foo", "invalid aio option"),
        ("file=a,format=raw,readonly=x", "Parameter 'read-only' expects 'on' or 'off'"),
        ("file=a,format=raw,auto-read-only=x", "Parameter 'auto-read-only' expects 'on' or 'off'"),
        ("file=a,format=raw,foo=1", "Block format 'raw' does not support the option 'foo'"),
        ("file=a,format=raw,unit=x", "Parameter 'unit' expects a number"),
        ("file=a,format=raw,index=0,unit=0", "index cannot be used with bus and unit"),
        ("file=/tmp,format=raw,if=none", "'file' driver requires '/tmp' to be a regular file"),
        ("file=a,format=raw,media=foo", "'foo' invalid media"),
        ("file=a,format=raw,werror=foo", "'foo' invalid write error action"),
        ("file=a,format=raw,rerror=foo", "'foo' invalid read error action"),
        ("file=a,format=raw,snapshot=foo", "Parameter 'snapshot' expects 'on' or 'off'"),
        ("file=a,format=raw,discard=foo", "Invalid discard option"),
        ("file=a,format=raw,detect-zeroes=foo", "invalid parameter value: foo"),
        ("file=,format=raw", "A block device must be specified for \"file\""),
        ("file=a,format=qcow2", "format qcow2 is not available yet"),
        ("if=none", "no error"),
        ("file=/dev/null,format=raw,if=none", "no error"),
        ("file.driver=null-co,file.size=1M,format=raw,if=none", "no error"),
    ] {
        assert_eq!(error(option), text, "{option}");
    }
}

#[test]
fn images_of_any_length_open() {
    for len in [0usize, 1, 511, 512, 1000] {
        let image = TempFile::new(&format!("len{len}"), &vec![7; len]);
        let option = DriveOption::parse(&format!("file={},format=raw,if=none", image.0)).unwrap();
        let device = option.open(&|_| {}).unwrap().unwrap();
        assert_eq!(device.len(), len.next_multiple_of(512) as u64);
        let mut all = vec![1; device.len() as usize];
        device.read_at(0, &mut all).unwrap();
        assert!(all[..len].iter().all(|byte| *byte == 7) && all[len..].iter().all(|byte| *byte == 0));
        assert!(device.read_at(device.len(), &mut [0]).is_err());
        assert!(device.write_at(u64::MAX, &[0]).is_err());
        device.write_zeroes(0, device.len(), true).unwrap();
        device.discard(0, device.len()).unwrap();
        device.flush().unwrap();
        device.read_at(0, &mut all).unwrap();
        assert!(all.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn guessed_images_are_guarded() {
    let image = TempFile::new("guess", &[0; 4096]);
    let said = std::cell::RefCell::new(String::new());
    let option = DriveOption::parse(&format!("file={},if=none", image.0)).unwrap();
    let device = option.open(&|text| *said.borrow_mut() = text.to_owned()).unwrap().unwrap();
    assert!(said.borrow().starts_with("WARNING: Image format was not specified for '"));
    assert!(device.write_at(0, b"QFI\xfb").is_err());
    device.write_at(0, b"abc").unwrap();
    device.write_at(512, b"QFI\xfb").unwrap();
    drop(device);
    std::fs::write(&image.0, b"QFI\xfb\0\0\0\x03").unwrap();
    let error = option.open(&|_| {}).err().unwrap();
    assert_eq!(error.to_string(), "format qcow2 is not available yet");
}

#[test]
fn writers_lock_images() {
    let image = TempFile::new("lock", &[0; 4096]);
    let read = RawOptions { read_only: true, ..RawOptions::default() };
    let open = |options| RawFile::open(&image.0, options).map_err(|error| error.to_string());
    let writer = open(RawOptions::default()).unwrap();
    let is_used = format!("lock\nIs another process using the image [{}]?", image.0);
    assert_eq!(open(RawOptions::default()).err().unwrap(), format!("Failed to get \"write\" {is_used}"));
    assert_eq!(open(read).err().unwrap(), format!("Failed to get shared \"write\" {is_used}"));
    assert!(open(RawOptions { lock: false, ..RawOptions::default() }).is_ok());
    drop(writer);
    let (one, two) = (open(read).unwrap(), open(read).unwrap());
    assert_eq!(open(RawOptions::default()).err().unwrap(), format!("Failed to get \"write\" {is_used}"));
    assert!(one.write_at(0, &[0]).is_err() && two.read_only());
}

#[test]
fn drives_have_places() {
    let mut blocks = Blocks::default();
    let mut add = |text: &str| {
        let option = DriveOption::parse(text).unwrap();
        blocks.add_drive(option, DriveInterface::Virtio, &|_| {}).map_err(|error| error.to_string())
    };
    let null = "file.driver=null-co,format=raw";
    assert_eq!(add(null).unwrap(), "virtio0");
    assert_eq!(add(null).unwrap(), "virtio1");
    assert_eq!(add(&format!("{null},if=pflash,unit=1")).unwrap(), "pflash1");
    assert_eq!(add(&format!("{null},if=none,id=x,snapshot=on")).unwrap(), "x");
    assert_eq!(add(&format!("{null},if=none,id=x")).unwrap_err(), "Duplicate ID 'x' for drive");
    assert_eq!(add(&format!("{null},index=0")).unwrap_err(), "drive with bus=0, unit=0 (index=0) exists");
    assert_eq!(add(&format!("{null},if=ide,index=3,media=cdrom")).unwrap(), "ide1-cd1");
    assert!(
        blocks.at(DriveInterface::Pflash, 0, 1).is_some()
            && blocks.at(DriveInterface::Pflash, 0, 0).is_none()
    );
    assert!(blocks.take("x").unwrap().is_ok());
    let again = blocks.take("x").unwrap().err().unwrap();
    assert_eq!(again.to_string(), "Drive 'x' is already in use by another device");
    assert!(blocks.take("y").is_none());
    for id in ["virtio0", "virtio1"] {
        blocks.take(id).unwrap().unwrap();
    }
    assert_eq!(blocks.unsupported().unwrap(), "machine type does not support if=pflash,bus=0,unit=1");
    blocks.commit_all().unwrap();
}

#[test]
fn blockdev_options_are_read() {
    let image = TempFile::new("blockdev", &[5; 1024]);
    let mut blocks = Blocks::default();
    let mut add = |text: &str| -> Result<(), String> {
        let option = BlockdevOption::parse(text).map_err(|error| error.to_string())?;
        blocks.add_node(&option).map_err(|error| error.to_string())
    };
    for (option, text) in [
        ("driver=foo", "Parameter 'driver' does not accept value 'foo'"),
        ("driver=raw", "Parameter 'file' is missing"),
        ("driver=raw,file=x,node-name=y", "Cannot find device='x' nor node-name='x'"),
        ("driver=file,filename=a.img", "'node-name' must be specified for the root node"),
        ("driver=file,node-name=n", "Parameter 'filename' is missing"),
        ("driver=file,filename=a,node-name=n,foo=1", "Parameter 'foo' is unexpected"),
        (
            "driver=file,filename=/nonexistent,node-name=n",
            "Could not open '/nonexistent': No such file or directory",
        ),
        ("node-name=x", "Parameter 'driver' is missing"),
        ("driver=file,filename=a,node-name=9n", "Invalid node-name: '9n'"),
        ("driver=file,filename=a,node-name=n,read-only=x", "Parameter 'read-only' expects 'on' or 'off'"),
    ] {
        assert_eq!(add(option).unwrap_err(), text, "{option}");
    }
    add(&format!(
        r#"{{"driver":"file","filename":"{}","node-name":"n","cache":{{"direct":true}}}}"#,
        image.0
    ))
    .unwrap();
    add("driver=raw,file=n,node-name=r").unwrap();
    add("driver=null-co,node-name=z,size=1M").unwrap();
    assert_eq!(add("driver=null-co,node-name=z").unwrap_err(), "Duplicate nodes with node-name='z'");
    let mut bytes = [0; 1024];
    blocks.find("r").unwrap().device.as_ref().unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, [5; 1024]);
}

/// What tests of devices say of a drive that keeps nothing, and of an image.
#[test]
fn options_of_the_file_below_are_taken() {
    for text in [
        "file=null-co://,file.read-zeroes=on,file.latency-ns=10,format=raw",
        "file.driver=null-co,file.read-zeroes=on",
    ] {
        assert_eq!(DriveOption::parse(text).unwrap().null_size, Some(1 << 30), "{text}");
    }
    assert!(DriveOption::parse("file=a,format=raw,auto-read-only=on").unwrap().auto_read_only);
    assert!(!DriveOption::parse("file=a,format=raw,auto-read-only=off").unwrap().auto_read_only);
    assert_eq!(
        error("file=a,format=raw,file.read-zeroes=on"),
        "Block format 'raw' does not support the option 'file.read-zeroes'"
    );
}
