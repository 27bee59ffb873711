//! Identities and strength: constants that meet, powers of two, shifts that undo each other.

use crate::facts::width;
use crate::rewrite::{Better, Rule, Scope, inst};
use ir::num::fold;
use ir::{Inst, Op, Ty, Val};

/// The rule.
pub const RULE: Rule = Rule {
    of: &[
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::MulHs,
        Op::MulHu,
        Op::MulHsu,
        Op::DivS,
        Op::DivU,
        Op::RemS,
        Op::RemU,
        Op::Clmul,
        Op::ClmulH,
        Op::And,
        Op::Or,
        Op::Xor,
        Op::Shl,
        Op::Shr,
        Op::Sar,
        Op::Rotl,
        Op::Rotr,
        Op::Eq,
        Op::Ne,
        Op::LtS,
        Op::LtU,
        Op::GeS,
        Op::GeU,
        Op::Select,
    ],
    better: rule,
};

fn rule(s: &mut Scope, i: &Inst) -> Better {
    let [a, b, ..] = i.args;
    let two = b.is_some() && !i.args[2].is_some();
    if !two || !matches!(i.ty, Ty::I32 | Ty::I64) {
        return select(s, i);
    }
    let Some(c) = s.constant(b) else { return same_operands(s, i) };
    if let Some(x) = s.constant(a)
        && let Some(r) = fold(i.op, i.ty, x, c)
    {
        let ty = i.op.result(i.ty).unwrap_or(i.ty);
        return Better::Value(s.number(ty, r));
    }
    let w = width(i.ty);
    match i.op {
        Op::Mul | Op::DivU | Op::RemU if c.is_power_of_two() => power_of_two(s, i, c),
        Op::Add | Op::Sub | Op::Or | Op::Xor if c == 0 => Better::Value(a),
        Op::Shl | Op::Shr | Op::Sar | Op::Rotl | Op::Rotr if c.is_multiple_of(w as u64) => Better::Value(a),
        Op::Shr | Op::Sar => shift_pair(s, i, c as u32 % w),
        Op::And => and_pair(s, i, c),
        Op::Add if s.def(a).op == Op::PcRel => {
            let d = *s.def(a);
            Better::Inst(Inst { imm: d.imm.wrapping_add(c), ..d })
        }
        _ => Better::Same,
    }
}

/// `x op x`.
fn same_operands(s: &mut Scope, i: &Inst) -> Better {
    let [a, b, ..] = i.args;
    if a == b {
        match i.op {
            Op::Sub | Op::Xor => return Better::Value(s.number(i.ty, 0)),
            Op::And | Op::Or => return Better::Value(a),
            _ => {}
        }
    }
    // A shift count is taken modulo the width anyway.
    if matches!(i.op, Op::Shl | Op::Shr | Op::Sar | Op::Rotl | Op::Rotr) {
        let d = *s.def(b);
        let mask = width(i.ty) as u64 - 1;
        if d.op == Op::And && s.constant(d.args[1]).is_some_and(|c| c & mask == mask) {
            return Better::Inst(inst(i.op, i.ty, a, d.args[0]));
        }
    }
    Better::Same
}

fn power_of_two(s: &mut Scope, i: &Inst, c: u64) -> Better {
    let (op, c) = match i.op {
        Op::Mul => (Op::Shl, c.trailing_zeros() as u64),
        Op::DivU => (Op::Shr, c.trailing_zeros() as u64),
        _ => (Op::And, c - 1),
    };
    let k = s.number(i.ty, c);
    Better::Inst(inst(op, i.ty, i.args[0], k))
}

/// A left shift undone by a right shift is an extension of the low bits.
fn shift_pair(s: &mut Scope, i: &Inst, n: u32) -> Better {
    let d = *s.def(i.args[0]);
    if d.op != Op::Shl || s.constant(d.args[1]).is_none_or(|c| c as u32 % width(i.ty) != n) {
        return Better::Same;
    }
    let x = d.args[0];
    let signed = i.op == Op::Sar;
    let op = match (width(i.ty) - n, signed) {
        (8, true) => Op::Sext8,
        (8, false) => Op::Zext8,
        (16, true) => Op::Sext16,
        (16, false) => Op::Zext16,
        (32, _) => {
            let half = s.push(inst(Op::Trunc, Ty::I64, x, Val::NONE));
            let op = if signed { Op::Sext32 } else { Op::Zext32 };
            return Better::Inst(inst(op, Ty::I32, half, Val::NONE));
        }
        (bits, false) if bits < 32 => {
            let k = s.number(i.ty, (1 << bits) - 1);
            return Better::Inst(inst(Op::And, i.ty, x, k));
        }
        _ => return Better::Same,
    };
    Better::Inst(inst(op, i.ty, x, Val::NONE))
}

/// `(x & c1) & c2`.
fn and_pair(s: &mut Scope, i: &Inst, c: u64) -> Better {
    let d = *s.def(i.args[0]);
    // The page base has zeros where the offset has not.
    if d.op == Op::PcRel && c | 0xfff == u64::MAX {
        return Better::Inst(Inst { imm: d.imm & c, ..d });
    }
    if d.op == Op::And
        && let Some(inner) = s.constant(d.args[1])
    {
        let k = s.number(i.ty, inner & c);
        return Better::Inst(inst(Op::And, i.ty, d.args[0], k));
    }
    Better::Same
}

/// A selection whose condition or whose values do not differ.
fn select(s: &Scope, i: &Inst) -> Better {
    let [c, yes, no, _] = i.args;
    if i.op != Op::Select {
        return Better::Same;
    }
    match s.constant(c) {
        Some(k) => Better::Value(if k & 1 != 0 { yes } else { no }),
        None if yes == no => Better::Value(yes),
        None => Better::Same,
    }
}
