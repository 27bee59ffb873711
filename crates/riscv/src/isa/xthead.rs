//! T-Head's own extensions ("RISC-V ISA extension specification" of T-Head, version 2.3) as the C906 has them: addresses, bits,
//! conditional moves, multiply-add, indexed and paired accesses to memory, caches. All for 64 bits. Caches and their order
//! need nothing here: the instructions are checked for the privilege they need and do nothing.

use crate::format::*;
use crate::helpers;
use crate::machine::{Machine, Meaning};
use crate::table::isa;
use ir::{Int, Int32, Int64, MemOp};

/// For privilege levels above U.
fn not_for_users<M: Machine>(m: &M) -> Meaning {
    if m.place().mode.privilege() < crate::mode::S { m.illegal() } else { Ok(()) }
}

/// Address generation.
pub mod ba {
    use super::*;
    isa! { Xtheadba;
        Rv64 th_addsl "00000 .. ..... ..... 001 ..... 0001011" RSh |m, i| m.set(i.rd, m.x(i.rs1) + (m.x(i.rs2) << m.k(i.sh)));
    }
}

/// Basic bit manipulation.
pub mod bb {
    use super::*;

    /// Bits `lsb` to `msb`; nothing happens if there are none.
    fn extract<M: Machine>(m: &M, i: Field, signed: bool) {
        if i.lsb <= i.msb {
            let top = m.x(i.rs1) << m.k(63 - i.msb);
            let down = m.k(63 - i.msb + i.lsb);
            m.set(i.rd, if signed { top.sar(down) } else { top >> down });
        }
    }
    /// All ones in each byte that is zero.
    fn zero_bytes<M: Machine>(m: &M, v: M::V) -> M::V {
        let low = m.k(0x7f7f_7f7f_7f7f_7f7f);
        let high = !(((v & low) + low) | v) & m.k(0x8080_8080_8080_8080);
        let ones = high >> m.k(7);
        (ones << m.k(8)) - ones
    }

    isa! { Xtheadbb;
        Rv64 th_srri   "000100 ...... ..... 001 ..... 0001011" Sh    |m, i| m.set(i.rd, m.x(i.rs1).rotr(m.k(i.sh)));
        Rv64 th_srriw  "0001010 ..... ..... 001 ..... 0001011" ShW   |m, i| m.set(i.rd, m.x(i.rs1).lo().rotr(m.k(i.sh).lo()).sx());
        Rv64 th_ext    "............ ..... 010 ..... 0001011"  Field |m, i| extract(m, i, true);
        Rv64 th_extu   "............ ..... 011 ..... 0001011"  Field |m, i| extract(m, i, false);
        Rv64 th_ff0    "1000010 00000 ..... 001 ..... 0001011" R1    |m, i| m.set(i.rd, (!m.x(i.rs1)).clz());
        Rv64 th_ff1    "1000011 00000 ..... 001 ..... 0001011" R1    |m, i| m.set(i.rd, m.x(i.rs1).clz());
        Rv64 th_rev    "1000001 00000 ..... 001 ..... 0001011" R1    |m, i| m.set(i.rd, m.x(i.rs1).bswap());
        Rv64 th_revw   "1001000 00000 ..... 001 ..... 0001011" R1    |m, i| m.set(i.rd, m.x(i.rs1).lo().bswap().sx());
        Rv64 th_tstnbz "1000000 00000 ..... 001 ..... 0001011" R1    |m, i| m.set(i.rd, zero_bytes(m, m.x(i.rs1)));
    }
}

/// One bit.
pub mod bs {
    use super::*;
    isa! { Xtheadbs;
        Rv64 th_tst "100010 ...... ..... 001 ..... 0001011" Sh |m, i| m.set(i.rd, (m.x(i.rs1) >> m.k(i.sh)) & m.k(1));
    }
}

/// Conditional moves.
pub mod condmov {
    use super::*;
    isa! { Xtheadcondmov;
        Rv64 th_mveqz "0100000 ..... ..... 001 ..... 0001011" R |m, i| m.set(i.rd, Int::select(m.x(i.rs2).eq(m.k(0)), m.x(i.rs1), m.x(i.rd)));
        Rv64 th_mvnez "0100001 ..... ..... 001 ..... 0001011" R |m, i| m.set(i.rd, Int::select(m.x(i.rs2).eq(m.k(0)), m.x(i.rd), m.x(i.rs1)));
    }
}

/// Multiply and add.
pub mod mac {
    use super::*;

    /// The product of the low halves of two words.
    fn halves<M: Machine>(m: &M, i: R) -> M::V {
        m.x(i.rs1).sext16() * m.x(i.rs2).sext16()
    }

