//! Conversions between formats and from and to integers, rounding to integral values, and the
//! constants of `fli`.
//!
//! RISC-V "F" and "D", sections on conversion instructions (saturation and flags); "Zfa" for
//! `fround`, `froundnx`, `fcvtmod.w.d` and `fli`.

use crate::env::{Env, Flags, Round};
use crate::format::{
    Binary64, Format, Kind, increment, infinity, normalize_round_pack, propagate_nan, round_pack,
    shift_right_jam, unpack, zero,
};

/// Converts `bits` from format `From` to format `To`.
#[inline]
pub fn convert<From: Format, To: Format>(env: &mut Env, bits: u64) -> u64 {
    let x = unpack::<From>(bits);
    match x.kind {
        Kind::Nan => {
            propagate_nan::<From>(env, &[bits]);
            To::NAN
        }
        Kind::Infinity => infinity::<To>(x.sign),
        Kind::Zero => zero::<To>(x.sign),
        Kind::Finite => round_pack::<To>(env, x.sign, x.exponent, x.significand),
    }
}

/// Rounds `significand * 2^(exponent - 63)`, `exponent < 64`, to an integer; tells whether it was
/// inexact. Bit 63 of the significand is set. The result may be 2^64 only in theory: a significand
/// of at most 53 bits never rounds up from there.
#[inline]
fn round_magnitude(round: Round, sign: bool, exponent: i32, significand: u64) -> (u64, bool) {
    if exponent >= 63 {
        return (significand, false);
    }
    // Two bits, half and sticky, stand below the integer; the integer has at most 62 + 1 bits, so
    // that the shift by two may need 65. Numbers that large have no fraction: handled apart.
    if exponent > 52 {
        return (significand >> (63 - exponent), false);
    }
    let fixed = shift_right_jam(significand, (61 - exponent) as u32);
    let lost = fixed & 3;
    let mut kept = (fixed + increment(round, sign, 3)) >> 2;
    if lost == 2 && round == Round::NearestEven {
        kept &= !1;
    }
    (kept, lost != 0)
}

/// The result and flags of a conversion to an integer whose value is out of range.
#[inline]
fn saturate(env: &mut Env, limit: u64) -> u64 {
    env.raise(Flags::INVALID);
    limit
}

/// Converts to a signed integer of `width` (32 or 64) bits, sign-extended. Out-of-range numbers
/// saturate and NaN gives the largest integer, both raising NV alone.
#[inline]
pub fn to_signed<F: Format>(env: &mut Env, bits: u64, width: u32) -> i64 {
    let largest = u64::MAX >> (65 - width);
    let x = unpack::<F>(bits);
    let limit = if x.sign { largest + 1 } else { largest };
    let magnitude = match x.kind {
        Kind::Nan => return saturate(env, largest) as i64,
        Kind::Zero => return 0,
        Kind::Finite if x.exponent < 64 => {
            let (magnitude, inexact) = round_magnitude(env.round, x.sign, x.exponent, x.significand);
            if magnitude > limit {
                saturate(env, limit)
            } else {
                if inexact {
                    env.raise(Flags::INEXACT);
                }
                magnitude
            }
        }
        Kind::Finite | Kind::Infinity => saturate(env, limit),
    };
    (if x.sign { magnitude.wrapping_neg() } else { magnitude }) as i64
}

/// Converts to an unsigned integer of `width` (32 or 64) bits, zero-extended. Out-of-range numbers
/// saturate and NaN gives the largest integer, both raising NV alone.
#[inline]
pub fn to_unsigned<F: Format>(env: &mut Env, bits: u64, width: u32) -> u64 {
    let largest = u64::MAX >> (64 - width);
    let x = unpack::<F>(bits);
    match x.kind {
        Kind::Nan => saturate(env, largest),
        Kind::Zero => 0,
        Kind::Finite if x.exponent < 64 => {
            let (magnitude, inexact) = round_magnitude(env.round, x.sign, x.exponent, x.significand);
            if x.sign && magnitude != 0 {
                saturate(env, 0)
            } else if magnitude > largest {
                saturate(env, largest)
            } else {
                if inexact {
                    env.raise(Flags::INEXACT);
                }
                magnitude
            }
        }
        Kind::Finite | Kind::Infinity => saturate(env, if x.sign { 0 } else { largest }),
    }
}

