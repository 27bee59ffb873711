//! The virtqueue.
//!
//! Document: Virtual I/O Device (VIRTIO) Version 1.2, sections 2.7 and 2.8, with indirect descriptors and event
//! indices. Left out: in-order use, notification data. A queue lies in memory in one of two layouts: `split` into
//! three parts, or `packed` into one; which, the driver has chosen before it set the queue up.
//!
//! The rings lie in guest memory and the guest may write anything there at any time, so every value read from
//! them is checked when it is used: an index beyond the queue, a chain that is longer than the queue (which a
//! loop is too), a table in a table, more than 4 GiB in one chain. Each of these is [`Broken`]: the device
//! stops using the queue until it is reset.

mod packed;
mod split;

use std::sync::atomic::{Ordering, fence};

use memory::Dma;
use state::State;

use super::common::feature;

/// A queue without an interrupt message of its own (4.1.4.3).
pub const NO_VECTOR: u16 = 0xffff;
/// The largest queue size that the specification allows.
pub const MAX_SIZE: u16 = 32768;
/// The longest chain that is accepted, whatever an indirect table says: no driver makes longer ones.
const MAX_CHAIN: usize = 1024;

const DESC_NEXT: u16 = 1;
const DESC_WRITE: u16 = 2;
const DESC_INDIRECT: u16 = 4;

/// The guest has left something in its rings that has no meaning; the text says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// One buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Guest physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
}

/// A chain of descriptors that the driver has made available.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// What identifies the chain when it is given back: the index of its first descriptor, or its buffer ID.
    pub head: u16,
    /// How far it moves the device on in the ring.
    pub slots: u16,
    /// The buffers that the device reads, which come first.
    pub readable: Vec<Buffer>,
    /// The buffers that the device writes.
    pub writable: Vec<Buffer>,
}

/// Bytes in a list of buffers.
pub fn length(buffers: &[Buffer]) -> u64 {
    buffers.iter().map(|buffer| u64::from(buffer.length)).sum()
}

/// The parts of `buffers` that hold the bytes from `offset` to `offset + count`.
pub fn slice(buffers: &[Buffer], offset: u64, count: u64) -> Vec<Buffer> {
    let (mut skip, mut left) = (offset, count);
    let mut parts = Vec::with_capacity(buffers.len());
    for buffer in buffers {
        let size = u64::from(buffer.length);
        if skip >= size {
            skip -= size;
            continue;
        }
        let take = (size - skip).min(left);
        if take == 0 {
            break;
        }
        parts.push(Buffer { address: buffer.address.wrapping_add(skip), length: take as u32 });
        left -= take;
        skip = 0;
    }
    parts
}

/// Copies guest bytes from `offset` of `buffers` on into `into`; returns how many there were.
pub fn gather(dma: &Dma, buffers: &[Buffer], offset: u64, into: &mut [u8]) -> Result<usize, Broken> {
    let mut done = 0;
    for part in slice(buffers, offset, into.len() as u64) {
        let end = done + part.length as usize;
        let Some(target) = into.get_mut(done..end) else { break };
        dma.read(part.address, target).map_err(|_| Broken("a buffer is not in memory"))?;
        done = end;
    }
    Ok(done)
}

/// Copies `bytes` to the guest from `offset` of `buffers` on; returns how many found room.
pub fn scatter(dma: &Dma, buffers: &[Buffer], offset: u64, bytes: &[u8]) -> Result<usize, Broken> {
    let mut done = 0;
    for part in slice(buffers, offset, bytes.len() as u64) {
        let end = done + part.length as usize;
        let Some(source) = bytes.get(done..end) else { break };
        dma.write(part.address, source).map_err(|_| Broken("a buffer is not in memory"))?;
        done = end;
    }
    Ok(done)
}

/// A queue: what the driver has set up, and how far the device has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, State)]
#[state(name = "virtqueue", version = 2, post_load = Self::check)]
pub struct Queue {
    /// Size in descriptors as the driver has chosen it; 0 while the queue is not set up.
    pub size: u16,
    /// The largest size; 0 if the device does not have this queue.
    pub max_size: u16,
    /// The driver has enabled the queue.
    pub ready: bool,
    /// Guest address of the descriptor table.
    pub desc: u64,
    /// Guest address of the available ring, the "driver area".
    pub driver: u64,
    /// Guest address of the used ring, the "device area".
    pub device: u64,
    /// The message that interrupts for this queue, with transports that send messages.
    pub vector: u16,
    /// VIRTIO_F_EVENT_IDX has been negotiated.
    pub event_idx: bool,
    /// VIRTIO_F_INDIRECT_DESC has been negotiated.
    pub indirect: bool,
    /// VIRTIO_F_NOTIFY_ON_EMPTY has been negotiated.
    pub notify_on_empty: bool,
    /// Place of the next chain to take. In the split layout places are indices that count on; in the packed one they
    /// are slots, with the wrap counter above.
    last_avail: u16,
    /// Place of the next used element to fill.
    next_used: u16,
    /// `next_used` when the driver was last interrupted.
    signalled: u16,
    /// `signalled` means something.
    signalled_valid: bool,
    /// Slots of the chains taken and not yet used.
    in_flight: u16,
    /// The device does not want notifications.
    quiet: bool,
    /// VIRTIO_F_RING_PACKED has been negotiated.
    #[state(since = 2)]
    packed: bool,
    /// The first element pushed since the driver was last shown any: its slot and its flags, which are written last.
    #[state(since = 2)]
    held: Option<(u16, u16)>,
}

