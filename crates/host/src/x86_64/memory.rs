//! Guest loads and stores: the soft TLB inline, the slow path behind the block.
//!
//! The probe computes the address of the TLB entry from the page number, and compares the entry's tag with the page
//! of the *last* byte of the access: an access that crosses a page lies in the entry of its first byte, whose tag
//! cannot equal the next page.
//!
//! Accesses of one base (one value, give or take constants) are coalesced: the first of them (the leader) probes for the whole
//! range that they cover, for writing if one of them writes, and leaves the addend in a temporary for the others
//! (followers): those that come in a row with it need nothing (`series.rs`), others only see that it is not zero. It is zero
//! after a miss; then each access takes its slow path, which looks into the TLB itself. A call forgets addends, since
//! it may change the mapping; no other instruction of a block does.

use super::WORD_IMM;
use super::alloc::NONE;
use super::asm::reg::*;
use super::asm::*;
use super::float::Fused;
use super::lower::Emitter;
use super::nan::Mends;
use super::series::{Member, Moved};
use crate::{Point, SLOTS};
use ir::{Inst, MemOp, Op, Ty, Val};

/// Code that is emitted behind the block. `from` is the displacement of the jump that leads to it, `back` where it
/// returns to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cold {
    /// A load that missed.
    Load {
        from: u32,
        back: u32,
        base: Reg,
        disp: i32,
        dest: Loaded,
        memop: MemOp,
        mends: Mends,
        insn: i64,
        host: Host,
    },
    /// A store that missed.
    Store {
        from: u32,
        back: u32,
        base: Reg,
        disp: i32,
        value: Stored,
        memop: MemOp,
        mends: Mends,
        insn: i64,
        host: Host,
    },
    /// An access of a region missed, that of the instruction at `target`.
    Fill {
        /// Where it goes on with the addend in `r`, if that is to be had.
        back: u32,
        from: u32,
        base: Reg,
        /// The first and the last byte that the addend is for.
        range: (i32, i32),
        r: Reg,
        /// Which of [`Stubs::fill`].
        need: usize,
        /// The site whose page it was not in.
        site: Option<u32>,
        /// The displacement of another jump, which leaves in any case.
        out: Option<u32>,
        target: i64,
        mends: Mends,
    },
    /// The leader of series number `index` missed.
    Series { index: u32 },
    /// An atomic whose operands are in scratch words or, as far as they are `late`, in registers. Two jumps may lead here.
    Atomic { from: [u32; 2], back: u32, stub: u64, dest: Reg, imm: u64, insn: i64, late: [Reg; 3] },
    /// A store-conditional whose condition is false.
    NotStored { from: u32, back: u32, dest: Reg },
    /// Division by zero.
    DivideZero { from: u32, back: u32, wide: bool, remainder: bool },
    /// Division by -1.
    DivideMinusOne { from: u32, back: u32, wide: bool, remainder: bool },
    /// A float result that is a NaN gets the canonical pattern.
    Canonical { from: u32, back: u32, dest: Reg, double: bool },
    /// Results are NaNs.
    Mend { from: u32, back: u32, mends: Mends },
    /// A fused multiply-add whose result is a NaN: done again in software for its flags.
    FusedNan { from: u32, back: u32, dest: Reg, operands: Fused },
    /// The operands of a minimum or maximum are equal, or one is a NaN; the flags say which.
    SameOrNan { from: u32, back: u32, dest: Reg, operands: [Reg; 2], op: Op, ty: Ty },
    /// An integer that has to be rounded.
    SoftFromInt { from: u32, back: u32, dest: Reg, source: Reg, op: Op, ty: Ty },
    /// A float that is no unsigned integer.
    SoftToInt { from: u32, back: u32, dest: Reg, source: Reg, op: Op, ty: Ty },
    /// A conversion to integer that gave the indefinite value.
    Saturate { from: u32, back: u32, dest: Reg, source: Reg, wide: bool, double: bool },
    /// MXCSR is to have no flags.
    Forget { from: u32, back: u32 },
    /// MXCSR is asked for its flags.
    Accrued { from: u32, back: u32, r: Reg, table: Reg },
    /// The flags in `lost` are to be forgotten.
    Lose { from: u32, back: u32, r: Reg, table: Reg, lost: Reg },
    /// A conditional exit to another page, or with NaNs to be mended.
    Exit { from: u32, target: i64, mends: Mends },
    /// The stub of link number `index`.
    Link { index: u32 },
    /// The interrupt word is not zero; the guest is at `resume`.
    Interrupt { from: u32, resume: i64 },
    /// The exit of an entry for which the budget does not suffice.
    Spent { from: u32 },
}

