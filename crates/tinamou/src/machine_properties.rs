//! The machine's own properties in the object tree: what the user has asked for, and what holds without that. They are read
//! only: the machine is built.

use crate::lists::MACHINE_PROPERTIES;
use crate::options::{Config, Opts};
use machines::MachineType;
use object::{NodeProperty, ObjectRef, PropertyValue};

/// Switches that are on unless the user has switched them off.
const ON: &[&str] = &["dump-guest-core", "graphics", "mem-merge"];

/// Parts of a processor's place, from the outermost; those that the user has not counted are one each, but cores.
const PLACES: &[&str] = &["sockets", "dies", "clusters", "modules", "cores", "threads", "books", "drawers"];

/// Gives the machine's node its properties. `memory` is what the machine has, in bytes.
pub fn enter(node: &ObjectRef, kind: &MachineType, config: &Config, memory: u64, cpus: u32) {
    for (name, of, _) in MACHINE_PROPERTIES.iter().chain(kind.properties) {
        node.add_property(NodeProperty::fixed(name, of, value(name, of, kind, config)));
    }
    let size = ("size".to_owned(), PropertyValue::Uint(memory));
    node.add_property(NodeProperty::fixed(
        "memory",
        "MemorySizeConfiguration",
        PropertyValue::Struct(vec![size]),
    ));
    let places = processors(config.smp.as_ref(), cpus);
    node.add_property(NodeProperty::fixed("smp", "SMPConfiguration", PropertyValue::Struct(places)));
}

fn value(name: &str, of: &str, kind: &MachineType, config: &Config) -> PropertyValue {
    let option = match name {
        "append" => config.append.as_deref(),
        "dtb" => config.dtb.as_deref(),
        "firmware" => config.bios.as_deref(),
        "initrd" => config.initrd.as_deref(),
        "kernel" => config.kernel.as_deref(),
        _ => None,
    };
    let said = config.machine.get(name).or(option);
    match (of, name, said) {
        ("bool", _, said) => PropertyValue::Bool(
            said.map_or(ON.contains(&name), |word| matches!(word, "on" | "yes" | "true" | "y")),
        ),
        ("OnOffAuto", _, said) => PropertyValue::Str(said.unwrap_or("auto").to_owned()),
        (_, "memory-backend", said) => {
            let id = said.unwrap_or(kind.ram_name);
            PropertyValue::Link(if id.is_empty() { String::new() } else { format!("/objects/{id}") })
        }
        (_, "aia", said) => PropertyValue::Str(said.unwrap_or("none").to_owned()),
        (_, "aia-guests", said) => PropertyValue::Str(said.unwrap_or("0").to_owned()),
        (_, _, said) => PropertyValue::Str(said.unwrap_or_default().to_owned()),
    }
}

fn processors(smp: Option<&Opts>, cpus: u32) -> Vec<(String, PropertyValue)> {
    let said = |name: &str| smp.and_then(|smp| smp.get(name)).and_then(|n| n.parse::<u64>().ok());
    let all = said("maxcpus").unwrap_or(cpus.into());
    let others: u64 =
        PLACES.iter().filter(|name| **name != "cores").map(|name| said(name).unwrap_or(1)).product();
    let count = |name: &&str| match *name {
        "cores" => said(name).unwrap_or(all / others.max(1)),
        name => said(name).unwrap_or(1),
    };
    let places = PLACES.iter().map(|name| (*name, count(name)));
    let all = [("cpus", cpus.into()), ("maxcpus", all)].into_iter().chain(places);
    all.map(|(name, n)| (name.to_owned(), PropertyValue::Uint(n))).collect()
}
