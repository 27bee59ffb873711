//! Extensions and masks that change nothing, because the upper bits are known to be so already.

use crate::facts::width;
use crate::rewrite::{Better, Rule, Scope, inst};
use ir::{Inst, Op, Ty, Val};

/// The rule.
pub const RULE: Rule = Rule {
    of: &[Op::Trunc, Op::Sext32, Op::Zext32, Op::Sext8, Op::Sext16, Op::Zext8, Op::Zext16, Op::And],
    better: rule,
};

fn rule(s: &mut Scope, i: &Inst) -> Better {
    let a = i.args[0];
    let w = width(i.ty) as u8;
    match i.op {
        Op::Trunc => {
            // The low half of an extension is what was extended.
            let d = s.def(a);
            if matches!(d.op, Op::Sext32 | Op::Zext32) { Better::Value(d.args[0]) } else { Better::Same }
        }
        Op::Sext32 | Op::Zext32 => half(s, i),
        Op::Sext8 if s.facts(a).sign > w - 8 => Better::Value(a),
        Op::Sext16 if s.facts(a).sign > w - 16 => Better::Value(a),
        Op::Zext8 if s.facts(a).zero >= w - 8 => Better::Value(a),
        Op::Zext16 if s.facts(a).zero >= w - 16 => Better::Value(a),
        Op::And if i.ty != Ty::I1 => match s.constant(i.args[1]) {
            // A mask of low bits of which none that is set is cut off.
            Some(c)
                if (c & c.wrapping_add(1)) == 0 && s.facts(a).zero as u32 + c.count_ones() >= w as u32 =>
            {
                Better::Value(a)
            }
            _ => Better::Same,
        },
        _ => Better::Same,
    }
}

/// The extension of the low half of something.
fn half(s: &mut Scope, i: &Inst) -> Better {
    let a = i.args[0];
    let d = *s.def(a);
    if d.op == Op::Trunc {
        let whole = s.facts(d.args[0]);
        if i.op == Op::Sext32 && whole.sign > 32 || i.op == Op::Zext32 && whole.zero >= 32 {
            return Better::Value(d.args[0]);
        }
    }
    if d.op == Op::Const {
        let c = if i.op == Op::Sext32 { d.imm as i32 as u64 } else { d.imm as u32 as u64 };
        return Better::Value(s.number(Ty::I64, c));
    }
    if i.op == Op::Sext32 && s.facts(a).zero > 0 {
        return Better::Inst(inst(Op::Zext32, Ty::I32, a, Val::NONE));
    }
    Better::Same
}
