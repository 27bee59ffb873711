//! Where things are: the checkout, the emulator under test, the QEMU to compare with, the guest images.

use crate::Result;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where fetched and built guests go.
pub fn guests() -> PathBuf {
    root().join("guests")
}

/// Cargo's target directory.
fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the release binary and gives it the name tools expect; `TINAMOU_BIN` overrides both.
pub fn tinamou() -> Result<PathBuf> {
    if let Some(own) = env::var_os("TINAMOU_BIN") {
        return Ok(PathBuf::from(own));
    }
    eprintln!("building tinamou (release)");
    let built = Command::new("cargo")
        .args(["build", "--release", "--package", "tinamou"])
        .current_dir(root())
        .status()?;
    if !built.success() {
        return Err("the release build of tinamou failed".into());
    }
    let release = target().join("release");
    for name in ["tinamou-system-riscv64", "tinamou-snapshot"] {
        let link = release.join(name);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink("tinamou", &link)?;
        }
    }
    Ok(release.join("tinamou-system-riscv64"))
}

/// The QEMU to compare with, when it is installed.
pub fn qemu() -> Result<PathBuf> {
    if let Some(own) = env::var_os("TINAMOU_QEMU") {
        return Ok(PathBuf::from(own));
    }
    which("qemu-system-riscv64").ok_or_else(|| {
        "qemu-system-riscv64 is not installed (Debian: apt-get install qemu-system-riscv, version 10.0.2; \
         or name it in TINAMOU_QEMU)"
            .into()
    })
}

/// The program of that name on the PATH (`/sbin` included, where mke2fs and debootstrap live).
pub fn which(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

/// The images of one guest.
#[derive(Debug, Clone)]
pub struct Images {
    /// A raw riscv64 kernel `Image`.
    pub kernel: PathBuf,
    /// The busybox initramfs.
    pub initrd: PathBuf,
    /// OpenSBI's `fw_dynamic.bin`.
    pub bios: PathBuf,
    /// The directory in which the optional images lie.
    pub dir: PathBuf,
}

impl Images {
    /// The images by the environment, else where `cargo xtask guest` puts them.
    pub fn locate() -> Self {
        let dir = guests().join("riscv64");
        let pick = |var: &str, name: &str| env::var_os(var).map_or_else(|| dir.join(name), PathBuf::from);
        Self {
            kernel: pick("TINAMOU_KERNEL", "Image"),
            initrd: pick("TINAMOU_INITRD", "initrd.cpio"),
            bios: pick("TINAMOU_BIOS", "fw_dynamic.bin"),
            dir,
        }
    }

    /// Whether all of them exist.
    pub fn complete(&self) -> bool {
        self.kernel.is_file() && self.initrd.is_file() && self.bios.is_file()
    }

    /// An error when an image that the environment names does not exist.
    pub fn named(&self) -> Result<()> {
        for (var, path) in
            [("TINAMOU_KERNEL", &self.kernel), ("TINAMOU_INITRD", &self.initrd), ("TINAMOU_BIOS", &self.bios)]
        {
            if env::var_os(var).is_some() && !path.is_file() {
                return Err(format!("{var} names {}, which does not exist", path.display()).into());
            }
        }
        Ok(())
    }

    /// The Debian root file system, when it has been made.
    pub fn debian(&self) -> Option<PathBuf> {
        let disk = env::var_os("TINAMOU_DISK").map_or_else(|| self.dir.join("debian.ext4"), PathBuf::from);
        disk.is_file().then_some(disk)
    }
}
