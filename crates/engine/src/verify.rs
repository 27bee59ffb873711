//! `-accel tcg,verify=on`: every executed block is checked against the interpreter on the live guest.
//!
//! Before a block runs, the interpreter runs the same number of instructions on the same state with its memory behind
//! a [`Shadow`]: loads see RAM under the shadow's own stores, and nothing is stored for real. Then the state is put back, the
//! block runs, and both results are compared: pc, every slot, every stored byte, and the trap if there was one.
//!
//! What cannot be done twice is not checked, and counted as such: blocks that call functions with side effects (CSR
//! accesses that have some, traps, returns; the function is the same code in both worlds anyway) and accesses that
//! reach a device. While a block is being checked no other vCPU runs; devices that write to RAM at the same moment can still make a
//! load differ, so a difference counts only if what the shadow loaded is still there.

use crate::run::Tcg;
use cpu::{Access, Exit, Flush, Guest, INTERRUPT_GUEST, Mmu, Step, Stop, Trap};
use ir::{MemOp, SLOTS};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, PoisonError};

/// The slots before a block, and after it by the interpreter's account.
pub(crate) type Shots = Box<[[u64; SLOTS]; 2]>;

/// Counters of the checks.
#[derive(Default, Clone, Copy, Debug)]
pub struct VerifyCounts {
    /// Blocks compared.
    pub checked: u64,
    /// Blocks that could not be run twice.
    pub skipped: u64,
}

/// Bytes that were stored or loaded.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    va: u64,
    value: u64,
    bytes: u32,
}

impl Piece {
    /// The byte of it at `va`, if it covers that.
    fn byte(&self, va: u64) -> Option<u8> {
        let at = va.wrapping_sub(self.va);
        (at < self.bytes as u64).then(|| (self.value >> (8 * at)) as u8)
    }
}

/// What the last of these pieces to cover `va` has there.
fn last_byte(pieces: &[Piece], va: u64) -> Option<u8> {
    pieces.iter().rev().find_map(|p| p.byte(va))
}

/// The guest's memory with nothing stored for real.
struct Shadow<'a, G: Guest> {
    real: &'a mut Tcg<G>,
    stored: Vec<Piece>,
    loaded: Vec<Piece>,
    trap: Option<Trap>,
    lost: bool,
}

/// The interpreter must not take traps here, and is left by this.
const OUT: Stop = Stop::Exit(Exit::Debug);

impl<G: Guest> Shadow<'_, G> {
    /// The RAM behind one byte, or the reason why there is none.
    fn byte(&mut self, g: &mut G, va: u64, access: Access) -> Result<u64, Stop> {
        use crate::mmu::Place;
        if let Some(host) = self.real.hit(va, 1, access) {
            return Ok(crate::raw::load(host, 1));
        }
        match self.real.place(g, va, access) {
            Ok(Place::Direct(host)) => Ok(crate::raw::load(host, 1)),
            Ok(Place::Ram(ram, offset)) => Ok(ram.read_int(offset, 1)),
            Ok(Place::Bus(_) | Place::Nowhere) => self.give_up(),
            Err(Stop::Trap(t)) => {
                self.trap = Some(t);
                Err(OUT)
            }
            Err(e) => Err(e),
        }
    }
    fn give_up<T>(&mut self) -> Result<T, Stop> {
        self.lost = true;
        Err(OUT)
    }
    fn read(&mut self, g: &mut G, va: u64, bytes: u32) -> Result<u64, Stop> {
        let end = va.wrapping_add(bytes as u64);
        let fresh = !self.stored.iter().any(|p| p.va < end && va < p.va.wrapping_add(p.bytes as u64));
        if fresh && let Some(host) = self.real.hit(va, bytes as u64, Access::Read) {
            return Ok(crate::raw::load(host, bytes));
        }
        let mut value = 0;
        for i in 0..bytes {
            let at = va.wrapping_add(i as u64);
            let real = self.byte(g, at, Access::Read)?;
            let byte = last_byte(&self.stored, at).map_or(real, u64::from);
            value |= byte << (8 * i);
        }
        Ok(value)
    }
    fn write(&mut self, g: &mut G, va: u64, value: u64, bytes: u32) -> Result<(), Stop> {
        if self.real.hit(va, bytes as u64, Access::Write).is_none() {
            self.byte(g, va, Access::Write)?;
            let last = va.wrapping_add(bytes as u64 - 1);
            if last & !4095 != va & !4095 {
                self.byte(g, last & !4095, Access::Write)?;
            }
        }
        self.stored.push(Piece { va, value, bytes });
        Ok(())
    }
    fn aligned(&mut self, g: &mut G, va: u64, bytes: u32) -> Result<(), Stop> {
        if va & (bytes as u64 - 1) != 0 {
            self.trap = Some(g.misaligned(va, Access::Write));
            return Err(OUT);
        }
        self.byte(g, va, Access::Write).map(|_| ())
    }
}

