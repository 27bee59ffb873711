//! State maps: where a region has the guest's registers.
//!
//! A block has each of them at its own place, a pinned register or the frame, whenever an instruction is done. In a region nobody looks
//! before it is left, and it has many exits that are seldom taken. So there a `set` moves nothing: the slot is *due* to hold the value
//! ([`Emitter::due`]), which stays where it is, and all host registers are for whatever values are needed next. What is elsewhere when the
//! region may be left is noted as a *map*; the way out, behind the region, brings it home.
//!
//! ```text
//! set x, v      due[x] = v
//! exit          jcc to: bring home (map), jump                      Cold::Exit, Cold::Interrupt
//! access        probe; jcc to: ask for the addend; if it is not to be had, bring home (map), leave    Cold::Fill
//! jump back     bring home (map), jump to the entry
//! function, atomic access    settle: bring home and go on as in a block until it is done
//! ```
//!
//! A slot may be due to hold a word extended with its sign (`set` at `i32`): what is noted is the word, and whoever brings it home extends it.
//! RISC-V's compilers extend each word that they compute, and hardly ever look at the upper half.
//!
//! What is moved out of a register goes first to the slot that is due to hold it, if that is not pinned: it need not be brought home
//! any more. Which one is moved out is told by the backward walk: what is used last. Before something has to be moved out that nobody
//! has yet, a pinned register that the region does not touch is *parked*: that costs a store and a load in the whole region.

use super::alloc::NONE;
use super::asm::reg::*;
use super::asm::*;
use super::lower::Emitter;
use super::{PINS, TEMPS};
use ir::{Inst, Op, Val};

/// Slots that can be due: of those below this number the ones that the guest has for its registers.
pub(super) const DUE: usize = 32;

/// A use of a value, and the next one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    at: u32,
    next: u32,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    R(Reg),
    X(Reg),
    /// As in [`super::alloc::Value::home`].
    Home(u16),
    Const(i64),
    /// So far from the page base.
    PcRel(i64),
}

/// What is not at its own place, or not extended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Misplaced {
    slot: u16,
    at: Place,
    /// A word.
    word: bool,
}

/// A range of [`Emitter::maps`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    from: u32,
    to: u32,
}

impl Map {
    /// Whether everything is at its own place.
    pub(super) fn is_empty(self) -> bool {
        self.from == self.to
    }
}

