//! The persistent code cache: translations that one run leaves to the next (`-accel tcg,code-cache=...`).
//!
//! ```text
//! Shared::translate --find--> a record with the same guest bytes? --> Record::code --> Cache::insert
//!        |  none
//!        +--> build, emit --> Cache::insert --keep--> journal --> a thread: appends a segment to the file
//! ```
//!
//! A translation depends on the guest's bytes, their offset in the page, the mode, and on what the whole engine was made with; that is
//! the *maker*: the build of this program, the CPU model, the options, what the host can do. Each maker has a file of its own, which begins with its name in full.
//! So a record is right for whoever finds the very bytes in memory that it was made from, in whatever guest, and wherever they lie: code moves by
//! its relocations. Who runs what is found for the first time in this run need not interpret it first either: somebody has come to it twice before.
//!
//! The file is appended to, by whole segments under a lock, or replaced by one in better order (`order.rs`), so any number of emulators can share it. A segment has a table of
//! its records in front; a thread reads these tables when the machine starts, and nothing else is touched before it is used. A segment that has not come to
//! its end is cut off by the next who appends. A record has a checksum, which is compared when it is used. (Whoever shortens such a file while it is used
//! has the emulators that use it end by a signal, as with any program's file. To remove it does no harm.)
//!
//! Blocks are kept when they have been made for the first time in a run. Not kept are regions, which take little time and follow what the
//! guest does, instructions that cross into another page, and anything while instructions are counted, blocks are checked or logged.

mod order;

use crate::raw::FileMap;
use cpu::Built;
use host::{Code, Link, Point, Relocation};
use order::{LONGEST_ANEW, MOST, Used};
use rustix::fs::{FlockOperation, flock};
use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The first bytes of a file; the last counts the changes of the format.
const MAGIC: [u8; 8] = *b"TINAMOU\x01";
/// The first word of a segment.
const SEGMENT: u32 = 0x5345_474d;
/// Bytes of a segment before its table: [`SEGMENT`], records, bytes of them, checksum of the table.
const SEGMENT_BYTES: usize = 16;
/// Bytes of a record before the guest's: see [`encode`].
const RECORD_BYTES: usize = 32;
/// A file that has become longer is begun anew.
const LONGEST_FILE: u64 = 128 << 20;
/// Bytes of all files in the directory at most when one is begun: those that were used last stay.
const ALL_FILES: u64 = 256 << 20;
/// A journal that is longer is written at once; else when nothing has come for a while.
const LONG: usize = 4 << 20;
/// How long that is.
const WHILE: Duration = Duration::from_millis(250);
/// So few records in that time are as good as none.
const FEW: usize = 64;
/// A file is opened so often, if others replace it each time.
const ATTEMPTS: usize = 4;
/// When so many blocks have been found in the file, what is mapped of it is let go.
const FOUND: u32 = 1024;
/// Records behind the one that was found last that are looked at before the table, of which each look is a miss of the host's caches.
const NEXT: usize = 4;
/// Bytes of the guest, from an entry on, that are part of a record's hash. (A shorter block is found only where what follows is the same, too.)
const HEAD: u16 = 8;

/// What a record is looked for by, besides the guest's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    pub(crate) offset: u16,
    pub(crate) mode: u32,
    pub(crate) alone: bool,
    /// Number of the page among those that its jumps can be linked to, and 1; 0 if it can jump to its own alone.
    pub(crate) reach: u16,
}

impl Name {
    fn number(self) -> u32 {
        self.offset as u32 >> 1
            | (self.mode & 0x7f) << 11
            | (self.alone as u32) << 18
            | (self.reach as u32) << 19
    }
    /// What the tables have of a record at whose entry the guest has `head`: nothing of the reach.
    fn hash(self, head: u64) -> u32 {
        let mixed = (head ^ ((self.number() & 0x7_ffff) as u64).wrapping_mul(0xd6e8_feb8_6659_fd93))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
    }
}

/// The bytes at an offset of a page, as a number; zeros behind its end. `load` gives eight bytes.
pub(crate) fn head(offset: u16, load: impl FnOnce(u16) -> u64) -> u64 {
    let at = offset.min(4096 - HEAD);
    load(at) >> (8 * (offset - at))
}

