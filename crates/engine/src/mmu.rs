//! Guest memory as a vCPU sees it, on the engine's side: the TLB's slow path.
//!
//! ```text
//! translated code --miss--> hooks --+
//! interpreter ----------------------+--> Tcg::{load, store, amo, cas} --> Tcg::place --> Guest::translate
//! helpers --------------------------+                                        |
//!                                                                           +--> Set::fill
//! ```
//! [`Tcg::place`] answers where one access lands: at a host address (and then the entry is filled, so that the next one does
//! not come here), or on the bus. A store into a page that has translations never gets a write tag: it is made here, and the
//! RAM block tells the code cache.

use crate::bus::{Found, Store};
use crate::cache::WIDE;
use crate::profile::Doing;
use crate::run::Tcg;
use crate::tlb::{CodeMapping, Kind, Rights};
use cpu::{Access, Flush, Guest, Mmu, Stop, Table};
use ir::MemOp;
use memory::Ram;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

/// Where an access lands.
pub(crate) enum Place {
    /// RAM at this host address: the TLB has it now.
    Direct(u64),
    /// RAM that is not for everybody to access directly, at this offset.
    Ram(Arc<Ram>, u64),
    /// At this physical address, through the bus.
    Bus(u64),
    /// Nowhere: a store to ROM.
    Nowhere,
}

