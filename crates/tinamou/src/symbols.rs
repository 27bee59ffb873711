//! Names of guest addresses for profiles: of the ELF files that are run, and of a file that is named.

use base::{Result, error};
use engine::Symbols;
use machines::loader;
use std::path::Path;

/// Files above this size are no symbols.
const LIMIT: u64 = 1 << 31;

/// The symbols of `programs`, as far as they are ELF files, and of `file`: an ELF file (`vmlinux`) or a list as the kernel's `System.map`.
pub fn load(programs: &[Option<&str>], file: Option<&Path>) -> Result<Symbols> {
    let mut all = Vec::new();
    for program in programs.iter().flatten() {
        // What cannot be read is told by who runs it.
        if let Ok(found) = symbols(Path::new(program)) {
            all.extend(found.into_iter().map(|s| (s.address, s.size, s.name)));
        }
    }
    if let Some(file) = file {
        let bytes = loader::read_file(file, LIMIT).map_err(|e| error!("{e}"))?;
        let found = match std::str::from_utf8(&bytes) {
            Ok(text) if !bytes.starts_with(b"\x7fELF") => list(text),
            _ => {
                let found = symbols(file)?;
                found.into_iter().map(|s| (s.address, s.size, s.name)).collect()
            }
        };
        if found.is_empty() {
            return Err(error!("'{}' has no symbols", file.display()));
        }
        all.extend(found);
    }
    Ok(Symbols::new(all))
}

/// Those of an ELF file; none if it is another one.
fn symbols(file: &Path) -> Result<Vec<loader::Symbol>> {
    let loaded = loader::load(file, 0, LIMIT).map_err(|e| error!("{e}"))?;
    Ok(loaded.symbols)
}

/// Lines of an address, a letter and a name, as nm(1) prints them.
fn list(text: &str) -> Vec<(u64, u64, String)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let _kind = words.next().filter(|kind| kind.len() == 1)?;
        Some((address, 0, words.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
#[path = "symbols_test.rs"]
mod test;
