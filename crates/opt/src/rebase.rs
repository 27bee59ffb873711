//! Addresses relative to what a register holds now.
//!
//! The builder folds `sp' = sp - 64; store [sp' + 56]` into `store [sp - 8]`, which keeps the old `sp` alive although no guest
//! register holds it any more. This turns such operands round: a displacement from the value that a slot holds.

use crate::rewrite::Scope;
use ir::{Inst, MemOp, Op, SLOTS, Val};

/// An old value, the value `old + by` that has taken its place in a slot, and that slot.
#[derive(Clone, Copy)]
struct Moved {
    old: Val,
    new: Val,
    by: i64,
    slot: u64,
}

/// What has been replaced so far in this block.
pub struct Rebase {
    /// The slots that have been read or written, and with what last.
    known: u128,
    holds: [Val; SLOTS],
    moved: Vec<Moved>,
}

impl Default for Rebase {
    fn default() -> Self {
        Rebase { known: 0, holds: [Val::NONE; SLOTS], moved: Vec::new() }
    }
}

impl Rebase {
    pub(crate) fn clear(&mut self) {
        self.known = 0;
        self.moved.clear();
    }
    /// Before `i`, whose operands lie in the new list, is placed: what to place instead.
    #[inline]
    pub(crate) fn before(&self, s: &mut Scope, i: Inst) -> Inst {
        if self.moved.is_empty() { i } else { self.rebased(s, i) }
    }
    fn rebased(&self, s: &mut Scope, mut i: Inst) -> Inst {
        let Some(m) = self.moved.iter().find(|m| m.old == i.args[0]) else { return i };
        match i.op {
            Op::Load | Op::Store => {
                let disp = MemOp::disp(i.imm) as i64 - m.by;
                if let Ok(disp) = i32::try_from(disp) {
                    i.args[0] = m.new;
                    i.imm = MemOp::of(i.imm & 0xff).with_disp(disp);
                }
            }
            Op::Add => {
                let c = i.args[1].is_some().then(|| s.constant(i.args[1])).flatten();
                if let Some(c) = c {
                    let k = s.number(i.ty, (c as i64).wrapping_sub(m.by) as u64);
                    i.args[0] = m.new;
                    i.args[1] = k;
                }
            }
            _ => {}
        }
        i
    }
    /// After `i` has been placed as `v`.
    pub(crate) fn after(&mut self, s: &Scope, i: &Inst, v: Val) {
        match i.op {
            Op::Get => _ = self.hold(i.imm, v),
            Op::Set => self.set(s, i.imm, i.args[0]),
            Op::Call => self.clear(),
            _ => {}
        }
    }
    /// A slot holds `v` now. What it held before, if that is known.
    fn hold(&mut self, slot: u64, v: Val) -> Option<Val> {
        let (n, known) = (slot as usize % SLOTS, self.known);
        self.known |= 1 << n;
        let was = std::mem::replace(&mut self.holds[n], v);
        (known >> n & 1 != 0).then_some(was)
    }
    fn set(&mut self, s: &Scope, slot: u64, v: Val) {
        let was = self.hold(slot, v);
        // Another value in the slot: what was rebased to the one before is so no more.
        let chain = self.moved.iter().find(|m| m.slot == slot).copied();
        self.moved.retain(|m| m.slot != slot);
        let d = s.def(v);
        if d.op != Op::Add || d.ty != ir::Ty::I64 {
            return;
        }
        let Some(c) = s.constant(d.args[1]) else { return };
        let base = d.args[0];
        // `base + c` replaces the base itself, or something that had replaced it.
        let (old, by) = match chain {
            Some(m) if base == m.new => (m.old, m.by.wrapping_add(c as i64)),
            Some(m) if base == m.old => (m.old, c as i64),
            _ if was == Some(base) => (base, c as i64),
            _ => return,
        };
        if i32::try_from(by).is_ok() && self.moved.len() < 8 {
            self.moved.push(Moved { old, new: v, by, slot });
        }
    }
}
