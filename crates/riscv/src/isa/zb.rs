//! Zba, Zbb, Zbc, Zbs: bit manipulation (Unprivileged ISA, chapter "B" Extension).

/// Address generation.
pub mod zba {
    use crate::format::*;
    use crate::table::isa;
    use ir::{Int32, Int64};
    isa! { Zba;
        Any  sh1add    "0010000 ..... ..... 010 ..... 0110011" R |m, i| m.set(i.rd, (m.x(i.rs1) << m.k(1)) + m.x(i.rs2));
        Any  sh2add    "0010000 ..... ..... 100 ..... 0110011" R |m, i| m.set(i.rd, (m.x(i.rs1) << m.k(2)) + m.x(i.rs2));
        Any  sh3add    "0010000 ..... ..... 110 ..... 0110011" R |m, i| m.set(i.rd, (m.x(i.rs1) << m.k(3)) + m.x(i.rs2));
        Rv64 add_uw    "0000100 ..... ..... 000 ..... 0111011" R |m, i| m.set(i.rd, m.x(i.rs1).lo().zx() + m.x(i.rs2));
        Rv64 sh1add_uw "0010000 ..... ..... 010 ..... 0111011" R |m, i| m.set(i.rd, (m.x(i.rs1).lo().zx() << m.k(1)) + m.x(i.rs2));
        Rv64 sh2add_uw "0010000 ..... ..... 100 ..... 0111011" R |m, i| m.set(i.rd, (m.x(i.rs1).lo().zx() << m.k(2)) + m.x(i.rs2));
        Rv64 sh3add_uw "0010000 ..... ..... 110 ..... 0111011" R |m, i| m.set(i.rd, (m.x(i.rs1).lo().zx() << m.k(3)) + m.x(i.rs2));
        Rv64 slli_uw   "000010 ...... ..... 001 ..... 0011011" Sh |m, i| m.set(i.rd, m.x(i.rs1).lo().zx() << m.k(i.sh));
    }
}

/// Basic bit manipulation.
pub mod zbb {
    use crate::format::*;
    use crate::machine::Machine;
    use crate::table::isa;
    use ir::{Int, Int32, Int64};

    /// `f` at XLEN bits, the result sign-extended.
    fn narrow<M: Machine>(m: &M, r: u8, wide: fn(M::V) -> M::V, half: fn(M::W) -> M::W) -> M::V {
        if m.rv32() { half(m.x(r).lo()).sx() } else { wide(m.x(r)) }
    }
    /// All ones in each byte that is not zero (Hacker's Delight, section 6-1, without carries between bytes).
    fn or_combine<M: Machine>(m: &M, v: M::V) -> M::V {
        let low = m.k(0x7f7f_7f7f_7f7f_7f7f);
        let high = (((v & low) + low) | v) & m.k(0x8080_8080_8080_8080);
        let ones = high >> m.k(7);
        (ones << m.k(8)) - ones
    }

    isa! { Zbb;
        Any  clz    "0110000 00000 ..... 001 ..... 0010011" R1 |m, i| m.set(i.rd, narrow(m, i.rs1, Int::clz, Int::clz));
        Any  ctz    "0110000 00001 ..... 001 ..... 0010011" R1 |m, i| m.set(i.rd, narrow(m, i.rs1, Int::ctz, Int::ctz));
        Any  cpop   "0110000 00010 ..... 001 ..... 0010011" R1 |m, i| m.set(i.rd, m.ux(i.rs1).popcnt());
        Rv64 clzw   "0110000 00000 ..... 001 ..... 0011011" R1 |m, i| m.set(i.rd, m.x(i.rs1).lo().clz().zx());
        Rv64 ctzw   "0110000 00001 ..... 001 ..... 0011011" R1 |m, i| m.set(i.rd, m.x(i.rs1).lo().ctz().zx());
        Rv64 cpopw  "0110000 00010 ..... 001 ..... 0011011" R1 |m, i| m.set(i.rd, m.x(i.rs1).lo().popcnt().zx());
        Any  max    "0000101 ..... ..... 110 ..... 0110011" R  |m, i| { let (a, b) = (m.x(i.rs1), m.x(i.rs2)); m.set(i.rd, Int::select(a.lt_s(b), b, a)) };
        Any  maxu   "0000101 ..... ..... 111 ..... 0110011" R  |m, i| { let (a, b) = (m.x(i.rs1), m.x(i.rs2)); m.set(i.rd, Int::select(a.lt_u(b), b, a)) };
        Any  min    "0000101 ..... ..... 100 ..... 0110011" R  |m, i| { let (a, b) = (m.x(i.rs1), m.x(i.rs2)); m.set(i.rd, Int::select(a.lt_s(b), a, b)) };
        Any  minu   "0000101 ..... ..... 101 ..... 0110011" R  |m, i| { let (a, b) = (m.x(i.rs1), m.x(i.rs2)); m.set(i.rd, Int::select(a.lt_u(b), a, b)) };
        Any  sext_b "0110000 00100 ..... 001 ..... 0010011" R1 |m, i| m.set(i.rd, m.x(i.rs1).sext8());
        Any  sext_h "0110000 00101 ..... 001 ..... 0010011" R1 |m, i| m.set(i.rd, m.x(i.rs1).sext16());
        Rv32 zext_h_32 "0000100 00000 ..... 100 ..... 0110011" R1 |m, i| m.set(i.rd, m.x(i.rs1).zext16());
        Rv64 zext_h "0000100 00000 ..... 100 ..... 0111011" R1 |m, i| m.set(i.rd, m.x(i.rs1).zext16());
        Any  orc_b  "0010100 00111 ..... 101 ..... 0010011" R1 |m, i| m.set(i.rd, or_combine(m, m.x(i.rs1)));
    }
}

