//! Snapshots by an image on top of another. No format here keeps only what differs from an image below it (QEMU's qcow2
//! does), and so each attempt is refused, in QEMU's words for such formats; `savevm` keeps the past of raw images.

use super::{Command, Context, Qapi, command};
use crate::hmp::{Switches, Word};
use crate::vm::lock;
use base::{Result, error};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[BLOCKDEV_SNAPSHOT, BLOCKDEV_SNAPSHOT_SYNC];

fn exists(context: &Context<'_>, device: &str, node: &str) -> Result<()> {
    let known = |name: &str| !name.is_empty() && lock(context.vm.blocks()).find(name).is_some();
    if known(device) || known(node) {
        return Ok(());
    }
    Err(error!("Cannot find device='{device}' nor node-name='{node}'"))
}

/// Makes an image that exists what a device writes to; what it did up to now stays in the image below.
#[command]
pub fn blockdev_snapshot(context: &mut Context<'_>, node: String, overlay: String) -> Result<()> {
    exists(context, &node, &node)?;
    exists(context, &overlay, &overlay)?;
    if lock(context.vm.blocks()).find(&overlay).is_some_and(|drive| drive.taken) {
        return Err(error!("The overlay is already in use"));
    }
    Err(error!("The overlay does not support backing images"))
}

/// What is done about the new image.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum NewImageMode {
    /// It exists.
    Existing,
    /// It is made.
    AbsolutePaths,
}

/// The same with an image that is made, or opened.
#[command]
pub fn blockdev_snapshot_sync(
    context: &mut Context<'_>,
    device: Option<String>,
    node_name: Option<String>,
    _snapshot_file: String,
    _snapshot_node_name: Option<String>,
    format: Option<String>,
    _mode: Option<NewImageMode>,
) -> Result<()> {
    exists(context, device.as_deref().unwrap_or_default(), node_name.as_deref().unwrap_or_default())?;
    Err(match format.as_deref().unwrap_or("qcow2") {
        "raw" => error!("Backing file not supported for file format 'raw'"),
        other => error!("Unknown file format '{other}'"),
    })
}

fn hmp_snapshot_blkdev(
    context: &mut Context<'_>,
    _: Switches,
    (Word(device), file, format): (Word, Option<Word>, Option<Word>),
) -> Result<()> {
    let done = match file {
        None => Err(error!("Parameter 'snapshot-file' is missing")),
        Some(Word(file)) => {
            let format = format.map(|Word(format)| format);
            blockdev_snapshot_sync(context, Some(device), None, file, None, format, None)
        }
    };
    done.map_err(crate::hmp::refused)
}

crate::hmp_rows! {
    /// The commands for people.
    HMP {
        "snapshot_blkdev" hmp_snapshot_blkdev, (switches "n", Word, Option<Word>, Option<Word>), "[-n] device [new-image-file] [format]", "make an image on top of a device's, where the format can do that";
    }
}
