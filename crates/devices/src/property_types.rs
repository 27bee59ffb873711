//! Types of properties that several devices have.

use backends::block::ErrorAction;
use object::{PropertyError, PropertyType, PropertyValue};

/// `on`, `off`, or what is best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOffAuto {
    /// Yes.
    On,
    /// No.
    Off,
    /// The device decides.
    #[default]
    Auto,
}

impl OnOffAuto {
    /// The decision, when `auto` means `auto`.
    pub fn or(self, auto: bool) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Auto => auto,
        }
    }
}

impl PropertyType for OnOffAuto {
    const KIND: &'static str = "OnOffAuto";
    const DESC: &'static str = "on/off/auto";
    const TELLS_DEFAULT: bool = true;

    fn get(&self) -> PropertyValue {
        let text = match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Auto => "auto",
        };
        PropertyValue::Str(text.to_owned())
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        *self = match (value.as_bool(), value.as_str()) {
            (Some(true), _) => Self::On,
            (Some(false), _) => Self::Off,
            (None, Some("auto")) => Self::Auto,
            (None, Some(text)) => {
                return Err(PropertyError::Value(format!(
                    "Parameter '(null)' does not accept value '{text}'"
                )));
            }
            (None, None) => return Err(PropertyError::Type(Self::KIND)),
        };
        Ok(())
    }
}

/// What all disks take and none needs: failed and senseless requests are counted in any case.
#[derive(Debug, object::Properties)]
pub struct DiskAccounts {
    /// Count requests that failed.
    #[property]
    pub account_failed: OnOffAuto,
    /// Count requests that made no sense.
    #[property]
    pub account_invalid: OnOffAuto,
    /// Take properties of the drive's for those that were not given.
    #[property(name = "backend_defaults")]
    pub backend_defaults: OnOffAuto,
}

/// What is done about an error of the host's under a disk; none said, what the drive says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnError(pub Option<ErrorAction>);

impl OnError {
    const NAMES: [(&str, Option<ErrorAction>); 5] = [
        ("report", Some(ErrorAction::Report)),
        ("ignore", Some(ErrorAction::Ignore)),
        ("enospc", Some(ErrorAction::Enospc)),
        ("stop", Some(ErrorAction::Stop)),
        ("auto", None),
    ];
}

impl PropertyType for OnError {
    const KIND: &'static str = "BlockdevOnError";
    const DESC: &'static str = "Error handling policy (report/ignore/enospc/stop/auto)";
    const TELLS_DEFAULT: bool = true;

    fn get(&self) -> PropertyValue {
        let name = Self::NAMES.iter().find(|entry| entry.1 == self.0).map_or("auto", |entry| entry.0);
        PropertyValue::Str(name.to_owned())
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        let text = value.as_str().ok_or(PropertyError::Type(Self::KIND))?;
        let entry = Self::NAMES.iter().find(|entry| entry.0 == text);
        let refused = || PropertyError::Value(format!("Parameter '(null)' does not accept value '{text}'"));
        self.0 = entry.ok_or_else(refused)?.1;
        Ok(())
    }
}

/// An Ethernet address, `52:54:00:12:34:56`. All zeros stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address that network card `n` of a machine gets unless it is given one.
    pub const fn nth(n: u8) -> Self {
        Self([0x52, 0x54, 0x00, 0x12, 0x34, 0x56u8.wrapping_add(n)])
    }

    /// Whether there is an address.
    pub fn is_set(self) -> bool {
        self != Self::default()
    }

    /// This address, or `other` where there is none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_set() { self } else { other }
    }

    /// Reads the usual notation, with `:` or `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2)?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }
}

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl PropertyType for MacAddress {
    const KIND: &'static str = "str";

    fn get(&self) -> PropertyValue {
        PropertyValue::Str(self.to_string())
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        let text = value.as_str().ok_or(PropertyError::Type(Self::KIND))?;
        *self = Self::parse(text).ok_or(PropertyError::Unusable)?;
        Ok(())
    }
}

/// What a [`Link`] leads to.
pub trait LinkTarget: Default {
    /// The type of the property, such as `link<iothread>`.
    const KIND: &'static str;
}

/// The ID of an object that the device uses; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link<T>(pub String, std::marker::PhantomData<T>);

impl<T: LinkTarget> PropertyType for Link<T> {
    const KIND: &'static str = T::KIND;

    fn get(&self) -> PropertyValue {
        PropertyValue::Str(self.0.clone())
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        self.0 = value.as_str().ok_or(PropertyError::Type(Self::KIND))?.to_owned();
        Ok(())
    }
}

/// What is asked for is not here.
fn absent() -> PropertyError {
    PropertyError::Value("this feature is not available and cannot be on".to_owned())
}

/// A feature that QEMU has and this device has not: it can be asked to be off only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlwaysOff;

impl PropertyType for AlwaysOff {
    const KIND: &'static str = "bool";
    const DESC: &'static str = "on/off";
    const TELLS_DEFAULT: bool = true;

    fn get(&self) -> PropertyValue {
        PropertyValue::Bool(false)
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        match value.as_bool() {
            Some(false) => Ok(()),
            Some(true) => Err(absent()),
            None => Err(PropertyError::Type(Self::KIND)),
        }
    }
}

/// What QEMU can do without and this device cannot: it can be asked to be on only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlwaysOn;

impl PropertyType for AlwaysOn {
    const KIND: &'static str = "bool";
    const DESC: &'static str = "on/off";
    const TELLS_DEFAULT: bool = true;

    fn get(&self) -> PropertyValue {
        PropertyValue::Bool(true)
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        match value.as_bool() {
            Some(true) => Ok(()),
            Some(false) => Err(PropertyError::Value("this feature cannot be off".to_owned())),
            None => Err(PropertyError::Type(Self::KIND)),
        }
    }
}

/// How many there are to be of what QEMU has and this device has not: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zero<T>(std::marker::PhantomData<T>);

impl<T: PropertyType + Default + PartialEq> PropertyType for Zero<T> {
    const KIND: &'static str = T::KIND;
    const TELLS_DEFAULT: bool = T::TELLS_DEFAULT;

    fn get(&self) -> PropertyValue {
        T::default().get()
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        let mut number = T::default();
        number.set(value)?;
        if number == T::default() { Ok(()) } else { Err(absent()) }
    }
}

/// The ID of an object for what QEMU has and this device has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoLink<T>(std::marker::PhantomData<T>);

impl<T: LinkTarget> PropertyType for NoLink<T> {
    const KIND: &'static str = T::KIND;

    fn get(&self) -> PropertyValue {
        PropertyValue::Str(String::new())
    }

    fn set(&mut self, _: &PropertyValue) -> Result<(), PropertyError> {
        Err(absent())
    }
}

/// A place in the order in which firmware tries devices; below 0 for none, which is what it is unless set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootIndex(pub i32);

impl Default for BootIndex {
    fn default() -> Self {
        Self(-1)
    }
}

impl PropertyType for BootIndex {
    const KIND: &'static str = "int32";

    fn get(&self) -> PropertyValue {
        PropertyValue::Int(self.0.into())
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        self.0.set(value)
    }
}

/// The id of an entropy source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RngLink(pub String);

impl PropertyType for RngLink {
    const KIND: &'static str = "link<rng-backend>";

    fn get(&self) -> PropertyValue {
        PropertyValue::Link(self.0.clone())
    }

    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        value.as_str().ok_or(PropertyError::Type(Self::KIND))?.clone_into(&mut self.0);
        Ok(())
    }
}

#[cfg(test)]
#[path = "property_types_test.rs"]
mod test;
