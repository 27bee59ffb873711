//! Boots with what is on PCI Express.

use super::{ANSWER, BOOT, Outcome, World, good};
use crate::boot::{linux, strings};
use crate::console::Console;
use crate::{Result, guest, paths};
use std::fs;

/// What a program needs that drives a device by itself.
const USER_SPACE_DRIVERS: &[&str] = &["uio_pci_generic"];

/// A console at the shell of a guest that has been started with these words.
fn at_shell(world: &World, line: &[String]) -> Result<Console> {
    let mut console = Console::spawn(&world.tinamou, line)?;
    console.expect("TINAMOU-SHELL-READY", BOOT)?;
    console.expect("# ", BOOT)?;
    Ok(console)
}

/// A program in the guest drives edu: a factorial, transfers in both directions, an interrupt after each.
pub fn edu(world: &World, board: &str, interrupt: &str) -> Outcome {
    let Some(program) = guest::program("edu")? else {
        return Ok(Some(format!("{} is not installed", guest::COMPILER)));
    };
    let initrd = paths::guests().join(".edu.cpio");
    fs::write(&initrd, guest::initrd_loading(&world.images, &[program], USER_SPACE_DRIVERS)?)?;
    let bios = world.images.bios.display().to_string();
    let mut line = strings(&["-M", board, "-smp", "2", "-m", "512M", "-nographic", "-bios", &bios]);
    line.extend(linux(&world.images, &initrd, "console=ttyS0"));
    // Memory of this board has addresses that the device's usual mask has not.
    line.extend(strings(&["-device", "edu,addr=5.0,dma_mask=0xffffffff"]));
    let mut console = at_shell(world, &line)?;
    console.send(&format!(
        "cd /sys/bus/pci/drivers/uio_pci_generic && echo 1234 11e8 >new_id; \
         edu 0000:00:05.0 {interrupt}; echo status: $?\n"
    ))?;
    console.expect(&format!("10! = 3628800 by {interrupt}"), ANSWER)?;
    console.expect("edu: done", ANSWER)?;
    console.expect("status: 0", ANSWER)?;
    console.send("poweroff -f\n")?;
    good(console.wait(BOOT)?)
}

/// Console, disks, network and entropy are on PCI Express, with one to four harts; the firmware takes turns, and with
/// `--long` both have all turns.
pub fn everything(world: &World, board: &str) -> Outcome {
    for smp in 1..=4 {
        let firmware = if smp % 2 == 0 { ["opensbi", "builtin"] } else { ["builtin", "opensbi"] };
        for firmware in &firmware[..if world.long { 2 } else { 1 }] {
            used(world, board, smp, firmware).map_err(|e| format!("{firmware}, {smp} harts: {e}"))?;
        }
    }
    Ok(None)
}

fn used(world: &World, board: &str, smp: u32, firmware: &str) -> Outcome {
    let images = ["a", "b"].map(|name| paths::guests().join(format!(".disk-{name}.img")));
    for image in &images {
        fs::write(image, vec![0; 8 << 20])?;
    }
    let opensbi = world.images.bios.display().to_string();
    let bios = if firmware == "opensbi" { &opensbi } else { firmware };
    let mut line = strings(&["-M", board, "-smp", &smp.to_string(), "-m", "512M", "-bios", bios]);
    line.extend(strings(&[
        "-display",
        "none",
        "-monitor",
        "none",
        "-serial",
        "none",
        "-chardev",
        "stdio,id=c",
    ]));
    line.extend(strings(&["-netdev", "user,id=n"]));
    for (id, image) in ["d0", "d1"].iter().zip(&images) {
        let drive = format!("file={},format=raw,if=none,id={id}", image.display());
        line.extend(strings(&["-drive", &drive]));
    }
    for device in [
        "virtio-serial-pci",
        "virtconsole,chardev=c",
        "virtio-blk-pci,drive=d0",
        "nvme,drive=d1,serial=s",
        "virtio-net-pci,netdev=n",
        "virtio-rng-pci",
    ] {
        line.extend(strings(&["-device", device]));
    }
    line.extend(linux(&world.images, &world.images.initrd, "console=hvc0"));
    // The kernel may run init before it has found the console: then what init says goes nowhere, and only the shell is heard.
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("built-in shell", BOOT)?;
    console.expect("# ", BOOT)?;
    let mut run = |command: &str, answer: &str| -> Result<()> {
        console.send(&format!("{command}\n"))?;
        console.expect(answer, ANSWER).map_err(|e| format!("{command}: {e}").into()).map(|_| ())
    };
    run("echo harts: $(grep -c ^processor /proc/cpuinfo)", &format!("harts: {smp}"))?;
    run("head -c 16 /dev/hwrng | wc -c | sed s/^/random-/", "random-16")?;
    run("ip link set eth0 up; udhcpc -i eth0 -n -q && echo lease-$((6*7))", "lease-42")?;
    run(
        "seq 100000 >/tmp/a; for d in vda nvme0n1; do dd if=/tmp/a of=/dev/$d bs=64k conv=fsync 2>/dev/null; done; \
         echo 3 >/proc/sys/vm/drop_caches; for d in vda nvme0n1; do head -c 588895 /dev/$d | cmp - /tmp/a; done && \
         echo same-$((6*7))",
        "same-42",
    )?;
    console.send("poweroff -f\n")?;
    let ended = good(console.wait(BOOT)?)?;
    for image in &images {
        if !fs::read(image)?.starts_with(b"1\n2\n3\n4\n") {
            return Err(format!("{} is not written", image.display()).into());
        }
    }
    Ok(ended)
}

