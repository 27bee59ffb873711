//! Three kinds of wrong take three roads.
//!
//! - **The guest's mistake** (a bad address, a reserved value): a trap or a bus answer, and a line through
//!   [`guest_error!`](crate::guest_error). Never an `Err` up the host's stack, never a panic.
//! - **The user's or the host's** (a bad option, a missing file): an `Err`. Inside a crate it is a typed
//!   error; at the border, where it is printed or sent over the monitor, it is [`Error`], whose message is in
//!   the words that existing tools look for.
//! - **Ours** (a broken invariant): an assertion.

use std::error::Error as StdError;
use std::fmt;

/// Class of an error as the machine protocol names it. Nearly all are `GenericError`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Anything without a class of its own.
    #[default]
    GenericError,
    /// No such command.
    CommandNotFound,
    /// The device is not there or cannot do this.
    DeviceNotActive,
    /// No device of that name.
    DeviceNotFound,
    /// The accelerator needed is missing.
    KVMMissingCap,
}

/// An error of the user or the host, ready to be shown: message, optional hint, optional cause.
#[derive(Debug, Default)]
pub struct Error {
    /// The class that a machine protocol reports.
    pub class: Class,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A result whose error is shown to the user.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a message (no program name in front, no full stop at the end).
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
    /// Adds a line that says what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Adds the error that caused this one; its text is not repeated in the message.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
    /// Sets the class.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }
    /// Puts `words` in front of the message.
    #[must_use]
    pub fn prefix(mut self, words: impl fmt::Display) -> Self {
        self.message = format!("{words}{}", self.message);
        self
    }
    /// The message alone.
    pub fn message(&self) -> &str {
        &self.message
    }
    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn StdError + 'static))
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}
impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// An [`Error`] made like `format!`.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => { $crate::Error::new(::std::format!($($arg)*)) };
}
