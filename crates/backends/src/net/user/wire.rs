//! The few headers that the user network reads and writes: Ethernet II, ARP (RFC 826), IPv4 (RFC 791),
//! UDP (RFC 768), TCP (RFC 9293), ICMP (RFC 792).
//!
//! Readers return `None` for whatever is cut short. Checksums of what the guest sends are not looked at: the
//! frame came through memory, and a guest may be told to leave them open.

use std::net::Ipv4Addr;

pub(crate) type Mac = [u8; 6];

pub(crate) const ETHERNET: usize = 14;
pub(crate) const IPV4: usize = 20;
pub(crate) const TCP: usize = 20;
pub(crate) const UDP: usize = 8;
pub(crate) const TYPE_IPV4: u16 = 0x0800;
pub(crate) const TYPE_ARP: u16 = 0x0806;
pub(crate) const PROTOCOL_ICMP: u8 = 1;
pub(crate) const PROTOCOL_TCP: u8 = 6;
pub(crate) const PROTOCOL_UDP: u8 = 17;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    u32_at(bytes, at).map(Ipv4Addr::from)
}

/// An Ethernet frame.
pub(crate) struct Ethernet<'a> {
    pub(crate) source: Mac,
    pub(crate) kind: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    pub(crate) fn read(frame: &'a [u8]) -> Option<Ethernet<'a>> {
        Some(Ethernet {
            source: frame.get(6..12)?.try_into().ok()?,
            kind: u16_at(frame, 12)?,
            payload: frame.get(ETHERNET..)?,
        })
    }
}

/// An IPv4 packet without its options.
pub(crate) struct Ipv4<'a> {
    pub(crate) source: Ipv4Addr,
    pub(crate) target: Ipv4Addr,
    pub(crate) protocol: u8,
    /// It is a piece of a packet.
    pub(crate) fragment: bool,
    pub(crate) payload: &'a [u8],
    /// The packet from its header on, for quoting.
    pub(crate) whole: &'a [u8],
}

