//! Typed properties: what a user may set on an object by name.

use std::fmt;

use base::Error;

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// `bool`
    Bool(bool),
    /// Signed numbers.
    Int(i64),
    /// Unsigned numbers and sizes.
    Uint(u64),
    /// `str`, and enums by the name of their value.
    Str(String),
    /// Path of another object; empty when there is none.
    Link(String),
    /// Several values.
    List(Vec<PropertyValue>),
    /// Named values, as `qom-get` shows structures such as a date.
    Struct(Vec<(String, PropertyValue)>),
}

impl PropertyValue {
    /// As `true`/`false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            Self::Str(s) => parse_bool(s),
            _ => None,
        }
    }
    /// As an unsigned number.
    pub fn as_uint(&self) -> Option<u64> {
        match self {
            Self::Uint(n) => Some(*n),
            Self::Int(n) => u64::try_from(*n).ok(),
            Self::Str(s) => parse_number(s).and_then(|n| u64::try_from(n).ok()),
            _ => None,
        }
    }
    /// As a signed number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Uint(n) => i64::try_from(*n).ok(),
            Self::Str(s) => parse_number(s).and_then(|n| i64::try_from(n).ok()),
            _ => None,
        }
    }
    /// As text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) | Self::Link(s) => Some(s),
            _ => None,
        }
    }
}

