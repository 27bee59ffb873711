//! Which accesses share a look into the TLB.
//!
//! Those of one base do: one value, give or take constants; a page at a known distance from the block, where compilers keep the
//! constants of floats; or, in a region, a table that a register leads to, with indices that cannot be large. For a
//! table the way must have been walked: what the register held then tells whether the table lies in one page, which is only a guess; the
//! probe of the whole table decides. The backward walk finds the groups ([`Emitter::group_ahead`]), so that the first access
//! of each knows what to probe for.

use super::alloc::{NONE, Value};
use super::asm::*;
use super::lower::Emitter;
use crate::SLOTS;
use ir::{Inst, MemOp, Op, Ty, Val};

/// How many groups can be open at once.
pub(super) const GROUPS: usize = 8;
/// Bytes that a group may span: the more, the likelier it crosses a page.
const SPAN: i64 = 512;

/// Accesses of one base: what lies ahead (backward walk), or what a probe has covered (forward walk).
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub base: u32,
    pub write: bool,
    /// Displacement of the first byte.
    pub low: i64,
    /// Displacement of the last byte.
    pub high: i64,
    /// Accesses besides the leader.
    pub followers: u32,
}

impl Group {
    pub(super) const NONE: Group = Group { base: NONE, write: false, low: 0, high: 0, followers: 0 };
    /// The access `i` alone, whose address is `offset` (and its displacement) from `base`.
    pub(super) fn of(i: &Inst, base: u32, offset: i64) -> Group {
        let (memop, low) = (MemOp::of(i.imm), offset + MemOp::disp(i.imm) as i64);
        Group { base, write: i.op == Op::Store, low, high: low + memop.bytes() as i64 - 1, followers: 0 }
    }
}

/// What a group has for its base if that is a page, of a number relative to the block's.
pub(super) const PAGE: u32 = 1 << 31;
/// From here on pages have no number.
const NEAR: u64 = 1 << 41;

/// Displacements from here on are left as they are: ranges must fit the 32 bits of a displacement, counted from whichever base.
const FAR: u32 = 1 << 20;

/// Where an access lies in relation to others.
pub(super) struct Anchor {
    /// A value or, if that is where the access lies in relation to the block, [`PAGE`] and the number of its page.
    pub base: u32,
    /// How far from it the access's own base is, at least.
    pub offset: i64,
    /// How much farther it may be: more than 0 if an index is added that cannot be larger, or one of two constants.
    pub reach: i64,
}

/// What the base of access `i` is a small constant away from; or, if `values` tell what slots hold, an index into a table
/// that lies in one page.
pub(super) fn anchor(insts: &[Inst], i: &Inst, values: Option<&[u64; SLOTS]>) -> Anchor {
    let (mut v, mut offset) = (i.args[0], 0i64);
    let disp = MemOp::disp(i.imm) as i64;
    let near = |base: u32, offset: i64| Anchor { base, offset, reach: 0 };
    if disp.unsigned_abs() >= FAR as u64 {
        return near(v.0, 0);
    }
    // The anchor without the index, once there is one, and that index's greatest value.
    let mut indexed: Option<(Anchor, i64)> = None;
    // How much farther than `offset` it may be.
    let mut spread = 0;
    loop {
        let d = &insts[v.index()];
        let constant = |c: Val| Some(&insts[c.index()]).filter(|c| c.op == Op::Const).map(|c| c.imm as i64);
        match (d.op, d.ty) {
            (Op::PcRel, _) if indexed.is_none() && spread == 0 => {
                let first = (d.imm as i64).wrapping_add(offset + disp);
                let in_page = first & 4095;
                let whole = in_page + MemOp::of(i.imm).bytes() as i64 <= 4096 && first.unsigned_abs() < NEAR;
                let page = PAGE | (first >> 12) as u32 & ((PAGE >> 1) - 1);
                return if whole { near(page, in_page - disp) } else { near(v.0, offset) };
            }
            (Op::Add, Ty::I64) => {
                if let Some(c) = constant(d.args[1]).filter(|c| c.unsigned_abs() < SPAN as u64) {
                    (v, offset) = (d.args[0], offset + c);
                    continue;
                }
                if values.is_some() && indexed.is_none() {
                    // The index may have a constant of its own.
                    let of = |v: Val| {
                        let d = &insts[v.index()];
                        let own = (d.op == Op::Add).then(|| constant(d.args[1])).flatten();
                        let own = own.filter(|c| c.unsigned_abs() < FAR as u64);
                        let (v, c) = own.map_or((v, 0), |c| (d.args[0], c));
                        most(insts, v, DEPTH).filter(|&most| most < 4096).map(|most| (most, c))
                    };
                    let [a, b, ..] = d.args;
                    if let Some((base, (reach, c))) = of(b).map(|r| (a, r)).or_else(|| of(a).map(|r| (b, r)))
                    {
                        indexed = Some((Anchor { base: v.0, offset, reach: spread }, reach));
                        (v, offset) = (base, offset + c);
                        continue;
                    }
                }
            }
            // One of two places of the same base.
            (Op::Select, Ty::I64) if indexed.is_none() => {
                let of = |v: Val| {
                    let d = &insts[v.index()];
                    let own = (d.op == Op::Add && d.ty == Ty::I64).then(|| constant(d.args[1])).flatten();
                    own.map_or((v, 0), |c| (d.args[0], c))
                };
                let ((a, b), (c, d)) = (of(d.args[1]), of(d.args[2]));
                if a == c && b.unsigned_abs() < SPAN as u64 && d.unsigned_abs() < SPAN as u64 {
                    (v, offset, spread) = (a, offset + b.min(d), spread + (b - d).abs());
                    continue;
                }
            }
            _ => {}
        }
        let near = |base: u32, offset: i64| Anchor { base, offset, reach: spread };
        let Some((without, reach)) = indexed else { return near(v.0, offset) };
        let group = Group::of(i, v.0, offset);
        let reach = reach + spread;
        let fits = one_page(insts, values, v.0, (group.low, group.high + reach));
        return if fits { Anchor { base: v.0, offset, reach } } else { without };
    }
}

