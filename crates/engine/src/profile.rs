//! What the vCPUs' threads do, and how often: the numbers behind `info jit`.
//!
//! Each vCPU keeps an [`Activity`]: counters, and a word that says what its thread is doing now. Setting it costs one store, so
//! it is always set. With `-accel tcg,profile=on` a thread looks at the words a thousand times a second; the shares
//! of what it has seen are the profile.

use crate::settle::Turn;
use crate::shared::Shared;
use cpu::INTERRUPT_LOOK;
use std::fmt::Write;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Functions of the guest that are listed by name.
const BUSIEST: usize = 8;

/// How long the profile's thread sleeps between two looks.
const INTERVAL: Duration = Duration::from_millis(1);

macro_rules! doing {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// What a vCPU's thread can be doing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Doing { $($(#[$doc])* $name),* }
        impl Doing {
            const ALL: &[Doing] = &[$(Doing::$name),*];
            const NAMES: &[&str] = &[$($text),*];
        }
    };
}

doing! {
    /// Nothing: it waits, or serves others.
    Idle "idle";
    /// It runs translated code.
    Code "translated code";
    /// It looks for the next block in the dispatcher or for a jump that missed the jump cache.
    Lookup "block look-up";
    /// It translates.
    Translation "translation";
    /// It serves a TLB miss or another access that translated code leaves to it.
    Memory "memory (TLB misses, page walks)";
    /// It is in a device.
    Device "devices";
    /// It runs a function of the guest: CSRs, returns from traps, fences.
    Function "functions of the guest";
    /// It interprets.
    Interpreter "interpreter";
}

/// What one vCPU counts, and what it is doing.
#[derive(Default)]
pub(crate) struct Activity {
    doing: AtomicU8,
    /// Kept where there are several vCPUs.
    pub(crate) turn: Turn,
    /// TLB entries filled.
    pub(crate) fills: Counter,
    /// Flushes asked for.
    pub(crate) flushes: Counter,
    /// Instructions interpreted.
    pub(crate) interpreted: Counter,
    /// Times that translated code was entered.
    pub(crate) entered: Counter,
    /// Jumps that missed the jump cache.
    pub(crate) lookups: Counter,
    /// Functions of the guest called, by number.
    pub(crate) functions: Box<[Counter]>,
    /// Changes of address space.
    pub(crate) switches: Counter,
}

/// A counter with one writer.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    #[inline(always)]
    pub(crate) fn count(&self) {
        self.0.store(self.0.load(Relaxed) + 1, Relaxed);
    }
    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Activity {
    /// Nothing counted yet; for a guest with so many functions.
    pub(crate) fn new(functions: usize) -> Activity {
        Activity { functions: (0..functions).map(|_| Counter::default()).collect(), ..Activity::default() }
    }
    /// Says what the thread does from now on; returns what it did.
    #[inline(always)]
    pub(crate) fn begin(&self, what: Doing) -> Doing {
        let before = self.doing.load(Relaxed);
        self.doing.store(what as u8, Relaxed);
        Doing::ALL.get(before as usize).copied().unwrap_or(Doing::Idle)
    }
}

/// How often each vCPU, or all of them, was seen doing what.
#[derive(Default)]
pub(crate) struct Profile {
    seen: [AtomicU64; Doing::ALL.len()],
}

/// Starts the thread that looks; it ends with the machine.
pub(crate) fn watch(shared: &Arc<Shared>) -> std::io::Result<()> {
    let weak: Weak<Shared> = Arc::downgrade(shared);
    let look = move || {
        while let Some(shared) = weak.upgrade() {
            for activity in shared.activities().iter() {
                if let Some(n) = shared.profile.seen.get(activity.doing.load(Relaxed) as usize) {
                    n.fetch_add(1, Relaxed);
                }
            }
            shared.ask_where();
            drop(shared);
            std::thread::sleep(INTERVAL);
        }
    };
    std::thread::Builder::new().name("profile".into()).spawn(look).map(|_| ())
}

