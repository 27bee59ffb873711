//! Guest RAM: host memory that several threads, translated code and the kernel write at the same time.
//!
//! All safe accessors go through relaxed atomics, so that they are defined whatever the others do; an access
//! that is not aligned is made of smaller ones, as on most hardware. Numbers are little-endian. Offsets are
//! checked; an offset outside of the block is a mistake of ours (addresses from the guest pass a flat view
//! first), and panics.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, Ordering::Relaxed};

use base::{Error, Result};
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::absent::{Absent, PageSource};
use crate::ahead::{self, Ahead, PIECE_BITS};
use crate::dirty::{CodeWatcher, Dirty, DirtyClient};

/// A block of guest RAM.
#[derive(Debug)]
pub struct Ram {
    base: NonNull<u8>,
    len: u64,
    file: Option<OwnedFd>,
    shared: bool,
    dirty: Dirty,
    absent: Absent,
    /// Only for blocks that huge pages can back.
    ahead: Option<Ahead>,
}

// SAFETY: the mapping belongs to this value alone and stays where it is until the drop; all access to its
// bytes is through atomics or through `host_ptr`, whose users answer for it themselves.
unsafe impl Send for Ram {}
// SAFETY: as above.
unsafe impl Sync for Ram {}

macro_rules! accessors {
    ($($ty:ident $atomic:ident $read:ident $write:ident $cas:ident;)*) => {$(
        #[doc = concat!("The little-endian `", stringify!($ty), "` at `offset`.")]
        #[inline]
        pub fn $read(&self, offset: u64) -> $ty {
            let ptr = self.at(offset, size_of::<$ty>() as u64);
            if offset.is_multiple_of(size_of::<$ty>() as u64) {
                // SAFETY: inside the mapping (`at`) and aligned, since the mapping begins at a page.
                $ty::from_le(unsafe { $atomic::from_ptr(ptr.cast()) }.load(Relaxed))
            } else {
                let mut bytes = [0; size_of::<$ty>()];
                self.read(offset, &mut bytes);
                $ty::from_le_bytes(bytes)
            }
        }
        #[doc = concat!("Stores a little-endian `", stringify!($ty), "` at `offset`.")]
        #[inline]
        pub fn $write(&self, offset: u64, value: $ty) {
            let ptr = self.at(offset, size_of::<$ty>() as u64);
            if offset.is_multiple_of(size_of::<$ty>() as u64) {
                // SAFETY: as in the read.
                unsafe { $atomic::from_ptr(ptr.cast()) }.store(value.to_le(), Relaxed);
                self.dirty.written(offset, size_of::<$ty>() as u64);
            } else {
                self.write(offset, &value.to_le_bytes());
            }
        }
        #[doc = concat!("Replaces the little-endian `", stringify!($ty), "` at an aligned `offset` by `new` if it is")]
        /// `old`, atomically and sequentially consistent. `Ok` and `Err` hold what was there.
        #[inline]
        pub fn $cas(&self, offset: u64, old: $ty, new: $ty) -> std::result::Result<$ty, $ty> {
            assert!(offset.is_multiple_of(size_of::<$ty>() as u64), "unaligned compare-and-swap at {offset:#x}");
            let ptr = self.at(offset, size_of::<$ty>() as u64);
            // SAFETY: as in the read.
            let cell = unsafe { $atomic::from_ptr(ptr.cast()) };
            let done = cell.compare_exchange(old.to_le(), new.to_le(), Ordering::SeqCst, Ordering::SeqCst);
            if done.is_ok() {
                self.dirty.written(offset, size_of::<$ty>() as u64);
            }
            done.map($ty::from_le).map_err($ty::from_le)
        }
    )*};
}

impl Ram {
    /// Memory of its own, zero, allocated by the host page by page as it is touched. `len` must not be zero.
    pub fn anonymous(len: u64) -> Result<Arc<Self>> {
        Self::map(len, None, false)
    }

