//! An emulator driven through its console: spawn, expect, send, and how long it took.

use crate::Result;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the reading thread has received.
#[derive(Default)]
struct Received {
    text: Vec<u8>,
    first: Option<Instant>,
    ended: bool,
}

/// A running emulator with its standard streams on pipes.
pub struct Console {
    child: Child,
    input: Option<ChildStdin>,
    received: Arc<(Mutex<Received>, Condvar)>,
    seen: usize,
    /// Up to where questions have been answered, if they are.
    answered: Option<usize>,
    started: Instant,
}

/// "Device status report 6" of a terminal (ECMA-48, section 8.3.35), and the answer: the lower right corner.
const WHERE: (&[u8], &[u8]) = (b"\x1b[6n", b"\x1b[24;80R");

impl Console {
    /// Starts `program`; standard error is read together with standard output.
    pub fn spawn(program: &Path, args: &[String]) -> Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
        let received = Arc::new((Mutex::new(Received::default()), Condvar::new()));
        if let Some(out) = child.stdout.take() {
            drain(out, Arc::clone(&received), true);
        }
        if let Some(err) = child.stderr.take() {
            drain(err, Arc::clone(&received), false);
        }
        let input = child.stdin.take();
        Ok(Self { child, input, received, seen: 0, answered: None, started })
    }

    /// From now on answers as a terminal of 80 columns who asks where the cursor is: systemd and agetty do, and wait for a second
    /// or two. (Shells ask, too, and what is sent to them meanwhile would be mixed with the answers.)
    pub fn be_a_terminal(&mut self) {
        self.answered = Some(0);
    }

    /// Waits until `needle` appears in what has not been matched yet; returns the time since the start.
    pub fn expect(&mut self, needle: &str, limit: Duration) -> Result<Duration> {
        let deadline = Instant::now() + limit;
        let (lock, arrived) = &*self.received;
        let mut got = guard(lock);
        loop {
            while let Some(from) = self.answered
                && let Some(at) = find(got.text.get(from..).unwrap_or_default(), WHERE.0)
            {
                self.answered = Some(from + at + WHERE.0.len());
                if let Some(input) = self.input.as_mut() {
                    input.write_all(WHERE.1)?;
                    input.flush()?;
                }
            }
            let fresh = got.text.get(self.seen..).unwrap_or_default();
            if let Some(at) = find(fresh, needle.as_bytes()) {
                self.seen += at + needle.len();
                return Ok(self.started.elapsed());
            }
            let now = Instant::now();
            if got.ended || now >= deadline {
                let why = if got.ended { "the emulator ended" } else { "time is up" };
                let tail = String::from_utf8_lossy(last(&got.text, 1500)).into_owned();
                return Err(format!("'{needle}' did not come ({why}); the console ends in:\n{tail}").into());
            }
            got = arrived
                .wait_timeout(got, deadline - now)
                .map(|(g, _)| g)
                .unwrap_or_else(|e| e.into_inner().0);
        }
    }

    /// Sends text to the guest's console.
    pub fn send(&mut self, text: &str) -> Result<()> {
        if let Some(input) = self.input.as_mut() {
            input.write_all(text.as_bytes())?;
            input.flush()?;
        }
        Ok(())
    }

    /// Time from the start to the first byte of output.
    pub fn first_output(&self) -> Option<Duration> {
        guard(&self.received.0).first.map(|t| t.duration_since(self.started))
    }

    /// Everything received so far.
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&guard(&self.received.0).text).into_owned()
    }

    /// Peak resident memory so far, in KiB (`VmHWM` of proc(5)).
    pub fn peak_resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").trim().parse().ok()
    }

    /// Processor time used so far by all threads of the emulator, in clock ticks (proc(5) `stat` 14 and 15).
    pub fn processor_ticks(&self) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    }

    /// Processor time used so far by all threads of the emulator that are alive (proc(5) `schedstat`): finer than ticks.
    pub fn processor_time(&self) -> Option<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let of = |task: fs::DirEntry| {
            fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        };
        Some(Duration::from_nanos(tasks.flatten().filter_map(of).sum()))
    }

    /// Kills the emulator (SIGKILL); returns everything that it had written.
    pub fn kill(&mut self) -> Result<String> {
        self.child.kill()?;
        self.child.wait()?;
        let (lock, arrived) = &*self.received;
        let ended = arrived.wait_timeout_while(guard(lock), Duration::from_secs(5), |got| !got.ended);
        drop(ended);
        Ok(self.transcript())
    }

    /// Waits for the emulator to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let tail = String::from_utf8_lossy(last(&guard(&self.received.0).text, 600)).into_owned();
                return Err(format!("the emulator did not end; the console ends in:\n{tail}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn guard(lock: &Mutex<Received>) -> MutexGuard<'_, Received> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drain(mut stream: impl Read + Send + 'static, into: Arc<(Mutex<Received>, Condvar)>, main: bool) {
    thread::spawn(move || {
        let mut buffer = [0u8; 8192];
        loop {
            let n = stream.read(&mut buffer).unwrap_or(0);
            let mut got = guard(&into.0);
            if n == 0 {
                got.ended |= main;
                into.1.notify_all();
                return;
            }
            if main {
                got.first.get_or_insert_with(Instant::now);
            }
            got.text.extend_from_slice(buffer.get(..n).unwrap_or_default());
            into.1.notify_all();
        }
    });
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len().max(1)).position(|w| w == needle)
}

fn last(bytes: &[u8], n: usize) -> &[u8] {
    bytes.get(bytes.len().saturating_sub(n)..).unwrap_or_default()
}
