//! `-readconfig`: options from a file.
//!
//! ```text
//! [device "net0"]
//!   driver = "virtio-net-device"
//!   netdev = "n0"
//! ```
//!
//! A section is an option; what stands behind its name is its `id`.

use super::{Arg, Given, OPTIONS};
use base::{Result, error};

/// Sections whose name is not the option's.
const NAMES: &[(&str, &str)] = &[("boot-opts", "boot"), ("memory", "m"), ("smp-opts", "smp")];

/// Reads the options of a file; `shown` is the option that named it.
///
/// # Errors
/// It cannot be read, or a line of it makes no sense.
pub fn read_config(path: &str, shown: &str) -> Result<Vec<Given>> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| error!("{shown}: Could not open '{path}': {}", crate::launch::reason(&e)))?;
    parse(&text, path, shown)
}

fn parse(text: &str, path: &str, shown: &str) -> Result<Vec<Given>> {
    let mut all: Vec<Given> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let fail = |what: &str| error!("{path}:{}: {what}", n + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let section = section.strip_suffix(']').ok_or_else(|| fail("parse error"))?;
            let begun = begin(section.trim()).ok_or_else(|| fail("parse error"))?;
            all.push(begun.map_err(|e| e.prefix(format_args!("{shown}: ")))?);
            continue;
        }
        let given = all.last_mut().ok_or_else(|| error!("{shown}: no group defined"))?;
        let (key, value) = line.split_once('=').ok_or_else(|| fail("parse error"))?;
        let value = value.trim().strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        let value = value.ok_or_else(|| fail("parse error"))?;
        let comma = if given.value.is_empty() { "" } else { "," };
        given.value += &format!("{comma}{}={}", key.trim(), value.replace(',', ",,"));
        given.shown = format!("{path}:{}", n + 1);
    }
    Ok(all)
}

/// The option that a section begins; `None` if the section is written wrongly.
fn begin(section: &str) -> Option<Result<Given>> {
    let (name, id) = match section.split_once(char::is_whitespace) {
        None => (section, None),
        Some((name, id)) => (name, Some(id.trim().strip_prefix('"')?.strip_suffix('"')?)),
    };
    let option = NAMES.iter().find(|(section, _)| *section == name).map_or(name, |(_, option)| option);
    let row = OPTIONS.iter().flat_map(|(_, rows)| rows.iter()).find(|row| row.words.contains(&option));
    Some(match row.filter(|row| row.arg == Arg::Yes) {
        None => Err(error!("There is no option group '{name}'")),
        Some(row) => Ok(Given {
            name: row.words.first().copied().unwrap_or_default(),
            value: id.map(|id| format!("id={id}")).unwrap_or_default(),
            shown: format!("[{section}]"),
        }),
    })
}

#[cfg(test)]
#[path = "readconfig_test.rs"]
mod test;
