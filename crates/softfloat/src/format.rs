//! Interchange formats: taking a number apart and putting it together again, rounded.
//!
//! IEEE 754-2019 section 3.4 (encodings), 4.3 (rounding), 7 (exceptions). Every operation works on
//! [`Unpacked`] numbers, whose significand is left-aligned in 64 bits whatever the format, and ends
//! in [`round_pack`]; a format therefore is two widths and nothing else.

use crate::env::{Env, Flags, Round};

/// A binary interchange format of at most 64 bits; encodings are carried zero-extended in a `u64`.
pub trait Format {
    /// Width of the biased exponent field (w).
    const EXPONENT_BITS: u32;
    /// Width of the trailing significand field (t).
    const FRACTION_BITS: u32;

    /// Width of the whole encoding.
    const BITS: u32 = 1 + Self::EXPONENT_BITS + Self::FRACTION_BITS;
    /// Exponent bias, which is also the largest exponent of a finite number.
    const BIAS: i32 = (1 << (Self::EXPONENT_BITS - 1)) - 1;
    /// Biased exponent of infinities and NaNs.
    const EXPONENT_MAX: i32 = (1 << Self::EXPONENT_BITS) - 1;
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// Trailing significand field.
    const FRACTION: u64 = (1 << Self::FRACTION_BITS) - 1;
    /// The bit that tells a quiet NaN from a signaling one.
    const QUIET: u64 = 1 << (Self::FRACTION_BITS - 1);
    /// Positive infinity.
    const INFINITY: u64 = (Self::EXPONENT_MAX as u64) << Self::FRACTION_BITS;
    /// The canonical NaN: positive, quiet, no payload (RISC-V "F", section "NaN Generation and
    /// Propagation").
    const NAN: u64 = Self::INFINITY | Self::QUIET;
}

/// binary16, half precision.
#[derive(Clone, Copy, Debug)]
pub enum Binary16 {}

/// binary32, single precision.
#[derive(Clone, Copy, Debug)]
pub enum Binary32 {}

/// binary64, double precision.
#[derive(Clone, Copy, Debug)]
pub enum Binary64 {}

impl Format for Binary16 {
    const EXPONENT_BITS: u32 = 5;
    const FRACTION_BITS: u32 = 10;
}

impl Format for Binary32 {
    const EXPONENT_BITS: u32 = 8;
    const FRACTION_BITS: u32 = 23;
}

impl Format for Binary64 {
    const EXPONENT_BITS: u32 = 11;
    const FRACTION_BITS: u32 = 52;
}

/// What kind of datum an encoding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Zero,
    Finite,
    Infinity,
    Nan,
}

/// A number taken apart. For [`Kind::Finite`] its magnitude is `significand * 2^(exponent - 63)` and
/// bit 63 of the significand is set, for subnormal numbers too; otherwise both fields mean nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unpacked {
    pub sign: bool,
    pub kind: Kind,
    pub exponent: i32,
    pub significand: u64,
}

/// Whether `bits` is a NaN of either sort.
#[inline]
pub(crate) fn is_nan<F: Format>(bits: u64) -> bool {
    bits & !F::SIGN > F::INFINITY
}

/// Whether `bits` is a signaling NaN.
#[inline]
pub(crate) fn is_signaling<F: Format>(bits: u64) -> bool {
    is_nan::<F>(bits) && bits & F::QUIET == 0
}

/// The canonical NaN, after raising NV if an operand is signaling (IEEE 754 section 6.2).
#[inline]
pub(crate) fn propagate_nan<F: Format>(env: &mut Env, operands: &[u64]) -> u64 {
    if operands.iter().any(|&bits| is_signaling::<F>(bits)) {
        env.raise(Flags::INVALID);
    }
    F::NAN
}

/// The canonical NaN of an invalid operation.
#[inline]
pub(crate) fn invalid<F: Format>(env: &mut Env) -> u64 {
    env.raise(Flags::INVALID);
    F::NAN
}

/// Zero of the given sign.
#[inline]
pub(crate) fn zero<F: Format>(sign: bool) -> u64 {
    if sign { F::SIGN } else { 0 }
}

/// Infinity of the given sign.
#[inline]
pub(crate) fn infinity<F: Format>(sign: bool) -> u64 {
    zero::<F>(sign) | F::INFINITY
}

