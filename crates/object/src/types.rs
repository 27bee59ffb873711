//! Types by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::trace::Points;

use crate::{AnyDevice, PropertyInfo};

/// The trace points that every type of device has: `TYPE_read` and so on.
pub mod point {
    /// A register is read.
    pub const READ: u32 = 0;
    /// A register is written.
    pub const WRITE: u32 = 1;
    /// A timer has expired.
    pub const TIMER: u32 = 2;
    /// An input has changed.
    pub const INPUT: u32 = 3;
    /// It is reset.
    pub const RESET: u32 = 4;
    /// Their names.
    pub const NAMES: &[&str] = &["read", "write", "timer", "input", "reset"];
}

/// Under which heading `-device help` lists a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// "Controller/Bridge/Hub devices"
    Bridge,
    /// "USB devices"
    Usb,
    /// "Storage devices"
    Storage,
    /// "Network devices"
    Network,
    /// "Input devices"
    Input,
    /// "Display devices"
    Display,
    /// "Sound devices"
    Sound,
    /// "Misc devices"
    Misc,
    /// "CPU devices"
    Cpu,
    /// "Watchdog devices"
    Watchdog,
    /// "Uncategorized devices"
    #[default]
    Uncategorized,
}

impl Category {
    /// All in the order of the headings, with the heading's first word.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Bridge, "Controller/Bridge/Hub"),
        (Self::Usb, "USB"),
        (Self::Storage, "Storage"),
        (Self::Network, "Network"),
        (Self::Input, "Input"),
        (Self::Display, "Display"),
        (Self::Sound, "Sound"),
        (Self::Misc, "Misc"),
        (Self::Cpu, "CPU"),
        (Self::Watchdog, "Watchdog"),
        (Self::Uncategorized, "Uncategorized"),
    ];

    /// The category with this short name (`misc`, `storage`, ..); a wrong name in a constant does not compile.
    pub const fn named(name: &str) -> Self {
        match name.as_bytes() {
            b"bridge" => Self::Bridge,
            b"usb" => Self::Usb,
            b"storage" => Self::Storage,
            b"network" => Self::Network,
            b"input" => Self::Input,
            b"display" => Self::Display,
            b"sound" => Self::Sound,
            b"misc" => Self::Misc,
            b"cpu" => Self::Cpu,
            b"watchdog" => Self::Watchdog,
            b"uncategorized" => Self::Uncategorized,
            _ => panic!("no such device category"),
        }
    }
}

/// What is known of a type. Made as a constant, listed explicitly by each crate, joined in the binary.
#[derive(Clone, Copy, Debug)]
pub struct TypeInfo {
    /// Its name.
    pub name: &'static str,
    /// The type it is a kind of.
    pub parent: Option<&'static str>,
    /// Whether there are only objects of types derived from it.
    pub is_abstract: bool,
    /// What it is, in a few words; may be empty.
    pub desc: &'static str,
    /// Heading in `-device help`.
    pub category: Category,
    /// Whether `-device` may create it.
    pub user_creatable: bool,
    /// Type of the bus it sits on.
    pub bus: Option<&'static str>,
    /// Its own properties, without those of its parents.
    pub properties: fn() -> Vec<PropertyInfo>,
    /// The trace points of its devices, in the order of [`point`].
    pub points: Option<fn() -> &'static Points>,
    /// Makes one with default configuration.
    pub create: Option<fn() -> Arc<dyn AnyDevice>>,
}

impl TypeInfo {
    /// A type without any of the optional facts: abstract, no properties.
    pub const fn interface(name: &'static str, parent: Option<&'static str>) -> Self {
        Self {
            name,
            parent,
            is_abstract: true,
            desc: "",
            category: Category::Uncategorized,
            user_creatable: false,
            bus: None,
            properties: Vec::new,
            points: None,
            create: None,
        }
    }
    /// The same type, not abstract.
    #[must_use]
    pub const fn concrete(mut self) -> Self {
        self.is_abstract = false;
        self
    }
}

/// The types that everything else stands on.
pub const ROOTS: &[TypeInfo] = &[
    TypeInfo::interface("object", None),
    TypeInfo::interface("container", Some("object")).concrete(),
    TypeInfo::interface("irq", Some("object")).concrete(),
    TypeInfo::interface("memory-region", Some("object")).concrete(),
    TypeInfo::interface("bus", Some("object")),
    TypeInfo::interface("System", Some("bus")).concrete(),
    TypeInfo::interface("machine", Some("object")),
    TypeInfo::interface("device", Some("object")),
    TypeInfo::interface("sys-bus-device", Some("device")),
    TypeInfo::interface("dynamic-sysbus-device", Some("sys-bus-device")),
    TypeInfo::interface("cpu", Some("device")),
];

/// All types that exist in a program.
#[derive(Clone, Debug)]
pub struct Types {
    by_name: BTreeMap<&'static str, TypeInfo>,
}

impl Default for Types {
    fn default() -> Self {
        Self::new()
    }
}

impl Types {
    /// Only [`ROOTS`].
    pub fn new() -> Self {
        let mut types = Self { by_name: BTreeMap::new() };
        types.add(ROOTS.iter().copied());
        types
    }
    /// Adds types. Two of one name are a mistake in the lists.
    pub fn add(&mut self, types: impl IntoIterator<Item = TypeInfo>) {
        for info in types {
            let before = self.by_name.insert(info.name, info);
            assert!(before.is_none(), "type '{}' is listed twice", info.name);
        }
    }
    /// The type of that name.
    pub fn find(&self, name: &str) -> Option<&TypeInfo> {
        self.by_name.get(name)
    }
    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TypeInfo> {
        self.by_name.values()
    }
    /// Whether type `name` is `of` or derived from it.
    pub fn is_a(&self, name: &str, of: &str) -> bool {
        self.ancestry(name).any(|t| t.name == of)
    }
    /// The type, its parent and so on. A parent that is not listed ends the walk.
    pub fn ancestry<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a TypeInfo> {
        let mut left = self.by_name.len();
        std::iter::successors(self.find(name), move |t| {
            left = left.checked_sub(1)?;
            self.find(t.parent?)
        })
    }
    /// Types derived from `of` (and itself) that are not abstract, by name.
    pub fn kinds_of<'a>(&'a self, of: &'a str) -> impl Iterator<Item = &'a TypeInfo> {
        self.iter().filter(move |t| !t.is_abstract && self.is_a(t.name, of))
    }
    /// All properties of a type, its own first; one that an ancestor has too is listed once.
    pub fn properties(&self, name: &str) -> Vec<PropertyInfo> {
        let mut all: Vec<PropertyInfo> = Vec::new();
        for property in self.ancestry(name).flat_map(|t| (t.properties)()) {
            if !all.iter().any(|known| known.name == property.name) {
                all.push(property);
            }
        }
        all
    }
}

#[cfg(test)]
#[path = "types_test.rs"]
mod test;
