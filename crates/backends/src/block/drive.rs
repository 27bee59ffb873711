//! `-drive`: reading the option.

use std::fmt;
use std::sync::Arc;

use super::probe::{Guarded, guessed_raw, probe};
use super::{BlockDevice, History, LIMITS, Limits, NullDevice, Overlay, RawFile, RawOptions};
use crate::Error;
use crate::options::Options;

/// What `-drive format=help` prints: the formats that exist here.
pub const FORMAT_HELP: &str = "Supported formats: file host_device null-aio null-co raw\n\
                               Supported formats (read-only): file host_device null-aio null-co raw\n";

/// What a drive is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DriveInterface {
    None,
    Ide,
    Scsi,
    Floppy,
    Pflash,
    Mtd,
    Sd,
    Virtio,
    Xen,
}

impl DriveInterface {
    const NAMES: [(&'static str, DriveInterface); 9] = [
        ("none", DriveInterface::None),
        ("ide", DriveInterface::Ide),
        ("scsi", DriveInterface::Scsi),
        ("floppy", DriveInterface::Floppy),
        ("pflash", DriveInterface::Pflash),
        ("mtd", DriveInterface::Mtd),
        ("sd", DriveInterface::Sd),
        ("virtio", DriveInterface::Virtio),
        ("xen", DriveInterface::Xen),
    ];

    /// How many units one bus of this kind has; 0 if there is only one bus without end.
    pub fn units_per_bus(self) -> u32 {
        match self {
            DriveInterface::Ide => 2,
            DriveInterface::Scsi => 7,
            _ => 0,
        }
    }
}

impl fmt::Display for DriveInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            DriveInterface::NAMES.iter().find(|entry| entry.1 == *self).map_or("none", |entry| entry.0);
        f.write_str(name)
    }
}

/// `cache=`, taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// The guest sees no write cache: every write is flushed.
    pub writethrough: bool,
    /// Past the host's page cache.
    pub direct: bool,
    /// Flushes are ignored.
    pub no_flush: bool,
}

impl Cache {
    fn parse(mode: &str) -> Option<Cache> {
        let (writethrough, direct, no_flush) = match mode {
            "writeback" => (false, false, false),
            "none" | "off" => (false, true, false),
            "writethrough" => (true, false, false),
            "directsync" => (true, true, false),
            "unsafe" => (false, false, true),
            _ => return None,
        };
        Some(Cache { writethrough, direct, no_flush })
    }
}

/// `werror=` and `rerror=`: what to do when the host reports an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorAction {
    /// Go on as if nothing had happened.
    Ignore,
    /// Tell the guest.
    Report,
    /// Stop the machine.
    Stop,
    /// Stop the machine when the disk is full, else tell the guest.
    Enospc,
}

impl ErrorAction {
    fn parse(text: &str, writing: bool) -> Option<ErrorAction> {
        Some(match text {
            "ignore" => ErrorAction::Ignore,
            "report" => ErrorAction::Report,
            "stop" => ErrorAction::Stop,
            "enospc" if writing => ErrorAction::Enospc,
            _ => return None,
        })
    }
}

/// A parsed `-drive` option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveOption {
    /// The image's path; without, the drive has no medium.
    pub file: Option<String>,
    /// `raw`, or another format's name; unspecified, it is guessed.
    pub format: Option<String>,
    /// Where it is plugged in; the machine's default if not said.
    pub interface: Option<DriveInterface>,
    /// Its name.
    pub id: Option<String>,
    /// The bus and unit number, if said.
    pub bus: Option<u32>,
    /// The unit on the bus, if said.
    pub unit: Option<u32>,
    /// The place counted over all busses, if said.
    pub index: Option<u32>,
    /// Writes are refused.
    pub read_only: bool,
    /// An image that cannot be written is opened for reading.
    pub auto_read_only: bool,
    /// Writes are temporary.
    pub snapshot: bool,
    /// It is a CD.
    pub cdrom: bool,
    /// Caching.
    pub cache: Cache,
    /// What to do about errors in writing.
    pub werror: ErrorAction,
    /// What to do about errors in reading.
    pub rerror: ErrorAction,
    /// The guest's discards reach the host.
    pub discard: bool,
    /// The image is locked against other users.
    pub lock: bool,
    /// `null-co`: a device of this length instead of a file.
    pub null_size: Option<u64>,
    /// The serial number the guest sees.
    pub serial: Option<String>,
    /// I/O limits.
    pub limits: Limits,
}

fn invalid<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(text))
}

