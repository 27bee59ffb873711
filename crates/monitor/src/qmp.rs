//! The machine protocol: JSON messages on a character device, QEMU's QMP.
//!
//! A client's bytes are cut into messages (`stream.rs`), a message is taken apart and its command run (`session.rs`);
//! events go to all clients through the `hub`. A command is a function with `#[command]` that stands in a list.

mod commands;
pub mod event;
mod hub;
mod json;
mod preconfig;
mod session;

pub use commands::{
    ActionChange, Actions, HMP, HumanReadableText, INFO, LISTS, PanicAction, RebootAction, ShutdownAction,
    WatchdogAction, dump_guest_memory, qom_set, value_json,
};
pub use hub::Hub;
pub use json::write;
pub use session::Qmp;

/// All lists of events.
pub const EVENTS: &[&[qapi::EventInfo]] = &[event::EVENTS];
