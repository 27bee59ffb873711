//! `clabpu`, the CLab Processor Units: a board that is built up in a lecture series on how an emulator works, written here
//! as somebody outside the house would write it, with the public crates alone. The program takes it in by one line
//! (`MACHINE`, and [`types`] for its devices).
//!
//! ```text
//! 0x0000_1000  mask ROM, where the hart begins
//! 0x0100_0000  HTIF, the console
//! 0x0200_0000  CLINT: software interrupt, mtime
//! 0x0300_0000  interrupt controller (intc.rs)       --> machine external interrupt of the hart
//! 0x0300_1000  error detection: reg1, 0x0300_2000: err (edc.rs)   --> interrupt 1
//! 0x0300_3000  tick timer (timer.rs)                              --> interrupt 2
//! 0x0300_4000  PCI Express host bridge (pcihost.rs): address and data --> interrupts 3 to 6: INTA to INTD of device 0
//! 0x0301_0000  I/O ports of PCI Express
//! 0x3000_0000  configuration space of PCI Express
//! 0x4000_0000  memory of PCI Express, up to
//! 0x7fc0_0000  boot flash of the card at 00:01.0 (mxfc.rs)
//! 0x8000_0000  memory
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod edc;
mod intc;
mod machine;
mod mxfc;
mod pcihost;
mod timer;

pub use edc::Edc;
pub use intc::Intc;
pub use machine::MACHINE;
pub use mxfc::Mxfc;
use object::{Anatomy, TypeInfo};
pub use pcihost::{PciHost, PciRoot};
pub use timer::TickTimer;

/// The types of its devices.
pub fn types() -> [&'static TypeInfo; 6] {
    [Edc::TYPE, Intc::TYPE, Mxfc::TYPE, PciHost::TYPE, PciRoot::TYPE, TickTimer::TYPE]
}
