//! Character back ends: the host's side of serial ports, consoles and monitors.
//!
//! A device is handed an `Arc<dyn CharPort>` and gives it a [`CharReceiver`]. Writing never blocks: a port
//! takes the bytes into a queue that the main loop empties, and refuses them when the queue is full. Input is
//! delivered on the main-loop thread, never more than the receiver has room for, and never with a lock of
//! this module held, so that a receiver may take its device's lock and a device may call its port with it.

mod changeable;
mod chardev;
mod file;
mod log;
mod mux;
mod pty;
mod replayed;
mod ringbuf;
mod socket;
mod stdio;
mod stream;
mod terminal;
#[allow(unsafe_code)]
mod terminal_signals;
#[cfg(test)]
mod test_support;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

pub use chardev::{
    BACKEND_HELP, CharBackend, CharContext, Chardev, ChardevInfo, Chardevs, SerialOption, not_connected,
};
pub use mux::{Mux, MuxActions};
pub use replayed::{Replayed, for_device};
pub use ringbuf::RingBuf;
pub(crate) use socket::SocketPort;
pub use socket::{SocketAddress, SocketOptions};
pub use stream::flush_all;
pub use terminal::restore as restore_terminal;
pub use terminal_signals::{Termination, on_terminate};

base::trace_points! {
    /// What is to be traced of character devices.
    pub mod trace "chardev" {
        /// Bytes for the other side.
        WRITE "write",
        /// Bytes from the other side.
        RECEIVE "receive",
        /// Somebody has connected or gone, or a break.
        EVENT "event",
    }
}

/// What a back end tells a front end besides the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CharEvent {
    /// Somebody has connected.
    Opened,
    /// The other side has gone.
    Closed,
    /// A break condition on the line.
    Break,
    /// The keyboard now goes to this front end of a multiplexer.
    FocusIn,
    /// The keyboard now goes elsewhere.
    FocusOut,
}

/// A character back end as its front end (a device, a monitor) sees it.
pub trait CharPort: Send + Sync {
    /// Takes bytes for the other side and returns how many were taken. Never blocks; what was not taken can
    /// be offered again after [`CharReceiver::writable`]. A port nobody is connected to takes and forgets all.
    fn write(&self, bytes: &[u8]) -> usize;
    /// Sets who gets the input. If the port is connected the receiver hears [`CharEvent::Opened`] soon.
    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>);
    /// The receiver has room again. Cheap when input is not being held back; callable from any thread.
    fn receive_ready(&self);
    /// What `info chardev` prints behind `filename=`.
    fn describe(&self) -> String;
    /// Takes a connection that somebody else has accepted (`add_client`); false if it cannot.
    fn add_client(&self, _: OwnedFd) -> bool {
        false
    }
    /// Tells the receiver of a break, as if the other side had sent one. Main-loop thread.
    fn send_break(&self) {}
    /// Takes what the port has put into the file system out of it. For the end of the program.
    fn clean_up(&self) {}
    /// Writes out what is queued, waiting a little if need be. For the end of the program.
    fn flush(&self) {}
}

/// The front end's ear. Called on the main-loop thread.
pub trait CharReceiver: Send + Sync {
    /// How many bytes could be taken now.
    fn room(&self) -> usize;
    /// Takes input, at most as much as [`CharReceiver::room`] said.
    fn receive(&self, bytes: &[u8]);
    /// Takes file descriptors that came with the input that follows. Who does not want them closes them.
    fn receive_fds(&self, _: Vec<OwnedFd>) {}
    /// Hears of an event.
    fn event(&self, event: CharEvent);
    /// The port, having refused bytes, would take some again.
    fn writable(&self) {}
}

/// The place where a port keeps its receiver.
#[derive(Default)]
pub(crate) struct ReceiverSlot(Mutex<Option<Arc<dyn CharReceiver>>>);

impl ReceiverSlot {
    pub(crate) fn set(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        let old = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slot, receiver)
        };
        drop(old);
    }

    pub(crate) fn get(&self) -> Option<Arc<dyn CharReceiver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `null`: takes everything, gives nothing.
pub struct Null;

impl CharPort for Null {
    fn write(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn set_receiver(&self, _: Option<Arc<dyn CharReceiver>>) {}

    fn receive_ready(&self) {}

    fn describe(&self) -> String {
        "null".to_owned()
    }
}
