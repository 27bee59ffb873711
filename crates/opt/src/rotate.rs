//! Rotations spelt with two shifts, as compilers do for processors that may have none.

use crate::rewrite::{Better, Rule, Scope, inst};
use ir::{Inst, Op, Ty, Val};

/// The rule.
pub const RULE: Rule = Rule { of: &[Op::Or, Op::Xor, Op::Add], better: rule };

/// `t << n | t >> (width - n)`, in 64 bits or in the low 32 of them.
fn rule(s: &mut Scope, i: &Inst) -> Better {
    if !matches!(i.op, Op::Or | Op::Xor | Op::Add) || i.ty != Ty::I64 {
        return Better::Same;
    }
    for (left, right) in [(i.args[0], i.args[1]), (i.args[1], i.args[0])] {
        let (l, r) = (*s.def(left), *s.def(right));
        if let Some((t, n)) = rotation(s, left, right, 64) {
            let n = s.number(Ty::I64, n);
            return Better::Inst(inst(Op::Rotl, Ty::I64, t, n));
        }
        // The halves were extended; the upper bits are those of the left one, since those of the right one are zero.
        if matches!(l.op, Op::Sext32 | Op::Zext32)
            && matches!(r.op, Op::Sext32 | Op::Zext32)
            && let Some((t, n)) = rotation(s, l.args[0], r.args[0], 32)
        {
            let n = s.number(Ty::I32, n);
            let turned = s.push(inst(Op::Rotl, Ty::I32, t, n));
            return Better::Inst(Inst { args: [turned, Val::NONE, Val::NONE, Val::NONE], ..l });
        }
    }
    Better::Same
}

/// What is turned, and by how many bits to the left, if these are the two shifts of it.
fn rotation(s: &Scope, left: Val, right: Val, width: u64) -> Option<(Val, u64)> {
    let (l, r) = (s.def(left), s.def(right));
    let shifts = l.op == Op::Shl && r.op == Op::Shr && l.args[0] == r.args[0];
    let ty = if width == 64 { Ty::I64 } else { Ty::I32 };
    if !shifts || l.ty != ty || r.ty != ty {
        return None;
    }
    let (n, m) = (s.constant(l.args[1])?, s.constant(r.args[1])?);
    (n != 0 && n < width && n + m == width).then_some((l.args[0], n))
}
