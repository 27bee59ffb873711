//! The monitor of an emulator on a socket.

use crate::Result;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PROMPT: &[u8] = b"(qemu) ";
/// How long the program may take to listen.
const START: Duration = Duration::from_secs(30);
/// How long a command may take.
const ANSWER: Duration = Duration::from_secs(120);

/// A connection to a monitor.
pub struct Hmp(UnixStream);

impl Hmp {
    /// The arguments that put a monitor on a socket.
    pub fn arguments(socket: &Path) -> [String; 2] {
        ["-monitor".to_owned(), format!("unix:{},server=on,wait=off", socket.display())]
    }

    /// Connects, as soon as somebody listens.
    pub fn connect(socket: &PathBuf) -> Result<Hmp> {
        let begin = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if begin.elapsed() > START => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        stream.set_read_timeout(Some(ANSWER))?;
        let mut hmp = Hmp(stream);
        hmp.answer()?;
        Ok(hmp)
    }

    fn answer(&mut self) -> Result<String> {
        let mut text = Vec::new();
        while !text.ends_with(PROMPT) {
            let mut some = [0; 4096];
            match self.0.read(&mut some)? {
                0 => return Err("the monitor hung up".into()),
                n => text.extend_from_slice(&some[..n]),
            }
        }
        Ok(String::from_utf8_lossy(&text).replace('\r', ""))
    }

    /// Runs a command and returns what it says, its echo included, and how long it took.
    pub fn run(&mut self, command: &str) -> Result<(String, Duration)> {
        let begin = Instant::now();
        self.0.write_all(format!("{command}\n").as_bytes())?;
        let answer = self.answer()?;
        Ok((answer, begin.elapsed()))
    }

    /// Runs a command that must not say that it failed.
    pub fn must(&mut self, command: &str) -> Result<Duration> {
        match self.run(command)? {
            (answer, _) if answer.contains("Error") => Err(format!("{command}: {answer}").into()),
            (_, time) => Ok(time),
        }
    }
}
