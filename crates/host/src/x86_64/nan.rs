//! NaNs, later: results of arithmetic get the canonical pattern only where somebody could see another.
//!
//! RISC-V wants the canonical NaN from every operation that gives one; the host's instructions hand on the payload of an
//! operand. But a NaN goes through arithmetic as a NaN: if the last result of a chain is none, no operand on the way
//! was. So results are noted as *pending*, and those that no other pending one was computed from, the *sinks*, are compared, two
//! by one instruction, before the block is left or the bits are used in another way ([`Emitter::settle`]). Only if that finds a
//! NaN, all pending registers are mended, out of line. Slow paths of loads and stores, in which somebody could look at
//! the registers, mend them first.

use super::alloc::NONE;
use super::asm::*;
use super::cold::Cold;
use super::lower::Emitter;
use ir::{Inst, Op, Ty, Val};

/// How a register holds a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// binary32 in the low half.
    Single,
    /// binary64.
    Double,
    /// binary32 with ones above.
    Boxed,
}

impl Form {
    fn compare(self) -> Row {
        if self == Form::Double { UCOMISD } else { UCOMISS }
    }
    /// Offset of the canonical NaN among the constants.
    fn canonical(self) -> u64 {
        match self {
            Form::Single => 0,
            Form::Double => 16,
            Form::Boxed => 64,
        }
    }
}

/// A result that may be a NaN of any pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    value: u32,
    form: Form,
    /// No other pending result was computed from it.
    sink: bool,
}

/// A range of [`Emitter::mends`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mends {
    from: u32,
    to: u32,
}

impl Mends {
    /// Whether there is nothing to mend.
    pub(super) fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

impl Emitter {
    /// Notes the result `v`, which is a NaN if one of `operands` is.
    pub(super) fn may_be_nan(&mut self, v: Val, form: Form, operands: &[Val]) {
        for &o in operands {
            let r = self.root(o);
            if let Some(p) = self.pending.iter_mut().find(|p| p.value == r) {
                p.sink = false;
            }
        }
        self.pending.push(Pending { value: v.0, form, sink: true });
    }
    /// Whether the bits of `v` are not settled.
    pub(super) fn is_pending(&self, v: Val) -> bool {
        let r = self.root(v);
        self.pending.iter().any(|p| p.value == r)
    }
    /// The register that holds a pending value; `None` if nobody can see it any more.
    fn seen(&self, p: &Pending) -> Option<Reg> {
        let x = self.val(p.value).xmm;
        (x != NO && self.xcontent[x as usize] == p.value).then_some(x)
    }
    /// Before instruction `i`, whose result is `v`: settles what it could show.
    pub(super) fn before_inst(&mut self, i: &Inst, v: Val) {
        if self.pending.is_empty() {
            return;
        }
        let shows = match i.op {
            Op::FAdd | Op::FSub | Op::FMul | Op::FDiv | Op::FSqrt | Op::FWiden | Op::FNarrow | Op::FMa => {
                false
            }
            Op::FEq
            | Op::FLt
            | Op::FLe
            | Op::FToI32
            | Op::FToI64
            | Op::FNearI32
            | Op::FNearI64
            | Op::FDownI64
            | Op::FUpI64
            | Op::FToU32
            | Op::FToU64
            | Op::FBox => false,
            Op::Trunc | Op::FBits | Op::FFromBits => false,
            Op::FNeg if self.fuses(v) => false,
            Op::Set => {
                let r = self.root(i.args[0]);
                let p = self.xpin[i.imm as usize % 128];
                let same = i.ty != Ty::I32 && p != NO && self.xcontent[p as usize] == r;
                self.is_pending(i.args[0]) && !same
            }
            // Other exits mend on their way out.
            Op::ExitIf => self.looks_up(i.imm as i64),
            Op::Call | Op::Goto | Op::Jump | Op::Leave | Op::Amo | Op::Cas | Op::StoreCond => true,
            _ => i.args.iter().take_while(|a| a.is_some()).any(|&a| self.is_pending(a)),
        };
        // No pending value may be spilled: an instruction must find registers besides.
        let held = |x: &u32| *x != NONE && self.pending.iter().any(|p| p.value == *x);
        let busy = self.xcontent[..super::XTEMPS as usize].iter().filter(|x| held(x)).count();
        let needs = if i.op == Op::FMa { 4 } else { 3 };
        if shows || busy + needs > super::XTEMPS as usize {
            self.settle();
        }
    }
    /// Compares the sinks and mends everything if one of them is a NaN. Changes flags.
    fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        // What a sink that is gone stood for must answer for itself.
        let lost = pending.iter().any(|p| p.sink && self.seen(p).is_none());
        let mends = self.mends_of(&pending);
        let mut jumps = [0u32; 16];
        let mut n = 0;
        for double in [false, true] {
            let mut waiting = None;
            for p in pending.iter().filter(|p| (p.form == Form::Double) == double && (p.sink || lost)) {
                let Some(x) = self.seen(p) else { continue };
                match waiting.take() {
                    None => waiting = Some((x, p.form)),
                    Some((y, _)) => self.compare_nan(x, y, p.form, &mut jumps, &mut n),
                }
            }
            if let Some((x, form)) = waiting {
                self.compare_nan(x, x, form, &mut jumps, &mut n);
            }
        }
        let back = self.asm.pos();
        for &from in &jumps[..n] {
            self.cold.push(Cold::Mend { from, back, mends });
        }
        self.pending = pending;
        self.pending.clear();
    }
    fn compare_nan(&mut self, x: Reg, y: Reg, form: Form, jumps: &mut [u32; 16], n: &mut usize) {
        self.asm.ins(form.compare(), false, x, 0, Rm::R(y), 0);
        jumps[*n] = self.asm.jump(Some(cc::P));
        *n += 1;
    }
    fn mends_of(&mut self, pending: &[Pending]) -> Mends {
        let from = self.mends.len() as u32;
        for p in pending {
            if let Some(x) = self.seen(p) {
                self.mends.push((x, p.form));
            }
        }
        Mends { from, to: self.mends.len() as u32 }
    }
    /// What a slow path that begins here has to mend.
    pub(super) fn mends_now(&mut self) -> Mends {
        if self.pending.is_empty() {
            return Mends::default();
        }
        let pending = std::mem::take(&mut self.pending);
        let mends = self.mends_of(&pending);
        self.pending = pending;
        mends
    }
    /// Gives registers that hold NaNs the canonical pattern.
    pub(super) fn mend(&mut self, mends: Mends) {
        for n in mends.from..mends.to {
            let (x, form) = self.mends[n as usize];
            self.asm.ins(form.compare(), false, x, 0, Rm::R(x), 0);
            let over = self.asm.jump(Some(cc::NP));
            let nan = Rm::Rip(self.stubs.constants + form.canonical());
            self.asm.ins(MOVAPS, false, x, 0, nan, 0);
            let here = self.asm.pos();
            self.asm.patch(over, here);
        }
    }
}
