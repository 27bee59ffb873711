//! The verifier: whether a block is well formed. Run on what builders and passes make, in tests and debug builds.

use crate::{Arg, Block, HelperInfo, Inst, MemOp, Op, SLOTS, Ty, Val};
use std::fmt;

/// What is wrong, and with which instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Index of the instruction.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}: {}", self.at, self.what)
    }
}

impl std::error::Error for Malformed {}

/// The types at which an operation exists.
pub fn types(op: Op) -> &'static [Ty] {
    use Op::*;
    const INTEGERS: &[Ty] = &[Ty::I32, Ty::I64];
    const FLOATS: &[Ty] = &[Ty::F32, Ty::F64];
    const ALL: &[Ty] = &[Ty::I1, Ty::I32, Ty::I64, Ty::F32, Ty::F64];
    match op {
        Const | Select => ALL,
        And | Or | Xor => &[Ty::I1, Ty::I32, Ty::I64],
        Get => &[Ty::I64, Ty::F64],
        Set => &[Ty::I32, Ty::I64, Ty::F64],
        GetNow => &[Ty::I64],
        Sext32 | Zext32 => &[Ty::I32],
        FAdd | FSub | FMul | FDiv | FSqrt | FMa | FNeg | FAbs | FNearI32 | FNearI64 | FEq | FLt | FLe
        | FCopySign | FMin | FMax | FDownI64 | FUpI64 | FFromI64Zero | FFromI64Down | FFromI64Up
        | FFromU64 | FFromI64 | FFromI32 | FToI32 | FToI64 | FToU32 | FToU64 | FBits | FFromBits => FLOATS,
        // The operation alone says both types.
        FWiden | FBox | FNarrow | FUnbox => FLOATS,
        ExitIf => &[Ty::I1],
        Trunc | Clmul | ClmulH | PcRel | Load | Store | Amo | Cas | StoreCond | Fence | Call | Insn
        | WillReturn | Expect | Goto | Jump | Leave => &[Ty::I64],
        _ => INTEGERS,
    }
}

/// Checks that every operand is defined before its use and has the type its operation asks for, that immediates are in
/// range, and that exactly the last instruction is a terminal.
pub fn verify(block: &Block, helpers: &dyn Fn(u16) -> Option<HelperInfo>) -> Result<(), Malformed> {
    let last = block.insts.len().wrapping_sub(1);
    for (at, i) in block.insts.iter().enumerate() {
        instruction(block, at, i, helpers).map_err(|what| Malformed { at, what })?;
        if i.op.is_terminal() != (at == last) {
            let what =
                if at == last { "the block ends without a terminal" } else { "a terminal in the middle" };
            return Err(Malformed { at, what: what.into() });
        }
    }
    if block.insts.is_empty() {
        return Err(Malformed { at: 0, what: "the block is empty".into() });
    }
    Ok(())
}

fn instruction(
    block: &Block,
    at: usize,
    i: &Inst,
    helpers: &dyn Fn(u16) -> Option<HelperInfo>,
) -> Result<(), String> {
    if !types(i.op).contains(&i.ty) {
        return Err(format!("{} has no type {}", i.op.name(), i.ty.name()));
    }
    let mut count = i.op.args().len();
    if i.op == Op::Call {
        let id = u16::try_from(i.imm).map_err(|_| "function number out of range")?;
        count = helpers(id).ok_or_else(|| format!("no function {id}"))?.args as usize;
    }
    if i.operands().count() != count || i.args[count..].iter().any(|v| v.is_some()) {
        return Err(format!("{} takes {count} operands", i.op.name()));
    }
    for (k, &v) in i.args[..count].iter().enumerate() {
        let wanted = match i.op.args()[k] {
            Arg::T => i.ty,
            Arg::Is(t) => t,
            Arg::IntOf if i.ty == Ty::F32 => Ty::I32,
            Arg::FloatOf if i.ty == Ty::I32 => Ty::F32,
            Arg::FloatOf => Ty::F64,
            Arg::IntOf | Arg::Any => Ty::I64,
        };
        operand(block, at, v, wanted)?;
    }
    immediate(i)
}

fn operand(block: &Block, at: usize, v: Val, wanted: Ty) -> Result<(), String> {
    if v.index() >= at {
        return Err(format!("{v:?} is not defined yet"));
    }
    match block.ty(v) {
        Some(t) if t == wanted => Ok(()),
        Some(t) => Err(format!("{v:?} is {}, not {}", t.name(), wanted.name())),
        None => Err(format!("{v:?} has no value")),
    }
}

fn immediate(i: &Inst) -> Result<(), String> {
    let fits = match i.op {
        Op::Const => match i.ty {
            Ty::I1 => i.imm <= 1,
            Ty::I32 | Ty::F32 => i.imm <= u32::MAX as u64,
            _ => true,
        },
        Op::Get | Op::GetNow | Op::Set => i.imm < SLOTS as u64,
        Op::Load | Op::Store => i.imm & 0xffff_ffff <= MemOp::S32.0 as u64,
        Op::Amo => i.imm & 0xff <= MemOp::S32.0 as u64 && i.imm >> 8 <= crate::ALIGNED_LOAD.into(),
        Op::Cas | Op::StoreCond => i.imm <= MemOp::S32.0 as u64,
        _ => true,
    };
    if fits { Ok(()) } else { Err(format!("immediate {:#x} out of range", i.imm)) }
}
