//! `-accel tcg,verify=on`: every executed block is checked against the interpreter on the live guest.
//!
//! Before a block runs, the interpreter runs the same number of instructions on the same state with its memory behind
//! a [`Shadow`]: loads see RAM under the shadow's own stores, and nothing is stored for real. Then the state is put back, the
//! block runs, and both results are compared: pc, every slot, every stored byte, and the trap if there was one.
//!
//! What cannot be done twice is not checked, and counted as such: blocks that call functions with side effects (CSR
//! accesses that have some, traps, returns; the function is the same code in both worlds anyway) and accesses that
//! reach a device; nor what is stored at one address and then met at another that may be the same memory. While a block is being checked no other vCPU runs; devices that write to RAM at the same moment can still make a
//! load differ, so a difference counts only if what the shadow loaded is still there.

use crate::run::Tcg;
use cpu::{Access, Exit, Flush, Guest, INTERRUPT_GUEST, Mmu, Step, Stop, Trap};
use ir::{MemOp, SLOTS};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Mutex, PoisonError};

/// Counters of the checks.
#[derive(Default, Clone, Copy, Debug)]
pub struct VerifyCounts {
    /// Blocks compared.
    pub checked: u64,
    /// Blocks that could not be run twice.
    pub skipped: u64,
}

/// What a vCPU keeps for its checks.
pub(crate) struct Checks {
    pub(crate) counts: VerifyCounts,
    /// What the last checked block stored and loaded; kept for its storage.
    stored: Vec<Piece>,
    loaded: Vec<Piece>,
    /// Code addresses with the instructions of their blocks, 0 for those that cannot be run twice. An entry for each hash.
    lengths: Box<[(u64, u32)]>,
}

/// log2 of the entries of [`Checks::lengths`].
const LENGTHS_LOG2: u32 = 14;

impl Default for Checks {
    fn default() -> Checks {
        Checks {
            counts: VerifyCounts::default(),
            stored: Vec::new(),
            loaded: Vec::new(),
            lengths: vec![(0, 0); 1 << LENGTHS_LOG2].into(),
        }
    }
}

impl Checks {
    /// The translations that were there are gone.
    pub(crate) fn forget(&mut self) {
        self.lengths.fill((0, 0));
    }
}

/// Bytes that were stored or loaded.
#[derive(Clone, Copy)]
struct Piece {
    va: u64,
    value: u64,
    bytes: u32,
}

