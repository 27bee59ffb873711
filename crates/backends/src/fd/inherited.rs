//! Taking over a descriptor by its number.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Takes a descriptor that the program was started with. Each number can be had once, and not those of the standard
/// streams.
///
/// # Errors
/// It is not open, or it is in use here.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    static TAKEN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if number <= 2 || taken.contains(&number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the descriptor is only asked about, and `fcntl` answers EBADF for one that is not open.
    let looked_at = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(looked_at)?;
    // Everything that this program opens itself is closed on exec; what is not was given to it.
    if flags.contains(rustix::io::FdFlags::CLOEXEC) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::io::fcntl_setfd(looked_at, rustix::io::FdFlags::CLOEXEC)?;
    taken.insert(number);
    // SAFETY: it is open, it was not opened by this program (which marks its own, above), and `TAKEN` lets nobody else
    // have it, so that this is its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
