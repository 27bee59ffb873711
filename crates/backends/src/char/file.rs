//! `file`: output goes to a file. `pipe`: a pair of named pipes, or one for both directions. `serial`: a serial line of the
//! host.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use events::EventLoop;
use rustix::fs::OFlags;
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};

use super::stream::{Sink, Stream};
use super::{CharPort, CharReceiver};
use crate::Error;

/// A port that is a file or a pipe.
pub(crate) struct FilePort {
    stream: Arc<Stream>,
    kind: &'static str,
}

fn cannot_open(path: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::io(format_args!("Could not open '{path}'"), error)
}

pub(crate) fn open_file(events: &EventLoop, path: &str, append: bool) -> Result<FilePort, Error> {
    let mut options = OpenOptions::new();
    options.create(true);
    if append {
        options.append(true)
    } else {
        options.write(true).truncate(true)
    };
    let file = crate::fd::open(path, &options, OFlags::WRONLY).map_err(cannot_open(path))?;
    let stream = Stream::new(events);
    stream.attach(None, Some(Sink::Own(Arc::new(file)))).map_err(cannot_open(path))?;
    Ok(FilePort { stream, kind: "file" })
}

/// Opens `path.in` and `path.out`, or else `path` for both directions. They are opened for reading and
/// writing, so that neither waits for the other side nor ends when it goes.
pub(crate) fn open_pipe(events: &EventLoop, path: &str) -> Result<FilePort, Error> {
    let open = |path: &str| {
        let flags = OFlags::NONBLOCK.bits() as i32;
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
    };
    let pair = open(&format!("{path}.in")).and_then(|input| Ok((input, open(&format!("{path}.out"))?)));
    let (source, sink): (File, File) = match pair {
        Ok(pair) => pair,
        Err(_) => {
            let both = open(path).map_err(cannot_open(path))?;
            (both.try_clone().map_err(cannot_open(path))?, both)
        }
    };
    let stream = Stream::new(events);
    stream.attach(Some(source), Some(Sink::Own(Arc::new(sink)))).map_err(cannot_open(path))?;
    Ok(FilePort { stream, kind: "pipe" })
}

/// Opens a serial line of the host: bytes as they are, eight bits without parity, and 115200 of them in a second unless the
/// line cannot be told.
pub(crate) fn open_serial(events: &EventLoop, path: &str) -> Result<FilePort, Error> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let line = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let line = line.map_err(cannot_open(path))?;
    if let Ok(mut modes) = tcgetattr(&line) {
        modes.make_raw();
        modes.control_modes.remove(ControlModes::CSIZE | ControlModes::PARENB | ControlModes::CSTOPB);
        modes.control_modes.insert(ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL);
        // A pseudo-terminal has no speed.
        let _ = modes.set_speed(115_200);
        let _ = tcsetattr(&line, OptionalActions::Now, &modes);
    }
    let stream = Stream::new(events);
    let source = line.try_clone().map_err(cannot_open(path))?;
    stream.attach(Some(source), Some(Sink::Own(Arc::new(line)))).map_err(cannot_open(path))?;
    Ok(FilePort { stream, kind: "serial" })
}

impl CharPort for FilePort {
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
        self.kind.to_owned()
    }

    fn send_break(&self) {
        self.stream.event(super::CharEvent::Break);
    }

    fn flush(&self) {
        self.stream.flush();
    }
}
