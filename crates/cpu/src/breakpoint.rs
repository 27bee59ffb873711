//! Breakpoints of the debugger: looked at only while there are any.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Mutex, PoisonError};

/// A set of guest virtual addresses at which execution stops before the instruction there.
#[derive(Default)]
pub struct Breakpoints {
    any: AtomicBool,
    generation: AtomicU64,
    at: Mutex<BTreeSet<u64>>,
}

impl Breakpoints {
    /// Whether there is any.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.any.load(Relaxed)
    }
    /// Changes whenever the set does.
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }
    /// Whether one is at `pc`.
    pub fn at(&self, pc: u64) -> bool {
        self.any() && self.set().contains(&pc)
    }
    /// Whether one lies in the 4 KiB page that contains `pc`.
    pub fn in_page(&self, pc: u64) -> bool {
        let page = pc & !4095;
        self.any() && self.set().range(page..=page | 4095).next().is_some()
    }
    /// Adds one; false if it was there.
    pub fn insert(&self, pc: u64) -> bool {
        let new = self.set().insert(pc);
        self.any.store(true, Release);
        self.generation.fetch_add(1, AcqRel);
        new
    }
    /// Removes one; false if there was none.
    pub fn remove(&self, pc: u64) -> bool {
        let mut set = self.set();
        let was = set.remove(&pc);
        self.any.store(!set.is_empty(), Release);
        self.generation.fetch_add(1, AcqRel);
        was
    }
    /// All of them.
    pub fn all(&self) -> Vec<u64> {
        self.set().iter().copied().collect()
    }
    /// Removes all.
    pub fn clear(&self) {
        self.set().clear();
        self.any.store(false, Release);
        self.generation.fetch_add(1, AcqRel);
    }
    fn set(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
