//! The evaluator: what a block does, computed one instruction at a time. It is the reference for the passes and for
//! the hosts.

use crate::num::fold;
use crate::{Block, Inst, MemOp, Op, Ty, Val};
use softfloat::Env as Float;

/// What a block works on. `S` says why an access or a call did not complete.
pub trait Env {
    /// Why an access or a call did not complete.
    type Stop;
    /// Reads a slot.
    fn get(&mut self, slot: u16) -> u64;
    /// Writes a slot.
    fn set(&mut self, slot: u16, value: u64);
    /// Loads; the result is extended as `memop` says.
    fn load(&mut self, va: u64, memop: MemOp) -> Result<u64, Self::Stop>;
    /// Stores the low bytes of `value`.
    fn store(&mut self, va: u64, value: u64, memop: MemOp) -> Result<(), Self::Stop>;
    /// [`Op::Amo`] number `kind`.
    fn amo(&mut self, kind: u8, va: u64, value: u64, memop: MemOp) -> Result<u64, Self::Stop>;
    /// [`Op::Cas`].
    fn cas(&mut self, va: u64, expected: u64, new: u64, memop: MemOp) -> Result<u64, Self::Stop>;
    /// [`Op::StoreCond`] whose condition holds: 0 if stored, else 1.
    fn store_cond(&mut self, va: u64, expected: u64, new: u64, memop: MemOp) -> Result<u64, Self::Stop>;
    /// Calls function number `id`.
    fn call(&mut self, id: u16, args: &[u64]) -> Result<u64, Self::Stop>;
    /// Guest virtual address of the page in which the block begins.
    fn page(&self) -> u64;
    /// Accrues IEEE flags, in the bit order of RISC-V's `fflags`.
    fn accrue(&mut self, flags: u8);
    /// The flags accrued so far, as far as they are not in a slot already.
    fn accrued(&self) -> u8;
    /// Forgets them.
    fn forget(&mut self);
}

/// How a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At page base + offset.
    Goto(i64),
    /// At this guest virtual address.
    Jump(u64),
    /// At the frame's pc.
    Leave,
}

/// The result of an atomic read-modify-write's operation; `kind` as [`Op::Amo`] numbers them, values of `memop`'s size.
pub fn amo_result(kind: u8, old: u64, operand: u64, memop: MemOp) -> u64 {
    let signed = MemOp(memop.0 | 4);
    let unsigned = MemOp(memop.0 & 3);
    let (so, sb) = (signed.extend(old) as i64, signed.extend(operand) as i64);
    let (uo, ub) = (unsigned.extend(old), unsigned.extend(operand));
    match kind {
        0 => ub,
        1 => old.wrapping_add(operand),
        2 => old ^ operand,
        3 => old & operand,
        4 => old | operand,
        5 => so.min(sb) as u64,
        6 => so.max(sb) as u64,
        7 => uo.min(ub),
        crate::ALIGNED_LOAD => old,
        _ => uo.max(ub),
    }
}

/// Runs `block`. If an access or a call stops it, gives the reason and the offset of the guest instruction.
pub fn eval<E: Env>(block: &Block, env: &mut E) -> Result<End, (E::Stop, i64)> {
    let mut values = vec![0u64; block.insts.len()];
    let mut at = 0;
    for (n, i) in block.insts.iter().enumerate() {
        match step(i, &values, env, &mut at) {
            Ok(Step::Value(x)) => values[n] = x,
            Ok(Step::End(end)) => return Ok(end),
            Err(stop) => return Err((stop, at)),
        }
    }
    // A block without a terminal: the verifier refuses it.
    Ok(End::Leave)
}

enum Step {
    Value(u64),
    End(End),
}

