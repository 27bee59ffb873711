//! Floating point with SSE2 scalars. MXCSR rounds to nearest and collects the flags; its rules for them are those of
//! RISC-V (tininess after rounding), except that results that are NaNs carry a payload and a sign, which is mended here.

use super::WORD_IMM;
use super::alloc::NONE;
use super::asm::*;
use super::lower::Emitter;
use super::memory::{Cold, double};
use ir::{Inst, Op, Ty, Val};

fn pick(d: bool, double: Row, single: Row) -> Row {
    if d { double } else { single }
}

impl Emitter {
    fn xcopy(&mut self, d: Reg, s: Reg) {
        if d != s {
            self.asm.ins(MOVAPS, false, d, 0, Rm::R(s), 0);
        }
    }
    /// Where a float result goes: the register of the dying operand `a`, or a free one.
    fn xdest(&mut self, insts: &[Inst], a: Val) -> Reg {
        let v = self.val(self.root(a));
        if v.uses == 0 && v.xmm != NO { v.xmm } else { self.xtemp(insts) }
    }
    /// Gives `x` the canonical pattern if it is a NaN.
    fn canonical(&mut self, x: Reg, d: bool) {
        self.asm.ins(pick(d, UCOMISD, UCOMISS), false, x, 0, Rm::R(x), 0);
        let from = self.asm.jump(Some(cc::P));
        let back = self.asm.pos();
        self.cold.push(Cold::Canonical { from, back, dest: x, double: d });
    }
    pub(super) fn float_two(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let d = double(i.ty);
        let x = self.xmm(insts, a);
        let y = self.xrm(insts, b);
        self.take(a);
        self.take(b);
        let row = match i.op {
            Op::FAdd => pick(d, ADDSD, ADDSS),
            Op::FSub => pick(d, SUBSD, SUBSS),
            Op::FMul => pick(d, MULSD, MULSS),
            _ => pick(d, DIVSD, DIVSS),
        };
        let r = self.xdest(insts, a);
        // `y` is another register than `r`, or the same as `x`.
        self.xcopy(r, x);
        self.asm.ins(row, false, r, 0, y, 0);
        self.canonical(r, d);
        self.xbind(v, r);
    }
    pub(super) fn float_one(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let (row, d) = match i.op {
            Op::FWiden => (CVTSS2SD, true),
            Op::FNarrow => (CVTSD2SS, false),
            _ => (pick(double(i.ty), SQRTSD, SQRTSS), double(i.ty)),
        };
        let x = self.xmm(insts, a);
        self.take(a);
        let r = self.xdest(insts, a);
        self.xcopy(r, x);
        self.asm.ins(row, false, r, 0, Rm::R(r), 0);
        self.canonical(r, d);
        self.xbind(v, r);
    }
    pub(super) fn float_fma(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, c, _] = i.args;
        let d = double(i.ty);
        // The operands are kept in scratch words for the case that the result is a NaN (infinity times zero plus a
        // NaN has to raise NV, which the instruction need not do) or that there is no instruction.
        let native = self.cfg.features.fma;
        let (x, y, z) = (self.xmm(insts, a), self.xmm(insts, b), self.xmm(insts, c));
        for (n, r) in [x, y, z].into_iter().enumerate() {
            let m = Rm::M(self.word(n as i32));
            self.asm.ins(MOVSD_MR, false, r, 0, m, 0);
        }
        let m = Rm::M(self.word(WORD_IMM));
        self.asm.ins(MOV_MI, true, 0, 0, m, d as i64);
        self.take(a);
        self.take(b);
        self.take(c);
        let mut r = self.xdest(insts, c);
        if r == x || r == y {
            r = self.xtemp(insts);
        }
        if native {
            self.xcopy(r, z);
            self.asm.ins(pick(d, VFMADD231SD, VFMADD231SS), false, r, x, Rm::R(y), 0);
            self.asm.ins(pick(d, UCOMISD, UCOMISS), false, r, 0, Rm::R(r), 0);
            let from = self.asm.jump(Some(cc::P));
            let back = self.asm.pos();
            self.cold.push(Cold::FusedNan { from, back, dest: r });
        } else {
            self.asm.call(self.stubs.fma);
            let m = Rm::M(self.word(0));
            self.asm.ins(MOVSD, false, r, 0, m, 0);
        }
        self.xbind(v, r);
    }
    pub(super) fn float_compare(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let d = double(i.ty);
        // `a < b` is asked as `b > a`: "above" is false for unordered operands.
        let (first, second) = if i.op == Op::FEq { (a, b) } else { (b, a) };
        let x = self.xmm(insts, first);
        let y = self.xrm(insts, second);
        self.take(a);
        self.take(b);
        let r = self.temp(insts);
        if i.op == Op::FEq {
            let t = self.temp(insts);
            self.asm.ins(pick(d, UCOMISD, UCOMISS), false, x, 0, y, 0);
            // Unordered sets ZF as well as PF.
            self.asm.ins(setcc(cc::NP), false, 0, 0, Rm::R(r), 0);
            self.asm.ins(MOVZX8, false, r, 0, Rm::R(r), 0);
            self.asm.mov_imm(t, 0);
            self.asm.ins(cmovcc(cc::NE), false, r, 0, Rm::R(t), 0);
        } else {
            self.asm.ins(pick(d, COMISD, COMISS), false, x, 0, y, 0);
            self.set_bool(r, if i.op == Op::FLt { cc::A } else { cc::AE });
        }
        self.bind(v, r);
    }
    pub(super) fn float_from_int(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let g = self.gpr(insts, a);
        self.take(a);
        let r = self.xtemp(insts);
        let row = pick(double(i.ty), CVTSI2SD, CVTSI2SS);
        // The upper part of the register would be a false dependency.
        self.asm.ins(XORPS, false, r, 0, Rm::R(r), 0);
        self.asm.ins(row, i.op == Op::FFromI64, r, 0, Rm::R(g), 0);
        self.xbind(v, r);
    }
    pub(super) fn float_to_int(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let d = double(i.ty);
        let w = i.op == Op::FToI64;
        let x = self.xmm(insts, a);
        self.take(a);
        let r = self.dest(insts, v, NO, 0);
        self.asm.ins(pick(d, CVTTSD2SI, CVTTSS2SI), w, r, 0, Rm::R(x), 0);
        // The indefinite value is the least integer, the only one from which 1 cannot be subtracted.
        self.asm.ins(CMP_I8, w, 0, 0, Rm::R(r), 1);
        let from = self.asm.jump(Some(cc::O));
        let back = self.asm.pos();
        self.cold.push(Cold::Saturate { from, back, dest: r, source: x, wide: w, double: d });
        self.bind(v, r);
    }
    pub(super) fn cold_saturate(&mut self, back: u32, dest: Reg, source: Reg, wide: bool, d: bool) {
        // Negative numbers keep the least integer; positive ones and NaNs get the largest. The comparison raises nothing that
        // the conversion has not raised.
        let zero = Rm::Rip(self.stubs.constants + 48);
        self.asm.ins(pick(d, UCOMISD, UCOMISS), false, source, 0, zero, 0);
        let nan = self.asm.jump(Some(cc::P));
        let low = self.asm.jump(Some(cc::B));
        self.asm.patch(low, back);
        let here = self.asm.pos();
        self.asm.patch(nan, here);
        self.asm.mov_imm(dest, if wide { i64::MAX as u64 } else { i32::MAX as u64 });
        let at = self.asm.jump(None);
        self.asm.patch(at, back);
    }
    pub(super) fn float_box(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let x = self.xmm(insts, a);
        self.take(a);
        let r = self.xdest(insts, a);
        let ones = Rm::Rip(self.stubs.constants + 32);
        self.xcopy(r, x);
        self.asm.ins(ORPS, false, r, 0, ones, 0);
        self.xbind(v, r);
    }
    pub(super) fn float_unbox(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let r0 = self.root(a);
        let (home, gpr) = (self.val(r0).home, self.val(r0).gpr);
        let x = self.xmm(insts, a);
        self.take(a);
        if home != 0 {
            let mut m = self.home_mem(home);
            m.disp += 4;
            self.asm.ins(CMP_I8, false, 0, 0, Rm::M(m), -1);
        } else {
            let t = self.temp(insts);
            if gpr != NO && gpr != t {
                self.asm.ins(MOV, true, t, 0, Rm::R(gpr), 0);
            } else {
                self.asm.ins(MOVD_MR, true, x, 0, Rm::R(t), 0);
            }
            self.asm.ins(SHR_I, true, 0, 0, Rm::R(t), 32);
            self.asm.ins(CMP_I8, false, 0, 0, Rm::R(t), -1);
        }
        let r = self.xdest(insts, a);
        self.xcopy(r, x);
        let from = self.asm.jump(Some(cc::NE));
        let back = self.asm.pos();
        self.cold.push(Cold::Canonical { from, back, dest: r, double: false });
        self.xbind(v, r);
        debug_assert!(self.xcontent[r as usize] != NONE && i.ty != Ty::I1);
    }
}