    isa! { Xtheadmac;
        Rv64 th_mula  "0010000 ..... ..... 001 ..... 0001011" R |m, i| m.set(i.rd, m.x(i.rd) + m.x(i.rs1) * m.x(i.rs2));
        Rv64 th_muls  "0010001 ..... ..... 001 ..... 0001011" R |m, i| m.set(i.rd, m.x(i.rd) - m.x(i.rs1) * m.x(i.rs2));
        Rv64 th_mulaw "0010010 ..... ..... 001 ..... 0001011" R |m, i| m.set(i.rd, (m.x(i.rd) + m.x(i.rs1) * m.x(i.rs2)).lo().sx());
        Rv64 th_mulsw "0010011 ..... ..... 001 ..... 0001011" R |m, i| m.set(i.rd, (m.x(i.rd) - m.x(i.rs1) * m.x(i.rs2)).lo().sx());
        Rv64 th_mulah "0010100 ..... ..... 001 ..... 0001011" R |m, i| m.set(i.rd, (m.x(i.rd) + halves(m, i)).lo().sx());
        Rv64 th_mulsh "0010101 ..... ..... 001 ..... 0001011" R |m, i| m.set(i.rd, (m.x(i.rd) - halves(m, i)).lo().sx());
    }
}

/// Indexed accesses.
pub mod memidx {
    use super::*;

    /// Loads, and moves the base on: before (`before`) or after.
    fn load<M: Machine>(m: &M, i: Step, before: bool, op: MemOp) -> Meaning {
        if i.rd == i.rs1 {
            return m.illegal();
        }
        let (old, new) = (m.x(i.rs1), m.x(i.rs1) + m.k(i.step()));
        let v = m.load(if before { new } else { old }, op)?;
        m.set(i.rs1, new);
        m.set(i.rd, v);
        Ok(())
    }
    /// Stores, and moves the base on.
    fn store<M: Machine>(m: &M, i: Step, before: bool, op: MemOp) -> Meaning {
        let (old, new) = (m.x(i.rs1), m.x(i.rs1) + m.k(i.step()));
        m.store(if before { new } else { old }, m.x(i.rd), op)?;
        m.set(i.rs1, new);
        Ok(())
    }
    /// Base and index, which has 64 bits or the low half of a register.
    pub(super) fn at<M: Machine>(m: &M, i: RSh, half: bool) -> M::V {
        let index = if half { m.x(i.rs2).lo().zx() } else { m.x(i.rs2) };
        m.x(i.rs1) + (index << m.k(i.sh))
    }

