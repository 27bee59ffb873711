//! `-chardev` and `-serial`: reading them and opening what they describe.

use std::sync::Arc;

use events::EventLoop;

use super::changeable::Changeable;
use super::file::{open_file, open_pipe, open_serial};
use super::log::Logged;
use super::pty::PtyPort;
use super::socket::{SocketAddress, SocketOptions, SocketPort};
use super::stdio::StdioPort;
use super::{CharPort, Mux, MuxActions, Null, RingBuf};
use crate::Error;
use crate::options::Options;

/// What `-chardev help` prints: the back ends that exist here.
pub const BACKEND_HELP: &str = "Available chardev backend types: \n  ringbuf\n  mux\n  pipe\n  null\n  socket\n  \
                                vc\n  memory\n  file\n  pty\n  stdio\n  serial\n";

/// Back ends that QEMU has and this program has not.
const ABSENT: [&str; 8] =
    ["qemu-vdagent", "hub", "msmouse", "parallel", "udp", "wctablet", "testdev", "spicevmc"];

/// One back end with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CharBackend {
    /// Forgets all output.
    Null,
    /// A text console on a display; there is none, so that it forgets all output.
    Vc,
    /// Standard input and output.
    Stdio {
        /// Ctrl-C and its kin act on this program instead of going to the guest.
        signal: bool,
    },
    /// Output to a file.
    File {
        /// The file's path.
        path: String,
        /// Keep what is in it.
        append: bool,
    },
    /// A pseudo-terminal.
    Pty,
    /// Named pipes.
    Pipe {
        /// The common part of the names `PATH.in` and `PATH.out`, or the name of one pipe.
        path: String,
    },
    /// A serial line of the host.
    Serial {
        /// The path of its device.
        path: String,
    },
    /// A socket.
    Socket(SocketOptions),
    /// The last bytes in memory.
    RingBuf {
        /// The number of bytes, a power of two.
        size: u64,
    },
    /// A multiplexer over another back end.
    Mux {
        /// The id of the other.
        chardev: String,
    },
}

/// A parsed `-chardev` option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chardev {
    /// Its name.
    pub id: String,
    /// Put a multiplexer over it.
    pub mux: bool,
    /// A file for a copy of the output, and whether to append.
    pub log: Option<(String, bool)>,
    /// What it is.
    pub backend: CharBackend,
}

/// A parsed `-serial` option (also the legacy form of `-monitor`, `-parallel` and their like).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialOption {
    /// `none`: no such port at all.
    None,
    /// `chardev:ID`.
    Existing(String),
    /// A new back end, named by the label given. With `mon:` a multiplexer is over it and
    /// `monitor` says that the monitor wants a front end of it too.
    New {
        /// The back end.
        chardev: Chardev,
        /// The `mon:` prefix was there.
        monitor: bool,
    },
}

/// What opening a back end needs from outside.
pub struct CharContext<'a> {
    /// The main loop.
    pub events: &'a EventLoop,
    /// What the keys of a multiplexer do.
    pub actions: &'a Arc<MuxActions>,
    /// Hears notices for the terminal (`info: QEMU waiting for connection on: ...`), which the program prints
    /// with its name and the option in front.
    pub notice: &'a dyn Fn(&str),
    /// The program leaves its terminal (`-daemonize`): nothing may be connected to that.
    pub detached: bool,
}

/// The second line of the message about a `-serial` option that failed.
pub fn not_connected(option: &str) -> String {
    format!("could not connect serial device to character backend '{option}'")
}

impl Chardev {
    /// Reads the argument of `-chardev`.
    ///
    /// # Errors
    /// The text to print behind `-chardev ARGUMENT: `.
    pub fn parse(text: &str) -> Result<Chardev, Error> {
        let mut options = Options::parse(text, Some("backend"));
        let id = options.take_id()?;
        let kind = options.take("backend");
        let id = id.ok_or_else(|| Error::new("chardev: no id specified"))?;
        let kind = kind.ok_or_else(|| Error::new(format!("chardev: \"{id}\" missing backend")))?;
        Chardev::from_options(id, &kind, options)
    }