/// Which part an access has in a group, and the register of the addend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// None: the register is free on the slow path.
    Alone(Reg),
    /// It leaves the addend in the register, for group `n`, and begins a series.
    Leader(Reg, u32),
    /// It is in the series that is going on.
    Member(Reg),
    /// It has found zero in the register.
    Follower(Reg),
    /// In a region: it holds an addend, for whoever gets here.
    Sure(Reg),
    /// It was not in the page of site `n`; with the addend in the register it goes on at `again`.
    Site { r: Reg, n: u32, again: u32 },
}

impl Host {
    fn reg(self) -> Reg {
        match self {
            Host::Alone(r) | Host::Leader(r, _) | Host::Member(r) | Host::Follower(r) | Host::Sure(r) => r,
            Host::Site { r, .. } => r,
        }
    }
}

/// How a slow path makes its access.
#[derive(Clone, Copy)]
pub(super) struct Detour {
    /// It looks into the TLB first.
    pub(super) probe: bool,
    /// What has to be added to the word that has been pushed.
    pub(super) base: Option<Reg>,
}

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
    pub(super) const NONE: Group =
        Group { base: super::alloc::NONE, write: false, low: 0, high: 0, followers: 0 };
    /// The access `i` alone, whose address is `offset` (and its displacement) from `base`.
    fn of(i: &Inst, base: u32, offset: i64) -> Group {
        let (memop, low) = (MemOp::of(i.imm), offset + MemOp::disp(i.imm) as i64);
        Group { base, write: i.op == Op::Store, low, high: low + memop.bytes() as i64 - 1, followers: 0 }
    }
}

/// What a group has for its base if that is a page, of a number relative to the block's.
const PAGE: u32 = 1 << 31;
/// From here on pages have no number.
const NEAR: u64 = 1 << 41;

/// Displacements from here on are left as they are: ranges must fit the 32 bits of a displacement, counted from whichever base.
const FAR: u32 = 1 << 20;

/// Where an access lies in relation to others.
struct Anchor {
    /// A value or, if that is where the access lies in relation to the block, [`PAGE`] and the number of its page.
    base: u32,
    /// How far from it the access's own base is, at least.
    offset: i64,
    /// How much farther it may be: more than 0 if an index is added that cannot be larger.
    reach: i64,
}

/// What the base of access `i` is a small constant away from; or, if `values` tell what slots hold, an index into a table
/// that lies in one page.
fn anchor(insts: &[Inst], i: &Inst, values: Option<&[u64; SLOTS]>) -> Anchor {
    let (mut v, mut offset) = (i.args[0], 0i64);
    let disp = MemOp::disp(i.imm) as i64;
    let near = |base: u32, offset: i64| Anchor { base, offset, reach: 0 };
    if disp.unsigned_abs() >= FAR as u64 {
        return near(v.0, 0);
    }
    // The anchor without the index, once there is one, and that index's greatest value.
    let mut indexed: Option<(Anchor, i64)> = None;
    loop {
        let d = &insts[v.index()];
        let constant = |c: Val| Some(&insts[c.index()]).filter(|c| c.op == Op::Const).map(|c| c.imm as i64);
        match (d.op, d.ty) {
            (Op::PcRel, _) if indexed.is_none() => {
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
                        indexed = Some((near(v.0, offset), reach));
                        (v, offset) = (base, offset + c);
                        continue;
                    }
                }
            }
            _ => {}
        }
        let Some((without, reach)) = indexed else { return near(v.0, offset) };
        let group = Group::of(i, v.0, offset);
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

/// An access that has just been emitted.
#[derive(Clone, Copy, Debug)]
struct Access {
    /// Where its instruction begins.
    start: u32,
    base: Reg,
    disp: i32,
    memop: MemOp,
    moved: Moved,
    mends: Mends,
    insn: i64,
}

