//! The loop itself: one epoll set, one eventfd to wake it, an alarm, four timer lists, a queue of deferred work.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::clock::{Clock, Clocks};
use crate::timer::{Timer, TimerList, wake_in_time};
use crate::trace;
use crate::watch::{FdWatch, Interest, Ready, Watch};

/// The epoll datum of the loop's own eventfd.
const WAKE_ID: u64 = 0;
/// The same of its alarm.
const ALARM_ID: u64 = 1;
/// While a timer on the host's date is armed the loop looks at least this often, since the date can jump.
const HOST_CLOCK_GLANCE_NS: u64 = 500_000_000;
/// When a timer on the virtual clock has fired, the guest mostly arms it anew within so many nanoseconds: the loop looks once more then, and whoever arms it
/// need not wake the loop.
const ARMED_ANEW_NS: u64 = 100_000;
const BATCH: usize = 64;

type Deferred = Box<dyn FnOnce() + Send>;

pub(crate) struct Shared {
    pub(crate) epoll: OwnedFd,
    waker: Arc<OwnedFd>,
    /// Wakes the loop for a timer on the virtual clock that has been armed while it slept: a timerfd, so that it sleeps on until
    /// the deadline. Set with that clock's list locked.
    alarm: OwnedFd,
    /// Whether that is used; see [`EventLoop::spare_wakes`].
    spares_wakes: AtomicBool,
    clocks: Clocks,
    timers: [Mutex<TimerList>; 4],
    watches: Mutex<HashMap<u64, Arc<Watch>>>,
    next_watch: AtomicU64,
    /// How many watches have turned out to be always ready, those that have gone since included.
    always_ready: AtomicUsize,
    deferred: Mutex<Vec<Deferred>>,
    has_deferred: AtomicBool,
}

/// Adds 1 to an eventfd. A full counter means that the loop is woken already.
pub(crate) fn signal(waker: &OwnedFd) {
    let _ = rustix::io::write(waker, &1u64.to_ne_bytes());
}

/// So many nanoseconds; of very many, some.
fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000).min(1 << 30) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn wake(&self) {
        signal(&self.waker);
    }

    pub(crate) fn note_always_ready(&self) {
        self.always_ready.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn forget_watch(&self, id: u64) {
        // The watch, and with it the callback, is dropped after the guard.
        let watch = locked(&self.watches).remove(&id);
        drop(watch);
    }
}

/// A handle to the main loop; clones are handles to the same loop, usable from any thread.
#[derive(Clone)]
pub struct EventLoop(Arc<Shared>);

