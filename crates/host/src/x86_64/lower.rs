//! One block to machine code: the backward walk that counts uses, the forward walk that emits.
//!
//! Glossary. *Alias*: a value whose bits are another's (`trunc`, `fbits`); it shares that value's registers. *Deferred*: an
//! integer comparison with one use is emitted where it is used, so that it can stay in the flags. *Want*:
//! the pinned register that a value is set to soon; computing the value there saves a move. *Cold*: code out of line
//! behind the block.

use super::alloc::{NONE, SLOT, Value};
use super::asm::*;
use super::cold::Cold;
use super::forgive::Forgiving;
use super::groups::{GROUPS, Group};
use super::integer::{DONE, Twins};
use super::nan::{Form, Pending};
use super::states::{DUE, Misplaced, Use};
use super::{PINS, TEMPS, XPINS};
use crate::{Code, Config, Link, Placement, Point, SLOTS, Stubs, TooComplex};
use ir::{Block, Effects, HelperEffects, HelperInfo, Inst, Op, Ty, Val};

/// Translates blocks; keeps its tables from block to block so that nothing is allocated in the steady state.
pub struct Emitter {
    pub(super) cfg: Config,
    pub(super) stubs: Stubs,
    pub(super) asm: Asm,
    pub(super) vals: Vec<Value>,
    /// What each general register holds.
    pub(super) content: [u32; 16],
    /// What each `xmm` register holds.
    pub(super) xcontent: [u32; 16],
    /// The value that each slot's memory is known to hold (slots that are not pinned).
    pub(super) slot_val: [u32; 128],
    /// Pinned register of each slot, or `NO`.
    pub(super) pin: [Reg; 128],
    /// Pinned `xmm` register of each slot in this block's mode, or `NO`.
    pub(super) xpin: [Reg; 128],
    /// Whether floats can be used in this block's mode.
    pub(super) floats: bool,
    /// Results whose NaNs are not canonical yet.
    pub(super) pending: Vec<Pending>,
    /// Registers to be mended in slow paths; see `nan.rs`.
    pub(super) mends: Vec<(Reg, Form)>,
    pub(super) locked: u16,
    pub(super) xlocked: u16,
    pub(super) xnext: u8,
    pub(super) spills: u128,
    pub(super) clock: u32,
    pub(super) chosen: [u32; 16],
    pub(super) dying: Vec<u32>,
    pub(super) cold: Vec<Cold>,
    pub(super) groups: [Group; GROUPS],
    pub(super) next_group: usize,
    pub(super) next_site: u32,
    pub(super) next_guess: u32,
    /// Sites that this block may still have: none is to serve two of its places.
    pub(super) sites_left: u32,
    /// See [`Placement::wandering`].
    wandering: Vec<u16>,
    /// See [`Placement::steady`].
    steady: Vec<u16>,
    /// See [`Placement::values`].
    pub(super) values: Option<Box<[u64; SLOTS]>>,
    /// The groups that the accesses to come would lead, the next one last.
    pub(super) ahead: Vec<Group>,
    /// Values from here on are the addends of `groups`.
    pub(super) pseudo: u32,
    pub(super) links: Vec<Link>,
    pub(super) points: Vec<Point>,
    /// Offset of the current guest instruction from the page base.
    pub(super) insn: i64,
    pub(super) entry: i64,
    /// See [`Placement::reach`].
    pub(super) reach: (i64, i64),
    /// See [`Placement::expected`].
    pub(super) expected: Option<u64>,
    /// Guest instructions in the block.
    pub(super) insns: u32,
    /// The block jumps to its own entry, or is a dispatcher: it ends in a jump to a computed address, be it no return.
    pub(super) looping: bool,
    /// What slots are due to hold, in a region; see `states.rs`. A bit for each of those of which that is a word, to be extended.
    pub(super) due: [u32; DUE],
    pub(super) due_words: u32,
    /// How often each of them is set from here on.
    pub(super) sets_ahead: [u16; DUE],
    /// Whether a `set` only says so, at the moment.
    pub(super) dues: bool,
    /// Pinned slots that the region does not touch and whose registers still hold them; those whose registers are used otherwise, with
    /// their spill words.
    pub(super) bystanders: u32,
    pub(super) parked: Vec<(u16, u16)>,
    /// Of the slots below [`DUE`], those that the guest has for its registers.
    pub(super) registers: u32,
    /// Registers for values, at the moment.
    pub(super) pool: u16,
    /// Index of the instruction at hand.
    pub(super) at: u32,
    pub(super) uses: Vec<Use>,
    pub(super) maps: Vec<Misplaced>,
    /// See [`Placement::region`] and [`Placement::alone`].
    pub(super) region: bool,
    pub(super) alone: bool,
    /// The current instruction has done nothing yet that others could see.
    pub(super) untouched: bool,
    /// A function has been called.
    pub(super) called: bool,
    /// The flags are those of this register's value, if nothing has been emitted since: register, whether all 64 bits of it,
    /// position.
    pub(super) flags: (Reg, bool, u32),
    pub(super) too_complex: bool,
}

