//! The command lines, and the wiring of it all.
#![forbid(unsafe_code)]

pub mod options;