    isa! { Xtheadmemidx;
        Rv64 th_ldia  "01111 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, false, MemOp::U64);
        Rv64 th_ldib  "01101 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, true, MemOp::U64);
        Rv64 th_lwia  "01011 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, false, MemOp::S32);
        Rv64 th_lwib  "01001 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, true, MemOp::S32);
        Rv64 th_lwuia "11011 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, false, MemOp::U32);
        Rv64 th_lwuib "11001 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, true, MemOp::U32);
        Rv64 th_lhia  "00111 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, false, MemOp::S16);
        Rv64 th_lhib  "00101 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, true, MemOp::S16);
        Rv64 th_lhuia "10111 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, false, MemOp::U16);
        Rv64 th_lhuib "10101 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, true, MemOp::U16);
        Rv64 th_lbia  "00011 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, false, MemOp::S8);
        Rv64 th_lbib  "00001 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, true, MemOp::S8);
        Rv64 th_lbuia "10011 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, false, MemOp::U8);
        Rv64 th_lbuib "10001 .. ..... ..... 100 ..... 0001011" Step |m, i| return load(m, i, true, MemOp::U8);
        Rv64 th_sdia  "01111 .. ..... ..... 101 ..... 0001011" Step |m, i| return store(m, i, false, MemOp::U64);
        Rv64 th_sdib  "01101 .. ..... ..... 101 ..... 0001011" Step |m, i| return store(m, i, true, MemOp::U64);
        Rv64 th_swia  "01011 .. ..... ..... 101 ..... 0001011" Step |m, i| return store(m, i, false, MemOp::U32);
        Rv64 th_swib  "01001 .. ..... ..... 101 ..... 0001011" Step |m, i| return store(m, i, true, MemOp::U32);
        Rv64 th_shia  "00111 .. ..... ..... 101 ..... 0001011" Step |m, i| return store(m, i, false, MemOp::U16);
        Rv64 th_shib  "00101 .. ..... ..... 101 ..... 0001011" Step |m, i| return store(m, i, true, MemOp::U16);
        Rv64 th_sbia  "00011 .. ..... ..... 101 ..... 0001011" Step |m, i| return store(m, i, false, MemOp::U8);
        Rv64 th_sbib  "00001 .. ..... ..... 101 ..... 0001011" Step |m, i| return store(m, i, true, MemOp::U8);
        Rv64 th_lrd   "01100 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, false), MemOp::U64)?);
        Rv64 th_lrw   "01000 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, false), MemOp::S32)?);
        Rv64 th_lrwu  "11000 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, false), MemOp::U32)?);
        Rv64 th_lrh   "00100 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, false), MemOp::S16)?);
        Rv64 th_lrhu  "10100 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, false), MemOp::U16)?);
        Rv64 th_lrb   "00000 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, false), MemOp::S8)?);
        Rv64 th_lrbu  "10000 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, false), MemOp::U8)?);
        Rv64 th_srd   "01100 .. ..... ..... 101 ..... 0001011" RSh |m, i| m.store(at(m, i, false), m.x(i.rd), MemOp::U64)?;
        Rv64 th_srw   "01000 .. ..... ..... 101 ..... 0001011" RSh |m, i| m.store(at(m, i, false), m.x(i.rd), MemOp::U32)?;
        Rv64 th_srh   "00100 .. ..... ..... 101 ..... 0001011" RSh |m, i| m.store(at(m, i, false), m.x(i.rd), MemOp::U16)?;
        Rv64 th_srb   "00000 .. ..... ..... 101 ..... 0001011" RSh |m, i| m.store(at(m, i, false), m.x(i.rd), MemOp::U8)?;
        Rv64 th_lurd  "01110 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, true), MemOp::U64)?);
        Rv64 th_lurw  "01010 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, true), MemOp::S32)?);
        Rv64 th_lurwu "11010 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, true), MemOp::U32)?);
        Rv64 th_lurh  "00110 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, true), MemOp::S16)?);
        Rv64 th_lurhu "10110 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, true), MemOp::U16)?);
        Rv64 th_lurb  "00010 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, true), MemOp::S8)?);
        Rv64 th_lurbu "10010 .. ..... ..... 100 ..... 0001011" RSh |m, i| m.set(i.rd, m.load(at(m, i, true), MemOp::U8)?);
        Rv64 th_surd  "01110 .. ..... ..... 101 ..... 0001011" RSh |m, i| m.store(at(m, i, true), m.x(i.rd), MemOp::U64)?;
        Rv64 th_surw  "01010 .. ..... ..... 101 ..... 0001011" RSh |m, i| m.store(at(m, i, true), m.x(i.rd), MemOp::U32)?;
        Rv64 th_surh  "00110 .. ..... ..... 101 ..... 0001011" RSh |m, i| m.store(at(m, i, true), m.x(i.rd), MemOp::U16)?;
        Rv64 th_surb  "00010 .. ..... ..... 101 ..... 0001011" RSh |m, i| m.store(at(m, i, true), m.x(i.rd), MemOp::U8)?;
    }
}

/// Indexed accesses of float registers.
pub mod fmemidx {
    use super::*;

    fn load<M: Machine>(m: &M, i: FSh, half: bool, double: bool) -> Meaning {
        if !m.float_state(true)? {
            return Ok(());
        }
        let a = memidx::at(m, i.integers(), half);
        if double {
            m.set_f(i.rd, m.load(a, MemOp::U64)?);
        } else {
            m.set_single(i.rd, m.load(a, MemOp::U32)?);
        }
        Ok(())
    }
    fn store<M: Machine>(m: &M, i: FSh, half: bool, double: bool) -> Meaning {
        if !m.float_state(false)? {
            return Ok(());
        }
        let op = if double { MemOp::U64 } else { MemOp::U32 };
        m.store(memidx::at(m, i.integers(), half), m.f(i.rd), op)
    }

    isa! { Xtheadfmemidx;
        Rv64 th_flrd  "01100 .. ..... ..... 110 ..... 0001011" FSh |m, i| return load(m, i, false, true);
        Rv64 th_flrw  "01000 .. ..... ..... 110 ..... 0001011" FSh |m, i| return load(m, i, false, false);
        Rv64 th_flurd "01110 .. ..... ..... 110 ..... 0001011" FSh |m, i| return load(m, i, true, true);
        Rv64 th_flurw "01010 .. ..... ..... 110 ..... 0001011" FSh |m, i| return load(m, i, true, false);
        Rv64 th_fsrd  "01100 .. ..... ..... 111 ..... 0001011" FSh |m, i| return store(m, i, false, true);
        Rv64 th_fsrw  "01000 .. ..... ..... 111 ..... 0001011" FSh |m, i| return store(m, i, false, false);
        Rv64 th_fsurd "01110 .. ..... ..... 111 ..... 0001011" FSh |m, i| return store(m, i, true, true);
        Rv64 th_fsurw "01010 .. ..... ..... 111 ..... 0001011" FSh |m, i| return store(m, i, true, false);
    }
}

