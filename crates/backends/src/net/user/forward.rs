//! Opening connections: the guest's to the host's world, and forwarded ones from the host to the guest.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use events::{FdWatch, Interest};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::super::{HostForward, Transport};
use super::nat;
use super::stack::Stack;
use super::tcp::{self, Connection, Key, State};
use super::wire::{ACK, Ipv4, RST, SYN, Tcp};

/// A guest may not have more connections than the host has descriptors for.
const LIMIT: usize = 2048;

/// A forwarding rule at work.
pub(crate) struct Forward {
    pub(crate) rule: HostForward,
    /// Of a TCP rule: the listening socket and its watch.
    listener: Option<(Arc<TcpListener>, FdWatch)>,
    /// Where it listens.
    pub(crate) bound: SocketAddr,
}

impl Stack {
    pub(crate) fn receive_tcp(&mut self, ipv4: &Ipv4<'_>, tcp: &Tcp<'_>) {
        let key = Key {
            guest: SocketAddrV4::new(ipv4.source, tcp.source),
            remote: SocketAddrV4::new(ipv4.target, tcp.target),
        };
        let now = self.now();
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.receive(tcp, &mut self.link, now);
            self.mark_dirty(key);
        } else if tcp.has(SYN) && !tcp.has(ACK) && !tcp.has(RST) {
            self.open_to_host(key, ipv4, tcp);
        } else {
            self.refuse(key, tcp);
        }
    }

    fn refuse(&mut self, key: Key, tcp: &Tcp<'_>) {
        if let Some(segment) = tcp::refusal(key, tcp) {
            self.link.send_tcp_control(&segment);
        }
    }

    fn open_to_host(&mut self, key: Key, ipv4: &Ipv4<'_>, syn: &Tcp<'_>) {
        let to_resolver = *key.remote.ip() == self.options.dns && key.remote.port() == 53;
        let socket: io::Result<OwnedFd> = if self.connections.len() >= LIMIT {
            Err(Errno::CONNREFUSED.into())
        } else if to_resolver && !self.options.restrict {
            self.resolver.serve_stream().map(OwnedFd::from)
        } else {
            match self.to_host(*key.remote.ip()) {
                Some(address) => begin_connecting(SocketAddrV4::new(address, key.remote.port())),
                None => Err(Errno::CONNREFUSED.into()),
            }
        };
        let iss = self.new_iss();
        let opened = socket.and_then(|socket| {
            let connection = Connection::new(key, Arc::new(socket), iss, Some(syn));
            self.add_connection(connection)
        });
        if let Err(error) = opened {
            if is_unreachable(&error) { self.send_unreachable(ipv4) } else { self.refuse(key, syn) }
        }
    }

    fn add_connection(&mut self, mut connection: Connection) -> io::Result<()> {
        let key = connection.key;
        let handle = self.handle.clone();
        let watch = self.events.add_fd(Arc::clone(&connection.socket), Interest::NONE, move |_| {
            handle.with(|stack| stack.host_ready(key));
        })?;
        connection.watch = Some(watch);
        connection.update_interest();
        self.connections.insert(key, connection);
        self.mark_dirty(key);
        Ok(())
    }

    fn host_ready(&mut self, key: Key) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&key) else { return };
        match connection.host_ready(&mut self.link, now) {
            Ok(()) => {
                // Here and not at the end of the burst, which waits for the card: a full ring must stop the
                // reading at once.
                connection.update_interest();
                self.mark_dirty(key);
            }
            Err(error) => {
                // The guest's SYN was never answered.
                if is_unreachable(&error) {
                    let quote = connection.quote();
                    connection.state = State::Closed;
                    self.connections.remove(&key);
                    self.send_unreachable_quote(*key.guest.ip(), &quote);
                } else {
                    connection.abort(&mut self.link);
                    self.connections.remove(&key);
                }
            }
        }
    }

    /// Puts a forwarding rule to work.
    pub(crate) fn add_forward(&mut self, rule: &HostForward) -> io::Result<()> {
        let host = SocketAddr::new(IpAddr::V4(rule.host), rule.host_port);
        let guest = self.guest_of(rule);
        let (listener, bound) = match rule.transport {
            Transport::Tcp => {
                let listener = Arc::new(TcpListener::bind(host)?);
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                let handle = self.handle.clone();
                let accepting = Arc::clone(&listener);
                let watch = self.events.add_fd(Arc::clone(&listener), Interest::READ, move |_| {
                    handle.with(|stack| stack.accept(&accepting, guest));
                })?;
                (Some((listener, watch)), bound)
            }
            Transport::Udp => {
                let socket = UdpSocket::bind(host)?;
                let bound = socket.local_addr()?;
                self.add_socket((nat::Kind::Udp, guest), socket, true)?;
                (None, bound)
            }
        };
        self.forwards.push(Forward { rule: rule.clone(), listener, bound });
        Ok(())
    }

    /// Ends a forwarding rule; says whether there was one.
    pub(crate) fn remove_forward(&mut self, transport: Transport, host: Ipv4Addr, port: u16) -> bool {
        let matches = |forward: &Forward| {
            forward.rule.transport == transport && forward.rule.host == host && forward.rule.host_port == port
        };
        let Some(index) = self.forwards.iter().position(matches) else { return false };
        let forward = self.forwards.remove(index);
        if forward.listener.is_none() {
            let guest = self.guest_of(&forward.rule);
            self.nat.entries.remove(&(nat::Kind::Udp, guest));
        }
        true
    }

    fn guest_of(&self, rule: &HostForward) -> SocketAddrV4 {
        SocketAddrV4::new(rule.guest.unwrap_or(self.options.dhcp_start), rule.guest_port)
    }

    fn accept(&mut self, listener: &TcpListener, guest: SocketAddrV4) {
        while let Ok((stream, SocketAddr::V4(from))) = listener.accept() {
            let _ = stream.set_nonblocking(true);
            let _ = stream.set_nodelay(true);
            let address = self.to_guest(*from.ip());
            // Two clients may look the same to the guest.
            let free = (0..64u16)
                .map(|offset| SocketAddrV4::new(address, from.port().wrapping_add(offset).max(1)))
                .map(|remote| Key { guest, remote })
                .find(|key| !self.connections.contains_key(key));
            let Some(key) = free.filter(|_| self.connections.len() < LIMIT) else { return };
            self.ask_for(*guest.ip());
            let iss = self.new_iss();
            let now = self.now();
            let mut connection = Connection::new(key, Arc::new(OwnedFd::from(stream)), iss, None);
            connection.open(&mut self.link, now);
            // Without a watch the connection is gone, and the client is told by the socket's closing.
            let _ = self.add_connection(connection);
        }
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
}

fn begin_connecting(target: SocketAddrV4) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}
