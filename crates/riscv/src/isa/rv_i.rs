//! RV32I and RV64I base instructions (Unprivileged ISA, chapters 2 and 4).

use crate::format::*;
use crate::helpers;
use crate::machine::{Machine, Meaning};
use crate::table::isa;
use ir::{Int, Int32, Int64, MemOp};

/// Hint of an indirect jump: x1 and x5 are link registers (Unprivileged ISA, table "Return-address stack prediction
/// hints").
fn hint(rd: u8, rs1: u8) -> u64 {
    match (is_link(rd), is_link(rs1)) {
        (true, _) => 1,
        (false, true) => 2,
        _ => 0,
    }
}

/// Registers that hold return addresses by convention (Unprivileged ISA, 2.5.1, table of return-address stack hints).
fn is_link(r: u8) -> bool {
    r == 1 || r == 5
}

/// Sets the link register of a jump.
fn link<M: Machine>(m: &M, rd: u8) {
    let next = m.pc_plus(m.place().length);
    m.set(rd, next);
    if is_link(rd) {
        m.returns_here(next);
    }
}

/// Branches if `c`; without C a target that is not a multiple of 4 traps.
fn branch<M: Machine>(m: &M, c: M::B, offset: i64) -> Meaning {
    if offset & 2 != 0 && !m.place().isa.compressed() {
        m.call(helpers::MISALIGNED_BRANCH, &[m.truth(c), m.pc_plus(offset)])?;
    }
    m.branch(c, offset);
    Ok(())
}

/// A word, sign-extended.
fn word<M: Machine>(m: &M, r: u8) -> M::W {
    m.x(r).lo()
}

