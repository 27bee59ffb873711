//! What a protocol says of its own types: the answer to `query-qmp-schema`.

use super::{Map, Qapi, Value, json};
use std::collections::BTreeMap;

/// A schema while it is being gathered. Types are entered once, under a number for a name.
#[derive(Debug, Default)]
pub struct Schema {
    entries: Vec<Value>,
    names: BTreeMap<String, String>,
}

/// The members of a structure, and if it is a union, what it may have besides.
#[derive(Debug, Default)]
pub struct Members {
    list: Vec<Value>,
    tag: Option<&'static str>,
    variants: Vec<Value>,
}

impl Members {
    /// Adds a member.
    pub fn add<T: Qapi>(&mut self, schema: &mut Schema, name: &str) {
        let kind = T::describe(schema);
        let mut member = json!({"name": name, "type": kind});
        if T::absent().is_some()
            && let Some(map) = member.as_object_mut()
        {
            map.insert("default".into(), Value::Null);
        }
        self.list.push(member);
    }
    /// Makes it a union: member `name`, of the enumeration `kind`, says which variant it is.
    pub fn tag(&mut self, name: &'static str, kind: &str) {
        self.list.push(json!({"name": name, "type": kind}));
        self.tag = Some(name);
    }
    /// Adds a variant.
    pub fn variant(&mut self, case: &str, kind: &str) {
        self.variants.push(json!({"case": case, "type": kind}));
    }

    fn into_entry(self) -> Map<String, Value> {
        let mut entry = Map::new();
        entry.insert("members".into(), Value::Array(self.list));
        if let Some(tag) = self.tag {
            entry.insert("tag".into(), tag.into());
            entry.insert("variants".into(), Value::Array(self.variants));
        }
        entry
    }
}

impl Schema {
    /// A type that the protocol has by itself: `str`, `int`.
    pub fn builtin(&mut self, name: &str, json_type: &str) -> String {
        if !self.names.contains_key(name) {
            self.entries.push(json!({"name": name, "meta-type": "builtin", "json-type": json_type}));
            self.names.insert(name.to_owned(), name.to_owned());
        }
        name.to_owned()
    }

    /// Enters a type under the key `key`, which no other type has. A type may contain itself.
    fn enter(
        &mut self,
        key: String,
        meta: &str,
        fill: impl FnOnce(&mut Self) -> Map<String, Value>,
    ) -> String {
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        let (place, name) = (self.entries.len(), self.names.len().to_string());
        self.entries.push(Value::Null);
        self.names.insert(key, name.clone());
        let mut entry = fill(self);
        entry.insert("name".into(), name.clone().into());
        entry.insert("meta-type".into(), meta.into());
        self.entries[place] = Value::Object(entry);
        name
    }

    /// A structure or union; `key` is the Rust type's name.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Self, &mut Members)) -> String {
        self.enter(key.to_owned(), "object", |schema| {
            let mut members = Members::default();
            fill(schema, &mut members);
            members.into_entry()
        })
    }
    /// An enumeration.
    pub fn enumeration(&mut self, key: &str, values: &[&str]) -> String {
        self.enter(key.to_owned(), "enum", |_| {
            let members: Vec<_> = values.iter().map(|name| json!({"name": name})).collect();
            Map::from_iter([("members".to_owned(), members.into()), ("values".to_owned(), json!(values))])
        })
    }
    /// A choice between types of different JSON types.
    pub fn alternate(&mut self, key: &str, fill: impl FnOnce(&mut Self) -> Vec<String>) -> String {
        self.enter(key.to_owned(), "alternate", |schema| {
            let members: Vec<_> = fill(schema).into_iter().map(|kind| json!({"type": kind})).collect();
            Map::from_iter([("members".to_owned(), members.into())])
        })
    }
    /// A list of `T`.
    pub fn array<T: Qapi>(&mut self) -> String {
        let element = T::describe(self);
        let name = format!("[{element}]");
        if !self.names.contains_key(&name) {
            self.entries.push(json!({"name": name, "meta-type": "array", "element-type": element}));
            self.names.insert(name.clone(), name.clone());
        }
        name
    }
    /// The structure without members.
    pub fn empty(&mut self) -> String {
        self.object("()", |_, _| {})
    }

    /// A command.
    pub fn command(&mut self, name: &str, arguments: &str, result: &str, oob: bool, features: &[&str]) {
        let mut entry =
            json!({"name": name, "meta-type": "command", "arg-type": arguments, "ret-type": result});
        if let Some(map) = entry.as_object_mut() {
            if oob {
                map.insert("allow-oob".into(), true.into());
            }
            if !features.is_empty() {
                map.insert("features".into(), json!(features));
            }
        }
        self.entries.push(entry);
    }
    /// An event.
    pub fn event(&mut self, name: &str, data: &str) {
        self.entries.push(json!({"name": name, "meta-type": "event", "arg-type": data}));
    }

    /// All entries.
    pub fn finish(self) -> Vec<Value> {
        self.entries
    }
}
