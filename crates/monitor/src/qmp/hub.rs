//! Events on their way to the clients.
//!
//! An event is made on any thread and noted here; the main loop delivers. Some, which a guest can cause as often as it
//! likes, are told once in a second: the first at once, of those that follow only the last.

use super::Qmp;
use events::{Clock, EventLoop, Timer};
use qapi::{Emitted, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Time between two of the same.
const PAUSE_NS: u64 = 1_000_000_000;

/// Events told once in a second, and the member that tells one source from another.
const LIMITED: &[(&str, &str)] = &[
    ("BALLOON_CHANGE", ""),
    ("BLOCK_IO_ERROR", "qom-path"),
    ("MEMORY_DEVICE_SIZE_CHANGE", "qom-path"),
    ("RTC_CHANGE", ""),
    ("VSERPORT_CHANGE", "id"),
    ("WATCHDOG", ""),
];

/// When the next of a kind may be told, and which is to be.
struct Held {
    until: u64,
    event: Option<Emitted>,
}

/// The place where events wait for the main loop.
pub struct Hub {
    events: EventLoop,
    noted: Mutex<Vec<Emitted>>,
    clients: Mutex<Vec<Weak<Qmp>>>,
    held: Mutex<BTreeMap<(&'static str, String), Held>>,
    timer: Timer,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Hears of all events from now on.
    pub fn new(events: &EventLoop) -> Arc<Hub> {
        let hub = Arc::new_cyclic(|weak: &Weak<Hub>| {
            let late = weak.clone();
            let timer = events.timer(Clock::Realtime, move || {
                if let Some(hub) = late.upgrade() {
                    hub.release();
                }
            });
            Hub {
                events: events.clone(),
                noted: Mutex::default(),
                clients: Mutex::default(),
                held: Mutex::default(),
                timer,
            }
        });
        let weak = Arc::downgrade(&hub);
        qapi::listen(move |event| {
            if let Some(hub) = weak.upgrade() {
                hub.note(event);
            }
        });
        hub
    }

    pub(super) fn add(&self, client: &Arc<Qmp>) {
        let mut clients = lock(&self.clients);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(client));
    }

    fn note(self: &Arc<Self>, event: &Emitted) {
        lock(&self.noted).push(event.clone());
        let hub = Arc::downgrade(self);
        self.events.defer(move || {
            if let Some(hub) = hub.upgrade() {
                hub.deliver();
            }
        });
    }

    /// Tells the clients what has been noted. Main-loop thread.
    pub fn deliver(&self) {
        let noted = std::mem::take(&mut *lock(&self.noted));
        for event in noted {
            match LIMITED.iter().find(|(name, _)| *name == event.name) {
                Some((name, member)) => {
                    let source = event.data.get(*member).and_then(Value::as_str).unwrap_or_default();
                    self.limit((name, source.to_owned()), event);
                }
                None => self.tell(&event),
            }
        }
    }

    fn limit(&self, key: (&'static str, String), event: Emitted) {
        let now = self.events.clocks().now_ns(Clock::Realtime);
        let mut held = lock(&self.held);
        match held.get_mut(&key) {
            Some(one) => one.event = Some(event),
            None => {
                held.insert(key, Held { until: now + PAUSE_NS, event: None });
                self.arm(&held);
                drop(held);
                self.tell(&event);
            }
        }
    }

    /// Some pauses are over.
    fn release(&self) {
        let now = self.events.clocks().now_ns(Clock::Realtime);
        let mut due = Vec::new();
        {
            let mut held = lock(&self.held);
            held.retain(|_, one| {
                if one.until > now {
                    return true;
                }
                // What is told now makes the next one wait; where nothing came in the meantime the next is told at once.
                let event = one.event.take();
                let again = event.is_some();
                due.extend(event);
                one.until = now + PAUSE_NS;
                again
            });
            self.arm(&held);
        }
        due.iter().for_each(|event| self.tell(event));
    }

    fn arm(&self, held: &BTreeMap<(&'static str, String), Held>) {
        match held.values().map(|one| one.until).min() {
            Some(next) => self.timer.arm(next),
            None => self.timer.cancel(),
        }
    }

    fn tell(&self, event: &Emitted) {
        let clients: Vec<_> = lock(&self.clients).iter().filter_map(Weak::upgrade).collect();
        clients.iter().for_each(|client| client.event(event));
    }
}
