//! `-accel tcg,perf=map`: tells `perf` which code belongs to which guest address.
//!
//! The file is `/tmp/perf-PID.map`, where perf looks for it: a line for each piece of code with its address and length in
//! hexadecimal and a name (Linux, `tools/perf/Documentation/jit-interface.txt`).

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// The file, written to as blocks are translated.
pub(crate) struct PerfMap(Mutex<File>);

impl PerfMap {
    /// Begins the file of this process.
    pub(crate) fn create() -> io::Result<PerfMap> {
        File::create(format!("/tmp/perf-{}.map", std::process::id())).map(|f| PerfMap(Mutex::new(f)))
    }
    /// Names a piece of code.
    pub(crate) fn add(&self, address: u64, len: usize, name: std::fmt::Arguments<'_>) {
        let line = format!("{address:x} {len:x} {name}\n");
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the guest; the profile just knows less.
        let _ = file.write_all(line.as_bytes());
    }
}
