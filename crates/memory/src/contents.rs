//! What a blob consists of: bytes at hand, or a file that is read each time they are needed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes for guest memory.
#[derive(Clone, Debug)]
pub enum Contents {
    /// They are here.
    Bytes(Arc<[u8]>),
    /// They are the first so many of a file, which stays open. A kernel of 30 MiB need not be kept twice; if somebody
    /// writes to the file, the next reset brings what is there then.
    File(Arc<File>, u64),
}

impl Contents {
    /// How many they are.
    pub fn len(&self) -> u64 {
        match self {
            Contents::Bytes(bytes) => bytes.len() as u64,
            Contents::File(_, len) => *len,
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies the bytes from `offset` on.
    ///
    /// # Errors
    /// The file cannot be read any more, or there are not so many.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Contents::Bytes(bytes) => {
                let from = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)?.get(..out.len()));
                out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Contents::File(file, _) => file.read_exact_at(out, offset),
        }
    }
}

impl<T: Into<Arc<[u8]>>> From<T> for Contents {
    fn from(bytes: T) -> Contents {
        Contents::Bytes(bytes.into())
    }
}

/// Files are equal only to themselves.
impl PartialEq for Contents {
    fn eq(&self, other: &Contents) -> bool {
        match (self, other) {
            (Contents::Bytes(a), Contents::Bytes(b)) => a == b,
            (Contents::File(a, n), Contents::File(b, m)) => Arc::ptr_eq(a, b) && n == m,
            _ => false,
        }
    }
}

impl Eq for Contents {}
