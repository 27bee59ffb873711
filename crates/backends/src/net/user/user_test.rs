//! The network against another TCP/IP stack (smoltcp) that plays the guest.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, icmp, tcp, udp};
use smoltcp::time::Instant as GuestInstant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint};

use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const HOST: IpAddress = IpAddress::v4(10, 0, 2, 2);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// A card with a small receive ring.
#[derive(Default)]
struct Card {
    frames: Mutex<VecDeque<Vec<u8>>>,
    limit: usize,
    /// Every so many frames one is lost, if this is not 0.
    loss: u64,
    count: AtomicU64,
}

impl Card {
    fn new(limit: usize, loss: u64) -> Arc<Card> {
        Arc::new(Card { limit, loss, ..Card::default() })
    }

    /// One frame in `loss`, in no order: sent again as often as they are lost in turn, the same one could be lost each time.
    fn loses(&self) -> bool {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).checked_rem(self.loss) == Some(0)
    }
}

impl NetReceiver for Card {
    fn can_receive(&self) -> bool {
        locked(&self.frames).len() < self.limit
    }
    fn receive(&self, frame: &[u8], _: FrameOffload) -> bool {
        let mut frames = locked(&self.frames);
        let room = frames.len() < self.limit;
        if room && !self.loses() {
            frames.push_back(frame.to_vec());
        }
        room
    }
}

/// The guest's driver.
struct Driver {
    card: Arc<Card>,
    net: Arc<UserNet>,
}

struct Received(Vec<u8>);
struct Sending(Arc<UserNet>, Arc<Card>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        if !self.1.loses() {
            self.0.send(&frame, FrameOffload::default());
        }
        result
    }
}

impl Device for Driver {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, _: GuestInstant) -> Option<(Received, Sending)> {
        let frame = locked(&self.card.frames).pop_front()?;
        self.net.receive_ready();
        Some((Received(frame), Sending(Arc::clone(&self.net), Arc::clone(&self.card))))
    }

    fn transmit(&mut self, _: GuestInstant) -> Option<Sending> {
        Some(Sending(Arc::clone(&self.net), Arc::clone(&self.card)))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = 1514;
        capabilities.medium = Medium::Ethernet;
        capabilities
    }
}

struct Guest {
    net: Arc<UserNet>,
    driver: Driver,
    interface: Interface,
    sockets: SocketSet<'static>,
}

impl Guest {
    fn new(options: &str) -> Guest {
        Guest::with_loss(options, 0)
    }

    fn with_loss(options: &str, loss: u64) -> Guest {
        let super::super::NetdevOption { kind, .. } =
            super::super::NetdevOption::parse(&format!("user,id=n{options}")).unwrap();
        let super::super::NetdevKind::User(options) = kind else { panic!() };
        let net = Arc::new(UserNet::new(*options, &started()).unwrap());
        let card = Card::new(64, loss);
        net.set_receiver(Some(card.clone()));
        let mut driver = Driver { card, net: Arc::clone(&net) };
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
        let mut interface = Interface::new(config, &mut driver, GuestInstant::now());
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(OWN.into(), 24)).unwrap());
        interface.routes_mut().add_default_ipv4_route(Ipv4Addr::new(10, 0, 2, 2)).unwrap();
        Guest { net, driver, interface, sockets: SocketSet::new(Vec::new()) }
    }

    fn poll(&mut self) {
        self.interface.poll(GuestInstant::now(), &mut self.driver, &mut self.sockets);
    }

    /// Polls until `done`.
    fn until(&mut self, mut done: impl FnMut(&mut Guest) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            self.poll();
            if done(self) {
                return;
            }
            assert!(Instant::now() < end, "it did not happen");
            if locked(&self.driver.card.frames).is_empty() {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }

    fn connect(&mut self, remote: impl Into<IpEndpoint>, local: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 256 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.connect(self.interface.context(), remote, local).unwrap();
        self.sockets.add(socket)
    }

    /// Takes the connection that the guest has begun.
    fn accept(&mut self, listener: &TcpListener) -> TcpStream {
        listener.set_nonblocking(true).unwrap();
        let mut accepted = None;
        self.until(|_| {
            accepted = listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

fn started() -> Clocks {
    let clocks = Clocks::new();
    clocks.start_virtual();
    clocks
}

fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

#[test]
fn dhcp_gives_an_address() {
    let mut guest = Guest::new(",hostname=me,domainname=example.org,dnssearch=a.b");
    guest.interface.update_ip_addrs(|addresses| addresses.clear());
    guest.interface.routes_mut().remove_default_ipv4_route();
    let handle = guest.sockets.add(dhcpv4::Socket::new());
    let mut found = None;
    guest.until(|guest| {
        if let Some(dhcpv4::Event::Configured(config)) =
            guest.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll()
        {
            found = Some((config.address, config.router, config.dns_servers.to_vec()));
        }
        found.is_some()
    });
    let (address, router, dns) = found.unwrap();
    assert_eq!(address.to_string(), "10.0.2.15/24");
    assert_eq!(router, Some(Ipv4Addr::new(10, 0, 2, 2)));
    assert_eq!(dns, [Ipv4Addr::new(10, 0, 2, 3)]);
}

/// Uploads and downloads as much at the same time.
fn transfer(len: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let data = pattern(len);
    let sent = data.clone();
    let server = std::thread::spawn(move || {
        let (stream, from) = listener.accept().unwrap();
        assert!(from.ip().is_loopback());
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut all = Vec::new();
        (&stream).read_to_end(&mut all).unwrap();
        writing.join().unwrap();
        all
    });
    let mut guest = Guest::new("");
    let handle = guest.connect((HOST, port), 40_000);
    let (mut up, mut down, mut closed) = (0, Vec::new(), false);
    guest.until(|guest| {
        let socket = guest.tcp(handle);
        if socket.can_send() {
            up += socket.send_slice(&data[up..]).unwrap();
            if up == len {
                closed = true;
                socket.close();
            }
        }
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), down.extend_from_slice(bytes))).unwrap();
        }
        !socket.may_recv() && closed
    });
    assert!(down == data, "{} of {len}", down.len());
    guest.until(|_| server.is_finished());
    assert!(server.join().unwrap() == data);
    guest.until(|guest| locked(&guest.net.stack).connections.is_empty());
}

