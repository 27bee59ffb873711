//! UDP and ICMP echo: a socket of the host for each port (or identifier) of the guest.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{FdWatch, Interest};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use super::stack::Stack;
use super::wire::{self, Ipv4, Udp};

const LIMIT: usize = 512;
const IDLE: Duration = Duration::from_secs(240);
/// Datagrams taken from one socket before others get their turn.
const BATCH: usize = 64;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Udp,
    /// The port is the echo identifier.
    Echo,
}

pub(crate) type Key = (Kind, SocketAddrV4);

#[derive(Default)]
pub(crate) struct Nat {
    pub(crate) entries: HashMap<Key, Entry>,
}

pub(crate) struct Entry {
    pub(crate) socket: Arc<UdpSocket>,
    /// Keeps the socket watched.
    _watch: FdWatch,
    used: Instant,
    /// It belongs to a forwarding rule.
    pub(crate) permanent: bool,
}

impl Stack {
    pub(crate) fn forward_udp(&mut self, ipv4: &Ipv4<'_>, udp: &Udp<'_>) {
        // The machine may answer on a forwarded port even when it may not speak first.
        let guest = SocketAddrV4::new(ipv4.source, udp.source);
        let known = self.nat.entries.get(&(Kind::Udp, guest)).is_some_and(|entry| entry.permanent);
        let target = match self.to_host(ipv4.target) {
            Some(target) => target,
            None if known && ipv4.target == self.options.host => Ipv4Addr::LOCALHOST,
            None if known && !self.options.contains(ipv4.target) => ipv4.target,
            None => return,
        };
        let Some(socket) = self.socket_for((Kind::Udp, guest)) else { return };
        if let Err(error) = socket.send_to(udp.payload, SocketAddrV4::new(target, udp.target))
            && matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
        {
            self.send_unreachable(ipv4);
        }
    }

    pub(crate) fn receive_icmp(&mut self, ipv4: &Ipv4<'_>) {
        let message = ipv4.payload;
        let (Some(&[ECHO_REQUEST, 0]), Some(identifier)) =
            (message.first_chunk::<2>(), wire::u16_at(message, 4))
        else {
            return;
        };
        if ipv4.target == self.options.host || ipv4.target == self.options.dns {
            let reply = with_checksum(ECHO_REPLY, 0, message);
            self.link.send_ipv4((ipv4.target, ipv4.source), wire::PROTOCOL_ICMP, &reply);
            return;
        }
        let Some(target) = self.to_host(ipv4.target) else { return };
        let guest = SocketAddrV4::new(ipv4.source, identifier);
        let sent = match self.socket_for((Kind::Echo, guest)) {
            Some(socket) => socket.send_to(message, SocketAddrV4::new(target, 0)).is_ok(),
            None => false,
        };
        if !sent {
            self.send_unreachable(ipv4);
        }
    }

    /// The socket that stands for a port of the guest, a new one if need be.
    fn socket_for(&mut self, key: Key) -> Option<Arc<UdpSocket>> {
        if let Some(entry) = self.nat.entries.get_mut(&key) {
            entry.used = Instant::now();
            return Some(Arc::clone(&entry.socket));
        }
        if self.nat.entries.len() >= LIMIT {
            self.make_room();
        }
        let socket = match key.0 {
            Kind::Udp => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?,
            Kind::Echo => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let fd: OwnedFd =
                    socket_with(AddressFamily::INET, SocketType::DGRAM, flags, Some(ipproto::ICMP)).ok()?;
                UdpSocket::from(fd)
            }
        };
        self.add_socket(key, socket, false).ok()
    }

    /// Watches a socket for a port of the guest.
    pub(crate) fn add_socket(
        &mut self,
        key: Key,
        socket: UdpSocket,
        permanent: bool,
    ) -> io::Result<Arc<UdpSocket>> {
        socket.set_nonblocking(true)?;
        let socket = Arc::new(socket);
        let handle = self.handle.clone();
        let watch = self.events.add_fd(Arc::clone(&socket), Interest::READ, move |_| {
            handle.with(|stack| stack.socket_ready(key));
        })?;
        let entry = Entry { socket: Arc::clone(&socket), _watch: watch, used: Instant::now(), permanent };
        self.nat.entries.insert(key, entry);
        Ok(socket)
    }

    /// Forgets what has been idle, or else what has been so longest.
    fn make_room(&mut self) {
        let entries = &mut self.nat.entries;
        entries.retain(|_, entry| entry.permanent || entry.used.elapsed() < IDLE);
        if entries.len() >= LIMIT {
            let oldest = entries.iter().filter(|entry| !entry.1.permanent).min_by_key(|entry| entry.1.used);
            if let Some(key) = oldest.map(|entry| *entry.0) {
                entries.remove(&key);
            }
        }
    }

    fn socket_ready(&mut self, key: Key) {
        let Some(entry) = self.nat.entries.get_mut(&key) else { return };
        entry.used = Instant::now();
        let socket = Arc::clone(&entry.socket);
        let mut bytes = vec![0; 65_536];
        for _ in 0..BATCH {
            let (len, from) = match socket.recv_from(&mut bytes) {
                Ok((len, SocketAddr::V4(from))) => (len, from),
                Ok(_) => continue,
                // An earlier datagram was refused; it says so once.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(_) => break,
            };
            let source = SocketAddrV4::new(self.to_guest(*from.ip()), from.port());
            match key.0 {
                Kind::Udp => {
                    self.ask_for(*key.1.ip());
                    self.link.send_udp((source, key.1), &bytes[..len]);
                }
                Kind::Echo if len >= 8 => {
                    bytes[4..6].copy_from_slice(&key.1.port().to_be_bytes());
                    let reply = with_checksum(bytes[0], bytes[1], &bytes[..len]);
                    self.link.send_ipv4((*source.ip(), *key.1.ip()), wire::PROTOCOL_ICMP, &reply);
                }
                Kind::Echo => {}
            }
        }
    }

    /// Tells the guest that a packet's target cannot be reached (RFC 792).
    pub(crate) fn send_unreachable(&mut self, ipv4: &Ipv4<'_>) {
        let header = ipv4.whole.len() - ipv4.payload.len();
        let quote = &ipv4.whole[..ipv4.whole.len().min(header + 8)];
        self.send_unreachable_quote(ipv4.source, quote);
    }

    /// The same for a quoted header and eight bytes.
    pub(crate) fn send_unreachable_quote(&mut self, guest: Ipv4Addr, quote: &[u8]) {
        let mut message = vec![0; 8];
        message.extend(quote);
        let message = with_checksum(UNREACHABLE, 1, &message);
        self.link.send_ipv4((self.options.host, guest), wire::PROTOCOL_ICMP, &message);
    }
}

/// An ICMP message with another type and code, and the right checksum.
fn with_checksum(kind: u8, code: u8, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[..4].copy_from_slice(&[kind, code, 0, 0]);
    let checksum = wire::finish(wire::sum(0, &message));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}
