//! A front end and a back end made for tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use events::Runner;

use super::{CharEvent, CharPort, CharReceiver};

/// Remembers all it hears and has as much room as the test says.
pub(crate) struct Front {
    pub(crate) bytes: Mutex<Vec<u8>>,
    pub(crate) heard: Mutex<Vec<CharEvent>>,
    pub(crate) room: AtomicUsize,
    pub(crate) writable: AtomicUsize,
}

impl Front {
    pub(crate) fn new(room: usize) -> Arc<Front> {
        Arc::new(Front {
            bytes: Mutex::default(),
            heard: Mutex::default(),
            room: AtomicUsize::new(room),
            writable: AtomicUsize::new(0),
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

impl CharReceiver for Front {
    fn room(&self) -> usize {
        self.room.load(Ordering::SeqCst)
    }

    fn receive(&self, bytes: &[u8]) {
        self.room.fetch_sub(bytes.len(), Ordering::SeqCst);
        self.bytes.lock().unwrap().extend(bytes);
    }

    fn event(&self, event: CharEvent) {
        self.heard.lock().unwrap().push(event);
    }

    fn writable(&self) {
        self.writable.fetch_add(1, Ordering::SeqCst);
    }
}

/// A back end in memory.
#[derive(Default)]
pub(crate) struct Back {
    pub(crate) written: Mutex<Vec<u8>>,
    pub(crate) receiver: Mutex<Option<Arc<dyn CharReceiver>>>,
}

impl Back {
    pub(crate) fn receiver(&self) -> Arc<dyn CharReceiver> {
        self.receiver.lock().unwrap().clone().unwrap()
    }

    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.written.lock().unwrap())).unwrap()
    }
}

impl CharPort for Back {
    fn write(&self, bytes: &[u8]) -> usize {
        self.written.lock().unwrap().extend(bytes);
        bytes.len()
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        *self.receiver.lock().unwrap() = receiver;
    }

    fn receive_ready(&self) {}

    fn describe(&self) -> String {
        "back".to_owned()
    }
}

/// Runs the loop until `done`, or fails after some seconds.
pub(crate) fn run(runner: &mut Runner, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "it did not happen");
        runner.run_once(Some(Duration::from_millis(20))).unwrap();
    }
}