#[test]
fn tcp_carries_both_directions_at_once() {
    transfer(10 << 20);
}

#[test]
fn tcp_carries_small_things() {
    transfer(1);
    transfer(0);
}

#[test]
fn tcp_survives_losses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let data = pattern(1 << 18);
    let mut guest = Guest::with_loss("", 53);
    let handle = guest.connect((HOST, port), 40_030);
    let mut stream = guest.accept(&listener);
    let server = std::thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let (mut up, mut down) = (0, Vec::new());
    guest.until(|guest| {
        let socket = guest.tcp(handle);
        if socket.can_send() {
            up += socket.send_slice(&data[up..]).unwrap();
            if up == data.len() {
                socket.close();
            }
        }
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), down.extend_from_slice(bytes))).unwrap();
        }
        down.len() == data.len()
    });
    assert!(down == data);
    guest.until(|_| server.is_finished());
    server.join().unwrap();
}

#[test]
fn half_closed_connections_go_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::new("");
    let handle = guest.connect((HOST, port), 40_001);
    let mut stream = guest.accept(&listener);
    guest.until(|guest| guest.tcp(handle).may_send());
    // The host's side ends first; the guest may still send.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    guest.until(|guest| !guest.tcp(handle).may_recv());
    guest.tcp(handle).send_slice(b"late").unwrap();
    guest.tcp(handle).close();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    guest.until(|_| reader.is_finished());
    assert_eq!(reader.join().unwrap(), b"late");
    guest.until(|guest| locked(&guest.net.stack).connections.is_empty());
}

#[test]
fn resets_and_refusals_are_passed_on() {
    let mut guest = Guest::new("");
    let refused = guest.connect((HOST, 1), 40_002);
    guest.until(|guest| guest.tcp(refused).state() == tcp::State::Closed);
    let unassigned = guest.connect((IpAddress::v4(10, 0, 2, 3), 99), 40_003);
    guest.until(|guest| guest.tcp(unassigned).state() == tcp::State::Closed);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // The guest resets.
    let handle = guest.connect((HOST, port), 40_004);
    let mut stream = guest.accept(&listener);
    guest.until(|guest| guest.tcp(handle).may_send());
    guest.tcp(handle).abort();
    guest.poll();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    // The host resets: it closes with unread data.
    let handle = guest.connect((HOST, port), 40_005);
    let stream = guest.accept(&listener);
    guest.until(|guest| guest.tcp(handle).may_send());
    guest.tcp(handle).send_slice(b"unread").unwrap();
    guest.poll();
    std::thread::sleep(Duration::from_millis(50));
    drop(stream);
    guest.until(|guest| guest.tcp(handle).state() == tcp::State::Closed);
    guest.until(|guest| locked(&guest.net.stack).connections.is_empty());
}