impl Queue {
    /// A queue of `size` descriptors unless the driver chooses another size up to `max_size`; not set up.
    pub fn new(size: u16, max_size: u16) -> Self {
        Self { size, max_size, vector: NO_VECTOR, ..Self::default() }
    }

    /// Chooses the size; false if there is no such size.
    pub fn set_size(&mut self, size: u64) -> bool {
        let possible =
            size != 0 && (self.packed || size.is_power_of_two()) && size <= u64::from(self.max_size);
        if possible {
            self.size = size as u16;
        }
        possible
    }

    /// The driver has accepted these features. A queue that is not set up yet begins at the beginning of its layout.
    pub fn negotiate(&mut self, features: u64) {
        self.event_idx = features & feature::EVENT_IDX != 0;
        self.indirect = features & feature::INDIRECT_DESC != 0;
        self.notify_on_empty = features & feature::NOTIFY_ON_EMPTY != 0;
        self.packed = features & feature::RING_PACKED != 0;
        if !self.ready {
            let first = if self.packed { packed::FIRST } else { 0 };
            (self.last_avail, self.next_used, self.signalled) = (first, first, first);
        }
    }

    /// Where the rings of a legacy queue lie follows from its address and size (2.7.2).
    pub fn lay_out_legacy(&mut self, align: u64) {
        if !self.ready {
            return;
        }
        let size = u64::from(self.size);
        self.driver = self.desc.wrapping_add(16 * size);
        // Flags, index, ring, used_event.
        let end = self.driver.wrapping_add(6 + 2 * size);
        self.device = end.wrapping_add(align - 1) & !(align - 1);
    }

    fn check(&mut self, _: u32) -> Result<(), String> {
        if self.size > MAX_SIZE || !(self.packed || self.size == 0 || self.size.is_power_of_two()) {
            return Err(format!("{} is no size of a queue", self.size));
        }
        let outside = |place: u16| packed::slot(place) >= self.size.max(1);
        if self.packed && [self.last_avail, self.next_used, self.signalled].into_iter().any(outside) {
            return Err("a place beyond the queue".to_owned());
        }
        Ok(())
    }

    /// Whether the driver has set the queue up.
    pub fn usable(&self) -> bool {
        self.ready && self.size != 0
    }

    /// Slots of the chains taken and not yet used.
    pub fn in_flight(&self) -> u16 {
        self.in_flight
    }

