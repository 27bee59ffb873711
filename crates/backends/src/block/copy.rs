//! A disk that is copied to another while it is in use.
//!
//! What is left to copy is a bitmap of chunks. The copy becomes what the disk is at its end ([`Moment::End`]: who writes to
//! the disk has the chunk copied once more), or what the disk was at its beginning ([`Moment::Begin`]: who is about to
//! write has the chunk copied first).

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BlockDevice, Node, Watcher};

/// How a disk is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyManner {
    /// Bytes that are copied at once.
    pub chunk: u64,
    /// Who writes to the disk waits until the copy has it, too: nothing is left of that to be copied later.
    pub at_once: bool,
}

impl Default for CopyManner {
    fn default() -> Self {
        Self { chunk: 64 << 10, at_once: false }
    }
}

/// Which moment of the disk is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When the copy was begun.
    Begin,
    /// When it ends.
    End,
}

/// Where an error came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Reading the disk.
    Source,
    /// Writing the copy.
    Target,
}

#[derive(Default)]
struct Left {
    bits: Vec<u64>,
    chunks: u64,
    /// Where to look for the next.
    next: usize,
    /// What went wrong while somebody's write waited for its chunk.
    failed: Option<(Side, io::Error)>,
}

impl Left {
    fn has(&self, chunk: u64) -> bool {
        self.bits.get((chunk / 64) as usize).is_some_and(|word| word >> (chunk % 64) & 1 != 0)
    }
    fn set(&mut self, chunk: u64, left: bool) {
        let had = self.has(chunk);
        if let Some(word) = self.bits.get_mut((chunk / 64) as usize)
            && had != left
        {
            *word ^= 1 << (chunk % 64);
            self.chunks = if left { self.chunks + 1 } else { self.chunks - 1 };
        }
    }
    fn next(&mut self) -> Option<u64> {
        let words = self.bits.len();
        let at = (0..words).map(|n| (self.next + n) % words).find(|n| self.bits[*n] != 0)?;
        self.next = at;
        Some(at as u64 * 64 + u64::from(self.bits[at].trailing_zeros()))
    }
}

/// A copy under way.
pub struct Copy {
    source: Arc<Node>,
    target: Arc<dyn BlockDevice>,
    moment: Moment,
    how: CopyManner,
    len: u64,
    left: Mutex<Left>,
    /// With writers that wait: one chunk is copied at a time, so that what was read first is not written last.
    copying: Mutex<()>,
}

/// The numbers of the chunks that a range touches.
fn chunks(offset: u64, len: u64, chunk: u64) -> Range<u64> {
    if len == 0 { 0..0 } else { offset / chunk..(offset.saturating_add(len) - 1) / chunk + 1 }
}

impl Copy {
    /// A copy of these parts of `source`. It hears of no changes before [`Copy::begin`].
    pub fn new(
        source: &Arc<Node>,
        target: Arc<dyn BlockDevice>,
        moment: Moment,
        parts: impl IntoIterator<Item = Range<u64>>,
        how: CopyManner,
    ) -> Copy {
        let len = source.len();
        let mut left = Left { bits: vec![0; len.div_ceil(how.chunk * 64) as usize], ..Left::default() };
        for part in parts {
            let length = part.end.min(len).saturating_sub(part.start);
            chunks(part.start, length, how.chunk).for_each(|n| left.set(n, true));
        }
        Copy {
            source: source.clone(),
            target,
            moment,
            how,
            len,
            left: Mutex::new(left),
            copying: Mutex::default(),
        }
    }

    /// From now on changes of the disk are heard of.
    pub fn begin(self: &Arc<Self>) {
        self.source.watch(self.clone());
    }

    /// They are not any more.
    pub fn end(self: &Arc<Self>) {
        let watcher: Arc<dyn Watcher> = self.clone();
        self.source.unwatch(&watcher);
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> u64 {
        (self.left().chunks * self.how.chunk).min(self.len)
    }

    /// Copies one chunk and returns how many bytes that were; `None` when nothing is left.
    ///
    /// # Errors
    /// The host's; the chunk is still left then.
    pub fn step(&self) -> Result<Option<u64>, (Side, io::Error)> {
        self.step_from(&**self.source.medium())
    }

    /// Copies what is left from the medium itself, with no request under way.
    ///
    /// # Errors
    /// The host's.
    pub fn finish(&self, medium: &dyn BlockDevice) -> Result<(), (Side, io::Error)> {
        while self.step_from(medium)?.is_some() {}
        self.target.flush().map_err(|error| (Side::Target, error))
    }

    fn step_from(&self, medium: &dyn BlockDevice) -> Result<Option<u64>, (Side, io::Error)> {
        let mut left = self.left();
        if let Some(failed) = left.failed.take() {
            return Err(failed);
        }
        let Some(chunk) = left.next() else { return Ok(None) };
        if self.moment == Moment::Begin {
            // Nobody may write to it meanwhile.
            let len = self.copy(medium, chunk)?;
            left.set(chunk, false);
            return Ok(Some(len));
        }
        drop(left);
        self.copy_again(medium, chunk).map(Some)
    }

    /// Copies a chunk that somebody may be writing to: who does from now on has it copied once more.
    fn copy_again(&self, medium: &dyn BlockDevice, chunk: u64) -> Result<u64, (Side, io::Error)> {
        let _alone = self.how.at_once.then(|| self.copying.lock().unwrap_or_else(PoisonError::into_inner));
        self.left().set(chunk, false);
        self.copy(medium, chunk).inspect_err(|_| self.left().set(chunk, true))
    }

    /// Gives up the chunk that is next: its content cannot be had.
    pub fn skip(&self) {
        let mut left = self.left();
        if let Some(chunk) = left.next() {
            left.set(chunk, false);
        }
    }

    fn copy(&self, medium: &dyn BlockDevice, chunk: u64) -> Result<u64, (Side, io::Error)> {
        let offset = chunk * self.how.chunk;
        let mut bytes = vec![0; self.how.chunk.min(self.len - offset) as usize];
        medium.read_at(offset, &mut bytes).map_err(|error| (Side::Source, error))?;
        let len = bytes.len() as u64;
        let written = match bytes.iter().all(|byte| *byte == 0) {
            true => self.target.write_zeroes(offset, len, true),
            false => self.target.write_at(offset, &bytes),
        };
        written.map(|()| len).map_err(|error| (Side::Target, error))
    }
}

impl Watcher for Copy {
    fn before_write(&self, medium: &dyn BlockDevice, offset: u64, len: u64) {
        if self.moment == Moment::End {
            return;
        }
        let mut left = self.left();
        for chunk in chunks(offset, len.min(self.len), self.how.chunk) {
            if left.has(chunk) && left.failed.is_none() {
                match self.copy(medium, chunk) {
                    Ok(_) => left.set(chunk, false),
                    // The copy has failed; whoever uses the disk is not to suffer from that.
                    Err(failed) => left.failed = Some(failed),
                }
            }
        }
    }

    fn after_write(&self, offset: u64, len: u64) {
        if self.moment == Moment::Begin {
            return;
        }
        let chunks = chunks(offset, len.min(self.len), self.how.chunk);
        let mut left = self.left();
        chunks.clone().for_each(|chunk| left.set(chunk, true));
        drop(left);
        if self.how.at_once {
            // What fails is left for the job, which decides what is done about it.
            let medium = self.source.medium().clone();
            chunks.for_each(|chunk| drop(self.copy_again(&*medium, chunk)));
        }
    }
}

#[cfg(test)]
#[path = "copy_test.rs"]
mod test;
