//! Sending (7.2, 7.3): descriptors become frames; checksums and TCP segmentation are done here or left to the back end.
//!
//! tail register -> `transmit` -> `take` each descriptor -> `finish` each frame -> `emit` -> the network.

use backends::net::FrameOffload;
use base::Bits;
use memory::Dma;
use state::State;

use super::registers::{SECOND, at};
use super::ring::Ring;
use super::statistics::count;
use super::{E1000e, interrupts::cause, trace};
use crate::net::checksum::{fill, finish, read16, write16};

/// Descriptors taken at once; a driver that fills the ring as fast as it is emptied does not keep its processor here.
const BURST: usize = 256;
/// The longest frame: headers, and 64 KiB to be cut into segments.
const MAX_FRAME: usize = 66 << 10;
/// The longest frame that goes out whole.
const MAX_WHOLE: usize = 16 << 10;

const TCTL_ENABLE: u32 = 1 << 1;
const TARC_ENABLE: u32 = 1 << 10;
const CTRL_VLAN: u32 = 1 << 30;

/// Bits of a descriptor's command.
mod command {
    pub const END: u8 = 1 << 0;
    /// Legacy: insert a checksum. Extended: segment.
    pub const CHECKSUM: u8 = 1 << 2;
    pub const SEGMENT: u8 = 1 << 2;
    pub const REPORT: u8 = 1 << 3;
    pub const EXTENDED: u8 = 1 << 5;
    pub const VLAN: u8 = 1 << 6;
    /// In a context: TCP rather than UDP, IPv4 rather than IPv6.
    pub const TCP: u8 = 1 << 0;
    pub const V4: u8 = 1 << 1;
}

/// Options of an extended descriptor.
const IP_CHECKSUM: u8 = 1;
const TRANSPORT_CHECKSUM: u8 = 2;

/// What a context descriptor says of the frames that follow (7.2.10.1).
#[derive(Clone, Copy, Debug, Default, State)]
#[state(name = "e1000e-context")]
pub struct Context {
    ip_start: u8,
    ip_at: u8,
    ip_end: u16,
    start: u8,
    place: u8,
    end: u16,
    command: u8,
    header: u8,
    segment: u16,
}

impl Context {
    fn of(low: u64, high: u64) -> Self {
        Self {
            ip_start: low as u8,
            ip_at: (low >> 8) as u8,
            ip_end: (low >> 16) as u16,
            start: (low >> 32) as u8,
            place: (low >> 40) as u8,
            end: (low >> 48) as u16,
            command: (high >> 24) as u8,
            header: (high >> 40) as u8,
            segment: (high >> 48) as u16,
        }
    }

    /// Where sums end, as [`fill`] takes it; the registers name the last byte.
    fn end(last: u16) -> usize {
        if last == 0 { 0 } else { usize::from(last) + 1 }
    }

    fn fill_ip(&self, frame: &mut [u8]) {
        fill(frame, self.ip_start.into(), self.ip_at.into(), Self::end(self.ip_end));
    }

    /// Gives headers the lengths of their packet, and adds the length to the sum over the pseudo header.
    fn set_lengths(&self, frame: &mut [u8]) {
        let (ip, transport) = (usize::from(self.ip_start), usize::from(self.start));
        let length = |from: usize, all: usize| all.saturating_sub(from) as u16;
        let all = frame.len();
        if self.command & command::V4 != 0 {
            write16(frame, ip + 2, length(ip, all));
            write16(frame, usize::from(self.ip_at), 0);
            self.fill_ip(frame);
        } else {
            write16(frame, ip + 4, length(ip + 40, all));
        }
        let carried = length(transport, all);
        if self.command & command::TCP == 0 {
            write16(frame, transport + 4, carried);
        }
        let pseudo = read16(frame, self.place.into());
        write16(frame, self.place.into(), !finish(u32::from(pseudo) + u32::from(carried)));
    }
}

/// What a queue remembers between descriptors.
#[derive(Clone, Debug, Default, State)]
#[state(name = "e1000e-transmitter")]
pub struct Transmitter {
    context: Context,
    /// The frame so far.
    frame: Vec<u8>,
    /// What its descriptors ask for.
    options: u8,
    segment: bool,
    tag: Option<u16>,
    /// It is longer than any frame can be, and is lost.
    too_long: bool,
}

