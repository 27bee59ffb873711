//! Integer instructions, comparisons and selection.

use super::alloc::NONE;
use super::asm::reg::*;
use super::asm::*;
use super::cold::Cold;
use super::lower::Emitter;
use ir::{Inst, Op, Ty, Val};

/// Whether the instruction works on 64 bits.
pub(super) fn wide(i: &Inst) -> bool {
    i.ty != Ty::I32
}

/// Instructions of which the host computes two at once: the halves of a product, quotient and remainder.
#[derive(Default)]
pub(super) struct Twins {
    /// The ones that follow next behind the place of a backward walk.
    product: Option<usize>,
    quotient: Option<usize>,
}

/// What [`super::alloc::Value::twin`] of an instruction says that has been computed with its twin.
pub(super) const DONE: u32 = u32::MAX - 1;

/// Twins are at most so many instructions apart: the later one's result occupies a register meanwhile.
const APART: usize = 24;

impl Twins {
    /// The instruction that can be computed with the one at `n`, to which the walk has come.
    pub(super) fn before(&mut self, insts: &[Inst], n: usize) -> Option<usize> {
        let i = &insts[n];
        let [a, b, ..] = i.args;
        let last = match i.op {
            Op::Mul | Op::MulHs | Op::MulHu if i.ty == Ty::I64 => &mut self.product,
            Op::DivS | Op::DivU | Op::RemS | Op::RemU => &mut self.quotient,
            _ => return None,
        };
        let other = last.replace(n)?;
        let o = &insts[other];
        let same =
            [a, b] == o.args[..2] || matches!(i.op, Op::Mul | Op::MulHs | Op::MulHu) && [b, a] == o.args[..2];
        let pair = matches!(
            (i.op, o.op),
            (Op::Mul, Op::MulHs | Op::MulHu)
                | (Op::MulHs | Op::MulHu, Op::Mul)
                | (Op::DivS, Op::RemS)
                | (Op::RemS, Op::DivS)
                | (Op::DivU, Op::RemU)
                | (Op::RemU, Op::DivU)
        );
        let twins = same && pair && i.ty == o.ty && other - n <= APART;
        if twins {
            *last = None;
        }
        twins.then_some(other)
    }
}

