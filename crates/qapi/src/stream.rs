//! Cuts a stream of bytes into JSON values, and reads single ones.
//!
//! Values follow each other with or without white space between. Each byte is looked at once; what a client sends can
//! take no more memory than one message may be long.

use crate::Value;
use base::{Result as Read, error};

/// Longest message, in bytes.
const LONGEST: usize = 64 << 20;
/// Deepest nesting; the parser's stack is limited.
const DEEPEST: usize = 100;

/// Reads a text that is one value, in the words of the protocol's own errors.
///
/// # Errors
/// It is not one value.
pub fn parse(text: &str) -> Read<Value> {
    let (mut stream, mut all) = (Stream::default(), Vec::new());
    text.bytes().for_each(|byte| stream.push(byte, &mut all));
    // Numbers and words end where something else begins.
    stream.push(b' ', &mut all);
    let mut all = all.into_iter();
    match (all.next(), all.next()) {
        (Some(Ok(_)), Some(_)) => Err(error!("Expecting at most one JSON value")),
        (Some(value), _) => value.map_err(|text| error!("{text}")),
        (None, _) if text.trim().is_empty() => Err(error!("Expecting a JSON value")),
        (None, _) => Err(error!("JSON parse error, premature EOI")),
    }
}

/// The cutter.
#[derive(Debug, Default)]
pub struct Stream {
    /// The value so far. Strings in single quotes, which the protocol allows, stand in double ones here.
    text: Vec<u8>,
    depth: usize,
    quote: Option<u8>,
    escaped: bool,
    /// A number or a word outside of any structure: it ends where another thing begins.
    scalar: bool,
}

impl Stream {
    /// Takes a byte and hands out what it ends: a value, or what is wrong with it.
    pub fn push(&mut self, byte: u8, out: &mut Vec<Result<Value, String>>) {
        if self.scalar && !matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'+' | b'.' | b'_')
        {
            out.push(self.finish());
        }
        if self.text.len() >= LONGEST {
            *self = Stream::default();
            out.push(Err("JSON token size limit exceeded".into()));
        }
        match self.quote {
            Some(quote) => self.in_string(byte, quote),
            None => self.outside(byte, out),
        }
        let begun = !self.text.is_empty() && !self.scalar;
        if begun && self.depth == 0 && self.quote.is_none() {
            out.push(self.finish());
        }
    }

    fn in_string(&mut self, byte: u8, quote: u8) {
        if std::mem::take(&mut self.escaped) {
            if byte == b'\'' {
                // JSON has no such escape.
                self.text.pop();
            }
            self.text.push(byte);
        } else if byte == quote {
            self.quote = None;
            self.text.push(b'"');
        } else {
            if byte == b'"' {
                self.text.push(b'\\');
            }
            self.escaped = byte == b'\\';
            self.text.push(byte);
        }
    }

    fn outside(&mut self, byte: u8, out: &mut Vec<Result<Value, String>>) {
        let top = self.depth == 0;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' if top => {}
            b'"' | b'\'' => {
                self.quote = Some(byte);
                self.text.push(b'"');
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.text.push(byte);
                if self.depth > DEEPEST {
                    *self = Stream::default();
                    out.push(Err("JSON nesting depth limit exceeded".into()));
                }
            }
            b'}' | b']' | b',' | b':' if top => out.push(Err("JSON parse error, expecting value".into())),
            b'}' | b']' => {
                self.depth -= 1;
                self.text.push(byte);
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'+' | b'.' | b'_' if top => {
                self.scalar = true;
                self.text.push(byte);
            }
            _ if top => out.push(Err(format!("JSON parse error, stray '{}'", byte.escape_ascii()))),
            _ => self.text.push(byte),
        }
    }

    fn finish(&mut self) -> Result<Value, String> {
        let text = std::mem::take(self).text;
        serde_json::from_slice(&text).map_err(|error| {
            let text = error.to_string();
            format!("JSON parse error, {}", text.split(" at line").next().unwrap_or(&text))
        })
    }
}

#[cfg(test)]
#[path = "stream_test.rs"]
mod test;
