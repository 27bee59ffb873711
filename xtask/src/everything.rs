//! `cargo xtask test`: everything, and one final line.

use crate::boots::{self, World};
use crate::{Result, check, guest, hostile, option, paths, switch};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

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

/// Runs the task. `--quick` leaves out what needs the release build and guests, `--boots` runs nothing but
/// that, `--only TEXT` the boots whose name has the text; `--long` runs more programs in Debian.
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
        binary(&mut tally, args);
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

/// The real binary: hostile input, boots, firmware, monitor, debugger.
fn binary(tally: &mut Tally, args: &[String]) {
    let started = Instant::now();
    let tinamou = match paths::tinamou() {
        Ok(path) => path,
        Err(error) => return tally.add("release build", Err(error), started),
    };
    let only = option(args, "--only").unwrap_or("");
    let hostile = hostile::run(&tinamou, only, |name, outcome, began| {
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
    let world = World { tinamou, images, long: switch(args, "--long") };
    for (name, test) in boots::TESTS {
        if !name.contains(only) {
            continue;
        }
        let started = Instant::now();
        match test(&world) {
            Ok(Some(why)) => println!("skip   {name}: {why}"),
            Ok(None) => tally.add(name, Ok(()), started),
            Err(error) => tally.add(name, Err(error), started),
        }
    }
}

#[cfg(test)]
#[path = "everything_test.rs"]
mod test;
