//! `-qtest`: the protocol by which tests play the processor. One line is one command, one line the answer.
//!
//! With `-accel qtest` no instruction is executed, and the guest's clock moves by `clock_step` only. Answers begin with
//! `OK` or `FAIL`; between them, messages `IRQ raise N` and `IRQ lower N` tell of lines that a test has intercepted.

use crate::control::Control;
use backends::char::{CharEvent, CharPort, CharReceiver};
use events::Clock;
use object::Line;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The longest line that is taken, and the largest transfer: more than any test sends.
const LINE_LIMIT: usize = 8 << 20;
const TRANSFER_LIMIT: usize = 4 << 20;

#[derive(Default)]
struct State {
    line: Vec<u8>,
    /// Output that the port has not taken.
    waiting: Vec<u8>,
}

/// One connection.
pub struct Qtest {
    port: Arc<dyn CharPort>,
    control: Arc<Control>,
    state: Mutex<State>,
}

/// Why a command is refused, after `FAIL`.
type Refused = String;

impl Qtest {
    /// Answers on a port.
    pub fn attach(control: &Arc<Control>, port: Arc<dyn CharPort>) -> Arc<Qtest> {
        let qtest = Arc::new(Qtest { port: port.clone(), control: control.clone(), state: Mutex::default() });
        port.set_receiver(Some(Arc::new(Ear(Arc::downgrade(&qtest)))));
        qtest
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, text: &str) {
        let mut state = self.state();
        state.waiting.extend_from_slice(text.as_bytes());
        self.push(&mut state);
    }

    fn push(&self, state: &mut State) {
        let taken = self.port.write(&state.waiting);
        state.waiting.drain(..taken.min(state.waiting.len()));
    }

    fn receive(self: &Arc<Self>, bytes: &[u8]) {
        let mut lines = Vec::new();
        {
            let mut state = self.state();
            for byte in bytes {
                match byte {
                    b'\n' => lines.push(std::mem::take(&mut state.line)),
                    _ if state.line.len() < LINE_LIMIT => state.line.push(*byte),
                    _ => {}
                }
            }
        }
        for line in lines {
            let line = String::from_utf8_lossy(&line);
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some((command, arguments)) = words.split_first() else { continue };
            match self.answer(command, arguments) {
                Ok(text) if text.is_empty() => self.send("OK\n"),
                Ok(text) => self.send(&format!("OK {text}\n")),
                Err(reason) => self.send(&format!("FAIL {reason}\n")),
            }
        }
    }

    fn answer(self: &Arc<Self>, command: &str, words: &[&str]) -> Result<String, Refused> {
        let at = |n| number(words.get(n).copied());
        match command {
            "clock_step" if words.is_empty() => Ok(self.clock(None)),
            "clock_step" => {
                let now = self.control.events().clocks().now_ns(Clock::Virtual);
                Ok(self.clock(Some(now.saturating_add(at(0)?))))
            }
            "clock_set" => Ok(self.clock(Some(at(0)?))),
            "endianness" => Ok("little".into()),
            "read" | "b64read" => {
                let bytes = self.bytes(at(0)?, at(1)?)?;
                Ok(if command == "read" { format!("0x{}", hex(&bytes)) } else { base64(&bytes) })
            }
            "write" | "b64write" => {
                let text = words.get(2).ok_or("a value is missing")?;
                let mut data = if command == "write" { from_hex(text)? } else { from_base64(text)? };
                data.resize(size(at(1)?)?, 0);
                self.store(at(0)?, &data)
            }
            "memset" => self.store(at(0)?, &vec![at(2)? as u8; size(at(1)?)?]),
            "set_irq_in" => self.set_input(words),
            "irq_intercept_out" | "irq_intercept_out_named" => self.intercept(words),
            _ => self.access(command, words).unwrap_or_else(|| Err(format!("Unknown command '{command}'"))),
        }
    }

    /// Accesses of one number: `readl ADDRESS`, `writeq ADDRESS VALUE`, `inb PORT` and so on.
    fn access(&self, command: &str, words: &[&str]) -> Option<Result<String, Refused>> {
        let letter = command.chars().last()?;
        let size = [('b', 1), ('w', 2), ('l', 4), ('q', 8)].iter().find(|(l, _)| *l == letter)?.1;
        let name = &command[..command.len() - letter.len_utf8()];
        let value = || -> Result<(u64, u64), Refused> {
            Ok((number(words.first().copied())?, number(words.get(1).copied())?))
        };
        let memory = self.control.memory_space();
        Some(match (name, size) {
            ("read", _) => number(words.first().copied())
                .map(|address| format!("0x{:016x}", memory.read_int(address, size).unwrap_or(0))),
            ("write", _) => value().map(|(address, value)| {
                let _ = memory.write_int(address, size, value);
                String::new()
            }),
            // This architecture has no ports of its own: nobody answers.
            ("in", 1 | 2 | 4) => Ok(format!("0x{:04x}", u64::MAX >> (64 - 8 * size))),
            ("out", 1 | 2 | 4) => value().map(|_| String::new()),
            _ => return None,
        })
    }

