//! Debug triggers (Debug Specification 1.0, chapter "Sdtrig"): two of them, each of type 2 (`mcontrol`), 6
//! (`mcontrol6`) or 3 (`icount`), with the breakpoint exception as their only action.
//!
//! ```text
//! write of tdata1/tdata2 --> Triggers::fold, all translations of addresses forgotten
//! page walk: a page with an armed trigger is never remembered --> every access to it, and every fetch, comes here
//! ```
//! So a trigger costs what happens in its page, and nothing elsewhere. All fire before the instruction, as `timing` 0
//! says; `match` is 0 (equal): the trigger's address is among the bytes accessed. Left out: types 4, 5 and 7, chains,
//! entry into debug mode.

use crate::hart::Hart;
use crate::slot;
use crate::trap::cause;
use cpu::{Access, Trap};

/// Triggers.
pub const COUNT: u64 = 2;

const LOAD: u64 = 1;
const STORE: u64 = 1 << 1;
const EXECUTE: u64 = 1 << 2;
/// The privilege levels in which a trigger of type 2 or 6 fires.
const MODES: u64 = 0x58;
/// `size` of type 2 and 6: log2 of the bytes plus one, 0 for any; type 2 has another two bits of it at 21.
const SIZE: u64 = 3 << 16;
/// u, s and m of type 3.
const COUNT_MODES: u64 = 0x2c0;
/// Type 3: `count`.
const COUNT_SHIFT: u32 = 10;
const COUNT_MASK: u64 = 0x3fff << COUNT_SHIFT;
/// Type 3: `pending`, the count has run out and the next instruction in a matching mode takes the exception.
const PENDING: u64 = 1 << 8;

/// A trigger as it is compared with.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Trigger {
    #[default]
    Off,
    /// Matches an address.
    Address { address: u64, what: u64, bytes: u32 },
    /// Counts instructions.
    Instructions,
}

/// What the trigger registers come to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Triggers {
    each: [Trigger; COUNT as usize],
    /// Whether any of them is armed.
    pub(crate) armed: bool,
}

fn kind(tdata1: u64, rv32: bool) -> u64 {
    tdata1 >> if rv32 { 28 } else { 60 } & 15
}

/// What a write of `v` to tdata1 leaves there; `None` if the type does not exist, and nothing changes.
pub(crate) fn legal(v: u64, rv32: bool) -> Option<u64> {
    let shift = if rv32 { 28 } else { 60 };
    let fields = match kind(v, rv32) {
        2 => MODES | EXECUTE | STORE | LOAD | size(v & SIZE | (v >> 3 & 3 << 18), 3 << 21, rv32),
        6 => MODES | EXECUTE | STORE | LOAD | size(v & (SIZE | 3 << 18), 3 << 18, rv32),
        3 => COUNT_MODES | COUNT_MASK,
        _ => return None,
    };
    Some(v & (15 << shift | fields))
}

/// The mask of `size`, whose low two bits are at 16 and whose high two are `high`, if its value `v >> 16` exists.
fn size(v: u64, high: u64, rv32: bool) -> u64 {
    match v >> 16 {
        0..=3 => SIZE,
        5 if !rv32 => SIZE | high,
        _ => 0,
    }
}

/// The bit that privilege `p` has among [`MODES`]: u is 3, s is 4, m is 6.
fn mode(p: u8) -> u64 {
    1 << (3 + p)
}
/// The bit that it has among [`COUNT_MODES`].
fn count_mode(p: u8) -> u64 {
    1 << (6 + p)
}

impl Triggers {
    /// Reads the registers of a hart.
    pub(crate) fn fold(h: &Hart) -> Triggers {
        let rv32 = h.config.rv32();
        let one = |n: u16| {
            let (tdata1, address) = (h.get(slot::TDATA1_0 + n), h.get(slot::TDATA2_0 + n));
            match kind(tdata1, rv32) {
                3 if tdata1 & COUNT_MODES != 0 && tdata1 & (COUNT_MASK | PENDING) != 0 => {
                    Trigger::Instructions
                }
                3 => Trigger::Off,
                t if tdata1 & MODES != 0 && tdata1 & (LOAD | STORE | EXECUTE) != 0 => {
                    let high = if t == 6 { tdata1 >> 18 } else { tdata1 >> 21 } & 3;
                    let bytes = match (tdata1 >> 16 & 3) | high << 2 {
                        0 => 0,
                        5 => 8,
                        n => 1 << (n - 1),
                    };
                    Trigger::Address { address: h.wrap(address), what: tdata1, bytes }
                }
                _ => Trigger::Off,
            }
        };
        let each = [one(0), one(1)];
        Triggers { each, armed: each.iter().any(|t| *t != Trigger::Off) }
    }
    /// Whether every access to the page at `va` and every fetch from it must be looked at.
    pub(crate) fn in_page(&self, va: u64) -> bool {
        self.each.iter().any(|t| match t {
            Trigger::Off => false,
            Trigger::Address { address, .. } => address >> 12 == va >> 12,
            Trigger::Instructions => true,
        })
    }
    /// The exception that an access to these bytes takes.
    pub(crate) fn data(&self, privilege: u8, va: u64, bytes: u32, access: Access) -> Option<Trap> {
        let wanted = if access == Access::Read { LOAD } else { STORE };
        self.each.iter().find_map(|t| match *t {
            Trigger::Address { address, what, bytes: size }
                if what & wanted != 0
                    && what & mode(privilege) != 0
                    && (size == 0 || size == bytes)
                    && address.wrapping_sub(va) < bytes as u64 =>
            {
                Some(Trap { cause: cause::BREAKPOINT, value: address })
            }
            _ => None,
        })
    }
}

impl Hart {
    /// Before the instruction at the pc: the exception that it takes because of a trigger.
    #[cold]
    pub(crate) fn fetch_trigger(&mut self) -> Option<Trap> {
        let (pc, privilege) = (self.frame.pc(), self.privilege());
        for (n, trigger) in self.triggers.each.into_iter().enumerate() {
            match trigger {
                Trigger::Address { address, what, .. }
                    if what & EXECUTE != 0 && what & mode(privilege) != 0 && address == pc =>
                {
                    return Some(Trap { cause: cause::BREAKPOINT, value: pc });
                }
                Trigger::Instructions if self.counted(slot::TDATA1_0 + n as u16, privilege) => {
                    return Some(Trap { cause: cause::BREAKPOINT, value: 0 });
                }
                _ => {}
            }
        }
        None
    }
    /// Counts one instruction of the `icount` trigger in this slot; true if it had run out before.
    fn counted(&mut self, slot: u16, privilege: u8) -> bool {
        let tdata1 = self.get(slot);
        if tdata1 & count_mode(privilege) == 0 {
            return false;
        }
        if tdata1 & PENDING != 0 {
            self.put(slot, tdata1 & !PENDING);
            // Pages stay on the slow path until the next change of the triggers, which costs time only.
            self.triggers = Triggers::fold(self);
            return true;
        }
        let left = tdata1.wrapping_sub(1 << COUNT_SHIFT);
        self.put(slot, if left & COUNT_MASK == 0 { left | PENDING } else { left });
        false
    }
    /// The trigger registers have been written.
    pub(crate) fn triggers_changed(&mut self) {
        self.triggers = Triggers::fold(self);
        self.protection_changed = true;
    }
}

#[cfg(test)]
#[path = "trigger_test.rs"]
mod test;
