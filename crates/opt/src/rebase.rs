//! Addresses relative to what a register holds now.
//!
//! The builder folds `sp' = sp - 64; store [sp' + 56]` into `store [sp - 8]`, which keeps the old `sp` alive although no guest
//! register holds it any more. This turns such operands round: a displacement from the value that a slot holds.

use crate::rewrite::Scope;
use ir::{Inst, MemOp, Op, Val};

/// An old value, the value `old + by` that has taken its place in a slot, and that slot.
#[derive(Clone, Copy)]
struct Moved {
    old: Val,
    new: Val,
    by: i64,
    slot: u64,
}

/// What has been replaced so far in this block.
#[derive(Default)]
pub struct Rebase {
    /// What slots were last read or written with.
    holds: Vec<(u64, Val)>,
    moved: Vec<Moved>,
}

impl Rebase {
    pub(crate) fn clear(&mut self) {
        self.holds.clear();
        self.moved.clear();
    }
    fn held(&mut self, slot: u64) -> Option<&mut Val> {
        self.holds.iter_mut().find(|h| h.0 == slot).map(|h| &mut h.1)
    }
    /// Before `i`, whose operands lie in the new list, is placed.
    pub(crate) fn before(&mut self, s: &mut Scope, i: &mut Inst) {
        if self.moved.is_empty() {
            return;
        }
        let Some(m) = self.moved.iter().find(|m| m.old == i.args[0]).copied() else { return };
        match i.op {
            Op::Load | Op::Store => {
                let disp = MemOp::disp(i.imm) as i64 - m.by;
                if let Ok(disp) = i32::try_from(disp) {
                    i.args[0] = m.new;
                    i.imm = MemOp::of(i.imm & 0xff).with_disp(disp);
                }
            }
            Op::Add => {
                let Some(c) = i.args[1].is_some().then(|| s.constant(i.args[1])).flatten() else { return };
                let k = s.number(i.ty, (c as i64).wrapping_sub(m.by) as u64);
                i.args[0] = m.new;
                i.args[1] = k;
            }
            _ => {}
        }
    }
    /// After `i` has been placed as `v`.
    pub(crate) fn after(&mut self, s: &Scope, i: &Inst, v: Val) {
        match i.op {
            Op::Get => self.hold(i.imm, v),
            Op::Set => self.set(s, i.imm, i.args[0]),
            Op::Call => self.clear(),
            _ => {}
        }
    }
    fn hold(&mut self, slot: u64, v: Val) {
        match self.held(slot) {
            Some(h) => *h = v,
            None => self.holds.push((slot, v)),
        }
    }
    fn set(&mut self, s: &Scope, slot: u64, v: Val) {
        let was = self.held(slot).copied();
        self.hold(slot, v);
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
