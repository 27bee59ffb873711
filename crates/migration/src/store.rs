//! Where snapshots live: a directory, with an index that alone says which files count.
//!
//! ```text
//! IMAGE.snapshots/index       the list: number, tag, date
//! IMAGE.snapshots/3.state     snapshot number 3 (stream.rs)
//! IMAGE.snapshots/3.DISK.disk what has become of a disk since
//! IMAGE.snapshots/lock        held by whoever changes any of these
//! ```
//! A file is written under the number of a snapshot that does not exist yet; then a new index, which names the number,
//! is written and renamed over the old one. Whatever is cut off before that leaves the old list with its files as they
//! were, and files without a number in the list, which the next snapshot removes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base::{Result, error};
use rustix::fs::{FlockOperation, flock};
use state::State;

use crate::image::Image;

/// What the list says of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, State)]
#[state(name = "snapshot")]
pub struct Entry {
    /// The number in the names of its files.
    pub id: u32,
    /// The user's name for it.
    pub tag: String,
    /// When it was taken, in seconds after 1970.
    pub date: u64,
    /// The guest's clock, in nanoseconds.
    pub clock: u64,
    /// Bytes of its file.
    pub size: u64,
    /// Ids of the disks that belong to it.
    pub disks: Vec<String>,
}

impl Entry {
    /// A snapshot that is taken now; without a tag it gets one that tells the time.
    pub fn now(tag: Option<&str>, clock: u64, disks: Vec<String>) -> Entry {
        let date = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let made_up = || {
            let digits: String = utc(date).chars().filter(char::is_ascii_digit).collect();
            format!("vm-{digits}")
        };
        let tag = tag.map_or_else(made_up, str::to_owned);
        Entry { id: 0, tag, date, clock, size: 0, disks }
    }
}

#[derive(Default, State)]
#[state(name = "snapshots")]
struct List {
    next: u32,
    entries: Vec<Entry>,
}

/// The snapshots of one machine.
pub struct Store {
    directory: PathBuf,
    /// Those that are kept in memory, and are gone with the program.
    in_memory: Vec<(Entry, Arc<Image>)>,
}

/// A snapshot that is being written. Nobody else can change the store meanwhile.
pub struct Draft {
    /// Its number.
    pub id: u32,
    list: List,
    _lock: File,
}

impl Store {
    /// The store in a directory, which is made when the first snapshot is.
    pub fn new(directory: PathBuf) -> Store {
        Store { directory, in_memory: Vec::new() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// File of a disk's past in a snapshot.
    pub fn disk_file(&self, id: u32, disk: &str) -> PathBuf {
        let name: String = disk
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
            .collect();
        self.directory.join(format!("{id}.{name}.disk"))
    }

    /// File of a snapshot.
    pub fn state_file(&self, id: u32) -> PathBuf {
        self.directory.join(format!("{id}.state"))
    }

    fn failed(&self, error: &io::Error) -> base::Error {
        error!("the snapshot store '{}' cannot be used: {error}", self.directory.display())
    }

    fn list(&self) -> Result<List> {
        let mut list = List { next: 1, entries: Vec::new() };
        match fs::read(self.directory.join("index")) {
            Ok(bytes) => state::from_bytes(&mut list, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(list)
    }

    /// All snapshots in the order in which they were taken, those in memory last.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut all = self.list()?.entries;
        all.extend(self.in_memory.iter().map(|(entry, _)| entry.clone()));
        Ok(all)
    }

    /// Whether there is a snapshot with a tag on disk.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn is_on_disk(&self, tag: &str) -> Result<bool> {
        Ok(self.list()?.entries.iter().any(|entry| entry.tag == tag))
    }

    /// The snapshot with a tag, opened.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open(&self, tag: &str) -> Result<(Entry, Arc<Image>)> {
        if let Some(found) = self.in_memory.iter().find(|(entry, _)| entry.tag == tag) {
            return Ok(found.clone());
        }
        let entry = self.list()?.entries.into_iter().find(|entry| entry.tag == tag);
        let entry = entry.ok_or_else(|| error!("Snapshot '{tag}' does not exist in one or more devices"))?;
        let image = Image::open(&self.state_file(entry.id))?;
        Ok((entry, Arc::new(image)))
    }

    fn lock(&self) -> Result<(File, List)> {
        let file = fs::create_dir_all(&self.directory)
            .and_then(|()| File::options().create(true).append(true).open(self.directory.join("lock")))
            .and_then(|file| Ok(flock(&file, FlockOperation::LockExclusive).map(|()| file)?))
            .map_err(|e| self.failed(&e))?;
        Ok((file, self.list()?))
    }

    /// Begins a snapshot on disk.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn begin(&self) -> Result<Draft> {
        let (lock, list) = self.lock()?;
        self.sweep(&list);
        Ok(Draft { id: list.next, list, _lock: lock })
    }

