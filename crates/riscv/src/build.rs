//! The translator's front end: values are names in a block.

use crate::config::Config;
use crate::float::{self, File, Function};
use crate::helpers::{self, HELPERS};
use crate::machine::softfloat_width::Width;
use crate::machine::{Machine, Meaning, Place};
use crate::mode::{FloatState, Mode};
use crate::slot::F0;
use cpu::{Built, Fetch, Stop};
use ir::builder::{K32, K64, KBool, KF32, KF64};
use ir::{Builder, Int32, Int64, MemOp, Op, Ty, V};
use std::cell::Cell;

/// Slots below the first of the floats hold the integer registers.
const REGISTERS: u16 = F0;

/// Size of a page: no block reaches beyond one.
const PAGE: usize = 4096;

/// One instruction being built.
pub struct Build<'a> {
    b: &'a Builder,
    place: Place,
    /// The instruction's offset from the page base.
    offset: i64,
    edge: &'a Edge,
    /// Where the path to follow goes on.
    follow: Option<i64>,
    /// Where the block goes on.
    next: &'a Cell<i64>,
    /// Where what the instruction calls will return to.
    returns: Cell<Option<V<'a, K64>>>,
    /// See [`Fetch::skips`].
    skips: &'a [u16],
    /// Where instructions that may be skipped end.
    skip: &'a Cell<Option<i64>>,
    /// The block may go on at what lies before this offset.
    bound: Option<i64>,
    /// See [`Fetch::goes_on`].
    goes_on: &'a dyn Fn(u16) -> bool,
}

/// The last two bytes of the page: a direct jump may not lead to an instruction that crosses into the next page,
/// which may be another one each time.
struct Edge {
    crosses: bool,
    asked: Cell<bool>,
}

/// Offset of the last half-word of a page.
const LAST: i64 = PAGE as i64 - 2;

/// Builds a block; see [`cpu::Guest::build`].
pub fn build(mode: u32, config: &Config, fetch: &Fetch<'_>, b: &Builder) -> Built {
    let start = fetch.offset as usize;
    let mut at = start;
    let mut insns = 0;
    // A page, or two that the path goes through.
    let size = fetch.page.len();
    let mut expected = false;
    let half = |at: usize| -> Option<u32> {
        let bytes = match fetch.next {
            Some(ref next) if at >= size && start < size => next.get(at - size..at - size + 2)?,
            _ => fetch.page.get(at..at + 2)?,
        };
        Some(u16::from_le_bytes([bytes[0], bytes[1]]) as u32)
    };
    let edge = Edge { crosses: half(PAGE - 2).is_some_and(|h| h & 3 == 3), asked: Cell::new(false) };
    let limit = match fetch.path.len() as u32 {
        0 => fetch.limit,
        n => fetch.limit.min(n - 1),
    };
    let (next, skip) = (Cell::new(0), Cell::new(None));
    let refused = Built { insns: 0, from: start as u16, bytes: 0, length: 0 };
    let (mut from, mut end) = (start, start);
    // A block that chooses its way goes past some of the bytes that it may look at.
    let bound = fetch.path.is_empty().then_some(start + 4 * fetch.limit as usize);
    let mut bytes = 0;
    while (insns < limit || skip.get().is_some())
        && at < size
        && bound.is_none_or(|end| at + 4 <= end)
        && !b.is_done()
    {
        if skip.get() == Some(at as i64) {
            skip.set(None);
            if !b.skip_end(REGISTERS) {
                return refused;
            }
            if insns == limit {
                break;
            }
        }
        let Some(first) = half(at) else { break };
        let word = match first & 3 {
            3 if at + 2 >= size && insns > 0 => break,
            3 => match half(at + 2) {
                Some(second) => first | second << 16,
                None => break,
            },
            _ => first,
        };
        let row = config.decoder().decode(word);
        let length = if word & 3 == 3 { 4 } else { 2 };
        let place = Place { word, length, mode: Mode(mode), isa: config.isa() };
        let skipped = skip.get().is_some();
        let follow = fetch.path.get(insns as usize + 1).filter(|_| !skipped).map(|&o| o.into());
        next.set(at as i64 + length);
        let (returns, goes_on, skips) = (Cell::new(None), fetch.goes_on, fetch.skips);
        let (next, skip, edge) = (&next, &skip, &edge);
        let bound = bound.map(|end| end.min(LAST as usize) as i64);
        let m =
            Build { b, place, offset: at as i64, edge, follow, next, returns, skips, skip, bound, goes_on };
        if at + length as usize > PAGE && size > PAGE && !std::mem::replace(&mut expected, true) {
            if insns == 0 || skipped {
                return refused;
            }
            b.expect(m.offset);
        }
        b.insn(m.offset);
        // Building stops at nothing: the builder's functions never return a reason to stop.
        let _ = match row {
            Some(row) => (row.build)(&m, word),
            None => m.illegal(),
        };
        (from, end) = (from.min(at), end.max(at + length as usize));
        bytes += length as u32;
        at = next.get() as usize;
        if skipped {
            continue;
        }
        insns += 1;
        if skip.get().is_some() {
            continue;
        }
        if follow.is_some_and(|f| f != next.get()) {
            break;
        }
    }
    if skip.get().is_some() {
        return refused;
    }
    if insns > 0 && !b.is_done() {
        go(b, &edge, at as i64);
    }
    // What was looked at: also the last half-word, if a jump to it was built or an instruction there refused.
    let seen = if edge.asked.get() || insns == 0 { end.max(PAGE) } else { end };
    Built { insns, from: from as u16, bytes: (seen - from.min(seen)) as u32, length: bytes }
}