impl<'a> Ipv4<'a> {
    pub(crate) fn read(packet: &'a [u8]) -> Option<Ipv4<'a>> {
        let first = *packet.first()?;
        let header = usize::from(first & 15) * 4;
        let total = usize::from(u16_at(packet, 2)?);
        if first >> 4 != 4 || header < IPV4 || total < header {
            return None;
        }
        Some(Ipv4 {
            source: address_at(packet, 12)?,
            target: address_at(packet, 16)?,
            protocol: *packet.get(9)?,
            fragment: u16_at(packet, 6)? & 0x3fff != 0,
            payload: packet.get(header..total)?,
            whole: packet.get(..total)?,
        })
    }
}

/// A UDP datagram.
pub(crate) struct Udp<'a> {
    pub(crate) source: u16,
    pub(crate) target: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Udp<'a> {
    pub(crate) fn read(datagram: &'a [u8]) -> Option<Udp<'a>> {
        let len = usize::from(u16_at(datagram, 4)?);
        Some(Udp {
            source: u16_at(datagram, 0)?,
            target: u16_at(datagram, 2)?,
            payload: datagram.get(UDP..len)?,
        })
    }
}

/// A TCP segment with the two options that matter.
#[derive(Clone, Copy)]
pub(crate) struct Tcp<'a> {
    pub(crate) source: u16,
    pub(crate) target: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) maximum_segment: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Tcp<'a> {
    pub(crate) fn read(segment: &'a [u8]) -> Option<Tcp<'a>> {
        let header = usize::from(segment.get(12)? >> 4) * 4;
        let mut options = segment.get(TCP..header)?;
        let mut tcp = Tcp {
            source: u16_at(segment, 0)?,
            target: u16_at(segment, 2)?,
            sequence: u32_at(segment, 4)?,
            acknowledgment: u32_at(segment, 8)?,
            flags: *segment.get(13)?,
            window: u16_at(segment, 14)?,
            maximum_segment: None,
            window_scale: None,
            payload: segment.get(header..)?,
        };
        // RFC 9293 section 3.2: kind 0 ends, kind 1 is one byte, all others have a length.
        while let Some(kind) = options.first() {
            let len = match kind {
                0 => break,
                1 => 1,
                _ => usize::from(*options.get(1)?).max(2),
            };
            let option = options.get(..len)?;
            match kind {
                2 => tcp.maximum_segment = u16_at(option, 2),
                3 => tcp.window_scale = option.get(2).copied(),
                _ => {}
            }
            options = &options[len..];
        }
        Some(tcp)
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Adds bytes to a ones' complement sum (RFC 1071). All parts but the last must have an even length.
pub(crate) fn sum(start: u64, bytes: &[u8]) -> u64 {
    let mut total = 0u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().unwrap_or_default());
        let (added, carry) = total.overflowing_add(word);
        total = added + u64::from(carry);
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    let (added, carry) = total.overflowing_add(u64::from_ne_bytes(last));
    total = fold(added + u64::from(carry));
    // The sum does not depend on the byte order it was computed in, but for the order of its own bytes.
    start + u64::from(u16::from_be(total as u16))
}

fn fold(mut total: u64) -> u64 {
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

/// The checksum field for a sum.
pub(crate) fn finish(sum: u64) -> u16 {
    !(fold(sum) as u16)
}

/// The sum over the pseudo header of TCP and UDP.
pub(crate) fn pseudo_header(source: Ipv4Addr, target: Ipv4Addr, protocol: u8, len: usize) -> u64 {
    sum(sum(u64::from(protocol) + len as u64, &source.octets()), &target.octets())
}

/// Writes the Ethernet header at the start of an empty frame.
pub(crate) fn put_ethernet(frame: &mut Vec<u8>, target: Mac, source: Mac, kind: u16) {
    frame.extend(target);
    frame.extend(source);
    frame.extend(kind.to_be_bytes());
}

/// Writes an IPv4 header for `len` bytes of payload. `fragment` is the field of that name: offset and flags.
pub(crate) fn put_ipv4(
    frame: &mut Vec<u8>,
    (source, target): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    len: usize,
    (identification, fragment): (u16, u16),
) {
    let start = frame.len();
    frame.extend([0x45, 0]);
    frame.extend(((IPV4 + len) as u16).to_be_bytes());
    frame.extend(identification.to_be_bytes());
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0]);
    frame.extend(source.octets());
    frame.extend(target.octets());
    let checksum = finish(sum(0, &frame[start..]));
    frame[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// Do not fragment.
pub(crate) const DF: u16 = 0x4000;

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_sum_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(0, &bytes)), 0xddf2);
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).map(|index| (index * 37 + 200) as u8).collect();
            let slow = bytes.chunks(2).fold(0u64, |sum, pair| {
                sum + u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
            });
            assert_eq!(finish(sum(7, &bytes)), finish(slow + 7), "{len}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut frame = Vec::new();
        put_ethernet(&mut frame, [1; 6], [2; 6], TYPE_IPV4);
        let ends = (Ipv4Addr::new(10, 0, 2, 2), Ipv4Addr::new(10, 0, 2, 15));
        put_ipv4(&mut frame, ends, PROTOCOL_UDP, 3, (0, DF));
        frame.extend(b"abc");
        let ethernet = Ethernet::read(&frame).unwrap();
        let ipv4 = Ipv4::read(ethernet.payload).unwrap();
        assert_eq!((ipv4.source, ipv4.target, ipv4.payload), (ends.0, ends.1, &b"abc"[..]));
        assert!(!ipv4.fragment);
        assert_eq!(finish(sum(0, &frame[ETHERNET..ETHERNET + IPV4])), 0);
        for len in 0..frame.len() {
            let cut = Ethernet::read(&frame[..len]).and_then(|ethernet| Ipv4::read(ethernet.payload));
            assert!(cut.is_none());
        }
    }
}
