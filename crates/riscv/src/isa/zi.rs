//! Small extensions: Zicsr, Zifencei, Zihintpause, Zihintntl (no rows: hints), Zicond, Zawrs, Zicbom/Zicboz/Zicbop,
//! Zimop.

/// CSR access (Unprivileged ISA, chapter "Zicsr").
pub mod zicsr {
    use crate::csr::{Change, access, access_immediate};
    use crate::format::*;
    use crate::table::isa;
    isa! { Zicsr;
        Any csrrw  "............ ..... 001 ..... 1110011" Csr |m, i| access(m, i.csr, i.rd, Change::Write, m.x(i.rs1), true)?;
        Any csrrs  "............ ..... 010 ..... 1110011" Csr |m, i| access(m, i.csr, i.rd, Change::Set, m.x(i.rs1), i.rs1 != 0)?;
        Any csrrc  "............ ..... 011 ..... 1110011" Csr |m, i| access(m, i.csr, i.rd, Change::Clear, m.x(i.rs1), i.rs1 != 0)?;
        Any csrrwi "............ ..... 101 ..... 1110011" CsrI |m, i| access_immediate(m, i.csr, i.rd, Change::Write, i.imm)?;
        Any csrrsi "............ ..... 110 ..... 1110011" CsrI |m, i| access_immediate(m, i.csr, i.rd, Change::Set, i.imm)?;
        Any csrrci "............ ..... 111 ..... 1110011" CsrI |m, i| access_immediate(m, i.csr, i.rd, Change::Clear, i.imm)?;
    }
}

/// Instruction-fetch fence.
pub mod zifencei {
    use crate::format::*;
    use crate::helpers;
    use crate::table::isa;
    isa! { Zifencei;
        Any fence_i "............ ..... 001 ..... 0001111" Z |m, _i| { m.call(helpers::FENCE_I, &[])?; return m.resume() };
    }
}

/// A hint that the hart waits in a loop.
pub mod zihintpause {
    use crate::format::*;
    use crate::table::isa;
    isa! { Zihintpause;
        Any pause "0000 0001 0000 00000 000 00000 0001111" Z |m, _i| ();
    }
}

/// Conditional zero (Unprivileged ISA, chapter "Zicond").
pub mod zicond {
    use crate::format::*;
    use crate::table::isa;
    use ir::Int;
    isa! { Zicond;
        Any czero_eqz "0000111 ..... ..... 101 ..... 0110011" R |m, i| m.set(i.rd, Int::select(m.x(i.rs2).eq(m.k(0)), m.k(0), m.x(i.rs1)));
        Any czero_nez "0000111 ..... ..... 111 ..... 0110011" R |m, i| m.set(i.rd, Int::select(m.x(i.rs2).eq(m.k(0)), m.x(i.rs1), m.k(0)));
    }
}

/// Waiting on a reservation: returns at once, which the chapter allows.
pub mod zawrs {
    use crate::format::*;
    use crate::helpers;
    use crate::table::isa;
    isa! { Zawrs;
        Any wrs_nto "000000001101 00000 000 00000 1110011" Z |m, _i| { m.call(helpers::WAIT_RESERVATION, &[m.k(m.place().word as u64), m.k(1)])?; };
        Any wrs_sto "000000011101 00000 000 00000 1110011" Z |m, _i| { m.call(helpers::WAIT_RESERVATION, &[m.k(m.place().word as u64), m.k(0)])?; };
    }
}

/// Cache-block management.
pub mod zicbom {
    use crate::format::*;
    use crate::helpers;
    use crate::table::isa;
    isa! { Zicbom;
        Any cbo_inval "000000000000 ..... 010 00000 0001111" Cbo |m, i| { m.call(helpers::CACHE_BLOCK, &[m.address(i.rs1, 0), m.k(m.place().word as u64)])?; };
        Any cbo_clean "000000000001 ..... 010 00000 0001111" Cbo |m, i| { m.call(helpers::CACHE_BLOCK, &[m.address(i.rs1, 0), m.k(m.place().word as u64)])?; };
        Any cbo_flush "000000000010 ..... 010 00000 0001111" Cbo |m, i| { m.call(helpers::CACHE_BLOCK, &[m.address(i.rs1, 0), m.k(m.place().word as u64)])?; };
    }
}

/// Cache-block zero.
pub mod zicboz {
    use crate::format::*;
    use crate::machine::{Machine, Meaning};
    use crate::table::isa;
    use ir::MemOp;
    isa! { Zicboz;
        Any cbo_zero "000000000100 ..... 010 00000 0001111" Cbo |m, i| zero(m, i.rs1)?;
    }
    /// A block of 64 bytes lies in one page: only the first store can fault.
    fn zero<M: Machine>(m: &M, rs1: u8) -> Meaning {
        if !m.place().mode.zeroes_blocks() {
            return m.illegal();
        }
        let block = m.address(rs1, 0) & m.k(!63);
        (0..8).try_for_each(|n| m.store(block + m.k(8 * n), m.k(0), MemOp::U64))
    }
}

/// Prefetch hints (special cases of `ori x0`).
pub mod zicbop {
    use crate::format::*;
    use crate::table::isa;
    isa! { Zicbop;
        Any prefetch_i "....... 00000 ..... 110 00000 0010011" Prefetch |m, i| ();
        Any prefetch_r "....... 00001 ..... 110 00000 0010011" Prefetch |m, i| ();
        Any prefetch_w "....... 00011 ..... 110 00000 0010011" Prefetch |m, i| ();
    }
}

/// May-be operations: write zero.
pub mod zimop {
    use crate::format::*;
    use crate::table::isa;
    isa! { Zimop;
        Any mop_r  "1.00 ..01 11.. ..... 100 ..... 1110011" R1 |m, i| m.set(i.rd, m.k(0));
        Any mop_rr "1.00 ..1 ..... ..... 100 ..... 1110011" R |m, i| m.set(i.rd, m.k(0));
    }
}
