//! `cargo xtask check`: the structure of the house, against `layers.toml`.
//!
//! - each crate stands in the table, and uses only what the table lets it use, all of a lower level;
//! - no source file is longer than [`REFUSED`] lines, instruction and op tables excepted;
//! - each file with `unsafe` stands in the table and in the book's register.

use crate::{Result, paths};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// From this many lines on a file is mentioned.
const NOTICED: usize = 500;
/// Above this many lines a file is refused.
const REFUSED: usize = 1000;
/// The book's register of unsafe code.
const REGISTER: &str = "book/src/unsafe.md";

/// `layers.toml`.
#[derive(Debug, Deserialize)]
struct Layers {
    /// Crates that every other crate above level 0 may use.
    everywhere: Vec<String>,
    /// Files that may be longer than the limit, since they are tables.
    tables: Vec<String>,
    /// The rooms.
    rooms: BTreeMap<String, Room>,
}

/// One crate's row.
#[derive(Debug, Deserialize)]
struct Room {
    level: u32,
    #[serde(default)]
    uses: Vec<String>,
    /// Files of the crate, below `crates/NAME`, that may hold unsafe code.
    #[serde(default, rename = "unsafe")]
    may_be_unsafe: Vec<String>,
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    errors: Vec<String>,
    notices: Vec<String>,
}

/// Runs the task.
pub fn run() -> Result<()> {
    let root = paths::root();
    let text = fs::read_to_string(root.join("layers.toml"))?;
    let layers: Layers = toml::from_str(&text).map_err(|e| format!("layers.toml: {e}"))?;
    let mut found = Findings::default();
    table(&layers, &mut found);
    directions(&layers, &dependencies(&root)?, &mut found);
    let register = fs::read_to_string(root.join(REGISTER)).unwrap_or_default();
    files(&root, &layers, &register, &mut found)?;
    for notice in &found.notices {
        println!("note: {notice}");
    }
    for error in &found.errors {
        eprintln!("error: {error}");
    }
    if found.errors.is_empty() {
        println!("check: the house is in order ({} rooms)", layers.rooms.len());
        Ok(())
    } else {
        Err(format!("{} rules of the house are broken", found.errors.len()).into())
    }
}

/// The table itself: every use goes to a known room of a lower level, or of the same one when it says so.
fn table(layers: &Layers, found: &mut Findings) {
    for (name, room) in &layers.rooms {
        for used in &room.uses {
            match layers.rooms.get(used) {
                None => found.errors.push(format!("layers.toml: {name} uses {used}, which is no room")),
                Some(other) if other.level > room.level => found.errors.push(format!(
                    "layers.toml: {name} (level {}) uses {used} (level {})",
                    room.level, other.level
                )),
                Some(_) => {}
            }
        }
    }
}

/// Compares what the crates depend on with what they may use. Tests (dev-dependencies) may use anything.
fn directions(layers: &Layers, dependencies: &BTreeMap<String, Vec<String>>, found: &mut Findings) {
    for (name, uses) in dependencies {
        if name == "xtask" {
            for used in uses.iter().filter(|u| layers.rooms.contains_key(*u)) {
                found.errors.push(format!("xtask uses {used}: it may use no room of the house"));
            }
            continue;
        }
        let Some(room) = layers.rooms.get(name) else {
            found.errors.push(format!("crate {name} is not in layers.toml"));
            continue;
        };
        for used in uses.iter().filter(|u| layers.rooms.contains_key(*u)) {
            let allowed = room.uses.contains(used) || (layers.everywhere.contains(used) && room.level > 0);
            if !allowed {
                found.errors.push(format!("crate {name} uses {used}; layers.toml does not let it"));
            }
        }
    }
}

/// The normal and build dependencies of each crate of the workspace, by package name.
fn dependencies(root: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let uses = |package: &Package| {
        // A crate of the house has a path; one of the same name from outside has not.
        let mut names: Vec<String> = package
            .dependencies
            .iter()
            .filter(|d| d.kind.as_deref() != Some("dev") && d.path.is_some())
            .map(|d| d.name.clone())
            .collect();
        names.dedup();
        names
    };
    Ok(metadata.packages.iter().map(|p| (p.name.clone(), uses(p))).collect())
}

/// What of `cargo metadata` is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// Lengths and unsafe code of all source files.
fn files(root: &Path, layers: &Layers, register: &str, found: &mut Findings) -> Result<()> {
    let mut sources = Vec::new();
    rust_files(&root.join("crates"), &mut sources)?;
    rust_files(&root.join("xtask"), &mut sources)?;
    let mut listed: Vec<String> = Vec::new();
    for (name, room) in &layers.rooms {
        listed.extend(room.may_be_unsafe.iter().map(|f| format!("crates/{name}/{f}")));
    }
    let mut with_unsafe = Vec::new();
    for path in sources {
        let text = fs::read_to_string(&path)?;
        let file = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        length(&file, text.lines().count(), layers, found);
        if has_unsafe(&text) {
            if !listed.contains(&file) {
                found.errors.push(format!("{file}: unsafe code, and layers.toml does not list the file"));
            }
            if !register.contains(&file) {
                found.errors.push(format!("{file}: unsafe code, and {REGISTER} does not name the file"));
            }
            with_unsafe.push(file);
        }
    }
    for file in listed.iter().filter(|f| !with_unsafe.contains(f)) {
        found.notices.push(format!("layers.toml lists {file} for unsafe code, and there is none in it"));
    }
    for table in layers.tables.iter().filter(|t| !root.join(t).is_file()) {
        found.errors.push(format!("layers.toml lists the table {table}, which does not exist"));
    }
    Ok(())
}

fn length(file: &str, lines: usize, layers: &Layers, found: &mut Findings) {
    if layers.tables.iter().any(|t| t == file) {
        return;
    }
    if lines > REFUSED {
        found.errors.push(format!("{file}: {lines} lines; {REFUSED} are the most"));
    } else if lines >= NOTICED {
        found.notices.push(format!("{file}: {lines} lines"));
    }
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_none_or(|n| n != "target") {
                rust_files(&path, files)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether the text holds the keyword `unsafe` outside comments and strings. (Where it does not, an
/// `allow(unsafe_code)` only lets a module of the file have it, which is looked at by itself.)
fn has_unsafe(text: &str) -> bool {
    let code = code_of(text);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices("unsafe").any(|(at, found)| {
        let before = code.get(..at).and_then(|s| s.chars().next_back());
        let after = code.get(at + found.len()..).and_then(|s| s.chars().next());
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

/// The text without string literals and comments.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |n| n + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else if c == '"' {
            string(rest)
        } else if c == 'r' && !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            raw_string(rest).unwrap_or(0)
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
        }
        rest = rest.get(skipped.max(c.len_utf8())..).unwrap_or_default();
    }
    code
}

/// The length of the string literal at the start of the text.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string literal at the start of the text, if there is one.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.get(1..)?.chars().take_while(|&c| c == '#').count();
    let body = text.get(1 + hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(text.len(), |at| 2 + hashes + at + end.len()))
}

#[cfg(test)]
#[path = "check_test.rs"]
mod test;
