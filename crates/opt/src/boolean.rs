//! Comparisons of truth values that have been made numbers: `slt` and then `bnez` is one comparison.

use crate::rewrite::{Better, Rule, Scope, inst};
use ir::{Inst, Op, Ty, Val};

/// The rule.
pub const RULE: Rule = Rule { of: &[Op::Ne, Op::Eq, Op::LtU], better: rule };

fn rule(s: &mut Scope, i: &Inst) -> Better {
    let [a, b, ..] = i.args;
    let truth = match i.op {
        Op::Ne | Op::Eq if s.constant(b) == Some(0) => i.op == Op::Ne,
        // Unsigned `0 < x`.
        Op::LtU if s.constant(a) == Some(0) => return number(s, b, true),
        // Unsigned `x < 1`.
        Op::LtU if s.constant(b) == Some(1) => return number(s, a, false),
        _ => return Better::Same,
    };
    number(s, a, truth)
}

/// `x != 0` (or `x == 0` if not `truth`), if `x` is a truth value made a number.
fn number(s: &mut Scope, x: Val, truth: bool) -> Better {
    let d = *s.def(x);
    if d.op != Op::FromBool {
        return Better::Same;
    }
    let c = d.args[0];
    if truth {
        return Better::Value(c);
    }
    let d = *s.def(c);
    let opposite = match d.op {
        Op::Eq => Op::Ne,
        Op::Ne => Op::Eq,
        Op::LtS => Op::GeS,
        Op::LtU => Op::GeU,
        Op::GeS => Op::LtS,
        Op::GeU => Op::LtU,
        _ => {
            let one = s.number(Ty::I1, 1);
            return Better::Inst(inst(Op::Xor, Ty::I1, c, one));
        }
    };
    Better::Inst(inst(opposite, d.ty, d.args[0], d.args[1]))
}
