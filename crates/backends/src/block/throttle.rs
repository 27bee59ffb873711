//! I/O limits of a disk: bytes and requests in a second, each for all requests, for reads and for writes.
//!
//! A limit is a virtual clock, `due`: when what has been let through would have been done at the allowed rate. A request
//! may go once `due` is no more than the allowed burst ahead of the real clock, and moves `due` on by its own cost.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;

/// What a limit is for: `All`, `Reads`, `Writes`, of bytes and then of requests.
pub const LIMITS: [&str; 6] = ["bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"];
const FIRST_OF_REQUESTS: usize = 3;
/// The largest value of any of them.
const MOST: u64 = 1_000_000_000_000_000;
/// Without a burst of its own, what is allowed at once is what may pass in this part of a second.
const AT_ONCE: u64 = 10;
const SECOND: u64 = 1_000_000_000;

/// One limit. Zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Units in a second in the long run.
    pub average: u64,
    /// Units in a second for a short time.
    pub burst: u64,
    /// Seconds that a burst may last; zero is one.
    pub burst_length: u64,
}

/// All limits of a disk, in the order of [`LIMITS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Each of them.
    pub each: [Limit; 6],
    /// A request counts for one more for each so many bytes; zero: always for one.
    pub request_size: u64,
}

impl Limits {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.each.iter().any(|limit| limit.average > 0)
    }

    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// Limits that contradict each other.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::new(text));
        for all in [0, FIRST_OF_REQUESTS] {
            for of in [|limit: &Limit| limit.average, |limit: &Limit| limit.burst] {
                let value = |n: usize| self.each.get(n).map_or(0, of);
                if value(all) > 0 && (value(all + 1) > 0 || value(all + 2) > 0) {
                    return refuse(
                        "bps/iops/max total values and read/write values cannot be used at the same time",
                    );
                }
            }
        }
        if self.request_size > 0 && !self.each[FIRST_OF_REQUESTS..].iter().any(|limit| limit.average > 0) {
            return refuse("iops size requires an iops value to be set");
        }
        for limit in self.each {
            if limit.average > MOST || limit.burst > MOST {
                return Err(Error::new(format!("bps/iops/max values must be within [0, {MOST}]")));
            }
            if limit.burst == 0 && limit.burst_length > 1 {
                return refuse("burst length set without burst rate");
            }
            if limit.burst > 0 && limit.average == 0 {
                return refuse("bps_max/iops_max require corresponding bps/iops values");
            }
            if limit.burst > 0 && limit.burst < limit.average {
                return refuse("bps_max/iops_max cannot be lower than bps/iops");
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct State {
    limits: Limits,
    /// For each limit two clocks, in nanoseconds: the average's and the burst's.
    due: [[u64; 2]; 6],
    /// Grows when limits change: who waits counts anew.
    changes: u64,
    /// So many want everything to pass at once.
    hurried: usize,
}

/// Lets requests through as its limits allow.
pub(super) struct Throttle {
    /// Whether there are limits at all, for a look without the lock.
    on: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    begin: Instant,
}

impl Throttle {
    pub(super) fn new() -> Throttle {
        Throttle {
            on: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
            begin: Instant::now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limits(&self) -> Limits {
        self.state().limits
    }

    pub(super) fn set(&self, limits: Limits) {
        let mut state = self.state();
        (state.limits, state.due) = (limits, Default::default());
        state.changes += 1;
        self.on.store(limits.any(), Relaxed);
        self.changed.notify_all();
    }

    /// Whether requests pass at once whatever the limits say.
    pub(super) fn hurry(&self, hurry: bool) {
        let mut state = self.state();
        state.hurried = if hurry { state.hurried + 1 } else { state.hurried.saturating_sub(1) };
        self.changed.notify_all();
    }

    /// Whether there are limits.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Waits until a request may go.
    pub(super) fn wait(&self, write: bool, bytes: u64) {
        if !self.on.load(Relaxed) {
            return;
        }
        let mut state = self.state();
        loop {
            let now = self.begin.elapsed().as_nanos() as u64;
            let at = state.admit(write, bytes, now);
            let changes = state.changes;
            loop {
                let now = self.begin.elapsed().as_nanos() as u64;
                if state.hurried > 0 || now >= at && state.changes == changes {
                    return;
                }
                if state.changes != changes {
                    break;
                }
                let pause = Duration::from_nanos(at - now);
                state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl State {
    /// When a request that comes `now` may go.
    fn admit(&mut self, write: bool, bytes: u64, now: u64) -> u64 {
        let requests = match self.limits.request_size {
            0 => 1,
            size => bytes.div_ceil(size).max(1),
        };
        let mut at = now;
        for (n, (limit, due)) in self.limits.each.iter().zip(&mut self.due).enumerate() {
            let concerned =
                matches!(n % FIRST_OF_REQUESTS, 0) || n % FIRST_OF_REQUESTS == 1 + usize::from(write);
            if limit.average == 0 || !concerned {
                continue;
            }
            let units = if n < FIRST_OF_REQUESTS { bytes } else { requests };
            let at_once = match limit.burst {
                0 => limit.average / AT_ONCE,
                burst => burst.saturating_mul(limit.burst_length.max(1)),
            };
            let rates = [(limit.average, at_once), (limit.burst, limit.burst / AT_ONCE)];
            for ((rate, at_once), due) in rates.into_iter().zip(due).filter(|((rate, _), _)| *rate > 0) {
                at = at.max(due.saturating_sub(time(at_once, rate)));
                *due = (*due).max(now).saturating_add(time(units, rate));
            }
        }
        at
    }
}

/// Nanoseconds that so many units take.
fn time(units: u64, rate: u64) -> u64 {
    (u128::from(units) * u128::from(SECOND) / u128::from(rate.max(1))) as u64
}

#[cfg(test)]
#[path = "throttle_test.rs"]
mod test;
