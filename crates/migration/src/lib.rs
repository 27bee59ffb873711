//! Snapshots and live migration.
//!
//! ```text
//! Machine --capture--> stream with an index --Image--> Machine::restore, Machine::rewind
//!    |                        |
//!    |                        +-- Store: files by tag
//!    +--- Outgoing (rounds) --> stream --> Incoming
//! ```
//! A [`Machine`] is what can be saved: memory blocks, processors, devices. The stream ([`stream`]) is the same for
//! snapshots and migration; a snapshot has an index at its end, by which pages are read one by one.
#![forbid(unsafe_code)]

/// The trace points of this crate.
pub const TRACE: &[&base::trace::Points] = &[&trace::POINTS];

base::trace_points! {
    /// What is to be traced of saving and moving a machine.
    pub mod trace "migration" {
        /// A part is saved; until it is.
        SAVE_SECTION "save_section",
        /// A part is loaded; until it is.
        LOAD_SECTION "load_section",
        /// A round over the memory, until it is sent.
        ROUND "round",
        /// The last part, for which the machine stands still.
        FINISH "finish",
    }
}

mod capture;
mod channel;
mod dump;
mod image;
mod incoming;
mod machine;
mod origin;
mod outgoing;
pub mod page;
pub mod pages;
mod progress;
mod restore;
mod store;
pub mod stream;

pub use capture::capture;
pub use channel::{Place, Sink, Source};
pub use dump::dump;
pub use image::Image;
pub use incoming::receive;
pub use machine::{Machine, Parts};
pub use origin::Origin;
pub use outgoing::{Driver, Last, send};
pub use progress::{Counts, Limits, Progress, Status};
pub use store::{Draft, Entry, Store, utc};
