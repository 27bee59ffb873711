//! Guest RAM at host addresses that the soft TLB or the flat view vouches for; the slots of a frame as one piece.
#![allow(unsafe_code)]

use cpu::Frame;
use ir::SLOTS;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ptr::NonNull;

/// Loads `bytes` (1, 2, 4, 8) at a host address that a TLB entry or a range of RAM gave; zero-extended.
#[inline(always)]
pub(crate) fn load(host: u64, bytes: u32) -> u64 {
    // SAFETY: a TLB entry's addend leads from its page to one page of a RAM block, which the address space keeps alive, and
    // the caller has compared the tag with the last byte's page; a range's addend leads from all of it to its block. Volatile: other vCPUs may write the same bytes.
    unsafe {
        match bytes {
            1 => (host as *const u8).read_volatile() as u64,
            2 => (host as *const Unaligned<u16>).read_volatile().0 as u64,
            4 => (host as *const Unaligned<u32>).read_volatile().0 as u64,
            _ => (host as *const Unaligned<u64>).read_volatile().0,
        }
    }
}

/// Stores the low `bytes` (1, 2, 4, 8) of `value` at a host address that a TLB entry gave.
#[inline(always)]
pub(crate) fn store(host: u64, bytes: u32, value: u64) {
    // SAFETY: as for `load`, with the write tag.
    unsafe {
        match bytes {
            1 => (host as *mut u8).write_volatile(value as u8),
            2 => (host as *mut Unaligned<u16>).write_volatile(Unaligned(value as u16)),
            4 => (host as *mut Unaligned<u32>).write_volatile(Unaligned(value as u32)),
            _ => (host as *mut Unaligned<u64>).write_volatile(Unaligned(value)),
        }
    }
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Unaligned<T>(T);

/// A type of which all zeros are a value.
///
/// # Safety
/// They are.
pub(crate) unsafe trait Zero {}
// SAFETY: an atomic integer has the layout of the integer.
unsafe impl Zero for std::sync::atomic::AtomicU8 {}
// SAFETY: a place consists of two integers.
unsafe impl Zero for crate::index::Place {}

/// Zeros for a table of which perhaps only a part will be touched: the host gives memory as that happens.
pub(crate) fn zeroed<T: Zero>(places: usize) -> Box<[T]> {
    // SAFETY: `T` says that all zeros are a value.
    unsafe { Box::new_zeroed_slice(places).assume_init() }
}

/// Has the host give the memory of a large table at once, on huge pages where it has them; who needs it next neither waits for it nor misses the
/// host's tables of pages so often.
pub(crate) fn get_ahead<T: Zero>(table: &[T]) {
    let start = table.as_ptr() as usize & !4095;
    let bytes = table.as_ptr_range().end as usize - start;
    if bytes < 2 << memory::HUGE_BITS {
        return;
    }
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_POPULATE_WRITE] {
        // SAFETY: neither changes what is in memory; the table is borrowed meanwhile. A host that does not know it does without.
        let _ = unsafe { libc::madvise(start as *mut libc::c_void, bytes, advice) };
    }
}

/// Bytes of a list's room that are got at a time.
const AHEAD: usize = 512 << 10;

/// A piece of memory that will be needed.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    start: usize,
    bytes: usize,
}

impl Ahead {
    /// The next piece of the room that `list` has, if it begins behind the end of what has been `got`, which is brought up to date.
    pub(crate) fn of<T>(list: &Vec<T>, got: &mut usize) -> Option<Ahead> {
        let (start, end) =
            (list.as_ptr() as usize, list.as_ptr() as usize + list.capacity() * size_of::<T>());
        let next = (*got).max(start) & !4095;
        let used = start + list.len() * size_of::<T>();
        let wanted = used + AHEAD / 2 > next && next + AHEAD <= end;
        wanted.then(|| {
            *got = next + AHEAD;
            Ahead { start: next, bytes: AHEAD }
        })
    }
    /// Has the host give it, which may take milliseconds.
    pub(crate) fn get(self) {
        // SAFETY: it does not change what is in memory, should that serve another purpose by now. A host that does not know it does without.
        let _ =
            unsafe { libc::madvise(self.start as *mut libc::c_void, self.bytes, libc::MADV_POPULATE_WRITE) };
    }
}

/// The slots of the running vCPU's own frame.
#[inline]
pub(crate) fn slots(frame: &Frame) -> [u64; SLOTS] {
    // SAFETY: an atomic integer has the layout of the integer, and only the vCPU's own thread, which is here, touches its
    // slots.
    unsafe { (&raw const frame.slots).cast::<[u64; SLOTS]>().read() }
}

/// Writes the slots of the running vCPU's own frame.
#[inline]
pub(crate) fn set_slots(frame: &Frame, slots: &[u64; SLOTS]) {
    // SAFETY: as for `slots`; atomics may be written through a shared reference.
    unsafe { (&raw const frame.slots).cast::<[u64; SLOTS]>().cast_mut().write(*slots) }
}

/// The first bytes of a file, mapped to be read.
pub(crate) struct FileMap(NonNull<u8>, usize);

// SAFETY: nobody writes there.
unsafe impl Send for FileMap {}
// SAFETY: as above.
unsafe impl Sync for FileMap {}

impl FileMap {
    /// Maps `len` bytes (not 0), which the file has and will have: who owns it only appends.
    pub(crate) fn new(file: &std::fs::File, len: usize) -> std::io::Result<FileMap> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let p = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
        NonNull::new(p.cast())
            .map(|p| FileMap(p, len))
            .ok_or_else(|| std::io::Error::other("mmap returned null"))
    }
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped with this length, for as long as the value lives.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.1) }
    }
    /// The process' memory need not have any of it for now; what is looked at is there again.
    pub(crate) fn let_go(&self) {
        // SAFETY: a mapping of a file that nobody writes to keeps its contents.
        let _ = unsafe { libc::madvise(self.0.as_ptr().cast(), self.1, libc::MADV_DONTNEED) };
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and what was borrowed from it is gone.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), self.1) };
    }
}
