//! Blobs that are copied into the guest's memory at every reset: firmware, kernel, device tree.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use base::Result;

use crate::region::lock;
use crate::space::AddressSpace;

struct Rom {
    name: String,
    place: Where,
    data: Arc<[u8]>,
}

enum Where {
    Memory { space: Arc<AddressSpace>, address: u64 },
    Firmware,
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
    pub fn add(&self, name: &str, space: &Arc<AddressSpace>, address: u64, data: impl Into<Arc<[u8]>>) {
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
    pub fn add_firmware_file(&self, name: &str, data: impl Into<Arc<[u8]>>) {
        lock(&self.list).push(Rom { name: name.to_owned(), place: Where::Firmware, data: data.into() });
    }

    /// Whether there is a blob that covers `address` of `space`, and the bytes from there on.
    pub fn at(&self, space: &Arc<AddressSpace>, address: u64) -> Option<Vec<u8>> {
        lock(&self.list).iter().find_map(|rom| match &rom.place {
            Where::Memory { space: other, address: at } if Arc::ptr_eq(space, other) => {
                let skip = usize::try_from(address.checked_sub(*at)?).ok()?;
                rom.data.get(skip..).filter(|d| !d.is_empty()).map(<[u8]>::to_vec)
            }
            _ => None,
        })
    }

    /// Refuses blobs that overlap.
    pub fn check(&self) -> Result<()> {
        let list = lock(&self.list);
        let mut before: Option<(&Arc<AddressSpace>, u64, &Rom)> = None;
        for rom in list.iter() {
            let Where::Memory { space, address } = &rom.place else { continue };
            let end = address.saturating_add(rom.data.len() as u64);
            if let Some((other, start, first)) = before
                && Arc::ptr_eq(space, other)
                && *address < start.saturating_add(first.data.len() as u64)
            {
                let first_end = start.saturating_add(first.data.len() as u64);
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
        for rom in lock(&self.list).iter() {
            let Where::Memory { space, address } = &rom.place else { continue };
            let (mut at, mut left) = (*address, &rom.data[..]);
            while !left.is_empty() {
                let Some(range) = space.lookup(at) else {
                    base::guest_error!("rom {}: there is no memory at {at:#x}", rom.name);
                    break;
                };
                let length = usize::try_from(range.left(at)).unwrap_or(usize::MAX);
                let (part, rest) = left.split_at(left.len().min(length));
                match range.readable(at) {
                    Some((ram, offset)) => ram.write(offset, part),
                    None => base::guest_error!("rom {}: there are registers at {at:#x}", rom.name),
                }
                at = at.wrapping_add(part.len() as u64);
                left = rest;
            }
        }
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