impl Emitter {
    /// `dst = src` as the width has it, unless they are the same.
    pub(super) fn copy(&mut self, dst: Reg, src: Rm) {
        if src != Rm::R(dst) {
            self.asm.ins(MOV, true, dst, 0, src, 0);
        }
    }
    fn alu_imm(&mut self, op: Op, w: bool, d: Rm, c: i32) {
        let (short, long) = match op {
            Op::Add => (ADD_I8, ADD_I),
            Op::Sub => (SUB_I8, SUB_I),
            Op::And => (AND_I8, AND_I),
            Op::Or => (OR_I8, OR_I),
            Op::Xor => (XOR_I8, XOR_I),
            _ => (CMP_I8, CMP_I),
        };
        let row = if c as i8 as i32 == c { short } else { long };
        self.asm.ins(row, w, 0, 0, d, c as i64);
    }
    /// Whether the shift `i` can be left to the sum that is its only use, as a scaled index.
    pub(super) fn is_scaled_term(&self, insts: &[Inst], i: &Inst, v: Val) -> bool {
        let value = self.val(v.0);
        i.ty == Ty::I64
            && value.uses == 1
            && value.term
            && self.constant(insts, i.args[1]).is_some_and(|c| (1..=3).contains(&c))
    }
    /// Computes a deferred shift that turns out not to be the scaled term of its sum, because the other one is.
    fn unscale(&mut self, insts: &[Inst], v: Val) {
        let i = &insts[v.index()];
        if i.op == Op::Shl && self.val(v.0).deferred {
            self.val_mut(v.0).deferred = false;
            let locked = self.locked;
            self.shift(insts, i, v);
            self.locked = locked;
        }
    }
    /// A sum one of whose terms is a deferred shift.
    fn add_scaled(&mut self, insts: &[Inst], v: Val, shift: Val, other: Val) {
        let s = &insts[shift.index()];
        let scale = self.constant(insts, s.args[1]).unwrap_or(0) as u8;
        let index = self.gpr(insts, s.args[0]);
        let base = self.gpr(insts, other);
        self.val_mut(shift.0).deferred = false;
        for x in [s.args[0], s.args[1], shift, other] {
            self.take(x);
        }
        let mut reuse = self.dying_temp(s.args[0]);
        if reuse == NO {
            reuse = self.dying_temp(other);
        }
        let d = self.dest(insts, v, reuse, 0);
        self.asm.ins(LEA, true, d, 0, Rm::M(Mem { base, index, scale, disp: 0 }), 0);
        self.bind(v, d);
    }
    /// Sums, and differences with a constant: `add` in place, `lea` elsewhere.
    pub(super) fn add(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let w = wide(i);
        for (shift, other) in [(a, b), (b, a)] {
            if i.op == Op::Add && self.val(shift.0).deferred && insts[shift.index()].op == Op::Shl {
                self.unscale(insts, other);
                return self.add_scaled(insts, v, shift, other);
            }
        }
        if let Some(mut c) = self.imm(insts, b) {
            if i.op == Op::Sub {
                c = -c;
            }
            let src = self.rm(insts, a);
            self.take(a);
            self.take(b);
            let reuse = self.dying_temp(a);
            let d = self.dest(insts, v, reuse, 0);
            match src {
                Rm::R(s) if s == d => {
                    self.alu_imm(Op::Add, w, Rm::R(d), c);
                    self.flags = (d, w, self.asm.pos());
                }
                Rm::R(s) => self.asm.ins(LEA, w, d, 0, Rm::M(Mem::at(s, c)), 0),
                m => {
                    self.copy(d, m);
                    self.alu_imm(Op::Add, w, Rm::R(d), c);
                }
            }
            self.bind(v, d);
            return;
        }
        let x = self.rm(insts, a);
        let y = self.rm(insts, b);
        self.take(a);
        self.take(b);
        let mut reuse = self.dying_temp(a);
        if reuse == NO {
            reuse = self.dying_temp(b);
        }
        let d = self.dest(insts, v, reuse, 0);
        match (x, y) {
            (x, y) if x == Rm::R(d) => self.asm.ins(ADD, w, d, 0, y, 0),
            (x, y) if y == Rm::R(d) => self.asm.ins(ADD, w, d, 0, x, 0),
            (Rm::R(x), Rm::R(y)) => self.asm.ins(LEA, w, d, 0, Rm::M(Mem::sum(x, y, 0)), 0),
            (x, y) => {
                self.copy(d, x);
                self.asm.ins(ADD, w, d, 0, y, 0);
            }
        }
        self.bind(v, d);
    }
    /// Two-operand arithmetic and logic.
    pub(super) fn two_operand(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [mut a, mut b, ..] = i.args;
        let w = wide(i);
        let commutes = i.op != Op::Sub;
        if commutes && self.constant(insts, a).is_some() {
            std::mem::swap(&mut a, &mut b);
        }
        if let Some(c) = self.constant(insts, b)
            && self.logic_constant(insts, i, v, a, b, c)
        {
            return;
        }
        let x = self.rm(insts, a);
        let y = self.rm(insts, b);
        self.take(a);
        self.take(b);
        let mut reuse = self.dying_temp(a);
        if reuse == NO && commutes {
            reuse = self.dying_temp(b);
        }
        // A subtraction must not overwrite its right side before it is read.
        let avoid = match y {
            Rm::R(r) if !commutes && y != x => 1 << r,
            _ => 0,
        };
        let d = self.dest(insts, v, reuse, avoid);
        let row = match i.op {
            Op::Sub => SUB,
            Op::And => AND,
            Op::Or => OR,
            _ => XOR,
        };
        if commutes && y == Rm::R(d) {
            self.asm.ins(row, w, d, 0, x, 0);
        } else {
            self.copy(d, x);
            self.asm.ins(row, w, d, 0, y, 0);
        }
        self.flags = (d, w, self.asm.pos());
        self.bind(v, d);
    }
    /// Logic with a constant that has a shorter form. Returns false if there is none.
    fn logic_constant(&mut self, insts: &[Inst], i: &Inst, v: Val, a: Val, b: Val, c: i64) -> bool {
        let w = wide(i);
        let extension = match (i.op, c) {
            (Op::And, 0xff) => Some(MOVZX8),
            (Op::And, 0xffff) => Some(MOVZX16),
            (Op::And, 0xffff_ffff) => Some(MOV),
            _ => None,
        };
        if let Some(row) = extension {
            let src = self.rm(insts, a);
            self.take(a);
            self.take(b);
            let reuse = self.dying_temp(a);
            let d = self.dest(insts, v, reuse, 0);
            self.asm.ins(row, false, d, 0, src, 0);
            self.bind(v, d);
            return true;
        }
        // A 64-bit "and" with a constant below 2^31 can be done in 32 bits, and so can its encoding.
        let Ok(c) = i32::try_from(c) else { return false };
        let src = self.rm(insts, a);
        self.take(a);
        self.take(b);
        let reuse = self.dying_temp(a);
        let d = self.dest(insts, v, reuse, 0);
        self.copy(d, src);
        if i.op == Op::Xor && c == -1 {
            self.asm.ins(NOT, w, 0, 0, Rm::R(d), 0);
        } else {
            let w = w && !(i.op == Op::And && c >= 0);
            self.alu_imm(i.op, w, Rm::R(d), c);
            self.flags = (d, w, self.asm.pos());
        }
        self.bind(v, d);
        true
    }
    /// Counts the uses of the operands by `v` and its twin.
    fn take_operands(&mut self, v: Val, a: Val, b: Val) {
        for _ in 0..if self.val(v.0).twin == NONE { 1 } else { 2 } {
            self.take(a);
            self.take(b);
        }
    }
    /// Puts the result, which is in `own`, and that of its twin, in `other`, both grabbed temporaries, where they are wanted.
    fn results_from(&mut self, insts: &[Inst], v: Val, own: Reg, other: Reg) {
        self.result_from(insts, v, own);
        let twin = self.val(v.0).twin;
        if twin != NONE {
            // It must not be in the pinned register that it is set to before the place where it is due.
            (self.val_mut(twin).twin, self.val_mut(twin).want) = (DONE, NO);
            self.result_from(insts, Val(twin), other);
        }
    }
    pub(super) fn mul(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let w = wide(i);
        if self.val(v.0).twin != NONE {
            return self.product(insts, v, a, b, insts[self.val(v.0).twin as usize].op == Op::MulHs, false);
        }
        if let Some(c) = self.imm(insts, b) {
            let src = self.rm(insts, a);
            self.take(a);
            self.take(b);
            let reuse = self.dying_temp(a);
            let d = self.dest(insts, v, reuse, 0);
            let row = if c as i8 as i32 == c { IMUL_I8 } else { IMUL_I };
            self.asm.ins(row, w, d, 0, src, c as i64);
            self.bind(v, d);
            return;
        }
        let x = self.rm(insts, a);
        let y = self.rm(insts, b);
        self.take(a);
        self.take(b);
        let mut reuse = self.dying_temp(a);
        if reuse == NO {
            reuse = self.dying_temp(b);
        }
        let d = self.dest(insts, v, reuse, 0);
        if y == Rm::R(d) {
            self.asm.ins(IMUL, w, d, 0, x, 0);
        } else {
            self.copy(d, x);
            self.asm.ins(IMUL, w, d, 0, y, 0);
        }
        self.bind(v, d);
    }
    /// Puts the result in `from`, a grabbed temporary, where it is wanted.
    fn result_from(&mut self, insts: &[Inst], v: Val, from: Reg) {
        let d = self.dest(insts, v, from, 0);
        self.copy(d, Rm::R(from));
        self.bind(v, d);
    }
    pub(super) fn mul_high(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        if wide(i) && i.op != Op::MulHsu {
            return self.product(insts, v, a, b, i.op == Op::MulHs, true);
        }
        let x = self.gpr(insts, a);
        let y = self.gpr(insts, b);
        self.take(a);
        self.take(b);
        if !wide(i) {
            // The 64-bit product of the extended halves has the answer in its upper half.
            let d = self.temp(insts);
            let t = self.temp(insts);
            if i.op == Op::MulHu {
                self.asm.ins(MOV, false, d, 0, Rm::R(x), 0);
            } else {
                self.asm.ins(MOVSXD, true, d, 0, Rm::R(x), 0);
            }
            if i.op == Op::MulHs {
                self.asm.ins(MOVSXD, true, t, 0, Rm::R(y), 0);
            } else {
                self.asm.ins(MOV, false, t, 0, Rm::R(y), 0);
            }
            self.asm.ins(IMUL, true, d, 0, Rm::R(t), 0);
            self.asm.ins(SHR_I, true, 0, 0, Rm::R(d), 32);
            self.result_from(insts, v, d);
            return;
        }
        // Unsigned product minus `b` if `a` is negative; both are needed twice, so they go to memory.
        let (m, n) = (self.word(0), self.word(1));
        self.asm.ins(MOV_MR, true, x, 0, Rm::M(m), 0);
        self.asm.ins(MOV_MR, true, y, 0, Rm::M(n), 0);
        self.grab(insts, RAX);
        self.grab(insts, RDX);
        self.asm.ins(MOV, true, RAX, 0, Rm::M(m), 0);
        self.asm.ins(MUL_A, true, 0, 0, Rm::M(n), 0);
        self.asm.ins(MOV, true, RAX, 0, Rm::M(m), 0);
        self.asm.ins(SAR_I, true, 0, 0, Rm::R(RAX), 63);
        self.asm.ins(AND, true, RAX, 0, Rm::M(n), 0);
        self.asm.ins(SUB, true, RDX, 0, Rm::R(RAX), 0);
        self.result_from(insts, v, RDX);
    }
    /// The whole product of `a` and `b`: `v` is its upper or its lower half, the twin the other one.
    fn product(&mut self, insts: &[Inst], v: Val, a: Val, b: Val, signed: bool, upper: bool) {
        let x = self.gpr(insts, a);
        let y = self.gpr(insts, b);
        self.take_operands(v, a, b);
        // Multiplicand in rax, product in rdx:rax. Grabbing saves a live value but leaves the register as it is, so an
        // operand can still be read from there.
        let (x, y) = if y == RAX { (y, x) } else { (x, y) };
        self.grab(insts, RAX);
        self.copy(RAX, Rm::R(x));
        self.grab(insts, RDX);
        self.asm.ins(if signed { IMUL_A } else { MUL_A }, true, 0, 0, Rm::R(y), 0);
        let (own, other) = if upper { (RDX, RAX) } else { (RAX, RDX) };
        self.results_from(insts, v, own, other);
    }
    /// The carry-less product's low or high half.
    pub(super) fn carryless(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let x = self.gpr(insts, a);
        let y = self.gpr(insts, b);
        self.take(a);
        self.take(b);
        if self.cfg.features.pclmul {
            let (d, other) = (self.xtemp(insts), self.xtemp(insts));
            self.asm.ins(MOVD, true, d, 0, Rm::R(x), 0);
            self.asm.ins(MOVD, true, other, 0, Rm::R(y), 0);
            self.asm.ins(PCLMULQDQ, false, d, 0, Rm::R(other), 0);
            if i.op == Op::ClmulH {
                self.asm.ins(PSHUFD, false, d, 0, Rm::R(d), 0xee);
            }
            let mut reuse = self.dying_temp(a);
            if reuse == NO {
                reuse = self.dying_temp(b);
            }
            let r = self.dest(insts, v, reuse, 0);
            self.asm.ins(MOVD_MR, true, d, 0, Rm::R(r), 0);
            self.bind(v, r);
            return;
        }
        // All temporaries are needed, so the operands go to memory first.
        let (m, n) = (self.word(0), self.word(1));
        self.asm.ins(MOV_MR, true, x, 0, Rm::M(m), 0);
        self.asm.ins(MOV_MR, true, y, 0, Rm::M(n), 0);
        self.grab(insts, RAX);
        self.grab(insts, RDX);
        self.grab(insts, RCX);
        self.grab(insts, R11);
        self.asm.ins(MOV, true, RAX, 0, Rm::M(m), 0);
        self.asm.ins(MOV, true, RDX, 0, Rm::M(n), 0);
        self.asm.call(self.stubs.carryless);
        self.result_from(insts, v, if i.op == Op::Clmul { RAX } else { RDX });
    }
    pub(super) fn divide(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let w = wide(i);
        let signed = matches!(i.op, Op::DivS | Op::RemS);
        let remainder = matches!(i.op, Op::RemS | Op::RemU);
        let divisor = self.constant(insts, b);
        let mut y = self.rm(insts, b);
        let x = self.rm(insts, a);
        self.take_operands(v, a, b);
        if let Rm::R(r @ (RAX | RDX)) = y {
            y = if self.dues {
                Rm::R(self.temp_of(insts, self.pool & !(1 << RAX | 1 << RDX)))
            } else {
                Rm::M(self.word(0))
            };
            self.asm.ins(MOV_MR, true, r, 0, y, 0);
        }
        // The dividend must survive until rax has it; grabbing rax only moves values, it does not destroy.
        self.grab(insts, RAX);
        self.copy(RAX, x);
        self.grab(insts, RDX);
        if divisor.is_none_or(|c| c == 0) {
            self.alu_imm(Op::Eq, w, y, 0);
            let from = self.asm.jump(Some(cc::E));
            self.cold.push(Cold::DivideZero { from, back: 0, wide: w });
        }
        if signed && divisor.is_none_or(|c| c == -1) {
            self.alu_imm(Op::Eq, w, y, -1);
            let from = self.asm.jump(Some(cc::E));
            self.cold.push(Cold::DivideMinusOne { from, back: 0, wide: w });
        }
        if signed {
            self.asm.raw(if w { &[0x48, 0x99] } else { &[0x99] });
            self.asm.ins(IDIV_A, w, 0, 0, y, 0);
        } else {
            self.asm.ins(XOR, false, RDX, 0, Rm::R(RDX), 0);
            self.asm.ins(DIV_A, w, 0, 0, y, 0);
        }
        let back = self.asm.pos();
        for c in self.cold.iter_mut().rev().take(2) {
            match c {
                Cold::DivideZero { back: b, .. } | Cold::DivideMinusOne { back: b, .. } if *b == 0 => {
                    *b = back
                }
                _ => {}
            }
        }
        let (own, other) = if remainder { (RDX, RAX) } else { (RAX, RDX) };
        self.results_from(insts, v, own, other);
    }
    pub(super) fn shift(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let w = wide(i);
        if let Some(c) = self.constant(insts, b) {
            let src = self.rm(insts, a);
            self.take(a);
            self.take(b);
            let reuse = self.dying_temp(a);
            let d = self.dest(insts, v, reuse, 0);
            let mut c = c & if w { 63 } else { 31 };
            if matches!(i.op, Op::Rotl | Op::Rotr) && self.cfg.features.bmi2 && src != Rm::R(d) {
                if i.op == Op::Rotl {
                    c = -c & if w { 63 } else { 31 };
                }
                self.asm.ins(RORX, w, d, 0, src, c);
            } else if let (Op::Shl, Rm::R(s), 1..=3) = (i.op, src, c)
                && s != d
            {
                // lea without a base would need a 32-bit displacement: s + s for 1, a move and a shift else.
                if c == 1 {
                    self.asm.ins(LEA, w, d, 0, Rm::M(Mem::sum(s, s, 0)), 0);
                } else {
                    self.copy(d, src);
                    self.asm.ins(SHL_I, w, 0, 0, Rm::R(d), c);
                }
            } else {
                self.copy(d, src);
                let row = match i.op {
                    Op::Shl => SHL_I,
                    Op::Shr => SHR_I,
                    Op::Sar => SAR_I,
                    Op::Rotl => ROL_I,
                    _ => ROR_I,
                };
                self.asm.ins(row, w, 0, 0, Rm::R(d), c);
            }
            self.bind(v, d);
            return;
        }
        if self.cfg.features.bmi2 && matches!(i.op, Op::Shl | Op::Shr | Op::Sar) {
            let x = self.rm(insts, a);
            let n = self.gpr(insts, b);
            self.take(a);
            self.take(b);
            let mut reuse = self.dying_temp(a);
            if reuse == NO {
                reuse = self.dying_temp(b);
            }
            let d = self.dest(insts, v, reuse, 0);
            let row = match i.op {
                Op::Shl => SHLX,
                Op::Shr => SHRX,
                _ => SARX,
            };
            self.asm.ins(row, w, d, n, x, 0);
            self.bind(v, d);
            return;
        }
        let n = self.gpr(insts, b);
        let x = self.gpr(insts, a);
        self.take(a);
        self.take(b);
        // The count goes to cl, the operand to a temporary that is not rcx.
        let d = self.temp_not(insts, RCX);
        self.copy(d, Rm::R(x));
        self.grab(insts, RCX);
        self.copy(RCX, Rm::R(n));
        let row = match i.op {
            Op::Shl => SHL_C,
            Op::Shr => SHR_C,
            Op::Sar => SAR_C,
            Op::Rotl => ROL_C,
            _ => ROR_C,
        };
        self.asm.ins(row, w, 0, 0, Rm::R(d), 0);
        self.result_from(insts, v, d);
    }
    /// A free temporary other than `not`.
    pub(super) fn temp_not(&mut self, insts: &[Inst], not: Reg) -> Reg {
        let was = self.locked >> not & 1;
        self.lock(not);
        let t = self.temp(insts);
        if was == 0 {
            self.unlock(not);
        }
        t
    }
    pub(super) fn count_zeros(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let w = wide(i);
        let leading = i.op == Op::Clz;
        let src = self.rm(insts, a);
        self.take(a);
        let native = if leading { self.cfg.features.lzcnt } else { self.cfg.features.bmi1 };
        if native {
            let reuse = self.dying_temp(a);
            let d = self.dest(insts, v, reuse, 0);
            self.asm.ins(if leading { LZCNT } else { TZCNT }, w, d, 0, src, 0);
            self.bind(v, d);
            return;
        }
        let d = self.temp(insts);
        let t = self.temp(insts);
        let width = if w { 64 } else { 32 };
        // For zero BSR and BSF leave the destination undefined and set ZF.
        self.asm.mov_imm(t, if leading { 2 * width - 1 } else { width });
        self.asm.ins(if leading { BSR } else { BSF }, w, d, 0, src, 0);
        self.asm.ins(cmovcc(cc::E), w, d, 0, Rm::R(t), 0);
        if leading {
            self.alu_imm(Op::Xor, false, Rm::R(d), width as i32 - 1);
        }
        self.result_from(insts, v, d);
    }
    pub(super) fn popcnt(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let w = wide(i);
        let src = self.rm(insts, a);
        self.take(a);
        if self.cfg.features.popcnt {
            let reuse = self.dying_temp(a);
            let d = self.dest(insts, v, reuse, 0);
            self.asm.ins(POPCNT, w, d, 0, src, 0);
            self.bind(v, d);
            return;
        }
        // Sums of neighbouring bits, pairs, nibbles; then all bytes by a multiplication.
        let d = self.temp(insts);
        let t = self.temp(insts);
        let m = self.temp(insts);
        self.asm.ins(MOV, w, d, 0, src, 0);
        self.asm.ins(MOV, true, t, 0, Rm::R(d), 0);
        self.asm.ins(SHR_I, true, 0, 0, Rm::R(t), 1);
        self.asm.mov_imm(m, 0x5555_5555_5555_5555);
        self.asm.ins(AND, true, t, 0, Rm::R(m), 0);
        self.asm.ins(SUB, true, d, 0, Rm::R(t), 0);
        self.asm.mov_imm(m, 0x3333_3333_3333_3333);
        self.asm.ins(MOV, true, t, 0, Rm::R(d), 0);
        self.asm.ins(AND, true, d, 0, Rm::R(m), 0);
        self.asm.ins(SHR_I, true, 0, 0, Rm::R(t), 2);
        self.asm.ins(AND, true, t, 0, Rm::R(m), 0);
        self.asm.ins(ADD, true, d, 0, Rm::R(t), 0);
        self.asm.ins(MOV, true, t, 0, Rm::R(d), 0);
        self.asm.ins(SHR_I, true, 0, 0, Rm::R(t), 4);
        self.asm.ins(ADD, true, d, 0, Rm::R(t), 0);
        self.asm.mov_imm(m, 0x0f0f_0f0f_0f0f_0f0f);
        self.asm.ins(AND, true, d, 0, Rm::R(m), 0);
        self.asm.mov_imm(m, 0x0101_0101_0101_0101);
        self.asm.ins(IMUL, true, d, 0, Rm::R(m), 0);
        self.asm.ins(SHR_I, true, 0, 0, Rm::R(d), 56);
        self.result_from(insts, v, d);
    }
    pub(super) fn bswap(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let src = self.rm(insts, a);
        self.take(a);
        let reuse = self.dying_temp(a);
        let d = self.dest(insts, v, reuse, 0);
        self.copy(d, src);
        bswap(&mut self.asm, wide(i), d);
        self.bind(v, d);
    }
    pub(super) fn extend(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let a = i.args[0];
        let (row, w) = match i.op {
            Op::Sext8 => (MOVSX8, wide(i)),
            Op::Sext16 => (MOVSX16, wide(i)),
            Op::Zext8 => (MOVZX8, false),
            Op::Zext16 => (MOVZX16, false),
            Op::Sext32 => (MOVSXD, true),
            _ => (MOV, false),
        };
        let src = self.rm(insts, a);
        self.take(a);
        let reuse = self.dying_temp(a);
        let d = self.dest(insts, v, reuse, 0);
        self.asm.ins(row, w, d, 0, src, 0);
        self.bind(v, d);
    }

