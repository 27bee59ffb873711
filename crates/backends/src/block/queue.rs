//! Requests that run beside the vCPUs.

use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use events::{Clock, EventLoop, Icount, Timer};

use super::BlockDevice;
use super::pool::{Pool, locked};

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
    /// Nobody has chosen the threads that do the work.
    own_threads: bool,
    counts: Arc<Counts>,
    /// Where instructions are counted: requests end at a deadline, on the thread that executes.
    deadline: OnceLock<Deadline>,
}

struct Deadline {
    icount: Arc<Icount>,
    timer: Timer,
    due: Arc<Due>,
}

type Due = Mutex<Vec<Box<dyn FnOnce(&dyn BlockDevice) + Send>>>;

/// How long a request takes on a clock that counts instructions, in nanoseconds.
const LATENCY: u64 = 100_000;

/// Does what has been asked for so far, on this thread.
fn serve_due(due: &Due, device: &dyn BlockDevice, icount: &Icount) {
    // Not in the head of the loop, where the lock would be held as long as it: the work may ask for more.
    let asked = std::mem::take(&mut *locked(due));
    for work in asked {
        work(device);
        icount.note_request(false);
    }
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
        BlockQueue { own_threads: true, ..BlockQueue::on(Arc::new(Pool::new("block")), device) }
    }

    /// A queue for `device` with the threads of a pool, which others may use, too.
    pub fn on(pool: Arc<Pool>, device: Arc<dyn BlockDevice>) -> BlockQueue {
        BlockQueue { device, pool, own_threads: false, counts: Arc::default(), deadline: OnceLock::new() }
    }

    /// Where instructions are counted, makes the time that requests take the guest's: each is done when the virtual clock
    /// has gone on a little, on the thread that executes instructions. Elsewhere this does nothing.
    pub fn follow_clock(&self, events: &EventLoop) {
        let Some(icount) = events.clocks().icount().cloned() else { return };
        // The thread that would wait is the one that has to stop.
        self.device.never_wait();
        let due: Arc<Due> = Arc::default();
        let (works, device, count) = (due.clone(), self.device.clone(), icount.clone());
        let timer = events.timer(Clock::Virtual, move || serve_due(&works, &*device, &count));
        let _ = self.deadline.set(Deadline { icount, timer, due });
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

    /// Whether who asks may do something itself if that takes no waiting: requests do not take the guest's time, and nobody has said which threads
    /// are to do the work.
    pub fn is_prompt(&self) -> bool {
        self.own_threads && self.deadline.get().is_none()
    }

    /// Runs `work` on a worker thread: for a device that reads and writes guest memory directly.
    pub fn run(&self, work: impl FnOnce(&dyn BlockDevice) + Send + 'static) {
        if let Some(Deadline { icount, timer, due }) = self.deadline.get() {
            icount.note_request(true);
            let first = {
                let mut due = locked(due);
                due.push(Box::new(work));
                due.len() == 1
            };
            if first {
                timer.arm(icount.now_ns().saturating_add(LATENCY));
            }
            return;
        }
        let (device, counts) = (self.device.clone(), self.counts.clone());
        locked(&counts.state).queued += 1;
        self.pool.run(
            self.device.at_once(),
            Box::new(move || {
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
            }),
        );
    }

    /// Returns when everything submitted before this call has completed, or waits for the machine to go on. Not to be
    /// called with a lock that a completion takes.
    pub fn drain(&self) {
        if let Some(Deadline { icount, timer, due }) = self.deadline.get() {
            serve_due(due, &*self.device, icount);
            if locked(due).is_empty() {
                timer.cancel();
            }
        }
        let mut under = locked(&self.counts.state);
        loop {
            let held = self.device.held();
            // Where all threads wait for the machine to go on, nobody begins what is queued.
            if under.running <= held && (under.queued == 0 || held >= self.pool.most()) {
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
