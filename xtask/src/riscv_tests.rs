//! `cargo xtask riscv-tests DIR`: the binaries of riscv-software-src/riscv-tests through the real binary.
//!
//! Each is an ELF for the `spike` board that reports through HTIF: the emulator's exit status is 0 for a
//! pass, else the number of the failed case. The suite is fetched and built by hand (see the book).

use crate::boot::strings;
use crate::console::Console;
use crate::{Result, option, paths, switch};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// One test's end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Pass,
    /// What went wrong, in a few words.
    Fail(String),
}

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let dir = args.iter().find(|a| Path::new(a).is_dir()).ok_or(
        "name the directory with the built binaries (rv64ui-p-add ...); the book's page on testing says how to build them",
    )?;
    let tests = binaries(Path::new(dir), option(args, "--only").unwrap_or(""))?;
    let limit = Duration::from_secs(option(args, "--seconds").unwrap_or("20").parse()?);
    let tinamou = paths::tinamou()?;
    // Each runs its code once, and it is the translator that is to be tested.
    let ours = run_all(&tinamou, &["-accel", "tcg,warmup=0"], &tests, limit);
    report("tinamou", &tests, &ours);
    let failed = ours.iter().filter(|e| **e != End::Pass).count();
    if switch(args, "--qemu") {
        let theirs = run_all(&paths::qemu()?, &[], &tests, limit);
        report("qemu", &tests, &theirs);
        for ((test, our), their) in tests.iter().zip(&ours).zip(&theirs) {
            if (*our == End::Pass) != (*their == End::Pass) {
                println!("differs: {} tinamou {our:?} qemu {their:?}", label(test));
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} failed", tests.len()).into()) }
}

/// The test binaries of a directory: `rv64ui-p-add`, but not `rv64ui-p-add.dump`.
fn binaries(dir: &Path, only: &str) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)?
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            let name = label(p);
            name.starts_with("rv") && name.contains(only) && !name.contains('.') && suite(&name).is_some()
        })
        .collect();
    found.sort();
    if found.is_empty() { Err(format!("no test binaries in {}", dir.display()).into()) } else { Ok(found) }
}

/// `rv64ui-p` of `rv64ui-p-add`.
fn suite(name: &str) -> Option<&str> {
    let first = name.find('-')?;
    let second = name.get(first + 1..)?.find('-')?;
    name.get(..first + 1 + second)
}

/// Runs all tests, as many at a time as the host has processors.
fn run_all(program: &Path, options: &[&str], tests: &[PathBuf], limit: Duration) -> Vec<End> {
    let next = AtomicUsize::new(0);
    let ends = Mutex::new(vec![End::Fail("not run".into()); tests.len()]);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((at, test)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    tests.get(at).map(|t| (at, t))
                } {
                    let end = run_one(program, options, test, limit);
                    if let Some(slot) = ends.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                        *slot = end;
                    }
                }
            });
        }
    });
    ends.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run_one(program: &Path, options: &[&str], test: &Path, limit: Duration) -> End {
    let line = strings(&["-M", "spike", "-cpu", "max", "-bios", "none", "-nographic", "-kernel"]);
    let line = [line, vec![test.display().to_string()], strings(options)].concat();
    let outcome = Console::spawn(program, &line).and_then(|mut console| {
        let status = console.wait(limit)?;
        Ok((status, console.transcript()))
    });
    match outcome {
        Ok((status, _)) if status.success() => End::Pass,
        Ok((status, text)) => End::Fail(format!(
            "{status}{}",
            text.lines().last().map(|l| format!(": {l}")).unwrap_or_default()
        )),
        Err(_) => End::Fail(format!("no end within {} s", limit.as_secs())),
    }
}

fn report(who: &str, tests: &[PathBuf], ends: &[End]) {
    let mut suites: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (test, end) in tests.iter().zip(ends) {
        let name = label(test);
        let count = suites.entry(suite(&name).unwrap_or_default().to_owned()).or_default();
        count.1 += 1;
        if *end == End::Pass {
            count.0 += 1;
        } else {
            println!("{who}: {name}: {end:?}");
        }
    }
    for (name, (passed, all)) in &suites {
        println!("{who}: {name:14} {passed:4} of {all}");
    }
    let passed = ends.iter().filter(|e| **e == End::Pass).count();
    println!("{who}: {passed} of {} pass", tests.len());
}

fn label(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
