//! `tinamou-snapshot`: looks into files of snapshots and migrations.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: tinamou-snapshot dump FILE\n\n\
    dump FILE   prints the tree of fields in a snapshot (IMAGE.snapshots/N.state) or in the file of a migration\n";

/// Runs it; the words are those after the program's name.
pub fn run(words: &[String]) -> ExitCode {
    match words {
        [verb, file] if verb == "dump" => match migration::dump(Path::new(file)) {
            Ok(text) => {
                // Whoever reads may have seen enough.
                let _ = std::io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("tinamou-snapshot: {error}");
                ExitCode::FAILURE
            }
        },
        [word] if matches!(word.as_str(), "-h" | "--help" | "help") => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
