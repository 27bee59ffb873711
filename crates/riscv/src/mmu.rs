//! Address translation (Privileged ISA, sections "Sv32" to "Sv57", chapters "Svnapot", "Svpbmt", "Svadu").

use crate::csr::{ADUE, PBMTE};
use crate::extension::Extension;
use crate::hart::Hart;
use crate::mode::{M, S, U};
use crate::trap::cause;
use crate::{mstatus, slot};
use cpu::{Access, Mapping, Mmu, Space, Table, Trap};

const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const X: u64 = 8;
const USER: u64 = 16;
const GLOBAL: u64 = 32;
const ACCESSED: u64 = 64;
const DIRTY: u64 = 128;
const NAPOT: u64 = 1 << 63;
const PBMT: u64 = 3 << 61;
const RESERVED: u64 = 0x7f << 54;

/// Shape of a page table.
#[derive(Clone, Copy)]
struct Scheme {
    levels: u32,
    /// Bits of the virtual address per level.
    index: u32,
    pte: u32,
}

/// A leaf that was found.
struct Leaf {
    /// Address of the PTE.
    at: u64,
    pte: u64,
    physical: u64,
    size_log2: u8,
    /// The table that it stands in.
    table: Table,
}

/// Why a walk failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Page,
    Access,
}

/// What an access is checked with.
#[derive(Clone, Copy)]
struct Rules {
    privilege: u8,
    sum: bool,
    mxr: bool,
    satp: u64,
    svnapot: bool,
    svpbmt: bool,
}

/// Modes inside a space number.
const BARE: u64 = 0;
/// Who fetches is told of so many bytes alike at most.
const FETCH_LOG2: u8 = 21;