/// Whether a direct jump to `offset` is not allowed.
fn crosses(edge: &Edge, offset: i64) -> bool {
    if offset == LAST {
        edge.asked.set(true);
    }
    offset == LAST && edge.crosses
}
/// Goes on at `offset` from the page base.
fn go(b: &Builder, edge: &Edge, offset: i64) {
    if b.is_done() {
        return;
    }
    if crosses(edge, offset) { b.jump(b.pc_rel(offset), 0) } else { b.goto(offset) }
}

impl<'a> Build<'a> {
    /// Before a jump: whether it is a call. A region that follows it may be left before it returns, so that is noted, too.
    fn will_return(&self) -> bool {
        let next = self.returns.take();
        if let Some(next) = next {
            self.b.will_return(next, self.offset + self.place.length);
        }
        next.is_some()
    }
    fn nearest_even(&self, rm: u8) -> bool {
        rm == 0 || rm == 7 && self.place.mode.nearest_even()
    }
    fn single(&self, r: u8) -> V<'a, KF32> {
        let v = self.b.fget(F0 + (r as u16 & 31));
        self.b.convert(Op::FUnbox, Ty::F64, v)
    }
    fn double(&self, r: u8) -> V<'a, KF64> {
        self.b.fget(F0 + (r as u16 & 31))
    }
    fn put_single(&self, r: u8, v: V<'a, KF32>) {
        self.put_double(r, self.b.convert(Op::FBox, Ty::F32, v));
    }
    fn put_double(&self, r: u8, v: V<'a, KF64>) {
        self.b.fset(F0 + (r as u16 & 31), v);
    }
    /// Whether a block that chooses its way goes on at `target`, which must lie ahead.
    fn goes_on_at(&self, target: i64) -> bool {
        let is_ahead = target > self.offset + self.place.length && self.bound.is_some_and(|end| target < end);
        is_ahead && (self.goes_on)(target as u16)
    }
    /// Operations that the language has itself; false if it has not this one.
    fn native(&self, f: Function, w: Width, rm: u8, rd: u8, rs: [u8; 3]) -> bool {
        use Function::*;
        if w == Width::H {
            return false;
        }
        let (b, near) = (self.b, self.nearest_even(rm));
        let arithmetic = match f {
            Add => Op::FAdd,
            Sub => Op::FSub,
            Mul => Op::FMul,
            Div => Op::FDiv,
            Sqrt => Op::FSqrt,
            Madd | Msub | Nmsub | Nmadd => Op::FMa,
            Eq => Op::FEq,
            Lt => Op::FLt,
            Le => Op::FLe,
            ToI32 if rm == 1 => Op::FToI32,
            ToI64 if rm == 1 => Op::FToI64,
            ToU32 if rm == 1 => Op::FToU32,
            ToU64 if rm == 1 => Op::FToU64,
            ToI32 if near => Op::FNearI32,
            ToI64 if near => Op::FNearI64,
            ToI64 if rm == 2 => Op::FDownI64,
            ToI64 if rm == 3 => Op::FUpI64,
            Min => Op::FMin,
            Max => Op::FMax,
            FromI32 if near => Op::FFromI32,
            // An unsigned word is a signed doubleword.
            FromI64 | FromU32 | FromI32 => match rm {
                _ if near => Op::FFromI64,
                1 => Op::FFromI64Zero,
                2 => Op::FFromI64Down,
                3 => Op::FFromI64Up,
                _ => return false,
            },
            FromU64 if near => Op::FFromU64,
            Convert => {
                match w {
                    Width::S if near => {
                        self.put_single(rd, b.convert(Op::FNarrow, Ty::F64, self.double(rs[0])))
                    }
                    Width::D if near => {
                        self.put_double(rd, b.convert(Op::FWiden, Ty::F32, self.single(rs[0])))
                    }
                    _ => return false,
                }
                return true;
            }
            _ => return false,
        };
        let ty = if w == Width::S { Ty::F32 } else { Ty::F64 };
        match f {
            ToI32 | ToI64 | ToU32 | ToU64 => {
                let v = match (f, w) {
                    (ToI32 | ToU32, Width::S) => b.convert::<_, K32>(arithmetic, ty, self.single(rs[0])).sx(),
                    (ToI32 | ToU32, _) => b.convert::<_, K32>(arithmetic, ty, self.double(rs[0])).sx(),
                    (_, Width::S) => b.convert(arithmetic, ty, self.single(rs[0])),
                    _ => b.convert(arithmetic, ty, self.double(rs[0])),
                };
                self.set(rd, v);
            }
            Eq | Lt | Le => {
                let c = match w {
                    Width::S => b.fcmp(arithmetic, self.single(rs[0]), self.single(rs[1])),
                    _ => b.fcmp(arithmetic, self.double(rs[0]), self.double(rs[1])),
                };
                self.set(rd, self.truth(c));
            }
            FromI32 | FromU32 | FromI64 | FromU64 => {
                let x = match f {
                    FromU32 => self.x(rs[0]).lo().zx(),
                    FromI32 => self.x(rs[0]).lo().sx(),
                    _ => self.x(rs[0]),
                };
                match (arithmetic, w) {
                    (Op::FFromI32, Width::S) => self.put_single(rd, b.convert(arithmetic, ty, x.lo())),
                    (Op::FFromI32, _) => self.put_double(rd, b.convert(arithmetic, ty, x.lo())),
                    (_, Width::S) => self.put_single(rd, b.convert(arithmetic, ty, x)),
                    _ => self.put_double(rd, b.convert(arithmetic, ty, x)),
                }
            }
            _ if !near && !matches!(f, Min | Max) => return false,
            _ => {
                let (product, sum) = (matches!(f, Nmsub | Nmadd), matches!(f, Msub | Nmadd));
                let n = f.sources();
                match w {
                    Width::S => {
                        let mut a = [self.single(rs[0]); 3];
                        for k in 1..n {
                            a[k] = self.single(rs[k]);
                        }
                        if product {
                            a[0] = b.fop(Op::FNeg, &a[..1]);
                        }
                        if sum {
                            a[2] = b.fop(Op::FNeg, &a[2..]);
                        }
                        self.put_single(rd, b.fop(arithmetic, &a[..n]));
                    }
                    _ => {
                        let mut a = [self.double(rs[0]); 3];
                        for k in 1..n {
                            a[k] = self.double(rs[k]);
                        }
                        if product {
                            a[0] = b.fop(Op::FNeg, &a[..1]);
                        }
                        if sum {
                            a[2] = b.fop(Op::FNeg, &a[2..]);
                        }
                        self.put_double(rd, b.fop(arithmetic, &a[..n]));
                    }
                }
            }
        }
        true
    }
}

