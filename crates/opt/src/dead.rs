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
}

/// How much instruction `i`, of whose result this much is needed, needs of its operand `n`.
fn of_operand(i: &Inst, need: Need, n: usize) -> Need {
    let low = match i.op {
        Op::Trunc | Op::Sext8 | Op::Sext16 | Op::Zext8 | Op::Zext16 => i.ty == Ty::I64,
        Op::And | Op::Or | Op::Xor | Op::Add | Op::Sub | Op::Mul => need == Need::Low,
        Op::Shl => need == Need::Low && n == 0,
        Op::Store => n == 1 && MemOp::of(i.imm & 0xff).bytes() <= 4,
        _ => false,
    };
    if low { Need::Low } else { Need::All }
}

impl Dead {
    /// Decides for every instruction of `block` whether it is needed.
    pub fn mark(&mut self, block: &Block, helpers: &dyn Fn(u16) -> HelperInfo) {
        self.needs.clear();
        self.needs.resize(block.insts.len(), Need::Nothing);
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
            for (which, v) in i.operands().enumerate() {
                let of = &mut self.needs[v.index()];
                *of = of_operand(i, need, which).max(*of);
            }
        }
    }
    /// For every instruction how much of its result is needed.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }
}
