//! The machine's memory map as one vCPU uses it.

use crate::cache::WIDE;
use memory::{AddressSpace, FlatView, Ram, Target};
use std::cell::Cell;
use std::sync::Arc;

/// What is at a physical address.
pub(crate) enum Found<'a> {
    /// RAM or ROM: the block, the offset, whether stores reach it.
    Ram(&'a Arc<Ram>, u64, Store),
    /// Registers of a device.
    Device,
}

/// What a store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// It goes to the block.
    Memory,
    /// It is dropped: ROM.
    Dropped,
    /// It goes to a device that shows memory to loads.
    Device,
}

/// An address space with the view of it that this vCPU's TLB was filled from.
pub(crate) struct Bus {
    space: Arc<AddressSpace>,
    view: Arc<FlatView>,
    /// The range of RAM that was read last: first and last physical address, distance to host addresses.
    last: Cell<(u64, u64, u64)>,
}

/// A range that holds no address.
const NOWHERE: (u64, u64, u64) = (1, 0, 0);

impl Bus {
    pub(crate) fn new(space: Arc<AddressSpace>) -> Bus {
        Bus { view: space.view(), space, last: Cell::new(NOWHERE) }
    }
    /// Forgets where RAM was found: its content may be about to come from elsewhere.
    pub(crate) fn forget(&self) {
        self.last.set(NOWHERE);
    }
    /// Takes up the current view; true if it was another.
    pub(crate) fn refresh(&mut self) -> bool {
        let view = self.space.view();
        let changed = !Arc::ptr_eq(&view, &self.view);
        if changed {
            self.view = view;
            self.last.set(NOWHERE);
        }
        changed
    }
    /// What is at `pa`.
    pub(crate) fn find(&self, pa: u64) -> Option<Found<'_>> {
        let range = self.view.lookup(pa)?;
        let at = pa - range.start;
        Some(match &range.target {
            Target::Ram { ram, offset, readonly } => {
                Found::Ram(ram, offset + at, if *readonly { Store::Dropped } else { Store::Memory })
            }
            Target::Romd { ram, offset, .. } => Found::Ram(ram, offset + at, Store::Device),
            Target::Mmio { .. } => Found::Device,
        })
    }
    /// Whether the [`WIDE`] bytes around `pa`, which is `offset` bytes into a block of RAM, are those around it there.
    pub(crate) fn has_in_a_row(&self, pa: u64, offset: u64) -> bool {
        let first = pa & !(WIDE - 1);
        let whole = |r: &memory::FlatRange| r.start <= first && r.last >= first + (WIDE - 1);
        (pa ^ offset) & (WIDE - 1) == 0 && self.view.lookup(pa).is_some_and(whole)
    }
    /// Loads aligned bytes from RAM or ROM; `None` if something else is there.
    #[inline]
    pub(crate) fn read_ram(&self, pa: u64, bytes: u32) -> Option<u64> {
        let (first, last, addend) = self.last.get();
        if pa >= first && pa <= last {
            return Some(crate::raw::load(pa.wrapping_add(addend), bytes));
        }
        self.read_other_ram(pa, bytes)
    }
    #[cold]
    fn read_other_ram(&self, pa: u64, bytes: u32) -> Option<u64> {
        let range = self.view.lookup(pa)?;
        match &range.target {
            Target::Ram { ram, offset, .. } | Target::Romd { ram, offset, .. } => {
                // Pages that have still to come are asked for one by one.
                if !ram.is_coming() {
                    let last = range.last.saturating_sub(7);
                    let host = ram.host_ptr() as u64 + offset;
                    self.last.set((range.start, last, host.wrapping_sub(range.start)));
                }
                Some(ram.read_int(offset + (pa - range.start), bytes))
            }
            Target::Mmio { .. } => None,
        }
    }
    /// The block and offset behind the page at this host address.
    pub(crate) fn ram_at(&self, host_page: u64) -> Option<(&Arc<Ram>, u64)> {
        self.view.ranges().iter().find_map(|r| match &r.target {
            Target::Ram { ram, .. } | Target::Romd { ram, .. } => {
                let offset = host_page.wrapping_sub(ram.host_ptr() as u64);
                (offset < ram.len()).then_some((ram, offset))
            }
            Target::Mmio { .. } => None,
        })
    }
    /// Loads through the bus; `None` where nothing answers.
    pub(crate) fn read(&self, pa: u64, bytes: u32) -> Option<u64> {
        self.space.read_int(pa, bytes).ok()
    }
    /// Stores through the bus; false where nothing answers.
    pub(crate) fn write(&self, pa: u64, bytes: u32, value: u64) -> bool {
        self.space.write_int(pa, bytes, value).is_ok()
    }
}
