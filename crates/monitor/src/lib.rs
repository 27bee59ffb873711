//! Looking at a machine and telling it what to do: the human monitor and the gdb stub.
#![forbid(unsafe_code)]

pub mod gdb;
