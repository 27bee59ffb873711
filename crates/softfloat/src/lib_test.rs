//! Three witnesses: the host's floating-point unit (round to nearest), `rustc_apfloat` (all
//! directions and flags), and hand-written cases from the RISC-V text.

use crate::*;
use rustc_apfloat::ieee::{Double, Half, Single};
use rustc_apfloat::{Float, FloatConvert, Round as ApRound, Status, StatusAnd};
use std::hint::black_box;

/// xorshift64*: enough for drawing operands.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// An operand: half of them special or with sparse significands and neighbouring exponents, so
    /// that ties, cancellations, overflows and subnormals are common.
    fn operand<F: Format>(&mut self) -> u64 {
        let raw = self.next();
        let sign = if raw & 1 == 0 { 0 } else { F::SIGN };
        let max = F::EXPONENT_MAX as u64;
        let bias = F::BIAS as u64;
        let fraction = match raw >> 1 & 7 {
            0 => 0,
            1 => F::FRACTION,
            2 => 1 << (self.next() % u64::from(F::FRACTION_BITS)),
            3 => F::FRACTION ^ 1 << (self.next() % u64::from(F::FRACTION_BITS)),
            4 => self.next() & F::FRACTION & !(F::FRACTION >> (F::FRACTION_BITS / 2)),
            5 => self.next() & 3,
            _ => self.next() & F::FRACTION,
        };
        let exponent = match raw >> 4 & 15 {
            0 => 0,
            1 => 1,
            2 => max,
            3 => max - 1,
            4 => bias,
            5..=8 => bias - 3 + self.next() % 7,
            9 => bias + 20 + self.next() % 50,
            10 => self.next() % 4,
            11 => bias / 2 + self.next() % 5,
            _ => self.next(),
        } % (max + 1);
        sign | exponent << F::FRACTION_BITS | fraction
    }
}

const ROUNDS: [(Round, ApRound); 5] = [
    (Round::NearestEven, ApRound::NearestTiesToEven),
    (Round::TowardZero, ApRound::TowardZero),
    (Round::Down, ApRound::TowardNegative),
    (Round::Up, ApRound::TowardPositive),
    (Round::NearestMaxMagnitude, ApRound::NearestTiesToAway),
];

fn flags(status: Status) -> Flags {
    let mut flags = Flags::NONE;
    for (theirs, ours) in [
        (Status::INVALID_OP, Flags::INVALID),
        (Status::DIV_BY_ZERO, Flags::DIVIDE_BY_ZERO),
        (Status::OVERFLOW, Flags::OVERFLOW),
        (Status::UNDERFLOW, Flags::UNDERFLOW),
        (Status::INEXACT, Flags::INEXACT),
    ] {
        if status.intersects(theirs) {
            flags |= ours;
        }
    }
    flags
}

/// Compares with what `rustc_apfloat` says, allowing for where it leaves IEEE 754: its NaNs have
/// payloads; at the smallest normal number it looks for tininess in the rounded subnormal, not with an
/// unbounded exponent; and it does not call it an overflow when rounding stops at the largest number.
fn agree<F: Format, A: Float>(what: &str, operands: &[u64], env: Env, ours: u64, theirs: StatusAnd<A>) {
    let value = if theirs.value.is_nan() { F::NAN } else { theirs.value.to_bits() as u64 };
    let mut expected = flags(theirs.status);
    if value & !F::SIGN == 1 << F::FRACTION_BITS && expected.contains(Flags::INEXACT) {
        expected |= env.flags & Flags::UNDERFLOW;
    }
    if value & !F::SIGN == F::INFINITY - 1 && expected.contains(Flags::INEXACT) {
        expected |= env.flags & Flags::OVERFLOW;
    }
    assert!(
        ours == value && env.flags == expected,
        "{what} {operands:x?} {:?}: {ours:x} {:?}, expected {value:x} {expected:?}",
        env.round,
        env.flags
    );
}