impl DriveOption {
    /// Reads the argument of `-drive`. `format=help` is for the caller to see first
    /// ([`Options::get`], [`FORMAT_HELP`]).
    ///
    /// # Errors
    /// The text to print behind `-drive ARGUMENT: `.
    pub fn parse(text: &str) -> Result<DriveOption, Error> {
        let mut options = Options::parse(text, Some("file"));
        let id = options.take_id()?;
        let snapshot = options.take_bool("snapshot")?.unwrap_or(false);
        let number = |options: &mut Options, key: &str| -> Result<Option<u32>, Error> {
            Ok(options.take_number(key)?.map(|value| value.min(u64::from(u32::MAX)) as u32))
        };
        let (bus, unit, index) =
            (number(&mut options, "bus")?, number(&mut options, "unit")?, number(&mut options, "index")?);
        let cdrom = match options.take("media").as_deref() {
            None | Some("disk") => false,
            Some("cdrom") => true,
            Some(media) => return invalid(format!("'{media}' invalid media")),
        };
        let mut cache = match options.take("cache") {
            None => Cache::default(),
            Some(mode) => Cache::parse(&mode).ok_or_else(|| Error::new("invalid cache option"))?,
        };
        let read_only = read_only(&mut options)?;
        let interface = match options.take("if") {
            None => None,
            Some(name) => Some(interface(&name)?),
        };
        if index.is_some() && (bus.is_some() || unit.is_some()) {
            return invalid("index cannot be used with bus and unit");
        }
        let (werror, rerror) = error_actions(&mut options)?;
        for key in ["cache.direct", "file.cache.direct"] {
            cache.direct = options.take_bool(key)?.unwrap_or(cache.direct);
        }
        cache.no_flush |= options.take_bool("cache.no-flush")?.unwrap_or(false);
        cache.writethrough |= options.take_bool("cache.writeback")? == Some(false);
        let auto_read_only = options.take_bool("auto-read-only")?.unwrap_or(false);
        let (discard, native) = read_tuning(&mut options)?;
        let limits = read_limits(&mut options)?;
        let serial = options.take("serial");
        let (file, null_size) = read_file(&mut options)?;
        if native && !cache.direct && file.is_some() {
            return invalid(NATIVE_IS_DIRECT);
        }
        let lock = match options.take("file.locking").as_deref() {
            None | Some("auto" | "on") => true,
            Some("off") => false,
            Some(value) => return invalid(format!("Parameter 'locking' does not accept value '{value}'")),
        };
        let format = options.take("format").or(options.take("driver"));
        if let Some(key) = options.first_key() {
            let format = format.as_deref().unwrap_or("raw");
            return invalid(format!("Block format '{format}' does not support the option '{key}'"));
        }
        let read_only = read_only || cdrom;
        let option = DriveOption {
            file,
            format,
            interface,
            id,
            bus,
            unit,
            index,
            read_only,
            auto_read_only,
            snapshot,
            cdrom,
            cache,
            werror,
            rerror,
            discard,
            lock,
            null_size,
            serial,
            limits,
        };
        Ok(option)
    }

    /// Opens the image; `None` when there is no medium. `notice` hears warnings, whole lines to be printed
    /// without the program's name.
    ///
    /// # Errors
    /// The text to print behind `-drive ARGUMENT: `.
    pub fn open(&self, notice: &dyn Fn(&str)) -> Result<Option<Arc<dyn BlockDevice>>, Error> {
        let format = self.format.as_deref();
        if let Some(name) = format {
            check_format(name)?;
        }
        if let Some(len) = self.null_size {
            return Ok(Some(Arc::new(NullDevice { len, read_only: self.read_only })));
        }
        let Some(path) = &self.file else { return Ok(None) };
        let raw = RawFile::open(path, self.raw_options())?;
        let found = if format.is_none() { probe(&raw) } else { "raw" };
        if found != "raw" {
            check_format(found)?;
        }
        let guard = format.is_none() && !self.read_only;
        if guard {
            notice(&guessed_raw(path));
        }
        Ok(Some(match (self.snapshot, guard) {
            (true, _) => History::new(Overlay::new(raw)?),
            (false, true) => Arc::new(Guarded(History::new(raw))),
            (false, false) => History::new(raw),
        }))
    }

    fn raw_options(&self) -> RawOptions {
        RawOptions {
            read_only: self.read_only || self.snapshot,
            auto_read_only: self.auto_read_only,
            lock: self.lock,
            discard: self.discard,
            no_flush: self.cache.no_flush,
            writethrough: self.cache.writethrough,
            direct: self.cache.direct,
        }
    }
}

/// Names of formats that others know.
const ABSENT_FORMATS: [&str; 18] = [
    "qcow2",
    "qcow",
    "qed",
    "vmdk",
    "vdi",
    "vpc",
    "vhdx",
    "luks",
    "parallels",
    "bochs",
    "cloop",
    "dmg",
    "nbd",
    "http",
    "https",
    "iscsi",
    "ssh",
    "rbd",
];

