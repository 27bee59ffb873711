//! Errors of the host's under a disk (`werror=`, `rerror=`): the guest is told, nobody is, or the machine stops and the
//! request waits until it goes on, and is then tried again.

use std::io::{self, ErrorKind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{ErrorAction, trace};
use crate::error::reason;

/// What was done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// The guest was told that all is well.
    Ignore,
    /// It was told of the error.
    Report,
    /// The machine is to stop; the request waits.
    Stop,
}

/// An error of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In writing (which includes flushing and discarding) or in reading.
    pub write: bool,
    /// What was done.
    pub action: FaultAction,
    /// The host's disk is full.
    pub no_space: bool,
    /// The host's words.
    pub reason: String,
}

/// How a disk stands with its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoStatus {
    /// Nothing has happened since the machine last went on.
    #[default]
    Ok,
    /// The machine has stopped for an error.
    Failed,
    /// It has stopped because the host's disk was full.
    NoSpace,
}

#[derive(Default)]
struct State {
    on_write: Option<ErrorAction>,
    on_read: Option<ErrorAction>,
    status: IoStatus,
    /// Requests that wait.
    held: usize,
    /// How often those that waited were sent on, to be tried again or to fail.
    retried: u64,
    failed: u64,
    /// No request waits any more: the program ends.
    ended: bool,
    /// No request waits: whoever makes it tries again.
    never_wait: bool,
}

type Listener = Box<dyn Fn(&Fault) + Send + Sync>;

/// What is done about errors of one disk.
#[derive(Default)]
pub(super) struct Faults {
    state: Mutex<State>,
    sent_on: Condvar,
    listener: OnceLock<Listener>,
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_actions(&self, on_write: ErrorAction, on_read: ErrorAction) {
        let mut state = self.state();
        (state.on_write, state.on_read) = (Some(on_write), Some(on_read));
    }

    pub(super) fn change_actions(&self, on_write: Option<ErrorAction>, on_read: Option<ErrorAction>) {
        let mut state = self.state();
        (state.on_write, state.on_read) = (on_write.or(state.on_write), on_read.or(state.on_read));
    }

    /// Who hears of errors, on the thread of the request; may be said once.
    pub(super) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    pub(super) fn status(&self) -> IoStatus {
        self.state().status
    }

    /// From now on no request waits here.
    pub(super) fn never_wait(&self) {
        self.state().never_wait = true;
    }

    /// Requests fail until the machine goes on, to be tried again then.
    pub(super) fn holds(&self) -> bool {
        let state = self.state();
        state.never_wait && state.status != IoStatus::Ok && !state.ended
    }

    /// How many requests wait.
    pub(super) fn held(&self) -> usize {
        // Of those that are made again later nobody keeps count: one at least.
        let again = usize::from(self.holds());
        self.state().held + again
    }

    /// The machine goes on: those that wait are tried again.
    pub(super) fn retry(&self) {
        let mut state = self.state();
        state.status = IoStatus::Ok;
        state.retried += 1;
        self.sent_on.notify_all();
    }

    /// The machine is reset, or ends: those that wait fail.
    pub(super) fn give_up(&self, ended: bool) {
        let mut state = self.state();
        state.status = IoStatus::Ok;
        state.failed += 1;
        state.ended |= ended;
        self.sent_on.notify_all();
    }

    /// Carries out a request, as often as it takes.
    pub(super) fn run(&self, write: bool, mut request: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        if self.holds() {
            return Err(ErrorKind::WouldBlock.into());
        }
        loop {
            let Err(error) = request() else { return Ok(()) };
            if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::PermissionDenied) {
                // The guest's own mistake.
                return Err(error);
            }
            let no_space = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
            let mut state = self.state();
            let action = match if write { state.on_write } else { state.on_read } {
                Some(ErrorAction::Ignore) => FaultAction::Ignore,
                Some(ErrorAction::Stop) if !state.ended => FaultAction::Stop,
                Some(ErrorAction::Enospc) if no_space && !state.ended => FaultAction::Stop,
                _ => FaultAction::Report,
            };
            if action == FaultAction::Stop {
                state.status = if no_space { IoStatus::NoSpace } else { IoStatus::Failed };
                state.held += usize::from(!state.never_wait);
            }
            let (retried, failed) = (state.retried, state.failed);
            drop(state);
            base::trace!(trace::FAULT, "write {write} action {action:?}: {error}");
            if let Some(listener) = self.listener.get() {
                listener(&Fault { write, action, no_space, reason: reason(&error) });
            }
            match action {
                FaultAction::Ignore => return Ok(()),
                FaultAction::Report => return Err(error),
                FaultAction::Stop => {
                    let mut state = self.state();
                    if state.never_wait {
                        return Err(error);
                    }
                    while state.retried == retried && state.failed == failed && !state.ended {
                        state = self.sent_on.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    state.held -= 1;
                    if state.failed != failed || state.ended {
                        return Err(error);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "faults_test.rs"]
mod test;
