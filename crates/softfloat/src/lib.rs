//! IEEE 754 binary floating point in integer arithmetic, with the results and flags of the RISC-V
//! "F", "D" and "Zfa" extensions (and "Zfhmin" conversions): canonical NaNs, tininess detected after
//! rounding, saturating conversions to integers.
//!
//! The host's floating-point unit is never used, so that every rounding mode and flag is exact on
//! every host; an engine that wants the host's speed uses it where that is known to be equal and
//! comes here otherwise.
//!
//! One implementation, generic over [`Format`], serves all widths ([`arithmetic`], [`compare`],
//! [`convert`]; encodings zero-extended in `u64`); the functions `f32_*` and `f64_*` are their names
//! for raw `u32` and `u64` encodings. No operation loops, none can panic.

#![forbid(unsafe_code)]

pub mod arithmetic;
pub mod compare;
pub mod convert;
mod env;
mod format;

pub use env::{Env, Flags, Round};
pub use format::{Binary16, Binary32, Binary64, Format};

/// Names the generic operations for one format and the integer type of its encodings.
macro_rules! operations {
    ($format:ty, $bits:ty:
     binary { $($binary:ident = $binary_of:path: $binary_doc:literal,)* }
     compare { $($compare:ident = $compare_of:path: $compare_doc:literal,)* }
     integer { $($integer:ident = $integer_of:ident $width:literal $to:ty: $integer_doc:literal,)* }
     from { $($from:ident = $from_of:ident $source:ty: $from_doc:literal,)* }
     $fma:ident $sqrt:ident $round:ident $round_exact:ident $fli:ident
    ) => {
        $(
            #[doc = $binary_doc]
            #[inline]
            pub fn $binary(env: &mut Env, a: $bits, b: $bits) -> $bits {
                $binary_of(env, a.into(), b.into()) as $bits
            }
        )*
        $(
            #[doc = $compare_doc]
            #[inline]
            pub fn $compare(env: &mut Env, a: $bits, b: $bits) -> bool {
                $compare_of(env, a.into(), b.into())
            }
        )*
        $(
            #[doc = $integer_doc]
            #[inline]
            pub fn $integer(env: &mut Env, a: $bits) -> $to {
                convert::$integer_of::<$format>(env, a.into(), $width) as $to
            }
        )*
        $(
            #[doc = $from_doc]
            #[inline]
            pub fn $from(env: &mut Env, value: $source) -> $bits {
                convert::$from_of::<$format>(env, value.into()) as $bits
            }
        )*
        /// `a * b + c`, rounded once; infinity times zero is invalid even if `c` is a quiet NaN.
        #[inline]
        pub fn $fma(env: &mut Env, a: $bits, b: $bits, c: $bits) -> $bits {
            arithmetic::fma::<$format>(env, a.into(), b.into(), c.into()) as $bits
        }
        /// The square root.
        #[inline]
        pub fn $sqrt(env: &mut Env, a: $bits) -> $bits {
            arithmetic::sqrt::<$format>(env, a.into()) as $bits
        }
        /// Rounds to an integral value without raising NX (`fround`).
        #[inline]
        pub fn $round(env: &mut Env, a: $bits) -> $bits {
            convert::round_to_integral::<$format>(env, a.into(), false) as $bits
        }
        /// Rounds to an integral value, raising NX if that changes the value (`froundnx`).
        #[inline]
        pub fn $round_exact(env: &mut Env, a: $bits) -> $bits {
            convert::round_to_integral::<$format>(env, a.into(), true) as $bits
        }
        /// The `fli` constant of this index (modulo 32).
        #[inline]
        pub fn $fli(index: u8) -> $bits {
            convert::load_immediate::<$format>(index) as $bits
        }
    };
}

operations! { Binary32, u32:
    binary {
        f32_add = arithmetic::add::<Binary32>: "`a + b`.",
        f32_sub = arithmetic::sub::<Binary32>: "`a - b`.",
        f32_mul = arithmetic::mul::<Binary32>: "`a * b`.",
        f32_div = arithmetic::div::<Binary32>: "`a / b`.",
        f32_min = compare::min::<Binary32>: "minimumNumber (`fmin.s`).",
        f32_max = compare::max::<Binary32>: "maximumNumber (`fmax.s`).",
        f32_minm = compare::minm::<Binary32>: "minimum, NaN wins (`fminm.s`).",
        f32_maxm = compare::maxm::<Binary32>: "maximum, NaN wins (`fmaxm.s`).",
    }
    compare {
        f32_eq = compare::eq::<Binary32>: "`a == b`, quiet (`feq.s`).",
        f32_lt = compare::lt::<Binary32>: "`a < b`, signaling (`flt.s`).",
        f32_le = compare::le::<Binary32>: "`a <= b`, signaling (`fle.s`).",
        f32_lt_quiet = compare::lt_quiet::<Binary32>: "`a < b`, quiet (`fltq.s`).",
        f32_le_quiet = compare::le_quiet::<Binary32>: "`a <= b`, quiet (`fleq.s`).",
    }
    integer {
        f32_to_i32 = to_signed 32 i32: "To a signed word (`fcvt.w.s`).",
        f32_to_u32 = to_unsigned 32 u32: "To an unsigned word (`fcvt.wu.s`).",
        f32_to_i64 = to_signed 64 i64: "To a signed doubleword (`fcvt.l.s`).",
        f32_to_u64 = to_unsigned 64 u64: "To an unsigned doubleword (`fcvt.lu.s`).",
    }
    from {
        f32_from_i32 = from_signed i32: "From a signed word (`fcvt.s.w`).",
        f32_from_u32 = from_unsigned u32: "From an unsigned word (`fcvt.s.wu`).",
        f32_from_i64 = from_signed i64: "From a signed doubleword (`fcvt.s.l`).",
        f32_from_u64 = from_unsigned u64: "From an unsigned doubleword (`fcvt.s.lu`).",
    }
    f32_fma f32_sqrt f32_round f32_round_exact f32_load_immediate
}

