//! `info qtree`: the buses and the devices on them.

use std::fmt::Write;

use crate::ObjectRef;

/// The tree of buses from `bus` down, as `info qtree` shows it: on each bus the newest device first.
pub fn print_qtree(bus: &ObjectRef, name: &str) -> String {
    let mut out = String::new();
    print_bus(bus, name, 0, &mut out);
    out
}

fn print_bus(bus: &ObjectRef, name: &str, indent: usize, out: &mut String) {
    let _ = writeln!(out, "{:indent$}bus: {name}", "");
    let _ = writeln!(out, "{:indent$}  type {}", "", bus.type_name());
    // The windows of devices on other buses are the bus's business.
    let system = bus.type_name() == "System";
    for device in bus.attached().iter().rev() {
        print_device(device, system, indent + 2, out);
    }
}

fn print_device(node: &ObjectRef, system: bool, indent: usize, out: &mut String) {
    let _ = writeln!(out, "{:indent$}dev: {}, id \"{}\"", "", node.type_name(), node.id());
    let indent = indent + 2;
    if let Some(device) = node.device() {
        if device.inputs() > 0 {
            let _ = writeln!(out, "{:indent$}gpio-in \"\" {}", "", device.inputs());
        }
        // Several fields of a device may be parts of one list of outputs.
        let mut outputs: Vec<(&str, usize)> = Vec::new();
        for (name, count) in device.wires() {
            match outputs.iter_mut().find(|o| o.0 == name) {
                Some(output) => output.1 += count,
                None => outputs.push((name, count)),
            }
        }
        for (name, count) in outputs {
            let _ = writeln!(out, "{:indent$}gpio-out \"{name}\" {count}", "");
        }
    }
    for property in node.own_properties() {
        if let Ok(value) = node.property(property.name) {
            let _ = writeln!(out, "{:indent$}{} = {}", "", property.name, value.human(property.kind));
        }
    }
    for window in node.windows().into_iter().filter(|_| system) {
        let address = window.address.unwrap_or(u64::MAX);
        let _ = writeln!(out, "{:indent$}mmio {address:016x}/{:016x}", "", window.size);
    }
    for line in node.details() {
        let _ = writeln!(out, "{:indent$}{line}", "");
    }
    for (name, child) in node.children() {
        if child.is_bus() {
            print_bus(&child, &name, indent, out);
        }
    }
}
