//! A snapshot as it is read: pages one by one, wherever they lie.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use base::{Result, error};
use memory::PageSource;

use crate::origin::Origin;
use crate::page::{PAGE, unpack};
use crate::pages::{Place, Written};
use crate::stream::{Kind, read_magic, read_record};

/// Last bytes of a snapshot, behind the position of the index.
pub const TRAILER_MAGIC: [u8; 8] = *b"TinIndex";
const TRAILER: u64 = 16;
/// In an entry of the index the number of bytes takes this many bits; the rest is the position.
const LENGTH_BITS: u32 = 16;

/// Where all pages lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Position of the record with the sections of clock, processors and devices.
    pub state: u64,
    /// For each block and page, position and number of bytes; 0 for a page that is zero.
    blocks: Vec<Vec<u64>>,
}

impl Index {
    /// For blocks of so many pages, of which these are not zero.
    pub fn new(counts: &[u32], written: &[(Place, Written)]) -> Index {
        let mut blocks: Vec<Vec<u64>> = counts.iter().map(|n| vec![0; *n as usize]).collect();
        for ((block, page), what) in written {
            if let Written::At(at, length) = what {
                blocks[usize::from(*block)][*page as usize] = at << LENGTH_BITS | u64::from(*length);
            }
        }
        for ((block, page), what) in written {
            if let Written::Same((of, at)) = what {
                blocks[usize::from(*block)][*page as usize] = blocks[usize::from(*of)][*at as usize];
            }
        }
        Index { state: 0, blocks }
    }

    /// As a record.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.state.to_be_bytes().to_vec();
        out.extend_from_slice(&(self.blocks.len() as u16).to_be_bytes());
        for block in &self.blocks {
            out.extend_from_slice(&(block.len() as u32).to_be_bytes());
            block.iter().for_each(|entry| out.extend_from_slice(&entry.to_be_bytes()));
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<Index> {
        let (state, bytes) = bytes.split_first_chunk::<8>()?;
        let (count, mut bytes) = bytes.split_first_chunk::<2>()?;
        let mut blocks = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (pages, rest) = bytes.split_first_chunk::<4>()?;
            let (own, rest) = rest.split_at_checked((u32::from_be_bytes(*pages) as usize).checked_mul(8)?)?;
            let (entries, _) = own.as_chunks::<8>();
            blocks.push(entries.iter().map(|e| u64::from_be_bytes(*e)).collect());
            bytes = rest;
        }
        bytes.is_empty().then_some(Index { state: u64::from_be_bytes(*state), blocks })
    }

    /// Position and number of bytes of a page; `None` if it is zero.
    fn entry(&self, block: usize, page: u64) -> Option<(u64, usize)> {
        let entry = *self.blocks.get(block)?.get(page as usize)?;
        let length = (entry & ((1 << LENGTH_BITS) - 1)) as usize;
        (length > 0).then_some((entry >> LENGTH_BITS, length))
    }
}

/// What holds the bytes.
#[derive(Debug)]
enum Bytes {
    File(File),
    Memory(Vec<u8>),
}

