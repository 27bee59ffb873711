//! The network that the guest sees: a gateway at `host`, a name server at `dns`, a DHCP server, and behind the
//! gateway whatever the host can reach.
//!
//! All of it lives on one thread with an event loop of its own, under one lock that is contended only when the
//! monitor asks something.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use events::{Clock, Clocks, EventLoop, Timer};

use super::super::UserOptions;
use super::dhcp::Leases;
use super::dns::Resolver;
use super::forward::Forward;
use super::link::{BROADCAST, Link};
use super::nat::Nat;
use super::tcp::{Connection, Key, Pumped};
use super::wire::{self, Ethernet, Ipv4, Udp};

/// How often deadlines are looked at.
const TICK_NS: u64 = 100_000_000;

/// A handle to the stack for callbacks. Every use ends with what the changes made necessary.
#[derive(Clone)]
pub(crate) struct Handle(Weak<Mutex<Stack>>);

impl Handle {
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Stack) -> R) -> Option<R> {
        let stack = self.0.upgrade()?;
        let mut stack = stack.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut stack);
        stack.finish();
        Some(result)
    }
}

pub(crate) struct Stack {
    pub(crate) options: UserOptions,
    /// This thread's loop.
    pub(crate) events: EventLoop,
    /// The machine's clocks: connections do not time out while it is stopped.
    clocks: Clocks,
    pub(crate) handle: Handle,
    pub(crate) link: Link,
    pub(crate) connections: HashMap<Key, Connection>,
    pub(crate) nat: Nat,
    pub(crate) forwards: Vec<Forward>,
    pub(crate) leases: Leases,
    pub(crate) resolver: Resolver,
    dirty: VecDeque<Key>,
    tick: Timer,
    ticking: bool,
    /// Initial sequence numbers; the guest is the only one who could guess.
    next_iss: u32,
}