fn step<E: Env>(i: &Inst, values: &[u64], env: &mut E, at: &mut i64) -> Result<Step, E::Stop> {
    let arg = |k: usize| -> u64 {
        let v: Val = i.args[k];
        values.get(v.index()).copied().unwrap_or(0)
    };
    let (memop, disp) = (MemOp::of(i.imm & 0xff), MemOp::disp(i.imm) as i64 as u64);
    let x = match i.op {
        Op::Const => match i.ty {
            Ty::I1 => i.imm & 1,
            Ty::I32 | Ty::F32 => i.imm as u32 as u64,
            _ => i.imm,
        },
        Op::Get | Op::GetNow => env.get(i.imm as u16),
        Op::Set => {
            env.set(i.imm as u16, if i.ty == Ty::I32 { arg(0) as i32 as u64 } else { arg(0) });
            0
        }
        Op::PcRel => env.page().wrapping_add(i.imm),
        Op::Select => {
            if arg(0) & 1 != 0 {
                arg(1)
            } else {
                arg(2)
            }
        }
        Op::Load => env.load(arg(0).wrapping_add(disp), memop)?,
        Op::Store => {
            env.store(arg(0).wrapping_add(disp), arg(1), memop)?;
            0
        }
        Op::Amo => env.amo((i.imm >> 8 & 15) as u8, arg(0), arg(1), memop)?,
        Op::Cas => env.cas(arg(0), arg(1), arg(2), memop)?,
        Op::StoreCond if arg(0) & 1 == 0 => 1,
        Op::StoreCond => env.store_cond(arg(1), arg(2), arg(3), memop)?,
        Op::Fence | Op::WillReturn | Op::Expect => 0,
        Op::Accrued => env.accrued() as u64,
        Op::Forget => {
            if env.accrued() as u64 & !arg(0) != 0 {
                env.forget();
            }
            0
        }
        Op::Call => {
            let args: [u64; 4] = [0, 1, 2, 3].map(|k| if i.args[k].is_some() { arg(k) } else { 0 });
            env.call(i.imm as u16, &args[..i.operands().count()])?
        }
        Op::Insn => {
            *at = i.imm as i64;
            0
        }
        Op::ExitIf => {
            if arg(0) & 1 != 0 {
                return Ok(Step::End(End::Goto(i.imm as i64)));
            }
            0
        }
        Op::Goto => return Ok(Step::End(End::Goto(i.imm as i64))),
        Op::Jump => return Ok(Step::End(End::Jump(arg(0)))),
        Op::Leave => return Ok(Step::End(End::Leave)),
        _ => match float(i.op, i.ty, arg) {
            Some((x, flags)) => {
                if flags != 0 {
                    env.accrue(flags);
                }
                x
            }
            None => fold(i.op, i.ty, arg(0), arg(1)).unwrap_or(0),
        },
    };
    Ok(Step::Value(x))
}

/// How a conversion rounds.
fn direction(op: Op) -> softfloat::Round {
    use softfloat::Round::*;
    match op {
        Op::FToI32 | Op::FToI64 | Op::FToU32 | Op::FToU64 | Op::FFromI64Zero => TowardZero,
        Op::FDownI64 | Op::FFromI64Down => Down,
        Op::FUpI64 | Op::FFromI64Up => Up,
        _ => NearestEven,
    }
}

