//! `cargo xtask bench`: the same guests on Tinamou and on QEMU, in turn, as a table of medians and ratios.
//!
//! Runs alternate (A B A B) so that a host that slows down or warms up meets both alike.

mod debian;
mod io;
mod primitives;
mod table;

use crate::bench_snapshots;
use crate::boot::{linux, machine, network, strings};
use crate::console::Console;
use crate::guest::COMPILER;
use crate::paths::{self, Images};
use crate::{Result, guest, option, switch};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(900);
/// A guest's own clock may differ from the host's by this factor before the figure is doubted.
const CLOCK_TOLERANCE: f64 = 0.2;

/// proc(5) counts processor time in these (`sysconf(_SC_CLK_TCK)` is 100 on every Linux of x86_64).
const TICKS_PER_SECOND: f64 = 100.0;

/// QEMU's processor without what its own default has and costs: nested tables of other depths, physical memory protection.
const LEAN: &str = "-cpu rv64,sv39=on,sv48=off,sv57=off,pmp=off";

/// Tinamou without what earlier runs have left.
const COLD: &str = "-accel tcg,code-cache=off";

/// How long an idle guest is watched, and how long it is left alone before.
const IDLE: Duration = Duration::from_secs(5);

/// The measured quantities of one emulator: all their runs.
type Samples = BTreeMap<String, Vec<f64>>;

/// One of those that are compared.
struct Side {
    name: &'static str,
    program: PathBuf,
    /// Further arguments.
    extra: &'static str,
    samples: Samples,
}

/// What is run, and how.
#[derive(Clone)]
struct Plan {
    images: Images,
    smp: u32,
    memory: String,
    runs: usize,
    /// The initramfs with the programs, and these in the order they run.
    programs: Option<(PathBuf, Vec<Program>)>,
    primitives: Option<PathBuf>,
    debian: Option<PathBuf>,
    /// The initramfs with the programs for disks and networks.
    io: Option<PathBuf>,
    /// Which modes of disks: those with this text in their options.
    modes: Option<String>,
    extra: Vec<String>,
}

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let images = guest::ensure()?;
    let side = |name, program, extra| Side { name, program, extra, samples: Samples::new() };
    let cold = if switch(args, "--cold") { COLD } else { "" };
    let mut sides = vec![side("tinamou", paths::tinamou()?, cold), side("qemu", paths::qemu()?, "")];
    if !switch(args, "--one-qemu") {
        sides.push(side("qemu lean", paths::qemu()?, LEAN));
    }
    let only = option(args, "--only").unwrap_or("primitives,boot,idle,programs,login,work,snapshots");
    let wants = |what: &str| only.split(',').any(|w| w == what);
    let plan = Plan {
        programs: if wants("programs") { programs(&images, option(args, "--programs"))? } else { None },
        primitives: if wants("primitives") { primitives::build()? } else { None },
        debian: if wants("login") || wants("work") || wants("snapshots") { images.debian() } else { None },
        io: if wants("disk") || wants("net") { io::build(&images)? } else { None },
        modes: option(args, "--modes").map(str::to_owned),
        images,
        smp: option(args, "--smp").unwrap_or("1").parse()?,
        memory: option(args, "--memory").unwrap_or("1G").to_owned(),
        runs: option(args, "--runs").unwrap_or("3").parse()?,
        extra: option(args, "--args").unwrap_or("").split_whitespace().map(str::to_owned).collect(),
    };
    for turn in 1..=plan.runs {
        for side in &mut sides {
            eprintln!("run {turn} of {}: {}", plan.runs, side.name);
            let mut plan = plan.clone();
            plan.extra.extend(side.extra.split_whitespace().map(str::to_owned));
            measure(&plan, &wants, side)?;
        }
    }
    for side in &sides {
        println!("{}: {} {}", side.name, version(&side.program), side.extra);
    }
    println!("{} runs each, in turn; medians; -smp {} -m {}\n", plan.runs, plan.smp, plan.memory);
    print!("{}", table::table(&sides));
    Ok(())
}

