//! Looking at a machine and telling it what to do: the human monitor, the machine protocol, and the gdb stub.
#![forbid(unsafe_code)]

// The code that `#[command]` makes names this crate.
extern crate self as monitor;

#[cfg(test)]
mod bare;
mod command;
pub mod gdb;
pub mod hmp;
pub mod qmp;
mod vm;

pub use command::{Command, Commands, Context, Session};
pub use macros::command;
pub use vm::{Names, Vm, read_physical, read_virtual, write_physical, write_virtual};

/// The trace points of this crate.
pub const TRACE: &[&base::trace::Points] = &[&gdb::trace::POINTS, &trace::POINTS];

base::trace_points! {
    /// What is to be traced of the monitors.
    pub mod trace "handle" {
        /// A line for the human monitor.
        HMP_COMMAND "hmp_command",
        /// A command of the machine protocol.
        QMP_COMMAND "qmp_command",
    }
}