/// The float operations, rounding to nearest even; the result and the flags. `None` for other operations.
pub fn float(op: Op, ty: Ty, arg: impl Fn(usize) -> u64) -> Option<(u64, u8)> {
    use softfloat::*;
    let mut env = Float::new(Round::NearestEven);
    let e = &mut env;
    let single = ty == Ty::F32;
    let (a, b, c) = (&|| arg(0), &|| arg(1), &|| arg(2));
    let (a32, b32, c32) = (|| a() as u32, || b() as u32, || c() as u32);
    let x = match (op, single) {
        (Op::FAdd, true) => f32_add(e, a32(), b32()) as u64,
        (Op::FAdd, false) => f64_add(e, a(), b()),
        (Op::FSub, true) => f32_sub(e, a32(), b32()) as u64,
        (Op::FSub, false) => f64_sub(e, a(), b()),
        (Op::FMul, true) => f32_mul(e, a32(), b32()) as u64,
        (Op::FMul, false) => f64_mul(e, a(), b()),
        (Op::FDiv, true) => f32_div(e, a32(), b32()) as u64,
        (Op::FDiv, false) => f64_div(e, a(), b()),
        (Op::FSqrt, true) => f32_sqrt(e, a32()) as u64,
        (Op::FSqrt, false) => f64_sqrt(e, a()),
        (Op::FMa, true) => f32_fma(e, a32(), b32(), c32()) as u64,
        (Op::FMa, false) => f64_fma(e, a(), b(), c()),
        (Op::FNeg, true) => (a32() ^ 1 << 31) as u64,
        (Op::FNeg, false) => a() ^ 1 << 63,
        (Op::FAbs, true) => (a32() & !(1 << 31)) as u64,
        (Op::FAbs, false) => a() & !(1 << 63),
        (Op::FCopySign, true) => (a32() & !(1 << 31) | b32() & 1 << 31) as u64,
        (Op::FCopySign, false) => a() & !(1 << 63) | b() & 1 << 63,
        (Op::FMin, true) => f32_min(e, a32(), b32()) as u64,
        (Op::FMin, false) => f64_min(e, a(), b()),
        (Op::FMax, true) => f32_max(e, a32(), b32()) as u64,
        (Op::FMax, false) => f64_max(e, a(), b()),
        (Op::FEq, true) => f32_eq(e, a32(), b32()) as u64,
        (Op::FEq, false) => f64_eq(e, a(), b()) as u64,
        (Op::FLt, true) => f32_lt(e, a32(), b32()) as u64,
        (Op::FLt, false) => f64_lt(e, a(), b()) as u64,
        (Op::FLe, true) => f32_le(e, a32(), b32()) as u64,
        (Op::FLe, false) => f64_le(e, a(), b()) as u64,
        (Op::FFromI64Zero | Op::FFromI64Down | Op::FFromI64Up, _) => {
            e.round = direction(op);
            if single { f32_from_i64(e, a() as i64) as u64 } else { f64_from_i64(e, a() as i64) }
        }
        (Op::FFromU64, true) => f32_from_u64(e, a()) as u64,
        (Op::FFromU64, false) => f64_from_u64(e, a()),
        (Op::FFromI64, true) => f32_from_i64(e, a() as i64) as u64,
        (Op::FFromI64, false) => f64_from_i64(e, a() as i64),
        (Op::FFromI32, true) => f32_from_i32(e, a() as i32) as u64,
        (Op::FFromI32, false) => f64_from_i32(e, a() as i32),
        (Op::FWiden, _) => f32_to_f64(e, a32()),
        (Op::FNarrow, _) => f64_to_f32(e, a()) as u64,
        (Op::FToI32 | Op::FToI64 | Op::FNearI32 | Op::FNearI64 | Op::FDownI64 | Op::FUpI64, _) => {
            e.round = direction(op);
            match (op, single) {
                (Op::FToI32 | Op::FNearI32, true) => f32_to_i32(e, a32()) as u32 as u64,
                (Op::FToI32 | Op::FNearI32, false) => f64_to_i32(e, a()) as u32 as u64,
                (_, true) => f32_to_i64(e, a32()) as u64,
                (_, false) => f64_to_i64(e, a()) as u64,
            }
        }
        (Op::FToU32 | Op::FToU64, _) => {
            e.round = direction(op);
            match (op, single) {
                (Op::FToU32, true) => f32_to_u32(e, a32()) as u64,
                (Op::FToU32, false) => f64_to_u32(e, a()) as u64,
                (_, true) => f32_to_u64(e, a32()),
                (_, false) => f64_to_u64(e, a()),
            }
        }
        (Op::FBits | Op::FFromBits, true) => a() as u32 as u64,
        (Op::FBits | Op::FFromBits, false) => a(),
        (Op::FBox, _) => a() | 0xffff_ffff_0000_0000,
        (Op::FUnbox, _) if a() >> 32 == 0xffff_ffff => a() as u32 as u64,
        (Op::FUnbox, _) => 0x7fc0_0000,
        _ => return None,
    };
    Some((x, env.flags.bits()))
}
