//! Trace points: which are on, and switching them.

use crate::lists::trace_points;
use base::{Result, error, trace};
use monitor::hmp::{self, Argument, Arguments, Word};
use monitor::{Command, Context, command};
use qapi::Qapi;
use std::fmt::Write;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[TRACE_EVENT_GET_STATE, TRACE_EVENT_SET_STATE];

/// For people.
pub const HMP: &[hmp::Command] = &[hmp::Command {
    names: "trace-event",
    params: "name on|off [vcpu]",
    help: "changes status of a specific trace event (vcpu: vCPU to set, default is all)",
    run: trace_event,
}];

/// Subcommands of `info`.
pub const INFO: &[hmp::Command] = &[hmp::Command {
    names: "trace-events",
    params: "[name] [vcpu]",
    help: "show available trace-events & their state (name: event name pattern; vcpu: vCPU to query, default is any)",
    run: info_trace_events,
}];

/// State of a trace point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Qapi)]
pub enum TraceEventState {
    /// Not compiled in.
    Unavailable,
    /// Off.
    Disabled,
    /// On.
    Enabled,
}

/// A trace point.
#[derive(Debug, Qapi)]
pub struct TraceEventInfo {
    name: String,
    state: TraceEventState,
}

/// Those whose names fit a pattern.
fn matching(pattern: &str) -> Vec<(String, bool)> {
    let all = trace::list(&trace_points());
    all.into_iter().filter(|(name, _)| trace::fits(pattern.as_bytes(), name.as_bytes())).collect()
}

/// Switches points; the error is QEMU's.
fn set(pattern: &str, on: bool) -> Result<()> {
    match trace::switch(&trace_points(), pattern, on) {
        0 if !pattern.contains(['*', '?']) => Err(error!("unknown event \"{pattern}\"")),
        _ => Ok(()),
    }
}

/// Which trace points are on.
#[command]
pub fn trace_event_get_state(_: &mut Context<'_>, name: String) -> Result<Vec<TraceEventInfo>> {
    let found = matching(&name);
    if found.is_empty() && !name.contains(['*', '?']) {
        return Err(error!("unknown event \"{name}\""));
    }
    let state = |on| if on { TraceEventState::Enabled } else { TraceEventState::Disabled };
    Ok(found.into_iter().map(|(name, on)| TraceEventInfo { name, state: state(on) }).collect())
}

/// Switches trace points.
#[command]
pub fn trace_event_set_state(
    _: &mut Context<'_>,
    name: String,
    enable: bool,
    _ignore_unavailable: Option<bool>,
) -> Result<()> {
    set(&name, enable)
}

fn trace_event(_: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let (name, on) = (Word::take(arguments)?.0, Word::take(arguments)?.0);
    let on = match on.as_str() {
        "on" => true,
        "off" => false,
        _ => return Err(error!("Expected 'on' or 'off'")),
    };
    arguments.finish()?;
    set(&name, on).map_err(hmp::refused)
}

fn info_trace_events(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let pattern: Option<Word> = Argument::take(arguments)?;
    let pattern = pattern.map_or("*".to_owned(), |word| word.0);
    arguments.finish()?;
    for (name, on) in matching(&pattern) {
        let _ = writeln!(context.out, "{name} : state {}", u8::from(on));
    }
    Ok(())
}
