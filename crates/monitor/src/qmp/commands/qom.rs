//! The object tree.

use super::{Qapi, command};
use crate::{Command, Context};
use base::error::Class;
use base::{Result, error};
use object::{ObjectRef, PropertyValue};
use qapi::{Map, Value};
use std::fmt::Write;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[QOM_GET, QOM_LIST, QOM_SET];

/// A property.
#[derive(Debug, Qapi)]
pub struct ObjectPropertyInfo {
    name: String,
    #[qapi(name = "type")]
    kind: String,
    description: Option<String>,
}

fn resolve(context: &Context<'_>, path: &str) -> Result<ObjectRef> {
    match context.vm.root().resolve(path) {
        Ok(Some(node)) => Ok(node),
        Ok(None) => Err(error!("Device '{path}' not found").class(Class::DeviceNotFound)),
        Err(_) => Err(error!("Path '{path}' is ambiguous")),
    }
}

/// A property's value in the protocol.
pub fn value_json(value: &PropertyValue) -> Value {
    match value {
        PropertyValue::Bool(on) => (*on).into(),
        PropertyValue::Int(n) => (*n).into(),
        PropertyValue::Uint(n) => (*n).into(),
        PropertyValue::Str(text) | PropertyValue::Link(text) => text.as_str().into(),
        PropertyValue::List(items) => items.iter().map(value_json).collect(),
        PropertyValue::Struct(members) => {
            let member = |(name, value): &(String, PropertyValue)| (name.clone(), value_json(value));
            Value::Object(members.iter().map(member).collect::<Map<_, _>>())
        }
    }
}

fn property_value(value: &Value) -> Result<PropertyValue> {
    Ok(match value {
        Value::Bool(on) => PropertyValue::Bool(*on),
        Value::String(text) => PropertyValue::Str(text.clone()),
        Value::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => PropertyValue::Uint(n),
            (None, Some(n)) => PropertyValue::Int(n),
            (None, None) => PropertyValue::Str(n.to_string()),
        },
        Value::Array(items) => PropertyValue::List(items.iter().map(property_value).collect::<Result<_>>()?),
        Value::Object(_) | Value::Null => {
            return Err(error!("Invalid parameter type for 'value', expected: string, number or boolean"));
        }
    })
}

/// The properties of an object, its children among them.
#[command(hmp("qom-list", "path", "list QOM properties"))]
pub fn qom_list(context: &mut Context<'_>, path: String) -> Result<Vec<ObjectPropertyInfo>> {
    let node = resolve(context, &path)?;
    let plain = |name: &str, kind: String, desc: &str| ObjectPropertyInfo {
        name: name.to_owned(),
        kind,
        description: Some(desc.to_owned()).filter(|text| !text.is_empty()),
    };
    let mut list = vec![plain("type", "string".into(), "")];
    if node.is_device() {
        list.extend([plain("realized", "bool".into(), ""), plain("hotpluggable", "bool".into(), "")]);
    }
    list.extend(node.properties().iter().map(|p| plain(p.name, p.kind.to_owned(), p.desc)));
    list.extend(
        node.children().iter().map(|(name, child)| plain(name, format!("child<{}>", child.type_name()), "")),
    );
    for one in &list {
        let _ = writeln!(context.out, "{} ({})", one.name, one.kind);
    }
    Ok(list)
}

/// The value of a property.
#[command(hmp("qom-get", "path property", "print QOM property"))]
pub fn qom_get(context: &mut Context<'_>, path: String, property: String) -> Result<Value> {
    let node = resolve(context, &path)?;
    let value = if property == "type" {
        node.type_name().into()
    } else if node.is_device() && matches!(property.as_str(), "realized" | "hotpluggable") {
        // What stands in the tree is realized.
        true.into()
    } else if let Some(child) = node.child(&property) {
        child.path().into()
    } else {
        value_json(&node.property(&property)?)
    };
    let _ = writeln!(context.out, "{}", super::super::write(&value, true));
    Ok(value)
}

/// Sets a property.
#[command]
pub fn qom_set(context: &mut Context<'_>, path: String, property: String, value: Value) -> Result<()> {
    resolve(context, &path)?.set_property(&property, &property_value(&value)?)
}
