//! F and D: floating point (Unprivileged ISA, chapters "F" and "D").

use crate::float::{CANONICAL_HALF_NAN, CANONICAL_NAN, Function, HALF_BOX};
use crate::format::*;
use crate::machine::softfloat_width::Width;
use crate::machine::{Machine, Meaning};
use ir::{Int, Int32, Int64, MemOp};

/// Rounding mode of operations that do not round.
const EXACT: u8 = 0;

/// binary32 in a register as an integer; the canonical NaN if it is not boxed.
pub(super) fn unbox<M: Machine + ?Sized>(m: &M, r: u8) -> M::V {
    let v = m.f(r);
    let boxed = v.sar(m.k(32)).eq(m.k(u64::MAX));
    Int::select(boxed, v, m.k(CANONICAL_NAN as u64)).lo().zx()
}
/// binary16 in a register as an integer; the canonical NaN if it is not boxed.
fn unbox_half<M: Machine + ?Sized>(m: &M, r: u8) -> M::V {
    let v = m.f(r);
    let boxed = v.sar(m.k(16)).eq(m.k(u64::MAX));
    Int::select(boxed, v, m.k(CANONICAL_HALF_NAN as u64)).zext16()
}
/// What sign injection makes of the sign of the second operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// Takes it.
    Copy,
    /// Takes the opposite.
    Negate,
    /// Takes its difference from the first's.
    Xor,
}
/// Sign injection.
fn inject<M: Machine>(m: &M, i: F3N, w: Width, sign: Sign) -> Meaning {
    if !m.float_state(true)? {
        return Ok(());
    }
    if w == Width::D && i.rs1 == i.rs2 && sign == Sign::Copy {
        m.copy_f(i.rd, i.rs1);
        return Ok(());
    }
    // fmv, fneg and fabs are injections with two equal operands.
    if i.rs1 == i.rs2 && sign != Sign::Copy {
        m.change_sign(w, i.rd, i.rs1, sign == Sign::Xor);
        return Ok(());
    }
    if sign != Sign::Xor {
        m.copy_sign(w, i.rd, [i.rs1, i.rs2], sign == Sign::Negate);
        return Ok(());
    }
    let (a, b) = (read(m, w, i.rs1), read(m, w, i.rs2));
    write(m, w, i.rd, a ^ b & m.k(top(w)));
    Ok(())
}
/// [`Machine::copy_sign`] on the bits.
pub(crate) fn copy_sign<M: Machine + ?Sized>(m: &M, w: Width, rd: u8, rs: [u8; 2], negate: bool) {
    let (a, b, top) = (read(m, w, rs[0]), read(m, w, rs[1]), m.k(top(w)));
    let from = if negate { !b } else { b };
    write(m, w, rd, (a & !top) | (from & top));
}
/// Bits of a float of width `w`.
fn read<M: Machine + ?Sized>(m: &M, w: Width, r: u8) -> M::V {
    match w {
        Width::H => unbox_half(m, r),
        Width::S => unbox(m, r),
        Width::D => m.f(r),
    }
}
/// Writes a float of width `w`.
fn write<M: Machine + ?Sized>(m: &M, w: Width, r: u8, v: M::V) {
    match w {
        Width::H => m.set_f(r, v | m.k(HALF_BOX)),
        Width::S => m.set_single(r, v),
        Width::D => m.set_f(r, v),
    }
}
/// The sign bit of a width.
fn top(w: Width) -> u64 {
    match w {
        Width::H => 1 << 15,
        Width::S => 1 << 31,
        Width::D => 1 << 63,
    }
}
/// [`Machine::change_sign`] on the bits.
pub(crate) fn change_sign<M: Machine + ?Sized>(m: &M, w: Width, rd: u8, rs: u8, clear: bool) {
    let (a, top) = (read(m, w, rs), m.k(top(w)));
    write(m, w, rd, if clear { a & !top } else { a ^ top });
}
/// The least normal number of a width, infinity, and the bit that makes a NaN quiet.
fn landmarks(w: Width) -> [u64; 3] {
    match w {
        Width::H => [0x0400, 0x7c00, 1 << 9],
        Width::S => [0x0080_0000, 0x7f80_0000, 1 << 22],
        Width::D => [0x0010_0000_0000_0000, 0x7ff0_0000_0000_0000, 1 << 51],
    }
}
/// The class (Unprivileged ISA, "Floating-Point Classify Instruction") as one bit of ten: from minus infinity up, then the NaNs.
fn classify<M: Machine>(m: &M, i: FXN, w: Width) -> Meaning {
    if !m.float_state(false)? {
        return Ok(());
    }
    let v = read(m, w, i.rs1);
    let [normal, infinity, quiet] = landmarks(w).map(|c| m.k(c));
    let (magnitude, sign) = (v & m.k(top(w) - 1), v & m.k(top(w)));
    // 0 for zeros, 1 for subnormal, 2 for normal numbers, 3 for infinity.
    let size = m.truth(m.k(0).lt_u(magnitude))
        + m.truth(!magnitude.lt_u(normal))
        + m.truth(!magnitude.lt_u(infinity));
    let number = size ^ Int::select(sign.eq(m.k(0)), m.k(4), m.k(3));
    let nan = m.k(8) + m.truth(!(v & quiet).eq(m.k(0)));
    m.set(i.rd, m.k(1) << Int::select(infinity.lt_u(magnitude), nan, number));
    Ok(())
}
pub(super) fn load<M: Machine>(m: &M, i: FL, w: Width) -> Meaning {
    if !m.float_state(true)? {
        return Ok(());
    }
    let a = m.address(i.rs1, i.imm);
    match w {
        Width::H => m.set_f(i.rd, m.load(a, MemOp::U16)? | m.k(HALF_BOX)),
        Width::S => m.set_single(i.rd, m.load(a, MemOp::U32)?),
        Width::D => m.set_f(i.rd, m.load(a, MemOp::U64)?),
    }
    Ok(())
}
pub(super) fn store<M: Machine>(m: &M, i: FS, w: Width) -> Meaning {
    if !m.float_state(false)? {
        return Ok(());
    }
    let op = match w {
        Width::H => MemOp::U16,
        Width::S => MemOp::U32,
        Width::D => MemOp::U64,
    };
    m.store(m.address(i.rs1, i.imm), m.f(i.rs2), op)
}

