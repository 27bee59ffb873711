//! A port whose back end can be another one (`chardev-change`) while a front end has it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::{CharPort, CharReceiver, trace};

/// What front ends are given.
pub(crate) struct Changeable {
    port: RwLock<Arc<dyn CharPort>>,
    receiver: Mutex<Option<Arc<dyn CharReceiver>>>,
}

impl Changeable {
    pub(crate) fn new(port: Arc<dyn CharPort>) -> Changeable {
        Changeable { port: RwLock::new(port), receiver: Mutex::default() }
    }

    fn port(&self) -> RwLockReadGuard<'_, Arc<dyn CharPort>> {
        self.port.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is `port`; the front end hears of its being open as it would have at first.
    pub(crate) fn change(&self, port: Arc<dyn CharPort>) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let old = {
            let mut place = self.port.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, port.clone())
        };
        old.set_receiver(None);
        old.clean_up();
        port.set_receiver(receiver);
    }
}

impl CharPort for Changeable {
    fn write(&self, bytes: &[u8]) -> usize {
        let taken = self.port().write(bytes);
        base::trace!(trace::WRITE, "{} bytes {} taken {taken}", self.describe(), bytes.len());
        taken
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&receiver);
        self.port().set_receiver(receiver);
    }

    fn receive_ready(&self) {
        // What is received may lead to a change.
        let port = self.port().clone();
        port.receive_ready();
    }

    fn describe(&self) -> String {
        self.port().describe()
    }

    fn add_client(&self, fd: OwnedFd) -> bool {
        self.port().add_client(fd)
    }

    fn send_break(&self) {
        let port = self.port().clone();
        port.send_break();
    }

    fn clean_up(&self) {
        self.port().clean_up();
    }

    fn flush(&self) {
        self.port().flush();
    }
}
