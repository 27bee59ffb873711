//! HTIF, the host-target interface of Spike and of the RISC-V test suites.
//!
//! Two 64-bit words in the program's own memory, found by its symbols `tohost` and `fromhost`: device number in bits 63
//! to 56, command in bits 55 to 48, payload below. Document: riscv-isa-sim, README ("Debugging with Gdb") and the
//! proxy kernel's use of it; there is no specification. Device 0 serves system calls and the exit, device 1 is the
//! console. The interface is lenient: an exit may be written to the low word alone, symbols may have no size.

use backends::char::{CharEvent, CharPort, CharReceiver};
use events::{Clock, EventLoop, Timer};
use memory::{AddressSpace, BusResult, Mmio, Region};
use object::{Access, Effect, ShutdownCause};
use state::{Loader, Saved, Saver, State, StateError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Where the words are when the program does not say.
pub const DEFAULT: u64 = 0x100_0000;
/// How long a low word that looks like an exit waits for its high word, in nanoseconds.
const PATIENCE: u64 = 20_000_000;
/// Number of the system call `write`.
const SYS_WRITE: u64 = 64;
/// Bytes of one transfer to the console.
const CHUNK: usize = 4096;
/// The most that one system call writes.
const LONGEST_WRITE: u64 = 1 << 20;

#[derive(Default, State)]
#[state(name = "riscv_htif")]
struct Words {
    tohost: u64,
    fromhost: u64,
    /// A character was asked for.
    wanted: bool,
    keys: VecDeque<u8>,
}

/// What is written to a file at the exit: memory from the first address to the second, so many bytes in a line.
pub struct Signature {
    /// The file.
    pub file: String,
    /// First address.
    pub begin: u64,
    /// Address after the last.
    pub end: u64,
    /// Bytes of a line.
    pub granularity: u64,
}

/// The interface.
pub struct Htif {
    words: Mutex<Words>,
    /// Offset of `fromhost` from `tohost` in the region, and which comes first.
    tohost: u64,
    fromhost: u64,
    memory: Arc<AddressSpace>,
    port: Option<Arc<dyn CharPort>>,
    signature: Option<Signature>,
    late: Mutex<Option<Timer>>,
    events: EventLoop,
}

impl Saved for Htif {
    fn section(&self) -> &'static str {
        Words::NAME
    }

    fn save(&self, instance: u32, out: &mut Saver) {
        out.section(instance, &*self.words());
    }

    fn load(&self, instance: u32, from: &mut Loader<'_>) -> Result<(), StateError> {
        let value = {
            let mut words = self.words();
            from.section(instance, &mut *words)?;
            words.tohost
        };
        // A low word that waits for its high word waits anew.
        self.late(value & 1 != 0 && value >> 48 == 0);
        Ok(())
    }
}

impl Htif {
    /// The interface with its words at these addresses, and its region with the region's address.
    pub fn new(
        memory: &Arc<AddressSpace>,
        events: &EventLoop,
        port: Option<Arc<dyn CharPort>>,
        (tohost, fromhost): (u64, u64),
        signature: Option<Signature>,
    ) -> (Arc<Htif>, Arc<Region>, u64) {
        let base = tohost.min(fromhost);
        let end = tohost.max(fromhost).saturating_add(8);
        let htif = Arc::new_cyclic(|this: &Weak<Htif>| {
            let this = this.clone();
            let timer = events.timer(Clock::Realtime, move || {
                if let Some(htif) = this.upgrade() {
                    htif.act_late();
                }
            });
            Htif {
                words: Mutex::default(),
                tohost: tohost - base,
                fromhost: fromhost - base,
                memory: memory.clone(),
                port: port.clone(),
                signature,
                late: Mutex::new(Some(timer)),
                events: events.clone(),
            }
        });
        if let Some(port) = &port {
            port.set_receiver(Some(Arc::new(Ear(Arc::downgrade(&htif)))));
        }
        let region = Region::mmio("riscv.htif.uart", end - base, htif.clone());
        (htif, region, base)
    }

    /// The state after a reset.
    pub fn reset(&self) {
        *self.words() = Words::default();
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self, wanted: bool) {
        let timer = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(timer) = timer.as_ref() {
            if wanted {
                timer.arm(self.events.clocks().now_ns(Clock::Realtime) + PATIENCE);
            } else {
                timer.cancel();
            }
        }
    }

    /// No high word came.
    fn act_late(&self) {
        let value = self.words().tohost;
        if value & 1 != 0 && value >> 48 == 0 {
            let effect = self.act(value);
            self.memory.perform(effect);
        }
    }

