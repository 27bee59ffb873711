//! Threads for the I/O of devices.

use super::{Qapi, command};
use crate::{Command, Context};
use base::Result;
use object::ObjectRef;
use std::fmt::Write;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[QUERY_IOTHREADS];

/// An I/O thread.
#[derive(Debug, Qapi)]
pub struct IOThreadInfo {
    id: String,
    thread_id: i64,
    poll_max_ns: i64,
    poll_grow: i64,
    poll_shrink: i64,
    aio_max_batch: i64,
}

/// The objects of type `iothread`. Their threads sleep when there is nothing to do: they do not poll.
#[command(hmp("info iothreads", "", "show iothreads"))]
pub fn query_iothreads(context: &mut Context<'_>) -> Result<Vec<IOThreadInfo>> {
    let objects = context.vm.root().child("objects").map(|node| node.children()).unwrap_or_default();
    let threads = objects.into_iter().filter(|(_, node)| node.type_name() == "iothread");
    let info = |(id, node): (String, ObjectRef)| IOThreadInfo {
        id,
        thread_id: node.property("thread-id").ok().and_then(|value| value.as_int()).unwrap_or(0),
        poll_max_ns: 0,
        poll_grow: 0,
        poll_shrink: 0,
        aio_max_batch: 0,
    };
    let list: Vec<_> = threads.map(info).collect();
    for one in &list {
        let _ = writeln!(context.out, "{}:\n  thread_id={}", one.id, one.thread_id);
    }
    Ok(list)
}