fn against_apfloat<F: Format, A: Float>(seed: u64, count: u32) {
    let mut random = Random(seed);
    for _ in 0..count {
        let (a, b, c) = (random.operand::<F>(), random.operand::<F>(), random.operand::<F>());
        let (x, y, z) = (A::from_bits(a.into()), A::from_bits(b.into()), A::from_bits(c.into()));
        for (round, theirs) in ROUNDS {
            let env = Env::new(round);
            let mut e = env;
            let r = arithmetic::add::<F>(&mut e, a, b);
            agree::<F, A>("add", &[a, b], e, r, x.add_r(y, theirs));
            let mut e = env;
            let r = arithmetic::sub::<F>(&mut e, a, b);
            agree::<F, A>("sub", &[a, b], e, r, x.sub_r(y, theirs));
            let mut e = env;
            let r = arithmetic::mul::<F>(&mut e, a, b);
            agree::<F, A>("mul", &[a, b], e, r, x.mul_r(y, theirs));
            let mut e = env;
            let r = arithmetic::div::<F>(&mut e, a, b);
            agree::<F, A>("div", &[a, b], e, r, x.div_r(y, theirs));
            let invalid_product = (x.is_infinite() && y.is_zero()) || (x.is_zero() && y.is_infinite());
            if !invalid_product {
                let mut e = env;
                let r = arithmetic::fma::<F>(&mut e, a, b, c);
                agree::<F, A>("fma", &[a, b, c], e, r, x.mul_add_r(y, z, theirs));
            }
            let mut e = env;
            let r = convert::round_to_integral::<F>(&mut e, a, true);
            agree::<F, A>("round", &[a], e, r, x.round_to_integral(theirs));
        }
    }
}

#[test]
fn arithmetic_equals_apfloat() {
    against_apfloat::<Binary32, Single>(0x1234_5678_9abc_def1, 60_000);
    against_apfloat::<Binary64, Double>(0xfeed_beef_1234_5671, 60_000);
    against_apfloat::<Binary16, Half>(0x0bad_cafe_1234_5671, 30_000);
}

fn conversion<F: Format, T: Format, A: Float + FloatConvert<B>, B: Float>(seed: u64) {
    let mut random = Random(seed);
    for _ in 0..40_000 {
        let a = random.operand::<F>();
        for (round, theirs) in ROUNDS {
            let mut env = Env::new(round);
            let ours = convert::convert::<F, T>(&mut env, a);
            let mut loses = false;
            let x = A::from_bits(a.into());
            agree::<T, B>("convert", &[a], env, ours, x.convert_r(theirs, &mut loses));
        }
    }
}

#[test]
fn conversions_equal_apfloat() {
    conversion::<Binary32, Binary64, Single, Double>(1);
    conversion::<Binary64, Binary32, Double, Single>(2);
    conversion::<Binary16, Binary32, Half, Single>(3);
    conversion::<Binary32, Binary16, Single, Half>(4);
    conversion::<Binary16, Binary64, Half, Double>(5);
    conversion::<Binary64, Binary16, Double, Half>(6);
}

fn integers<F: Format, A: Float>(seed: u64) {
    let mut random = Random(seed);
    for _ in 0..40_000 {
        let a = random.operand::<F>();
        let x = A::from_bits(a.into());
        for (round, theirs) in ROUNDS {
            for width in [32, 64] {
                let mut exact = false;
                let mut env = Env::new(round);
                let ours = convert::to_signed::<F>(&mut env, a, width);
                let r = x.to_i128_r(width as usize, theirs, &mut exact);
                let largest = (1i128 << (width - 1)) - 1;
                let value = if x.is_nan() { largest } else { r.value };
                assert_eq!(
                    (i128::from(ours), env.flags),
                    (value, flags(r.status)),
                    "{a:x} {round:?} i{width}"
                );

                let mut env = Env::new(round);
                let ours = convert::to_unsigned::<F>(&mut env, a, width);
                let r = x.to_u128_r(width as usize, theirs, &mut exact);
                let value = if x.is_nan() { (1u128 << width) - 1 } else { r.value };
                assert_eq!(
                    (u128::from(ours), env.flags),
                    (value, flags(r.status)),
                    "{a:x} {round:?} u{width}"
                );
            }
            let value = random.next() >> (random.next() % 64);
            let mut env = Env::new(round);
            let ours = convert::from_unsigned::<F>(&mut env, value);
            agree::<F, A>("from u64", &[value], env, ours, A::from_u128_r(value.into(), theirs));
            let mut env = Env::new(round);
            let ours = convert::from_signed::<F>(&mut env, value as i64);
            agree::<F, A>("from i64", &[value], env, ours, A::from_i128_r((value as i64).into(), theirs));
        }
    }
}

