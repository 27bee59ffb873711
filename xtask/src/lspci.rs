//! `cargo xtask lspci`: what a guest sees of PCI Express here and under QEMU, compared as `lspci -vvv` words it.
//!
//! The guest prints the configuration space of each function after its kernel has numbered the buses, given out addresses and
//! bound its drivers; lspci of the host reads that. So the guest needs nothing, and both sides are read by the same program.

use crate::boot::{linux, machine, strings};
use crate::console::Console;
use crate::paths::{self, Images};
use crate::{Result, guest};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// One of everything that both have, below the root, a root port, a switch and a bridge.
const DEVICES: &[&str] = &[
    "pcie-root-port,id=rp1,chassis=1,addr=1.0",
    "pcie-root-port,id=rp2,chassis=2,addr=2.0",
    "x3130-upstream,id=up,bus=rp1",
    "xio3130-downstream,id=down1,bus=up,chassis=3,slot=1",
    "xio3130-downstream,id=down2,bus=up,chassis=4,slot=2",
    "pcie-pci-bridge,id=conventional,addr=3.0",
    "virtio-blk-pci,drive=d0,addr=4.0",
    "virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:12:34:56,addr=5.0",
    "virtio-serial-pci,addr=6.0",
    "virtio-rng-pci,bus=rp2",
    "virtio-rng-pci-transitional,addr=7.0",
    "virtio-rng-pci-non-transitional,bus=down1",
    "nvme,drive=d1,serial=s,bus=down2",
    "e1000e,netdev=n1,romfile=,mac=52:54:00:12:34:57,addr=8.0",
    "edu,bus=conventional,addr=1.0",
    "pci-testdev,addr=9.0",
    "pci-serial,bus=conventional,addr=2.0",
    "pvpanic-pci,addr=a.0",
    "virtio-balloon-pci,addr=b.0",
    // Functions of one device, with pins of their own.
    "virtio-rng-pci,addr=c.0,multifunction=on",
    "virtio-serial-pci-non-transitional,addr=c.1",
    "virtio-blk-pci-transitional,drive=d2,addr=c.7",
];
/// Interrupts by pin through the one and through the other controller, and messages; and the console: with messages the kernel
/// finds the serial port on PCI first.
const BOARDS: &[(&str, &str)] =
    &[("virt", "ttyS0"), ("virt,aia=aplic", "ttyS0"), ("virt,aia=aplic-imsic", "ttyS1")];

/// What differs, and is to: a part of a line of lspci, and the reason.
const EXPLAINED: &[(&str, &str)] = &[
    ("Region 0: Memory at", NO_CONTROLLER),
    ("Region 1: Memory at <unassigned>", NO_CONTROLLER),
    ("Hot-plug capable", NO_CONTROLLER),
    ("AtomicOpsCap: 32bit-", "lspci shows this of functions with a memory BAR"),
    ("LnkCap:\tPort #0, Speed 2.5GT/s, Width x1", DOWNSTREAM),
    ("LnkCap:\tPort #0, Speed unknown, Width x0", DOWNSTREAM),
    ("LnkSta:\tSpeed 2.5GT/s (overdriven)", DOWNSTREAM),
    ("LnkSta:\tSpeed 2.5GT/s, Width x1", DOWNSTREAM),
    ("ClockPM- Surprise- LLActRep", DOWNSTREAM),
];
const NO_CONTROLLER: &str = "the bridge to conventional PCI has no hot-plug controller here";
const DOWNSTREAM: &str = "QEMU leaves the link capabilities of the switch's downstream ports empty";

/// Runs the task.
pub fn run() -> Result<()> {
    let Some(lspci) = paths::which("lspci") else {
        return Err("lspci is not installed (Debian: apt-get install pciutils)".into());
    };
    let images = guest::ensure()?;
    let mut unexplained = 0;
    for board in BOARDS {
        println!("-M {}", board.0);
        unexplained += compare(&lspci, &images, board)?;
    }
    match unexplained {
        0 => Ok(()),
        n => Err(format!("{n} lines differ without an explanation").into()),
    }
}

