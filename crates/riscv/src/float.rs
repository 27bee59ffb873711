//! Floating-point operations by number: the interpreter's, and the translator's where the host's own arithmetic does not
//! give RISC-V's results (Unprivileged ISA, chapters "F", "D", "Zfa").

use crate::machine::softfloat_width::Width;
use softfloat as sf;
use softfloat::{Env, Flags, Round};

/// Which register file an operand or a result is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// Integer registers.
    X,
    /// Float registers.
    F,
}

macro_rules! functions {
    ($($(#[$d:meta])* $name:ident $sources:literal $from:ident $to:ident;)*) => {
        /// A floating-point operation. Those with a rounding mode take it from the instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Function { $($(#[$d])* $name),* }
        impl Function {
            /// All, by number.
            pub const ALL: &'static [Function] = &[$(Function::$name),*];
            /// How many source registers it has.
            pub const fn sources(self) -> usize { match self { $(Function::$name => $sources),* } }
            /// The file of its sources.
            pub const fn from(self) -> File { match self { $(Function::$name => File::$from),* } }
            /// The file of its result.
            pub const fn to(self) -> File { match self { $(Function::$name => File::$to),* } }
        }
    };
}

functions! {
    /// `a + b`.
    Add 2 F F;
    /// `a - b`.
    Sub 2 F F;
    /// `a * b`.
    Mul 2 F F;
    /// `a / b`.
    Div 2 F F;
    /// Square root.
    Sqrt 1 F F;
    /// `a * b + c`.
    Madd 3 F F;
    /// `a * b - c`.
    Msub 3 F F;
    /// `-(a * b) + c`.
    Nmsub 3 F F;
    /// `-(a * b) - c`.
    Nmadd 3 F F;
    /// minimumNumber.
    Min 2 F F;
    /// maximumNumber.
    Max 2 F F;
    /// minimum.
    Minm 2 F F;
    /// maximum.
    Maxm 2 F F;
    /// Equal, quiet.
    Eq 2 F X;
    /// Less, signaling.
    Lt 2 F X;
    /// Less or equal, signaling.
    Le 2 F X;
    /// Less, quiet.
    LtQuiet 2 F X;
    /// Less or equal, quiet.
    LeQuiet 2 F X;
    /// To a signed word.
    ToI32 1 F X;
    /// To an unsigned word.
    ToU32 1 F X;
    /// To a signed doubleword.
    ToI64 1 F X;
    /// To an unsigned doubleword.
    ToU64 1 F X;
    /// To a word modulo 2^32.
    ToModularI32 1 F X;
    /// From a signed word.
    FromI32 1 X F;
    /// From an unsigned word.
    FromU32 1 X F;
    /// From a signed doubleword.
    FromI64 1 X F;
    /// From an unsigned doubleword.
    FromU64 1 X F;
    /// From the other width to this one.
    Convert 1 F F;
    /// From binary16.
    FromHalf 1 F F;
    /// To binary16.
    ToHalf 1 F F;
    /// To an integral value.
    Round 1 F F;
    /// To an integral value, raising NX.
    RoundExact 1 F F;
}

/// The upper half of a NaN-boxed binary32.
pub const BOX: u64 = 0xffff_ffff_0000_0000;
/// The canonical NaN.
pub const CANONICAL_NAN: u32 = 0x7fc0_0000;

/// binary32 in a float register; the canonical NaN if it is not boxed.
pub fn unbox(v: u64) -> u32 {
    if v & BOX == BOX { v as u32 } else { CANONICAL_NAN }
}

/// The bits above a NaN-boxed binary16.
pub const HALF_BOX: u64 = 0xffff_ffff_ffff_0000;
/// The canonical NaN of binary16.
pub const CANONICAL_HALF_NAN: u16 = 0x7e00;
/// binary16 in a float register; the canonical NaN if it is not boxed.
fn unbox_half(v: u64) -> u16 {
    if v >> 16 == 0xffff_ffff_ffff { v as u16 } else { CANONICAL_HALF_NAN }
}

/// Packs an operation for a call: number, width, rounding mode.
pub fn pack(f: Function, w: Width, rm: u8) -> u64 {
    f as u64 | (w as u64) << 8 | (rm as u64 & 7) << 16
}

/// Computes a packed operation on raw registers with the rounding mode `round`; the raw result and the flags.
pub fn compute(packed: u64, round: Round, a: u64, b: u64, c: u64) -> (u64, Flags) {
    let Some(&f) = Function::ALL.get(packed as usize & 255) else { return (0, Flags::NONE) };
    let mut env = Env::new(round);
    let r = match packed >> 8 & 3 {
        0 => half(&mut env, f, a, b, c),
        1 => single(&mut env, f, a, b, c),
        _ => double(&mut env, f, a, b, c),
    };
    (r, env.flags)
}

fn half(env: &mut Env, f: Function, ra: u64, rb: u64, rc: u64) -> u64 {
    use sf::{Binary16 as H, arithmetic, compare, convert};
    const SIGN: u64 = 1 << 15;
    let [a, b, c] = [ra, rb, rc].map(|v| unbox_half(v) as u64);
    let r = match f {
        Function::Add => arithmetic::add::<H>(env, a, b),
        Function::Sub => arithmetic::sub::<H>(env, a, b),
        Function::Mul => arithmetic::mul::<H>(env, a, b),
        Function::Div => arithmetic::div::<H>(env, a, b),
        Function::Sqrt => arithmetic::sqrt::<H>(env, a),
        Function::Madd => arithmetic::fma::<H>(env, a, b, c),
        Function::Msub => arithmetic::fma::<H>(env, a, b, c ^ SIGN),
        Function::Nmsub => arithmetic::fma::<H>(env, a ^ SIGN, b, c),
        Function::Nmadd => arithmetic::fma::<H>(env, a ^ SIGN, b, c ^ SIGN),
        Function::Min => compare::min::<H>(env, a, b),
        Function::Max => compare::max::<H>(env, a, b),
        Function::Minm => compare::minm::<H>(env, a, b),
        Function::Maxm => compare::maxm::<H>(env, a, b),
        Function::Eq => return compare::eq::<H>(env, a, b) as u64,
        Function::Lt => return compare::lt::<H>(env, a, b) as u64,
        Function::Le => return compare::le::<H>(env, a, b) as u64,
        Function::LtQuiet => return compare::lt_quiet::<H>(env, a, b) as u64,
        Function::LeQuiet => return compare::le_quiet::<H>(env, a, b) as u64,
        Function::ToI32 => return convert::to_signed::<H>(env, a, 32) as u64,
        Function::ToU32 => return convert::to_unsigned::<H>(env, a, 32) as i32 as u64,
        Function::ToI64 => return convert::to_signed::<H>(env, a, 64) as u64,
        Function::ToU64 => return convert::to_unsigned::<H>(env, a, 64),
        Function::ToModularI32 => return sf::f64_to_modular_i32(env, ra) as u64,
        Function::FromI32 => convert::from_signed::<H>(env, ra as i32 as i64),
        Function::FromU32 => convert::from_unsigned::<H>(env, ra as u32 as u64),
        Function::FromI64 => convert::from_signed::<H>(env, ra as i64),
        Function::FromU64 => convert::from_unsigned::<H>(env, ra),
        Function::Convert | Function::FromHalf | Function::ToHalf => a,
        Function::Round => convert::round_to_integral::<H>(env, a, false),
        Function::RoundExact => convert::round_to_integral::<H>(env, a, true),
    };
    r | HALF_BOX
}

fn single(env: &mut Env, f: Function, ra: u64, rb: u64, rc: u64) -> u64 {
    const SIGN: u32 = 1 << 31;
    let (a, b, c) = (unbox(ra), unbox(rb), unbox(rc));
    let r = match f {
        Function::Add => sf::f32_add(env, a, b),
        Function::Sub => sf::f32_sub(env, a, b),
        Function::Mul => sf::f32_mul(env, a, b),
        Function::Div => sf::f32_div(env, a, b),
        Function::Sqrt => sf::f32_sqrt(env, a),
        Function::Madd => sf::f32_fma(env, a, b, c),
        Function::Msub => sf::f32_fma(env, a, b, c ^ SIGN),
        Function::Nmsub => sf::f32_fma(env, a ^ SIGN, b, c),
        Function::Nmadd => sf::f32_fma(env, a ^ SIGN, b, c ^ SIGN),
        Function::Min => sf::f32_min(env, a, b),
        Function::Max => sf::f32_max(env, a, b),
        Function::Minm => sf::f32_minm(env, a, b),
        Function::Maxm => sf::f32_maxm(env, a, b),
        Function::Eq => return sf::f32_eq(env, a, b) as u64,
        Function::Lt => return sf::f32_lt(env, a, b) as u64,
        Function::Le => return sf::f32_le(env, a, b) as u64,
        Function::LtQuiet => return sf::f32_lt_quiet(env, a, b) as u64,
        Function::LeQuiet => return sf::f32_le_quiet(env, a, b) as u64,
        Function::ToI32 => return sf::f32_to_i32(env, a) as u64,
        Function::ToU32 => return sf::f32_to_u32(env, a) as i32 as u64,
        Function::ToI64 => return sf::f32_to_i64(env, a) as u64,
        Function::ToU64 => return sf::f32_to_u64(env, a),
        Function::ToModularI32 => return sf::f64_to_modular_i32(env, ra) as u64,
        Function::FromI32 => sf::f32_from_i32(env, ra as i32),
        Function::FromU32 => sf::f32_from_u32(env, ra as u32),
        Function::FromI64 => sf::f32_from_i64(env, ra as i64),
        Function::FromU64 => sf::f32_from_u64(env, ra),
        Function::Convert => sf::f64_to_f32(env, ra),
        Function::FromHalf => sf::f16_to_f32(env, unbox_half(ra)),
        Function::ToHalf => return sf::f32_to_f16(env, a) as u64 | HALF_BOX,
        Function::Round => sf::f32_round(env, a),
        Function::RoundExact => sf::f32_round_exact(env, a),
    };
    r as u64 | BOX
}

fn double(env: &mut Env, f: Function, a: u64, b: u64, c: u64) -> u64 {
    const SIGN: u64 = 1 << 63;
    match f {
        Function::Add => sf::f64_add(env, a, b),
        Function::Sub => sf::f64_sub(env, a, b),
        Function::Mul => sf::f64_mul(env, a, b),
        Function::Div => sf::f64_div(env, a, b),
        Function::Sqrt => sf::f64_sqrt(env, a),
        Function::Madd => sf::f64_fma(env, a, b, c),
        Function::Msub => sf::f64_fma(env, a, b, c ^ SIGN),
        Function::Nmsub => sf::f64_fma(env, a ^ SIGN, b, c),
        Function::Nmadd => sf::f64_fma(env, a ^ SIGN, b, c ^ SIGN),
        Function::Min => sf::f64_min(env, a, b),
        Function::Max => sf::f64_max(env, a, b),
        Function::Minm => sf::f64_minm(env, a, b),
        Function::Maxm => sf::f64_maxm(env, a, b),
        Function::Eq => sf::f64_eq(env, a, b) as u64,
        Function::Lt => sf::f64_lt(env, a, b) as u64,
        Function::Le => sf::f64_le(env, a, b) as u64,
        Function::LtQuiet => sf::f64_lt_quiet(env, a, b) as u64,
        Function::LeQuiet => sf::f64_le_quiet(env, a, b) as u64,
        Function::ToI32 => sf::f64_to_i32(env, a) as u64,
        Function::ToU32 => sf::f64_to_u32(env, a) as i32 as u64,
        Function::ToI64 => sf::f64_to_i64(env, a) as u64,
        Function::ToU64 => sf::f64_to_u64(env, a),
        Function::ToModularI32 => sf::f64_to_modular_i32(env, a) as u64,
        Function::FromI32 => sf::f64_from_i32(env, a as i32),
        Function::FromU32 => sf::f64_from_u32(env, a as u32),
        Function::FromI64 => sf::f64_from_i64(env, a as i64),
        Function::FromU64 => sf::f64_from_u64(env, a),
        Function::Convert => sf::f32_to_f64(env, unbox(a)),
        Function::FromHalf => sf::f16_to_f64(env, unbox_half(a)),
        Function::ToHalf => sf::f64_to_f16(env, a) as u64 | HALF_BOX,
        Function::Round => sf::f64_round(env, a),
        Function::RoundExact => sf::f64_round_exact(env, a),
    }
}