    fn read_u16(dma: &Dma, address: u64) -> Result<u16, Broken> {
        let mut bytes = [0; 2];
        dma.read(address, &mut bytes).map_err(|_| Broken("a ring is not in memory"))?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn write_u16(dma: &Dma, address: u64, value: u16) -> Result<(), Broken> {
        dma.write(address, &value.to_le_bytes()).map_err(|_| Broken("a ring is not in memory"))
    }

    /// How many chains are waiting; if there are none, the driver will notify of the next, unless the device
    /// does not want to hear of it ([`Queue::set_notification`]).
    pub fn available_or_notified(&mut self, dma: &Dma) -> Result<u16, Broken> {
        let available = self.available(dma)?;
        if available != 0 || !self.event_idx || self.quiet || !self.usable() {
            return Ok(available);
        }
        // The index at which the driver notifies has to follow the ring (2.7.10), or it never does again.
        self.set_notification(dma, true)?;
        self.available(dma)
    }

    // ---- what the two layouts do each in its own way

    /// How many chains are waiting, at least.
    pub fn available(&self, dma: &Dma) -> Result<u16, Broken> {
        match self.packed {
            _ if !self.usable() => Ok(0),
            true => self.available_packed(dma),
            false => self.available_split(dma),
        }
    }

    /// Takes the next chain, if there is one.
    pub fn pop(&mut self, dma: &Dma) -> Result<Option<Chain>, Broken> {
        if self.available_or_notified(dma)? == 0 {
            return Ok(None);
        }
        let chain = if self.packed { self.take_packed(dma)? } else { self.take_split(dma)? };
        if u32::from(self.in_flight) + u32::from(chain.slots) > u32::from(self.size) {
            return Err(Broken("more chains are in flight than the queue holds"));
        }
        self.last_avail = self.forward(self.last_avail, chain.slots);
        self.in_flight += chain.slots;
        Ok(Some(chain))
    }

    /// Puts the chain taken last back, for want of something that is needed to process it.
    pub fn unpop(&mut self, chain: &Chain) {
        self.last_avail = self.back(self.last_avail, chain.slots);
        self.in_flight = self.in_flight.saturating_sub(chain.slots);
    }

    /// Takes back that chains are being worked on: they will be taken from the ring once more. For loading a
    /// saved state, with which no request is in flight.
    pub fn forget_in_flight(&mut self) {
        self.last_avail = self.back(self.last_avail, self.in_flight);
        self.in_flight = 0;
    }

    /// Gives a chain back to the driver, `written` bytes of it filled. [`Queue::publish`] must follow.
    pub fn push(&mut self, dma: &Dma, chain: &Chain, written: u32) -> Result<(), Broken> {
        if self.packed {
            self.push_packed(dma, chain, written)?;
        } else {
            self.push_split(dma, chain, written)?;
        }
        self.next_used = self.forward(self.next_used, chain.slots);
        self.in_flight = self.in_flight.saturating_sub(chain.slots);
        Ok(())
    }

    /// Shows the driver what has been pushed; says whether it wants to be interrupted for it.
    pub fn publish(&mut self, dma: &Dma) -> Result<bool, Broken> {
        if self.packed {
            self.show_packed(dma)?;
        } else {
            self.show_split(dma)?;
        }
        // Our news is visible before we look whether the driver wants to hear of it, else both could miss the
        // other's (2.7.7.2).
        fence(Ordering::SeqCst);
        let (new, old, valid) = (self.next_used, self.signalled, self.signalled_valid);
        self.signalled = new;
        self.signalled_valid = true;
        if valid && new == old {
            return Ok(false);
        }
        if self.notify_on_empty && self.in_flight == 0 && self.available(dma)? == 0 {
            return Ok(true);
        }
        let old = valid.then_some(old);
        if self.packed { self.wanted_packed(dma, old) } else { self.wanted_split(dma, old) }
    }

    /// Tells the driver whether to notify of new chains. After asking for notifications the caller looks once
    /// more whether chains are waiting.
    pub fn set_notification(&mut self, dma: &Dma, wanted: bool) -> Result<(), Broken> {
        if !self.usable() {
            return Ok(());
        }
        self.quiet = !wanted;
        if self.packed {
            self.suppress_packed(dma, !wanted)?;
        } else {
            self.suppress_split(dma, !wanted)?;
        }
        if wanted {
            fence(Ordering::SeqCst);
        }
        Ok(())
    }

    /// A place in the ring so many slots further on.
    fn forward(&self, place: u16, slots: u16) -> u16 {
        if self.packed { packed::forward(place, slots, self.size) } else { place.wrapping_add(slots) }
    }

    /// A place in the ring so many slots back.
    fn back(&self, place: u16, slots: u16) -> u16 {
        if self.packed { packed::back(place, slots, self.size) } else { place.wrapping_sub(slots) }
    }
}

/// Whether an interrupt or notification is wanted, by event index (2.7.10): the index lies between `old` and `new`.
fn passes(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn from_bytes(bytes: [u8; 16]) -> Self {
        let all = u128::from_le_bytes(bytes);
        Self {
            address: all as u64,
            length: (all >> 64) as u32,
            flags: (all >> 96) as u16,
            next: (all >> 112) as u16,
        }
    }

    /// In the packed layout the ID, which stands where `next` is here, comes before the flags.
    fn from_packed(bytes: [u8; 16]) -> Self {
        let Self { address, length, flags, next } = Self::from_bytes(bytes);
        Self { address, length, flags: next, next: flags }
    }
}

impl Chain {
    fn add(&mut self, desc: &Descriptor, total: &mut u64) -> Result<(), Broken> {
        *total += u64::from(desc.length);
        if *total > u64::from(u32::MAX) {
            return Err(Broken("a chain holds more than 4 GiB"));
        }
        let buffer = Buffer { address: desc.address, length: desc.length };
        if desc.flags & DESC_WRITE != 0 {
            self.writable.push(buffer);
        } else if self.writable.is_empty() {
            self.readable.push(buffer);
        } else {
            return Err(Broken("a readable buffer follows a writable one"));
        }
        if self.readable.len() + self.writable.len() > MAX_CHAIN {
            return Err(Broken("a chain has too many buffers"));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod test;
