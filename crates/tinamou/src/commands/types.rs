//! Types: which there are, and their properties.

use crate::lists::{MACHINE_PROPERTIES, OBJECTS, machine, machines, types};
use base::error::Class;
use base::{Result, error};
use monitor::hmp::Arguments;
use monitor::qmp::value_json;
use monitor::{Command, Context, command};
use object::PropertyInfo;
use qapi::{Qapi, Value};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[DEVICE_LIST_PROPERTIES, QOM_LIST_PROPERTIES, QOM_LIST_TYPES];

/// A type.
#[derive(Debug, Qapi)]
pub struct ObjectTypeInfo {
    name: String,
    #[qapi(name = "abstract")]
    is_abstract: Option<bool>,
    parent: Option<String>,
}

/// A property.
#[derive(Debug, Qapi)]
pub struct ObjectPropertyInfo {
    name: String,
    #[qapi(name = "type")]
    kind: String,
    description: Option<String>,
    default_value: Option<Value>,
}

/// The parents of types that are nobody's device: types of machines, processors, back ends.
const FAMILIES: &[(&str, &str, bool)] = &[
    ("accel", "object", true),
    ("chardev", "object", true),
    ("event-loop-base", "object", true),
    ("memory-backend", "object", true),
    ("riscv-cpu", "cpu", true),
    ("rng-backend", "object", true),
    ("secret_common", "object", true),
    ("tcg-accel", "accel", false),
];

/// Kinds of character devices.
const CHARDEVS: &[&str] = &["file", "mux", "null", "pipe", "pty", "ringbuf", "socket", "stdio", "vc"];

/// All types of the program: name, parent, whether there are only objects of types derived from it.
fn all() -> Vec<(String, Option<String>, bool)> {
    let mut all: Vec<_> =
        types().iter().map(|t| (t.name.to_owned(), t.parent.map(str::to_owned), t.is_abstract)).collect();
    let mut add = |name: String, parent: &str, is_abstract| {
        if !all.iter().any(|(other, ..)| *other == name) {
            all.push((name, Some(parent.to_owned()), is_abstract));
        }
    };
    FAMILIES.iter().for_each(|(name, parent, is_abstract)| add((*name).to_owned(), parent, *is_abstract));
    machines().iter().for_each(|machine| add(format!("{}-machine", machine.name), "machine", false));
    riscv::models().iter().for_each(|model| add(format!("{model}-riscv-cpu"), "riscv-cpu", false));
    OBJECTS.iter().for_each(|object| add(object.name.to_owned(), object.parent, false));
    CHARDEVS.iter().for_each(|kind| add(format!("chardev-{kind}"), "chardev", false));
    all
}

/// The types of objects, or those of a family.
#[command]
pub fn qom_list_types(
    _: &mut Context<'_>,
    implements: Option<String>,
    #[name("abstract")] with_abstract: Option<bool>,
) -> Result<Vec<ObjectTypeInfo>> {
    let all = all();
    let is_a = |name: &str, of: &str| {
        let mut name = Some(name);
        // No chain is longer than there are types.
        for _ in 0..all.len() {
            match name {
                Some(same) if same == of => return true,
                Some(other) => {
                    name = all.iter().find(|t| t.0 == other).and_then(|t| t.1.as_deref());
                }
                None => return false,
            }
        }
        false
    };
    let wanted = |t: &&(String, Option<String>, bool)| {
        (!t.2 || with_abstract.unwrap_or(false)) && implements.as_ref().is_none_or(|of| is_a(&t.0, of))
    };
    let info = |(name, parent, is_abstract): &(String, Option<String>, bool)| ObjectTypeInfo {
        name: name.clone(),
        is_abstract: is_abstract.then_some(true),
        parent: parent.clone(),
    };
    Ok(all.iter().filter(wanted).map(info).collect())
}

fn info(property: &PropertyInfo) -> ObjectPropertyInfo {
    ObjectPropertyInfo {
        name: property.name.to_owned(),
        kind: property.kind.to_owned(),
        description: Some(property.desc.to_owned()).filter(|text| !text.is_empty()),
        default_value: property.default.as_ref().map(value_json),
    }
}

/// The properties of a type of devices.
#[command]
pub fn device_list_properties(_: &mut Context<'_>, typename: String) -> Result<Vec<ObjectPropertyInfo>> {
    let types = types();
    let found = types.find(&typename);
    let found = found.ok_or_else(|| error!("Device '{typename}' not found").class(Class::DeviceNotFound))?;
    if !types.is_a(&typename, "device") {
        return Err(error!("Parameter 'typename' expects device"));
    }
    if found.is_abstract {
        return Err(error!("Parameter 'typename' expects a non-abstract device type"));
    }
    Ok(types.properties(&typename).iter().map(info).collect())
}

/// The properties of any type.
#[command]
pub fn qom_list_properties(_: &mut Context<'_>, typename: String) -> Result<Vec<ObjectPropertyInfo>> {
    let row = |(name, kind, desc): &(&str, &str, &str)| ObjectPropertyInfo {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        description: Some((*desc).to_owned()).filter(|text| !text.is_empty()),
        default_value: None,
    };
    let mut list = vec![row(&("type", "string", ""))];
    let machine = typename.strip_suffix("-machine").and_then(machine);
    let object = OBJECTS.iter().find(|object| object.name == typename);
    if let Some(machine) = machine {
        list.extend(MACHINE_PROPERTIES.iter().chain(machine.properties).map(row));
    } else if let Some(object) = object {
        list.extend(object.properties.iter().map(row));
    } else if all().iter().any(|(name, ..)| *name == typename) {
        list.extend(types().properties(&typename).iter().map(info));
    } else {
        return Err(error!("Class '{typename}' not found").class(Class::DeviceNotFound));
    }
    Ok(list)
}

/// `info qdm`.
fn info_qdm(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    arguments.finish()?;
    context.out.push_str(&object::device_list(&types()));
    Ok(())
}

/// Subcommands of `info`.
pub const INFO: &[monitor::hmp::Command] =
    &[monitor::hmp::Command { names: "qdm", params: "", help: "show qdev device model list", run: info_qdm }];

#[cfg(test)]
#[path = "types_test.rs"]
mod test;
