//! The machine's run state, and what others may do to it.
//!
//! The main loop alone changes the state. Everybody else, on whatever thread, *requests*; and whoever has to know when
//! the machine starts or stops leaves a handler. Handlers are called in the order of their priorities when it starts and
//! in reverse when it stops: a device's timers, say, start after the clocks and stop before them.

use crate::RunState;
use qapi::Qapi;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;

/// Why a machine is reset or ends; names as in QEMU's QMP `ShutdownCause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Qapi)]
pub enum Cause {
    /// Not known.
    None,
    /// An error of the host's.
    HostError,
    /// The command `quit`.
    HostQmpQuit,
    /// The command `system_reset`.
    HostQmpSystemReset,
    /// A signal, as from `kill`.
    HostSignal,
    /// The user, through a window.
    HostUi,
    /// The guest has switched itself off.
    GuestShutdown,
    /// The guest has asked for a reset.
    GuestReset,
    /// The guest has panicked.
    GuestPanic,
    /// A part of the machine was reset, and that means all of it.
    SubsystemReset,
    /// A snapshot is loaded.
    SnapshotLoad,
}

impl Cause {
    /// Whether the guest is behind it.
    pub fn by_guest(self) -> bool {
        self >= Cause::GuestShutdown
    }
}

/// What may be asked of the main loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Stop, for the reason that the state says.
    Stop(RunState),
    /// Run.
    Run,
    /// Reset everything.
    Reset(Cause),
    /// End, with an exit status.
    Shutdown(Cause, u32),
    /// The power button was pressed.
    PowerDown,
    /// A watchdog has run out.
    Watchdog,
    /// The guest has panicked.
    Panicked,
}

base::trace_points! {
    /// What is to be traced of run states.
    pub mod trace "vm_state" {
        /// The machine has started or stopped.
        NOTIFY "notify",
    }
}

type Performer = Box<dyn Fn(Request) + Send + Sync>;
type Handler = Arc<dyn Fn(RunState) + Send + Sync>;

/// The run state with those who watch it.
pub struct RunControl {
    state: Mutex<RunState>,
    handlers: Mutex<Vec<(i32, Handler)>>,
    performer: OnceLock<Performer>,
    /// The main loop's thread.
    owner: OnceLock<ThreadId>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for RunControl {
    fn default() -> Self {
        Self {
            state: Mutex::new(RunState::Prelaunch),
            handlers: Mutex::default(),
            performer: OnceLock::new(),
            owner: OnceLock::new(),
        }
    }
}

impl RunControl {
    /// For a machine that has not been started.
    pub fn new() -> Arc<RunControl> {
        Arc::default()
    }
    /// The state now.
    pub fn state(&self) -> RunState {
        *lock(&self.state)
    }
    /// Asks for something. From any thread, also from a timer's callback or with a device's lock held: it is done later,
    /// by the main loop, but no vCPU runs another instruction before a stop, a reset or an end.
    pub fn request(&self, request: Request) {
        if let Some(perform) = self.performer.get() {
            perform(request);
        }
    }
    /// Calls `handler` with the new state each time that the machine has been started or stopped, on the main loop's
    /// thread. On a start those of lower priority come first, on a stop last; of equal ones, the older first and last.
    pub fn on_change(&self, priority: i32, handler: impl Fn(RunState) + Send + Sync + 'static) {
        let mut handlers = lock(&self.handlers);
        let place = handlers.partition_point(|(other, _)| *other <= priority);
        handlers.insert(place, (priority, Arc::new(handler)));
    }

    /// Sets who performs requests; the first time counts.
    pub fn set_performer(&self, performer: impl Fn(Request) + Send + Sync + 'static) {
        let _ = self.performer.set(Box::new(performer));
    }
    /// From now on only the calling thread may change the state.
    pub fn own(&self) {
        let _ = self.owner.set(std::thread::current().id());
    }
    /// Changes the state without telling anybody.
    ///
    /// # Panics
    /// If the table of moves does not allow it, or the caller is not the main loop: that is our mistake, never the guest's.
    pub fn set(&self, to: RunState) {
        let owner = self.owner.get();
        assert!(
            owner.is_none_or(|owner| *owner == std::thread::current().id()),
            "the run state is the main loop's"
        );
        let mut state = lock(&self.state);
        assert!(state.may_become(to), "run state cannot go from {state} to {to}");
        *state = to;
    }
    /// Calls the handlers.
    pub fn notify(&self) {
        let state = self.state();
        let running = u8::from(state == RunState::Running);
        base::trace!(trace::NOTIFY, "running {running} reason {} ({state})", state as u8);
        let mut handlers = lock(&self.handlers).clone();
        if state != RunState::Running {
            handlers.reverse();
        }
        handlers.iter().for_each(|(_, handler)| handler(state));
    }
}

#[cfg(test)]
#[path = "run_control_test.rs"]
mod test;
