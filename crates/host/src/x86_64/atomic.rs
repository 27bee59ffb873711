//! Atomics: locked instructions on the guest's memory where the write tag matches and the address is aligned. With one vCPU they
//! need no lock: an instruction is not interrupted half-way.
//!
//! The slow path wants the operands in scratch words. Those in pinned registers go there on the way to it; the others go
//! there first, and the fast path reads them from there, since temporaries are short.

use super::TEMPS;
use super::asm::reg::*;
use super::asm::*;
use super::cold::Cold;
use super::lower::Emitter;
use super::memory::memory_row;
use ir::{Inst, MemOp, Val};

impl Emitter {
    /// Makes the operands ready. Gives where the fast path finds each, and the registers that the slow path has to store.
    fn arguments<const N: usize>(&mut self, insts: &[Inst], args: [Val; N]) -> ([Rm; N], [Reg; 3]) {
        let mut places = [Rm::R(NO); N];
        let mut late = [NO; 3];
        for (n, &a) in args.iter().enumerate() {
            let g = self.val(self.root(a)).gpr;
            if g != NO && !self.is_temp(g) {
                self.lock(g);
                late[n] = g;
                places[n] = Rm::R(g);
            } else {
                self.argument(insts, n as i32, a);
                places[n] = Rm::M(self.word(n as i32));
            }
        }
        (places, late)
    }
    /// Stores operands that [`Emitter::arguments`] has left in registers.
    pub(super) fn late_arguments(&mut self, late: [Reg; 3]) {
        for (n, r) in late.into_iter().enumerate().filter(|(_, r)| *r != NO) {
            let m = Rm::M(self.word(n as i32));
            self.asm.ins(MOV_MR, true, r, 0, m, 0);
        }
    }
    /// Puts `a` in scratch word `n`; does not count the use.
    pub(super) fn argument(&mut self, insts: &[Inst], n: i32, a: Val) {
        let m = Rm::M(self.word(n));
        let r = self.root(a);
        let (g, x) = (self.val(r).gpr, self.val(r).xmm);
        match self.imm(insts, a) {
            Some(c) if g == NO => self.asm.ins(MOV_MI, true, 0, 0, m, c as i64),
            _ if g == NO && x != NO => self.asm.ins(MOVSD_MR, false, x, 0, m, 0),
            _ => {
                let locked = self.locked;
                let g = self.gpr(insts, a);
                self.asm.ins(MOV_MR, true, g, 0, m, 0);
                self.locked = locked;
            }
        }
    }
    /// Tests alignment and probes the write tag for the address in `base`. Afterwards `entry` is the host address. Returns the
    /// displacements of the jumps to the slow path.
    fn atomic_probe(&mut self, base: Reg, memop: MemOp, entry: Reg, tag: Reg) -> [u32; 2] {
        let bytes = memop.bytes() as i32;
        self.asm.ins(TEST_B, false, 0, 0, Rm::R(base), bytes as i64 - 1);
        let misaligned = self.asm.jump(Some(cc::NE));
        let missed = self.probe(base, (0, 0), true, entry, tag);
        self.addend_of(entry);
        self.asm.ins(ADD, true, entry, 0, Rm::R(base), 0);
        [misaligned, missed]
    }
    fn lock_prefix(&mut self) {
        if self.cfg.parallel {
            self.asm.raw(&[LOCK]);
        }
    }
    /// `d` = `s` extended as `memop` says.
    fn extend_old(&mut self, d: Reg, s: Reg, memop: MemOp) {
        match memop {
            MemOp::S32 => self.asm.ins(MOVSXD, true, d, 0, Rm::R(s), 0),
            MemOp::U32 => self.asm.ins(MOV, false, d, 0, Rm::R(s), 0),
            MemOp::U8 => self.asm.ins(MOVZX8, false, d, 0, Rm::R(s), 0),
            MemOp::S8 => self.asm.ins(MOVSX8, true, d, 0, Rm::R(s), 0),
            MemOp::U16 => self.asm.ins(MOVZX16, false, d, 0, Rm::R(s), 0),
            MemOp::S16 => self.asm.ins(MOVSX16, true, d, 0, Rm::R(s), 0),
            _ => self.copy(d, Rm::R(s)),
        }
    }
    /// Locked instructions here work on 32 and 64 bits; other sizes go to the slow path at once.
    fn inline_size(memop: MemOp) -> bool {
        matches!(memop.bytes(), 4 | 8)
    }
    /// The whole operation by the hook.
    fn atomic_call(&mut self, insts: &[Inst], v: Val, stub: u64, imm: u64, late: [Reg; 3]) {
        self.late_arguments(late);
        let m = Rm::M(self.word(super::WORD_IMM));
        self.asm.ins(MOV_MI, true, 0, 0, m, imm as i64);
        self.call_stub(stub, self.insn);
        let d = self.dest(insts, v, NO, 0);
        let m = Rm::M(self.word(0));
        self.asm.ins(MOV, true, d, 0, m, 0);
        self.bind(v, d);
    }
    pub(super) fn amo(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, ..] = i.args;
        let memop = MemOp::of(i.imm & 0xff);
        let kind = i.imm >> 8 & 15;
        let w = memop.bytes() == 8;
        let ([_, operand], late) = self.arguments(insts, [a, b]);
        let stub = self.stubs.amo[self.floats as usize];
        if !Self::inline_size(memop) {
            self.take(a);
            self.take(b);
            self.atomic_call(insts, v, stub, i.imm, late);
            return;
        }
        self.grab(insts, RAX);
        let entry = self.temp(insts);
        let tag = self.temp(insts);
        let base = self.gpr(insts, a);
        let from = self.atomic_probe(base, memop, entry, tag);
        self.take(a);
        self.take(b);
        let memory = Rm::M(Mem::at(entry, 0));
        let used = self.vals[v.index()].uses > 0;
        let mut old = RAX;
        match (kind, memory_row(kind)) {
            (9, _) => self.asm.ins(MOV, w, RAX, 0, memory, 0),
            (0, _) if !self.cfg.parallel => {
                self.asm.ins(MOV, w, tag, 0, operand, 0);
                self.asm.ins(MOV, w, RAX, 0, memory, 0);
                self.asm.ins(MOV_MR, w, tag, 0, memory, 0);
            }
            (0, _) => {
                self.asm.ins(MOV, w, RAX, 0, operand, 0);
                self.asm.ins(XCHG, w, RAX, 0, memory, 0);
            }
            (_, Some((row, _))) if !used => {
                self.asm.ins(MOV, w, RAX, 0, operand, 0);
                self.lock_prefix();
                self.asm.ins(row, w, RAX, 0, memory, 0);
            }
            (1, _) if !self.cfg.parallel => {
                // Three simple instructions take less time than the one for all.
                self.asm.ins(MOV, w, tag, 0, operand, 0);
                self.asm.ins(MOV, w, RAX, 0, memory, 0);
                self.asm.ins(ADD, w, tag, 0, Rm::R(RAX), 0);
                self.asm.ins(MOV_MR, w, tag, 0, memory, 0);
            }
            (1, _) => {
                self.asm.ins(MOV, w, RAX, 0, operand, 0);
                self.lock_prefix();
                self.asm.ins(XADD, w, RAX, 0, memory, 0);
            }
            _ => {
                self.asm.ins(MOV, w, RAX, 0, memory, 0);
                let again = self.asm.pos();
                self.asm.ins(MOV, w, tag, 0, Rm::R(RAX), 0);
                match kind {
                    2 => self.asm.ins(XOR, w, tag, 0, operand, 0),
                    3 => self.asm.ins(AND, w, tag, 0, operand, 0),
                    4 => self.asm.ins(OR, w, tag, 0, operand, 0),
                    _ => {
                        // Minima and maxima take the operand if it lies on the right side of the old value.
                        let code = match kind {
                            5 => cc::G,
                            6 => cc::L,
                            7 => cc::A,
                            _ => cc::B,
                        };
                        self.asm.ins(CMP, w, RAX, 0, operand, 0);
                        self.asm.ins(cmovcc(code), w, tag, 0, operand, 0);
                    }
                }
                if self.cfg.parallel {
                    self.lock_prefix();
                    self.asm.ins(CMPXCHG, w, tag, 0, memory, 0);
                    let at = self.asm.jump(Some(cc::NE));
                    self.asm.patch(at, again);
                } else {
                    self.asm.ins(MOV_MR, w, tag, 0, memory, 0);
                }
            }
        }
        if used {
            let d = self.dest(insts, v, RAX, 0);
            if memop == MemOp::S32 || memop == MemOp::U32 || d != RAX {
                self.extend_old(d, RAX, memop);
            }
            old = d;
        }
        let back = self.asm.pos();
        self.cold.push(Cold::Atomic { from, back, stub, dest: old, imm: i.imm, insn: self.insn, late });
        self.bind(v, old);
    }
    pub(super) fn cas(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [a, b, c, _] = i.args;
        let memop = MemOp::of(i.imm & 0xff);
        let w = memop.bytes() == 8;
        let ([_, expected, new], late) = self.arguments(insts, [a, b, c]);
        let stub = self.stubs.cas[self.floats as usize];
        if !Self::inline_size(memop) {
            self.take(a);
            self.take(b);
            self.take(c);
            self.atomic_call(insts, v, stub, i.imm, late);
            return;
        }
        self.grab(insts, RAX);
        let entry = self.temp(insts);
        let tag = self.temp(insts);
        let base = self.gpr(insts, a);
        let from = self.atomic_probe(base, memop, entry, tag);
        self.take(a);
        self.take(b);
        self.take(c);
        self.asm.ins(MOV, w, RAX, 0, expected, 0);
        self.asm.ins(MOV, w, tag, 0, new, 0);
        self.lock_prefix();
        self.asm.ins(CMPXCHG, w, tag, 0, Rm::M(Mem::at(entry, 0)), 0);
        let d = self.dest(insts, v, RAX, 0);
        self.extend_old(d, RAX, memop);
        let back = self.asm.pos();
        self.cold.push(Cold::Atomic { from, back, stub, dest: d, imm: i.imm & 0xff, insn: self.insn, late });
        self.bind(v, d);
    }
    pub(super) fn store_cond(&mut self, insts: &[Inst], i: &Inst, v: Val) {
        let [when, a, b, c] = i.args;
        let memop = MemOp::of(i.imm & 0xff);
        let w = memop.bytes() == 8;
        let ([_, expected, new], late) = self.arguments(insts, [a, b, c]);
        let stub = self.stubs.store_cond[self.floats as usize];
        // Registers are settled before the first jump, so that every way to the end finds the same state.
        let r = self.root(when);
        if self.val(r).deferred {
            self.materialise(insts, Val(r));
        }
        self.grab(insts, RAX);
        let base = self.gpr(insts, a);
        let entry = self.temp(insts);
        // The condition is tested before the last temporary is chosen: it may be evicted (by a move) after that.
        let code = self.condition(insts, when);
        let tag = self.temp_after_test(insts, base, entry);
        let not = self.asm.jump(Some(code ^ 1));
        self.take(a);
        self.take(b);
        self.take(c);
        let d = self.dest(insts, v, tag, 0);
        if !Self::inline_size(memop) {
            self.late_arguments(late);
            let m = Rm::M(self.word(super::WORD_IMM));
            self.asm.ins(MOV_MI, true, 0, 0, m, (i.imm & 0xff) as i64);
            self.call_stub(stub, self.insn);
            let m = Rm::M(self.word(0));
            self.asm.ins(MOV, true, d, 0, m, 0);
            let back = self.asm.pos();
            self.cold.push(Cold::NotStored { from: not, back, dest: d });
            self.bind(v, d);
            return;
        }
        let from = self.atomic_probe(base, memop, entry, tag);
        self.asm.ins(MOV, w, RAX, 0, expected, 0);
        self.asm.ins(MOV, w, tag, 0, new, 0);
        let memory = Rm::M(Mem::at(entry, 0));
        if self.cfg.parallel {
            self.lock_prefix();
            self.asm.ins(CMPXCHG, w, tag, 0, memory, 0);
        } else {
            self.asm.ins(CMP, w, RAX, 0, memory, 0);
            let other = self.asm.jump(Some(cc::NE));
            self.asm.ins(MOV_MR, w, tag, 0, memory, 0);
            self.arrive(other);
        }
        self.set_bool(d, cc::NE);
        let back = self.asm.pos();
        self.cold.push(Cold::Atomic { from, back, stub, dest: d, imm: i.imm & 0xff, insn: self.insn, late });
        self.cold.push(Cold::NotStored { from: not, back, dest: d });
        self.bind(v, d);
    }
    /// A temporary chosen after a test of a condition whose register may now be given up; flags stay.
    fn temp_after_test(&mut self, insts: &[Inst], base: Reg, entry: Reg) -> Reg {
        self.locked = self.locked & !TEMPS | 1 << RAX | 1 << base | 1 << entry;
        self.temp(insts)
    }
    /// Orders memory: a locked instruction on the top of the stack is the cheapest full barrier.
    pub(super) fn fence(&mut self) {
        // lock or dword [rsp - 8], 0. With one vCPU, too: devices have threads of their own.
        self.asm.raw(&[LOCK, 0x83, 0x4c, 0x24, 0xf8, 0x00]);
    }
}
