//! One debugger: its requests and our answers.

use super::features;
use super::packet::{Incoming, MAX_PACKET, Reader, frame, from_hex, hex_number, to_hex};
use cpu::{RegisterSet, Resume, SingleStep, Watchpoint};
use std::sync::Arc;

/// Why the machine has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A breakpoint or a finished step.
    Trap,
    /// An access to this memory.
    Watch(Watchpoint),
    /// Somebody stopped it.
    Interrupted,
    /// It has been switched off.
    Shutdown,
    /// A disk error.
    Io,
    /// An error of ours.
    Aborted,
}

impl StopReason {
    /// The signal that gdb is told; its numbers are gdb's own.
    fn signal(self) -> u8 {
        match self {
            StopReason::Trap | StopReason::Watch(_) => 5,
            StopReason::Interrupted => 2,
            StopReason::Shutdown => 3,
            StopReason::Io => 23,
            StopReason::Aborted => 6,
        }
    }
}

/// Where going backwards has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reversed {
    /// One instruction back.
    Stepped,
    /// At a breakpoint or before an access that is watched: the vCPU and the reason.
    Met(usize, StopReason),
    /// At the beginning of what is known.
    Begin,
}

/// The machine as the stub needs it. vCPUs are counted from 0.
pub trait Target: Send + Sync {
    /// Number of vCPUs.
    fn cpus(&self) -> usize;
    /// gdb's name of the architecture.
    fn architecture(&self) -> String;
    /// The registers of a vCPU.
    fn register_sets(&self, cpu: usize) -> Vec<RegisterSet>;
    /// Reads a register.
    fn read_register(&self, cpu: usize, n: usize) -> Option<u64>;
    /// Writes a register.
    fn write_register(&self, cpu: usize, n: usize, value: u64) -> bool;
    /// Sets the program counter.
    fn set_pc(&self, cpu: usize, pc: u64);
    /// Whether a vCPU waits for an interrupt.
    fn halted(&self, cpu: usize) -> bool;
    /// Reads memory as the vCPU sees it, or physical memory.
    fn read_memory(&self, cpu: usize, address: u64, into: &mut [u8], physical: bool) -> bool;
    /// Writes memory.
    fn write_memory(&self, cpu: usize, address: u64, from: &[u8], physical: bool) -> bool;
    /// Adds (or removes) a breakpoint.
    fn breakpoint(&self, address: u64, insert: bool);
    /// Adds (or removes) a watchpoint; false if it was there (or was not).
    fn watchpoint(&self, watch: Watchpoint, insert: bool) -> bool;
    /// Removes all breakpoints and watchpoints.
    fn clear_breakpoints(&self);
    /// Lets the machine go on; one entry for each vCPU.
    fn resume(&self, how: &[Resume]);
    /// Whether the machine can go backwards ([`Target::reverse`]). Its steps must then be those that it has made before.
    fn can_reverse(&self) -> bool {
        false
    }
    /// Goes back one instruction (`step`), or to where a breakpoint or watchpoint was met last. The machine stands there when this
    /// returns. `None`: it cannot.
    fn reverse(&self, step: bool) -> Option<Reversed> {
        let _ = step;
        None
    }
    /// Stops the machine. [`Session::stopped`] is called when it stands.
    fn stop(&self);
    /// Runs a command of the human monitor.
    fn command(&self, line: &str) -> String;
    /// Ends the program.
    fn quit(&self);
}

base::trace_points! {
    /// What is to be traced of the stub.
    pub mod trace "gdbstub" {
        /// A packet from the debugger.
        COMMAND "io_command",
        /// The answer.
        REPLY "io_reply",
    }
}

/// The state of a conversation.
pub struct Session {
    target: Arc<dyn Target>,
    reader: Reader,
    last: Vec<u8>,
    /// vCPU that register and memory requests mean.
    general: usize,
    /// vCPU that `c` and `s` mean.
    resumed: usize,
    multiprocess: bool,
    physical: bool,
    listed: usize,
    step_flags: u64,
    /// gdb waits for a stop.
    running: bool,
}

type Reply = Option<Vec<u8>>;

fn text(t: impl Into<String>) -> Reply {
    Some(t.into().into_bytes())
}

fn ok() -> Reply {
    text("OK")
}

/// The errors are numbered as Linux numbers them.
const EINVAL: &str = "E22";
const EFAULT: &str = "E14";

