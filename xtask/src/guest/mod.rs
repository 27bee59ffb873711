//! `cargo xtask guest`: a Debian riscv64 kernel, firmware and a busybox initramfs in `guests/riscv64`.

mod apt;
mod cpio;
pub mod debian;
pub mod fat;
mod initramfs;

use crate::paths::{self, Images};
use crate::{Result, option, switch};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The meta package whose first dependency is the current kernel.
const KERNEL: &str = "linux-image-riscv64";

/// What else is fetched, and which files of it are kept under which names.
const KEPT: &[(&str, &[(&str, &str)])] = &[
    (
        "opensbi",
        &[
            ("usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin", "fw_dynamic.bin"),
            ("usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.bin", "fw_jump.bin"),
        ],
    ),
    ("busybox-static", &[("usr/bin/busybox", "busybox")]),
    (
        "u-boot-qemu",
        &[
            ("usr/lib/u-boot/qemu-riscv64/u-boot.bin", "u-boot.bin"),
            ("usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin", "u-boot-smode.bin"),
        ],
    ),
    (
        "qemu-efi-riscv64",
        &[
            ("usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd", "RISCV_VIRT_CODE.fd"),
            ("usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd", "RISCV_VIRT_VARS.fd"),
        ],
    ),
];

/// Runs the task.
pub fn run(args: &[String]) -> Result<()> {
    let images = Images::locate();
    if images.complete() && !switch(args, "--refresh") {
        println!("the guest is there: {}", images.dir.display());
        return Ok(());
    }
    make(option(args, "--mirror"))
}

/// Makes the guest unless its images exist already, or are named in the environment.
pub fn ensure() -> Result<Images> {
    let images = Images::locate();
    if !images.complete() {
        images.named()?;
        make(None)?;
    } else if images.initrd == images.dir.join("initrd.cpio") && images.dir.join("modules").is_dir() {
        // The scripts of the initramfs may have changed since it was built.
        let archive = initrd_with(&images, &[])?;
        if fs::read(&images.initrd)? != archive {
            fs::write(&images.initrd, archive)?;
        }
    }
    let images = Images::locate();
    if images.complete() { Ok(images) } else { Err(format!("images are missing: {images:?}").into()) }
}

/// Fetches and builds everything.
fn make(mirror: Option<&str>) -> Result<()> {
    let out = paths::guests().join("riscv64");
    fs::create_dir_all(&out)?;
    let step = spinner("looking for a Debian mirror");
    let apt = apt::Apt::open(&paths::guests().join(".apt"), mirror, &step)?;
    let kernel = apt.first_dependency(KERNEL)?;
    done(&step, &format!("kernel package: {kernel}, from {}", apt.mirror()));
    let mut packages = vec![kernel];
    packages.extend(KEPT.iter().map(|(name, _)| (*name).to_owned()));
    let debs = apt.download(&packages)?;

    let step = spinner("unpacking");
    let unpacked = paths::guests().join(".unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    for deb in &debs {
        step.set_message(format!("unpacking {}", name(deb)));
        apt::unpack(deb, &unpacked)?;
    }
    for (_, files) in KEPT {
        for (from, to) in *files {
            copy(&unpacked.join(from), &out.join(to))?;
        }
    }
    let (image, release) = kernel_image(&unpacked.join("boot"))?;
    copy(&image, &out.join("Image"))?;

    step.set_message("building the initramfs");
    let modules = unpacked.join("usr/lib/modules").join(&release);
    let archive = initramfs::build(Some(&modules), &out.join("busybox"), &[], &[])?;
    fs::write(out.join("initrd.cpio"), archive)?;
    copy_modules(&modules, &out)?;
    fs::remove_dir_all(&unpacked)?;
    done(&step, &format!("guest ready: Linux {release}, {}", out.display()));
    Ok(())
}

/// Compiles C for the guest.
pub const COMPILER: &str = "riscv64-linux-gnu-gcc";

/// A program of the guest's, compiled here; `None` where there is no compiler.
pub fn program(name: &str) -> Result<Option<PathBuf>> {
    if paths::which(COMPILER).is_none() {
        return Ok(None);
    }
    let source = paths::root().join(format!("tests/guest/{name}.c"));
    let dir = paths::guests().join(".programs");
    fs::create_dir_all(&dir)?;
    let program = dir.join(name);
    let built = Command::new(COMPILER)
        .args(["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(&source)
        .status()?;
    if built.success() {
        Ok(Some(program))
    } else {
        Err(format!("cannot compile {}", source.display()).into())
    }
}

/// A program for `-bios none`, compiled here: what a path below the checkout names; `None` where there is no compiler.
pub fn bare_program(source: &str) -> Result<Option<PathBuf>> {
    if paths::which(COMPILER).is_none() {
        return Ok(None);
    }
    let dir = paths::guests().join(".programs");
    fs::create_dir_all(&dir)?;
    let source = paths::root().join(source);
    let program = dir.join(source.with_extension("elf").file_name().unwrap_or_default());
    let built = Command::new(COMPILER)
        .args(["-O2", "-march=rv64imac_zicsr_zifencei", "-mabi=lp64", "-mcmodel=medany", "-ffreestanding"])
        .args(["-nostdlib", "-static", "-fno-pic", "-no-pie", "-Wl,--build-id=none,-z,separate-code"])
        .args(["-Wl,-z,max-page-size=4096", "-Wl,-Ttext=0x80001000", "-Wl,--section-start=.start=0x80000000"])
        .args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unused-function"])
        .args(["-Wno-empty-body", "-o"])
        .arg(&program)
        .arg(&source)
        .status()?;
    if built.success() {
        Ok(Some(program))
    } else {
        Err(format!("cannot compile {}", source.display()).into())
    }
}

/// An initramfs like the guest's with further programs in its `/bin`.
pub fn initrd_with(images: &Images, programs: &[PathBuf]) -> Result<Vec<u8>> {
    initrd_loading(images, programs, &[])
}

/// The same, with further modules that `/init` loads.
pub fn initrd_loading(images: &Images, programs: &[PathBuf], modules: &[&str]) -> Result<Vec<u8>> {
    initramfs::build(Some(&images.dir.join("modules")), &images.dir.join("busybox"), programs, modules)
}

/// An initramfs like the guest's that loads no modules.
pub fn initrd_without_modules(images: &Images) -> Result<Vec<u8>> {
    initramfs::build(None, &images.dir.join("busybox"), &[], &[])
}

/// Keeps the module tree: the Debian root file system wants it too.
fn copy_modules(from: &Path, out: &Path) -> Result<()> {
    let to = out.join("modules");
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::rename(from, &to)?;
    fs::write(
        out.join("release"),
        from.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
    )?;
    Ok(())
}

/// The kernel `Image` of a package's `/boot` and its release name.
fn kernel_image(boot: &Path) -> Result<(PathBuf, String)> {
    for entry in fs::read_dir(boot)? {
        let path = entry?.path();
        let file = name(&path);
        for prefix in ["vmlinux-", "vmlinuz-"] {
            if let Some(release) = file.strip_prefix(prefix) {
                return Ok((path.clone(), release.to_owned()));
            }
        }
    }
    Err("the kernel package has no kernel in /boot".into())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), to.display()))?;
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A line that shows that something is going on.
fn spinner(message: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {wide_msg}") {
        bar.set_style(style);
    }
    if !std::io::stderr().is_terminal() {
        eprintln!("{message}");
    }
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Replaces the line by what came out.
fn done(bar: &ProgressBar, message: &str) {
    bar.finish_and_clear();
    println!("{message}");
}