impl<'a> Machine for Build<'a> {
    type B = V<'a, KBool>;
    type W = V<'a, K32>;
    type V = V<'a, K64>;

    fn place(&self) -> &Place {
        &self.place
    }
    fn k(&self, c: u64) -> V<'a, K64> {
        self.b.k(c)
    }
    fn known(&self, v: V<'a, K64>) -> Option<u64> {
        self.b.known(v)
    }
    fn get(&self, slot: u16) -> V<'a, K64> {
        self.b.get(slot)
    }
    fn get_now(&self, slot: u16) -> V<'a, K64> {
        self.b.get_now(slot)
    }
    fn put(&self, slot: u16, v: V<'a, K64>) {
        self.b.set(slot, v)
    }
    fn copy_f(&self, to: u8, from: u8) {
        let v = self.double(from);
        self.put_double(to, v);
    }
    fn set_single(&self, r: u8, v: V<'a, K64>) {
        self.put_single(r, self.b.convert(Op::FFromBits, Ty::F32, v.lo()));
    }
    fn change_sign(&self, w: Width, rd: u8, rs: u8, clear: bool) {
        let op = if clear { Op::FAbs } else { Op::FNeg };
        match w {
            Width::S => self.put_single(rd, self.b.fop(op, &[self.single(rs)])),
            Width::D => self.put_double(rd, self.b.fop(op, &[self.double(rs)])),
            Width::H => crate::isa::fd::change_sign(self, w, rd, rs, clear),
        }
    }
    fn copy_sign(&self, w: Width, rd: u8, rs: [u8; 2], negate: bool) {
        match w {
            Width::S => {
                let (a, b) = (self.single(rs[0]), self.single(rs[1]));
                let b = if negate { self.b.fop(Op::FNeg, &[b]) } else { b };
                self.put_single(rd, self.b.fop(Op::FCopySign, &[a, b]));
            }
            Width::D => {
                let (a, b) = (self.double(rs[0]), self.double(rs[1]));
                let b = if negate { self.b.fop(Op::FNeg, &[b]) } else { b };
                self.put_double(rd, self.b.fop(Op::FCopySign, &[a, b]));
            }
            Width::H => crate::isa::fd::copy_sign(self, w, rd, rs, negate),
        }
    }
    fn pc_plus(&self, offset: i64) -> V<'a, K64> {
        self.b.pc_rel(self.offset.wrapping_add(offset))
    }
    fn load(&self, a: V<'a, K64>, op: MemOp) -> Result<V<'a, K64>, Stop> {
        Ok(self.b.load(a, op))
    }
    fn store(&self, a: V<'a, K64>, v: V<'a, K64>, op: MemOp) -> Meaning {
        self.b.store(a, v, op);
        Ok(())
    }
    fn amo(&self, kind: u8, a: V<'a, K64>, v: V<'a, K64>, op: MemOp) -> Result<V<'a, K64>, Stop> {
        Ok(self.b.amo(kind, a, v, op))
    }
    fn cas(&self, a: V<'a, K64>, old: V<'a, K64>, new: V<'a, K64>, op: MemOp) -> Result<V<'a, K64>, Stop> {
        Ok(self.b.cas(a, old, new, op))
    }
    fn store_conditional(
        &self,
        when: V<'a, KBool>,
        a: V<'a, K64>,
        old: V<'a, K64>,
        new: V<'a, K64>,
        op: MemOp,
    ) -> Result<V<'a, K64>, Stop> {
        Ok(self.b.store_cond(when, a, old, new, op))
    }
    fn fence(&self) {
        self.b.fence()
    }
    fn branch(&self, c: V<'a, KBool>, offset: i64) {
        // A branch ends the block, unless there is a path to follow, or it leads forward and what comes behind it, or else its
        // target, will be wanted.
        let (target, next) = (self.offset + offset, self.offset + self.place.length);
        if self.follow == Some(target)
            && self.skips.binary_search(&(self.offset as u16)).is_ok()
            && target > next
        {
            self.b.skip_if(c);
            self.skip.set(Some(target));
            return;
        }
        if self.follow == Some(next) && !crosses(self.edge, target) {
            self.b.exit_if(c, target);
        } else if self.follow == Some(target) && !crosses(self.edge, next) {
            self.b.exit_if(!c, next);
            self.next.set(target);
        } else if crosses(self.edge, target) {
            self.b.exit_if(!c, next);
            go(self.b, self.edge, target);
        } else {
            // To a verifier, a branch to the next instruction looks as if it had not been taken.
            if target > next && (self.goes_on)(next as u16) {
                self.b.exit_if(c, target);
            } else if !crosses(self.edge, next) && self.goes_on_at(target) {
                self.b.exit_if(!c, next);
                self.next.set(target);
            } else {
                self.b.exit_if(c, target);
                go(self.b, self.edge, next);
            }
        }
    }
    fn done_if(&self, c: V<'a, KBool>) -> bool {
        let next = self.offset + self.place.length;
        if !crosses(self.edge, next) {
            self.b.exit_if(c, next);
        }
        false
    }
    fn goto(&self, offset: i64) {
        let target = self.offset + offset;
        let calls = self.will_return();
        if self.follow == Some(target) || !calls && self.goes_on_at(target) {
            self.next.set(target);
        } else {
            go(self.b, self.edge, target)
        }
    }
    fn returns_here(&self, next: V<'a, K64>) {
        self.returns.set(Some(next));
    }
    fn jump(&self, a: V<'a, K64>, hint: u64) {
        self.will_return();
        match self.b.page_offset(a) {
            Some(target) if self.follow == Some(target) => self.next.set(target),
            _ => self.b.jump(a, hint),
        }
    }
    fn call(&self, id: u16, args: &[V<'a, K64>]) -> Result<V<'a, K64>, Stop> {
        Ok(self.b.call(id, &HELPERS[id as usize].info, args))
    }
    fn leave(&self, look: bool) {
        self.b.leave(look)
    }
    fn accrued(&self) -> V<'a, K64> {
        self.b.accrued()
    }
    fn forget_accrued(&self, kept: V<'a, K64>) {
        self.b.forget(kept)
    }
    fn float_state(&self, write: bool) -> Result<bool, Stop> {
        match self.place.mode.float() {
            FloatState::Off => {
                self.illegal()?;
                Ok(false)
            }
            FloatState::Clean if write => {
                // The instruction runs again in the mode in which the state is dirty already; the pc is still its own.
                self.call(helpers::FLOAT_DIRTY, &[])?;
                self.b.leave(false);
                Ok(false)
            }
            _ => Ok(true),
        }
    }
    fn float(&self, f: Function, w: Width, rm: u8, rd: u8, rs: [u8; 3]) -> Meaning {
        if !self.float_state(true)? {
            return Ok(());
        }
        if rm == 5 || rm == 6 {
            return self.illegal();
        }
        if self.native(f, w, rm, rd, rs) {
            return Ok(());
        }
        let operand = |n: usize| match f.from() {
            _ if n >= f.sources() => self.b.k(0),
            File::X => self.x(rs[n]),
            File::F => self.f(rs[n]),
        };
        let (a, b, c) = (operand(0), operand(1), operand(2));
        // The dynamic mode is known if it is to nearest; else frm decides, and may be illegal.
        let r = if rm == 7 && !self.place.mode.nearest_even() {
            let op = float::pack(f, w, 0) | (self.place.word as u64) << 32;
            self.call(helpers::FLOAT_DYNAMIC, &[self.b.k(op), a, b, c])?
        } else {
            let op = float::pack(f, w, if rm == 7 { 0 } else { rm });
            self.call(helpers::FLOAT, &[self.b.k(op), a, b, c])?
        };
        match f.to() {
            File::X => self.set(rd, r),
            File::F => self.set_f(rd, r),
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "build_test.rs"]
mod test;
