//! Which code is worth translating.
//!
//! Much of what a guest runs while it boots, or starts a program, it runs once. The interpreter does that in a sixth of the
//! time that a translation takes. So code is translated when a vCPU comes to it after it has been interpreted
//! (`-accel tcg,warmup=N` times).

use crate::cache::Key;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

/// Counters; many more than the blocks that are met for the first time between two agings.
const PLACES: usize = 1 << 20;

/// How often code was met that has no translation. Keys share counters: then code is translated a little earlier.
pub(crate) struct Heat {
    /// What makes code warm.
    warmup: u8,
    met: Box<[AtomicU8]>,
    /// Meetings counted since the last aging.
    meetings: AtomicU32,
}

impl Heat {
    /// Nothing met yet; code is warm after `warmup` times.
    pub(crate) fn new(warmup: u8) -> Heat {
        let places = if warmup == 0 { 0 } else { PLACES };
        Heat { warmup, met: crate::raw::zeroed(places), meetings: AtomicU32::new(0) }
    }
    /// Whether a vCPU that comes to `key` should rather interpret it. Counts that it came.
    pub(crate) fn is_cold(&self, key: Key) -> bool {
        let Some(met) = self.met.get(Heat::place(key)) else { return false };
        let n = met.load(Relaxed);
        if n >= self.warmup {
            return false;
        }
        met.store(n + 1, Relaxed);
        if self.meetings.fetch_add(1, Relaxed) as usize > PLACES / 2 {
            self.age();
        }
        true
    }
    /// Whether a vCPU has come to `key` lately, as far as that is noted.
    pub(crate) fn is_met(&self, key: Key) -> bool {
        self.met.get(Heat::place(key)).is_none_or(|n| n.load(Relaxed) > 0)
    }
    fn place(key: Key) -> usize {
        // A page's places lie together, as those of the index do.
        let mixed = key.page_and_mode().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (mixed.wrapping_add(key.offset() >> 1)) as usize & (PLACES - 1)
    }
    /// Forgets what was met, before it fills the table.
    #[cold]
    fn age(&self) {
        self.meetings.store(0, Relaxed);
        self.met.iter().for_each(|m| m.store(0, Relaxed));
    }
}
