//! Receiving (7.1): filters, checksums, and frames spread over the buffers of a ring, whose descriptors come in three
//! forms. The second queue is filled by receive-side scaling only, which is left out.

use std::sync::atomic::{Ordering, fence};

use backends::net::FrameOffload;
use base::Bits;
use memory::Dma;

use super::registers::at;
use super::ring::Ring;
use super::statistics::count;
use super::{E1000e, interrupts::cause, trace};
use crate::net::checksum::{Layers, TCP, UDP, fill, finish, read16, sum};

/// Bits of RCTL.
mod control {
    pub const ENABLE: u32 = 1 << 1;
    pub const UNICAST_ALL: u32 = 1 << 3;
    pub const MULTICAST_ALL: u32 = 1 << 4;
    pub const LONG: u32 = 1 << 5;
    pub const LOOPBACK: u32 = 1 << 6;
    pub const SPLIT: u32 = 1 << 10;
    pub const BROADCAST: u32 = 1 << 15;
    pub const VLAN_FILTER: u32 = 1 << 18;
    pub const LARGE_BUFFERS: u32 = 1 << 25;
    pub const STRIP_CRC: u32 = 1 << 26;
}

const RFCTL_EXTENDED: u32 = 1 << 15;
const CTRL_VLAN: u32 = 1 << 30;
const RXCSUM_IP: u32 = 1 << 8;
const RXCSUM_TRANSPORT: u32 = 1 << 9;
const RXCSUM_NO_PACKET_SUM: u32 = 1 << 13;
/// An address of the filter counts.
const ADDRESS_VALID: u32 = 1 << 31;

/// Bits of the status in a descriptor; errors lie above it.
mod status {
    pub const DONE: u32 = 1 << 0;
    pub const END: u32 = 1 << 1;
    pub const NO_CHECKSUMS: u32 = 1 << 2;
    pub const VLAN: u32 = 1 << 3;
    pub const UDP: u32 = 1 << 4;
    pub const TCP: u32 = 1 << 5;
    pub const IP: u32 = 1 << 6;
    pub const INEXACT: u32 = 1 << 7;
    pub const TRANSPORT_ERROR: u32 = 1 << 29;
    pub const IP_ERROR: u32 = 1 << 30;
}

/// The longest frame with and without long ones allowed, check sequence included and a tag not.
const LONGEST: usize = 1518;
const LONGEST_LONG: usize = 16 << 10;
const CRC: usize = 4;

/// Which form descriptors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Legacy,
    Extended,
    Split,
}

/// What a descriptor says of a frame.
#[derive(Clone, Copy, Debug, Default)]
struct Verdict {
    status: u32,
    tag: u16,
    sum: u16,
    headers: usize,
}

/// Frame check sequence (IEEE 802.3, 3.2.9).
fn crc(frame: &[u8]) -> u32 {
    !frame.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 != 0 { 0xedb8_8320 } else { 0 })
    })
}

impl E1000e {
    /// Whether what is sent comes back, by the MAC or by the transceiver.
    pub(super) fn loops_back(&self) -> bool {
        self.regs.file.get(at::RCTL) & control::LOOPBACK != 0 || self.regs.phy.loops_back()
    }

    fn form(&self) -> Form {
        let rctl = self.regs.file.get(at::RCTL);
        match self.regs.file.get(at::RFCTL) & RFCTL_EXTENDED != 0 {
            false => Form::Legacy,
            true if rctl & control::SPLIT != 0 => Form::Split,
            true => Form::Extended,
        }
    }

    fn receive_ring(&self) -> Option<Ring> {
        let step = if self.form() == Form::Split { 2 } else { 1 };
        Ring::of(&self.regs.file, at::RDBAL, step)
    }

    /// The sizes of the buffers that a descriptor names.
    fn buffer_sizes(&self, form: Form) -> [usize; 4] {
        if form == Form::Split {
            let split = self.regs.file.get(at::PSRCTL);
            let kilobytes = |from| split.bits(from, 6) as usize * 1024;
            return [split.bits(0, 7) as usize * 128, kilobytes(8), kilobytes(16), kilobytes(24)];
        }
        let rctl = self.regs.file.get(at::RCTL);
        let size = match (rctl.bits(27, 4), rctl.bits(16, 2)) {
            (0, 0) => 2048,
            (0, n) if rctl & control::LARGE_BUFFERS != 0 => 32768 >> n,
            (0, n) => 2048 >> n,
            (flexible, _) => 1024 * flexible,
        };
        [size as usize, 0, 0, 0]
    }

    /// Whether a frame would find room. Frames that nobody waits for are taken, and lost.
    pub(super) fn can_receive(&mut self) -> bool {
        let waits = self.has_link() && self.regs.file.get(at::RCTL) & control::ENABLE != 0;
        let able = !waits || self.receive_ring().is_none_or(|ring| !ring.is_empty());
        self.starved = !able;
        able
    }

