//! Blobs that are copied into the guest's memory at every reset: firmware, kernel, device tree.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use base::Result;

use crate::contents::Contents;
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

/// Blobs are copied in pieces of so many bytes, which the host's cache holds.
const PIECE: usize = 256 << 10;

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

    /// Copies all blobs into place. What does not fall on memory is left out, with a line in the log; a program that
    /// has room for registers in its data (as HTIF is) is loaded round them.
    pub fn reset(&self) {
        let (mut buffer, mut systems) = (vec![0; PIECE], Vec::new());
        for rom in lock(&self.list).iter() {
            let Where::Memory { space, address } = &rom.place else { continue };
            let mut done = 0;
            if let Some((ram, offset)) = space.lookup(*address).as_ref().and_then(|r| r.readable(*address)) {
                ram.expect(offset, rom.data.len().min(ram.len() - offset));
                if rom.data.len() >= SYSTEM {
                    systems.push(ram.clone());
                }
            }
            while done < rom.data.len() {
                let at = address.wrapping_add(done);
                let Some(range) = space.lookup(at) else {
                    base::guest_error!("rom {}: there is no memory at {at:#x}", rom.name);
                    break;
                };
                let length = range.left(at).min(rom.data.len() - done).min(PIECE as u64);
                let part = &mut buffer[..length as usize];
                if let Err(e) = rom.data.read(done, part) {
                    eprintln!("warning: {} cannot be loaded again: {e}", rom.name);
                    break;
                }
                match range.readable(at) {
                    Some((ram, offset)) => ram.write(offset, part),
                    None => base::guest_error!("rom {}: there are registers at {at:#x}", rom.name),
                }
                done += length;
            }
        }
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
