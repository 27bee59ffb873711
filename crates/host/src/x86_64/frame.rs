//! The common code at the start of a code memory: entering and leaving, slow paths, the jump cache's second half.
//!
//! Every stub that calls a hook first stores the pinned registers in their slots, so that the hook sees the guest's
//! state; the call-clobbered ones and the temporaries are restored afterwards. `rsp` is 8 above a multiple of
//! 16 in a stub that a block has called.

use super::asm::reg::*;
use super::asm::*;
use super::{FRAME_SPILLS, PINS, SPILLS, TEMPS, WORD_IMM, WORD_SAVE, XPINS, XTEMPS};
use crate::{Config, Hooks, Stubs, exit};

/// Registers that a called function preserves (System V ABI), in the order in which `enter` pushes them.
const PRESERVED: [u8; 6] = [RBX, RBP, R12, R13, R14, R15];
/// Bytes of host stack for spills: 8 above a multiple of 16, because entry and pushes leave `rsp` there.
const STACK: i64 = (SPILLS - FRAME_SPILLS) as i64 * 8 + 8;
const _: () = assert!(STACK % 16 == 8);

/// A call of a hook from a stub.
struct Hook {
    address: u64,
    xmm: bool,
    /// The register that gets the block's return address.
    ra: Option<Reg>,
    /// The hook says whether the block goes on.
    status: bool,
    /// It may have changed any slot.
    reload: bool,
    /// Words that the block has pushed. They are taken away but for the first one if it `leaves` 1: the value takes its place. Else
    /// the value goes to scratch word 0.
    stack: u16,
    leaves: u16,
    /// The block is told whether the hook's status was 0, by the zero flag; else all that it has pushed stays there.
    tells: bool,
}

impl Hook {
    fn new(address: u64, xmm: bool) -> Hook {
        Hook { address, xmm, ra: None, status: false, reload: false, stack: 0, leaves: 0, tells: false }
    }
}

struct Stub<'a> {
    asm: Asm,
    cfg: &'a Config,
    hooks: &'a Hooks,
    /// `leave` without storing the pinned registers; `rdx` is the exit value.
    leave_status: u32,
}

/// Emits the common code that will run at `base` (a multiple of 16). Returns its bytes and the addresses in it.
pub fn emit_stubs(cfg: &Config, hooks: &Hooks, base: u64) -> (Vec<u8>, Stubs) {
    let mut s = Stub { asm: Asm::default(), cfg, hooks, leave_status: 0 };
    s.asm.start(base);
    let mut stubs = Stubs { constants: base, ..Stubs::default() };
    s.asm.data(0x7fc0_0000, 0);
    s.asm.data(0x7ff8_0000_0000_0000, 0);
    s.asm.data(0xffff_ffff_0000_0000, 0);
    s.asm.data(0, 0);
    s.asm.data(0xffff_ffff_7fc0_0000, 0);
    s.asm.data(1 << 31, 0);
    s.asm.data(1 << 63, 0);
    s.asm.data(!(1 << 31), 0);
    s.asm.data(!(1 << 63), 0);
    for (low, high) in super::float::flag_table() {
        s.asm.data(low, high);
    }
    stubs.enter = s.enter();
    for xmm in [false, true] {
        let x = xmm as usize;
        stubs.leave[x] = s.leave(xmm);
        for memop in 0..7 {
            stubs.load[memop as usize + 8 * x] = s.load(memop, xmm);
        }
        stubs.load[7 + 8 * x] = stubs.load[3 + 8 * x];
        for memop in 0..4 {
            stubs.store[memop as usize + 4 * x] = s.store(memop, xmm);
        }
        for need in 0..3 {
            stubs.fill[need + 3 * x] = s.fill(need as u64, xmm);
            stubs.attempt[need + 3 * x] = s.attempt(need as u64, xmm);
        }
        stubs.amo[x] = s.with_arguments(hooks.amo, xmm);
        stubs.cas[x] = s.with_arguments(hooks.cas, xmm);
        stubs.store_cond[x] = s.with_arguments(hooks.store_cond, xmm);
        stubs.call[x] = s.call(xmm, true);
        stubs.call_quiet[x] = s.call(xmm, false);
        stubs.miss[x] = s.miss(xmm);
        stubs.probe[x] = s.here();
        super::control::probe_jump_cache(&mut s.asm, cfg, stubs.miss[x]);
        stubs.elsewhere[x] = s.here();
        s.asm.ins(AND_I8, true, 0, 0, Rm::R(RAX), -2);
        s.asm.jump_to(None, stubs.probe[x]);
        stubs.interrupt[x] = s.leave_from(exit::INTERRUPT, stubs.leave[x]);
        stubs.link[x] = s.leave_from(exit::LINK, stubs.leave[x]);
        stubs.dead[x] = s.leave_from(exit::DEAD, stubs.leave[x]);
    }
    let accesses: Vec<_> = stubs.accesses().collect();
    stubs.based = s.here();
    for base in 0..16 {
        for &(to, addresses) in &accesses {
            s.here();
            for n in 1..=addresses {
                s.asm.ins(ADD_MR, true, base, 0, Rm::M(Mem::at(RSP, 8 * n)), 0);
            }
            s.asm.jump_to(None, to);
        }
    }
    if let Some(sites) = cfg.sites {
        for (row, r) in stubs.site.iter_mut().zip((0..16).filter(|&r| TEMPS >> r & 1 != 0)) {
            *row = std::array::from_fn(|n| s.site(r, 1 << n, sites));
        }
    }
    stubs.mapped = s.here();
    super::control::look_at_mapping(&mut s.asm, cfg);
    stubs.soft = s.soft();
    stubs.carryless = s.carryless();
    stubs.resume = s.here();
    s.load_xpins();
    s.asm.ins(MOV, true, RAX, 0, s.field(cfg.layout.pc), 0);
    super::control::probe_jump_cache(&mut s.asm, cfg, stubs.miss[1]);
    (s.asm.bytes().to_vec(), stubs)
}