/// Takes an encoding apart.
#[inline]
pub(crate) fn unpack<F: Format>(bits: u64) -> Unpacked {
    let sign = bits & F::SIGN != 0;
    let fraction = bits & F::FRACTION;
    let biased = ((bits & !F::SIGN) >> F::FRACTION_BITS) as i32;
    let left = 63 - F::FRACTION_BITS;
    if biased == F::EXPONENT_MAX {
        let kind = if fraction == 0 { Kind::Infinity } else { Kind::Nan };
        return Unpacked { sign, kind, exponent: 0, significand: 0 };
    }
    if biased != 0 {
        let significand = (1 << 63) | fraction << left;
        return Unpacked { sign, kind: Kind::Finite, exponent: biased - F::BIAS, significand };
    }
    if fraction == 0 {
        return Unpacked { sign, kind: Kind::Zero, exponent: 0, significand: 0 };
    }
    let aligned = fraction << left;
    let zeros = aligned.leading_zeros();
    Unpacked { sign, kind: Kind::Finite, exponent: 1 - F::BIAS - zeros as i32, significand: aligned << zeros }
}

/// `value >> count`, with bit 0 also set if any bit was lost ("jamming"): rounding sees the same.
#[inline]
pub(crate) fn shift_right_jam(value: u64, count: u32) -> u64 {
    if count == 0 {
        value
    } else if count < 64 {
        value >> count | u64::from(value << (64 - count) != 0)
    } else {
        u64::from(value != 0)
    }
}

/// [`shift_right_jam`] for 128 bits.
#[inline]
pub(crate) fn shift_right_jam_128(value: u128, count: u32) -> u128 {
    if count == 0 {
        value
    } else if count < 128 {
        value >> count | u128::from(value << (128 - count) != 0)
    } else {
        u128::from(value != 0)
    }
}

/// What must be added to a significand before its low bits `mask` are cut off, so that the cut rounds
/// as `round` says. Ties to even need one correction after the cut.
#[inline]
pub(crate) fn increment(round: Round, sign: bool, mask: u64) -> u64 {
    match round {
        Round::NearestEven | Round::NearestMaxMagnitude => (mask >> 1) + 1,
        Round::TowardZero => 0,
        Round::Down => mask * u64::from(sign),
        Round::Up => mask * u64::from(!sign),
    }
}

/// Rounds `significand * 2^(exponent - 63)` to the format, raising NX, UF and OF as due.
///
/// Bit 63 of the significand must be set. Tininess is detected after rounding (RISC-V "F", section
/// "Subnormal Arithmetic"): underflow is not raised if rounding with an unbounded exponent range
/// would reach the smallest normal number.
#[inline]
pub(crate) fn round_pack<F: Format>(env: &mut Env, sign: bool, exponent: i32, significand: u64) -> u64 {
    debug_assert!(significand >> 63 == 1);
    let cut = 63 - F::FRACTION_BITS;
    let mask = (1u64 << cut) - 1;
    let half = 1u64 << (cut - 1);
    let add = increment(env.round, sign, mask);
    let biased = exponent + F::BIAS;

    if biased <= 0 {
        let tiny = biased < 0 || significand.checked_add(add).is_some();
        let shifted = shift_right_jam(significand, biased.abs_diff(1));
        let lost = shifted & mask;
        let mut kept = (shifted + add) >> cut;
        if lost == half && env.round == Round::NearestEven {
            kept &= !1;
        }
        if lost != 0 {
            env.raise(if tiny { Flags::UNDERFLOW | Flags::INEXACT } else { Flags::INEXACT });
        }
        // A carry out of the fraction gives biased exponent 1: the smallest normal number.
        return zero::<F>(sign) | kept;
    }

    let lost = significand & mask;
    let (sum, carry) = significand.overflowing_add(add);
    let mut kept = sum >> cut;
    if lost == half && env.round == Round::NearestEven {
        kept &= !1;
    }
    let biased = biased + i32::from(carry);
    if biased >= F::EXPONENT_MAX {
        env.raise(Flags::OVERFLOW | Flags::INEXACT);
        return zero::<F>(sign) | (F::INFINITY - u64::from(add == 0));
    }
    if lost != 0 {
        env.raise(Flags::INEXACT);
    }
    zero::<F>(sign) | (biased as u64) << F::FRACTION_BITS | kept & F::FRACTION
}

/// [`round_pack`] for a magnitude `significand * 2^(exponent - 63)` of any alignment but zero.
#[inline]
pub(crate) fn normalize_round_pack<F: Format>(
    env: &mut Env,
    sign: bool,
    exponent: i32,
    significand: u64,
) -> u64 {
    let zeros = significand.leading_zeros();
    round_pack::<F>(env, sign, exponent - zeros as i32, significand << zeros)
}
