//! `cargo xtask snapshots`: saves a working guest at random moments, kills the emulator, and goes on in a new one. The
//! guest's own work must come out right.

use crate::boot::{disk, linux, machine, network, strings};
use crate::console::Console;
use crate::hmp::Hmp;
use crate::paths::{self, Images};
use crate::{Result, guest, option};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a boot or a round of the work may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let images = guest::ensure()?;
    let tinamou = paths::tinamou()?;
    let count: u32 = option(args, "--count").unwrap_or("200").parse()?;
    let seed = match option(args, "--seed") {
        Some(seed) => seed.parse()?,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
    };
    println!("seed {seed}");
    let firmware = images.bios.display().to_string();
    let kind = Kind {
        bios: option(args, "--bios").unwrap_or(&firmware),
        smp: option(args, "--smp").unwrap_or("2").parse()?,
        board: option(args, "--machine").unwrap_or("virt"),
        bus: option(args, "--bus").unwrap_or("device"),
    };
    let report = soak(&tinamou, &images, &kind, count, seed)?;
    println!("{report}");
    Ok(())
}

/// A guest at work, with everything of its own beside the emulator's processes.
struct Soak {
    program: PathBuf,
    line: Vec<String>,
    socket: PathBuf,
    /// Numbers from a seed (xorshift64*).
    random: u64,
}

impl Soak {
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) % n
    }

    fn pause(&mut self, longest: u64) {
        let ms = self.below(longest);
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn start(&self, more: &[String]) -> Result<(Console, Hmp)> {
        let _ = fs::remove_file(&self.socket);
        let mut line = self.line.clone();
        line.extend_from_slice(more);
        let console = Console::spawn(&self.program, &line)?;
        Ok((console, Hmp::connect(&self.socket)?))
    }
}

/// What kind of machine is saved.
pub struct Kind<'a> {
    /// `-bios`.
    pub bios: &'a str,
    /// `-smp`.
    pub smp: u32,
    /// `-M`.
    pub board: &'a str,
    /// What the virtio devices are on: `device` (virtio-mmio) or `pci`.
    pub bus: &'a str,
}

/// Saves and loads `count` times. Returns what to tell.
pub fn soak(program: &Path, images: &Images, kind: &Kind<'_>, count: u32, seed: u64) -> Result<String> {
    let directory = paths::guests().join(format!(".snapshots-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let outcome = soak_in(&directory, program, images, kind, count, seed);
    fs::remove_dir_all(&directory)?;
    outcome.map_err(|e| format!("seed {seed}: {e}").into())
}

fn soak_in(
    directory: &Path,
    program: &Path,
    images: &Images,
    kind: &Kind<'_>,
    count: u32,
    seed: u64,
) -> Result<String> {
    let image = directory.join("disk.img");
    fs::File::create(&image)?.set_len(32 << 20)?;
    let work = directory.join("work");
    fs::write(&work, include_str!("../../tests/guest/work.sh"))?;
    let initrd = directory.join("initrd.cpio");
    fs::write(&initrd, guest::initrd_with(images, &[work])?)?;
    let socket = directory.join("monitor");
    let mut line = machine(kind.smp, "256M");
    line.extend(strings(&["-bios", kind.bios, "-serial", "stdio"]));
    line.extend(linux(images, &initrd, "console=ttyS0 quiet tinamou.run=/bin/work"));
    line.extend(network());
    line.extend(disk(&image, ""));
    line.extend(Hmp::arguments(&socket));
    // On PCI Express a thread of an object's does the disk's work.
    line.extend(strings(&["-object", "iothread,id=io1"]));
    let place = |word: String| match word.as_str() {
        "virt" => kind.board.to_owned(),
        disk if disk.starts_with("virtio-blk-") && kind.bus == "pci" => {
            disk.replace("-device", "-pci") + ",iothread=io1"
        }
        virtio if virtio.starts_with("virtio-") => virtio.replace("-device", &format!("-{}", kind.bus)),
        _ => word,
    };
    let line = line.into_iter().map(place).collect();
    let mut soak = Soak { program: program.to_owned(), line, socket, random: seed | 1 };
    let (mut console, mut hmp) = soak.start(&[])?;
    console.expect("ROUND 1 ok", PATIENCE)?;
    let (mut saves, mut loads) = (Vec::new(), Vec::new());
    for n in 0..count {
        soak.pause(600);
        let tag = format!("t{}", n % 3);
        saves.push(hmp.must(&format!("savevm {tag}"))?);
        // What happens from here on is undone, also on the disk.
        soak.pause(150);
        if soak.below(4) == 0 {
            loads.push(hmp.must(&format!("loadvm {tag}"))?);
            soak.pause(100);
        }
        check(&console)?;
        drop(console);
        (console, hmp) = soak.start(&strings(&["-loadvm", &tag]))?;
    }
    // It is still at work.
    console.expect("ROUND ", PATIENCE)?;
    console.expect(" ok", PATIENCE)?;
    console.expect(" ok", PATIENCE)?;
    check(&console)?;
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    Ok(format!(
        "{count} snapshots taken and gone on from in a new process (medians: saving {:.0} ms, going back {:.1} ms)",
        middle(&mut saves),
        middle(&mut loads)
    ))
}

fn check(console: &Console) -> Result<()> {
    let text = console.transcript();
    match text.lines().find(|l| ["BAD", "Oops", "BUG:", "panic", "stall"].iter().any(|w| l.contains(w))) {
        Some(line) => Err(format!("the guest says: {line}").into()),
        None => Ok(()),
    }
}
