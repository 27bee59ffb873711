//! Entry, exits, links and calls.
//!
//! Whenever control leaves a block, pinned registers hold their slots, the other slots are in the frame, and
//! temporaries are free.

use super::asm::reg::*;
use super::asm::*;
use super::cold::Cold;
use super::lower::Emitter;
use super::nan::Mends;
use super::states::Map;
use super::{WORD_IMM, WORD_INSN};
use crate::Link;
use ir::{HelperEffects, HelperInfo, Inst, Op, Val};

impl Emitter {
    /// Where the block begins. Its first instruction has two bytes at least: they are overwritten when it dies, maybe by
    /// another thread that stores into its guest page (a device does) while this one is about to run it.
    pub(super) fn enter_block(&mut self) {
        if let Some(budget) = self.cfg.budget {
            // Whoever counts wants to look at the interrupts between any two blocks.
            let word = Mem::at(RBP, self.cfg.layout.interrupt);
            self.asm.ins(CMP_I8, false, 0, 0, Rm::M(word), 0);
            let from = self.asm.jump(Some(cc::NE));
            self.cold.push(Cold::Interrupt { from, resume: self.entry, map: Map::default() });
            self.asm.ins(SUB_I, true, 0, 0, Rm::M(Mem::at(RBP, budget)), self.insns.into());
            let from = self.asm.jump(Some(cc::L));
            self.cold.push(Cold::Spent { from });
        }
    }
    /// The budget does not suffice for the block: it gets back what was taken.
    pub(super) fn spent_stub(&mut self) {
        if let Some(budget) = self.cfg.budget {
            self.asm.ins(ADD_I, true, 0, 0, Rm::M(Mem::at(RBP, budget)), self.insns.into());
        }
        self.interrupt_stub(self.entry);
    }
    /// Leaves for the interrupt word; the guest is at `resume`.
    pub(super) fn interrupt_stub(&mut self, resume: i64) {
        self.call_stub(self.stubs.interrupt[self.floats as usize], resume);
    }
    /// The look at the interrupt word before a jump to `target`, if that goes back: all other jumps in a page come to an end,
    /// and those to other pages look into the jump cache, where nothing is found while the word is not zero. A function that
    /// was called may have set the word because interrupts have been enabled; the guest may disable them again soon, so
    /// the look comes at once. `resume` is where the guest is then.
    fn look_up(&mut self, target: i64, resume: i64, map: Map) {
        if self.looks_up(target) && self.cfg.budget.is_none() {
            let word = Mem::at(RBP, self.cfg.layout.interrupt);
            self.asm.ins(CMP_I8, false, 0, 0, Rm::M(word), 0);
            let from = self.asm.jump(Some(cc::NE));
            self.cold.push(Cold::Interrupt { from, resume, map });
        }
    }
    /// Whether a jump to `target` needs a look at the interrupt word.
    pub(super) fn looks_up(&self, target: i64) -> bool {
        target <= self.entry || self.called
    }
    /// A patchable jump to `target`, which is in reach.
    fn link_to(&mut self, target: i64) {
        if Self::in_page(target) {
            // Not before the instruction: it may have changed what it reads, the link register.
            self.look_up(target, target, Map::default());
        } else {
            let page = Rm::M(Mem::at(RBP, self.cfg.layout.page));
            self.asm.ins(ADD_I, true, 0, 0, page, target & !4095);
            self.look_up(target, target & 4095, Map::default());
        }
        self.link(target);
    }
    /// A patchable jump to `target`, of which the frame knows the page.
    fn link(&mut self, target: i64) {
        self.align(0, 5);
        self.asm.call(self.stubs.link[self.floats as usize]);
        self.links.push(Link { at: self.asm.pos() - 4, stub: None, target, guard: None });
    }
    /// A patchable jump to `target`, which lies in a page that is mapped on its own, as long as the code is there that it was made for.
    fn link_guarded(&mut self, target: i64) {
        self.pc_to_rax(target);
        self.asm.call(self.stubs.mapped);
        self.align(3, 4);
        self.asm.ins(CMP_I, true, 0, 0, Rm::R(RDX), crate::NO_CODE_PAGE as i64);
        let guard = self.asm.pos() - 4;
        let from = self.asm.jump(Some(cc::NE));
        self.link(target);
        let index = self.links.len() as u32 - 1;
        self.links[index as usize].guard = Some(guard);
        self.cold.push(Cold::Unguarded { from, index });
    }
    /// The stub of guarded link number `index`: `rax` is its target.
    pub(super) fn unguarded(&mut self, from: u32, index: u32) {
        self.align(0, 5);
        self.arrive(from);
        self.links[index as usize].stub = Some(self.asm.pos());
        self.asm.call(self.stubs.link[self.floats as usize]);
    }
    /// No-operations, so that so many `bytes`, which begin so far `behind` what comes now, lie in one aligned word of eight.
    fn align(&mut self, behind: u64, bytes: u64) {
        let place = (self.asm.address(self.asm.pos()) + behind) % 8;
        if place + bytes > 8 {
            self.asm.nops(8 - place as usize);
        }
    }
    /// A patchable conditional jump to `target`, of which the frame knows the page. The instructions from `start` on make the condition and stay next to it.
    fn link_if(&mut self, code: u8, start: u32, target: i64) {
        let place = (self.asm.base + self.asm.pos() as u64 + 2) % 8;
        if place > 4 {
            self.asm.shift(start, 8 - place as usize);
        }
        let at = self.asm.jump(Some(code));
        let index = self.links.len() as u32;
        self.links.push(Link { at, stub: None, target, guard: None });
        self.cold.push(Cold::Link { index });
    }
    pub(super) fn link_stub(&mut self, index: u32) {
        let here = self.asm.pos();
        let link = &mut self.links[index as usize];
        link.stub = Some(here);
        let at = link.at;
        self.asm.patch(at, here);
        self.asm.call(self.stubs.link[self.floats as usize]);
    }
    /// Whether a jump to `target` stays in this code. Code whose accesses are on their own goes back to code where they are not.
    fn is_own_loop(&self, target: i64) -> bool {
        target == self.entry && self.cfg.loops && !self.alone
    }
    fn in_page(target: i64) -> bool {
        (0..4096).contains(&target)
    }
    /// Whether a jump to `target` may be linked. An instruction may begin at the end of another page that ends in one more; which,
    /// only the dispatcher knows.
    fn in_reach(&self, target: i64) -> bool {
        let (first, end) = self.reach;
        Self::in_page(target) || (first..end).contains(&target) && target & 4095 != 4094
    }
    /// Whether a jump to `target`, which is not in reach, may be linked if its page is looked for.
    fn is_mapped_alone(target: i64) -> bool {
        target as i32 as i64 == target && target & 4095 != 4094
    }
    pub(super) fn exit_if(&mut self, insts: &[Inst], i: &Inst) {
        let target = i.imm as i64;
        if Self::in_page(target) && self.looks_up(target) {
            let map = self.map(insts);
            self.look_up(target, self.insn, map);
        }
        // Operands are fetched first, so that only the comparison lies between `start` and the jump.
        self.fetch_condition(insts, i.args[0]);
        let start = self.asm.pos();
        let code = self.condition(insts, i.args[0]);
        let (mends, map) = (self.mends_now(), self.map(insts));
        if mends.is_empty() && !map.is_empty() && self.is_own_loop(target) {
            // The usual way on.
            let past = self.asm.jump(Some(code ^ 1));
            self.bring_home(map, 0);
            let at = self.asm.jump(None);
            self.asm.patch(at, 0);
            self.arrive(past);
        } else if !mends.is_empty() || !map.is_empty() {
            let from = self.asm.jump(Some(code));
            self.cold.push(Cold::Exit { from, target, mends, map });
        } else if self.is_own_loop(target) {
            let at = self.asm.jump(Some(code));
            self.asm.patch(at, 0);
        } else if Self::in_page(target) {
            self.link_if(code, start, target);
        } else {
            let from = self.asm.jump(Some(code));
            self.cold.push(Cold::Exit { from, target, mends, map });
        }
    }
    /// Leaves for `target` unless the jump cache leads from there to what was found there: whatever is mapped elsewhere it has forgotten.
    pub(super) fn expect(&mut self, insts: &[Inst], target: i64) {
        let Some(expected) = self.expected else { return };
        let layout = self.cfg.layout;
        let field = |offset: i32| Rm::M(Mem::at(RBP, offset));
        let (pc, entry) = (self.temp(insts), self.temp(insts));
        self.asm.ins(MOV, true, pc, 0, field(layout.page), 0);
        self.asm.ins(ADD_I, true, 0, 0, Rm::R(pc), target);
        const { assert!(crate::JUMPS * 2 == 1 << 16) };
        self.asm.ins(MOVZX16, false, entry, 0, Rm::R(pc), 0);
        self.asm.ins(SHL_I, false, 0, 0, Rm::R(entry), 3);
        self.asm.ins(ADD, true, entry, 0, field(layout.jump_cache), 0);
        self.asm.ins(XOR, true, pc, 0, field(layout.mode_tag), 0);
        self.asm.ins(XOR, true, pc, 0, Rm::M(Mem::at(entry, 0)), 0);
        // Code memory is smaller than the numbers of 32 bits.
        self.asm.ins(MOV, false, entry, 0, Rm::M(Mem::at(entry, 8)), 0);
        self.asm.ins(SUB_I, false, 0, 0, Rm::R(entry), expected as i32 as i64);
        self.asm.ins(OR, true, pc, 0, Rm::R(entry), 0);
        let from = self.asm.jump(Some(cc::NE));
        let (mends, map) = (self.mends_now(), self.map(insts));
        self.cold.push(Cold::Unexpected { from, target, mends, map });
    }
    pub(super) fn goto(&mut self, insts: &[Inst], target: i64) {
        let map = self.map(insts);
        self.bring_home(map, 0);
        if self.is_own_loop(target) {
            // Its own entry: no link is needed, an invalid block catches itself there.
            self.look_up(target, target, Map::default());
            let at = self.asm.jump(None);
            self.asm.patch(at, 0);
        } else if self.in_reach(target) {
            self.link_to(target);
        } else if Self::is_mapped_alone(target) {
            self.link_guarded(target);
        } else {
            self.pc_to_rax(target);
            self.jump_rax();
        }
    }
    fn pc_to_rax(&mut self, offset: i64) {
        let page = Mem::at(RBP, self.cfg.layout.page);
        if offset as i32 as i64 == offset {
            self.asm.ins(MOV, true, RAX, 0, Rm::M(page), 0);
            self.asm.ins(ADD_I, true, 0, 0, Rm::R(RAX), offset);
        } else {
            self.asm.mov_imm(RAX, offset as u64);
            self.asm.ins(ADD, true, RAX, 0, Rm::M(page), 0);
        }
    }
    /// The way out of a conditional exit that has something to do first, or leads to another page.
    pub(super) fn exit(&mut self, target: i64, mends: Mends, map: Map) {
        self.mend(mends);
        self.bring_home(map, 0);
        if self.in_reach(target) {
            self.link_to(target);
        } else if Self::is_mapped_alone(target) {
            self.link_guarded(target);
        } else {
            self.leave_by_cache(target);
        }
    }
    /// The same for what only the jump cache may know.
    pub(super) fn exit_by_cache(&mut self, target: i64, mends: Mends, map: Map) {
        self.mend(mends);
        self.bring_home(map, 0);
        self.leave_by_cache(target);
    }
    fn leave_by_cache(&mut self, target: i64) {
        self.pc_to_rax(target);
        self.asm.jump_to(None, self.stubs.probe[self.floats as usize]);
    }
    /// A call is to come that returns to `a`, `offset` from the page base: puts that into the table of calls.
    pub(super) fn will_return(&mut self, insts: &[Inst], a: Val, offset: i64) {
        let stack = self.pin[self.cfg.stack_slot as usize % 128];
        if !Self::in_page(offset) || stack == NO {
            return self.take(a);
        }
        let stack = self.pinned_now(insts, self.cfg.stack_slot);
        let address = self.gpr(insts, a);
        let (entry, code) = (self.temp(insts), self.temp(insts));
        call_entry(&mut self.asm, &self.cfg, entry, stack);
        // The order that puts the displacement, which will be patched, into one aligned word with less padding.
        let place = |e: &Emitter| (e.asm.base + e.asm.pos() as u64 + 3) % 8;
        let late = place(self) > 4;
        let remember = |e: &mut Emitter| e.asm.ins(MOV_MR, true, address, 0, Rm::M(Mem::at(entry, 0)), 0);
        if late {
            remember(self);
            if place(self) > 4 {
                let rest = 8 - place(self) as usize;
                self.asm.nops(rest);
            }
        }
        self.asm.ins(LEA, true, code, 0, Rm::Rip(0), 0);
        self.links.push(Link { at: self.asm.pos() - 4, stub: None, target: offset, guard: None });
        self.cold.push(Cold::Link { index: self.links.len() as u32 - 1 });
        if !late {
            remember(self);
        }
        self.asm.ins(MOV_MR, true, code, 0, Rm::M(Mem::at(entry, 8)), 0);
        self.take(a);
    }
    /// Whether value `n` is the address of a return that follows, with bit 0 cleared: that is done on the way, and seldom needed.
    pub(super) fn is_return(&self, insts: &[Inst], n: usize) -> bool {
        let returns = |i: &Inst| i.op == Op::Jump && i.imm == 2 && i.args[0].index() == n;
        insts.get(n + 1).is_some_and(returns)
            && self.vals[n].uses == 1
            && self.imm(insts, insts[n].args[1]) == Some(-2)
            && self.pin[self.cfg.stack_slot as usize % 128] != NO
    }
    pub(super) fn jump(&mut self, insts: &[Inst], a: Val, hint: u64) {
        let src = self.rm(insts, a);
        self.take(a);
        self.copy(RAX, src);
        let stack = self.pin[self.cfg.stack_slot as usize % 128];
        if hint == 2 && stack != NO {
            self.go_back(stack);
        } else {
            self.jump_rax();
        }
    }
    /// A return to the guest address in `rax`, whose bit 0 does not count: to where a call said, or by the jump cache.
    fn go_back(&mut self, stack: Reg) {
        let (layout, elsewhere) = (self.cfg.layout, self.stubs.elsewhere[self.floats as usize]);
        // Guests can return to where they return from for ever.
        self.asm.ins(CMP_I8, false, 0, 0, Rm::M(Mem::at(RBP, layout.interrupt)), 0);
        self.asm.jump_to(Some(cc::NE), elsewhere);
        call_entry(&mut self.asm, &self.cfg, RCX, stack);
        // All ones stands for no entry.
        self.asm.ins(TEST_B, false, 0, 0, Rm::R(RAX), 1);
        self.asm.jump_to(Some(cc::NE), elsewhere);
        self.asm.ins(CMP, true, RAX, 0, Rm::M(Mem::at(RCX, 0)), 0);
        self.asm.jump_to(Some(cc::NE), elsewhere);
        self.asm.ins(AND, true, RAX, 0, Rm::M(Mem::at(RBP, layout.page_mask)), 0);
        self.asm.ins(MOV_MR, true, RAX, 0, Rm::M(Mem::at(RBP, layout.page)), 0);
        self.asm.ins(JMP_RM, false, 0, 0, Rm::M(Mem::at(RCX, 8)), 0);
    }
    fn jump_rax(&mut self) {
        probe_jump_cache(&mut self.asm, &self.cfg, self.stubs.miss[self.floats as usize]);
    }
    pub(super) fn leave(&mut self) {
        if !self.floats {
            // The mode may have become one in which `xmm` registers hold slots.
            self.asm.jump_to(None, self.stubs.resume);
            return;
        }
        let pc = Mem::at(RBP, self.cfg.layout.pc);
        self.asm.ins(MOV, true, RAX, 0, Rm::M(pc), 0);
        self.jump_rax();
    }
    pub(super) fn call(&mut self, insts: &[Inst], i: &Inst, v: Val, info: &HelperInfo) {
        let n = info.args.min(4) as usize;
        for (k, &a) in i.args[..n].iter().enumerate() {
            if a.is_some() {
                self.argument(insts, k as i32, a);
            }
        }
        for &a in &i.args[..n] {
            if a.is_some() {
                self.take(a);
            }
        }
        let m = Rm::M(self.word(WORD_IMM));
        self.asm.ins(MOV_MI, true, 0, 0, m, (i.imm & 0xffff) as i64);
        let any = info.effects == HelperEffects::Any;
        if any {
            let m = Rm::M(self.word(WORD_INSN));
            self.asm.ins(MOV_MI, true, 0, 0, m, self.insn);
            self.forget_slots(insts);
        }
        self.forget_groups();
        self.called = true;
        let xmm = self.floats as usize;
        if any {
            self.call_stub(self.stubs.call[xmm], self.insn);
        } else {
            self.call_stub(self.stubs.call_quiet[xmm], self.insn);
        }
        if info.returns && self.vals[v.index()].uses > 0 {
            let d = self.dest(insts, v, NO, 0);
            let m = Rm::M(self.word(0));
            self.asm.ins(MOV, true, d, 0, m, 0);
            self.bind(v, d);
        }
    }
}

