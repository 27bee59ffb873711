//! Programs that others have written to find faults of disks and file systems, in a Debian guest on each kind of disk.
//!
//! `cargo xtask fio`: fio of Debian's packages writes patterns, reads them again and verifies each block.
//! `cargo xtask fsx PROGRAM`: fsx ("file system exerciser"), compiled elsewhere for riscv64 and linked statically, does random
//! operations on a file and compares it with its own copy after each.

use crate::boot::strings;
use crate::debian_guest::{self, DebianGuest};
use crate::disks::run as host;
use crate::{Result, option, paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long one job may take on a busy host.
const LIMIT: Duration = Duration::from_secs(1800);
/// Bytes of a disk.
const DISK: u64 = 256 << 20;

/// Disks: the drive's options, the device, and what the guest calls it.
const DISKS: &[(&str, &str, &str)] = &[
    ("cache=writeback", "virtio-blk-pci,drive=d0,addr=4", "/dev/vdb"),
    ("cache=none,aio=native,discard=unmap", "nvme,drive=d1,serial=s,addr=5", "/dev/nvme0n1"),
    (
        "cache=none,aio=io_uring,discard=unmap",
        "virtio-blk-pci,drive=d2,addr=6,packed=on,iothread=io1,num-queues=2",
        "/dev/vdc",
    ),
];

/// fio's jobs, on the disk itself.
const JOBS: &[(&str, &str)] = &[
    ("random, 32 at a time", "--rw=randwrite --bsrange=4k-64k --ioengine=libaio --iodepth=32 --size=64m"),
    ("random, beside reads", "--rw=randrw --bs=4k --ioengine=io_uring --iodepth=16 --size=32m"),
    (
        "random, behind the writes",
        "--rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --verify_backlog=64 --size=16m",
    ),
    ("in order", "--rw=write --bs=256k --ioengine=libaio --iodepth=8 --size=192m"),
    ("after discards", "--rw=randtrimwrite --bs=8k --ioengine=libaio --iodepth=8 --size=32m"),
    ("one at a time, flushed", "--rw=randwrite --bs=4k --ioengine=psync --fdatasync=8 --size=4m"),
];

/// Ways to run fsx: without more, without mapped writes, without mapped reads, past the guest's page cache.
const WAYS: &[&str] = &["", "-W", "-R", "-Z -r 4096 -w 4096 -R -W"];

/// Images of the disks, which go when this does.
struct Disks(PathBuf);

impl Drop for Disks {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The arguments for all disks, with empty images.
fn disks(task: &str) -> Result<(Disks, Vec<String>)> {
    let directory = Disks(paths::guests().join(format!(".{task}-{}", std::process::id())));
    fs::create_dir_all(&directory.0)?;
    let mut line = strings(&["-object", "iothread,id=io1"]);
    for (n, (drive, device, _)) in DISKS.iter().enumerate() {
        let image = directory.0.join(format!("disk{n}.img"));
        fs::File::create(&image)?.set_len(DISK)?;
        let drive = format!("file={},format=raw,if=none,id=d{n},{drive}", image.display());
        line.extend(strings(&["-drive", &drive, "-device", device]));
    }
    Ok((directory, line))
}

/// Runs the task `fio`.
pub fn fio(args: &[String]) -> Result<()> {
    let smp = option(args, "--smp").unwrap_or("2").parse()?;
    let (_directory, line) = disks("fio")?;
    let mut guest =
        DebianGuest::boot(&paths::tinamou()?, &debian_guest::images()?, smp, "virtio-net-pci", &line)?;
    guest.install("fio")?;
    for (drive, device, path) in DISKS {
        for (name, job) in JOBS {
            let said = guest.run(
                &format!(
                    "fio --name=job --filename={path} --direct=1 --verify=crc32c --do_verify=1 --verify_fatal=1 \
                     --verify_dump=0 --minimal {job} | cut -d';' -f5,6,47"
                ),
                LIMIT,
            )?;
            let figures = fio_figures(&said).ok_or_else(|| format!("{device}, {name}: {said}"))?;
            println!("{device}, {drive}: {name}: {figures}");
        }
    }
    guest.end()
}

/// Error, kilobytes read and kilobytes written, of fio's short output; nothing unless it went well and did both.
fn fio_figures(text: &str) -> Option<String> {
    let mut fields = text.lines().last()?.trim().split(';').map(str::parse::<u64>);
    let (error, read, written) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    (error == 0 && read > 0 && written > 0)
        .then(|| format!("{} MiB written, {} MiB read and verified", written >> 10, read >> 10))
}

/// Runs the task `fsx`.
pub fn fsx(args: &[String]) -> Result<()> {
    let Some(program) = args.first().filter(|word| !word.starts_with("--")) else {
        return Err("fsx for riscv64, linked statically, is to be named: cargo xtask fsx PROGRAM".into());
    };
    let count: u32 = option(args, "--count").unwrap_or("100000").parse()?;
    let smp = option(args, "--smp").unwrap_or("2").parse()?;
    let (directory, mut line) = disks("fsx")?;
    let images: Vec<PathBuf> = (0..DISKS.len()).map(|n| directory.0.join(format!("disk{n}.img"))).collect();
    for image in &images {
        host(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(image))?;
    }
    // The program comes as a disk of its own.
    let (size, image) = padded(Path::new(program), &directory.0)?;
    let drive = format!("file={},format=raw,if=none,id=program,readonly=on", image.display());
    line.extend(strings(&["-drive", &drive, "-device", "virtio-blk-pci,drive=program,addr=7"]));
    let mut guest =
        DebianGuest::boot(&paths::tinamou()?, &debian_guest::images()?, smp, "virtio-net-pci", &line)?;
    guest.run(&format!("head -c {size} /dev/vdd >/root/fsx; chmod 755 /root/fsx"), LIMIT)?;
    for ((drive, device, path), image) in DISKS.iter().zip(&images) {
        guest.run(&format!("mount -t ext4 -o discard {path} /mnt"), LIMIT)?;
        for (seed, way) in WAYS.iter().enumerate() {
            let said = guest.run(
                &format!("cd /mnt && /root/fsx -q -N {count} -S {} {way} file 2>&1 | tail -n 40", seed + 1),
                LIMIT,
            )?;
            if !said.contains("completed A-OK") {
                return Err(format!("{device}, fsx {way}: {said}").into());
            }
            println!("{device}, {drive}: fsx {way}: {count} operations");
        }
        guest.run("umount /mnt", LIMIT)?;
        host(Command::new("e2fsck").args(["-f", "-n"]).arg(image))?;
    }
    guest.end()
}

/// A copy of a file whose length is one of a disk's; and the length that it has.
fn padded(file: &Path, directory: &Path) -> Result<(usize, PathBuf)> {
    let mut bytes = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let size = bytes.len();
    bytes.resize(size.next_multiple_of(4096), 0);
    let image = directory.join("program.img");
    fs::write(&image, bytes)?;
    Ok((size, image))
}

#[cfg(test)]
#[path = "disk_programs_test.rs"]
mod test;
