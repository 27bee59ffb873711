//! Privileged instructions (Privileged ISA, chapters "Machine-Level ISA", "Supervisor-Level ISA", "Svinval").

use crate::format::*;
use crate::helpers;
use crate::machine::{Machine, Meaning};
use crate::mode::{M, S};
use crate::table::isa;

pub(super) fn fence_vma<T: Machine>(m: &T, i: R0) -> Meaning {
    if m.place().mode.privilege() < S {
        return m.illegal();
    }
    let which = (i.rs1 != 0) as u64 | ((i.rs2 != 0) as u64) << 1 | (m.place().word as u64) << 32;
    m.call(helpers::SFENCE_VMA, &[m.x(i.rs1), m.x(i.rs2), m.k(which)])?;
    m.resume()
}

/// Machine level.
pub mod machine {
    use super::*;
    isa! { I;
        Any mret "001100000010 00000 000 00000 1110011" Z |m, _i| {
            if m.place().mode.privilege() < super::M { return m.illegal() }
            m.call(helpers::MRET, &[])?;
            return m.resume()
        };
        Any wfi  "000100000101 00000 000 00000 1110011" Z |m, _i| {
            m.call(helpers::WFI, &[m.k(m.place().word as u64)])?;
            return m.resume()
        };
    }
}

/// Supervisor level.
pub mod supervisor {
    use super::*;
    isa! { S;
        Any sret "000100000010 00000 000 00000 1110011" Z |m, _i| {
            if m.place().mode.privilege() < super::S { return m.illegal() }
            m.call(helpers::SRET, &[m.k(m.place().word as u64)])?;
            return m.resume()
        };
        Any sfence_vma "0001001 ..... ..... 000 00000 1110011" R0 |m, i| return fence_vma(m, i);
    }
}

/// Fine-grained invalidation: the ordering instructions need nothing.
pub mod svinval {
    use super::*;
    isa! { Svinval;
        Any sinval_vma "0001011 ..... ..... 000 00000 1110011" R0 |m, i| return fence_vma(m, i);
        Any sfence_w_inval  "000110000000 00000 000 00000 1110011" Z |m, _i| if m.place().mode.privilege() < super::S { return m.illegal() };
        Any sfence_inval_ir "000110000001 00000 000 00000 1110011" Z |m, _i| if m.place().mode.privilege() < super::S { return m.illegal() };
    }
}
