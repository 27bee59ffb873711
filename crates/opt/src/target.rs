//! Jumps whose target is known: `auipc` and `jalr`.

use crate::rewrite::{Better, Rule, Scope};
use ir::{Inst, Op, Val};

/// A block's last offset in a page at which a direct jump may lead whatever lies there; an instruction further on may cross
/// into the next page, and the front end has to be asked.
const LAST: i64 = 4092;

/// The rule.
pub const RULE: Rule = Rule { of: &[Op::Jump], better: rule };

fn rule(s: &mut Scope, i: &Inst) -> Better {
    if i.op != Op::Jump {
        return Better::Same;
    }
    let d = s.def(i.args[0]);
    let offset = d.imm as i64;
    if d.op == Op::PcRel && !(LAST + 1..4096).contains(&offset) {
        return Better::Inst(Inst { op: Op::Goto, args: [Val::NONE; 4], imm: d.imm, ..*i });
    }
    Better::Same
}
