//! The program under test and a client of its machine protocol.

#![allow(dead_code, reason = "each test uses its part")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program with the words of a command line.
pub fn program(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinamou"));
    // What a test leaves behind is not the user's.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// A path for a file of this test's own.
pub fn temporary(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Relaxed);
    std::env::temp_dir().join(format!("tinamou-{}-{n}-{name}", std::process::id()))
}

/// A program for `-M virt -bios none`: it writes a word to the test finisher and then runs in circles.
pub fn finisher(word: u32) -> PathBuf {
    let (low, high) = ((word & 0xfff) as i32, word.wrapping_add(0x800) & 0xffff_f000);
    let low = if low >= 0x800 { low - 0x1000 } else { low };
    let code = [
        0x0010_0537,                      // lui  a0, 0x100
        high | 0x5b7,                     // lui  a1, high
        (low as u32) << 20 | 0x0005_8593, // addi a1, a1, low
        0x00b5_2023,                      // sw   a1, 0(a0)
        0x0000_006f,                      // j    .
    ];
    let bytes: Vec<u8> = code.iter().flat_map(|w| w.to_le_bytes()).collect();
    let path = temporary(&format!("{word:x}.bin"));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// An ELF file of one segment that is loaded to an address and begins there.
pub fn elf(address: u64, code: &[u32]) -> Vec<u8> {
    let (head, length) = (0x78u64, 4 * code.len() as u64);
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    // An executable for RISC-V; one program header behind this one, no sections.
    out.extend([2u16, 243].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(1u32.to_le_bytes());
    out.extend([address, 64, 0].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(0u32.to_le_bytes());
    out.extend([64u16, 56, 1, 64, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    // To be loaded, readable and executable.
    out.extend([1u32, 5].iter().flat_map(|n| n.to_le_bytes()));
    out.extend([head, address, address, length, length, 4].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(code.iter().flat_map(|word| word.to_le_bytes()));
    out
}

/// Tries until it gives something.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running program.
pub struct Machine {
    pub child: Child,
    pub socket: PathBuf,
}

impl Machine {
    /// Starts the program with a monitor on a socket.
    pub fn start(line: &str) -> Machine {
        let socket = temporary("qmp");
        let mut command = program(line);
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        Machine { child: command.spawn().unwrap(), socket }
    }
    /// Connects to the socket.
    pub fn connect(&self) -> Client {
        Client::new(until("the socket does not listen", || UnixStream::connect(&self.socket).ok()))
    }
    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        until("the program does not end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A client of the machine protocol.
pub struct Client {
    stream: BufReader<UnixStream>,
    /// Events that came while a reply was waited for: name and data.
    pub events: Vec<(String, Value)>,
    pub greeting: Value,
}

impl Client {
    /// Hears the greeting.
    pub fn new(stream: UnixStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { stream: BufReader::new(stream), events: Vec::new(), greeting: Value::Null };
        client.greeting = client.read().expect("a greeting");
        client
    }
    /// The same, ready for commands.
    pub fn ready(machine: &Machine) -> Client {
        let mut client = machine.connect();
        assert_eq!(client.run("qmp_capabilities", json!({})), json!({}));
        client
    }
    /// The next message; `None` at the end.
    pub fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        Some(serde_json::from_str(&line).unwrap())
    }
    /// The socket.
    pub fn stream(&self) -> &UnixStream {
        self.stream.get_ref()
    }
    pub fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }
    /// The reply to what has been sent.
    pub fn reply(&mut self) -> Value {
        loop {
            let message = self.read().expect("a reply");
            match message.get("event").and_then(Value::as_str) {
                Some(name) => self.events.push((name.to_owned(), message["data"].clone())),
                None => return message,
            }
        }
    }
    /// Runs a command that succeeds.
    pub fn run(&mut self, command: &str, arguments: Value) -> Value {
        self.send(&json!({"execute": command, "arguments": arguments}).to_string());
        let reply = self.reply();
        reply.get("return").unwrap_or_else(|| panic!("{command}: {reply}")).clone()
    }
    /// Runs a command that fails, and returns the class and the description.
    pub fn refused(&mut self, command: &str, arguments: Value) -> (String, String) {
        self.send(&json!({"execute": command, "arguments": arguments}).to_string());
        let reply = self.reply();
        let part = |key: &str| {
            reply["error"][key].as_str().unwrap_or_else(|| panic!("{command}: {reply}")).to_owned()
        };
        (part("class"), part("desc"))
    }
    /// A line of the monitor for people.
    pub fn hmp(&mut self, line: &str) -> String {
        let text = self.run("human-monitor-command", json!({"command-line": line}));
        text.as_str().unwrap().replace('\r', "")
    }
    /// Waits for an event and returns its data.
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            if let Some(place) = self.events.iter().position(|(event, _)| event == name) {
                return self.events.remove(place).1;
            }
            let message = self.read().unwrap_or_else(|| panic!("the connection ended before {name}"));
            self.events.push((message["event"].as_str().unwrap().to_owned(), message["data"].clone()));
        }
    }
}

/// Sends descriptors with bytes.
pub fn send_fds(stream: &std::os::unix::net::UnixStream, text: &str, fds: &[std::os::fd::BorrowedFd<'_>]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    sendmsg(stream, &[std::io::IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty()).unwrap();
}

/// Sends a request to a gdb stub; its answer, which is acknowledged.
pub fn ask_stub(stream: &mut UnixStream, request: &str) -> String {
    let sum = request.bytes().fold(0u8, u8::wrapping_add);
    stream.write_all(format!("${request}#{sum:02x}").as_bytes()).unwrap();
    let mut reply = String::new();
    let mut inside = false;
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        match byte[0] {
            b'$' => inside = true,
            b'#' => break,
            b if inside => reply.push(b as char),
            _ => {}
        }
    }
    stream.read_exact(&mut [0; 2]).unwrap();
    stream.write_all(b"+").unwrap();
    reply
}
