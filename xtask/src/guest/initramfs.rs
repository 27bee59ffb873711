//! The initramfs of the test guest: a static busybox, the modules virtio guests need, a short `/init`.

use super::cpio::Archive;
use super::name;
use crate::Result;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const INIT: &str = include_str!("../../../tests/guest/init.sh");
const UDHCPC: &str = include_str!("../../../tests/guest/udhcpc.sh");

/// What `/init` loads, in this order, each after what it depends on. ext4 asks for a crc32c driver at
/// mount time through modprobe, which is not there: so it is loaded first.
const LOADED: &[&str] =
    &["crc32c_generic", "virtio_mmio", "virtio_blk", "virtio_net", "e1000e", "virtio-rng", "nvme", "ext4"];

/// Builds the archive from a module tree (`/usr/lib/modules/RELEASE`), or without modules, and a static busybox. `more` are
/// modules beyond those that all guests load.
pub fn build(modules: Option<&Path>, busybox: &Path, programs: &[PathBuf], more: &[&str]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "etc", "lib", "lib/modules", "etc/udhcpc"] {
        archive.directory(dir);
    }
    archive.character("dev/console", 5, 1);
    archive.character("dev/null", 1, 3);
    archive.file("init", true, INIT.as_bytes());
    archive.file("etc/udhcpc/default.script", true, UDHCPC.as_bytes());
    let shell = fs::read(busybox).map_err(|e| format!("cannot read {}: {e}", busybox.display()))?;
    archive.file("bin/busybox", true, &shell);
    for program in programs {
        archive.file(&format!("bin/{}", name(program)), true, &fs::read(program)?);
    }
    let order = modules.map_or_else(|| Ok(Vec::new()), |tree| modules_in_order(tree, more))?;
    for (module, content) in &order {
        archive.file(&format!("lib/modules/{module}.ko"), false, content);
    }
    let list: String = order.iter().map(|(module, _)| format!("{module}\n")).collect();
    archive.file("lib/modules/order", false, list.as_bytes());
    Ok(archive.finish())
}

/// The modules to load, dependencies first, with their contents.
fn modules_in_order(tree: &Path, more: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = BTreeMap::new();
    collect(tree, &mut files)?;
    if files.is_empty() {
        return Err(format!("no kernel modules in {}", tree.display()).into());
    }
    let mut order = Vec::new();
    for module in LOADED.iter().chain(more) {
        place(module, &files, &mut order)?;
    }
    Ok(order)
}

/// Puts a module behind its dependencies; one that is not a file is built into the kernel.
fn place(module: &str, files: &BTreeMap<String, PathBuf>, order: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let module = module.replace('-', "_");
    let Some(path) = files.get(&module) else { return Ok(()) };
    if order.iter().any(|(placed, _)| *placed == module) {
        return Ok(());
    }
    let content = read_module(path)?;
    for dependency in dependencies(&content) {
        place(&dependency, files, order)?;
    }
    order.push((module, content));
    Ok(())
}

/// Module files by module name (`-` and `_` are the same to the kernel).
fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some((module, "" | ".xz")) = name(&path).split_once(".ko") {
            files.insert(module.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn read_module(path: &Path) -> Result<Vec<u8>> {
    let raw = fs::read(path)?;
    if path.extension().is_none_or(|e| e != "xz") {
        return Ok(raw);
    }
    let mut content = Vec::new();
    lzma_rs::xz_decompress(&mut raw.as_slice(), &mut content)
        .map_err(|e| format!("cannot decompress {}: {e}", path.display()))?;
    Ok(content)
}

/// The `depends=` entry of a module's `.modinfo` strings.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|w| w == key) else { return Vec::new() };
    let value = module.get(at + key.len()..).unwrap_or_default();
    let value = value.split(|&b| b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|d| !d.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "initramfs_test.rs"]
mod test;
