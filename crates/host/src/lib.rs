//! From the intermediate language to machine code of the host.
//!
//! This crate produces bytes and the tables that belong to them; it neither owns nor enters code memory. The
//! engine places the bytes, links blocks by patching, and supplies the functions ([`Hooks`]) that the slow
//! paths call. The contract between the two is in the types of this file.
//!
//! One code memory begins with the common code that [`emit_stubs`] makes; every block lies within 2 GiB of it.
#![forbid(unsafe_code)]

mod contract;
pub mod x86_64;

pub use contract::*;
pub use x86_64::{Emitter, emit_stubs};