impl Bytes {
    fn len(&self) -> io::Result<u64> {
        match self {
            Bytes::File(file) => Ok(file.metadata()?.len()),
            Bytes::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match self {
            Bytes::File(file) => file.read_exact_at(into, at),
            Bytes::Memory(bytes) => {
                let from = bytes.get(at as usize..).and_then(|rest| rest.get(..into.len()));
                into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// Reads on from a position.
    fn from(&self, at: u64) -> Box<dyn Read + '_> {
        match self {
            Bytes::File(file) => Box::new(From { file, at }),
            Bytes::Memory(bytes) => Box::new(Cursor::new(bytes.get(at as usize..).unwrap_or_default())),
        }
    }
}

struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(into, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// An open snapshot.
#[derive(Debug)]
pub struct Image {
    bytes: Bytes,
    index: Index,
    /// The machine it was taken of.
    pub origin: Origin,
}

impl Image {
    /// Opens a file.
    ///
    /// # Errors
    /// The host's, or it is no whole snapshot.
    pub fn open(path: &Path) -> Result<Image> {
        let file = File::open(path).map_err(|e| error!("cannot open '{}': {e}", path.display()))?;
        Self::read(Bytes::File(file))
    }

    /// A snapshot in memory.
    ///
    /// # Errors
    /// It is no whole snapshot.
    pub fn in_memory(bytes: Vec<u8>) -> Result<Image> {
        Self::read(Bytes::Memory(bytes))
    }

    fn read(bytes: Bytes) -> Result<Image> {
        let failed = |e: io::Error| error!("the snapshot cannot be read: {e}");
        let mut record = Vec::new();
        let origin = {
            let mut from = bytes.from(0);
            read_magic(&mut from)?;
            expect(read_record(&mut from, &mut record)?, Kind::Sections)?;
            let mut origin = Origin::default();
            state::from_bytes(&mut origin, &record)?;
            origin
        };
        let not_whole = || error!("the snapshot is not whole");
        let end = bytes.len().map_err(failed)?.checked_sub(TRAILER).ok_or_else(not_whole)?;
        let mut trailer = [0; TRAILER as usize];
        bytes.read_at(end, &mut trailer).map_err(failed)?;
        let Some((at, rest)) = trailer.split_first_chunk::<8>() else { return Err(not_whole()) };
        if *rest != TRAILER_MAGIC {
            return Err(not_whole());
        }
        expect(read_record(&mut bytes.from(u64::from_be_bytes(*at)), &mut record)?, Kind::Index)?;
        let index = Index::from_bytes(&record).ok_or_else(|| error!("the snapshot's index is damaged"))?;
        let pages = |(_, bytes): &(String, u64)| bytes.div_ceil(PAGE as u64);
        let counts = index.blocks.iter().map(|b| b.len() as u64);
        if !counts.eq(origin.memory.iter().map(pages)) {
            return Err(error!("the snapshot's index is of another memory"));
        }
        Ok(Image { bytes, index, origin })
    }

    /// The sections of clock, processors and devices.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn state(&self) -> Result<Vec<u8>> {
        let mut record = Vec::new();
        expect(read_record(&mut self.bytes.from(self.index.state), &mut record)?, Kind::Sections)?;
        Ok(record)
    }

    /// Whether a page is zero.
    pub fn is_zero(&self, block: usize, page: u64) -> bool {
        self.index.entry(block, page).is_none()
    }

    /// The bytes of a page as they are stored, in a buffer of the caller's, and where they are; `None` if it is zero.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn packed<'a>(
        &self,
        block: usize,
        page: u64,
        buffer: &'a mut [u8; PAGE],
    ) -> io::Result<Option<(u64, &'a [u8])>> {
        let Some((at, length)) = self.index.entry(block, page) else { return Ok(None) };
        let bytes = buffer.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
        self.bytes.read_at(at, bytes)?;
        Ok(Some((at, bytes)))
    }

    /// Reads a page of block number `block`.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn page(&self, block: usize, page: u64, into: &mut [u8; PAGE]) -> std::result::Result<(), String> {
        let mut buffer = [0; PAGE];
        match self.packed(block, page, &mut buffer).map_err(|e| e.to_string())? {
            Some((_, packed)) => unpack(packed, into),
            None => {
                into.fill(0);
                Ok(())
            }
        }
    }

    /// The pages of a block, for memory that takes them up one by one.
    pub fn source(self: &Arc<Self>, block: usize) -> Arc<dyn PageSource> {
        Arc::new(BlockOf(self.clone(), block))
    }

    /// Bytes in memory or in the file.
    pub fn len(&self) -> u64 {
        self.bytes.len().unwrap_or(0)
    }

    /// Whether both are the same file.
    pub fn is(&self, other: &Image) -> bool {
        match (&self.bytes, &other.bytes) {
            (Bytes::File(a), Bytes::File(b)) => {
                let place = |file: &File| file.metadata().map(|data| (data.dev(), data.ino())).ok();
                place(a).is_some_and(|a| Some(a) == place(b))
            }
            _ => false,
        }
    }

    /// Whether there are none; a snapshot always has some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

struct BlockOf(Arc<Image>, usize);

impl PageSource for BlockOf {
    fn page(&self, offset: u64, into: &mut [u8; PAGE]) -> std::result::Result<(), String> {
        self.0.page(self.1, offset / PAGE as u64, into)
    }
}

fn expect(found: Option<Kind>, wanted: Kind) -> Result<()> {
    if found == Some(wanted) { Ok(()) } else { Err(error!("the snapshot is damaged: no {wanted:?} record")) }
}
