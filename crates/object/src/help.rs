//! `-device help` and `-device TYPE,help`, and the like for other objects.

use std::fmt::Write;

use crate::{Category, PropertyInfo, Types};

/// The list of properties in the words of `TYPE,help`, sorted by name.
pub fn properties_help(name: &str, mut properties: Vec<PropertyInfo>) -> String {
    if properties.is_empty() {
        return format!("There are no options for {name}.\n");
    }
    // With the sign that follows them, as whole lines are sorted.
    properties.sort_by_key(|p| format!("{}=", p.name));
    let mut out = format!("{name} options:\n");
    for property in properties {
        let mut line = format!("  {}=<{}>", property.name, property.kind);
        if !property.desc.is_empty() || property.default.is_some() {
            let _ = write!(line, "{:pad$} - {}", "", property.desc, pad = 24usize.saturating_sub(line.len()));
        }
        if let Some(default) = &property.default {
            let _ = write!(line, " (default: {})", default.help());
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// The text of `-device TYPE,help`; `None` if there is no such device.
pub fn device_help(types: &Types, name: &str) -> Option<String> {
    let info = types.find(name).filter(|t| !t.is_abstract && types.is_a(t.name, "device"))?;
    Some(properties_help(info.name, types.properties(info.name)))
}

/// The text of `-device help`.
pub fn device_list(types: &Types) -> String {
    let mut parts = Vec::new();
    for (category, heading) in Category::ALL {
        let mut part = String::new();
        for info in types.kinds_of("device").filter(|t| t.user_creatable && t.category == *category) {
            let _ = write!(part, "name \"{}\"", info.name);
            if let Some(bus) = types.ancestry(info.name).find_map(|t| t.bus) {
                let _ = write!(part, ", bus {bus}");
            }
            if !info.desc.is_empty() {
                let _ = write!(part, ", desc \"{}\"", info.desc);
            }
            part.push('\n');
        }
        if !part.is_empty() {
            parts.push(format!("{heading} devices:\n{part}"));
        }
    }
    parts.join("\n")
}

#[cfg(test)]
#[path = "help_test.rs"]
mod test;
