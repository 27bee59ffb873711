//! Random blocks, well-typed, whose guest addresses lie where `common` has memory or near it.
#![allow(dead_code, missing_docs)]

use crate::common::{FLAGS, MEM, Random, TABLE, USED};
use ir::{Block, Inst, MemOp, Op, Ty, Val};

#[derive(Clone, Copy)]
pub struct Mix {
    pub memory: bool,
    pub float: bool,
    pub calls: bool,
}

struct Gen<'a> {
    r: &'a mut Random,
    b: Block,
    by_type: [Vec<Val>; 5],
    address: Option<Val>,
    table: Option<Val>,
}

const TWO: [Op; 18] = [
    Op::Add,
    Op::Sub,
    Op::Mul,
    Op::MulHs,
    Op::MulHu,
    Op::MulHsu,
    Op::DivS,
    Op::DivU,
    Op::RemS,
    Op::RemU,
    Op::And,
    Op::Or,
    Op::Xor,
    Op::Shl,
    Op::Shr,
    Op::Sar,
    Op::Rotl,
    Op::Rotr,
];
const ONE: [Op; 8] = [Op::Clz, Op::Ctz, Op::Popcnt, Op::Bswap, Op::Sext8, Op::Sext16, Op::Zext8, Op::Zext16];
const COMPARE: [Op; 6] = [Op::Eq, Op::Ne, Op::LtS, Op::LtU, Op::GeS, Op::GeU];