    // ---- comparisons
    /// Emits the comparison for the truth value `c`, or a test of it; returns the condition code that holds if it is true.
    /// Counts the use. Nothing that changes flags may be emitted before the condition is used.
    pub(super) fn condition(&mut self, insts: &[Inst], c: Val) -> u8 {
        let r = self.root(c);
        if !self.val(r).deferred {
            let g = self.gpr(insts, c);
            self.take(c);
            self.asm.ins(TEST, false, g, 0, Rm::R(g), 0);
            return cc::NE;
        }
        self.val_mut(r).deferred = false;
        let i = &insts[r as usize];
        let result = self.compare(insts, i);
        self.take(c);
        result
    }
    /// Emits `cmp` or `test` and counts the uses of the operands.
    fn compare(&mut self, insts: &[Inst], i: &Inst) -> u8 {
        let [mut a, mut b, ..] = i.args;
        let w = wide(i);
        let mut code = match i.op {
            Op::Eq => cc::E,
            Op::Ne => cc::NE,
            Op::LtS => cc::L,
            Op::LtU => cc::B,
            Op::GeS => cc::GE,
            _ => cc::AE,
        };
        if self.constant(insts, a).is_some() && self.constant(insts, b).is_none() {
            std::mem::swap(&mut a, &mut b);
            code = match code {
                cc::L => cc::G,
                cc::B => cc::A,
                cc::GE => cc::LE,
                cc::AE => cc::BE,
                other => other,
            };
        }
        if let Some(k) = self.imm(insts, b) {
            let x = self.rm(insts, a);
            match x {
                Rm::R(x) if k == 0 && !matches!(code, cc::B | cc::AE) => {
                    // Zero and sign are known, carry and overflow are not. The upper half of what 32 bits were computed of is zero.
                    let (of, whole, at) = self.flags;
                    let zero = matches!(code, cc::E | cc::NE);
                    let enough = zero && !whole || whole == w && (zero || matches!(code, cc::L | cc::GE));
                    if !(enough && at == self.asm.pos() && of == x) {
                        self.asm.ins(TEST, w, x, 0, Rm::R(x), 0);
                    }
                    code = match code {
                        cc::L => cc::S,
                        cc::GE => cc::NS,
                        other => other,
                    };
                }
                x => self.alu_imm(Op::Eq, w, x, k),
            }
        } else {
            let x = self.gpr(insts, a);
            let y = self.rm(insts, b);
            self.asm.ins(CMP, w, x, 0, y, 0);
        }
        self.take(a);
        self.take(b);
        code
    }
    /// Fetches what [`Emitter::condition`] will need, so that it emits only the comparison itself.
    pub(super) fn fetch_condition(&mut self, insts: &[Inst], c: Val) {
        let r = self.root(c);
        if !self.val(r).deferred {
            self.gpr(insts, c);
            return;
        }
        for a in insts[r as usize].args {
            if a.is_some() && self.imm(insts, a).is_none() {
                self.rm(insts, a);
            }
        }
    }
    /// Computes the deferred truth value `c` into a register as 0 or 1. Counts no use of it.
    pub(super) fn materialise(&mut self, insts: &[Inst], c: Val) {
        let i = &insts[c.index()];
        self.val_mut(c.0).deferred = false;
        // The operands of the comparison may lose their registers once it has been made.
        let locked = self.locked;
        let code = self.compare(insts, i);
        self.locked = locked;
        let d = self.temp(insts);
        self.set_bool(d, code);
        self.bind(c, d);
    }
    /// `d` = 1 if the condition holds, else 0.
    pub(super) fn set_bool(&mut self, d: Reg, code: u8) {
        self.asm.ins(setcc(code), false, 0, 0, Rm::R(d), 0);
        self.asm.ins(MOVZX8, false, d, 0, Rm::R(d), 0);
    }
    pub(super) fn bool_to_int(&mut self, insts: &[Inst], c: Val, v: Val) {
        let r = self.root(c);
        if self.val(r).deferred {
            let code = self.condition(insts, c);
            let d = self.dest(insts, v, NO, 0);
            self.set_bool(d, code);
            self.bind(v, d);
            return;
        }
        let src = self.rm(insts, c);
        self.take(c);
        let reuse = self.dying_temp(c);
        let d = self.dest(insts, v, reuse, 0);
        self.copy(d, src);
        self.bind(v, d);
    }
    pub(super) fn select(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [c, mut yes, mut no, _] = i.args;
        let w = !matches!(i.ty, Ty::I32 | Ty::F32);
        // Everything is fetched before the comparison; moves alone do not disturb flags, but there are few registers.
        let mut y = self.rm(insts, yes);
        let mut n = if self.constant(insts, no).is_some() { None } else { Some(self.rm(insts, no)) };
        let locked = self.locked;
        let mut code = self.condition(insts, c);
        self.locked = locked;
        self.take(yes);
        self.take(no);
        let want = self.vals[v.index()].want;
        let into_yes = want != NO && y == Rm::R(want);
        let no_dies = self.dying_temp(no) != NO;
        if let (Some(n_rm), true) = (n, into_yes || !no_dies && self.dying_temp(yes) != NO) {
            std::mem::swap(&mut yes, &mut no);
            n = Some(y);
            y = n_rm;
            code ^= 1;
        }
        let reuse = self.dying_temp(no);
        let avoid = if let Rm::R(r) = y { 1 << r } else { 0 };
        let reuse = if reuse != NO && avoid >> reuse & 1 != 0 { NO } else { reuse };
        let d = self.dest(insts, v, reuse, avoid);
        match n {
            Some(n) => self.copy(d, n),
            None => {
                let r = self.root(no);
                self.load_into(insts, d, r);
            }
        }
        self.asm.ins(cmovcc(code), w, d, 0, y, 0);
        self.bind(v, d);
    }
}
