//! The human monitor: a prompt on a character device.
//!
//! A command is one function with typed arguments; the table in `commands.rs` names it, its parameters and its help
//! in one place. Words and layout are those of QEMU 10.0.2's monitor.

mod arguments;
mod commands;
mod completion;
mod dump;
mod expression;
mod info;
mod line;
mod machine;
mod session;

pub use arguments::{Argument, Arguments, Format, Number, Rest, Size, Switches, Word, argument};
pub use commands::{COMMANDS, Command, INFO, failed, refused};
pub use session::{Executor, Monitor};
