//! What passes between a device and its disk, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

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
    pub(super) fn run<T, E>(&self, bytes: u64, request: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
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
