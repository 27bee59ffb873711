//! The forward walk: copies live instructions into a new list, letting each rule replace what it knows better.

use crate::dead::{Dead, Need};
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

/// One rule.
pub struct Rule {
    /// The operations that it has something to say about.
    pub of: &'static [Op],
    /// Looks at such an instruction, whose operands lie in the new list.
    pub better: fn(&mut Scope, &Inst) -> Better,
}

/// The rules in the order in which they are asked.
pub const RULES: &[Rule] = &[
    crate::algebra::RULE,
    crate::extend::RULE,
    crate::boolean::RULE,
    crate::boxing::RULE,
    crate::target::RULE,
    crate::rotate::RULE,
];

/// For each operation those of [`RULES`] that are asked, one bit each. Most instructions are of interest to none.
static ASKED: [u8; Op::ALL.len()] = {
    let mut asked = [0; Op::ALL.len()];
    let mut rule = 0;
    while rule < RULES.len() {
        let mut n = 0;
        while n < RULES[rule].of.len() {
            asked[RULES[rule].of[n] as usize] |= 1 << rule;
            n += 1;
        }
        rule += 1;
    }
    asked
};

/// The new list, as far as it has come.
pub struct Scope {
    insts: Vec<Inst>,
    /// Where the low half of a value was taken last, and where a value was extended last, by the value's number. (Left from an
    /// earlier block or not: if the instruction there is the one looked for, so is its value.)
    halves: [Val; REMEMBERED],
    extended: [Val; REMEMBERED],
}

/// How far back what is known of a value may come from.
const DEPTH: u32 = 4;

/// Values whose halves and extensions are remembered.
const REMEMBERED: usize = 32;

impl Default for Scope {
    fn default() -> Self {
        let none = [Val::NONE; REMEMBERED];
        Scope { insts: Vec::new(), halves: none, extended: none }
    }
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
    /// What is known of `v`. Few rules ask, so it is found when they do, from a few instructions back.
    pub fn facts(&self, v: Val) -> Facts {
        self.facts_from(v, DEPTH)
    }
    fn facts_from(&self, v: Val, depth: u32) -> Facts {
        match depth.checked_sub(1) {
            Some(less) => facts(self.def(v), |v| self.facts_from(v, less), |v| self.constant(v)),
            None => Facts::NONE,
        }
    }
    /// Appends an instruction.
    pub fn push(&mut self, i: Inst) -> Val {
        self.insts.push(i);
        Val(self.insts.len() as u32 - 1)
    }
    /// Appends an instruction unless it takes the low half, or the extension with its sign, of what that has been taken of already.
    fn push_once(&mut self, i: Inst) -> Val {
        let n = i.args[0].index() % REMEMBERED;
        let remembered = match i.op {
            Op::Trunc => self.halves[n],
            Op::Sext32 => self.extended[n],
            _ => return self.push(i),
        };
        if self.insts.get(remembered.index()) == Some(&i) {
            return remembered;
        }
        let v = self.push(i);
        match i.op {
            Op::Trunc => self.halves[n] = v,
            _ => self.extended[n] = v,
        }
        v
    }
    /// What to use for `v`: if it has been extended, the low half of that, so that only one of the two has to be kept.
    fn shortened(&mut self, v: Val) -> Val {
        let to = self.extended[v.index() % REMEMBERED];
        match self.insts.get(to.index()) {
            Some(e) if e.op == Op::Sext32 && e.args[0] == v => {
                self.push_once(inst(Op::Trunc, Ty::I64, to, Val::NONE))
            }
            _ => v,
        }
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
    /// Rewrites `block`, of which `dead` knows what is needed.
    pub fn run(&mut self, block: &mut Block, dead: &Dead) {
        self.scope.insts.clear();
        self.map.clear();
        self.rebase.clear();
        for (i, &need) in block.insts.iter().zip(dead.needs()) {
            if need == Need::Nothing {
                self.map.push(Val::NONE);
                continue;
            }
            let placed = |v: Val| if v.is_some() { self.map[v.index()] } else { v };
            let halves = dead.has_halves(i);
            let mut i = Inst { args: i.args.map(placed), ..*i };
            if i.ty == Ty::I32 && !matches!(i.op, Op::Sext32 | Op::Zext32) {
                i.args = i.args.map(|v| if v.is_some() { self.scope.shortened(v) } else { v });
            }
            if need == Need::Low && matches!(i.op, Op::Sext32 | Op::Zext32) {
                let half = self.scope.def(i.args[0]);
                if half.op == Op::Trunc {
                    self.map.push(half.args[0]);
                    continue;
                }
                // The host leaves zeros in the upper half anyway.
                i.op = Op::Zext32;
            }
            if halves {
                i = self.halved(i);
            }
            let i = self.rebase.before(&mut self.scope, i);
            let v = if ASKED[i.op as usize] == 0 { self.scope.push(i) } else { self.improve(i) };
            self.rebase.after(&self.scope, &i, v);
            self.map.push(v);
        }
        std::mem::swap(&mut block.insts, &mut self.scope.insts);
    }
    /// The `set` of a value, or a comparison of values, that may not have been extended: of their low halves.
    fn halved(&mut self, i: Inst) -> Inst {
        if i.operands().all(|v| self.scope.facts(v).sign > 32) {
            return i;
        }
        let low = |v: Val| if v.is_some() { self.improve(inst(Op::Trunc, Ty::I64, v, Val::NONE)) } else { v };
        Inst { ty: Ty::I32, args: i.args.map(low), ..i }
    }
    /// Puts what the rules make of `i` in the new list.
    fn improve(&mut self, mut i: Inst) -> Val {
        // A rule's result is offered to the rules again, a few times at most.
        'again: for _ in 0..4 {
            let mut asked = ASKED[i.op as usize];
            while asked != 0 {
                let rule = &RULES[asked.trailing_zeros() as usize];
                asked &= asked - 1;
                match (rule.better)(&mut self.scope, &i) {
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
        self.scope.push_once(i)
    }
}
