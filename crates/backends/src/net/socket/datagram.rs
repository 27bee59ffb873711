//! Frames as datagrams, each a datagram: to another program, or to all that listen to a multicast address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::{fs, io};

use events::{EventLoop, FdWatch, Interest};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt,
};

use super::{DatagramAddress, DatagramOptions};
use crate::Error;
use crate::net::{FrameOffload, NetPeer, NetReceiver};

/// The longest frame.
const LONGEST: usize = 68 << 10;
/// Frames that are taken in a row.
const BURST: usize = 64;

/// A network of datagrams.
pub struct DatagramNet {
    this: Weak<DatagramNet>,
    events: EventLoop,
    socket: OwnedFd,
    /// Where frames go; a connected socket knows.
    target: Option<SocketAddr>,
    /// The same as a path in the file system, at which nobody need be yet.
    far: Option<SocketAddrUnix>,
    described: String,
    /// The path of this end, which is removed at the end.
    path: Option<String>,
    receiver: Mutex<Option<Arc<dyn NetReceiver>>>,
    /// A frame that the card had no room for.
    waiting: Mutex<Option<Vec<u8>>>,
    watch: OnceLock<FdWatch>,
}

/// A socket, where it sends to unless it is connected, and how it is described.
type Opened = (OwnedFd, Option<SocketAddr>, String);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resolve(host: &str, port: &str) -> Result<SocketAddr, Error> {
    let failed = || Error::new(format!("address resolution failed for {host}:{port}"));
    let port: u16 = port.parse().map_err(|_| failed())?;
    (host, port).to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(failed)
}

/// A socket of all that listen to an address.
fn multicast(group: Ipv4Addr, at: SocketAddr, interface: Option<Ipv4Addr>) -> io::Result<OwnedFd> {
    let fd = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // Others on this host listen there, too.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    rustix::net::bind(&fd, &at)?;
    let interface = interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
    sockopt::set_ip_add_membership(&fd, &group, &interface)?;
    sockopt::set_ip_multicast_loop(&fd, true)?;
    if !interface.is_unspecified() {
        sockopt::set_ip_multicast_if(&fd, &interface)?;
    }
    Ok(fd)
}

fn open_inet(kind: &str, local: Option<(&str, &str)>, remote: (&str, &str)) -> Result<Opened, Error> {
    let to = resolve(remote.0, remote.1)?;
    if let IpAddr::V4(group) = to.ip()
        && group.is_multicast()
    {
        let interface = local.and_then(|(host, _)| host.parse().ok());
        let fd = multicast(group, to, interface)
            .map_err(|e| Error::io(format_args!("can't add socket to multicast group {group}"), e))?;
        return Ok((fd, Some(to), format!("mcast={to}")));
    }
    let (host, port) = local.ok_or_else(|| Error::new(format!("{kind} requires local= parameter")))?;
    let from = resolve(host, port)?;
    let socket = UdpSocket::bind(from)
        .map_err(|e| Error::io(format_args!("can't bind ip={} to socket", from.ip()), e))?;
    Ok((socket.into(), Some(to), format!("udp={from}/{to}")))
}

fn open_unix(local: &str, remote: &str) -> Result<Opened, Error> {
    let _ = fs::remove_file(local);
    let socket = UnixDatagram::bind(local)
        .map_err(|e| Error::io(format_args!("can't bind unix={local} to socket"), e))?;
    Ok((socket.into(), None, format!("udp={local}:{remote}")))
}

impl DatagramNet {
    /// Opens the socket.
    ///
    /// # Errors
    /// An address cannot be had.
    pub fn open(options: &DatagramOptions, events: &EventLoop) -> Result<Arc<DatagramNet>, Error> {
        let kind = options.kind;
        let (opened, path, far) = match (&options.local, &options.remote) {
            (Some(DatagramAddress::Fd(text)), None) => {
                let fd = crate::fd::given(text)?;
                return Self::on_kind(fd, text, kind, events);
            }
            (Some(DatagramAddress::Unix(near)), Some(DatagramAddress::Unix(far))) => {
                let to = SocketAddrUnix::new(far.as_str());
                let to = to.map_err(|e| Error::io(format_args!("invalid path {far}"), e.into()))?;
                (open_unix(near, far)?, Some(near.clone()), Some(to))
            }
            (Some(DatagramAddress::Inet(host, port)), Some(DatagramAddress::Inet(to, at))) => {
                (open_inet(kind, Some((host, port)), (to, at))?, None, None)
            }
            (None, Some(DatagramAddress::Inet(to, at))) => (open_inet(kind, None, (to, at))?, None, None),
            _ => return Err(Error::new("local and remote are addresses of different kinds")),
        };
        let (socket, target, described) = opened;
        Self::start(socket, target, format!("type={kind},{described}"), path, far, events)
    }

