//! Typed arguments of commands: each type knows how it is spelled.

use super::expression::{Registers, evaluate};
use base::{Result, error};
use qapi::{Kind, Qapi, Value};

/// What is left of a command line while its arguments are taken, and what taking them needs.
pub struct Arguments<'a> {
    /// The command's names, `stop|s`; for messages.
    pub names: &'a str,
    /// Not yet taken.
    pub rest: &'a str,
    /// Registers of the selected vCPU.
    pub registers: Registers<'a>,
    /// Format and size that a dump uses unless it says otherwise.
    pub defaults: &'a mut Defaults,
}

/// The format of the last dump is that of the next.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// One of `o x d u c i`.
    pub format: char,
    /// Bytes of an item.
    pub size: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults { format: 'x', size: 4 }
    }
}

/// A type of arguments.
pub trait Argument: Sized {
    /// Takes one from the line.
    fn take(from: &mut Arguments<'_>) -> Result<Self>;
}

impl<'a> Arguments<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }
    /// The next word; a word in double quotes may hold blanks.
    fn word(&mut self) -> Option<String> {
        self.skip();
        if self.rest.is_empty() {
            return None;
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let mut word = String::new();
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => match chars.next() {
                        Some('n') => word.push('\n'),
                        Some('r') => word.push('\r'),
                        Some(other) => word.push(other),
                        None => break,
                    },
                    other => word.push(other),
                }
            }
            self.rest = chars.as_str();
            return Some(word);
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word.to_owned())
    }
    /// Nothing may be left.
    pub fn finish(&mut self) -> Result<()> {
        self.skip();
        match self.rest {
            "" => Ok(()),
            _ => Err(error!("{}: extraneous characters at the end of line", self.names)),
        }
    }
}

/// Takes an argument of a command of the machine protocol, by the kind of its type. One that may be left away is, when
/// the line is at its end.
///
/// # Errors
/// It is missing or not right.
pub fn argument<T: Qapi>(from: &mut Arguments<'_>, name: &str) -> Result<T> {
    from.skip();
    if from.rest.is_empty()
        && let Some(absent) = T::absent()
    {
        return Ok(absent);
    }
    let value = match T::KIND {
        Kind::Int | Kind::Number => Number::take(from)?.0.into(),
        Kind::Boolean => match Word::take(from)?.0.as_str() {
            "on" => true.into(),
            "off" => false.into(),
            _ => return Err(error!("{}: Expected 'on' or 'off'", from.names)),
        },
        _ => Value::String(Word::take(from)?.0),
    };
    T::from_json(value, name)
}

/// Switches given as `-f`, among the letters `LETTERS` stands for; see [`Switches::has`].
pub struct Switches(String);

impl Switches {
    /// Whether a letter was given.
    pub fn has(&self, letter: char) -> bool {
        self.0.contains(letter)
    }
    /// Whether any of these letters was given.
    pub fn has_any(&self, letters: &str) -> bool {
        letters.chars().any(|letter| self.has(letter))
    }
    /// Takes all words that begin with a dash and a letter.
    pub fn take(from: &mut Arguments<'_>, allowed: &str) -> Result<Switches> {
        let mut found = String::new();
        loop {
            from.skip();
            let Some(rest) = from.rest.strip_prefix('-') else { return Ok(Switches(found)) };
            let Some(letter) = rest.chars().next().filter(char::is_ascii_alphabetic) else {
                return Ok(Switches(found));
            };
            if !allowed.contains(letter) {
                return Err(error!("{}: unsupported option -{letter}", from.names));
            }
            found.push(letter);
            from.rest = &rest[letter.len_utf8()..];
        }
    }
}

/// A number, as an expression.
pub struct Number(pub i64);

impl Argument for Number {
    fn take(from: &mut Arguments<'_>) -> Result<Number> {
        let (value, rest) = evaluate(from.rest, from.registers)?;
        from.rest = rest;
        Ok(Number(value))
    }
}

impl Argument for Option<Number> {
    fn take(from: &mut Arguments<'_>) -> Result<Self> {
        from.skip();
        if from.rest.is_empty() { Ok(None) } else { Number::take(from).map(Some) }
    }
}

/// A number of bytes: mebibytes, unless a suffix says otherwise.
pub struct Size(pub i64);

impl Argument for Size {
    fn take(from: &mut Arguments<'_>) -> Result<Size> {
        let word = from.word().unwrap_or_default();
        let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let (number, suffix) = word.split_at(digits);
        let shift = match suffix.to_ascii_uppercase().as_str() {
            "B" => 0,
            "K" => 10,
            "" | "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(error!("invalid size")),
        };
        let number: f64 = number.parse().map_err(|_| error!("invalid size"))?;
        Ok(Size((number * (1i64 << shift) as f64) as i64))
    }
}

/// A word.
pub struct Word(pub String);

impl Argument for Word {
    fn take(from: &mut Arguments<'_>) -> Result<Word> {
        from.word().map(Word).ok_or_else(|| error!("{}: string expected", from.names))
    }
}

impl Argument for Option<Word> {
    fn take(from: &mut Arguments<'_>) -> Result<Self> {
        Ok(from.word().map(Word))
    }
}

/// All that is left of the line.
pub struct Rest(pub String);

impl Argument for Rest {
    fn take(from: &mut Arguments<'_>) -> Result<Rest> {
        from.skip();
        Ok(Rest(std::mem::take(&mut from.rest).trim_end().to_owned()))
    }
}

/// `/COUNTformatsize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How many items.
    pub count: u64,
    /// One of `o x d u c i`.
    pub format: char,
    /// Bytes of an item.
    pub size: u32,
}

impl Argument for Format {
    fn take(from: &mut Arguments<'_>) -> Result<Format> {
        from.skip();
        let Some(rest) = from.rest.strip_prefix('/') else {
            let Defaults { format, size } = *from.defaults;
            return Ok(Format { count: 1, format, size });
        };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (count, mut rest) = rest.split_at(digits);
        let count = if count.is_empty() { 1 } else { count.parse().unwrap_or(u64::MAX) };
        let (mut format, mut size) = (None, None);
        while let Some(c) = rest.chars().next().filter(|c| !c.is_whitespace()) {
            match c {
                'o' | 'x' | 'd' | 'u' | 'c' | 'i' => format = Some(c),
                'b' => size = Some(1),
                'h' => size = Some(2),
                'w' => size = Some(4),
                'g' | 'L' => size = Some(8),
                other => return Err(error!("invalid char in format: '{other}'")),
            }
            rest = &rest[c.len_utf8()..];
        }
        from.rest = rest;
        let format = format.unwrap_or(from.defaults.format);
        let size = size.unwrap_or(from.defaults.size);
        *from.defaults = Defaults { format, size };
        Ok(Format { count, format, size })
    }
}
