//! Boards and what they are delivered with: device trees, firmware and kernel loaders, and
//! the supervisor execution environment that stands in for firmware.

#![forbid(unsafe_code)]

pub mod fdt;
pub mod loader;
pub mod sbi;
