//! Zalrsc, Zaamo, Zacas, Zabha's word and doubleword forms: atomics (Unprivileged ISA, chapters "A" and "Zacas").
//!
//! A reservation remembers the address and what was read there; the conditional store compares and swaps. Acquire and
//! release need nothing: every atomic of the host is sequentially consistent.

use crate::format::*;
use crate::helpers;
use crate::machine::{Machine, Meaning};
use crate::slot;
use ir::{Int, MemOp};

fn load_reserved<M: Machine>(m: &M, i: Lr, op: MemOp) -> Meaning {
    let a = m.address(i.rs1, 0);
    let v = m.amo(ir::ALIGNED_LOAD, a, m.k(0), op)?;
    m.put(slot::RESERVATION, a);
    m.put(slot::RESERVED_VALUE, v);
    m.set(i.rd, v);
    Ok(())
}

fn store_conditional<M: Machine>(m: &M, i: A, op: MemOp) -> Meaning {
    let a = m.address(i.rs1, 0);
    let reserved = a.eq(m.get(slot::RESERVATION));
    let failed = m.store_conditional(reserved, a, m.get(slot::RESERVED_VALUE), m.x(i.rs2), op)?;
    m.put(slot::RESERVATION, m.k(u64::MAX));
    m.set(i.rd, failed);
    Ok(())
}

fn amo<M: Machine>(m: &M, kind: u8, i: A, op: MemOp) -> Meaning {
    let old = m.amo(kind, m.address(i.rs1, 0), m.x(i.rs2), op)?;
    m.set(i.rd, old);
    Ok(())
}

fn amocas<M: Machine>(m: &M, i: A, op: MemOp) -> Meaning {
    let old = m.cas(m.address(i.rs1, 0), m.x(i.rd), m.x(i.rs2), op)?;
    m.set(i.rd, old);
    Ok(())
}

/// Load-reserved and store-conditional.
pub mod zalrsc {
    use super::*;
    use crate::table::isa;
    isa! { Zalrsc;
        Any  lr_w "00010 .. 00000 ..... 010 ..... 0101111" Lr |m, i| load_reserved(m, i, MemOp::S32)?;
        Rv64 lr_d "00010 .. 00000 ..... 011 ..... 0101111" Lr |m, i| load_reserved(m, i, MemOp::U64)?;
        Any  sc_w "00011 .. ..... ..... 010 ..... 0101111" A  |m, i| super::store_conditional(m, i, MemOp::S32)?;
        Rv64 sc_d "00011 .. ..... ..... 011 ..... 0101111" A  |m, i| super::store_conditional(m, i, MemOp::U64)?;
    }
}

/// Read-modify-write.
pub mod zaamo {
    use super::*;
    use crate::table::isa;
    isa! { Zaamo;
        Any  amoswap_w "00001 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 0, i, MemOp::S32)?;
        Any  amoadd_w  "00000 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 1, i, MemOp::S32)?;
        Any  amoxor_w  "00100 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 2, i, MemOp::S32)?;
        Any  amoand_w  "01100 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 3, i, MemOp::S32)?;
        Any  amoor_w   "01000 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 4, i, MemOp::S32)?;
        Any  amomin_w  "10000 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 5, i, MemOp::S32)?;
        Any  amomax_w  "10100 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 6, i, MemOp::S32)?;
        Any  amominu_w "11000 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 7, i, MemOp::S32)?;
        Any  amomaxu_w "11100 .. ..... ..... 010 ..... 0101111" A |m, i| amo(m, 8, i, MemOp::S32)?;
        Rv64 amoswap_d "00001 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 0, i, MemOp::U64)?;
        Rv64 amoadd_d  "00000 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 1, i, MemOp::U64)?;
        Rv64 amoxor_d  "00100 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 2, i, MemOp::U64)?;
        Rv64 amoand_d  "01100 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 3, i, MemOp::U64)?;
        Rv64 amoor_d   "01000 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 4, i, MemOp::U64)?;
        Rv64 amomin_d  "10000 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 5, i, MemOp::U64)?;
        Rv64 amomax_d  "10100 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 6, i, MemOp::U64)?;
        Rv64 amominu_d "11000 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 7, i, MemOp::U64)?;
        Rv64 amomaxu_d "11100 .. ..... ..... 011 ..... 0101111" A |m, i| amo(m, 8, i, MemOp::U64)?;
    }
}

/// Compare and swap. The pairs live in even/odd registers; x0 as a pair reads as zero and is not written.
pub mod zacas {
    use super::*;
    use crate::table::isa;
    isa! { Zacas;
        Any  amocas_w "00101 .. ..... ..... 010 ..... 0101111" A |m, i| amocas(m, i, MemOp::S32)?;
        Rv64 amocas_d "00101 .. ..... ..... 011 ..... 0101111" A |m, i| super::amocas(m, i, MemOp::U64)?;
        Rv32 amocas_d_pair "00101 .. ..... ..... 011 ..... 0101111" A |m, i| {
            if (i.rd | i.rs2) & 1 != 0 { return m.illegal() }
            m.call(helpers::CAS_PAIR, &[m.address(i.rs1, 0), m.k(i.rd as u64), m.k(i.rs2 as u64)])?
        };
        Rv64 amocas_q "00101 .. ..... ..... 100 ..... 0101111" A |m, i| {
            if (i.rd | i.rs2) & 1 != 0 { return m.illegal() }
            m.call(helpers::CAS_PAIR, &[m.address(i.rs1, 0), m.k(i.rd as u64), m.k(i.rs2 as u64)])?
        };
    }
}