impl<G: Guest> Tcg<G> {
    /// Finds where an access of at most one page lands, filling the TLB.
    #[inline]
    pub(crate) fn place(&mut self, g: &mut G, va: u64, access: Access) -> Result<Place, Stop> {
        self.place_by(g, va, access, true)
    }
    /// The same; unless `direct` will do, the RAM block is always named.
    fn place_by(&mut self, g: &mut G, va: u64, access: Access, direct: bool) -> Result<Place, Stop> {
        if let Some(pa) = self.walks.device(self.data_space, va, access) {
            return Ok(Place::Bus(pa));
        }
        let mapping = g.translate(self, va, access)?;
        self.activity.fills.count();
        let pa = mapping.physical;
        let (ram, offset, store) = match self.bus.find(pa) {
            None => return Err(g.bus_fault(va, access).into()),
            Some(Found::Device) => {
                if access != Access::Execute {
                    self.walks.note_device(self.data_space, va, &mapping);
                }
                return Ok(Place::Bus(pa));
            }
            Some(Found::Ram(ram, offset, store)) => (ram, offset, store),
        };
        let page = offset & !4095;
        if mapping.size_log2 >= 12 && page + 4096 <= ram.len() && pa & 4095 == offset & 4095 {
            // A page with translated code keeps its stores on the slow path, which tells the code cache.
            let mut write = mapping.write && store == Store::Memory && !ram.has_code(page);
            // A page whose stores somebody watches (migration, a snapshot, a display) is noted at the first of them.
            if write && access == Access::Write {
                ram.open_page(page);
            }
            write &= ram.is_open(page);
            ram.touch(page, 4096);
            // Whoever executes first comes here once more, so that data that could be code costs nothing.
            let execute = mapping.execute && access == Access::Execute;
            let rights = Rights { read: mapping.read, write, execute };
            let set = if execute { self.code_set } else { self.data_set };
            let host_page = ram.host_ptr() as u64 + page;
            let rights = self.unwatched(va, rights);
            let wide = rights.execute && 1 << mapping.fetch_log2 >= WIDE && self.bus.has_in_a_row(pa, offset);
            let set = self.tlb.set(set);
            if rights.execute {
                set.note_code(va, CodeMapping::at(va, &mapping), wide);
            }
            set.fill(va, host_page, rights, Kind { global: mapping.global, large: mapping.size_log2 > 12 });
            if write && ram.has_code(page) {
                // Somebody has begun to translate from it in between and may not have seen our tag.
                set.entry(va).forbid_writes();
            } else if direct && (write || access != Access::Write) {
                return Ok(Place::Direct(host_page + (offset & 4095)));
            }
        }
        Ok(match store {
            _ if access != Access::Write => Place::Ram(ram.clone(), offset),
            Store::Memory => Place::Ram(ram.clone(), offset),
            Store::Dropped => Place::Nowhere,
            Store::Device => Place::Bus(pa),
        })
    }
    /// Host address of an access that the TLB allows.
    #[inline(always)]
    pub(crate) fn hit(&mut self, va: u64, bytes: u64, access: Access) -> Option<u64> {
        let e = self.tlb.set(self.data_set).entry(va);
        let last = va.wrapping_add(bytes - 1) & !4095;
        e.allows(last, access).then(|| va.wrapping_add(e.addend.load(Relaxed)))
    }
    /// Has the TLB filled for an access of translated code that has not been made yet; see [`host::Hooks::fill`]. A fault is found again by
    /// whoever makes the access.
    pub(crate) fn fill(&mut self, g: &mut G, va: u64, need: u64) -> Option<u64> {
        let access = if need == 2 { Access::Write } else { Access::Read };
        let needed = if need == 0 { Access::Read } else { Access::Write };
        let found =
            self.recall(va, needed).is_some() || matches!(self.place(g, va, access), Ok(Place::Direct(_)));
        let e = self.tlb.set(self.data_set).entry(va);
        (found && e.allows(va & !4095, needed)).then(|| e.addend.load(Relaxed))
    }
    /// Host address of an access whose page has been driven out of the TLB by another one lately.
    fn recall(&mut self, va: u64, access: Access) -> Option<u64> {
        let set = self.tlb.set(self.data_set);
        set.recall(va, access).then(|| va.wrapping_add(set.entry(va).addend.load(Relaxed)))
    }
    fn load_slow(&mut self, g: &mut G, va: u64, bytes: u32) -> Result<u64, Stop> {
        self.watch(g, va, bytes, Access::Read)?;
        if (va & 4095) + bytes as u64 > 4096 {
            return self.load_split(g, va, bytes);
        }
        if let Some(host) = self.recall(va, Access::Read) {
            return Ok(crate::raw::load(host, bytes));
        }
        match self.place(g, va, Access::Read)? {
            Place::Direct(host) => Ok(crate::raw::load(host, bytes)),
            Place::Ram(ram, offset) => Ok(ram.read_int(offset, bytes)),
            Place::Bus(pa) => {
                self.alone()?;
                self.bus_read(pa, bytes).ok_or_else(|| g.bus_fault(va, Access::Read).into())
            }
            Place::Nowhere => Ok(0),
        }
    }
    /// A load across a page boundary: byte by byte, so that a fault names the byte that faults.
    fn load_split(&mut self, g: &mut G, va: u64, bytes: u32) -> Result<u64, Stop> {
        let mut value = 0;
        for i in 0..bytes {
            let va = va.wrapping_add(i as u64);
            let byte = match self.hit(va, 1, Access::Read) {
                Some(host) => crate::raw::load(host, 1),
                None => self.load_slow(g, va, 1)?,
            };
            value |= byte << (8 * i);
        }
        Ok(value)
    }
    fn store_slow(&mut self, g: &mut G, va: u64, value: u64, bytes: u32) -> Result<(), Stop> {
        self.watch(g, va, bytes, Access::Write)?;
        if (va & 4095) + bytes as u64 > 4096 {
            // Both pages are asked first: a store that faults has stored nothing.
            self.place(g, va, Access::Write)?;
            self.place(g, (va & !4095).wrapping_add(4096), Access::Write)?;
            for i in 0..bytes {
                let (va, byte) = (va.wrapping_add(i as u64), value >> (8 * i) & 0xff);
                match self.hit(va, 1, Access::Write) {
                    Some(host) => crate::raw::store(host, 1, byte),
                    None => self.store_slow(g, va, byte, 1)?,
                }
            }
            return Ok(());
        }
        if let Some(host) = self.recall(va, Access::Write) {
            crate::raw::store(host, bytes, value);
            return Ok(());
        }
        match self.place(g, va, Access::Write)? {
            Place::Direct(host) => crate::raw::store(host, bytes, value),
            Place::Ram(ram, offset) => ram.write_int(offset, bytes, value),
            Place::Bus(pa) => {
                self.alone()?;
                if !self.bus_write(pa, bytes, value) {
                    return Err(g.bus_fault(va, Access::Write).into());
                }
            }
            Place::Nowhere => {}
        }
        Ok(())
    }
    /// Loads from a device. Rust code behind it may use floating point, whose flags are not the guest's.
    fn bus_read(&mut self, pa: u64, bytes: u32) -> Option<u64> {
        let before = self.activity.begin(Doing::Device);
        let held = crate::fp::hold();
        let value = self.bus.read(pa, bytes);
        crate::fp::resume(held);
        self.activity.begin(before);
        value
    }
    /// Stores to a device. If that has changed the memory map, this vCPU sees it at once.
    fn bus_write(&mut self, pa: u64, bytes: u32, value: u64) -> bool {
        let before = self.activity.begin(Doing::Device);
        let held = crate::fp::hold();
        let done = self.bus.write(pa, bytes, value);
        crate::fp::resume(held);
        self.activity.begin(before);
        if self.bus.refresh() {
            self.flush_sets();
        }
        done
    }
    /// RAM for an atomic access, which must be aligned.
    fn atomic_place(&mut self, g: &mut G, va: u64, bytes: u64) -> Result<Place, Stop> {
        if va & (bytes - 1) != 0 {
            return Err(g.misaligned(va, Access::Write).into());
        }
        self.watch(g, va, bytes as u32, Access::Write)?;
        self.place_by(g, va, Access::Write, false)
    }
}

