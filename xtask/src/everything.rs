//! `cargo xtask test`: everything, and one final line.

use crate::boot::{linux, machine, network, strings};
use crate::console::Console;
use crate::paths::{self, Images};
use crate::{Result, check, switch};
use crate::{guest, hostile};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a boot to the shell may take on a slow, busy host.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// How long the boot under block verification may take.
const VERIFY_LIMIT: Duration = Duration::from_secs(600);

/// What has passed and failed so far.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, name: &str, outcome: Result<()>, started: Instant) {
        let seconds = started.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok     {name} ({seconds:.1} s)");
            }
            Err(error) => {
                self.failed += 1;
                self.failures.push(name.to_owned());
                println!("FAILED {name} ({seconds:.1} s): {error}");
            }
        }
    }
}

/// Runs the task. `--quick` leaves out the boots; `--boots` runs nothing but them.
pub fn run(args: &[String]) -> Result<()> {
    let mut tally = Tally::default();
    if !switch(args, "--boots") {
        for (name, line) in [
            ("formatting", &["fmt", "--all", "--check"][..]),
            ("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            ("documentation", &["doc", "--workspace", "--no-deps", "--quiet"]),
        ] {
            let started = Instant::now();
            tally.add(name, cargo(line), started);
        }
        let started = Instant::now();
        tally.add("structure", check::run(), started);
        cargo_test(&mut tally)?;
    }
    if !switch(args, "--quick") {
        boots(&mut tally);
    }
    for failure in &tally.failures {
        println!("failed: {failure}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { Ok(()) } else { Err("there are failures".into()) }
}

fn cargo(args: &[&str]) -> Result<()> {
    let status = Command::new("cargo")
        .args(args)
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(paths::root())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed", args.join(" ")).into()) }
}

/// `cargo test`, whose own counts are added to the tally.
fn cargo_test(tally: &mut Tally) -> Result<()> {
    let mut child = Command::new("cargo")
        .args(["test", "--workspace", "--no-fail-fast"])
        .current_dir(paths::root())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut results = 0u64;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line?;
            if let Some((passed, failed)) = counts(&line) {
                results += 1;
                tally.passed += passed;
                tally.failed += failed;
            }
            if line.ends_with("... FAILED") {
                tally.failures.push(line.clone());
            }
            if !line.ends_with("... ok") && !line.is_empty() {
                println!("{line}");
            }
        }
    }
    let status = child.wait()?;
    // A test program that does not build, or dies, has no result line.
    if !status.success() && (results == 0 || tally.failed == 0) {
        tally.failed += 1;
        tally.failures.push("cargo test".into());
    }
    Ok(())
}

/// The counts of a line like `test result: ok. 12 passed; 0 failed; ...`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |what: &str| {
        let words: Vec<&str> = rest.split([' ', ';', '.']).collect();
        let at = words.iter().position(|w| *w == what)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    Some((number("passed")?, number("failed")?))
}

/// Boots through the real binary. A guest that cannot be had is said, and is no failure.
fn boots(tally: &mut Tally) {
    let started = Instant::now();
    let tinamou = match paths::tinamou() {
        Ok(path) => path,
        Err(error) => return tally.add("release build", Err(error), started),
    };
    let hostile = hostile::run(&tinamou, |name, outcome, began| {
        tally.add(&format!("refused or run: {name}"), outcome, began);
    });
    if let Err(error) = hostile {
        tally.add("hostile input", Err(error), started);
    }
    let images = match guest::ensure() {
        Ok(images) => images,
        Err(error) => {
            println!("skipped: the boot tests, since there is no guest: {error}");
            return;
        }
    };
    let bios = images.bios.display().to_string();
    for (name, smp, firmware, accel, limit) in [
        ("boot: OpenSBI, 1 hart", 1, bios.as_str(), "tcg", BOOT_LIMIT),
        ("boot: OpenSBI, 2 harts", 2, bios.as_str(), "tcg", BOOT_LIMIT),
        ("boot: OpenSBI, 4 harts", 4, bios.as_str(), "tcg", BOOT_LIMIT),
        ("boot: built-in SBI, 1 hart", 1, "builtin", "tcg", BOOT_LIMIT),
        ("boot: built-in SBI, 2 harts", 2, "builtin", "tcg", BOOT_LIMIT),
        ("boot: built-in SBI, every block verified", 1, "builtin", "tcg,verify=on", VERIFY_LIMIT),
    ] {
        let started = Instant::now();
        tally.add(name, shell(&tinamou, &images, smp, &["-bios", firmware, "-accel", accel], limit), started);
    }
    let started = Instant::now();
    tally.add("boot: U-Boot", uboot(&tinamou, &images), started);
    let started = Instant::now();
    tally.add("monitor: Ctrl-A c, info registers, quit", monitor(&tinamou, &images), started);
    if let Some(disk) = images.debian() {
        let started = Instant::now();
        tally.add("boot: Debian to its login", login(&tinamou, &images, &disk), started);
    }
}

