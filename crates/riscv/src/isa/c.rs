//! Zca, Zcf, Zcd, Zcb: compressed instructions (Unprivileged ISA, chapters "C" and "Zc*"). Each is another
//! picture of an instruction that exists already; it shares its meaning.

use super::{fd, m, rv_i, zb};
use crate::format::*;
use crate::machine::{Machine, Meaning};
use crate::table::{compressed, isa};

/// Register in bits 7 to 11.
const fn full(w: u32) -> u8 {
    bits(w, 7, 5) as u8
}
/// Register in bits 2 to 6.
const fn second(w: u32) -> u8 {
    bits(w, 2, 5) as u8
}
/// One of x8 to x15 in bits 7 to 9.
const fn high(w: u32) -> u8 {
    8 + bits(w, 7, 3) as u8
}
/// One of x8 to x15 in bits 2 to 4.
const fn low(w: u32) -> u8 {
    8 + bits(w, 2, 3) as u8
}
/// Signed immediate of CI.
const fn imm6(w: u32) -> u64 {
    sign(bits(w, 12, 1) << 5 | bits(w, 2, 5), 6) as u64
}
/// Unsigned immediate of shifts.
const fn shift(w: u32) -> u64 {
    (bits(w, 12, 1) << 5 | bits(w, 2, 5)) as u64
}
/// Offset of c.lw and c.sw.
const fn offset_w(w: u32) -> u64 {
    (bits(w, 5, 1) << 6 | bits(w, 10, 3) << 3 | bits(w, 6, 1) << 2) as u64
}
/// Offset of c.ld and c.sd.
const fn offset_d(w: u32) -> u64 {
    (bits(w, 5, 2) << 6 | bits(w, 10, 3) << 3) as u64
}
/// Offset of c.lwsp.
const fn sp_load_w(w: u32) -> u64 {
    (bits(w, 2, 2) << 6 | bits(w, 12, 1) << 5 | bits(w, 4, 3) << 2) as u64
}
/// Offset of c.ldsp.
const fn sp_load_d(w: u32) -> u64 {
    (bits(w, 2, 3) << 6 | bits(w, 12, 1) << 5 | bits(w, 5, 2) << 3) as u64
}
/// Offset of c.swsp.
const fn sp_store_w(w: u32) -> u64 {
    (bits(w, 7, 2) << 6 | bits(w, 9, 4) << 2) as u64
}
/// Offset of c.sdsp.
const fn sp_store_d(w: u32) -> u64 {
    (bits(w, 7, 3) << 6 | bits(w, 10, 3) << 3) as u64
}
/// Offset of c.j.
const fn jump(w: u32) -> i64 {
    let v = bits(w, 12, 1) << 11
        | bits(w, 8, 1) << 10
        | bits(w, 9, 2) << 8
        | bits(w, 6, 1) << 7
        | bits(w, 7, 1) << 6
        | bits(w, 2, 1) << 5
        | bits(w, 11, 1) << 4
        | bits(w, 3, 3) << 1;
    sign(v, 12)
}
/// Operands of c.beqz and c.bnez.
const fn branch(w: u32) -> B {
    let v = bits(w, 12, 1) << 8
        | bits(w, 5, 2) << 6
        | bits(w, 2, 1) << 5
        | bits(w, 10, 2) << 3
        | bits(w, 3, 2) << 1;
    B { rs1: high(w), rs2: 0, offset: sign(v, 9) }
}
/// Immediate of c.addi4spn.
const fn imm_4spn(w: u32) -> u64 {
    (bits(w, 7, 4) << 6 | bits(w, 11, 2) << 4 | bits(w, 5, 1) << 3 | bits(w, 6, 1) << 2) as u64
}
/// Immediate of c.addi16sp.
const fn imm_16sp(w: u32) -> u64 {
    let v = bits(w, 12, 1) << 9
        | bits(w, 3, 2) << 7
        | bits(w, 5, 1) << 6
        | bits(w, 2, 1) << 5
        | bits(w, 6, 1) << 4;
    sign(v, 10) as u64
}
/// Operands of the two-register arithmetic.
const fn pair(w: u32) -> R {
    R { rd: high(w), rs1: high(w), rs2: low(w) }
}
/// Operands of the one-register arithmetic.
const fn unary(w: u32) -> R1 {
    R1 { rd: high(w), rs1: high(w) }
}

/// Encodings that are reserved although another picture covers them.
pub mod reserved {
    use super::*;
    isa! { Zca;
        Any c_unimp "000 00000000 ... 00" Z |m, _i| return m.illegal();
        Any c_addi16sp_0 "011 0 00010 00000 01" Z |m, _i| return m.illegal();
        Any c_lwsp_0 "010 . 00000 ..... 10" Z |m, _i| return m.illegal();
        Rv64 c_ldsp_0 "011 . 00000 ..... 10" Z |m, _i| return m.illegal();
        Rv64 c_addiw_0 "001 . 00000 ..... 01" Z |m, _i| return m.illegal();
        Any c_jr_0 "1000 00000 00000 10" Z |m, _i| return m.illegal();
        Rv32 c_slli_32 "0001 ..... ..... 10" Z |m, _i| return m.illegal();
        Rv32 c_srli_32 "1001 00 ... ..... 01" Z |m, _i| return m.illegal();
        Rv32 c_srai_32 "1001 01 ... ..... 01" Z |m, _i| return m.illegal();
    }
}

