use super::super::test::{Directory, GUEST, NAME, PAGE, keep, opened, until, write};
use super::super::{Known, Persistent, Record};
use super::*;
use std::collections::HashMap;
use std::path::Path;

/// What the records' hashes are made of, in the order of the file.
fn heads(directory: &Path) -> Vec<u64> {
    let kept = Kept::open(directory, "maker").unwrap();
    let known = Known::read(&kept).unwrap().unwrap();
    let mut entries = Vec::new();
    assert!(kept.each_entry(kept.end as u64, |entry| entries.push(entry)).unwrap());
    let hashes: HashMap<u32, u64> = (0..10_000).map(|head| (NAME.hash(head), head)).collect();
    let all = entries.iter().map(|e| {
        assert_eq!(known.at(e.place).and_then(Record::guest), Some(GUEST));
        hashes[&e.hash]
    });
    all.collect()
}

/// Numbers below `n`, far from each other.
fn scattered(n: u64) -> Vec<u64> {
    (0..n).map(|i| i * 2011 % n).collect()
}

/// The record of each head is used, for one of `pages` pages in turn.
fn use_all(persistent: &Persistent, heads: &[u64], pages: u64) {
    for (n, &head) in heads.iter().enumerate() {
        let (place, _) = persistent.find(NAME, head, GUEST).unwrap();
        persistent.note(&[place], PAGE + ((n as u64 % pages) << 12));
    }
}

#[test]
fn what_comes_back_to_a_page_is_counted() {
    let mut used = Used::default();
    let uses =
        |used: &mut Used, pages: &[u32]| pages.iter().for_each(|&page| used.note(Use { place: 8, page }));
    (0..MANY as u32).for_each(|n| uses(&mut used, &[n, n, n]));
    assert_eq!((used.apart, used.is_scattered()), (0, false));
    (0..MANY as u32).for_each(|n| uses(&mut used, &[n, n]));
    assert_eq!((used.apart, used.is_scattered()), (MANY, false));
    (0..MANY as u32).for_each(|n| uses(&mut used, &[n]));
    assert_eq!((used.apart, used.is_scattered()), (2 * MANY, true));
}

#[test]
fn a_file_whose_pages_are_scattered_is_written_anew_page_by_page() {
    let directory = Directory::new("order");
    write(&directory, 5000);
    assert_eq!(heads(&directory.0), (0..5000).collect::<Vec<_>>());
    let other = opened(&directory, "maker");
    let persistent = opened(&directory, "maker");
    let used: Vec<u64> = scattered(4500);
    use_all(&persistent, &used, 2);
    // For the first page, like what was the first.
    keep(&persistent, 6000, GUEST);
    use_all(&persistent, &[4600, 4700], 1);
    let first = used[2];
    until(|| (heads(&directory.0)[1] == first).then_some(()));
    let [one, two] = [0, 1].map(|from| used.iter().copied().skip(from).step_by(2));
    let expected: Vec<u64> = one.chain([6000, 4600, 4700]).chain(two).chain(4500..4600).collect();
    assert_eq!(heads(&directory.0)[..expected.len()], expected);
    assert_eq!(heads(&directory.0).len(), 5001);
    // Who has read the old file goes on with that, and adds to the new one.
    use_all(&other, &[0, 4999], 1);
    keep(&other, 7000, GUEST);
    keep(&persistent, 7001, GUEST);
    until(|| (heads(&directory.0).len() == 5003).then_some(()));
    let next = opened(&directory, "maker");
    use_all(&next, &used, 1);
    use_all(&next, &[6000, 7000, 7001, 4999], 1);
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 1);
}

#[test]
fn what_was_not_used_makes_room() {
    let directory = Directory::new("room");
    write(&directory, 100);
    let kept = Kept::open(&directory.0, "maker").unwrap();
    let mut used = Used::default();
    let mut each = Vec::new();
    kept.each_entry(kept.end as u64, |entry| each.push(entry.place)).unwrap();
    // Some twice, and places where nothing is.
    each.iter().rev().take(10).chain(&each[90..95]).for_each(|&place| used.note(Use { place, page: 0 }));
    [0, 1, each[3] + 1, u32::MAX].into_iter().for_each(|place| used.note(Use { place, page: 0 }));
    let len = 8 * (each[1] - each[0]) as u64;
    let anew = kept.put_in_order(&used, 12 * len).unwrap().unwrap();
    assert_eq!(heads(&directory.0), [99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 0, 1]);
    // The first one has been replaced, so its places are of no use.
    assert!(kept.put_in_order(&used, 12 * len).unwrap().is_none());
    assert!(anew.put_in_order(&Used::default(), 0).unwrap().is_some());
    assert!(heads(&directory.0).is_empty());
}

#[test]
fn a_file_that_was_removed_is_begun_anew() {
    let directory = Directory::new("removed");
    write(&directory, 3);
    let persistent = opened(&directory, "maker");
    std::fs::remove_file(directory.file()).unwrap();
    use_all(&persistent, &[0, 1, 2], 1);
    keep(&persistent, 3, GUEST);
    until(|| directory.0.read_dir().unwrap().next().is_some().then_some(()));
    until(|| (heads(&directory.0) == [3]).then_some(()));
}