/// Two registers at once.
pub mod mempair {
    use super::*;

    fn load<M: Machine>(m: &M, i: Pair, bytes: u64, op: MemOp) -> Meaning {
        if i.rs1 == i.rd || i.rs1 == i.rd2 || i.rd == i.rd2 {
            return m.illegal();
        }
        let a = m.x(i.rs1) + m.k(i.index * 2 * bytes);
        let (first, second) = (m.load(a, op)?, m.load(a + m.k(bytes), op)?);
        m.set(i.rd, first);
        m.set(i.rd2, second);
        Ok(())
    }
    fn store<M: Machine>(m: &M, i: Pair, bytes: u64, op: MemOp) -> Meaning {
        let a = m.x(i.rs1) + m.k(i.index * 2 * bytes);
        m.store(a, m.x(i.rd), op)?;
        m.store(a + m.k(bytes), m.x(i.rd2), op)
    }

    isa! { Xtheadmempair;
        Rv64 th_ldd  "11111 .. ..... ..... 100 ..... 0001011" Pair |m, i| return load(m, i, 8, MemOp::U64);
        Rv64 th_lwd  "11100 .. ..... ..... 100 ..... 0001011" Pair |m, i| return load(m, i, 4, MemOp::S32);
        Rv64 th_lwud "11110 .. ..... ..... 100 ..... 0001011" Pair |m, i| return load(m, i, 4, MemOp::U32);
        Rv64 th_sdd  "11111 .. ..... ..... 101 ..... 0001011" Pair |m, i| return store(m, i, 8, MemOp::U64);
        Rv64 th_swd  "11100 .. ..... ..... 101 ..... 0001011" Pair |m, i| return store(m, i, 4, MemOp::U32);
    }
}

/// Caches.
pub mod cmo {
    use super::*;
    isa! { Xtheadcmo;
        Rv64 th_dcache_call  "0000000 00001 00000 000 00000 0001011" Z  |m, _i| return not_for_users(m);
        Rv64 th_dcache_ciall "0000000 00011 00000 000 00000 0001011" Z  |m, _i| return not_for_users(m);
        Rv64 th_dcache_iall  "0000000 00010 00000 000 00000 0001011" Z  |m, _i| return not_for_users(m);
        Rv64 th_dcache_cpa   "0000001 01001 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_dcache_cipa  "0000001 01011 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_dcache_ipa   "0000001 01010 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_dcache_cva   "0000001 00101 ..... 000 00000 0001011" X1 |_m, _i| ();
        Rv64 th_dcache_civa  "0000001 00111 ..... 000 00000 0001011" X1 |_m, _i| ();
        Rv64 th_dcache_iva   "0000001 00110 ..... 000 00000 0001011" X1 |_m, _i| ();
        Rv64 th_dcache_csw   "0000001 00001 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_dcache_cisw  "0000001 00011 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_dcache_isw   "0000001 00010 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_dcache_cpal1 "0000001 01000 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_dcache_cval1 "0000001 00100 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_icache_iall  "0000000 10000 00000 000 00000 0001011" Z  |m, _i| return not_for_users(m);
        Rv64 th_icache_ialls "0000000 10001 00000 000 00000 0001011" Z  |m, _i| return not_for_users(m);
        Rv64 th_icache_ipa   "0000001 11000 ..... 000 00000 0001011" X1 |m, _i| return not_for_users(m);
        Rv64 th_icache_iva   "0000001 10000 ..... 000 00000 0001011" X1 |_m, _i| ();
        Rv64 th_l2cache_call "0000000 10101 00000 000 00000 0001011" Z  |m, _i| return not_for_users(m);
        Rv64 th_l2cache_ciall "0000000 10111 00000 000 00000 0001011" Z |m, _i| return not_for_users(m);
        Rv64 th_l2cache_iall "0000000 10110 00000 000 00000 0001011" Z  |m, _i| return not_for_users(m);
    }
}

/// Order among harts.
pub mod sync {
    use super::*;
    isa! { Xtheadsync;
        Rv64 th_sfence_vmas "0000010 ..... ..... 000 00000 0001011" R0 |m, i| return crate::isa::privileged::fence_vma(m, i);
        Rv64 th_sync    "0000000 11000 00000 000 00000 0001011" Z |_m, _i| ();
        Rv64 th_sync_s  "0000000 11001 00000 000 00000 0001011" Z |_m, _i| ();
        Rv64 th_sync_i  "0000000 11010 00000 000 00000 0001011" Z |m, _i| { m.call(helpers::FENCE_I, &[])?; return m.resume() };
        Rv64 th_sync_is "0000000 11011 00000 000 00000 0001011" Z |m, _i| { m.call(helpers::FENCE_I, &[])?; return m.resume() };
    }
}