impl Emitter {
    /// Whether slot `slot` may wait for what it is due to hold.
    pub(super) fn can_be_due(&self, slot: u16) -> bool {
        (slot as usize) < DUE && self.registers >> slot & 1 != 0
    }
    /// Notes a use of `v` by instruction `n` (backward walk); by the one that uses that, if it is computed there.
    pub(super) fn note_use(&mut self, insts: &[Inst], v: Val, n: usize) {
        let late = matches!(insts[n].op, Op::Eq | Op::Ne | Op::LtS | Op::LtU | Op::GeS | Op::GeU | Op::Shl);
        let user = self.uses.get(self.vals[n].next as usize).filter(|_| late);
        let at = user.map_or(n as u32, |u| u.at);
        let (mut before, mut next) = (NONE, self.vals[v.index()].next);
        while let Some(u) = self.uses.get(next as usize).filter(|u| u.at < at) {
            (before, next) = (next, u.next);
        }
        self.uses.push(Use { at, next });
        let new = self.uses.len() as u32 - 1;
        match before {
            NONE => self.vals[v.index()].next = new,
            before => self.uses[before as usize].next = new,
        }
    }
    /// What uses `b` uses `a`.
    pub(super) fn join_uses(&mut self, a: u32, b: u32) {
        let (mut x, mut y) = (self.val(a).next, self.val(b).next);
        let mut last = NONE;
        while x != NONE || y != NONE {
            let at = |u: u32| self.uses.get(u as usize).map_or(u32::MAX, |u| u.at);
            let u = if at(x) <= at(y) { &mut x } else { &mut y };
            let taken = std::mem::replace(u, self.uses[*u as usize].next);
            match last {
                NONE => self.val_mut(a).next = taken,
                last => self.uses[last as usize].next = taken,
            }
            last = taken;
        }
        if last != NONE {
            self.uses[last as usize].next = NONE;
        }
        self.val_mut(b).next = NONE;
    }
    /// The next instruction that uses value `r`, in a region; `u32::MAX` if none does.
    pub(super) fn next_use(&mut self, r: u32) -> u32 {
        if r >= self.pseudo {
            // An addend: its group is at work.
            return self.at + 8;
        }
        while let Some(&u) = self.uses.get(self.val(r).next as usize) {
            if u.at > self.at {
                return u.at;
            }
            self.val_mut(r).next = u.next;
        }
        u32::MAX
    }
    /// Whether what slot `slot` is due to hold is a word, to be extended.
    pub(super) fn is_word(&self, slot: usize) -> bool {
        self.due_words >> slot & 1 != 0
    }
    /// Slot `slot` is due to hold `r` from here on, or the extension of the `word` that this is, and nobody has to hold what it was due to hold before.
    pub(super) fn set_due(&mut self, slot: u16, r: u32, word: bool) {
        let old = std::mem::replace(&mut self.due[slot as usize], r);
        self.due_words = self.due_words & !(1 << slot) | u32::from(word) << slot;
        let p = self.pin[slot as usize];
        if p != NO {
            // What it held at the entry is not needed any more.
            self.pool |= 1 << p;
        }
        if old != NONE {
            self.release(old);
        }
    }
    fn release(&mut self, r: u32) {
        let v = self.val_mut(r);
        v.uses = v.uses.saturating_sub(1);
        if v.uses == 0 {
            self.dying.push(r);
        }
    }
    /// Value `v` is what slot `slot` holds, as far as is known the first time: from here on it is the slot that is due to hold it.
    pub(super) fn begin_due(&mut self, slot: u16, r: u32) {
        self.due[slot as usize] = r;
        self.val_mut(r).uses += 1;
        let p = self.pin[slot as usize];
        if p != NO {
            self.pool |= 1 << p;
        }
    }
    /// Where the result `v` goes, which slot `slot` will be due to hold before anybody can look: where the old one is, if nobody else needs
    /// that; or its own place.
    pub(super) fn due_dest(&mut self, insts: &[Inst], slot: u16, reuse: Reg, avoid: u16) -> Reg {
        let may = |r: Reg| avoid >> r & 1 == 0;
        let (old, p) = (self.due[slot as usize], self.pin[slot as usize]);
        if old != NONE {
            let v = *self.val(old);
            if v.gpr != NO
                && v.uses == 1
                && self.content[v.gpr as usize] == old
                && self.is_temp(v.gpr)
                && may(v.gpr)
            {
                self.lock(v.gpr);
                return v.gpr;
            }
        }
        if p != NO
            && self.is_temp(p)
            && self.content[p as usize] == NONE
            && self.locked >> p & 1 == 0
            && may(p)
        {
            self.lock(p);
            return p;
        }
        if reuse != NO { reuse } else { self.temp(insts) }
    }
    /// The memory of a slot that is due to hold `r`, is not pinned and holds nothing that anybody needs: as a home. (An operand of the
    /// instruction at work is needed until that is done.)
    pub(super) fn due_home(&mut self, r: u32) -> Option<u16> {
        let needed = |old: u32| self.val(old).uses > 0 || self.dying.contains(&old);
        let slot = (0..DUE).find(|&s| {
            self.due[s] == r && self.pin[s] == NO && {
                let old = self.slot_val[s];
                old == NONE || old == r || self.val(old).home != s as u16 + 1 || !needed(old)
            }
        })?;
        let old = std::mem::replace(&mut self.slot_val[slot], r);
        if old != NONE && old != r && self.val(old).home == slot as u16 + 1 {
            // Another slot may hold it, too, and be looked at yet.
            self.val_mut(old).home = 0;
        }
        Some(slot as u16 + 1)
    }
    /// The pinned slots that can be due.
    pub(super) fn pinned_registers(&self) -> u32 {
        (0..DUE as u16)
            .filter(|&s| self.can_be_due(s) && self.pin[s as usize] != NO)
            .fold(0, |all, s| all | 1 << s)
    }
    /// The region touches slot `slot` (backward walk).
    pub(super) fn touch(&mut self, slot: u64) {
        if slot < DUE as u64 {
            self.bystanders &= !(1 << slot);
        }
    }
    /// Makes the register of a slot that the region does not touch one for values: what it holds waits in a spill word until the region is
    /// left. `NO` if there is none.
    pub(super) fn park(&mut self) -> Reg {
        if self.bystanders == 0 {
            return NO;
        }
        let slot = self.bystanders.trailing_zeros() as u16;
        self.bystanders &= self.bystanders - 1;
        let (p, home) = (self.pin[slot as usize], self.spill_slot());
        let m = self.home_mem(home);
        self.asm.ins(MOV_MR, true, p, 0, Rm::M(m), 0);
        self.parked.push((slot, home));
        self.pool |= 1 << p;
        p
    }
    /// Brings home what is parked; its registers hold nothing that is needed.
    fn unpark(&mut self) {
        while let Some((slot, home)) = self.parked.pop() {
            let (p, m) = (self.pin[slot as usize], self.home_mem(home));
            self.asm.ins(MOV, true, p, 0, Rm::M(m), 0);
            self.content[p as usize] = NONE;
            self.free_spill(home);
            self.bystanders |= 1 << slot;
        }
    }
    /// Notes what is not at its own place.
    pub(super) fn map(&mut self, insts: &[Inst]) -> Map {
        let from = self.maps.len() as u32;
        for slot in 0..if self.region { DUE } else { 0 } {
            let r = self.due[slot];
            let (v, p) = match r {
                NONE => continue,
                r => (*self.val(r), self.pin[slot]),
            };
            let word = self.is_word(slot);
            let at_home = if p == NO { self.slot_val[slot] == r } else { v.gpr == p };
            if at_home && !word {
                continue;
            }
            let i = &insts[r as usize];
            let place = match i.op {
                _ if v.gpr != NO => Place::R(v.gpr),
                Op::Const => Place::Const(i.imm as i64),
                _ if v.xmm != NO => Place::X(v.xmm),
                _ if v.home != 0 => Place::Home(v.home),
                Op::PcRel => Place::PcRel(i.imm as i64),
                _ => {
                    debug_assert!(self.too_complex, "v{r}, due in slot {slot}, is nowhere: {i:?}");
                    continue;
                }
            };
            self.maps.push(Misplaced { slot: slot as u16, at: place, word });
        }
        let parked = |&(slot, home): &(u16, u16)| Misplaced { slot, at: Place::Home(home), word: false };
        self.maps.extend(self.parked.iter().map(parked));
        Map { from, to: self.maps.len() as u32 }
    }
    /// Brings everything home, while `pushed` bytes lie on the stack. No register but the pinned ones has a meaning afterwards.
    pub(super) fn bring_home(&mut self, map: Map, pushed: i32) {
        if map.is_empty() {
            return;
        }
        self.asm.room();
        let own = |e: &Emitter, slot: u16| match e.pin[slot as usize] {
            NO => Place::Home(slot + 1),
            p => Place::R(p),
        };
        let (mut moves, mut words) = (Vec::<(Place, Place)>::new(), Vec::new());
        for n in map.from..map.to {
            let Misplaced { slot, at, word } = self.maps[n as usize];
            let to = own(self, slot);
            match at {
                Place::R(r) if word && self.is_only_word(map, r) => {
                    self.asm.ins(MOVSXD, true, r, 0, Rm::R(r), 0)
                }
                _ if word => words.push(to),
                _ => {}
            }
            if to != at {
                moves.push((to, at));
            }
        }
        let mut free = (0..super::XTEMPS).filter(|&x| moves.iter().all(|&(_, from)| from != Place::X(x)));
        let (Some(x), Some(y)) = (free.next(), free.next()) else {
            self.too_complex = true;
            return;
        };
        // What needs a register on its way comes last, when there are some.
        let (constants, mut moves): (Vec<_>, Vec<_>) =
            moves.into_iter().partition(|(_, from)| matches!(from, Place::Const(_) | Place::PcRel(_)));
        while let Some(&first) = moves.first() {
            let needed = |to: Place| moves.iter().any(|&(_, from)| from == to);
            if let Some(n) = moves.iter().position(|&(to, _)| !needed(to)) {
                let (to, from) = moves.swap_remove(n);
                self.move_one(to, from, y, pushed);
                continue;
            }
            // They go round. Two registers change places; else what lies in one of the places waits elsewhere.
            if let (Place::R(a), Place::R(b)) = first {
                self.asm.ins(XCHG, true, a, 0, Rm::R(b), 0);
                moves.remove(0);
                for (_, from) in &mut moves {
                    *from = match *from {
                        Place::R(r) if r == a => Place::R(b),
                        Place::R(r) if r == b => Place::R(a),
                        other => other,
                    };
                }
                moves.retain(|&(to, from)| to != from);
            } else {
                self.move_one(Place::X(x), first.1, y, pushed);
                for (_, from) in &mut moves {
                    if *from == first.1 {
                        *from = Place::X(x);
                    }
                }
            }
        }
        for (to, from) in constants {
            let d = match to {
                Place::R(p) => p,
                _ => RAX,
            };
            match (from, to) {
                (Place::Const(c), Place::Home(home)) if c as i32 as i64 == c => {
                    let m = self.home_mem(home);
                    self.asm.ins(MOV_MI, true, 0, 0, Rm::M(m), c);
                    continue;
                }
                (Place::Const(c), _) => self.asm.mov_imm(d, c as u64),
                (Place::PcRel(offset), _) => {
                    self.asm.mov_imm(d, offset as u64);
                    let page = Rm::M(Mem::at(RBP, self.cfg.layout.page));
                    self.asm.ins(ADD, true, d, 0, page, 0);
                }
                _ => {}
            }
            if to != Place::R(d) {
                self.move_one(to, Place::R(d), y, pushed);
            }
        }
        // When everything is at home, no register but the pinned ones has a meaning.
        for to in words {
            self.asm.room();
            match to {
                Place::R(p) => self.asm.ins(MOVSXD, true, p, 0, Rm::R(p), 0),
                Place::Home(home) => {
                    let m = Rm::M(self.home_mem(home));
                    self.asm.ins(MOVSXD, true, RAX, 0, m, 0);
                    self.asm.ins(MOV_MR, true, RAX, 0, m, 0);
                }
                _ => {}
            }
        }
    }
    /// Whether what register `r` has is wanted as a word alone, by slots elsewhere.
    fn is_only_word(&self, map: Map, r: Reg) -> bool {
        let map = &self.maps[map.from as usize..map.to as usize];
        let is_mine = (0..DUE as u16).find(|&slot| self.pin[slot as usize] == r);
        map.iter().all(|m| m.word || m.at != Place::R(r))
            && is_mine.is_none_or(|slot| map.iter().any(|m| m.slot == slot))
    }
    /// One move, `y` being free. Changes no flags.
    fn move_one(&mut self, to: Place, from: Place, y: Reg, pushed: i32) {
        self.asm.room();
        let mem = |e: &Emitter, home: u16| {
            let mut m = e.home_mem(home);
            if m.base == RSP {
                m.disp += pushed;
            }
            Rm::M(m)
        };
        match (to, from) {
            (Place::R(to), Place::R(from)) => self.asm.ins(MOV, true, to, 0, Rm::R(from), 0),
            (Place::R(to), Place::X(from)) => self.asm.ins(MOVD_MR, true, from, 0, Rm::R(to), 0),
            (Place::R(to), Place::Home(from)) => self.asm.ins(MOV, true, to, 0, mem(self, from), 0),
            (Place::X(to), Place::R(from)) => self.asm.ins(MOVD, true, to, 0, Rm::R(from), 0),
            (Place::X(to), Place::Home(from)) => self.asm.ins(MOVSD, false, to, 0, mem(self, from), 0),
            (Place::Home(to), Place::R(from)) => self.asm.ins(MOV_MR, true, from, 0, mem(self, to), 0),
            (Place::Home(to), Place::X(from)) => self.asm.ins(MOVSD_MR, false, from, 0, mem(self, to), 0),
            (Place::Home(to), Place::Home(from)) => {
                self.asm.ins(MOVSD, false, y, 0, mem(self, from), 0);
                self.asm.ins(MOVSD_MR, false, y, 0, mem(self, to), 0);
            }
            _ => {}
        }
    }
    /// Brings everything home and goes on as in a block, until [`Emitter::resume_due`].
    pub(super) fn settle_due(&mut self, insts: &[Inst]) {
        if !self.dues {
            return;
        }
        for p in PINS {
            let r = self.content[p as usize];
            if self.is_temp(p) && r != NONE && self.val(r).gpr == p {
                let own = (0..DUE).any(|s| self.pin[s] == p && self.due[s] == r);
                if !own {
                    self.evict(insts, p);
                }
            }
        }
        self.unpark();
        (self.dues, self.pool) = (false, TEMPS);
        for slot in 0..DUE {
            let (r, p) = (self.due[slot], self.pin[slot]);
            if r == NONE || p == NO || self.is_word(slot) {
                continue;
            }
            let g = self.val(r).gpr;
            if g != p {
                self.load_into(insts, p, r);
                if g == NO || self.is_temp(g) {
                    if g != NO {
                        self.content[g as usize] = NONE;
                    }
                    self.val_mut(r).gpr = p;
                }
            }
            self.content[p as usize] = r;
        }
        for slot in 0..DUE {
            let r = self.due[slot];
            if r == NONE || self.pin[slot] != NO || self.slot_val[slot] == r || self.is_word(slot) {
                continue;
            }
            self.asm.room();
            let g = self.gpr(insts, Val(r));
            self.vacate_slot(insts, slot as u16);
            let m = Mem::at(RBP, self.cfg.layout.slots + 8 * slot as i32);
            self.asm.ins(MOV_MR, true, g, 0, Rm::M(m), 0);
            self.slot_val[slot] = r;
            if self.val(r).home == 0 {
                self.val_mut(r).home = slot as u16 + 1;
            }
            self.locked = 0;
        }
        for slot in 0..DUE {
            let r = std::mem::replace(&mut self.due[slot], NONE);
            if r == NONE {
                continue;
            }
            let src = self.is_word(slot).then(|| self.gpr(insts, Val(r)));
            self.release(r);
            if let Some(src) = src {
                self.set_word(insts, slot as u16, Rm::R(src));
                self.locked = 0;
            }
        }
        self.due_words = 0;
    }
    /// Slot `slot` gets the word in `src`, extended, at its own place.
    pub(super) fn set_word(&mut self, insts: &[Inst], slot: u16, src: Rm) {
        self.asm.room();
        let (p, x) = (self.pin[slot as usize], self.xpin[slot as usize]);
        if p != NO {
            self.vacate(insts, p);
            return self.asm.ins(MOVSXD, true, p, 0, src, 0);
        }
        let d = self.temp(insts);
        self.asm.ins(MOVSXD, true, d, 0, src, 0);
        if x != NO {
            self.vacate_x(insts, x);
            self.asm.ins(MOVD, true, x, 0, Rm::R(d), 0);
        } else {
            self.vacate_slot(insts, slot);
            let m = Mem::at(RBP, self.cfg.layout.slots + 8 * slot as i32);
            self.asm.ins(MOV_MR, true, d, 0, Rm::M(m), 0);
        }
    }
    /// The result `v` is the word `r`, extended, that a slot is due to hold.
    pub(super) fn get_word(&mut self, insts: &[Inst], r: u32, v: Val) {
        let src = self.rm(insts, Val(r));
        let d = self.dest(insts, v, NO, 0);
        self.asm.ins(MOVSXD, true, d, 0, src, 0);
        self.bind(v, d);
    }
    /// In a region: what is set need not go home from here on.
    pub(super) fn resume_due(&mut self) {
        self.dues = self.region;
    }
    /// The register that has what pinned slot `slot` is due to hold, locked.
    pub(super) fn pinned_now(&mut self, insts: &[Inst], slot: u16) -> Reg {
        let slot = slot as usize % 128;
        let r = self.due[slot];
        if r == NONE {
            return self.pin[slot];
        }
        let g = self.gpr(insts, Val(r));
        if !self.is_word(slot) {
            return g;
        }
        let d = self.temp(insts);
        self.asm.ins(MOVSXD, true, d, 0, Rm::R(g), 0);
        d
    }
}
