//! Where values are: the register allocator.
//!
//! A value may be in a general register, in an `xmm` register, in its *home* (a slot of the frame that holds it, or a
//! spill word), or in several of these. It is computed once, by a forward walk; use counts from a backward walk tell when
//! it is dead. Four verbs: [`Emitter::gpr`] and its relatives bring an operand to where an instruction can use it,
//! [`Emitter::take`] counts the use, [`Emitter::dest`] chooses where a result goes, [`Emitter::bind`] records it.
//! Between `take` and [`Emitter::end_inst`] dying operands keep their registers, locked.
//!
//! Nothing here emits an instruction that changes flags, so that operands may be fetched between a comparison
//! and its use.

use super::asm::*;
use super::lower::Emitter;
use super::{FRAME_SPILLS, SPILLS, WORD_SPILL};
use ir::{Inst, Op, Ty, Val};

/// No value.
pub(super) const NONE: u32 = u32::MAX;

/// What is known of one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    /// The value whose bits this one shares (itself, mostly).
    pub root: u32,
    /// Uses still to come (of the root: with those of its aliases).
    pub uses: u32,
    /// General register that holds it.
    pub gpr: Reg,
    /// `xmm` register that holds it.
    pub xmm: Reg,
    /// Pinned register that it is about to be set to; `xmm` registers count from 16, slots that are due from [`SLOT`].
    pub want: Reg,
    /// A comparison that has not been computed yet, a shift that the sum that uses it computes, or a change of sign that the fused
    /// multiply-add that uses it makes.
    pub deferred: bool,
    /// A use as the term of a sum, or as a factor or the addend of a fused multiply-add, lies ahead.
    pub term: bool,
    /// A use of its bits as a float lies ahead, and one as an integer.
    pub as_float: bool,
    pub as_int: bool,
    /// A comparison that forgets the flags that it raises itself, and the `forget` that need not.
    pub quiet: bool,
    /// The next of its uses ahead, in a region.
    pub next: u32,
    /// The instruction that is computed with this one; see [`super::integer::Twins`].
    pub twin: u32,
    /// 0 or where in the frame it is: 1 + slot, or `SPILL` + spill.
    pub home: u16,
}

impl Value {
    pub(super) const NEW: Value = Value {
        root: 0,
        uses: 0,
        gpr: NO,
        xmm: NO,
        want: NO,
        deferred: false,
        term: false,
        as_float: false,
        as_int: false,
        quiet: false,
        next: NONE,
        twin: NONE,
        home: 0,
    };
}

/// What [`Value::want`] counts slots from.
pub(super) const SLOT: Reg = 32;

/// Homes from here on are spills.
pub(super) const SPILL: u16 = 1000;

