//! Looking at a machine and telling it what to do: the human monitor and the gdb stub.
#![forbid(unsafe_code)]

pub mod gdb;
pub mod hmp;
mod vm;

pub use vm::{Vm, read_physical, read_virtual, write_physical, write_virtual};
