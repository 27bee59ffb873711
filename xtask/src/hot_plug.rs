//! Devices that come and go while a guest works: `cargo xtask hot-plug`.
//!
//! In each round a virtio disk, an NVMe disk and, in turn, one of two network cards are plugged in behind root ports, used, and
//! taken out again while they are at work. Meanwhile a process of the guest keeps a processor busy. A kernel with the driver for
//! PCI Express hot plug does it by that; Debian's kernel for this architecture has none, and is told to look and to let go.

use crate::boot::{linux, strings};
use crate::console::Console;
use crate::hmp::Hmp;
use crate::paths::{self, Images};
use crate::{Result, guest, option, switch};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a boot may take on a busy host.
const BOOT: Duration = Duration::from_secs(180);
/// How long a step may take.
const STEP: Duration = Duration::from_secs(60);
/// Bytes of a disk.
const DISK: usize = 8 << 20;

/// What the guest does when the devices are there, and says so; then all are at work until they are gone.
const USE: &str = "until [ -b /dev/vda -a -b /dev/nvme0n1 -a -e /sys/class/net/eth0 ]; do sleep 0.05; done; \
    for d in vda nvme0n1; do echo $round | dd of=/dev/$d conv=fsync 2>/dev/null; done; \
    ip link set eth0 up; ip address add 10.0.2.15/24 dev eth0; \
    until ping -c 1 -W 1 -q 10.0.2.2 >/dev/null 2>&1; do :; done; \
    for d in vda nvme0n1; do (while [ -b /dev/$d ] && \
    dd if=/dev/zero of=/dev/$d seek=8 bs=64k count=64 conv=fsync 2>/dev/null; do :; done) & done; \
    (while [ -e /sys/class/net/eth0 ]; do ping -c 1 -W 1 -q 10.0.2.2 >/dev/null 2>&1; done) &";
/// The guest waits until they are gone. (dd may have made a file where a disk was.)
const GONE: &str = "while [ -e /sys/block/vda -o -e /sys/block/nvme0n1 -o -e /sys/class/net/eth0 ]; do sleep 0.05; done; \
    wait %2 %3 %4 2>/dev/null; for d in vda nvme0n1; do [ -b /dev/$d ] || rm -f /dev/$d; done; round=$((round+1))";
/// Without a driver for hot plug the guest is told to look, and to let go.
const LOOK: &str = "echo 1 >/sys/bus/pci/rescan";
const LET_GO: &str = "for n in 1 2 3; do echo 1 >/sys/bus/pci/devices/0000:0$n:00.0/remove; done";

/// How the guest hears of its devices.
pub struct Interrupts<'a> {
    /// The board.
    pub machine: &'a str,
    /// By pin, though there may be messages.
    pub by_pin: bool,
}

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let count = option(args, "--count").unwrap_or("100").parse()?;
    let interrupts = Interrupts {
        machine: option(args, "--machine").unwrap_or("virt,aia=aplic-imsic"),
        by_pin: switch(args, "--intx"),
    };
    println!("{}", rounds(&paths::tinamou()?, &guest::ensure()?, &interrupts, count)?);
    Ok(())
}