impl Gen<'_> {
    fn push(&mut self, op: Op, ty: Ty, args: &[Val], imm: u64) -> Val {
        let mut a = [Val::NONE; 4];
        a[..args.len()].copy_from_slice(args);
        self.b.insts.push(Inst { op, ty, args: a, imm });
        let v = Val(self.b.insts.len() as u32 - 1);
        if let Some(t) = op.result(ty) {
            self.by_type[t as usize].push(v);
        }
        v
    }
    fn pick(&mut self, ty: Ty) -> Val {
        let known = &self.by_type[ty as usize];
        // Recent values mostly, so that not everything stays alive to the end.
        if known.is_empty() || self.r.one_in(5) {
            return self.make(ty);
        }
        let n = known.len() as u64;
        let back = if self.r.one_in(4) { self.r.below(n) } else { self.r.below(n.min(6)) };
        self.by_type[ty as usize][(n - 1 - back) as usize]
    }
    fn make(&mut self, ty: Ty) -> Val {
        match ty {
            Ty::I64 if self.r.one_in(6) => {
                let o = if self.r.one_in(4) { self.r.next() } else { self.r.below(8192).wrapping_sub(2048) };
                // A jump to an instruction of the block's own could go on for ever.
                let own = crate::common::ENTRY as u64..crate::common::ENTRY as u64 + 0x200;
                let o = if own.contains(&o) { o + 0x200 } else { o };
                self.push(Op::PcRel, Ty::I64, &[], o)
            }
            Ty::I64 | Ty::F64 if !self.r.one_in(3) => {
                let s = self.r.below(USED as u64);
                self.push(Op::Get, ty, &[], s)
            }
            Ty::I32 if self.r.one_in(2) => {
                let a = self.pick(Ty::I64);
                self.push(Op::Trunc, Ty::I64, &[a], 0)
            }
            Ty::F32 if self.r.one_in(2) => {
                let a = self.pick(Ty::F64);
                self.push(Op::FUnbox, Ty::F64, &[a], 0)
            }
            Ty::I1 => {
                let t = self.int();
                let (a, b) = (self.pick(t), self.pick(t));
                let op = COMPARE[self.r.below(6) as usize];
                self.push(op, t, &[a, b], 0)
            }
            _ => {
                let c = self.r.value();
                let c = if matches!(ty, Ty::I32 | Ty::F32) { c as u32 as u64 } else { c };
                self.push(Op::Const, ty, &[], c)
            }
        }
    }
    fn int(&mut self) -> Ty {
        if self.r.one_in(3) { Ty::I32 } else { Ty::I64 }
    }
    fn float(&mut self) -> Ty {
        if self.r.one_in(2) { Ty::F32 } else { Ty::F64 }
    }
    /// The address of an element of a table.
    fn element(&mut self) -> Val {
        let table = self.table.unwrap_or_else(|| self.push(Op::Get, Ty::I64, &[], TABLE as u64));
        self.table = Some(table);
        let index = self.pick(Ty::I64);
        let mask = [0xff, 7, 0x1fc, 0xfff][self.r.below(4) as usize];
        let mask = self.push(Op::Const, Ty::I64, &[], mask);
        let mut index = self.push(Op::And, Ty::I64, &[index, mask], 0);
        if self.r.one_in(2) {
            let n = self.r.below(4);
            let n = self.push(Op::Const, Ty::I64, &[], n);
            index = self.push(Op::Shl, Ty::I64, &[index, n], 0);
        }
        if self.r.one_in(3) {
            let c = self.r.below(64);
            let c = self.push(Op::Const, Ty::I64, &[], c);
            index = self.push(Op::Add, Ty::I64, &[index, c], 0);
        }
        let pair = if self.r.one_in(2) { [table, index] } else { [index, table] };
        self.push(Op::Add, Ty::I64, &pair, 0)
    }
    /// An address in or near the test's memory.
    fn address(&mut self) -> Val {
        if let Some(a) = self.address
            && !self.r.one_in(3)
        {
            return a;
        }
        if self.r.one_in(3) {
            return self.element();
        }
        let a = self.pick(Ty::I64);
        let align = [0x1fff, 0x3fff, 0xff8, 0x1ff8, 0xffc][self.r.below(5) as usize];
        let m = self.push(Op::Const, Ty::I64, &[], align);
        let a = self.push(Op::And, Ty::I64, &[a, m], 0);
        let m = self.push(Op::Const, Ty::I64, &[], MEM);
        let a = self.push(Op::Add, Ty::I64, &[a, m], 0);
        self.address = Some(a);
        a
    }
    fn memop(&mut self) -> MemOp {
        MemOp([0, 1, 2, 3, 4, 5, 6][self.r.below(7) as usize])
    }
    fn set(&mut self) {
        let s = self.r.below(USED as u64);
        let ty = [Ty::F64, Ty::I32, Ty::I64, Ty::I64, Ty::I64, Ty::I64][self.r.below(6) as usize];
        let a = self.pick(ty);
        self.push(Op::Set, ty, &[a], s);
    }
    fn memory(&mut self) {
        match self.r.below(10) {
            0..4 => {
                let a = self.address();
                let disp = self.r.below(64) as i32 - 16;
                let m = self.memop();
                self.push(Op::Load, Ty::I64, &[a], m.with_disp(disp));
            }
            4..7 => {
                let a = self.address();
                let v = self.pick(Ty::I64);
                let disp = self.r.below(64) as i32 - 16;
                let m = self.memop();
                self.push(Op::Store, Ty::I64, &[a, v], m.with_disp(disp));
            }
            7 => {
                let (a, v) = (self.address(), self.pick(Ty::I64));
                let m = [MemOp::S32, MemOp::U64, MemOp::U32, MemOp::U8][self.r.below(4) as usize];
                let kind = self.r.below(9);
                self.push(Op::Amo, Ty::I64, &[a, v], m.0 as u64 | kind << 8);
            }
            8 => {
                let a = self.address();
                let m = [MemOp::S32, MemOp::U64, MemOp::U32][self.r.below(3) as usize];
                let e = if self.r.one_in(2) {
                    self.push(Op::Load, Ty::I64, &[a], m.with_disp(0))
                } else {
                    self.pick(Ty::I64)
                };
                let n = self.pick(Ty::I64);
                if self.r.one_in(2) {
                    self.push(Op::Cas, Ty::I64, &[a, e, n], m.0 as u64);
                } else {
                    let c = self.pick(Ty::I1);
                    self.push(Op::StoreCond, Ty::I64, &[c, a, e, n], m.0 as u64);
                }
            }
            _ => {
                self.push(Op::Fence, Ty::I64, &[], 0);
            }
        }
    }
    fn float_op(&mut self) {
        let t = self.float();
        match self.r.below(13) {
            0..4 => {
                let (a, b) = (self.pick(t), self.pick(t));
                let op = [Op::FAdd, Op::FSub, Op::FMul, Op::FDiv][self.r.below(4) as usize];
                self.push(op, t, &[a, b], 0);
            }
            4 => {
                let a = self.pick(t);
                let op = [Op::FSqrt, Op::FNeg, Op::FAbs][self.r.below(3) as usize];
                self.push(op, t, &[a], 0);
            }
            5 => {
                let (mut a, b, mut c) = (self.pick(t), self.pick(t), self.pick(t));
                if self.r.one_in(3) {
                    a = self.push(Op::FNeg, t, &[a], 0);
                }
                if self.r.one_in(3) {
                    c = self.push(Op::FNeg, t, &[c], 0);
                }
                self.push(Op::FMa, t, &[a, b, c], 0);
            }
            6 => {
                let (a, b) = (self.pick(t), self.pick(t));
                let op =
                    [Op::FEq, Op::FLt, Op::FLe, Op::FMin, Op::FMax, Op::FCopySign][self.r.below(6) as usize];
                self.push(op, t, &[a, b], 0);
            }
            7 => {
                if self.r.one_in(2) {
                    let a = self.pick(Ty::I64);
                    let op = [Op::FFromI64, Op::FFromI64Zero, Op::FFromI64Down, Op::FFromI64Up, Op::FFromU64]
                        [self.r.below(5) as usize];
                    self.push(op, t, &[a], 0);
                } else {
                    let a = self.pick(Ty::I32);
                    self.push(Op::FFromI32, t, &[a], 0);
                }
            }
            8 => {
                let a = self.pick(t);
                let op = [
                    Op::FToI32,
                    Op::FToI64,
                    Op::FNearI32,
                    Op::FNearI64,
                    Op::FDownI64,
                    Op::FUpI64,
                    Op::FToU32,
                    Op::FToU64,
                ][self.r.below(8) as usize];
                self.push(op, t, &[a], 0);
            }
            9 => {
                if self.r.one_in(2) {
                    let a = self.pick(Ty::F32);
                    self.push(Op::FWiden, Ty::F32, &[a], 0);
                } else {
                    let a = self.pick(Ty::F64);
                    self.push(Op::FNarrow, Ty::F64, &[a], 0);
                }
            }
            10 => {
                let (slot, gathered) = (
                    self.push(Op::GetNow, Ty::I64, &[], FLAGS as u64),
                    self.push(Op::Accrued, Ty::I64, &[], 0),
                );
                // Alone they depend on who has gathered what.
                let known = &mut self.by_type[Ty::I64 as usize];
                known.truncate(known.len() - 2);
                let flags = self.push(Op::Or, Ty::I64, &[slot, gathered], 0);
                if self.r.one_in(2) {
                    for _ in 0..self.r.below(3) {
                        let (a, b) = (self.pick(t), self.pick(t));
                        let op = [Op::FEq, Op::FLt, Op::FLe, Op::FAdd][self.r.below(4) as usize];
                        self.push(op, t, &[a, b], 0);
                    }
                    let all = self.push(Op::Const, Ty::I64, &[], 31);
                    let new = if self.r.one_in(2) { flags } else { self.pick(Ty::I64) };
                    let new = self.push(Op::And, Ty::I64, &[new, all], 0);
                    self.push(Op::Set, Ty::I64, &[new], FLAGS as u64);
                    self.push(Op::Forget, Ty::I64, &[new], 0);
                }
            }
            11 => {
                let a = self.pick(t);
                self.push(Op::FBits, t, &[a], 0);
                let i = if t == Ty::F32 { Ty::I32 } else { Ty::I64 };
                let a = self.pick(i);
                self.push(Op::FFromBits, t, &[a], 0);
            }
            _ => {
                let a = self.pick(Ty::F32);
                self.push(Op::FBox, Ty::F32, &[a], 0);
                let a = self.pick(Ty::F64);
                self.push(Op::FUnbox, Ty::F64, &[a], 0);
            }
        }
    }
    fn integer_op(&mut self) {
        let t = self.int();
        match self.r.below(16) {
            0 if t == Ty::I64 && self.r.one_in(3) => {
                let op = if self.r.one_in(2) { Op::Clmul } else { Op::ClmulH };
                let (a, b) = (self.pick(t), self.pick(t));
                self.push(op, t, &[a, b], 0);
            }
            // Both halves of a product, or quotient and remainder, near one another.
            1 if self.r.one_in(2) => {
                let ops = [Op::Mul, Op::MulHs, Op::MulHu, Op::DivS, Op::RemS, Op::DivU, Op::RemU];
                let (a, b) = (self.pick(t), self.pick(t));
                let from = [0, 3, 5][self.r.below(3) as usize];
                let n = if from == 0 { 3 } else { 2 };
                for turn in 0..2 + self.r.below(3) {
                    let op = ops[from + self.r.below(n) as usize];
                    let (a, b) = if turn % 2 == 1 && from == 0 && self.r.one_in(3) { (b, a) } else { (a, b) };
                    self.push(op, t, &[a, b], 0);
                    if self.r.one_in(2) {
                        self.set();
                    }
                }
            }
            0..7 => {
                let op = TWO[self.r.below(TWO.len() as u64) as usize];
                let (a, b) = (self.pick(t), self.pick(t));
                self.push(op, t, &[a, b], 0);
            }
            7 => {
                let op = ONE[self.r.below(8) as usize];
                let a = self.pick(t);
                self.push(op, t, &[a], 0);
            }
            8 | 9 => {
                let a = self.pick(Ty::I32);
                let op = if self.r.one_in(3) { Op::Zext32 } else { Op::Sext32 };
                self.push(op, Ty::I32, &[a], 0);
            }
            10 => {
                let op = COMPARE[self.r.below(6) as usize];
                let (a, b) = (self.pick(t), self.pick(t));
                self.push(op, t, &[a, b], 0);
            }
            11 => {
                let a = self.pick(Ty::I1);
                self.push(Op::FromBool, t, &[a], 0);
            }
            12 | 13 => {
                let (c, a, b) = (self.pick(Ty::I1), self.pick(t), self.pick(t));
                self.push(Op::Select, t, &[c, a, b], 0);
            }
            14 => {
                let (a, b) = (self.pick(Ty::I1), self.pick(Ty::I1));
                let op = [Op::And, Op::Or, Op::Xor][self.r.below(3) as usize];
                self.push(op, Ty::I1, &[a, b], 0);
            }
            _ => {
                let op = [Op::Add, Op::And, Op::Xor, Op::Shl][self.r.below(4) as usize];
                let a = self.pick(t);
                let c = [0xff, 0xffff, u32::MAX as u64, 1, 7, 2, 3, u64::MAX][self.r.below(8) as usize];
                let c = if t == Ty::I32 { c as u32 as u64 } else { c };
                let b = self.push(Op::Const, t, &[], c);
                let shifted = self.push(op, t, &[a, b], 0);
                if self.r.one_in(2) {
                    let c = self.pick(t);
                    self.push(Op::Add, t, &[c, shifted], 0);
                }
            }
        }
    }
}

