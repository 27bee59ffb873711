//! What is known of the upper bits of integer values.

use ir::{Inst, MemOp, Op, Ty, Val};

/// How many of the top bits of a value are known to be equal (`sign`, at least 1) and to be zero (`zero`), within its
/// type's width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Top bits that equal the topmost one, itself included.
    pub sign: u8,
    /// Top bits that are zero.
    pub zero: u8,
}

impl Facts {
    /// Nothing.
    pub const NONE: Facts = Facts { sign: 1, zero: 0 };
    fn zeros(n: u32) -> Facts {
        Facts { sign: n.max(1) as u8, zero: n as u8 }
    }
    fn signs(n: u32) -> Facts {
        Facts { sign: n.max(1) as u8, zero: 0 }
    }
    fn new(sign: u8, zero: u8) -> Facts {
        Facts { sign: sign.max(zero).max(1), zero }
    }
}

/// Bits of an integer type.
pub fn width(ty: Ty) -> u32 {
    match ty {
        Ty::I1 => 1,
        Ty::I32 | Ty::F32 => 32,
        Ty::I64 | Ty::F64 => 64,
    }
}

fn loaded(m: MemOp) -> Facts {
    let unused = 64 - 8 * m.bytes();
    match (m.signed(), unused) {
        (_, 0) => Facts::NONE,
        (true, n) => Facts::signs(n + 1),
        (false, n) => Facts::zeros(n),
    }
}

/// What is known of the result of `i`; `of` tells of operands, `constant` their values if they are constants.
pub fn facts(i: &Inst, of: impl Fn(Val) -> Facts, constant: impl Fn(Val) -> Option<u64>) -> Facts {
    let [a, b, c, _] = i.args;
    let w = width(i.ty);
    match i.op {
        Op::Const if i.ty != Ty::I1 => {
            let x = if w == 32 { i.imm << 32 } else { i.imm };
            let zero = x.leading_zeros().min(w);
            let sign = if (x as i64) < 0 { x.leading_ones() } else { zero };
            Facts::new(sign.min(w) as u8, zero as u8)
        }
        Op::Load | Op::Cas | Op::Amo => loaded(MemOp::of(i.imm & 0xff)),
        Op::Trunc => {
            let f = of(a);
            Facts::new(f.sign.saturating_sub(32), f.zero.saturating_sub(32))
        }
        Op::Sext32 => {
            let f = of(a);
            Facts::new(32 + f.sign, if f.zero > 0 { 32 + f.zero } else { 0 })
        }
        Op::Zext32 => Facts::zeros(32 + of(a).zero as u32),
        Op::FromBool | Op::StoreCond => Facts::zeros(w - 1),
        Op::Zext8 => Facts::zeros(w - 8),
        Op::Zext16 => Facts::zeros(w - 16),
        Op::Sext8 => Facts::signs(w - 7),
        Op::Sext16 => Facts::signs(w - 15),
        Op::Clz | Op::Ctz | Op::Popcnt => Facts::zeros(w - 7),
        Op::And if i.ty != Ty::I1 => {
            let (x, y) = (of(a), of(b));
            Facts::new(x.sign.min(y.sign), x.zero.max(y.zero))
        }
        Op::Or | Op::Xor if i.ty != Ty::I1 => {
            let (x, y) = (of(a), of(b));
            Facts::new(x.sign.min(y.sign), x.zero.min(y.zero))
        }
        Op::Select => {
            let (x, y) = (of(b), of(c));
            Facts::new(x.sign.min(y.sign), x.zero.min(y.zero))
        }
        Op::Add => {
            let (x, y) = (of(a), of(b));
            Facts::new(x.sign.min(y.sign) - 1, x.zero.min(y.zero).saturating_sub(1))
        }
        Op::Sub => Facts::new(of(a).sign.min(of(b).sign) - 1, 0),
        Op::Shl | Op::Shr | Op::Sar => {
            let Some(n) = constant(b) else { return Facts::NONE };
            let n = n as u32 % w;
            let f = of(a);
            let more = |x: u8| (x as u32 + n).min(w) as u8;
            match i.op {
                Op::Shl => Facts::new(f.sign.saturating_sub(n as u8), f.zero.saturating_sub(n as u8)),
                Op::Shr => Facts::new(1, more(f.zero)),
                _ => Facts::new(more(f.sign), if f.zero > 0 { more(f.zero) } else { 0 }),
            }
        }
        _ => Facts::NONE,
    }
}