/// So many rounds; says how many devices came and went.
pub fn rounds(tinamou: &Path, images: &Images, interrupts: &Interrupts<'_>, count: u32) -> Result<String> {
    let directory = paths::guests().join(format!(".hot-plug-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let (monitor, events) = (directory.join("monitor"), directory.join("events"));
    let bios = images.bios.display().to_string();
    let mut line =
        strings(&["-M", interrupts.machine, "-smp", "2", "-m", "512M", "-nographic", "-bios", &bios]);
    // A port and the device behind it share a pin. Linux lets go of a device on the thread of the port's interrupt, where it waits
    // for that thread's end (`free_irq`), for ever: with pins its driver for hot plug has to look by itself.
    let no_messages = if interrupts.by_pin { " pci=nomsi pciehp.pciehp_poll_mode=1" } else { "" };
    line.extend(linux(images, &images.initrd, &format!("console=ttyS0 quiet{no_messages}")));
    line.extend(Hmp::arguments(&monitor));
    line.extend(strings(&["-qmp", &format!("unix:{},server=on,wait=off", events.display())]));
    line.extend(strings(&["-netdev", "user,id=n0"]));
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
    let (mut monitor, mut events) = (Hmp::connect(&monitor)?, Events::connect(&events)?);
    console.send("echo slots-$((6*7)) $(ls /sys/bus/pci/slots | wc -l).\n")?;
    console.expect("slots-42 ", STEP)?;
    console.expect(".", STEP)?;
    let by_itself = !console.transcript().contains("slots-42 0.");
    console.send("round=1; (while :; do cat /proc/*/maps >/dev/null 2>&1; done) & echo busy-$((6*7))\n")?;
    console.expect("busy-42", STEP)?;
    for round in 1..=count {
        let mut step = || -> Result<()> {
            let card = if round % 2 == 0 { "e1000e" } else { "virtio-net-pci" };
            monitor.must("device_add virtio-blk-pci,id=x,bus=rp1,drive=d0")?;
            monitor.must("device_add nvme,id=y,bus=rp2,drive=d1,serial=s")?;
            monitor.must(&format!("device_add {card},id=z,bus=rp3,netdev=n0"))?;
            if !by_itself {
                console.send(&format!("{LOOK}\n"))?;
            }
            console.send(&format!("{USE} echo in-$((round+1000))\n"))?;
            console.expect(&format!("in-{}", round + 1000), STEP)?;
            if !by_itself {
                console.send(&format!("{LET_GO}; {GONE}; echo out-$((round+1000))\n"))?;
                console.expect(&format!("out-{}", round + 1001), STEP)?;
            }
            for id in ["x", "y", "z"] {
                monitor.must(&format!("device_del {id}"))?;
            }
            events.all_deleted(&["x", "y", "z"])?;
            if by_itself {
                console.send(&format!("{GONE}; echo out-$((round+1000))\n"))?;
                console.expect(&format!("out-{}", round + 1001), STEP)?;
            }
            Ok(())
        };
        step().map_err(|e| format!("round {round}: {e}"))?;
    }
    console.send("dmesg | grep -cE 'Oops|BUG|stall|hung'; poweroff -f\n")?;
    console.expect("\n0\r\n", STEP)?;
    let status = console.wait(BOOT)?;
    let last = format!("{count}\n");
    for n in 0..2 {
        if !fs::read(directory.join(format!("disk{n}.img")))?.starts_with(last.as_bytes()) {
            return Err(format!("disk {n} has not what was written in the last round").into());
        }
    }
    fs::remove_dir_all(&directory)?;
    let driver = if by_itself { "by the driver for hot plug" } else { "told to look" };
    match status.success() {
        true => Ok(format!("{count} rounds: {} devices have come and gone ({driver})", 3 * count)),
        false => Err(format!("the emulator ended with {status}").into()),
    }
}

/// What the emulator tells on a QMP socket.
struct Events(BufReader<UnixStream>);

impl Events {
    fn connect(socket: &Path) -> Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(STEP))?;
        stream.write_all(b"{\"execute\": \"qmp_capabilities\"}\n")?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Waits for the event of each of these devices, which come in no order.
    fn all_deleted(&mut self, devices: &[&str]) -> Result<()> {
        let mut left = devices.to_vec();
        while !left.is_empty() {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).map_err(|e| format!("{left:?} are not deleted: {e}"))?;
            if read == 0 {
                return Err("the monitor hung up".into());
            }
            left.retain(|id| {
                !(line.contains("DEVICE_DELETED") && line.contains(&format!("\"device\": \"{id}\"")))
            });
        }
        Ok(())
    }
}
