//! What has a section in a snapshot without being a device.

use crate::{Loader, Saver, StateError};

/// A part of the machine behind its own lock, with one section.
pub trait Saved: Send + Sync {
    /// Name of the section.
    fn section(&self) -> &'static str;
    /// Writes the section.
    fn save(&self, instance: u32, out: &mut Saver);
    /// Reads it back. After an error the part may be half loaded.
    ///
    /// # Errors
    /// The stream does not fit, with the name of the field.
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> Result<(), StateError>;
}
