//! File descriptors that a client sends along.

use super::{Qapi, command};
use crate::{Command, Context};
use backends::fd;
use base::{Result, error};
use std::os::fd::OwnedFd;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[ADD_FD, CLOSEFD, GETFD, QUERY_FDSETS, REMOVE_FD];

fn received(context: &mut Context<'_>) -> Result<OwnedFd> {
    let list = &mut context.session.received;
    // Others that came with it are closed: the protocol has no way to name them.
    let fd = if list.is_empty() { None } else { Some(list.remove(0)) };
    list.clear();
    fd.ok_or_else(|| error!("No file descriptor supplied via SCM_RIGHTS"))
}

/// Gives the descriptor that came with the command a name.
#[command(hmp("getfd", "getfd name", "receive a file descriptor via SCM rights and assign it a name"))]
pub fn getfd(context: &mut Context<'_>, fdname: String) -> Result<()> {
    let fd = received(context)?;
    if fdname.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(error!("Parameter 'fdname' expects a name not starting with a digit"));
    }
    fd::name(&fdname, fd);
    Ok(())
}

/// Closes a descriptor that has a name.
#[command(hmp("closefd", "closefd name", "close a file descriptor previously passed via SCM rights"))]
pub fn closefd(_: &mut Context<'_>, fdname: String) -> Result<()> {
    fd::take_named(&fdname).map(drop).ok_or_else(|| error!("File descriptor named '{fdname}' not found"))
}

/// Where a descriptor was put.
#[derive(Debug, Qapi)]
pub struct AddfdInfo {
    fdset_id: i64,
    fd: i64,
}

/// Puts the descriptor that came with the command into a set, which is then `/dev/fdset/N`.
#[command]
pub fn add_fd(context: &mut Context<'_>, fdset_id: Option<i64>, opaque: Option<String>) -> Result<AddfdInfo> {
    let fd = received(context)?;
    let (fdset_id, fd) = fd::add_to_set(fdset_id, fd, opaque).map_err(|e| error!("{e}"))?;
    Ok(AddfdInfo { fdset_id, fd: fd.into() })
}

/// Removes a descriptor from a set, or the whole set.
#[command]
pub fn remove_fd(_: &mut Context<'_>, fdset_id: i64, fd: Option<i64>) -> Result<()> {
    fd::remove_from_set(fdset_id, fd).map_err(|e| error!("{e}"))
}

/// A descriptor of a set.
#[derive(Debug, Qapi)]
pub struct FdsetFdInfo {
    fd: i64,
    opaque: Option<String>,
}

/// A set.
#[derive(Debug, Qapi)]
pub struct FdsetInfo {
    fdset_id: i64,
    fds: Vec<FdsetFdInfo>,
}

/// The sets.
#[command]
pub fn query_fdsets(_: &mut Context<'_>) -> Result<Vec<FdsetInfo>> {
    let member = |(fd, opaque): (i32, Option<String>)| FdsetFdInfo { fd: fd.into(), opaque };
    let set =
        |(fdset_id, fds): (i64, Vec<_>)| FdsetInfo { fdset_id, fds: fds.into_iter().map(member).collect() };
    Ok(fd::sets().into_iter().map(set).collect())
}