    fn from_options(id: String, kind: &str, mut options: Options) -> Result<Chardev, Error> {
        let backend = read_backend(kind, &mut options)?;
        let mux = options.take_bool("mux")?.unwrap_or(false);
        let append = options.take_bool("logappend")?.unwrap_or(false);
        let log = options.take("logfile").map(|path| (path, append));
        options.finish()?;
        Ok(Chardev { id, mux, log, backend })
    }
}

fn read_backend(kind: &str, options: &mut Options) -> Result<CharBackend, Error> {
    let missing = |what: &str| Error::new(format!("chardev: {kind}: no {what} given"));
    Ok(match kind {
        "null" => CharBackend::Null,
        "vc" => {
            for size in ["width", "height", "cols", "rows"] {
                options.take_number(size)?;
            }
            CharBackend::Vc
        }
        "stdio" => CharBackend::Stdio { signal: options.take_bool("signal")?.unwrap_or(true) },
        "file" => CharBackend::File {
            path: options.take("path").ok_or_else(|| missing("filename"))?,
            append: options.take_bool("append")?.unwrap_or(false),
        },
        "pty" => CharBackend::Pty,
        "pipe" => CharBackend::Pipe { path: options.take("path").ok_or_else(|| missing("device path"))? },
        // The messages know it by both names.
        "serial" | "tty" => CharBackend::Serial {
            path: options
                .take("path")
                .ok_or_else(|| Error::new("chardev: serial/tty: no device path given"))?,
        },
        "ringbuf" | "memory" => CharBackend::RingBuf { size: options.take_size("size")?.unwrap_or(64 << 10) },
        "mux" => CharBackend::Mux { chardev: options.take("chardev").ok_or_else(|| missing("chardev"))? },
        "socket" => CharBackend::Socket(read_socket(options)?),
        _ if ABSENT.contains(&kind) => {
            return Err(Error::new(format!("character back end '{kind}' is not available")));
        }
        _ => return Err(Error::new(format!("'{kind}' is not a valid char driver name"))),
    })
}

fn read_socket(options: &mut Options) -> Result<SocketOptions, Error> {
    let server = options.take_bool("server")?.unwrap_or(false);
    let wait = options.take_bool("wait")?;
    let delay = options.take_bool("delay")?;
    let nodelay = options.take_bool("nodelay")?;
    let seconds = options.take_number("reconnect")?;
    let millis = options.take_number("reconnect-ms")?;
    for (absent, quiet) in [("telnet", "off"), ("websocket", "off"), ("tn3270", "off"), ("abstract", "off")] {
        if options.take(absent).is_some_and(|value| value != quiet) {
            return Err(Error::new(format!("socket option '{absent}' is not available")));
        }
    }
    // Which address family is left to the name's resolution.
    let families = (options.take_bool("ipv4")?, options.take_bool("ipv6")?, options.take_bool("tight")?);
    let _ = families;
    let path = options.take("path");
    let host = options.take("host");
    let port = options.take("port");
    let address = match (path, host) {
        (Some(path), _) => SocketAddress::Unix(path),
        (None, Some(host)) => {
            let port = port.ok_or_else(|| Error::new("chardev: socket: no port given"))?;
            SocketAddress::Tcp(host, port)
        }
        (None, None) => match options.take("fd") {
            Some(fd) => SocketAddress::Fd(fd),
            None => return Err(Error::new("chardev: socket: no path or host given")),
        },
    };
    if server && (seconds.is_some() || millis.is_some()) {
        let which = if seconds.is_some() { "reconnect" } else { "reconnect-ms" };
        let text = format!("'{which}' option is incompatible with socket in server listen mode");
        return Err(Error::new(text));
    }
    if !server && wait.is_some() {
        return Err(Error::new("'wait' option is incompatible with socket in client connect mode"));
    }
    Ok(SocketOptions {
        address,
        server,
        wait: server && wait.unwrap_or(true),
        nodelay: nodelay.unwrap_or(false) || delay == Some(false),
        reconnect_ms: millis.unwrap_or(seconds.unwrap_or(0).saturating_mul(1000)),
    })
}