    /// Memory in a file without a name, which can be handed to other processes. `name` shows up in `/proc`.
    pub fn memfd(name: &str, len: u64) -> Result<Arc<Self>> {
        use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
        let failed = |e: rustix::io::Errno| cannot_allocate(len).because(e);
        let file = memfd_create(name, MemfdFlags::CLOEXEC).map_err(failed)?;
        ftruncate(&file, len).map_err(failed)?;
        Self::map(len, Some(file), true)
    }

    /// Memory backed by a file, which is created or lengthened if need be. With `share` stores go to the file.
    pub fn file(path: &Path, len: u64, share: bool) -> Result<Arc<Self>> {
        let failed = |e: std::io::Error| {
            base::error!("can't open backing store {} for guest RAM", path.display()).because(e)
        };
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < len {
            file.set_len(len).map_err(failed)?;
        }
        Self::map(len, Some(file.into()), share)
    }

    fn map(len: u64, file: Option<OwnedFd>, shared: bool) -> Result<Arc<Self>> {
        let size = usize::try_from(len).ok().filter(|&n| n > 0).ok_or_else(|| cannot_allocate(len))?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let sharing = if shared { MapFlags::SHARED } else { MapFlags::PRIVATE };
        // A margin lets the block begin at a huge page, so that it can be backed by such.
        let margin = if file.is_none() && len >= 2 * HUGE { HUGE as usize } else { 0 };
        let total = size.checked_add(margin).ok_or_else(|| cannot_allocate(len))?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let mapped = unsafe {
            match &file {
                Some(file) => rustix::mm::mmap(
                    std::ptr::null_mut(),
                    size,
                    protection,
                    sharing | MapFlags::NORESERVE,
                    file,
                    0,
                ),
                None => rustix::mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    total,
                    protection,
                    sharing | MapFlags::NORESERVE,
                ),
            }
        }
        .map_err(|e| cannot_allocate(len).because(e))?;
        let base = trim(mapped.cast(), size, margin);
        // Not every kernel has huge pages, and memory works without.
        // SAFETY: advice on our own mapping, without effect on its content.
        let _ = unsafe { rustix::mm::madvise(base.cast(), size, Advice::LinuxHugepage) };
        let base = NonNull::new(base).ok_or_else(|| cannot_allocate(len))?;
        let ahead = (margin != 0 && ahead::huge_pages_pay()).then(|| get_ahead(base, len));
        Ok(Arc::new(Self {
            base,
            len,
            file,
            shared,
            dirty: Dirty::new(len),
            absent: Absent::default(),
            ahead,
        }))
    }

    /// Bytes of the block.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }
    /// The file behind the memory, if there is one.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }
    /// Whether stores go to the file.
    pub fn is_shared(&self) -> bool {
        self.shared
    }
    /// Where the block begins in the host's memory: for translated code and for kernel interfaces. The
    /// pointer is valid as long as the block; what is done with it is up to the user of it.
    #[inline]
    pub fn host_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    #[inline]
    fn at(&self, offset: u64, size: u64) -> *mut u8 {
        assert!(size <= self.len && offset <= self.len - size, "offset {offset:#x}+{size:#x} outside of RAM");
        if self.absent.any() {
            self.bring(offset, size);
        }
        self.base.as_ptr().wrapping_add(offset as usize)
    }

    #[cold]
    fn bring(&self, offset: u64, size: u64) {
        self.absent.bring(offset, size, &|at, page| self.put_page(at, page));
    }

    /// Stores a page that has come at last. Nobody is told: it is the content that the page had all along.
    fn put_page(&self, offset: u64, page: &[u8; base::PAGE_SIZE as usize]) {
        let (words, _) = page.as_chunks::<8>();
        for (n, word) in words.iter().enumerate() {
            let at = offset + 8 * n as u64;
            if at + 8 <= self.len {
                let ptr = self.base.as_ptr().wrapping_add(at as usize);
                // SAFETY: inside the mapping, as has just been checked, and aligned.
                unsafe { AtomicU64::from_ptr(ptr.cast()) }.store(u64::from_ne_bytes(*word), Relaxed);
            }
        }
    }

    /// Makes the content of the block that of `source`: pages for which `empty` holds (by number) are zero, the others
    /// come when they are first touched. Translations of the old content are forgotten. No vCPU may be running.
    pub fn replace(&self, source: Arc<dyn PageSource>, empty: impl Fn(u64) -> bool) {
        let pages = self.len.div_ceil(base::PAGE_SIZE);
        self.forget_code(0..pages);
        self.absent.begin(pages, source, || {
            // SAFETY: advice on our own mapping. It makes the pages zero, as stores could; nobody holds references into it.
            let zeroed = self.file.is_none()
                && unsafe {
                    rustix::mm::madvise(self.base.as_ptr().cast(), self.len as usize, Advice::LinuxDontNeed)
                }
                .is_ok();
            (0..pages).filter(move |page| !(zeroed && empty(*page)))
        });
        self.dirty.log(0, self.len);
    }

    /// Lets `pages` (numbers) have the content that `source` has for them: they come when they are first touched, too. The others stay
    /// as they are, and none of the block may have still to come. Translations of the old content are forgotten. No vCPU may be running.
    pub fn defer(&self, source: Arc<dyn PageSource>, pages: &[Range<u64>]) {
        assert!(!self.is_coming(), "pages that are to come have one source");
        for range in pages {
            self.forget_code(range.clone());
            self.dirty.log(range.start << base::PAGE_BITS, (range.end - range.start) << base::PAGE_BITS);
        }
        self.absent.begin(self.len.div_ceil(base::PAGE_SIZE), source, || pages.iter().cloned().flatten());
    }

    fn forget_code(&self, mut pages: Range<u64>) {
        while let Some(page) = pages.find(|n| self.has_code(n << base::PAGE_BITS)) {
            self.dirty.tell_code(page << base::PAGE_BITS, base::PAGE_SIZE);
        }
    }

    /// Brings all pages that have still to come, and lets go of their source. Others may use the memory meanwhile.
    pub fn complete(&self) {
        const STRIDE: u64 = 256 << 10;
        for at in (0..self.len).step_by(STRIDE as usize) {
            self.at(at, STRIDE.min(self.len - at));
        }
        self.absent.settle();
    }

    /// Lets the pages within be there, as any access to them does.
    #[inline]
    pub fn touch(&self, offset: u64, len: u64) {
        self.at(offset, len);
        if let Some(ahead) = &self.ahead {
            ahead.touched(offset);
        }
    }

    /// An operating system is about to run that is being loaded into this memory.
    pub fn expect_system(&self) {
        if let Some(ahead) = &self.ahead {
            ahead.expect_system();
        }
    }

    /// Whether some pages have still to come: then [`Ram::host_ptr`] may be used for pages that have been touched only.
    #[inline]
    pub fn is_coming(&self) -> bool {
        self.absent.any()
    }

    accessors! {
        u16 AtomicU16 read_u16 write_u16 cas16;
        u32 AtomicU32 read_u32 write_u32 cas32;
        u64 AtomicU64 read_u64 write_u64 cas64;
    }

    /// The byte at `offset`.
    #[inline]
    pub fn read_u8(&self, offset: u64) -> u8 {
        // SAFETY: inside the mapping (`at`).
        unsafe { AtomicU8::from_ptr(self.at(offset, 1)) }.load(Relaxed)
    }
    /// Stores a byte at `offset`.
    #[inline]
    pub fn write_u8(&self, offset: u64, value: u8) {
        // SAFETY: inside the mapping (`at`).
        unsafe { AtomicU8::from_ptr(self.at(offset, 1)) }.store(value, Relaxed);
        self.dirty.written(offset, 1);
    }

    /// Reads a little-endian number of `size` bytes (1, 2, 4 or 8).
    #[inline]
    pub fn read_int(&self, offset: u64, size: u32) -> u64 {
        match size {
            1 => u64::from(self.read_u8(offset)),
            2 => u64::from(self.read_u16(offset)),
            4 => u64::from(self.read_u32(offset)),
            _ => self.read_u64(offset),
        }
    }
    /// Writes a little-endian number of `size` bytes (1, 2, 4 or 8).
    #[inline]
    pub fn write_int(&self, offset: u64, size: u32, value: u64) {
        match size {
            1 => self.write_u8(offset, value as u8),
            2 => self.write_u16(offset, value as u16),
            4 => self.write_u32(offset, value as u32),
            _ => self.write_u64(offset, value),
        }
    }

    /// Replaces 16 aligned bytes (little-endian number) by `new` if they are `old`, atomically.
    #[cfg(target_arch = "x86_64")]
    pub fn cas128(&self, offset: u64, old: u128, new: u128) -> std::result::Result<u128, u128> {
        assert!(offset.is_multiple_of(16), "unaligned compare-and-swap at {offset:#x}");
        let ptr = self.at(offset, 16);
        assert!(std::arch::is_x86_feature_detected!("cmpxchg16b"), "the host has no cmpxchg16b");
        // SAFETY: inside the mapping, 16-byte aligned, and the instruction exists.
        let found = unsafe { exchange16(ptr.cast(), old, new) };
        if found == old {
            self.dirty.written(offset, 16);
            Ok(found)
        } else {
            Err(found)
        }
    }

    /// Copies out of the block. A number of two, four or eight bytes that lies at a multiple of its size is read at once: it may
    /// be the index of a ring, which another processor is writing.
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        match out {
            [a, b] if offset.is_multiple_of(2) => [*a, *b] = self.read_u16(offset).to_le_bytes(),
            [a, b, c, d] if offset.is_multiple_of(4) => {
                [*a, *b, *c, *d] = self.read_u32(offset).to_le_bytes();
            }
            _ => self.read_words(offset, out),
        }
    }

    fn read_words(&self, offset: u64, out: &mut [u8]) {
        let ptr = self.at(offset, out.len() as u64);
        let head = ptr.align_offset(8).min(out.len());
        let (start, rest) = out.split_at_mut(head);
        let byte = |i: usize| {
            // SAFETY: `at` has checked the whole length.
            unsafe { AtomicU8::from_ptr(ptr.wrapping_add(i)) }.load(Relaxed)
        };
        start.iter_mut().enumerate().for_each(|(i, b)| *b = byte(i));
        let (words, tail) = rest.as_chunks_mut::<8>();
        let mut at = head;
        for word in words {
            // SAFETY: as above, and aligned since `head` bytes are behind us.
            *word = unsafe { AtomicU64::from_ptr(ptr.wrapping_add(at).cast()) }.load(Relaxed).to_ne_bytes();
            at += 8;
        }
        tail.iter_mut().enumerate().for_each(|(i, b)| *b = byte(at + i));
    }

    /// Copies into the block; a number as [`Ram::read`] reads it is seen whole by others.
    pub fn write(&self, offset: u64, data: &[u8]) {
        match data {
            [a, b] if offset.is_multiple_of(2) => self.write_u16(offset, u16::from_le_bytes([*a, *b])),
            [a, b, c, d] if offset.is_multiple_of(4) => {
                self.write_u32(offset, u32::from_le_bytes([*a, *b, *c, *d]));
            }
            _ => self.write_words(offset, data),
        }
    }

    fn write_words(&self, offset: u64, data: &[u8]) {
        let ptr = self.at(offset, data.len() as u64);
        let head = ptr.align_offset(8).min(data.len());
        let (start, rest) = data.split_at(head);
        let byte = |i: usize, b: u8| {
            // SAFETY: `at` has checked the whole length.
            unsafe { AtomicU8::from_ptr(ptr.wrapping_add(i)) }.store(b, Relaxed);
        };
        start.iter().enumerate().for_each(|(i, b)| byte(i, *b));
        let (words, tail) = rest.as_chunks::<8>();
        let mut at = head;
        for word in words {
            // SAFETY: as above, and aligned since `head` bytes are behind us.
            unsafe { AtomicU64::from_ptr(ptr.wrapping_add(at).cast()) }
                .store(u64::from_ne_bytes(*word), Relaxed);
            at += 8;
        }
        tail.iter().enumerate().for_each(|(i, b)| byte(at + i, *b));
        self.dirty.written(offset, data.len() as u64);
    }

    /// Fills `len` bytes with one value.
    pub fn fill(&self, offset: u64, len: u64, value: u8) {
        self.at(offset, len);
        let page = [value; 4096];
        let mut done = 0;
        while done < len {
            let n = (len - done).min(4096);
            self.write(offset + done, &page[..n as usize]);
            done += n;
        }
    }

    /// Makes whole pages zero and gives their memory back to the host, until they are touched again.
    pub fn discard(&self, offset: u64, len: u64) {
        let ptr = self.at(offset, len);
        assert!(
            offset.is_multiple_of(base::PAGE_SIZE) && len.is_multiple_of(base::PAGE_SIZE),
            "pages are discarded whole"
        );
        let given_back = match &self.file {
            // SAFETY: advice on our own mapping. It makes the pages zero, as stores could; nobody holds references.
            None => unsafe { rustix::mm::madvise(ptr.cast(), len as usize, Advice::LinuxDontNeed) }.is_ok(),
            Some(file) if self.shared => {
                use rustix::fs::{FallocateFlags, fallocate};
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(file, hole, offset, len).is_ok()
            }
            // The file's content would come back.
            Some(_) => false,
        };
        match given_back {
            true => self.dirty.written(offset, len),
            false => self.fill(offset, len, 0),
        }
    }

    /// Begins or ends keeping a dirty bitmap for a client.
    pub fn log_dirty(&self, client: DirtyClient, on: bool) {
        self.dirty.enable(client, on);
    }
    /// Whether a bitmap is kept for the client.
    #[inline]
    pub fn is_logging(&self, client: DirtyClient) -> bool {
        self.dirty.enabled(client)
    }
    /// Tells the clients that `len` bytes have been written through [`Ram::host_ptr`]. The accessors do this
    /// themselves.
    #[inline]
    pub fn mark_dirty(&self, offset: u64, len: u64) {
        self.dirty.written(offset, len);
    }
    /// The page at `offset` is about to be written through [`Ram::host_ptr`], by somebody who will not tell of each store:
    /// as long as the bitmaps of it stay set. Who clears them has to make him come here again.
    #[inline]
    pub fn open_page(&self, offset: u64) {
        self.dirty.log(offset, 1);
    }
    /// Whether stores to the page at `offset` need not be told of: nobody keeps a bitmap, or all have it down already.
    #[inline]
    pub fn is_open(&self, offset: u64) -> bool {
        self.dirty.known(offset)
    }
    /// Offsets of the pages written since the last call, within `len` bytes from `offset`.
    pub fn take_dirty(&self, client: DirtyClient, offset: u64, len: u64) -> Vec<u64> {
        self.dirty.take(client, offset, len)
    }
    /// Whether any page within is dirty for a client.
    #[inline]
    pub fn is_dirty(&self, client: DirtyClient, offset: u64, len: u64) -> bool {
        self.dirty.any(client, offset, len)
    }
    /// Marks the pages as ones that code has been translated from: stores to them reach the watcher.
    pub fn protect_code(&self, offset: u64, len: u64) {
        self.dirty.set(DirtyClient::Code, offset, len);
        self.dirty.enable(DirtyClient::Code, true);
    }
    /// Takes the mark away.
    pub fn unprotect_code(&self, offset: u64, len: u64) {
        self.dirty.clear(DirtyClient::Code, offset, len);
    }
    /// Whether code has been translated from the page at `offset`.
    #[inline]
    pub fn has_code(&self, offset: u64) -> bool {
        self.dirty.is_set(DirtyClient::Code, offset)
    }
    /// Sets who hears of stores into pages with translated code. Only the first call counts.
    pub fn watch_code(&self, watcher: Arc<dyn CodeWatcher>) {
        self.dirty.watch(watcher);
    }
}

