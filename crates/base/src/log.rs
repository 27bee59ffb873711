//! The log of `-d ITEM,..`, `-D FILE` and `-dfilter RANGES`.
//!
//! Which items are wanted is one global word, so that asking costs one relaxed load. The sink is standard
//! error, or the file of `-D`.
//! What the guest does wrong is logged through [`guest_error!`](crate::guest_error), which each call site
//! repeats only so many times per second, since a guest can do it a million times.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// A set of log items.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LogMask(pub u32);

macro_rules! items {
    ($($bit:literal $name:ident $word:literal $help:literal),* $(,)?) => {
        impl LogMask {
            $(#[doc = concat!("`-d ", $word, "`: ", $help, ".")]
              pub const $name: Self = Self(1 << $bit);)*
        }
        /// All items in the order in which `-d help` lists them: the set, the word, what it shows.
        pub const ITEMS: &[(LogMask, &str, &str)] = &[$((LogMask::$name, $word, $help)),*];
    };
}
items! {
    0 OUT_ASM "out_asm" "show generated host assembly code for each compiled TB",
    1 IN_ASM "in_asm" "show target assembly code for each compiled TB",
    2 OP "op" "show micro ops for each compiled TB",
    3 OP_OPT "op_opt" "show micro ops after optimization",
    4 OP_IND "op_ind" "show micro ops before indirect lowering",
    5 OP_PLUGIN "op_plugin" "show micro ops before plugin injection",
    6 INT "int" "show interrupts/exceptions in short format",
    7 EXEC "exec" "show trace before each executed TB (lots of logs)",
    8 CPU "cpu" "show CPU registers before entering a TB (lots of logs)",
    9 FPU "fpu" "include FPU registers in the 'cpu' logging",
    10 MMU "mmu" "log MMU-related activities",
    11 PCALL "pcall" "x86 only: show protected mode far calls/returns/exceptions",
    12 CPU_RESET "cpu_reset" "show CPU state before CPU resets",
    13 UNIMP "unimp" "log unimplemented functionality",
    14 GUEST_ERRORS "guest_errors" "log when the guest OS does something invalid (eg accessing a\nnon-existent register)",
    15 PAGE "page" "dump pages at beginning of user mode emulation",
    16 NOCHAIN "nochain" "do not chain compiled TBs so that \"exec\" and \"cpu\" show\ncomplete traces",
    17 PLUGIN "plugin" "output from TCG plugins",
    18 STRACE "strace" "log every user-mode syscall, its input, and its result",
    19 TID "tid" "open a separate log file per thread; filename must contain '%d'",
    20 VPU "vpu" "include VPU registers in the 'cpu' logging",
    21 INVALID_MEM "invalid_mem" "log invalid memory accesses",
}

impl LogMask {
    /// No item.
    pub const NONE: Self = Self(0);

    /// Whether the two sets share an item.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
    /// Reads a comma separated list of items, as `-d` takes it: the words of [`ITEMS`] and `all`.
    /// The error is the word that is no item. `trace:PATTERN` is left to the caller.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut set = 0;
        for word in list.split(',').filter(|w| !w.is_empty()) {
            set |= match word {
                "all" => ITEMS.iter().fold(0, |m, i| m | i.0.0),
                "none" => 0,
                _ => ITEMS.iter().find(|i| i.1 == word).ok_or_else(|| word.to_owned())?.0.0,
            };
        }
        Ok(Self(set))
    }
}

impl std::ops::BitOr for LogMask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for LogMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = ITEMS.iter().filter(|i| i.0.intersects(*self)).map(|i| i.1).collect();
        write!(f, "LogMask({})", words.join(","))
    }
}

static MASK: AtomicU32 = AtomicU32::new(0);
static FILTERED: AtomicBool = AtomicBool::new(false);
static FILTER: Mutex<Vec<RangeInclusive<u64>>> = Mutex::new(Vec::new());
static SINK: Mutex<Sink> = Mutex::new(Sink::Stderr);

enum Sink {
    Stderr,
    File(File),
    /// A file for each thread, named by this template.
    PerThread(String),
}

