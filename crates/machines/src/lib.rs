//! Boards and what they are delivered with: device trees, firmware and kernel loaders, and
//! the supervisor execution environment that stands in for firmware.

#![forbid(unsafe_code)]

mod board;
pub mod fdt;
pub mod loader;
mod machine;
pub mod riscv;
pub mod sbi;
mod sockets;

pub use board::{Board, Irq, Processors, ResetProcessor, Slot};
pub use machine::{Bios, MachineType, Setup, TYPES};
pub use sockets::{Arrivals, Sockets, is_for_pci};
