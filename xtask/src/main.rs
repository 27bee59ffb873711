//! Chores of the project: structure checks, test guests, oracles, benchmarks.
//!
//! `cargo xtask` without arguments lists the tasks. Everything that is fetched or built for the
//! guests goes to `guests/` in the checkout, which git ignores.
#![forbid(unsafe_code)]

mod bench;
mod bench_snapshots;
mod boot;
mod boots;
mod check;
mod console;
mod debian_guest;
mod disk_programs;
mod disks;
mod everything;
mod guest;
mod hmp;
mod hostile;
mod hostile_drivers;
mod hot_plug;
mod lockstep;
mod lspci;
mod paths;
mod riscv_tests;
mod snapshots;

use std::process::ExitCode;

/// What every task returns: the error is one or more lines for the user.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: cargo xtask TASK [OPTIONS]

  guest [--refresh] [--mirror URL]   fetch the Debian riscv64 kernel, firmware and busybox, build the initramfs
  boot [--smp N] [ARGS...]           build tinamou and boot that guest to a shell on this terminal
  debian [--boot] [--size 3G]        make a Debian riscv64 root file system, boot it to its login
  check                              directions between the crates, file lengths, the register of unsafe code
  test [--quick | --boots] [--long]  formatting, clippy, check, cargo test, boot tests; one final line
  bench [--runs N] [--only WHAT]     the same guests on tinamou and on QEMU, in turn: a table of medians
  riscv-tests DIR [--qemu]           run the riscv-tests binaries of a directory
  lockstep [--count N]               compare register states with QEMU, instruction by instruction
  lspci                              compare what a guest sees of PCI Express with QEMU, as lspci -vvv words it
  kill-disk [--count N]              kill the emulator while a guest writes; no block flushed before may be lost
  verify-disk [--seconds N]          random requests of a guest to its disks, all compared
  hostile-drivers [--seconds N] [--seed N]  drivers that mean harm, against every device on PCI Express at once
  fio [--smp N]                      fio of Debian's packages, with its verification, on each kind of disk
  fsx PROGRAM [--count N]            that program, compiled for riscv64, on file systems on each kind of disk
  hot-plug [--count N] [--intx]      plug disks and network cards into a working guest and take them out
  snapshots [--count N] [--seed N]   save a working guest at random moments and go on in a new process

environment:
  TINAMOU_BIN      the emulator to drive, instead of target/release/tinamou-system-riscv64
  TINAMOU_QEMU     the QEMU to compare with (qemu-system-riscv64)
  TINAMOU_KERNEL, TINAMOU_INITRD, TINAMOU_BIOS, TINAMOU_DISK
                   own images, instead of those of `cargo xtask guest` and `cargo xtask debian`
  TINAMOU_MIRROR   the Debian mirror to fetch from, instead of the one apt is configured for
";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        print!("{USAGE}");
        return ExitCode::from(2);
    }
    let task = args.remove(0);
    let outcome = match task.as_str() {
        "guest" => guest::run(&args),
        "boot" => boot::run(&args),
        "debian" => guest::debian::run(&args),
        "check" => check::run(),
        "test" => everything::run(&args),
        "bench" => bench::run(&args),
        "riscv-tests" => riscv_tests::run(&args),
        "lockstep" => lockstep::run(&args),
        "lspci" => lspci::run(),
        "kill-disk" => disks::kill(&args),
        "verify-disk" => disks::verify(&args),
        "hostile-drivers" => hostile_drivers::run(&args),
        "fio" => disk_programs::fio(&args),
        "fsx" => disk_programs::fsx(&args),
        "hot-plug" => hot_plug::run(&args),
        "snapshots" => snapshots::run(&args),
        "-h" | "--help" | "help" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(format!("no task named '{other}'\n\n{USAGE}").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {task}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The value that follows the option `name`, when it is given.
pub fn option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|a| a == name)?;
    args.get(at + 1).map(String::as_str)
}

/// Whether the switch `name` is given.
pub fn switch(args: &[String], name: &str) -> bool {
    args.iter().any(|a| a == name)
}
