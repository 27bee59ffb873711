//! Records of pages: of one block, each with its number, its form and its bytes.
//!
//! ```text
//! block: u16, count: u32, then for each page: number: u32, form: u16, bytes
//! ```
//! A page that is like another one says which: block as u16, number as u32. Only snapshots have such pages.

use base::{Result, error};
use memory::{Block, Ram};

use crate::page::{Form, PAGE, fingerprint, is_zero, pack, unpack};
use crate::stream::HEADER;

/// Where a page is: number of the block, number of the page in it.
pub type Place = (u16, u32);

/// A record of pages being made.
pub struct Batch {
    /// The record's bytes, its header left out.
    pub bytes: Vec<u8>,
    block: u16,
    count: u32,
}

/// What has become of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is zero.
    Zero,
    /// Its bytes lie so far behind the beginning of the record, header included, and are so many.
    At(u64, u16),
    /// It is like another.
    Same(Place),
}

impl Batch {
    /// An empty record for pages of block number `block`.
    pub fn new(block: u16) -> Batch {
        let mut batch = Batch { bytes: Vec::with_capacity(256 << 10), block, count: 0 };
        batch.bytes.extend_from_slice(&block.to_be_bytes());
        batch.bytes.extend_from_slice(&0u32.to_be_bytes());
        batch
    }

    /// Whether there is no page in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a page. `twin` finds a page that is like it, by its fingerprint.
    pub fn add(
        &mut self,
        number: u32,
        page: &[u8; PAGE],
        twin: impl FnOnce(u64, Place) -> Option<Place>,
    ) -> Written {
        if is_zero(page) {
            self.begin(number, Form::Zero);
            return Written::Zero;
        }
        if let Some(place) = twin(fingerprint(page), (self.block, number)) {
            return self.add_same(number, place);
        }
        self.begin(number, Form::Zero);
        let start = self.bytes.len();
        let form = pack(page, &mut self.bytes).to_number();
        self.bytes[start - 2..start].copy_from_slice(&form.to_be_bytes());
        Written::At((HEADER + start) as u64, form)
    }

    /// Adds a page that is packed already.
    pub fn add_packed(&mut self, number: u32, packed: &[u8]) -> Written {
        self.begin(number, Form::Bytes(packed.len() as u16));
        let at = (HEADER + self.bytes.len()) as u64;
        self.bytes.extend_from_slice(packed);
        Written::At(at, packed.len() as u16)
    }

    /// Adds a page that is like another.
    pub fn add_same(&mut self, number: u32, place: Place) -> Written {
        self.begin(number, Form::Same);
        self.bytes.extend_from_slice(&place.0.to_be_bytes());
        self.bytes.extend_from_slice(&place.1.to_be_bytes());
        Written::Same(place)
    }

    fn begin(&mut self, number: u32, form: Form) {
        self.count += 1;
        self.bytes.extend_from_slice(&number.to_be_bytes());
        self.bytes.extend_from_slice(&form.to_number().to_be_bytes());
    }

    /// The record, its header left out.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes[2..6].copy_from_slice(&self.count.to_be_bytes());
        self.bytes
    }
}

/// A page of a block; behind the block's end it is zero.
pub fn read_page(ram: &Ram, number: u32, page: &mut [u8; PAGE]) {
    let offset = u64::from(number) * PAGE as u64;
    let length = (ram.len() - offset).min(PAGE as u64) as usize;
    page[length..].fill(0);
    ram.read(offset, &mut page[..length]);
}

/// Stores a page into a block.
pub fn write_page(ram: &Ram, number: u32, page: &[u8; PAGE]) {
    let offset = u64::from(number) * PAGE as u64;
    let length = (ram.len() - offset).min(PAGE as u64) as usize;
    ram.write(offset, &page[..length]);
}

/// Puts the pages of a record into memory.
///
/// # Errors
/// The record is damaged, or belongs to another machine.
pub fn take_up(record: &[u8], blocks: &[Block]) -> Result<u64> {
    let mut page = [0; PAGE];
    let mut count = 0;
    walk(record, |(block, number), form, bytes| {
        let block = blocks.get(usize::from(block)).ok_or_else(|| error!("pages of an unknown block"))?;
        if u64::from(number) * PAGE as u64 >= block.ram.len() {
            return Err(error!("a page behind the end of '{}'", block.name));
        }
        if form == Form::Same {
            return Err(error!("a page of a snapshot in a stream"));
        }
        unpack(bytes, &mut page)?;
        count += 1;
        // A page that is zero already is not touched, so that the host need not provide it.
        let mut old = [0; PAGE];
        if form == Form::Zero {
            read_page(&block.ram, number, &mut old);
            if is_zero(&old) {
                return Ok(());
            }
        }
        write_page(&block.ram, number, &page);
        Ok(())
    })?;
    Ok(count)
}

/// Calls `each` with every page of a record: its place, form, and bytes.
///
/// # Errors
/// The record is damaged, or what `each` says.
pub fn walk(record: &[u8], mut each: impl FnMut(Place, Form, &[u8]) -> Result<()>) -> Result<()> {
    let damaged = || error!("a record of pages is damaged");
    let mut rest = record;
    let mut take = |n: usize| -> Result<&[u8]> {
        let (head, tail) = rest.split_at_checked(n).ok_or_else(damaged)?;
        rest = tail;
        Ok(head)
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |all, b| all << 8 | u64::from(*b));
    let block = number(take(2)?) as u16;
    let count = number(take(4)?);
    for _ in 0..count {
        let page = number(take(4)?) as u32;
        let form = Form::from_number(number(take(2)?) as u16).ok_or_else(damaged)?;
        let bytes = match form {
            Form::Zero => &[],
            Form::Bytes(n) => take(n.into())?,
            Form::Same => take(6)?,
        };
        each((block, page), form, bytes)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(damaged()) }
}
