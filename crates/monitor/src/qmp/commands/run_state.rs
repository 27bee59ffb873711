//! Letting the machine run and stopping it.

use super::{Qapi, command};
use crate::{Command, Context};
use base::{Result, error};
use cpu::RunState;
use std::sync::PoisonError;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    CONT,
    QUERY_STATUS,
    SET_ACTION,
    STOP,
    SYSTEM_POWERDOWN,
    SYSTEM_RESET,
    SYSTEM_WAKEUP,
    WATCHDOG_SET_ACTION,
];

/// What is done when the guest asks for a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Qapi)]
pub enum RebootAction {
    /// It is reset.
    #[default]
    Reset,
    /// The program ends.
    Shutdown,
}

/// What is done when the guest switches itself off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Qapi)]
pub enum ShutdownAction {
    /// The program ends.
    #[default]
    Poweroff,
    /// The machine stops, the program stays.
    Pause,
}

/// What is done when the guest tells of its panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Qapi)]
pub enum PanicAction {
    /// The machine stops.
    Pause,
    /// The program ends, or the machine stops if that is what a shutdown does.
    #[default]
    Shutdown,
    /// The program ends with status 1.
    ExitFailure,
    /// Nothing.
    None,
}

/// What is done when a watchdog runs out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Qapi)]
pub enum WatchdogAction {
    /// The machine is reset.
    #[default]
    Reset,
    /// The power button is pressed.
    Shutdown,
    /// The program ends.
    Poweroff,
    /// The machine stops.
    Pause,
    /// A line on standard error.
    Debug,
    /// Nothing.
    None,
    /// A non-maskable interrupt, which no machine here has.
    InjectNmi,
}

/// What is done about a guest that resets, ends, panics or hangs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// When it resets.
    pub reboot: RebootAction,
    /// When it ends.
    pub shutdown: ShutdownAction,
    /// When it panics.
    pub panic: PanicAction,
    /// When it hangs.
    pub watchdog: WatchdogAction,
}

/// Changes to [`Actions`].
#[derive(Clone, Copy, Debug, Default, Qapi)]
pub struct ActionChange {
    reboot: Option<RebootAction>,
    shutdown: Option<ShutdownAction>,
    panic: Option<PanicAction>,
    watchdog: Option<WatchdogAction>,
}

impl Actions {
    /// Makes changes.
    pub fn change(&mut self, change: ActionChange) {
        self.reboot = change.reboot.unwrap_or(self.reboot);
        self.shutdown = change.shutdown.unwrap_or(self.shutdown);
        self.panic = change.panic.unwrap_or(self.panic);
        self.watchdog = change.watchdog.unwrap_or(self.watchdog);
    }
}

/// Whether the machine runs, and why not.
#[derive(Debug, Qapi)]
pub struct StatusInfo {
    running: bool,
    status: RunState,
}

/// The run state.
#[command(hmp("info status", "", "show the current VM status (running|paused)"))]
pub fn query_status(context: &mut Context<'_>) -> Result<StatusInfo> {
    let status = context.vm.run_state();
    context.out = format!("{}\n", status.describe());
    Ok(StatusInfo { running: status == RunState::Running, status })
}

/// Lets the machine run.
#[command(hmp("cont|c", "", "resume emulation"))]
pub fn cont(context: &mut Context<'_>) -> Result<()> {
    context.vm.run()
}

/// Stops the machine.
#[command(hmp("stop|s", "", "stop emulation"))]
pub fn stop(context: &mut Context<'_>) -> Result<()> {
    context.vm.stop();
    Ok(())
}

/// Resets the machine.
#[command(name = "system_reset", hmp("system_reset", "", "reset the system"))]
pub fn system_reset(context: &mut Context<'_>) -> Result<()> {
    context.vm.reset();
    Ok(())
}

/// Presses the power button.
#[command(name = "system_powerdown", hmp("system_powerdown", "", "send system power down event"))]
pub fn system_powerdown(context: &mut Context<'_>) -> Result<()> {
    context.vm.power_down();
    Ok(())
}

/// Wakes a suspended machine.
#[command(name = "system_wakeup", hmp("system_wakeup", "", "wakeup guest from suspend"))]
pub fn system_wakeup(_: &mut Context<'_>) -> Result<()> {
    Err(error!("wake-up from suspend is not supported by this guest"))
}

/// Says what is done when the guest resets, ends, panics or hangs.
#[command(boxed)]
pub fn set_action(context: &mut Context<'_>, change: ActionChange) -> Result<()> {
    context.vm.actions().lock().unwrap_or_else(PoisonError::into_inner).change(change);
    Ok(())
}

/// Says what is done when a watchdog runs out.
#[command(hmp(
    "watchdog_action",
    "[reset|shutdown|poweroff|pause|debug|none|inject-nmi]",
    "change watchdog action"
))]
pub fn watchdog_set_action(context: &mut Context<'_>, action: WatchdogAction) -> Result<()> {
    set_action(context, ActionChange { watchdog: Some(action), ..ActionChange::default() })
}
