//! Registers as gdb numbers them: 0-31 x, 32 pc, 33-64 f, 65 privilege, 66 + number the CSRs.

use crate::config::Config;
use crate::csr;
use crate::extension::Extension;
use crate::format::{F_NAMES, X_NAMES};
use crate::hart::Hart;
use crate::{mstatus, slot};
use cpu::{Cpu, Register, RegisterSet};

const PC: usize = 32;
const F: usize = 33;
const PRIVILEGE: usize = 65;
const CSR: usize = 66;

/// The register sets of a model.
pub fn register_sets(config: &Config) -> Vec<RegisterSet> {
    let bits = config.xlen();
    let rv32 = config.rv32();
    let mut integer: Vec<Register> = X_NAMES
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let kind = match n {
                1 => "code_ptr",
                2..=4 | 8 => "data_ptr",
                _ => "int",
            };
            let name = if n == 8 { "fp" } else { name };
            Register { name, bits, kind, number: n }
        })
        .collect();
    integer.push(Register { name: "pc", bits, kind: "code_ptr", number: PC });
    let mut sets = vec![RegisterSet {
        feature: "org.gnu.gdb.riscv.cpu",
        file: if rv32 { "riscv-32bit-cpu.xml" } else { "riscv-64bit-cpu.xml" },
        first: 0,
        registers: integer,
    }];
    if config.has(Extension::F) {
        let (bits, kind, file) = if config.has(Extension::D) {
            (64, "riscv_double", "riscv-64bit-fpu.xml")
        } else {
            (32, "ieee_single", "riscv-32bit-fpu.xml")
        };
        let float = |(n, name): (usize, &&'static str)| Register { name, bits, kind, number: F + n };
        let registers = F_NAMES.iter().enumerate().map(float).collect();
        sets.push(RegisterSet { feature: "org.gnu.gdb.riscv.fpu", file, first: F, registers });
    }
    sets.push(RegisterSet {
        feature: "org.gnu.gdb.riscv.virtual",
        file: if rv32 { "riscv-32bit-virtual.xml" } else { "riscv-64bit-virtual.xml" },
        first: PRIVILEGE,
        registers: vec![Register { name: "priv", bits, kind: "", number: PRIVILEGE }],
    });
    // QEMU lists stimecmp only once firmware has enabled it; its number can be read all the same.
    let listed = |r: &&csr::Csr| r.need.exists(config.isa()) && r.need != csr::Need::Stimecmp;
    let mut rows: Vec<&csr::Csr> = csr::ROWS.iter().filter(listed).collect();
    rows.sort_by_key(|r| r.number);
    let registers = rows
        .into_iter()
        .map(|r| Register { name: r.name, bits, kind: "int", number: CSR + r.number as usize })
        .collect();
    sets.push(RegisterSet { feature: "org.gnu.gdb.riscv.csr", file: "riscv-csr.xml", first: CSR, registers });
    sets
}

/// Reads register `n`.
pub fn read(h: &mut Hart, n: usize) -> Option<u64> {
    let v = match n {
        0..PC => h.x(n as u8),
        PC => h.pc(),
        F..PRIVILEGE => h.get(slot::F0 + (n - F) as u16),
        PRIVILEGE => h.privilege() as u64,
        _ => {
            let row = csr::find(u16::try_from(n - CSR).ok().filter(|n| *n < 4096)?)?;
            if !row.need.exists(h.config.isa()) {
                return None;
            }
            csr::read(h, row)
        }
    };
    Some(v)
}

/// Writes register `n`.
pub fn write(h: &mut Hart, n: usize, v: u64) -> bool {
    match n {
        0..PC => h.set_x(n as u8, v),
        PC => h.set_pc(v),
        F..PRIVILEGE => h.put(slot::F0 + (n - F) as u16, v),
        PRIVILEGE => {
            if !mstatus::exists(&h.config, v) {
                return false;
            }
            h.set_privilege(v as u8);
            h.refresh();
        }
        _ => {
            let row = u16::try_from(n - CSR).ok().filter(|n| *n < 4096).and_then(csr::find);
            let Some(row) = row.filter(|r| r.need.exists(h.config.isa())) else { return false };
            csr::store(h, row, v);
            h.refresh();
        }
    }
    true
}

#[cfg(test)]
#[path = "debug_test.rs"]
mod test;
