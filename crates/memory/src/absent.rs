//! Pages whose content has still to come: a snapshot, a kernel, that is taken up page by page while the guest runs already.
//!
//! ```text
//! any access of Ram --> Ram::at --any?--> Absent::bring --> PageSource::page --> Ram::put_page
//! soft TLB fill -----> Ram::touch --^         ^
//! a thread: Ram::complete --------------------+
//! ```
//! The soft TLB is the page fault handler: an entry is filled only for a page that is there, and everybody else comes
//! through the accessors of [`crate::Ram`]. Rejected: `userfaultfd`, which not every host allows.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use base::{PAGE_BITS, PAGE_SIZE};

/// Where the content of absent pages comes from.
pub trait PageSource: Send + Sync {
    /// Copies the page at `offset` of the block. An error ends the program: the guest cannot go on without its memory.
    ///
    /// # Errors
    /// The content cannot be had; the text says why.
    fn page(&self, offset: u64, into: &mut [u8; PAGE_SIZE as usize]) -> Result<(), String>;
}

/// The pages of one block that are absent.
#[derive(Default)]
pub(crate) struct Absent {
    /// Some page is. False, the usual case, costs an access one load.
    any: AtomicBool,
    map: OnceLock<Map>,
    /// Held for reading while a page is brought, so that what is brought is of the source in use.
    source: RwLock<Option<Arc<dyn PageSource>>>,
}

/// A bit for each page of the block.
struct Map {
    absent: Box<[AtomicU64]>,
    /// Of those that are: somebody brings it already.
    claimed: Box<[AtomicU64]>,
}

impl Map {
    fn new(pages: u64) -> Map {
        let bits = || (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Map { absent: bits(), claimed: bits() }
    }
}

impl fmt::Debug for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Absent({})", self.any.load(Relaxed))
    }
}

impl Absent {
    #[inline]
    pub(crate) fn any(&self) -> bool {
        // Who sees that none is absent any more sees what has come, too.
        self.any.load(Acquire)
    }

    /// From now on of the block's `pages` those that `absent` says come from `source`, and no others do. While it says so, nothing comes
    /// from the source before.
    pub(crate) fn begin<I: Iterator<Item = u64>>(
        &self,
        pages: u64,
        source: Arc<dyn PageSource>,
        absent: impl FnOnce() -> I,
    ) {
        let mut slot = self.source.write().unwrap_or_else(PoisonError::into_inner);
        let absent = absent();
        let map = self.map.get_or_init(|| Map::new(pages));
        map.absent.iter().chain(&map.claimed).for_each(|word| word.store(0, Relaxed));
        absent.for_each(|page| _ = map.absent[(page / 64) as usize].fetch_or(1 << (page % 64), Relaxed));
        *slot = Some(source);
        self.any.store(true, Release);
    }

    /// Lets the pages within be there; `put` stores one.
    pub(crate) fn bring(&self, offset: u64, len: u64, put: &dyn Fn(u64, &[u8; PAGE_SIZE as usize])) {
        let Some(map) = self.map.get() else { return };
        if len == 0 {
            return;
        }
        for page in offset >> PAGE_BITS..=(offset + len - 1) >> PAGE_BITS {
            let (n, bit) = ((page / 64) as usize, 1 << (page % 64));
            while map.absent[n].load(Acquire) & bit != 0 {
                let source = self.source.read().unwrap_or_else(PoisonError::into_inner);
                // There may be another source since, of which it does not come.
                if map.absent[n].load(Relaxed) & bit == 0 {
                    break;
                }
                // One page comes once; who needs it meanwhile waits for it, and for no other.
                if map.claimed[n].fetch_or(bit, Relaxed) & bit != 0 {
                    drop(source);
                    std::thread::yield_now();
                    continue;
                }
                let mut bytes = [0; PAGE_SIZE as usize];
                let read = source.as_ref().map(|source| source.page(page << PAGE_BITS, &mut bytes));
                if let Some(Err(reason)) = read {
                    // Whoever else needs it ends here, too, instead of waiting.
                    map.claimed[n].fetch_and(!bit, Relaxed);
                    panic!("a page of the guest's memory cannot be read: {reason}");
                }
                put(page << PAGE_BITS, &bytes);
                map.absent[n].fetch_and(!bit, Release);
            }
        }
    }

    /// Lets go of the source if no page is absent any more.
    pub(crate) fn settle(&self) {
        let mut source = self.source.write().unwrap_or_else(PoisonError::into_inner);
        let left = self.map.get().is_some_and(|map| map.absent.iter().any(|word| word.load(Relaxed) != 0));
        if !left {
            self.any.store(false, Release);
            *source = None;
        }
    }
}

#[cfg(test)]
#[path = "absent_test.rs"]
mod test;