/// `entry` = host address of the entry of the table of calls for the stack pointer in `stack`.
fn call_entry(asm: &mut Asm, cfg: &crate::Config, entry: Reg, stack: Reg) {
    asm.ins(MOV, false, entry, 0, Rm::R(stack), 0);
    asm.ins(AND_I, false, 0, 0, Rm::R(entry), (crate::CALLS as i64 - 1) * 16);
    asm.ins(ADD, true, entry, 0, Rm::M(Mem::at(RBP, cfg.layout.calls)), 0);
}

/// What [`crate::Stubs::mapped`] says.
pub(super) fn look_at_mapping(asm: &mut Asm, cfg: &crate::Config) {
    let l = &cfg.layout;
    let field = |offset: i32| Rm::M(Mem::at(RBP, offset));
    asm.ins(MOV, false, RCX, 0, Rm::R(RAX), 0);
    asm.ins(SHR_I, false, 0, 0, Rm::R(RCX), 12 - 3);
    asm.ins(AND_I, false, 0, 0, Rm::R(RCX), (crate::CODE_PAGES as i64 - 1) << 3);
    asm.ins(ADD, true, RCX, 0, field(l.code_pages), 0);
    asm.ins(MOV, false, RDX, 0, field(l.interrupt), 0);
    asm.ins(SHL_I, true, 0, 0, Rm::R(RDX), 32);
    asm.ins(XOR, true, RDX, 0, Rm::R(RAX), 0);
    asm.ins(XOR, true, RDX, 0, Rm::M(Mem::at(RCX, 0)), 0);
    asm.ins(MOV, true, RCX, 0, Rm::R(RAX), 0);
    asm.ins(AND, true, RCX, 0, field(l.page_mask), 0);
    asm.ins(MOV_MR, true, RCX, 0, field(l.page), 0);
    asm.ret(0);
}

/// The jump cache, inline: `rax` holds the guest address.
pub(super) fn probe_jump_cache(asm: &mut Asm, cfg: &crate::Config, miss: u64) {
    let l = &cfg.layout;
    let entry = |disp: i32| Rm::M(Mem { base: RDX, index: RCX, scale: 3, disp });
    const { assert!(crate::JUMPS * 2 == 1 << 16) };
    asm.ins(MOVZX16, false, RCX, 0, Rm::R(RAX), 0);
    asm.ins(MOV, true, RDX, 0, Rm::M(Mem::at(RBP, l.jump_cache)), 0);
    asm.ins(MOV, true, R11, 0, Rm::R(RAX), 0);
    asm.ins(XOR, true, R11, 0, Rm::M(Mem::at(RBP, l.mode_tag)), 0);
    asm.ins(CMP, true, R11, 0, entry(0), 0);
    asm.jump_to(Some(cc::NE), miss);
    asm.ins(AND, true, RAX, 0, Rm::M(Mem::at(RBP, l.page_mask)), 0);
    asm.ins(MOV_MR, true, RAX, 0, Rm::M(Mem::at(RBP, l.page)), 0);
    asm.ins(JMP_RM, false, 0, 0, entry(8), 0);
}