/// One run of everything on one side.
fn measure(plan: &Plan, wants: &dyn Fn(&str) -> bool, side: &mut Side) -> Result<()> {
    let (program, samples) = (&side.program, &mut side.samples);
    // These measure translation, too.
    let mut cold = plan.clone();
    if side.name == "tinamou" && side.extra.is_empty() {
        cold.extra.extend(strings(&COLD.split(' ').collect::<Vec<_>>()));
    }
    if let Some(elf) = &plan.primitives {
        primitives::run(program, elf, &cold.extra, samples)?;
    }
    if wants("boot") || wants("idle") {
        shell(plan, program, wants("idle"), samples)?;
    }
    if let Some((initrd, programs)) = &plan.programs {
        in_guest(&cold, program, initrd, programs, samples)?;
    }
    if let Some(initrd) = &plan.io {
        if wants("disk") {
            io::disks(plan, program, initrd, samples)?;
        }
        if wants("net") {
            io::networks(plan, program, initrd, samples)?;
        }
    }
    if wants("iperf3") {
        io::iperf3(plan, program, samples)?;
    }
    if let Some(image) = &plan.debian {
        if wants("login") || wants("work") {
            debian::login(plan, program, image, wants("work"), samples)?;
        }
        // With another processor than the default one there would be nothing new to see.
        if wants("snapshots") && side.extra != LEAN {
            let store = paths::guests().join(".bench-snapshots");
            let line = debian::line(plan, image);
            let mut note = |what: &str, ms: f64| note(samples, what, ms);
            bench_snapshots::measure(program, &line, side.name == "tinamou", &store, &mut note)?;
        }
    }
    Ok(())
}

/// Exec to the firmware's first byte, to the shell, and the memory that took; what the shell uses while nobody types.
fn shell(plan: &Plan, program: &Path, idle: bool, samples: &mut Samples) -> Result<()> {
    let mut line = common(plan);
    line.extend(linux(&plan.images, &plan.images.initrd, "console=ttyS0"));
    line.extend(network());
    let mut console = Console::spawn(program, &line)?;
    let up = console.expect("TINAMOU-SHELL-READY", LIMIT)?;
    if let Some(first) = console.first_output() {
        note(samples, "1 exec to first firmware output, ms", first.as_secs_f64() * 1e3);
    }
    note(samples, "2 boot to shell, s", up.as_secs_f64());
    if let Some(ticks) = console.processor_ticks() {
        note(samples, "3 processor time to the shell (all threads), s", ticks as f64 / TICKS_PER_SECOND);
    }
    memory(samples, "3 peak resident memory at the shell, MiB", &console);
    if idle {
        thread::sleep(IDLE);
        let (before, begin) = (console.processor_time(), Instant::now());
        thread::sleep(IDLE);
        let used = console.processor_time().zip(before).map(|(after, before)| after - before);
        if let Some(used) = used {
            let share = used.as_secs_f64() / begin.elapsed().as_secs_f64();
            note(samples, "3 processor use of the idle shell, % of a core", share * 100.0);
        }
    }
    Ok(())
}

