//! Disks that change while they are in use: their size, their limits, the way they are opened, and the media of drives that
//! no device has. No device here has a tray, so that a drive of a device cannot be emptied.

use super::blockdevs::BlockdevOptions;
use crate::control::Control;
use crate::jobs::disk::{blocks, busy};
use crate::report;
use backends::block::{BlockdevOption, Blocks, Drive, DriveOption, Limit, Limits};
use base::error::Class;
use base::{Result, error};
use monitor::hmp::{Number, Size, Switches, Word, refused};
use monitor::{Command, Context, command};
use qapi::Qapi;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    BLOCKDEV_CHANGE_MEDIUM,
    BLOCKDEV_CLOSE_TRAY,
    BLOCKDEV_INSERT_MEDIUM,
    BLOCKDEV_OPEN_TRAY,
    BLOCKDEV_REMOVE_MEDIUM,
    BLOCKDEV_REOPEN,
    BLOCK_RESIZE,
    BLOCK_SET_IO_THROTTLE,
    EJECT,
];

/// Gives a disk another size.
#[command(name = "block_resize")]
pub fn block_resize(
    context: &mut Context<'_>,
    device: Option<String>,
    node_name: Option<String>,
    size: i64,
) -> Result<()> {
    let blocks = blocks(Control::of(context)?);
    let (device, node_name) = (device.unwrap_or_default(), node_name.unwrap_or_default());
    let drive = blocks.find(&device).or_else(|| blocks.find_node(&node_name)).filter(|d| d.device.is_some());
    let Some((drive, node)) = drive.and_then(|drive| Some((drive, drive.device.as_ref()?))) else {
        return Err(error!("Cannot find device='{device}' nor node-name='{node_name}'"));
    };
    let size = u64::try_from(size).map_err(|_| error!("Parameter 'size' expects a >0 size"))?;
    let name = drive.node_name();
    busy(name, node)?;
    if drive.taken && !node.can_tell_size() {
        let user = drive.user.as_deref().unwrap_or_default();
        let user = user.strip_prefix("/machine/peripheral/").unwrap_or(user);
        return Err(error!(
            "Permission conflict on node '{name}': permissions 'resize' are both required by an unnamed block device \
             (uses node '{name}' as 'root' child) and unshared by block device '{user}' (uses node '{name}' as \
             'root' child)."
        ));
    }
    node.set_len(size).map_err(|e| error!("{e}"))
}

fn not_found(name: &str) -> base::Error {
    error!("Device '{name}' not found").class(Class::DeviceNotFound)
}

/// The drive that a command names by the drive's name or by its device's.
fn chosen<'a>(blocks: &'a Blocks, device: Option<&str>, id: Option<&str>) -> Result<&'a Drive> {
    match (device, id) {
        (Some(device), None) => {
            blocks.find(device).filter(|d| d.option.is_some()).ok_or_else(|| not_found(device))
        }
        (None, Some(id)) => blocks.of_user(id).ok_or_else(|| not_found(id)),
        _ => Err(error!("Need exactly one of 'device' and 'id'")),
    }
}

macro_rules! throttle {
    ($($average:ident $burst:ident $burst_text:literal $length:ident $length_text:literal $text:literal,)*) => {
        /// I/O limits of a disk. 0 is none.
        #[derive(Debug, Qapi)]
        pub struct BlockIoThrottle {
            device: Option<String>,
            id: Option<String>,
            $(
                #[qapi(name = $text)]
                $average: i64,
                #[qapi(name = $burst_text)]
                $burst: Option<i64>,
                #[qapi(name = $length_text)]
                $length: Option<i64>,
            )*
            #[qapi(name = "iops_size")]
            iops_size: Option<i64>,
            group: Option<String>,
        }

        impl BlockIoThrottle {
            fn limits(&self) -> Result<Limits> {
                let value = |value: i64| {
                    u64::try_from(value)
                        .map_err(|_| error!("bps/iops/max values must be within [0, 1000000000000000]"))
                };
                let limit = |average: i64, burst: Option<i64>, length: Option<i64>| -> Result<Limit> {
                    Ok(Limit {
                        average: value(average)?,
                        burst: value(burst.unwrap_or(0))?,
                        burst_length: value(length.unwrap_or(0))?,
                    })
                };
                let each = [$(limit(self.$average, self.$burst, self.$length)?,)*];
                let limits = Limits { each, request_size: value(self.iops_size.unwrap_or(0))? };
                limits.check().map_err(|e| error!("{e}"))?;
                Ok(limits)
            }
        }
    };
}