impl SerialOption {
    /// Reads the argument of `-serial`. `label` names the new back end (`serial0`).
    ///
    /// # Errors
    /// The text to print behind `-serial ARGUMENT: `, unless it is empty. A second line follows in any case,
    /// which is [`not_connected`]'s.
    pub fn parse(text: &str, label: &str) -> Result<SerialOption, Error> {
        if text == "none" {
            return Ok(SerialOption::None);
        }
        if let Some(id) = text.strip_prefix("chardev:") {
            return Ok(SerialOption::Existing(id.to_owned()));
        }
        let (monitor, rest) = match text.strip_prefix("mon:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (kind, mut options) = legacy(rest)?;
        if monitor {
            options.push("mux", "on");
            if kind == "stdio" {
                // The guest gets Ctrl-C; Ctrl-A x is the way out.
                options.push("signal", "off");
            }
        }
        let chardev = Chardev::from_options(label.to_owned(), kind, options)?;
        Ok(SerialOption::New { chardev, monitor })
    }
}

/// The back end and its options from a legacy spelling such as `tcp:HOST:PORT,server=on`.
fn legacy(text: &str) -> Result<(&'static str, Options), Error> {
    let plain = ["null", "pty", "vc", "stdio"];
    if let Some(kind) = plain.into_iter().find(|kind| *kind == text) {
        return Ok((kind, Options::default()));
    }
    if text.strip_prefix("vc:").is_some() {
        return Ok(("vc", Options::default()));
    }
    let path = |kind: &'static str, path: &str| {
        let mut options = Options::default();
        options.push("path", path);
        Ok((kind, options))
    };
    if let Some(file) = text.strip_prefix("file:") {
        return path("file", file);
    }
    if text.starts_with("/dev/") {
        return path("serial", text);
    }
    if let Some(pipe) = text.strip_prefix("pipe:") {
        return path("pipe", pipe);
    }
    if let Some(rest) = text.strip_prefix("unix:") {
        return Ok(("socket", Options::parse(rest, Some("path"))));
    }
    if let Some(rest) = text.strip_prefix("tcp:") {
        let (address, more) = rest.split_once(',').unwrap_or((rest, ""));
        // An address without a port has no message of its own.
        let (host, port) = address.rsplit_once(':').ok_or_else(|| Error::new(""))?;
        let mut options = Options::parse(more, None);
        options.push("host", host.trim_start_matches('[').trim_end_matches(']'));
        options.push("port", port);
        return Ok(("socket", options));
    }
    for absent in ["udp:", "telnet:", "websocket:", "tn3270:", "con:", "COM"] {
        if text.starts_with(absent) {
            return Err(Error::new(format!("character back end '{text}' is not available")));
        }
    }
    Err(Error::new(format!("'{text}' is not a valid char driver")))
}

/// A back end as a monitor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChardevInfo {
    /// Its name.
    pub id: String,
    /// What it is: `unix:/path,server=on`.
    pub what: String,
    /// Some front end has it.
    pub used: bool,
}

enum Entry {
    Port { port: Arc<Changeable>, taken: bool },
    Mux(Arc<Mux>),
}

/// All back ends by their names, in the order of their creation.
#[derive(Default)]
pub struct Chardevs {
    entries: Vec<(String, Entry)>,
    ringbufs: Vec<(String, Arc<RingBuf>)>,
}

impl Chardevs {
    /// Opens a back end and enters it under its id.
    ///
    /// # Errors
    /// The text to print behind the option that asked for it.
    pub fn open(&mut self, chardev: &Chardev, context: &CharContext<'_>) -> Result<(), Error> {
        let id = &chardev.id;
        if self.find(id).is_some() {
            return Err(Error::new(format!("Duplicate ID '{id}' for chardev")));
        }
        let events = context.events;
        let port = self.open_port(chardev, context)?;
        let mux = |port| Mux::new(events, port, Arc::clone(context.actions));
        if matches!(chardev.backend, CharBackend::Mux { .. }) {
            self.entries.push((id.clone(), Entry::Mux(mux(port))));
        } else if chardev.mux {
            let port = Arc::new(Changeable::new(port));
            self.entries.push((id.clone(), Entry::Mux(mux(port.clone()))));
            self.entries.push((format!("{id}-base"), Entry::Port { port, taken: true }));
        } else {
            let port = Arc::new(Changeable::new(port));
            self.entries.push((id.clone(), Entry::Port { port, taken: false }));
        }
        Ok(())
    }

