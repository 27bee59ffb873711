//! The register allocator's `xmm` half: the same verbs as in `alloc.rs`.
//!
//! In modes in which floats can be used, the registers of [`super::XPINS`] hold float slots from block to block, as
//! pinned general registers do; the first [`super::XTEMPS`] are temporaries.

use super::XTEMPS;
use super::alloc::NONE;
use super::asm::*;
use super::lower::Emitter;
use ir::{Inst, Op, Val};

impl Emitter {
    /// Loads value `r` into `xmm` register `x` from wherever it is; flags stay.
    fn load_into_x(&mut self, insts: &[Inst], x: Reg, r: u32) {
        let value = *self.val(r);
        if value.xmm != NO {
            if value.xmm != x {
                self.asm.ins(MOVAPS, false, x, 0, Rm::R(value.xmm), 0);
            }
        } else if value.gpr != NO {
            self.asm.ins(MOVD, true, x, 0, Rm::R(value.gpr), 0);
        } else if value.home != 0 {
            let m = self.home_mem(value.home);
            self.asm.ins(MOVSD, false, x, 0, Rm::M(m), 0);
        } else if insts[r as usize].op == Op::Const && insts[r as usize].imm == 0 {
            self.asm.ins(XORPS, false, x, 0, Rm::R(x), 0);
        } else {
            let g = self.gpr(insts, Val(r));
            self.asm.ins(MOVD, true, x, 0, Rm::R(g), 0);
        }
    }
    /// The `xmm` register that holds `v`, locked; fetches it if need be.
    pub(super) fn xmm(&mut self, insts: &[Inst], v: Val) -> Reg {
        let r = self.root(v);
        let x = self.val(r).xmm;
        if x != NO {
            self.xlocked |= 1 << x;
            return x;
        }
        let x = self.xtemp(insts);
        self.load_into_x(insts, x, r);
        self.xcontent[x as usize] = r;
        self.val_mut(r).xmm = x;
        x
    }
    /// `v` as an `xmm` register or, if it is only in its home, as a memory operand.
    pub(super) fn xrm(&mut self, insts: &[Inst], v: Val) -> Rm {
        let r = self.root(v);
        let value = *self.val(r);
        if value.gpr == NO && value.xmm == NO && value.home != 0 && value.uses <= 1 {
            return Rm::M(self.home_mem(value.home));
        }
        Rm::R(self.xmm(insts, v))
    }
    /// A free temporary `xmm` register, locked.
    pub(super) fn xtemp(&mut self, insts: &[Inst]) -> Reg {
        let mut x = NO;
        let mut spare = NO;
        for i in 0..XTEMPS {
            // The search starts where the last one ended: the oldest go first.
            let c = (self.xnext + i) % XTEMPS;
            if self.xlocked >> c & 1 != 0 {
                continue;
            }
            let r = self.xcontent[c as usize];
            if r == NONE {
                x = c;
                break;
            }
            // A result that is not settled must not go to memory.
            if spare == NO && !self.is_pending(Val(r)) {
                spare = c;
            }
        }
        if x == NO {
            if spare == NO {
                self.too_complex = true;
                return 0;
            }
            x = spare;
            let r = self.xcontent[x as usize];
            let v = *self.val(r);
            if v.xmm == x {
                self.val_mut(r).xmm = NO;
                if v.uses > 0 && v.gpr == NO && v.home == 0 && insts[r as usize].op != Op::Const {
                    let home = self.spill_slot();
                    let m = self.home_mem(home);
                    self.asm.ins(MOVSD_MR, false, x, 0, Rm::M(m), 0);
                    self.val_mut(r).home = home;
                }
            }
            self.xcontent[x as usize] = NONE;
            self.xnext = (x + 1) % XTEMPS;
        }
        self.xlocked |= 1 << x;
        x
    }
    /// Whether pinned register `x` may be overwritten now without moving what it holds.
    pub(super) fn may_overwrite_x(&mut self, insts: &[Inst], x: Reg) -> bool {
        let old = self.xcontent[x as usize];
        if old == NONE {
            return true;
        }
        let v = *self.val(old);
        if v.xmm != x || v.uses == 0 {
            return true;
        }
        if v.gpr != NO || v.home != 0 || insts[old as usize].op == Op::Const {
            self.val_mut(old).xmm = NO;
            return true;
        }
        false
    }
    /// Moves the live value out of pinned register `x`, which is about to be overwritten.
    pub(super) fn vacate_x(&mut self, insts: &[Inst], x: Reg) {
        let old = std::mem::replace(&mut self.xcontent[x as usize], NONE);
        if old == NONE || self.val(old).xmm != x {
            return;
        }
        let v = *self.val(old);
        self.val_mut(old).xmm = NO;
        if v.uses == 0 || v.gpr != NO || v.home != 0 || insts[old as usize].op == Op::Const {
            return;
        }
        if let Some(y) = super::XPINS.into_iter().find(|&y| self.xcontent[y as usize] == old) {
            self.val_mut(old).xmm = y;
            return;
        }
        let t = self.xtemp(insts);
        self.asm.ins(MOVAPS, false, t, 0, Rm::R(x), 0);
        self.xcontent[t as usize] = old;
        self.val_mut(old).xmm = t;
        self.xlocked &= !(1 << t);
    }
    /// Gives the slot of pinned register `x` the value `r`.
    pub(super) fn set_x(&mut self, insts: &[Inst], x: Reg, r: u32) {
        if self.xcontent[x as usize] == r {
            return;
        }
        if self.val(r).deferred {
            self.gpr(insts, Val(r));
        }
        self.xlocked |= 1 << x;
        self.vacate_x(insts, x);
        self.load_into_x(insts, x, r);
        self.xcontent[x as usize] = r;
        // From here on the pinned register is the value's place, unless another pinned one is already.
        let y = self.val(r).xmm;
        if y == NO || y < XTEMPS {
            if y != NO {
                self.xcontent[y as usize] = NONE;
            }
            self.val_mut(r).xmm = x;
        }
    }
    /// Records that `xmm` register `x` now holds the result `v`.
    pub(super) fn xbind(&mut self, v: Val, x: Reg) {
        let old = self.xcontent[x as usize];
        if old != NONE && self.val(old).xmm == x {
            self.val_mut(old).xmm = NO;
        }
        self.xcontent[x as usize] = v.0;
        let value = &mut self.vals[v.index()];
        value.xmm = x;
        if value.uses == 0 {
            self.dying.push(v.0);
        }
    }
}
