//! Flags that comparisons raise and nobody sees.
//!
//! Compilers keep the float flags around comparisons that may not raise any (`frflags`, `flt`, `fsflags`). Reading the host's flags
//! takes as long as whatever computes at the moment, so it is worth a look: if all that lies between the two is
//! comparisons, they can only have raised a flag if an operand was a NaN, and that they see themselves. What is kept must have
//! been all flags, those in the slot too, so that none is lost that is masked while others are watched for.

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
    pub(super) fn before(&mut self, insts: &[Inst], n: usize, flags_slot: u16) -> bool {
        let i = &insts[n];
        match i.op {
            Op::Forget => *self = Forgiving { forget: n as u32, ..Forgiving::default() },
            Op::FEq | Op::FLt | Op::FLe if self.n < MOST => {
                self.comparisons[self.n] = n as u32;
                self.n += 1;
            }
            Op::Accrued => {
                let kept =
                    |what: &dyn Fn(Val) -> bool| contains(insts, insts[self.forget as usize].args[0], what);
                let in_slot =
                    |v: Val| insts[v.index()].op == Op::GetNow && insts[v.index()].imm == flags_slot as u64;
                if self.forget != NONE && kept(&|v| v.index() == n) && kept(&in_slot) {
                    return true;
                }
                // Somebody looks at what the comparisons have raised.
                self.forget = NONE;
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

/// Whether `v` has every flag that one of the values that are `what` has.
fn contains(insts: &[Inst], v: Val, what: &dyn Fn(Val) -> bool) -> bool {
    let i = &insts[v.index()];
    match i.op {
        _ if what(v) => true,
        Op::Or => contains(insts, i.args[0], what) || contains(insts, i.args[1], what),
        Op::And => {
            let mask = &insts[i.args[1].index()];
            mask.op == Op::Const && mask.imm & FLAGS == FLAGS && contains(insts, i.args[0], what)
        }
        _ => false,
    }
}

/// All flags.
const FLAGS: u64 = 31;