#[test]
fn back_pressure_goes_all_the_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::new("");
    let handle = guest.connect((HOST, port), 40_006);
    let mut stream = guest.accept(&listener);
    let data = pattern(64 << 20);
    // Nobody reads at the host: the guest has to stop somewhere.
    let mut up = 0;
    let mut last = Instant::now();
    guest.until(|guest| {
        let socket = guest.tcp(handle);
        if socket.can_send() && up < data.len() {
            up += socket.send_slice(&data[up..]).unwrap();
            last = Instant::now();
        }
        last.elapsed() > Duration::from_millis(400)
    });
    assert!(up < data.len());
    let stopped = up;
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; stopped];
        stream.read_exact(&mut all).unwrap();
        (stream, all)
    });
    guest.until(|_| reader.is_finished());
    let (mut stream, all) = reader.join().unwrap();
    assert!(all == data[..stopped]);
    // Nobody reads in the guest: the host has to stop, and the window is asked for until it opens.
    stream.set_nonblocking(true).unwrap();
    let mut down = 0;
    let mut last = Instant::now();
    guest.until(|_| {
        if let Ok(count) = stream.write(&data[down..]) {
            down += count;
            last = Instant::now();
        }
        last.elapsed() > Duration::from_millis(700)
    });
    assert!(down < data.len());
    let mut received = Vec::new();
    guest.until(|guest| {
        let socket = guest.tcp(handle);
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), received.extend_from_slice(bytes))).unwrap();
        }
        received.len() >= down
    });
    assert!(received == data[..down]);
}

#[test]
fn many_connections_live_side_by_side() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    const COUNT: u16 = 100;
    let server = std::thread::spawn(move || {
        let clients: Vec<_> = (0..COUNT)
            .map(|_| {
                let (mut stream, _) = listener.accept().unwrap();
                std::thread::spawn(move || {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).unwrap();
                    all.reverse();
                    stream.write_all(&all).unwrap();
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let mut guest = Guest::new("");
    let handles: Vec<_> = (0..COUNT).map(|index| guest.connect((HOST, port), 41_000 + index)).collect();
    let mut answers = vec![Vec::new(); usize::from(COUNT)];
    let mut asked = vec![false; usize::from(COUNT)];
    guest.until(|guest| {
        for (index, handle) in handles.iter().enumerate() {
            let socket = guest.tcp(*handle);
            if socket.may_send() && !asked[index] {
                socket.send_slice(&pattern(5000 + index)).unwrap();
                socket.close();
                asked[index] = true;
            }
            while socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), answers[index].extend_from_slice(bytes))).unwrap();
            }
        }
        answers.iter().enumerate().all(|(index, answer)| answer.len() == 5000 + index)
    });
    for (index, answer) in answers.iter_mut().enumerate() {
        answer.reverse();
        assert!(*answer == pattern(5000 + index));
    }
    guest.until(|_| server.is_finished());
    server.join().unwrap();
    guest.until(|guest| locked(&guest.net.stack).connections.is_empty());
}

#[test]
fn forwarded_connections_reach_the_guest() {
    let mut guest = Guest::new(",hostfwd=tcp:127.0.0.1:0-:22,hostfwd=udp:127.0.0.1:0-:69,restrict=on");
    let [tcp_port, udp_port] = guest.net.forward_ports()[..] else { panic!() };
    let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.listen(22).unwrap();
    let handle = guest.sockets.add(socket);
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", tcp_port)).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        answer
    });
    guest.until(|guest| guest.tcp(handle).can_recv());
    let socket = guest.tcp(handle);
    assert_eq!(socket.remote_endpoint().unwrap().addr, HOST);
    let bytes = socket.recv(|bytes| (bytes.len(), bytes.to_vec())).unwrap();
    socket.send_slice(&bytes).unwrap();
    guest.until(|_| client.is_finished());
    assert_eq!(&client.join().unwrap(), b"hello");
    assert!(guest.net.table().contains("TCP[HOST_FORWARD]"), "{}", guest.net.table());

    let packets = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8192]);
    let mut socket = udp::Socket::new(packets(), packets());
    socket.bind(69).unwrap();
    let handle = guest.sockets.add(socket);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_nonblocking(true).unwrap();
    client.send_to(b"ping", ("127.0.0.1", udp_port)).unwrap();
    guest.until(|guest| guest.sockets.get_mut::<udp::Socket<'_>>(handle).can_recv());
    let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
    let (bytes, from) = socket.recv().map(|(bytes, from)| (bytes.to_vec(), from)).unwrap();
    assert_eq!(bytes, b"ping");
    socket.send_slice(b"pong", from.endpoint).unwrap();
    let mut answer = [0; 9];
    guest.until(|_| client.recv(&mut answer).is_ok_and(|len| len == 4));
    assert_eq!(&answer[..4], b"pong");
    assert!(guest.net.remove_forward(Transport::Tcp, Ipv4Addr::LOCALHOST, 0));
    assert!(TcpStream::connect(("127.0.0.1", tcp_port)).is_err());
    // Restricted: nothing else goes out.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = guest.connect((HOST, listener.local_addr().unwrap().port()), 40_010);
    guest.until(|guest| guest.tcp(refused).state() == tcp::State::Closed);
}