throttle! {
    bps bps_max "bps_max" bps_max_length "bps_max_length" "bps",
    bps_rd bps_rd_max "bps_rd_max" bps_rd_max_length "bps_rd_max_length" "bps_rd",
    bps_wr bps_wr_max "bps_wr_max" bps_wr_max_length "bps_wr_max_length" "bps_wr",
    iops iops_max "iops_max" iops_max_length "iops_max_length" "iops",
    iops_rd iops_rd_max "iops_rd_max" iops_rd_max_length "iops_rd_max_length" "iops_rd",
    iops_wr iops_wr_max "iops_wr_max" iops_wr_max_length "iops_wr_max_length" "iops_wr",
}

/// Sets the I/O limits of a disk.
#[command(name = "block_set_io_throttle", boxed)]
pub fn block_set_io_throttle(context: &mut Context<'_>, limits: BlockIoThrottle) -> Result<()> {
    let blocks = blocks(Control::of(context)?);
    let drive = chosen(&blocks, limits.device.as_deref(), limits.id.as_deref())?;
    let node = drive.device.as_ref().ok_or_else(|| error!("Device has no medium"))?;
    node.set_limits(limits.limits()?);
    Ok(())
}

/// Opens nodes in another way.
#[command]
pub fn blockdev_reopen(context: &mut Context<'_>, options: Vec<BlockdevOptions>) -> Result<()> {
    let blocks = blocks(Control::of(context)?);
    for options in options {
        let text = options.to_json();
        if text.get("node-name").is_none() {
            return Err(error!("node-name not specified"));
        }
        let option = BlockdevOption::parse(&text.to_string()).map_err(|e| error!("{e}"))?;
        blocks.reopen(&option).map_err(|e| error!("{e}"))?;
    }
    Ok(())
}

/// The drive whose medium is to be changed.
fn removable<'a>(blocks: &'a Blocks, device: Option<&str>, id: Option<&str>) -> Result<&'a Drive> {
    let drive = chosen(blocks, device, id)?;
    if !drive.removable() {
        return Err(error!("Device '{}' is not removable", device.or(id).unwrap_or_default()));
    }
    Ok(drive)
}

/// Takes the medium out of a drive, or puts another one in; `change` makes the drive's option anew.
fn exchange(
    context: &mut Context<'_>,
    device: Option<&str>,
    id: Option<&str>,
    change: impl FnOnce(&mut DriveOption),
) -> Result<()> {
    let mut blocks = blocks(Control::of(context)?);
    let drive = removable(&blocks, device, id)?;
    if let Some(node) = &drive.device {
        busy(drive.node_name(), node)?;
    }
    let (name, option) = (drive.id.clone(), drive.option.clone());
    let Some(mut option) = option else { return Ok(()) };
    (option.file, option.null_size) = (None, None);
    change(&mut option);
    blocks.change_medium(&name, option, &|text| report::say(text)).map_err(|e| error!("{e}"))
}

/// Takes the medium out of a drive.
#[command]
pub fn eject(
    context: &mut Context<'_>,
    device: Option<String>,
    id: Option<String>,
    _force: Option<bool>,
) -> Result<()> {
    exchange(context, device.as_deref(), id.as_deref(), |_| ())
}

/// Takes the medium out of the drive of a device.
#[command]
pub fn blockdev_remove_medium(context: &mut Context<'_>, id: String) -> Result<()> {
    exchange(context, None, Some(&id), |_| ())
}

/// Puts the medium of a node into the drive of a device.
#[command]
pub fn blockdev_insert_medium(context: &mut Context<'_>, id: String, _node_name: String) -> Result<()> {
    let blocks = blocks(Control::of(context)?);
    chosen(&blocks, None, Some(&id))?;
    Err(error!("Device is not removable"))
}

