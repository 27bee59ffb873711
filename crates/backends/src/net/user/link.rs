//! The wire to the guest: who has which hardware address, and frames on their way to the card.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{FrameOffload, NetReceiver, Offloads};
use super::wire::{self, ETHERNET, IPV4, Mac, TCP, UDP};

/// Frames that wait for the card. TCP data never waits here: segments are made when they can be delivered.
const QUEUE_LIMIT: usize = 512;
/// More neighbours than this are a guest making addresses up.
const NEIGHBOUR_LIMIT: usize = 1024;
/// Payload of an IP packet on an Ethernet of 1500 bytes; pieces of a packet have multiples of eight.
const MTU_PAYLOAD: usize = 1480;
pub(crate) const BROADCAST: Mac = [0xff; 6];

pub(crate) struct Link {
    receiver: Option<Arc<dyn NetReceiver>>,
    offloads: Offloads,
    /// Our end's hardware address, made from the gateway's.
    mac: Mac,
    neighbours: HashMap<Ipv4Addr, Mac>,
    /// The latest hardware address heard of.
    last_mac: Option<Mac>,
    queue: VecDeque<Vec<u8>>,
    scratch: Vec<u8>,
    /// The card refused a frame and has not announced room since.
    blocked: bool,
    /// The same for the card's thread, which need not wake us otherwise.
    pub(crate) blocked_flag: Arc<AtomicBool>,
    delivered: bool,
    identification: u16,
}

/// The numbers of a segment to be sent.
pub(crate) struct Segment {
    /// Source and target.
    pub(crate) ends: (SocketAddrV4, SocketAddrV4),
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// Maximum segment size, and window scale if that is to be offered: for SYN.
    pub(crate) options: Option<(u16, Option<u8>)>,
    /// How large the pieces may be, if the payload is larger.
    pub(crate) segment_size: usize,
}

impl Link {
    pub(crate) fn new(gateway: Ipv4Addr) -> Link {
        let [a, b, c, d] = gateway.octets();
        Link {
            receiver: None,
            offloads: Offloads::default(),
            mac: [0x52, 0x55, a, b, c, d],
            neighbours: HashMap::new(),
            last_mac: None,
            queue: VecDeque::new(),
            scratch: Vec::new(),
            blocked: false,
            blocked_flag: Arc::new(AtomicBool::new(false)),
            delivered: false,
            identification: 0,
        }
    }

    pub(crate) fn set_receiver(&mut self, receiver: Option<Arc<dyn NetReceiver>>) {
        self.receiver = receiver;
        self.unblock();
    }

    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether the card takes TCP segments larger than the network's.
    pub(crate) fn takes_large_segments(&self) -> bool {
        self.offloads.tso4
    }

    /// Asks the card what it takes now, since the guest's driver may have changed.
    pub(crate) fn refresh(&mut self) {
        self.offloads = self.receiver.as_ref().map(|receiver| receiver.offloads()).unwrap_or_default();
    }

    /// The card has room again.
    pub(crate) fn unblock(&mut self) {
        self.blocked = false;
        self.blocked_flag.store(false, Ordering::SeqCst);
        while let Some(frame) = self.queue.pop_front() {
            if !self.deliver(&frame, FrameOffload::default()) {
                self.queue.push_front(frame);
                break;
            }
        }
    }

    /// Tells the card that the burst is over.
    pub(crate) fn finish_burst(&mut self) {
        if std::mem::take(&mut self.delivered)
            && let Some(receiver) = &self.receiver
        {
            receiver.burst_done();
        }
    }

    pub(crate) fn learn(&mut self, address: Ipv4Addr, mac: Mac) {
        if mac[0] & 1 == 0
            && (self.neighbours.len() < NEIGHBOUR_LIMIT || self.neighbours.contains_key(&address))
        {
            self.neighbours.insert(address, mac);
            self.last_mac = Some(mac);
        }
    }

    pub(crate) fn neighbour(&self, address: Ipv4Addr) -> Option<Mac> {
        self.neighbours.get(&address).copied()
    }

    fn deliver(&mut self, frame: &[u8], offload: FrameOffload) -> bool {
        let Some(receiver) = &self.receiver else {
            // Without a card everything is lost.
            return true;
        };
        if self.blocked {
            return false;
        }
        if !receiver.receive(frame, offload) {
            // Room that comes after the refusal is announced only if the flag is up: so ask once more.
            self.blocked_flag.store(true, Ordering::SeqCst);
            if !receiver.receive(frame, offload) {
                self.blocked = true;
                return false;
            }
            self.blocked_flag.store(false, Ordering::SeqCst);
        }
        self.delivered = true;
        true
    }

    /// Sends a whole frame, or queues it.
    pub(crate) fn send(&mut self, frame: Vec<u8>) {
        let go = self.queue.is_empty() && self.deliver(&frame, FrameOffload::default());
        if !go && self.queue.len() < QUEUE_LIMIT {
            self.queue.push_back(frame);
        }
    }

