//! Types that a machine protocol carries: how each is read from JSON and written to it, and what the protocol's
//! schema says of it. `#[derive(Qapi)]` makes all three from a struct or an enum; errors are in QEMU's words.
#![forbid(unsafe_code)]

// The derive names this crate.
extern crate self as qapi;

mod derived;
mod event;
mod plain;
mod schema;
mod stream;

pub use derived::{
    Anything, Object, absent, enumeration, finish, literal, object_from_json, take, wrong_type,
};
pub use event::{Emitted, Event, EventInfo, listen};
pub use macros::Qapi;
pub use schema::{Members, Schema};
pub use serde_json::{Map, Value, json};
pub use stream::{Stream, parse};

pub use base::Result;

/// The JSON types, by the names that the protocol's schema and its errors use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `str`, and enumerations.
    String,
    /// Whole numbers.
    Int,
    /// Numbers with a fraction.
    Number,
    /// `bool`
    Boolean,
    /// `null`
    Null,
    /// Lists.
    Array,
    /// Structures.
    Object,
    /// Any of them.
    Value,
}

impl Kind {
    /// Whether a value is of this kind.
    pub fn fits(self, value: &Value) -> bool {
        match self {
            Kind::String => value.is_string(),
            Kind::Int => value.is_i64() || value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Boolean => value.is_boolean(),
            Kind::Null => value.is_null(),
            Kind::Array => value.is_array(),
            Kind::Object => value.is_object(),
            Kind::Value => true,
        }
    }
}

/// A type of the protocol. Derived for structs and enums.
pub trait Qapi: Sized {
    /// Its kind in JSON.
    const KIND: Kind;
    /// Enters the type into the schema and returns the name it has there.
    fn describe(schema: &mut Schema) -> String;
    /// Reads it. `at` names the place for errors: `keys[0].type`.
    ///
    /// # Errors
    /// The value has another type, or one that is not accepted.
    fn from_json(value: Value, at: &str) -> Result<Self>;
    /// Writes it.
    fn to_json(&self) -> Value;
    /// What a member of this type is when it is left away; `None` when it may not be.
    fn absent() -> Option<Self> {
        None
    }
    /// Whether it is to be left away.
    fn is_absent(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[path = "lib_test.rs"]
mod test;
