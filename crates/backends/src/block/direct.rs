//! Files past the host's page cache (`cache.direct=on`, O_DIRECT): the host wants whole blocks, and memory that begins at one.
//!
//! What does not fit goes through a buffer, and where part of a block is written, the block is read before; nobody else
//! writes then. Rejected: a second descriptor through the page cache for what does not fit. The cache keeps whole pages, and
//! writing one back undoes what has been written past it meanwhile.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock};

use super::raw::read_padded;

/// The largest block of any medium, and where a [`Buffer`] may begin.
const PAGE: usize = 4096;
/// How much goes through a buffer at once.
const PIECE: u64 = 1 << 20;

/// Bytes that begin at a page, so that a host can move them without copying.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// So many zeroes.
    pub fn new(len: usize) -> Buffer {
        let bytes = vec![0; len + PAGE - 1];
        let start = bytes.as_ptr().addr().wrapping_neg() % PAGE;
        Buffer { bytes, start, len }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// What is to be known of a file that is open past the page cache.
pub(super) struct Direct {
    /// Bytes of a block.
    block: u64,
    /// Whoever writes a part of a block holds it alone.
    parts: RwLock<()>,
}

impl Direct {
    /// Finds out how large the blocks are.
    ///
    /// # Errors
    /// The host's, for any of them.
    pub(super) fn of(file: &File) -> io::Result<Direct> {
        let mut buffer = Buffer::new(PAGE);
        let mut block = 512;
        // Whoever cannot read a part of its blocks says so.
        while let Err(error) = file.read_at(&mut buffer[..block], 0) {
            block *= 2;
            if block > PAGE {
                return Err(error);
            }
        }
        Ok(Direct { block: block as u64, parts: RwLock::default() })
    }

    fn fits(&self, offset: u64, bytes: &[u8]) -> bool {
        (bytes.as_ptr().addr() as u64 | offset | bytes.len() as u64).is_multiple_of(self.block)
    }

    /// The blocks in which a range lies, piece by piece: where each begins, its bytes, and the range of the request in it.
    fn pieces(&self, offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<u64>)> {
        let (block, end) = (self.block, offset + len as u64);
        let mut at = offset / block * block;
        std::iter::from_fn(move || {
            let start = at;
            at = (start + PIECE).min(end.next_multiple_of(block));
            (start < at).then(|| (start, (at - start) as usize, start.max(offset)..at.min(end)))
        })
    }

    /// As [`read_padded`].
    pub(super) fn read(&self, file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        if self.fits(offset, bytes) {
            return read_blocks(file, self.block, offset, bytes);
        }
        for (start, len, range) in self.pieces(offset, bytes.len()) {
            let mut buffer = Buffer::new(len);
            read_blocks(file, self.block, start, &mut buffer)?;
            let place = (range.start - offset) as usize..(range.end - offset) as usize;
            bytes[place]
                .copy_from_slice(&buffer[(range.start - start) as usize..(range.end - start) as usize]);
        }
        Ok(())
    }

    /// Writes all of it.
    pub(super) fn write(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.fits(offset, bytes) {
            let _whole = self.parts.read().unwrap_or_else(PoisonError::into_inner);
            return file.write_all_at(bytes, offset);
        }
        let _alone = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        for (start, len, range) in self.pieces(offset, bytes.len()) {
            let mut buffer = Buffer::new(len);
            if range.end - range.start < len as u64 {
                read_blocks(file, self.block, start, &mut buffer)?;
            }
            let place = (range.start - offset) as usize..(range.end - offset) as usize;
            buffer[(range.start - start) as usize..(range.end - start) as usize]
                .copy_from_slice(&bytes[place]);
            file.write_all_at(&buffer, start)?;
        }
        Ok(())
    }
}

/// Whole blocks; behind the end of the file are zeroes.
fn read_blocks(file: &File, block: u64, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            // Only at its end does a file give a part of a block.
            Ok(count) if count == 0 || !(count as u64).is_multiple_of(block) => {
                bytes[done + count..].fill(0);
                return Ok(());
            }
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads from a file that is open in the one way or the other.
pub(super) fn read(direct: Option<&Direct>, file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    match direct {
        Some(direct) => direct.read(file, offset, bytes),
        None => read_padded(file, offset, bytes),
    }
}

/// Writes to it.
pub(super) fn write(direct: Option<&Direct>, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    match direct {
        Some(direct) => direct.write(file, offset, bytes),
        None => file.write_all_at(bytes, offset),
    }
}

#[cfg(test)]
#[path = "direct_test.rs"]
mod test;
