//! Events: what happens in a machine and its keeper wants to hear of. Anything may emit one, on any thread, whatever
//! locks it holds: those who listen only take note.

use super::{Map, Object, Schema, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An event that has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub data: Map<String, Value>,
    /// When, after 1970.
    pub at: Duration,
}

/// What is to be known of a kind of events.
#[derive(Clone, Copy)]
pub struct EventInfo {
    /// Its name.
    pub name: &'static str,
    /// Enters its data into the schema and returns their type's name.
    pub describe: fn(&mut Schema) -> String,
}

/// A kind of events: a structure with `#[qapi(event = "NAME")]`.
pub trait Event: Object {
    /// The event's name.
    const NAME: &'static str;
    /// What is to be known of it.
    const INFO: EventInfo = EventInfo { name: Self::NAME, describe: Self::describe };
    /// Tells everybody who listens.
    fn emit(&self) {
        let mut data = Map::new();
        self.put_into(&mut data);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = Emitted { name: Self::NAME, data, at };
        let listeners = lock().clone();
        listeners.iter().for_each(|listener| listener(&event));
    }
}

type Listener = Arc<dyn Fn(&Emitted) + Send + Sync>;

static LISTENERS: Mutex<Vec<Listener>> = Mutex::new(Vec::new());

fn lock() -> std::sync::MutexGuard<'static, Vec<Listener>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens to all events from now on. Called on the thread of the event's maker, which may hold any lock: note the event
/// and look at it elsewhere.
pub fn listen(listener: impl Fn(&Emitted) + Send + Sync + 'static) {
    lock().push(Arc::new(listener));
}
