//! What a vCPU is, and who may run it.
//!
//! Three views of the same thing. An *accelerator* sees a [`Guest`]: a frame of slots that translated code works
//! on, instructions to build or to interpret, an MMU. A *monitor* or debugger sees a [`Cpu`]: registers by name,
//! addresses to translate. A *device* or another thread sees a [`CpuHandle`]: input lines, a kick, work to be done
//! on the vCPU's own thread.
//!
//! Nothing of a guest is touched outside its thread: whoever wants to look sends a closure ([`CpuHandle::run_on`]).
#![forbid(unsafe_code)]

mod breakpoint;
mod frame;
mod guest;
mod handle;
mod in_turn;
mod run_control;
mod run_state;
mod vcpu;
mod watchpoint;

pub use breakpoint::Breakpoints;
pub use frame::{Frame, INTERRUPT_EXIT, INTERRUPT_GUEST, INTERRUPT_LOOK, SITES};
pub use guest::{
    Access, Built, Cpu, Exit, Fetch, Flush, Guest, Helper, HelperFn, Mapping, Mmu, Register, RegisterSet,
    Space, Step, Stop, Table, Trap,
};
pub use handle::{CpuHandle, Cpus, Resume, SingleStep};
pub use in_turn::{Counter, spawn_in_turn};
pub use run_control::{Cause, Request, RunControl};
pub use run_state::RunState;
pub use vcpu::{Accelerator, spawn};
pub use watchpoint::{Watchpoint, Watchpoints};

/// The trace points of this crate.
pub const TRACE: &[&base::trace::Points] = &[&run_control::trace::POINTS, &vcpu::trace::POINTS];
