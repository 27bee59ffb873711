//! Raw images: files and block devices of the host. And a device that is nothing (`null-co`).

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::{ReadWriteFlags, preadv2};

use super::direct::{self, Buffer, Direct};
use super::{BlockDevice, Rewindable, check_range, ofd_lock, round_up};
use crate::Error;

/// How a raw image is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawOptions {
    /// Open for reading only.
    pub read_only: bool,
    /// When writing is not permitted, go on reading only.
    pub auto_read_only: bool,
    /// Lock the image against other users.
    pub lock: bool,
    /// Pass discards on to the host.
    pub discard: bool,
    /// Never flush: for disks that may be lost.
    pub no_flush: bool,
    /// Flush after each write.
    pub writethrough: bool,
    /// Past the host's page cache.
    pub direct: bool,
}

/// Requests that are worth having under way at once where each waits for the medium.
const UNCACHED: usize = 32;

impl Default for RawOptions {
    fn default() -> Self {
        RawOptions {
            read_only: false,
            auto_read_only: false,
            lock: true,
            discard: false,
            no_flush: false,
            writethrough: false,
            direct: false,
        }
    }
}

/// A file or block device of the host. What lies between the end of a file and the next sector's reads as
/// zeroes; writing there makes the file longer.
pub struct RawFile {
    path: String,
    len: AtomicU64,
    open: RwLock<Open>,
}

/// How it is open at present.
struct Open {
    file: File,
    direct: Option<Direct>,
    options: RawOptions,
}

impl RawFile {
    /// Opens `path`.
    ///
    /// # Errors
    /// `Could not open 'PATH': reason` and the messages about locks.
    pub fn open(path: &str, options: RawOptions) -> Result<RawFile, Error> {
        let (open, len) = RawFile::open_file(path, options)?;
        Ok(RawFile { path: path.to_owned(), len: AtomicU64::new(len), open: RwLock::new(open) })
    }

    /// The open file and the device's length.
    fn open_file(path: &str, mut options: RawOptions) -> Result<(Open, u64), Error> {
        let failed = |error| Error::io(format_args!("Could not open '{path}'"), error);
        let mut file = open(path, options);
        let denied = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
        };
        if options.auto_read_only && !options.read_only && file.as_ref().is_err_and(denied) {
            options.read_only = true;
            file = open(path, options);
        }
        let is_directory = || std::fs::metadata(path).is_ok_and(|data| data.is_dir());
        let mut file = match file {
            Err(_) if is_directory() => return Err(not_regular(path)),
            Err(error) if options.direct && error.kind() == io::ErrorKind::InvalidInput => {
                let text = format!("Could not open '{path}': filesystem does not support O_DIRECT");
                return Err(Error::new(text));
            }
            file => file.map_err(failed)?,
        };
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_dir() || kind.is_fifo() || kind.is_socket() {
            return Err(not_regular(path));
        }
        if options.lock && kind.is_file() {
            ofd_lock::lock(&file, !options.read_only, path)?;
        }
        let len = if kind.is_char_device() { 0 } else { file.seek(SeekFrom::End(0)).map_err(failed)? };
        let direct = options.direct.then(|| Direct::of(&file)).transpose().map_err(failed)?;
        Ok((Open { file, direct, options }, round_up(len)))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same image once more, writable.
    pub(crate) fn reopen_writable(&self) -> Result<RawFile, Error> {
        // The locks of the first opening are ours.
        let options = self.opened().options;
        RawFile::open(&self.path, RawOptions { read_only: false, lock: false, ..options })
    }

    fn opened(&self) -> RwLockReadGuard<'_, Open> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file for a write to this range.
    fn for_write(&self, offset: u64, len: u64) -> io::Result<RwLockReadGuard<'_, Open>> {
        let open = self.opened();
        if open.options.read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        check_range(self.len(), offset, len)?;
        Ok(open)
    }
}

impl Open {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        direct::read(self.direct.as_ref(), &self.file, offset, bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        direct::write(self.direct.as_ref(), &self.file, offset, bytes)
    }

