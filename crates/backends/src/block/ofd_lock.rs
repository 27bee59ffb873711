//! Locks on image files that other emulators and their tools respect too.
//!
//! Each kind of access ("permission") has two bytes in the file at which open-file-description locks are held:
//! one says "I use this", the other "nobody else may". Both are shared locks, so that any number of users can
//! hold them; whoever opens tests the opposite bytes for them. The bytes need not exist in the file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::Error;

/// The bytes of "I use this" and of "nobody else may" begin here.
const USED: i64 = 100;
const UNSHARED: i64 = 200;

#[derive(Clone, Copy)]
struct Permission {
    byte: i64,
    name: &'static str,
}

const READ: Permission = Permission { byte: 0, name: "consistent read" };
const WRITE: Permission = Permission { byte: 1, name: "write" };
const RESIZE: Permission = Permission { byte: 3, name: "resize" };

fn range(kind: i32, start: i64) -> libc::flock {
    // SAFETY: `flock` is a plain structure for which all zeroes is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock.l_start = start;
    lock.l_len = 1;
    lock
}

/// Takes a shared lock on one byte.
fn share(file: &File, byte: i64) -> io::Result<()> {
    let lock = range(libc::F_RDLCK, byte);
    // SAFETY: the command takes a pointer to a `flock`, which is live.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether another open file description holds a lock on the byte.
fn is_held(file: &File, byte: i64) -> io::Result<bool> {
    let mut lock = range(libc::F_WRLCK, byte);
    // SAFETY: the command takes a pointer to a `flock`, which is live and may be written.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(i32::from(lock.l_type) != libc::F_UNLCK),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes the locks of a user that reads, writes if `writable`, and does not want others to write. They go
/// when the file is closed.
pub(crate) fn lock(file: &File, writable: bool, path: &str) -> Result<(), Error> {
    let used: &[Permission] = if writable { &[READ, WRITE, RESIZE] } else { &[READ] };
    let unshared = [WRITE, RESIZE];
    let bytes = used.iter().map(|permission| USED + permission.byte);
    for byte in bytes.chain(unshared.iter().map(|permission| UNSHARED + permission.byte)) {
        if share(file, byte).is_err() {
            // A file system without locks.
            return Ok(());
        }
    }
    let opposite = |shared: &str, permission: &Permission| {
        let name = permission.name;
        Error::new(format!(
            "Failed to get {shared}\"{name}\" lock\nIs another process using the image [{path}]?"
        ))
    };
    for permission in used {
        if is_held(file, UNSHARED + permission.byte).unwrap_or(false) {
            return Err(opposite("", permission));
        }
    }
    for permission in &unshared {
        if is_held(file, USED + permission.byte).unwrap_or(false) {
            return Err(opposite("shared ", permission));
        }
    }
    Ok(())
}
