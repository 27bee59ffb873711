//! Disks that can be taken back: what snapshots need of a raw image.
//!
//! ```text
//! write --> History::before_write --> Log::keep (old content of a cluster, once for each log) --> the image
//! History::rewind(log) ----------------------------------------------------------------------------> the image
//! ```
//! The image itself is always the present, usable by anybody. For each snapshot there is a [`Log`]: the clusters whose
//! content at that moment was another than the image's now. The content then is the log's cluster where it has one, else the
//! image's. Logs do not depend on each other: one can be deleted, and taking the disk back is a write like any other, so
//! that all other snapshots stay true. Rejected: sending new writes to an overlay, after which the image would be of no
//! use to anybody else.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::UNIX_EPOCH;

use super::{BlockDevice, Layers, RawOptions, check_range};
use crate::Error;

/// The unit that is kept.
pub const CLUSTER: u64 = 64 << 10;
const MAGIC: [u8; 8] = *b"TinDisk\x01";
/// Bytes before the bitmap: magic, length of the image, when it was last changed, whether somebody is changing it.
const HEADER: u64 = 4096;
const STAMP_AT: u64 = 16;
/// Instead of a time: a program that keeps this log is at work on the image, or was when it was cut off.
const AT_WORK: u64 = u64::MAX;
/// Instead of a time: somebody has changed the image who did not keep this log.
const BROKEN: u64 = u64::MAX - 1;

enum Place {
    /// Header, bitmap, then clusters at their own offsets: a sparse file.
    File(File),
    Memory(Mutex<HashMap<u64, Vec<u8>>>),
}

/// What a disk was at one moment, where it has changed since.
pub struct Log {
    place: Place,
    len: u64,
    bitmap: Box<[AtomicU64]>,
}

fn words(len: u64) -> u64 {
    len.div_ceil(CLUSTER * 64)
}

/// When a file was last changed, in nanoseconds after 1970.
fn changed(path: &Path) -> io::Result<u64> {
    let time = std::fs::metadata(path)?.modified()?;
    Ok(time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64))
}