impl<G: Guest> Mmu<G> for Shadow<'_, G> {
    fn load(&mut self, g: &mut G, va: u64, op: MemOp) -> Result<u64, Stop> {
        let raw = self.read(g, va, op.bytes())?;
        self.loaded.push(Piece { va, value: raw, bytes: op.bytes() });
        Ok(op.extend(raw))
    }
    fn store(&mut self, g: &mut G, va: u64, value: u64, op: MemOp) -> Result<(), Stop> {
        self.write(g, va, value, op.bytes())
    }
    fn amo(&mut self, g: &mut G, kind: u8, va: u64, value: u64, op: MemOp) -> Result<u64, Stop> {
        self.aligned(g, va, op.bytes())?;
        let old = self.load(g, va, MemOp(op.0 & 3))?;
        self.write(g, va, crate::mmu::amo_result(kind, op.bytes(), old, value), op.bytes())?;
        Ok(op.extend(old))
    }
    fn cas(&mut self, g: &mut G, va: u64, old: u64, new: u64, op: MemOp) -> Result<u64, Stop> {
        self.aligned(g, va, op.bytes())?;
        let found = self.load(g, va, MemOp(op.0 & 3))?;
        let mask = u64::MAX >> (64 - 8 * op.bytes());
        if found == old & mask {
            self.write(g, va, new, op.bytes())?;
        }
        Ok(op.extend(found))
    }
    fn cas128(&mut self, _: &mut G, _: u64, _: u128, _: u128) -> Result<u128, Stop> {
        self.give_up()
    }
    fn fetch(&mut self, g: &mut G, va: u64, wide: fn(u16) -> bool) -> Result<u32, Stop> {
        self.real.fetch(g, va, wide)
    }
    fn probe(&mut self, g: &mut G, va: u64, access: Access) -> Result<u64, Stop> {
        self.real.probe(g, va, access)
    }
    fn physical_read(&mut self, pa: u64, bytes: u32) -> Option<u64> {
        self.real.physical_read(pa, bytes)
    }
    fn physical_cas(&mut self, pa: u64, bytes: u32, old: u64, new: u64) -> Option<bool> {
        self.real.physical_cas(pa, bytes, old, new)
    }
    fn flush(&mut self, _: Flush) {}
    fn synchronize_code(&mut self) {}
}

/// Only one vCPU at a time runs a checked block.
static ALONE: Mutex<()> = Mutex::new(());

