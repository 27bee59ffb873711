//! The stream: a magic number, then records of a kind, a length and so many bytes.
//!
//! ```text
//! MAGIC  Sections(machine)  Pages*  Sections(clock, processors, devices)  [Index]  End
//! ```
//! A live migration sends pages in rounds; a snapshot writes each page once, and an [`Kind::Index`] that tells where it
//! lies, so that pages can be read one by one. Numbers are big-endian.

use std::io::{self, Read, Write};

use base::{Result, error};

/// First bytes of a stream; the last one is the version of this format.
pub const MAGIC: [u8; 8] = *b"Tinamou\x01";
/// The longest record that is read: more than any that is written.
const LONGEST: u32 = 1 << 30;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Sections of [`state::Saver`], one after the other.
    Sections = 1,
    /// Pages of one block of memory ([`crate::pages`]).
    Pages = 2,
    /// Where pages lie in the file.
    Index = 3,
    /// The end: what is behind it does not belong to the stream.
    End = 4,
}

impl Kind {
    fn from_number(n: u8) -> Option<Kind> {
        [Kind::Sections, Kind::Pages, Kind::Index, Kind::End].into_iter().find(|kind| *kind as u8 == n)
    }
}

/// Bytes of a record's kind and length.
pub const HEADER: usize = 5;

/// Kind and length of a record of so many bytes.
pub fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// Writes a record.
///
/// # Errors
/// The host's.
pub fn write_record(out: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    out.write_all(&header(kind, bytes.len()))?;
    out.write_all(bytes)
}

/// Reads the magic number.
///
/// # Errors
/// It is another: the text says what.
pub fn read_magic(from: &mut impl Read) -> Result<()> {
    let mut bytes = [0; MAGIC.len()];
    from.read_exact(&mut bytes).map_err(cut_off)?;
    let [name @ .., version] = bytes;
    let [own @ .., ours] = MAGIC;
    if name != own {
        return Err(error!("this is no saved state of Tinamou"));
    }
    if version != ours {
        return Err(error!(
            "field 'version' differs: it is '{version}' in the saved state and '{ours}' here"
        ));
    }
    Ok(())
}

/// Reads the next record into `into`; `None` at the end.
///
/// # Errors
/// The stream is damaged or ends early.
pub fn read_record(from: &mut impl Read, into: &mut Vec<u8>) -> Result<Option<Kind>> {
    let mut head = [0; HEADER];
    from.read_exact(&mut head).map_err(cut_off)?;
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length);
    let kind = Kind::from_number(kind).ok_or_else(|| error!("a record of unknown kind {kind}"))?;
    if length > LONGEST {
        return Err(error!("a record of {length} bytes is too long"));
    }
    into.clear();
    // Not more than really comes is allocated.
    from.take(length.into()).read_to_end(into).map_err(cut_off)?;
    if into.len() as u32 != length {
        return Err(cut_off(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok((kind != Kind::End).then_some(kind))
}

fn cut_off(error: io::Error) -> base::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => error!("the stream ends early"),
        _ => error!("the stream cannot be read: {error}"),
    }
}