/// Compare and swap of 4 or 8 (or fewer) aligned bytes; returns what was there.
fn cas_int(ram: &Ram, offset: u64, bytes: u32, old: u64, new: u64) -> u64 {
    match bytes {
        4 => ram.cas32(offset, old as u32, new as u32).map_or_else(u64::from, u64::from),
        _ => ram.cas64(offset, old, new).unwrap_or_else(|found| found),
    }
}

/// The new value of an atomic operation, as [`ir::Op::Amo`] numbers them, on `bytes` bytes.
pub fn amo_result(kind: u8, bytes: u32, old: u64, operand: u64) -> u64 {
    let sign = |v: u64| if bytes == 4 { v as i32 as i64 } else { v as i64 };
    let zero = |v: u64| if bytes == 4 { v as u32 as u64 } else { v };
    match kind {
        0 => operand,
        1 => old.wrapping_add(operand),
        2 => old ^ operand,
        3 => old & operand,
        4 => old | operand,
        5 => sign(old).min(sign(operand)) as u64,
        6 => sign(old).max(sign(operand)) as u64,
        7 => zero(old).min(zero(operand)),
        ir::ALIGNED_LOAD => old,
        _ => zero(old).max(zero(operand)),
    }
}

impl<G: Guest> Mmu<G> for Tcg<G> {
    fn load(&mut self, g: &mut G, va: u64, op: MemOp) -> Result<u64, Stop> {
        self.loaded = Some(va);
        let raw = match self.hit(va, op.bytes() as u64, Access::Read) {
            Some(host) => crate::raw::load(host, op.bytes()),
            None => self.load_slow(g, va, op.bytes())?,
        };
        Ok(op.extend(raw))
    }
    fn store(&mut self, g: &mut G, va: u64, value: u64, op: MemOp) -> Result<(), Stop> {
        match self.hit(va, op.bytes() as u64, Access::Write) {
            Some(host) => {
                crate::raw::store(host, op.bytes(), value);
                Ok(())
            }
            None => self.store_slow(g, va, value, op.bytes()),
        }
    }
    fn amo(&mut self, g: &mut G, kind: u8, va: u64, value: u64, op: MemOp) -> Result<u64, Stop> {
        let bytes = op.bytes();
        if kind == ir::ALIGNED_LOAD {
            if va & (bytes as u64 - 1) != 0 {
                return Err(g.misaligned(va, Access::Read).into());
            }
            return self.load(g, va, op);
        }
        self.watch(g, va, bytes, Access::Read)?;
        let old = match self.atomic_place(g, va, bytes as u64)? {
            Place::Ram(ram, offset) => loop {
                let old = ram.read_int(offset, bytes);
                let new = amo_result(kind, bytes, old, value);
                if cas_int(&ram, offset, bytes, old, new) == old {
                    break old;
                }
            },
            Place::Bus(pa) => {
                self.alone()?;
                let fault = g.bus_fault(va, Access::Write);
                let old = self.bus_read(pa, bytes).ok_or(fault)?;
                if !self.bus_write(pa, bytes, amo_result(kind, bytes, old, value)) {
                    return Err(fault.into());
                }
                old
            }
            Place::Direct(_) | Place::Nowhere => return Err(g.bus_fault(va, Access::Write).into()),
        };
        Ok(op.extend(old))
    }
    fn cas(&mut self, g: &mut G, va: u64, old: u64, new: u64, op: MemOp) -> Result<u64, Stop> {
        let bytes = op.bytes();
        let mask = u64::MAX >> (64 - 8 * bytes);
        let found = match self.atomic_place(g, va, bytes as u64)? {
            Place::Ram(ram, offset) => cas_int(&ram, offset, bytes, old & mask, new & mask),
            Place::Bus(pa) => {
                self.alone()?;
                let fault = g.bus_fault(va, Access::Write);
                let found = self.bus_read(pa, bytes).ok_or(fault)?;
                if found == old & mask && !self.bus_write(pa, bytes, new) {
                    return Err(fault.into());
                }
                found
            }
            Place::Direct(_) | Place::Nowhere => return Err(g.bus_fault(va, Access::Write).into()),
        };
        Ok(op.extend(found))
    }
    fn cas128(&mut self, g: &mut G, va: u64, old: u128, new: u128) -> Result<u128, Stop> {
        match self.atomic_place(g, va, 16)? {
            Place::Ram(ram, offset) => Ok(ram.cas128(offset, old, new).unwrap_or_else(|found| found)),
            _ => Err(g.bus_fault(va, Access::Write).into()),
        }
    }
    fn fetch(&mut self, g: &mut G, va: u64, wide: fn(u16) -> bool) -> Result<u32, Stop> {
        let e = self.tlb.set(self.code_set).entry(va);
        if e.allows(va & !4095, Access::Execute) && va & 4095 <= 4092 {
            let both = crate::raw::load(va.wrapping_add(e.addend.load(Relaxed)), 4) as u32;
            return Ok(if wide(both as u16) { both } else { both & 0xffff });
        }
        let first = self.fetch16(g, va)?;
        if !wide(first) {
            return Ok(first as u32);
        }
        Ok(first as u32 | (self.fetch16(g, va.wrapping_add(2))? as u32) << 16)
    }
    fn probe(&mut self, g: &mut G, va: u64, access: Access) -> Result<u64, Stop> {
        Ok(g.translate(self, va, access)?.physical)
    }
    fn physical_read(&mut self, pa: u64, bytes: u32) -> Option<u64> {
        self.bus.read_ram(pa, bytes)
    }
    fn physical_cas(&mut self, pa: u64, bytes: u32, old: u64, new: u64) -> Option<bool> {
        match self.bus.find(pa)? {
            Found::Ram(ram, offset, Store::Memory) => Some(cas_int(ram, offset, bytes, old, new) == old),
            _ => None,
        }
    }
    fn known_table(&mut self, owner: u64, region: u64) -> Option<Table> {
        self.walks.get(owner, region)
    }
    fn note_table(&mut self, owner: u64, region: u64, table: Table) {
        self.walks.note(owner, region, table);
    }
    fn flush(&mut self, g: &mut G, what: Flush) {
        self.activity.flushes.count();
        self.forget_sites();
        self.walks.forget();
        if what == Flush::Tables && self.code_stays(g) {
            let code = self.code_set;
            self.tlb
                .sets()
                .enumerate()
                .for_each(|(i, s)| if i == code { s.flush_entries() } else { s.flush() });
            return;
        }
        for set in self.tlb.sets() {
            let is_its = |id: Option<u64>| id.is_none_or(|id| id == G::space_id(set.owner()));
            match what {
                Flush::All | Flush::Tables => set.flush(),
                Flush::Space(id) if is_its(id) => set.flush_own(),
                Flush::Page(va, id) if is_its(id) => set.flush_page(va, id.is_some()),
                _ => {}
            }
        }
        self.prepare(g);
    }
    fn synchronize_code(&mut self) {
        // Stores into translated code have killed it as they were made; nothing is left to do.
    }
}

