//! The commands of the book's lectures are run, and what the book shows is what they say.
//!
//! A block ```` ```console ```` begins with `$ tinamou-system-riscv64 ...`; lines `(qemu) ...` are typed at the monitor, the others are
//! the answer. A line `...` stands for any lines.

mod common;

use common::program;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

const PROGRAM: &str = "$ tinamou-system-riscv64 ";
const PROMPT: &str = "(qemu) ";

/// What a command says, on both streams, and what it is told through its monitor.
fn transcript(command: &str, typed: &[&str]) -> String {
    let mut child = program(command);
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut text = String::new();
    if !typed.is_empty() {
        let mut byte = [0];
        while !text.ends_with(PROMPT) {
            assert_eq!(output.read(&mut byte).unwrap(), 1, "{command}: {text}");
            text.push(byte[0] as char);
        }
        typed.iter().for_each(|line| writeln!(input, "{line}").unwrap());
        writeln!(input, "quit").unwrap();
    }
    output.read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text.replace('\r', "").replace("tinamou: ", "tinamou-system-riscv64: ")
}

/// Whether the lines of `shown` are among those of `said`, in order and without gaps except at `...`.
fn matches(shown: &[&str], said: &[&str]) -> bool {
    let parts: Vec<&[&str]> = shown.split(|line| *line == "...").filter(|part| !part.is_empty()).collect();
    let mut rest = said;
    for part in parts {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[test]
fn the_lectures_show_what_happens() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../book/src/lectures");
    let mut blocks = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let page = std::fs::read_to_string(&path).unwrap();
        for block in page.split("```console\n").skip(1) {
            let block: Vec<&str> = block.split("\n```").next().unwrap().lines().collect();
            let command = block[0].strip_prefix(PROGRAM).unwrap();
            let typed: Vec<&str> = block.iter().filter_map(|line| line.strip_prefix(PROMPT)).collect();
            let said = transcript(command, &typed);
            let said: Vec<&str> = said.lines().collect();
            assert!(matches(&block[1..], &said), "{}: {command}:\n{}", path.display(), said.join("\n"));
            blocks += 1;
        }
    }
    assert!(blocks >= 10, "{blocks} blocks");
}

#[test]
fn a_difference_is_seen() {
    let said = ["a", "b", "c", "d"];
    assert!(matches(&["a", "b", "...", "d"], &said) && matches(&["b", "c"], &said));
    assert!(!matches(&["a", "c"], &said) && !matches(&["d", "...", "a"], &said) && !matches(&["x"], &said));
}