    /// On a socket that exists.
    pub(crate) fn on(fd: OwnedFd, text: &str, events: &EventLoop) -> Result<Arc<DatagramNet>, Error> {
        Self::on_kind(fd, text, "socket", events)
    }

    fn on_kind(fd: OwnedFd, text: &str, kind: &str, events: &EventLoop) -> Result<Arc<DatagramNet>, Error> {
        let is_unix = sockopt::socket_domain(&fd).is_ok_and(|family| family == AddressFamily::UNIX);
        let family = if is_unix { "unix" } else { "inet" };
        Self::start(fd, None, format!("type={kind},fd={text} {family}"), None, None, events)
    }

    fn start(
        socket: OwnedFd,
        target: Option<SocketAddr>,
        described: String,
        path: Option<String>,
        far: Option<SocketAddrUnix>,
        events: &EventLoop,
    ) -> Result<Arc<DatagramNet>, Error> {
        let failed = |error| Error::io("cannot use the socket", error);
        rustix::io::ioctl_fionbio(&socket, true).map_err(|e| failed(e.into()))?;
        let watched = socket.as_fd().try_clone_to_owned().map_err(failed)?;
        let net = Arc::new_cyclic(|this: &Weak<DatagramNet>| DatagramNet {
            this: this.clone(),
            events: events.clone(),
            socket,
            target,
            far,
            described,
            path,
            receiver: Mutex::default(),
            waiting: Mutex::default(),
            watch: OnceLock::new(),
        });
        let this = net.this.clone();
        let watch = events.add_fd(watched, Interest::READ, move |_| {
            if let Some(net) = this.upgrade() {
                net.deliver();
            }
        });
        let _ = net.watch.set(watch.map_err(failed)?);
        Ok(net)
    }

    /// Gives the card the frames that have come. Main-loop thread.
    fn deliver(&self) {
        let card = locked(&self.receiver).clone();
        let mut buffer = vec![0; LONGEST];
        let mut some = false;
        for _ in 0..BURST {
            let frame = match locked(&self.waiting).take() {
                Some(frame) => frame,
                None => match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                    Ok((_, length)) => buffer.get(..length).unwrap_or_default().to_vec(),
                    Err(_) => break,
                },
            };
            let Some(card) = &card else { continue };
            if !card.can_receive() || !card.receive(&frame, FrameOffload::default()) {
                *locked(&self.waiting) = Some(frame);
                if let Some(watch) = self.watch.get() {
                    watch.set_interest(Interest::NONE);
                }
                break;
            }
            some = true;
        }
        if let (true, Some(card)) = (some, card) {
            card.burst_done();
        }
    }
}

impl NetPeer for DatagramNet {
    fn send(&self, frame: &[u8], _: FrameOffload) {
        // What cannot be sent is lost.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = match (&self.target, &self.far) {
            (Some(target), _) => rustix::net::sendto(&self.socket, frame, flags, target),
            (None, Some(far)) => rustix::net::sendto(&self.socket, frame, flags, far),
            (None, None) => rustix::net::send(&self.socket, frame, flags),
        };
    }

    fn set_receiver(&self, receiver: Option<Arc<dyn NetReceiver>>) {
        *locked(&self.receiver) = receiver;
        self.receive_ready();
    }

    fn receive_ready(&self) {
        if locked(&self.waiting).is_some() {
            let this = self.this.clone();
            self.events.defer(move || {
                if let Some(net) = this.upgrade() {
                    if let Some(watch) = net.watch.get() {
                        watch.set_interest(Interest::READ);
                    }
                    net.deliver();
                }
            });
        }
    }

    fn describe(&self) -> String {
        self.described.clone()
    }
}

impl Drop for DatagramNet {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
#[path = "datagram_test.rs"]
mod test;
