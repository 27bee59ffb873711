//! The persistent code cache: translations that one run leaves to the next (`-accel tcg,code-cache=...`).
//!
//! ```text
//! Shared::translate --find--> a record with the same guest bytes? --from--> those behind it that are of the page, too
//!        |  none                                                    --> Record::code --> Cache::insert
//!        +--> build, emit --> Cache::insert --keep--> journal --> a thread: appends a segment to the file
//! ```
//!
//! A translation depends on the guest's bytes, their offset in the page, the mode, and on what the whole engine was made with; that is
//! the *maker*: the build of this program, the CPU model, the options, what the host can do. Each maker has a file of its own, which begins with its name in full.
//! So a record is right for whoever finds the very bytes in memory that it was made from, in whatever guest, and wherever they lie: code moves by
//! its relocations. Who runs what is found for the first time in this run need not interpret it first either: somebody has come to it twice before.
//!
//! The file (`file.rs`) is appended to, by whole segments under a lock, or replaced by one in better order (`order.rs`), so any number of emulators can share it. A segment has a table of
//! its records in front; a thread reads these tables when the machine starts, and nothing else is touched before it is used. A segment that has not come to
//! its end is cut off by the next who appends. A record (`record.rs`) has a checksum, which is compared when it is used. (Whoever shortens such a file while it is used
//! has the emulators that use it end by a signal, as with any program's file. To remove it does no harm.)
//!
//! Blocks are kept when they have been made for the first time in a run. Not kept are regions, which take little time and follow what the
//! guest does, instructions that cross into another page, and anything while instructions are counted, blocks are checked or logged.

mod file;
mod order;
mod record;

pub(crate) use file::make_directory;
pub(crate) use record::{Name, Record, head};

use crate::raw::FileMap;
use cpu::Built;
use file::Kept;
use host::Code;
use order::{LONGEST_ANEW, MOST, Used};
use record::{encode, half, word};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A journal that is longer is written at once; else when nothing has come for a while.
const LONG: usize = 4 << 20;
/// How long that is.
const WHILE: Duration = Duration::from_millis(250);
/// So few records in that time are as good as none.
const FEW: usize = 64;
/// When so many blocks have been found in the file, what is mapped of it is let go.
const FOUND: u32 = 16384;

/// What is kept, and what will be.
pub(crate) struct Persistent {
    on: AtomicBool,
    /// Blocks found since something was let go.
    found: AtomicU32,
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
    /// The records that were found, and [`NEW`] for each that was added to `records`, in that order.
    used: Vec<Use>,
    /// Nobody will write it.
    closed: bool,
    /// The machine is gone.
    ended: bool,
}

/// A record that was used.
#[derive(Clone, Copy)]
struct Use {
    /// Where it is in the file, in units of 8 bytes.
    place: u32,
    /// Number of the page that its code was for.
    page: u32,
}

impl Use {
    /// For the page at this host address.
    fn new(place: u32, page: u64) -> Use {
        Use { place, page: (page >> 12) as u32 }
    }
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
    /// This record, those behind it, and their places.
    fn from<'a>(&'a self, first: (u32, Record<'a>)) -> impl Iterator<Item = (u32, Record<'a>)> {
        std::iter::successors(Some(first), |&(place, record)| {
            let place = record.behind(place);
            Some((place, self.at(place)?))
        })
    }
    /// Opens the file and reads its tables; removes it and gives `None` if they are damaged.
    fn open(directory: &Path, maker: &str) -> io::Result<Option<(Kept, Known)>> {
        let kept = Kept::open(directory, maker)?;
        let known = Known::read(&kept)?;
        if known.is_none() {
            std::fs::remove_file(&kept.path)?;
        }
        Ok(known.map(|known| (kept, known)))
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

impl Persistent {
    /// Nothing is kept yet; nothing will be before [`Persistent::start`].
    pub(crate) fn new() -> Persistent {
        Persistent { on: AtomicBool::new(false), found: AtomicU32::new(0), inner: Arc::default() }
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
        self.inner.known.get().is_some_and(|known| known.has(name.hash(head)))
    }
    /// The record with this name whose guest's bytes are the first of these, and its place; the very first are `head`.
    pub(crate) fn find(&self, name: Name, head: u64, bytes: &[u8]) -> Option<(u32, Record<'_>)> {
        let known = self.inner.known.get()?;
        known.with(name.hash(head)).find(|(_, r)| r.is_of(name.number(), bytes))
    }
    /// A record that was found, those behind it, and their places.
    pub(crate) fn from<'a>(&'a self, first: (u32, Record<'a>)) -> impl Iterator<Item = (u32, Record<'a>)> {
        self.inner.known.get().into_iter().flat_map(move |known| known.from(first))
    }
    /// The records at these places have been used for the page at this host address.
    pub(crate) fn note(&self, places: &[u32], page: u64) {
        self.found.fetch_add(places.len() as u32, Relaxed);
        let mut journal = self.inner.journal();
        if !journal.closed && journal.used.len() < MOST {
            self.inner.wake_for(&journal);
            journal.used.extend(places.iter().map(|&place| Use::new(place, page)));
        }
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
        page: u64,
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
            journal.used.push(Use::new(NEW, page));
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
        let (mut kept, known) = match Known::open(directory, maker)? {
            Some(whole) => whole,
            // Damaged: nobody would find what is appended.
            None => Known::open(directory, maker)?.ok_or_else(|| io::Error::other("it stays damaged"))?,
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
            for Use { place, page } in order {
                if place != NEW {
                    places.push((Ok(place), page));
                    continue;
                }
                let Some(record) = Record::first(rest) else { break };
                rest = &rest[record.bytes().len()..];
                let Some(guest) = record.guest() else { continue };
                let same = |k: &Record<'_>| k.number() == record.number() && k.guest() == record.guest();
                if let Some((place, _)) = known.with(record.hash()).find(|(_, k)| same(k)) {
                    places.push((Ok(place), page));
                } else if written.insert((record.number(), record.hash(), crc32fast::hash(guest))) {
                    places.push((Err(new.len()), page));
                    new.push(record);
                }
            }
            let mut at = Vec::new();
            if !new.is_empty() {
                let Some(mut place) = kept.append(&new)? else {
                    return Err(io::ErrorKind::StorageFull.into());
                };
                at.extend(new.iter().map(|r| {
                    let next = r.behind(place);
                    std::mem::replace(&mut place, next)
                }));
            }
            if ended {
                return Ok(());
            }
            for (place, page) in places {
                used.note(Use { place: place.unwrap_or_else(|n| at[n]), page });
            }
            if !kept.settled && used.is_scattered() && self.is_quiet() {
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
