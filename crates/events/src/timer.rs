//! Timers: a callback and a deadline on one clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::event_loop::EventLoop;

type Callback = Box<dyn FnMut() + Send>;

/// The part of a timer that outlives its handle while its callback runs.
pub(crate) struct TimerBody {
    callback: Mutex<Callback>,
}

impl TimerBody {
    /// Runs the callback. Only whoever has taken the timer from its list does, so the lock is hardly ever waited for.
    pub(crate) fn fire(&self) {
        let mut callback = self.callback.lock().unwrap_or_else(PoisonError::into_inner);
        callback();
    }
}

/// A timer that is armed.
struct Armed {
    body: Arc<TimerBody>,
    /// A thread sleeps until the deadline and runs the callback then ([`Timer::sleep_until_due`]): the main loop need not wake for it.
    has_sleeper: bool,
}

/// The armed timers of one clock, by deadline and then in the order of arming.
#[derive(Default)]
pub(crate) struct TimerList {
    armed: BTreeMap<(u64, u64), Armed>,
    next_order: u64,
    /// The deadline the sleeping main loop knows of: an earlier one must wake it. 0 while the loop is awake,
    /// since it looks at the lists again before it sleeps.
    known_to_loop: u64,
}

impl TimerList {
    /// The earliest deadline.
    pub(crate) fn first(&self) -> Option<u64> {
        self.armed.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// The earliest deadline for which nobody else wakes, or `glance` if that is earlier: the loop promises to.
    pub(crate) fn before_sleep(&mut self, glance: Option<u64>) -> Option<u64> {
        let first =
            self.armed.iter().find(|(_, armed)| !armed.has_sleeper).map(|((deadline, _), _)| *deadline);
        let first = [first, glance].into_iter().flatten().min();
        self.known_to_loop = first.unwrap_or(u64::MAX);
        first
    }

    pub(crate) fn after_sleep(&mut self) {
        self.known_to_loop = 0;
    }

    /// The order number that the next arming will get: timers armed from now on are not below it.
    pub(crate) fn horizon(&self) -> u64 {
        self.next_order
    }

    /// Takes the first timer whose deadline is not after `now` and which was armed before `horizon`.
    pub(crate) fn take_expired(&mut self, now: u64, horizon: u64) -> Option<Arc<TimerBody>> {
        let key = *self.armed.range(..=(now, u64::MAX)).map(|(key, _)| key).find(|key| key.1 < horizon)?;
        self.armed.remove(&key).map(|armed| armed.body)
    }
}

/// A timer; dropping it cancels it. All methods may be called from any thread and from its own callback.
///
/// The callback runs on the main-loop thread, or that of who sleeps until then, once for each arming, not before its deadline. When another
/// thread cancels or drops a timer, a callback that is already running runs to its end.
pub struct Timer {
    events: EventLoop,
    clock: Clock,
    body: Arc<TimerBody>,
    /// The key in the list at the last arming; stale once the timer has fired.
    key: Mutex<Option<(u64, u64)>>,
}

impl Timer {
    pub(crate) fn new(events: EventLoop, clock: Clock, callback: Callback) -> Timer {
        Timer {
            events,
            clock,
            body: Arc::new(TimerBody { callback: Mutex::new(callback) }),
            key: Mutex::new(None),
        }
    }

    /// The clock that the deadline is measured on.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Lets the callback run when the clock has reached `deadline_ns`, in place of any earlier deadline.
    /// A deadline that has passed already fires at the loop's next turn.
    pub fn arm(&self, deadline_ns: u64) {
        let mut key = self.key();
        let counted = self.events.clocks().icount().filter(|_| self.clock == Clock::Virtual);
        let mut first = false;
        let wake = {
            let mut list = self.events.timers(self.clock);
            if let Some(old) = key.take() {
                remove_own(&mut list, &old, &self.body);
            }
            first |= list.first().is_none_or(|other| deadline_ns < other);
            let order = list.next_order;
            list.next_order += 1;
            // Who sleeps until the former deadline does not know of this one.
            list.armed
                .insert((deadline_ns, order), Armed { body: Arc::clone(&self.body), has_sleeper: false });
            *key = Some((deadline_ns, order));
            counted.is_none() && self.is_news(&mut list, deadline_ns)
        };
        drop(key);
        if wake {
            self.events.wake();
        }
        if let Some(icount) = counted.filter(|_| first) {
            icount.sound_alarm();
        }
    }

    /// Whether the loop sleeps, for longer than until then, and has to be woken. Its alarm is set if that will do.
    fn is_news(&self, list: &mut TimerList, deadline_ns: u64) -> bool {
        let news = deadline_ns < list.known_to_loop;
        if news {
            list.known_to_loop = deadline_ns;
        }
        news && !self.events.set_alarm(self.clock, deadline_ns)
    }

    /// For a thread that has nothing to do before the deadline: has `sleep` wait for so long, or until something else ends it,
    /// and runs the callback on this thread if the deadline has passed then. So one thread wakes where it would be two, one after the other.
    /// Without a limit if the timer is not armed, or its clock does not follow the host's; the main loop has the timer then. The thread
    /// should have asked for [`wake_in_time`].
    pub fn sleep_until_due<R>(&self, sleep: impl FnOnce(Option<Duration>) -> R) -> R {
        let left = self.begin_sleep();
        let result = sleep(left);
        if left.is_some() {
            self.end_sleep();
        }
        result
    }

    fn begin_sleep(&self) -> Option<Duration> {
        let clocks = self.events.clocks();
        if self.clock != Clock::Virtual || clocks.icount().is_some() || !clocks.virtual_running() {
            return None;
        }
        let at = (*self.key())?;
        self.events.timers(self.clock).armed.get_mut(&at)?.has_sleeper = true;
        Some(Duration::from_nanos(at.0.saturating_sub(clocks.now_ns(self.clock))))
    }

    fn end_sleep(&self) {
        let Some(at) = *self.key() else { return };
        let due = at.0 <= self.events.clocks().now_ns(self.clock);
        let wake = {
            let mut list = self.events.timers(self.clock);
            // It may have fired, or have been armed anew: then it is the main loop's.
            let Some(armed) = list.armed.get_mut(&at).filter(|armed| armed.has_sleeper) else { return };
            armed.has_sleeper = false;
            if due {
                list.armed.remove(&at);
            }
            !due && self.is_news(&mut list, at.0)
        };
        if due {
            self.body.fire();
        } else if wake {
            self.events.wake();
        }
    }

    /// Takes the deadline back.
    pub fn cancel(&self) {
        if let Some(old) = self.key().take() {
            remove_own(&mut self.events.timers(self.clock), &old, &self.body);
        }
    }

    /// The deadline, while the timer is armed and has not fired.
    pub fn deadline(&self) -> Option<u64> {
        let key = self.key();
        let at = (*key)?;
        self.events.timers(self.clock).armed.contains_key(&at).then_some(at.0)
    }

    fn key(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the kernel wake the calling thread when its sleep ends, which it otherwise rounds by 50 microseconds.
pub fn wake_in_time() {
    // Where that is refused its timers are late.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

fn remove_own(list: &mut TimerList, key: &(u64, u64), body: &Arc<TimerBody>) {
    if list.armed.get(key).is_some_and(|armed| Arc::ptr_eq(&armed.body, body)) {
        list.armed.remove(key);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}
