//! What fits nowhere else.

pub mod sifive_test;
