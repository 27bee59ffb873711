//! `socket`: a Unix or TCP socket, listening or connecting.

use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use events::{Clock, EventLoop, FdWatch, Interest, Timer};

use super::stream::{Sink, Stream};
use super::{CharPort, CharReceiver};
use crate::Error;
use crate::error::reason;

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// A path in the file system.
    Unix(String),
    /// A host, empty for any, and a port number or service.
    Tcp(String, String),
    /// A socket that exists already: the number of an inherited descriptor, or the name of one that a monitor was sent.
    /// A server's listens already.
    Fd(String),
}

/// The options of a `socket` back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Where to listen or to connect to.
    pub address: SocketAddress,
    /// Listen instead of connecting.
    pub server: bool,
    /// Do not go on before the first client has connected.
    pub wait: bool,
    /// Send small TCP segments at once.
    pub nodelay: bool,
    /// Connect again this long after the connection has gone; 0 is never.
    pub reconnect_ms: u64,
}

/// A port that is a socket.
pub(crate) struct SocketPort(Arc<Socket>);

struct Socket {
    events: EventLoop,
    stream: Arc<Stream>,
    options: SocketOptions,
    listener: Option<Listener>,
    accepting: Mutex<Option<FdWatch>>,
    retry: OnceLock<Timer>,
    /// Both ends of the present TCP connection.
    ends: Mutex<Option<(String, String)>>,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SocketPort {
    /// Opens the socket. `waiting` is told, before the call blocks for a first client, on what it waits.
    pub(crate) fn open(
        events: &EventLoop,
        options: SocketOptions,
        waiting: impl FnOnce(&str),
    ) -> Result<SocketPort, Error> {
        let listener = options.server.then(|| listen(&options.address)).transpose()?;
        let wait = options.wait;
        let socket = Arc::new(Socket {
            events: events.clone(),
            stream: Stream::new(events),
            options,
            listener,
            accepting: Mutex::default(),
            retry: OnceLock::new(),
            ends: Mutex::default(),
        });
        let weak = Arc::downgrade(&socket);
        socket.stream.on_hangup(move || {
            if let Some(socket) = weak.upgrade() {
                socket.hung_up();
            }
        });
        if socket.listener.is_some() {
            if wait {
                waiting(&socket.describe());
                socket.accept().map_err(|error| Error::io("Failed to accept connection", error))?;
            }
            socket.start_accepting()?;
        } else {
            socket.start_connecting()?;
        }
        Ok(SocketPort(socket))
    }
}

fn address_text(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn resolve(host: &str, port: &str) -> Result<Vec<std::net::SocketAddr>, Error> {
    let failed = |why: &str| Error::new(format!("address resolution failed for {host}:{port}: {why}"));
    let port: u16 = port.parse().map_err(|_| failed("Servname not supported for ai_socktype"))?;
    if host.is_empty() {
        return Err(failed("Name or service not known"));
    }
    let found = (host, port).to_socket_addrs().map_err(|error| {
        let text = reason(&error);
        failed(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text))
    })?;
    Ok(found.collect())
}

/// Whether a socket is one of the file system's.
fn is_unix(fd: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_domain(fd).is_ok_and(|family| family == rustix::net::AddressFamily::UNIX)
}

fn listen(address: &SocketAddress) -> Result<Listener, Error> {
    match address {
        SocketAddress::Unix(path) => {
            // A socket that an earlier run has left behind.
            use std::os::unix::fs::FileTypeExt;
            if std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket()) {
                let _ = std::fs::remove_file(path);
            }
            let bind = |error| Error::io(format_args!("Failed to bind socket to {path}"), error);
            Ok(Listener::Unix(UnixListener::bind(path).map_err(bind)?))
        }
        SocketAddress::Tcp(host, port) => {
            let host = if host.is_empty() { "0.0.0.0" } else { host };
            let addresses = resolve(host, port)?;
            let bind = |error| Error::io("Failed to find an available port", error);
            Ok(Listener::Tcp(TcpListener::bind(&addresses[..]).map_err(bind)?))
        }
        SocketAddress::Fd(text) => {
            let fd = crate::fd::given(text)?;
            let listens = rustix::net::sockopt::socket_acceptconn(&fd).unwrap_or(false);
            if !listens {
                return Err(Error::new(format!("File descriptor '{text}' is not a listening socket")));
            }
            Ok(if is_unix(&fd) { Listener::Unix(fd.into()) } else { Listener::Tcp(fd.into()) })
        }
    }
}

impl Socket {
    fn start_accepting(self: &Arc<Self>) -> Result<(), Error> {
        let failed = |error| Error::io("Failed to listen on socket", error);
        let fd = match &self.listener {
            Some(Listener::Unix(listener)) => listener.set_nonblocking(true).map(|()| listener.as_fd()),
            Some(Listener::Tcp(listener)) => listener.set_nonblocking(true).map(|()| listener.as_fd()),
            None => return Ok(()),
        };
        let fd = fd.and_then(|fd| fd.try_clone_to_owned()).map_err(failed)?;
        let weak = Arc::downgrade(self);
        let interest = if self.stream.is_connected() { Interest::NONE } else { Interest::READ };
        let watch = self.events.add_fd(fd, interest, move |_| {
            if let Some(socket) = weak.upgrade() {
                // A client that has gone already; the next one will be announced.
                let _ = socket.accept();
            }
        });
        *locked(&self.accepting) = Some(watch.map_err(failed)?);
        Ok(())
    }