impl EventLoop {
    /// A new loop: a handle to share, and the runner which the main thread keeps.
    pub fn new() -> io::Result<(EventLoop, Runner)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &waker, epoll::EventData::new_u64(WAKE_ID), epoll::EventFlags::IN)?;
        let alarm =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &alarm, epoll::EventData::new_u64(ALARM_ID), epoll::EventFlags::IN)?;
        let clocks = Clocks::new();
        clocks.set_waker(Arc::clone(&waker));
        let shared = Arc::new(Shared {
            epoll,
            waker,
            alarm,
            spares_wakes: AtomicBool::new(false),
            clocks,
            timers: Default::default(),
            watches: Mutex::default(),
            next_watch: AtomicU64::new(ALARM_ID + 1),
            always_ready: AtomicUsize::new(0),
            deferred: Mutex::default(),
            has_deferred: AtomicBool::new(false),
        });
        let runner = Runner { events: EventLoop(shared), slack_set: false, has_fired: false };
        Ok((runner.events.clone(), runner))
    }

    /// The clocks of this loop.
    pub fn clocks(&self) -> &Clocks {
        &self.0.clocks
    }

    /// Calls `callback` on the main-loop thread whenever `fd` is ready for what `interest` says
    /// (level-triggered), or has hung up.
    ///
    /// One file descriptor number can be watched once at a time; duplicate it to watch it twice. A regular
    /// file counts as always ready.
    ///
    /// # Errors
    /// What `epoll_ctl` reports: the descriptor is watched already, or the kernel is out of memory.
    pub fn add_fd(
        &self,
        fd: impl AsFd + Send + Sync + 'static,
        interest: Interest,
        callback: impl FnMut(Ready) + Send + 'static,
    ) -> io::Result<FdWatch> {
        let id = self.0.next_watch.fetch_add(1, Ordering::Relaxed);
        let watch = Arc::new(Watch::new(id, fd, Box::new(callback)));
        locked(&self.0.watches).insert(id, Arc::clone(&watch));
        let handle = FdWatch { shared: Arc::clone(&self.0), watch };
        handle.watch.set_interest(&self.0, interest)?;
        Ok(handle)
    }

    /// A timer on `clock`, not armed yet, that runs `callback` on the main-loop thread.
    ///
    /// Timers on [`Clock::Virtual`] and [`Clock::VirtualRt`] do not fire while the virtual clock is stopped.
    pub fn timer(&self, clock: Clock, callback: impl FnMut() + Send + 'static) -> Timer {
        Timer::new(self.clone(), clock, Box::new(callback))
    }

    /// The earliest deadline of a timer on `clock`.
    pub fn next_deadline(&self, clock: Clock) -> Option<u64> {
        self.timers(clock).first()
    }

    /// Moves the stopped virtual clock forward to `ns`, and runs the timers that it passes, each at its own time. For the
    /// main-loop thread, where nothing else moves the clock. A timer that is armed for the present again and again is left
    /// for the next time.
    pub fn move_virtual(&self, ns: u64) {
        let clocks = &self.0.clocks;
        for _ in 0..MOST_STEPS {
            let Some(next) = self.next_deadline(Clock::Virtual).filter(|next| *next <= ns) else { break };
            clocks.set_virtual(next.max(clocks.now_ns(Clock::Virtual)));
            let horizon = self.timers(Clock::Virtual).horizon();
            let now = clocks.now_ns(Clock::Virtual);
            while let Some(timer) = { self.timers(Clock::Virtual).take_expired(now, horizon) } {
                timer.fire();
            }
        }
        clocks.set_virtual(ns.max(clocks.now_ns(Clock::Virtual)));
    }

    /// Runs the timers on the virtual clock that are due, where instructions are counted: on the thread that executes them. A
    /// timer that is armed for the present again is left for the next time.
    pub fn run_virtual(&self) {
        let horizon = self.timers(Clock::Virtual).horizon();
        let now = self.0.clocks.now_ns(Clock::Virtual);
        while let Some(timer) = { self.timers(Clock::Virtual).take_expired(now, horizon) } {
            timer.fire();
        }
    }

    /// Runs `work` soon on the main-loop thread, in the order of the calls.
    pub fn defer(&self, work: impl FnOnce() + Send + 'static) {
        locked(&self.0.deferred).push(Box::new(work));
        if !self.0.has_deferred.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Makes a waiting [`Runner`] take another turn.
    pub fn wake(&self) {
        self.0.wake();
    }

    /// From now on a timer on the virtual clock that is armed while the loop sleeps does not wake it before its deadline. For where others
    /// have all processors: each wake takes one from them. Elsewhere it costs more than it saves: the callback comes some 10 us
    /// later, since the processor on which the timer was armed has to wake the one that the loop runs on.
    pub fn spare_wakes(&self) {
        self.0.spares_wakes.store(true, Ordering::Relaxed);
    }

    /// Has the sleeping loop woken when `clock` reaches `deadline_ns`, earlier than it would wake by itself. The caller has the
    /// clock's list locked, so that of two alarms the later call has the earlier deadline. Whether that could be done; if not, the loop has
    /// to be woken now.
    pub(crate) fn set_alarm(&self, clock: Clock, deadline_ns: u64) -> bool {
        let clocks = &self.0.clocks;
        let spares = self.0.spares_wakes.load(Ordering::Relaxed);
        if !spares || clock != Clock::Virtual || clocks.icount().is_some() || !clocks.virtual_running() {
            return false;
        }
        // Nothing at all would disarm it.
        let left = deadline_ns.saturating_sub(clocks.now_ns(clock)).max(1);
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let alarm = Itimerspec { it_interval: never, it_value: timespec(left) };
        timerfd_settime(&self.0.alarm, TimerfdTimerFlags::empty(), &alarm).is_ok()
    }

    pub(crate) fn timers(&self, clock: Clock) -> MutexGuard<'_, TimerList> {
        locked(&self.0.timers[clock as usize])
    }
}

/// How many times that timers are armed for one move of the clock goes through.
const MOST_STEPS: u32 = 1_000_000;

/// The main thread's end of the loop.
pub struct Runner {
    events: EventLoop,
    slack_set: bool,
    /// A timer on the virtual clock has fired in the last turn.
    has_fired: bool,
}

impl Runner {
    /// A handle to the loop.
    pub fn events(&self) -> &EventLoop {
        &self.events
    }

    /// Takes turns until `until` says true; it is asked before every turn.
    ///
    /// # Errors
    /// As for [`Runner::run_once`].
    pub fn run(&mut self, mut until: impl FnMut() -> bool) -> io::Result<()> {
        while !until() {
            self.run_once(None)?;
        }
        Ok(())
    }

    /// Takes one turn: waits for at most `timeout` (for ever if `None`) until something is due, then runs the
    /// callbacks of ready descriptors, of expired timers and the deferred work. Work deferred and timers armed
    /// in this turn wait for the next.
    ///
    /// # Errors
    /// Only when the kernel cannot wait on the epoll set at all.
    pub fn run_once(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.slack_set {
            self.slack_set = true;
            wake_in_time();
        }
        let mut events = [const { Self::EMPTY }; BATCH];
        let count = self.wait(&mut events, timeout)?;
        let ready: Vec<(u64, Ready)> =
            events[..count].iter().map(|event| (event.data.u64(), Ready::from_flags(event.flags))).collect();
        self.dispatch_fds(&ready);
        self.dispatch_timers();
        self.run_deferred();
        Ok(())
    }

