//! Block back ends: the host's side of disks and flash.
//!
//! A device sees an `Arc<dyn BlockDevice>`, whose calls block, and puts a [`BlockQueue`] in between so that a
//! vCPU never waits for a disk.

mod blockdev;
mod blocks;
mod copy;
mod direct;
mod drive;
mod faults;
mod history;
mod node;
#[allow(unsafe_code)]
mod ofd_lock;
mod overlay;
mod pool;
mod probe;
mod queue;
mod raw;
mod stats;
#[cfg(test)]
mod test_support;
mod throttle;

use std::io;
use std::ops::Range;
use std::sync::Arc;

pub use blockdev::BlockdevOption;
pub use blocks::{Blocks, Drive};
pub use copy::{Copy, CopyManner, Moment, Side};
pub use direct::Buffer;
pub use drive::{Cache, DriveInterface, DriveOption, ErrorAction, FORMAT_HELP};
pub use faults::{Fault, FaultAction, IoStatus};
pub use history::{History, Log, Past, Rewindable};
pub use node::{Node, Watcher};
pub use overlay::Overlay;
pub use pool::Pool;
pub use queue::{BlockQueue, Request};
pub use raw::{NullDevice, RawFile, RawOptions};

pub use stats::{BlockStats, Count};
pub use throttle::{LIMITS, Limit, Limits};

use crate::Error;

base::trace_points! {
    /// What is to be traced of disks: requests, from their beginning to their end.
    pub mod trace "block" {
        /// Reading.
        READ "read",
        /// Writing, and giving space back.
        WRITE "write",
        /// Waiting for the medium.
        FLUSH "flush",
        /// The host has reported an error.
        FAULT "fault",
    }
}

/// The unit that lengths of images are rounded up to.
pub const SECTOR: u64 = 512;

/// How many requests are worth having under way at once where the host's page cache answers.
const AT_ONCE: usize = 4;

/// A disk as its device sees it: an array of bytes. All calls may block and may come from several threads at
/// once; what two overlapping calls at the same time leave behind is one or the other in each sector.
pub trait BlockDevice: Send + Sync {
    /// The number of bytes, a multiple of [`SECTOR`].
    fn len(&self) -> u64;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `bytes`.
    ///
    /// # Errors
    /// The host's, or `InvalidInput` when the range does not lie in the device.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// The same where the host has it at hand, in its page cache. False if it has not, or may not, or could not be read: then the bytes are
    /// anything, and [`BlockDevice::read_at`] says what there is to say. Does not wait.
    fn read_now(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let _ = (offset, bytes);
        false
    }

    /// Writes exactly `bytes`, to be found by later reads; on the medium only after [`BlockDevice::flush`].
    ///
    /// # Errors
    /// The host's, `InvalidInput` when the range does not lie in the device, or `PermissionDenied`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when all writes that returned before this call are on the medium.
    ///
    /// # Errors
    /// The host's.
    fn flush(&self) -> io::Result<()>;

    /// The content of the range no longer matters. Does nothing unless a device knows better.
    ///
    /// # Errors
    /// As for writing.
    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        check_range(self.len(), offset, len)
    }

    /// Makes the range read as zeroes; `unmap` allows giving its space back to the host.
    ///
    /// # Errors
    /// As for writing.
    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        let _ = unmap;
        check_range(self.len(), offset, len)?;
        let zeroes = vec![0; len.min(1 << 20) as usize];
        let mut done = 0;
        while done < len {
            let count = (len - done).min(zeroes.len() as u64);
            self.write_at(offset + done, &zeroes[..count as usize])?;
            done += count;
        }
        Ok(())
    }

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// How many requests it is worth having under way at once.
    fn at_once(&self) -> usize {
        AT_ONCE
    }

    /// What snapshots do with it; `None` for a device whose content they cannot keep.
    fn past(&self) -> Option<Arc<dyn Past>> {
        None
    }

    /// Writes temporary changes (`snapshot=on`) back to the image they were kept from.
    ///
    /// # Errors
    /// What goes wrong on the way; the changes are kept then.
    fn commit(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Makes it longer or shorter.
    ///
    /// # Errors
    /// It cannot have this length.
    fn resize(&self, len: u64) -> Result<(), Error> {
        let _ = len;
        Err(Error::new("Image format driver does not support resize"))
    }

    /// Opens the image in another way. No request is under way.
    ///
    /// # Errors
    /// It cannot be opened so, and stays as it is.
    fn reopen(&self, options: RawOptions) -> Result<(), Error> {
        let _ = options;
        Ok(())
    }

    /// What it consists of, if it is a temporary overlay over an image.
    fn layers(&self) -> Option<Layers> {
        None
    }

    /// Makes the range independent of an image below.
    ///
    /// # Errors
    /// The host's.
    fn pull(&self, offset: u64, len: u64) -> io::Result<()> {
        let _ = (offset, len);
        Ok(())
    }

    /// From now on a request for which the machine is to stop does not wait in the call: it fails, and [`Self::holds`].
    fn never_wait(&self) {}

    /// The machine stops for an error, and requests do not wait: what has been asked for since is to be asked for again.
    fn holds(&self) -> bool {
        false
    }

    /// Requests that wait until the machine goes on.
    fn held(&self) -> usize {
        0
    }
}

/// An overlay and what lies below it.
pub struct Layers {
    /// The parts that lie in the overlay.
    pub above: Vec<Range<u64>>,
    /// The image.
    pub below: Arc<dyn BlockDevice>,
}

pub(crate) fn check_range(len: u64, offset: u64, count: u64) -> io::Result<()> {
    match offset.checked_add(count) {
        Some(end) if end <= len => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the range is beyond the end of the device")),
    }
}

pub(crate) fn round_up(len: u64) -> u64 {
    len.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX - (SECTOR - 1))
}
