//! mstatus, kept in its RV64 layout (Privileged ISA, section "Machine Status Registers").

use crate::config::Config;
use crate::extension::Extension;
use crate::hart::Hart;
use crate::mode::{M, S, U};
use crate::slot;

/// Supervisor interrupts enabled.
pub const SIE: u64 = 1 << 1;
/// Machine interrupts enabled.
pub const MIE: u64 = 1 << 3;
/// SIE before the trap.
pub const SPIE: u64 = 1 << 5;
/// MIE before the trap.
pub const MPIE: u64 = 1 << 7;
/// Privilege before the trap into S.
pub const SPP: u64 = 1 << 8;
/// Privilege before the trap into M.
pub const MPP: u64 = 3 << 11;
/// Float unit state.
pub const FS: u64 = 3 << 13;
/// Loads and stores with the privilege MPP.
pub const MPRV: u64 = 1 << 17;
/// S may access user pages.
pub const SUM: u64 = 1 << 18;
/// Executable pages are readable.
pub const MXR: u64 = 1 << 19;
/// satp and sfence.vma trap in S.
pub const TVM: u64 = 1 << 20;
/// wfi traps.
pub const TW: u64 = 1 << 21;
/// sret traps in S.
pub const TSR: u64 = 1 << 22;
/// UXL.
pub const UXL: u64 = 3 << 32;
/// SXL.
pub const SXL: u64 = 3 << 34;
/// Some state is dirty.
pub const SD: u64 = 1 << 63;

/// What S sees of it.
pub const SSTATUS: u64 = SIE | SPIE | SPP | FS | SUM | MXR | UXL | SD;

/// Value after reset: XLEN 64 in U and S where these exist.
pub fn reset(config: &Config) -> u64 {
    if config.rv32() {
        return 0;
    }
    let mut v = 0;
    if config.has(Extension::U) {
        v |= 2 << 32;
    }
    if config.has(Extension::S) {
        v |= 2 << 34;
    }
    v
}

/// Bits that software can write.
fn writable(config: &Config) -> u64 {
    let mut mask = MIE | MPIE;
    if config.has(Extension::U) {
        mask |= MPP | MPRV | TW;
    }
    if config.has(Extension::S) {
        mask |= SIE | SPIE | SPP | SUM | MXR | TVM | TSR;
    }
    if config.has(Extension::F) {
        mask |= FS;
    }
    mask
}

/// Whether a privilege level exists.
pub fn exists(config: &Config, privilege: u64) -> bool {
    match privilege as u8 {
        M => true,
        S => config.has(Extension::S),
        U => config.has(Extension::U),
        _ => false,
    }
}

/// Writes the bits in `mask`.
pub fn write(h: &mut Hart, value: u64, mask: u64) {
    let old = h.get(slot::MSTATUS);
    let mut mask = mask & writable(&h.config);
    if !exists(&h.config, value >> 11 & 3) {
        mask &= !MPP;
    }
    put(h, old & !mask | value & mask);
    if (value ^ old) & mask & (SIE | MIE) != 0 {
        h.look();
    }
}

/// Stores a value that is legal, with SD brought up to date.
pub fn put(h: &mut Hart, v: u64) {
    let sd = if v & FS == FS { SD } else { 0 };
    h.put(slot::MSTATUS, v & !SD | sd);
    h.update_mode();
}

/// The low word as RV32 sees it, with SD in bit 31.
pub fn narrow(v: u64) -> u64 {
    v & 0x7fff_ffff | v >> 63 << 31
}
