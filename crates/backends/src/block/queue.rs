//! Requests that run beside the vCPUs: a few worker threads for each disk.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::BlockDevice;

const WORKERS: usize = 4;

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

type Work = Box<dyn FnOnce(&dyn BlockDevice) + Send>;

/// The queue in front of one device. Requests may overtake each other; a device that needs an order waits for
/// completions. Dropping the queue finishes what has been submitted.
pub struct BlockQueue {
    shared: Arc<Shared>,
    device: Arc<dyn BlockDevice>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    /// Work has come, or the end.
    work: Condvar,
    /// Nothing is under way.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    running: usize,
    waiting: usize,
    end: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlockQueue {
    /// A queue for `device`. Threads are started as requests come.
    pub fn new(device: Arc<dyn BlockDevice>) -> BlockQueue {
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), idle: Condvar::new() };
        BlockQueue { shared: Arc::new(shared), device, workers: Mutex::default() }
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
        let mut state = locked(&self.shared.state);
        state.queue.push_back(Box::new(work));
        let start = state.waiting < state.queue.len();
        drop(state);
        self.shared.work.notify_one();
        if start {
            self.start_worker();
        }
    }

    /// Returns when everything submitted before this call has completed, or waits for the machine to go on. Not to be called with a lock that a
    /// completion takes.
    pub fn drain(&self) {
        let mut state = locked(&self.shared.state);
        // Nobody tells when a request begins to wait for the machine to go on.
        while state.running > self.device.held() || !state.queue.is_empty() {
            let pause = std::time::Duration::from_millis(10);
            state = self.shared.idle.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn start_worker(&self) {
        let mut workers = locked(&self.workers);
        if workers.len() < WORKERS {
            let (shared, device) = (Arc::clone(&self.shared), Arc::clone(&self.device));
            let thread = thread::Builder::new().name("block".to_owned());
            match thread.spawn(move || shared.serve(&*device)) {
                Ok(worker) => workers.push(worker),
                // Without any thread the caller has to do the work.
                Err(_) if workers.is_empty() => self.shared.serve_here(&*self.device),
                Err(_) => {}
            }
        }
    }
}

impl Shared {
    fn serve(&self, device: &dyn BlockDevice) {
        let mut state = locked(&self.state);
        loop {
            if let Some(work) = state.queue.pop_front() {
                state.running += 1;
                drop(state);
                work(device);
                state = locked(&self.state);
                state.running -= 1;
                if state.running == 0 && state.queue.is_empty() {
                    self.idle.notify_all();
                }
            } else if state.end {
                return;
            } else {
                state.waiting += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.waiting -= 1;
            }
        }
    }

    fn serve_here(&self, device: &dyn BlockDevice) {
        loop {
            let Some(work) = locked(&self.state).queue.pop_front() else { return };
            work(device);
        }
    }
}

impl Drop for BlockQueue {
    fn drop(&mut self) {
        locked(&self.shared.state).end = true;
        self.shared.work.notify_all();
        let own = thread::current().id();
        for worker in locked(&self.workers).drain(..) {
            // The last handle may be dropped by a completion.
            if worker.thread().id() != own {
                let _ = worker.join();
            }
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