impl Emitter {
    #[inline]
    pub(super) fn root(&self, v: Val) -> u32 {
        self.vals[v.index()].root
    }
    #[inline]
    pub(super) fn val(&self, r: u32) -> &Value {
        &self.vals[r as usize]
    }
    #[inline]
    pub(super) fn val_mut(&mut self, r: u32) -> &mut Value {
        &mut self.vals[r as usize]
    }
    #[inline]
    pub(super) fn lock(&mut self, r: Reg) {
        self.locked |= 1 << r;
    }
    #[inline]
    pub(super) fn unlock(&mut self, r: Reg) {
        self.locked &= !(1 << r);
    }
    /// Whether the register is one for values at the moment.
    pub(super) fn is_temp(&self, r: Reg) -> bool {
        r < 16 && self.pool >> r & 1 != 0
    }
    /// The memory operand for a home.
    pub(super) fn home_mem(&self, home: u16) -> Mem {
        if home < SPILL {
            return Mem::at(reg::RBP, self.cfg.layout.slots + 8 * (home as i32 - 1));
        }
        let n = (home - SPILL) as u32;
        if n < FRAME_SPILLS {
            self.word(WORD_SPILL + n as i32)
        } else {
            Mem::at(reg::RSP, 8 * (n - FRAME_SPILLS) as i32)
        }
    }
    /// The memory operand for scratch word `n`.
    pub(super) fn word(&self, n: i32) -> Mem {
        Mem::at(reg::RBP, self.cfg.layout.scratch + 8 * n)
    }
    /// The constant that `v` is, sign-extended from the width of its type.
    #[inline]
    pub(super) fn constant(&self, insts: &[Inst], v: Val) -> Option<i64> {
        let d = &insts[self.root(v) as usize];
        if d.op != Op::Const {
            return None;
        }
        let i = &insts[v.index()];
        let narrow = matches!(i.op.result(i.ty), Some(Ty::I32 | Ty::F32));
        Some(if narrow { d.imm as i32 as i64 } else { d.imm as i64 })
    }
    /// The constant that `v` is, if it fits a sign-extended 32-bit immediate.
    #[inline]
    pub(super) fn imm(&self, insts: &[Inst], v: Val) -> Option<i32> {
        self.constant(insts, v).and_then(|c| i32::try_from(c).ok())
    }
    pub(super) fn spill_slot(&mut self) -> u16 {
        let n = (!self.spills).trailing_zeros();
        if n >= SPILLS {
            self.too_complex = true;
            return SPILL;
        }
        self.spills |= 1 << n;
        SPILL + n as u16
    }
    pub(super) fn free_spill(&mut self, home: u16) {
        if home >= SPILL {
            self.spills &= !(1 << (home - SPILL));
        }
    }
    /// Whether the value need not be saved when it loses its general register.
    fn elsewhere(&self, insts: &[Inst], r: u32) -> bool {
        if r >= self.pseudo {
            // An addend: in a block, whoever needs it next probes again.
            return !self.region || self.val(r).home != 0;
        }
        let v = self.val(r);
        v.home != 0 || v.xmm != NO || matches!(insts[r as usize].op, Op::Const | Op::PcRel)
    }
    /// Whether what general register `t` holds is nowhere else, and needed.
    fn must_save(&self, insts: &[Inst], t: Reg) -> bool {
        let r = self.content[t as usize];
        r != NONE && self.val(r).gpr == t && self.val(r).uses > 0 && !self.elsewhere(insts, r)
    }
    /// Frees general register `t`, keeping its value.
    pub(super) fn evict(&mut self, insts: &[Inst], t: Reg) {
        let r = self.content[t as usize];
        if r == NONE {
            return;
        }
        self.content[t as usize] = NONE;
        if self.val(r).gpr != t {
            return;
        }
        self.val_mut(r).gpr = NO;
        if self.val(r).uses > 0 && !self.elsewhere(insts, r) {
            let home = if self.dues { self.due_home(r) } else { None };
            if let Some(home) = home
                && self.is_word(home as usize - 1)
                && self.val(r).uses == 1
                && self.sets_ahead[home as usize - 1] == 0
            {
                // Nobody wants the word but the slot, until the region is left: from here on it has it extended.
                self.asm.ins(MOVSXD, true, t, 0, Rm::R(t), 0);
                self.due_words &= !(1 << (home - 1));
            }
            let home = home.unwrap_or_else(|| self.spill_slot());
            let m = self.home_mem(home);
            self.asm.ins(MOV_MR, true, t, 0, Rm::M(m), 0);
            self.val_mut(r).home = home;
        }
    }
    /// A free register for a value, locked.
    #[inline]
    pub(super) fn temp(&mut self, insts: &[Inst]) -> Reg {
        self.free_register(insts, self.pool, true)
    }
    /// A free register of these, locked.
    pub(super) fn temp_of(&mut self, insts: &[Inst], registers: u16) -> Reg {
        self.free_register(insts, registers, false)
    }
    /// A free register of these, or, in a region, `any`; locked.
    #[inline]
    fn free_register(&mut self, insts: &[Inst], registers: u16, any: bool) -> Reg {
        let mut best = NO;
        let mut rest = registers & !self.locked;
        // An empty one, else one whose value is elsewhere, else the least recently chosen.
        let mut rank = 0;
        while rest != 0 {
            let t = rest.trailing_zeros() as Reg;
            rest &= rest - 1;
            let r = self.content[t as usize];
            if r == NONE {
                best = t;
                break;
            }
            let elsewhere = self.elsewhere(insts, r);
            let score = if self.dues {
                // The one that is used last.
                (self.next_use(r) / 2).max(1) + elsewhere as u32
            } else {
                self.age(t) + if elsewhere { 1000 } else { 1 }
            };
            if score > rank {
                (rank, best) = (score, t);
            }
        }
        if best == NO {
            // Every temporary is an operand of this instruction: lowering never asks for so many.
            self.too_complex = true;
            return reg::RAX;
        }
        if self.dues && any && self.must_save(insts, best) {
            let parked = self.park();
            if parked != NO {
                best = parked;
            }
        }
        self.evict(insts, best);
        self.lock(best);
        self.clock += 1;
        self.chosen[best as usize] = self.clock;
        best
    }
    fn age(&self, t: Reg) -> u32 {
        (self.clock - self.chosen[t as usize]).min(900)
    }
    /// Frees the particular temporary `t` and locks it; its value moves to another temporary if one is free.
    pub(super) fn grab(&mut self, insts: &[Inst], t: Reg) {
        let r = self.content[t as usize];
        if self.must_save(insts, t) {
            let free = self.pool & !self.locked & !(1 << t);
            let mut rest = free;
            while rest != 0 {
                let o = rest.trailing_zeros() as Reg;
                rest &= rest - 1;
                if self.content[o as usize] == NONE {
                    self.asm.ins(MOV, true, o, 0, Rm::R(t), 0);
                    self.content[o as usize] = r;
                    self.val_mut(r).gpr = o;
                    self.content[t as usize] = NONE;
                    break;
                }
            }
        }
        self.evict(insts, t);
        self.lock(t);
    }
    /// Loads value `r` into general register `t` from wherever it is; flags stay.
    pub(super) fn load_into(&mut self, insts: &[Inst], t: Reg, r: u32) {
        let v = *self.val(r);
        let i = &insts[r as usize];
        if v.gpr != NO {
            if v.gpr != t {
                self.asm.ins(MOV, true, t, 0, Rm::R(v.gpr), 0);
            }
        } else if i.op == Op::Const {
            self.asm.mov_imm(t, i.imm);
        } else if v.xmm != NO {
            self.asm.ins(MOVD_MR, true, v.xmm, 0, Rm::R(t), 0);
        } else if v.home != 0 {
            let m = self.home_mem(v.home);
            self.asm.ins(MOV, true, t, 0, Rm::M(m), 0);
        } else if i.op == Op::PcRel {
            let page = Mem::at(reg::RBP, self.cfg.layout.page);
            if let Ok(disp) = i32::try_from(i.imm as i64) {
                self.asm.ins(MOV, true, t, 0, Rm::M(page), 0);
                if disp != 0 {
                    self.asm.ins(LEA, true, t, 0, Rm::M(Mem::at(t, disp)), 0);
                }
            } else {
                // Rare: the offset does not fit. The sum is formed without touching flags.
                self.asm.mov_imm(t, i.imm);
                let other = if t == reg::RAX { reg::RCX } else { reg::RAX };
                self.asm.ins(PUSH, false, 0, 0, Rm::R(other), 0);
                self.asm.ins(MOV, true, other, 0, Rm::M(page), 0);
                self.asm.ins(LEA, true, t, 0, Rm::M(Mem::sum(t, other, 0)), 0);
                self.asm.ins(POP, false, 0, 0, Rm::R(other), 0);
            }
        } else {
            debug_assert!(self.too_complex, "v{r} is nowhere: {i:?}");
        }
    }
    /// The general register that holds `v`, locked; fetches it if need be.
    pub(super) fn gpr(&mut self, insts: &[Inst], v: Val) -> Reg {
        let r = self.root(v);
        if self.val(r).deferred {
            self.materialise(insts, Val(r));
        }
        let g = self.val(r).gpr;
        if g != NO {
            self.lock(g);
            return g;
        }
        let t = self.temp(insts);
        self.load_into(insts, t, r);
        self.content[t as usize] = r;
        self.val_mut(r).gpr = t;
        t
    }
    /// `v` as a register or, if it is only in its home, as a memory operand.
    pub(super) fn rm(&mut self, insts: &[Inst], v: Val) -> Rm {
        let r = self.root(v);
        let value = *self.val(r);
        if value.gpr == NO && value.xmm == NO && value.home != 0 {
            let last = value.uses <= 1 || self.dues && self.next_use(r) == u32::MAX;
            if last {
                return Rm::M(self.home_mem(value.home));
            }
        }
        Rm::R(self.gpr(insts, v))
    }
    /// Counts one use of `v`.
    #[inline]
    pub(super) fn take(&mut self, v: Val) {
        let r = self.root(v);
        let value = &mut self.vals[r as usize];
        value.uses = value.uses.saturating_sub(1);
        if value.uses == 0 {
            self.dying.push(r);
        }
    }
    /// The temporary of `v` if `v` has just been used for the last time, so that the result can go there.
    pub(super) fn dying_temp(&self, v: Val) -> Reg {
        let value = self.val(self.root(v));
        if value.uses == 0 && self.is_temp(value.gpr) { value.gpr } else { NO }
    }
    /// Whether pinned register `p` may be overwritten now without moving what it holds.
    fn may_overwrite(&mut self, insts: &[Inst], p: Reg) -> bool {
        let old = self.content[p as usize];
        if old == NONE {
            return true;
        }
        let v = *self.val(old);
        if v.gpr != p || v.uses == 0 {
            return true;
        }
        if self.elsewhere(insts, old) {
            self.val_mut(old).gpr = NO;
            return true;
        }
        false
    }
    /// Where the result `v` goes: the pinned register it is about to be set to, unless `avoid` has it; else `reuse`, the
    /// register of a dying operand; else a free temporary.
    pub(super) fn dest(&mut self, insts: &[Inst], v: Val, reuse: Reg, avoid: u16) -> Reg {
        let want = self.vals[v.index()].want;
        if (SLOT..NO).contains(&want) {
            return self.due_dest(insts, (want - SLOT) as u16, reuse, avoid);
        }
        if want < 16 && avoid >> want & 1 == 0 && self.may_overwrite(insts, want) {
            return want;
        }
        if reuse != NO { reuse } else { self.temp(insts) }
    }
    /// Records that general register `d` now holds the result `v`, and nothing else.
    pub(super) fn bind(&mut self, v: Val, d: Reg) {
        let old = self.content[d as usize];
        if old != NONE && self.val(old).gpr == d {
            self.val_mut(old).gpr = NO;
        }
        self.content[d as usize] = v.0;
        let value = &mut self.vals[v.index()];
        value.gpr = d;
        if value.uses == 0 {
            self.dying.push(v.0);
        }
    }
    /// Frees what dead operands held and unlocks everything.
    #[inline]
    pub(super) fn end_inst(&mut self) {
        self.locked = 0;
        self.xlocked = 0;
        while let Some(r) = self.dying.pop() {
            let v = self.vals[r as usize];
            if v.uses != 0 {
                continue;
            }
            if self.is_temp(v.gpr) {
                self.content[v.gpr as usize] = NONE;
                self.vals[r as usize].gpr = NO;
            }
            if v.xmm < super::XTEMPS {
                self.xcontent[v.xmm as usize] = NONE;
                self.vals[r as usize].xmm = NO;
            }
            self.free_spill(v.home);
            if v.home >= SPILL {
                self.vals[r as usize].home = 0;
            }
        }
    }
    /// Moves the live value out of pinned register `p`, which is about to be overwritten.
    pub(super) fn vacate(&mut self, insts: &[Inst], p: Reg) {
        let old = self.content[p as usize];
        self.content[p as usize] = NONE;
        if old == NONE || self.val(old).gpr != p {
            return;
        }
        self.val_mut(old).gpr = NO;
        if self.val(old).uses == 0 || self.elsewhere(insts, old) {
            return;
        }
        if let Some(q) = super::PINS.iter().copied().find(|&q| self.content[q as usize] == old) {
            self.val_mut(old).gpr = q;
            return;
        }
        let t = self.temp(insts);
        self.asm.ins(MOV, true, t, 0, Rm::R(p), 0);
        self.content[t as usize] = old;
        self.val_mut(old).gpr = t;
        self.unlock(t);
    }
    /// Moves the live value out of the memory of `slot`, which is about to be overwritten.
    pub(super) fn vacate_slot(&mut self, insts: &[Inst], slot: u16) {
        let old = std::mem::replace(&mut self.slot_val[slot as usize], NONE);
        if old == NONE || self.val(old).home != slot + 1 {
            return;
        }
        let v = *self.val(old);
        if v.uses > 0 && v.gpr == NO && v.xmm == NO && insts[old as usize].op != Op::Const {
            let g = self.gpr(insts, Val(old));
            self.unlock(g);
        }
        self.val_mut(old).home = 0;
    }
}
