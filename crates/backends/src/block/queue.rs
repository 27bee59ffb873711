//! Requests that run beside the vCPUs.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::BlockDevice;
use super::pool::{Pool, WORKERS, locked};

/// One request. Buffers are owned, since the guest may change its memory at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read `len` bytes; they come with the completion.
    Read {
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
    /// Write these bytes.
    Write {
        /// Where, in bytes.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Wait for the medium; covers the requests that completed before it was submitted.
    Flush,
    /// [`BlockDevice::discard`].
    Discard {
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// [`BlockDevice::write_zeroes`].
    WriteZeroes {
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// Space may be given back to the host.
        unmap: bool,
    },
}

/// The queue in front of one device: work for it, done by the threads of a [`Pool`]. Requests may overtake each other; a
/// device that needs an order waits for completions. Dropping the last queue of a pool finishes what has been submitted.
pub struct BlockQueue {
    device: Arc<dyn BlockDevice>,
    pool: Arc<Pool>,
    counts: Arc<Counts>,
}

/// What of a queue is under way.
#[derive(Default)]
struct Counts {
    state: Mutex<Under>,
    /// Nothing is under way.
    idle: Condvar,
}

#[derive(Default)]
struct Under {
    queued: usize,
    running: usize,
}

impl BlockQueue {
    /// A queue for `device` with threads of its own, which are started as requests come.
    pub fn new(device: Arc<dyn BlockDevice>) -> BlockQueue {
        BlockQueue::on(Arc::new(Pool::new("block")), device)
    }

    /// A queue for `device` with the threads of a pool, which others may use, too.
    pub fn on(pool: Arc<Pool>, device: Arc<dyn BlockDevice>) -> BlockQueue {
        BlockQueue { device, pool, counts: Arc::default() }
    }

    /// The device behind the queue, for its length and for calls that may block.
    pub fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }

    /// Submits a request. `done` is called on a worker thread, with the bytes if it was a read (else with
    /// none); it may take the device's lock, and may submit more.
    pub fn submit(&self, request: Request, done: impl FnOnce(io::Result<Vec<u8>>) + Send + 'static) {
        self.run(move |device| done(perform(device, request)));
    }

    /// Runs `work` on a worker thread: for a device that reads and writes guest memory directly.
    pub fn run(&self, work: impl FnOnce(&dyn BlockDevice) + Send + 'static) {
        let (device, counts) = (self.device.clone(), self.counts.clone());
        locked(&counts.state).queued += 1;
        self.pool.run(Box::new(move || {
            let mut under = locked(&counts.state);
            under.queued -= 1;
            under.running += 1;
            drop(under);
            work(&*device);
            let mut under = locked(&counts.state);
            under.running -= 1;
            if under.running == 0 && under.queued == 0 {
                counts.idle.notify_all();
            }
        }));
    }

    /// Returns when everything submitted before this call has completed, or waits for the machine to go on. Not to be
    /// called with a lock that a completion takes.
    pub fn drain(&self) {
        let mut under = locked(&self.counts.state);
        loop {
            let held = self.device.held();
            // Where all threads wait for the machine to go on, nobody begins what is queued.
            if under.running <= held && (under.queued == 0 || held >= WORKERS) {
                return;
            }
            // Nobody tells when a request begins to wait for the machine to go on.
            let pause = std::time::Duration::from_millis(10);
            under = self.counts.idle.wait_timeout(under, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn perform(device: &dyn BlockDevice, request: Request) -> io::Result<Vec<u8>> {
    let nothing = |()| Vec::new();
    match request {
        Request::Read { offset, len } => {
            super::check_range(device.len(), offset, len as u64)?;
            let mut bytes = vec![0; len];
            device.read_at(offset, &mut bytes)?;
            Ok(bytes)
        }
        Request::Write { offset, bytes } => device.write_at(offset, &bytes).map(nothing),
        Request::Flush => device.flush().map(nothing),
        Request::Discard { offset, len } => device.discard(offset, len).map(nothing),
        Request::WriteZeroes { offset, len, unmap } => device.write_zeroes(offset, len, unmap).map(nothing),
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod test;