fn check_format(name: &str) -> Result<(), Error> {
    match name {
        "raw" | "file" | "host_device" | "null-co" | "null-aio" => Ok(()),
        _ if ABSENT_FORMATS.contains(&name) => invalid(format!("format {name} is not available yet")),
        _ => invalid(format!("Unknown driver '{name}'")),
    }
}

fn interface(name: &str) -> Result<DriveInterface, Error> {
    let entry = DriveInterface::NAMES.iter().find(|entry| entry.0 == name);
    entry.map(|entry| entry.1).ok_or_else(|| Error::new(format!("unsupported bus type '{name}'")))
}

fn read_only(options: &mut Options) -> Result<bool, Error> {
    let old =
        options.take("readonly").map(|value| crate::options::parse_bool("read-only", &value)).transpose()?;
    let new = options.take_bool("read-only")?;
    Ok(new.or(old).unwrap_or(false))
}

fn error_actions(options: &mut Options) -> Result<(ErrorAction, ErrorAction), Error> {
    let mut read = |key: &str, writing: bool, default| match options.take(key) {
        None => Ok(default),
        Some(text) => ErrorAction::parse(&text, writing).ok_or_else(|| {
            let what = if writing { "write" } else { "read" };
            Error::new(format!("'{text}' invalid {what} error action"))
        }),
    };
    Ok((read("werror", true, ErrorAction::Enospc)?, read("rerror", false, ErrorAction::Report)?))
}

/// What may be said of `aio=` only together with another option.
pub(super) const NATIVE_IS_DIRECT: &str =
    "aio=native was specified, but it requires cache.direct=on, which was not specified.";

/// Options about the way of the I/O, most of which change nothing here; the result is `discard`, and whether the kernel's
/// asynchronous I/O was wanted.
fn read_tuning(options: &mut Options) -> Result<(bool, bool), Error> {
    let native = match options.take("aio").or(options.take("file.aio")).as_deref() {
        None | Some("threads" | "io_uring") => false,
        Some("native") => true,
        Some(_) => return invalid("invalid aio option"),
    };
    match options.take("detect-zeroes") {
        None => {}
        Some(value) if matches!(&*value, "on" | "off" | "unmap") => {}
        Some(value) => return invalid(format!("invalid parameter value: {value}")),
    }
    if options.take_bool("copy-on-read")? == Some(true) {
        return invalid("copy-on-read is not available yet");
    }
    match options.take("discard").as_deref() {
        None | Some("ignore" | "off") => Ok((false, native)),
        Some("unmap" | "on") => Ok((true, native)),
        Some(_) => invalid("Invalid discard option"),
    }
}

/// `throttling.bps-total`, `throttling.bps-total-max`, `throttling.bps-total-max-length`, and so on.
fn read_limits(options: &mut Options) -> Result<Limits, Error> {
    let mut limits = Limits::default();
    for (name, limit) in LIMITS.iter().zip(&mut limits.each) {
        let mut take = |rest: &str| options.take_number(&format!("throttling.{name}{rest}"));
        limit.average = take("")?.unwrap_or(0);
        limit.burst = take("-max")?.unwrap_or(0);
        limit.burst_length = take("-max-length")?.unwrap_or(0);
    }
    limits.request_size = options.take_number("throttling.iops-size")?.unwrap_or(0);
    limits.check()?;
    Ok(limits)
}

/// The image's path, or the length of a device without one.
fn read_file(options: &mut Options) -> Result<(Option<String>, Option<u64>), Error> {
    let driver = options.take("file.driver");
    let nested = options.take("file.filename");
    let size = options.take_size("file.size")?;
    let file = options.take("file").or(nested);
    let named = matches!(driver.as_deref(), Some("null-co" | "null-aio"));
    if named || matches!(file.as_deref(), Some("null-co://" | "null-aio://")) {
        // Reads give zeroes, at once, whether that is asked for or not.
        let _ = (options.take_bool("file.read-zeroes")?, options.take_number("file.latency-ns")?);
        return Ok((None, Some(size.unwrap_or(1 << 30))));
    }
    let Some(file) = file else {
        return match (size, driver) {
            (Some(_), _) => invalid("Block format 'raw' does not support the option 'file.size'"),
            (None, Some(_)) => invalid("The 'file' block driver requires a file name"),
            (None, None) => Ok((None, None)),
        };
    };
    if file.is_empty() {
        return invalid("A block device must be specified for \"file\"");
    }
    for protocol in ["http", "https", "ftp", "nbd", "nbd+unix", "iscsi", "ssh", "rbd", "fat", "json", "nvme"]
    {
        if file.strip_prefix(protocol).is_some_and(|rest| rest.starts_with(':')) {
            return invalid(format!("protocol {protocol} is not available yet"));
        }
    }
    Ok((Some(file.strip_prefix("file:").map_or_else(|| file.clone(), str::to_owned)), None))
}

#[cfg(test)]
#[path = "drive_test.rs"]
mod test;
