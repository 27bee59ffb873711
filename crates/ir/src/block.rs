//! Blocks and instructions as data.

use crate::{Effects, Op, Ty};
use std::fmt;

/// Names the result of the instruction with this index in its block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(pub u32);

impl Val {
    /// No operand.
    pub const NONE: Val = Val(u32::MAX);
    /// The index as a `usize`.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
    /// Whether this names a value.
    pub const fn is_some(self) -> bool {
        self.0 != u32::MAX
    }
}

impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_some() { write!(f, "v{}", self.0) } else { f.write_str("-") }
    }
}

/// Size and extension of a memory access: bits 0..2 log2 of the bytes (0 to 3), bit 2 sign-extend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemOp(pub u8);

impl MemOp {
    /// Unsigned byte.
    pub const U8: MemOp = MemOp(0);
    /// Unsigned 16 bits, little-endian.
    pub const U16: MemOp = MemOp(1);
    /// Unsigned 32 bits, little-endian.
    pub const U32: MemOp = MemOp(2);
    /// 64 bits, little-endian.
    pub const U64: MemOp = MemOp(3);
    /// Signed byte.
    pub const S8: MemOp = MemOp(4);
    /// Signed 16 bits, little-endian.
    pub const S16: MemOp = MemOp(5);
    /// Signed 32 bits, little-endian.
    pub const S32: MemOp = MemOp(6);
    /// Bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> u32 {
        1 << (self.0 & 3)
    }
    /// Whether a load extends the sign.
    pub const fn signed(self) -> bool {
        self.0 & 4 != 0
    }
    /// The loaded bytes `raw` (zero-extended) as the load returns them.
    pub const fn extend(self, raw: u64) -> u64 {
        match self.0 & 7 {
            0 => raw as u8 as u64,
            1 => raw as u16 as u64,
            2 => raw as u32 as u64,
            4 => raw as i8 as u64,
            5 => raw as i16 as u64,
            6 => raw as i32 as u64,
            _ => raw,
        }
    }
    /// Packs the access with a displacement into an immediate.
    pub const fn with_disp(self, disp: i32) -> u64 {
        self.0 as u64 | (disp as u32 as u64) << 32
    }
    /// The access packed in an immediate.
    pub const fn of(imm: u64) -> MemOp {
        MemOp(imm as u8)
    }
    /// The displacement packed in an immediate.
    pub const fn disp(imm: u64) -> i32 {
        (imm >> 32) as i32
    }
}

/// One instruction. Its index in the block names its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inst {
    /// What to do.
    pub op: Op,
    /// At which type.
    pub ty: Ty,
    /// Operands.
    pub args: [Val; 4],
    /// Immediate; the op says what it means.
    pub imm: u64,
}

impl Inst {
    /// Whether it only computes something from what is there, quickly.
    pub fn is_plain(&self) -> bool {
        let slow = matches!(self.op, Op::DivS | Op::DivU | Op::RemS | Op::RemU | Op::Clmul | Op::ClmulH);
        self.op == Op::Insn || matches!(self.op.effects(), Effects::Pure | Effects::Reads) && !slow
    }
    /// The operands that are there.
    pub fn operands(&self) -> impl Iterator<Item = Val> + '_ {
        self.args.iter().copied().take_while(|v| v.is_some())
    }
}

/// A straight line of instructions with one entry, ending in a terminal.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The instructions in order of execution.
    pub insts: Vec<Inst>,
}

impl Block {
    /// The instruction that defines `v`.
    pub fn def(&self, v: Val) -> &Inst {
        &self.insts[v.index()]
    }
    /// The constant that `v` is, if it is one.
    pub fn constant(&self, v: Val) -> Option<u64> {
        let i = self.def(v);
        (i.op == Op::Const).then_some(i.imm)
    }
    /// The type of `v`.
    pub fn ty(&self, v: Val) -> Option<Ty> {
        let i = self.def(v);
        i.op.result(i.ty)
    }
}