    /// Opens a back end.
    fn open_port(
        &mut self,
        chardev: &Chardev,
        context: &CharContext<'_>,
    ) -> Result<Arc<dyn CharPort>, Error> {
        let (id, events) = (&chardev.id, context.events);
        let port: Arc<dyn CharPort> = match &chardev.backend {
            CharBackend::Null => Arc::new(Null),
            CharBackend::Vc => {
                (context.notice)("info: there is no display for a text console: its output is dropped");
                Arc::new(Null)
            }
            CharBackend::Stdio { .. } if context.detached => {
                return Err(Error::new("cannot use stdio with -daemonize"));
            }
            CharBackend::Stdio { signal } => Arc::new(StdioPort::open(events, *signal)?),
            CharBackend::File { path, append } => Arc::new(open_file(events, path, *append)?),
            CharBackend::Pty => Arc::new(PtyPort::open(events, id)?),
            CharBackend::Pipe { path } => Arc::new(open_pipe(events, path)?),
            CharBackend::Serial { path } => Arc::new(open_serial(events, path)?),
            CharBackend::RingBuf { size } => {
                let ringbuf = Arc::new(RingBuf::new(*size)?);
                self.ringbufs.push((id.clone(), Arc::clone(&ringbuf)));
                ringbuf
            }
            CharBackend::Socket(options) => {
                let waiting =
                    |at: &str| (context.notice)(&format!("info: QEMU waiting for connection on: {at}"));
                Arc::new(SocketPort::open(events, options.clone(), waiting)?)
            }
            CharBackend::Mux { chardev } => self.front(chardev)?,
        };
        Ok(match &chardev.log {
            Some((path, append)) => Arc::new(Logged::new(port, path, *append)?),
            None => port,
        })
    }

    /// Puts another back end in the place of the one with the same id; whoever has that has the new one.
    ///
    /// # Errors
    /// There is none, it is a multiplexer, or the new one cannot be opened: the old one stays.
    pub fn change(&mut self, chardev: &Chardev, context: &CharContext<'_>) -> Result<(), Error> {
        let id = &chardev.id;
        let place = match self.find(id) {
            None => return Err(Error::new(format!("Chardev '{id}' does not exist"))),
            Some(Entry::Mux(_)) => return Err(Error::new("Mux device hotswap not supported yet")),
            Some(Entry::Port { port, .. }) => port.clone(),
        };
        if matches!(chardev.backend, CharBackend::Mux { .. }) || chardev.mux {
            return Err(Error::new("Mux device hotswap not supported yet"));
        }
        let old = self.ringbufs.iter().position(|entry| entry.0 == *id).map(|at| self.ringbufs.remove(at));
        match self.open_port(chardev, context) {
            Ok(port) => {
                place.change(port);
                Ok(())
            }
            Err(error) => {
                self.ringbufs.extend(old);
                Err(error)
            }
        }
    }

    /// Closes and forgets a back end whose front end has let go of it.
    pub fn close(&mut self, id: &str) {
        if let Some(Entry::Port { port, .. }) = self.find(id) {
            port.set_receiver(None);
            port.clean_up();
        }
        self.entries.retain(|entry| entry.0 != id);
    }

    /// Gives a back end a connection that somebody else has accepted.
    ///
    /// # Errors
    /// There is no such back end, or it cannot have the connection.
    pub fn add_client(&self, id: &str, fd: std::os::fd::OwnedFd) -> Result<(), Error> {
        match self.find(id) {
            Some(Entry::Port { port, .. }) if port.add_client(fd) => Ok(()),
            Some(_) => Err(Error::new("add_client failed")),
            None => Err(Error::new(format!("protocol '{id}' is invalid"))),
        }
    }

    /// Opens what a `-serial` option names and returns the port for the device; `None` for `none`. With
    /// `mon:` the monitor's front end is got by a further call of [`Chardevs::front`] with the same label.
    ///
    /// # Errors
    /// As for [`SerialOption::parse`].
    pub fn open_serial(
        &mut self,
        text: &str,
        label: &str,
        context: &CharContext<'_>,
    ) -> Result<Option<Arc<dyn CharPort>>, Error> {
        match SerialOption::parse(text, label)? {
            SerialOption::None => Ok(None),
            SerialOption::Existing(id) => self.front(&id).map(Some).map_err(|_| Error::new("")),
            SerialOption::New { chardev, .. } => {
                self.open(&chardev, context)?;
                self.front(label).map(Some)
            }
        }
    }

