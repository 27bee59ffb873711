//! Code that is rarely reached: what the other files put off while they emitted the block, emitted behind it.

use super::WORD_IMM;
use super::asm::reg::*;
use super::asm::*;
use super::float::Fused;
use super::lower::Emitter;
use super::memory::{Host, Loaded, Stored};
use super::nan::Mends;
use super::states::Map;
use ir::{MemOp, Op, Ty};

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
    Store { from: u32, back: u32, base: Reg, disp: i32, value: Stored, memop: MemOp, mends: Mends, insn: i64 },
    /// The leader of a group missed, an access of the instruction at `insn`.
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
        /// Log2 of the bytes that have to lie in its page.
        bytes: u8,
        /// The displacement of another jump, which leaves in any case.
        out: Option<u32>,
        insn: i64,
        mends: Mends,
        /// Where the guest's registers are, in a region.
        map: Option<Map>,
    },
    /// The addend of the TLB entry at `entry` is not the one that was guessed.
    Guess { from: u32, back: u32, r: Reg, entry: Reg, at: i32 },
    /// An atomic whose operands are in scratch words or, as far as they are `late`, in registers. Two jumps may lead here.
    Atomic { from: [u32; 2], back: u32, stub: u64, dest: Reg, imm: u64, insn: i64, late: [Reg; 3] },
    /// A store-conditional whose condition is false.
    NotStored { from: u32, back: u32, dest: Reg },
    /// Division by zero.
    DivideZero { from: u32, back: u32, wide: bool },
    /// Division by -1.
    DivideMinusOne { from: u32, back: u32, wide: bool },
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
    Exit { from: u32, target: i64, mends: Mends, map: Map },
    /// The same for a target that may be mapped elsewhere now.
    Unexpected { from: u32, target: i64, mends: Mends, map: Map },
    /// The stub of link number `index`.
    Link { index: u32 },
    /// Where guarded link number `index` leads, there may be other code now.
    Unguarded { from: u32, index: u32 },
    /// The interrupt word is not zero; the guest is at `resume`.
    Interrupt { from: u32, resume: i64, map: Map },
    /// The exit of an entry for which the budget does not suffice.
    Spent { from: u32 },
}

impl Emitter {
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
                let base = match host {
                    // The address lies on the stack already.
                    Host::Site { .. } => None,
                    _ => self.cold_address(base, disp),
                };
                self.cold_load(dest, memop, base, insn);
                self.jump_back(back);
            }
            Cold::Store { from, back, base, disp, value, memop, mends, insn } => {
                self.arrive(from);
                self.mend(mends);
                self.cold_value(value);
                let base = self.cold_address(base, disp);
                let n = (memop.0 & 3) as usize + 4 * self.floats as usize;
                self.call_stub(self.stubs.store_to(n, base), insn);
                self.jump_back(back);
            }
            Cold::Fill { back, from, base, range, r, need, site, bytes, out, insn, mends, map } => {
                self.arrive(from);
                if let Some(n) = site {
                    self.look_for_site(base, range.0, bytes, (r, n, back));
                }
                if let Some(out) = out {
                    self.arrive(out);
                }
                self.mend(mends);
                for disp in [range.1, range.0] {
                    self.asm.push_imm(disp);
                }
                let which = need + 3 * self.floats as usize;
                let Some(map) = map else {
                    self.call_stub(self.stubs.fill_at(which, base), insn);
                    self.asm.pop(r);
                    return self.jump_back(back);
                };
                self.asm.call(self.stubs.attempt_at(which, base));
                let failed = self.asm.jump(Some(cc::NE));
                self.asm.pop(r);
                self.jump_back(back);
                self.arrive(failed);
                self.bring_home(map, 16);
                self.call_stub(self.stubs.fill[which], insn);
                // It is to be had by now. But everything is at home, and stays there.
                self.asm.pop(RAX);
                self.interrupt_stub(insn);
            }
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
            Cold::Guess { from, back, r, entry, at } => {
                self.arrive(from);
                self.asm.ins(MOV, true, r, 0, Rm::M(Mem::at(entry, self.cfg.tlb.addend)), 0);
                self.asm.ins(MOV_MR, true, r, 0, Rm::M(Mem::at(RBP, at)), 0);
                self.jump_back(back);
            }
            Cold::NotStored { from, back, dest } => {
                self.arrive(from);
                self.asm.mov_imm(dest, 1);
                self.jump_back(back);
            }
            Cold::DivideZero { from, back, wide } => {
                self.arrive(from);
                self.asm.ins(MOV, wide, RDX, 0, Rm::R(RAX), 0);
                self.asm.mov_imm(RAX, if wide { u64::MAX } else { u32::MAX as u64 });
                self.jump_back(back);
            }
            Cold::DivideMinusOne { from, back, wide } => {
                self.arrive(from);
                self.asm.mov_imm(RDX, 0);
                self.asm.ins(NEG, wide, 0, 0, Rm::R(RAX), 0);
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
            Cold::Exit { from, target, mends, map } => {
                self.arrive(from);
                self.exit(target, mends, map);
            }
            Cold::Unexpected { from, target, mends, map } => {
                self.arrive(from);
                self.exit_by_cache(target, mends, map);
            }
            Cold::Link { index } => self.link_stub(index),
            Cold::Unguarded { from, index } => self.unguarded(from, index),
            Cold::Interrupt { from, resume, map } => {
                self.arrive(from);
                self.bring_home(map, 0);
                self.interrupt_stub(resume);
            }
            Cold::Spent { from } => {
                self.arrive(from);
                self.spent_stub();
            }
        }
    }
    /// Loads from the address that has been pushed, less `base`.
    fn cold_load(&mut self, dest: Loaded, memop: MemOp, base: Option<Reg>, insn: i64) {
        let n = (memop.0 & 7) as usize + 8 * self.floats as usize;
        self.call_stub(self.stubs.load_from(n, base), insn);
        match dest {
            Loaded::R(r) => self.asm.pop(r),
            Loaded::X(x) => {
                self.asm.ins(MOVSD, false, x, 0, Rm::M(Mem::at(RSP, 0)), 0);
                self.asm.ins(ADD_I, true, 0, 0, Rm::R(RSP), 8);
            }
        }
    }
    /// Pushes what is to be stored.
    fn cold_value(&mut self, value: Stored) {
        match value {
            Stored::R(r) => self.asm.push(r),
            Stored::C(c) => self.asm.push_imm(c),
            Stored::X(x) => {
                self.asm.push(RAX);
                self.asm.ins(MOVSD_MR, false, x, 0, Rm::M(Mem::at(RSP, 0)), 0);
            }
        }
    }
    /// Pushes the address, or only the displacement and says what the stub is to add.
    fn cold_address(&mut self, base: Reg, disp: i32) -> Option<Reg> {
        if disp == 0 {
            self.asm.push(base);
            return None;
        }
        self.asm.push_imm(disp);
        Some(base)
    }
}