    /// Does what has been written to `tohost`.
    fn act(&self, value: u64) -> Effect {
        let (device, command, payload) = (value >> 56, value >> 48 & 0xff, value & 0xffff_ffff_ffff);
        self.late(false);
        let mut words = self.words();
        words.tohost = 0;
        match (device, command) {
            (0, 0) if payload & 1 != 0 => {
                drop(words);
                self.write_signature();
                let status = (payload >> 1) as u32;
                let cause =
                    if status == 0 { ShutdownCause::GuestShutdown } else { ShutdownCause::GuestPanic };
                return Effect::Shutdown { cause, status };
            }
            (0, 0) => {
                drop(words);
                self.system_call(payload);
                self.words().fromhost = 1;
            }
            (1, 0) => {
                words.wanted = true;
                deliver(&mut words);
                drop(words);
                if let Some(port) = &self.port {
                    port.receive_ready();
                }
            }
            (1, 1) => {
                words.fromhost = 1 << 56 | 1 << 48 | (payload & 0xff);
                drop(words);
                self.print(&[payload as u8]);
            }
            _ => base::guest_error!("htif: device {device} has no command {command}"),
        }
        Effect::None
    }

    /// The arguments are eight 64-bit words; the result goes into the first.
    fn system_call(&self, at: u64) {
        let word = |n: u64| self.memory.read_int(at.wrapping_add(n * 8), 8).unwrap_or(0);
        let result = match word(0) {
            SYS_WRITE => {
                let (mut from, mut left) = (word(2), word(3).min(LONGEST_WRITE));
                let all = left;
                while left > 0 {
                    let mut bytes = vec![0; left.min(CHUNK as u64) as usize];
                    if self.memory.read(from, &mut bytes).is_err() {
                        break;
                    }
                    self.print(&bytes);
                    from = from.wrapping_add(bytes.len() as u64);
                    left -= bytes.len() as u64;
                }
                all - left
            }
            other => {
                base::guest_error!("htif: system call {other} is not served");
                u64::MAX
            }
        };
        let _ = self.memory.write_int(at, 8, result);
    }

    fn print(&self, bytes: &[u8]) {
        if let Some(port) = &self.port {
            port.write(bytes);
        }
    }

    fn write_signature(&self) {
        let Some(signature) = &self.signature else { return };
        let mut text = String::new();
        let mut at = signature.begin;
        while at < signature.end && signature.granularity > 0 {
            let mut line = vec![0; signature.granularity as usize];
            let _ = self.memory.read(at, &mut line);
            // The words are written with the highest byte first.
            text.extend(line.iter().rev().map(|b| format!("{b:02x}")));
            text.push('\n');
            at = at.saturating_add(signature.granularity);
        }
        if let Err(error) = std::fs::write(&signature.file, text) {
            base::log::write(format_args!("htif: cannot write {}: {error}\n", signature.file));
        }
    }
}

/// Answers a request for a character if there is one.
fn deliver(words: &mut Words) {
    if words.wanted
        && let Some(key) = words.keys.pop_front()
    {
        words.wanted = false;
        words.fromhost = 1 << 56 | 0x100 | u64::from(key);
    }
}

impl Mmio for Htif {
    fn read(&self, offset: u64, size: u32) -> BusResult<u64> {
        let words = self.words();
        let (value, shift) = if offset.wrapping_sub(self.tohost) < 8 {
            (words.tohost, offset - self.tohost)
        } else if offset.wrapping_sub(self.fromhost) < 8 {
            (words.fromhost, offset - self.fromhost)
        } else {
            (0, 0)
        };
        let mask = if size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 };
        Ok(value >> (shift * 8) & mask)
    }

    fn write(&self, offset: u64, size: u32, value: u64) -> BusResult<Effect> {
        let put = |old: u64, shift: u64| {
            let mask = if size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 };
            old & !(mask << (shift * 8)) | (value & mask) << (shift * 8)
        };
        let mut words = self.words();
        if offset.wrapping_sub(self.fromhost) < 8 {
            words.fromhost = put(words.fromhost, offset - self.fromhost);
            deliver(&mut words);
            return Ok(Effect::None);
        }
        if offset.wrapping_sub(self.tohost) >= 8 {
            return Ok(Effect::None);
        }
        let shift = offset - self.tohost;
        words.tohost = put(words.tohost, shift);
        let whole = words.tohost;
        drop(words);
        if size == 8 || shift >= 4 {
            return Ok(if whole == 0 { Effect::None } else { self.act(whole) });
        }
        self.late(whole & 1 != 0);
        Ok(Effect::None)
    }

    fn access(&self) -> Access {
        Access { valid_min: 1, valid_max: 8, impl_min: 1, impl_max: 8, ..Access::DEFAULT }
    }
}

/// The console's ear.
struct Ear(Weak<Htif>);

impl CharReceiver for Ear {
    fn room(&self) -> usize {
        self.0.upgrade().map_or(0, |htif| 256usize.saturating_sub(htif.words().keys.len()))
    }
    fn receive(&self, bytes: &[u8]) {
        if let Some(htif) = self.0.upgrade() {
            let mut words = htif.words();
            words.keys.extend(bytes);
            deliver(&mut words);
        }
    }
    fn event(&self, _: CharEvent) {}
}

#[cfg(test)]
#[path = "htif_test.rs"]
mod test;