macro_rules! precision {
    ($module:ident $ext:ident $w:ident $doc:literal; $($rows:tt)*) => {
        #[doc = $doc]
        pub mod $module {
            #[allow(unused_imports)]
            use super::*;
            use crate::table::isa;
            use Function::*;
            use Width::$w as W;
            isa! { $ext; $($rows)* }
        }
    };
}

precision! { single F S "F.";
    Any flw       "............ ..... 010 ..... 0000111" FL |m, i| super::load(m, i, W)?;
    Any fsw       "....... ..... ..... 010 ..... 0100111" FS |m, i| super::store(m, i, W)?;
    Any fmadd_s   "..... 00 ..... ..... ... ..... 1000011" F4 |m, i| m.float(Madd, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fmsub_s   "..... 00 ..... ..... ... ..... 1000111" F4 |m, i| m.float(Msub, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fnmsub_s  "..... 00 ..... ..... ... ..... 1001011" F4 |m, i| m.float(Nmsub, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fnmadd_s  "..... 00 ..... ..... ... ..... 1001111" F4 |m, i| m.float(Nmadd, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fadd_s    "0000000 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Add, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fsub_s    "0000100 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Sub, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmul_s    "0001000 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Mul, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fdiv_s    "0001100 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Div, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fsqrt_s   "0101100 00000 ..... ... ..... 1010011" F2 |m, i| m.float(Sqrt, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fsgnj_s   "0010000 ..... ..... 000 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Copy)?;
    Any fsgnjn_s  "0010000 ..... ..... 001 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Negate)?;
    Any fsgnjx_s  "0010000 ..... ..... 010 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Xor)?;
    Any fmin_s    "0010100 ..... ..... 000 ..... 1010011" F3N |m, i| m.float(Min, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmax_s    "0010100 ..... ..... 001 ..... 1010011" F3N |m, i| m.float(Max, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fcvt_w_s  "1100000 00000 ..... ... ..... 1010011" FX |m, i| m.float(ToI32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fcvt_wu_s "1100000 00001 ..... ... ..... 1010011" FX |m, i| m.float(ToU32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_l_s  "1100000 00010 ..... ... ..... 1010011" FX |m, i| m.float(ToI64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_lu_s "1100000 00011 ..... ... ..... 1010011" FX |m, i| m.float(ToU64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fmv_x_w   "1110000 00000 ..... 000 ..... 1010011" FXN |m, i| { if !m.float_state(false)? { return Ok(()) } m.set(i.rd, m.f(i.rs1).lo().sx()) };
    Any feq_s     "1010000 ..... ..... 010 ..... 1010011" FCmp |m, i| m.float(Eq, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any flt_s     "1010000 ..... ..... 001 ..... 1010011" FCmp |m, i| m.float(Lt, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fle_s     "1010000 ..... ..... 000 ..... 1010011" FCmp |m, i| m.float(Le, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fclass_s  "1110000 00000 ..... 001 ..... 1010011" FXN |m, i| classify(m, i, W)?;
    Any fcvt_s_w  "1101000 00000 ..... ... ..... 1010011" XF |m, i| m.float(FromI32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fcvt_s_wu "1101000 00001 ..... ... ..... 1010011" XF |m, i| m.float(FromU32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_s_l  "1101000 00010 ..... ... ..... 1010011" XF |m, i| m.float(FromI64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_s_lu "1101000 00011 ..... ... ..... 1010011" XF |m, i| m.float(FromU64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fmv_w_x   "1111000 00000 ..... 000 ..... 1010011" XFN |m, i| { if !m.float_state(true)? { return Ok(()) } m.set_single(i.rd, m.x(i.rs1)) };
}

precision! { double D D "D.";
    Any fld       "............ ..... 011 ..... 0000111" FL |m, i| super::load(m, i, W)?;
    Any fsd       "....... ..... ..... 011 ..... 0100111" FS |m, i| super::store(m, i, W)?;
    Any fmadd_d   "..... 01 ..... ..... ... ..... 1000011" F4 |m, i| m.float(Madd, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fmsub_d   "..... 01 ..... ..... ... ..... 1000111" F4 |m, i| m.float(Msub, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fnmsub_d  "..... 01 ..... ..... ... ..... 1001011" F4 |m, i| m.float(Nmsub, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fnmadd_d  "..... 01 ..... ..... ... ..... 1001111" F4 |m, i| m.float(Nmadd, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fadd_d    "0000001 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Add, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fsub_d    "0000101 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Sub, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmul_d    "0001001 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Mul, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fdiv_d    "0001101 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Div, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fsqrt_d   "0101101 00000 ..... ... ..... 1010011" F2 |m, i| m.float(Sqrt, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fsgnj_d   "0010001 ..... ..... 000 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Copy)?;
    Any fsgnjn_d  "0010001 ..... ..... 001 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Negate)?;
    Any fsgnjx_d  "0010001 ..... ..... 010 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Xor)?;
    Any fmin_d    "0010101 ..... ..... 000 ..... 1010011" F3N |m, i| m.float(Min, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmax_d    "0010101 ..... ..... 001 ..... 1010011" F3N |m, i| m.float(Max, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fcvt_s_d  "0100000 00001 ..... ... ..... 1010011" F2 |m, i| m.float(Convert, Width::S, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fcvt_d_s  "0100001 00000 ..... ... ..... 1010011" F2 |m, i| m.float(Convert, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any feq_d     "1010001 ..... ..... 010 ..... 1010011" FCmp |m, i| m.float(Eq, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any flt_d     "1010001 ..... ..... 001 ..... 1010011" FCmp |m, i| m.float(Lt, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fle_d     "1010001 ..... ..... 000 ..... 1010011" FCmp |m, i| m.float(Le, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fclass_d  "1110001 00000 ..... 001 ..... 1010011" FXN |m, i| classify(m, i, W)?;
    Any fcvt_w_d  "1100001 00000 ..... ... ..... 1010011" FX |m, i| m.float(ToI32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fcvt_wu_d "1100001 00001 ..... ... ..... 1010011" FX |m, i| m.float(ToU32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_l_d  "1100001 00010 ..... ... ..... 1010011" FX |m, i| m.float(ToI64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_lu_d "1100001 00011 ..... ... ..... 1010011" FX |m, i| m.float(ToU64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fcvt_d_w  "1101001 00000 ..... ... ..... 1010011" XF |m, i| m.float(FromI32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fcvt_d_wu "1101001 00001 ..... ... ..... 1010011" XF |m, i| m.float(FromU32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_d_l  "1101001 00010 ..... ... ..... 1010011" XF |m, i| m.float(FromI64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_d_lu "1101001 00011 ..... ... ..... 1010011" XF |m, i| m.float(FromU64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fmv_x_d  "1110001 00000 ..... 000 ..... 1010011" FXN |m, i| { if !m.float_state(false)? { return Ok(()) } m.set(i.rd, m.f(i.rs1)) };
    Rv64 fmv_d_x  "1111001 00000 ..... 000 ..... 1010011" XFN |m, i| { if !m.float_state(true)? { return Ok(()) } m.set_f(i.rd, m.x(i.rs1)) };
}

precision! { zfa_single Zfa S "Zfa on binary32.";
    Any fli_s       "1111000 00001 ..... 000 ..... 1010011" Fli |m, i| { if !m.float_state(true)? { return Ok(()) } m.set_single(i.rd, m.k(softfloat::f32_load_immediate(i.index) as u64)) };
    Any fminm_s     "0010100 ..... ..... 010 ..... 1010011" F3N |m, i| m.float(Minm, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmaxm_s     "0010100 ..... ..... 011 ..... 1010011" F3N |m, i| m.float(Maxm, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fround_s    "0100000 00100 ..... ... ..... 1010011" F2 |m, i| m.float(Round, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any froundnx_s  "0100000 00101 ..... ... ..... 1010011" F2 |m, i| m.float(RoundExact, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fltq_s      "1010000 ..... ..... 101 ..... 1010011" FCmp |m, i| m.float(LtQuiet, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fleq_s      "1010000 ..... ..... 100 ..... 1010011" FCmp |m, i| m.float(LeQuiet, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
}

precision! { zfa_double ZfaD D "Zfa on binary64.";
    Any fli_d       "1111001 00001 ..... 000 ..... 1010011" Fli |m, i| { if !m.float_state(true)? { return Ok(()) } m.set_f(i.rd, m.k(softfloat::f64_load_immediate(i.index))) };
    Any fminm_d     "0010101 ..... ..... 010 ..... 1010011" F3N |m, i| m.float(Minm, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmaxm_d     "0010101 ..... ..... 011 ..... 1010011" F3N |m, i| m.float(Maxm, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fround_d    "0100001 00100 ..... ... ..... 1010011" F2 |m, i| m.float(Round, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any froundnx_d  "0100001 00101 ..... ... ..... 1010011" F2 |m, i| m.float(RoundExact, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fltq_d      "1010001 ..... ..... 101 ..... 1010011" FCmp |m, i| m.float(LtQuiet, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fleq_d      "1010001 ..... ..... 100 ..... 1010011" FCmp |m, i| m.float(LeQuiet, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fcvtmod_w_d "1100001 01000 ..... 001 ..... 1010011" FXN |m, i| m.float(ToModularI32, W, 1, i.rd, [i.rs1, 0, 0])?;
    Rv32 fmvh_x_d   "1110001 00001 ..... 000 ..... 1010011" FXN |m, i| { if !m.float_state(false)? { return Ok(()) } m.set(i.rd, m.f(i.rs1) >> m.k(32)) };
    Rv32 fmvp_d_x   "1011001 ..... ..... 000 ..... 1010011" XXF |m, i| { if !m.float_state(true)? { return Ok(()) } m.set_f(i.rd, m.ux(i.rs1) | (m.x(i.rs2) << m.k(32))) };
}

/// Zfhmin: binary16 is loaded, stored, moved and converted.
pub mod half {
    use super::*;
    use crate::table::isa;

    isa! { Zfhmin;
        Any flh      "............ ..... 001 ..... 0000111" FL |m, i| super::load(m, i, Width::H)?;
        Any fsh      "....... ..... ..... 001 ..... 0100111" FS |m, i| super::store(m, i, Width::H)?;
        Any fmv_x_h  "1110010 00000 ..... 000 ..... 1010011" FXN |m, i| { if !m.float_state(false)? { return Ok(()) } m.set(i.rd, m.f(i.rs1).sext16()) };
        Any fmv_h_x  "1111010 00000 ..... 000 ..... 1010011" XFN |m, i| { if !m.float_state(true)? { return Ok(()) } m.set_f(i.rd, m.x(i.rs1) | m.k(HALF_BOX)) };
        Any fcvt_s_h "0100000 00010 ..... ... ..... 1010011" F2 |m, i| m.float(Function::FromHalf, Width::S, i.rm, i.rd, [i.rs1, 0, 0])?;
        Any fcvt_h_s "0100010 00000 ..... ... ..... 1010011" F2 |m, i| m.float(Function::ToHalf, Width::S, i.rm, i.rd, [i.rs1, 0, 0])?;
    }
}

/// Zfhmin with D.
pub mod half_double {
    use super::*;
    use crate::table::isa;
    isa! { ZfhminD;
        Any fcvt_d_h "0100001 00010 ..... ... ..... 1010011" F2 |m, i| m.float(Function::FromHalf, Width::D, i.rm, i.rd, [i.rs1, 0, 0])?;
        Any fcvt_h_d "0100010 00001 ..... ... ..... 1010011" F2 |m, i| m.float(Function::ToHalf, Width::D, i.rm, i.rd, [i.rs1, 0, 0])?;
    }
}

precision! { zfh Zfh H "Zfh: arithmetic on binary16.";
    Any fmadd_h   "..... 10 ..... ..... ... ..... 1000011" F4 |m, i| m.float(Madd, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fmsub_h   "..... 10 ..... ..... ... ..... 1000111" F4 |m, i| m.float(Msub, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fnmsub_h  "..... 10 ..... ..... ... ..... 1001011" F4 |m, i| m.float(Nmsub, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fnmadd_h  "..... 10 ..... ..... ... ..... 1001111" F4 |m, i| m.float(Nmadd, W, i.rm, i.rd, [i.rs1, i.rs2, i.rs3])?;
    Any fadd_h    "0000010 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Add, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fsub_h    "0000110 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Sub, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmul_h    "0001010 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Mul, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fdiv_h    "0001110 ..... ..... ... ..... 1010011" F3 |m, i| m.float(Div, W, i.rm, i.rd, [i.rs1, i.rs2, 0])?;
    Any fsqrt_h   "0101110 00000 ..... ... ..... 1010011" F2 |m, i| m.float(Sqrt, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fsgnj_h   "0010010 ..... ..... 000 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Copy)?;
    Any fsgnjn_h  "0010010 ..... ..... 001 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Negate)?;
    Any fsgnjx_h  "0010010 ..... ..... 010 ..... 1010011" F3N |m, i| inject(m, i, W, Sign::Xor)?;
    Any fmin_h    "0010110 ..... ..... 000 ..... 1010011" F3N |m, i| m.float(Min, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmax_h    "0010110 ..... ..... 001 ..... 1010011" F3N |m, i| m.float(Max, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fcvt_w_h  "1100010 00000 ..... ... ..... 1010011" FX |m, i| m.float(ToI32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fcvt_wu_h "1100010 00001 ..... ... ..... 1010011" FX |m, i| m.float(ToU32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_l_h  "1100010 00010 ..... ... ..... 1010011" FX |m, i| m.float(ToI64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_lu_h "1100010 00011 ..... ... ..... 1010011" FX |m, i| m.float(ToU64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any feq_h     "1010010 ..... ..... 010 ..... 1010011" FCmp |m, i| m.float(Eq, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any flt_h     "1010010 ..... ..... 001 ..... 1010011" FCmp |m, i| m.float(Lt, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fle_h     "1010010 ..... ..... 000 ..... 1010011" FCmp |m, i| m.float(Le, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fclass_h  "1110010 00000 ..... 001 ..... 1010011" FXN |m, i| classify(m, i, W)?;
    Any fcvt_h_w  "1101010 00000 ..... ... ..... 1010011" XF |m, i| m.float(FromI32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fcvt_h_wu "1101010 00001 ..... ... ..... 1010011" XF |m, i| m.float(FromU32, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_h_l  "1101010 00010 ..... ... ..... 1010011" XF |m, i| m.float(FromI64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Rv64 fcvt_h_lu "1101010 00011 ..... ... ..... 1010011" XF |m, i| m.float(FromU64, W, i.rm, i.rd, [i.rs1, 0, 0])?;
}

precision! { zfa_half ZfaH H "Zfa on binary16.";
    Any fli_h       "1111010 00001 ..... 000 ..... 1010011" Fli |m, i| { if !m.float_state(true)? { return Ok(()) } m.set_f(i.rd, m.k(HALF_BOX | softfloat::convert::load_immediate::<softfloat::Binary16>(i.index))) };
    Any fminm_h     "0010110 ..... ..... 010 ..... 1010011" F3N |m, i| m.float(Minm, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fmaxm_h     "0010110 ..... ..... 011 ..... 1010011" F3N |m, i| m.float(Maxm, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fround_h    "0100010 00100 ..... ... ..... 1010011" F2 |m, i| m.float(Round, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any froundnx_h  "0100010 00101 ..... ... ..... 1010011" F2 |m, i| m.float(RoundExact, W, i.rm, i.rd, [i.rs1, 0, 0])?;
    Any fltq_h      "1010010 ..... ..... 101 ..... 1010011" FCmp |m, i| m.float(LtQuiet, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
    Any fleq_h      "1010010 ..... ..... 100 ..... 1010011" FCmp |m, i| m.float(LeQuiet, W, EXACT, i.rd, [i.rs1, i.rs2, 0])?;
}
