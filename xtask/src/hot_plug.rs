//! Devices that come and go while a guest works: `cargo xtask hot-plug`.
//!
//! In each round a virtio disk, an NVMe disk and, in turn, one of two network cards are plugged in behind root ports, used, and
//! taken out again, the disks while they are written to. Meanwhile a process of the guest keeps a processor busy.

use crate::boot::{linux, machine, strings};
use crate::console::Console;
use crate::paths::{self, Images};
use crate::{Result, guest, option};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long a boot may take on a busy host.
const BOOT: Duration = Duration::from_secs(180);
/// How long a step may take.
const STEP: Duration = Duration::from_secs(60);
/// Bytes of a disk.
const DISK: usize = 8 << 20;

/// What the guest does with the devices. Debian's kernel for this architecture has no driver for hot plug: it is told to
/// look. The disks leave while 4 MiB are being written to each.
const USE: &str = "echo 1 >/sys/bus/pci/rescan; \
    until [ -b /dev/vda -a -b /dev/nvme0n1 -a -e /sys/class/net/eth0 ]; do sleep 0.05; done; \
    for d in vda nvme0n1; do echo $round | dd of=/dev/$d conv=fsync 2>/dev/null; done; ip link set eth0 up; \
    for d in vda nvme0n1; do dd if=/dev/zero of=/dev/$d seek=8 bs=64k count=64 2>/dev/null & done; \
    for n in 1 2 3; do echo 1 >/sys/bus/pci/devices/0000:0$n:00.0/remove; done; wait %2 %3 2>/dev/null; round=$((round+1))";

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let count = option(args, "--count").unwrap_or("100").parse()?;
    println!("{}", rounds(&paths::tinamou()?, &guest::ensure()?, count)?);
    Ok(())
}

/// So many rounds; says how many devices came and went.
pub fn rounds(tinamou: &Path, images: &Images, count: u32) -> Result<String> {
    let directory = paths::guests().join(format!(".hot-plug-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    // Interrupts by message, as drivers of PCI Express want them.
    let messages = |word: String| if word == "virt" { "virt,aia=aplic-imsic".to_owned() } else { word };
    let mut line: Vec<String> = machine(2, "512M").into_iter().map(messages).collect();
    line.extend(strings(&["-bios", &images.bios.display().to_string(), "-netdev", "user,id=n0"]));
    line.extend(linux(images, &images.initrd, "console=ttyS0 quiet"));
    for n in 1..=3 {
        line.extend(strings(&["-device", &format!("pcie-root-port,id=rp{n},chassis={n}")]));
    }
    for n in 0..2 {
        let image = directory.join(format!("disk{n}.img"));
        fs::write(&image, vec![0; DISK])?;
        line.extend(strings(&["-drive", &format!("file={},format=raw,if=none,id=d{n}", image.display())]));
    }
    let mut console = Console::spawn(tinamou, &line)?;
    console.expect("TINAMOU-SHELL-READY", BOOT)?;
    console.expect("# ", BOOT)?;
    console.send("round=1; (while :; do cat /proc/*/maps >/dev/null 2>&1; done) & echo busy-$((6*7))\n")?;
    console.expect("busy-42", STEP)?;
    for round in 1..=count {
        let card = if round % 2 == 0 { "e1000e" } else { "virtio-net-pci" };
        monitor(
            &mut console,
            &[
                "device_add virtio-blk-pci,id=x,bus=rp1,drive=d0",
                "device_add nvme,id=y,bus=rp2,drive=d1,serial=s",
                &format!("device_add {card},id=z,bus=rp3,netdev=n0"),
            ],
        )?;
        console.send(&format!("{USE}; echo out-$((round+1000))\n"))?;
        console.expect(&format!("out-{}", round + 1001), STEP).map_err(|e| format!("round {round}: {e}"))?;
        monitor(&mut console, &["device_del x", "device_del y", "device_del z"])?;
    }
    console.send("dmesg | grep -cE 'Oops|BUG|stall'; poweroff -f\n")?;
    console.expect("\n0\r\n", STEP)?;
    let status = console.wait(BOOT)?;
    let last = format!("{count}\n");
    for n in 0..2 {
        if !fs::read(directory.join(format!("disk{n}.img")))?.starts_with(last.as_bytes()) {
            return Err(format!("disk {n} has not what was written in the last round").into());
        }
    }
    fs::remove_dir_all(&directory)?;
    match status.success() {
        true => Ok(format!("{count} rounds: {} devices have come and gone", 3 * count)),
        false => Err(format!("the emulator ended with {status}").into()),
    }
}

/// Gives the monitor commands that say nothing when they succeed.
fn monitor(console: &mut Console, commands: &[&str]) -> Result<()> {
    console.send("\u{1}c")?;
    console.expect("(qemu) ", STEP)?;
    for command in commands {
        console.send(&format!("{command}\n"))?;
        console.expect("(qemu) ", STEP)?;
        let text = console.transcript();
        let said = text.get(text.rfind(command).unwrap_or(0)..).unwrap_or_default();
        if said.contains("Error") {
            return Err(format!("{command}: {said}").into());
        }
    }
    console.send("\u{1}c")
}
