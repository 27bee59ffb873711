//! Watches on file descriptors.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::epoll;
use rustix::io::Errno;

use crate::event_loop::Shared;

/// What a watch waits for. With neither, it sleeps: hang-ups are not reported either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Input has arrived, or the other side has closed.
    pub readable: bool,
    /// Output would be accepted.
    pub writable: bool,
}

impl Interest {
    /// Wait for nothing.
    pub const NONE: Interest = Interest { readable: false, writable: false };
    /// Wait for input.
    pub const READ: Interest = Interest { readable: true, writable: false };
    /// Wait for room for output.
    pub const WRITE: Interest = Interest { readable: false, writable: true };
    /// Wait for both.
    pub const BOTH: Interest = Interest { readable: true, writable: true };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.readable);
        flags.set(epoll::EventFlags::OUT, self.writable);
        flags
    }
}

/// What has happened on a file descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Reading would not block.
    pub readable: bool,
    /// Writing would not block.
    pub writable: bool,
    /// The other side has gone.
    pub hangup: bool,
    /// An error is pending on the descriptor.
    pub error: bool,
}

impl Ready {
    pub(crate) fn from_flags(flags: epoll::EventFlags) -> Ready {
        Ready {
            readable: flags.contains(epoll::EventFlags::IN),
            writable: flags.contains(epoll::EventFlags::OUT),
            hangup: flags.contains(epoll::EventFlags::HUP),
            error: flags.contains(epoll::EventFlags::ERR),
        }
    }
}

trait HeldFd: AsFd + Send + Sync {}
impl<T: AsFd + Send + Sync> HeldFd for T {}

type Callback = Box<dyn FnMut(Ready) + Send>;

pub(crate) struct Watch {
    fd: Box<dyn HeldFd>,
    id: u64,
    state: Mutex<State>,
    callback: Mutex<Callback>,
}

struct State {
    interest: Interest,
    /// The descriptor is in the epoll set.
    polled: bool,
    /// epoll refuses it (a regular file): it counts as always ready.
    always: bool,
    removed: bool,
}

impl Watch {
    pub(crate) fn new(id: u64, fd: impl AsFd + Send + Sync + 'static, callback: Callback) -> Watch {
        let state = State { interest: Interest::NONE, polled: false, always: false, removed: false };
        Watch { fd: Box::new(fd), id, state: Mutex::new(state), callback: Mutex::new(callback) }
    }

    /// Calls the callback if what happened is still waited for. Main-loop thread only.
    pub(crate) fn dispatch(&self, ready: Ready) {
        let interest = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.removed { Interest::NONE } else { state.interest }
        };
        let trouble = ready.hangup || ready.error;
        let wanted = (ready.readable && interest.readable)
            || (ready.writable && interest.writable)
            || (trouble && interest != Interest::NONE);
        if wanted {
            let mut callback = self.callback.lock().unwrap_or_else(PoisonError::into_inner);
            callback(ready);
        }
    }

    /// What an always-ready descriptor reports at every turn of the loop.
    pub(crate) fn always_ready(&self) -> Option<Ready> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.always && !state.removed && state.interest != Interest::NONE).then_some(Ready {
            readable: state.interest.readable,
            writable: state.interest.writable,
            ..Ready::default()
        })
    }

    pub(crate) fn set_interest(&self, shared: &Shared, interest: Interest) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.removed || state.interest == interest {
            return Ok(());
        }
        let data = epoll::EventData::new_u64(self.id);
        if state.always {
            // Nothing to tell the kernel.
        } else if interest == Interest::NONE {
            if state.polled {
                epoll::delete(&shared.epoll, &self.fd)?;
                state.polled = false;
            }
        } else if state.polled {
            epoll::modify(&shared.epoll, &self.fd, data, interest.flags())?;
        } else {
            match epoll::add(&shared.epoll, &self.fd, data, interest.flags()) {
                Ok(()) => state.polled = true,
                Err(Errno::PERM) => {
                    state.always = true;
                    shared.note_always_ready();
                }
                Err(error) => return Err(error.into()),
            }
        }
        state.interest = interest;
        if state.always {
            shared.wake();
        }
        Ok(())
    }

    fn remove(&self, shared: &Shared) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.polled {
            let _ = epoll::delete(&shared.epoll, &self.fd);
            state.polled = false;
        }
        state.removed = true;
        drop(state);
        shared.forget_watch(self.id);
    }
}

/// A watch on a file descriptor; dropping it ends the watch and releases the descriptor. It may be dropped
/// in its own callback.
pub struct FdWatch {
    pub(crate) shared: Arc<Shared>,
    pub(crate) watch: Arc<Watch>,
}

impl FdWatch {
    /// Changes what is waited for.
    pub fn set_interest(&self, interest: Interest) {
        // The descriptor is held open by the watch, so that only the kernel's memory could run out here.
        let _ = self.watch.set_interest(&self.shared, interest);
    }

    /// What is waited for now.
    pub fn interest(&self) -> Interest {
        self.watch.state.lock().unwrap_or_else(PoisonError::into_inner).interest
    }
}

impl Drop for FdWatch {
    fn drop(&mut self) {
        self.watch.remove(&self.shared);
    }
}