    /// Takes a frame; false if it has to wait for buffers.
    pub(super) fn receive(&mut self, frame: &[u8], offload: FrameOffload) -> bool {
        base::trace!(trace::RECEIVE, "bytes {}", frame.len());
        let rctl = self.regs.file.get(at::RCTL);
        let connected = self.has_link() || self.loops_back();
        let (true, Some(dma)) = (connected && rctl & control::ENABLE != 0, self.pci.dma()) else {
            return true;
        };
        let Some(exact) = self.wants(frame, rctl) else { return true };
        let tag_type = self.regs.file.get(at::VET) as u16;
        let tagged = read16(frame, 12) == tag_type;
        let longest =
            if rctl & control::LONG != 0 { LONGEST_LONG } else { LONGEST } + if tagged { 4 } else { 0 };
        if frame.len() + CRC > longest {
            self.regs.statistics.one(count::OVERSIZE);
            return true;
        }
        let mut bytes = frame.to_vec();
        let mut verdict = Verdict::default();
        if tagged && self.regs.file.get(at::CTRL) & CTRL_VLAN != 0 {
            verdict.tag = read16(frame, 14);
            verdict.status |= status::VLAN;
            bytes.drain(12..16);
        }
        if !exact {
            verdict.status |= status::INEXACT;
        }
        self.judge(&mut bytes, offload, &mut verdict);
        bytes.resize(bytes.len().max(60), 0);
        let length = bytes.len() + CRC;
        if rctl & control::STRIP_CRC == 0 {
            let sequence = crc(&bytes);
            bytes.extend_from_slice(&sequence.to_le_bytes());
        }
        let taken = self.deliver(&dma, &bytes, &verdict);
        if taken {
            self.regs.statistics.received(frame, length);
        }
        taken
    }

    /// Whether the frame passes the filters (7.1.1), and whether by an exact match.
    fn wants(&self, frame: &[u8], rctl: u32) -> Option<bool> {
        let (target, _) = frame.split_first_chunk::<6>()?;
        let file = &self.regs.file;
        if rctl & control::VLAN_FILTER != 0 && read16(frame, 12) == file.get(at::VET) as u16 {
            let vlan = u32::from(read16(frame, 14) & 0xfff);
            if !file.get(at::VFTA + vlan / 32 * 4).bit(vlan % 32) {
                return None;
            }
        }
        let [a, b, c, d, e, f] = *target;
        let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from(u16::from_le_bytes([e, f])));
        let exact = (0..16).any(|n| {
            let entry = file.get(at::RAL + 8 * n + 4);
            entry & ADDRESS_VALID != 0 && entry & 0xffff == high && file.get(at::RAL + 8 * n) == low
        });
        if exact || *target == [0xff; 6] && rctl & control::BROADCAST != 0 {
            return Some(true);
        }
        if a & 1 == 0 {
            return (rctl & control::UNICAST_ALL != 0).then_some(false);
        }
        let shift = match rctl.bits(12, 2) {
            0 => 4,
            1 => 3,
            2 => 2,
            _ => 0,
        };
        let hash = high >> shift & 0xfff;
        let hit = file.get(at::MTA + hash / 32 * 4).bit(hash % 32);
        (rctl & control::MULTICAST_ALL != 0 || hit).then_some(false)
    }

    /// Computes the checksums that the back end has left open, or else looks whether they are right.
    fn judge(&self, frame: &mut [u8], offload: FrameOffload, verdict: &mut Verdict) {
        let layers = Layers::of(frame);
        let open = offload.checksum.map(|(start, offset)| (usize::from(start), usize::from(offset)));
        if let Some((start, offset)) = open {
            let end = layers.as_ref().map_or(0, |layers| layers.end);
            fill(frame, start, start + offset, end);
        }
        let wanted = self.regs.file.get(at::RXCSUM);
        if wanted & RXCSUM_NO_PACKET_SUM == 0 {
            let from = frame.get(wanted.bits(0, 8) as usize..).unwrap_or_default();
            verdict.sum = !finish(sum(0, from));
        }
        let Some(layers) = layers else {
            verdict.status |= status::NO_CHECKSUMS;
            return;
        };
        verdict.headers = layers.headers(frame);
        if wanted & RXCSUM_IP != 0 && layers.v4 {
            verdict.status |= status::IP;
            if !layers.header_is_right(frame) {
                verdict.status |= status::IP_ERROR;
            }
        }
        if wanted & RXCSUM_TRANSPORT != 0 && layers.transport != 0 {
            verdict.status |= match layers.protocol {
                UDP if read16(frame, layers.transport + 6) == 0 => return,
                UDP => status::UDP | status::TCP,
                TCP => status::TCP,
                _ => return,
            };
            if open.is_none() && !layers.transport_is_right(frame) {
                verdict.status |= status::TRANSPORT_ERROR;
            }
        }
    }

    /// Puts a frame into buffers; false if there are too few at the moment.
    fn deliver(&mut self, dma: &Dma, frame: &[u8], verdict: &Verdict) -> bool {
        let form = self.form();
        let sizes = self.buffer_sizes(form);
        let room: usize = sizes.iter().sum();
        let Some(mut ring) = self.receive_ring() else { return true };
        // The first descriptor may hold less, if headers go into a buffer of their own.
        let needed = match form {
            _ if room == 0 => u32::MAX,
            Form::Split => (frame.len() + sizes.first().copied().unwrap_or(0)).div_ceil(room) as u32,
            _ => frame.len().div_ceil(room) as u32,
        };
        if needed > ring.filled() {
            self.regs.statistics.one(count::NO_BUFFER);
            if needed >= ring.size() {
                base::guest_error!(
                    "e1000e: a frame of {} bytes does not fit into the whole ring",
                    frame.len()
                );
                self.regs.statistics.one(count::MISSED);
                return true;
            }
            self.starved = true;
            return false;
        }
        let mut rest = frame;
        let mut first = true;
        while !rest.is_empty() && !ring.is_empty() {
            let done = match form {
                Form::Split => spread(dma, ring.address(), rest, &sizes, verdict, first),
                _ => put(dma, ring.address(), rest, room, verdict, form == Form::Extended),
            };
            let Some(after) = done else {
                base::guest_error!("e1000e: a receive buffer or the ring is not in memory");
                return true;
            };
            rest = after;
            first = false;
            ring.advance();
        }
        ring.store(&mut self.regs.file);
        self.received |= cause::RXT0 | cause::RXQ0;
        let threshold = ring.size() >> (1 + self.regs.file.get(at::RCTL).bits(8, 2));
        if ring.filled() <= threshold {
            self.received |= cause::RXDMT0;
        }
        true
    }

    /// No more frames for the moment.
    pub(super) fn burst_done(&mut self) {
        let news = std::mem::take(&mut self.received);
        if news != 0 {
            self.cause(news);
        }
    }
}

