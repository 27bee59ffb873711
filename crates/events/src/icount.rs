//! Time by counting: the virtual clock goes forward with the instructions that the guest executes, and with nothing else.
//!
//! ```text
//! vCPU thread: runs at most until the next deadline --> set_count --> Clock::Virtual --> EventLoop::run_virtual
//! idle:        nothing to execute                   --> warp      --> Clock::Virtual --> EventLoop::run_virtual
//! ```
//! The clock is `count << shift` nanoseconds plus what was skipped while nothing was to be executed. One thread writes it,
//! the one that executes; so two runs of the same guest see the same time at the same instruction. The timers on the
//! virtual clock are that thread's as well: the main loop does not look at them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// The largest shift: a microsecond for each instruction.
pub const MAX_SHIFT: u32 = 10;

/// How instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcountOptions {
    /// An instruction takes two to the power of this many nanoseconds.
    pub shift: u32,
    /// The shift follows the host's speed, so that the guest's clock keeps up with the host's. Then the
    /// count decides nothing any more.
    pub adaptive: bool,
    /// Idling takes real time; else the clock jumps to the next deadline.
    pub sleep: bool,
    /// A guest that is ahead of the host's clock waits.
    pub align: bool,
}

impl Default for IcountOptions {
    fn default() -> Self {
        IcountOptions { shift: 3, adaptive: false, sleep: true, align: false }
    }
}

/// A place in the execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Instructions executed.
    pub count: u64,
    /// Rounds of timers.
    pub rounds: u64,
}

/// What is to happen at places in the execution, besides timers: input that comes, or that came when the execution was
/// recorded.
pub trait Agenda: Send + Sync {
    /// The count that no instruction may pass before [`Agenda::act`] has been asked.
    fn next(&self) -> u64;
    /// Does what is to be done here, between two instructions.
    fn act(&self, here: Moment);
    /// Nothing is to be executed. The time that the clock is to be set to, and then `act` is asked: if the next thing to do is
    /// here. `None`: the clock goes on by itself.
    fn time(&self, here: Moment) -> Option<u64>;
}

type Alarm = Box<dyn Fn() + Send + Sync>;

/// The count and the clock that is made from it.
#[derive(Default)]
pub struct Icount {
    options: IcountOptions,
    shift: AtomicU32,
    count: AtomicU64,
    rounds: AtomicU64,
    /// Added to the shifted count, modulo 2^64.
    skipped: AtomicU64,
    /// Hears that a timer was armed for earlier than all others.
    alarm: OnceLock<Alarm>,
    /// Requests under way that end at a deadline, and are not part of what is saved.
    under_way: AtomicU64,
}

impl Icount {
    /// Nothing has been executed yet.
    pub fn new(options: IcountOptions) -> Icount {
        Icount { options, shift: AtomicU32::new(options.shift.min(MAX_SHIFT)), ..Icount::default() }
    }
    /// As it was asked for.
    pub fn options(&self) -> &IcountOptions {
        &self.options
    }
    /// Instructions executed, all vCPUs together.
    #[inline]
    pub fn count(&self) -> u64 {
        self.count.load(Acquire)
    }
    /// So many have been executed. For the thread that executes.
    #[inline]
    pub fn set_count(&self, count: u64) {
        self.count.store(count, Release);
    }
    /// Where the execution is. Exact while nothing runs, and for the thread that runs.
    pub fn here(&self) -> Moment {
        Moment { count: self.count(), rounds: self.rounds.load(Acquire) }
    }
    /// Timers are about to run.
    pub fn begin_round(&self) {
        self.rounds.fetch_add(1, AcqRel);
    }
    /// The time in nanoseconds.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        (self.count() << self.shift.load(Relaxed)).wrapping_add(self.skipped.load(Acquire))
    }
    /// Makes it `ns`, whatever the count.
    pub fn set_time(&self, ns: u64) {
        self.skipped.store(ns.wrapping_sub(self.count() << self.shift.load(Relaxed)), Release);
    }
    /// Takes up a saved place; the time stays what it is.
    pub fn restore(&self, here: Moment) {
        let now = self.now_ns();
        self.set_count(here.count);
        self.rounds.store(here.rounds, Release);
        self.set_time(now);
    }
    /// Log2 of an instruction's nanoseconds now.
    pub fn shift(&self) -> u32 {
        self.shift.load(Relaxed)
    }
    /// Changes the shift; the time stays what it is.
    pub fn set_shift(&self, shift: u32) {
        let now = self.now_ns();
        self.shift.store(shift.min(MAX_SHIFT), Relaxed);
        self.set_time(now);
    }
    /// How many instructions may be executed before the clock has reached `deadline`.
    pub fn instructions_until(&self, deadline: u64) -> u64 {
        let left = deadline.saturating_sub(self.now_ns());
        left.div_ceil(1 << self.shift.load(Relaxed))
    }
    /// Calls `alarm`, on whatever thread, when a timer on the virtual clock is armed for earlier than all others.
    pub fn on_alarm(&self, alarm: impl Fn() + Send + Sync + 'static) {
        let _ = self.alarm.set(Box::new(alarm));
    }
    /// A request has begun that ends at a deadline on the virtual clock (`began`), or has ended.
    pub fn note_request(&self, began: bool) {
        if began {
            self.under_way.fetch_add(1, SeqCst);
        } else {
            self.under_way.fetch_sub(1, SeqCst);
        }
    }
    /// Whether requests are under way: to end them early, as a snapshot does, would change the execution.
    pub fn is_busy(&self) -> bool {
        self.under_way.load(SeqCst) > 0
    }
    /// Makes the thread that executes look at its agenda and its timers.
    pub fn sound_alarm(&self) {
        if let Some(alarm) = self.alarm.get() {
            alarm();
        }
    }
}

#[cfg(test)]
#[path = "icount_test.rs"]
mod test;