thread_local! {
    static OWN_FILE: RefCell<Option<File>> = const { RefCell::new(None) };
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How the user is told something in the program's own voice.
static VOICE: OnceLock<fn(&str)> = OnceLock::new();

/// Sets how the user is told something; the first time counts.
pub fn set_voice(voice: fn(&str)) {
    let _ = VOICE.set(voice);
}

/// Tells the user something that is no error: on standard error, in the program's voice if it has one.
pub fn tell(text: fmt::Arguments<'_>) {
    match VOICE.get() {
        Some(voice) => voice(&text.to_string()),
        None => eprintln!("{text}"),
    }
}

/// Whether any item of `mask` is wanted.
#[inline]
pub fn enabled(mask: LogMask) -> bool {
    MASK.load(Relaxed) & mask.0 != 0
}

/// The items wanted now.
pub fn mask() -> LogMask {
    LogMask(MASK.load(Relaxed))
}

/// Replaces the set of items wanted.
pub fn set_mask(mask: LogMask) {
    MASK.store(mask.0, Relaxed);
}

/// Sends the log to a file (created, truncated), or back to standard error. One `%d` in the name becomes the
/// process id, or with item `tid` set the id of each thread that writes.
///
/// # Errors
/// The name is no template, is none although `tid` needs one, or the file cannot be made.
pub fn set_file(name: Option<&str>) -> crate::Result<()> {
    let sink = match name {
        None if enabled(LogMask::TID) => {
            return Err(crate::error!("Filename template with '%d' required for 'tid'"));
        }
        None => Sink::Stderr,
        Some(name) => {
            let numbered = name.contains('%');
            if numbered && (name.matches('%').count() != 1 || !name.contains("%d")) {
                return Err(crate::error!("Bad logfile template: {name}"));
            }
            match enabled(LogMask::TID) {
                true if !numbered => {
                    return Err(crate::error!("Filename template with '%d' required for 'tid'"));
                }
                true => Sink::PerThread(name.to_owned()),
                false => Sink::File(create(&name.replace("%d", &std::process::id().to_string()))?),
            }
        }
    };
    *lock(&SINK) = sink;
    Ok(())
}

fn create(name: &str) -> crate::Result<File> {
    File::create(name).map_err(|e| {
        // The system's words without the number that the library adds.
        let text = e.to_string();
        let reason = text.split(" (os error").next().unwrap_or(&text).to_owned();
        crate::error!("Error opening logfile {name}: {reason}")
    })
}

/// Limits the items that concern a guest address to these ranges (`-dfilter`); empty means everywhere.
pub fn set_filter(ranges: Vec<RangeInclusive<u64>>) {
    FILTERED.store(!ranges.is_empty(), Relaxed);
    *lock(&FILTER) = ranges;
}

/// Whether `address` lies in the ranges of `-dfilter` (always, when none were given).
#[inline]
pub fn in_filter(address: u64) -> bool {
    !FILTERED.load(Relaxed) || lock(&FILTER).iter().any(|r| r.contains(&address))
}

/// Reads the argument of `-dfilter`: `START+LENGTH`, `START-LENGTH` (that many bytes before and including
/// `START`) or `START..END`, comma separated, numbers decimal or `0x` hexadecimal.
pub fn parse_filter(text: &str) -> crate::Result<Vec<RangeInclusive<u64>>> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        ranges.push(parse_range(part)?);
    }
    Ok(ranges)
}

fn parse_range(part: &str) -> crate::Result<RangeInclusive<u64>> {
    let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let at = part
        .find("..")
        .or_else(|| part.find(['+', '-']))
        .ok_or_else(|| crate::error!("Bad range specifier"))?;
    let (left, rest) = part.split_at(at);
    let operator = if rest.starts_with("..") { ".." } else { &rest[..1] };
    let right = &rest[operator.len()..];
    let first = number(left).ok_or_else(|| crate::error!("Invalid number to the left of {operator}"))?;
    let second = number(right).ok_or_else(|| crate::error!("Invalid number to the right of {operator}"))?;
    match operator {
        ".." if second >= first => Ok(first..=second),
        "+" if second > 0 => Ok(first..=first.saturating_add(second - 1)),
        "-" if second > 0 => Ok(first.saturating_sub(second - 1)..=first),
        _ => Err(crate::error!("Invalid range")),
    }
}

/// Writes text to the log whatever the items are. A failing sink is not an error of the caller's.
pub fn write(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let mut sink = lock(&SINK);
    let _ = match &mut *sink {
        // A whole record goes out in one write, so that two processes can share a file.
        Sink::File(file) => file.write_all(text.as_bytes()),
        Sink::Stderr => io::stderr().lock().write_all(text.as_bytes()),
        Sink::PerThread(template) => OWN_FILE.with_borrow_mut(|own| {
            if own.is_none() {
                *own = File::create(template.replace("%d", &thread_id())).ok();
            }
            own.as_mut().map_or(Ok(()), |file| file.write_all(text.as_bytes()))
        }),
    };
}

/// The id that the host's kernel gave this thread.
fn thread_id() -> String {
    let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    link.file_name().map_or_else(|| "0".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Lets a call site through [`Limit::PER_SECOND`] times a second. Used by the macros; one per site.
#[derive(Debug, Default)]
pub struct Limit {
    second: AtomicU64,
    count: AtomicU32,
}

impl Limit {
    /// How many messages a site may write within one second.
    pub const PER_SECOND: u32 = 64;

    /// A site that has not written yet.
    pub const fn new() -> Self {
        Self { second: AtomicU64::new(0), count: AtomicU32::new(0) }
    }
    /// Whether the site may write now. The first message that may not is replaced by a note.
    pub fn pass(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if self.second.swap(now, Relaxed) != now {
            self.count.store(0, Relaxed);
        }
        let count = self.count.fetch_add(1, Relaxed);
        if count == Self::PER_SECOND {
            write(format_args!("(more of the same within this second is left out)\n"));
        }
        count < Self::PER_SECOND
    }
}

/// Writes a line to the log when an item of the mask is wanted: `log_item!(LogMask::INT, "trap {}", n)`.
#[macro_export]
macro_rules! log_item {
    ($mask:expr, $($arg:tt)*) => {
        if $crate::log::enabled($mask) {
            $crate::log::write(::std::format_args!("{}\n", ::std::format_args!($($arg)*)));
        }
    };
}

/// Like [`log_item!`], rate-limited for each call site: for what a guest can cause.
#[macro_export]
macro_rules! log_limited {
    ($mask:expr, $($arg:tt)*) => {
        if $crate::log::enabled($mask) {
            static LIMIT: $crate::log::Limit = $crate::log::Limit::new();
            if LIMIT.pass() {
                $crate::log::write(::std::format_args!("{}\n", ::std::format_args!($($arg)*)));
            }
        }
    };
}

/// Logs something invalid that the guest did (`-d guest_errors`), rate-limited for each call site.
#[macro_export]
macro_rules! guest_error {
    ($($arg:tt)*) => { $crate::log_limited!($crate::log::LogMask::GUEST_ERRORS, $($arg)*) };
}

/// Logs that the guest used something that does not exist here yet (`-d unimp`), rate-limited.
#[macro_export]
macro_rules! unimp {
    ($($arg:tt)*) => { $crate::log_limited!($crate::log::LogMask::UNIMP, $($arg)*) };
}

#[cfg(test)]
#[path = "log_test.rs"]
mod test;
