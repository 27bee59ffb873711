//! Code memory: one memory file mapped twice, once to be written and once to be executed, so that no page is ever
//! both (W^X) and no protection call is needed. This file holds all the unsafe code that has to do with it.
#![allow(unsafe_code)]

use memory::HUGE_BITS;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::*};

/// A file whose first page is mapped as if it were executed: that is how `perf` hears of a dump of code. It is never read or run.
pub struct Mapped(NonNull<u8>);

// SAFETY: nobody accesses the mapping; it is only there.
unsafe impl Send for Mapped {}

/// Bytes of the mapping.
const MAPPED: usize = 4096;

impl Mapped {
    /// Maps the file until the value is dropped.
    pub fn new(file: &std::fs::File) -> io::Result<Mapped> {
        let protection = ProtFlags::READ | ProtFlags::EXEC;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let p = unsafe { mmap(std::ptr::null_mut(), MAPPED, protection, MapFlags::PRIVATE, file, 0) }?;
        NonNull::new(p.cast()).map(Mapped).ok_or_else(|| io::Error::other("mmap returned null"))
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody uses it.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), MAPPED) };
    }
}

/// Room for translated code. Offsets count from its start.
pub struct CodeMemory {
    write: NonNull<u8>,
    execute: NonNull<u8>,
    len: usize,
    /// The pieces of the size of a huge page that the host has been asked to gather.
    gathered: Box<[AtomicBool]>,
}

// SAFETY: the two mappings live as long as the value; bytes are written only through atomic stores or into ranges that
// nobody executes yet (see `write`).
unsafe impl Send for CodeMemory {}
// SAFETY: as above.
unsafe impl Sync for CodeMemory {}

impl CodeMemory {
    /// Maps `len` bytes (a multiple of the page size). They take host memory only as they are written.
    pub fn new(len: usize) -> io::Result<CodeMemory> {
        let file = memfd_create("tinamou-code", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, len as u64)?;
        let map = |prot| {
            // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
            let p = unsafe { mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, &file, 0) }?;
            NonNull::new(p.cast()).ok_or_else(|| io::Error::other("mmap returned null"))
        };
        let write = map(ProtFlags::READ | ProtFlags::WRITE)?;
        let execute = map(ProtFlags::READ | ProtFlags::EXEC)?;
        let never = !memory::huge_pages_pay();
        let gathered = (0..len >> HUGE_BITS).map(|_| AtomicBool::new(never)).collect();
        Ok(CodeMemory { write, execute, len, gathered })
    }
    /// Bytes of room.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Host address at which the byte at `offset` is executed.
    pub fn address(&self, offset: usize) -> u64 {
        self.execute.as_ptr() as u64 + offset as u64
    }
    /// The offset of an executable host address, if it lies in this memory.
    pub fn offset(&self, address: u64) -> Option<usize> {
        let o = address.wrapping_sub(self.execute.as_ptr() as u64) as usize;
        (o < self.len).then_some(o)
    }
    /// Code is being placed at `offset`: lets the host have huge pages there, and for what follows soon. A program with so much code
    /// as a guest has waits for the host's tables of pages else, and for each page that it writes first. For a thread that has the time.
    pub fn gather(&self, offset: usize) {
        for at in [offset, offset + (1 << HUGE_BITS) / 2] {
            let piece = at >> HUGE_BITS;
            if self.gathered.get(piece).is_none_or(|g| g.swap(true, Relaxed)) {
                continue;
            }
            let start = piece << HUGE_BITS;
            // Nothing is gathered where there is nothing at all.
            self.read(start, 1);
            for mapping in [self.write, self.execute] {
                // SAFETY: in bounds, since there is such a piece; content and protection stay. Not every kernel can do it.
                unsafe {
                    libc::madvise(mapping.as_ptr().add(start).cast(), 1 << HUGE_BITS, libc::MADV_COLLAPSE)
                };
            }
        }
    }
    /// Writes `bytes` at `offset`. The caller has seen to it that nobody executes there now.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.len && bytes.len() <= self.len - offset, "code memory overrun");
        // SAFETY: in bounds by the assertion; the range has not been handed out to anybody yet.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.write.as_ptr().add(offset), bytes.len())
        };
        std::sync::atomic::fence(Release);
    }
    /// Replaces `bytes` bytes at once, which lie in one aligned word of eight; other threads may be executing them. One thread
    /// at a time may patch.
    pub fn patch(&self, offset: usize, value: u64, bytes: usize) {
        let (word, shift) = (offset & !7, offset % 8 * 8);
        assert!(bytes < 8 && offset % 8 + bytes <= 8 && word + 8 <= self.len, "patch out of place");
        // SAFETY: aligned and in bounds by the assertion.
        let word = unsafe { AtomicU64::from_ptr(self.write.as_ptr().add(word).cast()) };
        let mask = ((1u64 << (8 * bytes)) - 1) << shift;
        word.store(word.load(Relaxed) & !mask | value << shift & mask, Release);
    }
    /// A copy of the bytes in a range.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset <= self.len && len <= self.len - offset, "code memory overrun");
        // SAFETY: in bounds by the assertion.
        (0..len)
            .map(|i| unsafe { AtomicU8::from_ptr(self.write.as_ptr().add(offset + i)) }.load(Relaxed))
            .collect()
    }
    /// Runs the code at host address `code` on the frame whose state register value is `state`, through the `enter` stub
    /// at host address `enter`.
    ///
    /// # Safety
    /// `enter` and `code` are addresses of complete code in this memory, made by the `host` crate for the layout of the frame behind
    /// `state`, and everything that the code reaches from there is alive and is this thread's own.
    pub unsafe fn enter(&self, enter: u64, state: *mut u8, code: u64) -> u64 {
        // SAFETY: the caller's promise; the stub follows the System V calling convention.
        let f: extern "sysv64" fn(*mut u8, u64) -> u64 = unsafe { std::mem::transmute(enter as usize) };
        f(state, code)
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        for p in [self.write, self.execute] {
            // SAFETY: both were mapped by `new` with this length, and nobody can run the code any more.
            let _ = unsafe { munmap(p.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
#[path = "code_test.rs"]
mod test;