impl<G: Guest> Tcg<G> {
    /// Runs the block at the pc, whose code is at `code`, and checks it.
    pub(crate) fn enter_checked(&mut self, g: &mut G, code: u64) -> Option<Exit> {
        let Some(insns) = self.repeatable(code) else {
            self.verified.skipped += 1;
            return self.enter(g, code);
        };
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = g.frame().clone();
        let (pc, page) = (frame.pc(), frame.page.load(std::sync::atomic::Ordering::Relaxed));
        let mut shots = self.shots.take().unwrap_or_else(|| Box::new([[0; SLOTS]; 2]));
        let [before, after] = &mut *shots;
        before.iter_mut().enumerate().for_each(|(i, v)| *v = frame.get(i as u16));
        let word = frame.interrupt.load(SeqCst);
        let (mut stored, mut loaded) = std::mem::take(&mut self.pieces);
        stored.clear();
        loaded.clear();
        let mut shadow = Shadow { real: self, stored, loaded, trap: None, lost: false };
        for _ in 0..insns {
            let last = frame.pc();
            if let Step::Exit(_) = g.interpret(&mut shadow) {
                break;
            }
            // A branch that is taken leaves the block, even to its own page.
            if shadow.trap.is_some() || frame.pc().wrapping_sub(last) > 4 {
                break;
            }
        }
        let Shadow { stored, loaded, trap, lost, .. } = shadow;
        let after_pc = frame.pc();
        for (i, (before, after)) in before.iter().zip(after.iter_mut()).enumerate() {
            *after = frame.get(i as u16);
            if *after != *before {
                frame.set(i as u16, *before);
            }
        }
        frame.set_pc(pc);
        self.trapped = None;
        // What the interpreter wanted to be looked at must not turn the block away; it is looked at afterwards.
        let raised = frame.interrupt.load(SeqCst) & !word & INTERRUPT_GUEST;
        frame.interrupt.fetch_and(!raised, SeqCst);
        let exit = self.enter(g, code);
        frame.interrupt.fetch_or(raised, SeqCst);
        if lost {
            self.verified.skipped += 1;
            self.shots = Some(shots);
            return self.unchecked(stored, loaded, exit);
        }
        if self.turned_away {
            // Left before its first instruction, for an interrupt or because it is dead: nothing has happened.
            self.shots = Some(shots);
            return self.unchecked(stored, loaded, exit);
        }
        self.verified.checked += 1;
        let differs = |t: &mut Self, g: &mut G| -> Option<String> {
            if trap != t.trapped {
                return Some(format!("interpreter traps with {trap:x?}, code with {:x?}", t.trapped));
            }
            if trap.is_none() && after_pc != frame.pc() {
                return Some(format!("pc: interpreter {after_pc:x}, code {:x}", frame.pc()));
            }
            // After a trap the guest's own bookkeeping has changed slots above the register files.
            let slots = if trap.is_some() { 64 } else { SLOTS };
            if let Some(i) = (0..slots).find(|&i| after[i] != frame.get(i as u16)) {
                return Some(format!("slot {i}: interpreter {:x}, code {:x}", after[i], frame.get(i as u16)));
            }
            if trap.is_some() {
                return None;
            }
            let bytes = stored.iter().flat_map(|p| (0..p.bytes as u64).map(|i| p.va.wrapping_add(i)));
            bytes.into_iter().find_map(|va| {
                let (now, b) = (t.load(g, va, MemOp::U8).ok()?, last_byte(&stored, va)?);
                (now != b as u64).then(|| format!("byte at {va:x}: interpreter {b:x}, code {now:x}"))
            })
        };
        let difference = differs(self, g);
        self.shots = Some(shots);
        drop(alone);
        if let Some(what) = difference {
            let changed = loaded.iter().any(|p| {
                let overlaps =
                    (0..p.bytes as u64).any(|i| last_byte(&stored, p.va.wrapping_add(i)).is_some());
                let op = MemOp(p.bytes.trailing_zeros() as u8);
                !overlaps && self.load(g, p.va, op).is_ok_and(|now| now != p.value)
            });
            assert!(
                changed,
                "verify: block at {pc:x} (page {page:x}, mode {}, {insns} instructions): {what}\n{}",
                g.mode(),
                g.dump(true)
            );
            self.verified.skipped += 1;
        }
        self.pieces = (stored, loaded);
        exit
    }
    fn unchecked(&mut self, stored: Vec<Piece>, loaded: Vec<Piece>, exit: Option<Exit>) -> Option<Exit> {
        self.pieces = (stored, loaded);
        exit
    }
    /// Instructions of the block whose code is at `code`, if it may be run twice.
    fn repeatable(&mut self, code: u64) -> Option<u16> {
        if self.block_lengths.len() > 1 << 20 {
            self.block_lengths.clear();
        }
        *self.block_lengths.entry(code).or_insert_with(|| self.shared.cache().repeatable(code))
    }
}
