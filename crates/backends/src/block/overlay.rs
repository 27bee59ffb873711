//! `snapshot=on`: writes go to a temporary file that has no name; a bitmap says which blocks lie there.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::raw::{RawFile, read_cached, read_padded};
use super::{BlockDevice, History, Layers, Rewindable, check_range};
use crate::Error;

/// The unit of the bitmap. Guests write pages, so that copying a part of a block from below is rare.
const BLOCK: u64 = 4096;

/// A device whose writes are forgotten at the end unless they are committed.
pub struct Overlay {
    base: Arc<RawFile>,
    file: File,
    /// Which blocks are in `file`, one bit for each. Held for writing while a block comes in piecemeal.
    bitmap: RwLock<Vec<u64>>,
}

impl Overlay {
    /// Lays an overlay over `base`.
    ///
    /// # Errors
    /// There is no place for a temporary file.
    pub fn new(base: RawFile) -> Result<Overlay, Error> {
        let directory = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
        let failed = |error| Error::io("Could not create temporary overlay", error);
        let file = temporary(std::path::Path::new(&directory)).map_err(failed)?;
        let words = base.len().div_ceil(BLOCK * 64);
        let words =
            usize::try_from(words).map_err(|_| Error::new("The image is too large for an overlay"))?;
        Ok(Overlay { base: Arc::new(base), file, bitmap: RwLock::new(vec![0; words]) })
    }

    fn bitmap(&self) -> RwLockReadGuard<'_, Vec<u64>> {
        self.bitmap.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bitmap_mut(&self) -> RwLockWriteGuard<'_, Vec<u64>> {
        self.bitmap.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The base's bytes from `start` for one block, which may end early.
    fn block_len(&self, start: u64) -> u64 {
        BLOCK.min(self.base.len() - start)
    }

    fn copy_up(&self, bitmap: &mut [u64], start: u64) -> io::Result<()> {
        if !is_set(bitmap, start) {
            let mut bytes = vec![0; self.block_len(start) as usize];
            self.base.read_at(start, &mut bytes)?;
            self.file.write_all_at(&bytes, start)?;
            set(bitmap, start);
        }
        Ok(())
    }
}

fn temporary(directory: &std::path::Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!(".overlay-{}-{number}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn is_set(bitmap: &[u64], offset: u64) -> bool {
    let block = offset / BLOCK;
    bitmap.get((block / 64) as usize).is_some_and(|word| word >> (block % 64) & 1 != 0)
}

fn set(bitmap: &mut [u64], offset: u64) {
    let block = offset / BLOCK;
    if let Some(word) = bitmap.get_mut((block / 64) as usize) {
        *word |= 1 << (block % 64);
    }
}

/// The parts of a range that lie in the same block or in a run of blocks of the same kind.
fn next_run(bitmap: &[u64], offset: u64, end: u64) -> (u64, bool) {
    let kind = is_set(bitmap, offset);
    let mut run_end = (offset / BLOCK + 1) * BLOCK;
    while run_end < end && is_set(bitmap, run_end) == kind {
        run_end += BLOCK;
    }
    (run_end.min(end), kind)
}

/// Has `read` read the bytes at `offset` run by run; it is told whether a run lies in the file above, and where it begins.
fn each_run<E>(
    bitmap: &[u64],
    offset: u64,
    bytes: &mut [u8],
    mut read: impl FnMut(bool, u64, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut at, end) = (offset, offset + bytes.len() as u64);
    while at < end {
        let (run_end, above) = next_run(bitmap, at, end);
        read(above, at, &mut bytes[(at - offset) as usize..(run_end - offset) as usize])?;
        at = run_end;
    }
    Ok(())
}

impl Rewindable for Overlay {
    fn overlaid(&self) -> Option<Vec<Range<u64>>> {
        let bitmap = self.bitmap();
        let mut runs = Vec::new();
        let mut at = 0;
        while at < self.len() {
            let (end, above) = next_run(&bitmap, at, self.len());
            if above {
                runs.push(at..end);
            }
            at = end;
        }
        Some(runs)
    }

    fn image(&self) -> &str {
        self.base.path()
    }
}

impl BlockDevice for Overlay {
    fn len(&self) -> u64 {
        self.base.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        check_range(self.len(), offset, bytes.len() as u64)?;
        each_run(&self.bitmap(), offset, bytes, |above, at, part| match above {
            true => read_padded(&self.file, at, part),
            false => self.base.read_at(at, part),
        })
    }

    fn read_now(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let Ok(bitmap) = self.bitmap.try_read() else { return false };
        let read = |above, at, part: &mut [u8]| match above {
            true => read_cached(&self.file, at, part),
            false => self.base.read_now(at, part),
        };
        check_range(self.len(), offset, bytes.len() as u64).is_ok()
            && each_run(&bitmap, offset, bytes, |above, at, part| {
                read(above, at, part).then_some(()).ok_or(())
            })
            .is_ok()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_range(self.len(), offset, bytes.len() as u64)?;
        let end = offset + bytes.len() as u64;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut bitmap = self.bitmap_mut();
        // Only the first and the last block can be written in part.
        for start in [offset / BLOCK * BLOCK, (end - 1) / BLOCK * BLOCK] {
            if start < offset || start + self.block_len(start) > end {
                self.copy_up(&mut bitmap, start)?;
            }
        }
        self.file.write_all_at(bytes, offset)?;
        let mut at = offset / BLOCK * BLOCK;
        while at < end {
            set(&mut bitmap, at);
            at += BLOCK;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        // Nobody will look for the temporary file after a crash.
        Ok(())
    }

    fn at_once(&self) -> usize {
        self.base.at_once()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn layers(&self) -> Option<Layers> {
        let below = History::new(self.base.reopen_writable().ok()?);
        Some(Layers { above: self.overlaid()?, below })
    }

    fn pull(&self, offset: u64, len: u64) -> io::Result<()> {
        check_range(self.len(), offset, len)?;
        let mut bitmap = self.bitmap_mut();
        let mut at = offset / BLOCK * BLOCK;
        while at < offset + len {
            self.copy_up(&mut bitmap, at)?;
            at += BLOCK;
        }
        Ok(())
    }

    fn commit(&self) -> Result<(), Error> {
        let base = self.base.reopen_writable()?;
        let mut bitmap = self.bitmap_mut();
        let mut bytes = vec![0; BLOCK as usize];
        let failed = |error| Error::io(format_args!("Could not commit to '{}'", self.base.path()), error);
        for index in 0..bitmap.len() {
            for bit in 0..64 {
                let start = (index as u64 * 64 + bit) * BLOCK;
                if bitmap[index] >> bit & 1 != 0 && start < self.len() {
                    let part = &mut bytes[..self.block_len(start) as usize];
                    read_padded(&self.file, start, part).map_err(failed)?;
                    base.write_at(start, part).map_err(failed)?;
                }
            }
        }
        base.flush().map_err(failed)?;
        bitmap.fill(0);
        self.file.set_len(0).map_err(failed)
    }
}

#[cfg(test)]
#[path = "overlay_test.rs"]
mod test;
