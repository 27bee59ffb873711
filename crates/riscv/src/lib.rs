//! The RISC-V guest.
//!
//! An instruction is one row of a table ([`isa`]): a picture of its bits, its operands, its meaning. The meaning is
//! written once, over a [`machine::Machine`] whose values are numbers ([`interpret`]) or names in a block ([`build`]).
//! All guest-visible state lies in the slots of the vCPU's frame ([`slot`]).
#![forbid(unsafe_code)]

pub mod aia;
pub mod build;
pub mod config;
pub mod csr;
mod csr_table;
pub mod debug;
pub mod decode;
pub mod disassemble;
pub mod extension;
pub mod float;
pub mod format;
mod guest;
pub mod hart;
pub mod helpers;
pub mod interpret;
pub mod isa;
pub mod machine;
pub mod mmu;
pub mod mode;
pub mod models;
pub mod mstatus;
pub mod pmp;
pub mod slot;
pub mod table;
pub mod trap;
mod trigger;

pub use aia::InterruptFile;
pub use config::Config;
pub use extension::{Extension, Extensions, Kind};
pub use hart::{Hart, Platform};
pub use models::{CpuError, models, parse_cpu};
pub use slot::HartState;

/// The trace points of this crate.
pub const TRACE: &[&base::trace::Points] = &[&trap::trace::POINTS];

#[cfg(test)]
mod bus_test;
#[cfg(test)]
mod decode_test;
#[cfg(test)]
mod differential_test;
#[cfg(test)]
mod hart_test;
#[cfg(test)]
mod isa_test;
#[cfg(test)]
mod oracle_test;
