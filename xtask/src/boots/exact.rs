//! Bare-metal programs of ours that look for what speed may cost: stale code, stale mappings, lost stores, orders that the memory
//! model forbids. Each is a table of tests in C (`tests/guest/bare`) and ends in `ALL RIGHT`.

use super::{Outcome, World, good};
use crate::boot::strings;
use crate::console::Console;
use crate::{guest, paths};
use std::time::Duration;

/// How long one run may take on a slow, busy host.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a program once with each of the lists of further words.
fn all_right(world: &World, name: &str, ways: &[&str]) -> Outcome {
    let Some(program) = guest::bare_program(&format!("tests/guest/bare/{name}.c"))? else {
        return Ok(Some(format!("{} is not installed", guest::COMPILER)));
    };
    for way in ways {
        let mut line = strings(&["-M", "virt", "-m", "256M", "-nographic", "-bios", "none", "-kernel"]);
        line.push(program.display().to_string());
        line.extend(way.split_whitespace().map(str::to_owned));
        let run = || {
            let mut console = Console::spawn(&world.tinamou, &line)?;
            console.expect("ALL RIGHT", LIMIT)?;
            good(console.wait(LIMIT)?)
        };
        run().map_err(|e| format!("{name} {way}: {e}"))?;
    }
    Ok(None)
}

/// Code that changes and pages that are mapped anew, on one hart, in each way that the engine works.
pub fn code_and_pages(world: &World) -> Outcome {
    let kept = format!("-accel tcg,code-cache={}", paths::guests().join(".code-cache").display());
    let ways = [
        "",
        "-accel tcg,verify=on",
        "-accel tcg,one-insn-per-tb=on",
        "-accel tcg,tb-size=1",
        "-accel tcg,opt=off",
        "-accel tcg,regions=off",
        "-accel tcg,jit=off",
        "-icount shift=3",
        // The second finds what the first has translated.
        &kept,
        &kept,
    ];
    all_right(world, "gates", &ways)
}

/// Atomics, locks, and what harts do to each other's code and mappings.
pub fn harts(world: &World) -> Outcome {
    let ways = [
        "-cpu rv64,zacas=on -smp 2",
        "-cpu rv64,zacas=on -smp 4",
        "-cpu rv64,zacas=on -smp 2 -accel tcg,tb-size=1",
        "-cpu rv64,zacas=on -smp 2 -accel tcg,one-insn-per-tb=on",
    ];
    all_right(world, "harts", &ways)
}

/// Litmus tests of the memory model.
pub fn memory_model(world: &World) -> Outcome {
    all_right(world, "litmus", &["-smp 2", "-smp 4", "-smp 2 -accel tcg,one-insn-per-tb=on"])
}
