use super::*;
use crate::block::test_support::TempFile;
use crate::block::{NullDevice, RawFile, RawOptions};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const CHUNK: u64 = 64 << 10;
const LEN: usize = 9 * CHUNK as usize + 512;

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *seed >> 24
}

fn scribble(disk: &dyn BlockDevice, seed: &mut u64) {
    let offset = next(seed) % LEN as u64;
    let len = (next(seed) % 100_000).min(LEN as u64 - offset);
    disk.write_at(offset, &vec![next(seed) as u8; len as usize]).unwrap();
}

fn content(disk: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

fn open(image: &TempFile) -> Arc<Node> {
    let options = RawOptions { lock: false, ..RawOptions::default() };
    Arc::new(Node::new(Arc::new(RawFile::open(&image.0, options).unwrap())))
}

/// Copies a disk that another thread writes to all the while; returns what the disk was at the beginning and at the end,
/// and what the copy is.
fn copy_in_use(name: &str, moment: Moment, seed: u64) -> [Vec<u8>; 3] {
    let images = ["source", "target"].map(|part| TempFile::new(&format!("{name}-{part}"), &vec![0; LEN]));
    let [source, target] = [0, 1].map(|n: usize| open(&images[n]));
    let mut seed = seed;
    (0..8).for_each(|_| scribble(&*source, &mut seed));
    let before = content(&*source);
    let copy = Arc::new(Copy::new(
        &source,
        target.clone(),
        moment,
        std::iter::once(0..LEN as u64),
        CopyManner::default(),
    ));
    copy.begin();
    let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let after = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                scribble(&*source, &mut seed);
                begun.store(true, SeqCst);
            }
        });
        for n in 0.. {
            copy.step().unwrap();
            if n > 50 && begun.load(SeqCst) {
                break;
            }
        }
        let medium = source.at_rest();
        stop.store(true, SeqCst);
        copy.finish(&**medium).unwrap();
        content(&**medium)
    });
    copy.end();
    [before, after, content(&*target)]
}

#[test]
fn a_copy_is_the_disk_at_its_moment() {
    for seed in 0..10 {
        let [before, after, copy] = copy_in_use("begin", Moment::Begin, seed);
        assert!(before == copy && before != after, "seed {seed}");
        let [_, after, copy] = copy_in_use("end", Moment::End, seed);
        assert!(after == copy, "seed {seed}");
    }
}

#[test]
fn parts_are_copied_alone_and_counted() {
    let source = Arc::new(Node::new(Arc::new(NullDevice { len: LEN as u64, read_only: false })));
    let target = Arc::new(NullDevice { len: LEN as u64, read_only: false });
    let copy = Copy::new(
        &source,
        target,
        Moment::End,
        [CHUNK..CHUNK + 1, LEN as u64 - 1..LEN as u64],
        CopyManner::default(),
    );
    assert_eq!(copy.remaining(), 2 * CHUNK);
    assert_eq!(copy.step().unwrap(), Some(CHUNK));
    assert_eq!(copy.step().unwrap(), Some(512));
    assert_eq!(copy.step().unwrap(), None);
    copy.after_write(0, 2 * CHUNK);
    copy.after_write(0, 0);
    copy.skip();
    assert_eq!(copy.remaining(), CHUNK);
}

#[test]
fn a_copy_that_cannot_be_written_fails_without_harm() {
    let image = TempFile::new("sick", &vec![7; LEN]);
    let source = open(&image);
    let target = Arc::new(NullDevice { len: CHUNK, read_only: true });
    let copy = Arc::new(Copy::new(
        &source,
        target,
        Moment::Begin,
        std::iter::once(0..LEN as u64),
        CopyManner::default(),
    ));
    copy.begin();
    assert_eq!(copy.step().unwrap_err().0, Side::Target);
    source.write_at(0, &[1; 512]).unwrap();
    assert_eq!(copy.step().unwrap_err().0, Side::Target);
    assert_eq!(copy.remaining(), LEN as u64);
}

/// Who writes to a disk waits until the copy has it: then nothing is left, whatever the size of the pieces.
#[test]
fn writers_wait_for_the_copy() {
    for chunk in [512, 4096, 1 << 20] {
        let images = [TempFile::new("a", &vec![1; LEN]), TempFile::new("b", &vec![0; LEN])];
        let [source, target] = [0, 1].map(|n: usize| open(&images[n]));
        let how = CopyManner { chunk, at_once: true };
        let copy =
            Arc::new(Copy::new(&source, target.clone(), Moment::End, std::iter::once(0..LEN as u64), how));
        copy.begin();
        while copy.step().unwrap().is_some() {}
        std::thread::scope(|scope| {
            for seed in 1..4 {
                let source = &source;
                scope.spawn(move || {
                    let mut seed = seed;
                    (0..50).for_each(|_| scribble(&**source, &mut seed));
                });
            }
        });
        assert_eq!(copy.remaining(), 0);
        assert_eq!(content(&*source), content(&*target), "pieces of {chunk}");
        copy.end();
    }
}
