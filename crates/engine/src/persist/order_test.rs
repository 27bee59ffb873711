use super::super::test::{Directory, GUEST, NAME, keep, opened, until, write};
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

fn use_all(persistent: &Persistent, heads: &[u64]) {
    heads.iter().for_each(|&head| assert!(persistent.find(NAME, head, GUEST).is_some(), "{head}"));
}

#[test]
fn what_is_far_is_counted_if_it_was_found() {
    let mut used = Used::default();
    for n in 0..MANY as u32 {
        used.note(n, true);
        used.note(n + FAR / 4, false);
    }
    assert_eq!((used.far, used.is_out_of_order()), (MANY - 1, true));
    let mut used = Used::default();
    (0..MANY as u32 * 4).for_each(|n| used.note(n ^ 1, true));
    assert_eq!((used.far, used.is_out_of_order()), (0, false));
}

#[test]
fn a_file_whose_order_is_another_than_that_of_use_is_written_anew() {
    let directory = Directory::new("order");
    write(&directory, 5000);
    assert_eq!(heads(&directory.0), (0..5000).collect::<Vec<_>>());
    let other = opened(&directory, "maker");
    let persistent = opened(&directory, "maker");
    let used: Vec<u64> = scattered(4500);
    use_all(&persistent, &used);
    keep(&persistent, 6000, GUEST);
    use_all(&persistent, &[4600, 4700]);
    let first = used[1];
    until(|| (heads(&directory.0)[1] == first).then_some(()));
    let expected: Vec<u64> = used.iter().copied().chain([6000, 4600, 4700]).chain(4500..4600).collect();
    assert_eq!(heads(&directory.0)[..expected.len()], expected);
    assert_eq!(heads(&directory.0).len(), 5001);
    // Who has read the old file goes on with that, and adds to the new one.
    use_all(&other, &[0, 4999]);
    keep(&other, 7000, GUEST);
    keep(&persistent, 7001, GUEST);
    until(|| (heads(&directory.0).len() == 5003).then_some(()));
    let next = opened(&directory, "maker");
    use_all(&next, &used);
    use_all(&next, &[6000, 7000, 7001, 4999]);
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
    each.iter().rev().take(10).chain(&each[90..95]).for_each(|&place| used.note(place, true));
    [0, 1, each[3] + 1, u32::MAX].into_iter().for_each(|place| used.note(place, true));
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
    use_all(&persistent, &[0, 1, 2]);
    keep(&persistent, 3, GUEST);
    until(|| directory.0.read_dir().unwrap().next().is_some().then_some(()));
    until(|| (heads(&directory.0) == [3]).then_some(()));
}