/// May-be operations: may become something else one day (Zcmop), until then they do nothing.
fn nop<M: Machine>(_m: &M, _i: Z) -> Meaning {
    Ok(())
}

/// c.lui of zero is reserved.
fn lui<M: Machine>(m: &M, i: U) -> Meaning {
    if i.imm == 0 { m.illegal() } else { rv_i::meaning::lui(m, i) }
}

compressed! {
    Zca Any c_addi4spn "000 ........ ... 00" rv_i::meaning::addi I |w| I { rd: low(w), rs1: 2, imm: imm_4spn(w) };
    Zcd Any c_fld "001 ... ... .. ... 00" fd::double::meaning::fld FL |w| FL { rd: low(w), rs1: high(w), imm: offset_d(w) };
    Zca Any c_lw "010 ... ... .. ... 00" rv_i::meaning::lw L |w| L { rd: low(w), rs1: high(w), imm: offset_w(w) };
    Zcf Rv32 c_flw "011 ... ... .. ... 00" fd::single::meaning::flw FL |w| FL { rd: low(w), rs1: high(w), imm: offset_w(w) };
    Zca Rv64 c_ld "011 ... ... .. ... 00" rv_i::meaning::ld L |w| L { rd: low(w), rs1: high(w), imm: offset_d(w) };
    Zcd Any c_fsd "101 ... ... .. ... 00" fd::double::meaning::fsd FS |w| FS { rs2: low(w), rs1: high(w), imm: offset_d(w) };
    Zca Any c_sw "110 ... ... .. ... 00" rv_i::meaning::sw S |w| S { rs2: low(w), rs1: high(w), imm: offset_w(w) };
    Zcf Rv32 c_fsw "111 ... ... .. ... 00" fd::single::meaning::fsw FS |w| FS { rs2: low(w), rs1: high(w), imm: offset_w(w) };
    Zca Rv64 c_sd "111 ... ... .. ... 00" rv_i::meaning::sd S |w| S { rs2: low(w), rs1: high(w), imm: offset_d(w) };

    Zca Any c_addi "000 . ..... ..... 01" rv_i::meaning::addi I |w| I { rd: full(w), rs1: full(w), imm: imm6(w) };
    Zca Rv32 c_jal "001 ........... 01" rv_i::meaning::jal J |w| J { rd: 1, offset: jump(w) };
    Zca Rv64 c_addiw "001 . ..... ..... 01" rv_i::meaning::addiw I |w| I { rd: full(w), rs1: full(w), imm: imm6(w) };
    Zca Any c_li "010 . ..... ..... 01" rv_i::meaning::addi I |w| I { rd: full(w), rs1: 0, imm: imm6(w) };
    Zca Any c_addi16sp "011 . 00010 ..... 01" rv_i::meaning::addi I |w| I { rd: 2, rs1: 2, imm: imm_16sp(w) };
    Zca Any c_lui "011 . ..... ..... 01" lui U |w| U { rd: full(w), imm: imm6(w) << 12 };
    Zca Any c_srli "100 . 00 ... ..... 01" rv_i::meaning::srli Sh |w| Sh { rd: high(w), rs1: high(w), sh: shift(w) };
    Zca Any c_srai "100 . 01 ... ..... 01" rv_i::meaning::srai Sh |w| Sh { rd: high(w), rs1: high(w), sh: shift(w) };
    Zca Any c_andi "100 . 10 ... ..... 01" rv_i::meaning::andi I |w| I { rd: high(w), rs1: high(w), imm: imm6(w) };
    Zca Any c_sub "100 0 11 ... 00 ... 01" rv_i::meaning::sub R |w| pair(w);
    Zca Any c_xor "100 0 11 ... 01 ... 01" rv_i::meaning::xor R |w| pair(w);
    Zca Any c_or "100 0 11 ... 10 ... 01" rv_i::meaning::or R |w| pair(w);
    Zca Any c_and "100 0 11 ... 11 ... 01" rv_i::meaning::and R |w| pair(w);
    Zca Rv64 c_subw "100 1 11 ... 00 ... 01" rv_i::meaning::subw R |w| pair(w);
    Zca Rv64 c_addw "100 1 11 ... 01 ... 01" rv_i::meaning::addw R |w| pair(w);
    Zca Any c_j "101 ........... 01" rv_i::meaning::jal J |w| J { rd: 0, offset: jump(w) };
    Zca Any c_beqz "110 ... ... ..... 01" rv_i::meaning::beq B |w| branch(w);
    Zca Any c_bnez "111 ... ... ..... 01" rv_i::meaning::bne B |w| branch(w);

    Zca Any c_slli "000 . ..... ..... 10" rv_i::meaning::slli Sh |w| Sh { rd: full(w), rs1: full(w), sh: shift(w) };
    Zcd Any c_fldsp "001 . ..... ..... 10" fd::double::meaning::fld FL |w| FL { rd: full(w), rs1: 2, imm: sp_load_d(w) };
    Zca Any c_lwsp "010 . ..... ..... 10" rv_i::meaning::lw L |w| L { rd: full(w), rs1: 2, imm: sp_load_w(w) };
    Zcf Rv32 c_flwsp "011 . ..... ..... 10" fd::single::meaning::flw FL |w| FL { rd: full(w), rs1: 2, imm: sp_load_w(w) };
    Zca Rv64 c_ldsp "011 . ..... ..... 10" rv_i::meaning::ld L |w| L { rd: full(w), rs1: 2, imm: sp_load_d(w) };
    Zca Any c_jr "1000 ..... 00000 10" rv_i::meaning::jalr L |w| L { rd: 0, rs1: full(w), imm: 0 };
    Zca Any c_mv "1000 ..... ..... 10" rv_i::meaning::addi I |w| I { rd: full(w), rs1: second(w), imm: 0 };
    Zca Any c_ebreak "1001 00000 00000 10" rv_i::meaning::ebreak Z |_w| Z {};
    Zca Any c_jalr "1001 ..... 00000 10" rv_i::meaning::jalr L |w| L { rd: 1, rs1: full(w), imm: 0 };
    Zca Any c_add "1001 ..... ..... 10" rv_i::meaning::add R |w| R { rd: full(w), rs1: full(w), rs2: second(w) };
    Zcd Any c_fsdsp "101 ...... ..... 10" fd::double::meaning::fsd FS |w| FS { rs2: second(w), rs1: 2, imm: sp_store_d(w) };
    Zca Any c_swsp "110 ...... ..... 10" rv_i::meaning::sw S |w| S { rs2: second(w), rs1: 2, imm: sp_store_w(w) };
    Zcf Rv32 c_fswsp "111 ...... ..... 10" fd::single::meaning::fsw FS |w| FS { rs2: second(w), rs1: 2, imm: sp_store_w(w) };
    Zca Rv64 c_sdsp "111 ...... ..... 10" rv_i::meaning::sd S |w| S { rs2: second(w), rs1: 2, imm: sp_store_d(w) };

    Zcb Any c_lbu "100 000 ... .. ... 00" rv_i::meaning::lbu L |w| L { rd: low(w), rs1: high(w), imm: (bits(w, 5, 1) << 1 | bits(w, 6, 1)) as u64 };
    Zcb Any c_lhu "100 001 ... 0 . ... 00" rv_i::meaning::lhu L |w| L { rd: low(w), rs1: high(w), imm: (bits(w, 5, 1) << 1) as u64 };
    Zcb Any c_lh "100 001 ... 1 . ... 00" rv_i::meaning::lh L |w| L { rd: low(w), rs1: high(w), imm: (bits(w, 5, 1) << 1) as u64 };
    Zcb Any c_sb "100 010 ... .. ... 00" rv_i::meaning::sb S |w| S { rs2: low(w), rs1: high(w), imm: (bits(w, 5, 1) << 1 | bits(w, 6, 1)) as u64 };
    Zcb Any c_sh "100 011 ... 0 . ... 00" rv_i::meaning::sh S |w| S { rs2: low(w), rs1: high(w), imm: (bits(w, 5, 1) << 1) as u64 };
    Zcb Any c_zext_b "100 1 11 ... 11 000 01" rv_i::meaning::andi I |w| I { rd: high(w), rs1: high(w), imm: 255 };
    ZcbZbb Any c_sext_b "100 1 11 ... 11 001 01" zb::zbb::meaning::sext_b R1 |w| unary(w);
    ZcbZbb Any c_zext_h "100 1 11 ... 11 010 01" zb::zbb::meaning::zext_h R1 |w| unary(w);
    ZcbZbb Any c_sext_h "100 1 11 ... 11 011 01" zb::zbb::meaning::sext_h R1 |w| unary(w);
    ZcbZba Rv64 c_zext_w "100 1 11 ... 11 100 01" zb::zba::meaning::add_uw R |w| R { rd: high(w), rs1: high(w), rs2: 0 };
    Zcb Any c_not "100 1 11 ... 11 101 01" rv_i::meaning::xori I |w| I { rd: high(w), rs1: high(w), imm: u64::MAX };
    ZcbMul Any c_mul "100 1 11 ... 10 ... 01" m::zmmul::meaning::mul R |w| pair(w);
    Zcmop Any c_mop "011 0 0 ... 1 00000 01" nop Z |_w| Z {};
}
