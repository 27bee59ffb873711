//! Dead code: values nobody uses, and slots that are written again before a trap, an exit or a call could show them. And values
//! of which only the low half is used, so that nobody need extend them.

use ir::{Block, Effects, HelperEffects, HelperInfo, Inst, MemOp, Op, Ty};

/// How much of a value is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing: the instruction is dead.
    Nothing,
    /// The low 32 bits, of an integer of 64.
    Low,
    /// Everything, or an effect.
    All,
}

/// The pass and its table.
#[derive(Default)]
pub struct Dead {
    needs: Vec<Need>,
    words: Vec<bool>,
}

/// How much instruction `i`, of whose result this much is needed, needs of its operand `n`.
fn of_operand(block: &Block, i: &Inst, need: Need, n: usize) -> Need {
    let other = || i.args.get(n ^ 1).filter(|v| v.is_some()).and_then(|&v| block.constant(v));
    let low = match i.op {
        Op::And if i.ty == Ty::I64 && other().is_some_and(|mask| mask >> 32 == 0) => true,
        Op::Shl if i.ty == Ty::I64 && n == 0 && other().is_some_and(|by| (32..64).contains(&by)) => true,
        Op::Select => need == Need::Low && n > 0,
        Op::Trunc | Op::Sext8 | Op::Sext16 | Op::Zext8 | Op::Zext16 => i.ty == Ty::I64,
        Op::And | Op::Or | Op::Xor | Op::Add | Op::Sub | Op::Mul => need == Need::Low,
        Op::Shl => need == Need::Low && n == 0,
        Op::Store => n == 1 && MemOp::of(i.imm & 0xff).bytes() <= 4,
        _ => false,
    };
    if low { Need::Low } else { Need::All }
}

/// Whether `i` is a word extended with its sign, given which values before it are. In a region a slot can be set to the word alone, which is extended
/// where somebody looks.
fn is_word(i: &Inst, words: &[bool]) -> bool {
    match i.op {
        Op::Sext32 => true,
        Op::Load => MemOp::of(i.imm & 0xff).bytes() < 4 || MemOp::of(i.imm & 0xff) == MemOp::S32,
        Op::And | Op::Or | Op::Xor => i.ty == Ty::I64 && i.operands().all(|v| words[v.index()]),
        Op::Select => i.ty == Ty::I64 && i.operands().skip(1).all(|v| words[v.index()]),
        Op::Const => i.ty == Ty::I64 && i.imm as i32 as u64 == i.imm,
        _ => false,
    }
}

impl Dead {
    /// Decides for every instruction of `block`, a `region` or not, whether it is needed.
    pub fn mark(&mut self, block: &Block, helpers: &dyn Fn(u16) -> HelperInfo, region: bool) {
        self.needs.clear();
        self.needs.resize(block.insts.len(), Need::Nothing);
        self.words.clear();
        if region {
            block.insts.iter().for_each(|i| self.words.push(is_word(i, &self.words)));
        }
        // Slots that are written further on, before anything can look at them.
        let mut overwritten: u128 = 0;
        for n in (0..block.insts.len()).rev() {
            let i = &block.insts[n];
            let slot = || 1u128 << (i.imm & 127);
            let used = self.needs[n] != Need::Nothing;
            let needed = match i.op.effects() {
                Effects::Pure => used,
                Effects::Reads => {
                    if used {
                        overwritten &= !slot();
                    }
                    used
                }
                Effects::Writes => {
                    let (slot, before) = (slot(), overwritten);
                    overwritten |= slot;
                    before & slot == 0
                }
                Effects::Flags => true,
                Effects::Memory => {
                    overwritten = 0;
                    true
                }
                Effects::Call => match helpers(i.imm as u16).effects {
                    HelperEffects::Pure => used,
                    HelperEffects::Hidden => true,
                    HelperEffects::Any => {
                        overwritten = 0;
                        true
                    }
                },
                Effects::Control => {
                    if !matches!(i.op, Op::Insn | Op::Fence) {
                        overwritten = 0;
                    }
                    true
                }
            };
            let need = match self.needs[n] {
                _ if !needed => continue,
                Need::Nothing => Need::All,
                need => need,
            };
            self.needs[n] = need;
            let halves = self.takes_words(i);
            for (which, v) in i.operands().enumerate() {
                let of = &mut self.needs[v.index()];
                *of = if halves { Need::Low } else { of_operand(block, i, need, which) }.max(*of);
            }
        }
    }
    /// Whether `i`, a `set` or a comparison, can do with the low halves of its operands, since they are words. (Extending keeps their order, with or without signs.)
    fn takes_words(&self, i: &Inst) -> bool {
        let may = matches!(i.op, Op::Set | Op::Eq | Op::Ne | Op::LtS | Op::LtU | Op::GeS | Op::GeU);
        may && i.ty == Ty::I64 && i.operands().all(|v| self.words.get(v.index()) == Some(&true))
    }
    /// Whether it has to.
    pub fn has_halves(&self, i: &Inst) -> bool {
        self.takes_words(i) && i.operands().any(|v| self.needs[v.index()] == Need::Low)
    }
    /// For every instruction how much of its result is needed.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }
}
