//! Letting the machine run and stopping it.

use super::{Qapi, command};
use crate::{Command, Context};
use base::Result;
use cpu::RunState;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[CONT, QUERY_STATUS, STOP, SYSTEM_POWERDOWN, SYSTEM_RESET];

/// Whether the machine runs, and why not.
#[derive(Debug, Qapi)]
pub struct StatusInfo {
    running: bool,
    status: RunState,
}

/// The run state.
#[command]
pub fn query_status(context: &mut Context<'_>) -> Result<StatusInfo> {
    let status = context.vm.run_state();
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
