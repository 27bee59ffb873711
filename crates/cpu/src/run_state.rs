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
    Debug "debug" -> [Running, FinishMigrate, Prelaunch, Suspended];
    /// Waiting for an incoming migration.
    InMigrate "inmigrate" -> [InternalError, IoError, Paused, Running, Shutdown, Suspended, Watchdog, GuestPanicked, FinishMigrate, Prelaunch, PostMigrate, Colo];
    /// An internal error stopped it.
    InternalError "internal-error" -> [Paused, FinishMigrate, Prelaunch];
    /// A disk error stopped it.
    IoError "io-error" -> [Running, FinishMigrate, Prelaunch];
    /// Stopped by the user.
    Paused "paused" -> [Running, FinishMigrate, PostMigrate, Prelaunch, Colo, Suspended];
    /// Stopped after a migration away.
    PostMigrate "postmigrate" -> [Running, FinishMigrate, Prelaunch];
    /// Not started yet (`-S`).
    Prelaunch "prelaunch" -> [Running, FinishMigrate, InMigrate, Suspended];
    /// Finishing a migration away.
    FinishMigrate "finish-migrate" -> [Running, Paused, PostMigrate, Prelaunch, Colo, InternalError, IoError, Shutdown, Suspended, Watchdog, GuestPanicked];
    /// Loading a snapshot.
    RestoreVm "restore-vm" -> [Running, Prelaunch, Suspended];
    /// Running.
    Running "running" -> [Debug, InternalError, IoError, Paused, FinishMigrate, RestoreVm, SaveVm, Shutdown, Watchdog, GuestPanicked, Colo, Suspended];
    /// Saving a snapshot.
    SaveVm "save-vm" -> [Running, Suspended];
    /// The guest has shut down and `-no-shutdown` keeps the process.
    Shutdown "shutdown" -> [Paused, FinishMigrate, Prelaunch];
    /// Suspended to RAM.
    Suspended "suspended" -> [Running, FinishMigrate, Prelaunch, Colo, Paused, Shutdown, SaveVm, RestoreVm];
    /// Stopped by a watchdog.
    Watchdog "watchdog" -> [Running, FinishMigrate, Prelaunch, Colo];
    /// The guest reported a panic.
    GuestPanicked "guest-panicked" -> [Running, FinishMigrate, Prelaunch];
    /// Replicated by COLO.
    Colo "colo" -> [Running, Prelaunch, Shutdown];
}

impl RunState {
    /// Line of `info status`.
    pub fn describe(self) -> String {
        match self {
            RunState::Running => "VM status: running".into(),
            RunState::Paused => "VM status: paused".into(),
            other => format!("VM status: paused ({other})"),
        }
    }
    /// Whether only a reset leads out of it.
    pub fn needs_reset(self) -> bool {
        matches!(self, RunState::InternalError | RunState::Shutdown)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
