//! `-h` and `-version`.

use super::table::OPTIONS;
use std::fmt::Write;

/// The version of QEMU whose command line, monitor and machines are taken as the measure.
pub const QEMU_VERSION: &str = "10.0.2";

/// Text of `-version`. Tools look for the first words and the number.
pub fn version() -> String {
    format!(
        "QEMU emulator version {QEMU_VERSION} (Tinamou {})\n\
         Tinamou is an independent emulator that takes QEMU's command lines\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Text of `-h` for the program called `program`.
pub fn print_help(program: &str) -> String {
    let mut out = version();
    let _ = write!(out, "usage: {program} [options] [disk_image]\n\n'disk_image' is a raw hard disk image\n");
    if program == "tinamou" {
        out.push_str("\nThis program emulates a riscv64 system, as it does under the names tinamou-system-riscv64\nand qemu-system-riscv64.\n");
    }
    for (section, rows) in OPTIONS {
        if rows.iter().all(|row| row.help.is_empty()) {
            continue;
        }
        let _ = write!(out, "\n{section}:\n");
        for line in rows.iter().flat_map(|row| row.help.lines()) {
            let _ = match line.split_once('\t') {
                // The text begins in column 16, beside a short syntax or below a long one.
                Some((syntax, text)) if syntax.len() < 16 => writeln!(out, "{syntax:16}{text}"),
                Some((syntax, text)) => writeln!(out, "{syntax}\n{:16}{text}", ""),
                None => writeln!(out, "{line}"),
            };
        }
    }
    out.push_str("\nWhen using -nographic, press 'ctrl-a h' to get some help.\n");
    out
}