    const EMPTY: epoll::Event =
        epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(WAKE_ID) };

    fn wait(&mut self, events: &mut [epoll::Event; BATCH], timeout: Option<Duration>) -> io::Result<usize> {
        let ns = self.sleep_ns(timeout);
        let result = self.sleep(events, ns);
        for clock in Clock::ALL {
            self.events.timers(clock).after_sleep();
        }
        match result {
            Ok(count) => Ok(count),
            // A signal arrived: the caller's condition may have changed.
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Sleeps for at most `ns` nanoseconds. `epoll_pwait` counts in milliseconds, which a guest's timers would be late by;
    /// so the set itself is waited for with `ppoll`, and then asked without waiting.
    fn sleep(&self, events: &mut [epoll::Event; BATCH], ns: Option<u64>) -> rustix::io::Result<usize> {
        let epoll = &self.events.0.epoll;
        let Some(ns) = ns else { return epoll::wait(epoll, &mut events[..], None) };
        if ns != 0 {
            rustix::event::poll(&mut [PollFd::new(epoll, PollFlags::IN)], Some(&timespec(ns)))?;
        }
        epoll::wait(epoll, &mut events[..], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// How long this turn may sleep, in nanoseconds.
    fn sleep_ns(&mut self, timeout: Option<Duration>) -> Option<u64> {
        let glances = std::mem::take(&mut self.has_fired);
        let shared = &self.events.0;
        // Where wakes are spared, nobody would wake the loop anyway.
        let glances = glances && !shared.spares_wakes.load(Ordering::Relaxed);
        let mut sleep = timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        for clock in Clock::ALL {
            let glance = (glances && clock == Clock::Virtual)
                .then(|| shared.clocks.now_ns(clock).saturating_add(ARMED_ANEW_NS));
            let Some(deadline) = self.events.timers(clock).before_sleep(glance) else { continue };
            if !self.ticks(clock) {
                continue;
            }
            let mut left = deadline.saturating_sub(shared.clocks.now_ns(clock));
            if clock == Clock::Host {
                left = left.min(HOST_CLOCK_GLANCE_NS);
            }
            sleep = Some(sleep.map_or(left, |sleep| sleep.min(left)));
        }
        if shared.has_deferred.load(Ordering::Acquire) || !self.always_ready().is_empty() {
            sleep = Some(0);
        }
        sleep
    }

    fn ticks(&self, clock: Clock) -> bool {
        match clock {
            Clock::Realtime | Clock::Host => true,
            Clock::VirtualRt if self.events.0.clocks.icount().is_some() => true,
            Clock::Virtual | Clock::VirtualRt => self.events.0.clocks.virtual_running(),
        }
    }

    fn always_ready(&self) -> Vec<(Arc<Watch>, Ready)> {
        let shared = &self.events.0;
        if shared.always_ready.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let watches = locked(&shared.watches);
        watches.values().filter_map(|watch| Some((Arc::clone(watch), watch.always_ready()?))).collect()
    }

    fn dispatch_fds(&self, ready: &[(u64, Ready)]) {
        let shared = &self.events.0;
        for &(id, ready) in ready {
            let own = match id {
                WAKE_ID => Some(&*shared.waker),
                ALARM_ID => Some(&shared.alarm),
                _ => None,
            };
            if let Some(counter) = own {
                let _ = rustix::io::read(counter, &mut [0u8; 8]);
                continue;
            }
            let watch = locked(&shared.watches).get(&id).cloned();
            if let Some(watch) = watch {
                let begin = trace::POINTS.begin(trace::FD);
                watch.dispatch(ready);
                trace::POINTS.end(trace::FD, begin, || format!("watch {id} {ready:?}"));
            }
        }
        for (watch, ready) in self.always_ready() {
            watch.dispatch(ready);
        }
    }

    fn dispatch_timers(&mut self) {
        for clock in Clock::ALL {
            // A timer that its callback arms for a time already past would otherwise keep the loop here.
            let horizon = self.events.timers(clock).horizon();
            while self.ticks(clock) {
                let now = self.events.0.clocks.now_ns(clock);
                let Some(timer) = self.events.timers(clock).take_expired(now, horizon) else { break };
                let begin = trace::POINTS.begin(trace::TIMER);
                timer.fire();
                self.has_fired |= clock == Clock::Virtual;
                trace::POINTS.end(trace::TIMER, begin, || format!("clock {clock:?} now {now}"));
            }
        }
    }

    fn run_deferred(&self) {
        let shared = &self.events.0;
        if shared.has_deferred.swap(false, Ordering::AcqRel) {
            let work = std::mem::take(&mut *locked(&shared.deferred));
            for work in work {
                let begin = trace::POINTS.begin(trace::WORK);
                work();
                trace::POINTS.end(trace::WORK, begin, String::new);
            }
        }
    }
}

#[cfg(test)]
#[path = "event_loop_test.rs"]
mod test;