#[test]
fn a_taken_port_cannot_be_forwarded() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp:127.0.0.1:{}-:22", taken.local_addr().unwrap().port());
    let options =
        UserOptions { forwards: vec![HostForward::parse(&text).unwrap()], ..UserOptions::default() };
    let error = UserNet::new(options, &started()).err().unwrap();
    assert_eq!(error.to_string(), format!("Could not set up host forwarding rule '{text}'"));
}

#[test]
fn udp_and_names_and_echoes_work() {
    let mut guest = Guest::new("");
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let packets = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8192]);
    let mut socket = udp::Socket::new(packets(), packets());
    socket.bind(5000).unwrap();
    let handle = guest.sockets.add(socket);
    let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
    socket.send_slice(b"question", IpEndpoint::from((HOST, port))).unwrap();
    guest.poll();
    let mut bytes = [0; 100];
    guest.until(|_| true);
    guest.until(|_| true);
    let mut got = None;
    server.set_nonblocking(true).unwrap();
    guest.until(|_| {
        got = server.recv_from(&mut bytes).ok();
        got.is_some()
    });
    let (len, from) = got.unwrap();
    assert_eq!(&bytes[..len], b"question");
    server.send_to(b"answer", from).unwrap();
    guest.until(|guest| guest.sockets.get_mut::<udp::Socket<'_>>(handle).can_recv());
    let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
    let (bytes, from) = socket.recv().map(|(bytes, from)| (bytes.to_vec(), from.endpoint)).unwrap();
    assert_eq!((&*bytes, from), (&b"answer"[..], IpEndpoint::from((HOST, port))));

    // A name.
    let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9];
    query.extend(b"localhost\0\0\x01\0\x01");
    let server = IpEndpoint::from((IpAddress::v4(10, 0, 2, 3), 53));
    guest.sockets.get_mut::<udp::Socket<'_>>(handle).send_slice(&query, server).unwrap();
    guest.until(|guest| guest.sockets.get_mut::<udp::Socket<'_>>(handle).can_recv());
    let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
    let (bytes, from) = socket.recv().map(|(bytes, from)| (bytes.to_vec(), from.endpoint)).unwrap();
    assert_eq!(from, server);
    assert_eq!(bytes[bytes.len() - 4..], [127, 0, 0, 1]);

    // An echo.
    let packets = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 4096]);
    let mut socket = icmp::Socket::new(packets(), packets());
    socket.bind(icmp::Endpoint::Ident(77)).unwrap();
    let handle = guest.sockets.add(socket);
    let request = smoltcp::wire::Icmpv4Repr::EchoRequest { ident: 77, seq_no: 1, data: b"data" };
    let mut bytes = vec![0; request.buffer_len()];
    let mut packet = smoltcp::wire::Icmpv4Packet::new_unchecked(&mut bytes);
    request.emit(&mut packet, &smoltcp::phy::ChecksumCapabilities::default());
    guest.sockets.get_mut::<icmp::Socket<'_>>(handle).send_slice(&bytes, HOST).unwrap();
    guest.until(|guest| guest.sockets.get_mut::<icmp::Socket<'_>>(handle).can_recv());
}

