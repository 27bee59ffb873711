//! Disks put to the proof, by `tests/guest/disk.c` and `tests/guest/files.c` in a guest.
//!
//! `cargo xtask kill-disk`: the guest writes numbers into random blocks, flushes each, and says so; the emulator is killed at
//! a random moment (SIGKILL). What the guest has said must then be in the image.
//! `cargo xtask verify-disk`: the guest works on a file of an ext4 file system, which the host then checks, and reads and writes
//! random pieces of the disk, up to 32 at a time; both compare.

use crate::boot::{linux, machine, strings};
use crate::console::Console;
use crate::paths::{self, Images};
use crate::{Result, guest, option};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a boot may take on a busy host.
const BOOT: Duration = Duration::from_secs(180);
/// Bytes of the disk, and of a block.
const DISK: usize = 4 << 20;
const BLOCK: usize = 4096;
/// The longest that a guest writes, in milliseconds.
const LONGEST: u64 = 700;

/// Disks in turn: the device, what the guest calls it, and whether a thread of an object's does the work.
const DEVICES: &[(&str, &str)] = &[
    ("virtio-blk-pci,drive=d0", "/dev/vda"),
    ("nvme,drive=d0,serial=s", "/dev/nvme0n1"),
    ("virtio-blk-pci,drive=d0,iothread=io1,packed=on", "/dev/vda"),
];

/// Runs the task `kill-disk`.
pub fn kill(args: &[String]) -> Result<()> {
    let count = option(args, "--count").unwrap_or("50").parse()?;
    let (images, tinamou) = (guest::ensure()?, paths::tinamou()?);
    match deaths(&tinamou, &images, count)? {
        Some(told) => println!("{told}"),
        None => println!("{} is not installed", guest::COMPILER),
    }
    Ok(())
}