/// A controller with two namespaces and a queue for each of four harts: both are used at once, it is taken out with both, and
/// one of the drives comes back on its own. The guest looks for its namespaces side by side, so either can be `nvme0n1`.
pub fn namespaces(world: &World) -> Outcome {
    let images = ["a", "b"].map(|name| paths::guests().join(format!(".disk-{name}.img")));
    let bios = world.images.bios.display().to_string();
    let mut line =
        strings(&["-M", "virt,aia=aplic-imsic", "-smp", "4", "-m", "512M", "-nographic", "-bios", &bios]);
    for ((id, size), image) in [("d0", 8 << 20), ("d1", 4 << 20)].iter().zip(&images) {
        fs::write(image, vec![0; *size])?;
        let drive = format!("file={},format=raw,if=none,id={id}", image.display());
        line.extend(strings(&["-drive", &drive]));
    }
    for device in [
        "pcie-root-port,id=rp1,chassis=1",
        "nvme,id=n,bus=rp1,drive=d0,serial=s",
        "nvme-ns,drive=d1,bus=n,nsid=2,logical_block_size=4096",
    ] {
        line.extend(strings(&["-device", device]));
    }
    line.extend(linux(&world.images, &world.images.initrd, "console=ttyS0"));
    let mut console = at_shell(world, &line)?;
    console.send(
        "cd /sys/block; a=$(dirname $(grep -lx 1 nvme0n*/nsid)) b=$(dirname $(grep -lx 2 nvme0n*/nsid)); \
         echo queues: $(ls -d $a/mq/* | wc -l) sizes: $(cat $a/size $b/size $b/queue/logical_block_size); \
         seq 100000 >/tmp/a; \
         for d in nvme0n1 nvme0n2; do dd if=/tmp/a of=/dev/$d bs=64k conv=fsync 2>/dev/null & done; wait; \
         echo 3 >/proc/sys/vm/drop_caches; for d in nvme0n1 nvme0n2; do head -c 588895 /dev/$d | cmp - /tmp/a; done && \
         echo 1 >/sys/bus/pci/devices/0000:01:00.0/remove && echo out-$((6*7))\n",
    )?;
    console.expect("queues: 4 sizes: 16384 8192 4096", ANSWER)?;
    console.expect("out-42", ANSWER)?;
    for command in ["device_del n", "device_add nvme,id=m,bus=rp1,drive=d1,serial=t"] {
        console.send("\u{1}c")?;
        console.expect("(qemu) ", ANSWER)?;
        console.send(&format!("{command}\n"))?;
        console.expect("(qemu) ", ANSWER)?;
        console.send("\u{1}c")?;
    }
    console.send(
        "\necho 1 >/sys/bus/pci/rescan; until [ -b /dev/nvme0n1 ]; do sleep 0.1; done; \
         head -c 588895 /dev/nvme0n1 | cmp - /tmp/a && echo back-$((6*7)); poweroff -f\n",
    )?;
    console.expect("back-42", ANSWER)?;
    good(console.wait(BOOT)?)
}
