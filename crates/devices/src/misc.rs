//! What fits nowhere else.

pub mod edu;
pub mod pci_testdev;
pub mod platform_bus;
pub mod pvpanic;
pub mod sifive_test;

#[cfg(test)]
mod small_test;