/// Where a loaded value goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loaded {
    /// To a general register.
    R(Reg),
    /// To an `xmm` register, all 64 bits.
    X(Reg),
}

/// What a store stores.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stored {
    /// A general register.
    R(Reg),
    /// A constant.
    C(i32),
    /// An `xmm` register.
    X(Reg),
}

impl Emitter {
    /// Emits the TLB probe for the bytes from `base + low` to `base + high`: leaves the entry's addend in `entry`; `tag` is
    /// destroyed. Returns the displacement of the jump that is taken on a miss.
    pub(super) fn probe(&mut self, base: Reg, range: (i64, i64), write: bool, entry: Reg, tag: Reg) -> u32 {
        let (tlb, layout) = (self.cfg.tlb, self.cfg.layout);
        if range.1 <= i32::MAX as i64 {
            // Only the address's low 32 bits find the entry.
            self.sum(entry, base, range.0, false);
            self.sum(tag, base, range.1, true);
        } else {
            self.sum(entry, base, range.0, true);
            self.sum(tag, entry, range.1 - range.0, true);
        }
        self.asm.ins(SHR_I, false, 0, 0, Rm::R(entry), (12 - tlb.entry_log2) as i64);
        let field = |offset: i32| Rm::M(Mem::at(RBP, offset));
        self.asm.ins(AND, true, tag, 0, field(layout.page_mask), 0);
        self.asm.ins(AND, false, entry, 0, field(layout.entry_mask), 0);
        self.asm.ins(ADD, true, entry, 0, field(layout.tlb), 0);
        let field = if write { tlb.write } else { tlb.read };
        self.asm.ins(CMP, true, tag, 0, Rm::M(Mem::at(entry, field)), 0);
        let from = self.asm.jump(Some(cc::NE));
        self.asm.ins(MOV, true, entry, 0, Rm::M(Mem::at(entry, tlb.addend)), 0);
        from
    }
    /// `d = r + n`, at least 32 bits of it.
    fn sum(&mut self, d: Reg, r: Reg, n: i64, whole: bool) {
        if n == 0 {
            self.asm.ins(MOV, whole, d, 0, Rm::R(r), 0);
        } else {
            self.asm.ins(LEA, whole, d, 0, Rm::M(Mem::at(r, n as i32)), 0);
        }
    }
    /// Backward walk: notes the access `i` and puts the group it would lead on the list.
    pub(super) fn group_ahead(&mut self, insts: &[Inst], i: &Inst) {
        let Anchor { base, offset, reach } = anchor(insts, i, self.values.as_deref());
        let mut own = Group::of(i, base, offset);
        own.high += reach;
        if reach != 0 {
            // Whoever leads looks for the page of the base itself.
            self.vals[base as usize].uses += 1;
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
    fn forget_group(&mut self, k: usize) {
        let r = self.pseudo + k as u32;
        let old = std::mem::replace(self.val_mut(r), super::alloc::Value::NEW);
        if old.gpr != NO {
            self.content[old.gpr as usize] = super::alloc::NONE;
        }
        self.free_spill(old.home);
        self.groups[k] = Group::NONE;
    }
    /// The register that holds the addend of group `k`, locked; `NO` if it has none any more.
    fn addend(&mut self, insts: &[Inst], k: usize) -> Reg {
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
    /// Makes sure that the access `i` at `base` may use an addend: finds one or probes. Gives the addend's register, the
    /// displacement of the jump to the slow path, and where `result` goes: it is chosen before the jump if that may take a spill,
    /// which both paths must have behind them.
    fn host_address(&mut self, insts: &[Inst], i: &Inst, base: Reg, result: Option<Val>) -> (Host, u32, Reg) {
        let Anchor { base: anchor, offset, reach } = anchor(insts, i, self.values.as_deref());
        let root = if anchor & PAGE != 0 { anchor } else { self.root(Val(anchor)) };
        let own = Group::of(i, root, offset);
        let own = Group { high: own.high + reach, ..own };
        let led = self.ahead.pop().unwrap_or(own);
        if reach != 0 {
            self.take(Val(anchor));
        }
        for k in 0..GROUPS {
            let (g, r) = (self.groups[k], self.pseudo + k as u32);
            if g.base == root && (g.write || !own.write) && g.low <= own.low && own.high <= g.high {
                let host = self.addend(insts, k);
                if host == NO {
                    continue;
                }
                let d = result.map_or(NO, |v| self.dest(insts, v, NO, 0));
                let v = self.val_mut(r);
                v.uses = v.uses.saturating_sub(1);
                if v.uses == 0 {
                    self.dying.push(r);
                }
                if self.region {
                    return (Host::Sure(host), 0, d);
                }
                if self.in_series(k as u32) {
                    return (Host::Member(host), 0, d);
                }
                self.asm.ins(TEST, true, host, 0, Rm::R(host), 0);
                let from = self.asm.jump(Some(cc::E));
                return (Host::Follower(host), from, d);
            }
        }
        // In a region a miss may leave for the block that begins here. (Were it the first instruction, that would be the region.)
        let leaves = self.region && self.untouched && self.under_way;
        let led = match reach {
            0 => led,
            // Only a region that can leave may guess where the table lies, and only others are reason to. (A store has no register left.)
            _ if leaves && led.followers != 0 && !own.write => led,
            _ => Group { base: NONE, followers: 0, ..Group::of(i, root, 0) },
        };
        if led.followers == 0
            && !own.write
            && self.looping
            && let Some(n) = self.new_site()
        {
            return self.site(insts, Group::of(i, root, 0), base, n, result);
        }
        let (base, range) = match reach {
            _ if led.followers == 0 => (base, (own.low - offset, own.high - reach - offset)),
            0 => (base, (led.low - offset, led.high - offset)),
            _ => (self.gpr(insts, Val(anchor)), (led.low, led.high)),
        };
        let leaves = leaves && range.1 <= i32::MAX as i64;
        let followers = if self.region && !leaves { 0 } else { led.followers };
        let entry = self.temp(insts);
        let tag = self.temp(insts);
        let site = (leaves && self.looping && !led.write).then(|| self.new_site()).flatten();
        let (from, out) = match site {
            Some(n) => self.group_site(base, range, n, entry, tag),
            None => (self.probe(base, range, led.write, entry, tag), None),
        };
        let back = self.asm.pos();
        let d = result.map_or(NO, |v| self.dest(insts, v, tag, 0));
        if leaves {
            let (target, mends) = (self.insn, self.mends_now());
            let need = led.write as usize + own.write as usize;
            let range = (range.0 as i32, range.1 as i32);
            self.cold.push(Cold::Fill { back, from, base, range, r: entry, need, site, out, target, mends });
        }
        if followers == 0 {
            return (if leaves { Host::Sure(entry) } else { Host::Alone(entry) }, from, d);
        }
        let k = self.next_group;
        self.next_group = (k + 1) % GROUPS;
        let r = self.pseudo + k as u32;
        self.forget_group(k);
        self.groups[k] = Group { base: root, ..led };
        *self.val_mut(r) =
            super::alloc::Value { uses: followers, gpr: entry, root: r, ..super::alloc::Value::NEW };
        self.content[entry as usize] = r;
        if leaves {
            return (Host::Sure(entry), from, d);
        }
        (Host::Leader(entry, k as u32), from, d)
    }
    /// The load `own` by the page remembered at its site: quick if that is the same again and again, and a detour if not.
    /// So only blocks have sites that are loops, or the dispatchers of loops, and only for loads that are not known to wander.
    fn site(
        &mut self,
        insts: &[Inst],
        own: Group,
        base: Reg,
        n: u32,
        result: Option<Val>,
    ) -> (Host, u32, Reg) {
        let r = self.temp(insts);
        let d = result.map_or(NO, |v| self.dest(insts, v, r, 0));
        self.sum(r, base, own.low, true);
        // The low bits that alignment wants zero stay in, and spoil the comparison if they are not.
        let bytes = own.high - own.low + 1;
        self.asm.ins(AND_I, true, 0, 0, Rm::R(r), -4096 | (bytes - 1));
        let from = self.known_site(n, r);
        let again = self.asm.pos();
        (Host::Site { r, n, again }, from, d)
    }
    /// In a region that is a loop: the loads between `base + low` and `base + high` by the page remembered at their site, so that arrays which
    /// share an entry of the TLB do not drive each other out. Leaves the addend in `r`; gives the displacements of the jumps for another page
    /// and for bytes that lie in two.
    fn group_site(
        &mut self,
        base: Reg,
        (low, high): (i64, i64),
        n: u32,
        r: Reg,
        tag: Reg,
    ) -> (u32, Option<u32>) {
        let mask = Rm::M(Mem::at(RBP, self.cfg.layout.page_mask));
        self.sum(r, base, low, true);
        self.sum(tag, r, high - low, true);
        self.asm.ins(AND, true, r, 0, mask, 0);
        self.asm.ins(AND, true, tag, 0, mask, 0);
        self.asm.ins(CMP, true, tag, 0, Rm::R(r), 0);
        let out = self.asm.jump(Some(cc::NE));
        (self.known_site(n, r), Some(out))
    }
    /// The number of a site for an access; none if it would be of no use.
    fn new_site(&mut self) -> Option<u32> {
        let sites = self.cfg.sites?;
        if self.sites_left == 0 || self.wanders() {
            return None;
        }
        self.sites_left -= 1;
        let n = self.next_site;
        self.next_site = (n + 1) % sites.count;
        Some(n)
    }
    /// Puts the addend of site `n` into `r`, which is the page it remembers; else jumps with the displacement given.
    fn known_site(&mut self, n: u32, r: Reg) -> u32 {
        let Some(sites) = self.cfg.sites else { unreachable!("a site without sites") };
        let at = |table: i32| Rm::M(Mem::at(RBP, table + 8 * n as i32));
        self.asm.ins(CMP, true, r, 0, at(sites.tags), 0);
        let from = self.asm.jump(Some(cc::NE));
        self.asm.ins(MOV, true, r, 0, at(sites.addends), 0);
        from
    }
    /// The load was in another page: if the TLB has that one, remembers it and goes on. Else the address is in scratch word 0.
    fn cold_site(&mut self, base: Reg, disp: i32, memop: MemOp, (r, n, again): (Reg, u32, u32)) {
        self.look_for_site(base, disp, memop.0 & 3, (r, n, again));
        let address = Rm::M(self.word(0));
        self.asm.ins(PUSH, false, 0, 0, address, 0);
    }
    /// Goes on at `again` with the addend in `r` if the TLB has the page of the bytes (log2) at `base + disp`.
    fn look_for_site(&mut self, base: Reg, disp: i32, bytes: u8, (r, n, again): (Reg, u32, u32)) {
        self.sum(r, base, disp as i64, true);
        self.asm.push_imm(n as i32);
        let row = (super::TEMPS & ((1 << r) - 1)).count_ones() as usize;
        self.asm.call(self.stubs.site[row][bytes as usize]);
        let hit = self.asm.jump(Some(cc::E));
        self.asm.patch(hit, again);
    }
    pub(super) fn load(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let base = self.gpr(insts, i.args[0]);
        let (memop, disp) = (MemOp::of(i.imm), MemOp::disp(i.imm));
        self.take(i.args[0]);
        let (insn, mends) = (self.insn, self.mends_now());
        if let Some(x) = self.loaded_float(insts, v, memop) {
            let (host, from, _) = self.host_address(insts, i, base, None);
            let start = self.asm.pos();
            let row = if memop.bytes() == 8 { MOVSD } else { MOVSS };
            self.asm.ins(row, false, x, 0, Rm::M(Mem::sum(base, host.reg(), disp)), 0);
            self.xbind(v, x);
            let moved = Moved::Load(Loaded::X(x));
            self.put_off(host, from, Access { start, base, disp, memop, moved, mends, insn });
            return;
        }
        let (host, from, d) = self.host_address(insts, i, base, Some(v));
        let start = self.asm.pos();
        let m = Rm::M(Mem::sum(base, host.reg(), disp));
        let (row, w) = load_row(memop);
        self.asm.ins(row, w, d, 0, m, 0);
        self.bind(v, d);
        let moved = Moved::Load(Loaded::R(d));
        self.put_off(host, from, Access { start, base, disp, memop, moved, mends, insn });
    }
    /// The `xmm` register that the loaded value `v` goes to, if it is one that will be used as a float.
    fn loaded_float(&mut self, insts: &[Inst], v: Val, memop: MemOp) -> Option<Reg> {
        let float = self.val(v.0).as_float && !self.val(v.0).as_int;
        match memop {
            MemOp::U64 => match self.wanted_float(insts, v) {
                Some(x) => Some(x),
                None => float.then(|| self.xtemp(insts)),
            },
            // The upper half is zero in either kind of register.
            MemOp::U32 => float.then(|| self.xtemp(insts)),
            _ => None,
        }
    }
    /// Puts off the slow path of the access that has just been emitted.
    fn put_off(&mut self, host: Host, from: u32, a: Access) {
        let Access { start, base, disp, memop, moved, mends, insn } = a;
        let back = self.asm.pos();
        if matches!(host, Host::Sure(_)) {
            return;
        }
        let (Host::Leader(r, _) | Host::Member(r)) = host else {
            self.cold.push(match moved {
                Moved::Load(dest) => Cold::Load { from, back, base, disp, dest, memop, mends, insn, host },
                Moved::Store(value) => {
                    Cold::Store { from, back, base, disp, value, memop, mends, insn, host }
                }
            });
            return;
        };
        let live = (0..GROUPS as u32).any(|k| {
            let v = self.val(self.pseudo + k);
            v.gpr == r && v.uses > 0 && self.content[r as usize] == self.pseudo + k
        });
        let m = Member { start, end: back, base, disp, memop, moved, mends, insn, host: r, live };
        match host {
            Host::Leader(_, group) => {
                self.cold.push(Cold::Series { index: self.series.len() as u32 });
                self.begin_series(group, from, m);
            }
            _ => self.join_series(m),
        }
    }
    pub(super) fn store(&mut self, insts: &[Inst], i: &Inst) {
        let [a, b, ..] = i.args;
        let (memop, disp) = (MemOp::of(i.imm), MemOp::disp(i.imm));
        let base = self.gpr(insts, a);
        let value = self.val(self.root(b));
        let (g, x) = (value.gpr, value.xmm);
        let c = self.imm(insts, b);
        let float_sized = matches!(memop.bytes(), 4 | 8);
        let stored = match c {
            Some(c) if g == NO => Stored::C(c),
            _ if g == NO && x != NO && float_sized => Stored::X(x),
            _ => Stored::R(self.gpr(insts, b)),
        };
        let (host, from, _) = self.host_address(insts, i, base, None);
        self.take(a);
        self.take(b);
        let start = self.asm.pos();
        let m = Rm::M(Mem::sum(base, host.reg(), disp));
        match stored {
            Stored::R(r) => {
                let row = store_row(memop);
                self.asm.ins(row, memop.bytes() == 8, r, 0, m, 0);
            }
            Stored::C(c) => {
                let row = match memop.bytes() {
                    1 => MOV_MI8,
                    2 => MOV_MI16,
                    _ => MOV_MI,
                };
                self.asm.ins(row, memop.bytes() == 8, 0, 0, m, c as i64);
            }
            Stored::X(x) => {
                let row = if memop.bytes() == 8 { MOVSD_MR } else { MOVSS_MR };
                self.asm.ins(row, false, x, 0, m, 0);
            }
        }
        let (insn, mends) = (self.insn, self.mends_now());
        let moved = Moved::Store(stored);
        self.put_off(host, from, Access { start, base, disp, memop, moved, mends, insn });
    }

    /// Calls a stub and notes the return address.
    pub(super) fn call_stub(&mut self, stub: u64, insn: i64) {
        self.asm.call(stub);
        self.points.push(Point { return_offset: self.asm.pos(), insn });
    }
    pub(super) fn jump_back(&mut self, back: u32) {
        let at = self.asm.jump(None);
        self.asm.patch(at, back);
    }
    pub(super) fn arrive(&mut self, from: u32) {
        let here = self.asm.pos();
        self.asm.patch(from, here);
    }
    /// Emits what was put off. Links come last: after everything that may add one.
    pub(super) fn emit_cold(&mut self) {
        let mut n = 0;
        while n < self.cold.len() {
            self.asm.room();
            let c = self.cold[n];
            n += 1;
            self.cold_one(c);
        }
    }
    fn cold_one(&mut self, c: Cold) {
        let word = self.word(0);
        match c {
            Cold::Load { from, back, base, disp, dest, memop, mends, insn, host } => {
                self.arrive(from);
                match host {
                    Host::Site { r, n, again } => {
                        self.cold_site(base, disp, memop, (r, n, again));
                        self.mend(mends);
                    }
                    _ => self.mend(mends),
                }
                let how = match host {
                    Host::Alone(_) => Detour { probe: false, base: self.cold_address(base, disp) },
                    Host::Site { .. } => Detour { probe: false, base: None },
                    _ => Detour { probe: true, base: self.cold_address(base, disp) },
                };
                self.cold_load(dest, memop, how, insn);
                self.jump_back(back);
            }
            Cold::Store { from, back, base, disp, value, memop, mends, insn, host } => {
                self.arrive(from);
                self.mend(mends);
                self.cold_value(value);
                let probe = !matches!(host, Host::Alone(_));
                let how = Detour { probe, base: self.cold_address(base, disp) };
                self.cold_store(memop, how, insn);
                self.jump_back(back);
            }
            Cold::Fill { back, from, base, range, r, need, site, out, target, mends } => {
                self.arrive(from);
                if let Some(n) = site {
                    self.look_for_site(base, range.0, 0, (r, n, back));
                }
                for disp in [range.1, range.0] {
                    self.sum(r, base, disp.into(), true);
                    self.asm.push(r);
                }
                self.asm.call(self.stubs.fill[need + 3 * self.floats as usize]);
                self.asm.ins(MOV, true, r, 0, Rm::M(word), 0);
                self.asm.ins(TEST, true, r, 0, Rm::R(r), 0);
                let filled = self.asm.jump(Some(cc::NE));
                self.asm.patch(filled, back);
                if let Some(out) = out {
                    self.arrive(out);
                }
                self.exit(target, mends);
            }
            Cold::Series { index } => self.cold_series(index),
            Cold::Atomic { from, back, stub, dest, imm, insn, late } => {
                for f in from {
                    if f != 0 {
                        self.arrive(f);
                    }
                }
                self.late_arguments(late);
                let m = Rm::M(self.word(WORD_IMM));
                self.asm.ins(MOV_MI, true, 0, 0, m, imm as i64);
                self.call_stub(stub, insn);
                self.asm.ins(MOV, true, dest, 0, Rm::M(word), 0);
                self.jump_back(back);
            }
            Cold::NotStored { from, back, dest } => {
                self.arrive(from);
                self.asm.mov_imm(dest, 1);
                self.jump_back(back);
            }
            Cold::DivideZero { from, back, wide, remainder } => {
                self.arrive(from);
                if remainder {
                    self.asm.ins(MOV, wide, RDX, 0, Rm::R(RAX), 0);
                } else {
                    self.asm.mov_imm(RAX, if wide { u64::MAX } else { u32::MAX as u64 });
                }
                self.jump_back(back);
            }
            Cold::DivideMinusOne { from, back, wide, remainder } => {
                self.arrive(from);
                if remainder {
                    self.asm.mov_imm(RDX, 0);
                } else {
                    self.asm.ins(NEG, wide, 0, 0, Rm::R(RAX), 0);
                }
                self.jump_back(back);
            }
            Cold::Canonical { from, back, dest, double } => {
                self.arrive(from);
                let nan = self.stubs.constants + 16 * double as u64;
                self.asm.ins(MOVAPS, false, dest, 0, Rm::Rip(nan), 0);
                self.jump_back(back);
            }
            Cold::Mend { from, back, mends } => {
                self.arrive(from);
                self.mend(mends);
                self.jump_back(back);
            }
            Cold::FusedNan { from, back, dest, operands } => {
                self.arrive(from);
                self.soft_fma(operands, dest);
                self.jump_back(back);
            }
            Cold::SameOrNan { from, back, dest, operands, op, ty } => {
                self.arrive(from);
                self.cold_extreme(dest, operands, op, ty);
                self.jump_back(back);
            }
            Cold::SoftFromInt { from, back, dest, source, op, ty } => {
                self.arrive(from);
                self.asm.ins(MOV_MR, true, source, 0, Rm::M(word), 0);
                self.soft(op, ty, dest);
                self.jump_back(back);
            }
            Cold::SoftToInt { from, back, dest, source, op, ty } => {
                self.arrive(from);
                self.asm.ins(MOVSD_MR, false, source, 0, Rm::M(word), 0);
                self.call_soft(op, ty);
                self.asm.ins(MOV, true, dest, 0, Rm::M(word), 0);
                self.jump_back(back);
            }
            Cold::Saturate { from, back, dest, source, wide, double } => {
                self.arrive(from);
                self.cold_saturate(back, dest, source, wide, double);
            }
            Cold::Forget { from, back } => {
                self.arrive(from);
                let clean = Rm::M(Mem::at(RBP, self.cfg.layout.mxcsr));
                self.asm.ins(LDMXCSR, false, 0, 0, clean, 0);
                self.jump_back(back);
            }
            Cold::Accrued { from, back, r, table } => {
                self.arrive(from);
                self.cold_accrued(r, table);
                self.jump_back(back);
            }
            Cold::Lose { from, back, r, table, lost } => {
                self.arrive(from);
                self.cold_lose(back, r, table, lost);
                self.jump_back(back);
            }
            Cold::Exit { from, target, mends } => {
                self.arrive(from);
                self.exit(target, mends);
            }
            Cold::Link { index } => self.link_stub(index),
            Cold::Interrupt { from, resume } => {
                self.arrive(from);
                self.interrupt_stub(resume);
            }
            Cold::Spent { from } => {
                self.arrive(from);
                self.spent_stub();
            }
        }
    }
    /// Loads from the address that has been pushed; looks into the TLB first if `probe`.
    pub(super) fn cold_load(&mut self, dest: Loaded, memop: MemOp, how: Detour, insn: i64) {
        let n = (memop.0 & 7) as usize + 8 * self.floats as usize;
        self.call_stub(self.stubs.access(false, how.probe, n, how.base), insn);
        match dest {
            Loaded::R(r) => self.asm.pop(r),
            Loaded::X(x) => {
                self.asm.ins(MOVSD, false, x, 0, Rm::M(Mem::at(RSP, 0)), 0);
                self.asm.ins(ADD_I, true, 0, 0, Rm::R(RSP), 8);
            }
        }
    }
    /// Pushes what is to be stored.
    pub(super) fn cold_value(&mut self, value: Stored) {
        match value {
            Stored::R(r) => self.asm.push(r),
            Stored::C(c) => self.asm.push_imm(c),
            Stored::X(x) => {
                self.asm.push(RAX);
                self.asm.ins(MOVSD_MR, false, x, 0, Rm::M(Mem::at(RSP, 0)), 0);
            }
        }
    }
    /// Stores what has been pushed to the address that was pushed after it, likewise.
    pub(super) fn cold_store(&mut self, memop: MemOp, how: Detour, insn: i64) {
        let n = (memop.0 & 3) as usize + 4 * self.floats as usize;
        self.call_stub(self.stubs.access(true, how.probe, n, how.base), insn);
    }
    /// Pushes the address, or only the displacement; then the register that the stub is to add.
    pub(super) fn cold_address(&mut self, base: Reg, disp: i32) -> Option<Reg> {
        if disp == 0 {
            self.asm.push(base);
            return None;
        }
        self.asm.push_imm(disp);
        Some(base)
    }
}

/// Whether `ty` fills 64 bits.
pub(super) fn double(ty: Ty) -> bool {
    ty == Ty::F64
}

/// The row for a read-modify-write of memory that needs no old value.
pub(super) fn memory_row(kind: u64) -> Option<(Row, Op)> {
    Some(match kind {
        1 => (ADD_MR, Op::Add),
        2 => (XOR_MR, Op::Xor),
        3 => (AND_MR, Op::And),
        4 => (OR_MR, Op::Or),
        _ => return None,
    })
}

/// The row that loads and extends, and whether it writes 64 bits.
pub(super) fn load_row(memop: MemOp) -> (Row, bool) {
    match memop {
        MemOp::U8 => (MOVZX8, false),
        MemOp::U16 => (MOVZX16, false),
        MemOp::U32 => (MOV, false),
        MemOp::S8 => (MOVSX8, true),
        MemOp::S16 => (MOVSX16, true),
        MemOp::S32 => (MOVSXD, true),
        _ => (MOV, true),
    }
}

/// The row that stores the low bytes of a register (64 bits with REX.W).
pub(super) fn store_row(memop: MemOp) -> Row {
    match memop.bytes() {
        1 => MOV_MR8,
        2 => MOV_MR16,
        _ => MOV_MR,
    }
}