/// A random block of about `length` instructions.
pub fn block(r: &mut Random, length: usize, mix: Mix) -> Block {
    let mut g = Gen { r, b: Block::default(), by_type: Default::default(), address: None, table: None };
    let mut insn = crate::common::ENTRY;
    g.push(Op::Insn, Ty::I64, &[], insn as u64);
    while g.b.insts.len() < length {
        match g.r.below(if mix.memory { 14 } else { 12 }) {
            0 | 12 | 13 => {
                insn += 4;
                g.push(Op::Insn, Ty::I64, &[], insn as u64);
            }
            1..4 => g.set(),
            4 if g.r.one_in(2) => {
                let c = g.pick(Ty::I1);
                let target = [0x10, 0xabc, 4096, -64i64 as u64, 0x100_0000_0000][g.r.below(5) as usize];
                g.push(Op::ExitIf, Ty::I1, &[c], target);
            }
            5 | 6 if mix.memory => g.memory(),
            7 if mix.calls => {
                let id = g.r.below(4);
                let n = crate::common::helpers(id as u16).args;
                let args: Vec<Val> = (0..n).map(|_| g.pick(Ty::I64)).collect();
                if id == 3 {
                    g.push(Op::Call, Ty::I64, &args, id);
                    g.by_type[Ty::I64 as usize].pop();
                } else {
                    g.push(Op::Call, Ty::I64, &args, id);
                }
            }
            8..=10 if mix.float => g.float_op(),
            _ => g.integer_op(),
        }
    }
    for s in 0..6 {
        let a = g.pick(Ty::I64);
        g.push(Op::Set, Ty::I64, &[a], s * 5);
    }
    if g.r.one_in(3) {
        let offset = [0x20, 0xff0, 0x1000][g.r.below(3) as usize];
        g.push(Op::PcRel, Ty::I64, &[], offset);
        let a = Val(g.b.insts.len() as u32 - 1);
        g.push(Op::WillReturn, Ty::I64, &[a], offset);
    }
    match g.r.below(4) {
        0 => {
            let mut a = g.pick(Ty::I64);
            let hint = g.r.below(3);
            if hint == 2 {
                // No code lies at the address of all ones, which the table of calls has for none.
                g.push(Op::Const, Ty::I64, &[], -2i64 as u64);
                let even = Val(g.b.insts.len() as u32 - 1);
                g.push(Op::And, Ty::I64, &[a, even], 0);
                a = Val(g.b.insts.len() as u32 - 1);
            }
            g.push(Op::Jump, Ty::I64, &[a], hint);
        }
        1 => {
            g.push(Op::Leave, Ty::I64, &[], 0);
        }
        _ => {
            let t = [0x20, 0xff0, 0x1000, -2i64 as u64, 0xffff_ffff_f000][g.r.below(5) as usize];
            g.push(Op::Goto, Ty::I64, &[], t);
        }
    }
    g.b
}
