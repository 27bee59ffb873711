//! The primitives: what the glue costs, by a bare-metal program of ours (`tests/bench/bare/primitives.c`).

use super::{COMPILER, LIMIT, Samples, note};
use crate::Result;
use crate::boot::strings;
use crate::console::Console;
use crate::paths;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles the program; nothing when there is no compiler.
pub(super) fn build() -> Result<Option<PathBuf>> {
    if paths::which(COMPILER).is_none() {
        eprintln!("no primitives: {COMPILER} is not installed (apt-get install gcc-riscv64-linux-gnu)");
        return Ok(None);
    }
    let dir = paths::guests().join(".bench");
    fs::create_dir_all(&dir)?;
    let program = dir.join("primitives.elf");
    let built = Command::new(COMPILER)
        .args(["-O2", "-march=rv64gc_zicsr_zifencei", "-mabi=lp64d", "-mcmodel=medany", "-ffreestanding"])
        .args(["-nostdlib", "-static", "-fno-pic", "-no-pie", "-Wl,--build-id=none"])
        .args(["-Wl,-z,max-page-size=4096", "-Wl,-Ttext=0x80001000", "-Wl,--section-start=.start=0x80000000"])
        .arg("-o")
        .arg(&program)
        .arg(paths::root().join("tests/bench/bare/primitives.c"))
        .status()?;
    if !built.success() {
        return Err("cannot compile the primitives".into());
    }
    Ok(Some(program))
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
