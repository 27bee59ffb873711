//! Guest loads and stores: the soft TLB inline, the slow path behind the block.
//!
//! The probe computes the address of the TLB entry from the page number, and compares the entry's tag with the page
//! of the *last* byte of the access: an access that crosses a page lies in the entry of its first byte, whose tag
//! cannot equal the next page.
//!
//! Accesses of one base (`groups.rs`) are coalesced: the first of them (the leader) probes for the whole range that they cover,
//! for writing if one of them writes, and leaves the addend in a temporary for the others (followers), which look at nothing. If
//! it misses it has the TLB filled and goes on. Where that cannot be (a device, a page boundary in the range, a page that may not be
//! written yet), the block is left at the leader's instruction, for a translation in which each access is on its own. An access with no followers has a slow path that makes it. A call forgets addends, since it may change the mapping; no other
//! instruction of a block does.

use super::asm::reg::*;
use super::asm::*;
use super::cold::Cold;
use super::groups::{Anchor, GROUPS, Group, PAGE, anchor};
use super::lower::Emitter;
use super::nan::Mends;
use crate::Point;
use ir::{Inst, MemOp, Op, Ty, Val};

/// Which part an access has in a group, and the register of the addend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// None: the register is free on the slow path.
    Alone(Reg),
    /// It is in a group, or leads it: the register holds an addend for whoever gets here.
    Sure(Reg),
    /// It was not in the page of site `n`; with the addend in the register it goes on at `again`.
    Site { r: Reg, n: u32, again: u32 },
}

impl Host {
    fn reg(self) -> Reg {
        match self {
            Host::Alone(r) | Host::Sure(r) | Host::Site { r, .. } => r,
        }
    }
}

/// An access that has just been emitted.
#[derive(Clone, Copy, Debug)]
struct Access {
    base: Reg,
    disp: i32,
    memop: MemOp,
    moved: Moved,
    mends: Mends,
    insn: i64,
}

