//! What walks through the guest's page tables have come to: tables, and pages of devices.
//!
//! A walk asks here for the table that had the leaf last time, and reads one entry instead of one for each level. What a table maps is not
//! remembered here but in the TLB (`tlb.rs`); except registers of devices, of which the TLB knows nothing, so that each access would be a
//! walk. Whatever has the guest's translations forgotten, be it one page's, forgets all of this.

use cpu::{Access, Mapping, Space, Table};

/// Tables with the leaves, and pages of devices; both direct-mapped.
pub struct Walks {
    places: [Walk; WALKS],
    devices: [DevicePage; DEVICES],
    /// What has been noted under another number is forgotten.
    now: u64,
}

/// Places for tables.
const WALKS: usize = 64;
/// Places for pages of devices.
const DEVICES: usize = 8;

#[derive(Clone, Copy)]
struct Walk {
    when: u64,
    owner: u64,
    region: u64,
    table: Table,
}

#[derive(Clone, Copy)]
struct DevicePage {
    when: u64,
    space: Space,
    page: u64,
    /// Physical address of the page.
    physical: u64,
    read: bool,
    write: bool,
}

impl Default for Walks {
    fn default() -> Walks {
        let none =
            Walk { when: 0, owner: 0, region: 0, table: Table { address: 0, attributes: 0, below: 0 } };
        let no_device = DevicePage {
            when: 0,
            space: Space { number: 0, owner: 0 },
            page: 0,
            physical: 0,
            read: false,
            write: false,
        };
        Walks { places: [none; WALKS], devices: [no_device; DEVICES], now: 1 }
    }
}

impl Walks {
    /// The table for a region, if it is known.
    pub fn get(&self, owner: u64, region: u64) -> Option<Table> {
        let w = &self.places[region as usize % WALKS];
        (w.region == region && w.owner == owner && w.when == self.now).then_some(w.table)
    }
    /// Notes it.
    pub fn note(&mut self, owner: u64, region: u64, table: Table) {
        self.places[region as usize % WALKS] = Walk { when: self.now, owner, region, table };
    }
    /// Physical address of an access to a page that is known to be a device's.
    #[inline]
    pub fn device(&self, space: Space, va: u64, access: Access) -> Option<u64> {
        let d = &self.devices[(va >> 12) as usize % DEVICES];
        let allowed = match access {
            Access::Read => d.read,
            Access::Write => d.write,
            Access::Execute => false,
        };
        let known = d.page == va & !4095 && d.space == space && d.when == self.now;
        (known && allowed).then_some(d.physical | va & 4095)
    }
    /// Notes that registers are mapped there, if that holds for a whole page.
    pub fn note_device(&mut self, space: Space, va: u64, mapping: &Mapping) {
        if mapping.size_log2 >= 12 {
            let page = DevicePage {
                when: self.now,
                space,
                page: va & !4095,
                physical: mapping.physical & !4095,
                read: mapping.read,
                write: mapping.write,
            };
            self.devices[(va >> 12) as usize % DEVICES] = page;
        }
    }
    /// Forgets all.
    pub fn forget(&mut self) {
        self.now += 1;
    }
}

#[cfg(test)]
#[path = "walks_test.rs"]
mod test;