#[test]
fn large_datagrams_arrive_in_pieces() {
    let net = UserNet::new(UserOptions::default(), &started()).unwrap();
    let card = Card::new(100, 0);
    net.set_receiver(Some(card.clone()));
    let guest = SocketAddrV4::new(OWN, 9);
    net.shared.stack.with(|stack| {
        stack.link.learn(OWN, MAC);
        stack.link.send_udp((SocketAddrV4::new(stack.options.host, 7), guest), &pattern(5000));
    });
    let frames = locked(&card.frames);
    assert_eq!(frames.len(), 4);
    let mut payload = Vec::new();
    for frame in frames.iter() {
        let ipv4 = wire::Ipv4::read(wire::Ethernet::read(frame).unwrap().payload).unwrap();
        assert_eq!(
            ipv4.payload.len() + payload.len() < 5008,
            wire::u16_at(ipv4.whole, 6).unwrap() & 0x2000 != 0
        );
        payload.extend(ipv4.payload);
    }
    assert_eq!(wire::Udp::read(&payload).unwrap().payload, pattern(5000));
}

/// Frames that begin well and then go wrong.
fn hostile_frame() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    let head = prop::sample::select(vec![6u8, 17, 1, 0]);
    let target = prop::sample::select(vec![2u8, 3, 15, 255, 77]);
    let body = prop::collection::vec(any::<u8>(), 0..120);
    (head, target, body, any::<bool>(), any::<u16>(), any::<u8>()).prop_map(
        |(protocol, target, body, arp, damage, flip)| {
            let mut frame = Vec::new();
            wire::put_ethernet(
                &mut frame,
                [0xff; 6],
                MAC,
                if arp { wire::TYPE_ARP } else { wire::TYPE_IPV4 },
            );
            if arp {
                frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
            } else {
                let ends = (OWN, Ipv4Addr::new(10, 0, 2, target));
                wire::put_ipv4(&mut frame, ends, protocol, body.len(), (0, 0));
            }
            frame.extend(body);
            let at = usize::from(damage) % frame.len();
            if flip & 3 == 0 {
                frame.truncate(at);
            } else if flip & 1 == 0 {
                frame[at] ^= flip;
            }
            frame
        },
    )
}

proptest::proptest! {
    #[test]
    fn hostile_frames_do_no_harm(frames in proptest::collection::vec(hostile_frame(), 1..50)) {
        let net = UserNet::new(UserOptions { restrict: true, ..UserOptions::default() }, &started()).unwrap();
        net.set_receiver(Some(Card::new(10, 0)));
        for frame in &frames {
            net.send(frame, FrameOffload::default());
        }
        // The thread is alive and its lock sound.
        net.shared.take_inbox();
        proptest::prop_assert!(!net.stack.is_poisoned());
    }
}

/// Segments with random numbers on a connection that lives.
#[test]
fn hostile_segments_do_no_harm() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let _ = (&stream).write(&[1; 3000]);
            if stream.local_addr().is_err() || (&stream).read(&mut [0; 4]).is_ok_and(|len| len == 4) {
                break;
            }
        }
    });
    let net = UserNet::new(UserOptions::default(), &started()).unwrap();
    net.set_receiver(Some(Card::new(usize::MAX, 0)));
    let mut state = 99u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 32) as u32
    };
    for _ in 0..20_000 {
        let mut frame = Vec::new();
        wire::put_ethernet(&mut frame, [0xff; 6], MAC, wire::TYPE_IPV4);
        let len = random() as usize % 40;
        wire::put_ipv4(&mut frame, (OWN, Ipv4Addr::new(10, 0, 2, 2)), 6, 20 + len, (0, 0));
        frame.extend((1000 + random() as u16 % 8).to_be_bytes());
        frame.extend(port.to_be_bytes());
        // Near the beginning of the sequence space, where our side starts too.
        frame.extend((random() % 4000).wrapping_sub(100).to_be_bytes());
        frame.extend((random() % 600_000).to_be_bytes());
        frame.extend([
            0x50 + (random() as u8 % 3) * 16,
            (random() as u8 & 0x1f) | if random() % 3 == 0 { 16 } else { 0 },
        ]);
        frame.extend((random() as u16).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend((0..len).map(|_| random() as u8));
        net.send(&frame, FrameOffload::default());
    }
    net.shared.take_inbox();
    assert!(!net.stack.is_poisoned());
    assert!(!net.thread.as_ref().unwrap().is_finished());
    drop(net);
    let mut last = TcpStream::connect(("127.0.0.1", port)).unwrap();
    last.write_all(b"done").unwrap();
    server.join().unwrap();
}