impl Piece {
    /// Whether it has a byte in common with `bytes` bytes at `va`.
    #[inline(always)]
    fn overlaps(&self, va: u64, bytes: u32) -> bool {
        va.wrapping_sub(self.va) < self.bytes as u64 || self.va.wrapping_sub(va) < bytes as u64
    }
    /// Whether it may have a byte in common with `bytes` bytes at `va` although it is in another page: both may be mapped to one.
    #[inline(always)]
    fn may_alias(&self, va: u64, bytes: u32) -> bool {
        let (behind, before) = (va.wrapping_sub(self.va), self.va.wrapping_sub(va));
        (behind & 4095 < self.bytes as u64 || before & 4095 < bytes as u64) && !self.overlaps(va, bytes)
    }
    /// The value as memory holds it.
    fn kept(&self) -> u64 {
        self.value & u64::MAX >> (64 - 8 * self.bytes)
    }
    /// The access that covers it.
    fn op(&self) -> MemOp {
        MemOp(self.bytes.trailing_zeros() as u8)
    }
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
    /// What has been stored counts by its address: if it may have another one as well, nothing can be told.
    fn one_address(&mut self, va: u64, bytes: u32) -> Result<(), Stop> {
        if self.stored.iter().any(|p| p.may_alias(va, bytes)) { self.give_up() } else { Ok(()) }
    }
    fn read(&mut self, g: &mut G, va: u64, bytes: u32) -> Result<u64, Stop> {
        self.one_address(va, bytes)?;
        if !self.stored.iter().any(|p| p.overlaps(va, bytes))
            && let Some(host) = self.real.hit(va, bytes as u64, Access::Read)
        {
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
        self.one_address(va, bytes)?;
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
    /// A trigger of the guest traps; what the debugger watches is not checked.
    fn watched(&mut self, g: &G, va: u64, bytes: u32, access: Access) -> Result<(), Stop> {
        if let Some(t) = g.data_trigger(va, bytes, access) {
            self.trap = Some(t);
            return Err(OUT);
        }
        if self.real.shared.cpus.watchpoints.met(va, bytes as u64, access).is_some() {
            return self.give_up();
        }
        Ok(())
    }
    fn aligned(&mut self, g: &mut G, va: u64, bytes: u32) -> Result<(), Stop> {
        if va & (bytes as u64 - 1) != 0 {
            self.trap = Some(g.misaligned(va, Access::Write));
            return Err(OUT);
        }
        self.watched(g, va, bytes, Access::Write)?;
        self.byte(g, va, Access::Write).map(|_| ())
    }
}

impl<G: Guest> Mmu<G> for Shadow<'_, G> {
    fn load(&mut self, g: &mut G, va: u64, op: MemOp) -> Result<u64, Stop> {
        self.watched(g, va, op.bytes(), Access::Read)?;
        let raw = self.read(g, va, op.bytes())?;
        self.loaded.push(Piece { va, value: raw, bytes: op.bytes() });
        Ok(op.extend(raw))
    }
    fn store(&mut self, g: &mut G, va: u64, value: u64, op: MemOp) -> Result<(), Stop> {
        self.watched(g, va, op.bytes(), Access::Write)?;
        self.write(g, va, value, op.bytes())
    }
    fn amo(&mut self, g: &mut G, kind: u8, va: u64, value: u64, op: MemOp) -> Result<u64, Stop> {
        if kind == ir::ALIGNED_LOAD {
            if va & (op.bytes() as u64 - 1) != 0 {
                self.trap = Some(g.misaligned(va, Access::Read));
                return Err(OUT);
            }
            return self.load(g, va, op);
        }
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
    fn flush(&mut self, _: &mut G, _: Flush) {}
    fn synchronize_code(&mut self) {}
}

/// Only one vCPU at a time runs a checked block.
static ALONE: Mutex<()> = Mutex::new(());

/// What the interpreter makes of a block.
struct Account {
    stored: Vec<Piece>,
    loaded: Vec<Piece>,
    end: State,
    /// The slots above the register files, at the end.
    others: [u64; SLOTS - FILES],
    /// Before each instruction, at any of which the code may be left.
    before: Vec<State>,
    trap: Option<Trap>,
    /// It could not be told.
    lost: bool,
}

/// How things are at some instruction of it.
struct State {
    files: [u64; FILES],
    pc: u64,
    /// Stores made so far.
    stored: usize,
}

/// Slots of the two register files, the first ones.
const FILES: usize = 64;

impl<G: Guest> Tcg<G> {
    /// Runs the block at the pc, whose code is at `code`, and checks it.
    pub(crate) fn enter_checked(&mut self, g: &mut G, code: u64) -> Option<Exit> {
        let Some(insns) = self.repeatable(code) else {
            self.checks.counts.skipped += 1;
            return self.enter(g, code);
        };
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = g.frame().clone();
        let (pc, page) = (frame.pc(), frame.page.load(Relaxed));
        let before = crate::raw::slots(&frame);
        let word = frame.interrupt.load(SeqCst);
        let path = self.shared.cache().path(code);
        let account = self.interpret_shadowed(g, insns, &path.unwrap_or_default());
        crate::raw::set_slots(&frame, &before);
        frame.set_pc(pc);
        self.trapped = None;
        // What the interpreter wanted to be looked at must not turn the block away; it is looked at afterwards.
        let raised = frame.interrupt.load(SeqCst) & !word & INTERRUPT_GUEST;
        if raised != 0 {
            frame.interrupt.fetch_and(!raised, SeqCst);
        }
        let exit = self.enter(g, code);
        if raised != 0 {
            frame.interrupt.fetch_or(raised, SeqCst);
        }
        // Left early, for an interrupt or because it is dead: what has happened is right, but not all of it.
        let checked = !account.lost && !self.turned_away && !matches!(exit, Some(Exit::Watched(_)));
        let difference = if checked { self.difference(g, &account) } else { None };
        drop(alone);
        if let Some(what) = &difference {
            assert!(
                self.overtaken(g, &account),
                "verify: block at {pc:x} (page {page:x}, mode {}, {insns} instructions): {what}\n{}",
                g.mode(),
                g.dump(true)
            );
        }
        let counts = &mut self.checks.counts;
        *(if checked && difference.is_none() { &mut counts.checked } else { &mut counts.skipped }) += 1;
        (self.checks.stored, self.checks.loaded) = (account.stored, account.loaded);
        exit
    }
    /// Interprets at most `insns` instructions from the pc on, up to the first that leaves the path. Slots and pc are left
    /// as the interpreter has them.
    fn interpret_shadowed(&mut self, g: &mut G, insns: u32, path: &[u16]) -> Account {
        let frame = g.frame().clone();
        let (mut stored, mut loaded) =
            (std::mem::take(&mut self.checks.stored), std::mem::take(&mut self.checks.loaded));
        stored.clear();
        loaded.clear();
        let mut shadow = Shadow { real: self, stored, loaded, trap: None, lost: false };
        let page = frame.pc() & !4095;
        let state =
            |stored| State { files: std::array::from_fn(|n| frame.get(n as u16)), pc: frame.pc(), stored };
        let mut before = Vec::new();
        for n in 0..insns as usize {
            before.push(state(shadow.stored.len()));
            if let Step::Exit(_) = g.interpret(&mut shadow) {
                break;
            }
            let left = path.get(n + 1).is_none_or(|&o| frame.pc() != page + o as u64);
            if shadow.trap.is_some() || left {
                break;
            }
        }
        let Shadow { stored, loaded, trap, lost, .. } = shadow;
        let others = std::array::from_fn(|n| frame.get((FILES + n) as u16));
        let end = state(stored.len());
        Account { stored, loaded, end, others, before, trap, lost }
    }
    /// Where the code that has just run parts from the interpreter's account.
    fn difference(&mut self, g: &mut G, by: &Account) -> Option<String> {
        let (end, pc) = (&by.end, g.pc());
        let whole = match self.parting(g, by, end, by.trap) {
            // After a trap the guest's own bookkeeping has changed what lies above the register files.
            None if self.trapped.is_some() => return None,
            None => {
                let parts = |&n: &usize| by.others[n] != g.frame().get((FILES + n) as u16);
                let n = (0..SLOTS - FILES).find(parts)?;
                format!("slot {}: interpreter {:x}", FILES + n, by.others[n])
            }
            Some(what) => what,
        };
        // It may have been left on the way, for an access that has to be made on its own.
        let mut left_at = by.before.iter().filter(|state| state.pc == pc);
        left_at.all(|state| self.parting(g, by, state, None).is_some()).then_some(whole)
    }
    /// Where the code that has just run parts from the account as far as `to`.
    fn parting(&mut self, g: &mut G, by: &Account, to: &State, trap: Option<Trap>) -> Option<String> {
        let (trapped, pc) = (self.trapped, g.pc());
        if trap != trapped {
            return Some(format!("interpreter traps with {trap:x?}, code with {trapped:x?}"));
        }
        if let Some(i) = (0..FILES).find(|&i| to.files[i] != g.frame().get(i as u16)) {
            let code = g.frame().get(i as u16);
            return Some(format!("slot {i}: interpreter {:x}, code {code:x}", to.files[i]));
        }
        if trapped.is_some() {
            return None;
        }
        if to.pc != pc {
            return Some(format!("pc: interpreter {:x}, code {pc:x}", to.pc));
        }
        by.stored[..to.stored].iter().enumerate().find_map(|(n, p)| {
            let same = |t: &mut Self, g: &mut G| t.load(g, p.va, p.op()).map_or(true, |now| now == p.kept());
            if same(self, g) && !by.stored[n + 1..to.stored].iter().any(|q| q.overlaps(p.va, p.bytes)) {
                return None;
            }
            (0..p.bytes as u64).map(|i| p.va.wrapping_add(i)).find_map(|va| {
                let (now, b) = (self.load(g, va, MemOp::U8).ok()?, last_byte(&by.stored, va)?);
                (now != b as u64).then(|| format!("byte at {va:x}: interpreter {b:x}, code {now:x}"))
            })
        })
    }
    /// Whether something that the interpreter loaded has been changed by somebody else since.
    fn overtaken(&mut self, g: &mut G, by: &Account) -> bool {
        by.loaded.iter().any(|p| {
            let own = by.stored.iter().any(|q| q.overlaps(p.va, p.bytes));
            !own && self.load(g, p.va, p.op()).is_ok_and(|now| now != p.value)
        })
    }
    /// Instructions of the block whose code is at `code`, if it may be run twice.
    fn repeatable(&mut self, code: u64) -> Option<u32> {
        let hash = (code >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - LENGTHS_LOG2);
        let entry = &mut self.checks.lengths[hash as usize];
        if entry.0 != code {
            *entry = (code, self.shared.cache().repeatable(code).unwrap_or(0).into());
        }
        (entry.1 != 0).then_some(entry.1)
    }
}
