//! File descriptors from outside: those that the program was started with (`fd=7`), those that a monitor's client has
//! sent and named (`getfd`), and sets of them that stand for a file (`/dev/fdset/3`).

#[allow(unsafe_code)]
mod inherited;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::Error;

pub use inherited::inherited;

/// A descriptor of a set.
pub struct SetMember {
    /// The descriptor.
    pub fd: OwnedFd,
    /// What its giver calls it.
    pub opaque: Option<String>,
}

#[derive(Default)]
struct Store {
    named: BTreeMap<String, OwnedFd>,
    sets: BTreeMap<i64, Vec<SetMember>>,
}

static STORE: Mutex<Store> = Mutex::new(Store { named: BTreeMap::new(), sets: BTreeMap::new() });

fn store() -> MutexGuard<'static, Store> {
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a descriptor a name; one that had it is closed.
pub fn name(name: &str, fd: OwnedFd) {
    store().named.insert(name.to_owned(), fd);
}

/// Takes the descriptor of that name out of the store.
pub fn take_named(name: &str) -> Option<OwnedFd> {
    store().named.remove(name)
}

/// The descriptor that an option `fd=` means: a number is one that the program was started with, anything else a name.
///
/// # Errors
/// There is no such, or somebody has it already.
pub fn given(text: &str) -> Result<OwnedFd, Error> {
    match text.parse::<i32>() {
        Ok(number) => inherited(number)
            .map_err(|error| Error::io(format_args!("Unable to use file descriptor '{text}'"), error)),
        Err(_) => take_named(text)
            .ok_or_else(|| Error::new(format!("File descriptor named '{text}' has not been found"))),
    }
}

/// Adds a descriptor to a set, or to a new one, and returns the set's number and the descriptor's.
///
/// # Errors
/// The number of the set is negative.
pub fn add_to_set(set: Option<i64>, fd: OwnedFd, opaque: Option<String>) -> Result<(i64, i32), Error> {
    let mut store = store();
    if set.is_some_and(|set| set < 0) {
        return Err(Error::new("Parameter 'fdset-id' expects a non-negative value"));
    }
    let free = || (0..).find(|n| !store.sets.contains_key(n)).unwrap_or_default();
    let set = set.unwrap_or_else(free);
    let number = fd.as_raw_fd();
    store.sets.entry(set).or_default().push(SetMember { fd, opaque });
    Ok((set, number))
}

/// Removes a descriptor from a set, or all of them.
///
/// # Errors
/// There is no such.
pub fn remove_from_set(set: i64, fd: Option<i64>) -> Result<(), Error> {
    let mut store = store();
    let missing = || match fd {
        Some(fd) => Error::new(format!("File descriptor named 'fdset-id:{set}, fd:{fd}' not found")),
        None => Error::new(format!("File descriptor named 'fdset-id:{set}' not found")),
    };
    let members = store.sets.get_mut(&set).ok_or_else(missing)?;
    let before = members.len();
    members.retain(|member| fd.is_some_and(|fd| i64::from(member.fd.as_raw_fd()) != fd));
    let (removed, empty) = (before > members.len(), members.is_empty());
    if empty {
        store.sets.remove(&set);
    }
    if removed { Ok(()) } else { Err(missing()) }
}

/// A set as it is shown: its number, and of each member number and name.
pub type SetInfo = (i64, Vec<(i32, Option<String>)>);

/// Looks at all sets.
pub fn sets() -> Vec<SetInfo> {
    let describe = |member: &SetMember| (member.fd.as_raw_fd(), member.opaque.clone());
    store().sets.iter().map(|(set, members)| (*set, members.iter().map(describe).collect())).collect()
}

/// Opens a path; one like `/dev/fdset/3` is a copy of the descriptor of that set which can do what `options` ask for.
///
/// # Errors
/// The host's; or there is no such set, or nothing fitting in it.
pub fn open(path: &str, options: &OpenOptions, wanted: OFlags) -> io::Result<File> {
    let Some(set) = path.strip_prefix("/dev/fdset/") else { return options.open(path) };
    let absent = || io::Error::from(io::ErrorKind::NotFound);
    let set: i64 = set.parse().map_err(|_| absent())?;
    let store = store();
    let members = store.sets.get(&set).ok_or_else(absent)?;
    let fits = |member: &&SetMember| {
        fcntl_getfl(&member.fd).is_ok_and(|flags| flags & OFlags::ACCMODE == wanted & OFlags::ACCMODE)
    };
    let member = members.iter().find(fits).ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))?;
    let file = member.fd.as_fd().try_clone_to_owned().map(File::from)?;
    if wanted.contains(OFlags::DIRECT) {
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::DIRECT)?;
    }
    Ok(file)
}

#[cfg(test)]
#[path = "fd_test.rs"]
mod test;
