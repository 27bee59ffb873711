//! What the derive's code calls.

use super::{Kind, Map, Members, Qapi, Schema, Value};
use base::{Error, Result, error};

/// A structure: it can be read from, and written into, one that has other members too.
pub trait Object: Qapi {
    /// Its members, for the schema.
    fn members(schema: &mut Schema, members: &mut Members);
    /// Takes its members out of a structure.
    ///
    /// # Errors
    /// A member is missing or not right.
    fn take_from(map: &mut Map<String, Value>, at: &str) -> Result<Self>;
    /// Puts its members into a structure.
    fn put_into(&self, map: &mut Map<String, Value>);
}

/// A structure with any members whatever.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Anything(pub Map<String, Value>);

impl Qapi for Anything {
    const KIND: Kind = Kind::Object;
    fn describe(schema: &mut Schema) -> String {
        schema.empty()
    }
    fn from_json(value: Value, at: &str) -> Result<Self> {
        object_from_json(value, at)
    }
    fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

impl Object for Anything {
    fn members(_: &mut Schema, _: &mut Members) {}
    fn take_from(map: &mut Map<String, Value>, _: &str) -> Result<Self> {
        Ok(Self(std::mem::take(map)))
    }
    fn put_into(&self, map: &mut Map<String, Value>) {
        map.extend(self.0.clone());
    }
}

/// The name of a member of the structure at `at`.
fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// The error about a value of another JSON type.
pub fn wrong_type(at: &str, expected: &str) -> Error {
    error!("Invalid parameter type for '{at}', expected: {expected}")
}

/// Takes a member.
///
/// # Errors
/// It is missing or not right.
pub fn take<T: Qapi>(map: &mut Map<String, Value>, at: &str, name: &str) -> Result<T> {
    let place = below(at, name);
    match map.remove(name) {
        Some(value) => T::from_json(value, &place),
        None => absent(&place),
    }
}

/// The value of a member that is not there.
///
/// # Errors
/// It has to be.
pub fn absent<T: Qapi>(at: &str) -> Result<T> {
    T::absent().ok_or_else(|| error!("Parameter '{at}' is missing"))
}

/// Ends the reading of a structure.
///
/// # Errors
/// There is a member that nobody has taken.
pub fn finish(map: &Map<String, Value>, at: &str) -> Result<()> {
    match map.keys().next() {
        None => Ok(()),
        Some(name) => Err(error!("Parameter '{}' is unexpected", below(at, name))),
    }
}

/// Reads a structure that has no other members.
///
/// # Errors
/// It is none, or its members are not right.
pub fn object_from_json<T: Object>(value: Value, at: &str) -> Result<T> {
    let Value::Object(mut map) = value else { return Err(wrong_type(at, "object")) };
    let object = T::take_from(&mut map, at)?;
    finish(&map, at)?;
    Ok(object)
}

/// Reads the name of an enumeration's value and returns its place among `values`.
///
/// # Errors
/// It is no name, or none of them.
pub fn enumeration(value: &Value, at: &str, values: &[&str]) -> Result<usize> {
    let text = value.as_str().ok_or_else(|| wrong_type(at, "string"))?;
    literal(text, at, values)
}

/// The place of a name among `values`.
///
/// # Errors
/// It is none of them.
pub fn literal(text: &str, at: &str, values: &[&str]) -> Result<usize> {
    // The last part of the place is named alone; an element of a list has no name.
    let name = if at.is_empty() || at.ends_with(']') { "null" } else { at.rsplit('.').next().unwrap_or(at) };
    values
        .iter()
        .position(|value| *value == text)
        .ok_or_else(|| error!("Parameter '{name}' does not accept value '{text}'"))
}
