//! What is saved of the machine, and how it is written.
//!
//! The guest-visible state of a device or a processor is one plain struct deriving [`State`]. It is written
//! as a *section*: name, instance, version, a [`Description`] of its fields, then the fields. The reader
//! compares the description with its own before it reads anything, so a stream from another build is refused
//! with the name of the field that differs, not half loaded.
//!
//! - **Versions.** A field added later says `#[state(since = 3)]`; older streams from `minimum` on still load,
//!   and the field keeps the value it has (reset the device before loading).
//! - **Subsections** are written only when needed (`needed = ..`), and so keep streams readable by builds that
//!   do not know them as long as the guest does not use the feature.
//! - **Not saved** must be said: `#[state(skip = "reason")]`. A field that is neither breaks the build.
//!
//! ```compile_fail,E0277
//! #[derive(state::State)]
//! struct Registers {
//!     control: u32,
//!     opened: std::time::Instant, // cannot be saved
//! }
//! ```
//! ```compile_fail
//! #[derive(state::State)]
//! struct Registers {
//!     #[state(skip = "")] // says no reason
//!     opened: u32,
//! }
//! ```
//! ```
//! #[derive(state::State)]
//! struct Registers {
//!     control: u32,
//!     #[state(skip = "only for the log")]
//!     opened: std::time::Instant,
//! }
//! ```
//!
//! All numbers are big-endian, as in QEMU's streams; the format as a whole is our own.

#![forbid(unsafe_code)]

// The derives name this crate absolutely, also inside of it.
extern crate self as state;

mod description;
mod error;
mod fields;
mod loader;
mod saved;
mod saver;
mod tree;

pub use description::{Description, FieldDescription, FieldType, SubsectionDescription};
pub use error::StateError;
pub use loader::Loader;
pub use macros::State;
pub use saved::Saved;
pub use saver::{Saver, Subsections};
pub use tree::print;

/// A type with a name and a version whose fields are saved. Derive it.
pub trait State {
    /// Name of the section, or of the structure when it is nested in another.
    const NAME: &'static str;
    /// The version that is written.
    const VERSION: u32;
    /// The oldest version that can be read.
    const MINIMUM_VERSION: u32;
    /// Writes the fields and then the subsections that are needed.
    fn save(&self, out: &mut Saver);
    /// Reads what [`State::save`] of the stream's version wrote. After an error the value may be half loaded.
    fn load(&mut self, from: &mut Loader<'_>) -> Result<(), StateError>;
    /// Lists the fields and subsections.
    fn describe(d: &mut Description);
}

/// A type that can be a field of a [`State`]: numbers, `bool`, `String`, arrays, `Vec`, `VecDeque`, `Option`,
/// `BTreeMap`, tuples, atomics, other `State` structs and enums of unit variants that derive it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be saved",
    note = "derive `State` for it, or write #[state(skip = \"reason\")] on the field"
)]
pub trait Field {
    /// Writes the value.
    fn save_field(&self, out: &mut Saver);
    /// Reads the value.
    fn load_field(&mut self, from: &mut Loader<'_>) -> Result<(), StateError>;
    /// What is written, for the description.
    fn field_type() -> FieldType;
}

/// A device without volatile state.
impl State for () {
    const NAME: &'static str = "";
    const VERSION: u32 = 1;
    const MINIMUM_VERSION: u32 = 1;
    fn save(&self, out: &mut Saver) {
        out.no_subsections();
    }
    fn load(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        from.subsections(|name, from| Err(from.unknown_subsection(name)))
    }
    fn describe(_: &mut Description) {}
}

/// One value as a section of its own, in bytes.
pub fn to_bytes<T: State>(value: &T) -> Vec<u8> {
    let mut out = Saver::new();
    out.section(0, value);
    out.into_bytes()
}

/// Reads back what [`to_bytes`] wrote.
pub fn from_bytes<T: State>(value: &mut T, bytes: &[u8]) -> Result<(), StateError> {
    let mut from = Loader::new(bytes);
    from.section(0, value)?;
    from.end()
}

#[cfg(test)]
#[path = "state_test.rs"]
mod test;