impl Emitter {
    /// A translator for the code memory whose common code is at `stubs`.
    pub fn new(cfg: Config, stubs: Stubs) -> Emitter {
        let mut pin = [NO; 128];
        for (&slot, &r) in cfg.hot_slots.iter().zip(&PINS) {
            pin[slot as usize % 128] = r;
        }
        let registers =
            cfg.hot_slots.iter().filter(|&&s| (s as usize) < DUE).fold(0, |all, s| all | 1u32 << s);
        Emitter {
            due: [NONE; DUE],
            due_words: 0,
            sets_ahead: [0; DUE],
            dues: false,
            bystanders: 0,
            parked: Vec::new(),
            registers,
            pool: TEMPS,
            at: 0,
            uses: Vec::new(),
            maps: Vec::new(),
            cfg,
            stubs,
            asm: Asm::default(),
            vals: Vec::new(),
            content: [NONE; 16],
            xcontent: [NONE; 16],
            slot_val: [NONE; 128],
            pin,
            xpin: [NO; 128],
            floats: false,
            pending: Vec::new(),
            mends: Vec::new(),
            locked: 0,
            xlocked: 0,
            xnext: 0,
            spills: 0,
            clock: 0,
            chosen: [0; 16],
            dying: Vec::new(),
            cold: Vec::new(),
            groups: [Group::NONE; GROUPS],
            next_group: 0,
            next_site: 0,
            next_guess: 0,
            sites_left: 0,
            wandering: Vec::new(),
            steady: Vec::new(),
            values: None,
            ahead: Vec::new(),
            pseudo: 0,
            links: Vec::new(),
            points: Vec::new(),
            insn: 0,
            entry: 0,
            reach: (0, 0),
            expected: None,
            insns: 0,
            looping: false,
            region: false,
            alone: false,
            untouched: false,
            called: false,
            flags: (NO, false, 0),
            too_complex: false,
        }
    }

    /// Translates `block` for `placement`. `out` is overwritten.
    pub fn emit(
        &mut self,
        block: &Block,
        helpers: &dyn Fn(u16) -> HelperInfo,
        placement: &Placement<'_>,
        out: &mut Code,
    ) -> Result<(), TooComplex> {
        self.reset(block, placement);
        self.pin_floats(placement.floats);
        self.count(&block.insts, helpers);
        self.groups = [Group::NONE; GROUPS];
        self.enter_block();
        for i in 0..block.insts.len() {
            self.inst(&block.insts, i, helpers);
            self.end_inst();
        }
        out.hot = self.asm.pos();
        self.asm.split(placement.apart);
        self.emit_cold();
        out.bytes.clear();
        out.bytes.extend_from_slice(self.asm.bytes());
        out.links.clear();
        out.links.extend_from_slice(&self.links);
        out.points.clear();
        out.points.extend_from_slice(&self.points);
        out.relocations.clear();
        out.relocations.extend_from_slice(self.asm.relocations());
        if self.too_complex { Err(TooComplex) } else { Ok(()) }
    }