impl PropertyValue {
    /// As `info qtree` shows the value of a property of type `kind`: numbers in hexadecimal too, sizes in
    /// binary units too.
    pub fn human(&self, kind: &str) -> String {
        match self {
            Self::Uint(n) if kind == "size" => format!("{n} ({})", human_size(*n)),
            Self::Uint(n) => format!("{n} ({n:#x})"),
            // What is written as a text and kept as a number is an address on a bus: slot and function.
            Self::Int(n) if kind == "str" => format!("{:02x}.{:x}", n >> 3, n & 7),
            Self::Int(n) => format!("{n} ({n:#x})"),
            Self::Str(text) => format!("\"{text}\""),
            other => other.to_string(),
        }
    }
    /// As `-device x,help` shows a default.
    pub fn help(&self) -> String {
        match self {
            Self::Bool(true) => "on".to_owned(),
            Self::Bool(false) => "off".to_owned(),
            Self::Str(text) | Self::Link(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// A number of bytes with three digits in the largest binary unit that it fills: `1.5 MiB`.
pub fn human_size(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // The unit in which the number, rounded to three digits, is below 1000.
    let mut unit = 0;
    while unit + 1 < units.len() && n as f64 / (1u64 << (10 * unit)) as f64 >= 1000.0 {
        unit += 1;
    }
    let scaled = n as f64 / (1u64 << (10 * unit)) as f64;
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    let mut text = format!("{scaled:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    format!("{text} {}", units[unit])
}

/// The plain form: numbers decimal, texts in quotes, `true` and `false`.
impl fmt::Display for PropertyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Uint(n) => write!(f, "{n}"),
            Self::Str(s) | Self::Link(s) => write!(f, "\"{s}\""),
            Self::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Struct(fields) => {
                f.write_str("{")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// What is known of a property beside its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyInfo {
    /// Its name.
    pub name: &'static str,
    /// Its type in the user's words: `bool`, `uint32`, `size`, `str`.
    pub kind: &'static str,
    /// What it means; may be empty.
    pub desc: &'static str,
    /// The value it has unless set.
    pub default: Option<PropertyValue>,
}

/// Why a property could not be read or set. [`PropertyError::error`] gives the user's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// There is none of that name.
    #[error("no such property")]
    NotFound,
    /// It cannot be set (any more).
    #[error("property is read-only")]
    ReadOnly,
    /// The device is in use.
    #[error("the device is realized")]
    Realized,
    /// The value has another type; the type wanted.
    #[error("expected a value of type {0}")]
    Type(&'static str),
    /// The value names something that does not exist.
    #[error("there is nothing of that name")]
    NoSuchValue,
    /// The value does not have the form that the property wants.
    #[error("the value cannot be used")]
    Unusable,
    /// The value cannot be used; the reason, complete.
    #[error("{0}")]
    Value(String),
}

impl PropertyError {
    /// The message for the user: property `name` of an object of type `kind` (and with id `id`) was to be
    /// set to `value`.
    pub fn error(self, kind: &str, id: &str, name: &str, value: &str) -> Error {
        match self {
            Self::NotFound => base::error!("Property '{kind}.{name}' not found"),
            Self::ReadOnly => base::error!("Insufficient permission to perform this operation"),
            Self::Realized if id.is_empty() => base::error!(
                "Attempt to set property '{name}' on anonymous device (type '{kind}') after it was realized"
            ),
            Self::Realized => base::error!(
                "Attempt to set property '{name}' on device '{id}' (type '{kind}') after it was realized"
            ),
            Self::Type("bool") => base::error!("Parameter '{name}' expects 'on' or 'off'"),
            Self::Type("str") => base::error!("Invalid parameter type for '{name}', expected: string"),
            Self::Type("OnOffAuto") => base::error!("Parameter '{name}' does not accept value '{value}'"),
            // A number that is none, and one that does not fit.
            Self::Type(of) if of.starts_with("int") || of.starts_with("uint") => match parse_number(value) {
                Some(_) => base::error!("Parameter '{name}' expects {of}_t"),
                None => base::error!("Parameter '{name}' expects integer"),
            },
            Self::Type(of) => base::error!("Parameter '{name}' expects {of}"),
            Self::NoSuchValue => base::error!("Property '{kind}.{name}' can't find value '{value}'"),
            Self::Unusable => base::error!("Property '{kind}.{name}' doesn't take value '{value}'"),
            Self::Value(reason) => Error::new(reason),
        }
    }
}

/// Properties that are kept together: a part of a device (`#[properties]`, `#[place]`) whose properties are the
/// device's own to the user. Derived with `#[derive(Properties)]`.
pub trait PropertySet {
    /// What there is.
    fn properties() -> Vec<PropertyInfo>;
    /// The value of one.
    fn property(&self, name: &str) -> Option<PropertyValue>;
    /// Sets one.
    fn set_property(&mut self, name: &str, value: &PropertyValue) -> Result<(), PropertyError>;
}

/// A type of the host's language that can be a property.
pub trait PropertyType {
    /// The type in the user's words.
    const KIND: &'static str;
    /// Which values there are, for properties without a description of their own.
    const DESC: &'static str = "";
    /// Whether help tells the default of a property that names none, which is that of the type.
    const TELLS_DEFAULT: bool = false;
    /// The value.
    fn get(&self) -> PropertyValue;
    /// Sets it from a value of the right type, or from the text of an option.
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError>;
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "on" | "yes" | "true" | "y" => Some(true),
        "off" | "no" | "false" | "n" => Some(false),
        _ => None,
    }
}

/// A number as options take it: decimal, `0x` hexadecimal or `0` octal, with a sign.
fn parse_number(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let n = i128::from(u64::from_str_radix(digits, radix).ok()?);
    Some(if negative { -n } else { n })
}

/// A size as options take it: a number with one of the suffixes `B K M G T P E` (powers of 1024); decimal
/// fractions such as `1.5G` are allowed with a suffix.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.chars().last()?.to_ascii_uppercase() {
        'B' if !text.starts_with("0x") => (&text[..text.len() - 1], 0),
        'K' => (&text[..text.len() - 1], 10),
        'M' => (&text[..text.len() - 1], 20),
        'G' => (&text[..text.len() - 1], 30),
        'T' => (&text[..text.len() - 1], 40),
        'P' => (&text[..text.len() - 1], 50),
        'E' if !text.starts_with("0x") => (&text[..text.len() - 1], 60),
        _ => (text, 0),
    };
    if let Some(hex) = digits.strip_prefix("0x") {
        // No suffix after hexadecimal digits except by shifting them: 0x10M is not a size.
        return if shift == 0 { u64::from_str_radix(hex, 16).ok() } else { None };
    }
    if let Some((whole, fraction)) = digits.split_once('.') {
        if shift == 0 || fraction.is_empty() || fraction.len() > 18 {
            return None;
        }
        let whole = whole.parse::<u64>().ok()?;
        let part = u128::from(fraction.parse::<u64>().ok()?) << shift;
        let part = part / 10u128.pow(fraction.len() as u32);
        return whole.checked_mul(1 << shift)?.checked_add(u64::try_from(part).ok()?);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A property that is a size in bytes and takes the suffixes of [`parse_size`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl PropertyType for Size {
    const KIND: &'static str = "size";
    const TELLS_DEFAULT: bool = true;
    fn get(&self) -> PropertyValue {
        PropertyValue::Uint(self.0)
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        let n = match value {
            PropertyValue::Str(text) => parse_size(text),
            other => other.as_uint(),
        };
        self.0 = n.ok_or(PropertyError::Type("size"))?;
        Ok(())
    }
}

/// A property that may be left to the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOffAuto {
    /// As the device thinks best.
    #[default]
    Auto,
    /// On.
    On,
    /// Off.
    Off,
}

impl OnOffAuto {
    /// The value, or `auto` if it is left to the device.
    pub fn or(self, auto: bool) -> bool {
        match self {
            Self::Auto => auto,
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl PropertyType for OnOffAuto {
    const KIND: &'static str = "OnOffAuto";
    const DESC: &'static str = "on/off/auto";
    const TELLS_DEFAULT: bool = true;
    fn get(&self) -> PropertyValue {
        PropertyValue::Str(
            match self {
                Self::Auto => "auto",
                Self::On => "on",
                Self::Off => "off",
            }
            .to_owned(),
        )
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        *self = match value {
            PropertyValue::Str(text) if text == "auto" => Self::Auto,
            PropertyValue::Str(text) if text == "on" => Self::On,
            PropertyValue::Str(text) if text == "off" => Self::Off,
            _ => return Err(PropertyError::Type(Self::KIND)),
        };
        Ok(())
    }
}

impl PropertyType for bool {
    const KIND: &'static str = "bool";
    const DESC: &'static str = "on/off";
    const TELLS_DEFAULT: bool = true;
    fn get(&self) -> PropertyValue {
        PropertyValue::Bool(*self)
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        *self = value.as_bool().ok_or(PropertyError::Type(Self::KIND))?;
        Ok(())
    }
}

macro_rules! numbers {
    ($($ty:ty, $kind:literal, $variant:ident, $as:ident;)*) => {$(
        impl PropertyType for $ty {
            const KIND: &'static str = $kind;
            const TELLS_DEFAULT: bool = true;
            fn get(&self) -> PropertyValue {
                PropertyValue::$variant((*self).into())
            }
            fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
                let n = value.$as().ok_or(PropertyError::Type($kind))?;
                *self = <$ty>::try_from(n).map_err(|_| PropertyError::Type($kind))?;
                Ok(())
            }
        }
    )*};
}
numbers! {
    u8, "uint8", Uint, as_uint;
    u16, "uint16", Uint, as_uint;
    u32, "uint32", Uint, as_uint;
    u64, "uint64", Uint, as_uint;
    i8, "int8", Int, as_int;
    i16, "int16", Int, as_int;
    i32, "int32", Int, as_int;
    i64, "int64", Int, as_int;
}

impl PropertyType for String {
    const KIND: &'static str = "str";
    fn get(&self) -> PropertyValue {
        PropertyValue::Str(self.clone())
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        value.as_str().ok_or(PropertyError::Type(Self::KIND))?.clone_into(self);
        Ok(())
    }
}

/// A text that may be unset, which reads as the empty text.
impl PropertyType for Option<String> {
    const KIND: &'static str = "str";
    fn get(&self) -> PropertyValue {
        PropertyValue::Str(self.clone().unwrap_or_default())
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        *self = Some(value.as_str().ok_or(PropertyError::Type(Self::KIND))?.to_owned());
        Ok(())
    }
}

#[cfg(test)]
#[path = "property_test.rs"]
mod test;
