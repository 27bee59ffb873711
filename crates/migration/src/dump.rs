//! A snapshot, or the stream of a migration, as text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use base::{Result, error};

use crate::page::Form;
use crate::pages::walk;
use crate::stream::{Kind, read_magic, read_record};

/// Prints the tree of the fields in a file, and how many pages of what kind it has.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn dump(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|e| error!("cannot open '{}': {e}", path.display()))?;
    let mut from = BufReader::with_capacity(1 << 20, file);
    read_magic(&mut from)?;
    let mut out = String::new();
    let mut record = Vec::new();
    // Of each block: pages that are zero, whole, compressed, like another; and their bytes.
    let mut pages: BTreeMap<u16, [u64; 5]> = BTreeMap::new();
    while let Some(kind) = read_record(&mut from, &mut record)? {
        match kind {
            Kind::Sections => out.push_str(&state::print(&record)?),
            Kind::Pages => walk(&record, |(block, _), form, bytes| {
                let counts = pages.entry(block).or_default();
                let which = match form {
                    Form::Zero => 0,
                    Form::Bytes(n) if usize::from(n) == crate::page::PAGE => 1,
                    Form::Bytes(_) => 2,
                    Form::Same => 3,
                };
                counts[which] += 1;
                counts[4] += bytes.len() as u64;
                Ok(())
            })?,
            Kind::Index => {
                let _ = writeln!(out, "index: {} bytes", record.len());
            }
            Kind::End => break,
        }
    }
    for (block, [zero, whole, packed, same, bytes]) in pages {
        let _ = writeln!(
            out,
            "pages of block {block}: {packed} compressed, {whole} whole, {same} like another, {zero} zero; {bytes} bytes"
        );
    }
    Ok(out)
}