/// What is kept, and what will be.
pub(crate) struct Persistent {
    on: AtomicBool,
    /// Blocks found since something was let go.
    found: AtomicU32,
    /// Place of the record behind the one that was found last.
    next: AtomicU32,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    known: OnceLock<Known>,
    journal: Mutex<Journal>,
    come: Condvar,
}

#[derive(Default)]
struct Journal {
    records: Vec<u8>,
    /// Places of the records that were found, and [`NEW`] for each that was added to `records`, in that order.
    used: Vec<u32>,
    /// Nobody will write it.
    closed: bool,
    /// The machine is gone.
    ended: bool,
}

/// No place: the file begins there.
const NEW: u32 = 0;

impl Journal {
    fn is_empty(&self) -> bool {
        self.used.is_empty()
    }
    /// Nobody will look at it.
    fn close(&mut self) {
        *self = Journal { closed: true, ended: self.ended, ..Journal::default() };
    }
}

/// The file as it was when it was read.
struct Known {
    map: FileMap,
    records: usize,
    /// Hash above, a record's place in units of 8 bytes below; 0 for none.
    table: Box<[u64]>,
}

/// A translation as the file has it: checksum of what follows, bytes in all (a multiple of 8), name's number, hash; guest's bytes, how
/// many of them the instructions have, how many instructions, hot bytes, bytes of code, links, points, relocations; then the
/// guest's bytes, the code, and the lists in this order. The code was made for offset 0 of code memory.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a>(&'a [u8]);

