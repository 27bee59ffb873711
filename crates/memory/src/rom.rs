//! Blobs that are copied into the guest's memory at every reset: firmware, kernel, device tree.
//!
//! ```text
//! Roms::reset --small ones--> copy
//!             --large ones--> Ram::defer; a thread: Ram::complete --+--> Late::page
//!                             the guest comes there before: Ram::at +
//! ```
//! A guest spends its first moments in its firmware, so a kernel and an initial ramdisk are copied meanwhile.

use std::fmt::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use base::{PAGE_BITS, PAGE_SIZE, Result};

use crate::absent::PageSource;
use crate::contents::Contents;
use crate::ram::Ram;
use crate::region::lock;
use crate::space::AddressSpace;

struct Rom {
    name: String,
    place: Where,
    data: Contents,
}

enum Where {
    Memory { space: Arc<AddressSpace>, address: u64 },
    Firmware,
}

/// A blob of so many bytes is an operating system.
const SYSTEM: u64 = 8 << 20;

/// A blob of so many bytes is large: the guest need not wait for it.
const LARGE: u64 = 1 << 20;

/// Blobs are copied in pieces of so many bytes, which the host's cache holds.
const PIECE: usize = 256 << 10;

impl Rom {
    /// Copies some of its bytes to where they belong; the first of all lies at `address`.
    fn copy(&self, space: &AddressSpace, address: u64, bytes: Range<u64>) {
        let mut buffer = vec![0; PIECE.min((bytes.end - bytes.start) as usize)];
        let mut done = bytes.start;
        while done < bytes.end {
            let at = address.wrapping_add(done);
            let Some(range) = space.lookup(at) else {
                base::guest_error!("rom {}: there is no memory at {at:#x}", self.name);
                break;
            };
            let length = range.left(at).min(bytes.end - done).min(PIECE as u64);
            let part = &mut buffer[..length as usize];
            if let Err(e) = self.data.read(done, part) {
                warn(&self.name, &e);
                break;
            }
            match range.readable(at) {
                Some((ram, offset)) => ram.write(offset, part),
                None => base::guest_error!("rom {}: there are registers at {at:#x}", self.name),
            }
            done += length;
        }
    }
}

fn warn(name: &str, error: &std::io::Error) {
    eprintln!("warning: {name} cannot be loaded again: {error}");
}

/// A blob in one block of memory.
struct Part {
    name: String,
    data: Contents,
    /// Offset of its first byte in the block.
    start: u64,
    /// Somebody has been told that it cannot be read.
    failed: AtomicBool,
}

impl Part {
    /// `rom` and its block, if all of it lies in one.
    fn of(rom: &Rom, space: &AddressSpace, address: u64) -> Option<(Arc<Ram>, Part)> {
        let range = space.lookup(address).filter(|range| range.left(address) >= rom.data.len())?;
        let (ram, start) = range.readable(address)?;
        let (name, data) = (rom.name.clone(), rom.data.clone());
        Some((ram.clone(), Part { name, data, start, failed: AtomicBool::new(false) }))
    }
    /// Offsets of what are whole pages of it.
    fn inner(&self) -> Range<u64> {
        self.start.next_multiple_of(PAGE_SIZE)..(self.start + self.data.len()) & !(PAGE_SIZE - 1)
    }
}

/// The large blobs of one block.
struct Late(Vec<Part>);

impl PageSource for Late {
    fn page(&self, offset: u64, into: &mut [u8; PAGE_SIZE as usize]) -> std::result::Result<(), String> {
        if let Some(part) = self.0.iter().find(|part| part.inner().contains(&offset))
            && let Err(e) = part.data.read(offset - part.start, into)
            && !part.failed.swap(true, Relaxed)
        {
            warn(&part.name, &e);
        }
        Ok(())
    }
}

/// Lets these blobs come, by a thread in the background, or before when they are touched.
fn bring(ram: Arc<Ram>, parts: Vec<Part>) {
    let pages = parts.iter().map(Part::inner).map(|p| p.start >> PAGE_BITS..p.end >> PAGE_BITS);
    let pages: Vec<_> = pages.collect();
    ram.defer(Arc::new(Late(parts)), &pages);
    // Without the thread they come when they are touched.
    let _ = std::thread::Builder::new().name("loader".into()).spawn(move || ram.complete());
}

/// The blobs of a machine.
#[derive(Default)]
pub struct Roms {
    list: Mutex<Vec<Rom>>,
}

