//! `key=value,key2=value2`: the syntax in which most options take their argument.
//!
//! A comma inside a value is written twice. The first item may leave its key away when the option has an implied one
//! (`-machine virt,acpi=off` is `type=virt,acpi=off`). A later item without `=` is a boolean that is switched on, or,
//! with the prefix `no`, off; the reference warns about that spelling, and so do we. An argument that begins with `{`
//! is a JSON object; its nested objects become dotted keys.

use base::{Error, Result, error};

/// The parsed argument of one option.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opts {
    /// What was written on the command line, for messages: `-device virtio-blk-device`.
    pub shown: String,
    items: Vec<(String, String)>,
    warnings: Vec<String>,
}

impl Opts {
    /// Without items yet.
    pub fn empty(shown: &str) -> Opts {
        Opts { shown: shown.to_owned(), ..Opts::default() }
    }
    /// Parses `text`, given to the option `-name`. `implied` is the key of a first item without one.
    pub fn parse(name: &str, text: &str, implied: Option<&str>) -> Result<Opts> {
        let mut opts = Opts { shown: format!("-{name} {text}"), ..Opts::default() };
        if text.trim_start().starts_with('{') {
            opts.parse_json(text)?;
        } else {
            opts.parse_list(text, implied);
        }
        if let Some(id) = opts.get("id")
            && !is_identifier(id)
        {
            return Err(error!("Parameter 'id' expects an identifier")
                .hint("Identifiers consist of letters, digits, '-', '.', '_', starting with a letter."));
        }
        Ok(opts)
    }

    fn parse_list(&mut self, text: &str, implied: Option<&str>) {
        let mut first = true;
        for item in split_commas(text) {
            let implied = if std::mem::take(&mut first) { implied } else { None };
            if item.is_empty() && implied.is_none() {
                continue;
            }
            let (key, value) = match (item.split_once('='), implied) {
                (Some((key, value)), _) => (key.to_owned(), value.to_owned()),
                (None, Some(key)) => (key.to_owned(), item),
                (None, None) if matches!(item.as_str(), "help" | "?") => (item, "on".to_owned()),
                (None, None) => {
                    let (key, value) = match item.strip_prefix("no") {
                        // Only where the positive word makes a known switch: `nodelay` and `nowait` differ.
                        Some(rest) if rest == "wait" => (rest, "off"),
                        _ => (item.as_str(), "on"),
                    };
                    self.warnings.push(format!(
                        "short-form boolean option '{item}' deprecated\nPlease use {key}={value} instead"
                    ));
                    (key.to_owned(), value.to_owned())
                }
            };
            self.items.push((key, value));
        }
    }

    fn parse_json(&mut self, text: &str) -> Result<()> {
        flatten("", &qapi::parse(text)?, &mut self.items);
        Ok(())
    }

