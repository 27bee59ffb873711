//! Guest memory: RAM blocks, regions, flat views, address spaces.
//!
//! Glossary. A [`Ram`] is a block of host memory that the guest uses as its own. A [`Region`] is a named part
//! of the memory map: RAM, ROM, the registers of a device, a container for other regions, or an alias that
//! shows a window of another region. Regions form a tree; where siblings overlap the one with the higher
//! priority is seen, among equals the one added last. A [`FlatView`] is that tree as an observer sees it:
//! disjoint ranges in order of address. An [`AddressSpace`] is a root region with its current flat view, which
//! is read without a lock and replaced as a whole when the tree changes. A [`Dma`] is a device's handle to its
//! address space.
//!
//! `unsafe` is in `ram` (mapping host memory, and reaching it through a raw pointer) and nowhere else.

mod absent;
mod ahead;
mod blocks;
mod bus;
mod contents;
mod device;
mod dirty;
mod dma;
mod flat;
mod mtree;
#[allow(unsafe_code)]
mod ram;
mod region;
mod rom;
mod space;

pub use absent::PageSource;
pub use ahead::{HUGE_BITS, huge_pages_pay};
pub use blocks::{Block, ram_blocks};
pub use bus::{BusError, BusResult, Mmio, OpenBus, Unassigned, mmio_read, mmio_write};
pub use contents::Contents;
pub use device::{Port, device_regions, port_region};
pub use dirty::{CodeWatcher, DirtyClient};
pub use dma::Dma;
pub use flat::{FlatRange, FlatView, Target};
pub use mtree::{MtreeOptions, print_mtree};
pub use object::{Access, Effect};
pub use ram::Ram;
pub use region::{Region, WHOLE};
pub use rom::Roms;
pub use space::{AddressSpace, EffectSink, Listener, transaction};

base::trace_points! {
    /// What is to be traced of memory.
    pub mod trace "flatview" {
        /// An address space is drawn anew.
        NEW "new",
    }
}

/// The trace points of this crate.
pub const TRACE: &[&base::trace::Points] = &[&trace::POINTS];