    fn reset(&mut self, block: &Block, placement: &Placement<'_>) {
        self.asm.start(placement.base);
        self.vals.clear();
        self.vals.resize(block.insts.len() + GROUPS, Value::NEW);
        self.pseudo = block.insts.len() as u32;
        self.groups = [Group::NONE; GROUPS];
        self.ahead.clear();
        self.content = [NONE; 16];
        self.xcontent = [NONE; 16];
        self.slot_val = [NONE; 128];
        self.locked = 0;
        self.xlocked = 0;
        self.spills = 0;
        self.dying.clear();
        self.cold.clear();
        self.links.clear();
        self.points.clear();
        self.insn = placement.entry;
        self.entry = placement.entry;
        self.reach = placement.reach;
        self.expected = placement.expected;
        self.insns = placement.insns;
        (self.region, self.alone) = (placement.region, placement.alone);
        (self.due, self.due_words, self.sets_ahead) = ([NONE; DUE], 0, [0; DUE]);
        (self.dues, self.pool, self.at) = (self.region, TEMPS, 0);
        self.bystanders = if self.region { self.pinned_registers() } else { 0 };
        self.parked.clear();
        self.uses.clear();
        self.maps.clear();
        self.untouched = false;
        let again = |i: &Inst| match i.op {
            Op::ExitIf | Op::Goto => i.imm as i64 == placement.entry,
            Op::Jump => i.imm == 0,
            _ => false,
        };
        self.called = false;
        self.flags = (NO, false, 0);
        self.looping = self.cfg.loops && !self.alone && block.insts.iter().any(again);
        self.too_complex = false;
        self.sites_left = self.cfg.sites.map_or(0, |s| s.count);
        self.wandering.clear();
        self.wandering.extend_from_slice(placement.wandering);
        self.steady.clear();
        self.steady.extend_from_slice(placement.steady);
        self.values = placement.values.copied().map(Box::new);
    }
    /// Whether the instruction at hand is known to load from one page after another.
    pub(super) fn wanders(&self) -> bool {
        self.wandering.binary_search(&(self.insn as u16)).is_ok()
    }

    /// Whether the pages that the instruction at hand loads from are known to have one addend.
    pub(super) fn is_steady(&self) -> bool {
        self.steady.binary_search(&(self.insn as u16)).is_ok()
    }

    /// Pins the float slots, or none.
    fn pin_floats(&mut self, floats: bool) {
        self.pending.clear();
        self.mends.clear();
        if self.floats != floats {
            self.floats = floats;
            for (&slot, &x) in self.cfg.hot_floats.iter().zip(&XPINS) {
                self.xpin[slot as usize % 128] = if floats { x } else { NO };
            }
        }
    }

    /// Whether the instruction's result is its operand's bits, given where that operand comes from.
    fn is_alias(insts: &[Inst], i: &Inst) -> bool {
        match i.op {
            Op::Trunc | Op::FBits | Op::FFromBits => true,
            // 32-bit instructions leave zeros in the upper half.
            Op::Zext32 => !matches!(
                insts[i.args[0].index()].op,
                Op::Trunc | Op::Const | Op::FBits | Op::Get | Op::GetNow | Op::Call | Op::Load
            ),
            _ => false,
        }
    }

