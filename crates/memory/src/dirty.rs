//! Which pages of a RAM block have been written.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::sync::{Arc, OnceLock};

use base::PAGE_BITS;

/// Who wants to know of written pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DirtyClient {
    /// A migration: what is still to be sent.
    Migration,
    /// A display: what is to be drawn again.
    Vga,
    /// The translator: a set bit means that there is translated code from the page.
    Code,
    /// A snapshot: what has changed since it was taken.
    Snapshot,
    /// A device that keeps the content elsewhere too (flash), and has to hear of what others write.
    WriteBack,
}

/// Those who want to know of every store.
const LOGS: [DirtyClient; 4] =
    [DirtyClient::Migration, DirtyClient::Vga, DirtyClient::Snapshot, DirtyClient::WriteBack];
const CLIENTS: usize = 5;
const CODE: u32 = 1 << DirtyClient::Code as u32;

/// Hears of stores into pages from which code has been translated, when they are made by others than the
/// processor's own translated code: devices, the monitor, a loader.
pub trait CodeWatcher: Send + Sync {
    /// `len` bytes at `offset` of the block have been written.
    fn code_written(&self, offset: u64, len: u64);
}

/// The bitmaps of a RAM block, one for each client, allocated when the client first asks.
#[derive(Default)]
pub(crate) struct Dirty {
    pages: u64,
    /// Bit for each client that is enabled. Zero, the usual case, costs a store one load.
    clients: AtomicU32,
    maps: [OnceLock<Box<[AtomicU64]>>; CLIENTS],
    watcher: OnceLock<Arc<dyn CodeWatcher>>,
}

impl fmt::Debug for Dirty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dirty({} pages, clients {:#b})", self.pages, self.clients.load(Relaxed))
    }
}

impl Dirty {
    pub(crate) fn new(len: u64) -> Self {
        Self { pages: len.div_ceil(base::PAGE_SIZE), ..Self::default() }
    }

    fn map(&self, client: DirtyClient) -> &[AtomicU64] {
        self.maps[client as usize]
            .get_or_init(|| (0..self.pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn enable(&self, client: DirtyClient, on: bool) {
        let bit = 1 << client as u32;
        if on {
            self.map(client);
            self.clients.fetch_or(bit, SeqCst);
        } else {
            self.clients.fetch_and(!bit, SeqCst);
        }
    }

    #[inline]
    pub(crate) fn enabled(&self, client: DirtyClient) -> bool {
        self.clients.load(Relaxed) & (1 << client as u32) != 0
    }

    #[inline]
    pub(crate) fn written(&self, offset: u64, len: u64) {
        if self.clients.load(Relaxed) != 0 {
            self.mark(offset, len);
        }
    }

    #[cold]
    fn mark(&self, offset: u64, len: u64) {
        self.log(offset, len);
        if self.clients.load(Relaxed) & CODE != 0 {
            // Who translates marks the page and then reads it: either that finds what has just been stored, or we find the mark.
            fence(SeqCst);
            if self.any(DirtyClient::Code, offset, len) {
                self.tell_code(offset, len);
            }
        }
    }

    /// Notes a store for those who want to know of every one.
    #[inline]
    pub(crate) fn log(&self, offset: u64, len: u64) {
        let clients = self.clients.load(Relaxed);
        if clients & !CODE == 0 {
            return;
        }
        for client in LOGS {
            if clients & (1 << client as u32) != 0 {
                self.set(client, offset, len);
            }
        }
    }

    /// Whether all who want to know of every store know of one to the page at `offset`.
    #[inline]
    pub(crate) fn known(&self, offset: u64) -> bool {
        let clients = self.clients.load(Relaxed);
        let wants = |client: &DirtyClient| clients & (1 << *client as u32) != 0;
        clients & !CODE == 0 || LOGS.iter().filter(|c| wants(c)).all(|c| self.any(*c, offset, 1))
    }

    /// Tells the watcher of translated code that it has been overwritten.
    pub(crate) fn tell_code(&self, offset: u64, len: u64) {
        if let Some(watcher) = self.watcher.get() {
            watcher.code_written(offset, len);
        }
    }

    /// The pages that `len` bytes at `offset` touch.
    fn range(&self, offset: u64, len: u64) -> std::ops::Range<u64> {
        let end = offset.saturating_add(len).div_ceil(base::PAGE_SIZE).min(self.pages);
        (offset >> PAGE_BITS).min(end)..if len == 0 { 0 } else { end }
    }

    pub(crate) fn set(&self, client: DirtyClient, offset: u64, len: u64) {
        let map = self.map(client);
        for page in self.range(offset, len) {
            let (word, bit) = (&map[(page / 64) as usize], 1 << (page % 64));
            // Most stores go to pages that are dirty already: reading keeps the line shared among the vCPUs.
            if word.load(SeqCst) & bit == 0 {
                word.fetch_or(bit, SeqCst);
            }
        }
    }

    pub(crate) fn clear(&self, client: DirtyClient, offset: u64, len: u64) {
        if let Some(map) = self.maps[client as usize].get() {
            for page in self.range(offset, len) {
                map[(page / 64) as usize].fetch_and(!(1 << (page % 64)), SeqCst);
            }
        }
    }

    /// Whether the page at `offset` is dirty.
    #[inline]
    pub(crate) fn is_set(&self, client: DirtyClient, offset: u64) -> bool {
        let page = offset >> PAGE_BITS;
        let Some(map) = self.maps[client as usize].get() else { return false };
        map.get((page / 64) as usize).is_some_and(|word| word.load(Relaxed) >> (page % 64) & 1 != 0)
    }

    #[inline]
    pub(crate) fn any(&self, client: DirtyClient, offset: u64, len: u64) -> bool {
        let Some(map) = self.maps[client as usize].get() else { return false };
        self.range(offset, len).any(|page| map[(page / 64) as usize].load(Relaxed) & (1 << (page % 64)) != 0)
    }

    /// Offsets of the dirty pages, whose bits are cleared in the same moment.
    pub(crate) fn take(&self, client: DirtyClient, offset: u64, len: u64) -> Vec<u64> {
        let mut found = Vec::new();
        let Some(map) = self.maps[client as usize].get() else { return found };
        let pages = self.range(offset, len);
        let mut page = pages.start;
        while page < pages.end {
            let (word, first) = ((page / 64) as usize, page % 64);
            let last = (pages.end - (page - first)).min(64);
            let wanted = (u64::MAX << first) & if last == 64 { u64::MAX } else { (1 << last) - 1 };
            let mut bits = match map[word].load(Relaxed) & wanted {
                0 => 0,
                _ => map[word].fetch_and(!wanted, SeqCst) & wanted,
            };
            while bits != 0 {
                found.push((page - first + u64::from(bits.trailing_zeros())) << PAGE_BITS);
                bits &= bits - 1;
            }
            page += 64 - first;
        }
        found
    }

    pub(crate) fn watch(&self, watcher: Arc<dyn CodeWatcher>) {
        let _ = self.watcher.set(watcher);
    }
}
