//! The translating accelerator (`-accel tcg`).
//!
//! A guest's instructions become IR blocks ([`cpu::Guest::build`]), the passes shorten them (`opt`), the host crate makes
//! machine code of them, and this crate places it, finds it again, joins it together and runs it. `run.rs` is the
//! place to begin reading; then `tlb.rs` and `cache.rs`.
#![deny(unsafe_code)]

mod aside;
mod bus;
mod cache;
mod code;
mod fp;
mod heat;
mod hooks;
mod hot;
mod icount;
mod index;
mod mmu;
mod options;
mod perf;
mod persist;
mod profile;
mod raw;
mod region;
mod run;
mod settle;
mod shared;
mod splits;
mod symbols;
mod tlb;
mod trace;
mod verify;
mod walks;
mod watch;

pub use cache::{Cache, Counts};
pub use options::Options;
pub use run::Tcg;
pub use shared::Shared;
pub use symbols::Symbols;
pub use verify::VerifyCounts;

/// The trace points of this crate.
pub const TRACE: &[&base::trace::Points] = &[&trace::points::POINTS];
