//! Where a stream goes to or comes from: `file:`, `unix:`, `tcp:`, `exec:`, `fd:`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base::{Result, error};

/// A place, as the user writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, and the position in it.
    File(PathBuf, u64),
    /// A socket in the file system.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
    /// A command of the shell: its standard input, or output.
    Exec(String),
    /// A descriptor by name or number.
    Fd(String),
}

impl Place {
    /// Reads a URI.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn parse(uri: &str) -> Result<Place> {
        let (kind, rest) = uri.split_once(':').unwrap_or((uri, ""));
        Ok(match kind {
            "file" => match rest.rsplit_once(",offset=") {
                Some((path, offset)) => {
                    let parsed = match offset.strip_prefix("0x") {
                        Some(hex) => u64::from_str_radix(hex, 16).ok(),
                        None => offset.parse().ok(),
                    };
                    let at = parsed.ok_or_else(|| error!("file URI has bad offset {offset}"))?;
                    Place::File(path.into(), at)
                }
                None => Place::File(rest.into(), 0),
            },
            "unix" => Place::Unix(rest.into()),
            "tcp" => {
                let port = rest.rsplit_once(':').map(|(_, port)| port);
                port.and_then(|p| p.split(',').next()?.parse::<u16>().ok())
                    .ok_or_else(|| error!("error parsing address '{rest}'"))?;
                Place::Tcp(rest.split(',').next().unwrap_or_default().to_owned())
            }
            "exec" => Place::Exec(rest.to_owned()),
            "fd" => Place::Fd(rest.to_owned()),
            _ => return Err(error!("unknown migration protocol: {uri}")),
        })
    }

    /// Opens it for sending. `fd` gives the descriptor of a name.
    ///
    /// # Errors
    /// The host's.
    pub fn open_outgoing(&self, fd: impl FnOnce(&str) -> Result<OwnedFd>) -> Result<Sink> {
        Ok(match self {
            Place::File(path, at) => {
                let open = || -> io::Result<File> {
                    let options = File::options().write(true).create(true).truncate(*at == 0).clone();
                    let mut file = options.open(path)?;
                    file.seek(SeekFrom::Start(*at))?;
                    Ok(file)
                };
                Sink::File(open().map_err(|e| error!("Failed to open {}: {}", path.display(), words(&e)))?)
            }
            Place::Unix(path) => Sink::Unix(
                UnixStream::connect(path)
                    .map_err(|e| error!("Failed to connect to '{}': {}", path.display(), words(&e)))?,
            ),
            Place::Tcp(address) => Sink::Tcp(
                TcpStream::connect(host(address))
                    .map_err(|e| error!("Failed to connect to '{address}': {}", words(&e)))?,
            ),
            Place::Exec(command) => {
                let mut child =
                    shell(command).stdin(Stdio::piped()).spawn().map_err(|e| failed(command, &e))?;
                let input = child.stdin.take();
                Sink::Exec(child, input)
            }
            Place::Fd(name) => Sink::File(fd(name)?.into()),
        })
    }

    /// Opens it for receiving. A socket listens; who reads first waits for somebody to connect.
    ///
    /// # Errors
    /// The host's.
    pub fn open_incoming(&self, fd: impl FnOnce(&str) -> Result<OwnedFd>) -> Result<Source> {
        Ok(match self {
            Place::File(path, at) => {
                let open = || -> io::Result<File> {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(*at))?;
                    Ok(file)
                };
                Source::File(open().map_err(|e| error!("Failed to open {}: {}", path.display(), words(&e)))?)
            }
            Place::Unix(path) => {
                let _ = std::fs::remove_file(path);
                let listener = UnixListener::bind(path)
                    .map_err(|e| error!("Failed to bind socket to {}: {}", path.display(), words(&e)))?;
                Source::UnixListener(listener)
            }
            Place::Tcp(address) => Source::TcpListener(
                TcpListener::bind(host(address))
                    .map_err(|e| error!("Failed to listen on '{address}': {}", words(&e)))?,
            ),
            Place::Exec(command) => {
                let mut child =
                    shell(command).stdout(Stdio::piped()).spawn().map_err(|e| failed(command, &e))?;
                let output = child.stdout.take();
                Source::Exec(child, output)
            }
            Place::Fd(name) => Source::File(fd(name)?.into()),
        })
    }
}

/// Without a host all addresses are meant, or this machine.
fn host(address: &str) -> String {
    match address.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    }
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null());
    shell
}

fn failed(command: &str, error: &io::Error) -> base::Error {
    error!("cannot run '{command}': {}", words(error))
}

/// The host's words, without the number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Where a stream goes.
#[derive(Debug)]
pub enum Sink {
    /// A file or a descriptor.
    File(File),
    /// A socket.
    Unix(UnixStream),
    /// A connection.
    Tcp(TcpStream),
    /// A command, and its input.
    Exec(Child, Option<ChildStdin>),
}

impl Sink {
    /// Everything has been sent. A command is waited for.
    ///
    /// # Errors
    /// The host's, or the command has failed.
    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Sink::File(file) => file.flush(),
            Sink::Unix(socket) => socket.shutdown(std::net::Shutdown::Write),
            Sink::Tcp(socket) => socket.shutdown(std::net::Shutdown::Write),
            Sink::Exec(child, input) => {
                drop(input.take());
                match child.wait()? {
                    status if status.success() => Ok(()),
                    status => Err(io::Error::other(format!("the command ended with {status}"))),
                }
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::File(file) => file.write(bytes),
            Sink::Unix(socket) => socket.write(bytes),
            Sink::Tcp(socket) => socket.write(bytes),
            Sink::Exec(_, Some(input)) => input.write(bytes),
            Sink::Exec(_, None) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a stream comes from.
#[derive(Debug)]
pub enum Source {
    /// A file or a descriptor.
    File(File),
    /// A command, and its output.
    Exec(Child, Option<ChildStdout>),
    /// A socket that nobody has connected to yet.
    UnixListener(UnixListener),
    /// The same.
    TcpListener(TcpListener),
    /// A connection.
    Unix(UnixStream),
    /// The same.
    Tcp(TcpStream),
}

impl Source {
    /// Waits until somebody is at the other end.
    ///
    /// # Errors
    /// The host's.
    pub fn accept(self) -> io::Result<Source> {
        Ok(match self {
            Source::UnixListener(listener) => Source::Unix(listener.accept()?.0),
            Source::TcpListener(listener) => Source::Tcp(listener.accept()?.0),
            other => other,
        })
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(into),
            Source::Exec(_, Some(output)) => output.read(into),
            Source::Unix(socket) => socket.read(into),
            Source::Tcp(socket) => socket.read(into),
            Source::Exec(_, None) | Source::UnixListener(_) | Source::TcpListener(_) => {
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }
}

#[cfg(test)]
#[path = "channel_test.rs"]
mod test;
