//! Block nodes that come and go while the machine runs.

use crate::control::Control;
use crate::report;
use backends::block::{BlockdevOption, DriveInterface, DriveOption};
use base::{Result, error};
use monitor::hmp::{Arguments, failed};
use monitor::{Command, Context, command};
use qapi::{Qapi, Value};
use std::sync::PoisonError;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[BLOCKDEV_ADD];

/// What is done with a range that the guest no longer needs.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum BlockdevDiscardOptions {
    /// Nothing.
    Ignore,
    /// It is given back to the host.
    Unmap,
}

/// What is done about written zeroes.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum BlockdevDetectZeroesOptions {
    /// They are written.
    Off,
    /// They are written in a short way; here as they are.
    On,
    /// Their space is given back; here they are written as they are.
    Unmap,
}

/// How the host's caches are used.
#[derive(Debug, Qapi)]
pub struct BlockdevCacheOptions {
    direct: Option<bool>,
    no_flush: Option<bool>,
}

/// How requests reach the host.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum BlockdevAioOptions {
    /// By threads.
    Threads,
    /// By the kernel's old interface; here by threads as well.
    Native,
    /// By its new one; here by threads as well.
    #[qapi(name = "io_uring")]
    IoUring,
}

/// A switch that may be left to the program.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum OnOffAuto {
    /// As it seems right.
    Auto,
    /// On.
    On,
    /// Off.
    Off,
}

/// A file.
#[derive(Debug, Qapi)]
pub struct BlockdevOptionsFile {
    filename: String,
    aio: Option<BlockdevAioOptions>,
    locking: Option<OnOffAuto>,
}

/// Nothing of some length.
#[derive(Debug, Qapi)]
pub struct BlockdevOptionsNull {
    size: Option<u64>,
    latency_ns: Option<u64>,
    read_zeroes: Option<bool>,
}

/// Another node, by its name or defined in place.
#[derive(Debug, Qapi)]
#[qapi(alternate)]
pub enum BlockdevRef {
    /// The name.
    Reference(String),
    /// The definition; an object as in the command itself.
    Definition(Box<BlockdevOptions>),
}

/// A format over another node.
#[derive(Debug, Qapi)]
pub struct BlockdevOptionsRaw {
    file: BlockdevRef,
}

/// The drivers.
#[derive(Debug, Qapi)]
#[qapi(tag = "driver")]
pub enum BlockdevDriver {
    /// A file of the host.
    File(BlockdevOptionsFile),
    /// A device of the host.
    #[qapi(name = "host_device")]
    HostDevice(BlockdevOptionsFile),
    /// Nothing.
    NullCo(BlockdevOptionsNull),
    /// Nothing.
    NullAio(BlockdevOptionsNull),
    /// The format without a format.
    Raw(BlockdevOptionsRaw),
}

/// A node.
#[derive(Debug, Qapi)]
pub struct BlockdevOptions {
    node_name: Option<String>,
    discard: Option<BlockdevDiscardOptions>,
    cache: Option<BlockdevCacheOptions>,
    read_only: Option<bool>,
    auto_read_only: Option<bool>,
    detect_zeroes: Option<BlockdevDetectZeroesOptions>,
    #[qapi(flatten)]
    driver: BlockdevDriver,
}

/// Makes a block node.
#[command(boxed)]
pub fn blockdev_add(context: &mut Context<'_>, options: BlockdevOptions) -> Result<()> {
    let text: Value = options.to_json();
    let option = BlockdevOption::parse(&text.to_string()).map_err(|e| error!("{e}"))?;
    let control = Control::of(context)?;
    control.blocks.lock().unwrap_or_else(PoisonError::into_inner).add_node(&option).map_err(|e| error!("{e}"))
}

/// Makes a drive; where it would be plugged in (`[domain:]bus:slot`, or `dummy`) counts only for `if=none`, which it is.
fn drive_add(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let text = std::mem::take(&mut arguments.rest).trim();
    let (_, option) = text.split_once(char::is_whitespace).unwrap_or(("", text));
    let option = DriveOption::parse(option.trim()).map_err(|e| failed(error!("{e}")))?;
    if option.interface.is_some_and(|interface| interface != DriveInterface::None) {
        return Err(failed(error!(
            "Can't hot-add drive to type {}",
            option.interface.unwrap_or(DriveInterface::None)
        )));
    }
    let control = Control::of(context)?;
    let mut blocks = control.blocks.lock().unwrap_or_else(PoisonError::into_inner);
    let notice = |text: &str| report::say(text);
    blocks.add_drive(option, DriveInterface::None, &notice).map_err(|e| failed(error!("{e}")))?;
    context.out.push_str("OK\n");
    Ok(())
}

/// Forgets a drive that no device has.
fn drive_del(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let id = std::mem::take(&mut arguments.rest).trim();
    let control = Control::of(context)?;
    let mut blocks = control.blocks.lock().unwrap_or_else(PoisonError::into_inner);
    let drive = blocks.find(id).ok_or_else(|| failed(error!("Device '{id}' not found")))?;
    if drive.taken {
        return Err(failed(error!("Error: Device '{id}' is in use")));
    }
    blocks.remove(id);
    Ok(())
}

/// Commands for people.
pub const HMP: &[monitor::hmp::Command] = &[
    monitor::hmp::Command {
        names: "drive_add",
        params: "[[<domain>:]<bus>:]<slot> [file=file][,if=none][,format=f][,readonly=on|off]",
        help: "add a drive for a device that is added later",
        run: drive_add,
    },
    monitor::hmp::Command {
        names: "drive_del",
        params: "device",
        help: "remove host block device",
        run: drive_del,
    },
];