    /// Sends an IPv4 packet, in pieces if it is large.
    pub(crate) fn send_ipv4(&mut self, ends: (Ipv4Addr, Ipv4Addr), protocol: u8, payload: &[u8]) {
        let Some(target) = self.neighbour(ends.1).or(self.last_mac) else { return };
        self.identification = self.identification.wrapping_add(1);
        let pieces = payload.chunks(MTU_PAYLOAD).count();
        for (index, piece) in payload.chunks(MTU_PAYLOAD).enumerate() {
            let mut frame = Vec::with_capacity(ETHERNET + IPV4 + piece.len());
            wire::put_ethernet(&mut frame, target, self.mac, wire::TYPE_IPV4);
            let more = if index + 1 < pieces { 0x2000 } else { 0 };
            let fragment = (index * MTU_PAYLOAD / 8) as u16 | more;
            wire::put_ipv4(&mut frame, ends, protocol, piece.len(), (self.identification, fragment));
            frame.extend(piece);
            self.send(frame);
        }
    }

    /// Sends a UDP datagram.
    pub(crate) fn send_udp(&mut self, (source, target): (SocketAddrV4, SocketAddrV4), payload: &[u8]) {
        let len = UDP + payload.len();
        if len > 65_507 + UDP {
            return;
        }
        let mut datagram = Vec::with_capacity(len);
        datagram.extend(source.port().to_be_bytes());
        datagram.extend(target.port().to_be_bytes());
        datagram.extend((len as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        let ends = (*source.ip(), *target.ip());
        let pseudo = wire::pseudo_header(ends.0, ends.1, wire::PROTOCOL_UDP, len);
        let checksum = match wire::finish(wire::sum(pseudo, &datagram)) {
            0 => 0xffff,
            checksum => checksum,
        };
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        self.send_ipv4(ends, wire::PROTOCOL_UDP, &datagram);
    }

    /// Makes a TCP segment whose payload `fill` appends, and delivers it at once; says `false` when the card
    /// does not take it.
    pub(crate) fn send_tcp(
        &mut self,
        segment: &Segment,
        len: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if self.blocked || !self.queue.is_empty() {
            return false;
        }
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        let offload = self.put_tcp(&mut frame, segment, len, fill);
        let delivered = offload.is_none_or(|offload| self.deliver(&frame, offload));
        self.scratch = frame;
        delivered
    }

    /// Sends a segment without payload, queueing it if need be.
    pub(crate) fn send_tcp_control(&mut self, segment: &Segment) {
        let mut frame = Vec::new();
        let offloads = std::mem::take(&mut self.offloads);
        let offload = self.put_tcp(&mut frame, segment, 0, |_| {});
        self.offloads = offloads;
        if offload.is_some() {
            self.send(frame);
        }
    }

    /// Appends the frame; `None` if nobody is known to send it to.
    fn put_tcp(
        &mut self,
        frame: &mut Vec<u8>,
        segment: &Segment,
        len: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Option<FrameOffload> {
        let (source, target) = segment.ends;
        let mac = self.neighbour(*target.ip()).or(self.last_mac)?;
        let mut options = [2, 4, 0, 0, 1, 3, 3, 0];
        let options = match segment.options {
            None => &options[..0],
            Some((maximum, scale)) => {
                options[2..4].copy_from_slice(&maximum.to_be_bytes());
                options[7] = scale.unwrap_or(0);
                if scale.is_some() { &options[..] } else { &options[..4] }
            }
        };
        let header = TCP + options.len();
        self.identification = self.identification.wrapping_add(1);
        wire::put_ethernet(frame, mac, self.mac, wire::TYPE_IPV4);
        let ends = (*source.ip(), *target.ip());
        wire::put_ipv4(frame, ends, wire::PROTOCOL_TCP, header + len, (self.identification, wire::DF));
        let start = frame.len();
        frame.extend(source.port().to_be_bytes());
        frame.extend(target.port().to_be_bytes());
        frame.extend(segment.sequence.to_be_bytes());
        frame.extend(segment.acknowledgment.to_be_bytes());
        frame.extend([(header as u8 / 4) << 4, segment.flags]);
        frame.extend(segment.window.to_be_bytes());
        frame.extend([0, 0, 0, 0]);
        frame.extend(options);
        fill(frame);
        let pseudo = wire::pseudo_header(ends.0, ends.1, wire::PROTOCOL_TCP, header + len);
        let mut offload = FrameOffload::default();
        let checksum = if self.offloads.checksum || self.offloads.tso4 {
            offload.checksum = Some((start as u16, 16));
            offload.segment = (len > segment.segment_size).then_some(segment.segment_size as u16);
            !wire::finish(pseudo)
        } else {
            wire::finish(wire::sum(pseudo, &frame[start..]))
        };
        frame[start + 16..start + 18].copy_from_slice(&checksum.to_be_bytes());
        Some(offload)
    }
}
