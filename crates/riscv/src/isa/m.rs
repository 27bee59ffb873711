//! Zmmul and M: multiplication and division (Unprivileged ISA, chapter "M" Extension).

/// Multiplication.
pub mod zmmul {
    use crate::format::*;
    use crate::table::isa;
    use ir::{Int, Int32, Int64};

    isa! { Zmmul;
        Any mul    "0000001 ..... ..... 000 ..... 0110011" R |m, i| m.set(i.rd, m.x(i.rs1) * m.x(i.rs2));
        Any mulh   "0000001 ..... ..... 001 ..... 0110011" R |m, i| m.set(i.rd, if m.rv32() { (m.x(i.rs1) * m.x(i.rs2)).sar(m.k(32)) } else { m.x(i.rs1).mulh_ss(m.x(i.rs2)) });
        Any mulhsu "0000001 ..... ..... 010 ..... 0110011" R |m, i| m.set(i.rd, if m.rv32() { (m.x(i.rs1) * m.ux(i.rs2)).sar(m.k(32)) } else { m.x(i.rs1).mulh_su(m.x(i.rs2)) });
        Any mulhu  "0000001 ..... ..... 011 ..... 0110011" R |m, i| m.set(i.rd, if m.rv32() { (m.ux(i.rs1) * m.ux(i.rs2)) >> m.k(32) } else { m.x(i.rs1).mulh_uu(m.x(i.rs2)) });
        Rv64 mulw  "0000001 ..... ..... 000 ..... 0111011" R |m, i| m.set(i.rd, (m.x(i.rs1).lo() * m.x(i.rs2).lo()).sx());
    }
}

/// Division.
pub mod div {
    use crate::format::*;
    use crate::table::isa;
    use ir::{Int, Int32, Int64};

    isa! { M;
        Any div    "0000001 ..... ..... 100 ..... 0110011" R |m, i| m.set(i.rd, m.x(i.rs1).div_s(m.x(i.rs2)));
        Any divu   "0000001 ..... ..... 101 ..... 0110011" R |m, i| m.set(i.rd, m.ux(i.rs1).div_u(m.ux(i.rs2)));
        Any rem    "0000001 ..... ..... 110 ..... 0110011" R |m, i| m.set(i.rd, m.x(i.rs1).rem_s(m.x(i.rs2)));
        Any remu   "0000001 ..... ..... 111 ..... 0110011" R |m, i| m.set(i.rd, m.ux(i.rs1).rem_u(m.ux(i.rs2)));
        Rv64 divw  "0000001 ..... ..... 100 ..... 0111011" R |m, i| m.set(i.rd, m.x(i.rs1).lo().div_s(m.x(i.rs2).lo()).sx());
        Rv64 divuw "0000001 ..... ..... 101 ..... 0111011" R |m, i| m.set(i.rd, m.x(i.rs1).lo().div_u(m.x(i.rs2).lo()).sx());
        Rv64 remw  "0000001 ..... ..... 110 ..... 0111011" R |m, i| m.set(i.rd, m.x(i.rs1).lo().rem_s(m.x(i.rs2).lo()).sx());
        Rv64 remuw "0000001 ..... ..... 111 ..... 0111011" R |m, i| m.set(i.rd, m.x(i.rs1).lo().rem_u(m.x(i.rs2).lo()).sx());
    }
}
