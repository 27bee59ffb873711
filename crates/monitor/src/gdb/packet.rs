//! Packets of the remote serial protocol ("Debugging with gdb", appendix E.1): `$data#checksum`, answered by `+` or
//! `-`; a byte 3 between packets is the interrupt key.

/// What the bytes that came in amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A packet with a right checksum; its data, unescaped.
    Packet(Vec<u8>),
    /// A packet with a wrong checksum: to be asked for again.
    Damaged,
    /// The other side asks for our last packet again.
    Again,
    /// The interrupt key.
    Interrupt,
}

/// Longest packet that is taken, in bytes; told to the other side as `PacketSize`.
pub const MAX_PACKET: usize = 4096;

/// Takes bytes one by one.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    data: Vec<u8>,
    sum: u8,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Data,
    Escape,
    Sum1,
    Sum2(u8),
}

impl Reader {
    /// Takes a byte; something is returned when it completes something.
    pub fn push(&mut self, byte: u8) -> Option<Incoming> {
        match self.state {
            State::Idle => match byte {
                b'$' => self.begin(),
                b'-' => return Some(Incoming::Again),
                3 => return Some(Incoming::Interrupt),
                _ => {}
            },
            State::Data => match byte {
                // A new packet has begun: the old one was cut short.
                b'$' => self.begin(),
                b'#' => self.state = State::Sum1,
                b'}' => {
                    self.sum = self.sum.wrapping_add(byte);
                    self.state = State::Escape;
                }
                _ => self.take(byte, byte),
            },
            State::Escape => {
                self.take(byte, byte ^ 0x20);
                self.state = State::Data;
            }
            State::Sum1 => self.state = State::Sum2(byte),
            State::Sum2(first) => {
                self.state = State::Idle;
                let data = std::mem::take(&mut self.data);
                let sum = hex_digit(first).zip(hex_digit(byte)).map(|(a, b)| a << 4 | b);
                let whole = sum == Some(self.sum) && data.len() <= MAX_PACKET;
                return Some(if whole { Incoming::Packet(data) } else { Incoming::Damaged });
            }
        }
        None
    }

    fn begin(&mut self) {
        self.data.clear();
        self.sum = 0;
        self.state = State::Data;
    }

    fn take(&mut self, raw: u8, byte: u8) {
        self.sum = self.sum.wrapping_add(raw);
        // One byte beyond the limit shows that it was passed.
        if self.data.len() <= MAX_PACKET {
            self.data.push(byte);
        }
    }
}

/// A packet round `data`, which may hold any bytes.
pub fn frame(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 4);
    out.push(b'$');
    for &byte in data {
        if matches!(byte, b'#' | b'$' | b'*' | b'}') {
            out.extend([b'}', byte ^ 0x20]);
        } else {
            out.push(byte);
        }
    }
    let sum = out[1..].iter().fold(0u8, |a, b| a.wrapping_add(*b));
    out.extend(format!("#{sum:02x}").bytes());
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|d| d as u8)
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hexadecimal digits as bytes; `None` if they are not such.
pub fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2).map(|c| Some(hex_digit(c[0])? << 4 | hex_digit(c[1])?)).collect()
}

/// A hexadecimal number.
pub fn hex_number(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
#[path = "packet_test.rs"]
mod test;
