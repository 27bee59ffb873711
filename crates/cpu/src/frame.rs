//! The frame: the part of a vCPU that translated code reaches at constant offsets from one host register.

use ir::SLOTS;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Pages that a frame remembers for translated loads.
pub const SITES: usize = 32;

/// Interrupt word bit: an input line or an enable bit changed; the guest looks whether it takes an interrupt.
pub const INTERRUPT_GUEST: u32 = 1;
/// Interrupt word bit: somebody wants the vCPU to come out of the accelerator.
pub const INTERRUPT_EXIT: u32 = 2;
/// Interrupt word bit: a profile wants to know where the vCPU is.
pub const INTERRUPT_LOOK: u32 = 4;

/// Everything that translated code reads and writes outside guest memory. The fields are atomic so that the frame
/// can be shared between its vCPU's thread, translated code and those who raise interrupts; all but `interrupt` are
/// written by the vCPU's own thread only, with relaxed order, which costs nothing.
#[repr(C, align(64))]
pub struct Frame {
    /// Not zero: translated code leaves soon. See [`INTERRUPT_GUEST`], [`INTERRUPT_EXIT`], [`INTERRUPT_LOOK`]. Translated code also reads it
    /// together with `mode`, as one word of which it is the low half.
    pub interrupt: AtomicU32,
    /// What distinguishes this translation mode in the jump cache: the guest's mode number in the highest seven bits.
    pub mode: AtomicU32,
    /// What translated code wants the host's floating-point control word to be.
    pub mxcsr: AtomicU32,
    /// A constant of the accelerator's: the bits of an address that find its entry in the soft TLB.
    pub entry_mask: AtomicU32,
    /// Host address of the soft TLB in use.
    pub tlb: AtomicU64,
    /// Host address of the jump cache in use.
    pub jump_cache: AtomicU64,
    /// Guest virtual address of the page that the running code lies in.
    pub page: AtomicU64,
    /// Host address of the table of calls in use.
    pub calls: AtomicU64,
    /// Always -4096: what makes an address that of its page.
    pub page_mask: AtomicU64,
    /// Host address of the table of code pages in use. (Here, since each jump to another page looks for it.)
    pub code_pages: AtomicU64,
    /// The guest's slots. Which register lives where is the guest's matter; the first two dozen take a byte less each time.
    pub slots: [AtomicU64; SLOTS],
    /// Guest program counter. Valid outside translated code and in calls that may trap.
    pub pc: AtomicU64,
    /// The accelerator's own: what its functions are called with.
    pub context: AtomicU64,
    /// Words for the host code's own use: spilled temporaries, arguments of slow paths.
    pub scratch: [AtomicU64; 26],
    /// Where instructions are counted: how many more may run. What counts them is told by [`crate::Counter`].
    pub budget: AtomicI64,
    /// Virtual pages that translated loads met last; all ones for none. See [`Frame::forget_sites`].
    pub site_tags: [AtomicU64; SITES],
    /// Host address minus guest virtual address for each of them.
    pub site_addends: [AtomicU64; SITES],
    /// Addends that loads which go from page to page have met last.
    pub site_guesses: [AtomicU64; SITES],
    /// Which float flags of the guest's are masked while the processor traps before it raises another; negative while it does not.
    pub watched: AtomicI32,
    /// How often translated code has asked the host which flags it has raised.
    pub polls: AtomicU32,
    /// Host address of the table of split groups.
    pub splits: AtomicU64,
}

impl Default for Frame {
    fn default() -> Self {
        Frame {
            interrupt: AtomicU32::new(0),
            mode: AtomicU32::new(0),
            mxcsr: AtomicU32::new(0x1f80),
            entry_mask: AtomicU32::new(0),
            tlb: AtomicU64::new(0),
            jump_cache: AtomicU64::new(0),
            page: AtomicU64::new(0),
            pc: AtomicU64::new(0),
            context: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            page_mask: AtomicU64::new(!4095),
            code_pages: AtomicU64::new(0),
            slots: [const { AtomicU64::new(0) }; SLOTS],
            scratch: [const { AtomicU64::new(0) }; 26],
            budget: AtomicI64::new(0),
            site_tags: [const { AtomicU64::new(u64::MAX) }; SITES],
            site_addends: [const { AtomicU64::new(0) }; SITES],
            site_guesses: [const { AtomicU64::new(0) }; SITES],
            watched: AtomicI32::new(-1),
            polls: AtomicU32::new(0),
            splits: AtomicU64::new(0),
        }
    }
}

impl Frame {
    /// Slot `n`.
    #[inline(always)]
    pub fn get(&self, n: u16) -> u64 {
        self.slots[n as usize % SLOTS].load(Relaxed)
    }
    /// Writes slot `n`.
    #[inline(always)]
    pub fn set(&self, n: u16, v: u64) {
        self.slots[n as usize % SLOTS].store(v, Relaxed)
    }
    /// Forgets the pages that loads have met: to be called when the TLB in use changes or loses something that may be read.
    #[inline]
    pub fn forget_sites(&self) {
        for tag in &self.site_tags {
            tag.store(u64::MAX, Relaxed);
        }
    }
    /// The program counter.
    #[inline(always)]
    pub fn pc(&self) -> u64 {
        self.pc.load(Relaxed)
    }
    /// Sets the program counter.
    #[inline(always)]
    pub fn set_pc(&self, pc: u64) {
        self.pc.store(pc, Relaxed)
    }
}
