//! Addition, multiplication, division, square root and fused multiply-add (IEEE 754-2019 section
//! 5.4.1), generic over the format. Encodings travel zero-extended in `u64`.

use crate::env::{Env, Flags, Round};
use crate::format::{
    Format, Kind, infinity, invalid, normalize_round_pack, propagate_nan, round_pack, shift_right_jam,
    shift_right_jam_128, unpack, zero,
};

/// The sign of an exact zero sum of numbers with unlike signs (IEEE 754 section 6.3).
#[inline]
fn zero_sum<F: Format>(env: &Env) -> u64 {
    zero::<F>(env.round == Round::Down)
}

/// `a + b`.
#[inline]
pub fn add<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let x = unpack::<F>(a);
    let y = unpack::<F>(b);
    match (x.kind, y.kind) {
        (Kind::Finite, Kind::Finite) => {}
        (Kind::Nan, _) | (_, Kind::Nan) => return propagate_nan::<F>(env, &[a, b]),
        (Kind::Infinity, Kind::Infinity) if x.sign != y.sign => return invalid::<F>(env),
        (Kind::Infinity, _) | (Kind::Finite, Kind::Zero) => return a,
        (_, Kind::Infinity) | (Kind::Zero, Kind::Finite) => return b,
        (Kind::Zero, Kind::Zero) => return if x.sign == y.sign { a } else { zero_sum::<F>(env) },
    }
    let (big, small) =
        if (x.exponent, x.significand) >= (y.exponent, y.significand) { (x, y) } else { (y, x) };
    // One bit of headroom for the carry; at least ten low bits are still free for guard and sticky.
    let distance = big.exponent.abs_diff(small.exponent);
    let high = big.significand >> 1;
    let low = shift_right_jam(small.significand >> 1, distance);
    if x.sign == y.sign {
        return normalize_round_pack::<F>(env, x.sign, big.exponent + 1, high + low);
    }
    let difference = high - low;
    if difference == 0 {
        return zero_sum::<F>(env);
    }
    normalize_round_pack::<F>(env, big.sign, big.exponent + 1, difference)
}

/// `a - b`.
#[inline]
pub fn sub<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    // NaN results are canonical, so that flipping the sign of a NaN is not seen.
    add::<F>(env, a, b ^ F::SIGN)
}

/// `a * b`.
#[inline]
pub fn mul<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let x = unpack::<F>(a);
    let y = unpack::<F>(b);
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Finite, Kind::Finite) => {}
        (Kind::Nan, _) | (_, Kind::Nan) => return propagate_nan::<F>(env, &[a, b]),
        (Kind::Infinity, Kind::Zero) | (Kind::Zero, Kind::Infinity) => return invalid::<F>(env),
        (Kind::Infinity, _) | (_, Kind::Infinity) => return infinity::<F>(sign),
        (Kind::Zero, _) | (_, Kind::Zero) => return zero::<F>(sign),
    }
    let product = u128::from(x.significand) * u128::from(y.significand);
    let significand = (product >> 64) as u64 | u64::from(product as u64 != 0);
    normalize_round_pack::<F>(env, sign, x.exponent + y.exponent + 1, significand)
}

/// `a / b`.
#[inline]
pub fn div<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let x = unpack::<F>(a);
    let y = unpack::<F>(b);
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Finite, Kind::Finite) => {}
        (Kind::Nan, _) | (_, Kind::Nan) => return propagate_nan::<F>(env, &[a, b]),
        (Kind::Infinity, Kind::Infinity) | (Kind::Zero, Kind::Zero) => return invalid::<F>(env),
        (Kind::Infinity, _) => return infinity::<F>(sign),
        (_, Kind::Zero) => {
            env.raise(Flags::DIVIDE_BY_ZERO);
            return infinity::<F>(sign);
        }
        (Kind::Zero, _) | (_, Kind::Infinity) => return zero::<F>(sign),
    }
    let (quotient, exponent) = if F::FRACTION_BITS < 30 {
        // Both significands fit 32 bits, and the quotient has 32 or 33: a 64-bit division will do.
        let (dividend, divisor) = (x.significand >> 32 << 32, y.significand >> 32);
        let (quotient, rest) = (dividend / divisor, dividend % divisor);
        (quotient << 30 | u64::from(rest != 0), x.exponent - y.exponent + 1)
    } else {
        let (dividend, divisor) = (u128::from(x.significand) << 63, u128::from(y.significand));
        let (quotient, rest) = (dividend / divisor, dividend % divisor);
        (quotient as u64 | u64::from(rest != 0), x.exponent - y.exponent)
    };
    normalize_round_pack::<F>(env, sign, exponent, quotient)
}

