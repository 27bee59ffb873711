//! `cargo xtask bench`: the same guests on Tinamou and on QEMU, in turn, as a table of medians and ratios.
//!
//! Runs alternate (A B A B) so that a host that slows down or warms up meets both alike.

mod io;
mod primitives;

use crate::bench_snapshots;
use crate::boot::{disk, linux, machine, network, strings};
use crate::console::Console;
use crate::guest::COMPILER;
use crate::paths::{self, Images};
use crate::{Result, guest, option};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(900);
/// A guest's own clock may differ from the host's by this factor before the figure is doubted.
const CLOCK_TOLERANCE: f64 = 0.2;

/// proc(5) counts processor time in these (`sysconf(_SC_CLK_TCK)` is 100 on every Linux of x86_64).
const TICKS_PER_SECOND: f64 = 100.0;

/// One measured quantity of one emulator: all its runs.
type Samples = BTreeMap<String, Vec<f64>>;

/// What is run, and how.
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
    extra: Vec<String>,
}

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let images = guest::ensure()?;
    let sides = [("tinamou", paths::tinamou()?), ("qemu", paths::qemu()?)];
    let only = option(args, "--only").unwrap_or("primitives,boot,programs,login,snapshots");
    let wants = |what: &str| only.split(',').any(|w| w == what);
    let plan = Plan {
        programs: if wants("programs") { programs(&images, option(args, "--programs"))? } else { None },
        primitives: if wants("primitives") { primitives::build()? } else { None },
        debian: if wants("login") || wants("snapshots") { images.debian() } else { None },
        io: if wants("disk") || wants("net") { io::build(&images)? } else { None },
        images,
        smp: option(args, "--smp").unwrap_or("1").parse()?,
        memory: option(args, "--memory").unwrap_or("1G").to_owned(),
        runs: option(args, "--runs").unwrap_or("3").parse()?,
        extra: option(args, "--args").unwrap_or("").split_whitespace().map(str::to_owned).collect(),
    };
    let mut samples = [Samples::new(), Samples::new()];
    for turn in 1..=plan.runs {
        for ((who, program), samples) in sides.iter().zip(&mut samples) {
            eprintln!("run {turn} of {}: {who}", plan.runs);
            if let Some(elf) = &plan.primitives {
                primitives::run(program, elf, &plan.extra, samples)?;
            }
            if wants("boot") {
                shell(&plan, program, samples)?;
            }
            if let Some((initrd, programs)) = &plan.programs {
                in_guest(&plan, program, initrd, programs, samples)?;
            }
            if let Some(initrd) = &plan.io {
                if wants("disk") {
                    io::disks(&plan, program, initrd, samples)?;
                }
                if wants("net") {
                    io::networks(&plan, program, initrd, samples)?;
                }
            }
            if let Some(image) = &plan.debian {
                if wants("login") {
                    login(&plan, program, image, samples)?;
                }
                if wants("snapshots") {
                    let store = paths::guests().join(".bench-snapshots");
                    let line = debian(&plan, image);
                    let mut note = |what: &str, ms: f64| note(samples, what, ms);
                    bench_snapshots::measure(program, &line, *who == "tinamou", &store, &mut note)?;
                }
            }
        }
    }
    for (who, program) in &sides {
        println!("{who}: {}", version(program));
    }
    println!("{} runs each, in turn; medians; -smp {} -m {}\n", plan.runs, plan.smp, plan.memory);
    let [ours, theirs] = &samples;
    print!("{}", table(ours, theirs));
    Ok(())
}

/// Exec to the firmware's first byte, to the shell, and the memory that took.
fn shell(plan: &Plan, program: &Path, samples: &mut Samples) -> Result<()> {
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
        let guest = text
            .lines()
            .rev()
            .find_map(|l| {
                l.trim().strip_prefix(&format!("BENCH {name} "))?.split(' ').next()?.parse::<f64>().ok()
            })
            .ok_or_else(|| format!("the program {name} printed no result"))?;
        // The host's figure has the program's start and its preparation in it: it can only be larger.
        if guest > host * (1.0 + CLOCK_TOLERANCE) {
            eprintln!("warning: {name}: the guest's clock says {guest:.3} s, the host's {host:.3} s");
        }
        note(samples, &format!("4 {}, s", program.row()), guest);
    }
    memory(samples, "5 peak resident memory after the programs, MiB", &console);
    Ok(())
}

/// The command line of a Debian guest.
fn debian(plan: &Plan, image: &Path) -> Vec<String> {
    let mut line = common(plan);
    line.extend(linux(&plan.images, &plan.images.initrd, "console=ttyS0 root=/dev/vda"));
    line.extend(disk(image, ",snapshot=on"));
    line.extend(network());
    line
}

fn login(plan: &Plan, program: &Path, image: &Path, samples: &mut Samples) -> Result<()> {
    let line = debian(plan, image);
    let mut console = Console::spawn(program, &line)?;
    console.be_a_terminal();
    let up = console.expect("login: ", LIMIT)?;
    note(samples, "6 Debian to its login, s", up.as_secs_f64());
    memory(samples, "7 peak resident memory at the login, MiB", &console);
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
struct Program {
    /// Its directory: what kind of work it does.
    kind: String,
    name: String,
}

impl Program {
    fn row(&self) -> String {
        format!("{}: {}", self.kind, self.name)
    }
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
    let mut script = String::from("#!/bin/sh\n");
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

/// The markdown table; the number before a row's name only orders it.
fn table(ours: &Samples, theirs: &Samples) -> String {
    let mut text = String::from(
        "| what | tinamou | range | qemu | range | qemu / tinamou |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for (what, values) in ours {
        let mine = median(values);
        let name = what.split_once(' ').map_or(what.as_str(), |(_, n)| n);
        text += &format!("| {name} | {mine:.3} | {} |", range(values));
        match theirs.get(what) {
            Some(others) => {
                let other = median(others);
                text += &format!(" {other:.3} | {} | {:.2} |\n", range(others), other / mine);
            }
            None => text += " - | - | - |\n",
        }
    }
    text + &means(ours, theirs)
}

/// The geometric mean of the ratios of each kind of program, and the least of them.
fn means(ours: &Samples, theirs: &Samples) -> String {
    let mut kinds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (what, values) in ours {
        if let Some((kind, _)) = what.strip_prefix("4 ").and_then(|row| row.split_once(": "))
            && let Some(others) = theirs.get(what)
        {
            kinds.entry(kind).or_default().push(median(others) / median(values));
        }
    }
    kinds.iter().fold(String::new(), |text, (kind, ratios)| {
        let mean = (ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        text + &format!("| **{kind}, geometric mean (least {least:.2})** | | | | | **{mean:.2}** |\n")
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
    if sorted.len().is_multiple_of(2) { (at(middle.wrapping_sub(1)) + at(middle)) / 2.0 } else { at(middle) }
}

fn range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{least:.3}-{most:.3}")
}

#[cfg(test)]
#[path = "bench_test.rs"]
mod test;
