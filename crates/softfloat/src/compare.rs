//! Comparisons, minimum and maximum, classification.
//!
//! RISC-V "F" version 2.2, sections "Floating-Point Compare Instructions" and "Classify
//! Instruction"; "Zfa" for the quiet comparisons and `fminm`/`fmaxm`.

use crate::env::{Env, Flags};
use crate::format::{Format, is_nan, is_signaling, propagate_nan};

/// An integer ordered as the numbers are; the zeros are told apart, NaNs have no meaning here.
#[inline]
fn order<F: Format>(bits: u64) -> i64 {
    let magnitude = (bits & !F::SIGN) as i64;
    if bits & F::SIGN != 0 { !magnitude } else { magnitude }
}

#[inline]
fn both_zero<F: Format>(a: u64, b: u64) -> bool {
    (a | b) & !F::SIGN == 0
}

/// Whether either is a NaN, after raising NV: for any NaN if `signaling`, else for signaling ones.
#[inline]
fn unordered<F: Format>(env: &mut Env, a: u64, b: u64, signaling: bool) -> bool {
    if !is_nan::<F>(a) && !is_nan::<F>(b) {
        return false;
    }
    if signaling || is_signaling::<F>(a) || is_signaling::<F>(b) {
        env.raise(Flags::INVALID);
    }
    true
}

/// `a == b`, quiet: NV only for a signaling NaN (`feq`).
#[inline]
pub fn eq<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    !unordered::<F>(env, a, b, false) && (a == b || both_zero::<F>(a, b))
}

/// `a < b`, signaling: NV for any NaN (`flt`).
#[inline]
pub fn lt<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    !unordered::<F>(env, a, b, true) && order::<F>(a) < order::<F>(b) && !both_zero::<F>(a, b)
}

/// `a <= b`, signaling: NV for any NaN (`fle`).
#[inline]
pub fn le<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    !unordered::<F>(env, a, b, true) && (order::<F>(a) <= order::<F>(b) || both_zero::<F>(a, b))
}

/// `a < b`, quiet (Zfa `fltq`).
#[inline]
pub fn lt_quiet<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    !unordered::<F>(env, a, b, false) && order::<F>(a) < order::<F>(b) && !both_zero::<F>(a, b)
}

/// `a <= b`, quiet (Zfa `fleq`).
#[inline]
pub fn le_quiet<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    !unordered::<F>(env, a, b, false) && (order::<F>(a) <= order::<F>(b) || both_zero::<F>(a, b))
}

/// IEEE 754-2019 minimumNumber: a NaN loses against a number, -0 is less than +0 (`fmin`).
#[inline]
pub fn min<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    number::<F>(env, a, b, order::<F>(a) <= order::<F>(b))
}

/// IEEE 754-2019 maximumNumber: a NaN loses against a number, -0 is less than +0 (`fmax`).
#[inline]
pub fn max<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    number::<F>(env, a, b, order::<F>(a) >= order::<F>(b))
}

#[inline]
fn number<F: Format>(env: &mut Env, a: u64, b: u64, take_a: bool) -> u64 {
    if unordered::<F>(env, a, b, false) {
        return match (is_nan::<F>(a), is_nan::<F>(b)) {
            (false, _) => a,
            (_, false) => b,
            _ => F::NAN,
        };
    }
    if take_a { a } else { b }
}

/// IEEE 754-2019 minimum: a NaN wins (Zfa `fminm`).
#[inline]
pub fn minm<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate_nan::<F>(env, &[a, b]);
    }
    if order::<F>(a) <= order::<F>(b) { a } else { b }
}

/// IEEE 754-2019 maximum: a NaN wins (Zfa `fmaxm`).
#[inline]
pub fn maxm<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate_nan::<F>(env, &[a, b]);
    }
    if order::<F>(a) >= order::<F>(b) { a } else { b }
}