    fn after_write(&self) -> io::Result<()> {
        if self.options.writethrough { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> io::Result<()> {
        if self.options.no_flush || self.options.read_only { Ok(()) } else { self.file.sync_data() }
    }
}

fn open(path: &str, options: RawOptions) -> io::Result<File> {
    let past = if options.direct { OFlags::DIRECT } else { OFlags::empty() };
    let flags = past | if options.read_only { OFlags::RDONLY } else { OFlags::RDWR };
    let mut how = OpenOptions::new();
    how.read(true).write(!options.read_only).custom_flags(past.bits() as i32);
    crate::fd::open(path, &how, flags)
}

fn not_regular(path: &str) -> Error {
    Error::new(format!("'file' driver requires '{path}' to be a regular file"))
}

/// Reads what the host has in its page cache: all of it, or that has failed.
pub(crate) fn read_cached(file: &File, offset: u64, bytes: &mut [u8]) -> bool {
    let len = bytes.len();
    preadv2(file, &mut [IoSliceMut::new(bytes)], offset, ReadWriteFlags::NOWAIT).is_ok_and(|n| n == len)
}

/// Reads what there is and makes the rest zero.
pub(crate) fn read_padded(file: &File, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.read_at(bytes, offset) {
            Ok(0) => {
                bytes.fill(0);
                break;
            }
            Ok(count) => {
                bytes = &mut bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Rewindable for RawFile {
    fn overlaid(&self) -> Option<Vec<std::ops::Range<u64>>> {
        None
    }

    fn image(&self) -> &str {
        &self.path
    }
}

impl BlockDevice for RawFile {
    fn len(&self) -> u64 {
        self.len.load(Relaxed)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        check_range(self.len(), offset, bytes.len() as u64)?;
        self.opened().read(offset, bytes)
    }

    fn read_now(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let inside = check_range(self.len(), offset, bytes.len() as u64).is_ok();
        inside
            && self.open.try_read().is_ok_and(|o| o.direct.is_none() && read_cached(&o.file, offset, bytes))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let open = self.for_write(offset, bytes.len() as u64)?;
        open.write(offset, bytes)?;
        open.after_write()
    }

    fn flush(&self) -> io::Result<()> {
        self.opened().flush()
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let open = self.for_write(offset, len)?;
        if open.options.discard && len > 0 {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A host file system that cannot do it loses nothing.
            let _ = fallocate(&open.file, flags, offset, len);
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        let open = self.for_write(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let flags = if unmap && open.options.discard {
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE
        } else {
            FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE
        };
        if fallocate(&open.file, flags, offset, len).is_ok() {
            return open.after_write();
        }
        let zeroes = Buffer::new(len.min(1 << 20) as usize);
        let mut done = 0;
        while done < len {
            let count = (len - done).min(zeroes.len() as u64);
            open.write(offset + done, &zeroes[..count as usize])?;
            done += count;
        }
        open.after_write()
    }

    fn read_only(&self) -> bool {
        self.opened().options.read_only
    }

    fn at_once(&self) -> usize {
        if self.opened().direct.is_some() { UNCACHED } else { super::AT_ONCE }
    }

    fn resize(&self, len: u64) -> Result<(), Error> {
        let open = self.opened();
        if open.options.read_only {
            return Err(Error::new("Image is read-only"));
        }
        let regular = open.file.metadata().is_ok_and(|data| data.is_file());
        if regular {
            open.file.set_len(len).map_err(|error| Error::io("Failed to resize file", error))?;
        } else if len > self.len() {
            return Err(Error::new("Cannot grow device files"));
        }
        self.len.store(round_up(len), Relaxed);
        Ok(())
    }

    fn reopen(&self, options: RawOptions) -> Result<(), Error> {
        // The locks of the first opening are ours.
        let (new, _) = RawFile::open_file(&self.path, RawOptions { lock: false, ..options })?;
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *open, Open { options, ..new });
        drop(old.file);
        let regular = open.file.metadata().is_ok_and(|data| data.is_file());
        if options.lock && regular {
            ofd_lock::lock(&open.file, !options.read_only, &self.path)?;
        }
        Ok(())
    }
}

/// A device that is written to by others only.
pub(super) struct ReadOnly(pub(super) Arc<dyn BlockDevice>);

impl BlockDevice for ReadOnly {
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, bytes)
    }
    fn read_now(&self, offset: u64, bytes: &mut [u8]) -> bool {
        self.0.read_now(offset, bytes)
    }
    fn at_once(&self) -> usize {
        self.0.at_once()
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn read_only(&self) -> bool {
        true
    }
}

/// `null-co` and `null-aio`: any length, nothing kept.
pub struct NullDevice {
    /// The number of bytes.
    pub len: u64,
    /// Whether writes are refused.
    pub read_only: bool,
}

impl BlockDevice for NullDevice {
    fn len(&self) -> u64 {
        round_up(self.len)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        check_range(self.len(), offset, bytes.len() as u64)?;
        bytes.fill(0);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        check_range(self.len(), offset, bytes.len() as u64)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, _: bool) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        check_range(self.len(), offset, len)
    }

    fn read_only(&self) -> bool {
        self.read_only
    }
}
