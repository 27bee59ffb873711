//! The commands of the book's lectures are run, and what the book shows is what they say.
//!
//! A block ```` ```console ```` begins with `$ tinamou-system-riscv64 ...`; lines `(qemu) ...` are typed at the monitor, the others are
//! the answer. A line `...` stands for any lines. A block ```` ```words NAME ```` is a program, which commands name; with
//! a size behind the name it is an image of so many bytes. Where a machine stays when it has ended (`-no-shutdown`), what is
//! typed is typed then.

mod common;

use common::{program, temporary};
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
        while command.contains("-no-shutdown") && !text.contains("(shutdown)") {
            writeln!(input, "info status").unwrap();
            let end = text.len();
            while !text[end..].ends_with(PROMPT) {
                assert_eq!(output.read(&mut byte).unwrap(), 1, "{command}: {text}");
                text.push(byte[0] as char);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
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
        let mut programs = Vec::new();
        for block in page.split("```words ").skip(1) {
            let (name, rest) = block.split_once('\n').unwrap();
            let words = rest.split("\n```").next().unwrap().split_whitespace();
            let bytes = words.flat_map(|word| u32::from_str_radix(word, 16).unwrap().to_le_bytes());
            let mut bytes: Vec<u8> = bytes.collect();
            let (name, size) = name.split_once(' ').unwrap_or((name, "0"));
            bytes.resize(bytes.len().max(size.parse().unwrap()), 0xff);
            let file = temporary(name);
            std::fs::write(&file, bytes).unwrap();
            programs.push((name, file));
        }
        for block in page.split("```console\n").skip(1) {
            let block: Vec<&str> = block.split("\n```").next().unwrap().lines().collect();
            let mut command = block[0].strip_prefix(PROGRAM).unwrap().to_owned();
            for (name, file) in &programs {
                command = command.replace(name, &file.display().to_string());
            }
            let typed: Vec<&str> = block.iter().filter_map(|line| line.strip_prefix(PROMPT)).collect();
            let said = transcript(&command, &typed);
            let said: Vec<&str> = said.lines().collect();
            assert!(matches(&block[1..], &said), "{}: {command}:\n{}", path.display(), said.join("\n"));
            blocks += 1;
        }
        programs.iter().for_each(|(_, file)| std::fs::remove_file(file).unwrap());
    }
    assert!(blocks >= 10, "{blocks} blocks");
}

#[test]
fn a_difference_is_seen() {
    let said = ["a", "b", "c", "d"];
    assert!(matches(&["a", "b", "...", "d"], &said) && matches(&["b", "c"], &said));
    assert!(!matches(&["a", "c"], &said) && !matches(&["d", "...", "a"], &said) && !matches(&["x"], &said));
}