/// Converts a signed integer.
#[inline]
pub fn from_signed<F: Format>(env: &mut Env, value: i64) -> u64 {
    if value == 0 {
        return 0;
    }
    normalize_round_pack::<F>(env, value < 0, 63, value.unsigned_abs())
}

/// Converts an unsigned integer.
#[inline]
pub fn from_unsigned<F: Format>(env: &mut Env, value: u64) -> u64 {
    if value == 0 {
        return 0;
    }
    normalize_round_pack::<F>(env, false, 63, value)
}

/// Rounds to an integral value in the same format; `exact` asks for NX when that changes the value
/// (`froundnx`, IEEE 754 roundToIntegralExact), otherwise it is not raised (`fround`).
#[inline]
pub fn round_to_integral<F: Format>(env: &mut Env, bits: u64, exact: bool) -> u64 {
    let x = unpack::<F>(bits);
    match x.kind {
        Kind::Nan => return propagate_nan::<F>(env, &[bits]),
        Kind::Infinity | Kind::Zero => return bits,
        Kind::Finite if x.exponent >= F::FRACTION_BITS as i32 => return bits,
        Kind::Finite => {}
    }
    let (magnitude, inexact) = round_magnitude(env.round, x.sign, x.exponent, x.significand);
    if exact && inexact {
        env.raise(Flags::INEXACT);
    }
    if magnitude == 0 {
        return zero::<F>(x.sign);
    }
    // At most FRACTION_BITS + 1 bits: packing is exact, except where 2^16 overflows binary16, which
    // cannot be reached from an exponent below FRACTION_BITS.
    normalize_round_pack::<F>(env, x.sign, 63, magnitude)
}

/// Zfa `fcvtmod.w.d`: the integer part modulo 2^32, sign-extended; zero for infinities and NaN. The
/// flags are those of `fcvt.w.d` towards zero.
pub fn to_modular_i32(env: &mut Env, bits: u64) -> i64 {
    let mut toward_zero = Env { round: Round::TowardZero, flags: env.flags };
    to_signed::<Binary64>(&mut toward_zero, bits, 32);
    env.flags = toward_zero.flags;

    let x = unpack::<Binary64>(bits);
    if x.kind != Kind::Finite {
        return 0;
    }
    let magnitude = match x.exponent {
        ..0 => 0,
        0..=63 => x.significand >> (63 - x.exponent),
        // The significand's lowest set bit is bit 11 at least: from 2^84 up nothing is left.
        64..=126 => x.significand << (x.exponent - 63),
        _ => 0,
    };
    let value = if x.sign { magnitude.wrapping_neg() } else { magnitude };
    i64::from(value as i32)
}

/// `fli` entries 2 to 29 as (significand, exponent of two).
const LOAD_IMMEDIATE: [(u64, i32); 28] = [
    (1, -16),
    (1, -15),
    (1, -8),
    (1, -7),
    (1, -4),
    (1, -3),
    (1, -2),
    (5, -4),
    (3, -3),
    (7, -4),
    (1, -1),
    (5, -3),
    (3, -2),
    (7, -3),
    (1, 0),
    (5, -2),
    (3, -1),
    (7, -2),
    (2, 0),
    (5, -1),
    (3, 0),
    (4, 0),
    (8, 0),
    (16, 0),
    (128, 0),
    (256, 0),
    (1, 15),
    (1, 16),
];

/// The Zfa `fli` constant number `index` (modulo 32): -1, the smallest normal number, 28 others from
/// 2^-16 to 2^16, infinity and the canonical NaN. In binary16, 2^16 is infinity.
pub fn load_immediate<F: Format>(index: u8) -> u64 {
    match index % 32 {
        0 => F::SIGN | (F::BIAS as u64) << F::FRACTION_BITS,
        1 => 1 << F::FRACTION_BITS,
        30 => F::INFINITY,
        31 => F::NAN,
        n => {
            let (significand, exponent) = LOAD_IMMEDIATE[usize::from(n) - 2];
            normalize_round_pack::<F>(&mut Env::default(), false, exponent + 63, significand)
        }
    }
}