/// What Zbb and Zbkb share.
pub mod common {
    use crate::format::*;
    use crate::table::isa;
    use ir::{Int, Int32, Int64};
    isa! { ZbbOrZbkb;
        Any  andn   "0100000 ..... ..... 111 ..... 0110011" R  |m, i| m.set(i.rd, m.x(i.rs1) & !m.x(i.rs2));
        Any  orn    "0100000 ..... ..... 110 ..... 0110011" R  |m, i| m.set(i.rd, m.x(i.rs1) | !m.x(i.rs2));
        Any  xnor   "0100000 ..... ..... 100 ..... 0110011" R  |m, i| m.set(i.rd, !(m.x(i.rs1) ^ m.x(i.rs2)));
        Any  rol    "0110000 ..... ..... 001 ..... 0110011" R  |m, i| m.set(i.rd, if m.rv32() { m.x(i.rs1).lo().rotl(m.x(i.rs2).lo()).sx() } else { m.x(i.rs1).rotl(m.x(i.rs2)) });
        Any  ror    "0110000 ..... ..... 101 ..... 0110011" R  |m, i| m.set(i.rd, if m.rv32() { m.x(i.rs1).lo().rotr(m.x(i.rs2).lo()).sx() } else { m.x(i.rs1).rotr(m.x(i.rs2)) });
        Rv64 rolw   "0110000 ..... ..... 001 ..... 0111011" R  |m, i| m.set(i.rd, m.x(i.rs1).lo().rotl(m.x(i.rs2).lo()).sx());
        Rv64 rorw   "0110000 ..... ..... 101 ..... 0111011" R  |m, i| m.set(i.rd, m.x(i.rs1).lo().rotr(m.x(i.rs2).lo()).sx());
        Rv64 roriw  "0110000 ..... ..... 101 ..... 0011011" ShW |m, i| m.set(i.rd, m.x(i.rs1).lo().rotr(m.k(i.sh).lo()).sx());
        Rv32 rev8_32 "0110100 11000 ..... 101 ..... 0010011" R1 |m, i| m.set(i.rd, m.x(i.rs1).lo().bswap().sx());
        Rv64 rev8   "0110101 11000 ..... 101 ..... 0010011" R1 |m, i| m.set(i.rd, m.x(i.rs1).bswap());
        Any  rori   "011000 ...... ..... 101 ..... 0010011" Sh |m, i| {
            if m.rv32() && i.sh > 31 { return m.illegal() }
            m.set(i.rd, if m.rv32() { m.x(i.rs1).lo().rotr(m.k(i.sh).lo()).sx() } else { m.x(i.rs1).rotr(m.k(i.sh)) })
        };
    }
}

/// Bit manipulation for cryptography.
pub mod zbkb {
    use crate::format::*;
    use crate::helpers;
    use crate::machine::Machine;
    use crate::table::isa;
    use ir::{Int, Int32, Int64};

