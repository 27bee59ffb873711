//! The host's floating-point flags, gathered by translated code.
#![allow(unsafe_code)]

/// MXCSR as translated code wants it: all exceptions masked, round to nearest, no flags.
pub(crate) const CLEAN: u32 = 0x1f80;

/// Takes the flags that translated code has left in MXCSR, as IEEE flags in [`cpu::Guest::accrue_fp_flags`]'s order.
#[inline(always)]
pub(crate) fn take_flags() -> u8 {
    let mut csr = 0u32;
    // SAFETY: stores MXCSR to a local.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut csr, options(nostack)) };
    if csr & 0x3f == 0 {
        return 0;
    }
    set_clean();
    // MXCSR: 0 invalid, 1 denormal, 2 divide by zero, 3 overflow, 4 underflow, 5 inexact.
    let bit = |from: u32, to: u32| ((csr >> from & 1) << to) as u8;
    bit(5, 0) | bit(4, 1) | bit(3, 2) | bit(2, 3) | bit(0, 4)
}

/// Forgets flags that Rust code may have raised.
#[inline(always)]
pub(crate) fn set_clean() {
    let csr = CLEAN;
    // SAFETY: the value is the one that Rust code runs under (default rounding, all exceptions masked).
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &csr, options(nostack, readonly)) };
}

/// Puts back flags that [`take_flags`] has taken, forgetting all others.
#[inline(always)]
pub(crate) fn put_flags(flags: u8) {
    let bit = |from: u32, to: u32| (flags as u32 >> from & 1) << to;
    let csr = CLEAN | bit(0, 5) | bit(1, 4) | bit(2, 3) | bit(3, 2) | bit(4, 0);
    // SAFETY: as in `set_clean`; flags of masked exceptions do nothing.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &csr, options(nostack, readonly)) };
}
