//! The source form (specification chapter 6), for people and for comparison: what a value means is
//! guessed from its bytes, as every decompiler has to.

use std::fmt::Write;

use super::{Fdt, Node};

pub(super) fn to_dts(fdt: &Fdt) -> String {
    let mut dts = String::from("/dts-v1/;\n\n");
    for reservation in &fdt.reservations {
        dts.push_str(&format!("/memreserve/ {:#x} {:#x};\n", reservation.address, reservation.size));
    }
    node(&mut dts, &fdt.root, "/", 0);
    dts
}

fn node(dts: &mut String, node: &Node, name: &str, depth: usize) {
    let indent = "\t".repeat(depth);
    dts.push_str(&format!("{indent}{name} {{\n"));
    for (name, value) in &node.properties {
        dts.push_str(&format!("{indent}\t{name}{};\n", property(value)));
    }
    for child in &node.children {
        dts.push('\n');
        self::node(dts, child, &child.name, depth + 1);
    }
    dts.push_str(&format!("{indent}}};\n"));
}

/// ` = value`, or nothing for an empty property.
fn property(value: &[u8]) -> String {
    let mut text = String::new();
    if value.is_empty() {
        return text;
    }
    // Writing to a String cannot fail.
    let _ = if let Some(strings) = strings(value) {
        write!(text, " = {}", strings.join(", "))
    } else if value.len().is_multiple_of(4) {
        let cells = value.chunks_exact(4).map(|cell| {
            let cell = cell.iter().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte));
            format!("{cell:#04x}")
        });
        write!(text, " = <{}>", cells.collect::<Vec<_>>().join(" "))
    } else {
        let bytes = value.iter().map(|byte| format!("{byte:02x}"));
        write!(text, " = [{}]", bytes.collect::<Vec<_>>().join(" "))
    };
    text
}

/// The value as quoted strings, if it looks like a list of non-empty ones.
fn strings(value: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(value.strip_suffix(&[0])?).ok()?;
    let printable = |s: &str| !s.is_empty() && s.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    text.split('\0')
        .map(|s| printable(s).then(|| format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\""))))
        .collect()
}
