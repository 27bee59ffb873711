//! The Internet checksum (RFC 1071), and where the headers of a frame lie.

/// The sum of 16-bit words, most significant byte first, added to `start`.
pub fn sum(start: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total = u64::from(start);
    for word in words {
        total += u64::from(u32::from_be_bytes(*word));
    }
    let (pairs, last) = rest.as_chunks::<2>();
    for pair in pairs {
        total += u64::from(u16::from_be_bytes(*pair));
    }
    if let [byte] = last {
        total += u64::from(*byte) << 8;
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u32
}

/// The field for a sum.
pub fn finish(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Two bytes, most significant first; 0 beyond the end.
pub fn read16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at.saturating_add(2)) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// Writes two bytes, most significant first, if they lie in the frame.
pub fn write16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..at.saturating_add(2)) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// Sums from `start` up to `end` (or the frame's end, if that is 0) and stores the checksum at `at`, which holds the
/// sum over the pseudo header or nothing.
pub fn fill(frame: &mut [u8], start: usize, at: usize, end: usize) {
    let end = if end == 0 { frame.len() } else { frame.len().min(end) };
    if let Some(part) = frame.get(start..end) {
        let checksum = finish(sum(0, part));
        write16(frame, at, checksum);
    }
}

/// TCP's number among the protocols of IP.
pub const TCP: u8 = 6;
/// UDP's.
pub const UDP: u8 = 17;

/// Where the headers of a frame lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// IP's header.
    pub ip: usize,
    /// Whether that is version 4.
    pub v4: bool,
    /// TCP or UDP.
    pub protocol: u8,
    /// Where its header begins; 0 for other protocols and for fragments.
    pub transport: usize,
    /// Where the packet ends; padding of the frame may follow.
    pub end: usize,
}

impl Layers {
    /// Looks into an Ethernet frame without a tag.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let ip = 14;
        let (v4, header, protocol, length, fragment) = match read16(frame, 12) {
            0x0800 => {
                let first = *frame.get(ip)?;
                let header = usize::from(first & 0xf) * 4;
                if first >> 4 != 4 || header < 20 {
                    return None;
                }
                let fragment = read16(frame, ip + 6) & 0x3fff != 0;
                (true, header, *frame.get(ip + 9)?, usize::from(read16(frame, ip + 2)), fragment)
            }
            0x86dd => (false, 40, *frame.get(ip + 6)?, 40 + usize::from(read16(frame, ip + 4)), false),
            _ => return None,
        };
        let end = ip + length;
        if length < header || end > frame.len() {
            return None;
        }
        let least = match protocol {
            TCP => 20,
            UDP => 8,
            _ => usize::MAX,
        };
        let whole = !fragment && length - header >= least;
        Some(Self { ip, v4, protocol, transport: if whole { ip + header } else { 0 }, end })
    }

    /// Bytes of all headers, up to what TCP or UDP carries.
    pub fn headers(&self, frame: &[u8]) -> usize {
        match (self.transport, self.protocol) {
            (0, _) => self.ip + if self.v4 { 20 } else { 40 },
            (at, TCP) => at + usize::from(frame.get(at + 12).map_or(5, |byte| byte >> 4)) * 4,
            (at, _) => at + 8,
        }
    }

    /// Whether the header of IPv4 adds up.
    pub fn header_is_right(&self, frame: &[u8]) -> bool {
        let end = if self.transport == 0 { self.ip + 20 } else { self.transport };
        !self.v4 || frame.get(self.ip..end).is_some_and(|header| finish(sum(0, header)) == 0)
    }

    /// Whether the checksum of TCP or UDP is right; none is.
    pub fn transport_is_right(&self, frame: &[u8]) -> bool {
        let length = self.end.saturating_sub(self.transport);
        let addresses = if self.v4 { self.ip + 12..self.ip + 20 } else { self.ip + 8..self.ip + 40 };
        let pseudo = sum(u32::from(self.protocol) + length as u32, frame.get(addresses).unwrap_or_default());
        let absent = self.protocol == UDP && read16(frame, self.transport + 6) == 0;
        absent || frame.get(self.transport..self.end).is_some_and(|all| finish(sum(pseudo, all)) == 0)
    }
}

#[cfg(test)]
#[path = "checksum_test.rs"]
mod test;
