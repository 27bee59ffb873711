//! Recording and replaying.

use crate::control::Control;
use base::{Result, error};
use events::{Replay, ReplayMode};
use monitor::{Command, Context, Vm, command};
use qapi::Qapi;
use std::sync::Arc;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[QUERY_REPLAY, REPLAY_BREAK, REPLAY_DELETE_BREAK, REPLAY_SEEK];

/// Whether the execution is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum Mode {
    /// It is not.
    None,
    /// It is.
    Record,
    /// It is a recorded one.
    Play,
}

/// The recording.
#[derive(Debug, Qapi)]
pub struct ReplayInfo {
    mode: Mode,
    filename: Option<String>,
    icount: i64,
}

/// The recording, and how far it has come.
#[command(hmp("info replay", "", "show record/replay information"))]
pub fn query_replay(context: &mut Context<'_>) -> Result<ReplayInfo> {
    let control = Control::of(context).ok();
    let replay = control.and_then(|control| control.replay().cloned());
    let Some(replay) = replay else {
        context.out.push_str("Record/replay is not active\n");
        return Ok(ReplayInfo { mode: Mode::None, filename: None, icount: 0 });
    };
    let count = control.map_or(0, Control::instructions);
    let (mode, word) = match replay.mode() {
        ReplayMode::Record => (Mode::Record, "Recording"),
        ReplayMode::Play => (Mode::Play, "Replaying"),
    };
    let text = format!("{word} execution '{}': instruction count = {count}\n", replay.path());
    context.out.push_str(&text);
    Ok(ReplayInfo { mode, filename: Some(replay.path().to_owned()), icount: count as i64 })
}

fn replaying<'a>(context: &Context<'a>, otherwise: &str) -> Result<(&'a Control, Arc<Replay>)> {
    let control = Control::of(context)?;
    match control.replay().filter(|replay| replay.mode() == ReplayMode::Play) {
        Some(replay) => Ok((control, replay.clone())),
        None => Err(error!("{otherwise}")),
    }
}

/// Stops at an instruction.
#[command(hmp("replay_break", "icount", "set breakpoint at the specified instruction count"))]
pub fn replay_break(context: &mut Context<'_>, icount: i64) -> Result<()> {
    let (control, replay) = replaying(context, "setting the breakpoint is allowed only in play mode")?;
    let count = u64::try_from(icount).ok().filter(|count| *count >= control.instructions());
    let count = count.ok_or_else(|| error!("cannot set breakpoint at the instruction in the past"))?;
    replay.stop_at(Some(count));
    Ok(())
}

/// Does not stop there any more.
#[command(hmp("replay_delete_break", "", "remove replay breakpoint"))]
pub fn replay_delete_break(context: &mut Context<'_>) -> Result<()> {
    let (_, replay) = replaying(context, "replay breakpoints are allowed only in play mode")?;
    replay.stop_at(None);
    Ok(())
}

/// Goes to an instruction, forward or back.
#[command(hmp("replay_seek", "icount", "replay execution to the specified instruction count"))]
pub fn replay_seek(context: &mut Context<'_>, icount: i64) -> Result<()> {
    let (control, replay) = replaying(context, "replay must be enabled to seek")?;
    let count =
        u64::try_from(icount).map_err(|_| error!("cannot seek to the specified instruction count"))?;
    if count < control.instructions() {
        control.go_back(count)?;
    }
    if count > control.instructions() {
        replay.stop_at(Some(count));
        control.run()?;
    }
    Ok(())
}
