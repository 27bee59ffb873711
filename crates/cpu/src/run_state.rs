//! The run states of a virtual machine and the moves between them (names as in QEMU's QMP `RunState`).

use qapi::Qapi;
use std::fmt;

macro_rules! states {
    ($($(#[$d:meta])* $name:ident $text:literal -> [$($to:ident),*];)*) => {
        /// What the machine as a whole is doing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Qapi)]
        pub enum RunState { $($(#[$d])* #[qapi(name = $text)] $name),* }
        impl RunState {
            /// All states.
            pub const ALL: &'static [RunState] = &[$(RunState::$name),*];
            /// Whether the machine may go from here to `to`.
            pub fn may_become(self, to: RunState) -> bool {
                self == to || match self { $(RunState::$name => [$(RunState::$to),*].contains(&to)),* }
            }
        }
    };
}

states! {
    /// Stopped by a debugger.
    Debug "debug" -> [Running, FinishMigrate, Prelaunch, Paused, Shutdown];
    /// Waiting for an incoming migration.
    InMigrate "inmigrate" -> [InternalError, IoError, Paused, Running, Shutdown, Suspended, Watchdog, GuestPanicked, FinishMigrate, Prelaunch, PostMigrate, Colo];
    /// An internal error stopped it.
    InternalError "internal-error" -> [Paused, FinishMigrate, Prelaunch, Shutdown];
    /// A disk error stopped it.
    IoError "io-error" -> [Running, FinishMigrate, Prelaunch, Paused, Shutdown];
    /// Stopped by the user.
    Paused "paused" -> [Running, FinishMigrate, PostMigrate, Prelaunch, Colo, Shutdown, SaveVm, RestoreVm, Debug];
    /// Stopped after a migration away.
    PostMigrate "postmigrate" -> [Running, FinishMigrate, Prelaunch, Shutdown];
    /// Not started yet (`-S`).
    Prelaunch "prelaunch" -> [Running, FinishMigrate, InMigrate, Shutdown, Paused, RestoreVm, Debug];
    /// Finishing a migration away.
    FinishMigrate "finish-migrate" -> [Running, Paused, PostMigrate, Prelaunch, Colo, InternalError, IoError, Shutdown, Suspended, Watchdog, GuestPanicked, Debug];
    /// Loading a snapshot.
    RestoreVm "restore-vm" -> [Running, Prelaunch, Paused, Suspended];
    /// Running.
    Running "running" -> [Debug, InternalError, IoError, Paused, FinishMigrate, RestoreVm, SaveVm, Shutdown, Watchdog, GuestPanicked, Colo, Suspended];
    /// Saving a snapshot.
    SaveVm "save-vm" -> [Running, Paused, Prelaunch, Shutdown, Suspended, Debug];
    /// The guest has shut down and `-no-shutdown` keeps the process.
    Shutdown "shutdown" -> [Paused, FinishMigrate, Prelaunch];
    /// Suspended to RAM.
    Suspended "suspended" -> [Running, FinishMigrate, Prelaunch, Colo, Paused, Shutdown, SaveVm, RestoreVm, Debug];
    /// Stopped by a watchdog.
    Watchdog "watchdog" -> [Running, FinishMigrate, Prelaunch, Colo, Shutdown];
    /// The guest reported a panic.
    GuestPanicked "guest-panicked" -> [Running, FinishMigrate, Prelaunch, Shutdown];
    /// Replicated by COLO.
    Colo "colo" -> [Running, Prelaunch, Shutdown];
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The machine's run state and why it may not run. Changed by the main loop only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmStop {
    state: RunState,
}

impl Default for VmStop {
    fn default() -> Self {
        VmStop { state: RunState::Prelaunch }
    }
}

impl VmStop {
    /// The state.
    pub fn state(&self) -> RunState {
        self.state
    }
    /// Moves to `to`.
    ///
    /// # Panics
    /// If the table above does not allow it: that is our mistake, never the guest's.
    pub fn set(&mut self, to: RunState) {
        assert!(self.state.may_become(to), "run state cannot go from {} to {to}", self.state);
        self.state = to;
    }
    /// Line of `info status`.
    pub fn describe(&self) -> String {
        match self.state {
            RunState::Running => "VM status: running".into(),
            RunState::Paused => "VM status: paused".into(),
            s => format!("VM status: paused ({s})"),
        }
    }
}
