//! The DHCP server (RFC 2131, options RFC 2132).

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::stack::Stack;
use super::wire::{self, Mac};

/// Where the options begin: behind the fixed part and the magic cookie.
const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const LEASE_SECONDS: u32 = 86_400;
/// One guest needs one address; a few more serve those behind a bridge in it.
const LEASE_LIMIT: usize = 16;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACKNOWLEDGE: u8 = 5;
const REFUSE: u8 = 6;
const INFORM: u8 = 8;

/// Who has which address.
#[derive(Default)]
pub(crate) struct Leases(HashMap<Mac, Ipv4Addr>);

/// What of a request matters.
struct Request<'a> {
    fixed: &'a [u8],
    kind: u8,
    client: Mac,
    /// The address it has.
    own: Ipv4Addr,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

impl<'a> Request<'a> {
    fn read(message: &'a [u8]) -> Option<Request<'a>> {
        if message.first()? != &1 || message.get(236..OPTIONS)? != COOKIE {
            return None;
        }
        let mut request = Request {
            fixed: message.get(..OPTIONS)?,
            kind: 0,
            client: message.get(28..34)?.try_into().ok()?,
            own: wire::address_at(message, 12)?,
            requested: None,
            server: None,
        };
        let mut rest = message.get(OPTIONS..)?;
        while let Some(code) = rest.first() {
            match code {
                0 => rest = &rest[1..],
                255 => break,
                _ => {
                    let len = usize::from(*rest.get(1)?);
                    let value = rest.get(2..2 + len)?;
                    match code {
                        50 => request.requested = wire::address_at(value, 0),
                        53 => request.kind = *value.first()?,
                        54 => request.server = wire::address_at(value, 0),
                        _ => {}
                    }
                    rest = &rest[2 + len..];
                }
            }
        }
        Some(request)
    }
}

impl Stack {
    pub(crate) fn receive_dhcp(&mut self, from: Mac, message: &[u8]) {
        let Some(request) = Request::read(message) else { return };
        let address = match request.kind {
            INFORM => Some(request.own),
            DISCOVER | REQUEST => self.lease(request.client),
            _ => return,
        };
        // A request to another server is none of ours.
        if request.server.is_some_and(|server| server != self.options.host) {
            return;
        }
        let Some(address) = address else { return };
        let wanted = request.requested.or(Some(request.own).filter(|own| !own.is_unspecified()));
        let kind = match request.kind {
            DISCOVER => OFFER,
            REQUEST if wanted.is_some_and(|wanted| wanted != address) => REFUSE,
            _ => ACKNOWLEDGE,
        };
        let reply = self.dhcp_reply(&request, kind, address);
        let unicast = kind != REFUSE && request.kind == INFORM;
        let target = if unicast { address } else { Ipv4Addr::BROADCAST };
        // Until the guest has its address it can only be reached by broadcast or by its hardware address.
        self.link.learn(address, request.client);
        self.link.learn(Ipv4Addr::BROADCAST, from);
        let ends = (SocketAddrV4::new(self.options.host, 67), SocketAddrV4::new(target, 68));
        self.link.send_udp(ends, &reply);
    }

    fn lease(&mut self, client: Mac) -> Option<Ipv4Addr> {
        if let Some(address) = self.leases.0.get(&client) {
            return Some(*address);
        }
        if self.leases.0.len() >= LEASE_LIMIT {
            return None;
        }
        let options = &self.options;
        let free = (0..LEASE_LIMIT as u32 * 2)
            .map(|offset| Ipv4Addr::from(u32::from(options.dhcp_start).wrapping_add(offset)))
            .find(|address| {
                let usable = options.contains(*address) && *address != options.broadcast();
                usable
                    && *address != options.host
                    && *address != options.dns
                    && !self.leases.0.values().any(|lease| lease == address)
            })?;
        self.leases.0.insert(client, free);
        Some(free)
    }

    fn dhcp_reply(&self, request: &Request<'_>, kind: u8, address: Ipv4Addr) -> Vec<u8> {
        let options = &self.options;
        let mut reply = request.fixed.to_vec();
        // Everything but the transaction, the flags and the client's hardware address is the server's.
        reply[0] = 2;
        reply[3] = 0;
        reply[8..10].fill(0);
        reply[12..28].fill(0);
        reply[44..236].fill(0);
        if kind != REFUSE {
            reply[16..20].copy_from_slice(&address.octets());
        }
        if request.kind == INFORM {
            reply[12..20].fill(0);
            reply[12..16].copy_from_slice(&address.octets());
        }
        reply[20..24].copy_from_slice(&options.host.octets());
        let mut put = |code: u8, value: &[u8]| {
            let value = &value[..value.len().min(255)];
            reply.extend([code, value.len() as u8]);
            reply.extend(value);
        };
        put(53, &[kind]);
        put(54, &options.host.octets());
        if kind != REFUSE {
            put(1, &options.mask().octets());
            if !options.restrict {
                put(3, &options.host.octets());
                put(6, &options.dns.octets());
            }
            if request.kind != INFORM {
                put(51, &LEASE_SECONDS.to_be_bytes());
            }
            if let Some(name) = &options.hostname {
                put(12, name.as_bytes());
            }
            if let Some(domain) = &options.domain_name {
                put(15, domain.as_bytes());
            }
            if !options.dns_search.is_empty() {
                put(119, &search_list(&options.dns_search));
            }
            if let Some(server) = &options.tftp_server_name {
                put(66, server.as_bytes());
            }
            if let Some(file) = &options.bootfile {
                put(67, file.as_bytes());
            }
        }
        reply.push(255);
        // RFC 1542 section 2.1: relays expect no less.
        reply.resize(reply.len().max(300), 0);
        reply
    }
}

/// RFC 3397: domain names in the form of DNS, here without compression.
fn search_list(domains: &[String]) -> Vec<u8> {
    let mut list = Vec::new();
    for domain in domains {
        for label in domain.split('.').filter(|label| !label.is_empty()) {
            let label = &label.as_bytes()[..label.len().min(63)];
            list.push(label.len() as u8);
            list.extend(label);
        }
        list.push(0);
    }
    list
}