#[test]
fn integer_conversions_equal_apfloat() {
    integers::<Binary32, Single>(7);
    integers::<Binary64, Double>(8);
}

#[test]
fn nearest_equals_the_host() {
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let env = &mut Env::default();
    // An optimised build thinks that a root is a NaN only if its operand is one, unless it does not see that it is a root.
    let single = |value: f32| if black_box(value).is_nan() { Binary32::NAN as u32 } else { value.to_bits() };
    let double = |value: f64| if black_box(value).is_nan() { Binary64::NAN } else { value.to_bits() };
    for _ in 0..300_000 {
        let (a, b, c) = (
            random.operand::<Binary32>() as u32,
            random.operand::<Binary32>() as u32,
            random.operand::<Binary32>() as u32,
        );
        let (x, y, z) = (f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
        assert_eq!(f32_add(env, a, b), single(x + y), "{a:x} + {b:x}");
        assert_eq!(f32_sub(env, a, b), single(x - y), "{a:x} - {b:x}");
        assert_eq!(f32_mul(env, a, b), single(x * y), "{a:x} * {b:x}");
        assert_eq!(f32_div(env, a, b), single(x / y), "{a:x} / {b:x}");
        assert_eq!(f32_sqrt(env, a), single(x.sqrt()), "sqrt {a:x}");
        assert_eq!(f32_fma(env, a, b, c), single(x.mul_add(y, z)), "{a:x} * {b:x} + {c:x}");
        assert_eq!(f32_to_f64(env, a), double(x.into()));
        assert_eq!((f32_lt(env, a, b), f32_le(env, a, b), f32_eq(env, a, b)), (x < y, x <= y, x == y));

        let (a, b, c) =
            (random.operand::<Binary64>(), random.operand::<Binary64>(), random.operand::<Binary64>());
        let (x, y, z) = (f64::from_bits(a), f64::from_bits(b), f64::from_bits(c));
        assert_eq!(f64_add(env, a, b), double(x + y), "{a:x} + {b:x}");
        assert_eq!(f64_sub(env, a, b), double(x - y), "{a:x} - {b:x}");
        assert_eq!(f64_mul(env, a, b), double(x * y), "{a:x} * {b:x}");
        assert_eq!(f64_div(env, a, b), double(x / y), "{a:x} / {b:x}");
        assert_eq!(f64_sqrt(env, a), double(x.sqrt()), "sqrt {a:x}");
        assert_eq!(f64_fma(env, a, b, c), double(x.mul_add(y, z)), "{a:x} * {b:x} + {c:x}");
        assert_eq!(f64_to_f32(env, a), single(x as f32));
        assert_eq!((f64_lt(env, a, b), f64_le(env, a, b), f64_eq(env, a, b)), (x < y, x <= y, x == y));
    }
}

#[test]
fn square_root_directions_enclose_the_root() {
    // With r rounded down and exact iff NX is clear: r^2 <= a < (r + 1 ulp)^2, and the other
    // directions follow from those two.
    let mut random = Random(99);
    for _ in 0..100_000 {
        let a = random.operand::<Binary64>() & !Binary64::SIGN;
        if a == 0 || a >= Binary64::INFINITY {
            continue;
        }
        let mut roots = [0; 5];
        for (slot, round) in roots.iter_mut().zip(Round::ALL) {
            let mut env = Env::new(round);
            *slot = f64_sqrt(&mut env, a);
            assert!(Flags::INEXACT.contains(env.flags));
            assert_eq!(env.flags.is_empty(), {
                let mut square = Env::default();
                f64_mul(&mut square, *slot, *slot) == a && square.flags.is_empty()
            });
        }
        let [nearest, zero, down, up, away] = roots;
        assert_eq!((zero, nearest), (down, away));
        assert!(nearest == down || nearest == up);
        // down * down - a must be negative or zero, up * up - a positive or zero.
        let mut env = Env::new(Round::Up);
        assert!(f64::from_bits(f64_fma(&mut env, down, down, a ^ Binary64::SIGN)) <= 0.0);
        let mut env = Env::new(Round::Down);
        assert!(f64::from_bits(f64_fma(&mut env, up, up, a ^ Binary64::SIGN)) >= 0.0);
        assert!(up - down <= 1);
    }
}

#[test]
fn tininess_is_detected_after_rounding() {
    // (1 - 2^-24) * 2^-126 is the largest number that rounds to the smallest normal at 24 bits
    // without being tiny after rounding; one step below it is tiny.
    let mut env = Env::default();
    assert_eq!(f64_to_f32(&mut env, 0x380f_ffff_f000_0000), 0x0080_0000);
    assert_eq!(env.flags, Flags::INEXACT);
    let mut env = Env::default();
    assert_eq!(f64_to_f32(&mut env, 0x380f_ffff_efff_ffff), 0x0080_0000);
    assert_eq!(env.flags, Flags::INEXACT | Flags::UNDERFLOW);
}

#[test]
fn riscv_particulars() {
    let (nan, signaling) = (0x7fc0_1234u32, 0x7f80_0001u32);
    let (infinity, one, minus_zero) = (0x7f80_0000u32, 0x3f80_0000u32, 0x8000_0000u32);
    let invalid = Flags::INVALID;

    let mut env = Env::default();
    assert_eq!(f32_add(&mut env, nan, one), 0x7fc0_0000);
    assert_eq!(env.flags, Flags::NONE);
    assert_eq!(f32_fma(&mut env, infinity, 0, nan), 0x7fc0_0000);
    assert_eq!(env.flags, invalid);

    let mut env = Env::default();
    assert_eq!(f32_min(&mut env, nan, one), one);
    assert_eq!(f32_max(&mut env, nan, nan), 0x7fc0_0000);
    assert_eq!(f32_min(&mut env, 0, minus_zero), minus_zero);
    assert_eq!(f32_max(&mut env, minus_zero, 0), 0);
    assert_eq!(f32_minm(&mut env, nan, one), 0x7fc0_0000);
    assert_eq!(env.flags, Flags::NONE);
    assert_eq!(f32_max(&mut env, one, signaling), one);
    assert_eq!(env.flags, invalid);

    let mut env = Env::default();
    assert!(!f32_eq(&mut env, nan, nan) && !f32_lt_quiet(&mut env, nan, one));
    assert!(f32_eq(&mut env, 0, minus_zero) && f32_le(&mut env, 0, minus_zero));
    assert!(!f32_lt(&mut env, minus_zero, 0));
    assert_eq!(env.flags, Flags::NONE);
    assert!(!f32_le(&mut env, one, nan));
    assert_eq!(env.flags, invalid);
    let mut env = Env::default();
    assert!(!f32_le_quiet(&mut env, signaling, one));
    assert_eq!(env.flags, invalid);
}

#[test]
fn out_of_range_integers_saturate_with_nv_alone() {
    for (bits, word, unsigned, flags, unsigned_flags) in [
        (0x7ff8_0000_0000_0000u64, i32::MAX, u32::MAX, 16, 16),
        (0xfff8_0000_0000_0000, i32::MAX, u32::MAX, 16, 16),
        (0xfff0_0000_0000_0000, i32::MIN, 0, 16, 16),
        (0x41df_ffff_ffc0_0000, i32::MAX, 0x7fff_ffff, 0, 0),
        (0x41e0_0000_0000_0000, i32::MAX, 0x8000_0000, 16, 0),
        (0xc1e0_0000_0000_0000, i32::MIN, 0, 0, 16),
        (0xbfe0_0000_0000_0000, 0, 0, 1, 1),
        (0xbff0_0000_0000_0000, -1, 0, 0, 16),
    ] {
        let mut env = Env::new(Round::TowardZero);
        assert_eq!((f64_to_i32(&mut env, bits), env.flags.bits()), (word, flags), "{bits:x}");
        let mut env = Env::new(Round::TowardZero);
        assert_eq!((f64_to_u32(&mut env, bits), env.flags.bits()), (unsigned, unsigned_flags), "{bits:x}");
    }
}

#[test]
fn modular_conversion_keeps_the_low_word() {
    for (value, result, flags) in [
        (4_294_967_301.0, 5, 16),
        (-4_294_967_301.0, -5, 16),
        (2_147_483_648.0, i64::from(i32::MIN), 16),
        (1.5, 1, 1),
        (-1.5, -1, 1),
        (0.25, 0, 1),
        (9_007_199_254_740_993_000.0, i64::from(9_007_199_254_740_993_024_i64 as i32), 16),
        (f64::INFINITY, 0, 16),
        (f64::NAN, 0, 16),
        (3.0e60, 0, 16),
        (-0.0, 0, 0),
    ] {
        let mut env = Env::new(Round::Up);
        assert_eq!(
            (f64_to_modular_i32(&mut env, value.to_bits()), env.flags.bits()),
            (result, flags),
            "{value}"
        );
        assert_eq!(env.round, Round::Up);
    }
    // 2^83 + 2^31 is out of a double's reach, but 2^83 * (1 + 2^-52) has bit 31 set.
    let mut env = Env::default();
    assert_eq!(f64_to_modular_i32(&mut env, (1023 + 83) << 52 | 1), i64::from(i32::MIN));
}

#[test]
fn load_immediate_table() {
    let expected = [
        -1.0,
        f64::MIN_POSITIVE,
        2f64.powi(-16),
        2f64.powi(-15),
        2f64.powi(-8),
        2f64.powi(-7),
        0.0625,
        0.125,
        0.25,
        0.3125,
        0.375,
        0.4375,
        0.5,
        0.625,
        0.75,
        0.875,
        1.0,
        1.25,
        1.5,
        1.75,
        2.0,
        2.5,
        3.0,
        4.0,
        8.0,
        16.0,
        128.0,
        256.0,
        32768.0,
        65536.0,
        f64::INFINITY,
    ];
    for (index, value) in (0u8..).zip(expected) {
        assert_eq!(f64_load_immediate(index), value.to_bits(), "{index}");
        let single = if index == 1 { f32::MIN_POSITIVE } else { value as f32 };
        assert_eq!(f32_load_immediate(index), single.to_bits(), "{index}");
    }
    assert_eq!(f64_load_immediate(31), Binary64::NAN);
    assert_eq!(convert::load_immediate::<Binary16>(29), Binary16::INFINITY);
    assert_eq!(convert::load_immediate::<Binary16>(2), 0x0100);
}

#[test]
fn round_to_integral_without_inexact() {
    let mut env = Env::new(Round::Down);
    assert_eq!(f32_round(&mut env, (-0.5f32).to_bits()), (-1.0f32).to_bits());
    assert_eq!(f64_round(&mut env, 2.75f64.to_bits()), 2.0f64.to_bits());
    assert_eq!(f64_round(&mut env, 0.75f64.to_bits()), 0);
    assert_eq!(env.flags, Flags::NONE);
    assert_eq!(f64_round_exact(&mut env, 2.75f64.to_bits()), 2.0f64.to_bits());
    assert_eq!(env.flags, Flags::INEXACT);
}