/// Numbers of two bytes are smaller. Stands for no stub of a link, and marks a relocation that leads to the common code.
const MARK: u16 = 1 << 15;

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Appends a record. `None`, and nothing appended, if a number is too large.
fn encode(
    out: &mut Vec<u8>,
    (name, hash): (Name, u32),
    guest: &[u8],
    built: &Built,
    code: &Code,
) -> Option<()> {
    let small = |n: usize| u16::try_from(n).ok().filter(|&n| n < MARK);
    let counts = [
        small(guest.len())?,
        small(built.length as usize)?,
        small(built.insns as usize)?,
        small(code.hot as usize)?,
        small(code.bytes.len())?,
        small(code.links.len())?,
        small(code.points.len())?,
        small(code.relocations.len())?,
    ];
    let start = out.len();
    out.extend([0; 8]);
    out.extend([name.number(), hash].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(counts.iter().flat_map(|n| n.to_le_bytes()));
    out.extend(guest);
    out.extend(&code.bytes);
    let mut put = |n: u16| out.extend(n.to_le_bytes());
    for l in &code.links {
        let target = l.target as i32 as u32;
        let stub = l.stub.map_or(MARK, |stub| stub as u16);
        let guard = l.guard.map_or(MARK, |guard| guard as u16);
        [l.at as u16, stub, target as u16, (target >> 16) as u16, guard].into_iter().for_each(&mut put);
    }
    for p in &code.points {
        [p.return_offset as u16, p.insn as u16].into_iter().for_each(&mut put);
    }
    for r in &code.relocations {
        put(r.at as u16 | if r.common { MARK } else { 0 });
    }
    out.resize(start + (out.len() - start).next_multiple_of(8), 0);
    let bytes = (out.len() - start) as u32;
    out[start + 4..start + 8].copy_from_slice(&bytes.to_le_bytes());
    let sum = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    Some(())
}

impl<'a> Record<'a> {
    /// The record at the beginning of these bytes, if it has all of its own.
    fn first(bytes: &'a [u8]) -> Option<Record<'a>> {
        let len = word(bytes, 4)? as usize;
        let record = bytes.get(..len).filter(|_| len >= RECORD_BYTES && len.is_multiple_of(8))?;
        Some(Record(record))
    }
    fn number(self) -> u32 {
        word(self.0, 8).unwrap_or_default()
    }
    fn hash(self) -> u32 {
        word(self.0, 12).unwrap_or_default()
    }
    fn count(self, n: usize) -> usize {
        half(self.0, 16 + 2 * n).unwrap_or_default().into()
    }
    /// The guest's bytes.
    fn guest(self) -> Option<&'a [u8]> {
        self.0.get(RECORD_BYTES..RECORD_BYTES + self.count(0))
    }
    /// Whether it has this number and was made of the first of these bytes.
    fn is_of(self, number: u32, bytes: &[u8]) -> bool {
        self.number() == number && self.guest().is_some_and(|guest| bytes.starts_with(guest))
    }
    /// Writes the code, for the offsets in code memory, into `code`. What the guest's half has to say of it; `None` if the record is damaged.
    pub(crate) fn code(self, (base, apart): (usize, usize), code: &mut Code) -> Option<Built> {
        if crc32fast::hash(self.0.get(4..)?) != word(self.0, 0)? {
            return None;
        }
        let [bytes, length, insns, hot, len, links, points, relocations] =
            std::array::from_fn(|n| self.count(n));
        let rest = self.0.get(RECORD_BYTES + bytes..)?;
        let (host, rest) = rest.split_at_checked(len)?;
        let (links, rest) = rest.split_at_checked(10 * links)?;
        let (points, rest) = rest.split_at_checked(4 * points)?;
        let relocations = rest.get(..2 * relocations)?;
        code.bytes.clear();
        code.bytes.extend_from_slice(host);
        code.hot = hot.min(len) as u32;
        code.links.clear();
        code.links.extend(links.chunks_exact(10).filter_map(|l| {
            let [stub, guard] = [2, 8].map(|at| half(l, at).filter(|&n| n != MARK).map(u32::from));
            Some(Link { at: half(l, 0)?.into(), stub, target: (word(l, 4)? as i32).into(), guard })
        }));
        code.points.clear();
        code.points.extend(
            points
                .chunks_exact(4)
                .filter_map(|p| Some(Point { return_offset: half(p, 0)?.into(), insn: half(p, 2)?.into() })),
        );
        code.relocations.clear();
        code.relocations.extend(
            relocations
                .chunks_exact(2)
                .filter_map(|r| half(r, 0))
                .map(|r| Relocation { at: (r & !MARK).into(), common: r & MARK != 0 }),
        );
        code.move_by(base as u32, apart as u32);
        let from = (self.number() << 1) as u16 & 4095;
        Some(Built { insns: insns as u32, from, bytes: bytes as u32, length: length as u32 })
    }
}

impl Known {
    /// Whether there may be a record with this hash: who only asks does not touch it.
    fn has(&self, hash: u32) -> bool {
        self.entries(hash).next().is_some()
    }
    /// The entries of the table with this hash.
    fn entries(&self, hash: u32) -> impl Iterator<Item = u64> {
        let mask = self.table.len() - 1;
        let all = (0..=mask).map(move |n| self.table[(hash as usize + n) & mask]);
        all.take_while(|&entry| entry != 0).filter(move |entry| (entry >> 32) as u32 == hash)
    }
    /// The record at a place.
    fn at(&self, place: u32) -> Option<Record<'_>> {
        Record::first(self.map.bytes().get(8 * place as usize..)?)
    }
    /// The records with this hash, and their places.
    fn with(&self, hash: u32) -> impl Iterator<Item = (u32, Record<'_>)> {
        self.entries(hash).filter_map(|entry| Some((entry as u32, self.at(entry as u32)?)))
    }
    /// The first [`NEXT`] records from a place on with this hash, and their places.
    fn next_with(&self, place: u32, hash: u32) -> impl Iterator<Item = (u32, Record<'_>)> {
        let first = Some(place).filter(|&place| place != 0).and_then(|place| Some((place, self.at(place)?)));
        let next = |&(place, record): &(u32, Record<'_>)| {
            let place = place + record.0.len() as u32 / 8;
            Some((place, self.at(place)?))
        };
        std::iter::successors(first, next).take(NEXT).filter(move |(_, r)| r.hash() == hash)
    }
    /// Reads the tables. `None` if they do not come to the end.
    fn read(kept: &Kept) -> io::Result<Option<Known>> {
        let segments = kept.segments(kept.end as u64)?;
        let records = segments.iter().map(|s| s.records as usize).sum::<usize>();
        let places = (records * 4 / 3 + 1).next_power_of_two();
        let mut table = vec![0; places].into_boxed_slice();
        let whole = kept.each_entry(kept.end as u64, |entry| {
            let mut at = entry.hash as usize & (places - 1);
            while table[at] != 0 {
                at = (at + 1) & (places - 1);
            }
            table[at] = (entry.hash as u64) << 32 | entry.place as u64;
        })?;
        Ok(whole.then_some(Known { map: FileMap::new(&kept.file, kept.end)?, records, table }))
    }
}

