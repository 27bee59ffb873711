//! Interrupt controllers.

pub mod riscv_aclint;
pub mod riscv_aplic;
pub mod riscv_imsic;
pub mod sifive_plic;