impl Stub<'_> {
    /// Begins a stub at a multiple of 16.
    fn here(&mut self) -> u64 {
        self.asm.room();
        let rest = self.asm.pos() as usize % 16;
        if rest != 0 {
            self.asm.nops(16 - rest);
        }
        self.asm.base + self.asm.pos() as u64
    }
    fn field(&self, offset: i32) -> Rm {
        Rm::M(Mem::at(RBP, offset))
    }
    fn word(&self, n: i32) -> Rm {
        self.field(self.cfg.layout.scratch + 8 * n)
    }
    /// Pinned registers with their slots.
    fn pins(&self) -> Vec<(Reg, Rm)> {
        let slots = self.cfg.layout.slots;
        self.cfg.hot_slots.iter().zip(PINS).map(|(&n, r)| (r, self.field(slots + 8 * n as i32))).collect()
    }
    fn store_pins(&mut self) {
        for (r, m) in self.pins() {
            self.asm.ins(MOV_MR, true, r, 0, m, 0);
        }
    }
    fn load_pins(&mut self, all: bool) {
        for (r, m) in self.pins() {
            if all || !PRESERVED.contains(&r) {
                self.asm.ins(MOV, true, r, 0, m, 0);
            }
        }
    }
    /// Pinned `xmm` registers with their slots.
    fn xpins(&self) -> Vec<(Reg, Rm)> {
        let slots = self.cfg.layout.slots;
        self.cfg.hot_floats.iter().zip(XPINS).map(|(&n, x)| (x, self.field(slots + 8 * n as i32))).collect()
    }
    fn store_xpins(&mut self) {
        for (x, m) in self.xpins() {
            self.asm.ins(MOVSD_MR, false, x, 0, m, 0);
        }
    }
    fn load_xpins(&mut self) {
        for (x, m) in self.xpins() {
            self.asm.ins(MOVSD, false, x, 0, m, 0);
        }
    }
    fn temps(&self) -> impl Iterator<Item = (Reg, Rm)> + use<> {
        let scratch = self.cfg.layout.scratch;
        (0..16u8)
            .filter(|&r| TEMPS >> r & 1 != 0)
            .enumerate()
            .map(move |(n, r)| (r, Rm::M(Mem::at(RBP, scratch + 8 * (WORD_SAVE + n as i32)))))
    }
    fn add_rsp(&mut self, n: i64) {
        if n != 0 {
            self.asm.ins(ADD_I, true, 0, 0, Rm::R(RSP), n);
        }
    }
    fn enter(&mut self) -> u64 {
        let at = self.here();
        for r in PRESERVED {
            self.asm.push(r);
        }
        self.add_rsp(-STACK);
        self.asm.ins(MOV, true, RBP, 0, Rm::R(RDI), 0);
        self.asm.ins(MOV, true, RAX, 0, Rm::R(RSI), 0);
        self.asm.ins(LDMXCSR, false, 0, 0, self.field(self.cfg.layout.mxcsr), 0);
        self.load_pins(true);
        self.load_xpins();
        self.asm.ins(JMP_RM, false, 0, 0, Rm::R(RAX), 0);
        at
    }
    fn leave(&mut self, xmm: bool) -> u64 {
        let at = self.here();
        self.store_pins();
        if xmm {
            self.store_xpins();
        }
        let over = self.asm.jump(None);
        self.leave_status = self.asm.pos();
        self.asm.ins(CMP_I8, true, 0, 0, Rm::R(RDX), exit::GO as i64);
        let out = self.asm.jump(Some(cc::NE));
        self.load_pins(true);
        self.load_xpins();
        self.asm.ins(JMP_RM, false, 0, 0, Rm::R(RAX), 0);
        let here = self.asm.pos();
        self.asm.patch(out, here);
        self.asm.ins(MOV, true, RAX, 0, Rm::R(RDX), 0);
        let here = self.asm.pos();
        self.asm.patch(over, here);
        self.add_rsp(STACK);
        for r in PRESERVED.iter().rev() {
            self.asm.pop(*r);
        }
        self.asm.ret(0);
        at
    }
    /// Called by a block: leaves with the return address as an exit value of this kind.
    fn leave_from(&mut self, kind: u64, leave: u64) -> u64 {
        let at = self.here();
        self.asm.pop(RAX);
        self.asm.ins(SHL_I, true, 0, 0, Rm::R(RAX), 8);
        self.asm.ins(OR_I, true, 0, 0, Rm::R(RAX), kind as i64);
        self.asm.jump_to(None, leave);
        at
    }
    /// Calls a hook from a stub that a block has called: `arguments` fills rsi, rdx, rcx, r8; it is given the places of what
    /// the block has pushed, the last first.
    fn hook(&mut self, hook: Hook, arguments: impl FnOnce(&mut Self, &dyn Fn(i32) -> Rm)) {
        let Hook { address, xmm, ra, status, reload, stack, leaves, tells } = hook;
        self.store_pins();
        for (r, m) in self.temps() {
            self.asm.ins(MOV_MR, true, r, 0, m, 0);
        }
        // With what was pushed and the return address this makes a multiple of 16.
        let saved = if xmm { XTEMPS as i64 } else { 0 };
        let frame = 8 * (saved + (saved + stack as i64 + 1) % 2);
        let pushed = |n: i32| Rm::M(Mem::at(RSP, frame as i32 + 8 + 8 * n));
        self.add_rsp(-frame);
        if xmm {
            self.store_xpins();
            for x in 0..XTEMPS {
                self.asm.ins(MOVSD_MR, false, x, 0, Rm::M(Mem::at(RSP, 8 * x as i32)), 0);
            }
        }
        arguments(self, &pushed);
        if let Some(r) = ra {
            self.asm.ins(MOV, true, r, 0, Rm::M(Mem::at(RSP, frame as i32)), 0);
        }
        self.asm.ins(MOV, true, RDI, 0, self.field(self.cfg.layout.context), 0);
        self.asm.mov_imm(RAX, address);
        self.asm.ins(CALL_RM, false, 0, 0, Rm::R(RAX), 0);
        if status {
            self.asm.ins(TEST, true, RDX, 0, Rm::R(RDX), 0);
            let on = self.asm.jump(Some(cc::E));
            // The return address and what was pushed go with the frame.
            self.add_rsp(frame + 8 + 8 * stack as i64);
            let at = self.asm.jump(None);
            self.asm.patch(at, self.leave_status);
            let here = self.asm.pos();
            self.asm.patch(on, here);
        }
        let result = if leaves == 1 { pushed(stack as i32 - 1) } else { self.word(0) };
        let told = self.word(1);
        let keeps = tells.then(|| {
            self.asm.ins(MOV_MR, true, RDX, 0, told, 0);
            self.asm.ins(TEST, true, RDX, 0, Rm::R(RDX), 0);
            self.asm.jump(Some(cc::NE))
        });
        self.asm.ins(MOV_MR, true, RAX, 0, result, 0);
        if let Some(from) = keeps {
            let here = self.asm.pos();
            self.asm.patch(from, here);
        }
        if xmm {
            self.load_xpins();
            for x in 0..XTEMPS {
                self.asm.ins(MOVSD, false, x, 0, Rm::M(Mem::at(RSP, 8 * x as i32)), 0);
            }
        }
        self.add_rsp(frame);
        self.load_pins(reload);
        for (r, m) in self.temps() {
            self.asm.ins(MOV, true, r, 0, m, 0);
        }
        if tells {
            self.asm.ins(CMP_I8, true, 0, 0, told, 0);
            let had = self.asm.jump(Some(cc::E));
            self.asm.ret(0);
            let here = self.asm.pos();
            self.asm.patch(had, here);
        }
        self.asm.ret(8 * (stack - leaves));
    }
    fn load(&mut self, memop: u64, xmm: bool) -> u64 {
        let at = self.here();
        let hook =
            Hook { ra: Some(RCX), status: true, stack: 1, leaves: 1, ..Hook::new(self.hooks.load, xmm) };
        self.hook(hook, |s, stack| {
            s.asm.ins(MOV, true, RSI, 0, stack(0), 0);
            s.asm.mov_imm(RDX, memop);
        });
        at
    }
    fn store(&mut self, memop: u64, xmm: bool) -> u64 {
        let at = self.here();
        let hook = Hook { ra: Some(R8), status: true, stack: 2, ..Hook::new(self.hooks.store, xmm) };
        self.hook(hook, |s, stack| {
            s.asm.ins(MOV, true, RSI, 0, stack(0), 0);
            s.asm.ins(MOV, true, RDX, 0, stack(1), 0);
            s.asm.mov_imm(RCX, memop);
        });
        at
    }
    fn fill(&mut self, need: u64, xmm: bool) -> u64 {
        let at = self.here();
        self.split();
        let hook =
            Hook { ra: Some(R8), status: true, stack: 2, leaves: 1, ..Hook::new(self.hooks.fill, xmm) };
        self.hook(hook, |s, stack| {
            s.asm.ins(MOV, true, RSI, 0, stack(0), 0);
            s.asm.ins(MOV, true, RDX, 0, stack(1), 0);
            s.asm.mov_imm(RCX, need);
        });
        at
    }
    fn attempt(&mut self, need: u64, xmm: bool) -> u64 {
        let at = self.here();
        let saved = self.word(WORD_SAVE);
        self.asm.ins(MOV_MR, true, RAX, 0, saved, 0);
        self.in_two_pages();
        self.asm.ins(MOV, true, RAX, 0, saved, 0);
        let whole = self.asm.jump(Some(cc::E));
        self.asm.ret(0);
        let here = self.asm.pos();
        self.asm.patch(whole, here);
        let hook = Hook { stack: 2, leaves: 1, tells: true, ..Hook::new(self.hooks.attempt, xmm) };
        self.hook(hook, |s, stack| {
            s.asm.ins(MOV, true, RSI, 0, stack(0), 0);
            s.asm.ins(MOV, true, RDX, 0, stack(1), 0);
            s.asm.mov_imm(RCX, need);
        });
        at
    }
    /// Clears the zero flag if the two words on the stack are addresses in two pages; destroys `rax`.
    fn in_two_pages(&mut self) {
        let word = |n: i32| Rm::M(Mem::at(RSP, 8 * n));
        self.asm.ins(MOV, true, RAX, 0, word(1), 0);
        self.asm.ins(XOR, true, RAX, 0, word(2), 0);
        self.asm.ins(SHR_I, true, 0, 0, Rm::R(RAX), 12);
    }
    /// If the two words on the stack are addresses in two pages, and the table of split groups knows the return address: goes where it says.
    fn split(&mut self) {
        let word = |n: i32| Rm::M(Mem::at(RSP, 8 * n));
        let saved = [self.word(WORD_SAVE), self.word(WORD_SAVE + 1)];
        self.asm.ins(MOV_MR, true, RAX, 0, saved[0], 0);
        self.in_two_pages();
        let whole = self.asm.jump(Some(cc::E));
        self.asm.ins(MOV_MR, true, RCX, 0, saved[1], 0);
        self.asm.ins(MOV, true, RAX, 0, word(0), 0);
        self.asm.ins(MOV, false, RCX, 0, Rm::R(RAX), 0);
        self.asm.ins(AND_I, false, 0, 0, Rm::R(RCX), (crate::SPLITS as i64 - 1) * 16);
        self.asm.ins(ADD, true, RCX, 0, self.field(self.cfg.layout.splits), 0);
        self.asm.ins(CMP, true, RAX, 0, Rm::M(Mem::at(RCX, 0)), 0);
        let unknown = self.asm.jump(Some(cc::NE));
        // The return address and the two words.
        self.add_rsp(24);
        self.asm.ins(JMP_RM, false, 0, 0, Rm::M(Mem::at(RCX, 8)), 0);
        let here = self.asm.pos();
        self.asm.patch(unknown, here);
        self.asm.ins(MOV, true, RCX, 0, saved[1], 0);
        let here = self.asm.pos();
        self.asm.patch(whole, here);
        self.asm.ins(MOV, true, RAX, 0, saved[0], 0);
    }
    /// See [`Stubs::site`].
    fn site(&mut self, r: Reg, bytes: i32, sites: crate::Sites) -> u64 {
        let at = self.here();
        let tlb = self.cfg.tlb;
        let mask = ((1i64 << tlb.entries_log2) - 1) << tlb.entry_log2;
        let mut others = (0..16).filter(|&o| TEMPS >> o & 1 != 0 && o != r);
        let (Some(tag), Some(n)) = (others.next(), others.next()) else { unreachable!("four temporaries") };
        self.asm.ins(MOV_MR, true, r, 0, self.word(0), 0);
        self.asm.ins(MOV_MR, true, tag, 0, self.word(WORD_SAVE), 0);
        self.asm.ins(MOV_MR, true, n, 0, self.word(WORD_SAVE + 1), 0);
        self.asm.ins(MOV, false, n, 0, Rm::M(Mem::at(RSP, 8)), 0);
        self.asm.ins(LEA, true, tag, 0, Rm::M(Mem::at(r, bytes - 1)), 0);
        self.asm.ins(SHR_I, true, 0, 0, Rm::R(r), (12 - tlb.entry_log2) as i64);
        self.asm.ins(AND_I, true, 0, 0, Rm::R(tag), -4096);
        self.asm.ins(AND_I, false, 0, 0, Rm::R(r), mask);
        self.asm.ins(ADD, true, r, 0, self.field(self.cfg.layout.tlb), 0);
        // The entry's page alone counts; on a hit the second time brings back what the first has taken from `tag`.
        let known = Rm::M(Mem::at(r, tlb.tag));
        self.asm.ins(XOR, true, tag, 0, known, 0);
        self.asm.ins(TEST_I, true, 0, 0, Rm::R(tag), -4096);
        let missed = self.asm.jump(Some(cc::NE));
        self.asm.ins(XOR, true, tag, 0, known, 0);
        self.asm.ins(MOV, true, r, 0, Rm::M(Mem::at(r, tlb.addend)), 0);
        let word = |table: i32| Rm::M(Mem { base: RBP, index: n, scale: 3, disp: table });
        self.asm.ins(MOV_MR, true, r, 0, word(sites.addends), 0);
        self.asm.ins(MOV_MR, true, tag, 0, word(sites.tags), 0);
        self.asm.ins(CMP, true, tag, 0, Rm::R(tag), 0);
        let here = self.asm.pos();
        self.asm.patch(missed, here);
        // None of these changes flags.
        self.asm.ins(MOV, true, tag, 0, self.word(WORD_SAVE), 0);
        self.asm.ins(MOV, true, n, 0, self.word(WORD_SAVE + 1), 0);
        self.asm.ret(8);
        at
    }
    fn with_arguments(&mut self, hook: u64, xmm: bool) -> u64 {
        let at = self.here();
        let (args, imm) = (self.word(0), self.word(WORD_IMM));
        let hook = Hook { ra: Some(RCX), status: true, ..Hook::new(hook, xmm) };
        self.hook(hook, |s, _| {
            s.asm.ins(LEA, true, RSI, 0, args, 0);
            s.asm.ins(MOV, true, RDX, 0, imm, 0);
        });
        at
    }
    fn call(&mut self, xmm: bool, any: bool) -> u64 {
        let at = self.here();
        let (args, id) = (self.word(0), self.word(WORD_IMM));
        let hook = Hook { ra: Some(RCX), status: any, reload: any, ..Hook::new(self.hooks.helper, xmm) };
        self.hook(hook, |s, _| {
            s.asm.ins(MOV, true, RSI, 0, id, 0);
            s.asm.ins(LEA, true, RDX, 0, args, 0);
        });
        at
    }
    fn soft(&mut self) -> u64 {
        let at = self.here();
        let (args, what) = (self.word(0), self.word(WORD_IMM));
        self.hook(Hook::new(self.hooks.soft, true), |s, _| {
            s.asm.ins(MOV, true, RSI, 0, what, 0);
            s.asm.ins(LEA, true, RDX, 0, args, 0);
        });
        at
    }
    /// See [`Stubs::carryless`]. The second factor moves out of `r11` to the right, one bit in each turn, and the product moves in
    /// after it from `rdx`, to which the first factor is added where the bit is one.
    fn carryless(&mut self) -> u64 {
        let at = self.here();
        self.asm.ins(MOV, true, R11, 0, Rm::R(RDX), 0);
        self.asm.ins(XOR, false, RDX, 0, Rm::R(RDX), 0);
        self.asm.mov_imm(RCX, 64);
        let again = self.asm.pos();
        self.asm.ins(TEST_I, false, 0, 0, Rm::R(R11), 1);
        let zero = self.asm.jump(Some(cc::E));
        self.asm.ins(XOR, true, RDX, 0, Rm::R(RAX), 0);
        let here = self.asm.pos();
        self.asm.patch(zero, here);
        self.asm.ins(SHRD_I, true, RDX, 0, Rm::R(R11), 1);
        self.asm.ins(SHR_I, true, 0, 0, Rm::R(RDX), 1);
        self.asm.ins(SUB_I8, false, 0, 0, Rm::R(RCX), 1);
        let more = self.asm.jump(Some(cc::NE));
        self.asm.patch(more, again);
        self.asm.ins(MOV, true, RAX, 0, Rm::R(R11), 0);
        self.asm.ret(0);
        at
    }
    /// `rax` = guest pc. Reached by a jump, so `rsp` is aligned.
    fn miss(&mut self, xmm: bool) -> u64 {
        let at = self.here();
        self.asm.ins(MOV_MR, true, RAX, 0, self.field(self.cfg.layout.pc), 0);
        self.store_pins();
        if xmm {
            self.store_xpins();
        }
        self.asm.ins(MOV, true, RDI, 0, self.field(self.cfg.layout.context), 0);
        self.asm.mov_imm(RAX, self.hooks.lookup);
        self.asm.ins(CALL_RM, false, 0, 0, Rm::R(RAX), 0);
        self.asm.ins(TEST, true, RDX, 0, Rm::R(RDX), 0);
        let at_exit = self.asm.jump(Some(cc::NE));
        self.asm.patch(at_exit, self.leave_status);
        self.load_pins(true);
        if xmm {
            self.load_xpins();
        }
        self.asm.ins(JMP_RM, false, 0, 0, Rm::R(RAX), 0);
        at
    }
}
