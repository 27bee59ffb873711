//! Worker threads for disks: each disk has some of its own, or several disks share those of an `iothread` object.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

type Work = Box<dyn FnOnce() + Send>;

/// Threads that do work in the order in which it comes: the first does what one can do, more begin when work waits. Dropping the pool finishes what has been begun or waits.
pub struct Pool {
    shared: Arc<Shared>,
    name: String,
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// The most threads that anybody who gave it work wanted.
    most: AtomicUsize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Work has come, or the end.
    work: Condvar,
    /// The first thread has begun.
    begun: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    waiting: usize,
    end: bool,
    /// The first thread, as the host numbers it.
    first: Option<i32>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool whose threads have this name. They are started as work comes.
    pub fn new(name: &str) -> Pool {
        Pool {
            shared: Arc::default(),
            name: name.to_owned(),
            workers: Mutex::default(),
            most: AtomicUsize::new(1),
        }
    }

    /// Starts the first thread now, and says how the host numbers it; `None` if there can be none.
    pub fn start(&self) -> Option<i32> {
        self.start_worker(1);
        if locked(&self.workers).is_empty() {
            return None;
        }
        let mut state = locked(&self.shared.state);
        while state.first.is_none() {
            state = self.shared.begun.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.first
    }

    /// The most threads that there may be.
    pub(super) fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    /// Has a thread do something; there may be `most` of them for it.
    pub fn run(&self, most: usize, work: Work) {
        let mut state = locked(&self.shared.state);
        state.queue.push_back(work);
        let start = state.waiting < state.queue.len();
        drop(state);
        self.shared.work.notify_one();
        if start {
            self.start_worker(self.most.fetch_max(most, Relaxed).max(most));
        }
    }

    fn start_worker(&self, most: usize) {
        let mut workers = locked(&self.workers);
        if workers.len() < most {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name(self.name.clone());
            match thread.spawn(move || shared.serve()) {
                Ok(worker) => workers.push(worker),
                // Without any thread the caller has to do the work.
                Err(_) if workers.is_empty() => self.shared.serve_here(),
                Err(_) => {}
            }
        }
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = locked(&self.state);
        if state.first.is_none() {
            state.first = Some(rustix::thread::gettid().as_raw_nonzero().get());
            self.begun.notify_all();
        }
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                work();
                state = locked(&self.state);
            } else if state.end {
                return;
            } else {
                state.waiting += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.waiting -= 1;
            }
        }
    }

    fn serve_here(&self) {
        loop {
            let Some(work) = locked(&self.state).queue.pop_front() else { return };
            work();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        locked(&self.shared.state).end = true;
        self.shared.work.notify_all();
        let own = thread::current().id();
        for worker in locked(&self.workers).drain(..) {
            // The last handle may be dropped by what a thread of the pool does.
            if worker.thread().id() != own {
                let _ = worker.join();
            }
        }
    }
}