    /// The backward walk: uses, aliases, wants.
    fn count(&mut self, insts: &[Inst], helpers: &dyn Fn(u16) -> HelperInfo) {
        // Pinned registers with a set ahead that no trap or exit separates from here; the value they get.
        // General registers count from 0, `xmm` registers from 16.
        let mut ahead: u64 = 0;
        let mut wanted = [NONE; 64];
        let mut forgiving = Forgiving::default();
        let mut twins = Twins::default();
        for n in (0..insts.len()).rev() {
            let i = &insts[n];
            self.vals[n].root = n as u32;
            let uses = self.vals[n].uses;
            let effects = i.op.effects();
            let mut barrier = matches!(effects, Effects::Memory | Effects::Call)
                || matches!(i.op, Op::ExitIf | Op::Expect | Op::Goto | Op::Jump | Op::Leave);
            if uses == 0 {
                let unused = match effects {
                    Effects::Pure | Effects::Reads => true,
                    Effects::Call => helpers(i.imm as u16).effects == HelperEffects::Pure,
                    _ => false,
                };
                if unused {
                    continue;
                }
            }
            let want = self.vals[n].want;
            if want != NO {
                ahead &= !(1u64 << want);
            }
            if forgiving.before(insts, n, self.cfg.flags_slot)
                && let Some((forget, comparisons)) = forgiving.found()
            {
                self.vals[forget as usize].quiet = true;
                comparisons.iter().for_each(|&c| self.vals[c as usize].quiet = true);
            }
            match i.op {
                Op::Get | Op::Set => self.touch(i.imm),
                Op::WillReturn | Op::Jump => self.touch(self.cfg.stack_slot as u64),
                _ => {}
            }
            match i.op {
                Op::Set => {
                    if let Some(sets) = self.sets_ahead.get_mut(i.imm as usize) {
                        *sets += 1;
                    }
                    let p = self.pinned(i.imm);
                    let v = i.args[0].index();
                    if p != NO && (p >= 16 || i.ty == Ty::I64) {
                        if ahead >> p & 1 != 0 {
                            self.vals[wanted[p as usize] as usize].want = NO;
                            ahead &= !(1 << p);
                        }
                        if self.vals[v].want == NO {
                            self.vals[v].want = p;
                            wanted[p as usize] = v as u32;
                            ahead |= 1 << p;
                        }
                    }
                    barrier = false;
                }
                Op::Get => {
                    let p = self.pinned(i.imm);
                    if p != NO && ahead >> p & 1 != 0 {
                        self.vals[wanted[p as usize] as usize].want = NO;
                        ahead &= !(1 << p);
                    }
                }
                Op::Load | Op::Store => self.group_ahead(insts, i),
                Op::Add if i.ty == Ty::I64 => {
                    for a in [i.args[0], i.args[1]] {
                        self.vals[a.index()].term = true;
                    }
                }
                Op::FMa => {
                    self.vals[i.args[0].index()].term = true;
                    self.vals[i.args[2].index()].term = true;
                }
                Op::Call => self.groups = [Group::NONE; GROUPS],
                Op::Mul | Op::MulHs | Op::MulHu | Op::DivS | Op::DivU | Op::RemS | Op::RemU => {
                    self.vals[n].twin = twins.before(insts, n).map_or(NONE, |other| other as u32);
                }
                _ => {}
            }
            if barrier {
                while ahead != 0 {
                    let p = ahead.trailing_zeros() as usize;
                    ahead &= ahead - 1;
                    self.vals[wanted[p] as usize].want = NO;
                }
            }
            if Self::is_alias(insts, i) {
                let a = i.args[0].index();
                self.vals[a].uses += uses;
                if self.region {
                    self.join_uses(a as u32, n as u32);
                }
                let (float, int) = (self.vals[n].as_float, self.vals[n].as_int);
                self.vals[a].as_float |= float || i.op == Op::FFromBits;
                self.vals[a].as_int |= int && i.op != Op::FFromBits;
                if want != NO && self.vals[a].want == NO {
                    self.vals[a].want = want;
                    wanted[want as usize] = a as u32;
                    ahead |= 1 << want;
                }
            } else {
                for a in i.args {
                    if !a.is_some() {
                        break;
                    }
                    self.vals[a.index()].uses += 1;
                    self.vals[a.index()].as_int |= !matches!(i.op, Op::Set | Op::Store);
                    if self.region && !(i.op == Op::Set && self.can_be_due(i.imm as u16)) {
                        self.note_use(insts, a, n);
                    }
                }
            }
        }
    }

