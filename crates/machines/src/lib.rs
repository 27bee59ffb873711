//! Boards and what they are delivered with: device trees, firmware and kernel loaders.

#![forbid(unsafe_code)]

pub mod fdt;
pub mod loader;
