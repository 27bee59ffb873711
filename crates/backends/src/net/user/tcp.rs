//! One TCP connection of the guest (RFC 9293), spliced to a socket of the host.
//!
//! The wire between us and the guest is memory: nothing is lost or reordered on it unless the guest does so
//! itself. So the far end that we play is a plain one: large windows with scaling (RFC 7323) but no congestion
//! control, segments in order only, and going back to the first unacknowledged byte after three duplicate
//! acknowledgments or a time-out. What the guest sends is acknowledged once for each burst.
//!
//! Words: *up* is from the guest to the host's socket, *down* the other way; `rcv_*` and `snd_*` are the
//! standard's names, from our end's view.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use events::{FdWatch, Interest};
use rustix::io::{Errno, readv, writev};
use rustix::net::{SendFlags, Shutdown, send, shutdown, sockopt};

use super::link::{Link, Segment};
use super::ring::Ring;
use super::wire::{ACK, FIN, PSH, RST, SYN, Tcp};

const UP_SIZE: usize = 1 << 20;
const DOWN_SIZE: usize = 1 << 20;
/// Our window is told in units of 2^7 bytes.
const SCALE: u8 = 7;
pub(crate) const MAXIMUM_SEGMENT: u16 = 1460;
/// What a card takes in one piece when it segments itself.
const LARGE_SEGMENT: usize = 64_000;
/// A connection gives way to the others after so many bytes.
const QUANTUM: usize = 256 << 10;
const RTO_FIRST_NS: u64 = 500_000_000;
const RTO_LIMIT_NS: u64 = 16_000_000_000;
const RETRIES: u32 = 15;
const SYN_RETRIES: u32 = 6;

/// Both ends as the guest sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) guest: SocketAddrV4,
    pub(crate) remote: SocketAddrV4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The guest wants to connect; the host's socket is connecting.
    Connecting,
    /// We have answered the guest's SYN.
    SynReceived,
    /// We have sent SYN for a forwarded connection.
    SynSent,
    /// Data flows, at least in one direction.
    Established,
    /// Over; to be removed.
    Closed,
}

/// Whether a pump stopped because all is sent or for some other reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    Done,
    /// Others' turn.
    More,
    /// The card is full.
    Blocked,
}

pub(crate) struct Connection {
    pub(crate) key: Key,
    pub(crate) state: State,
    pub(crate) socket: Arc<OwnedFd>,
    pub(crate) watch: Option<FdWatch>,
    /// It is in the list of those to be pumped.
    pub(crate) dirty: bool,
    /// When to send something again, on the clock the stack uses.
    pub(crate) deadline: Option<u64>,
    up: Ring,
    down: Ring,
    rcv_nxt: u32,
    /// The right edge of the window that the guest knows of.
    rcv_adv: u32,
    rcv_scale: u8,
    ack_due: bool,
    guest_fin: bool,
    /// The guest's end of data has been passed on to the host.
    host_shut: bool,
    snd_una: u32,
    snd_nxt: u32,
    snd_max: u32,
    snd_wnd: u32,
    snd_scale: u8,
    maximum_segment: usize,
    /// The host will send no more.
    host_eof: bool,
    fin_acked: bool,
    duplicates: u32,
    /// Going back happens once for what was in flight before this.
    recover: u32,
    rto: u64,
    retries: u32,
}

fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Connection {
    /// A connection that the guest opens with `syn`, or a forwarded one if there is none.
    pub(crate) fn new(key: Key, socket: Arc<OwnedFd>, iss: u32, syn: Option<&Tcp<'_>>) -> Connection {
        let mut connection = Connection {
            key,
            state: if syn.is_some() { State::Connecting } else { State::SynSent },
            socket,
            watch: None,
            dirty: false,
            deadline: None,
            up: Ring::new(UP_SIZE),
            down: Ring::new(DOWN_SIZE),
            rcv_nxt: 0,
            rcv_adv: 0,
            rcv_scale: 0,
            ack_due: false,
            guest_fin: false,
            host_shut: false,
            snd_una: iss,
            snd_nxt: iss,
            snd_max: iss,
            snd_wnd: 0,
            snd_scale: 0,
            maximum_segment: 536,
            host_eof: false,
            fin_acked: false,
            duplicates: 0,
            recover: iss,
            rto: RTO_FIRST_NS,
            retries: 0,
        };
        if let Some(syn) = syn {
            connection.read_syn(syn);
        }
        connection
    }

    fn read_syn(&mut self, syn: &Tcp<'_>) {
        self.rcv_nxt = syn.sequence.wrapping_add(1);
        self.rcv_adv = self.rcv_nxt;
        if let Some(scale) = syn.window_scale {
            self.snd_scale = scale.min(14);
            self.rcv_scale = SCALE;
        }
        // The window of a SYN is never scaled.
        self.snd_wnd = u32::from(syn.window);
        let offered = syn.maximum_segment.unwrap_or(536);
        self.maximum_segment = usize::from(offered.clamp(64, MAXIMUM_SEGMENT));
    }

    /// The IP header and eight bytes of the guest's SYN, for an ICMP message.
    pub(crate) fn quote(&self) -> Vec<u8> {
        let mut quote = Vec::new();
        let ends = (*self.key.guest.ip(), *self.key.remote.ip());
        super::wire::put_ipv4(&mut quote, ends, super::wire::PROTOCOL_TCP, super::wire::TCP, (0, 0));
        quote.extend(self.key.guest.port().to_be_bytes());
        quote.extend(self.key.remote.port().to_be_bytes());
        quote.extend(self.rcv_nxt.wrapping_sub(1).to_be_bytes());
        quote
    }

    /// For `info usernet`.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            State::Connecting => "SYN_SENT",
            State::SynReceived => "SYN_RCVD",
            State::SynSent => "SYN_SENT",
            State::Closed => "CLOSED",
            State::Established if self.guest_fin => "CLOSE_WAIT",
            State::Established if self.host_eof => "FIN_WAIT_1",
            State::Established => "ESTABLISHED",
        }
    }

    /// Bytes on their way up and down.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.up.len(), self.down.len())
    }

    fn segment(&self, sequence: u32, flags: u8) -> Segment {
        let room = self.up.room() as u32 >> self.rcv_scale;
        Segment {
            ends: (self.key.remote, self.key.guest),
            sequence,
            acknowledgment: if flags & ACK != 0 { self.rcv_nxt } else { 0 },
            flags,
            window: room.min(0xffff) as u16,
            options: None,
            segment_size: self.maximum_segment,
        }
    }

    /// Notes that the guest has been told of our window and of all that has come.
    fn told(&mut self, window: u16) {
        self.rcv_adv = self.rcv_nxt.wrapping_add(u32::from(window) << self.rcv_scale);
        self.ack_due = false;
    }

    fn send_syn(&mut self, link: &mut Link, now: u64) {
        let answering = self.state == State::SynReceived;
        let flags = if answering { SYN | ACK } else { SYN };
        let mut segment = self.segment(self.snd_una, flags);
        segment.window = self.up.room().min(0xffff) as u16;
        let scale = (!answering || self.rcv_scale != 0).then_some(SCALE);
        segment.options = Some((MAXIMUM_SEGMENT, scale));
        link.send_tcp_control(&segment);
        self.rcv_adv = self.rcv_nxt.wrapping_add(u32::from(segment.window));
        self.ack_due = false;
        self.snd_nxt = self.snd_una.wrapping_add(1);
        self.snd_max = self.snd_nxt;
        self.deadline = Some(now.saturating_add(self.rto));
    }

    /// Begins a forwarded connection.
    pub(crate) fn open(&mut self, link: &mut Link, now: u64) {
        self.send_syn(link, now);
    }

    /// Ends the connection with RST to the guest and, if the host's socket is still of use, to the host.
    pub(crate) fn abort(&mut self, link: &mut Link) {
        if self.state != State::Closed {
            let flags = if self.state == State::SynSent { RST } else { RST | ACK };
            let segment = self.segment(self.snd_nxt, flags);
            link.send_tcp_control(&segment);
            self.close_host();
        }
    }

    fn close_host(&mut self) {
        // Closing with a linger of zero sends RST.
        let _ = sockopt::set_socket_linger(&self.socket, Some(std::time::Duration::ZERO));
        self.state = State::Closed;
        self.watch = None;
    }

    /// The host's socket is ready. An error while connecting is returned.
    pub(crate) fn host_ready(&mut self, link: &mut Link, now: u64) -> Result<(), io::Error> {
        match self.state {
            State::Connecting => {
                match sockopt::socket_error(&self.socket) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) | Err(error) => return Err(error.into()),
                }
                let _ = sockopt::set_tcp_nodelay(&self.socket, true);
                self.state = State::SynReceived;
                self.send_syn(link, now);
            }
            State::Closed => {}
            _ => {
                if self.flush_up().and_then(|()| self.fill_down()).is_err() {
                    self.abort(link);
                }
            }
        }
        Ok(())
    }

    /// What the socket should be watched for.
    pub(crate) fn update_interest(&mut self) {
        let interest = match self.state {
            State::Connecting => Interest::WRITE,
            State::Closed => Interest::NONE,
            _ => Interest {
                // A quarter of the ring at a time keeps the calls few.
                readable: !self.host_eof && self.down.room() >= DOWN_SIZE / 4,
                writable: !self.up.is_empty(),
            },
        };
        if let Some(watch) = &self.watch {
            watch.set_interest(interest);
        }
    }

    fn fill_down(&mut self) -> Result<(), Errno> {
        if self.host_eof || self.down.room() == 0 {
            return Ok(());
        }
        match readv(&self.socket, &mut self.down.free()) {
            Ok(0) => self.host_eof = true,
            Ok(count) => self.down.add(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes to the host what waits for it, then the end of data if that has come.
    fn flush_up(&mut self) -> Result<(), Errno> {
        while !self.up.is_empty() {
            match writev(&self.socket, &self.up.filled()) {
                Ok(count) => self.up.consume(count),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        if self.guest_fin && !self.host_shut {
            self.host_shut = true;
            let _ = shutdown(&self.socket, Shutdown::Write);
        }
        // Tell the guest of the room when it is worth a segment.
        let edge = self.rcv_nxt.wrapping_add(self.up.room() as u32);
        if edge.wrapping_sub(self.rcv_adv) as i32 >= (UP_SIZE / 2) as i32 {
            self.ack_due = true;
        }
        Ok(())
    }

    /// Takes a segment from the guest.
    pub(crate) fn receive(&mut self, tcp: &Tcp<'_>, link: &mut Link, now: u64) {
        match self.state {
            State::Closed => return,
            State::SynSent => return self.receive_syn_sent(tcp, link, now),
            // A repeated SYN while the host is still connecting; or the guest gives up.
            State::Connecting => {
                if tcp.has(RST) {
                    self.close_host();
                }
                return;
            }
            _ => {}
        }
        let offset = tcp.sequence.wrapping_sub(self.rcv_nxt) as i32;
        let window = self.rcv_adv.wrapping_sub(self.rcv_nxt).max(1);
        if tcp.has(RST) {
            // RFC 5961: only where we are; the wire does not lose anything.
            if offset >= 0 && (offset as u32) < window {
                self.close_host();
            }
            return;
        }
        if tcp.has(SYN) {
            if self.state == State::SynReceived && offset == -1 {
                self.send_syn(link, now);
            } else {
                self.ack_due = true;
            }
            return;
        }
        if !tcp.has(ACK) {
            return;
        }
        if !self.receive_ack(tcp, now) {
            self.ack_due = true;
            return;
        }
        if tcp.payload.is_empty() && !tcp.has(FIN) {
            // A keep-alive, or a question about our window.
            self.ack_due |= offset < 0;
        } else if self.receive_data(tcp, offset).is_err() {
            self.abort(link);
        }
    }

    fn receive_syn_sent(&mut self, tcp: &Tcp<'_>, link: &mut Link, now: u64) {
        let acknowledges = tcp.has(ACK) && tcp.acknowledgment == self.snd_nxt;
        if tcp.has(RST) {
            if acknowledges {
                self.close_host();
            }
        } else if tcp.has(SYN) && acknowledges {
            self.read_syn(tcp);
            self.establish(tcp.acknowledgment);
            self.ack_due = true;
        } else if tcp.has(ACK) && !acknowledges {
            let reset = Segment { sequence: tcp.acknowledgment, ..self.segment(0, RST) };
            link.send_tcp_control(&reset);
            self.deadline = Some(now);
        }
    }

    fn establish(&mut self, una: u32) {
        self.state = State::Established;
        self.snd_una = una;
        self.recover = una;
        self.deadline = None;
        self.rto = RTO_FIRST_NS;
        self.retries = 0;
    }

    /// Takes the acknowledgment and the window; says whether they make sense.
    fn receive_ack(&mut self, tcp: &Tcp<'_>, now: u64) -> bool {
        let ack = tcp.acknowledgment;
        if before(self.snd_max, ack) {
            return false;
        }
        let window = u32::from(tcp.window) << self.snd_scale;
        if self.state == State::SynReceived {
            if ack != self.snd_nxt {
                return false;
            }
            self.establish(ack);
            self.snd_wnd = window;
            return true;
        }
        if before(ack, self.snd_una) {
            return true;
        }
        let progress = ack.wrapping_sub(self.snd_una) as usize;
        let same_window = window == self.snd_wnd;
        self.snd_wnd = window;
        if progress > 0 {
            let data = self.down.len();
            self.down.consume(progress);
            self.fin_acked |= progress > data;
            self.snd_una = ack;
            if before(self.snd_nxt, ack) {
                self.snd_nxt = ack;
            }
            self.duplicates = 0;
            self.retries = 0;
            self.rto = RTO_FIRST_NS;
            self.deadline = (self.snd_nxt != self.snd_una).then(|| now.saturating_add(self.rto));
        } else if tcp.payload.is_empty() && same_window && self.snd_nxt != self.snd_una && !tcp.has(FIN) {
            self.duplicates += 1;
            if self.duplicates == 3 && !before(self.snd_una, self.recover) {
                self.recover = self.snd_max;
                self.snd_nxt = self.snd_una;
            }
        }
        true
    }

    fn receive_data(&mut self, tcp: &Tcp<'_>, offset: i32) -> Result<(), Errno> {
        self.ack_due = true;
        let skip = (-i64::from(offset)).max(0) as usize;
        if offset > 0 || self.guest_fin || skip > tcp.payload.len() {
            // A gap: the acknowledgment asks for what is missing. Or all of it is old.
            return Ok(());
        }
        let new = &tcp.payload[skip..];
        let mut taken = 0;
        if self.up.is_empty() && !new.is_empty() {
            match send(&self.socket, new, SendFlags::NOSIGNAL) {
                Ok(count) => taken = count,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        taken += self.up.push(&new[taken..]);
        self.rcv_nxt = self.rcv_nxt.wrapping_add(taken as u32);
        if tcp.has(FIN) && taken == new.len() {
            self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
            self.guest_fin = true;
            self.flush_up()?;
        }
        Ok(())
    }

    /// Sends to the guest what may be sent now.
    pub(crate) fn pump(&mut self, link: &mut Link, now: u64) -> Pumped {
        if self.state != State::Established {
            return Pumped::Done;
        }
        let largest = match link.takes_large_segments() {
            true => LARGE_SEGMENT / self.maximum_segment * self.maximum_segment,
            false => self.maximum_segment,
        };
        let mut budget = QUANTUM;
        loop {
            let sent = self.snd_nxt.wrapping_sub(self.snd_una) as usize;
            let left = self.down.len().saturating_sub(sent);
            let window = (self.snd_wnd as usize).saturating_sub(sent);
            let count = left.min(window).min(largest);
            let last = self.host_eof && count == left && sent <= self.down.len() && !self.fin_acked;
            // RFC 9293 section 3.8.6.2.1: no small pieces of what the window cuts off.
            if count == 0 && !last || (count < left && count < self.maximum_segment && sent > 0) {
                break;
            }
            let mut flags = ACK;
            if count == left && count > 0 {
                flags |= PSH;
            }
            if last {
                flags |= FIN;
            }
            let segment = self.segment(self.snd_nxt, flags);
            let down = &self.down;
            if !link.send_tcp(&segment, count, |frame| down.copy(sent, count, frame)) {
                return Pumped::Blocked;
            }
            self.told(segment.window);
            self.snd_nxt = self.snd_nxt.wrapping_add(count as u32 + u32::from(last));
            if before(self.snd_max, self.snd_nxt) {
                self.snd_max = self.snd_nxt;
            }
            if self.deadline.is_none() {
                self.deadline = Some(now.saturating_add(self.rto));
            }
            budget = budget.saturating_sub(count);
            if budget == 0 {
                return Pumped::More;
            }
        }
        if self.ack_due {
            let segment = self.segment(self.snd_nxt, ACK);
            if !link.send_tcp(&segment, 0, |_| {}) {
                return Pumped::Blocked;
            }
            self.told(segment.window);
        }
        if self.deadline.is_none() && !self.down.is_empty() {
            // The window is closed: ask for it from time to time.
            self.deadline = Some(now.saturating_add(self.rto));
        }
        if self.fin_acked && self.guest_fin && self.up.is_empty() {
            self.state = State::Closed;
            self.watch = None;
        }
        Pumped::Done
    }

    /// The deadline has passed.
    pub(crate) fn time_out(&mut self, link: &mut Link, now: u64) {
        self.deadline = None;
        if link.is_blocked() {
            // The guest takes nothing: what it has not acknowledged may not have been looked at.
            self.deadline = Some(now.saturating_add(self.rto));
            return;
        }
        self.retries += 1;
        self.rto = (self.rto * 2).min(RTO_LIMIT_NS);
        let limit = if self.state == State::Established { RETRIES } else { SYN_RETRIES };
        if self.retries > limit {
            return self.abort(link);
        }
        match self.state {
            State::SynReceived | State::SynSent => self.send_syn(link, now),
            State::Established if self.snd_nxt != self.snd_una => {
                self.snd_nxt = self.snd_una;
                self.recover = self.snd_max;
            }
            State::Established if !self.down.is_empty() => {
                // A byte before the window makes the guest tell its window.
                let segment = self.segment(self.snd_una.wrapping_sub(1), ACK);
                link.send_tcp_control(&segment);
                // A closed window is no reason to give up.
                self.retries = 0;
            }
            _ => {}
        }
    }
}

/// The answer to a segment that belongs to no connection (RFC 9293 section 3.5.2), if there is one.
pub(crate) fn refusal(key: Key, tcp: &Tcp<'_>) -> Option<Segment> {
    if tcp.has(RST) {
        return None;
    }
    let len = tcp.payload.len() as u32 + u32::from(tcp.has(SYN)) + u32::from(tcp.has(FIN));
    let (sequence, flags) = if tcp.has(ACK) { (tcp.acknowledgment, RST) } else { (0, RST | ACK) };
    Some(Segment {
        ends: (key.remote, key.guest),
        sequence,
        acknowledgment: if flags & ACK != 0 { tcp.sequence.wrapping_add(len) } else { 0 },
        flags,
        window: 0,
        options: None,
        segment_size: usize::from(MAXIMUM_SEGMENT),
    })
}
