//! `cargo xtask debian`: a Debian riscv64 root file system on an ext4 image.
//!
//! debootstrap's first stage runs on the host, its second stage (the maintainer scripts, which are
//! riscv64 programs) as init of the guest, inside the emulator.

use super::apt::{self, SUITE};
use super::{done, spinner};
use crate::boot::{disk, interactive, linux, machine, network, strings};
use crate::console::Console;
use crate::paths::{self, Images};
use crate::{Result, option, switch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SECOND_STAGE: &str = include_str!("../../../tests/guest/second-stage.sh");

/// What the test system has beyond debootstrap's minimum.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "systemd-resolved",
    "udev",
    "dbus",
    "login",
    "passwd",
    "util-linux",
    "procps",
    "kmod",
    "iproute2",
    "iputils-ping",
    "ca-certificates",
    "curl",
    "less",
    "python3",
    "gcc",
    "libc6-dev",
    "make",
    "openssl",
    "stress-ng",
];

/// How long the second stage may take.
const SECOND_STAGE_LIMIT: Duration = Duration::from_secs(3600);

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let images = super::ensure()?;
    let tinamou = paths::tinamou()?;
    let image = match images.debian() {
        Some(image) if !switch(args, "--refresh") => image,
        _ => make(&images, &tinamou, option(args, "--size").unwrap_or("3G"))?,
    };
    println!("Debian root file system: {} (root, no password)", image.display());
    if !switch(args, "--boot") {
        return Ok(());
    }
    let mut line = machine(2, "1G");
    line.extend(strings(&["-bios", &images.bios.display().to_string()]));
    line.extend(linux(&images, &images.initrd, "console=ttyS0 root=/dev/vda"));
    line.extend(disk(&image, ""));
    line.extend(network());
    interactive(&tinamou, &line)
}

fn make(images: &Images, tinamou: &Path, size: &str) -> Result<PathBuf> {
    let debootstrap = tool("debootstrap", "debootstrap")?;
    let mke2fs = tool("mke2fs", "e2fsprogs")?;
    let prefix = privilege()?;
    let mirror = apt::settled_mirror(&paths::guests().join(".apt"))?;
    let tree = paths::guests().join(".debian");
    let image = images.dir.join("debian.ext4");
    let partial = images.dir.join("debian.ext4.partial");
    let log = paths::guests().join("debootstrap.log");

    // debootstrap's second stage would configure the packages one by one: it gets only the required ones to
    // do (an empty list of base packages), the guest's script unpacks all others at once. The packages are stored uncompressed for the guest, whose decompression would take most of the time.
    // One script, so that fakeroot's pretended owners last from debootstrap to mke2fs.
    let script = format!(
        "set -e; rm -rf '{tree}'; \
         '{debootstrap}' --arch=riscv64 --foreign --variant=minbase --include={packages} {SUITE} '{tree}' '{mirror}'; \
         for deb in '{tree}'/var/cache/apt/archives/*.deb; do \
             rm -rf '{tree}.deb'; dpkg-deb -R \"$deb\" '{tree}.deb'; \
             dpkg-deb -Znone --nocheck -b '{tree}.deb' \"$deb\" 2>&1; \
         done; rm -rf '{tree}.deb'; \
         mkdir '{tree}/packages'; ln '{tree}'/var/cache/apt/archives/*.deb '{tree}/packages/'; \
         : > '{tree}/debootstrap/base'; \
         mkdir -p '{tree}/etc/dpkg/dpkg.cfg.d'; echo force-unsafe-io > '{tree}/etc/dpkg/dpkg.cfg.d/second-stage'; \
         cp '{second}' '{tree}/second-stage.sh'; chmod 755 '{tree}/second-stage.sh'; \
         mkdir -p '{tree}/usr/lib/modules'; cp -r '{modules}' '{tree}/usr/lib/modules/{release}'; \
         rm -f '{partial}'; '{mke2fs}' -q -t ext4 -L debian -d '{tree}' '{partial}' {size}; rm -rf '{tree}'",
        tree = tree.display(),
        debootstrap = debootstrap.display(),
        packages = PACKAGES.join(","),
        second = second_stage_file()?.display(),
        modules = images.dir.join("modules").display(),
        release = fs::read_to_string(images.dir.join("release"))?.trim(),
        partial = partial.display(),
        mke2fs = mke2fs.display(),
    );
    let step = spinner("debootstrap, first stage (downloads about 150 MB)");
    let mut words = prefix.iter().map(String::as_str).chain(["sh", "-c", script.as_str()]);
    let program = words.next().unwrap_or("sh");
    let status = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log)?)
        .stderr(Stdio::inherit())
        .status()?;
    if !status.success() {
        step.finish_and_clear();
        return Err(format!("debootstrap failed; its output is in {}", log.display()).into());
    }
    step.set_message("debootstrap, second stage, inside the guest (takes minutes)");
    second_stage(images, tinamou, &partial)?;
    // The guest's init script was deleted while it ran: the journal and the orphaned inodes are cleaned up here.
    let checked = Command::new(tool("e2fsck", "e2fsprogs")?).arg("-fp").arg(&partial).output()?;
    if checked.status.code().is_none_or(|code| code > 1) {
        return Err(format!("e2fsck: {}", String::from_utf8_lossy(&checked.stdout)).into());
    }
    fs::rename(&partial, &image)?;
    done(&step, "Debian is installed");
    Ok(image)
}

fn second_stage(images: &Images, tinamou: &Path, image: &Path) -> Result<()> {
    let mut line = machine(2, "1G");
    line.extend(strings(&["-bios", &images.bios.display().to_string(), "-no-reboot"]));
    line.extend(linux(images, &images.initrd, "console=ttyS0 panic=-1 root=/dev/vda init=/second-stage.sh"));
    line.extend(disk(image, ""));
    line.extend(strings(&["-device", "virtio-rng-device"]));
    let mut console = Console::spawn(tinamou, &line)?;
    console.expect("SECOND-STAGE-START", Duration::from_secs(300))?;
    let done = console.expect("SECOND-STAGE-OK", SECOND_STAGE_LIMIT);
    let ended = done.and_then(|_| console.expect("SECOND-STAGE-END", Duration::from_secs(300)));
    fs::write(paths::guests().join("second-stage.log"), console.transcript())?;
    ended?;
    console.wait(Duration::from_secs(120))?;
    Ok(())
}

fn second_stage_file() -> Result<PathBuf> {
    let path = paths::guests().join(".second-stage.sh");
    fs::write(&path, SECOND_STAGE)?;
    Ok(path)
}

fn tool(name: &str, package: &str) -> Result<PathBuf> {
    paths::which(name).ok_or_else(|| {
        format!("{name} is not installed: apt-get install {package}, or give an own image in TINAMOU_DISK")
            .into()
    })
}

/// debootstrap makes device nodes and files of many owners: root does it, or fakeroot pretends.
fn privilege() -> Result<Vec<String>> {
    let id = Command::new("id").arg("-u").output()?;
    if String::from_utf8_lossy(&id.stdout).trim() == "0" {
        return Ok(Vec::new());
    }
    match paths::which("fakeroot") {
        Some(fakeroot) => Ok(vec![fakeroot.display().to_string(), "--".to_owned()]),
        None => Err("making a root file system needs root: run `sudo -E cargo xtask debian`, \
                     or install fakeroot, or give an own image in TINAMOU_DISK"
            .into()),
    }
}
