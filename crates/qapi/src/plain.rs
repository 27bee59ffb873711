//! The types that the protocol has by itself.

use super::{Kind, Map, Qapi, Schema, Value, wrong_type};
use base::{Result, error};

impl Qapi for bool {
    const KIND: Kind = Kind::Boolean;
    fn describe(schema: &mut Schema) -> String {
        schema.builtin("bool", "boolean")
    }
    fn from_json(value: Value, at: &str) -> Result<Self> {
        value.as_bool().ok_or_else(|| wrong_type(at, "boolean"))
    }
    fn to_json(&self) -> Value {
        (*self).into()
    }
}

impl Qapi for String {
    const KIND: Kind = Kind::String;
    fn describe(schema: &mut Schema) -> String {
        schema.builtin("str", "string")
    }
    fn from_json(value: Value, at: &str) -> Result<Self> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(wrong_type(at, "string")),
        }
    }
    fn to_json(&self) -> Value {
        self.as_str().into()
    }
}

impl Qapi for f64 {
    const KIND: Kind = Kind::Number;
    fn describe(schema: &mut Schema) -> String {
        schema.builtin("number", "number")
    }
    fn from_json(value: Value, at: &str) -> Result<Self> {
        value.as_f64().ok_or_else(|| wrong_type(at, "number"))
    }
    fn to_json(&self) -> Value {
        (*self).into()
    }
}

/// An unsigned number; a negative one is taken for what it is modulo 2^64, as the protocol always did.
fn unsigned(value: &Value, at: &str) -> Result<u64> {
    value
        .as_u64()
        .or(value.as_i64().map(|n| n as u64))
        .ok_or_else(|| error!("Parameter '{at}' expects uint64"))
}

macro_rules! numbers {
    ($($kind:ident $name:literal $via:ident |$value:ident, $at:ident| $read:expr;)*) => { $(
        impl Qapi for $kind {
            const KIND: Kind = Kind::Int;
            fn describe(schema: &mut Schema) -> String {
                schema.builtin("int", "int")
            }
            fn from_json(value: Value, at: &str) -> Result<Self> {
                let ($value, $at) = (&value, at);
                let number: $via = $read?;
                Self::try_from(number)
                    .map_err(|_| error!("Parameter '{at}' expects {}", $name))
            }
            fn to_json(&self) -> Value {
                (*self).into()
            }
        }
    )* };
}

numbers! {
    u8 "uint8_t" u64 |value, at| unsigned(value, at);
    u16 "uint16_t" u64 |value, at| unsigned(value, at);
    u32 "uint32_t" u64 |value, at| unsigned(value, at);
    u64 "uint64_t" u64 |value, at| unsigned(value, at);
    i8 "int8_t" i64 |value, at| value.as_i64().ok_or_else(|| wrong_type(at, "integer"));
    i16 "int16_t" i64 |value, at| value.as_i64().ok_or_else(|| wrong_type(at, "integer"));
    i32 "int32_t" i64 |value, at| value.as_i64().ok_or_else(|| wrong_type(at, "integer"));
    i64 "int64_t" i64 |value, at| value.as_i64().ok_or_else(|| wrong_type(at, "integer"));
}

impl Qapi for Value {
    const KIND: Kind = Kind::Value;
    fn describe(schema: &mut Schema) -> String {
        schema.builtin("any", "value")
    }
    fn from_json(value: Value, _: &str) -> Result<Self> {
        Ok(value)
    }
    fn to_json(&self) -> Value {
        self.clone()
    }
}

/// Nothing: the result of a command that only does something.
impl Qapi for () {
    const KIND: Kind = Kind::Object;
    fn describe(schema: &mut Schema) -> String {
        schema.empty()
    }
    fn from_json(_: Value, _: &str) -> Result<Self> {
        Ok(())
    }
    fn to_json(&self) -> Value {
        Value::Object(Map::new())
    }
}

impl<T: Qapi> Qapi for Vec<T> {
    const KIND: Kind = Kind::Array;
    fn describe(schema: &mut Schema) -> String {
        schema.array::<T>()
    }
    fn from_json(value: Value, at: &str) -> Result<Self> {
        let Value::Array(items) = value else { return Err(wrong_type(at, "array")) };
        items.into_iter().enumerate().map(|(n, item)| T::from_json(item, &format!("{at}[{n}]"))).collect()
    }
    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }
}

/// A member that may be left away. `null` is not the same as leaving it away.
impl<T: Qapi> Qapi for Option<T> {
    const KIND: Kind = T::KIND;
    fn describe(schema: &mut Schema) -> String {
        T::describe(schema)
    }
    fn from_json(value: Value, at: &str) -> Result<Self> {
        T::from_json(value, at).map(Some)
    }
    fn to_json(&self) -> Value {
        // A result that is absent as a whole is an empty structure.
        self.as_ref().map_or_else(|| Value::Object(Map::new()), T::to_json)
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Qapi> Qapi for Box<T> {
    const KIND: Kind = T::KIND;
    fn describe(schema: &mut Schema) -> String {
        T::describe(schema)
    }
    fn from_json(value: Value, at: &str) -> Result<Self> {
        T::from_json(value, at).map(Box::new)
    }
    fn to_json(&self) -> Value {
        (**self).to_json()
    }
}
