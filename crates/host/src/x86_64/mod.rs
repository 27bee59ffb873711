//! Hosts of the x86-64 architecture.
//!
//! Conventions of translated code:
//! - `rbp` holds the state register, `rsp` is a multiple of 16 between instructions of the block.
//! - [`PINS`] hold the hottest slots wherever code of one block meets code of another, and the engine.
//! - In modes in which floats can be used, `XPINS` hold the hottest float slots in the same way. In the other modes no
//!   `xmm` register means anything; the memory of the slots does.
//! - `rax rcx rdx r11` and the other `xmm` registers are temporaries inside one block.
//! - In regions every register is one for values, and the pinned slots are wherever they are (`states.rs`), until the region is left or something
//!   is called that wants to see them.
//! - A hook sees every slot in the frame, but for [`crate::Hooks::attempt`]: the stubs store the pinned ones before they call.

mod alloc;
pub mod asm;
mod atomic;
mod cold;
mod control;
mod float;
mod forgive;
mod frame;
mod groups;
mod integer;
mod lower;
mod memory;
mod nan;
mod states;
mod xalloc;

pub use frame::emit_stubs;
pub use lower::Emitter;

use asm::reg::*;

/// Registers of pinned slots, in the order in which `Config::hot_slots` fills them.
pub const PINS: [u8; crate::PINNED] = [RBX, R12, R13, R14, R15, RSI, RDI, R8, R9, R10];
/// `xmm` registers of pinned float slots, in the order in which `Config::hot_floats` fills them.
pub(crate) const XPINS: [u8; crate::PINNED_FLOATS] = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// `xmm` registers below this one are temporaries.
pub(crate) const XTEMPS: u8 = 5;
/// Registers for values inside a block.
pub(crate) const TEMPS: u16 = 1 << RAX | 1 << RCX | 1 << RDX | 1 << R11;
/// Scratch word in which stubs take their first argument and leave the result.
pub(crate) const WORD_IMM: i32 = 4;
/// Scratch word in which a call that may trap leaves its instruction's offset from the page base.
pub(crate) const WORD_INSN: i32 = crate::SCRATCH_INSN as i32;
/// First scratch word in which stubs save temporaries.
pub(crate) const WORD_SAVE: i32 = 6;
/// First scratch word for spilled values.
pub(crate) const WORD_SPILL: i32 = 10;
/// Spills in scratch words; the rest lies on the host stack.
pub(crate) const FRAME_SPILLS: u32 = 16;
/// Spills altogether.
pub(crate) const SPILLS: u32 = 128;
