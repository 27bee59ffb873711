//! Physical memory protection (Privileged ISA, section "Physical Memory Protection"): 16 entries, grain 4 bytes.

use crate::mode::M;
use crate::slot;
use cpu::{Access, Frame};
use std::cell::Cell;

/// Entries.
pub const ENTRIES: usize = 16;
/// Lock bit of a configuration byte.
pub const LOCK: u8 = 0x80;

/// One entry as a range of bytes, `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    /// Configuration byte; `None` where no entry matches.
    config: Option<u8>,
}

impl Range {
    /// No byte.
    const NOWHERE: Range = Range { first: 1, last: 0, config: None };

    /// What `privilege` may do in it.
    #[inline]
    fn permission(&self, privilege: u8, size_log2: u8) -> Permission {
        // Where no entry matches, M may do everything and others nothing; unlocked entries do not bind M.
        let config = self.config.unwrap_or(0);
        let free = privilege == M && config & LOCK == 0;
        Permission {
            read: free || config & 1 != 0,
            write: free || config & 2 != 0,
            execute: free || config & 4 != 0,
            size_log2,
        }
    }
}

/// All entries that match something, in order.
#[derive(Clone, Debug)]
pub struct Pmp {
    ranges: Vec<Range>,
    /// Where the last answer holds.
    hint: Cell<Range>,
}

impl Default for Pmp {
    fn default() -> Pmp {
        Pmp { ranges: Vec::new(), hint: Cell::new(Range::NOWHERE) }
    }
}

/// What may be done at an address, and how far around it that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Fetches.
    pub execute: bool,
    /// log2 of the naturally aligned bytes around the address for which the same holds.
    pub size_log2: u8,
}

impl Permission {
    /// Whether `access` is allowed.
    pub fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.read,
            Access::Write => self.write,
            Access::Execute => self.execute,
        }
    }
}

/// Configuration byte of entry `n`.
pub fn config(frame: &Frame, n: usize) -> u8 {
    let word = frame.get(if n < 8 { slot::PMPCFG0 } else { slot::PMPCFG8 });
    (word >> (n % 8 * 8)) as u8
}

impl Pmp {
    /// Turns the registers into ranges.
    pub fn fold(frame: &Frame) -> Pmp {
        let mut ranges = Vec::new();
        let mut below = 0;
        for n in 0..ENTRIES {
            let address = frame.get(slot::PMPADDR0 + n as u16);
            let config = config(frame, n);
            let bounds = match config >> 3 & 3 {
                1 if address > below => Some((below << 2, (address << 2).wrapping_sub(1))),
                2 => Some((address << 2, address << 2 | 3)),
                3 => {
                    let ones = address.trailing_ones().min(60);
                    let size = 8u64.checked_shl(ones).unwrap_or(0);
                    let first = (address << 2) & !size.wrapping_sub(1);
                    Some((first, first | size.wrapping_sub(1)))
                }
                _ => None,
            };
            if let Some((first, last)) = bounds {
                ranges.push(Range { first, last, config: Some(config) });
            }
            below = address;
        }
        Pmp { ranges, ..Pmp::default() }
    }
    /// The entry that decides at `pa`, cut to the bytes around it for which no entry before it decides.
    #[inline]
    fn deciding(&self, pa: u64) -> Range {
        let hint = self.hint.get();
        if hint.first <= pa && pa <= hint.last { hint } else { self.find(pa) }
    }
    #[cold]
    fn find(&self, pa: u64) -> Range {
        let mut found = Range { first: 0, last: u64::MAX, config: None };
        for r in &self.ranges {
            if r.last < pa {
                found.first = found.first.max(r.last + 1);
            } else if r.first > pa {
                found.last = found.last.min(r.first - 1);
            } else {
                found.first = found.first.max(r.first);
                found.last = found.last.min(r.last);
                found.config = r.config;
                break;
            }
        }
        self.hint.set(found);
        found
    }
    /// Whether `privilege` may do this at `pa`.
    #[inline]
    pub fn allows(&self, pa: u64, privilege: u8, access: Access) -> bool {
        self.deciding(pa).permission(privilege, 2).allows(access)
    }
    /// What `privilege` may do at `pa`; looks at most at the 2^`size_log2` bytes around it.
    #[inline]
    pub fn permission(&self, pa: u64, privilege: u8, size_log2: u8) -> Permission {
        let r = self.deciding(pa);
        let mut size_log2 = size_log2.clamp(2, 63);
        loop {
            let first = pa >> size_log2 << size_log2;
            let last = first | ((1 << size_log2) - 1);
            if first >= r.first && last <= r.last || size_log2 <= 2 {
                break;
            }
            size_log2 -= 1;
        }
        r.permission(privilege, size_log2)
    }
}

#[cfg(test)]
#[path = "pmp_test.rs"]
mod test;
