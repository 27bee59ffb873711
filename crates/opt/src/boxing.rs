//! NaN boxes that are opened again, and bits that go to and fro.

use crate::rewrite::{Better, Rule, Scope};
use ir::{Inst, Op};

/// The rule.
pub const RULE: Rule = Rule { of: &[Op::FUnbox, Op::FBits, Op::FFromBits], better: rule };

fn rule(s: &mut Scope, i: &Inst) -> Better {
    let inverse = match i.op {
        Op::FUnbox => Op::FBox,
        Op::FBits => Op::FFromBits,
        Op::FFromBits => Op::FBits,
        _ => return Better::Same,
    };
    let d = s.def(i.args[0]);
    if d.op == inverse && (i.op == Op::FUnbox || d.ty == i.ty) {
        Better::Value(d.args[0])
    } else {
        Better::Same
    }
}