    /// Removes files of snapshots that the list does not have: they were never finished, or have been deleted.
    fn sweep(&self, list: &List) {
        for file in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            // The directory may be one that the user keeps other things in.
            let ours = name.ends_with(".state") && name.matches('.').count() == 1 || name.ends_with(".disk");
            let id = name.split('.').next().and_then(|id| id.parse::<u32>().ok());
            if ours && id.is_some_and(|id| list.entries.iter().all(|entry| entry.id != id)) {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    /// Enters a snapshot whose files are written. One with the same tag gives way, on disk or in memory.
    ///
    /// # Errors
    /// The index cannot be written: the list is as it was.
    pub fn commit(&mut self, draft: Draft, mut entry: Entry) -> Result<()> {
        let Draft { id, mut list, _lock } = draft;
        let tag = entry.tag.clone();
        entry.id = id;
        list.next = id.wrapping_add(1);
        list.entries.retain(|e| e.tag != tag);
        list.entries.push(entry);
        self.write(&list)?;
        self.in_memory.retain(|(other, _)| other.tag != tag);
        Ok(())
    }

    /// Gives up a snapshot.
    pub fn abandon(&self, draft: Draft) {
        self.sweep(&draft.list);
    }

    fn write(&self, list: &List) -> Result<()> {
        let write = || -> io::Result<()> {
            let new = self.directory.join("index.new");
            let mut file = File::create(&new)?;
            file.write_all(&state::to_bytes(list))?;
            file.sync_all()?;
            fs::rename(new, self.directory.join("index"))?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|e| self.failed(&e))?;
        self.sweep(list);
        Ok(())
    }

    /// Keeps a snapshot in memory. One with the same tag gives way.
    pub fn keep(&mut self, entry: Entry, image: Arc<Image>) {
        self.in_memory.retain(|(other, _)| other.tag != entry.tag);
        self.in_memory.push((entry, image));
    }

    /// Deletes a snapshot and returns what the list said of it.
    ///
    /// # Errors
    /// There is none with this tag, or the index cannot be written.
    pub fn delete(&mut self, tag: &str) -> Result<Entry> {
        if let Some(at) = self.in_memory.iter().position(|(entry, _)| entry.tag == tag) {
            return Ok(self.in_memory.remove(at).0);
        }
        let missing = || error!("Snapshot '{tag}' does not exist in one or more devices");
        if !self.directory.exists() {
            return Err(missing());
        }
        let (_lock, mut list) = self.lock()?;
        let at = list.entries.iter().position(|entry| entry.tag == tag).ok_or_else(missing)?;
        let entry = list.entries.remove(at);
        self.write(&list)?;
        Ok(entry)
    }
}

/// A date as `YYYY-MM-DD HH:MM:SS`, UTC.
pub fn utc(seconds: u64) -> String {
    // Days since 1 March of year 0, in eras of 400 years (Gregorian calendar).
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    let time = seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60)
}

#[cfg(test)]
#[path = "store_test.rs"]
mod test;
