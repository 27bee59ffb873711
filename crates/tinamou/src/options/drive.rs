//! `-drive`, `-hda`, `-pflash`: a disk image and where it is to appear.

use super::Opts;
use base::{Result, error};

/// Where a drive appears in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveInterface {
    /// Nowhere until a `-device` takes it by its id.
    None,
    /// As a virtio block device.
    Virtio,
    /// As the content of a parallel flash bank.
    Pflash,
}

/// One drive.
#[derive(Clone, Debug)]
pub struct Drive {
    /// Where it appears.
    pub interface: DriveInterface,
    /// Number within its interface: the bank of a flash, the order of the disks.
    pub unit: u32,
    /// Name for `-device ...,drive=`.
    pub id: String,
    /// The image; `None` for a drive without a medium.
    pub file: Option<String>,
    /// Its format; `None` lets the program look.
    pub format: Option<String>,
    /// The guest cannot write.
    pub readonly: bool,
    /// What the guest writes is forgotten at the end.
    pub snapshot: bool,
    /// Further options, for the block layer.
    pub rest: Opts,
}

impl Drive {
    /// Reads the argument of `-drive`. `earlier` are the drives before it; `snapshot` is the program-wide default.
    pub fn parse(mut opts: Opts, earlier: &[Drive], snapshot: bool) -> Result<Drive> {
        let shown = opts.shown.clone();
        Drive::read(&mut opts, earlier, snapshot).map_err(|e| e.prefix(format_args!("{shown}: ")))
    }

    fn read(opts: &mut Opts, earlier: &[Drive], snapshot: bool) -> Result<Drive> {
        let (interface, word) = match opts.take("if").as_deref() {
            None | Some("virtio") => (DriveInterface::Virtio, "virtio"),
            Some("none") => (DriveInterface::None, "none"),
            Some("pflash") => (DriveInterface::Pflash, "pflash"),
            Some(known @ ("ide" | "scsi" | "floppy" | "mtd" | "sd" | "xen")) => {
                return Err(error!("machine type does not support if={known},bus=0,unit=0"));
            }
            Some(other) => return Err(error!("unsupported bus type '{other}'")),
        };
        let unit = match (opts.take_number("index")?, opts.take_number("unit")?) {
            (Some(_), Some(_)) => return Err(error!("index cannot be used with bus and unit")),
            (Some(n), None) | (None, Some(n)) => u32::try_from(n).map_err(|_| error!("unit {n} too big"))?,
            (None, None) => {
                let used = |n| earlier.iter().any(|d| d.interface == interface && d.unit == n);
                (0..).find(|n| !used(*n)).unwrap_or(0)
            }
        };
        opts.take("bus");
        if earlier.iter().any(|d| d.interface == interface && d.unit == unit) {
            return Err(error!("drive with bus=0, unit={unit} (index={unit}) exists"));
        }
        let id = opts.take("id").unwrap_or_else(|| format!("{word}{unit}"));
        if earlier.iter().any(|d| d.id == id) {
            return Err(error!("Duplicate ID '{id}' for drive"));
        }
        if opts.take("media").is_some_and(|m| m == "cdrom") {
            return Err(error!("media=cdrom is not supported by Tinamou yet"));
        }
        let file = opts.take("file").filter(|f| !f.is_empty());
        let mut drive = Drive {
            interface,
            unit,
            id,
            format: opts.take("format").or_else(|| opts.take("driver")),
            readonly: opts.take_switch("readonly")?.or(opts.take_switch("read-only")?).unwrap_or(false),
            snapshot: opts.take_switch("snapshot")?.unwrap_or(snapshot),
            file,
            rest: Opts::default(),
        };
        if drive.file.is_none() && drive.format.is_none() && !opts.items().is_empty() {
            return Err(error!("Must specify either driver or file"));
        }
        // How the host caches and schedules is a hint; these have no effect on what the guest sees.
        for hint in
            ["cache", "aio", "discard", "detect-zeroes", "werror", "rerror", "copy-on-read", "file.locking"]
        {
            opts.take(hint);
        }
        drive.rest = opts.clone();
        Ok(drive)
    }
}

#[cfg(test)]
#[path = "drive_test.rs"]
mod test;
