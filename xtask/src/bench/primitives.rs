//! The primitives: what the glue costs, by a bare-metal program of ours (`tests/bench/bare/primitives.c`).

use super::{LIMIT, Samples, note};
use crate::boot::strings;
use crate::console::Console;
use crate::{Result, guest};
use std::path::{Path, PathBuf};

/// Compiles the program; nothing when there is no compiler.
pub(super) fn build() -> Result<Option<PathBuf>> {
    let program = guest::bare_program("tests/bench/bare/primitives.c")?;
    if program.is_none() {
        eprintln!(
            "no primitives: {} is not installed (apt-get install gcc-riscv64-linux-gnu)",
            guest::COMPILER
        );
    }
    Ok(program)
}

/// Runs it once.
pub(super) fn run(emulator: &Path, program: &Path, extra: &[String], samples: &mut Samples) -> Result<()> {
    let mut line = strings(&["-M", "virt", "-m", "256M", "-nographic", "-bios", "none", "-kernel"]);
    line.push(program.display().to_string());
    line.extend(extra.iter().cloned());
    let mut console = Console::spawn(emulator, &line)?;
    console.expect("PRIMITIVES DONE", LIMIT)?;
    for row in console.transcript().lines() {
        if let Some((name, ns)) = row.trim().strip_prefix("PRIMITIVE ").and_then(|r| r.split_once(' ')) {
            // A tenth is the resolution: what costs less costs at most that.
            let ns = ns.parse::<f64>()?.max(0.1);
            note(samples, &format!("8 primitive {name}, ns"), ns);
        }
    }
    Ok(())
}
