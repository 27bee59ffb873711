//! Watchpoints of the debugger: looked at only in the pages where there are any.

use crate::Access;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A range of guest virtual memory that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchpoint {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub len: u64,
    /// Loads stop the machine.
    pub read: bool,
    /// Stores do.
    pub write: bool,
}

impl Watchpoint {
    fn wants(&self, access: Access) -> bool {
        match access {
            Access::Read => self.read,
            Access::Write => self.write,
            Access::Execute => false,
        }
    }
    /// Whether it has a byte in common with `len` bytes at `va`.
    fn overlaps(&self, va: u64, len: u64) -> bool {
        // Both are distances from a start, so that a range may end at the last address there is.
        va.wrapping_sub(self.address) < self.len || self.address.wrapping_sub(va) < len
    }
}

/// The set of watchpoints.
#[derive(Default)]
pub struct Watchpoints {
    any: AtomicBool,
    generation: AtomicU64,
    all: Mutex<Vec<Watchpoint>>,
}

impl Watchpoints {
    /// Whether there is any.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.any.load(Relaxed)
    }
    /// Changes whenever the set does.
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }
    /// Which accesses to the 4 KiB page of `va` may not go by unseen: (loads, stores).
    #[inline]
    pub fn in_page(&self, va: u64) -> (bool, bool) {
        if self.any() { self.find_in_page(va) } else { (false, false) }
    }
    #[cold]
    fn find_in_page(&self, va: u64) -> (bool, bool) {
        let set = self.set();
        let here = set.iter().filter(|w| w.overlaps(va & !4095, 4096));
        here.fold((false, false), |(r, w), p| (r | p.read, w | p.write))
    }
    /// The watchpoint that an access of `len` bytes meets.
    #[inline]
    pub fn met(&self, va: u64, len: u64, access: Access) -> Option<Watchpoint> {
        if self.any() { self.find(va, len, access) } else { None }
    }
    #[cold]
    fn find(&self, va: u64, len: u64, access: Access) -> Option<Watchpoint> {
        self.set().iter().find(|w| w.wants(access) && w.overlaps(va, len)).copied()
    }
    /// Adds one; false if it was there or is empty.
    pub fn insert(&self, w: Watchpoint) -> bool {
        let mut set = self.set();
        if w.len == 0 || set.contains(&w) {
            return false;
        }
        set.push(w);
        self.changed(&set);
        true
    }
    /// Removes one; false if there was none.
    pub fn remove(&self, w: Watchpoint) -> bool {
        let mut set = self.set();
        let before = set.len();
        set.retain(|x| *x != w);
        self.changed(&set);
        set.len() != before
    }
    /// All of them.
    pub fn all(&self) -> Vec<Watchpoint> {
        self.set().clone()
    }
    /// Removes all.
    pub fn clear(&self) {
        let mut set = self.set();
        set.clear();
        self.changed(&set);
    }
    fn changed(&self, set: &[Watchpoint]) {
        self.any.store(!set.is_empty(), Release);
        self.generation.fetch_add(1, AcqRel);
    }
    fn set(&self) -> MutexGuard<'_, Vec<Watchpoint>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "watchpoint_test.rs"]
mod test;