/// Opens a tray; a drive that no device has has none.
#[command]
pub fn blockdev_open_tray(
    context: &mut Context<'_>,
    device: Option<String>,
    id: Option<String>,
    _force: Option<bool>,
) -> Result<()> {
    removable(&blocks(Control::of(context)?), device.as_deref(), id.as_deref()).map(|_| ())
}

/// Closes a tray.
#[command]
pub fn blockdev_close_tray(
    context: &mut Context<'_>,
    device: Option<String>,
    id: Option<String>,
) -> Result<()> {
    removable(&blocks(Control::of(context)?), device.as_deref(), id.as_deref()).map(|_| ())
}

/// Whether a new medium can be written.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum BlockdevChangeReadOnlyMode {
    /// As the old one.
    Retain,
    /// No.
    ReadOnly,
    /// Yes.
    ReadWrite,
}

/// Puts another medium into a drive.
#[command]
pub fn blockdev_change_medium(
    context: &mut Context<'_>,
    device: Option<String>,
    id: Option<String>,
    filename: String,
    format: Option<String>,
    _force: Option<bool>,
    read_only_mode: Option<BlockdevChangeReadOnlyMode>,
) -> Result<()> {
    exchange(context, device.as_deref(), id.as_deref(), |option| {
        (option.file, option.format) = (Some(filename), format);
        match read_only_mode {
            None | Some(BlockdevChangeReadOnlyMode::Retain) => {}
            Some(BlockdevChangeReadOnlyMode::ReadOnly) => option.read_only = true,
            Some(BlockdevChangeReadOnlyMode::ReadWrite) => option.read_only = false,
        }
    })
}

fn hmp_resize(context: &mut Context<'_>, (device, size): (Word, Size)) -> Result<()> {
    block_resize(context, Some(device.0), None, size.0).map_err(refused)
}

fn hmp_eject(context: &mut Context<'_>, _: Switches, (device,): (Word,)) -> Result<()> {
    eject(context, Some(device.0), None, None).map_err(refused)
}

fn hmp_change(
    context: &mut Context<'_>,
    (device, mut filename, mut format, mut mode): (Word, Word, Option<Word>, Option<Word>),
) -> Result<()> {
    // The switch stands behind the device.
    if filename.0 == "-f" {
        let file = format.ok_or_else(|| error!("change: string expected"))?;
        (filename, format, mode) = (file, mode, None);
    }
    let mode = match mode {
        None => None,
        Some(Word(mode)) => Some(
            BlockdevChangeReadOnlyMode::from_json(mode.into(), "read-only-mode")
                .map_err(|e| refused(error!("{e}")))?,
        ),
    };
    let format = format.map(|format| format.0);
    blockdev_change_medium(context, Some(device.0), None, filename.0, format, None, mode).map_err(refused)
}

fn hmp_throttle(
    context: &mut Context<'_>,
    (device, bps, bps_rd, bps_wr, iops, iops_rd, iops_wr): (
        Word,
        Number,
        Number,
        Number,
        Number,
        Number,
        Number,
    ),
) -> Result<()> {
    let arguments = qapi::json!({
        "device": device.0, "bps": bps.0, "bps_rd": bps_rd.0, "bps_wr": bps_wr.0,
        "iops": iops.0, "iops_rd": iops_rd.0, "iops_wr": iops_wr.0,
    });
    super::as_qmp(context, &BLOCK_SET_IO_THROTTLE, arguments)
}

monitor::hmp_rows! {
    /// Commands for people.
    HMP {
        "block_resize" hmp_resize, (Word, Size), "device size", "resize a block image";
        "block_set_io_throttle" hmp_throttle, (Word, Number, Number, Number, Number, Number, Number), "device bps bps_rd bps_wr iops iops_rd iops_wr", "change I/O throttle limits for a block drive";
        "change" hmp_change, (Word, Word, Option<Word>, Option<Word>), "device [-f] filename [format [read-only-mode]]", "change a removable medium, optional format, use -f to force the operation";
        "eject" hmp_eject, (switches "f", Word), "[-f] device", "eject a removable medium (use -f to force it)";
    }
}
