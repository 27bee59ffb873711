//! What a guest value can do, whether it is a number (interpreter) or a name in a block (translator).
//! A guest instruction's meaning is written once, over these traits.

use std::ops::*;

/// An integer of 32 or 64 bits. Arithmetic wraps; shift counts are taken modulo the width.
pub trait Int:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
    + Shl<Output = Self>
    + Shr<Output = Self>
{
    /// A truth value.
    type Bool: Copy + BitAnd<Output = Self::Bool> + BitOr<Output = Self::Bool> + Not<Output = Self::Bool>;
    /// Width in bits.
    const BITS: u32;
    /// The constant `c`, truncated to the width (`self` only says where).
    fn lit(self, c: u64) -> Self;
    /// Arithmetic right shift.
    fn sar(self, n: Self) -> Self;
    /// Rotation to the left.
    fn rotl(self, n: Self) -> Self;
    /// Rotation to the right.
    fn rotr(self, n: Self) -> Self;
    /// High half of the signed product.
    fn mulh_ss(self, o: Self) -> Self;
    /// High half of the unsigned product.
    fn mulh_uu(self, o: Self) -> Self;
    /// High half of the product of signed `self` and unsigned `o`.
    fn mulh_su(self, o: Self) -> Self;
    /// Signed quotient, total as in RISC-V (see [`crate::Op::DivS`]).
    fn div_s(self, o: Self) -> Self;
    /// Unsigned quotient, total.
    fn div_u(self, o: Self) -> Self;
    /// Signed remainder, total.
    fn rem_s(self, o: Self) -> Self;
    /// Unsigned remainder, total.
    fn rem_u(self, o: Self) -> Self;
    /// Leading zeros.
    fn clz(self) -> Self;
    /// Trailing zeros.
    fn ctz(self) -> Self;
    /// Number of ones.
    fn popcnt(self) -> Self;
    /// Bytes reversed.
    fn bswap(self) -> Self;
    /// Low byte, sign-extended.
    fn sext8(self) -> Self;
    /// Low 16 bits, sign-extended.
    fn sext16(self) -> Self;
    /// Low byte, zero-extended.
    fn zext8(self) -> Self;
    /// Low 16 bits, zero-extended.
    fn zext16(self) -> Self;
    /// Equality.
    fn eq(self, o: Self) -> Self::Bool;
    /// Signed less-than.
    fn lt_s(self, o: Self) -> Self::Bool;
    /// Unsigned less-than.
    fn lt_u(self, o: Self) -> Self::Bool;
    #[allow(clippy::wrong_self_convention)] // a constant needs to know where it is made
    /// 1 or 0 of this type (`self` only says where).
    fn from_bool(self, c: Self::Bool) -> Self;
    /// `t` if `c` else `f`.
    fn select(c: Self::Bool, t: Self, f: Self) -> Self;
}

/// A 64-bit integer.
pub trait Int64: Int {
    /// The 32-bit integer with the same truth values.
    type Half: Int32<Wide = Self, Bool = Self::Bool>;
    /// Low half.
    fn lo(self) -> Self::Half;
    /// Low half of the carry-less product.
    fn clmul(self, o: Self) -> Self;
    /// High half of the carry-less product.
    fn clmulh(self, o: Self) -> Self;
}

/// A 32-bit integer.
pub trait Int32: Int {
    /// The 64-bit integer with the same truth values.
    type Wide: Int64<Half = Self, Bool = Self::Bool>;
    /// Sign-extended.
    fn sx(self) -> Self::Wide;
    /// Zero-extended.
    fn zx(self) -> Self::Wide;
}
