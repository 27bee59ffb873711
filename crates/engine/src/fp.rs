//! The host's floating-point flags, gathered by translated code or watched for.
//!
//! Flags gather in MXCSR, but to ask it takes as long as whatever computes at the moment, and compilers ask often: before each
//! comparison that may raise no flag, which C has in every `sqrt` and `floor`. So once translated code has asked repeatedly, the flags
//! that the guest has not got yet are *watched* for: the processor traps (SIGFPE) before it raises one of them, and as long as
//! it has not, the guest's own slot holds all flags, without a question. The trap ends the watch, and the instruction
//! is tried again in the usual way: traps cost time, but are never wrong, and each has to be earned by as many questions as take
//! longer.
#![allow(unsafe_code)]

use cpu::{Frame, Guest};
use host::{MASKED, flags_from_mxcsr, flags_to_mxcsr};
use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::sync::Once;
use std::sync::atomic::Ordering::Relaxed;

/// Questions from which on flags are watched for: they take some times as long as a trap.
const OFTEN: u32 = 1000;

/// All of MXCSR's flags.
const FLAGS: u32 = 0x3f;
/// From a flag to its mask.
const MASKS: u32 = 7;

#[inline(always)]
fn get() -> u32 {
    let mut csr = 0u32;
    // SAFETY: stores MXCSR to a local.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut csr, options(nostack)) };
    csr
}

/// # Safety
/// `csr` rounds to nearest; exceptions that it does not mask belong to a frame that [`WATCHING`] names. (Rust code that raises one
/// before they are masked again, which only modes without floats let run, ends the watch.)
#[inline(always)]
unsafe fn set(csr: u32) {
    // SAFETY: the caller's promise.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &csr, options(nostack, readonly)) };
}

/// What translated code has left in MXCSR; [`resume`] puts it back.
pub(crate) struct Held(u32);

/// Keeps what translated code has in MXCSR from Rust code that may use floating point, and that from the guest.
#[inline(always)]
pub(crate) fn hold() -> Held {
    let csr = get();
    if csr != MASKED {
        // SAFETY: all exceptions are masked.
        unsafe { set(MASKED) };
    }
    Held(csr)
}

/// The end of [`hold`].
#[inline(always)]
pub(crate) fn resume(held: Held) {
    // SAFETY: it was in force before.
    unsafe { set(held.0) };
}

/// Gives the guest the flags that translated code has left in MXCSR, and forgets them there. In a mode without floats it has
/// left none, and the question (some 15 cycles) is spared.
#[inline(always)]
pub(crate) fn take_flags<G: Guest>(g: &mut G) {
    if G::has_floats(g.mode()) {
        leave(g);
    }
}

/// Before translated code goes on after [`take_flags`], whatever has changed the guest since.
#[inline(always)]
pub(crate) fn go_on<G: Guest>(g: &G) {
    if G::has_floats(g.mode()) {
        check(g.frame(), || g.fp_flags());
        // SAFETY: `enter` is running, and has set `WATCHING`.
        unsafe { set(g.frame().mxcsr.load(Relaxed)) };
    }
}

/// Translated code has been left: as [`take_flags`], and all exceptions are masked in any mode.
#[inline(always)]
pub(crate) fn leave<G: Guest>(g: &mut G) {
    let Held(csr) = hold();
    // Without floats they are from Rust code.
    if csr & FLAGS != 0 && G::has_floats(g.mode()) {
        g.accrue_fp_flags(flags_from_mxcsr(csr));
    }
}

/// Before translated code is entered, which loads MXCSR itself.
#[inline(always)]
pub(crate) fn enter<G: Guest>(g: &G) {
    let frame = g.frame();
    WATCHING.set(std::sync::Arc::as_ptr(frame));
    if frame.polls.load(Relaxed) >= OFTEN {
        watch(frame, g.fp_flags());
    }
    check(frame, || g.fp_flags());
}

/// Ends a watch if a flag that is not watched for is one that the guest has lost.
#[inline(always)]
fn check(frame: &Frame, flags: impl Fn() -> u8) {
    let masked = frame.watched.load(Relaxed);
    if masked >= 0 && masked as u8 & !flags() != 0 {
        unwatch(frame);
    }
}

/// Watches for all flags but `has`.
#[cold]
fn watch(frame: &Frame, has: u8) {
    static ONCE: Once = Once::new();
    ONCE.call_once(catch_traps);
    let watched = flags_to_mxcsr(!has);
    frame.polls.store(0, Relaxed);
    frame.mxcsr.store(MASKED & !(watched << MASKS), Relaxed);
    frame.watched.store(has as i32, Relaxed);
}

fn unwatch(frame: &Frame) {
    frame.mxcsr.store(MASKED, Relaxed);
    frame.watched.store(-1, Relaxed);
}

thread_local! {
    /// The frame of the vCPU that this thread runs.
    static WATCHING: Cell<*const Frame> = const { Cell::new(null()) };
}

fn catch_traps() {
    let action = libc::sigaction {
        sa_sigaction: on_trap as *const () as usize,
        // SAFETY: a set of signals is plain data, and all zeros is the empty one.
        sa_mask: unsafe { std::mem::zeroed() },
        sa_flags: libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK,
        sa_restorer: None,
    };
    // SAFETY: the handler only does what a signal handler may: it reads and writes its thread's own words, and makes a system call.
    unsafe { libc::sigaction(libc::SIGFPE, &action, null_mut()) };
}

/// A flag that was watched for is about to be raised. Any other trap is what it would be without this handler: the end.
extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands the handler a context of this type, with the state of the floating-point unit in it.
    let control = unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        &mut (*context.uc_mcontext.fpregs).mxcsr
    };
    let watched = !*control >> MASKS & FLAGS;
    // SAFETY: `enter` has set it for the vCPU that it runs; exceptions are masked before that ends (`hold`).
    let frame = unsafe { WATCHING.get().as_ref() };
    match frame {
        Some(frame) if watched != 0 => {
            // What has trapped raises its flags when it is tried again; underflow is another thing then, and may raise none.
            *control = *control & !watched | MASKED;
            unwatch(frame);
        }
        // SAFETY: the default action needs no handler.
        _ => unsafe {
            libc::signal(libc::SIGFPE, libc::SIG_DFL);
        },
    }
}
