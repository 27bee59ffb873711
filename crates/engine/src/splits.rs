//! Where groups of accesses go on that lie in two pages.
//!
//! Translated code looks into the TLB once for a group. Stack frames and larger structures may lie across the end of a page, and then do so
//! again and again. So for each place that has called for such a group this table has the code in which each access is on its own; the
//! stub that would call [`host::Hooks::fill`] looks here first.

use host::SPLITS;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The table of one vCPU, read by translated code; see [`SPLITS`].
pub(crate) struct Splits {
    places: Box<[[AtomicU64; 2]]>,
    /// There may be some.
    any: AtomicBool,
}

impl Default for Splits {
    fn default() -> Splits {
        let places = (0..SPLITS).map(|_| [const { AtomicU64::new(0) }; 2]).collect();
        Splits { places, any: AtomicBool::new(false) }
    }
}

impl Splits {
    pub(crate) fn address(&self) -> u64 {
        self.places.as_ptr() as u64
    }
    /// Where what returns to `at` goes on, if that is known.
    pub(crate) fn get(&self, at: u64) -> Option<u64> {
        let place = &self.places[at as usize / 16 % SPLITS];
        (place[0].load(Relaxed) == at).then(|| place[1].load(Relaxed))
    }
    /// What returns to `at` goes on in `code`.
    pub(crate) fn set(&self, at: u64, code: u64) {
        self.any.store(true, Relaxed);
        let place = &self.places[at as usize / 16 % SPLITS];
        place[0].store(at, Relaxed);
        place[1].store(code, Relaxed);
    }
    /// Forgets all of it: translations are gone, or are to be asked for.
    pub(crate) fn forget(&self) {
        if self.any.swap(false, Relaxed) {
            self.places.iter().for_each(|place| place[0].store(0, Relaxed));
        }
    }
}