impl Roms {
    /// No blobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a blob that lies at `address` of `space` after every reset.
    pub fn add(&self, name: &str, space: &Arc<AddressSpace>, address: u64, data: impl Into<Contents>) {
        let mut list = lock(&self.list);
        let after = list.iter().rposition(|r| match &r.place {
            Where::Memory { space: other, address: at } => Arc::ptr_eq(space, other) && *at <= address,
            Where::Firmware => false,
        });
        // In order of address; the first of an address space comes after all that is there.
        let before = list.iter().position(
            |r| matches!(&r.place, Where::Memory { space: other, .. } if Arc::ptr_eq(space, other)),
        );
        let at = after.map(|n| n + 1).or(before).unwrap_or(list.len());
        let rom = Rom {
            name: name.to_owned(),
            place: Where::Memory { space: space.clone(), address },
            data: data.into(),
        };
        list.insert(at, rom);
    }

    /// Adds a blob that the guest reads through the firmware configuration device; only listed here.
    pub fn add_firmware_file(&self, name: &str, data: impl Into<Contents>) {
        lock(&self.list).push(Rom { name: name.to_owned(), place: Where::Firmware, data: data.into() });
    }

    /// Refuses blobs that overlap.
    pub fn check(&self) -> Result<()> {
        let list = lock(&self.list);
        let mut before: Option<(&Arc<AddressSpace>, u64, &Rom)> = None;
        for rom in list.iter() {
            let Where::Memory { space, address } = &rom.place else { continue };
            let end = address.saturating_add(rom.data.len());
            if let Some((other, start, first)) = before
                && Arc::ptr_eq(space, other)
                && *address < start.saturating_add(first.data.len())
            {
                let first_end = start.saturating_add(first.data.len());
                return Err(base::error!("Some ROM regions are overlapping").hint(format!(
                    "These ROM regions might have been loaded by direct user request or by default.\n\
                     They could be BIOS/firmware images, a guest kernel, initrd or some other file loaded into guest memory.\n\
                     Check whether you intended to load all this guest code, and whether it has been built to load to the correct addresses.\n\n\
                     The following two regions overlap (in the memory address space):\n  \
                     {} (addresses {start:#018x} - {first_end:#018x})\n  \
                     {} (addresses {address:#018x} - {end:#018x})",
                    first.name, rom.name
                )));
            }
            before = Some((space, *address, rom));
        }
        Ok(())
    }

    /// Copies all blobs into place, large ones while the guest runs already. What does not fall on memory is left out, with a line in the log; a
    /// program that has room for registers in its data (as HTIF is) is loaded round them. The vCPUs stand still.
    pub fn reset(&self) {
        let (mut late, mut systems) = (Vec::<(Arc<Ram>, Vec<Part>)>::new(), Vec::new());
        for rom in lock(&self.list).iter() {
            let Where::Memory { space, address } = &rom.place else { continue };
            let len = rom.data.len();
            let Some((ram, part)) = Part::of(rom, space, *address).filter(|_| len >= LARGE) else {
                rom.copy(space, *address, 0..len);
                continue;
            };
            if len >= SYSTEM {
                systems.push(ram.clone());
            }
            if ram.is_coming() {
                // Of the last reset, or of a snapshot that this one overtakes.
                rom.copy(space, *address, 0..len);
                continue;
            }
            let inner = part.inner();
            rom.copy(space, *address, 0..inner.start - part.start);
            rom.copy(space, *address, inner.end - part.start..len);
            match late.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &ram)) {
                Some((_, parts)) => parts.push(part),
                None => late.push((ram, vec![part])),
            }
        }
        late.into_iter().for_each(|(ram, parts)| bring(ram, parts));
        systems.iter().for_each(|ram| ram.expect_system());
    }

    /// The text of `info roms`.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for rom in lock(&self.list).iter() {
            let _ = match &rom.place {
                Where::Memory { space, address } => {
                    let readonly = space
                        .lookup(*address)
                        .is_some_and(|r| r.readable(*address).is_some() && r.writable(*address).is_none());
                    writeln!(
                        out,
                        "addr={address:016x} size=0x{:06x} mem={} name=\"{}\"",
                        rom.data.len(),
                        if readonly { "rom" } else { "ram" },
                        rom.name
                    )
                }
                Where::Firmware => {
                    writeln!(out, "/rom@{} size=0x{:06x} name=\"{}\"", rom.name, rom.data.len(), rom.name)
                }
            };
        }
        out
    }
}

impl std::fmt::Debug for Roms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.print())
    }
}

#[cfg(test)]
#[path = "rom_test.rs"]
mod test;
