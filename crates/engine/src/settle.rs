//! A page becomes one of code while other vCPUs run.
//!
//! Translated code looks at a write tag and then stores. When another vCPU takes that tag away to translate from the page, the
//! store may still be to come: the translation would be made of the old bytes, and nobody would ever be told of the new
//! ones. So nothing is translated from a page whose tags others had until each of them has been outside of
//! translated code once. That is soon, since they are kicked; until then who wants to run that code interprets it.
//!
//! A tag that has been replaced since its owner looked at it, by a miss of another access in the same block or region, is still
//! found among the victims (`tlb.rs`), unless many have been replaced since.

use crate::profile::Activity;
use crate::tlb::Entries;
use cpu::CpuHandle;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a vCPU is: odd while it may be in translated code, and another number each time that it is not.
#[derive(Default)]
pub(crate) struct Turn(AtomicU64);

impl Turn {
    /// It goes in, or out. Looks at the TLB follow, which must not come before it.
    #[inline]
    pub(crate) fn toggle(&self) {
        self.0.fetch_add(1, SeqCst);
    }
    /// It has come out, and goes in again.
    #[inline]
    pub(crate) fn next(&self) {
        self.0.fetch_add(2, SeqCst);
    }
    fn now(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// TLB entries and the vCPU that they belong to.
pub(crate) struct Owned {
    pub(crate) entries: Arc<Entries>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) handle: Arc<CpuHandle>,
}

/// A vCPU that may still be about to store into a page.
struct Late {
    host_page: u64,
    activity: Arc<Activity>,
    turn: u64,
}

/// Whom the new pages of code are waiting for.
#[derive(Default)]
pub(crate) struct Settling {
    late: Mutex<Vec<Late>>,
    /// There may be some.
    any: AtomicBool,
}

impl Settling {
    fn all(&self) -> MutexGuard<'_, Vec<Late>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The page waits for a vCPU, if that is in translated code.
    pub(crate) fn wait_for(&self, host_page: u64, owner: &Owned) {
        let turn = owner.activity.turn.now();
        if turn & 1 != 0 {
            let mut all = self.all();
            self.any.store(true, SeqCst);
            all.push(Late { host_page, activity: owner.activity.clone(), turn });
            owner.handle.kick();
        }
    }
    /// Whether nobody can store into the page unseen any more.
    pub(crate) fn is_over(&self, host_page: u64) -> bool {
        if !self.any.load(SeqCst) {
            return true;
        }
        let mut all = self.all();
        all.retain(|late| late.activity.turn.now() == late.turn);
        self.any.store(!all.is_empty(), SeqCst);
        all.iter().all(|late| late.host_page != host_page)
    }
}

#[cfg(test)]
#[path = "settle_test.rs"]
mod test;
