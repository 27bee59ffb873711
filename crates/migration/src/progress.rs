//! How a migration stands: what `info migrate` and `query-migrate` tell.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The states that a migration goes through (names as in QEMU's `MigrationStatus`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// There has been none.
    #[default]
    None,
    /// It is being set up.
    Setup,
    /// Memory is being sent while the machine runs.
    Active,
    /// The machine stands still, the rest is being sent.
    Device,
    /// Everything has arrived.
    Completed,
    /// It has failed.
    Failed,
    /// It is being given up.
    Cancelling,
    /// It has been given up.
    Cancelled,
}

impl Status {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Status::None => "none",
            Status::Setup => "setup",
            Status::Active => "active",
            Status::Device => "device",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelling => "cancelling",
            Status::Cancelled => "cancelled",
        }
    }
    /// Whether it is under way.
    pub fn is_under_way(self) -> bool {
        matches!(self, Status::Setup | Status::Active | Status::Device | Status::Cancelling)
    }
}

/// What a user can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a second; 0 for no limit.
    pub bandwidth: u64,
    /// Longest standstill at the end, in milliseconds.
    pub downtime: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bandwidth: 128 << 20, downtime: 300 }
    }
}

/// Numbers of a migration.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The state.
    pub status: Status,
    /// Why it has failed.
    pub error: Option<String>,
    /// Bytes sent.
    pub transferred: u64,
    /// Bytes of memory still to be sent.
    pub remaining: u64,
    /// Bytes of memory.
    pub total: u64,
    /// Pages that were zero.
    pub zero: u64,
    /// Pages that were not.
    pub normal: u64,
    /// Rounds over memory.
    pub rounds: u64,
    /// Pages written by the guest in a second, as of the last round.
    pub dirty_rate: u64,
    /// Bytes sent in a second.
    pub bandwidth: u64,
    /// How long the machine would have to stand still now.
    pub expected_downtime: Duration,
    /// How long it stood still.
    pub downtime: Duration,
    /// How long the setup took.
    pub setup: Duration,
    /// All of it, when it has ended.
    pub total_time: Duration,
}

/// A migration as others see it.
#[derive(Debug, Default)]
pub struct Progress {
    counts: Mutex<Counts>,
    begun: Mutex<Option<Instant>>,
    limits: Mutex<Limits>,
    cancel: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// A new one begins; the limits stay.
    pub fn begin(&self, total: u64) {
        self.cancel.store(false, SeqCst);
        *lock(&self.begun) = Some(Instant::now());
        *lock(&self.counts) = Counts { status: Status::Setup, total, remaining: total, ..Counts::default() };
    }
    /// The numbers now.
    pub fn counts(&self) -> Counts {
        let mut counts = lock(&self.counts).clone();
        if counts.status.is_under_way() {
            counts.total_time = self.elapsed();
            // Before the first round has ended there is a mean, and nothing to tell the standstill by.
            if counts.bandwidth == 0 {
                let seconds = counts.total_time.as_secs_f64().max(0.001);
                counts.bandwidth = (counts.transferred as f64 / seconds) as u64;
                counts.expected_downtime = Duration::from_millis(self.limits().downtime);
            }
        }
        counts
    }
    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        lock(&self.begun).map(|b| b.elapsed()).unwrap_or_default()
    }
    /// Changes the numbers.
    pub fn update<R>(&self, change: impl FnOnce(&mut Counts) -> R) -> R {
        change(&mut lock(&self.counts))
    }
    /// The state.
    pub fn status(&self) -> Status {
        lock(&self.counts).status
    }
    /// The limits.
    pub fn limits(&self) -> Limits {
        *lock(&self.limits)
    }
    /// Changes the limits, also of a migration that is under way.
    pub fn set_limits(&self, change: impl FnOnce(&mut Limits)) {
        change(&mut lock(&self.limits));
    }
    /// Asks for it to be given up.
    pub fn cancel(&self) {
        self.cancel.store(true, SeqCst);
    }
    /// Whether that has been asked for.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(SeqCst)
    }
}