/// How many lines differ without an explanation on this board.
fn compare(lspci: &Path, images: &Images, board: &(&str, &str)) -> Result<u32> {
    let mut seen = Vec::new();
    for (name, program) in [("tinamou", paths::tinamou()?), ("qemu", paths::qemu()?)] {
        let dump = paths::guests().join(format!(".lspci-{name}"));
        fs::write(&dump, configuration_spaces(&program, images, board)?)?;
        let output = Command::new(lspci).args(["-D", "-nn", "-vvv", "-F"]).arg(&dump).output()?;
        seen.push(functions(&String::from_utf8_lossy(&output.stdout)));
    }
    let (ours, theirs) = (&seen[0], &seen[1]);
    println!("{} functions here, {} there", ours.len(), theirs.len());
    let mut unexplained = 0;
    for address in ours.keys().chain(theirs.keys().filter(|a| !ours.contains_key(*a))) {
        let none = Vec::new();
        let (mine, other) = (ours.get(address).unwrap_or(&none), theirs.get(address).unwrap_or(&none));
        let lines = difference(mine, other);
        if lines.is_empty() {
            continue;
        }
        println!("{address} {}", mine.first().or(other.first()).map_or("", |line| line.trim()));
        for line in lines {
            match EXPLAINED.iter().find(|(part, _)| line.contains(part)) {
                Some((_, why)) => println!("  {line}\n      ({why})"),
                None => {
                    unexplained += 1;
                    println!("  {line}");
                }
            }
        }
    }
    Ok(unexplained)
}

/// Boots a guest with all devices; what its configuration spaces hold, as lspci reads it.
fn configuration_spaces(program: &Path, images: &Images, board: &(&str, &str)) -> Result<String> {
    let mut line = machine(1, "512M");
    line.extend(strings(&["-M", board.0, "-bios", &images.bios.display().to_string()]));
    for id in ["d0", "d1", "d2"] {
        line.extend(strings(&["-blockdev", &format!("null-co,node-name={id},size=1048576,read-zeroes=on")]));
    }
    line.extend(strings(&["-netdev", "user,id=n0", "-netdev", "user,id=n1"]));
    DEVICES.iter().for_each(|device| line.extend(strings(&["-device", device])));
    line.extend(linux(images, &images.initrd, &format!("console={} quiet", board.1)));
    let mut console = Console::spawn(program, &line)?;
    console.expect("TINAMOU-SHELL-READY", LIMIT)?;
    console.expect("# ", LIMIT)?;
    console.send(
        "for d in /sys/bus/pci/devices/*; do echo \"${d##*/} function\"; \
         hexdump -v -e '\"%02_ax:\" 16/1 \" %02x\" \"\\n\"' $d/config; done; echo all: $((6*7))\n",
    )?;
    console.expect("all: 42", LIMIT)?;
    console.send("poweroff -f\n")?;
    console.wait(LIMIT)?;
    let is_part = |line: &&str| {
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = head.trim_end_matches(':');
        rest == "function"
            || number != head
                && number.len() <= 3
                && u32::from_str_radix(number, 16).is_ok()
                && rest.len() > 40
    };
    let text = console.transcript().replace('\r', "");
    Ok(text.lines().filter(is_part).map(|line| format!("{line}\n")).collect())
}

/// The lines of each function, by its address.
fn functions(text: &str) -> BTreeMap<String, Vec<String>> {
    let blocks = text.split("\n\n").filter_map(|block| {
        let (address, _) = block.trim_start().split_once(' ')?;
        Some((address.to_owned(), block.trim().lines().map(str::to_owned).collect()))
    });
    blocks.collect()
}

/// The lines that only one has, with a mark whose they are.
fn difference(ours: &[String], theirs: &[String]) -> Vec<String> {
    let mut left: Vec<&String> = theirs.iter().collect();
    let mut lines = Vec::new();
    for line in ours {
        match left.iter().position(|other| *other == line) {
            Some(at) => drop(left.remove(at)),
            None => lines.push(format!("here:  {}", line.trim())),
        }
    }
    lines.extend(left.iter().map(|line| format!("there: {}", line.trim())));
    lines
}

#[cfg(test)]
#[path = "lspci_test.rs"]
mod test;