    /// The register that a slot is pinned to: general ones count from 0, `xmm` ones from 16; or `NO`. What can be due counts from [`SLOT`].
    fn pinned(&self, slot: u64) -> u8 {
        if self.region && self.can_be_due(slot as u16) {
            return SLOT + slot as u8;
        }
        let (p, x) = (self.pin[slot as usize % 128], self.xpin[slot as usize % 128]);
        if p == NO && x != NO { 16 + x } else { p }
    }

    fn inst(&mut self, insts: &[Inst], n: usize, helpers: &dyn Fn(u16) -> HelperInfo) {
        self.asm.room();
        let i = &insts[n];
        let v = Val(n as u32);
        let [a, b, ..] = i.args;
        let used = self.vals[n].uses > 0;
        match i.op.effects() {
            Effects::Pure | Effects::Reads if !used => return,
            Effects::Call if !used && helpers(i.imm as u16).effects == HelperEffects::Pure => return,
            Effects::Pure if Self::is_alias(insts, i) => {
                self.vals[n].root = self.root(a);
                return;
            }
            Effects::Pure if self.vals[n].twin == DONE => return,
            _ => {}
        }
        self.before_inst(i, v);
        if self.region {
            self.at = n as u32;
            let settled = match i.op {
                Op::Amo | Op::Cas | Op::StoreCond | Op::Call | Op::Jump | Op::Leave => true,
                // It has a slow path of its own, in which somebody may look.
                Op::Load | Op::Store => !self.untouched || self.alone,
                _ => false,
            };
            if settled {
                self.settle_due(insts);
            } else {
                self.resume_due();
            }
        }
        match i.op {
            Op::Const | Op::PcRel => {}
            Op::Get => self.get(insts, i, v),
            Op::GetNow => self.get_now(insts, i, v),
            Op::Set => self.set(insts, i),
            Op::Add => self.add(insts, i, v),
            Op::Sub if self.imm(insts, b).is_some_and(|c| c != i32::MIN) => self.add(insts, i, v),
            Op::And if self.is_return(insts, n) => self.vals[n].root = self.root(a),
            Op::Sub | Op::And | Op::Or | Op::Xor => self.two_operand(insts, i, v),
            Op::Mul => self.mul(insts, i, v),
            Op::MulHs | Op::MulHu | Op::MulHsu => self.mul_high(insts, i, v),
            Op::Clmul | Op::ClmulH => self.carryless(insts, i, v),
            Op::DivS | Op::DivU | Op::RemS | Op::RemU => self.divide(insts, i, v),
            Op::Shl if self.is_scaled_term(insts, i, v) => self.vals[n].deferred = true,
            Op::Shl | Op::Shr | Op::Sar | Op::Rotl | Op::Rotr => self.shift(insts, i, v),
            Op::Clz | Op::Ctz => self.count_zeros(insts, i, v),
            Op::Popcnt => self.popcnt(insts, i, v),
            Op::Bswap => self.bswap(insts, i, v),
            Op::Sext8 | Op::Sext16 | Op::Zext8 | Op::Zext16 | Op::Sext32 | Op::Zext32 => {
                self.extend(insts, i, v)
            }
            Op::Eq | Op::Ne | Op::LtS | Op::LtU | Op::GeS | Op::GeU => {
                self.vals[n].deferred = true;
                if self.vals[n].uses > 1 {
                    self.materialise(insts, v);
                }
            }
            Op::FromBool => self.bool_to_int(insts, a, v),
            Op::Select => self.select(insts, i, v),
            Op::Load => self.load(insts, i, v),
            Op::Store => self.store(insts, i),
            Op::Amo => self.amo(insts, i, v),
            Op::Cas => self.cas(insts, i, v),
            Op::StoreCond => self.store_cond(insts, i, v),
            Op::Fence => self.fence(),
            Op::FAdd | Op::FSub | Op::FMul | Op::FDiv => self.float_two(insts, i, v),
            Op::FSqrt | Op::FWiden | Op::FNarrow => self.float_one(insts, i, v),
            Op::FMa => self.float_fma(insts, i, v),
            Op::Accrued => self.accrued(insts, v),
            Op::Forget => self.forget(insts, a, v),
            Op::FNeg if self.fuses(v) => self.vals[n].deferred = true,
            Op::FNeg | Op::FAbs => self.float_sign(insts, i, v),
            Op::FCopySign => self.float_copy_sign(insts, i, v),
            Op::FMin | Op::FMax => self.float_extreme(insts, i, v),
            Op::FFromI64Zero | Op::FFromI64Down | Op::FFromI64Up | Op::FFromU64 => {
                self.float_from_int_exactly(insts, i, v)
            }
            Op::FToU32 | Op::FToU64 => self.float_to_unsigned(insts, i, v),
            Op::FDownI64 | Op::FUpI64 => self.float_to_int_directed(insts, i, v),
            Op::FEq | Op::FLt | Op::FLe => self.float_compare(insts, i, v),
            Op::FFromI64 | Op::FFromI32 => self.float_from_int(insts, i, v),
            Op::FToI32 | Op::FToI64 | Op::FNearI32 | Op::FNearI64 => self.float_to_int(insts, i, v),
            Op::FUnbox => self.float_unbox(insts, i, v),
            Op::FBox => self.float_box(insts, i, v),
            Op::Call => {
                let info = helpers(i.imm as u16);
                self.call(insts, i, v, &info);
            }
            Op::Insn => {
                (self.insn, self.untouched) = (i.imm as i64, true);
            }
            Op::ExitIf => self.exit_if(insts, i),
            Op::Expect => self.expect(insts, i.imm as i64),
            Op::WillReturn => self.will_return(insts, a, i.imm as i64),
            Op::Goto => self.goto(insts, i.imm as i64),
            Op::Jump => self.jump(insts, a, i.imm),
            Op::Leave => self.leave(),
            Op::Trunc | Op::FBits | Op::FFromBits => {}
        }
        if matches!(i.op.effects(), Effects::Writes | Effects::Flags | Effects::Memory | Effects::Call) {
            self.untouched = false;
        }
    }