    /// Bits of each byte reversed.
    fn reverse_bits<M: Machine>(m: &M, v: M::V) -> M::V {
        let swap = |v: M::V, n: u64, mask: u64| ((v >> m.k(n)) & m.k(mask)) | ((v & m.k(mask)) << m.k(n));
        let v = swap(v, 1, 0x5555_5555_5555_5555);
        let v = swap(v, 2, 0x3333_3333_3333_3333);
        swap(v, 4, 0x0f0f_0f0f_0f0f_0f0f)
    }
    isa! { Zbkb;
        Any  pack  "0000100 ..... ..... 100 ..... 0110011" R |m, i| m.set(i.rd, if m.rv32() { m.x(i.rs1).zext16() | (m.x(i.rs2) << m.k(16)) } else { m.x(i.rs1).lo().zx() | (m.x(i.rs2) << m.k(32)) });
        Any  packh "0000100 ..... ..... 111 ..... 0110011" R |m, i| m.set(i.rd, m.x(i.rs1).zext8() | (m.x(i.rs2).zext8() << m.k(8)));
        Rv64 packw "0000100 ..... ..... 100 ..... 0111011" R |m, i| m.set(i.rd, (m.x(i.rs1).zext16() | (m.x(i.rs2) << m.k(16))).lo().sx());
        Any  brev8 "0110100 00111 ..... 101 ..... 0010011" R1 |m, i| m.set(i.rd, reverse_bits(m, m.x(i.rs1)));
        Rv32 zip   "0000100 01111 ..... 001 ..... 0010011" R1 |m, i| m.set(i.rd, m.call(helpers::ZIP, &[m.ux(i.rs1)])?);
        Rv32 unzip "0000100 01111 ..... 101 ..... 0010011" R1 |m, i| m.set(i.rd, m.call(helpers::UNZIP, &[m.ux(i.rs1)])?);
    }
}

/// Crossbar permutations: ordinary functions.
pub mod zbkx {
    use crate::format::*;
    use crate::helpers;
    use crate::table::isa;
    isa! { Zbkx;
        Any xperm4 "0010100 ..... ..... 010 ..... 0110011" R |m, i| m.set(i.rd, m.call(helpers::PERMUTE, &[m.ux(i.rs1), m.ux(i.rs2), m.k(4), m.k(m.xlen() as u64)])?);
        Any xperm8 "0010100 ..... ..... 100 ..... 0110011" R |m, i| m.set(i.rd, m.call(helpers::PERMUTE, &[m.ux(i.rs1), m.ux(i.rs2), m.k(8), m.k(m.xlen() as u64)])?);
    }
}

/// Carry-less multiplication.
pub mod zbc {
    use crate::format::*;
    use crate::table::isa;
    use ir::Int64;
    isa! { ZbcOrZbkc;
        Any clmul  "0000101 ..... ..... 001 ..... 0110011" R |m, i| m.set(i.rd, m.ux(i.rs1).clmul(m.ux(i.rs2)));
        Any clmulh "0000101 ..... ..... 011 ..... 0110011" R |m, i| m.set(i.rd, if m.rv32() { m.ux(i.rs1).clmul(m.ux(i.rs2)) >> m.k(32) } else { m.x(i.rs1).clmulh(m.x(i.rs2)) });
    }
}

/// Carry-less multiplication, reversed.
pub mod zbc_reversed {
    use crate::format::*;
    use crate::table::isa;
    use ir::Int64;
    isa! { Zbc;
        Any clmulr "0000101 ..... ..... 010 ..... 0110011" R |m, i| m.set(i.rd, { let (a, b) = (m.ux(i.rs1), m.ux(i.rs2)); if m.rv32() { a.clmul(b) >> m.k(31) } else { (a.clmulh(b) << m.k(1)) | (a.clmul(b) >> m.k(63)) } });
    }
}

/// Single bits.
pub mod zbs {
    use crate::format::*;
    use crate::table::isa;
    isa! { Zbs;
        Any bclr  "0100100 ..... ..... 001 ..... 0110011" R  |m, i| m.set(i.rd, m.x(i.rs1) & !(m.k(1) << m.count(i.rs2)));
        Any bext  "0100100 ..... ..... 101 ..... 0110011" R  |m, i| m.set(i.rd, (m.x(i.rs1) >> m.count(i.rs2)) & m.k(1));
        Any binv  "0110100 ..... ..... 001 ..... 0110011" R  |m, i| m.set(i.rd, m.x(i.rs1) ^ (m.k(1) << m.count(i.rs2)));
        Any bset  "0010100 ..... ..... 001 ..... 0110011" R  |m, i| m.set(i.rd, m.x(i.rs1) | (m.k(1) << m.count(i.rs2)));
        Any bclri "010010 ...... ..... 001 ..... 0010011" Sh |m, i| { if m.rv32() && i.sh > 31 { return m.illegal() } m.set(i.rd, m.x(i.rs1) & m.k(!(1 << i.sh))) };
        Any bexti "010010 ...... ..... 101 ..... 0010011" Sh |m, i| { if m.rv32() && i.sh > 31 { return m.illegal() } m.set(i.rd, (m.x(i.rs1) >> m.k(i.sh)) & m.k(1)) };
        Any binvi "011010 ...... ..... 001 ..... 0010011" Sh |m, i| { if m.rv32() && i.sh > 31 { return m.illegal() } m.set(i.rd, m.x(i.rs1) ^ m.k(1 << i.sh)) };
        Any bseti "001010 ...... ..... 001 ..... 0010011" Sh |m, i| { if m.rv32() && i.sh > 31 { return m.illegal() } m.set(i.rd, m.x(i.rs1) | m.k(1 << i.sh)) };
    }
}