impl Shared {
    /// Has every vCPU that runs translated code say where.
    /// Whether any vCPU does anything.
    pub(crate) fn ask_where(&self) -> bool {
        let mut busy = false;
        for (handle, activity) in self.cpus.all().iter().zip(self.activities().iter()) {
            let doing = activity.doing.load(Relaxed);
            if doing == Doing::Code as u8 {
                handle.frame().interrupt.fetch_or(INTERRUPT_LOOK, Relaxed);
            }
            busy |= doing != Doing::Idle as u8;
        }
        busy
    }
    /// How often which functions of the guest were called, the busiest first.
    fn functions(&self, activities: &[Arc<Activity>]) -> String {
        let count =
            |n: usize| activities.iter().filter_map(|a| a.functions.get(n)).map(Counter::get).sum::<u64>();
        let mut all: Vec<(u64, &str)> =
            self.function_names.iter().enumerate().map(|(n, name)| (count(n), *name)).collect();
        all.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        let mut text = format!("{:<19} {}\n", "function calls", all.iter().map(|(n, _)| n).sum::<u64>());
        for (n, name) in all.iter().take_while(|(n, _)| *n != 0).take(BUSIEST) {
            let _ = writeln!(text, "  {name:<17} {n}");
        }
        text
    }
    /// The text of `info jit`.
    pub fn report(&self) -> String {
        let (counts, (used, room), alive) = {
            let cache = self.cache();
            (cache.counts, cache.usage(), cache.alive())
        };
        let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        let average = |sum: u64| sum.checked_div(counts.translated).unwrap_or(0);
        let activities = self.activities();
        let sum = |f: fn(&Activity) -> &Counter| activities.iter().map(|a| f(a).get()).sum::<u64>();
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name:<19} {value}");
        };
        line("gen code size", &format_args!("{used}/{room}"));
        line("TB count", &alive);
        line("TB avg target size", &format_args!("{} bytes", average(counts.guest_bytes)));
        let expansion = ratio(counts.host_bytes, counts.guest_bytes);
        line(
            "TB avg host size",
            &format_args!("{} bytes (expansion ratio: {expansion:.1})", average(counts.host_bytes)),
        );
        text += "\nStatistics:\n";
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name:<19} {value}");
        };
        line("TB flush count", &counts.cleared);
        line("longest flush", &format_args!("{} us", counts.longest_clear));
        line("TB invalidate count", &counts.invalidated);
        line("TB translated", &counts.translated);
        line(
            "translation time",
            &format_args!(
                "{} ms ({:.0} ns per guest instruction, {} instructions)",
                counts.nanoseconds / 1_000_000,
                ratio(counts.nanoseconds, counts.guest_insns),
                counts.guest_insns
            ),
        );
        if let Some(known) = self.persistent.known() {
            let mean = ratio(counts.recalled_nanoseconds, counts.recalled);
            line("code cache", &format_args!("{known} blocks, {} used ({mean:.0} ns each)", counts.recalled));
        }
        line(
            "regions",
            &format_args!(
                "{} ({} instructions, {} ms)",
                counts.regions,
                counts.region_insns,
                counts.region_nanoseconds / 1_000_000
            ),
        );
        line("code entered", &sum(|a| &a.entered));
        line("jump cache misses", &sum(|a| &a.lookups));
        line("TLB fills", &sum(|a| &a.fills));
        line("TLB flushes", &sum(|a| &a.flushes));
        line("space switches", &sum(|a| &a.switches));
        line("interpreted", &sum(|a| &a.interpreted));
        text += &self.functions(&activities);
        if self.options.profile {
            text += "\nProfile (share of the vCPUs' time):\n";
            let seen: Vec<u64> = self.profile.seen.iter().map(|n| n.load(Relaxed)).collect();
            let all: u64 = seen.iter().sum();
            for (name, n) in Doing::NAMES.iter().zip(seen) {
                let _ = writeln!(text, "{:6.2} %  {name}", 100.0 * ratio(n, all));
            }
            text += &self.hot_blocks();
        }
        text
    }
}
