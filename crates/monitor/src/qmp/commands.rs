//! The commands of the machine protocol that need no more than a machine, by subject.

mod about;
mod absent;
mod base64;
mod block;
mod character;
mod control;
mod dump;
mod fd;
mod input;
mod iothread;
mod memory;
mod overlays;
mod qom;
mod run_state;

use crate::{Command, Context, hmp};
use macros::command;
use qapi::{Kind, Qapi, Schema, Value};

pub use control::{QMP_CAPABILITIES, greeting};
pub use dump::dump_guest_memory;
pub use qom::{qom_set, value_json};
pub use run_state::{ActionChange, Actions, PanicAction, RebootAction, ShutdownAction, WatchdogAction};

/// All lists of commands.
pub const LISTS: &[&[Command]] = &[
    about::COMMANDS,
    absent::COMMANDS,
    block::COMMANDS,
    character::COMMANDS,
    control::COMMANDS,
    dump::COMMANDS,
    fd::COMMANDS,
    input::COMMANDS,
    iothread::COMMANDS,
    memory::COMMANDS,
    overlays::COMMANDS,
    qom::COMMANDS,
    run_state::COMMANDS,
];

/// The tables of commands for people that stand beside these.
pub const HMP: &[&[hmp::Command]] = &[input::HMP, overlays::HMP];

/// The subcommands of `info` among them.
pub const INFO: &[&[hmp::Command]] = &[block::INFO];

/// An answer for people.
#[derive(Debug, Qapi)]
pub struct HumanReadableText {
    /// The text, lines ending in `\n`.
    pub human_readable_text: String,
}
