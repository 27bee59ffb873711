//! `-accel tcg,perf=map` and `perf=jitdump`: tell `perf` which code belongs to which guest address.
//!
//! The map is `/tmp/perf-PID.map`, where perf looks for it: a line for each piece of code with its address and length in
//! hexadecimal and a name (Linux, `tools/perf/Documentation/jit-interface.txt`).
//!
//! The dump is `jit-PID.dump` in the working directory: a header and a record for each piece with its name, its bytes and when it came
//! (`jitdump-specification.txt` beside it). `perf inject --jit` finds the file by its mapping in the recorded events, makes an ELF
//! file of each piece and says from when on it lay where. So it knows code that has been replaced since, and can disassemble it.

use crate::code::Mapped;
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// "JiTD", as a number of the host's byte order.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER_BYTES: u32 = 40;
const EM_X86_64: u32 = 62;
/// A record with code.
const JIT_CODE_LOAD: u32 = 0;
/// Bytes of such a record before the name.
const RECORD_BYTES: usize = 56;

/// Where the names go.
#[derive(Default)]
pub(crate) struct Perf {
    map: Option<Mutex<File>>,
    dump: Option<Mutex<Dump>>,
}

struct Dump {
    file: File,
    index: u64,
    /// What tells perf of the file.
    _mapped: Mapped,
}

impl Perf {
    /// Begins the files of this process.
    pub(crate) fn new(map: bool, dump: bool) -> io::Result<Perf> {
        let pid = std::process::id();
        let map = map.then(|| File::create(format!("/tmp/perf-{pid}.map"))).transpose()?.map(Mutex::new);
        let dump = dump.then(|| Dump::create(&format!("jit-{pid}.dump"))).transpose()?.map(Mutex::new);
        Ok(Perf { map, dump })
    }
    /// Whether anybody wants to know.
    pub(crate) fn wanted(&self) -> bool {
        self.map.is_some() || self.dump.is_some()
    }
    /// Names a piece of code.
    pub(crate) fn add(&self, address: u64, code: &[u8], name: &str) {
        self.add_apart(address, code, name);
        if let Some(dump) = &self.dump {
            let _ = dump.lock().unwrap_or_else(PoisonError::into_inner).add(address, code, name);
        }
    }
    /// The same for slow paths, of which the dump has nothing: perf makes a file of every piece.
    pub(crate) fn add_apart(&self, address: u64, code: &[u8], name: &str) {
        // A full disk must not stop the guest; the profile just knows less.
        if let Some(map) = &self.map {
            let line = format!("{address:x} {:x} {name}\n", code.len());
            let _ = map.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        }
    }
}

impl Dump {
    fn create(path: &str) -> io::Result<Dump> {
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        let words = [MAGIC, VERSION, HEADER_BYTES, EM_X86_64, 0, std::process::id()];
        let mut header: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        header.extend(now().to_ne_bytes());
        // No flags: the time is that of the monotonic clock.
        header.extend(0u64.to_ne_bytes());
        file.write_all(&header)?;
        let _mapped = Mapped::new(&file)?;
        Ok(Dump { file, index: 0, _mapped })
    }
    fn add(&mut self, address: u64, code: &[u8], name: &str) -> io::Result<()> {
        let total = RECORD_BYTES + name.len() + 1 + code.len();
        let mut record = Vec::with_capacity(total);
        record.extend([JIT_CODE_LOAD, total as u32].iter().flat_map(|w| w.to_ne_bytes()));
        record.extend(now().to_ne_bytes());
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        record.extend([std::process::id(), thread].iter().flat_map(|w| w.to_ne_bytes()));
        record.extend([address, address, code.len() as u64, self.index].iter().flat_map(|w| w.to_ne_bytes()));
        record.extend(name.as_bytes());
        record.push(0);
        record.extend(code);
        self.index += 1;
        self.file.write_all(&record)
    }
}

/// Nanoseconds of the monotonic clock.
fn now() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

#[cfg(test)]
#[path = "perf_test.rs"]
mod test;
