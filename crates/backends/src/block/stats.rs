//! What passes between a device and its disk, counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::{BlockDevice, Past};
use crate::Error;

/// A kind of requests.
#[derive(Debug, Default)]
pub struct Count {
    /// Requests that succeeded.
    pub operations: AtomicU64,
    /// Requests that did not.
    pub failed: AtomicU64,
    /// Bytes of those that succeeded.
    pub bytes: AtomicU64,
    /// The time that all of them took.
    pub time_ns: AtomicU64,
}

impl Count {
    fn run<T, E>(&self, bytes: u64, request: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let begin = Instant::now();
        let result = request();
        self.time_ns.fetch_add(begin.elapsed().as_nanos() as u64, Relaxed);
        if result.is_ok() {
            self.operations.fetch_add(1, Relaxed);
            self.bytes.fetch_add(bytes, Relaxed);
        } else {
            self.failed.fetch_add(1, Relaxed);
        }
        result
    }
}

/// The counts of one disk.
#[derive(Debug, Default)]
pub struct BlockStats {
    /// Reading.
    pub read: Count,
    /// Writing.
    pub write: Count,
    /// Flushing; has no bytes.
    pub flush: Count,
    /// Giving space back.
    pub unmap: Count,
    /// End of the furthest write.
    pub highest: AtomicU64,
}

/// A disk that is counted.
pub(super) struct Counted {
    device: Arc<dyn BlockDevice>,
    stats: Arc<BlockStats>,
}

impl Counted {
    /// Puts counters before a disk.
    pub(super) fn over(device: Arc<dyn BlockDevice>, stats: &Arc<BlockStats>) -> Arc<dyn BlockDevice> {
        Arc::new(Counted { device, stats: stats.clone() })
    }
}

impl BlockDevice for Counted {
    fn len(&self) -> u64 {
        self.device.len()
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.stats.read.run(bytes.len() as u64, || self.device.read_at(offset, bytes))
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        self.stats.write.run(bytes.len() as u64, || self.device.write_at(offset, bytes))?;
        self.stats.highest.fetch_max(end, Relaxed);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        self.stats.flush.run(0, || self.device.flush())
    }
    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.stats.unmap.run(len, || self.device.discard(offset, len))
    }
    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        self.stats.write.run(len, || self.device.write_zeroes(offset, len, unmap))?;
        self.stats.highest.fetch_max(offset.saturating_add(len), Relaxed);
        Ok(())
    }
    fn read_only(&self) -> bool {
        self.device.read_only()
    }
    fn past(&self) -> Option<&dyn Past> {
        self.device.past()
    }
    fn commit(&self) -> Result<(), Error> {
        self.device.commit()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::block::NullDevice;

    #[test]
    fn requests_are_counted() {
        let stats = Arc::<BlockStats>::default();
        let disk = Counted::over(Arc::new(NullDevice { len: 4096, read_only: false }), &stats);
        disk.read_at(0, &mut [0; 512]).unwrap();
        disk.write_at(512, &[0; 1024]).unwrap();
        disk.write_at(0, &[0; 512]).unwrap();
        disk.flush().unwrap();
        assert!(disk.read_at(4096, &mut [0; 512]).is_err());
        let of = |count: &Count| [&count.operations, &count.failed, &count.bytes].map(|n| n.load(Relaxed));
        assert_eq!(of(&stats.read), [1, 1, 512]);
        assert_eq!(of(&stats.write), [2, 0, 1536]);
        assert_eq!(of(&stats.flush), [1, 0, 0]);
        assert_eq!(stats.highest.load(Relaxed), 1536);
    }
}