    fn get(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let slot = i.imm as u16 % 128;
        if self.dues && self.can_be_due(slot) {
            let known = self.due[slot as usize];
            if known != NONE && self.is_word(slot as usize) {
                return self.get_word(insts, known, v);
            }
            if known != NONE {
                let uses = self.vals[v.index()].uses;
                self.val_mut(known).uses += uses;
                self.vals[v.index()].root = known;
                return self.join_uses(known, v.0);
            }
            self.get_home(slot, v);
            let r = self.root(v);
            if r != v.0 {
                self.join_uses(r, v.0);
            }
            return self.begin_due(slot, r);
        }
        self.get_home(slot, v);
    }
    /// The value that slot `slot` holds at its own place.
    fn get_home(&mut self, slot: u16, v: Val) {
        let (p, x) = (self.pin[slot as usize], self.xpin[slot as usize]);
        let known = match (p, x) {
            (NO, NO) => self.slot_val[slot as usize],
            (NO, x) => self.xcontent[x as usize],
            _ => self.content[p as usize],
        };
        if known != NONE {
            let k = *self.val(known);
            if p != NO && k.gpr == NO {
                self.val_mut(known).gpr = p;
            }
            if x != NO && k.xmm == NO {
                self.val_mut(known).xmm = x;
            }
            if p != NO || x != NO || k.gpr != NO || k.xmm != NO || k.home != 0 {
                let uses = self.vals[v.index()].uses;
                self.val_mut(known).uses += uses;
                self.vals[v.index()].root = known;
                return;
            }
        }
        if p != NO {
            self.content[p as usize] = v.0;
            self.vals[v.index()].gpr = p;
        } else if x != NO {
            self.xcontent[x as usize] = v.0;
            self.vals[v.index()].xmm = x;
        } else {
            self.slot_val[slot as usize] = v.0;
            self.vals[v.index()].home = slot + 1;
        }
    }