impl Hart {
    /// What decides how a privilege translates. Packed are: bits 0-42 PPN, 43-58 ASID, 59-60 mode (0 bare), 61-63 whose rules
    /// (none in the owner).
    pub(crate) fn space_of(&self, privilege: u8, status: u64) -> Space {
        let (mode, asid, ppn) = match (privilege, self.config.rv32(), self.get(slot::SATP)) {
            (M, ..) => (BARE, 0, 0),
            (_, true, satp) => (satp >> 31 & 1, satp >> 22 & 0x1ff, satp & 0x3f_ffff),
            (_, false, satp) => {
                let mode = match satp >> 60 {
                    8 => 1,
                    9 => 2,
                    10 => 3,
                    _ => BARE,
                };
                (mode, satp >> 44 & 0xffff, satp & 0x7ff_ffff_ffff)
            }
        };
        let mxr = status & mstatus::MXR != 0;
        let whose = match privilege {
            M => 6,
            _ if mode == BARE => 6 + (privilege == S) as u64,
            S => (status & mstatus::SUM != 0) as u64 * 2 + mxr as u64,
            _ => 4 + mxr as u64,
        };
        if mode == BARE {
            // M, S and U differ in what physical memory protection allows.
            let number = if privilege == M { 0 } else { whose << 61 | 1 };
            return Space { number, owner: 0 };
        }
        let owner = ppn | asid << 43 | mode << 59;
        let shared = privilege == S && self.globals;
        Space { number: if shared { mode << 59 } else { owner } | whose << 61, owner }
    }
    #[inline]
    fn rules(&self, privilege: u8) -> Rules {
        let status = self.get(slot::MSTATUS);
        Rules {
            privilege,
            sum: status & mstatus::SUM != 0,
            mxr: status & mstatus::MXR != 0,
            satp: self.get(slot::SATP),
            svnapot: self.config.has(Extension::Svnapot),
            svpbmt: self.get(slot::MENVCFG) & PBMTE != 0,
        }
    }
    /// Shape of the page table and physical address of its root; `None` if addresses are physical.
    fn scheme(&self, rules: &Rules) -> Option<(Scheme, u64)> {
        if rules.privilege == M {
            return None;
        }
        if self.config.rv32() {
            let root = (rules.satp & 0x3f_ffff) << 12;
            return (rules.satp >> 31 & 1 != 0).then_some((Scheme { levels: 2, index: 10, pte: 4 }, root));
        }
        let levels = match rules.satp >> 60 {
            8 => 3,
            9 => 4,
            10 => 5,
            _ => return None,
        };
        Some((Scheme { levels, index: 9, pte: 8 }, (rules.satp & 0xfff_ffff_ffff) << 12))
    }
    /// Finds the leaf for `va`, in the table `known` if that is given; `read` reads a PTE of 4 or 8 bytes.
    #[inline]
    fn walk(
        &self,
        (scheme, root): (Scheme, u64),
        known: Option<Table>,
        rules: &Rules,
        va: u64,
        mut read: impl FnMut(u64, u32) -> Option<u64>,
    ) -> Result<Leaf, Fault> {
        let bits = 12 + scheme.levels * scheme.index;
        if bits < 64 && scheme.pte == 8 && (va << (64 - bits)) as i64 >> (64 - bits) != va as i64 {
            return Err(Fault::Page);
        }
        let (levels, mut table, mut global) = match known {
            Some(known) => (known.below + 1, known.address, known.attributes),
            None => (scheme.levels, root, 0),
        };
        for level in (0..levels).rev() {
            let shift = 12 + level * scheme.index;
            let n = va >> shift & ((1 << scheme.index) - 1);
            let at = table + n * scheme.pte as u64;
            if !self.pmp_allows(at, S, Access::Read) {
                return Err(Fault::Access);
            }
            let pte = read(at, scheme.pte).ok_or(Fault::Access)?;
            let ppn = if scheme.pte == 4 { pte >> 10 & 0x3f_ffff } else { pte >> 10 & 0xfff_ffff_ffff };
            let high = if scheme.pte == 8 { pte & (NAPOT | PBMT | RESERVED) } else { 0 };
            if pte & V == 0 || pte & (R | W) == W || high & RESERVED != 0 {
                return Err(Fault::Page);
            }
            if pte & (R | X) == 0 {
                // A pointer: attributes of leaves are reserved here.
                if pte & (ACCESSED | DIRTY | USER) != 0 || high != 0 {
                    return Err(Fault::Page);
                }
                global |= pte & GLOBAL;
                table = ppn << 12;
                continue;
            }
            if high & PBMT != 0 && (!rules.svpbmt || high & PBMT == PBMT) {
                return Err(Fault::Page);
            }
            let mut size_log2 = shift as u8;
            let mut base = ppn << 12;
            if high & NAPOT != 0 {
                // Svnapot knows 64 KiB only.
                if !rules.svnapot || level != 0 || ppn & 15 != 8 {
                    return Err(Fault::Page);
                }
                size_log2 = 16;
                base = (ppn & !15) << 12;
            }
            let offset = (1u64 << size_log2) - 1;
            if base & offset != 0 {
                return Err(Fault::Page);
            }
            let table = Table { address: table, attributes: global, below: level };
            return Ok(Leaf { at, pte: pte | global, physical: base | va & offset, size_log2, table });
        }
        Err(Fault::Page)
    }
    #[inline]
    fn pmp_allows(&self, pa: u64, privilege: u8, access: Access) -> bool {
        !self.config.has(Extension::Pmp) || self.pmp.allows(pa, privilege, access)
    }
    /// Combines a mapping with physical memory protection, and keeps pages with triggers from being remembered. Always inline: a mapping on its way
    /// through memory, written byte by byte and copied at once, makes the host wait.
    #[inline(always)]
    fn protect(&self, va: u64, access: Access, privilege: u8, mut m: Mapping) -> Result<Mapping, Trap> {
        if self.triggers.armed && self.triggers.in_page(va) {
            m.size_log2 = 0;
        }
        m.fetch_log2 = match access {
            // Pages with triggers may be near.
            Access::Execute if !self.triggers.armed => m.size_log2.min(FETCH_LOG2),
            _ => m.size_log2.min(12),
        };
        if !self.config.has(Extension::Pmp) {
            return Ok(m);
        }
        // Nobody uses more than a page at once but who fetches, so the protection is asked about no more.
        let page = m.size_log2.min(12);
        let p = self.pmp.permission(m.physical, privilege, m.fetch_log2);
        if !p.allows(access) {
            return Err(access_fault(va, access));
        }
        m.read &= p.read;
        m.write &= p.write;
        m.execute &= p.execute;
        m.fetch_log2 = m.fetch_log2.min(p.size_log2);
        if p.size_log2 < page {
            m.size_log2 = p.size_log2;
        }
        Ok(m)
    }
    /// See [`cpu::Guest::translate`].
    #[inline]
    pub(crate) fn translate_address(
        &mut self,
        mmu: &mut dyn Mmu<Hart>,
        va: u64,
        access: Access,
    ) -> Result<Mapping, Trap> {
        let privilege = if access == Access::Execute { self.privilege() } else { self.data_privilege() };
        let rules = self.rules(privilege);
        let Some((scheme, root)) = self.scheme(&rules) else {
            let m = Mapping {
                physical: va,
                size_log2: 63,
                fetch_log2: 0,
                read: true,
                write: true,
                execute: true,
                global: true,
            };
            return self.protect(va, access, privilege, m);
        };
        let update = self.get(slot::MENVCFG) & ADUE != 0;
        // Whoever changes the PTE in between makes us look again; the number of tries bounds a hostile neighbour.
        for _ in 0..64 {
            // Which table there is for a region may be remembered until the next sfence.vma, as the leaves in it may.
            let region = va >> (12 + scheme.index);
            let known = mmu.known_table(rules.satp, region);
            let leaf = match self.walk((scheme, root), known, &rules, va, |pa, n| mmu.physical_read(pa, n)) {
                Ok(leaf) => leaf,
                Err(Fault::Page) => return Err(page_fault(va, access)),
                Err(Fault::Access) => return Err(access_fault(va, access)),
            };
            if known != Some(leaf.table) {
                mmu.note_table(rules.satp, region, leaf.table);
            }
            let pte = leaf.pte;
            let user = pte & USER != 0;
            let data = match privilege {
                U => user,
                _ => !user || rules.sum,
            };
            let read = data && (pte & R != 0 || rules.mxr && pte & X != 0);
            let write = data && pte & W != 0;
            let execute = pte & X != 0 && user == (privilege == U);
            let allowed = match access {
                Access::Read => read,
                Access::Write => write,
                Access::Execute => execute,
            };
            if !allowed {
                return Err(page_fault(va, access));
            }
            let wanted = ACCESSED | if access == Access::Write { DIRTY } else { 0 };
            if pte & wanted != wanted {
                if !update {
                    return Err(page_fault(va, access));
                }
                if !self.pmp_allows(leaf.at, S, Access::Write) {
                    return Err(access_fault(va, access));
                }
                // The PTE in memory may lack the G that its parents gave; compare with what is there.
                let Some(old) = mmu.physical_read(leaf.at, scheme.pte) else {
                    return Err(access_fault(va, access));
                };
                if old | GLOBAL != pte | GLOBAL {
                    continue;
                }
                match mmu.physical_cas(leaf.at, scheme.pte, old, old | wanted) {
                    None => return Err(access_fault(va, access)),
                    Some(false) => continue,
                    Some(true) => {}
                }
            }
            let global = pte & GLOBAL != 0;
            self.globals |= global && privilege == S;
            let m = Mapping {
                physical: leaf.physical,
                size_log2: leaf.size_log2,
                fetch_log2: 0,
                read,
                write: write && (pte | wanted) & DIRTY != 0,
                execute,
                global,
            };
            return self.protect(va, access, privilege, m);
        }
        Err(page_fault(va, access))
    }
    /// Physical address of a virtual one for a debugger.
    pub(crate) fn debug_address(
        &self,
        va: u64,
        read: &mut dyn FnMut(u64, u32) -> Option<u64>,
    ) -> Option<u64> {
        let rules = self.rules(self.data_privilege());
        match self.scheme(&rules) {
            None => Some(va),
            Some(at) => self.walk(at, None, &rules, va, read).ok().map(|l| l.physical),
        }
    }
}

/// Page fault of an access.
pub fn page_fault(va: u64, access: Access) -> Trap {
    let cause = match access {
        Access::Read => cause::LOAD_PAGE,
        Access::Write => cause::STORE_PAGE,
        Access::Execute => cause::INSTRUCTION_PAGE,
    };
    Trap { cause, value: va }
}
/// Access fault of an access.
pub fn access_fault(va: u64, access: Access) -> Trap {
    let cause = match access {
        Access::Read => cause::LOAD_ACCESS,
        Access::Write => cause::STORE_ACCESS,
        Access::Execute => cause::INSTRUCTION_ACCESS,
    };
    Trap { cause, value: va }
}

#[cfg(test)]
#[path = "mmu_test.rs"]
mod test;