operations! { Binary64, u64:
    binary {
        f64_add = arithmetic::add::<Binary64>: "`a + b`.",
        f64_sub = arithmetic::sub::<Binary64>: "`a - b`.",
        f64_mul = arithmetic::mul::<Binary64>: "`a * b`.",
        f64_div = arithmetic::div::<Binary64>: "`a / b`.",
        f64_min = compare::min::<Binary64>: "minimumNumber (`fmin.d`).",
        f64_max = compare::max::<Binary64>: "maximumNumber (`fmax.d`).",
        f64_minm = compare::minm::<Binary64>: "minimum, NaN wins (`fminm.d`).",
        f64_maxm = compare::maxm::<Binary64>: "maximum, NaN wins (`fmaxm.d`).",
    }
    compare {
        f64_eq = compare::eq::<Binary64>: "`a == b`, quiet (`feq.d`).",
        f64_lt = compare::lt::<Binary64>: "`a < b`, signaling (`flt.d`).",
        f64_le = compare::le::<Binary64>: "`a <= b`, signaling (`fle.d`).",
        f64_lt_quiet = compare::lt_quiet::<Binary64>: "`a < b`, quiet (`fltq.d`).",
        f64_le_quiet = compare::le_quiet::<Binary64>: "`a <= b`, quiet (`fleq.d`).",
    }
    integer {
        f64_to_i32 = to_signed 32 i32: "To a signed word (`fcvt.w.d`).",
        f64_to_u32 = to_unsigned 32 u32: "To an unsigned word (`fcvt.wu.d`).",
        f64_to_i64 = to_signed 64 i64: "To a signed doubleword (`fcvt.l.d`).",
        f64_to_u64 = to_unsigned 64 u64: "To an unsigned doubleword (`fcvt.lu.d`).",
    }
    from {
        f64_from_i32 = from_signed i32: "From a signed word (`fcvt.d.w`), always exact.",
        f64_from_u32 = from_unsigned u32: "From an unsigned word (`fcvt.d.wu`), always exact.",
        f64_from_i64 = from_signed i64: "From a signed doubleword (`fcvt.d.l`).",
        f64_from_u64 = from_unsigned u64: "From an unsigned doubleword (`fcvt.d.lu`).",
    }
    f64_fma f64_sqrt f64_round f64_round_exact f64_load_immediate
}

/// Single to double precision (`fcvt.d.s`).
#[inline]
pub fn f32_to_f64(env: &mut Env, a: u32) -> u64 {
    convert::convert::<Binary32, Binary64>(env, a.into())
}

/// Double to single precision (`fcvt.s.d`).
#[inline]
pub fn f64_to_f32(env: &mut Env, a: u64) -> u32 {
    convert::convert::<Binary64, Binary32>(env, a) as u32
}

/// Half to single precision (`fcvt.s.h`).
#[inline]
pub fn f16_to_f32(env: &mut Env, a: u16) -> u32 {
    convert::convert::<Binary16, Binary32>(env, a.into()) as u32
}

/// Half to double precision (`fcvt.d.h`).
#[inline]
pub fn f16_to_f64(env: &mut Env, a: u16) -> u64 {
    convert::convert::<Binary16, Binary64>(env, a.into())
}

/// Single to half precision (`fcvt.h.s`).
#[inline]
pub fn f32_to_f16(env: &mut Env, a: u32) -> u16 {
    convert::convert::<Binary32, Binary16>(env, a.into()) as u16
}

/// Double to half precision (`fcvt.h.d`).
#[inline]
pub fn f64_to_f16(env: &mut Env, a: u64) -> u16 {
    convert::convert::<Binary64, Binary16>(env, a) as u16
}

/// The integer part modulo 2^32, sign-extended (`fcvtmod.w.d`).
#[inline]
pub fn f64_to_modular_i32(env: &mut Env, a: u64) -> i64 {
    convert::to_modular_i32(env, a)
}

#[cfg(test)]
#[path = "lib_test.rs"]
mod test;