    fn bytes(&self, address: u64, count: u64) -> Result<Vec<u8>, Refused> {
        let mut bytes = vec![0; size(count)?];
        // Where nothing is, there are zeroes.
        let _ = self.control.memory_space().read(address, &mut bytes);
        Ok(bytes)
    }

    fn store(&self, address: u64, bytes: &[u8]) -> Result<String, Refused> {
        let _ = self.control.memory_space().write(address, bytes);
        Ok(String::new())
    }

    /// Moves the guest's clock, to a time or to the next deadline, and runs what has become due.
    fn clock(&self, to: Option<u64>) -> String {
        let events = self.control.events();
        let now = events.clocks().now_ns(Clock::Virtual);
        let to = to.or_else(|| events.next_deadline(Clock::Virtual)).unwrap_or(now);
        events.move_virtual(to);
        events.clocks().now_ns(Clock::Virtual).to_string()
    }

    fn device(&self, path: Option<&&str>) -> Result<Arc<dyn object::AnyDevice>, Refused> {
        let path = path.ok_or("a path is missing")?;
        let node = self.control.machine().root().resolve(path).ok().flatten();
        node.and_then(|node| node.device().cloned()).ok_or_else(|| "Unknown device".to_owned())
    }

    /// `set_irq_in PATH NAME N LEVEL`: sets an input of a device.
    fn set_input(&self, words: &[&str]) -> Result<String, Refused> {
        let device = self.device(words.first())?;
        let (line, level) = (number(words.get(2).copied())?, number(words.get(3).copied())?);
        if line >= u64::from(device.inputs()) {
            return Err("there is no such input".into());
        }
        device.input(line as usize, level != 0);
        Ok(String::new())
    }

    /// `irq_intercept_out PATH`: the outputs of a device lead here from now on.
    fn intercept(self: &Arc<Self>, words: &[&str]) -> Result<String, Refused> {
        let device = self.device(words.first())?;
        let wanted = words.get(1).copied();
        let mut n = 0;
        for (wire, count) in device.wires() {
            if wanted.is_some_and(|wanted| wanted != wire) {
                continue;
            }
            for index in 0..count {
                let (this, number) = (Arc::downgrade(self), n);
                device.connect(
                    wire,
                    index,
                    Line::to_fn(move |level| {
                        if let Some(this) = this.upgrade() {
                            this.send(&format!("IRQ {} {number}\n", if level { "raise" } else { "lower" }));
                        }
                    }),
                );
                n += 1;
            }
        }
        Ok(String::new())
    }
}

fn number(word: Option<&str>) -> Result<u64, Refused> {
    let word = word.ok_or("a number is missing")?;
    let parsed = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| format!("'{word}' is no number"))
}

fn size(count: u64) -> Result<usize, Refused> {
    usize::try_from(count)
        .ok()
        .filter(|n| *n <= TRANSFER_LIMIT)
        .ok_or_else(|| "the transfer is too long".into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Result<Vec<u8>, Refused> {
    let digits = text.strip_prefix("0x").ok_or("a value begins with 0x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or("a value has hexadecimal digits only");
    digits.chunks_exact(2).map(|pair| Ok((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let all = part.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for n in 0..4 {
            let six = (all >> (18 - 6 * n) & 63) as usize;
            text.push(if n <= part.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let (mut all, mut bits) = (0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let six = ALPHABET.iter().position(|known| *known == letter).ok_or("the value is not in base 64")?;
        all = all << 6 | six as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((all >> bits) as u8);
        }
    }
    Ok(bytes)
}

/// The port's ear.
struct Ear(Weak<Qtest>);

impl CharReceiver for Ear {
    fn room(&self) -> usize {
        4096
    }
    fn receive(&self, bytes: &[u8]) {
        if let Some(qtest) = self.0.upgrade() {
            qtest.receive(bytes);
        }
    }
    fn event(&self, event: CharEvent) {
        if let (CharEvent::Closed, Some(qtest)) = (event, self.0.upgrade()) {
            *qtest.state() = State::default();
        }
    }
    fn writable(&self) {
        if let Some(qtest) = self.0.upgrade() {
            qtest.push(&mut qtest.state());
        }
    }
}

#[cfg(test)]
#[path = "qtest_test.rs"]
mod test;