    /// The last value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.items.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    /// All values of `key`, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.items.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    /// Takes the last value of `key`, and forgets the earlier ones.
    pub fn take(&mut self, key: &str) -> Option<String> {
        let value = self.get(key).map(str::to_owned);
        self.items.retain(|(k, _)| k != key);
        value
    }
    /// Takes a switch (`on`, `off`, `yes`, `no`, `true`, `false`, `y`, `n`).
    pub fn take_switch(&mut self, key: &str) -> Result<Option<bool>> {
        self.take(key).map(|text| switch(key, &text)).transpose()
    }
    /// Takes a number, decimal or `0x` hexadecimal.
    pub fn take_number(&mut self, key: &str) -> Result<Option<u64>> {
        self.take(key)
            .map(|text| number(&text).ok_or_else(|| error!("Parameter '{key}' expects a number")))
            .transpose()
    }
    /// Takes a size with an optional suffix (bytes without one).
    pub fn take_size(&mut self, key: &str) -> Result<Option<u64>> {
        self.take(key).map(|text| size(key, &text, 1)).transpose()
    }
    /// The items that have not been taken, in order.
    pub fn items(&self) -> &[(String, String)] {
        &self.items
    }
    /// Adds an item at the end.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.items.push((key.into(), value.into()));
    }
    /// Appends the items of a second option of the same name (`-machine a -machine b=c`).
    pub fn merge(&mut self, other: Opts) {
        self.items.extend(other.items);
        self.warnings.extend(other.warnings);
        self.shown = other.shown;
    }
    /// Whether the text asks for help instead (`help` or `?`, alone or as an item).
    pub fn wants_help(&self) -> bool {
        self.items.iter().any(|(k, v)| is_help(k) || is_help(v) && k != "append")
    }
    /// The items as a structure of texts.
    pub fn to_object(&self) -> serde_json::Value {
        self.items
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
    /// The items of a structure, nested ones with dotted keys.
    pub fn from_object(shown: &str, object: &serde_json::Value) -> Opts {
        let mut opts = Opts::empty(shown);
        flatten("", object, &mut opts.items);
        opts
    }
    /// The items as a list again, commas doubled.
    pub fn to_text(&self) -> String {
        let item = |(key, value): &(String, String)| format!("{key}={}", value.replace(',', ",,"));
        self.items.iter().map(item).collect::<Vec<_>>().join(",")
    }
    /// Refuses what is left.
    pub fn finish(&self) -> Result<()> {
        match self.items.first() {
            Some((key, _)) => Err(error!("Invalid parameter '{key}'")),
            None => Ok(()),
        }
    }
    /// Deprecation warnings that the text deserves, once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
    /// Puts the option in front of an error's message, as all messages about options have it.
    pub fn blame(&self, error: Error) -> Error {
        error.prefix(format_args!("{}: ", self.shown))
    }
}

fn is_help(word: &str) -> bool {
    word == "help" || word == "?"
}

/// Splits at single commas; a doubled comma is one comma of the text.
fn split_commas(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != ',' {
            items.last_mut().expect("never empty").push(c);
        } else if chars.next_if_eq(&',').is_some() {
            items.last_mut().expect("never empty").push(',');
        } else {
            items.push(String::new());
        }
    }
    if items.last().is_some_and(String::is_empty) && items.len() > 1 {
        items.pop();
    }
    items
}

fn flatten(prefix: &str, value: &serde_json::Value, items: &mut Vec<(String, String)>) {
    use serde_json::Value;
    let join = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| flatten(&join(k), v, items)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, v)| flatten(&join(&i.to_string()), v, items));
        }
        Value::String(text) => items.push((prefix.to_owned(), text.clone())),
        Value::Bool(on) => items.push((prefix.to_owned(), if *on { "on" } else { "off" }.to_owned())),
        Value::Number(n) => items.push((prefix.to_owned(), n.to_string())),
        Value::Null => {}
    }
}

/// Whether `text` may name something the user creates.
pub fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

/// Reads a switch.
pub fn switch(key: &str, text: &str) -> Result<bool> {
    match text {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(error!("Parameter '{key}' expects 'on' or 'off'")),
    }
}

/// Reads a number, decimal, `0x` hexadecimal or `0` octal.
pub fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u64::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// Reads a size: digits, perhaps with a fraction, and one of the suffixes `B K M G T P E`; `unit` is the number of
/// bytes meant without a suffix.
pub fn size(key: &str, text: &str, unit: u64) -> Result<u64> {
    let bad = || {
        error!("Parameter '{key}' expects a non-negative number below 2^64").hint(
            "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.",
        )
    };
    let out_of_range = || error!("Value '{text}' is out of range for parameter '{key}'");
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).map_err(|_| bad());
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let unit = match suffix {
        "" => unit,
        "b" | "B" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        "t" | "T" => 1 << 40,
        "p" | "P" => 1 << 50,
        "e" | "E" => 1 << 60,
        _ => return Err(bad()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || fraction.contains('.') {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| out_of_range())?;
    let part = if fraction.is_empty() {
        0
    } else {
        let value: f64 = format!("0.{fraction}").parse().map_err(|_| bad())?;
        (value * unit as f64) as u64
    };
    whole.checked_mul(unit).and_then(|n| n.checked_add(part)).ok_or_else(out_of_range)
}

#[cfg(test)]
#[path = "opts_test.rs"]
mod test;