impl Stack {
    pub(crate) fn new(options: UserOptions, events: &EventLoop, clocks: Clocks) -> Arc<Mutex<Stack>> {
        Arc::new_cyclic(|weak: &Weak<Mutex<Stack>>| {
            let handle = Handle(Weak::clone(weak));
            let ticker = handle.clone();
            Mutex::new(Stack {
                link: Link::new(options.host),
                leases: Leases::default(),
                nat: Nat::default(),
                resolver: Resolver::new(),
                forwards: Vec::new(),
                connections: HashMap::new(),
                dirty: VecDeque::new(),
                tick: events.timer(Clock::Realtime, move || {
                    ticker.with(Stack::tick);
                }),
                ticking: false,
                next_iss: 1,
                events: events.clone(),
                clocks,
                handle,
                options,
            })
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.clocks.now_ns(Clock::VirtualRt)
    }

    pub(crate) fn new_iss(&mut self) -> u32 {
        self.next_iss = self.next_iss.wrapping_add(64_000);
        self.next_iss
    }

    /// The host's address for one that the guest uses; `None` if the guest may not or cannot go there.
    pub(crate) fn to_host(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        if self.options.restrict {
            None
        } else if address == self.options.host {
            Some(Ipv4Addr::LOCALHOST)
        } else if self.options.contains(address)
            || address.is_loopback()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_unspecified()
        {
            None
        } else {
            Some(address)
        }
    }

    /// The guest's address for one that the host uses.
    pub(crate) fn to_guest(&self, address: Ipv4Addr) -> Ipv4Addr {
        if address.is_loopback() { self.options.host } else { address }
    }

    /// Takes a frame from the guest.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        let Some(ethernet) = Ethernet::read(frame) else { return };
        match ethernet.kind {
            wire::TYPE_ARP => {
                // One that is cut short has no answer.
                let _ = self.receive_arp(&ethernet);
            }
            wire::TYPE_IPV4 => {
                if let Some(ipv4) = Ipv4::read(ethernet.payload) {
                    self.receive_ipv4(&ethernet, &ipv4);
                }
            }
            _ => {}
        }
    }

    /// RFC 826: we answer for the gateway and the name server. Everything else on this network is the guest.
    fn receive_arp(&mut self, ethernet: &Ethernet<'_>) -> Option<()> {
        let arp = ethernet.payload;
        if arp.get(..6)? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        let operation = wire::u16_at(arp, 6)?;
        let sender_mac: wire::Mac = arp.get(8..14)?.try_into().ok()?;
        let (sender, target) = (wire::address_at(arp, 14)?, wire::address_at(arp, 24)?);
        if self.options.contains(sender) && !self.is_ours(sender) {
            self.link.learn(sender, sender_mac);
        }
        if operation == 1 && self.is_ours(target) && sender != target {
            self.send_arp(2, target, sender_mac, sender, sender_mac);
        }
        None
    }

    fn is_ours(&self, address: Ipv4Addr) -> bool {
        address == self.options.host || address == self.options.dns
    }

    fn send_arp(&mut self, operation: u8, own: Ipv4Addr, mac: wire::Mac, target: Ipv4Addr, to: wire::Mac) {
        let mut frame = Vec::with_capacity(60);
        wire::put_ethernet(&mut frame, to, self.link.mac(), wire::TYPE_ARP);
        frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
        frame.extend(self.link.mac());
        frame.extend(own.octets());
        frame.extend(if operation == 1 { [0; 6] } else { mac });
        frame.extend(target.octets());
        frame.resize(60, 0);
        self.link.send(frame);
    }

    /// Asks for the guest's hardware address if it is not known.
    pub(crate) fn ask_for(&mut self, guest: Ipv4Addr) {
        if self.link.neighbour(guest).is_none() {
            self.send_arp(1, self.options.host, [0; 6], guest, BROADCAST);
        }
    }

    fn receive_ipv4(&mut self, ethernet: &Ethernet<'_>, ipv4: &Ipv4<'_>) {
        if self.options.contains(ipv4.source) && !self.is_ours(ipv4.source) {
            self.link.learn(ipv4.source, ethernet.source);
        }
        if ipv4.fragment {
            return;
        }
        match ipv4.protocol {
            wire::PROTOCOL_UDP => {
                if let Some(udp) = Udp::read(ipv4.payload) {
                    self.receive_udp(ethernet, ipv4, &udp);
                }
            }
            // Hosts without an address of this network may only ask for one.
            _ if !self.options.contains(ipv4.source) || self.is_ours(ipv4.source) => {}
            wire::PROTOCOL_TCP => {
                if let Some(tcp) = wire::Tcp::read(ipv4.payload) {
                    self.receive_tcp(ipv4, &tcp);
                }
            }
            wire::PROTOCOL_ICMP => self.receive_icmp(ipv4),
            _ => {}
        }
    }

    fn receive_udp(&mut self, ethernet: &Ethernet<'_>, ipv4: &Ipv4<'_>, udp: &Udp<'_>) {
        let broadcast = ipv4.target.is_broadcast() || ipv4.target == self.options.broadcast();
        if udp.target == 67 && (broadcast || ipv4.target == self.options.host) {
            self.receive_dhcp(ethernet.source, udp.payload);
        } else if !self.options.contains(ipv4.source) || self.is_ours(ipv4.source) {
            // No address, no service.
        } else if ipv4.target == self.options.dns && udp.target == 53 {
            let ends = (SocketAddrV4::new(ipv4.target, 53), SocketAddrV4::new(ipv4.source, udp.source));
            if !self.options.restrict {
                self.receive_query(ends, udp.payload);
            }
        } else {
            self.forward_udp(ipv4, udp);
        }
    }

    /// Marks a connection as having something to do at the end of the burst.
    pub(crate) fn mark_dirty(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(&key)
            && !std::mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push_back(key);
        }
    }

    /// The card has room again.
    pub(crate) fn unblock(&mut self) {
        self.link.unblock();
    }

    /// Sends what has become possible, and sees to the timer.
    pub(crate) fn finish(&mut self) {
        let now = self.now();
        self.link.refresh();
        while !self.link.is_blocked()
            && let Some(key) = self.dirty.pop_front()
        {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            connection.dirty = false;
            let pumped = connection.pump(&mut self.link, now);
            connection.update_interest();
            if connection.state == super::tcp::State::Closed {
                self.connections.remove(&key);
            } else if pumped != Pumped::Done {
                self.mark_dirty(key);
                if pumped == Pumped::Blocked && !self.link.is_blocked() {
                    // Queued frames go first; they are waiting for room too.
                    break;
                }
            }
        }
        self.link.finish_burst();
        if !self.ticking && self.connections.values().any(|connection| connection.deadline.is_some()) {
            self.ticking = true;
            self.tick.arm(self.events.clocks().now_ns(Clock::Realtime) + TICK_NS);
        }
    }

    fn tick(&mut self) {
        self.ticking = false;
        let now = self.now();
        let due = |connection: &&mut Connection| connection.deadline.is_some_and(|deadline| deadline <= now);
        let mut keys = Vec::new();
        for connection in self.connections.values_mut().filter(due) {
            connection.time_out(&mut self.link, now);
            keys.push(connection.key);
        }
        keys.into_iter().for_each(|key| self.mark_dirty(key));
    }
}