/// Fills the one buffer of a legacy or an extended descriptor; returns what is left of the frame.
fn put<'a>(
    dma: &Dma,
    at: u64,
    frame: &'a [u8],
    room: usize,
    verdict: &Verdict,
    extended: bool,
) -> Option<&'a [u8]> {
    let mut address = [0; 8];
    dma.read(at, &mut address).ok()?;
    let address = u64::from_le_bytes(address);
    let (now, rest) = frame.split_at(frame.len().min(room));
    // A null descriptor is passed over (7.1.7.2).
    if address != 0 {
        dma.write(address, now).ok()?;
    }
    let end = if rest.is_empty() { verdict.status | status::END } else { 0 };
    let status = end | status::DONE;
    let (length, tag) = (now.len() as u64, u64::from(verdict.tag) << 48);
    let (low, high) = if extended {
        (u64::from(verdict.sum) << 48, u64::from(status) | length << 32 | tag)
    } else {
        let byte = u64::from(status & 0xff) << 32 | u64::from(status >> 24) << 40;
        (address, length | u64::from(verdict.sum) << 16 | byte | tag)
    };
    dma.write(at, &low.to_le_bytes()).ok()?;
    fence(Ordering::Release);
    dma.write(at.wrapping_add(8), &high.to_le_bytes()).ok()?;
    Some(rest)
}

/// Fills the buffers of a packet-split descriptor (7.1.10), the headers in the first of their own if they fit there.
fn spread<'a>(
    dma: &Dma,
    at: u64,
    frame: &'a [u8],
    sizes: &[usize; 4],
    verdict: &Verdict,
    first: bool,
) -> Option<&'a [u8]> {
    let mut bytes = [0; 32];
    dma.read(at, &mut bytes).ok()?;
    let (addresses, _) = bytes.as_chunks::<8>();
    let [header_room, others @ ..] = *sizes;
    let split = first && (1..=header_room).contains(&verdict.headers) && verdict.headers <= frame.len();
    let rooms = [if split { verdict.headers } else { header_room }].into_iter().chain(others);
    let (mut rest, mut lengths) = (frame, [0u16; 4]);
    for ((address, room), length) in addresses.iter().zip(rooms).zip(&mut lengths) {
        let (now, after) = rest.split_at(rest.len().min(room));
        if !now.is_empty() {
            dma.write(u64::from_le_bytes(*address), now).ok()?;
        }
        *length = now.len() as u16;
        rest = after;
    }
    let end = if rest.is_empty() { verdict.status | status::END } else { 0 };
    let [length, more @ ..] = lengths;
    let headers = if split { verdict.headers as u64 | 0x8000 } else { 0 };
    let lengths = more.iter().rev().fold(0, |all, length| all << 16 | u64::from(*length));
    let high = u64::from(end | status::DONE) | u64::from(length) << 32 | u64::from(verdict.tag) << 48;
    for (offset, value) in [(0, u64::from(verdict.sum) << 48), (16, headers | lengths << 16), (24, 0)] {
        dma.write(at.wrapping_add(offset), &value.to_le_bytes()).ok()?;
    }
    fence(Ordering::Release);
    dma.write(at.wrapping_add(8), &high.to_le_bytes()).ok()?;
    Some(rest)
}
