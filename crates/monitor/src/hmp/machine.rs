//! Commands for people about the machine as a whole, and about what it has not.

use super::arguments::{Number, Rest, Switches, Word};
use super::commands::{failed, refused};
use crate::Context;
use crate::vm::lock;
use backends::block::BlockDevice;
use base::{Result, error};
use std::fmt::Write;

pub(super) fn boot_set(_: &mut Context<'_>, _: (Word,)) -> Result<()> {
    Err(failed(error!("no function defined to set boot device list for this architecture")))
}

pub(super) fn screendump(_: &mut Context<'_>, _: (Rest,)) -> Result<()> {
    Err(refused(error!("There is no console to take a screendump from")))
}

/// Writes temporary changes back to the images.
pub(super) fn commit(context: &mut Context<'_>, (Word(device),): (Word,)) -> Result<()> {
    let blocks = lock(context.vm.blocks());
    let done = if device == "all" {
        blocks.commit_all()
    } else {
        let drive = blocks.find(&device).ok_or_else(|| failed(error!("Device '{device}' not found")))?;
        let medium = drive.device.as_ref();
        medium.ok_or_else(|| failed(error!("Device '{device}' has no medium")))?.commit()
    };
    done.map_err(|e| failed(error!("'commit' error for '{device}': {e}")))
}

/// Where on the host a guest's address is: the block's name and the pointer.
fn host_address(context: &Context<'_>, address: u64) -> Result<(String, u64)> {
    let range = context.vm.memory().lookup(address);
    let range = range.ok_or_else(|| refused(error!("No memory is mapped at address 0x{address:x}")))?;
    let (ram, offset) = range
        .readable(address)
        .ok_or_else(|| refused(error!("Memory at address 0x{address:x} is not RAM")))?;
    Ok((range.region.name().to_owned(), ram.host_ptr().addr() as u64 + offset))
}

pub(super) fn gpa2hva(context: &mut Context<'_>, (Number(address),): (Number,)) -> Result<()> {
    let (name, host) = host_address(context, address as u64)?;
    let _ = writeln!(context.out, "Host virtual address for 0x{address:x} ({name}) is 0x{host:x}");
    Ok(())
}

/// Asks the kernel's page map, which shows frames to an administrator only.
pub(super) fn gpa2hpa(context: &mut Context<'_>, (Number(address),): (Number,)) -> Result<()> {
    use std::os::unix::fs::FileExt;
    const PAGE: u64 = 4096;
    let (name, host) = host_address(context, address as u64)?;
    let mut entry = [0; 8];
    std::fs::File::open("/proc/self/pagemap")
        .and_then(|file| file.read_exact_at(&mut entry, host / PAGE * 8))
        .map_err(|e| refused(error!("Cannot open /proc/self/pagemap").because(e)))?;
    let entry = u64::from_ne_bytes(entry);
    if entry >> 63 == 0 {
        return Err(refused(error!("Page not present")));
    }
    let physical = (entry & ((1 << 55) - 1)) * PAGE + host % PAGE;
    let _ = writeln!(context.out, "Host physical address for 0x{address:x} ({name}) is 0x{physical:x}");
    Ok(())
}

pub(super) fn dump(
    context: &mut Context<'_>,
    switches: Switches,
    (Word(file), begin, length): (Word, Option<Number>, Option<Number>),
) -> Result<()> {
    if switches.has_any("zlswR") {
        return Err(refused(error!("only ELF dumps are supported by Tinamou")));
    }
    let number = |number: Option<Number>| number.map(|Number(n)| n as u64);
    let (paging, detach) = (switches.has('p'), Some(switches.has('d')));
    let protocol = format!("file:{file}");
    crate::qmp::dump_guest_memory(context, paging, protocol, detach, number(begin), number(length), None)
        .map_err(refused)
}

pub(super) fn qom_set(
    context: &mut Context<'_>,
    switches: Switches,
    (Word(path), Word(property), Rest(value)): (Word, Word, Rest),
) -> Result<()> {
    let value = match switches.has('j') {
        true => qapi::parse(&value).map_err(refused)?,
        false => value.into(),
    };
    crate::qmp::qom_set(context, path, property, value).map_err(refused)
}

pub(super) fn history(context: &mut Context<'_>, (): ()) -> Result<()> {
    for (n, line) in context.session.history.iter().enumerate() {
        let _ = writeln!(context.out, "{n}: '{line}'");
    }
    Ok(())
}

/// What no device here counts.
pub(super) fn nothing(_: &mut Context<'_>, (): ()) -> Result<()> {
    Ok(())
}

pub(super) fn numa(context: &mut Context<'_>, (): ()) -> Result<()> {
    context.out.push_str("0 nodes\n");
    Ok(())
}

pub(super) fn usb(_: &mut Context<'_>, (): ()) -> Result<()> {
    Err(refused(error!("USB support not enabled")))
}

pub(super) fn vnc(context: &mut Context<'_>, (): ()) -> Result<()> {
    context.out.push_str("None\n");
    Ok(())
}

/// The virtio devices with the names of their types.
pub(super) fn virtio(context: &mut Context<'_>, (): ()) -> Result<()> {
    let mut lines = Vec::new();
    context.vm.root().walk(&mut |node| {
        if let Some(name) =
            node.type_name().strip_suffix("-device").filter(|name| name.starts_with("virtio-"))
            && node.is_device()
        {
            lines.push(format!("{} [{name}]\n", node.path()));
        }
    });
    context.out.extend(lines);
    Ok(())
}