    fn get_now(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let d = self.dest(insts, v, NO, 0);
        let slot = Mem::at(reg::RBP, self.cfg.layout.slots + 8 * (i.imm as i32 % 128));
        self.asm.ins(MOV, true, d, 0, Rm::M(slot), 0);
        self.bind(v, d);
    }

    fn set(&mut self, insts: &[Inst], i: &Inst) {
        let slot = i.imm as u16 % 128;
        let v = i.args[0];
        let r = self.root(v);
        if let Some(sets) = self.sets_ahead.get_mut(slot as usize) {
            *sets -= 1;
        }
        if self.dues && self.can_be_due(slot) {
            if self.val(r).deferred {
                self.gpr(insts, v);
            }
            return self.set_due(slot, r, i.ty == Ty::I32);
        }
        if i.ty == Ty::I32 {
            let src = self.rm(insts, v);
            self.take(v);
            return self.set_word(insts, slot, src);
        }
        let p = self.pin[slot as usize];
        if p != NO {
            if self.content[p as usize] != r {
                if self.val(r).deferred {
                    self.gpr(insts, v);
                }
                self.vacate(insts, p);
                self.load_into(insts, p, r);
                self.content[p as usize] = r;
                // From here on the pinned register is the value's place, unless another pinned one is already.
                let g = self.val(r).gpr;
                if g == NO || self.is_temp(g) {
                    if g != NO {
                        self.content[g as usize] = NONE;
                    }
                    self.val_mut(r).gpr = p;
                }
            }
            self.take(v);
            return;
        }
        let x = self.xpin[slot as usize];
        if x != NO {
            self.set_x(insts, x, r);
            self.take(v);
            return;
        }
        if self.slot_val[slot as usize] != r {
            let m = Mem::at(reg::RBP, self.cfg.layout.slots + 8 * slot as i32);
            if let Some(c) = self.imm(insts, v)
                && self.val(r).gpr == NO
                && insts[r as usize].ty == Ty::I64
            {
                self.vacate_slot(insts, slot);
                self.asm.ins(MOV_MI, true, 0, 0, Rm::M(m), c as i64);
            } else {
                let x = self.val(r).xmm;
                if x != NO && self.val(r).gpr == NO {
                    self.xlocked |= 1 << x;
                    self.vacate_slot(insts, slot);
                    self.asm.ins(MOVSD_MR, false, x, 0, Rm::M(m), 0);
                } else {
                    let g = self.gpr(insts, v);
                    self.vacate_slot(insts, slot);
                    self.asm.ins(MOV_MR, true, g, 0, Rm::M(m), 0);
                }
            }
            if slot != self.cfg.flags_slot {
                self.slot_val[slot as usize] = r;
                if self.val(r).home == 0 {
                    self.val_mut(r).home = slot + 1;
                }
            }
        }
        self.take(v);
    }

    /// Forgets what slots are known to hold, because a called function may have changed them; live values move to
    /// temporaries first.
    pub(super) fn forget_slots(&mut self, insts: &[Inst]) {
        for p in PINS {
            if self.content[p as usize] != NONE {
                let r = self.content[p as usize];
                self.vacate(insts, p);
                if self.val(r).gpr == p {
                    self.val_mut(r).gpr = NO;
                }
            }
        }
        for x in XPINS {
            let r = self.xcontent[x as usize];
            if r != NONE {
                self.vacate_x(insts, x);
                if self.val(r).xmm == x {
                    self.val_mut(r).xmm = NO;
                }
            }
        }
        for slot in 0..128 {
            if self.slot_val[slot] != NONE {
                self.vacate_slot(insts, slot as u16);
            }
        }
        debug_assert!(self.content.iter().enumerate().all(|(r, &c)| c == NONE || TEMPS >> r & 1 != 0));
    }
}