impl Log {
    fn new(place: Place, len: u64) -> Log {
        Log { place, len, bitmap: (0..words(len)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A log in memory for a disk of so many bytes.
    pub fn in_memory(len: u64) -> Log {
        Log::new(Place::Memory(Mutex::default()), len)
    }

    /// A log in a new file.
    ///
    /// # Errors
    /// The host's.
    pub fn create(path: &Path, len: u64) -> io::Result<Log> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        file.write_all_at(&MAGIC, 0)?;
        file.write_all_at(&len.to_le_bytes(), 8)?;
        file.write_all_at(&AT_WORK.to_le_bytes(), STAMP_AT)?;
        file.set_len(HEADER + words(len) * 8)?;
        Ok(Log::new(Place::File(file), len))
    }

    /// The log in a file, for the image at `image`, which this program is about to write to (`writes`) or not.
    ///
    /// # Errors
    /// It belongs to another image, or the image was changed without it.
    pub fn open(path: &Path, image: &Path, len: u64, writes: bool) -> Result<Log, Error> {
        let failed = |e: io::Error| Error::io(format_args!("Could not open '{}'", path.display()), e);
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        let mut head = [0; 24];
        file.read_exact_at(&mut head, 0).map_err(failed)?;
        let number = |at: usize| head[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        if head[..8] != MAGIC || number(8) != len {
            return Err(Error::new(format!("'{}' is of an image of another size", path.display())));
        }
        let stamp = number(STAMP_AT as usize);
        let now = changed(image).map_err(failed)?;
        if stamp == BROKEN || stamp != AT_WORK && stamp != now {
            file.write_all_at(&BROKEN.to_le_bytes(), STAMP_AT).map_err(failed)?;
            return Err(Error::new(format!(
                "the image '{}' was changed by another program since the snapshot was taken",
                image.display()
            )));
        }
        if writes {
            file.write_all_at(&AT_WORK.to_le_bytes(), STAMP_AT).map_err(failed)?;
        }
        let log = Log::new(Place::File(file), len);
        log.read_bitmap().map_err(failed)?;
        Ok(log)
    }

    fn read_bitmap(&self) -> io::Result<()> {
        if let Place::File(file) = &self.place {
            let mut bytes = vec![0; self.bitmap.len() * 8];
            file.read_exact_at(&mut bytes, HEADER)?;
            let (stored, _) = bytes.as_chunks::<8>();
            for (word, bytes) in self.bitmap.iter().zip(stored) {
                word.store(u64::from_le_bytes(*bytes), Release);
            }
        }
        Ok(())
    }

    /// The program ends: the image will not be changed by it any more.
    ///
    /// # Errors
    /// The host's.
    pub fn close(&self, image: &Path) -> io::Result<()> {
        match &self.place {
            Place::File(file) => file.write_all_at(&changed(image)?.to_le_bytes(), STAMP_AT),
            Place::Memory(_) => Ok(()),
        }
    }

    fn has(&self, cluster: u64) -> bool {
        let word = self.bitmap.get((cluster / 64) as usize);
        word.is_none_or(|word| word.load(Acquire) & 1 << (cluster % 64) != 0)
    }

    fn at(&self, cluster: u64) -> u64 {
        HEADER + (self.bitmap.len() as u64 * 8).next_multiple_of(HEADER) + cluster * CLUSTER
    }

    /// Keeps the content of a cluster. First the content, then the bit: whatever is cut off, a bit has its content.
    fn keep(&self, cluster: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.place {
            Place::Memory(map) => {
                map.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster, bytes.to_vec());
            }
            Place::File(file) => file.write_all_at(bytes, self.at(cluster))?,
        }
        let n = (cluster / 64) as usize;
        let Some(word) = self.bitmap.get(n) else { return Ok(()) };
        let bits = word.fetch_or(1 << (cluster % 64), Release) | 1 << (cluster % 64);
        if let Place::File(file) = &self.place {
            file.write_all_at(&bits.to_le_bytes(), HEADER + n as u64 * 8)?;
        }
        Ok(())
    }

    fn read(&self, cluster: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.place {
            Place::Memory(map) => {
                let map = map.lock().unwrap_or_else(PoisonError::into_inner);
                let bytes = map.get(&cluster).filter(|b| b.len() == into.len());
                into.copy_from_slice(bytes.ok_or(io::ErrorKind::NotFound)?);
                Ok(())
            }
            Place::File(file) => file.read_exact_at(into, self.at(cluster)),
        }
    }

    fn clusters(&self) -> Vec<u64> {
        (0..self.len.div_ceil(CLUSTER)).filter(|cluster| self.has(*cluster)).collect()
    }

    /// The disk is again what it was then.
    fn clear(&self) -> io::Result<()> {
        self.bitmap.iter().for_each(|word| word.store(0, Release));
        match &self.place {
            Place::Memory(map) => map.lock().unwrap_or_else(PoisonError::into_inner).clear(),
            Place::File(file) => {
                // The bits first: a cluster without its bit does no harm.
                file.write_all_at(&vec![0; self.bitmap.len() * 8], HEADER)?;
                file.set_len(HEADER + self.bitmap.len() as u64 * 8)?;
            }
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        match &self.place {
            Place::File(file) => file.sync_data(),
            Place::Memory(_) => Ok(()),
        }
    }
}

/// A disk that keeps logs.
pub struct History<D> {
    device: D,
    logs: RwLock<Vec<Arc<Log>>>,
    /// Held while old content is kept.
    keeping: Mutex<()>,
    this: Weak<Self>,
}

/// What snapshots do with a disk that keeps logs.
pub trait Past: Send + Sync {
    /// From now on `log` is kept. For a disk that is an overlay, the clusters that the image does not have go into it
    /// first, if it is to outlive this program.
    ///
    /// # Errors
    /// The host's.
    fn begin(&self, log: Arc<Log>, outlives: bool) -> io::Result<()>;
    /// `log` is kept as well, from an earlier run on.
    fn attach(&self, log: Arc<Log>);
    /// `log` is not needed any more.
    fn forget(&self, log: &Arc<Log>);
    /// Makes the disk what it was when `log` began. Nobody else is at work on it.
    ///
    /// # Errors
    /// The host's; the disk may be partly changed then.
    fn rewind(&self, log: &Arc<Log>) -> io::Result<()>;
    /// The image's path.
    fn image(&self) -> &str;
    /// Whether writes reach the image.
    fn writes_image(&self) -> bool;
}

/// A device that can be below a history.
pub trait Rewindable: BlockDevice {
    /// Parts that lie in a temporary overlay and not in the image; `None` if there is no overlay.
    fn overlaid(&self) -> Option<Vec<std::ops::Range<u64>>>;
    /// The image's path.
    fn image(&self) -> &str;
}

impl<D: Rewindable + 'static> History<D> {
    /// A disk without a past.
    pub fn new(device: D) -> Arc<History<D>> {
        Arc::new_cyclic(|this| History {
            device,
            logs: RwLock::default(),
            keeping: Mutex::default(),
            this: this.clone(),
        })
    }

    fn logs(&self) -> RwLockReadGuard<'_, Vec<Arc<Log>>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is about to be overwritten.
    fn before_write(&self, offset: u64, len: u64) -> io::Result<()> {
        let logs = self.logs();
        if logs.is_empty() || len == 0 {
            return Ok(());
        }
        check_range(self.device.len(), offset, len)?;
        for cluster in offset / CLUSTER..=(offset + len - 1) / CLUSTER {
            if logs.iter().all(|log| log.has(cluster)) {
                continue;
            }
            let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
            let mut bytes = vec![0; CLUSTER.min(self.device.len() - cluster * CLUSTER) as usize];
            self.device.read_at(cluster * CLUSTER, &mut bytes)?;
            for log in logs.iter().filter(|log| !log.has(cluster)) {
                log.keep(cluster, &bytes)?;
            }
        }
        Ok(())
    }
}

impl<D: Rewindable + 'static> Past for History<D> {
    fn begin(&self, log: Arc<Log>, outlives: bool) -> io::Result<()> {
        for range in self.device.overlaid().filter(|_| outlives).unwrap_or_default() {
            for cluster in range.start / CLUSTER..range.end.div_ceil(CLUSTER) {
                if !log.has(cluster) {
                    let mut bytes = vec![0; CLUSTER.min(self.device.len() - cluster * CLUSTER) as usize];
                    self.device.read_at(cluster * CLUSTER, &mut bytes)?;
                    log.keep(cluster, &bytes)?;
                }
            }
        }
        self.attach(log);
        Ok(())
    }

    fn attach(&self, log: Arc<Log>) {
        self.logs.write().unwrap_or_else(PoisonError::into_inner).push(log);
    }

    fn forget(&self, log: &Arc<Log>) {
        self.logs.write().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, log));
    }

    fn rewind(&self, log: &Arc<Log>) -> io::Result<()> {
        let lasting = matches!(log.place, Place::File(_));
        let overlay = self.device.overlaid().is_some();
        let mut bytes = vec![0; CLUSTER as usize];
        let clusters = log.clusters();
        for cluster in &clusters {
            let part = &mut bytes[..CLUSTER.min(self.device.len() - cluster * CLUSTER) as usize];
            log.read(*cluster, part)?;
            // A write like any other: the other logs keep what it overwrites.
            self.write_at(cluster * CLUSTER, part)?;
        }
        // A lasting log of an overlay tells the way from the image, which is still needed.
        if lasting && overlay { Ok(()) } else { log.clear() }
    }

    fn image(&self) -> &str {
        self.device.image()
    }

    fn writes_image(&self) -> bool {
        self.device.overlaid().is_none() && !self.device.read_only()
    }
}

