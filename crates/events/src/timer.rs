//! Timers: a callback and a deadline on one clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::event_loop::EventLoop;

type Callback = Box<dyn FnMut() + Send>;

/// The part of a timer that outlives its handle while its callback runs.
pub(crate) struct TimerBody {
    callback: Mutex<Callback>,
}

impl TimerBody {
    /// Runs the callback. Called by the main-loop thread only, so the lock is never waited for.
    pub(crate) fn fire(&self) {
        let mut callback = self.callback.lock().unwrap_or_else(PoisonError::into_inner);
        callback();
    }
}

/// The armed timers of one clock, by deadline and then in the order of arming.
#[derive(Default)]
pub(crate) struct TimerList {
    armed: BTreeMap<(u64, u64), Arc<TimerBody>>,
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

    /// The earliest deadline, which the loop promises to wake for.
    pub(crate) fn before_sleep(&mut self) -> Option<u64> {
        let first = self.first();
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
        self.armed.remove(&key)
    }
}

/// A timer; dropping it cancels it. All methods may be called from any thread and from its own callback.
///
/// The callback runs on the main-loop thread, once for each arming, not before its deadline. When another
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
            list.armed.insert((deadline_ns, order), Arc::clone(&self.body));
            *key = Some((deadline_ns, order));
            let wake = counted.is_none() && deadline_ns < list.known_to_loop;
            if wake {
                list.known_to_loop = deadline_ns;
            }
            wake && !self.events.set_alarm(self.clock, deadline_ns)
        };
        drop(key);
        if wake {
            self.events.wake();
        }
        if let Some(icount) = counted.filter(|_| first) {
            icount.sound_alarm();
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

fn remove_own(list: &mut TimerList, key: &(u64, u64), body: &Arc<TimerBody>) {
    if list.armed.get(key).is_some_and(|armed| Arc::ptr_eq(armed, body)) {
        list.armed.remove(key);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}
