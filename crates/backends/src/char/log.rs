//! `logfile=`: a copy of all output of a port.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::{CharPort, CharReceiver};
use crate::Error;
use rustix::fs::OFlags;

/// A port whose output is also written to a file.
pub(crate) struct Logged {
    port: Arc<dyn CharPort>,
    file: Mutex<File>,
}

impl Logged {
    pub(crate) fn new(port: Arc<dyn CharPort>, path: &str, append: bool) -> Result<Logged, Error> {
        let mut options = OpenOptions::new();
        options.create(true);
        if append {
            options.append(true)
        } else {
            options.write(true).truncate(true)
        };
        let file = crate::fd::open(path, &options, OFlags::WRONLY)
            .map_err(|error| Error::io(format_args!("Unable to open logfile {path}"), error))?;
        Ok(Logged { port, file: Mutex::new(file) })
    }
}

impl CharPort for Logged {
    fn write(&self, bytes: &[u8]) -> usize {
        let taken = self.port.write(bytes);
        // A full disk must not stop the guest.
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes[..taken]);
        taken
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        self.port.set_receiver(receiver);
    }

    fn receive_ready(&self) {
        self.port.receive_ready();
    }

    fn describe(&self) -> String {
        self.port.describe()
    }

    fn add_client(&self, fd: OwnedFd) -> bool {
        self.port.add_client(fd)
    }

    fn send_break(&self) {
        self.port.send_break();
    }

    fn clean_up(&self) {
        self.port.clean_up();
    }

    fn flush(&self) {
        self.port.flush();
    }
}