impl<D: Rewindable + 'static> BlockDevice for History<D> {
    fn len(&self) -> u64 {
        self.device.len()
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.device.read_at(offset, bytes)
    }
    fn read_now(&self, offset: u64, bytes: &mut [u8]) -> bool {
        self.device.read_now(offset, bytes)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.before_write(offset, bytes.len() as u64)?;
        self.device.write_at(offset, bytes)
    }
    fn flush(&self) -> io::Result<()> {
        self.logs().iter().try_for_each(|log| log.flush())?;
        self.device.flush()
    }
    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.before_write(offset, len)?;
        self.device.discard(offset, len)
    }
    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        self.before_write(offset, len)?;
        self.device.write_zeroes(offset, len, unmap)
    }
    fn at_once(&self) -> usize {
        self.device.at_once()
    }

    fn read_only(&self) -> bool {
        self.device.read_only()
    }
    fn commit(&self) -> Result<(), Error> {
        self.device.commit()
    }
    fn past(&self) -> Option<Arc<dyn Past>> {
        self.this.upgrade().map(|this| this as Arc<dyn Past>)
    }
    fn resize(&self, len: u64) -> Result<(), Error> {
        if !self.logs().is_empty() {
            return Err(Error::new("the disk has snapshots of its present size"));
        }
        self.device.resize(len)
    }
    fn reopen(&self, options: RawOptions) -> Result<(), Error> {
        self.device.reopen(options)
    }
    fn layers(&self) -> Option<Layers> {
        self.device.layers()
    }
    fn pull(&self, offset: u64, len: u64) -> io::Result<()> {
        self.device.pull(offset, len)
    }
}

#[cfg(test)]
#[path = "history_test.rs"]
mod test;
