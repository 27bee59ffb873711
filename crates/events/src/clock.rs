//! The four clocks.
//!
//! The virtual clock is the guest's: the `time` CSR is made from it, so vCPU threads read it all the time.
//! Its whole state is therefore one atomic word that says either "stopped at this value" or "the monotonic
//! clock plus this offset". Writers, which are rare, put a third value into it while they compute.

use std::hint;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use crate::icount::Icount;
use crate::replay::Replay;

/// A source of time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// The host's monotonic clock. It runs always, even while the virtual machine is stopped.
    Realtime,
    /// The host's date: nanoseconds since the epoch. It jumps when the host's date is set.
    Host,
    /// The guest's time. It starts stopped at 0, runs only while the virtual machine runs, and is saved and
    /// restored with the machine.
    Virtual,
    /// The guest's time for work the guest cannot observe (coalescing timers of back ends, throttling).
    /// It has the value of [`Clock::Virtual`] and stops with it, but timers on it do not take part in what a
    /// deterministic execution would have to record.
    VirtualRt,
}

impl Clock {
    pub(crate) const ALL: [Clock; 4] = [Clock::Realtime, Clock::Host, Clock::Virtual, Clock::VirtualRt];
}

/// Bit 63 set: stopped, the low 63 bits are the value.
const STOPPED: u64 = 1 << 63;
/// Bit 62 set with bit 63 clear would be a negative offset; this one offset is never used.
const CHANGING: u64 = 1 << 62;
const VALUE: u64 = STOPPED - 1;

/// The clocks of one virtual machine. Clones are handles to the same clocks.
#[derive(Clone)]
pub struct Clocks(Arc<Inner>);

struct Inner {
    virtual_word: AtomicU64,
    writer: Mutex<()>,
    /// The event loop's eventfd: a change of the virtual clock changes how long the loop may sleep.
    waker: OnceLock<Arc<OwnedFd>>,
    /// Instructions are counted, and are what the virtual clock is made from: its word stays at a stop.
    icount: OnceLock<Arc<Icount>>,
    /// The execution is recorded or replayed.
    replay: OnceLock<Arc<Replay>>,
}

fn read_ns(id: ClockId) -> u64 {
    let now = clock_gettime(id);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// The offset of a running word: its low 63 bits, sign-extended.
fn offset(word: u64) -> u64 {
    (((word << 1) as i64) >> 1) as u64
}

impl Clocks {
    /// Clocks with the virtual one stopped at 0.
    pub fn new() -> Clocks {
        Clocks(Arc::new(Inner {
            virtual_word: AtomicU64::new(STOPPED),
            writer: Mutex::new(()),
            waker: OnceLock::new(),
            icount: OnceLock::new(),
            replay: OnceLock::new(),
        }))
    }

    pub(crate) fn set_waker(&self, waker: Arc<OwnedFd>) {
        let _ = self.0.waker.set(waker);
    }

    /// Makes the virtual clock from executed instructions. To be called before anything runs.
    pub fn count_instructions(&self, icount: Arc<Icount>) {
        let _ = self.0.icount.set(icount);
    }

    /// The count that the virtual clock is made from, if it is.
    pub fn icount(&self) -> Option<&Arc<Icount>> {
        self.0.icount.get()
    }

    /// The execution is recorded or replayed. To be called before anything runs.
    pub fn set_replay(&self, replay: Arc<Replay>) {
        let _ = self.0.replay.set(replay);
    }

    /// What records or replays the execution, if something does.
    pub fn replay(&self) -> Option<&Arc<Replay>> {
        self.0.replay.get()
    }

    /// The time on `clock` in nanoseconds. Takes no lock.
    #[inline]
    pub fn now_ns(&self, clock: Clock) -> u64 {
        match clock {
            Clock::Realtime => read_ns(ClockId::Monotonic),
            Clock::Host => read_ns(ClockId::Realtime),
            // Where instructions are counted, what the guest cannot observe goes by the host's clock.
            Clock::VirtualRt if self.icount().is_some() => read_ns(ClockId::Monotonic),
            Clock::Virtual | Clock::VirtualRt => self.virtual_ns(),
        }
    }

    #[inline]
    fn virtual_ns(&self) -> u64 {
        let word = &self.0.virtual_word;
        loop {
            let before = word.load(Ordering::Acquire);
            if before & STOPPED != 0 {
                return self.icount().map_or(before & VALUE, |icount| icount.now_ns());
            }
            if before != CHANGING {
                let now = read_ns(ClockId::Monotonic);
                // A reader must not return a time beyond the one at which the clock is being stopped: the
                // writer announces itself before it reads the clock, so an unchanged word means that our
                // reading came first.
                fence(Ordering::Acquire);
                if word.load(Ordering::Relaxed) == before {
                    return now.wrapping_add(offset(before)) & VALUE;
                }
            }
            hint::spin_loop();
        }
    }

    /// Whether the virtual clock is running.
    pub fn virtual_running(&self) -> bool {
        loop {
            match self.0.virtual_word.load(Ordering::Acquire) {
                CHANGING => hint::spin_loop(),
                word => return word & STOPPED == 0,
            }
        }
    }

    /// Stops the virtual clock at its present value. Does nothing when it is stopped already, or counts instructions.
    pub fn stop_virtual(&self) {
        self.change(|running, now| running.then_some(STOPPED | now));
    }

    /// Lets the virtual clock run on from where it stopped. Does nothing when it runs already, or counts instructions.
    pub fn start_virtual(&self) {
        if self.icount().is_none() {
            self.change(|running, now| (!running).then(|| running_at(now)));
        }
    }

    /// Sets the virtual clock, running or stopped, to `ns` (below 2^63), as loading a snapshot does.
    pub fn set_virtual(&self, ns: u64) {
        let ns = ns & VALUE;
        if let Some(icount) = self.icount() {
            icount.set_time(ns);
            return;
        }
        self.change(|running, _| Some(if running { running_at(ns) } else { STOPPED | ns }));
    }

    fn change(&self, new: impl FnOnce(bool, u64) -> Option<u64>) {
        let guard = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let word = &self.0.virtual_word;
        let old = word.load(Ordering::Relaxed);
        let running = old & STOPPED == 0;
        word.store(CHANGING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let now =
            if running { read_ns(ClockId::Monotonic).wrapping_add(offset(old)) & VALUE } else { old & VALUE };
        let new = new(running, now);
        word.store(new.unwrap_or(old), Ordering::SeqCst);
        drop(guard);
        if new.is_some()
            && let Some(waker) = self.0.waker.get()
        {
            crate::event_loop::signal(waker);
        }
    }
}

impl Default for Clocks {
    fn default() -> Self {
        Clocks::new()
    }
}

/// The word of a clock that runs and has the value `ns` now.
fn running_at(ns: u64) -> u64 {
    let word = ns.wrapping_sub(read_ns(ClockId::Monotonic)) & VALUE;
    if word == CHANGING { word + 1 } else { word }
}

#[cfg(test)]
#[path = "clock_test.rs"]
mod test;
