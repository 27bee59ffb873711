//! Trace points: named places that tell what happens there, each switched on by itself.
//!
//! ```text
//! trace!(VIRTIO.NOTIFY, "n {n}")  --one relaxed load, off-->  nothing
//!        |on
//!        +--> emit --> the log (`-D`), or the time line of `--trace-out`
//! ```
//! The points of one part of the house are one static [`Points`]. There is no registration behind the scenes: whoever
//! wants to list or switch them is given a list of all (the program joins it). A device has its points by its type.

use crate::log;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The points of one part: at most 32.
pub struct Points {
    prefix: &'static str,
    names: &'static [&'static str],
    on: AtomicU32,
}

impl Points {
    /// Points called `PREFIX_NAME`, all off.
    pub const fn new(prefix: &'static str, names: &'static [&'static str]) -> Points {
        assert!(names.len() <= 32, "one word says which points are on");
        Points { prefix, names, on: AtomicU32::new(0) }
    }
    /// Whether point `n` is on.
    #[inline(always)]
    pub fn enabled(&self, n: u32) -> bool {
        self.on.load(Relaxed) >> n & 1 != 0
    }
    /// Switches point `n`.
    pub fn set(&self, n: u32, on: bool) {
        let bit = 1 << n;
        if on {
            self.on.fetch_or(bit, Relaxed)
        } else {
            self.on.fetch_and(!bit, Relaxed)
        };
    }
    /// Name of point `n`.
    pub fn name(&self, n: u32) -> String {
        // A type's name may have signs that no name of a point has.
        let prefix = self.prefix.replace(['-', '.'], "_");
        format!("{prefix}_{}", self.names.get(n as usize).copied().unwrap_or_default())
    }
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.names.len() as u32
    }
    /// Point `n`, which is on, has been passed.
    #[cold]
    pub fn emit(&self, n: u32, text: fmt::Arguments<'_>) {
        write(&self.name(n), None, text);
    }
    /// The beginning of something that takes time, if point `n` is on.
    #[inline(always)]
    pub fn begin(&self, n: u32) -> Option<Instant> {
        self.enabled(n).then(Instant::now)
    }
    /// Its end.
    #[inline(always)]
    pub fn end(&self, n: u32, begin: Option<Instant>, text: impl FnOnce() -> String) {
        if let Some(begin) = begin {
            write(&self.name(n), Some(begin), format_args!("{}", text()));
        }
    }
}

/// Defines the points of a part: a module of its constants, and the static `POINTS` in it.
#[macro_export]
macro_rules! trace_points {
    ($(#[$d:meta])* $vis:vis mod $module:ident $prefix:literal { $($(#[$p:meta])* $name:ident $text:literal),* $(,)? }) => {
        $(#[$d])*
        $vis mod $module {
            #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
            #[repr(u32)]
            enum Order { $($name),* }
            $($(#[$p])* pub const $name: u32 = Order::$name as u32;)*
            /// The points.
            pub static POINTS: $crate::trace::Points = $crate::trace::Points::new($prefix, &[$($text),*]);
        }
    };
}

/// Passes a point: its module, its name there, what is told.
#[macro_export]
macro_rules! trace {
    ($module:ident::$name:ident, $($text:tt)*) => {
        if $module::POINTS.enabled($module::$name) {
            $module::POINTS.emit($module::$name, format_args!($($text)*));
        }
    };
}

/// All points of the program.
pub type Catalogue = [&'static Points];

/// Names of all points, and whether each is on.
pub fn list(all: &Catalogue) -> Vec<(String, bool)> {
    all.iter().flat_map(|p| (0..p.count()).map(|n| (p.name(n), p.enabled(n)))).collect()
}

/// Whether a name fits a pattern: `*` stands for any letters, `?` for one.
pub fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => fits(rest, name) || !name.is_empty() && fits(pattern, &name[1..]),
        (Some((p, pattern)), Some((n, name))) => (*p == b'?' || p == n) && fits(pattern, name),
        _ => false,
    }
}

/// Switches the points whose names fit; returns how many do.
pub fn switch(all: &Catalogue, pattern: &str, on: bool) -> usize {
    let mut found = 0;
    for points in all {
        for n in 0..points.count() {
            if fits(pattern.as_bytes(), points.name(n).as_bytes()) {
                points.set(n, on);
                found += 1;
            }
        }
    }
    found
}

/// Reads a pattern as `-trace enable=` has it: a `-` before it switches off. False if it names one point and there is none.
pub fn enable(all: &Catalogue, pattern: &str) -> bool {
    let (pattern, on) = match pattern.strip_prefix('-') {
        Some(rest) => (rest, false),
        None => (pattern, true),
    };
    switch(all, pattern, on) > 0 || pattern.contains(['*', '?'])
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static TIME_LINE: Mutex<Option<BufWriter<File>>> = Mutex::new(None);
static ON_TIME_LINE: AtomicBool = AtomicBool::new(false);
static THREADS: AtomicU64 = AtomicU64::new(0);

fn time_line() -> MutexGuard<'static, Option<BufWriter<File>>> {
    TIME_LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on what is traced goes to a file in the Trace Event Format, which Perfetto and other viewers open.
///
/// # Errors
/// The file cannot be made.
pub fn set_time_line(file: &str) -> std::io::Result<()> {
    LazyLock::force(&START);
    let mut out = BufWriter::new(File::create(file)?);
    out.write_all(b"[\n")?;
    *time_line() = Some(out);
    ON_TIME_LINE.store(true, Release);
    Ok(())
}

/// Ends the file of [`set_time_line`].
pub fn finish_time_line() {
    if let Some(mut out) = time_line().take() {
        // The empty entry makes an end of the last comma. Nobody is left to tell of a full disk.
        let _ = out.write_all(b"{}\n]\n").and_then(|()| out.flush());
    }
}

thread_local! {
    static THREAD: u64 = {
        let n = THREADS.fetch_add(1, Relaxed) + 1;
        let name = std::thread::current().name().unwrap_or("thread").to_owned();
        line(format_args!(r#"{{"ph":"M","name":"thread_name","pid":1,"tid":{n},"args":{{"name":{}}}}}"#, quoted(&name)));
        n
    };
}

fn line(text: fmt::Arguments<'_>) {
    if let Some(out) = time_line().as_mut() {
        let _ = writeln!(out, "{text},");
    }
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn write(name: &str, begin: Option<Instant>, text: fmt::Arguments<'_>) {
    if !ON_TIME_LINE.load(Acquire) {
        match begin {
            Some(begin) => {
                log::write(format_args!("{name} {text} ({} us)\n", begin.elapsed().as_micros()));
            }
            None => log::write(format_args!("{name} {text}\n")),
        }
        return;
    }
    let micros = |t: Instant| t.saturating_duration_since(*START).as_nanos() as f64 / 1000.0;
    let (thread, text) = (THREAD.with(|t| *t), quoted(&text.to_string()));
    let now = Instant::now();
    let head = format!(r#""name":{},"pid":1,"tid":{thread},"args":{{"text":{text}}}"#, quoted(name));
    match begin {
        Some(begin) => {
            let (at, dur) = (micros(begin), now.saturating_duration_since(begin).as_nanos() as f64 / 1000.0);
            line(format_args!(r#"{{"ph":"X","ts":{at:.3},"dur":{dur:.3},{head}}}"#));
        }
        None => line(format_args!(r#"{{"ph":"i","s":"t","ts":{:.3},{head}}}"#, micros(now))),
    }
}

#[cfg(test)]
#[path = "trace_test.rs"]
mod test;