/// The instruction behind [`Ram::cas128`]. Written out, since the compiler's own version is inlined into
/// functions compiled for hosts without it, and there becomes a call of a library that is not linked.
///
/// # Safety
/// `ptr` is aligned to 16 bytes and may be written, and the host has `cmpxchg16b`.
#[cfg(target_arch = "x86_64")]
unsafe fn exchange16(ptr: *mut u128, old: u128, new: u128) -> u128 {
    let (mut low, mut high) = (old as u64, (old >> 64) as u64);
    // SAFETY: as promised by the caller; rbx, which cannot be an operand, is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, rsi",
            "lock cmpxchg16b xmmword ptr [rdi]",
            "mov rbx, rsi",
            in("rdi") ptr,
            inout("rsi") new as u64 => _,
            in("rcx") (new >> 64) as u64,
            inout("rax") low,
            inout("rdx") high,
            options(nostack),
        );
    }
    u128::from(high) << 64 | u128::from(low)
}

/// Size of the host's huge pages.
const HUGE: u64 = 1 << ahead::HUGE_BITS;

/// Gives back what a mapping of `size + margin` bytes has before the first huge page and after the block.
fn trim(mapped: *mut u8, size: usize, margin: usize) -> *mut u8 {
    if margin == 0 {
        return mapped;
    }
    let page = rustix::param::page_size();
    let before = mapped.align_offset(HUGE as usize).min(margin);
    let base = mapped.wrapping_add(before);
    let end = size.next_multiple_of(page);
    let after = (before + size..size + margin).len().saturating_sub(end - size) / page * page;
    // SAFETY: both parts are of the mapping just made, outside of the block, and nobody has seen them yet.
    unsafe {
        if before > 0 {
            let _ = rustix::mm::munmap(mapped.cast(), before);
        }
        if after > 0 {
            let _ = rustix::mm::munmap(base.wrapping_add(end).cast(), after);
        }
    }
    base
}