/// What the table of a segment says of a record: hash and bytes; and its place, in units of 8 bytes.
#[derive(Clone, Copy)]
struct Entry {
    place: u32,
    hash: u32,
    len: u32,
}

impl Entry {
    /// As the table has it.
    fn bytes(self) -> impl Iterator<Item = u8> {
        [self.hash, self.len].into_iter().flat_map(u32::to_le_bytes)
    }
}

/// The head of a segment.
struct Segment {
    at: u64,
    records: u32,
    bytes: u32,
    sum: u32,
}

impl Segment {
    fn table_bytes(&self) -> u64 {
        8 * self.records as u64
    }
    fn end(&self) -> u64 {
        self.at + SEGMENT_BYTES as u64 + self.table_bytes() + self.bytes as u64
    }
}

/// The head of a segment of so many records with so many bytes.
fn segment_head(records: usize, bytes: usize, table: &[u8]) -> Vec<u8> {
    let head = [SEGMENT, records as u32, bytes as u32, crc32fast::hash(table)];
    head.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// A segment of these records.
fn segment(records: &[Record<'_>]) -> Vec<u8> {
    let entry = |r: &Record<'_>| Entry { place: 0, hash: r.hash(), len: r.0.len() as u32 };
    let table: Vec<u8> = records.iter().flat_map(|r| entry(r).bytes()).collect();
    let bytes = records.iter().map(|r| r.0.len()).sum();
    let mut segment = segment_head(records.len(), bytes, &table);
    segment.extend(table);
    records.iter().for_each(|r| segment.extend(r.0));
    segment
}

/// A file that others wait for until this is dropped. (To close it is not enough: what is mapped of it keeps it locked.)
struct Locked<'a>(&'a File);

impl Locked<'_> {
    fn new(file: &File) -> io::Result<Locked<'_>> {
        flock(file, FlockOperation::LockExclusive)?;
        Ok(Locked(file))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // It was locked, so it can be unlocked.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

/// The file of one maker.
struct Kept {
    path: PathBuf,
    /// What it begins with: the format, and the maker's name.
    head: Vec<u8>,
    file: File,
    /// Where the segments ended when it was opened.
    end: usize,
    /// What was found cannot be put in order any more: this is not the file that was read, or that could not be done.
    settled: bool,
}

impl Kept {
    /// Opens or begins the file of `maker` in the directory.
    fn open(directory: &Path, maker: &str) -> io::Result<Kept> {
        make_directory(directory)?;
        let mut head = MAGIC.to_vec();
        head.extend((maker.len() as u64).to_le_bytes());
        head.extend(maker.as_bytes());
        head.resize(head.len().next_multiple_of(8), 0);
        let path = directory.join(format!("{:08x}.code", crc32fast::hash(&head)));
        Kept::open_at(path, head)
    }
    fn open_at(path: PathBuf, head: Vec<u8>) -> io::Result<Kept> {
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
                .open(&path)?;
            let about = file.metadata()?;
            // What is run must be one's own.
            if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may write it"));
            }
            let kept = Kept { path: path.clone(), head: head.clone(), file, end: 0, settled: false };
            if let Some(end) = kept.begin()? {
                return Ok(Kept { end, ..kept });
            }
        }
        Err(io::Error::other("it cannot be begun anew"))
    }
    /// Begins the file if it is empty, and says where its segments end. `None` if it is of no use: another file will have to be opened.
    fn begin(&self) -> io::Result<Option<usize>> {
        let _locked = Locked::new(&self.file)?;
        if !self.is_current() {
            return Ok(None);
        }
        let len = self.file.metadata()?.len();
        if len == 0 {
            if let Some(directory) = self.path.parent() {
                forget_old(directory, &self.path);
            }
            (&self.file).write_all(&self.head)?;
        }
        let mut found = vec![0; self.head.len()];
        if self.file.read_exact_at(&mut found, 0).is_ok() && found == self.head && len < LONGEST_FILE {
            return Ok(Some(self.cut()? as usize));
        }
        // Others may go on with it.
        std::fs::remove_file(&self.path)?;
        Ok(None)
    }
    /// Whether this is the file that others open. To be asked under the lock.
    fn is_current(&self) -> bool {
        let id = |about: std::fs::Metadata| (about.dev(), about.ino());
        let here = self.file.metadata().map(id);
        std::fs::symlink_metadata(&self.path).map(id).is_ok_and(|there| here.is_ok_and(|here| here == there))
    }
    /// Opens the file and reads its tables; removes it and gives `None` if they are damaged.
    fn read(directory: &Path, maker: &str) -> io::Result<Option<(Kept, Known)>> {
        let kept = Kept::open(directory, maker)?;
        let known = Known::read(&kept)?;
        if known.is_none() {
            std::fs::remove_file(&kept.path)?;
        }
        Ok(known.map(|known| (kept, known)))
    }
    /// The segments of the first `len` bytes, until one has not all of its own.
    fn segments(&self, len: u64) -> io::Result<Vec<Segment>> {
        let (mut segments, mut at, mut head) = (Vec::new(), self.head.len() as u64, [0; SEGMENT_BYTES]);
        while at + SEGMENT_BYTES as u64 <= len {
            self.file.read_exact_at(&mut head, at)?;
            let [mark, records, bytes, sum] = [0, 4, 8, 12].map(|n| word(&head, n).unwrap_or_default());
            let segment = Segment { at, records, bytes, sum };
            if mark != SEGMENT || segment.end() > len {
                break;
            }
            at = segment.end();
            segments.push(segment);
        }
        Ok(segments)
    }
    /// Calls `each` with what the tables say of each record of the first `end` bytes. False if they are damaged.
    fn each_entry(&self, end: u64, mut each: impl FnMut(Entry)) -> io::Result<bool> {
        let (mut table, mut whole) = (Vec::new(), self.head.len() as u64);
        for segment in self.segments(end)? {
            table.resize(segment.table_bytes() as usize, 0);
            self.file.read_exact_at(&mut table, segment.at + SEGMENT_BYTES as u64)?;
            if segment.sum != crc32fast::hash(&table) {
                return Ok(false);
            }
            let mut place = segment.at + SEGMENT_BYTES as u64 + segment.table_bytes();
            for entry in table.chunks_exact(8) {
                let (hash, len) = (word(entry, 0).unwrap_or_default(), word(entry, 4).unwrap_or_default());
                each(Entry { place: (place / 8) as u32, hash, len });
                place += len as u64;
            }
            whole = segment.end();
        }
        Ok(whole == end)
    }
    /// Cuts off what is no whole segment at the end, and says where that is. The file is locked.
    fn cut(&self) -> io::Result<u64> {
        let len = self.file.metadata()?.len();
        let end = self.segments(len)?.last().map_or(self.head.len() as u64, Segment::end);
        if end < len {
            self.file.set_len(end)?;
        }
        Ok(end)
    }
    /// Appends records, of which it has none, and says where the first one is. `None` if the file has become too long.
    fn append(&mut self, records: &[Record<'_>]) -> io::Result<Option<u32>> {
        for _ in 0..ATTEMPTS {
            let locked = Locked::new(&self.file)?;
            if self.is_current() {
                let (at, segment) = (self.cut()?, segment(records));
                if at + segment.len() as u64 > LONGEST_FILE {
                    return Ok(None);
                }
                (&self.file).write_all(&segment)?;
                return Ok(Some((at as usize + SEGMENT_BYTES + 8 * records.len()) as u32 / 8));
            }
            drop(locked);
            // Somebody has put it in order, or removed it.
            *self = Kept { settled: true, ..Kept::open_at(self.path.clone(), self.head.clone())? };
        }
        Err(io::Error::other("others replace it again and again"))
    }
}