isa! { I;
    Any lui   "....................    ..... 0110111" U   |m, i| m.set(i.rd, m.k(i.imm));
    Any auipc "....................    ..... 0010111" UPc |m, i| m.set(i.rd, m.pc_plus(i.imm as i64));
    Any jal   "....................    ..... 1101111" J   |m, i| {
        if i.offset & 2 != 0 && !m.place().isa.compressed() {
            m.call(helpers::MISALIGNED_BRANCH, &[m.k(1), m.pc_plus(i.offset)])?;
        }
        link(m, i.rd);
        m.goto(i.offset)
    };
    Any jalr  "............ ..... 000  ..... 1100111" L   |m, i| {
        let target = m.address(i.rs1, i.imm) & m.k(!1);
        if !m.place().isa.compressed() {
            m.call(helpers::MISALIGNED_BRANCH, &[(target >> m.k(1)) & m.k(1), target])?;
        }
        link(m, i.rd);
        m.jump(target, hint(i.rd, i.rs1))
    };
    Any beq   "....... ..... ..... 000 ..... 1100011" B   |m, i| branch(m, m.x(i.rs1).eq(m.x(i.rs2)), i.offset)?;
    Any bne   "....... ..... ..... 001 ..... 1100011" B   |m, i| branch(m, !m.x(i.rs1).eq(m.x(i.rs2)), i.offset)?;
    Any blt   "....... ..... ..... 100 ..... 1100011" B   |m, i| branch(m, m.x(i.rs1).lt_s(m.x(i.rs2)), i.offset)?;
    Any bge   "....... ..... ..... 101 ..... 1100011" B   |m, i| branch(m, !m.x(i.rs1).lt_s(m.x(i.rs2)), i.offset)?;
    Any bltu  "....... ..... ..... 110 ..... 1100011" B   |m, i| branch(m, m.x(i.rs1).lt_u(m.x(i.rs2)), i.offset)?;
    Any bgeu  "....... ..... ..... 111 ..... 1100011" B   |m, i| branch(m, !m.x(i.rs1).lt_u(m.x(i.rs2)), i.offset)?;
    Any lb    "............ ..... 000  ..... 0000011" L   |m, i| m.set(i.rd, m.load(m.address(i.rs1, i.imm), MemOp::S8)?);
    Any lh    "............ ..... 001  ..... 0000011" L   |m, i| m.set(i.rd, m.load(m.address(i.rs1, i.imm), MemOp::S16)?);
    Any lw    "............ ..... 010  ..... 0000011" L   |m, i| m.set(i.rd, m.load(m.address(i.rs1, i.imm), MemOp::S32)?);
    Rv64 ld   "............ ..... 011  ..... 0000011" L   |m, i| m.set(i.rd, m.load(m.address(i.rs1, i.imm), MemOp::U64)?);
    Any lbu   "............ ..... 100  ..... 0000011" L   |m, i| m.set(i.rd, m.load(m.address(i.rs1, i.imm), MemOp::U8)?);
    Any lhu   "............ ..... 101  ..... 0000011" L   |m, i| m.set(i.rd, m.load(m.address(i.rs1, i.imm), MemOp::U16)?);
    Rv64 lwu  "............ ..... 110  ..... 0000011" L   |m, i| m.set(i.rd, m.load(m.address(i.rs1, i.imm), MemOp::U32)?);
    Any sb    "....... ..... ..... 000 ..... 0100011" S   |m, i| m.store(m.address(i.rs1, i.imm), m.x(i.rs2), MemOp::U8)?;
    Any sh    "....... ..... ..... 001 ..... 0100011" S   |m, i| m.store(m.address(i.rs1, i.imm), m.x(i.rs2), MemOp::U16)?;
    Any sw    "....... ..... ..... 010 ..... 0100011" S   |m, i| m.store(m.address(i.rs1, i.imm), m.x(i.rs2), MemOp::U32)?;
    Rv64 sd   "....... ..... ..... 011 ..... 0100011" S   |m, i| m.store(m.address(i.rs1, i.imm), m.x(i.rs2), MemOp::U64)?;
    Any addi  "............ ..... 000  ..... 0010011" I   |m, i| m.set(i.rd, m.x(i.rs1) + m.k(i.imm));
    Any slti  "............ ..... 010  ..... 0010011" I   |m, i| m.set(i.rd, m.truth(m.x(i.rs1).lt_s(m.k(i.imm))));
    Any sltiu "............ ..... 011  ..... 0010011" I   |m, i| m.set(i.rd, m.truth(m.x(i.rs1).lt_u(m.k(i.imm))));
    Any xori  "............ ..... 100  ..... 0010011" I   |m, i| m.set(i.rd, m.x(i.rs1) ^ m.k(i.imm));
    Any ori   "............ ..... 110  ..... 0010011" I   |m, i| m.set(i.rd, m.x(i.rs1) | m.k(i.imm));
    Any andi  "............ ..... 111  ..... 0010011" I   |m, i| m.set(i.rd, m.x(i.rs1) & m.k(i.imm));
    Any slli  "000000 ...... ..... 001 ..... 0010011" Sh  |m, i| {
        if m.rv32() && i.sh > 31 { return m.illegal() }
        m.set(i.rd, m.x(i.rs1) << m.k(i.sh))
    };
    Any srli  "000000 ...... ..... 101 ..... 0010011" Sh  |m, i| {
        if m.rv32() && i.sh > 31 { return m.illegal() }
        m.set(i.rd, m.ux(i.rs1) >> m.k(i.sh))
    };
    Any srai  "010000 ...... ..... 101 ..... 0010011" Sh  |m, i| {
        if m.rv32() && i.sh > 31 { return m.illegal() }
        m.set(i.rd, m.x(i.rs1).sar(m.k(i.sh)))
    };
    Any add   "0000000 ..... ..... 000 ..... 0110011" R   |m, i| m.set(i.rd, m.x(i.rs1) + m.x(i.rs2));
    Any sub   "0100000 ..... ..... 000 ..... 0110011" R   |m, i| m.set(i.rd, m.x(i.rs1) - m.x(i.rs2));
    Any sll   "0000000 ..... ..... 001 ..... 0110011" R   |m, i| m.set(i.rd, m.x(i.rs1) << m.count(i.rs2));
    Any slt   "0000000 ..... ..... 010 ..... 0110011" R   |m, i| m.set(i.rd, m.truth(m.x(i.rs1).lt_s(m.x(i.rs2))));
    Any sltu  "0000000 ..... ..... 011 ..... 0110011" R   |m, i| m.set(i.rd, m.truth(m.x(i.rs1).lt_u(m.x(i.rs2))));
    Any xor   "0000000 ..... ..... 100 ..... 0110011" R   |m, i| m.set(i.rd, m.x(i.rs1) ^ m.x(i.rs2));
    Any srl   "0000000 ..... ..... 101 ..... 0110011" R   |m, i| m.set(i.rd, m.ux(i.rs1) >> m.count(i.rs2));
    Any sra   "0100000 ..... ..... 101 ..... 0110011" R   |m, i| m.set(i.rd, m.x(i.rs1).sar(m.count(i.rs2)));
    Any or    "0000000 ..... ..... 110 ..... 0110011" R   |m, i| m.set(i.rd, m.x(i.rs1) | m.x(i.rs2));
    Any and   "0000000 ..... ..... 111 ..... 0110011" R   |m, i| m.set(i.rd, m.x(i.rs1) & m.x(i.rs2));
    Rv64 addiw "............ ..... 000  ..... 0011011" I  |m, i| m.set(i.rd, (word(m, i.rs1) + m.k(i.imm).lo()).sx());
    Rv64 slliw "0000000 ..... ..... 001 ..... 0011011" ShW |m, i| m.set(i.rd, (word(m, i.rs1) << m.k(i.sh).lo()).sx());
    Rv64 srliw "0000000 ..... ..... 101 ..... 0011011" ShW |m, i| m.set(i.rd, (word(m, i.rs1) >> m.k(i.sh).lo()).sx());
    Rv64 sraiw "0100000 ..... ..... 101 ..... 0011011" ShW |m, i| m.set(i.rd, word(m, i.rs1).sar(m.k(i.sh).lo()).sx());
    Rv64 addw  "0000000 ..... ..... 000 ..... 0111011" R  |m, i| m.set(i.rd, (word(m, i.rs1) + word(m, i.rs2)).sx());
    Rv64 subw  "0100000 ..... ..... 000 ..... 0111011" R  |m, i| m.set(i.rd, (word(m, i.rs1) - word(m, i.rs2)).sx());
    Rv64 sllw  "0000000 ..... ..... 001 ..... 0111011" R  |m, i| m.set(i.rd, (word(m, i.rs1) << word(m, i.rs2)).sx());
    Rv64 srlw  "0000000 ..... ..... 101 ..... 0111011" R  |m, i| m.set(i.rd, (word(m, i.rs1) >> word(m, i.rs2)).sx());
    Rv64 sraw  "0100000 ..... ..... 101 ..... 0111011" R  |m, i| m.set(i.rd, word(m, i.rs1).sar(word(m, i.rs2)).sx());
    // Hosts order all but a store before a later load (x86's TSO), so only such fences cost anything.
    Any fence  "............ ..... 000  ..... 0001111" Fence |m, i| if i.predecessor & 5 != 0 && i.successor & 10 != 0 { m.fence() };
    Any fence_tso "1000 0011 0011 ..... 000 ..... 0001111" Z |m, i| ();
    Any ecall  "000000000000 00000 000 00000 1110011" Z   |m, i| { m.call(helpers::ECALL, &[])?; return m.resume() };
    Any ebreak "000000000001 00000 000 00000 1110011" Z   |m, i| { m.call(helpers::EBREAK, &[])?; return m.resume() };
}
