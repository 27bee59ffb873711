//! Signals: the terminal is given back before the program dies or stops, and an orderly end is asked of the
//! main loop first. This is the only unsafe file of the crate.
//!
//! Everything the handlers do is safe in a signal handler: atomic loads and stores, `ioctl` (tcsetattr),
//! `write`, `sigaction`, `raise`.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Once, OnceLock};

use events::{EventLoop, FdWatch, Interest};
use libc::{c_int, c_void, sigaction, siginfo_t};
use rustix::event::{EventfdFlags, eventfd};

use super::terminal;

/// Deaths; the action found at installation is put back before they happen again.
const FAULTS: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGQUIT];
/// Requests to end.
const ENDINGS: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

static FOUND: [OnceLock<sigaction>; FAULTS.len()] = [const { OnceLock::new() }; FAULTS.len()];
/// Where a request to end is announced, if the main loop wants to hear of it.
static ANNOUNCE: OnceLock<Arc<OwnedFd>> = OnceLock::new();
static REQUEST: AtomicI32 = AtomicI32::new(0);
static REQUEST_PID: AtomicI32 = AtomicI32::new(0);
/// The main loop has heard of the first request: another one is impatience.
static REPEATED: AtomicI32 = AtomicI32::new(0);

/// A request to end that came by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// The signal's number.
    pub signal: i32,
    /// The process that sent it; 0 when it was the terminal.
    pub pid: i32,
}

/// The words for the log: `terminating on signal 15 from pid 7 (timeout)`.
impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "terminating on signal {}", self.signal)?;
        if self.pid == 0 {
            return Ok(());
        }
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid));
        let name = name.as_deref().map_or("<unknown process>", str::trim_end);
        write!(f, " from pid {} ({name})", self.pid)
    }
}

fn set_action(signal: c_int, handler: usize) -> Option<sigaction> {
    // SAFETY: `sigaction` is a plain structure for which all zeroes is a valid value, and both pointers are to
    // live locals. `handler` is SIG_DFL, SIG_IGN or one of the handlers below, which have the signature that
    // SA_SIGINFO asks for.
    unsafe {
        let mut new: sigaction = std::mem::zeroed();
        let mut old: sigaction = std::mem::zeroed();
        new.sa_sigaction = handler;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        (libc::sigaction(signal, &new, &mut old) == 0).then_some(old)
    }
}

fn raise(signal: c_int) {
    // SAFETY: `raise` takes any number.
    let _ = unsafe { libc::raise(signal) };
}

/// Whether the signal was sent by a process rather than caused by an instruction, and by which.
fn sender(info: *mut siginfo_t) -> Option<i32> {
    // SAFETY: called with the pointer a SA_SIGINFO handler got. `si_pid` is meaningful for the codes tested.
    unsafe {
        match (*info).si_code {
            libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL => Some((*info).si_pid()),
            _ => None,
        }
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    terminal::restore();
    // A signal that somebody sent must be sent again; an action found earlier (Rust's own for stack overflow)
    // would take it for a fault that repeats by itself.
    if sender(info).is_some() || signal == libc::SIGQUIT {
        set_action(signal, libc::SIG_DFL);
        raise(signal);
        return;
    }
    let found = FAULTS.iter().position(|fault| *fault == signal).and_then(|index| FOUND[index].get());
    match found {
        // SAFETY: `found` is what `sigaction` itself reported earlier.
        Some(found) => drop(unsafe { libc::sigaction(signal, found, std::ptr::null_mut()) }),
        None => drop(set_action(signal, libc::SIG_DFL)),
    }
}

extern "C" fn on_ending(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    let impatient = REPEATED.fetch_add(1, Ordering::SeqCst) >= 2;
    if let (Some(fd), false) = (ANNOUNCE.get(), impatient) {
        REQUEST_PID.store(sender(info).unwrap_or(0), Ordering::SeqCst);
        REQUEST.store(signal, Ordering::SeqCst);
        let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
        return;
    }
    terminal::restore();
    set_action(signal, libc::SIG_DFL);
    raise(signal);
}

extern "C" fn on_stop(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    terminal::lend();
    raise(libc::SIGSTOP);
}

extern "C" fn on_continue(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    terminal::reclaim();
}

extern "C" fn at_exit() {
    terminal::restore();
}

/// Installs the handlers that give the terminal back. Does nothing the second time.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (fault, found) in FAULTS.iter().zip(&FOUND) {
            if let Some(old) = set_action(*fault, on_fault as *const () as usize) {
                let _ = found.set(old);
            }
        }
        install_endings();
        set_action(libc::SIGTSTP, on_stop as *const () as usize);
        set_action(libc::SIGCONT, on_continue as *const () as usize);
        // Giving the terminal back from the background must not stop us.
        set_action(libc::SIGTTOU, libc::SIG_IGN);
        // SAFETY: `at_exit` is a function without arguments that never unwinds.
        let _ = unsafe { libc::atexit(at_exit) };
    });
}

fn install_endings() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::SeqCst) {
        for signal in ENDINGS {
            set_action(signal, on_ending as *const () as usize);
        }
    }
}

/// Calls `callback` on the main-loop thread when SIGINT, SIGTERM or SIGHUP asks the program to end.
/// The third of them, the main loop not having ended, kills. To be called once; later calls hear nothing.
///
/// # Errors
/// The host gives no eventfd.
pub fn on_terminate(
    events: &EventLoop,
    mut callback: impl FnMut(Termination) + Send + 'static,
) -> io::Result<FdWatch> {
    let fd = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let watch = events.add_fd(Arc::clone(&fd), Interest::READ, {
        let fd = Arc::clone(&fd);
        move |_| {
            let _ = rustix::io::read(&fd, &mut [0u8; 8]);
            let signal = REQUEST.swap(0, Ordering::SeqCst);
            if signal != 0 {
                callback(Termination { signal, pid: REQUEST_PID.load(Ordering::SeqCst) });
            }
        }
    })?;
    let _ = ANNOUNCE.set(fd);
    install_endings();
    Ok(watch)
}
