//! A device's way to memory.

use std::sync::Arc;

use crate::bus::BusResult;
use crate::flat::FlatRange;
use crate::space::AddressSpace;

/// A device's handle to its own address space (behind an IOMMU that is not the processor's).
///
/// Transfers to and from RAM happen at once. Writes that end in the registers of a device (message signalled
/// interrupts, for example) happen after the calling device's lock is gone, and then cannot fail any more for
/// the caller. Reads from the registers of a device are refused with a guest error while the caller is inside
/// a device: no hardware that we know needs them, and answering would take two locks at once.
#[derive(Clone, Debug)]
pub struct Dma(Arc<AddressSpace>);

macro_rules! numbers {
    ($($ty:ident $bytes:literal $read:ident $write:ident;)*) => {$(
        #[doc = concat!("Reads a little-endian `", stringify!($ty), "`.")]
        #[inline]
        pub fn $read(&self, address: u64) -> BusResult<$ty> {
            self.0.read_int(address, $bytes).map(|n| n as $ty)
        }
        #[doc = concat!("Writes a little-endian `", stringify!($ty), "`.")]
        #[inline]
        pub fn $write(&self, address: u64, value: $ty) -> BusResult<()> {
            self.0.write_int(address, $bytes, value.into())
        }
    )*};
}

impl Dma {
    /// A handle to this address space.
    pub fn new(space: &Arc<AddressSpace>) -> Self {
        Self(space.clone())
    }
    /// The address space.
    pub fn space(&self) -> &Arc<AddressSpace> {
        &self.0
    }
    /// Reads bytes.
    pub fn read(&self, address: u64, out: &mut [u8]) -> BusResult<()> {
        self.0.read(address, out)
    }
    /// Writes bytes.
    pub fn write(&self, address: u64, data: &[u8]) -> BusResult<()> {
        self.0.write(address, data)
    }
    /// The guest has no use for the page at `address` now: it becomes zero, and the host gets its memory back. Returns
    /// whether there is a page of RAM.
    pub fn discard_page(&self, address: u64) -> bool {
        let whole = |range: &FlatRange| {
            address.is_multiple_of(base::PAGE_SIZE) && range.left(address) >= base::PAGE_SIZE
        };
        self.0.with_view(|view| {
            let range = view.lookup(address).filter(|range| whole(range));
            let page = range.and_then(|range| range.writable(address));
            let page = page.filter(|(_, offset)| offset.is_multiple_of(base::PAGE_SIZE));
            page.map(|(ram, offset)| ram.discard(offset, base::PAGE_SIZE)).is_some()
        })
    }
    numbers! {
        u8 1 read_u8 write_u8;
        u16 2 read_u16 write_u16;
        u32 4 read_u32 write_u32;
        u64 8 read_u64 write_u64;
    }
}
