//! Reading a stream of register states (QEMU's `-d cpu` layout) from an emulator's standard output.

use crate::Result;
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Records per message between the reading thread and the comparison.
const BATCH: usize = 512;

/// All registers before one instruction.
#[derive(Debug, Clone)]
pub struct Record {
    /// The program counter.
    pub pc: u64,
    /// The instruction at `pc`, when this side's log has said it.
    pub instruction: Option<u32>,
    /// The names of the registers, the same for all records of a side.
    pub names: Arc<Vec<String>>,
    /// Their values, in the order of the names.
    pub values: Vec<u64>,
}

/// Some records, and the texts of the instructions translated meanwhile.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    texts: Vec<(u64, String)>,
}

/// A running emulator and the states it has written but nobody has taken.
pub struct Feed {
    who: &'static str,
    child: Child,
    batches: Receiver<Batch>,
    ahead: VecDeque<Record>,
    texts: HashMap<u64, String>,
    taken: u64,
}

impl Feed {
    /// Starts the emulator; its log must go to standard output.
    pub fn start(who: &'static str, program: &Path, args: &[String]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
        let (send, batches) = sync_channel(8);
        if let Some(out) = child.stdout.take() {
            thread::spawn(move || {
                let mut parser = Parser::default();
                let mut batch = Batch::default();
                let mut reader = BufReader::with_capacity(1 << 18, out);
                let mut line = Vec::new();
                while read_line(&mut reader, &mut line) {
                    parser.line(&line, &mut batch);
                    if batch.records.len() >= BATCH && send.send(std::mem::take(&mut batch)).is_err() {
                        return;
                    }
                }
                parser.end(&mut batch);
                // The comparison may have ended before.
                let _ = send.send(batch);
            });
        }
        Ok(Self { who, child, batches, ahead: VecDeque::new(), texts: HashMap::new(), taken: 0 })
    }

    /// The record `n` places ahead.
    pub fn peek(&mut self, n: usize) -> Result<&Record> {
        while self.ahead.len() <= n {
            let Ok(batch) = self.batches.recv() else {
                return Err(format!("{} ended after {} instructions", self.who, self.taken).into());
            };
            self.ahead.extend(batch.records);
            self.texts.extend(batch.texts);
        }
        self.ahead.get(n).ok_or_else(|| "no record".into())
    }

    /// Takes the next record.
    pub fn take(&mut self) -> Result<Record> {
        self.peek(0)?;
        self.taken += 1;
        self.ahead.pop_front().ok_or_else(|| "no record".into())
    }

    /// Drops `n` records.
    pub fn skip(&mut self, n: usize) {
        self.taken += n as u64;
        self.ahead.drain(..n.min(self.ahead.len()));
    }

    /// The instruction at an address, as this side's log disassembled it.
    pub fn text(&self, pc: u64) -> &str {
        self.texts.get(&pc).map_or("(not logged)", String::as_str)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_line(reader: &mut BufReader<impl Read>, line: &mut Vec<u8>) -> bool {
    line.clear();
    reader.read_until(b'\n', line).is_ok_and(|n| n > 0)
}

/// Puts lines together to records. A record begins with its `pc` line and ends where the next begins.
#[derive(Default)]
struct Parser {
    names: Option<Arc<Vec<String>>>,
    fresh: Vec<String>,
    values: Vec<u64>,
    pc: Option<u64>,
    opcodes: HashMap<u64, u32>,
}

impl Parser {
    fn line(&mut self, line: &[u8], batch: &mut Batch) {
        if line.starts_with(b"0x") {
            self.instruction(line, batch);
        } else if line.starts_with(b" ") {
            // ` V = 0` (virtualisation mode) precedes the pc: it belongs to no pair of name and value.
            let mut words = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
            while let (Some(name), Some(value)) = (words.next(), words.next()) {
                let Some(value) = hexadecimal(value) else { return };
                if name == b"pc" {
                    self.end(batch);
                    self.pc = Some(value);
                } else if self.pc.is_some() {
                    if self.names.is_none() {
                        self.fresh.push(String::from_utf8_lossy(name).into_owned());
                    }
                    self.values.push(value);
                }
            }
        }
    }

    /// A line like `0x0000100c:  0202b583          ld                      a1,32(t0)`.
    fn instruction(&mut self, line: &[u8], batch: &mut Batch) {
        // Instructions follow the record before them: that one is complete.
        self.end(batch);
        let text = String::from_utf8_lossy(line);
        let mut words = text.split_whitespace();
        let pc =
            words.next().and_then(|w| u64::from_str_radix(w.strip_prefix("0x")?.strip_suffix(':')?, 16).ok());
        let opcode = words.next().and_then(|w| u32::from_str_radix(w, 16).ok());
        if let (Some(pc), Some(opcode)) = (pc, opcode) {
            self.opcodes.insert(pc, opcode);
            let rest: Vec<&str> = words.collect();
            batch.texts.push((pc, format!("{opcode:08x}  {}", rest.join(" "))));
        }
    }

    fn end(&mut self, batch: &mut Batch) {
        let Some(pc) = self.pc.take() else { return };
        let names = self.names.get_or_insert_with(|| Arc::new(std::mem::take(&mut self.fresh))).clone();
        let size = names.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(size));
        if values.len() == size {
            batch.records.push(Record { pc, instruction: self.opcodes.get(&pc).copied(), names, values });
        }
    }
}

fn hexadecimal(word: &[u8]) -> Option<u64> {
    word.iter().try_fold(0u64, |value, &c| {
        let digit = char::from(c).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
#[path = "state_test.rs"]
mod test;
