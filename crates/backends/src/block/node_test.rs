use super::*;
use crate::block::stats::Count;
use crate::block::{NullDevice, SECTOR};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

fn node(len: u64) -> Node {
    Node::new(Arc::new(NullDevice { len, read_only: false }))
}

#[test]
fn requests_are_counted() {
    let disk = node(4096);
    disk.read_at(0, &mut [0; 512]).unwrap();
    disk.write_at(512, &[0; 1024]).unwrap();
    disk.write_at(0, &[0; 512]).unwrap();
    disk.flush().unwrap();
    assert!(disk.read_at(4096, &mut [0; 512]).is_err());
    let of = |count: &Count| [&count.operations, &count.failed, &count.bytes].map(|n| n.load(Relaxed));
    assert_eq!(of(&disk.stats().read), [1, 1, 512]);
    assert_eq!(of(&disk.stats().write), [2, 0, 1536]);
    assert_eq!(of(&disk.stats().flush), [1, 0, 0]);
    assert_eq!(disk.stats().highest.load(Relaxed), 1536);
}

#[test]
fn what_is_at_hand_is_read_unless_somebody_waits() {
    let image = super::super::test_support::TempFile::new("at-hand", &[7; 4096]);
    let disk = Node::new(Arc::new(super::super::RawFile::open(&image.0, RawOptions::default()).unwrap()));
    let mut bytes = [0; 512];
    if !disk.read_now(512, &mut bytes) {
        eprintln!("skipped: the file system does not read without waiting");
        return;
    }
    assert_eq!(bytes, [7; 512]);
    assert!(!disk.read_now(4096, &mut bytes));
    let of = |count: &Count| [&count.operations, &count.failed, &count.bytes].map(|n| n.load(Relaxed));
    assert_eq!(
        of(&disk.stats().read),
        [1, 0, 512],
        "the other is made, and counted, by whoever makes it in earnest"
    );
    let mut limits = Limits::default();
    limits.each[0].average = 1 << 20;
    disk.set_limits(limits);
    assert!(!disk.read_now(512, &mut bytes));
    disk.set_limits(Limits::default());
    assert!(disk.read_now(512, &mut bytes));
    let _held = disk.at_rest();
    assert!(!disk.read_now(512, &mut bytes));
}

#[derive(Default)]
struct Changes(AtomicUsize, AtomicUsize);

impl Watcher for Changes {
    fn before_write(&self, _: &dyn BlockDevice, _: u64, _: u64) {
        self.0.fetch_add(1, SeqCst);
    }
    fn after_write(&self, _: u64, _: u64) {
        self.1.fetch_add(1, SeqCst);
    }
}

#[test]
fn watchers_hear_of_changes_and_the_medium_can_be_another() {
    let disk = node(4096);
    let changes = Arc::new(Changes::default());
    let watcher: Arc<dyn Watcher> = changes.clone();
    disk.watch(watcher.clone());
    disk.write_at(0, &[1; 512]).unwrap();
    disk.discard(0, 512).unwrap();
    disk.write_zeroes(0, 512, false).unwrap();
    disk.read_at(0, &mut [0; 512]).unwrap();
    disk.unwatch(&watcher);
    disk.write_at(0, &[1; 512]).unwrap();
    assert_eq!((changes.0.load(SeqCst), changes.1.load(SeqCst)), (3, 3));
    *disk.at_rest() = Arc::new(NullDevice { len: 3 * SECTOR, read_only: true });
    assert_eq!((disk.len(), disk.read_only()), (3 * SECTOR, true));
}
