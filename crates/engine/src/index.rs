//! Which code there is for which key: a table that every vCPU reads without a lock.
//!
//! A place belongs to one key from the moment that it is first taken until everything is forgotten. So a reader who has
//! seen the key there may trust the value that it reads next: it is this key's, or zero if the translation has died.
//! Writers hold the code cache's lock.

use crate::cache::Key;
use std::sync::atomic::{AtomicU64, Ordering::*};

/// One place of the table.
pub(crate) struct Place {
    key: AtomicU64,
    /// 0: none.
    value: AtomicU64,
}

/// The table. Keys and values are never 0.
pub(crate) struct Index {
    places: Box<[Place]>,
    taken: AtomicU64,
}

impl Index {
    /// A table of `places` (a power of two).
    pub(crate) fn new(places: usize) -> Index {
        Index { places: crate::raw::zeroed(places.next_power_of_two()), taken: AtomicU64::new(0) }
    }
    /// Gets the table's memory before a vCPU waits for it.
    pub(crate) fn get_ahead(&self) {
        crate::raw::get_ahead(&self.places);
    }
    /// What lies together in a page lies together here: a vCPU that looks for one block looks for its neighbours next,
    /// and the host's caches are too small for the table.
    fn start(&self, key: Key) -> usize {
        let (place, mixed) = (key.offset() >> 3, key.page_and_mode().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        ((mixed >> 32) as usize).wrapping_add(place as usize) & (self.places.len() - 1)
    }
    /// The place that belongs to `key`, if it has ever had a value.
    #[inline]
    fn place(&self, key: Key) -> Option<&Place> {
        let mask = self.places.len() - 1;
        let mut at = self.start(key);
        loop {
            let place = &self.places[at];
            match place.key.load(Acquire) {
                0 => return None,
                k if k == key.0 => return Some(place),
                _ => at = (at + 1) & mask,
            }
        }
    }
    /// The value of `key`.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<u64> {
        Some(self.place(key)?.value.load(Acquire)).filter(|&v| v != 0)
    }
    /// Whether `key` has a value, or has had one.
    pub(crate) fn knows(&self, key: Key) -> bool {
        self.place(key).is_some()
    }
    /// Gives `key` a value, 0 to take it away.
    pub(crate) fn set(&self, key: Key, value: u64) {
        let mask = self.places.len() - 1;
        let mut at = self.start(key);
        loop {
            let place = &self.places[at];
            match place.key.load(Relaxed) {
                0 if value == 0 => return,
                0 => {
                    place.value.store(value, Relaxed);
                    place.key.store(key.0, Release);
                    self.taken.fetch_add(1, Relaxed);
                    return;
                }
                k if k == key.0 => return place.value.store(value, Release),
                _ => at = (at + 1) & mask,
            }
        }
    }
    /// Whether so many places are taken that looking takes long.
    pub(crate) fn crowded(&self) -> bool {
        self.taken.load(Relaxed) as usize > self.places.len() / 4 * 3
    }
    /// Forgets everything. Nobody reads meanwhile.
    pub(crate) fn clear(&self) {
        for place in &self.places {
            place.key.store(0, Relaxed);
            place.value.store(0, Relaxed);
        }
        self.taken.store(0, Relaxed);
    }
}
