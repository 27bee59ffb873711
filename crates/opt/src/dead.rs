//! Dead code: values nobody uses, and slots that are written again before a trap, an exit or a call could show them.

use ir::{Block, Effects, HelperEffects, HelperInfo, Op};

/// The pass and its table.
#[derive(Default)]
pub struct Dead {
    live: Vec<bool>,
}

impl Dead {
    /// Decides for every instruction of `block` whether it is needed.
    pub fn mark(&mut self, block: &Block, helpers: &dyn Fn(u16) -> HelperInfo) {
        self.live.clear();
        self.live.resize(block.insts.len(), false);
        // Slots that are written further on, before anything can look at them.
        let mut overwritten: u128 = 0;
        for n in (0..block.insts.len()).rev() {
            let i = &block.insts[n];
            let slot = 1u128 << (i.imm & 127);
            let used = self.live[n];
            let needed = match i.op.effects() {
                Effects::Pure => used,
                Effects::Reads => {
                    if used {
                        overwritten &= !slot;
                    }
                    used
                }
                Effects::Writes => {
                    let seen = overwritten & slot == 0;
                    overwritten |= slot;
                    seen
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
            self.live[n] = needed;
            if needed {
                for v in i.args {
                    if !v.is_some() {
                        break;
                    }
                    self.live[v.index()] = true;
                }
            }
        }
    }
    /// For every instruction whether it is needed.
    pub fn live(&self) -> &[bool] {
        &self.live
    }
}
