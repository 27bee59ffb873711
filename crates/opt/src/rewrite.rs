//! The forward walk: copies live instructions into a new list, letting each rule replace what it knows better.

use crate::facts::{Facts, facts};
use crate::rebase::Rebase;
use ir::{Block, Inst, Op, Ty, Val};

/// What a rule gives for an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Nothing better.
    Same,
    /// An earlier value.
    Value(Val),
    /// Another instruction.
    Inst(Inst),
}

/// One rule: looks at an instruction whose operands lie in the new list.
pub type Rule = fn(&mut Scope, &Inst) -> Better;

/// The rules in the order in which they are asked.
pub const RULES: &[Rule] = &[
    crate::algebra::rule,
    crate::extend::rule,
    crate::boolean::rule,
    crate::boxing::rule,
    crate::target::rule,
    crate::rotate::rule,
];

/// The new list, as far as it has come.
#[derive(Default)]
pub struct Scope {
    insts: Vec<Inst>,
    facts: Vec<Facts>,
}

impl Scope {
    /// The instruction that defines `v`.
    pub fn def(&self, v: Val) -> &Inst {
        &self.insts[v.index()]
    }
    /// The constant that `v` is, if it is one.
    pub fn constant(&self, v: Val) -> Option<u64> {
        let i = self.def(v);
        (i.op == Op::Const).then_some(i.imm)
    }
    /// What is known of `v`.
    pub fn facts(&self, v: Val) -> Facts {
        self.facts[v.index()]
    }
    /// Appends an instruction.
    pub fn push(&mut self, i: Inst) -> Val {
        let f = facts(&i, |v| self.facts(v), |v| self.constant(v));
        self.insts.push(i);
        self.facts.push(f);
        Val(self.insts.len() as u32 - 1)
    }
    /// Appends a constant.
    pub fn number(&mut self, ty: Ty, c: u64) -> Val {
        self.push(Inst { op: Op::Const, ty, args: [Val::NONE; 4], imm: c })
    }
}

/// An instruction of one or two operands.
pub fn inst(op: Op, ty: Ty, a: Val, b: Val) -> Inst {
    Inst { op, ty, args: [a, b, Val::NONE, Val::NONE], imm: 0 }
}

/// The walk and its tables.
#[derive(Default)]
pub struct Rewriter {
    scope: Scope,
    map: Vec<Val>,
    rebase: Rebase,
}

impl Rewriter {
    /// Rewrites `block`, leaving out what is not `live`.
    pub fn run(&mut self, block: &mut Block, live: &[bool], rules: &[Rule]) {
        self.scope.insts.clear();
        self.scope.facts.clear();
        self.map.clear();
        self.rebase.clear();
        for (i, &live) in block.insts.iter().zip(live) {
            if !live {
                self.map.push(Val::NONE);
                continue;
            }
            let mut i = *i;
            for v in &mut i.args {
                if !v.is_some() {
                    break;
                }
                *v = self.map[v.index()];
            }
            self.rebase.before(&mut self.scope, &mut i);
            let v = self.place(i, rules);
            self.rebase.after(&self.scope, &i, v);
            self.map.push(v);
        }
        std::mem::swap(&mut block.insts, &mut self.scope.insts);
    }
    /// Puts `i`, or what the rules make of it, in the new list.
    fn place(&mut self, mut i: Inst, rules: &[Rule]) -> Val {
        // A rule's result is offered to the rules again, a few times at most.
        'again: for _ in 0..4 {
            if !i.args[0].is_some() || matches!(i.op, Op::Set | Op::Load | Op::Store | Op::Call) {
                break;
            }
            for rule in rules {
                match rule(&mut self.scope, &i) {
                    Better::Same => {}
                    Better::Value(v) => return v,
                    Better::Inst(other) => {
                        i = other;
                        continue 'again;
                    }
                }
            }
            break;
        }
        self.scope.push(i)
    }
}
