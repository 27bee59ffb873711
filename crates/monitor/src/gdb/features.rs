//! Target descriptions ("Debugging with gdb", appendix G), written from the CPU's list of register sets.

use cpu::RegisterSet;
use std::fmt::Write;

/// The file called `name` (`target.xml`, or a set's own file); `None` if there is no such file.
pub fn file(architecture: &str, sets: &[RegisterSet], name: &str) -> Option<String> {
    if name == "target.xml" {
        let mut out =
            String::from(r#"<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>"#);
        let _ = write!(out, "<architecture>{architecture}</architecture>");
        for set in sets {
            let _ = write!(out, r#"<xi:include href="{}"/>"#, set.file);
        }
        out.push_str("</target>");
        return Some(out);
    }
    sets.iter().find(|set| set.file == name).map(feature)
}

fn feature(set: &RegisterSet) -> String {
    let mut out = String::from("<?xml version=\"1.0\"?>\n<!DOCTYPE feature SYSTEM \"gdb-target.dtd\">\n");
    let _ = writeln!(out, r#"<feature name="{}">"#, set.feature);
    if set.registers.iter().any(|r| r.kind == "riscv_double") {
        // A register that holds either format, as gdb's own descriptions of this architecture name it.
        out.push_str("  <union id=\"riscv_double\">\n    <field name=\"float\" type=\"ieee_single\"/>\n");
        out.push_str("    <field name=\"double\" type=\"ieee_double\"/>\n  </union>\n");
    }
    for register in &set.registers {
        let _ = write!(out, r#"  <reg name="{}" bitsize="{}""#, register.name, register.bits);
        let _ = write!(out, r#" regnum="{}""#, register.number);
        if !register.kind.is_empty() {
            let _ = write!(out, r#" type="{}""#, register.kind);
        }
        out.push_str("/>\n");
    }
    out.push_str("</feature>\n");
    out
}