impl<G: Guest> Tcg<G> {
    /// Whether all code in the jump cache in use is mapped as it was. A supervisor forgets everything thousands of times
    /// while it boots (when it frees what it had mapped for itself), and its code is seldom what it means.
    fn code_stays(&mut self, g: &mut G) -> bool {
        if g.space() != self.space {
            return false;
        }
        let Some(code) = self.tlb.set(self.code_set).code() else { return false };
        let code = code.to_vec();
        code.into_iter().all(|m| {
            let found = g.translate(self, m.virtual_address, Access::Execute);
            found.is_ok_and(|found| CodeMapping::at(m.virtual_address, &found) == m)
        })
    }
    fn fetch16(&mut self, g: &mut G, va: u64) -> Result<u16, Stop> {
        let e = self.tlb.set(self.code_set).entry(va);
        if e.allows(va & !4095, Access::Execute) {
            return Ok(crate::raw::load(va.wrapping_add(e.addend.load(Relaxed)), 2) as u16);
        }
        match self.place(g, va, Access::Execute)? {
            Place::Direct(host) => Ok(crate::raw::load(host, 2) as u16),
            Place::Ram(ram, offset) => Ok(ram.read_int(offset, 2) as u16),
            Place::Bus(pa) => {
                self.bus.read(pa, 2).map(|v| v as u16).ok_or_else(|| g.bus_fault(va, Access::Execute).into())
            }
            Place::Nowhere => Err(g.bus_fault(va, Access::Execute).into()),
        }
    }
}