    fn accept(&self) -> io::Result<()> {
        match &self.listener {
            Some(Listener::Unix(listener)) => self.connected_unix(listener.accept()?.0)?,
            Some(Listener::Tcp(listener)) => self.connected_tcp(listener.accept()?.0)?,
            None => {}
        }
        // One client at a time; the others wait in the kernel's queue.
        if let Some(watch) = &*locked(&self.accepting) {
            watch.set_interest(Interest::NONE);
        }
        Ok(())
    }

    fn start_connecting(self: &Arc<Self>) -> Result<(), Error> {
        let weak = Arc::downgrade(self);
        let timer = self.events.timer(Clock::Realtime, move || {
            if let Some(socket) = weak.upgrade()
                && socket.connect().is_err()
            {
                socket.retry_later();
            }
        });
        let _ = self.retry.set(timer);
        match self.connect() {
            Err(_) if self.options.reconnect_ms > 0 => {
                self.retry_later();
                Ok(())
            }
            result => result,
        }
    }

    fn connect(&self) -> Result<(), Error> {
        let (name, result) = match &self.options.address {
            SocketAddress::Unix(path) => {
                (path.clone(), UnixStream::connect(path).and_then(|stream| self.connected_unix(stream)))
            }
            SocketAddress::Tcp(host, port) => {
                let addresses = resolve(host, port)?;
                let stream = TcpStream::connect(&addresses[..]);
                (address_text(host, port), stream.and_then(|stream| self.connected_tcp(stream)))
            }
            SocketAddress::Fd(text) => {
                let fd = crate::fd::given(text)?;
                let connected =
                    if is_unix(&fd) { self.connected_unix(fd.into()) } else { self.connected_tcp(fd.into()) };
                (text.clone(), connected)
            }
        };
        result.map_err(|error| Error::io(format_args!("Failed to connect to '{name}'"), error))
    }

    fn retry_later(&self) {
        if let Some(timer) = self.retry.get()
            && self.options.reconnect_ms > 0
        {
            let delay = self.options.reconnect_ms.saturating_mul(1_000_000);
            timer.arm(self.events.clocks().now_ns(Clock::Realtime).saturating_add(delay));
        }
    }

    fn connected_unix(&self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.attach(OwnedFd::from(stream))
    }

    fn connected_tcp(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(self.options.nodelay)?;
        let ends =
            stream.local_addr().and_then(|near| Ok((near.to_string(), stream.peer_addr()?.to_string())));
        *locked(&self.ends) = ends.ok();
        self.attach(OwnedFd::from(stream))
    }

    fn attach(&self, fd: OwnedFd) -> io::Result<()> {
        let source = File::from(fd.try_clone()?);
        self.stream.attach(Some(source), Some(Sink::Socket(Arc::new(fd))))
    }

    fn hung_up(&self) {
        self.stream.detach();
        *locked(&self.ends) = None;
        if let Some(watch) = &*locked(&self.accepting) {
            watch.set_interest(Interest::READ);
        }
        self.retry_later();
    }

    fn describe(&self) -> String {
        let server = if self.options.server { ",server=on" } else { "" };
        let state = if self.stream.is_connected() { "" } else { "disconnected:" };
        match (&self.options.address, &*locked(&self.ends)) {
            (SocketAddress::Unix(path), _) => format!("{state}unix:{path}{server}"),
            (SocketAddress::Fd(_), None) => {
                let path = match &self.listener {
                    Some(Listener::Unix(listener)) => listener
                        .local_addr()
                        .ok()
                        .and_then(|at| at.as_pathname().map(std::path::PathBuf::from)),
                    _ => None,
                };
                let at = path.map_or_else(|| "fd".to_owned(), |path| format!("unix:{}", path.display()));
                format!("{state}{at}{server}")
            }
            (_, Some((near, far))) => format!("{state}tcp:{near}{server} <-> {far}"),
            (SocketAddress::Tcp(host, port), None) => {
                let listening = match &self.listener {
                    Some(Listener::Tcp(listener)) => listener.local_addr().ok(),
                    _ => None,
                };
                let at = listening.map_or_else(|| address_text(host, port), |at| at.to_string());
                format!("{state}tcp:{at}{server}")
            }
        }
    }
}

impl Socket {
    fn clean_up(&self) {
        if let (Some(_), SocketAddress::Unix(path)) = (&self.listener, &self.options.address) {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.clean_up();
    }
}

impl CharPort for SocketPort {
    fn write(&self, bytes: &[u8]) -> usize {
        self.0.stream.write(bytes)
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        self.0.stream.set_receiver(receiver);
    }

    fn receive_ready(&self) {
        self.0.stream.receive_ready();
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn clean_up(&self) {
        self.0.clean_up();
    }

    fn add_client(&self, fd: OwnedFd) -> bool {
        if self.0.stream.is_connected() {
            return false;
        }
        let connected =
            if is_unix(&fd) { self.0.connected_unix(fd.into()) } else { self.0.connected_tcp(fd.into()) };
        if let Some(watch) = &*locked(&self.0.accepting) {
            watch.set_interest(if connected.is_ok() { Interest::NONE } else { Interest::READ });
        }
        connected.is_ok()
    }

    fn send_break(&self) {
        self.0.stream.event(super::CharEvent::Break);
    }

    fn flush(&self) {
        self.0.stream.flush();
    }
}

#[cfg(test)]
#[path = "socket_test.rs"]
mod test;