/// What an access moves.
#[derive(Clone, Copy, Debug)]
enum Moved {
    Load(Loaded),
    Store(Stored),
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
    /// Emits the TLB probe for the bytes from `base + low` to `base + high`: leaves the entry's address in `entry`; `tag` is
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
        if write {
            self.asm.ins(AND, true, tag, 0, field(layout.page_mask), 0);
        }
        self.asm.ins(AND, false, entry, 0, field(layout.entry_mask), 0);
        self.asm.ins(ADD, true, entry, 0, field(layout.tlb), 0);
        let known = Rm::M(Mem::at(entry, tlb.tag));
        if write {
            self.asm.ins(CMP, true, tag, 0, known, 0);
        } else {
            self.asm.ins(XOR, true, tag, 0, known, 0);
            self.asm.ins(TEST, true, tag, 0, field(layout.page_mask), 0);
        }
        self.asm.jump(Some(cc::NE))
    }
    /// The addend of the TLB entry at `entry`, in its place.
    pub(super) fn addend_of(&mut self, entry: Reg) {
        self.asm.ins(MOV, true, entry, 0, Rm::M(Mem::at(entry, self.cfg.tlb.addend)), 0);
    }
    /// The same in `r`, by the guess at `at`, so that who uses it need not wait.
    fn guessed(&mut self, at: i32, entry: Reg, r: Reg) -> Reg {
        self.asm.ins(MOV, true, r, 0, Rm::M(Mem::at(RBP, at)), 0);
        self.asm.ins(CMP, true, r, 0, Rm::M(Mem::at(entry, self.cfg.tlb.addend)), 0);
        let from = self.asm.jump(Some(cc::NE));
        let back = self.asm.pos();
        self.cold.push(Cold::Guess { from, back, r, entry, at });
        r
    }
    /// The place of a guess for an access: an offset from the state register.
    fn new_guess(&mut self) -> Option<i32> {
        let sites = self.cfg.sites?;
        self.next_guess = (self.next_guess + 1) % sites.count;
        Some(sites.guesses + 8 * self.next_guess as i32)
    }
    /// `d = r + n`, at least 32 bits of it.
    pub(super) fn sum(&mut self, d: Reg, r: Reg, n: i64, whole: bool) {
        if n == 0 {
            self.asm.ins(MOV, whole, d, 0, Rm::R(r), 0);
        } else {
            self.asm.ins(LEA, whole, d, 0, Rm::M(Mem::at(r, n as i32)), 0);
        }
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
                return (Host::Sure(host), 0, d);
            }
        }
        // Whether the block may be left here. An instruction that has made an access already has to be finished.
        let leaves = self.untouched && !self.alone;
        // Only who can leave may guess where a table lies, and only others are reason to. (A store has no register left.)
        let without = reach != 0 && (!leaves || led.followers == 0 || own.write);
        let led = if without { Group::of(i, root, offset) } else { led };
        // Near the code of a jump lies what tells where the functions of other libraries are: too many such jumps share the sites.
        if led.followers == 0
            && !own.write
            && self.looping
            && (self.region || anchor & PAGE == 0)
            && let Some(n) = self.new_site()
        {
            return self.site(insts, Group::of(i, root, 0), base, n, result);
        }
        let (base, range) = if reach != 0 && !without {
            (self.gpr(insts, Val(anchor)), (led.low, led.high))
        } else {
            (base, (led.low - offset, led.high - offset))
        };
        let leaves = leaves && range.1 <= i32::MAX as i64 && (self.region || led.followers > 0);
        let followers = if leaves { led.followers } else { 0 };
        let entry = self.temp_of(insts, super::TEMPS);
        let tag = self.temp(insts);
        let site = (leaves && self.region && self.looping && !led.write).then(|| self.new_site()).flatten();
        let (from, out) = match site {
            Some(n) => self.group_site(base, range, n, entry, tag),
            None => (self.probe(base, range, led.write, entry, tag), None),
        };
        let guess =
            (self.region && site.is_none() && !led.write && self.is_steady()).then(|| self.new_guess());
        let (entry, tag) = match guess.flatten() {
            Some(n) => (self.guessed(n, entry, tag), entry),
            None => {
                if site.is_none() {
                    self.addend_of(entry);
                }
                (entry, tag)
            }
        };
        let back = self.asm.pos();
        if leaves {
            let (insn, mends, map) = (self.insn, self.mends_now(), self.dues.then(|| self.map(insts)));
            let need = led.write as usize + own.write as usize;
            let range = (range.0 as i32, range.1 as i32);
            let bytes = 0;
            self.cold.push(Cold::Fill {
                back,
                from,
                base,
                range,
                r: entry,
                need,
                site,
                bytes,
                out,
                insn,
                mends,
                map,
            });
        } else if self.dues {
            // Its slow path could be looked into.
            self.too_complex = true;
        }
        let d = result.map_or(NO, |v| self.dest(insts, v, tag, 0));
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
        (Host::Sure(entry), from, d)
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
        let r = self.temp_of(insts, super::TEMPS);
        let d = result.map_or(NO, |v| self.dest(insts, v, r, 0));
        let map = self.dues.then(|| self.map(insts));
        self.sum(r, base, own.low, true);
        // The low bits that alignment wants zero stay in, and spoil the comparison if they are not.
        let bytes = own.high - own.low + 1;
        self.asm.ins(AND_I, true, 0, 0, Rm::R(r), -4096 | (bytes - 1));
        let from = self.known_site(n, r);
        let again = self.asm.pos();
        let Some(map) = map else { return (Host::Site { r, n, again }, from, d) };
        let (range, site, log2) = ((own.low as i32, own.high as i32), Some(n), bytes.trailing_zeros() as u8);
        let (insn, mends) = (self.insn, self.mends_now());
        self.cold.push(Cold::Fill {
            back: again,
            from,
            base,
            range,
            r,
            need: 0,
            site,
            bytes: log2,
            out: None,
            insn,
            mends,
            map: Some(map),
        });
        (Host::Sure(r), from, d)
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
    pub(super) fn cold_site(&mut self, base: Reg, disp: i32, memop: MemOp, (r, n, again): (Reg, u32, u32)) {
        self.look_for_site(base, disp, memop.0 & 3, (r, n, again));
        let address = Rm::M(self.word(0));
        self.asm.ins(PUSH, false, 0, 0, address, 0);
    }
    /// Goes on at `again` with the addend in `r` if the TLB has the page of the bytes (log2) at `base + disp`.
    pub(super) fn look_for_site(&mut self, base: Reg, disp: i32, bytes: u8, (r, n, again): (Reg, u32, u32)) {
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
            let row = if memop.bytes() == 8 { MOVSD } else { MOVSS };
            self.asm.ins(row, false, x, 0, Rm::M(Mem::sum(base, host.reg(), disp)), 0);
            self.xbind(v, x);
            let moved = Moved::Load(Loaded::X(x));
            self.put_off(host, from, Access { base, disp, memop, moved, mends, insn });
            return;
        }
        let (host, from, d) = self.host_address(insts, i, base, Some(v));
        let m = Rm::M(Mem::sum(base, host.reg(), disp));
        let (row, w) = load_row(memop);
        self.asm.ins(row, w, d, 0, m, 0);
        self.bind(v, d);
        let moved = Moved::Load(Loaded::R(d));
        self.put_off(host, from, Access { base, disp, memop, moved, mends, insn });
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
        let Access { base, disp, memop, moved, mends, insn } = a;
        let back = self.asm.pos();
        if matches!(host, Host::Sure(_)) {
            return;
        }
        self.cold.push(match moved {
            Moved::Load(dest) => Cold::Load { from, back, base, disp, dest, memop, mends, insn, host },
            Moved::Store(value) => Cold::Store { from, back, base, disp, value, memop, mends, insn },
        });
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
        self.put_off(host, from, Access { base, disp, memop, moved, mends, insn });
    }

    /// Calls a stub and notes the return address.
    pub(super) fn call_stub(&mut self, stub: u64, insn: i64) {
        self.asm.call(stub);
        self.points.push(Point { return_offset: self.asm.pos(), insn });
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
