//! The main loop and what it waits for: four clocks, timers, file descriptors, deferred work.
//!
//! One thread, the main loop's, owns a [`Runner`] and calls every callback; all other threads hold cheap
//! clones of an [`EventLoop`] through which they add watches, arm timers and defer work. No callback is
//! ever run with a lock of this crate held, so a callback may arm, cancel, add and drop whatever it likes,
//! its own timer or watch included.
//!
//! ```
//! use events::{Clock, EventLoop};
//! let (events, mut runner) = EventLoop::new()?;
//! let (sender, fired) = std::sync::mpsc::channel();
//! let timer = events.timer(Clock::Realtime, move || sender.send(()).unwrap());
//! timer.arm(events.clocks().now_ns(Clock::Realtime) + 1_000_000);
//! runner.run(|| fired.try_recv().is_ok())?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

/// The trace points of this crate.
pub const TRACE: &[&base::trace::Points] = &[&trace::POINTS];

base::trace_points! {
    /// What is to be traced of the main loop.
    pub mod trace "main_loop" {
        /// A descriptor is ready; until its callback has returned.
        FD "fd",
        /// A timer has run out; until its callback has returned.
        TIMER "timer",
        /// Deferred work, until it is done.
        WORK "work",
    }
}

mod clock;
mod event_loop;
mod icount;
mod replay;
mod timer;
mod watch;

pub use clock::{Clock, Clocks};
pub use event_loop::{EventLoop, Runner};
pub use icount::{Agenda, Icount, IcountOptions, MAX_SHIFT, Moment};
pub use replay::{Kind, Log, Notice, Record, Replay, ReplayMode};
pub use timer::{Timer, wake_in_time};
pub use watch::{FdWatch, Interest, Ready};
