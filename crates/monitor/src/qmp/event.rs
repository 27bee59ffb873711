//! Events about the machine as a whole.

use super::WatchdogAction;
use cpu::Cause;
use qapi::{Event, EventInfo, Qapi};

/// All events of this file.
pub(super) const EVENTS: &[EventInfo] = &[
    DumpCompleted::INFO,
    GuestPanicked::INFO,
    Powerdown::INFO,
    Reset::INFO,
    Resume::INFO,
    Shutdown::INFO,
    Stop::INFO,
    Watchdog::INFO,
];

/// The machine has stopped.
#[derive(Debug, Qapi)]
#[qapi(event = "STOP")]
pub struct Stop {}

/// The machine goes on.
#[derive(Debug, Qapi)]
#[qapi(event = "RESUME")]
pub struct Resume {}

/// The power button was pressed.
#[derive(Debug, Qapi)]
#[qapi(event = "POWERDOWN")]
pub struct Powerdown {}

/// The machine was reset.
#[derive(Debug, Qapi)]
#[qapi(event = "RESET")]
pub struct Reset {
    /// The guest is behind it.
    pub guest: bool,
    /// Why.
    pub reason: Cause,
}

/// The machine ends, or would but for `-no-shutdown`.
#[derive(Debug, Qapi)]
#[qapi(event = "SHUTDOWN")]
pub struct Shutdown {
    /// The guest is behind it.
    pub guest: bool,
    /// Why.
    pub reason: Cause,
}

/// A watchdog has run out.
#[derive(Debug, Qapi)]
#[qapi(event = "WATCHDOG")]
pub struct Watchdog {
    /// What is done now.
    pub action: WatchdogAction,
}

/// What is done about a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum PanicResult {
    /// The machine stops.
    Pause,
    /// The program ends.
    Poweroff,
    /// Nothing.
    Run,
}

/// The guest has told of its panic.
#[derive(Debug, Qapi)]
#[qapi(event = "GUEST_PANICKED")]
pub struct GuestPanicked {
    /// What is done now.
    pub action: PanicResult,
}

/// How a dump stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Qapi)]
pub enum DumpStatus {
    /// There was none.
    #[default]
    None,
    /// It is being written.
    Active,
    /// It is written.
    Completed,
    /// It could not be written.
    Failed,
}

/// How a dump went.
#[derive(Clone, Copy, Debug, Default, Qapi)]
pub struct DumpQueryResult {
    /// How it stands.
    pub status: DumpStatus,
    /// Bytes written.
    pub completed: i64,
    /// Bytes to be written.
    pub total: i64,
}

/// A dump that nobody waited for is finished.
#[derive(Debug, Qapi)]
#[qapi(event = "DUMP_COMPLETED")]
pub struct DumpCompleted {
    /// How it went.
    pub result: DumpQueryResult,
    /// What went wrong.
    pub error: Option<String>,
}