/// A frame that is complete.
struct Outgoing {
    bytes: Vec<u8>,
    tag: Option<u16>,
    offload: FrameOffload,
}

impl E1000e {
    /// Takes what the driver has put into a ring.
    pub(super) fn transmit(&mut self, queue: u32) {
        let registers = at::TDBAL + SECOND * queue;
        let enabled = self.regs.file.get(at::TCTL) & TCTL_ENABLE != 0
            && self.regs.file.get(at::TARC + SECOND * queue) & TARC_ENABLE != 0;
        let (true, Some(dma)) = (enabled, self.pci.dma()) else { return };
        let Some(mut ring) = Ring::of(&self.regs.file, registers, 1) else { return };
        let mut news = 0;
        for _ in 0..BURST {
            if ring.is_empty() {
                break;
            }
            let Ok(descriptor) = read_descriptor(&dma, ring.address()) else {
                base::guest_error!("e1000e: transmit ring {queue} is not in memory");
                return;
            };
            let command = (descriptor >> 88) as u8;
            self.take(queue, &dma, descriptor);
            if command & command::REPORT != 0 {
                // Descriptor done: in the byte behind length, offset and command.
                let _ = dma.write(ring.address().wrapping_add(12), &[(descriptor >> 96) as u8 | 1]);
                news |= cause::TXDW | cause::TXQ0 << queue;
            }
            ring.advance();
        }
        ring.store(&mut self.regs.file);
        if ring.is_empty() {
            news |= cause::TXQE;
        } else {
            self.transmit_later(queue);
        }
        self.cause(news);
    }

    fn transmit_later(&self, queue: u32) {
        let this = self.this.clone();
        if let Some(events) = &self.events {
            events.defer(move || {
                if let Some(cell) = this.upgrade() {
                    cell.with(|card| card.transmit(queue));
                }
            });
        }
    }

    /// One descriptor.
    fn take(&mut self, queue: u32, dma: &Dma, descriptor: u128) {
        let (low, high) = (descriptor as u64, (descriptor >> 64) as u64);
        let Some(sender) = self.regs.senders.get_mut(queue as usize) else { return };
        let command = (high >> 24) as u8;
        let extended = command & command::EXTENDED != 0;
        if extended && high.bits(20, 4) == 0 {
            sender.context = Context::of(low, high);
            return;
        }
        let length = if extended { high.bits(0, 20) } else { high.bits(0, 16) } as usize;
        if extended {
            sender.options |= (high >> 40) as u8 & (IP_CHECKSUM | TRANSPORT_CHECKSUM);
            sender.segment |= command & command::SEGMENT != 0;
        }
        if command & command::VLAN != 0 {
            sender.tag = Some((high >> 48) as u16);
        }
        if sender.too_long || sender.frame.len() + length > MAX_FRAME {
            sender.too_long = true;
        } else {
            let before = sender.frame.len();
            sender.frame.resize(before + length, 0);
            let part = sender.frame.get_mut(before..).unwrap_or_default();
            if dma.read(low, part).is_err() {
                base::guest_error!("e1000e: a frame at {low:#x} is not in memory");
            }
        }
        if command & command::END == 0 {
            return;
        }
        let ended = Transmitter { context: sender.context, ..Transmitter::default() };
        let mut ended = std::mem::replace(sender, ended);
        if !extended && command & command::CHECKSUM != 0 {
            fill(&mut ended.frame, high.bits(40, 8) as usize, high.bits(16, 8) as usize, 0);
        }
        self.finish(ended);
    }

