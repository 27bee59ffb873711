//! The file: what one maker has left, in segments that are appended under a lock.
//!
//! It can go at any time: whoever puts it in order (`order.rs`) replaces it, and whoever finds it of no use, or wants its room, removes it. So who
//! appends looks under the lock whether it still is the file that others open.

use super::record::{Record, word};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The first bytes of a file; the last counts the changes of the format.
const MAGIC: [u8; 8] = *b"TINAMOU\x01";
/// The first word of a segment.
pub(super) const SEGMENT: u32 = 0x5345_474d;
/// Bytes of a segment before its table: [`SEGMENT`], records, bytes of them, checksum of the table.
pub(super) const SEGMENT_BYTES: usize = 16;
/// A file that has become longer is begun anew.
pub(super) const LONGEST_FILE: u64 = 128 << 20;
/// Bytes of all files in the directory at most when one is begun: those that were used last stay.
const ALL_FILES: u64 = 256 << 20;
/// A file is opened so often, if others replace it each time.
const ATTEMPTS: usize = 4;

/// What the table of a segment says of a record: hash and bytes; and its place, in units of 8 bytes.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) place: u32,
    pub(super) hash: u32,
    pub(super) len: u32,
}

impl Entry {
    /// As the table has it.
    pub(super) fn bytes(self) -> impl Iterator<Item = u8> {
        [self.hash, self.len].into_iter().flat_map(u32::to_le_bytes)
    }
}

/// The head of a segment.
pub(super) struct Segment {
    at: u64,
    pub(super) records: u32,
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
pub(super) fn segment_head(records: usize, bytes: usize, table: &[u8]) -> Vec<u8> {
    let head = [SEGMENT, records as u32, bytes as u32, crc32fast::hash(table)];
    head.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// A segment of these records.
fn segment(records: &[Record<'_>]) -> Vec<u8> {
    let entry = |r: &Record<'_>| Entry { place: 0, hash: r.hash(), len: r.bytes().len() as u32 };
    let table: Vec<u8> = records.iter().flat_map(|r| entry(r).bytes()).collect();
    let bytes = records.iter().map(|r| r.bytes().len()).sum();
    let mut segment = segment_head(records.len(), bytes, &table);
    segment.extend(table);
    records.iter().for_each(|r| segment.extend(r.bytes()));
    segment
}

/// A file that others wait for until this is dropped. (To close it is not enough: what is mapped of it keeps it locked.)
pub(super) struct Locked<'a>(&'a File);

impl Locked<'_> {
    pub(super) fn new(file: &File) -> io::Result<Locked<'_>> {
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
pub(super) struct Kept {
    pub(super) path: PathBuf,
    /// What it begins with: the format, and the maker's name.
    pub(super) head: Vec<u8>,
    pub(super) file: File,
    /// Where the segments ended when it was opened.
    pub(super) end: usize,
    /// What was found cannot be put in order any more: this is not the file that was read, or that could not be done.
    pub(super) settled: bool,
}

impl Kept {
    /// Opens or begins the file of `maker` in the directory.
    pub(super) fn open(directory: &Path, maker: &str) -> io::Result<Kept> {
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
    pub(super) fn is_current(&self) -> bool {
        let id = |about: std::fs::Metadata| (about.dev(), about.ino());
        let here = self.file.metadata().map(id);
        std::fs::symlink_metadata(&self.path).map(id).is_ok_and(|there| here.is_ok_and(|here| here == there))
    }
    /// The segments of the first `len` bytes, until one has not all of its own.
    pub(super) fn segments(&self, len: u64) -> io::Result<Vec<Segment>> {
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
    pub(super) fn each_entry(&self, end: u64, mut each: impl FnMut(Entry)) -> io::Result<bool> {
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
    pub(super) fn cut(&self) -> io::Result<u64> {
        let len = self.file.metadata()?.len();
        let end = self.segments(len)?.last().map_or(self.head.len() as u64, Segment::end);
        if end < len {
            self.file.set_len(end)?;
        }
        Ok(end)
    }
    /// Appends records, of which it has none, and says where the first one is. `None` if the file has become too long.
    pub(super) fn append(&mut self, records: &[Record<'_>]) -> io::Result<Option<u32>> {
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
