use super::file::{LONGEST_FILE, SEGMENT, SEGMENT_BYTES};
use super::record::RECORD_BYTES;
use super::*;
use host::{Link, Point, Relocation};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

pub(super) const NAME: Name = Name { offset: 0xffe, mode: 65, alone: false, reach: 7 };
pub(super) const GUEST: &[u8] = b"guest's bytes";

/// A directory of a test's own.
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("tinamou-code-{}-{name}", std::process::id()));
        Directory(path)
    }
    pub(super) fn file(&self) -> PathBuf {
        std::fs::read_dir(&self.0).unwrap().next().unwrap().unwrap().path()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn until<T>(mut f: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(t) = f() {
            return t;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What has been read in the directory by now.
pub(super) fn opened(directory: &Directory, maker: &str) -> Persistent {
    let persistent = Persistent::new();
    persistent.start(directory.0.clone(), maker.to_owned());
    until(|| persistent.inner.known.get().map(drop));
    persistent
}

/// Code with one displacement of each kind, for these places.
fn code(base: u32, apart: u32) -> Code {
    let mut bytes = vec![0x90; 40];
    // To common code at 0x40, from both parts; and from each part to the other.
    let (hot, cold) = (base, apart.wrapping_sub(24));
    for (at, to) in [(0, 0x40), (8, cold + 30), (24, 0x40), (32, hot + 16)] {
        let here = if at < 24 { hot + at } else { cold + at };
        let displacement: u32 = to.wrapping_sub(here.wrapping_add(4));
        bytes[at as usize..][..4].copy_from_slice(&displacement.to_le_bytes());
    }
    Code {
        bytes,
        hot: 24,
        links: vec![
            Link { at: 12, stub: None, target: -4096, guard: None },
            Link { at: 8, stub: Some(30), target: 0x1_2344, guard: Some(16) },
        ],
        points: vec![Point { return_offset: 28, insn: 0xffe }],
        relocations: [(0, true), (8, false), (24, true), (32, false)]
            .map(|(at, common)| Relocation { at, common })
            .to_vec(),
    }
}

const BUILT: Built = Built { insns: 3, from: 0xffe, bytes: GUEST.len() as u32, length: 9 };

/// Host address of a page.
pub(super) const PAGE: u64 = 0x7f12_3456_7000;

pub(super) fn keep(persistent: &Persistent, head: u64, guest: &[u8]) {
    let built = Built { bytes: guest.len() as u32, ..BUILT };
    persistent.keep((NAME, head, guest), PAGE, &built, (0x1000, 0x8000), &mut code(0x1000, 0x8000));
}

/// Keeps so many records, until they are in the file.
pub(super) fn write(directory: &Directory, records: u64) {
    let persistent = opened(directory, "maker");
    let before = directory.file().metadata().unwrap().len();
    (0..records).for_each(|head| keep(&persistent, head, GUEST));
    drop(persistent);
    until(|| (directory.file().metadata().unwrap().len() > before).then_some(()));
}

#[test]
fn what_is_kept_is_found_in_the_next_run_and_moved_to_its_place() {
    let directory = Directory::new("found");
    write(&directory, 1);
    let next = opened(&directory, "maker");
    assert!(next.has(NAME, 0) && !next.has(NAME, 1));
    let more = [GUEST, b" and what follows"].concat();
    let (_, record) = next.find(NAME, 0, &more).unwrap();
    let mut found = Code::default();
    assert_eq!(
        record.code((0x22_3340, 0x90_0008), &mut found).map(|b| (b.insns, b.from, b.bytes, b.length)),
        Some((3, 0xffe, 13, 9))
    );
    assert_eq!(found, code(0x22_3340, 0x90_0008));
    let others = [
        Name { mode: 1, ..NAME },
        Name { reach: 0, ..NAME },
        Name { alone: true, ..NAME },
        Name { offset: 0xffc, ..NAME },
    ];
    for name in others {
        assert!(next.find(name, 0, GUEST).is_none(), "{name:?}");
    }
    assert!(next.find(NAME, 0, b"guest's bits!").is_none());
    assert!(next.find(NAME, 0, &GUEST[1..]).is_none());
    assert!(next.find(NAME, 0, &GUEST[..12]).is_none());
}

#[test]
fn a_record_tells_its_name_and_those_behind_it_follow() {
    let directory = Directory::new("behind");
    write(&directory, 5);
    let next = opened(&directory, "maker");
    let first = next.find(NAME, 2, GUEST).unwrap();
    let behind: Vec<_> = next.from(first).collect();
    assert_eq!(behind.len(), 3);
    assert!(behind.iter().all(|(_, r)| r.name() == NAME));
    assert!(behind.iter().zip(2..).all(|((_, r), head)| r.hash() == NAME.hash(head)));
    // The page ends within the guest's bytes; it is another page where these begin at another place.
    let mut page = vec![0; 0xffe];
    page.extend(GUEST);
    assert!(first.1.is_in(&page));
    assert!(!first.1.is_in(&page[1..]) && !first.1.is_in(&page[..4096]) && !first.1.is_in(&[]));
    for name in [
        Name { offset: 0, mode: 0x7f, alone: true, reach: 512 },
        Name { offset: 2, mode: 0, alone: false, reach: 0 },
    ] {
        assert_eq!(Name::of(name.number()), name);
    }
}

#[test]
fn what_another_maker_has_left_is_not_looked_at() {
    let directory = Directory::new("maker");
    write(&directory, 1);
    assert!(!opened(&directory, "another maker").has(NAME, 0));
    assert!(opened(&directory, "maker").has(NAME, 0));
}

#[test]
fn what_the_file_has_is_not_appended_again() {
    let directory = Directory::new("again");
    write(&directory, 3);
    let before = directory.file().metadata().unwrap().len();
    let persistent = opened(&directory, "maker");
    (0..3).for_each(|head| keep(&persistent, head, GUEST));
    for _ in 0..2 {
        keep(&persistent, 3, GUEST);
    }
    drop(persistent);
    until(|| (directory.file().metadata().unwrap().len() > before).then_some(()));
    let next = opened(&directory, "maker");
    assert_eq!(next.known(), Some(4));
}

#[test]
fn a_segment_without_its_end_is_cut_off_and_the_others_stay() {
    let directory = Directory::new("cut");
    write(&directory, 2);
    let whole = std::fs::read(directory.file()).unwrap();
    write(&directory, 5);
    let longer = std::fs::read(directory.file()).unwrap();
    assert!(longer.starts_with(&whole) && longer.len() > whole.len());
    for end in [whole.len() + 1, whole.len() + SEGMENT_BYTES, longer.len() - 1] {
        std::fs::write(directory.file(), &longer[..end]).unwrap();
        let next = opened(&directory, "maker");
        assert_eq!((0..5).filter(|&head| next.has(NAME, head)).count(), 2, "{end}");
        assert_eq!(std::fs::read(directory.file()).unwrap(), whole);
    }
    write(&directory, 5);
    let next = opened(&directory, "maker");
    assert!((0..5).all(|head| next.has(NAME, head)));
}

#[test]
fn a_file_whose_tables_are_damaged_is_begun_anew() {
    let directory = Directory::new("tables");
    write(&directory, 2);
    let mut bytes = std::fs::read(directory.file()).unwrap();
    let segment = bytes.windows(4).rposition(|w| w == SEGMENT.to_le_bytes()).unwrap();
    bytes[segment + SEGMENT_BYTES] ^= 1;
    std::fs::write(directory.file(), &bytes).unwrap();
    assert_eq!(opened(&directory, "maker").known(), Some(0));
    write(&directory, 2);
    assert_eq!(opened(&directory, "maker").known(), Some(2));
}

#[test]
fn a_file_that_others_may_write_is_left_alone() {
    let directory = Directory::new("others");
    write(&directory, 1);
    std::fs::set_permissions(directory.file(), std::fs::Permissions::from_mode(0o620)).unwrap();
    let before = std::fs::read(directory.file()).unwrap();
    let persistent = Persistent::new();
    persistent.start(directory.0.clone(), "maker".into());
    until(|| persistent.inner.journal().closed.then_some(()));
    keep(&persistent, 9, GUEST);
    assert!(!persistent.has(NAME, 0));
    assert!(persistent.inner.journal().records.is_empty());
    assert_eq!(std::fs::read(directory.file()).unwrap(), before);
}

#[test]
fn a_file_that_is_too_long_is_begun_anew() {
    let directory = Directory::new("long");
    write(&directory, 1);
    File::options().append(true).open(directory.file()).unwrap().set_len(LONGEST_FILE).unwrap();
    assert!(!opened(&directory, "maker").has(NAME, 0));
    assert!(directory.file().metadata().unwrap().len() < 4096);
}

#[test]
fn old_files_make_room() {
    let directory = Directory::new("old");
    std::fs::create_dir(&directory.0).unwrap();
    for (n, name) in ["a.code", "b.code", "c.code", "other"].iter().enumerate() {
        let file = File::create(directory.0.join(name)).unwrap();
        file.set_len(100 << 20).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - n as u64)).unwrap();
    }
    drop(opened(&directory, "maker"));
    let there = |name: &str| directory.0.join(name).exists();
    assert_eq!(["a.code", "b.code", "c.code", "other"].map(there), [true, false, false, true]);
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let directory = Directory::new("damage");
    write(&directory, 2);
    let (path, whole) = (directory.file(), std::fs::read(directory.file()).unwrap());
    let mut found = Code::default();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        let Ok(kept) = Kept::open(&directory.0, "maker") else { continue };
        let Some(known) = Known::read(&kept).unwrap() else { continue };
        for (_, record) in (0..2).flat_map(|head| known.with(NAME.hash(head))) {
            if record.is_of(NAME.number(), GUEST) && record.code((0x1000, 0x8000), &mut found).is_some() {
                assert_eq!(found, code(0x1000, 0x8000), "byte {at}");
            }
        }
    }
}

#[test]
fn any_bytes_can_be_a_record() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut found = Code::default();
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> =
            (0..random() % 400 / 8 * 8).map(|_| random() as u8 & random() as u8).collect();
        if bytes.len() < RECORD_BYTES {
            continue;
        }
        let len = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        // As if somebody had made them with care.
        let sum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        if let Some(built) = Record::first(&bytes).unwrap().code((8, 16), &mut found) {
            assert!(
                found.hot as usize <= found.bytes.len()
                    && found.bytes.len() + built.bytes as usize <= bytes.len()
            );
        }
    }
}

#[test]
fn this_program_has_a_name() {
    let id = build_id().expect("the linker leaves a note");
    assert!(id.len() >= 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
}