/// So many deaths; says what was found, or nothing where the guest's program cannot be compiled.
pub fn deaths(tinamou: &Path, images: &Images, count: u32) -> Result<Option<String>> {
    let Some(program) = guest::program("disk")? else { return Ok(None) };
    let directory = paths::guests().join(format!(".kill-disk-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let (initrd, image) = (directory.join("initrd.cpio"), directory.join("disk.img"));
    fs::write(&initrd, guest::initrd_with(images, &[program])?)?;
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 | 1;
    let (mut acknowledged, mut blocks) = (0, 0);
    for (n, (device, path)) in DEVICES.iter().cycle().take(count as usize).enumerate() {
        fs::write(&image, vec![0; DISK])?;
        let mut line = machine(2, "256M");
        line.extend(strings(&["-bios", &images.bios.display().to_string()]));
        line.extend(linux(images, &initrd, "console=ttyS0 quiet"));
        let drive = format!("file={},format=raw,if=none,id=d0", image.display());
        line.extend(strings(&["-object", "iothread,id=io1", "-drive", &drive, "-device", device]));
        let mut console = Console::spawn(tinamou, &line)?;
        console.expect("TINAMOU-SHELL-READY", BOOT)?;
        console.expect("# ", BOOT)?;
        console.send(&format!("disk acknowledge {path}\n"))?;
        console.expect("ACK ", BOOT)?;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_millis(random % LONGEST));
        let said = acknowledgments(&console.kill()?);
        let lost = missing(&fs::read(&image)?, &said);
        if let Some(lost) = lost {
            return Err(format!("round {n}, {device}: {lost}; the image is {}", image.display()).into());
        }
        acknowledged += said.values().max().copied().unwrap_or(0);
        blocks += said.len();
    }
    fs::remove_dir_all(&directory)?;
    Ok(Some(format!(
        "{count} deaths, {acknowledged} flushed writes to {blocks} blocks acknowledged, none lost"
    )))
}

/// Runs the task `verify-disk`.
pub fn verify(args: &[String]) -> Result<()> {
    let seconds = option(args, "--seconds").unwrap_or("60").parse()?;
    let (images, tinamou) = (guest::ensure()?, paths::tinamou()?);
    match compared(&tinamou, &images, seconds)? {
        Some(told) => println!("{told}"),
        None => println!("{} is not installed", guest::COMPILER),
    }
    Ok(())
}

/// Random requests for so many seconds to each disk, one after the other; says how many, or nothing where the guest's
/// program cannot be compiled.
pub fn compared(tinamou: &Path, images: &Images, seconds: u64) -> Result<Option<String>> {
    let (Some(disk), Some(files)) = (guest::program("disk")?, guest::program("files")?) else {
        return Ok(None);
    };
    let has_files = paths::which("mke2fs").is_some();
    let directory = paths::guests().join(format!(".verify-disk-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let initrd = directory.join("initrd.cpio");
    fs::write(&initrd, guest::initrd_with(images, &[disk, files])?)?;
    let mut line = machine(2, "256M");
    line.extend(strings(&["-bios", &images.bios.display().to_string(), "-object", "iothread,id=io1"]));
    line.extend(linux(images, &initrd, "console=ttyS0 quiet"));
    for (n, (device, _)) in DEVICES.iter().enumerate() {
        let image = directory.join(format!("disk{n}.img"));
        fs::write(&image, vec![0; 4 * DISK])?;
        if has_files {
            run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&image))?;
        }
        let drive = format!("file={},format=raw,if=none,id=d{n}", image.display());
        line.extend(strings(&["-drive", &drive, "-device", &device.replace("d0", &format!("d{n}"))]));
    }
    let mut console = Console::spawn(tinamou, &line)?;
    console.expect("TINAMOU-SHELL-READY", BOOT)?;
    console.expect("# ", BOOT)?;
    let mut told = Vec::new();
    // The second disk of a kind has the next letter.
    for (n, ((device, _), path)) in DEVICES.iter().zip(["/dev/vda", "/dev/nvme0n1", "/dev/vdb"]).enumerate() {
        let mut work = |command: &str, answer: &str| -> Result<String> {
            console.send(&format!("{command}; echo ended-$((6*7))\n"))?;
            console.expect("ended-42", BOOT + Duration::from_secs(seconds))?;
            let text = console.transcript();
            let text = text.get(text.rfind(command).unwrap_or(0)..).unwrap_or_default();
            let found = text.lines().find_map(|line| line.trim().strip_prefix(answer));
            Ok(found.ok_or_else(|| format!("{device}: {text}"))?.to_owned())
        };
        let mut line = format!("{device}: ");
        if has_files {
            let command =
                format!("mkdir -p /mnt; mount -t ext4 {path} /mnt && files /mnt/f {seconds}; umount /mnt");
            line += &format!("{} with a file, ", work(&command, "FILES ")?);
            run(Command::new("e2fsck").args(["-f", "-n"]).arg(directory.join(format!("disk{n}.img"))))?;
        }
        line += &work(&format!("disk verify {path} {seconds}"), "VERIFIED ")?;
        told.push(line + " compared");
    }
    console.kill()?;
    fs::remove_dir_all(&directory)?;
    Ok(Some(told.join("\n")))
}

/// Runs a program of the host's on an image.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stdout)).into()),
    }
}

/// The last number that each block was said to have.
fn acknowledgments(text: &str) -> BTreeMap<usize, u64> {
    let mut said = BTreeMap::new();
    // The last line may have been cut off.
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    for line in whole.lines() {
        let mut words = line.trim().split(' ');
        if let (Some("ACK"), Some(block), Some(number), None) =
            (words.next(), words.next(), words.next(), words.next())
            && let (Ok(block), Ok(number)) = (block.parse(), number.parse())
        {
            said.insert(block, number);
        }
    }
    said
}

/// The first block in which something older stands than what was acknowledged. Something newer may: the write that was
/// under way.
fn missing(image: &[u8], said: &BTreeMap<usize, u64>) -> Option<String> {
    said.iter().find_map(|(block, number)| {
        let bytes = image.get(block * BLOCK..(block + 1) * BLOCK)?;
        let (words, _) = bytes.as_chunks::<8>();
        let oldest = words.iter().map(|word| u64::from_le_bytes(*word)).min()?;
        (oldest < *number).then(|| format!("block {block} has {oldest}, though {number} was acknowledged"))
    })
}

#[cfg(test)]
#[path = "disks_test.rs"]
mod test;