    /// A frame has ended.
    fn finish(&mut self, sender: Transmitter) {
        let Transmitter { context, mut frame, options, segment, tag, too_long } = sender;
        if too_long || frame.len() < 14 || !segment && frame.len() > MAX_WHOLE {
            base::guest_error!("e1000e: a frame of {} bytes is too short or too long", frame.len());
            return;
        }
        let tag = tag.filter(|_| self.regs.file.get(at::CTRL) & CTRL_VLAN != 0);
        let able = self.peer.as_ref().map(|peer| peer.offloads()).unwrap_or_default();
        let left = tag.is_none() && !self.loops_back();
        let open = (u16::from(context.start), u16::from(context.place.wrapping_sub(context.start)));
        if segment {
            self.regs.statistics.one(count::SENT_SEGMENTED);
            let both = command::TCP | command::V4;
            let large = frame.len() <= 0xffff && context.segment != 0;
            if left && large && able.tso4 && able.checksum && context.command & both == both {
                context.set_lengths(&mut frame);
                let offload = FrameOffload { checksum: Some(open), segment: Some(context.segment) };
                self.emit(Outgoing { bytes: frame, tag, offload });
            } else {
                self.cut(&context, &frame, options, tag);
            }
            return;
        }
        if options & IP_CHECKSUM != 0 {
            context.fill_ip(&mut frame);
        }
        let mut offload = FrameOffload::default();
        if options & TRANSPORT_CHECKSUM != 0 {
            let inside = context.place > context.start && usize::from(context.place) + 2 <= frame.len();
            if left && able.checksum && context.end == 0 && inside {
                offload.checksum = Some(open);
            } else {
                fill(&mut frame, context.start.into(), context.place.into(), Context::end(context.end));
            }
        }
        self.emit(Outgoing { bytes: frame, tag, offload });
    }

    /// Cuts a frame into segments (7.3.4).
    fn cut(&mut self, context: &Context, frame: &[u8], options: u8, tag: Option<u16>) {
        let header = usize::from(context.header);
        let Some((header, payload)) = frame.split_at_checked(header) else { return };
        if context.segment == 0
            || header.len() < 14
            || header.len() + usize::from(context.segment) > MAX_WHOLE
        {
            base::guest_error!("e1000e: segments of {} bytes cannot be", context.segment);
            return;
        }
        let transport = usize::from(context.start);
        let identification = read16(header, usize::from(context.ip_start) + 4);
        let sequence =
            u32::from(read16(header, transport + 4)) << 16 | u32::from(read16(header, transport + 6));
        let pieces = payload.chunks(context.segment.into());
        let last = pieces.len().saturating_sub(1);
        for (n, piece) in pieces.enumerate() {
            let mut bytes = [header, piece].concat();
            if context.command & command::V4 != 0 {
                let at = usize::from(context.ip_start) + 4;
                write16(&mut bytes, at, identification.wrapping_add(n as u16));
            }
            if context.command & command::TCP != 0 {
                let sequence = sequence.wrapping_add((n * usize::from(context.segment)) as u32);
                write16(&mut bytes, transport + 4, (sequence >> 16) as u16);
                write16(&mut bytes, transport + 6, sequence as u16);
                if let Some(flags) = bytes.get_mut(transport + 13) {
                    // FIN and PSH are for the last, CWR for the first.
                    *flags &= if n == last { 0xff } else { !0x09 } & if n == 0 { 0xff } else { !0x80 };
                }
            }
            context.set_lengths(&mut bytes);
            if options & TRANSPORT_CHECKSUM != 0 {
                fill(&mut bytes, transport, context.place.into(), 0);
            }
            self.emit(Outgoing { bytes, tag, offload: FrameOffload::default() });
        }
    }

    /// Sends a frame out, or back in.
    fn emit(&mut self, frame: Outgoing) {
        let Outgoing { mut bytes, tag, offload } = frame;
        if let Some(tag) = tag {
            let kind = self.regs.file.get(at::VET) as u16;
            let [a, b] = kind.to_be_bytes();
            let [c, d] = tag.to_be_bytes();
            bytes.splice(12..12, [a, b, c, d]);
        }
        base::trace!(trace::TRANSMIT, "bytes {}", bytes.len());
        self.regs.statistics.sent(&bytes, bytes.len().max(60) + 4);
        if self.loops_back() {
            self.receive(&bytes, offload);
            self.burst_done();
        } else if let Some(peer) = self.peer.as_ref().filter(|_| self.has_link()) {
            peer.send(&bytes, offload);
        }
    }
}

fn read_descriptor(dma: &Dma, address: u64) -> Result<u128, ()> {
    let mut bytes = [0; 16];
    dma.read(address, &mut bytes).map_err(|_| ())?;
    Ok(u128::from_le_bytes(bytes))
}
