//! Option lists as the command line spells them: `first,key=value,flag,noflag`, where `,,` stands for a comma.

use crate::Error;

/// The parsed pairs of one option list. The `take` methods remove what they return, so that
/// [`Options::finish`] can complain about what nobody asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pairs: Vec<(String, String)>,
}

impl Options {
    /// Parses `text`. A first part without `=` is the value of `implied`, if that is given; any other part
    /// without `=` is a switch: `name` is `name=on` and `noname` is `name=off`.
    pub fn parse(text: &str, implied: Option<&str>) -> Options {
        let mut pairs = Vec::new();
        let parts = split(text);
        for (index, part) in parts.into_iter().enumerate() {
            let pair = match (part.split_once('='), implied) {
                (Some((key, value)), _) => (key.to_owned(), value.to_owned()),
                (None, Some(implied)) if index == 0 => (implied.to_owned(), part),
                (None, _) if part.is_empty() => continue,
                (None, _) => match part.strip_prefix("no") {
                    Some(name) => (name.to_owned(), "off".to_owned()),
                    None => (part, "on".to_owned()),
                },
            };
            pairs.push(pair);
        }
        Options { pairs }
    }

    /// Adds a pair behind the others.
    pub fn push(&mut self, key: &str, value: &str) {
        self.pairs.push((key.to_owned(), value.to_owned()));
    }

    /// The value of `key`, left in place. The last one wins.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|pair| pair.0 == key).map(|pair| pair.1.as_str())
    }

    /// The value of `key`. The last one wins.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.take_all(key).pop()
    }

    /// All values of `key` in their order.
    pub fn take_all(&mut self, key: &str) -> Vec<String> {
        self.pairs.extract_if(.., |pair| pair.0 == key).map(|pair| pair.1).collect()
    }

    /// A switch.
    ///
    /// # Errors
    /// The value is not one of the spellings of on and off.
    pub fn take_bool(&mut self, key: &str) -> Result<Option<bool>, Error> {
        self.take(key).map(|value| parse_bool(key, &value)).transpose()
    }

    /// A number, decimal or with the prefix `0x`.
    ///
    /// # Errors
    /// The value is not a number.
    pub fn take_number(&mut self, key: &str) -> Result<Option<u64>, Error> {
        let parse = |value: String| match value.strip_prefix("0x").or(value.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => value.parse(),
        };
        let error = |_| Error::new(format!("Parameter '{key}' expects a number"));
        self.take(key).map(|value| parse(value).map_err(error)).transpose()
    }

    /// A number of bytes with an optional suffix `B`, `K`, `M`, `G`, `T`, `P` or `E`; bytes when without.
    ///
    /// # Errors
    /// The value is not such a number.
    pub fn take_size(&mut self, key: &str) -> Result<Option<u64>, Error> {
        let error = || {
            Error::new(format!(
                "Parameter '{key}' expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E \
                 means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively."
            ))
        };
        self.take(key).map(|value| parse_size(&value).ok_or_else(error)).transpose()
    }

    /// The value of `id`.
    ///
    /// # Errors
    /// It is not an identifier.
    pub fn take_id(&mut self) -> Result<Option<String>, Error> {
        match self.take("id") {
            Some(id) if !is_identifier(&id) => Err(Error::new(
                "Parameter 'id' expects an identifier\n\
                 Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
            )),
            id => Ok(id),
        }
    }

    /// The key of a pair that has not been taken.
    pub fn first_key(&self) -> Option<&str> {
        self.pairs.first().map(|pair| pair.0.as_str())
    }

    /// Ends the reading of the list.
    ///
    /// # Errors
    /// A parameter is left that nobody has taken.
    pub fn finish(self) -> Result<(), Error> {
        match self.first_key() {
            None => Ok(()),
            Some(key) => Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
}

/// Splits at single commas and turns doubled ones into one.
fn split(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char != ',' {
            part.push(char);
        } else if chars.next_if_eq(&',').is_some() {
            part.push(',');
        } else {
            parts.push(std::mem::take(&mut part));
        }
    }
    parts.push(part);
    parts
}

/// Reads one of the spellings of on and off.
///
/// # Errors
/// It is none of them; `key` is the parameter's name for the text.
pub fn parse_bool(key: &str, value: &str) -> Result<bool, Error> {
    match value {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(Error::new(format!("Parameter '{key}' expects 'on' or 'off'"))),
    }
}

/// Reads a number of bytes with an optional binary suffix.
pub fn parse_size(value: &str) -> Option<u64> {
    let shift = match value.chars().last()?.to_ascii_uppercase() {
        'B' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        'P' => 50,
        'E' => 60,
        digit if digit.is_ascii_hexdigit() => return parse_integer(value),
        _ => return None,
    };
    let digits = &value[..value.len() - 1];
    match digits.split_once('.') {
        None => parse_integer(digits)?.checked_mul(1 << shift),
        Some(_) => {
            let scaled = digits.parse::<f64>().ok()? * (1u64 << shift) as f64;
            (scaled.is_finite() && scaled >= 0.0 && scaled < u64::MAX as f64).then_some(scaled as u64)
        }
    }
}

fn parse_integer(digits: &str) -> Option<u64> {
    match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// Whether `id` may name a device or back end.
pub fn is_identifier(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_alphabetic())
        && id.chars().all(|char| char.is_ascii_alphanumeric() || "-._".contains(char))
}

#[cfg(test)]
#[path = "options_test.rs"]
mod test;
