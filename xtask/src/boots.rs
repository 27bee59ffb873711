//! Boots and dialogues through the real binary, as a user would have them.

mod card;
mod debugging;
mod exact;
mod firmware;
mod pcie;
mod replay;

use crate::boot::{disk, linux, machine, network, strings};
use crate::console::Console;
use crate::paths::{self, Images};
use crate::{Result, guest, hostile};
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a boot to the shell may take on a slow, busy host.
const BOOT: Duration = Duration::from_secs(180);
/// How long a command may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long each step under block verification may take.
const VERIFIED: Duration = Duration::from_secs(480);
/// How long Debian and EDK2 may take.
const LONG: Duration = Duration::from_secs(600);

/// What the tests need.
pub struct World {
    /// The emulator.
    pub tinamou: PathBuf,
    /// The guest.
    pub images: Images,
    /// Whether to run what takes many minutes.
    pub long: bool,
}

/// Ends well with nothing, or with the reason why it could not be run.
type Outcome = Result<Option<String>>;

/// A name and what is done.
type Test = (&'static str, fn(&World) -> Outcome);

/// All of them.
pub const TESTS: &[Test] = &[
    ("bare metal without firmware", bare_metal),
    ("exact: code that changes, pages mapped anew", exact::code_and_pages),
    ("exact: several harts", exact::harts),
    ("exact: litmus tests of the memory model", exact::memory_model),
    ("boot: OpenSBI, 1 hart", |w| shell(w, 1, "opensbi")),
    ("boot: OpenSBI, 2 harts", |w| shell(w, 2, "opensbi")),
    ("boot: OpenSBI, 4 harts", |w| shell(w, 4, "opensbi")),
    ("boot: built-in SBI, 1 hart", |w| shell(w, 1, "builtin")),
    ("boot: built-in SBI, 2 harts", |w| shell(w, 2, "builtin")),
    ("boot: built-in SBI, 4 harts", |w| shell(w, 4, "builtin")),
    ("boot: built-in SBI, every block verified", verified),
    ("boot: OpenSBI, the engine's other ways", other_ways),
    ("virtio: network, entropy, disk", |w| virtio(w, "device", "virt", "")),
    ("virtio on PCI Express: network, entropy, disk", |w| virtio(w, "pci", "virt", "")),
    ("virtio with interrupts by APLIC", |w| virtio(w, "pci", "virt,aia=aplic", "")),
    ("virtio with interrupts by messages", |w| virtio(w, "pci", "virt,aia=aplic-imsic", "")),
    ("network card of another make: interrupts by pin", |w| card::card(w, "virt")),
    ("network card of another make: interrupts by messages", |w| card::card(w, "virt,aia=aplic-imsic")),
    ("all on PCI Express, interrupts by wire, 1 to 4 harts", |w| pcie::everything(w, "virt")),
    ("all on PCI Express, interrupts by APLIC, 1 to 4 harts", |w| pcie::everything(w, "virt,aia=aplic")),
    ("all on PCI Express, interrupts by messages, 1 to 4 harts", |w| {
        pcie::everything(w, "virt,aia=aplic-imsic")
    }),
    ("virtio with packed queues", |w| virtio(w, "pci", "virt,aia=aplic-imsic", ",packed=on")),
    ("disks while the emulator is killed: nothing flushed is lost", killed),
    ("disks under random requests, all compared", compared),
    ("hostile drivers", hostile_drivers),
    ("devices come and go", |w| come_and_go(w, "virt,aia=aplic-imsic")),
    ("devices come and go by pin", |w| come_and_go(w, "virt")),
    ("a controller with two namespaces", pcie::namespaces),
    ("edu driven by a program, interrupts by pin", |w| pcie::edu(w, "virt", "intx")),
    ("edu driven by a program, interrupts by messages", |w| pcie::edu(w, "virt,aia=aplic-imsic", "msi")),
    ("boot: U-Boot", uboot),
    ("boot: EDK2 in pflash keeps its variables", firmware::variables),
    ("boot: EDK2 starts Linux from virtio-blk-pci", |w| firmware::edk2(w, "virtio-blk-pci,drive=d")),
    ("boot: EDK2 starts Linux from NVMe", |w| firmware::edk2(w, "nvme,drive=d,serial=s")),
    ("boot: U-Boot starts Linux from virtio-blk-pci", |w| firmware::uboot(w, "virtio-blk-pci,drive=d")),
    ("boot: U-Boot starts Linux from NVMe", |w| firmware::uboot(w, "nvme,drive=d,serial=s")),
    ("monitor: registers, reset, quit", monitor),
    ("snapshots at random moments, OpenSBI", |w| snapshots(w, "opensbi", "virt,aia=aplic-imsic", "pci")),
    ("snapshots at random moments, built-in SBI", |w| snapshots(w, "builtin", "virt", "device")),
    ("debugger: break, step, registers", debugging::first_steps),
    ("debugger: Linux by its symbols, before and with paging, through an exception", debugging::linux),
    ("two counted boots with OpenSBI are alike", replay::alike),
    ("a recorded boot replayed, and a debugger that goes backwards", replay::replay),
    ("boot: Debian to its login, and programs", debian),
];

/// The machine with OpenSBI.
fn with_opensbi(world: &World, smp: u32) -> Vec<String> {
    let mut line = machine(smp, "512M");
    line.extend(strings(&["-bios", &world.images.bios.display().to_string()]));
    line
}

fn good(status: ExitStatus) -> Outcome {
    if status.success() { Ok(None) } else { Err(format!("the emulator ended with {status}").into()) }
}

/// Boots to the shell, uses it, and powers off: the emulator must end by itself with status 0.
fn shell(world: &World, smp: u32, firmware: &str) -> Outcome {
    shell_with(world, smp, firmware, &[])
}

/// The same with further arguments.
fn shell_with(world: &World, smp: u32, firmware: &str, more: &[&str]) -> Outcome {
    let mut line = machine(smp, "512M");
    let opensbi = world.images.bios.display().to_string();
    let firmware = if firmware == "opensbi" { &opensbi } else { firmware };
    line.extend(strings(&["-bios", firmware]));
    line.extend(strings(more));
    line.extend(linux(&world.images, &world.images.initrd, "console=ttyS0"));
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("TINAMOU-SHELL-READY", BOOT)?;
    console.expect("# ", BOOT)?;
    console.send("echo harts: $(grep -c ^processor /proc/cpuinfo) sum: $((6*7))\n")?;
    console.expect(&format!("harts: {smp} sum: 42"), BOOT)?;
    if console.transcript().contains("Oops") {
        return Err("the kernel has found itself at fault".into());
    }
    console.send("poweroff -f\n")?;
    good(console.wait(BOOT)?)
}

/// What is for finding mistakes of the engine must not have mistakes of its own.
fn other_ways(world: &World) -> Outcome {
    for way in ["opt=off", "regions=off", "warmup=0", "tb-size=8"] {
        shell_with(world, 1, "opensbi", &["-accel", &format!("tcg,{way}")])
            .map_err(|e| format!("{way}: {e}"))?;
    }
    Ok(None)
}

/// The same boot with each executed block compared with the interpreter. That is slow, so no modules are loaded, and the kernel has more patience
/// with itself.
fn verified(world: &World) -> Outcome {
    let initrd = paths::guests().join(".verified.cpio");
    fs::write(&initrd, guest::initrd_without_modules(&world.images)?)?;
    let mut line = machine(1, "512M");
    line.extend(strings(&["-bios", "builtin", "-accel", "tcg,verify=on"]));
    line.extend(linux(&world.images, &initrd, "console=ttyS0 earlycon=sbi watchdog_thresh=60"));
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("TINAMOU-SHELL-READY", VERIFIED)?;
    console.expect("# ", VERIFIED)?;
    console.send("echo checked: $((6*7))\n")?;
    console.expect("checked: 42", VERIFIED)?;
    if console.transcript().contains("soft lockup") {
        return Err("the kernel thinks that it is locked up".into());
    }
    console.send("poweroff -f\n")?;
    good(console.wait(VERIFIED)?)
}

/// A lease and an answer to a ping, 16 bytes of entropy, a disk written and read.
fn virtio(world: &World, bus: &str, board: &str, more: &str) -> Outcome {
    let image = paths::guests().join(".disk.img");
    fs::write(&image, vec![0; 8 << 20])?;
    let mut line = with_opensbi(world, 2);
    line.extend(linux(&world.images, &world.images.initrd, "console=ttyS0"));
    line.extend(network());
    line.extend(disk(&image, ""));
    let place = |word: String| match word.as_str() {
        "virt" => board.to_owned(),
        virtio if virtio.starts_with("virtio-") => virtio.replace("-device", &format!("-{bus}")) + more,
        _ => word,
    };
    let line: Vec<String> = line.into_iter().map(place).collect();
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("TINAMOU-SHELL-READY", BOOT)?;
    console.expect("# ", BOOT)?;
    let mut run = |command: &str, answer: &str| -> Result<()> {
        console.send(&format!("{command}\n"))?;
        console.expect(answer, ANSWER).map_err(|e| format!("{command}: {e}").into()).map(|_| ())
    };
    run("head -c 16 /dev/hwrng | wc -c | sed s/^/random-/", "random-16")?;
    run("ip link set eth0 up; udhcpc -i eth0 -n -q && echo lease-$((6*7))", "lease-42")?;
    run("ping -c 2 10.0.2.2 >/dev/null && echo ping-$((6*7))", "ping-42")?;
    run(
        "seq 100000 >/tmp/a; dd if=/tmp/a of=/dev/vda conv=fsync 2>/dev/null; echo disk-$((6*7))",
        "disk-42",
    )?;
    run(
        "echo 3 >/proc/sys/vm/drop_caches; head -c 588895 /dev/vda | cmp - /tmp/a && echo same-$((6*7))",
        "same-42",
    )?;
    console.send("poweroff -f\n")?;
    let ended = good(console.wait(BOOT)?)?;
    if fs::read(&image)?.starts_with(b"1\n2\n3\n4\n") {
        Ok(ended)
    } else {
        Err("the image is not written".into())
    }
}

/// A few of the many times that `cargo xtask snapshots` saves and loads.
fn snapshots(world: &World, bios: &str, board: &str, bus: &str) -> Outcome {
    let opensbi = world.images.bios.display().to_string();
    let bios = if bios == "opensbi" { &opensbi } else { bios };
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let kind = crate::snapshots::Kind { bios, smp: 2, board, bus };
    crate::snapshots::soak(&world.tinamou, &world.images, &kind, 5, seed).map(|_| None)
}

/// A few of the many deaths of `cargo xtask kill-disk`.
fn killed(world: &World) -> Outcome {
    let told = crate::disks::deaths(&world.tinamou, &world.images, 3)?;
    Ok(told.is_none().then(|| format!("{} is not installed", guest::COMPILER)))
}

/// A few seconds of `cargo xtask verify-disk`.
fn compared(world: &World) -> Outcome {
    let told = crate::disks::compared(&world.tinamou, &world.images, 2)?;
    Ok(told.is_none().then(|| format!("{} is not installed", guest::COMPILER)))
}

/// A program of a few instructions: writes to the UART, and ends the emulator through the test finisher.
fn bare_metal(world: &World) -> Outcome {
    let mut code: Vec<u32> = vec![0x1000_0537]; // lui a0, 0x10000: the UART
    for letter in b"Tinamou\n" {
        code.push(u32::from(*letter) << 20 | 0x593); // addi a1, zero, letter
        code.push(0x00b5_0023); // sb a1, 0(a0)
    }
    code.extend([
        0x0010_0537, // lui a0, 0x100: the test finisher
        0x0000_55b7, // lui a1, 5
        0x5555_8593, // addi a1, a1, 0x555: FINISHER_PASS
        0x00b5_2023, // sw a1, 0(a0)
        0x0000_006f, // j .
    ]);
    let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut program = hostile::elf(64, 56, 1, 0x8000_0000, bytes.len() as u64, bytes.len() as u64);
    program.resize(0x1000, 0);
    program.extend(bytes);
    let file = paths::guests().join(".bare.elf");
    fs::write(&file, program)?;
    let mut line = machine(1, "128M");
    line.extend(strings(&["-bios", "none", "-kernel", &file.display().to_string()]));
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("Tinamou", BOOT)?;
    good(console.wait(BOOT)?)
}

fn uboot(world: &World) -> Outcome {
    let loader = world.images.dir.join("u-boot-smode.bin");
    if !loader.is_file() {
        return Ok(Some(format!("no {}", loader.display())));
    }
    let mut line = with_opensbi(world, 1);
    line.extend(strings(&["-kernel", &loader.display().to_string()]));
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("Hit any key to stop autoboot", BOOT)?;
    console.send("\n")?;
    console.expect("=> ", BOOT)?;
    console.send("version\n")?;
    console.expect("U-Boot 20", BOOT)?;
    Ok(None)
}

/// The keys of the multiplexed console, a register dump, a reset, the end.
fn monitor(world: &World) -> Outcome {
    let mut console = Console::spawn(&world.tinamou, &with_opensbi(world, 1))?;
    console.expect("OpenSBI", BOOT)?;
    console.send("\u{1}c")?;
    console.expect("(qemu)", BOOT)?;
    console.send("info registers\n")?;
    console.expect("x31/t6", BOOT)?;
    console.send("system_reset\n")?;
    console.expect("(qemu)", BOOT)?;
    console.send("\u{1}c")?;
    console.expect("OpenSBI", BOOT)?;
    console.send("\u{1}c")?;
    console.send("quit\n")?;
    good(console.wait(BOOT)?)
}

/// Runs gdb-multiarch on the stub at a port; what it says.
fn gdb(port: u16, script: &[&str]) -> Result<String> {
    let target = format!("target remote 127.0.0.1:{port}");
    let head = [
        "set pagination off",
        "set confirm off",
        "set architecture riscv:rv64",
        "set language c",
        "set tcp connect-timeout 60",
        &target,
    ];
    let mut gdb = Command::new("timeout");
    gdb.args(["120", "gdb-multiarch", "-nx", "-batch"]);
    for command in head.iter().chain(script) {
        gdb.args(["-ex", command]);
    }
    let output = gdb.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a text has all these parts.
fn said(text: &str, wanted: &[&str]) -> Outcome {
    match wanted.iter().find(|part| !text.contains(*part)) {
        Some(part) => Err(format!("gdb did not say '{part}':\n{text}").into()),
        None => Ok(None),
    }
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Drivers that mean harm, for a few seconds; an error tells the seed.
fn hostile_drivers(world: &World) -> Outcome {
    let seed = u64::from(std::process::id());
    crate::hostile_drivers::attacked(&world.tinamou, seed, Duration::from_secs(4)).map(|_| None)
}

/// Devices are plugged into the guest and taken out.
fn come_and_go(world: &World, machine: &str) -> Outcome {
    let interrupts = crate::hot_plug::Interrupts { machine, by_pin: machine == "virt" };
    crate::hot_plug::rounds(&world.tinamou, &world.images, &interrupts, 4).map(|_| None)
}

/// systemd's login, then programs: each prints what the shell could not have echoed.
fn debian(world: &World) -> Outcome {
    let Some(image) = world.images.debian() else {
        return Ok(Some("no Debian root file system (cargo xtask debian)".into()));
    };
    let mut line = machine(2, "1G");
    line.extend(strings(&["-bios", &world.images.bios.display().to_string()]));
    line.extend(linux(&world.images, &world.images.initrd, "console=ttyS0 root=/dev/vda"));
    line.extend(disk(&image, ",snapshot=on"));
    line.extend(network());
    let mut console = Console::spawn(&world.tinamou, &line)?;
    console.expect("login: ", LONG)?;
    console.send("root\n")?;
    console.expect("# ", BOOT)?;
    let mut run = |command: &str, limit: Duration| -> Result<()> {
        console.send(&format!("{command} && echo done-$((6*7))\n"))?;
        console.expect("done-42", limit).map_err(|e| format!("{command}: {e}"))?;
        Ok(())
    };
    run("python3 -c 'import hashlib; print(hashlib.sha256(b\"abc\").hexdigest())' | grep ^ba7816bf", BOOT)?;
    if world.long {
        run("apt-get update -q", LONG)?;
        run(
            "echo 'int printf(const char*,...); int main(){return printf(\"hi\\n\")!=3;}' >h.c; gcc h.c && ./a.out",
            LONG,
        )?;
        run("openssl speed -seconds 1 -evp sha256", LONG)?;
        run("stress-ng --verify --cpu 2 --cpu-ops 400 --cpu-method all --metrics-brief", LONG)?;
        run(
            "stress-ng --verify --matrix 1 --matrix-ops 50 --fp 1 --fp-ops 50 --vm 1 --vm-bytes 64M --vm-ops 2000",
            LONG,
        )?;
    }
    console.send("poweroff\n")?;
    good(console.wait(LONG)?)
}
