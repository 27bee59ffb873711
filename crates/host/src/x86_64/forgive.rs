//! Flags that comparisons raise and nobody sees.
//!
//! Compilers keep the float flags around comparisons that may not raise any (`frflags`, `flt`, `fsflags`). Reading the host's flags
//! takes as long as whatever computes at the moment, so it is worth a look: if all that lies between the two is
//! comparisons, they can only have raised a flag if an operand was a NaN, and that they see themselves.

use super::alloc::NONE;
use ir::{Effects, Inst, Op, Val};

/// Comparisons that can be told apart.
const MOST: usize = 4;

/// What the backward walk has found so far.
pub(super) struct Forgiving {
    forget: u32,
    comparisons: [u32; MOST],
    n: usize,
}

impl Default for Forgiving {
    fn default() -> Self {
        Forgiving { forget: NONE, comparisons: [NONE; MOST], n: 0 }
    }
}

impl Forgiving {
    /// The walk is before instruction `n`. Whether the flags that were there are among those kept, and nothing but comparisons
    /// comes between.
    pub(super) fn before(&mut self, insts: &[Inst], n: usize) -> bool {
        let i = &insts[n];
        match i.op {
            Op::Forget => *self = Forgiving { forget: n as u32, ..Forgiving::default() },
            Op::FEq | Op::FLt | Op::FLe if self.n < MOST => {
                self.comparisons[self.n] = n as u32;
                self.n += 1;
            }
            Op::Accrued => {
                return self.forget != NONE && contains(insts, insts[self.forget as usize].args[0], n as u32);
            }
            Op::Insn => {}
            _ if matches!(i.op.effects(), Effects::Pure | Effects::Reads | Effects::Writes) => {}
            _ => self.forget = NONE,
        }
        false
    }
    /// The `forget`, and the comparisons before it; once.
    pub(super) fn found(&mut self) -> Option<(u32, &[u32])> {
        let forget = std::mem::replace(&mut self.forget, NONE);
        (forget != NONE).then_some((forget, &self.comparisons[..self.n]))
    }
}

/// Whether `v` has every flag that `accrued` has.
fn contains(insts: &[Inst], v: Val, accrued: u32) -> bool {
    let i = &insts[v.index()];
    match i.op {
        _ if v.0 == accrued => true,
        Op::Or => contains(insts, i.args[0], accrued) || contains(insts, i.args[1], accrued),
        Op::And => {
            let mask = &insts[i.args[1].index()];
            mask.op == Op::Const && mask.imm & FLAGS == FLAGS && contains(insts, i.args[0], accrued)
        }
        _ => false,
    }
}

/// All flags.
const FLAGS: u64 = 31;