/// Whether the bytes between these displacements from `base` are known to lie in one page while slots hold `values`.
fn one_page(insts: &[Inst], values: Option<&[u64; SLOTS]>, base: u32, (low, high): (i64, i64)) -> bool {
    let (Some(values), Some(d)) = (values, insts.get(base as usize)) else { return false };
    let at = |n: i64| values[d.imm as usize % SLOTS].wrapping_add(n as u64) >> 12;
    d.op == Op::Get && at(low) == at(high)
}

/// How many instructions back the greatest value of an index is looked for.
const DEPTH: u32 = 6;

/// The greatest value that `v`, which is never negative, can have, if that is easily seen.
fn most(insts: &[Inst], v: Val, depth: u32) -> Option<i64> {
    let depth = depth.checked_sub(1)?;
    let i = &insts[v.index()];
    let [a, b, ..] = i.args;
    let of = |v: Val| most(insts, v, depth);
    let constant = |v: Val| Some(&insts[v.index()]).filter(|c| c.op == Op::Const).map(|c| c.imm as i64);
    let word = |most: &i64| *most <= i32::MAX as i64;
    match i.op {
        Op::Const => Some(i.imm as i64).filter(|&c| c >= 0 && word(&c)),
        Op::And => of(b).into_iter().chain(of(a)).min(),
        Op::Zext8 => Some(0xff),
        Op::FromBool => Some(1),
        Op::Load if MemOp::of(i.imm) == MemOp::U8 => Some(0xff),
        Op::Trunc | Op::Sext32 | Op::Zext32 => of(a).filter(word),
        Op::Shl => of(a)?.checked_mul(1 << constant(b).filter(|n| (0..32).contains(n))?).filter(word),
        Op::Shr => {
            let bits = if i.ty == Ty::I32 { 32 } else { 64 };
            let n = constant(b)? & (bits - 1);
            (n >= bits - 31).then(|| (1i64 << (bits - n)) - 1)
        }
        Op::Add => (of(a)?).checked_add(of(b)?).filter(word),
        _ => None,
    }
}

impl Emitter {
    /// Backward walk: notes the access `i` and puts the group it would lead on the list.
    pub(super) fn group_ahead(&mut self, insts: &[Inst], i: &Inst) {
        let Anchor { base, offset, reach } = anchor(insts, i, self.values.as_deref());
        let mut own = Group::of(i, base, offset);
        own.high += reach;
        if reach != 0 {
            // Whoever leads looks for the page of the base itself.
            self.vals[base as usize].uses += 1;
        }
        if self.alone {
            self.ahead.push(own);
            return;
        }
        let mut slot = self.next_group;
        for (k, g) in self.groups.iter().enumerate() {
            if g.base == own.base {
                slot = k;
                let (low, high) = (g.low.min(own.low), g.high.max(own.high));
                let values = self.values.as_deref();
                if high - low < SPAN || base & PAGE != 0 || one_page(insts, values, base, (low, high)) {
                    let write = g.write || own.write;
                    self.groups[k] = Group { low, high, write, followers: g.followers + 1, ..own };
                    self.ahead.push(self.groups[k]);
                    return;
                }
            }
        }
        if slot == self.next_group {
            self.next_group = (slot + 1) % GROUPS;
        }
        self.groups[slot] = own;
        self.ahead.push(own);
    }
    /// Forgets addends.
    pub(super) fn forget_groups(&mut self) {
        for k in 0..GROUPS {
            self.forget_group(k);
        }
    }
    pub(super) fn forget_group(&mut self, k: usize) {
        let r = self.pseudo + k as u32;
        let old = std::mem::replace(self.val_mut(r), Value::NEW);
        if old.gpr != NO {
            self.content[old.gpr as usize] = NONE;
        }
        self.free_spill(old.home);
        self.groups[k] = Group::NONE;
    }
    /// The register that holds the addend of group `k`, locked; `NO` if it has none any more.
    pub(super) fn addend(&mut self, insts: &[Inst], k: usize) -> Reg {
        let r = self.pseudo + k as u32;
        let value = *self.val(r);
        if value.gpr != NO {
            self.lock(value.gpr);
        } else if value.home != 0 {
            let (t, m) = (self.temp(insts), self.home_mem(value.home));
            self.asm.ins(MOV, true, t, 0, Rm::M(m), 0);
            self.content[t as usize] = r;
            self.val_mut(r).gpr = t;
            return t;
        }
        value.gpr
    }
}
