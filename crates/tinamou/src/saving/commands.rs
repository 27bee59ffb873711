//! The monitor's commands for snapshots.

use super::Keep;
use crate::control::Control;
use base::Result;
use migration::utc;
use monitor::Context;
use monitor::hmp::{Argument, Arguments, Command, Switches, Word, refused};
use std::fmt::Write;

/// Commands for people.
pub const COMMANDS: &[Command] = &[
    Command { names: "delvm", params: "tag", help: "delete a VM snapshot from its tag", run: delvm },
    Command { names: "loadvm", params: "tag", help: "restore a VM snapshot from its tag", run: loadvm },
    Command {
        names: "savevm",
        params: "[-m] tag",
        help: "save a VM snapshot. If no tag is provided, a new snapshot is created (-m: keep it in memory)",
        run: savevm,
    },
];

/// Subcommands of `info`.
pub const INFO: &[Command] = &[Command {
    names: "snapshots",
    params: "",
    help: "show the currently saved VM snapshots",
    run: snapshots,
}];

fn savevm(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let switches = Switches::take(arguments, "m")?;
    let tag = <Option<Word> as Argument>::take(arguments)?;
    arguments.finish()?;
    let control = Control::of(context)?;
    let keep = if switches.has('m') { Keep::InMemory } else { Keep::OnDisk };
    control.saving()?.save(control, tag.as_ref().map(|Word(t)| t.as_str()), keep).map_err(refused)
}

fn loadvm(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let Word(tag) = Word::take(arguments)?;
    arguments.finish()?;
    let control = Control::of(context)?;
    control.saving()?.load(control, &tag).map_err(refused)
}

fn delvm(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let Word(tag) = Word::take(arguments)?;
    arguments.finish()?;
    Control::of(context)?.saving()?.delete(&tag).map_err(refused)
}

fn snapshots(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    arguments.finish()?;
    let entries = Control::of(context)?.saving()?.entries().map_err(refused)?;
    let out = &mut context.out;
    if entries.is_empty() {
        out.push_str("There is no snapshot available.\n");
        return Ok(());
    }
    out.push_str("List of snapshots present on all disks:\n");
    let mut line = |[id, tag, size, date, clock, icount]: [&str; 6]| {
        let _ = writeln!(out, "{id:<7} {tag:<16} {size:>8} {date:>19} {clock:>15} {icount:>10}");
    };
    line(["ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT"]);
    for e in &entries {
        line(["--", &e.tag, &size(e.size), &utc(e.date), &clock(e.clock), "--"]);
    }
    Ok(())
}

/// Bytes with three digits and a unit.
fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {}", units[unit])
}

/// Hours, minutes, seconds and milliseconds.
fn clock(ns: u64) -> String {
    let ms = ns / 1_000_000;
    let s = ms / 1000;
    format!("{:04}:{:02}:{:02}.{:03}", s / 3600, s / 60 % 60, s % 60, ms % 1000)
}

#[cfg(test)]
#[path = "commands_test.rs"]
mod test;
