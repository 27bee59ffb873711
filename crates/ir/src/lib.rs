//! The intermediate language: what a guest instruction means, before any host is chosen.
//!
//! A [`Block`] is one straight line of typed instructions in single-assignment form. Guest state is reached
//! through numbered 64-bit *slots* ([`Op::Get`], [`Op::Set`]), guest memory through [`Op::Load`] and
//! [`Op::Store`], everything that is not arithmetic through [`Op::Call`]. A block may be left in the middle
//! ([`Op::ExitIf`]) and ends in exactly one terminal ([`Op::Goto`], [`Op::Jump`], [`Op::Leave`]).
//!
//! Guest addresses of code never appear as absolute numbers: they are offsets from the virtual address of the
//! page in which the block begins ([`Op::PcRel`], [`Op::Goto`]), so that one translation serves every virtual
//! mapping of its physical page.
#![forbid(unsafe_code)]

mod block;
pub mod builder;
pub mod eval;
pub mod num;
mod op;
pub mod text;
mod value;
pub mod verify;

/// The [`Op::Amo`] that stores nothing.
pub const ALIGNED_LOAD: u8 = 9;

pub use block::{Block, Inst, MemOp, Val};
pub use builder::{Builder, SLOTS, V};
pub use num::{Bit, N32, N64};
pub use op::{Arg, Effects, Op, Ret, Ty};
pub use value::{Int, Int32, Int64};

/// What a block needs to know of an ordinary function that it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelperInfo {
    /// Name in the text form.
    pub name: &'static str,
    /// How many 64-bit arguments it takes, at most four.
    pub args: u8,
    /// Whether the result is used.
    pub returns: bool,
    /// What it may do to the state around it.
    pub effects: HelperEffects,
}

/// What a called function may do besides returning a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HelperEffects {
    /// Nothing: the result depends on the arguments alone, and the call may be dropped or folded.
    Pure,
    /// It touches guest state that no slot shows (flags, counters), but no slot, and it cannot trap.
    Hidden,
    /// It may trap, read the pc, and read or write any slot.
    Any,
}
