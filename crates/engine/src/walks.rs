//! Tables that walks through the guest's page tables have come to.
//!
//! A walk asks here for the table that had the leaf last time, and reads one entry instead of one for each level. What a table maps is not
//! remembered here but in the TLB (`tlb.rs`). Whatever has the guest's translations forgotten, be it one page's, forgets all of this.

use cpu::Table;

/// Tables with the leaves that walks have come to, direct-mapped.
pub struct Walks {
    places: [Walk; WALKS],
    /// What has been noted under another number is forgotten.
    now: u64,
}

/// Places for tables.
const WALKS: usize = 64;

#[derive(Clone, Copy)]
struct Walk {
    when: u64,
    owner: u64,
    region: u64,
    table: Table,
}

impl Default for Walks {
    fn default() -> Walks {
        let none =
            Walk { when: 0, owner: 0, region: 0, table: Table { address: 0, attributes: 0, below: 0 } };
        Walks { places: [none; WALKS], now: 1 }
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
    /// Forgets all.
    pub fn forget(&mut self) {
        self.now += 1;
    }
}

#[cfg(test)]
#[path = "walks_test.rs"]
mod test;
