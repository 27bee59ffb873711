//! Command lines and images that are wrong: each must give a clear error, or run; never panic, never hang.

use crate::Result;
use crate::boot::strings;
use crate::paths;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long an emulator that has not refused its input is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// How long one that must refuse may take to do so.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has to happen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Exit status 1 and a message.
    Refusal,
    /// That, or a guest that runs (into nothing).
    NoPanic,
}

/// The cases: a name, the arguments, what has to happen.
fn cases(dir: &Path) -> Result<Vec<(&'static str, Vec<String>, Wanted)>> {
    use Wanted::{NoPanic, Refusal};
    let file = |name: &str, content: &[u8]| -> Result<String> {
        let path = dir.join(name);
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    };
    let empty = file("empty", &[])?;
    let garbage = file("garbage", &(0..4096u32).map(|n| ((n * 37) >> 2) as u8).collect::<Vec<_>>())?;
    let header = elf(64, 56, 1, 0x8000_0000, 0x1000, 0x2000);
    let short_elf = file("short.elf", header.get(..40).unwrap_or_default())?;
    let cut_elf = file("cut.elf", &header)?;
    let many_headers = file("many.elf", &elf(64, 56, 0xffff, 0x8000_0000, 0, 0))?;
    let far_segment = file("far.elf", &elf(64, 56, 1, u64::MAX - 0xfff, 0, 0x2000))?;
    let huge_segment = file("huge.elf", &elf(64, 56, 1, 0x8000_0000, 0, u64::MAX >> 1))?;
    let image = file("Image", &image_header(u64::MAX))?;
    let tree = file("tree.dtb", &[0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0x10, 0, 0, 0, 0xff, 0xff])?;
    let odd_disk = file("disk.img", &[0x55; 700])?;
    let disk = |file: &str| {
        let drive = format!("file={file},format=raw,if=none,id=d");
        strings(&["-M", "virt", "-bios", "none", "-drive", &drive, "-device", "virtio-blk-device,drive=d"])
    };
    let virt = |rest: &[&str]| [strings(&["-M", "virt", "-bios", "none"]), strings(rest)].concat();
    Ok(vec![
        ("an ELF cut inside its header", virt(&["-kernel", &short_elf]), NoPanic),
        ("an ELF cut inside its segment", virt(&["-kernel", &cut_elf]), NoPanic),
        ("an ELF with 65535 program headers", virt(&["-kernel", &many_headers]), NoPanic),
        ("an ELF segment at the end of the address space", virt(&["-kernel", &far_segment]), NoPanic),
        ("an ELF segment larger than memory", virt(&["-kernel", &huge_segment]), NoPanic),
        ("an Image that claims to be huge", virt(&["-kernel", &image]), NoPanic),
        ("an empty kernel", virt(&["-kernel", &empty]), NoPanic),
        ("garbage as kernel", virt(&["-kernel", &garbage]), NoPanic),
        ("an empty initial RAM disk", virt(&["-kernel", &garbage, "-initrd", &empty]), NoPanic),
        ("empty firmware", strings(&["-M", "virt", "-bios", &empty]), NoPanic),
        ("garbage as firmware", strings(&["-M", "virt", "-bios", &garbage]), NoPanic),
        ("no such kernel", virt(&["-kernel", "/nonexistent/kernel"]), Refusal),
        ("no such firmware", strings(&["-M", "virt", "-bios", "/nonexistent/firmware"]), Refusal),
        ("no such initial RAM disk", virt(&["-kernel", &garbage, "-initrd", "/nonexistent/initrd"]), Refusal),
        ("an empty device tree", virt(&["-dtb", &empty]), Refusal),
        ("a truncated device tree", virt(&["-dtb", &tree]), Refusal),
        ("garbage as device tree", virt(&["-dtb", &garbage]), Refusal),
        ("an empty disk", disk(&empty), NoPanic),
        ("a disk of 700 bytes", disk(&odd_disk), NoPanic),
        ("no such disk", disk("/nonexistent/disk"), Refusal),
        ("no memory", virt(&["-m", "0"]), NoPanic),
        ("one byte of memory", virt(&["-m", "1B"]), NoPanic),
        ("more memory than there are addresses", virt(&["-m", "16E"]), Refusal),
        ("memory that is no number", virt(&["-m", "lots"]), Refusal),
        ("no processors", virt(&["-smp", "0"]), Refusal),
        ("too many processors", virt(&["-smp", "100000"]), Refusal),
        ("processors that are no number", virt(&["-smp", "cpus=-3"]), Refusal),
        ("an unknown machine", strings(&["-M", "attic"]), Refusal),
        ("an unknown processor", virt(&["-cpu", "attic"]), Refusal),
        ("an unknown device", virt(&["-device", "attic"]), Refusal),
        ("an unknown property", virt(&["-device", "virtio-rng-device,attic=1"]), Refusal),
        ("an unknown option", strings(&["-attic"]), Refusal),
        ("an option without its argument", strings(&["-M"]), Refusal),
    ])
}

/// Runs the cases whose name has the text `only`, and tells of each: its name, what was wrong with it, when it began.
pub fn run(program: &Path, only: &str, mut tell: impl FnMut(&str, Result<()>, Instant)) -> Result<()> {
    let dir = paths::guests().join(".hostile");
    fs::create_dir_all(&dir)?;
    for (name, args, wanted) in cases(&dir)?.into_iter().filter(|(name, ..)| name.contains(only)) {
        let started = Instant::now();
        tell(name, one(program, &dir, &args, wanted), started);
    }
    Ok(())
}

fn one(program: &Path, dir: &Path, args: &[String], wanted: Wanted) -> Result<()> {
    let log: PathBuf = dir.join("stderr");
    let mut child = Command::new(program)
        .args(args)
        .args(["-display", "none", "-serial", "null", "-monitor", "none"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    let started = Instant::now();
    let limit = if wanted == Wanted::Refusal { PATIENCE } else { WATCHED };
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if said.contains("panicked at") {
        return Err(format!("it panicked: {said}").into());
    }
    match status {
        Some(status) if status.signal().is_some() => Err(format!("it died by {status}: {said}").into()),
        Some(status) if status.code() == Some(1) && !said.trim().is_empty() => Ok(()),
        Some(status) if wanted == Wanted::Refusal => {
            Err(format!("it ended with {status} and said: {said}").into())
        }
        None if wanted == Wanted::Refusal => Err("it ran on, and should have refused".into()),
        _ => Ok(()),
    }
}

/// An ELF64 header for RISC-V with one program header behind it, whose segment is at 0x1000 in the file
/// (System V ABI, chapters 4 and 5).
pub fn elf(phoff: u64, phentsize: u16, phnum: u16, address: u64, filesz: u64, memsz: u64) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(2u16.to_le_bytes()); // ET_EXEC
    bytes.extend(243u16.to_le_bytes()); // EM_RISCV
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(address.to_le_bytes());
    bytes.extend(phoff.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    for half in [64, phentsize, phnum, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1u32.to_le_bytes()); // PT_LOAD
    bytes.extend(7u32.to_le_bytes());
    for word in [0x1000, address, address, filesz, memsz, 0x1000] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// The kernel's riscv boot image header (`Documentation/arch/riscv/boot-image-header.rst`).
fn image_header(size: u64) -> Vec<u8> {
    let mut bytes = vec![0u8; 8];
    for word in [0x20_0000, size, 0] {
        bytes.extend(u64::to_le_bytes(word));
    }
    bytes.extend(2u32.to_le_bytes());
    bytes.extend([0; 12]);
    bytes.extend(*b"RISCV\0\0\0RSC\x05\0\0\0\0");
    bytes
}
