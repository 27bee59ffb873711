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
        if result.is_ok() {
            self.succeeded(bytes, begin);
        } else {
            self.time_ns.fetch_add(begin.elapsed().as_nanos() as u64, Relaxed);
            self.failed.fetch_add(1, Relaxed);
        }
        result
    }
    /// The same for a request that will be made in another way if this one comes to nothing.
    pub(super) fn try_run(&self, bytes: u64, request: impl FnOnce() -> bool) -> bool {
        let begin = Instant::now();
        let done = request();
        if done {
            self.succeeded(bytes, begin);
        }
        done
    }
    fn succeeded(&self, bytes: u64, begin: Instant) {
        self.time_ns.fetch_add(begin.elapsed().as_nanos() as u64, Relaxed);
        self.operations.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
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