/// Each program's elapsed time by the guest's clock, checked against the host's.
fn in_guest(
    plan: &Plan,
    program: &Path,
    initrd: &Path,
    programs: &[Program],
    samples: &mut Samples,
) -> Result<()> {
    let mut line = common(plan);
    line.extend(linux(&plan.images, initrd, "console=ttyS0 quiet tinamou.run=/bin/bench"));
    let mut console = Console::spawn(program, &line)?;
    console.expect("TINAMOU-RUN-START", LIMIT)?;
    for program in programs {
        let name = &program.name;
        let from = console.expect(&format!("START {name}"), LIMIT)?;
        let to = console.expect(&format!("END {name}"), LIMIT)?;
        let host = (to - from).as_secs_f64();
        let text = console.transcript();
        // The next one may have begun already, and its name may begin with this one's.
        let start = format!("START {name}");
        let lines: Vec<&str> = text.lines().rev().take_while(|l| l.trim() != start).collect();
        let guest = lines
            .iter()
            .find_map(|l| {
                l.trim().strip_prefix(&format!("BENCH {name} "))?.split(' ').next()?.parse::<f64>().ok()
            })
            .ok_or_else(|| format!("the program {name} printed no result"))?;
        // Further rows of its own; they count for the mean of the kind only where there is no other.
        let order = if program.kind == "time" { 4 } else { 5 };
        for (row, value) in lines.iter().filter_map(|l| l.trim().strip_prefix("ROW ")?.rsplit_once(": ")) {
            note(samples, &format!("{order} {}: {row}", program.kind), value.parse()?);
        }
        // The host's figure has the program's start and its preparation in it: it can only be larger.
        if guest > host * (1.0 + CLOCK_TOLERANCE) {
            eprintln!("warning: {name}: the guest's clock says {guest:.3} s, the host's {host:.3} s");
        }
        // A program of time is about the rows.
        if program.kind != "time" {
            note(samples, &format!("4 {}: {name}, s", program.kind), guest);
        }
    }
    memory(samples, "5 peak resident memory after the programs, MiB", &console);
    Ok(())
}

fn common(plan: &Plan) -> Vec<String> {
    let mut line = machine(plan.smp, &plan.memory);
    line.extend(strings(&["-bios", &plan.images.bios.display().to_string()]));
    line.extend(plan.extra.iter().cloned());
    line
}

fn note(samples: &mut Samples, what: &str, value: f64) {
    samples.entry(what.to_owned()).or_default().push(value);
}

fn memory(samples: &mut Samples, what: &str, console: &Console) {
    if let Some(kib) = console.peak_resident() {
        note(samples, what, kib as f64 / 1024.0);
    }
}

/// One program of `tests/bench`.
#[derive(Clone)]
struct Program {
    /// Its directory: what kind of work it does.
    kind: String,
    name: String,
}

/// Compiles `tests/bench/KIND/*.c` and packs them; nothing when there is no compiler. `only` names some of them or of their kinds.
fn programs(images: &Images, only: Option<&str>) -> Result<Option<(PathBuf, Vec<Program>)>> {
    if paths::which(COMPILER).is_none() {
        eprintln!(
            "no in-guest programs: {COMPILER} is not installed (apt-get install gcc-riscv64-linux-gnu)"
        );
        return Ok(None);
    }
    let dir = paths::guests().join(".bench");
    fs::create_dir_all(&dir)?;
    let list = |dir: &Path| -> Result<Vec<PathBuf>> {
        let mut all: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|e| e.path()).collect();
        all.sort();
        Ok(all)
    };
    let mut sources = Vec::new();
    for kind in
        list(&paths::root().join("tests/bench"))?.iter().filter(|p| p.is_dir() && !p.ends_with("bare"))
    {
        sources.extend(list(kind)?.into_iter().filter(|p| p.extension().is_some_and(|e| e == "c")));
    }
    let mut programs = Vec::new();
    let mut files = Vec::new();
    // The kernel has some milliseconds of work left behind the boot, which the first program would share the hart with.
    let mut script = String::from("#!/bin/sh\nsleep 1\n");
    for source in &sources {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let name = text(source.file_stem());
        let kind = text(source.parent().and_then(Path::file_name));
        if only.is_some_and(|only| !only.split(',').any(|w| w == name || w == kind)) {
            continue;
        }
        let program = dir.join(&name);
        let built = Command::new(COMPILER)
            .args(["-static", "-O2", "-o"])
            .arg(&program)
            .arg(source)
            .arg("-lm")
            .status()?;
        if !built.success() {
            return Err(format!("cannot compile {}", source.display()).into());
        }
        script += &format!("echo START {name}; /bin/{name}; echo END {name}\n");
        programs.push(Program { kind, name });
        files.push(program);
    }
    let driver = dir.join("bench");
    fs::write(&driver, script)?;
    files.push(driver);
    let initrd = dir.join("initrd.cpio");
    fs::write(&initrd, guest::initrd_with(images, &files)?)?;
    Ok(Some((initrd, programs)))
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("-version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("(no version)").to_owned()
}
