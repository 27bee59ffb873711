//! Why a stream cannot be loaded.

use std::fmt;

/// A stream that cannot be loaded: in which section, at which field, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError {
    /// The section (device) being read; empty outside of any.
    pub section: String,
    /// Path of the field within the section, such as `fifo.data`; empty for the section as a whole.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.section.is_empty(), self.field.is_empty()) {
            (true, _) => write!(f, "saved state: {}", self.reason),
            (false, true) => write!(f, "saved state of '{}': {}", self.section, self.reason),
            (false, false) => {
                write!(f, "saved state of '{}', field '{}': {}", self.section, self.field, self.reason)
            }
        }
    }
}

impl std::error::Error for StateError {}

impl From<StateError> for base::Error {
    fn from(error: StateError) -> Self {
        Self::new(error.to_string())
    }
}