/// Boots to the shell, uses it, and powers off: the emulator must end by itself with status 0.
fn shell(tinamou: &Path, images: &Images, smp: u32, extra: &[&str], limit: Duration) -> Result<()> {
    let mut line = machine(smp, "512M");
    line.extend(strings(extra));
    line.extend(linux(images, &images.initrd, "console=ttyS0"));
    line.extend(network());
    let mut console = Console::spawn(tinamou, &line)?;
    console.expect("TINAMOU-SHELL-READY", limit)?;
    console.expect("# ", limit)?;
    console.send("echo harts: $(grep -c ^processor /proc/cpuinfo) sum: $((6*7))\n")?;
    console.expect(&format!("harts: {smp} sum: 42"), limit)?;
    console.send("ip link set eth0 up; udhcpc -i eth0 -n -q && echo lease-$((6*7))\n")?;
    console.expect("lease-42", limit)?;
    console.send("poweroff -f\n")?;
    let status = console.wait(limit)?;
    if status.success() { Ok(()) } else { Err(format!("the emulator ended with {status}").into()) }
}

fn uboot(tinamou: &Path, images: &Images) -> Result<()> {
    let mut line = machine(1, "512M");
    let loader = images.dir.join("u-boot-smode.bin").display().to_string();
    line.extend(strings(&["-bios", &images.bios.display().to_string(), "-kernel", &loader]));
    let mut console = Console::spawn(tinamou, &line)?;
    console.expect("Hit any key to stop autoboot", BOOT_LIMIT)?;
    console.send("\n")?;
    console.expect("=> ", BOOT_LIMIT)?;
    console.send("version\n")?;
    console.expect("U-Boot 20", BOOT_LIMIT)?;
    Ok(())
}

/// The keys of the multiplexed console and two commands of the monitor.
fn monitor(tinamou: &Path, images: &Images) -> Result<()> {
    let mut line = machine(1, "512M");
    line.extend(strings(&["-bios", &images.bios.display().to_string()]));
    let mut console = Console::spawn(tinamou, &line)?;
    console.expect("OpenSBI", BOOT_LIMIT)?;
    console.send("\u{1}c")?;
    console.expect("(qemu)", BOOT_LIMIT)?;
    console.send("info registers\n")?;
    console.expect("x31/t6", BOOT_LIMIT)?;
    console.send("quit\n")?;
    let status = console.wait(BOOT_LIMIT)?;
    if status.success() { Ok(()) } else { Err(format!("quit ended with {status}").into()) }
}

fn login(tinamou: &Path, images: &Images, disk: &Path) -> Result<()> {
    let mut line = machine(2, "1G");
    line.extend(strings(&["-bios", &images.bios.display().to_string()]));
    line.extend(linux(images, &images.initrd, "console=ttyS0 root=/dev/vda"));
    line.extend(crate::boot::disk(disk, ",snapshot=on"));
    line.extend(network());
    let mut console = Console::spawn(tinamou, &line)?;
    console.expect("login: ", VERIFY_LIMIT)?;
    console.send("root\n")?;
    console.expect("# ", BOOT_LIMIT)?;
    console.send("python3 -c 'print(6*7, \"from\", \"python\")'\n")?;
    console.expect("42 from python", BOOT_LIMIT)?;
    console.send("poweroff\n")?;
    console.wait(VERIFY_LIMIT)?;
    Ok(())
}

#[cfg(test)]
#[path = "everything_test.rs"]
mod test;