fn cannot_allocate(len: u64) -> Error {
    base::error!("cannot set up guest memory '{len:#x}'")
}

/// Gets the huge pages of a new block ahead of its users. They are written to, as the users do: while the host populates a piece
/// because it is asked to, nobody can map or protect memory (a vCPU that makes room for its tables waited for many pieces in turn).
fn get_ahead(base: NonNull<u8>, len: u64) -> Ahead {
    let address = base.as_ptr() as usize;
    let populate = move |piece: u64| {
        let start = address + (piece << PIECE_BITS) as usize;
        for at in (start..start + (1 << PIECE_BITS)).step_by(base::PAGE_SIZE as usize) {
            // SAFETY: in a piece of the block, which is there until `Ahead::stop` has waited for this.
            let byte = unsafe { AtomicU8::from_ptr(at as *mut u8) };
            // It keeps its value, whatever that is: the host writes either way.
            let _ = byte.compare_exchange(0, 0, Relaxed, Relaxed);
        }
    };
    Ahead::new(len >> PIECE_BITS, Box::new(populate))
}

impl Drop for Ram {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.stop();
        }
        // SAFETY: our own mapping; nobody can hold a reference into it, as none are ever given out.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len as usize) };
    }
}

#[cfg(test)]
#[path = "ram_test.rs"]
mod test;
