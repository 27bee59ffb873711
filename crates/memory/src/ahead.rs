//! Huge pages got from the host ahead of the guest.
//!
//! ```text
//! soft TLB fill --> Ram::touch         --> Ahead::touched       --+--> orders --> a thread: Populate
//! Roms::reset   --> Ram::expect_system --> Ahead::expect_system --+
//! ```
//! The host clears a huge page when it is first touched, which takes a tenth of a millisecond or, if it runs in a
//! virtual machine itself and its own host has to find the memory, several. Guests take memory in runs, up or down. So when
//! one comes to a piece near one that it has touched already, a thread lets the host clear the pieces that follow. It
//! begins at the far end, so that the two do not clear the same piece: who is late has done it for nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::region::lock;

/// log2 of the bytes of the host's huge pages.
pub const HUGE_BITS: u32 = 21;
/// log2 of the bytes of a piece: a huge page.
pub(crate) const PIECE_BITS: u32 = HUGE_BITS;

/// So many pieces are ordered ahead of the guest: they may be in vain.
const WINDOW: u64 = 3;

/// Pieces no further apart than this belong to one run: Linux' allocator leaves out some and comes back to them.
const STEP: u64 = 3;

/// So many pieces at the end of the memory are expected to be needed first, at most, and as many below them next.
const TABLES: u64 = 16;

/// Gets the piece with a number from the host.
pub(crate) type Populate = Box<dyn Fn(u64) + Send>;

/// A bit for each piece.
struct Bits(Box<[AtomicU64]>);

impl Bits {
    fn new(pieces: u64) -> Bits {
        Bits((0..pieces.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }
    #[inline]
    fn get(&self, n: u64) -> bool {
        self.0.get((n / 64) as usize).is_some_and(|w| w.load(Relaxed) >> (n % 64) & 1 != 0)
    }
    /// Sets a bit; whether it was set already.
    fn set(&self, n: u64) -> bool {
        self.0.get((n / 64) as usize).is_none_or(|w| w.fetch_or(1 << (n % 64), Relaxed) >> (n % 64) & 1 != 0)
    }
}

/// The pieces of one block.
pub(crate) struct Ahead {
    pieces: u64,
    /// The guest has touched them.
    touched: Arc<Bits>,
    /// They have been ordered.
    ordered: Bits,
    worker: Mutex<Worker>,
}

enum Worker {
    /// Nothing has been ordered yet.
    Idle(Populate),
    Busy(Sender<u64>, JoinHandle<()>),
    Gone,
}

impl Ahead {
    /// For a block of so many pieces.
    pub(crate) fn new(pieces: u64, populate: Populate) -> Ahead {
        Ahead {
            pieces,
            touched: Arc::new(Bits::new(pieces)),
            ordered: Bits::new(pieces),
            worker: Mutex::new(Worker::Idle(populate)),
        }
    }
    /// The guest comes to this offset.
    #[inline]
    pub(crate) fn touched(&self, offset: u64) {
        let n = offset >> PIECE_BITS;
        if !self.touched.get(n) {
            self.follow(n);
        }
    }
    #[cold]
    fn follow(&self, n: u64) {
        self.touched.set(n);
        if (n.saturating_sub(STEP)..n).any(|before| self.touched.get(before)) {
            self.order(n + 1, n + WINDOW);
        }
        if (n + 1..=n + STEP).any(|behind| self.touched.get(behind)) {
            self.order(n.saturating_sub(WINDOW), n.saturating_sub(1));
        }
    }
    /// An operating system is about to run: it puts what it knows of each page at the end of the memory (Linux a 64th of
    /// all), and goes through that upwards. Below lie the tables of its caches, from the top down.
    pub(crate) fn expect_system(&self) {
        let pieces = (self.pieces / 32).min(TABLES);
        self.order(self.pieces - pieces, self.pieces - 1);
        self.order(self.pieces - 2 * pieces, self.pieces - pieces - 1);
    }
    /// The pieces from `first` to `last` will be needed, and somebody begins to touch them at the end that is nearer to
    /// what has been touched (else at the first).
    pub(crate) fn order(&self, first: u64, last: u64) {
        let last = last.min(self.pieces.saturating_sub(1));
        let downwards = self.touched.get(last + 1);
        for i in 0..(last + 1).saturating_sub(first) {
            let n = if downwards { first + i } else { last - i };
            if !self.touched.get(n) && !self.ordered.set(n) {
                self.send(n);
            }
        }
    }
    fn send(&self, n: u64) {
        let mut worker = lock(&self.worker);
        *worker = match std::mem::replace(&mut *worker, Worker::Gone) {
            Worker::Idle(populate) => {
                let (orders, taken) = channel();
                let touched = self.touched.clone();
                let run = move || work(&taken, &touched, &populate);
                match std::thread::Builder::new().name("memory".into()).spawn(run) {
                    Ok(thread) => Worker::Busy(orders, thread),
                    Err(_) => Worker::Gone,
                }
            }
            other => other,
        };
        if let Worker::Busy(orders, _) = &*worker {
            // The thread ends before the sender only if it panicked; memory comes without it, too.
            let _ = orders.send(n);
        }
    }
    /// Waits until nothing is being populated any more, and nothing will be.
    pub(crate) fn stop(&self) {
        if let Worker::Busy(orders, thread) = std::mem::replace(&mut *lock(&self.worker), Worker::Gone) {
            drop(orders);
            let _ = thread.join();
        }
    }
}

fn work(orders: &Receiver<u64>, touched: &Bits, populate: &Populate) {
    while let Ok(n) = orders.recv() {
        if !touched.get(n) {
            populate(n);
        }
    }
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ahead({} pieces)", self.pieces)
    }
}

/// Whether the host has huge pages for those who ask, and a processor for whoever gets them ahead.
pub fn huge_pages_pay() -> bool {
    let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    (enabled.contains("[always]") || enabled.contains("[madvise]"))
        && std::thread::available_parallelism().is_ok_and(|n| n.get() > 1)
}

#[cfg(test)]
#[path = "ahead_test.rs"]
mod test;