/// Makes the directory, and those above it, if they are not there.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Makes room for a file at `path`: of the others only those stay that were written last.
fn forget_old(directory: &Path, path: &Path) {
    let Ok(files) = std::fs::read_dir(directory) else { return };
    let mut files: Vec<_> = files
        .flatten()
        .filter(|f| f.path() != path && f.path().extension().is_some_and(|e| e == "code"))
        .filter_map(|f| Some((f.metadata().ok()?, f.path())))
        .collect();
    files.sort_by_key(|(about, _)| std::cmp::Reverse(about.modified().ok()));
    let mut sum = LONGEST_FILE;
    for (about, path) in files {
        sum += about.len();
        if sum > ALL_FILES {
            // Another emulator may be as quick.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Persistent {
    /// Nothing is kept yet; nothing will be before [`Persistent::start`].
    pub(crate) fn new() -> Persistent {
        Persistent {
            on: AtomicBool::new(false),
            found: AtomicU32::new(0),
            next: AtomicU32::new(0),
            inner: Arc::default(),
        }
    }
    /// Reads what `maker` has left in the directory, and keeps what comes from now on, both on a thread.
    pub(crate) fn start(&self, directory: PathBuf, maker: String) {
        if self.on.swap(true, Relaxed) {
            return;
        }
        let inner = self.inner.clone();
        let thread = std::thread::Builder::new().name("code-cache".into()).spawn(move || {
            // It is not worth a word to somebody who may not have such a directory at all.
            if inner.run(&directory, &maker).is_err() {
                inner.journal().close();
            }
        });
        if thread.is_err() {
            self.inner.journal().closed = true;
        }
    }
    /// Whether anything is kept.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }
    /// How many blocks earlier runs have left, once that is known.
    pub(crate) fn known(&self) -> Option<usize> {
        self.inner.known.get().map(|known| known.records)
    }
    /// Whether there may be a record with this name; `head` are the guest's bytes there.
    pub(crate) fn has(&self, name: Name, head: u64) -> bool {
        let hash = name.hash(head);
        self.inner.known.get().is_some_and(|known| {
            known.next_with(self.next.load(Relaxed), hash).next().is_some() || known.has(hash)
        })
    }
    /// The record with this name whose guest's bytes are the first of these; the very first are `head`.
    pub(crate) fn find(&self, name: Name, head: u64, bytes: &[u8]) -> Option<Record<'_>> {
        let (known, hash) = (self.inner.known.get()?, name.hash(head));
        let near = known.next_with(self.next.load(Relaxed), hash);
        let (place, found) = near.chain(known.with(hash)).find(|(_, r)| r.is_of(name.number(), bytes))?;
        self.next.store(place + found.0.len() as u32 / 8, Relaxed);
        self.found.fetch_add(1, Relaxed);
        let mut journal = self.inner.journal();
        if !journal.closed && journal.used.len() < MOST {
            self.inner.wake_for(&journal);
            journal.used.push(place);
        }
        Some(found)
    }
    /// What is mapped of the file counts as memory of this process: lets it go now and then. For a thread that has the time.
    pub(crate) fn let_go(&self) {
        if self.found.load(Relaxed) >= FOUND
            && let Some(known) = self.inner.known.get()
        {
            self.found.store(0, Relaxed);
            known.map.let_go();
        }
    }
    /// Keeps a translation of the first of these bytes. The code runs at these offsets of code memory; it is of no use afterwards.
    pub(crate) fn keep(
        &self,
        (name, head, bytes): (Name, u64, &[u8]),
        built: &Built,
        (base, apart): (usize, usize),
        code: &mut Code,
    ) {
        let Some(guest) = bytes.get(..built.bytes as usize).filter(|_| built.from == name.offset) else {
            return;
        };
        let mut journal = self.inner.journal();
        if journal.closed || journal.records.len() > 2 * LONG {
            return;
        }
        code.move_by((base as u32).wrapping_neg(), (apart as u32).wrapping_neg());
        let was_long = journal.records.len() >= LONG;
        if encode(&mut journal.records, (name, name.hash(head)), guest, built, code).is_some() {
            self.inner.wake_for(&journal);
            if !was_long && journal.records.len() >= LONG {
                self.inner.come.notify_one();
            }
            journal.used.push(NEW);
        }
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        self.inner.journal().ended = true;
        self.inner.come.notify_one();
    }
}

impl Inner {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Has the thread wait for the end of what begins now.
    fn wake_for(&self, journal: &Journal) {
        if journal.is_empty() {
            self.come.notify_one();
        }
    }
    fn run(&self, directory: &Path, maker: &str) -> io::Result<()> {
        let (mut kept, known) = match Kept::read(directory, maker)? {
            Some(whole) => whole,
            // Damaged: nobody would find what is appended.
            None => Kept::read(directory, maker)?.ok_or_else(|| io::Error::other("it stays damaged"))?,
        };
        let known = self.known.get_or_init(|| known);
        // What has been written since, and all that has been used.
        let (mut written, mut used) = (HashSet::new(), Used::default());
        loop {
            let Journal { records, used: order, ended, .. } = self.wait();
            let mut rest = &records[..];
            let mut new = Vec::new();
            // What is new has its place when it is written: for now its number.
            let mut places = Vec::with_capacity(order.len());
            for place in order {
                if place != NEW {
                    places.push(Ok(place));
                    continue;
                }
                let Some(record) = Record::first(rest) else { break };
                rest = &rest[record.0.len()..];
                let Some(guest) = record.guest() else { continue };
                let same = |k: &Record<'_>| k.number() == record.number() && k.guest() == record.guest();
                if let Some((place, _)) = known.with(record.hash()).find(|(_, k)| same(k)) {
                    places.push(Ok(place));
                } else if written.insert((record.number(), record.hash(), crc32fast::hash(guest))) {
                    places.push(Err(new.len()));
                    new.push(record);
                }
            }
            let mut at = Vec::new();
            if !new.is_empty() {
                let Some(mut place) = kept.append(&new)? else {
                    return Err(io::ErrorKind::StorageFull.into());
                };
                at.extend(new.iter().map(|r| {
                    let next = place + r.0.len() as u32 / 8;
                    std::mem::replace(&mut place, next)
                }));
            }
            if ended {
                return Ok(());
            }
            for place in places {
                used.note(place.unwrap_or_else(|n| at[n]), place.is_ok());
            }
            if !kept.settled && used.is_out_of_order() && self.is_quiet() {
                match kept.put_in_order(&used, LONGEST_ANEW) {
                    Ok(Some(anew)) => kept = anew,
                    // Others have been here, or there is no room: the file as it is will do.
                    _ => kept.settled = true,
                }
            }
        }
    }
    /// Waits for a long journal, or one that nothing is added to for a while; takes it.
    fn wait(&self) -> Journal {
        let mut journal = self.journal();
        loop {
            let before = journal.used.len();
            if before == 0 && !journal.ended {
                journal = self.come.wait(journal).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if !journal.ended && journal.records.len() < LONG {
                let (now, _) = self.come.wait_timeout(journal, WHILE).unwrap_or_else(PoisonError::into_inner);
                journal = now;
                if journal.used.len() > before + FEW && journal.records.len() < LONG && !journal.ended {
                    continue;
                }
            }
            let ended = journal.ended;
            return std::mem::replace(&mut *journal, Journal { ended, ..Journal::default() });
        }
    }
    /// Whether nothing comes for another while.
    fn is_quiet(&self) -> bool {
        let nothing = |journal: &mut Journal| journal.used.len() <= FEW && !journal.ended;
        let (_journal, wait) = self
            .come
            .wait_timeout_while(self.journal(), WHILE, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        wait.timed_out()
    }
}

/// What names this program among all builds of it: the note that the linker has left (`.note.gnu.build-id`). `None` if it has not.
pub(crate) fn build_id() -> Option<String> {
    let file = File::open("/proc/self/exe").ok()?;
    let mut head = vec![0; 4096];
    let n = file.read_at(&mut head, 0).ok()?;
    head.truncate(n);
    // ELF of 64 bits: program headers at 32, their size and number at 54 and 56; of each type, offset at 8, size at 32.
    let at = u64::from_le_bytes(*head.get(32..)?.first_chunk()?) as usize;
    let (size, number) = (half(&head, 54)? as usize, half(&head, 56)? as usize);
    (0..number).filter_map(|n| head.get(at + n * size..)).filter(|h| word(h, 0) == Some(4)).find_map(|h| {
        let [at, len] =
            [8, 32].map(|n| h.get(n..).and_then(|b| b.first_chunk()).map(|b| u64::from_le_bytes(*b)));
        let mut notes = vec![0; len?.min(4096) as usize];
        file.read_exact_at(&mut notes, at?).ok()?;
        let mut rest = &notes[..];
        // Sizes of name and contents, kind; then these, each filled up to four bytes.
        while let (Some(name), Some(len), Some(kind)) = (word(rest, 0), word(rest, 4), word(rest, 8)) {
            let begin = 12 + (name as usize).next_multiple_of(4);
            if kind == 3 && rest.get(12..16) == Some(b"GNU\0") {
                let id = rest.get(begin..begin + len as usize)?;
                return Some(id.iter().map(|b| format!("{b:02x}")).collect());
            }
            rest = rest.get(begin + (len as usize).next_multiple_of(4)..)?;
        }
        None
    })
}

#[cfg(test)]
#[path = "persist_test.rs"]
mod test;
