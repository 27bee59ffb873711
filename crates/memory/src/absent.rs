//! Pages whose content has still to come: a snapshot that is taken up page by page while the guest runs already.
//!
//! ```text
//! any access of Ram --> Ram::at --any?--> Absent::bring --> PageSource::page --> Ram::put_page
//! soft TLB fill -----> Ram::touch --^         ^
//! a thread in the background -----------------+
//! ```
//! The soft TLB is the page fault handler: an entry is filled only for a page that is there, and everybody else comes
//! through the accessors of [`crate::Ram`]. Rejected: `userfaultfd`, which not every host allows.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, OnceLock};

use base::{PAGE_BITS, PAGE_SIZE};

use crate::region::lock;

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
    map: OnceLock<Box<[AtomicU64]>>,
    /// Held while a page is brought, so that it comes once.
    source: Mutex<Option<Arc<dyn PageSource>>>,
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

    /// From now on the pages for which `absent` holds come from `source`.
    pub(crate) fn begin(&self, pages: u64, source: Arc<dyn PageSource>, absent: impl Fn(u64) -> bool) {
        let mut slot = lock(&self.source);
        let map = self.map.get_or_init(|| (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect());
        for (n, word) in map.iter().enumerate() {
            let first = n as u64 * 64;
            let bits = (0..64.min(pages - first)).filter(|bit| absent(first + bit));
            word.store(bits.fold(0, |word, bit| word | 1 << bit), Relaxed);
        }
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
            let (word, bit) = (&map[(page / 64) as usize], 1 << (page % 64));
            if word.load(Acquire) & bit == 0 {
                continue;
            }
            let source = lock(&self.source);
            if word.load(Acquire) & bit == 0 {
                continue;
            }
            let Some(source) = source.as_ref() else { continue };
            let mut bytes = [0; PAGE_SIZE as usize];
            if let Err(reason) = source.page(page << PAGE_BITS, &mut bytes) {
                panic!("a page of the guest's memory cannot be read from its snapshot: {reason}");
            }
            put(page << PAGE_BITS, &bytes);
            word.fetch_and(!bit, Release);
        }
    }

    /// Lets go of the source if no page is absent any more; whether that is so.
    pub(crate) fn settle(&self) -> bool {
        let mut source = lock(&self.source);
        let left = self.map.get().is_some_and(|map| map.iter().any(|word| word.load(Relaxed) != 0));
        if !left {
            self.any.store(false, Release);
            *source = None;
        }
        !left
    }
}