/// The square root of `a`.
#[inline]
pub fn sqrt<F: Format>(env: &mut Env, a: u64) -> u64 {
    let x = unpack::<F>(a);
    match x.kind {
        Kind::Nan => return propagate_nan::<F>(env, &[a]),
        Kind::Zero => return a,
        _ if x.sign => return invalid::<F>(env),
        Kind::Infinity => return a,
        Kind::Finite => {}
    }
    // With an odd exponent the radicand is in [2, 4), otherwise in [1, 2); roots are in [1, 2).
    let odd = x.exponent & 1;
    let root = if F::FRACTION_BITS < 30 {
        let radicand = x.significand >> (1 - odd);
        let root = radicand.isqrt();
        root << 32 | u64::from(root * root != radicand)
    } else {
        let radicand = u128::from(x.significand) << (63 + odd);
        let root = radicand.isqrt();
        root as u64 | u64::from(root * root != radicand)
    };
    round_pack::<F>(env, false, x.exponent >> 1, root)
}

/// `a * b + c`, rounded once.
#[inline]
pub fn fma<F: Format>(env: &mut Env, a: u64, b: u64, c: u64) -> u64 {
    let x = unpack::<F>(a);
    let y = unpack::<F>(b);
    let z = unpack::<F>(c);
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Nan, _) | (_, Kind::Nan) => return propagate_nan::<F>(env, &[a, b, c]),
        // Invalid even if the addend is a quiet NaN (RISC-V "F", section "Single-Precision
        // Floating-Point Computational Instructions").
        (Kind::Infinity, Kind::Zero) | (Kind::Zero, Kind::Infinity) => return invalid::<F>(env),
        (Kind::Infinity, _) | (_, Kind::Infinity) => {
            return match z.kind {
                Kind::Nan => propagate_nan::<F>(env, &[c]),
                Kind::Infinity if z.sign != sign => invalid::<F>(env),
                _ => infinity::<F>(sign),
            };
        }
        _ => {}
    }
    match z.kind {
        Kind::Nan => return propagate_nan::<F>(env, &[c]),
        Kind::Infinity => return c,
        _ => {}
    }
    if x.kind == Kind::Zero || y.kind == Kind::Zero {
        return match z.kind {
            Kind::Zero if z.sign != sign => zero_sum::<F>(env),
            _ => c,
        };
    }

    // The exact product as significand * 2^(exponent - 127), bit 127 set. Its low bits are free: a
    // significand has at most 53 bits, so the product has at most 106.
    let product = u128::from(x.significand) * u128::from(y.significand);
    let zeros = product.leading_zeros();
    let product = product << zeros;
    let exponent = x.exponent + y.exponent + 1 - zeros as i32;
    if z.kind == Kind::Zero {
        return round_pack::<F>(env, sign, exponent, (product >> 64) as u64 | u64::from(product as u64 != 0));
    }
    let addend = u128::from(z.significand) << 64;
    let product_is_big = (exponent, product) >= (z.exponent, addend);
    let (big, big_exponent, small, small_exponent) = if product_is_big {
        (product, exponent, addend, z.exponent)
    } else {
        (addend, z.exponent, product, exponent)
    };
    let high = big >> 1;
    let low = shift_right_jam_128(small >> 1, big_exponent.abs_diff(small_exponent));
    let (sum, sum_sign) = if sign == z.sign {
        (high + low, sign)
    } else {
        (high - low, if product_is_big { sign } else { z.sign })
    };
    if sum == 0 {
        return zero_sum::<F>(env);
    }
    let zeros = sum.leading_zeros();
    let sum = sum << zeros;
    let significand = (sum >> 64) as u64 | u64::from(sum as u64 != 0);
    round_pack::<F>(env, sum_sign, big_exponent + 1 - zeros as i32, significand)
}
