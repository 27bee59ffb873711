//! The terminal on standard input: raw while the guest has it, and given back on every way out.
//!
//! Ways out are the end of the port, the end of the program (`atexit`), a panic, a deadly signal and being
//! stopped; the signals are in the sibling module.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios};
use rustix::termios::{isatty, tcgetattr, tcgetpgrp, tcsetattr};

use super::terminal_signals;

struct Terminal {
    tty: OwnedFd,
    cooked: Termios,
    raw: Termios,
}

static TERMINAL: OnceLock<Terminal> = OnceLock::new();
/// A port has the terminal; it is to be raw while the program is in the foreground.
static WANTED: AtomicBool = AtomicBool::new(false);
/// The terminal is raw now.
static RAW: AtomicBool = AtomicBool::new(false);

/// Makes the terminal on standard input raw, if there is one. With `signals` the keys for interrupt, quit and
/// suspend keep their meaning; without, they go to the guest.
pub(crate) fn make_raw(signals: bool) {
    let stdin = rustix::stdio::stdin();
    if !isatty(stdin) {
        return;
    }
    let terminal = match TERMINAL.get() {
        Some(terminal) => terminal,
        None => {
            let (Ok(cooked), Ok(tty)) = (tcgetattr(stdin), stdin.try_clone_to_owned()) else { return };
            let raw = raw_modes(&cooked, signals);
            TERMINAL.get_or_init(|| Terminal { tty, cooked, raw })
        }
    };
    terminal_signals::install();
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        previous(info);
    }));
    WANTED.store(true, Ordering::SeqCst);
    let foreground = tcgetpgrp(&terminal.tty).is_ok_and(|group| group == rustix::process::getpgrp());
    if foreground {
        reclaim();
    }
}

/// Single bytes, unechoed and unchanged; output processing stays, since monitors print bare line feeds.
fn raw_modes(cooked: &Termios, signals: bool) -> Termios {
    let mut raw = cooked.clone();
    raw.input_modes -= InputModes::IGNBRK | InputModes::BRKINT | InputModes::PARMRK | InputModes::ISTRIP;
    raw.input_modes -= InputModes::INLCR | InputModes::IGNCR | InputModes::ICRNL | InputModes::IXON;
    raw.output_modes |= OutputModes::OPOST;
    raw.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN;
    if !signals {
        raw.local_modes -= LocalModes::ISIG;
    }
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    raw
}

/// Makes the terminal raw again after it was given back for a while. Callable from a signal handler.
pub(crate) fn reclaim() {
    if WANTED.load(Ordering::SeqCst)
        && let Some(terminal) = TERMINAL.get()
        && tcsetattr(&terminal.tty, OptionalActions::Now, &terminal.raw).is_ok()
    {
        RAW.store(true, Ordering::SeqCst);
    }
}

/// Gives the terminal back for a while. Callable from a signal handler.
pub(crate) fn lend() {
    if RAW.swap(false, Ordering::SeqCst)
        && let Some(terminal) = TERMINAL.get()
    {
        let _ = tcsetattr(&terminal.tty, OptionalActions::Now, &terminal.cooked);
    }
}

/// Gives the terminal back as it was found. Does nothing when it is not raw; callable at any time, from a
/// signal handler too.
pub fn restore() {
    WANTED.store(false, Ordering::SeqCst);
    lend();
}