impl Session {
    /// A conversation about `target`.
    pub fn new(target: Arc<dyn Target>) -> Session {
        Session {
            target,
            reader: Reader::default(),
            last: Vec::new(),
            general: 0,
            resumed: 0,
            multiprocess: false,
            physical: false,
            listed: 0,
            step_flags: 7,
            running: false,
        }
    }

    /// A debugger has connected: the machine is stopped for it.
    pub fn connected(&mut self) {
        *self = Session::new(self.target.clone());
        self.target.stop();
    }

    /// Takes bytes from the debugger and returns those for it.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &byte in bytes {
            match self.reader.push(byte) {
                None => {}
                Some(Incoming::Damaged) => out.push(b'-'),
                Some(Incoming::Again) => out.extend_from_slice(&self.last),
                Some(Incoming::Interrupt) => self.target.stop(),
                Some(Incoming::Packet(data)) => {
                    out.push(b'+');
                    base::trace!(trace::COMMAND, "Received: {}", String::from_utf8_lossy(&data));
                    if let Some(reply) = self.packet(&data, &mut out) {
                        base::trace!(trace::REPLY, "Sent: {}", String::from_utf8_lossy(&reply));
                        self.last = frame(&reply);
                        out.extend_from_slice(&self.last);
                    }
                }
            }
        }
        out
    }

    /// The machine has stopped, because of vCPU `cpu` if it is a trap. Returns bytes for the debugger.
    pub fn stopped(&mut self, cpu: Option<usize>, reason: StopReason) -> Vec<u8> {
        if !std::mem::take(&mut self.running) {
            return Vec::new();
        }
        if let Some(cpu) = cpu {
            (self.general, self.resumed) = (cpu, cpu);
        }
        self.last = frame(self.stop_reply(reason).as_bytes());
        self.last.clone()
    }

    /// The program ends with this status. Returns bytes for the debugger.
    pub fn exited(&mut self, status: u8) -> Vec<u8> {
        frame(format!("W{status:02x}").as_bytes())
    }

    fn stop_reply(&self, reason: StopReason) -> String {
        let watch = match reason {
            StopReason::Watch(w) => {
                let kind = match (w.read, w.write) {
                    (true, true) => "a",
                    (true, false) => "r",
                    _ => "",
                };
                format!("{kind}watch:{:x};", w.address)
            }
            _ => String::new(),
        };
        format!("T{:02x}thread:{};{watch}", reason.signal(), self.thread(self.general))
    }

    fn thread(&self, cpu: usize) -> String {
        let n = cpu + 1;
        if self.multiprocess { format!("p01.{n:02x}") } else { format!("{n:02x}") }
    }

    /// The vCPU that a thread id names; 0 and -1 mean any.
    fn parse_thread(&self, id: &[u8]) -> Option<usize> {
        let id = match id.strip_prefix(b"p") {
            Some(rest) => {
                let mut parts = rest.splitn(2, |b| *b == b'.');
                let process = parts.next()?;
                if !matches!(process, b"-1" | b"0") && hex_number(process)? != 1 {
                    return None;
                }
                parts.next().unwrap_or(b"0")
            }
            None => id,
        };
        if matches!(id, b"-1" | b"0" | b"00") {
            return Some(self.general.min(self.target.cpus().saturating_sub(1)));
        }
        let n = usize::try_from(hex_number(id)?).ok()?.checked_sub(1)?;
        (n < self.target.cpus()).then_some(n)
    }

    fn packet(&mut self, data: &[u8], out: &mut Vec<u8>) -> Reply {
        let (&kind, rest) = data.split_first()?;
        match kind {
            b'!' => ok(),
            b'?' => {
                self.target.clear_breakpoints();
                text(self.stop_reply(StopReason::Trap))
            }
            b'b' => self.reverse(rest),
            b'c' | b'C' | b's' | b'S' => self.resume_old(kind, rest),
            b'D' => {
                self.target.clear_breakpoints();
                self.target.resume(&vec![Resume::Run; self.target.cpus()]);
                ok()
            }
            b'g' => Some(self.read_all().into_bytes()),
            b'G' => self.write_all(rest),
            b'H' => match rest.split_first().and_then(|(op, id)| Some((*op, self.parse_thread(id)?))) {
                Some((b'g', cpu)) => {
                    self.general = cpu;
                    ok()
                }
                Some((b'c', cpu)) => {
                    self.resumed = cpu;
                    ok()
                }
                _ => text(EINVAL),
            },
            b'k' => {
                self.target.quit();
                None
            }
            b'm' => self.read_memory(rest),
            b'M' => {
                let mut parts = rest.splitn(2, |b| *b == b':');
                let (place, bytes) = (parts.next()?, parts.next().and_then(from_hex));
                match bytes {
                    Some(bytes) => self.write_memory(place, &bytes),
                    None => text(EINVAL),
                }
            }
            b'X' => {
                let colon = rest.iter().position(|b| *b == b':')?;
                self.write_memory(&rest[..colon], &rest[colon + 1..])
            }
            b'p' => {
                let n = hex_number(rest).and_then(|n| usize::try_from(n).ok());
                text(n.and_then(|n| self.register_hex(n)).unwrap_or_else(|| EFAULT.into()))
            }
            b'P' => self.write_register(rest),
            b'q' | b'Q' => self.query(data, out),
            b'T' => text(if self.parse_thread(rest).is_some() { "OK" } else { EINVAL }),
            b'v' => self.verbose(rest),
            b'z' | b'Z' => self.breakpoint(kind == b'Z', rest),
            _ => text(""),
        }
    }

    /// A step as `Qqemu.sstep` wants it: bit 1 keeps interrupts away, bit 2 stops the clock.
    fn step(&self) -> Resume {
        // What has been recorded is not changed by looking at it.
        let recorded = self.target.can_reverse();
        let off = |flag| self.step_flags & flag == 0 || recorded;
        Resume::Step(SingleStep { interrupts: off(2), clock: off(4) })
    }

    /// `bs` and `bc`: backwards.
    fn reverse(&mut self, how: &[u8]) -> Reply {
        let step = match how {
            b"s" => true,
            b"c" => false,
            _ => return text(""),
        };
        match self.target.reverse(step) {
            None => text(EINVAL),
            Some(Reversed::Stepped) => text(self.stop_reply(StopReason::Trap)),
            Some(Reversed::Met(cpu, reason)) => {
                (self.general, self.resumed) = (cpu, cpu);
                text(self.stop_reply(reason))
            }
            Some(Reversed::Begin) => text(format!("{}replaylog:begin;", self.stop_reply(StopReason::Trap))),
        }
    }

    fn start(&mut self, how: &[Resume]) {
        self.running = true;
        if self.target.can_reverse() {
            // What has been recorded of one vCPU happens only with what the others did.
            let all = |how: &Resume| if *how == Resume::Stay { Resume::Run } else { *how };
            return self.target.resume(&how.iter().map(all).collect::<Vec<_>>());
        }
        self.target.resume(how);
    }

    fn resume_old(&mut self, kind: u8, rest: &[u8]) -> Reply {
        let address = if matches!(kind, b'C' | b'S') { None } else { hex_number(rest) };
        if let Some(pc) = address {
            self.target.set_pc(self.resumed, pc);
        }
        let step = matches!(kind, b's' | b'S');
        let mut how = vec![if step { Resume::Stay } else { Resume::Run }; self.target.cpus()];
        if step && let Some(one) = how.get_mut(self.resumed) {
            *one = self.step();
        }
        self.start(&how);
        None
    }

    fn verbose(&mut self, rest: &[u8]) -> Reply {
        if rest == b"Cont?" {
            return text("vCont;c;C;s;S");
        }
        if let Some(actions) = rest.strip_prefix(b"Cont;") {
            return self.v_cont(actions);
        }
        if let Some(id) = rest.strip_prefix(b"Attach;") {
            if hex_number(id) != Some(1) {
                return text(EINVAL);
            }
            self.target.clear_breakpoints();
            return text(self.stop_reply(StopReason::Trap));
        }
        if rest.starts_with(b"Kill;") {
            self.target.quit();
            return ok();
        }
        text("")
    }

    fn v_cont(&mut self, actions: &[u8]) -> Reply {
        let mut how: Vec<Option<Resume>> = vec![None; self.target.cpus()];
        for action in actions.split(|b| *b == b';') {
            let mut parts = action.splitn(2, |b| *b == b':');
            let resume = match parts.next().and_then(|a| a.first()) {
                Some(b'c' | b'C') => Resume::Run,
                Some(b's' | b'S') => self.step(),
                _ => return text(EINVAL),
            };
            let id = parts.next();
            let all = matches!(id, None | Some(b"-1" | b"p1.-1" | b"p-1" | b"p01.-1" | b"p-1.-1"));
            // The leftmost action that names a thread is the one that counts for it.
            if all {
                how.iter_mut().for_each(|h| *h = h.or(Some(resume)));
            } else {
                let Some(cpu) = id.and_then(|id| self.parse_thread(id)) else { return text(EINVAL) };
                if let Some(h) = how.get_mut(cpu) {
                    *h = h.or(Some(resume));
                }
            }
        }
        let how: Vec<_> = how.into_iter().map(|h| h.unwrap_or(Resume::Stay)).collect();
        self.start(&how);
        None
    }

    fn breakpoint(&mut self, insert: bool, rest: &[u8]) -> Reply {
        let mut parts = rest.split(|b| *b == b',');
        let (kind, address) = (parts.next()?, parts.next().and_then(hex_number));
        let length = parts.next().and_then(hex_number);
        let (read, write) = match kind {
            b"0" | b"1" => (false, false),
            b"2" => (false, true),
            b"3" => (true, false),
            b"4" => (true, true),
            _ => return text(""),
        };
        let (Some(address), Some(len)) = (address, length) else { return text(EINVAL) };
        if !read && !write {
            self.target.breakpoint(address, insert);
            return ok();
        }
        let done = self.target.watchpoint(Watchpoint { address, len, read, write }, insert);
        text(if done { "OK" } else { EINVAL })
    }

    /// Width in bits of register `n` of the selected vCPU.
    fn width(&self, n: usize) -> Option<u32> {
        let sets = self.target.register_sets(self.general);
        sets.iter().flat_map(|s| &s.registers).find(|r| r.number == n).map(|r| r.bits).filter(|b| *b > 0)
    }

    /// Value of a register in the guest's byte order, which is little-endian for all guests so far.
    fn register_hex(&self, n: usize) -> Option<String> {
        let bytes = self.width(n)?.div_ceil(8) as usize;
        let value = self.target.read_register(self.general, n)?;
        let mut all = value.to_le_bytes().to_vec();
        all.resize(bytes, 0);
        Some(to_hex(&all))
    }

    /// Numbers and widths of the registers in a `g` packet: those of the first set.
    fn core(&self) -> Vec<(usize, usize)> {
        let sets = self.target.register_sets(self.general);
        let set = sets.first();
        set.map_or(Vec::new(), |s| {
            s.registers.iter().map(|r| (r.number, r.bits.div_ceil(8) as usize)).collect()
        })
    }

    fn read_all(&self) -> String {
        self.core()
            .into_iter()
            .map(|(n, bytes)| self.register_hex(n).unwrap_or_else(|| "x".repeat(bytes * 2)))
            .collect()
    }

    fn write_all(&mut self, rest: &[u8]) -> Reply {
        let Some(bytes) = from_hex(rest) else { return text(EINVAL) };
        let mut left = bytes.as_slice();
        for (n, width) in self.core() {
            let Some((value, rest)) = left.split_at_checked(width) else { break };
            self.target.write_register(self.general, n, little_endian(value));
            left = rest;
        }
        ok()
    }

    fn write_register(&mut self, rest: &[u8]) -> Reply {
        let mut parts = rest.splitn(2, |b| *b == b'=');
        let n = parts.next().and_then(hex_number).and_then(|n| usize::try_from(n).ok());
        let value = parts.next().and_then(from_hex);
        let (Some(n), Some(value)) = (n, value) else { return text(EINVAL) };
        let done = self.target.write_register(self.general, n, little_endian(&value));
        text(if done { "OK" } else { EFAULT })
    }

    fn place(text: &[u8]) -> Option<(u64, usize)> {
        let mut parts = text.split(|b| *b == b',');
        let (address, length) = (hex_number(parts.next()?)?, hex_number(parts.next()?)?);
        Some((address, usize::try_from(length).ok()?))
    }

    fn read_memory(&self, rest: &[u8]) -> Reply {
        let Some((address, length)) = Self::place(rest) else { return text(EINVAL) };
        if length > MAX_PACKET / 2 {
            return text(EINVAL);
        }
        let mut bytes = vec![0; length];
        if !self.target.read_memory(self.general, address, &mut bytes, self.physical) {
            return text(EFAULT);
        }
        text(to_hex(&bytes))
    }

    fn write_memory(&self, place: &[u8], bytes: &[u8]) -> Reply {
        let Some((address, length)) = Self::place(place) else { return text(EINVAL) };
        if length != bytes.len() {
            return text(EINVAL);
        }
        if bytes.is_empty() {
            return ok();
        }
        let done = self.target.write_memory(self.general, address, bytes, self.physical);
        text(if done { "OK" } else { EFAULT })
    }

    fn query(&mut self, data: &[u8], out: &mut Vec<u8>) -> Reply {
        let name_end = data.iter().position(|b| matches!(b, b':' | b',' | b';' | b'=')).unwrap_or(data.len());
        let (name, rest) = data.split_at(name_end);
        let rest = rest.get(1..).unwrap_or_default();
        match name {
            b"qSupported" => {
                self.multiprocess = rest.windows(13).any(|w| w == b"multiprocess+");
                text(format!(
                    "PacketSize={MAX_PACKET:x};qXfer:features:read+{};vContSupported+{}",
                    if self.target.can_reverse() { ";ReverseStep+;ReverseContinue+" } else { "" },
                    if self.multiprocess { ";multiprocess+" } else { "" }
                ))
            }
            b"qC" => text(format!("QC{}", self.thread(self.general))),
            b"qfThreadInfo" => {
                self.listed = 0;
                self.next_thread()
            }
            b"qsThreadInfo" => self.next_thread(),
            b"qThreadExtraInfo" => {
                let Some(cpu) = self.parse_thread(rest) else { return text(EINVAL) };
                let state = if self.target.halted(cpu) { "halted " } else { "running" };
                text(to_hex(format!("CPU#{cpu} [{state}]").as_bytes()))
            }
            b"qAttached" => text("1"),
            b"qXfer" => self.transfer(rest),
            b"qRcmd" => {
                let Some(line) = from_hex(rest) else { return text(EINVAL) };
                let answer = self.target.command(&String::from_utf8_lossy(&line));
                for part in answer.as_bytes().chunks(MAX_PACKET / 2 - 4) {
                    out.extend(frame(format!("O{}", to_hex(part)).as_bytes()));
                }
                ok()
            }
            b"qqemu.sstepbits" => text("ENABLE=1,NOIRQ=2,NOTIMER=4"),
            b"qqemu.sstep" => text(format!("0x{:x}", self.step_flags)),
            b"Qqemu.sstep" => match hex_number(rest.strip_prefix(b"0x").unwrap_or(rest)) {
                Some(flags) if flags <= 7 => {
                    self.step_flags = flags;
                    ok()
                }
                _ => text(EINVAL),
            },
            b"qqemu.Supported" => text("sstepbits;sstep;PhyMemMode"),
            b"qqemu.PhyMemMode" => text(if self.physical { "1" } else { "0" }),
            b"Qqemu.PhyMemMode" => {
                self.physical = rest != b"0";
                ok()
            }
            _ => text(""),
        }
    }

    fn next_thread(&mut self) -> Reply {
        if self.listed >= self.target.cpus() {
            return text("l");
        }
        self.listed += 1;
        text(format!("m{}", self.thread(self.listed - 1)))
    }

    /// `qXfer:features:read:FILE:OFFSET,LENGTH`.
    fn transfer(&self, rest: &[u8]) -> Reply {
        let rest = String::from_utf8_lossy(rest);
        let Some(rest) = rest.strip_prefix("features:read:") else { return text("") };
        let (name, range) = rest.rsplit_once(':')?;
        let Some((offset, length)) = Self::place(range.as_bytes()) else { return text(EINVAL) };
        let sets = self.target.register_sets(self.general);
        let Some(file) = features::file(&self.target.architecture(), &sets, name) else {
            return text("E00");
        };
        let Some(left) = usize::try_from(offset).ok().and_then(|o| file.as_bytes().get(o..)) else {
            return text("E00");
        };
        let (part, last) = match left.get(..length.min(MAX_PACKET - 8)) {
            Some(part) if part.len() < left.len() => (part, b'm'),
            _ => (left, b'l'),
        };
        Some([&[last], part].concat())
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

#[cfg(test)]
#[path = "session_test.rs"]
mod test;
