//! `info block`: drives and nodes as people read of them.

use super::{
    BlockDeviceInfo, BlockDeviceIoStatus, BlockInfo, ImageInfo, query_block, query_named_block_nodes,
};
use crate::Context;
use crate::hmp::{Switches, Word};
use base::Result;
use std::fmt::Write;

fn hmp_info_block(context: &mut Context<'_>, switches: Switches, (device,): (Option<Word>,)) -> Result<()> {
    let verbose = switches.has('v');
    let wanted = |name: &str| device.as_ref().is_none_or(|Word(device)| device == name);
    let drives = if switches.has('n') { Vec::new() } else { query_block(context)? };
    let mut parts: Vec<String> = drives
        .iter()
        .filter(|drive| wanted(&drive.device))
        .map(|drive| described(Some(drive), drive.inserted.as_ref(), verbose))
        .collect();
    // A name that no drive has may be a node's.
    if parts.is_empty() && (switches.has('n') || device.is_some()) {
        let nodes = query_named_block_nodes(context, None)?;
        let named = nodes.iter().filter(|node| wanted(node.node_name.as_deref().unwrap_or_default()));
        parts = named.map(|node| described(None, Some(node), verbose)).collect();
    }
    context.out.push_str(&parts.join("\n"));
    Ok(())
}

fn described(drive: Option<&BlockInfo>, node: Option<&BlockDeviceInfo>, verbose: bool) -> String {
    let mut out = String::new();
    let name = node.and_then(|node| node.node_name.as_deref());
    match drive.filter(|drive| !drive.device.is_empty()) {
        Some(drive) => {
            out += &drive.device;
            let _ = name.map(|name| write!(out, " ({name})"));
        }
        None => out += name.or(drive.and_then(|drive| drive.qdev.as_deref())).unwrap_or("<anonymous>"),
    }
    let _ = match node {
        None => writeln!(out, ": [not inserted]"),
        Some(node) => {
            let mode = if node.ro { ", read-only" } else { "" };
            writeln!(out, ": {} ({}{mode})", node.file, node.drv)
        }
    };
    if let Some(drive) = drive {
        attached(&mut out, drive);
    }
    if let Some(node) = node {
        inserted(&mut out, node);
        if verbose {
            out.push_str("\nImages:\n");
            image(&mut out, &node.image);
        }
    }
    out
}

fn attached(out: &mut String, drive: &BlockInfo) {
    if let Some(user) = &drive.qdev {
        let _ = writeln!(out, "    Attached to:      {user}");
    }
    let trouble = match drive.io_status {
        Some(BlockDeviceIoStatus::Failed) => "failed",
        Some(BlockDeviceIoStatus::Nospace) => "nospace",
        Some(BlockDeviceIoStatus::Ok) | None => "",
    };
    if !trouble.is_empty() {
        let _ = writeln!(out, "    I/O status:       {trouble}");
    }
    if drive.removable {
        let lock = if drive.locked { "" } else { "not " };
        let _ = writeln!(out, "    Removable device: {lock}locked, tray closed");
    }
}

fn inserted(out: &mut String, node: &BlockDeviceInfo) {
    let mode = if node.cache.writeback { "writeback" } else { "writethrough" };
    let direct = if node.cache.direct { ", direct" } else { "" };
    let ignored = if node.cache.no_flush { ", ignore flushes" } else { "" };
    let _ = writeln!(out, "    Cache mode:       {mode}{direct}{ignored}");
    node.limits.describe(out);
}

fn image(out: &mut String, image: &ImageInfo) {
    let size = |bytes: i64| object::human_size(bytes.max(0) as u64);
    let _ = writeln!(out, "image: {}\nfile format: {}", image.filename, image.format);
    let _ = writeln!(out, "virtual size: {} ({} bytes)", size(image.virtual_size), image.virtual_size);
    let _ = match image.actual_size {
        Some(bytes) => writeln!(out, "disk size: {}", size(bytes)),
        None => writeln!(out, "disk size: unavailable"),
    };
}

crate::hmp_rows! {
    /// The subcommands of `info`.
    INFO {
        "block" hmp_info_block, (switches "nv", Option<Word>), "[-n] [-v] [device]", "show info of one block device or all block devices (-n: show named nodes; -v: show details)";
    }
}
