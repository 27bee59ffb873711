//! `pty`: a pseudo-terminal whose other end some terminal program opens by its name.
//!
//! While nobody has the other end open, the kernel reports a hang-up on ours for ever. So the port is then
//! not watched but looked at once a second, and what is written is forgotten.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use events::{Clock, EventLoop, Timer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::stream::{Sink, Stream};
use super::{CharPort, CharReceiver};
use crate::Error;

const GLANCE_NS: u64 = 1_000_000_000;

/// A port that is a pseudo-terminal.
pub(crate) struct PtyPort {
    line: Arc<Line>,
    name: String,
}

struct Line {
    stream: Arc<Stream>,
    master: OwnedFd,
    glance: OnceLock<Timer>,
    events: EventLoop,
}

impl PtyPort {
    /// Opens a pseudo-terminal and says its name on standard output.
    pub(crate) fn open(events: &EventLoop, label: &str) -> Result<PtyPort, Error> {
        let (master, name) = open_pair().map_err(|error| Error::io("Failed to create PTY", error))?;
        println!("char device redirected to {name} (label {label})");
        let line = Arc::new(Line {
            stream: Stream::new(events),
            master,
            glance: OnceLock::new(),
            events: events.clone(),
        });
        let weak = Arc::downgrade(&line);
        let timer = events.timer(Clock::Realtime, move || {
            if let Some(line) = weak.upgrade() {
                line.look();
            }
        });
        timer.arm(0);
        let _ = line.glance.set(timer);
        let weak = Arc::downgrade(&line);
        line.stream.on_hangup(move || {
            if let Some(line) = weak.upgrade() {
                line.stream.detach();
                line.look_later();
            }
        });
        Ok(PtyPort { line, name })
    }
}

fn open_pair() -> io::Result<(OwnedFd, String)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
    let slave = open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut termios = tcgetattr(&slave)?;
    termios.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &termios)?;
    fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
    Ok((master, name))
}

impl Line {
    fn look(&self) {
        if self.stream.is_connected() {
            return;
        }
        let mut fds = [PollFd::new(&self.master, PollFlags::OUT)];
        let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        let open = polled.is_ok() && !fds[0].revents().contains(PollFlags::HUP);
        let attached = open
            && (|| {
                let source = File::from(self.master.try_clone()?);
                let sink = Sink::Own(Arc::new(File::from(self.master.try_clone()?)));
                self.stream.attach(Some(source), Some(sink))
            })()
            .is_ok();
        if !attached {
            self.look_later();
        }
    }

    fn look_later(&self) {
        if let Some(timer) = self.glance.get() {
            timer.arm(self.events.clocks().now_ns(Clock::Realtime) + GLANCE_NS);
        }
    }
}

impl CharPort for PtyPort {
    fn write(&self, bytes: &[u8]) -> usize {
        self.line.stream.write(bytes)
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        self.line.stream.set_receiver(receiver);
    }

    fn receive_ready(&self) {
        self.line.stream.receive_ready();
    }

    fn describe(&self) -> String {
        format!("pty:{}", self.name)
    }

    fn send_break(&self) {
        self.line.stream.event(super::CharEvent::Break);
    }

    fn flush(&self) {
        self.line.stream.flush();
    }
}
