//! JSON as the protocol writes it.

use qapi::Value;
use std::fmt::Write;

/// The text of a value: on one line with blanks behind colons and commas, or if `pretty` indented by four. All that is
/// not ASCII is escaped.
pub fn write(value: &Value, pretty: bool) -> String {
    let mut out = String::new();
    any(&mut out, value, pretty.then_some(0));
    out
}

fn any(out: &mut String, value: &Value, indent: Option<usize>) {
    match value {
        Value::String(text) => string(out, text),
        Value::Array(items) => list(out, '[', ']', indent, items, any),
        Value::Object(members) => list(out, '{', '}', indent, members, |out, (name, value), indent| {
            string(out, name);
            out.push_str(": ");
            any(out, value, indent);
        }),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

fn list<T>(
    out: &mut String,
    open: char,
    close: char,
    indent: Option<usize>,
    items: impl IntoIterator<Item = T>,
    each: impl Fn(&mut String, T, Option<usize>),
) {
    out.push(open);
    let deeper = indent.map(|n| n + 4);
    let mut empty = true;
    for item in items {
        if !std::mem::take(&mut empty) {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        new_line(out, deeper);
        each(out, item, deeper);
    }
    if !empty {
        new_line(out, indent);
    }
    out.push(close);
}

fn new_line(out: &mut String, indent: Option<usize>) {
    if let Some(indent) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
#[path = "json_test.rs"]
mod test;
