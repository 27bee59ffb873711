//! `cargo xtask boot`: the test guest on this terminal.

use crate::paths::{self, Images};
use crate::{Result, guest, option};
use std::path::Path;
use std::process::Command;

/// The machine of every boot here, without console and guest.
pub fn machine(smp: u32, memory: &str) -> Vec<String> {
    strings(&["-M", "virt", "-smp", &smp.to_string(), "-m", memory, "-nographic"])
}

/// Kernel, initramfs and kernel command line.
pub fn linux(images: &Images, initrd: &Path, append: &str) -> Vec<String> {
    let kernel = images.kernel.display().to_string();
    strings(&["-kernel", &kernel, "-initrd", &initrd.display().to_string(), "-append", append])
}

/// User-mode network and entropy, on virtio-mmio.
pub fn network() -> Vec<String> {
    strings(&[
        "-netdev",
        "user,id=n0",
        "-device",
        "virtio-net-device,netdev=n0",
        "-device",
        "virtio-rng-device",
    ])
}

/// A raw disk image on virtio-mmio; `extra` are further properties of the drive.
pub fn disk(image: &Path, extra: &str) -> Vec<String> {
    strings(&[
        "-drive",
        &format!("file={},format=raw,if=none,id=d0{extra}", image.display()),
        "-device",
        "virtio-blk-device,drive=d0",
    ])
}

/// Owned arguments.
pub fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|s| (*s).to_owned()).collect()
}

/// Runs the task: arguments after `--smp N` go to the emulator.
pub fn run(args: &[String]) -> Result<()> {
    let images = guest::ensure()?;
    let tinamou = paths::tinamou()?;
    let smp = option(args, "--smp").unwrap_or("2").parse()?;
    let mut line = machine(smp, "1G");
    line.extend(strings(&["-bios", &images.bios.display().to_string()]));
    line.extend(linux(&images, &images.initrd, "console=ttyS0"));
    line.extend(network());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--smp" {
            rest.next();
        } else {
            line.push(arg.clone());
        }
    }
    interactive(&tinamou, &line)
}

/// Runs the emulator on this terminal, saying first how to get out of it.
pub fn interactive(program: &Path, line: &[String]) -> Result<()> {
    println!("{} {}", program.display(), quoted(line));
    println!("(Ctrl-A x ends the emulator, Ctrl-A c is its monitor, Ctrl-A h lists the keys)");
    let status = Command::new(program)
        .args(line)
        .status()
        .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    if status.success() { Ok(()) } else { Err(format!("the emulator ended with {status}").into()) }
}

/// The arguments as one would type them.
fn quoted(line: &[String]) -> String {
    let quote = |a: &String| if a.contains(' ') { format!("'{a}'") } else { a.clone() };
    line.iter().map(quote).collect::<Vec<_>>().join(" ")
}
