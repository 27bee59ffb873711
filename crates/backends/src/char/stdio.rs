//! `stdio`: standard input and output.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use events::EventLoop;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use super::stream::{Sink, Stream};
use super::{CharPort, CharReceiver, terminal};
use crate::Error;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// The port on standard input and output. There can be only one.
pub(crate) struct StdioPort {
    stream: Arc<Stream>,
}

impl StdioPort {
    pub(crate) fn open(events: &EventLoop, signals: bool) -> Result<StdioPort, Error> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(Error::new("cannot use stdio by multiple character devices"));
        }
        let port = StdioPort { stream: Stream::new(events) };
        terminal::make_raw(signals);
        let attach = || {
            let source = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
            port.stream.attach(Some(source), Some(sink_for(rustix::stdio::stdout())?))
        };
        attach().map_err(|error| Error::io("could not open stdio", error))?;
        Ok(port)
    }
}

/// A way to write to `fd` without blocking and without setting `O_NONBLOCK` on an open file description that
/// we share with the shell: terminals and pipes are opened once more.
fn sink_for(fd: BorrowedFd<'_>) -> io::Result<Sink> {
    let own = fd.try_clone_to_owned()?;
    match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::RegularFile => Ok(Sink::Own(Arc::new(File::from(own)))),
        FileType::Socket => Ok(Sink::Socket(Arc::new(own))),
        _ => {
            use std::os::fd::AsRawFd;
            let path = format!("/proc/self/fd/{}", own.as_fd().as_raw_fd());
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            Ok(match open(path, flags, Mode::empty()) {
                Ok(again) => Sink::Own(Arc::new(File::from(again))),
                Err(_) => Sink::Shared(Arc::new(File::from(own))),
            })
        }
    }
}

impl Drop for StdioPort {
    fn drop(&mut self) {
        self.stream.flush();
        terminal::restore();
        TAKEN.store(false, Ordering::SeqCst);
    }
}

impl CharPort for StdioPort {
    fn write(&self, bytes: &[u8]) -> usize {
        self.stream.write(bytes)
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        self.stream.set_receiver(receiver);
    }

    fn receive_ready(&self) {
        self.stream.receive_ready();
    }

    fn describe(&self) -> String {
        "stdio".to_owned()
    }

    fn send_break(&self) {
        self.stream.event(super::CharEvent::Break);
    }

    fn flush(&self) {
        self.stream.flush();
    }
}
