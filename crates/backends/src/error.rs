//! What went wrong at the host's side, in the words the user gets to see.

use std::{error, fmt, io};

/// An error of the user's or the host's making. Its text is a whole sentence without the program's name and
/// without the option it came from; the command line puts those in front.
#[derive(Debug)]
pub struct Error {
    text: String,
    source: Option<io::Error>,
}

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Error {
        Error { text: text.into(), source: None }
    }

    /// An error of the host: `text`, a colon and the host's reason.
    pub fn io(text: impl fmt::Display, source: io::Error) -> Error {
        Error { text: format!("{text}: {}", reason(&source)), source: Some(source) }
    }
}

/// The host's words for an error, without Rust's error number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
