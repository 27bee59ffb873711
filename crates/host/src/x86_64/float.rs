//! Floating point with SSE2 scalars. MXCSR rounds to nearest and collects the flags; its rules for them are those of
//! RISC-V (tininess after rounding), except that results that are NaNs carry a payload and a sign, which `nan.rs` mends.

use super::WORD_IMM;
use super::alloc::NONE;
use super::asm::reg::RBP;
use super::asm::*;
use super::cold::Cold;
use super::lower::Emitter;
use super::memory::double;
use super::nan::Form;
use ir::{Inst, Op, Ty, Val};

fn pick(d: bool, double: Row, single: Row) -> Row {
    if d { double } else { single }
}

/// The operands of a fused multiply-add.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fused {
    /// Factors and addend.
    registers: [Reg; 3],
    /// The product's sign is changed.
    product: bool,
    /// The addend's is.
    addend: bool,
    double: bool,
}

fn form(ty: Ty) -> Form {
    if double(ty) { Form::Double } else { Form::Single }
}

impl Emitter {
    fn xcopy(&mut self, d: Reg, s: Reg) {
        if d != s {
            self.asm.ins(MOVAPS, false, d, 0, Rm::R(s), 0);
        }
    }
    /// The pinned register that the result `v` is about to be set to, if it can be written now.
    pub(super) fn wanted_float(&mut self, insts: &[Inst], v: Val) -> Option<Reg> {
        let x = self.vals[v.index()].want.wrapping_sub(16);
        (x < 16 && self.may_overwrite_x(insts, x)).then_some(x)
    }
    /// The pinned register that the result `v` is about to be set to, or a free temporary.
    fn fresh_float(&mut self, insts: &[Inst], v: Val) -> Reg {
        match self.wanted_float(insts, v) {
            Some(x) => x,
            None => self.xtemp(insts),
        }
    }
    /// Where a float result goes: where it is wanted, to the temporary of the dying operand `a`, or to a free one; never to `avoid`.
    fn xdest(&mut self, insts: &[Inst], v: Val, a: Val, avoid: Reg) -> Reg {
        if let Some(x) = self.wanted_float(insts, v).filter(|&x| x != avoid) {
            return x;
        }
        let a = self.val(self.root(a));
        let reuse = a.uses == 0 && a.xmm < super::XTEMPS && a.xmm != avoid;
        if reuse { a.xmm } else { self.xtemp(insts) }
    }
    pub(super) fn float_two(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let d = double(i.ty);
        let x = self.xmm(insts, a);
        let y = self.xrm(insts, b);
        self.take(a);
        self.take(b);
        // A host with FMA has the forms with three operands, too.
        let three = self.cfg.features.fma;
        let row = match (i.op, three) {
            (Op::FAdd, false) => pick(d, ADDSD, ADDSS),
            (Op::FSub, false) => pick(d, SUBSD, SUBSS),
            (Op::FMul, false) => pick(d, MULSD, MULSS),
            (_, false) => pick(d, DIVSD, DIVSS),
            (Op::FAdd, _) => pick(d, VADDSD, VADDSS),
            (Op::FSub, _) => pick(d, VSUBSD, VSUBSS),
            (Op::FMul, _) => pick(d, VMULSD, VMULSS),
            (..) => pick(d, VDIVSD, VDIVSS),
        };
        let avoid = if let (Rm::R(y), false) = (y, three) { y } else { NO };
        let r = self.xdest(insts, v, a, if avoid == x { NO } else { avoid });
        if !three {
            self.xcopy(r, x);
        }
        self.asm.ins(row, false, r, x, y, 0);
        self.may_be_nan(v, form(i.ty), &[a, b]);
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
        let r = self.xdest(insts, v, a, NO);
        // The upper part of the register would be a false dependency.
        self.xcopy(r, x);
        self.asm.ins(row, false, r, 0, Rm::R(r), 0);
        self.may_be_nan(v, if d { Form::Double } else { Form::Single }, &[a]);
        self.xbind(v, r);
    }
    pub(super) fn float_fma(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, c, _] = i.args;
        let d = double(i.ty);
        let native = self.cfg.features.fma;
        // Signs that are changed on the way in are the instruction's matter.
        let through = |t: &Self, v: Val| match t.val(t.root(v)).deferred {
            true => (insts[t.root(v) as usize].args[0], true),
            false => (v, false),
        };
        let ((a, product), (c, addend)) = (through(self, a), through(self, c));
        // The operands stay where they are for the case that the result is a NaN: infinity times zero plus a NaN has to
        // raise NV, which the instruction need not do.
        let (x, y, z) = (self.xmm(insts, a), self.xmm(insts, b), self.xmm(insts, c));
        for v in [a, b, c] {
            self.take(v);
        }
        let wanted = self.wanted_float(insts, v).filter(|&r| r != x && r != y && r != z);
        let r = match wanted {
            Some(r) => r,
            None => self.xtemp(insts),
        };
        let operands = Fused { registers: [x, y, z], product, addend, double: d };
        if native {
            let row = match (product, addend) {
                (false, false) => pick(d, VFMADD231SD, VFMADD231SS),
                (false, true) => pick(d, VFMSUB231SD, VFMSUB231SS),
                (true, false) => pick(d, VFNMADD231SD, VFNMADD231SS),
                (true, true) => pick(d, VFNMSUB231SD, VFNMSUB231SS),
            };
            self.xcopy(r, z);
            self.asm.ins(row, false, r, x, Rm::R(y), 0);
            self.asm.ins(pick(d, UCOMISD, UCOMISS), false, r, 0, Rm::R(r), 0);
            let from = self.asm.jump(Some(cc::P));
            let back = self.asm.pos();
            self.cold.push(Cold::FusedNan { from, back, dest: r, operands });
        } else {
            self.soft_fma(operands, r);
        }
        self.xbind(v, r);
    }
    /// Whether the change of sign `v` is made by the fused multiply-add that uses it.
    pub(super) fn fuses(&self, v: Val) -> bool {
        let v = &self.vals[v.index()];
        v.uses == 1 && v.term
    }
    pub(super) fn float_sign(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let d = double(i.ty) as u64;
        let x = self.xmm(insts, a);
        self.take(a);
        let r = self.xdest(insts, v, a, NO);
        self.xcopy(r, x);
        let (row, at) = if i.op == Op::FNeg { (XORPS, 80) } else { (ANDPS, 112) };
        self.asm.ins(row, false, r, 0, Rm::Rip(self.stubs.constants + at + 16 * d), 0);
        self.xbind(v, r);
    }
    pub(super) fn float_copy_sign(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let mask = |t: &Self, at: u64| Rm::Rip(t.stubs.constants + at + 16 * double(i.ty) as u64);
        let (x, y) = (self.xmm(insts, a), self.xmm(insts, b));
        let sign = self.xtemp(insts);
        self.xcopy(sign, y);
        self.asm.ins(ANDPS, false, sign, 0, mask(self, 80), 0);
        self.take(a);
        self.take(b);
        let r = self.xdest(insts, v, a, NO);
        self.xcopy(r, x);
        self.asm.ins(ANDPS, false, r, 0, mask(self, 112), 0);
        self.asm.ins(ORPS, false, r, 0, Rm::R(sign), 0);
        self.xbind(v, r);
    }
    /// The lesser or the greater of two. The host's instructions do it, unless one is a NaN or both are equal (zeros of either sign are).
    pub(super) fn float_extreme(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let d = double(i.ty);
        let (x, y) = (self.xmm(insts, a), self.xmm(insts, b));
        self.take(a);
        self.take(b);
        let r = match self.wanted_float(insts, v).filter(|&r| r != x && r != y) {
            Some(r) => r,
            None => self.xtemp(insts),
        };
        self.asm.ins(pick(d, UCOMISD, UCOMISS), false, x, 0, Rm::R(y), 0);
        // Unordered sets ZF, too.
        let from = self.asm.jump(Some(cc::E));
        self.xcopy(r, x);
        let row = if i.op == Op::FMin { pick(d, MINSD, MINSS) } else { pick(d, MAXSD, MAXSS) };
        self.asm.ins(row, false, r, 0, Rm::R(y), 0);
        let back = self.asm.pos();
        self.cold.push(Cold::SameOrNan { from, back, dest: r, operands: [x, y], op: i.op, ty: i.ty });
        self.xbind(v, r);
    }
    /// The operands of [`Emitter::float_extreme`] are equal or not ordered; the flags say which.
    pub(super) fn cold_extreme(&mut self, dest: Reg, [x, y]: [Reg; 2], op: Op, ty: Ty) {
        let nan = self.asm.jump(Some(cc::P));
        // They differ in nothing but the sign of zero.
        self.xcopy(dest, x);
        self.asm.ins(if op == Op::FMin { ORPS } else { ANDPS }, false, dest, 0, Rm::R(y), 0);
        let done = self.asm.jump(None);
        self.arrive(nan);
        for (n, r) in [x, y].into_iter().enumerate() {
            let m = Rm::M(self.word(n as i32));
            self.asm.ins(MOVSD_MR, false, r, 0, m, 0);
        }
        self.soft(op, ty, dest);
        self.arrive(done);
    }
    /// Has software do `op` on what lies in the scratch words.
    pub(super) fn soft(&mut self, op: Op, ty: Ty, dest: Reg) {
        self.call_soft(op, ty);
        let result = Rm::M(self.word(0));
        self.asm.ins(MOVSD, false, dest, 0, result, 0);
    }
    /// The same with the result left in word 0.
    pub(super) fn call_soft(&mut self, op: Op, ty: Ty) {
        let what = Rm::M(self.word(WORD_IMM));
        self.asm.ins(MOV_MI, true, 0, 0, what, crate::soft_code(op, ty) as i64);
        self.asm.call(self.stubs.soft);
    }
    /// Puts the operands of a fused multiply-add where the function that does it looks for them.
    fn fma_operands(&mut self, f: Fused) {
        for (n, r) in f.registers.into_iter().enumerate() {
            let m = self.word(n as i32);
            self.asm.ins(MOVSD_MR, false, r, 0, Rm::M(m), 0);
            if n == 0 && f.product || n == 2 && f.addend {
                let sign = Mem { disp: m.disp + if f.double { 7 } else { 3 }, ..m };
                self.asm.ins(XOR_MI8, false, 0, 0, Rm::M(sign), 0x80);
            }
        }
    }
    /// Does a fused multiply-add in software.
    pub(super) fn soft_fma(&mut self, f: Fused, dest: Reg) {
        self.fma_operands(f);
        self.soft(Op::FMa, if f.double { Ty::F64 } else { Ty::F32 }, dest);
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
            self.forget_if_unordered(v);
            // Unordered sets ZF as well as PF.
            self.asm.ins(setcc(cc::NP), false, 0, 0, Rm::R(r), 0);
            self.asm.ins(MOVZX8, false, r, 0, Rm::R(r), 0);
            self.asm.mov_imm(t, 0);
            self.asm.ins(cmovcc(cc::NE), false, r, 0, Rm::R(t), 0);
        } else {
            self.asm.ins(pick(d, COMISD, COMISS), false, x, 0, y, 0);
            self.forget_if_unordered(v);
            self.set_bool(r, if i.op == Op::FLt { cc::A } else { cc::AE });
        }
        self.bind(v, r);
    }
    pub(super) fn float_from_int(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let g = self.gpr(insts, a);
        self.take(a);
        let r = self.fresh_float(insts, v);
        let row = pick(double(i.ty), CVTSI2SD, CVTSI2SS);
        // The upper part of the register would be a false dependency.
        self.asm.ins(XORPS, false, r, 0, Rm::R(r), 0);
        self.asm.ins(row, i.op == Op::FFromI64, r, 0, Rm::R(g), 0);
        self.xbind(v, r);
    }
    /// An integer that the float type can hold comes out alike whatever the rounding; others are left to software.
    pub(super) fn float_from_int_exactly(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let g = self.gpr(insts, a);
        self.take(a);
        let r = self.fresh_float(insts, v);
        let from = if i.op == Op::FFromU64 {
            self.asm.ins(TEST, true, g, 0, Rm::R(g), 0);
            self.asm.jump(Some(cc::S))
        } else {
            // The bits above those that fit are all alike.
            let t = self.temp(insts);
            self.copy(t, Rm::R(g));
            self.asm.ins(SAR_I, true, 0, 0, Rm::R(t), if double(i.ty) { 53 } else { 24 });
            self.asm.ins(ADD_I, true, 0, 0, Rm::R(t), 1);
            self.asm.ins(CMP_I8, true, 0, 0, Rm::R(t), 1);
            self.asm.jump(Some(cc::A))
        };
        self.asm.ins(XORPS, false, r, 0, Rm::R(r), 0);
        self.asm.ins(pick(double(i.ty), CVTSI2SD, CVTSI2SS), true, r, 0, Rm::R(g), 0);
        let back = self.asm.pos();
        self.cold.push(Cold::SoftFromInt { from, back, dest: r, source: g, op: i.op, ty: i.ty });
        self.xbind(v, r);
    }
    /// Rounds to zero and goes one further if that went the wrong way.
    pub(super) fn float_to_int_directed(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let d = double(i.ty);
        let x = self.xmm(insts, a);
        self.take(a);
        let (r, further, t) = (self.dest(insts, v, NO, 0), self.temp(insts), self.xtemp(insts));
        self.asm.ins(pick(d, CVTTSD2SI, CVTTSS2SI), true, r, 0, Rm::R(x), 0);
        self.asm.ins(CMP_I8, true, 0, 0, Rm::R(r), 1);
        let from = self.asm.jump(Some(cc::O));
        self.asm.ins(XORPS, false, t, 0, Rm::R(t), 0);
        self.asm.ins(pick(d, CVTSI2SD, CVTSI2SS), true, t, 0, Rm::R(r), 0);
        let (above, below, row) = if i.op == Op::FDownI64 { (t, x, SUB) } else { (x, t, ADD) };
        self.asm.ins(pick(d, COMISD, COMISS), false, above, 0, Rm::R(below), 0);
        self.set_bool(further, cc::A);
        self.asm.ins(row, true, r, 0, Rm::R(further), 0);
        let back = self.asm.pos();
        self.cold.push(Cold::Saturate { from, back, dest: r, source: x, wide: true, double: d });
        self.bind(v, r);
    }
    pub(super) fn float_to_int(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let d = double(i.ty);
        let w = matches!(i.op, Op::FToI64 | Op::FNearI64);
        let row = match i.op {
            Op::FToI32 | Op::FToI64 => pick(d, CVTTSD2SI, CVTTSS2SI),
            _ => pick(d, CVTSD2SI, CVTSS2SI),
        };
        let x = self.xmm(insts, a);
        self.take(a);
        let r = self.dest(insts, v, NO, 0);
        self.asm.ins(row, w, r, 0, Rm::R(x), 0);
        // The indefinite value is the least integer, the only one from which 1 cannot be subtracted.
        self.asm.ins(CMP_I8, w, 0, 0, Rm::R(r), 1);
        let from = self.asm.jump(Some(cc::O));
        let back = self.asm.pos();
        self.cold.push(Cold::Saturate { from, back, dest: r, source: x, wide: w, double: d });
        self.bind(v, r);
    }
    /// Numbers that are not negative and fit are converted as signed doublewords; the others are left to software.
    pub(super) fn float_to_unsigned(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let d = double(i.ty);
        let x = self.xmm(insts, a);
        self.take(a);
        let r = self.dest(insts, v, NO, 0);
        // The upper halves of numbers of one sign are in their order, and those with the sign bit are above all others.
        self.asm.ins(MOVD_MR, d, x, 0, Rm::R(r), 0);
        if d {
            self.asm.ins(SHR_I, true, 0, 0, Rm::R(r), 32);
        }
        let limit: u32 = match (i.op == Op::FToU64, d) {
            (true, true) => 0x43e0_0000,
            (true, false) => 0x5f00_0000,
            (false, true) => 0x41f0_0000,
            (false, false) => 0x4f80_0000,
        };
        self.asm.ins(CMP_I, false, 0, 0, Rm::R(r), limit as i64);
        let from = self.asm.jump(Some(cc::AE));
        self.asm.ins(pick(d, CVTTSD2SI, CVTTSS2SI), true, r, 0, Rm::R(x), 0);
        let back = self.asm.pos();
        self.cold.push(Cold::SoftToInt { from, back, dest: r, source: x, op: i.op, ty: i.ty });
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
        let r = self.xdest(insts, v, a, NO);
        let ones = Rm::Rip(self.stubs.constants + 32);
        self.xcopy(r, x);
        self.asm.ins(ORPS, false, r, 0, ones, 0);
        if self.is_pending(a) {
            self.may_be_nan(v, Form::Boxed, &[a]);
        }
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
        let r = self.xdest(insts, v, a, NO);
        self.xcopy(r, x);
        let from = self.asm.jump(Some(cc::NE));
        let back = self.asm.pos();
        self.cold.push(Cold::Canonical { from, back, dest: r, double: false });
        self.xbind(v, r);
        debug_assert!(self.xcontent[r as usize] != NONE && i.ty != Ty::I1);
    }
    /// Which flags MXCSR has, in the guest's order, in `r`.
    fn ask_host(&mut self, r: Reg, table: Reg) {
        let word = Rm::M(self.word(WORD_IMM));
        self.asm.ins(STMXCSR, false, 0, 0, word, 0);
        self.asm.ins(MOV, false, r, 0, word, 0);
        self.asm.ins(LEA, true, table, 0, Rm::Rip(self.stubs.constants + FLAG_TABLE), 0);
        self.asm.ins(AND_I, false, 0, 0, Rm::R(r), 63);
        let entry = Mem { base: table, index: r, scale: 0, disp: 0 };
        self.asm.ins(MOVZX8, false, r, 0, Rm::M(entry), 0);
    }
    /// Flags that are watched for have not been raised, or they would not be watched for any more: MXCSR, whose answer waits for
    /// all that computes, is asked only if none are.
    pub(super) fn accrued(&mut self, insts: &[Inst], v: Val) {
        let (r, table) = (self.temp(insts), self.temp(insts));
        self.asm.ins(XOR, false, r, 0, Rm::R(r), 0);
        self.asm.ins(CMP_I8, false, 0, 0, self.watched(), 0);
        let from = self.asm.jump(Some(cc::S));
        let back = self.asm.pos();
        self.cold.push(Cold::Accrued { from, back, r, table });
        self.bind(v, r);
    }
    pub(super) fn cold_accrued(&mut self, r: Reg, table: Reg) {
        self.asm.ins(INC, false, 0, 0, Rm::M(Mem::at(RBP, self.cfg.layout.polls)), 0);
        self.ask_host(r, table);
    }
    fn watched(&self) -> Rm {
        Rm::M(Mem::at(RBP, self.cfg.layout.watched))
    }
    /// After the comparison `v`: the only flag that it can raise it raises for a NaN.
    fn forget_if_unordered(&mut self, v: Val) {
        if self.vals[v.index()].quiet {
            let from = self.asm.jump(Some(cc::P));
            let back = self.asm.pos();
            self.cold.push(Cold::Forget { from, back });
        }
    }
    pub(super) fn forget(&mut self, insts: &[Inst], kept: Val, v: Val) {
        if self.vals[v.index()].quiet {
            return self.take(kept);
        }
        let k = self.gpr(insts, kept);
        self.take(kept);
        let (r, table, lost) = (self.temp(insts), self.temp(insts), self.temp(insts));
        self.copy(lost, Rm::R(k));
        self.asm.ins(NOT, true, 0, 0, Rm::R(lost), 0);
        // All ones if flags are not watched for.
        self.asm.ins(TEST, false, lost, 0, self.watched(), 0);
        let from = self.asm.jump(Some(cc::NE));
        let back = self.asm.pos();
        self.cold.push(Cold::Lose { from, back, r, table, lost });
    }
    /// Either flags are not watched for, and MXCSR must not keep what is lost; or one that is masked is lost, and watching ends.
    pub(super) fn cold_lose(&mut self, back: u32, r: Reg, table: Reg, lost: Reg) {
        self.asm.ins(CMP_I8, false, 0, 0, self.watched(), 0);
        let watched = self.asm.jump(Some(cc::NS));
        self.ask_host(r, table);
        self.asm.ins(TEST, false, lost, 0, Rm::R(r), 0);
        let none = self.asm.jump(Some(cc::E));
        self.asm.patch(none, back);
        self.arrive(watched);
        let control = Rm::M(Mem::at(RBP, self.cfg.layout.mxcsr));
        self.asm.ins(MOV_MI, false, 0, 0, self.watched(), -1);
        self.asm.ins(MOV_MI, false, 0, 0, control, crate::MASKED as i64);
        self.asm.ins(LDMXCSR, false, 0, 0, control, 0);
    }
}

/// Where the table of flags lies among the constants: for each value of MXCSR's six flags the guest's.
const FLAG_TABLE: u64 = 144;

/// That table, sixteen entries at a time.
pub(super) fn flag_table() -> impl Iterator<Item = (u64, u64)> {
    let eight =
        |from: u64| (0..8).fold(0, |w, n| w | (crate::flags_from_mxcsr((from + n) as u32) as u64) << (8 * n));
    (0..64).step_by(16).map(move |from| (eight(from), eight(from + 8)))
}