    /// A port of the back end `id` for one front end. A multiplexer gives one more each time, any other back
    /// end only once.
    ///
    /// # Errors
    /// There is no such back end, or it has a front end already.
    pub fn front(&mut self, id: &str) -> Result<Arc<dyn CharPort>, Error> {
        let entry = self.entries.iter_mut().find(|entry| entry.0 == id);
        match entry.map(|entry| &mut entry.1) {
            None => Err(Error::new(format!("Chardev '{id}' not found"))),
            Some(Entry::Mux(mux)) => Ok(mux.attach()),
            Some(Entry::Port { taken: true, .. }) => Err(Error::new(format!("Chardev '{id}' is busy"))),
            Some(Entry::Port { port, taken }) => {
                *taken = true;
                Ok(Arc::clone(port) as Arc<dyn CharPort>)
            }
        }
    }

    /// The front end of a back end has gone: another can have it.
    pub fn give_back(&mut self, id: &str) {
        if let Some((_, Entry::Port { taken, .. })) = self.entries.iter_mut().find(|entry| entry.0 == id) {
            *taken = false;
        }
    }

    /// Takes what the back ends have put into the file system out of it. For the end of the program.
    pub fn clean_up(&self) {
        for (_, entry) in &self.entries {
            match entry {
                Entry::Port { port, .. } => port.clean_up(),
                Entry::Mux(mux) => mux.base().clean_up(),
            }
        }
    }

    /// Closes and forgets a back end.
    ///
    /// # Errors
    /// There is none of this name, or some front end has it.
    pub fn remove(&mut self, id: &str) -> Result<(), Error> {
        match self.find(id) {
            None => return Err(Error::new(format!("Chardev '{id}' not found"))),
            Some(Entry::Mux(mux)) if mux.fronts() > 0 => {
                return Err(Error::new(format!("Chardev '{id}' is busy")));
            }
            Some(Entry::Port { taken: true, .. }) => {
                return Err(Error::new(format!("Chardev '{id}' is busy")));
            }
            Some(_) => {}
        }
        self.entries.retain(|entry| entry.0 != id);
        self.ringbufs.retain(|entry| entry.0 != id);
        Ok(())
    }

    /// Tells the front end of a back end of a break, as if the other side had sent one.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn send_break(&self, id: &str) -> Result<(), Error> {
        match self.find(id) {
            None => Err(Error::new(format!("Chardev '{id}' not found"))),
            Some(Entry::Mux(mux)) => {
                mux.send_break();
                Ok(())
            }
            Some(Entry::Port { port, .. }) => {
                port.send_break();
                Ok(())
            }
        }
    }

    /// Whether there is a back end of this name.
    pub fn contains(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    /// The multiplexer of this name, for its focus.
    pub fn mux(&self, id: &str) -> Option<&Arc<Mux>> {
        match self.find(id)? {
            Entry::Mux(mux) => Some(mux),
            Entry::Port { .. } => None,
        }
    }

    /// The ring buffer of this name, for `ringbuf_read`.
    pub fn ringbuf(&self, id: &str) -> Option<&Arc<RingBuf>> {
        self.ringbufs.iter().find(|entry| entry.0 == id).map(|entry| &entry.1)
    }

    /// All of them as `info chardev` shows them.
    pub fn list(&self) -> Vec<ChardevInfo> {
        let describe = |(id, entry): &(String, Entry)| {
            let (what, used) = match entry {
                Entry::Port { port, taken } => (port.describe(), *taken),
                Entry::Mux(mux) => ("mux".to_owned(), mux.fronts() > 0),
            };
            ChardevInfo { id: id.clone(), what, used }
        };
        self.entries.iter().map(describe).collect()
    }

    fn find(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.0 == id).map(|entry| &entry.1)
    }
}

#[cfg(test)]
#[path = "chardev_test.rs"]
mod test;
