//! Numbers as values: the reference meaning of the integer operations.

use crate::{Int, Int32, Int64, Op, Ty};
use std::ops::*;

/// A truth value that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bit(pub bool);
/// A 32-bit number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct N32(pub u32);
/// A 64-bit number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct N64(pub u64);

impl BitAnd for Bit {
    type Output = Bit;
    #[inline(always)]
    fn bitand(self, o: Bit) -> Bit {
        Bit(self.0 & o.0)
    }
}
impl BitOr for Bit {
    type Output = Bit;
    #[inline(always)]
    fn bitor(self, o: Bit) -> Bit {
        Bit(self.0 | o.0)
    }
}
impl Not for Bit {
    type Output = Bit;
    #[inline(always)]
    fn not(self) -> Bit {
        Bit(!self.0)
    }
}

macro_rules! number {
    ($n:ident $u:ident $i:ident $w:ident $wi:ident $bits:literal) => {
        number!(@bin $n Add add |a, b| a.wrapping_add(b));
        number!(@bin $n Sub sub |a, b| a.wrapping_sub(b));
        number!(@bin $n Mul mul |a, b| a.wrapping_mul(b));
        number!(@bin $n BitAnd bitand |a, b| a & b);
        number!(@bin $n BitOr bitor |a, b| a | b);
        number!(@bin $n BitXor bitxor |a, b| a ^ b);
        number!(@bin $n Shl shl |a, b| a.wrapping_shl(b as u32));
        number!(@bin $n Shr shr |a, b| a.wrapping_shr(b as u32));
        impl Not for $n {
            type Output = $n;
            #[inline(always)]
            fn not(self) -> $n { $n(!self.0) }
        }
        impl Int for $n {
            type Bool = Bit;
            const BITS: u32 = $bits;
            #[inline(always)]
            fn lit(self, c: u64) -> $n { $n(c as $u) }
            #[inline(always)]
            fn sar(self, n: $n) -> $n { $n((self.0 as $i).wrapping_shr(n.0 as u32) as $u) }
            #[inline(always)]
            fn rotl(self, n: $n) -> $n { $n(self.0.rotate_left(n.0 as u32 % $bits)) }
            #[inline(always)]
            fn rotr(self, n: $n) -> $n { $n(self.0.rotate_right(n.0 as u32 % $bits)) }
            #[inline(always)]
            fn mulh_ss(self, o: $n) -> $n { $n(((self.0 as $i as $wi).wrapping_mul(o.0 as $i as $wi) >> $bits) as $u) }
            #[inline(always)]
            fn mulh_uu(self, o: $n) -> $n { $n(((self.0 as $w * o.0 as $w) >> $bits) as $u) }
            #[inline(always)]
            fn mulh_su(self, o: $n) -> $n { $n(((self.0 as $i as $wi).wrapping_mul(o.0 as $w as $wi) >> $bits) as $u) }
            #[inline(always)]
            fn div_s(self, o: $n) -> $n { $n(if o.0 == 0 { $u::MAX } else { (self.0 as $i).wrapping_div(o.0 as $i) as $u }) }
            #[inline(always)]
            fn div_u(self, o: $n) -> $n { $n(self.0.checked_div(o.0).unwrap_or($u::MAX)) }
            #[inline(always)]
            fn rem_s(self, o: $n) -> $n { $n(if o.0 == 0 { self.0 } else { (self.0 as $i).wrapping_rem(o.0 as $i) as $u }) }
            #[inline(always)]
            fn rem_u(self, o: $n) -> $n { $n(self.0.checked_rem(o.0).unwrap_or(self.0)) }
            #[inline(always)]
            fn clz(self) -> $n { $n(self.0.leading_zeros() as $u) }
            #[inline(always)]
            fn ctz(self) -> $n { $n(self.0.trailing_zeros() as $u) }
            #[inline(always)]
            fn popcnt(self) -> $n { $n(self.0.count_ones() as $u) }
            #[inline(always)]
            fn bswap(self) -> $n { $n(self.0.swap_bytes()) }
            #[inline(always)]
            fn sext8(self) -> $n { $n(self.0 as i8 as $u) }
            #[inline(always)]
            fn sext16(self) -> $n { $n(self.0 as i16 as $u) }
            #[inline(always)]
            fn zext8(self) -> $n { $n(self.0 as u8 as $u) }
            #[inline(always)]
            fn zext16(self) -> $n { $n(self.0 as u16 as $u) }
            #[inline(always)]
            fn eq(self, o: $n) -> Bit { Bit(self.0 == o.0) }
            #[inline(always)]
            fn lt_s(self, o: $n) -> Bit { Bit((self.0 as $i) < o.0 as $i) }
            #[inline(always)]
            fn lt_u(self, o: $n) -> Bit { Bit(self.0 < o.0) }
            #[inline(always)]
            fn from_bool(self, c: Bit) -> $n { $n(c.0 as $u) }
            #[inline(always)]
            fn select(c: Bit, t: $n, f: $n) -> $n { if c.0 { t } else { f } }
        }
    };
    (@bin $n:ident $t:ident $f:ident |$a:ident, $b:ident| $e:expr) => {
        impl $t for $n {
            type Output = $n;
            #[inline(always)]
            fn $f(self, o: $n) -> $n { let ($a, $b) = (self.0, o.0); $n($e) }
        }
    };
}

