//! Physical memory protection (Privileged ISA, section "Physical Memory Protection"): 16 entries, grain 4 bytes.

use crate::mode::M;
use crate::slot;
use cpu::{Access, Frame};

/// Entries.
pub const ENTRIES: usize = 16;
/// Lock bit of a configuration byte.
pub const LOCK: u8 = 0x80;

/// One entry as a range of bytes, `first..=last`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    config: u8,
}

/// All entries that match something, in order.
#[derive(Clone, Debug, Default)]
pub struct Pmp {
    ranges: Vec<Range>,
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
                ranges.push(Range { first, last, config });
            }
            below = address;
        }
        Pmp { ranges }
    }
    /// What `privilege` may do at `pa`; looks at most at the 2^`size_log2` bytes around it.
    pub fn permission(&self, pa: u64, privilege: u8, size_log2: u8) -> Permission {
        let mut size_log2 = size_log2.clamp(2, 63);
        for r in &self.ranges {
            // The part of the block around pa that lies apart from this range, or inside it.
            loop {
                let first = pa >> size_log2 << size_log2;
                let last = first | ((1 << size_log2) - 1);
                let apart = last < r.first || first > r.last;
                let inside = first >= r.first && last <= r.last;
                if apart {
                    break;
                }
                if inside {
                    let free = privilege == M && r.config & LOCK == 0;
                    return Permission {
                        read: free || r.config & 1 != 0,
                        write: free || r.config & 2 != 0,
                        execute: free || r.config & 4 != 0,
                        size_log2,
                    };
                }
                if size_log2 <= 2 {
                    break;
                }
                size_log2 -= 1;
            }
        }
        // No entry matches: M may do everything, others nothing.
        let free = privilege == M;
        Permission { read: free, write: free, execute: free, size_log2 }
    }
}
