use super::*;
use rustix::io::{FdFlags, fcntl_setfd};
use std::io::{Read, Write};

#[test]
fn a_set_stands_for_a_file() {
    let path = std::env::temp_dir().join(format!("tinamou-fdset-{}", std::process::id()));
    let mut file = File::create(&path).unwrap();
    file.write_all(b"abc").unwrap();
    let reading = OwnedFd::from(File::open(&path).unwrap());
    let (set, number) = add_to_set(None, reading, Some("me".into())).unwrap();
    assert!(sets().contains(&(set, vec![(number, Some("me".into()))])));
    let name = format!("/dev/fdset/{set}");
    let mut options = OpenOptions::new();
    options.read(true);
    let mut text = String::new();
    open(&name, &options, OFlags::RDONLY).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc");
    assert_eq!(open(&name, &options, OFlags::RDWR).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    remove_from_set(set, Some(number.into())).unwrap();
    assert_eq!(open(&name, &options, OFlags::RDONLY).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(
        remove_from_set(set, None).unwrap_err().to_string(),
        format!("File descriptor named 'fdset-id:{set}' not found")
    );
    let _ = std::fs::remove_file(path);
}

#[test]
fn descriptors_are_taken_once() {
    let file = rustix::io::dup(File::open("/dev/null").unwrap()).unwrap();
    let number = file.as_raw_fd();
    let kept = rustix::io::dup(&file).unwrap();
    // As if it had come from the program's parent.
    fcntl_setfd(&file, FdFlags::empty()).unwrap();
    std::mem::forget(file);
    given(&number.to_string()).unwrap();
    assert!(given(&number.to_string()).is_err());
    assert!(given("1").is_err() && given("-5").is_err() && given("900000").is_err());
    // One of our own is nobody's to take.
    fcntl_setfd(&kept, FdFlags::CLOEXEC).unwrap();
    assert!(given(&kept.as_raw_fd().to_string()).is_err());
    name("it", kept);
    given("it").unwrap();
    assert_eq!(given("it").unwrap_err().to_string(), "File descriptor named 'it' has not been found");
}