number!(N32 u32 i32 u64 i64 32);
number!(N64 u64 i64 u128 i128 64);

impl Int64 for N64 {
    type Half = N32;
    #[inline(always)]
    fn lo(self) -> N32 {
        N32(self.0 as u32)
    }
    #[inline(always)]
    fn clmul(self, o: N64) -> N64 {
        N64(carryless(self.0, o.0) as u64)
    }
    #[inline(always)]
    fn clmulh(self, o: N64) -> N64 {
        N64((carryless(self.0, o.0) >> 64) as u64)
    }
}

/// The carry-less product.
fn carryless(a: u64, b: u64) -> u128 {
    (0..64).filter(|n| b >> n & 1 != 0).fold(0, |r, n| r ^ (a as u128) << n)
}
impl Int32 for N32 {
    type Wide = N64;
    #[inline(always)]
    fn sx(self) -> N64 {
        N64(self.0 as i32 as u64)
    }
    #[inline(always)]
    fn zx(self) -> N64 {
        N64(self.0 as u64)
    }
}

/// Computes a pure integer operation on constants: the evaluator's and the constant folder's one meaning.
/// `None` if `op` is not a pure integer operation of one or two operands.
pub fn fold(op: Op, ty: Ty, a: u64, b: u64) -> Option<u64> {
    fn at<N: Int<Bool = Bit>>(op: Op, a: N, b: N) -> Option<Result<N, bool>> {
        Some(Ok(match op {
            Op::Add => a + b,
            Op::Sub => a - b,
            Op::Mul => a * b,
            Op::MulHs => a.mulh_ss(b),
            Op::MulHu => a.mulh_uu(b),
            Op::MulHsu => a.mulh_su(b),
            Op::DivS => a.div_s(b),
            Op::DivU => a.div_u(b),
            Op::RemS => a.rem_s(b),
            Op::RemU => a.rem_u(b),
            Op::And => a & b,
            Op::Or => a | b,
            Op::Xor => a ^ b,
            Op::Shl => a << b,
            Op::Shr => a >> b,
            Op::Sar => a.sar(b),
            Op::Rotl => a.rotl(b),
            Op::Rotr => a.rotr(b),
            Op::Clz => a.clz(),
            Op::Ctz => a.ctz(),
            Op::Popcnt => a.popcnt(),
            Op::Bswap => a.bswap(),
            Op::Sext8 => a.sext8(),
            Op::Sext16 => a.sext16(),
            Op::Zext8 => a.zext8(),
            Op::Zext16 => a.zext16(),
            Op::Eq => return Some(Err(a.eq(b).0)),
            Op::Ne => return Some(Err(!a.eq(b).0)),
            Op::LtS => return Some(Err(a.lt_s(b).0)),
            Op::LtU => return Some(Err(a.lt_u(b).0)),
            Op::GeS => return Some(Err(!a.lt_s(b).0)),
            Op::GeU => return Some(Err(!a.lt_u(b).0)),
            _ => return None,
        }))
    }
    match (op, ty) {
        (Op::Trunc, _) => Some(a as u32 as u64),
        (Op::Sext32, _) => Some(a as u32 as i32 as u64),
        (Op::Zext32, _) => Some(a as u32 as u64),
        (Op::Clmul, _) => Some(N64(a).clmul(N64(b)).0),
        (Op::ClmulH, _) => Some(N64(a).clmulh(N64(b)).0),
        (Op::FromBool, _) => Some(a & 1),
        (Op::And, Ty::I1) => Some(a & b & 1),
        (Op::Or, Ty::I1) => Some((a | b) & 1),
        (Op::Xor, Ty::I1) => Some((a ^ b) & 1),
        (_, Ty::I64) => at(op, N64(a), N64(b)).map(|r| r.map_or_else(u64::from, |n| n.0)),
        (_, Ty::I32) => {
            at(op, N32(a as u32), N32(b as u32)).map(|r| r.map_or_else(u64::from, |n| n.0 as u64))
        }
        _ => None,
    }
}
