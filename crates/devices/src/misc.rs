//! What fits nowhere else.

pub mod platform_bus;
pub mod sifive_test;
