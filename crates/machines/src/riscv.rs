//! Boards with RISC-V harts.

mod boot;
mod harts;
mod htif;
pub mod none;
mod platform;
pub mod spike;
pub mod virt;
