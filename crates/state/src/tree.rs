//! A stream as text: the tree of its fields, read by nothing but the descriptions in it.

use std::fmt::Write;

use crate::description::{Description, FieldDescription, FieldType};
use crate::{Loader, StateError};

/// Elements of a list that are shown on one line; of longer ones the rest is counted.
const SHOWN: usize = 64;

/// Prints all sections in `bytes`, one field a line, nested structures indented.
///
/// # Errors
/// The stream is damaged; what came before the damage is lost.
pub fn print(bytes: &[u8]) -> Result<String, StateError> {
    let mut from = Loader::new(bytes);
    let mut out = String::new();
    while let Some((name, instance)) = from.next_section()? {
        let (description, mut content) = from.described_section()?;
        let _ = writeln!(out, "{name} {instance} (version {})", description.version);
        let version = description.version;
        Printer { out: &mut out }.structure(&mut content, &description, version, 1)?;
        content.end()?;
    }
    Ok(out)
}

struct Printer<'a> {
    out: &'a mut String,
}

impl Printer<'_> {
    fn structure(
        &mut self,
        from: &mut Loader<'_>,
        d: &Description,
        version: u32,
        depth: usize,
    ) -> Result<(), StateError> {
        let written: Vec<_> = d.fields.iter().filter(|f| f.since <= version).collect();
        self.fields(from, &written, depth)?;
        let mut there = Vec::new();
        from.subsections(|name, inner| {
            there.push((name.to_owned(), inner.raw(inner.left())?.to_vec()));
            Ok(())
        })?;
        for (name, bytes) in there {
            let known = d.subsections.iter().find(|s| s.name == name);
            let known = known.ok_or_else(|| from.unknown_subsection(&name))?;
            let _ = writeln!(self.out, "{:1$}subsection {name}", "", 2 * depth);
            let mut inner = Loader::new(&bytes);
            self.fields(&mut inner, &known.fields.iter().collect::<Vec<_>>(), depth + 1)?;
            inner.end()?;
        }
        Ok(())
    }

    fn fields(
        &mut self,
        from: &mut Loader<'_>,
        fields: &[&FieldDescription],
        depth: usize,
    ) -> Result<(), StateError> {
        fields.iter().try_for_each(|field| self.field(from, &field.name, &field.ty, depth))
    }

    fn field(
        &mut self,
        from: &mut Loader<'_>,
        name: &str,
        ty: &FieldType,
        depth: usize,
    ) -> Result<(), StateError> {
        let indent = 2 * depth;
        match ty {
            FieldType::Struct(d) => {
                let version = from.u32()?;
                let _ = writeln!(self.out, "{:indent$}{name}: {} (version {version})", "", d.name);
                self.structure(from, d, version, depth + 1)
            }
            FieldType::Option(of) if contains_struct(of) => match from.u8()? {
                0 => self.line(indent, name, "none"),
                _ => self.field(from, name, of, depth),
            },
            FieldType::List(of) if contains_struct(of) => {
                let n = from.count()?;
                self.line(indent, name, &format!("{n} of {}", of.words()))?;
                (0..n).try_for_each(|i| self.field(from, &i.to_string(), of, depth + 1))
            }
            FieldType::Array(of, n) if contains_struct(of) => {
                self.line(indent, name, &format!("{n} of {}", of.words()))?;
                (0..*n).try_for_each(|i| self.field(from, &i.to_string(), of, depth + 1))
            }
            FieldType::Tuple(parts) if parts.iter().any(contains_struct) => {
                self.line(indent, name, &ty.words())?;
                let mut numbered = parts.iter().enumerate();
                numbered.try_for_each(|(i, part)| self.field(from, &i.to_string(), part, depth + 1))
            }
            plain => {
                let text = value(from, plain)?;
                self.line(indent, name, &text)
            }
        }
    }

    fn line(&mut self, indent: usize, name: &str, text: &str) -> Result<(), StateError> {
        let _ = writeln!(self.out, "{:indent$}{name}: {text}", "");
        Ok(())
    }
}

fn contains_struct(ty: &FieldType) -> bool {
    match ty {
        FieldType::Struct(_) => true,
        FieldType::Array(of, _) | FieldType::List(of) | FieldType::Option(of) => contains_struct(of),
        FieldType::Tuple(parts) => parts.iter().any(contains_struct),
        FieldType::Plain(_) | FieldType::Enum(..) => false,
    }
}

/// The text of a value without a structure in it.
fn value(from: &mut Loader<'_>, ty: &FieldType) -> Result<String, StateError> {
    Ok(match ty {
        FieldType::Plain(name) => plain(from, name)?,
        FieldType::Enum(name, variants) => {
            let n = from.u32()?;
            variants.get(n as usize).cloned().unwrap_or_else(|| format!("{n} of {name}"))
        }
        FieldType::Option(of) => match from.u8()? {
            0 => "none".to_owned(),
            _ => value(from, of)?,
        },
        FieldType::Tuple(parts) => {
            let texts: Result<Vec<_>, _> = parts.iter().map(|part| value(from, part)).collect();
            format!("({})", texts?.join(", "))
        }
        FieldType::Array(of, n) => elements(from, of, *n)?,
        FieldType::List(of) => {
            let n = from.count()? as u64;
            elements(from, of, n)?
        }
        FieldType::Struct(_) => return Err(from.invalid("a structure in a plain value")),
    })
}

fn elements(from: &mut Loader<'_>, of: &FieldType, n: u64) -> Result<String, StateError> {
    let mut texts = Vec::new();
    for i in 0..n {
        let before = from.left();
        let text = value(from, of)?;
        if from.left() == before {
            return Err(from.invalid("elements without content"));
        }
        if i < SHOWN as u64 {
            texts.push(text);
        }
    }
    let rest = n.saturating_sub(SHOWN as u64);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    Ok(format!("[{}]{more}", texts.join(" ")))
}

fn plain(from: &mut Loader<'_>, name: &str) -> Result<String, StateError> {
    Ok(match name {
        "u8" => format!("{:#04x}", from.u8()?),
        "u16" => format!("{:#x}", from.u16()?),
        "u32" => format!("{:#x}", from.u32()?),
        "u64" | "usize" => format!("{:#x}", from.u64()?),
        "u128" => format!("{:#x}", from.u128()?),
        "i8" => (from.u8()? as i8).to_string(),
        "i16" => (from.u16()? as i16).to_string(),
        "i32" => (from.u32()? as i32).to_string(),
        "i64" => (from.u64()? as i64).to_string(),
        "i128" => (from.u128()? as i128).to_string(),
        "bool" => (from.u8()? != 0).to_string(),
        "f32" => f32::from_bits(from.u32()?).to_string(),
        "f64" => f64::from_bits(from.u64()?).to_string(),
        "string" => format!("{:?}", from.string()?),
        other => return Err(from.invalid(format!("type '{other}' is unknown here"))),
    })
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod test;
