//! The split virtqueue.
//!
//! Document: Virtual I/O Device (VIRTIO) Version 1.2, section 2.7, with indirect descriptors (2.7.5.3) and
//! event indices (2.7.7, 2.7.10). Left out: packed queues, in-order use.
//!
//! The rings lie in guest memory and the guest may write anything there at any time, so every value read from
//! them is checked when it is used: an index beyond the queue, a chain that is longer than the queue (which a
//! loop is too), a table in a table, more than 4 GiB in one chain. Each of these is [`Broken`]: the device
//! stops using the queue until it is reset.

use std::sync::atomic::{Ordering, fence};

use memory::Dma;
use state::State;

/// A queue without an interrupt message of its own (4.1.4.3).
pub const NO_VECTOR: u16 = 0xffff;
/// The largest queue size that the specification allows.
pub const MAX_SIZE: u16 = 32768;
/// The longest chain that is accepted, whatever an indirect table says: no driver makes longer ones.
const MAX_CHAIN: usize = 1024;

const DESC_NEXT: u16 = 1;
const DESC_WRITE: u16 = 2;
const DESC_INDIRECT: u16 = 4;
const AVAIL_NO_INTERRUPT: u16 = 1;
const USED_NO_NOTIFY: u16 = 1;

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
    /// Index of the first descriptor: what identifies the chain in the used ring.
    pub head: u16,
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
#[state(name = "virtqueue", post_load = Self::check)]
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
    /// Index of the next chain to take.
    last_avail: u16,
    /// Index of the next used element to fill.
    next_used: u16,
    /// `next_used` when the driver was last interrupted.
    signalled: u16,
    /// `signalled` means something.
    signalled_valid: bool,
    /// Chains taken and not yet used.
    in_flight: u16,
    /// The device does not want notifications.
    quiet: bool,
}

impl Queue {
    /// A queue of `size` descriptors unless the driver chooses another size up to `max_size`; not set up.
    pub fn new(size: u16, max_size: u16) -> Self {
        Self { size, max_size, vector: NO_VECTOR, ..Self::default() }
    }

    /// Chooses the size; false if there is no such size.
    pub fn set_size(&mut self, size: u64) -> bool {
        let possible = size.is_power_of_two() && size <= u64::from(self.max_size);
        if possible {
            self.size = size as u16;
        }
        possible
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
        if self.size > MAX_SIZE || (self.size != 0 && !self.size.is_power_of_two()) {
            return Err(format!("{} is no size of a queue", self.size));
        }
        Ok(())
    }

    /// Whether the driver has set the queue up.
    pub fn usable(&self) -> bool {
        self.ready && self.size != 0
    }

    /// Chains taken and not yet used.
    pub fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// Takes back that chains are being worked on: they will be taken from the ring once more. For loading a
    /// saved state, with which no request is in flight.
    pub fn forget_in_flight(&mut self) {
        self.last_avail = self.last_avail.wrapping_sub(self.in_flight);
        self.in_flight = 0;
    }

    fn wrap(&self, index: u16) -> u64 {
        u64::from(index & self.size.wrapping_sub(1))
    }

    fn read_u16(dma: &Dma, address: u64) -> Result<u16, Broken> {
        let mut bytes = [0; 2];
        dma.read(address, &mut bytes).map_err(|_| Broken("a ring is not in memory"))?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn write_u16(dma: &Dma, address: u64, value: u16) -> Result<(), Broken> {
        dma.write(address, &value.to_le_bytes()).map_err(|_| Broken("a ring is not in memory"))
    }

    /// How many chains are waiting.
    pub fn available(&self, dma: &Dma) -> Result<u16, Broken> {
        if !self.usable() {
            return Ok(0);
        }
        let index = Self::read_u16(dma, self.driver.wrapping_add(2))?;
        let waiting = index.wrapping_sub(self.last_avail);
        if waiting > self.size {
            return Err(Broken("more chains are available than the queue holds"));
        }
        // The entries are read after the index that says that they are there.
        fence(Ordering::Acquire);
        Ok(waiting)
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

    /// Takes the next chain, if there is one.
    pub fn pop(&mut self, dma: &Dma) -> Result<Option<Chain>, Broken> {
        if self.available_or_notified(dma)? == 0 {
            return Ok(None);
        }
        if self.in_flight >= self.size {
            return Err(Broken("more chains are in flight than the queue holds"));
        }
        let entry = self.driver.wrapping_add(4 + 2 * self.wrap(self.last_avail));
        let head = Self::read_u16(dma, entry)?;
        let chain = self.walk(dma, head)?;
        self.last_avail = self.last_avail.wrapping_add(1);
        self.in_flight += 1;
        Ok(Some(chain))
    }

    /// Puts the chain taken last back, for want of something that is needed to process it.
    pub fn unpop(&mut self) {
        self.last_avail = self.last_avail.wrapping_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn walk(&self, dma: &Dma, head: u16) -> Result<Chain, Broken> {
        let mut chain = Chain { head, ..Chain::default() };
        let mut total = 0;
        let mut index = head;
        // A chain may not be longer than the queue: whoever has gone so far goes in circles.
        for _ in 0..self.size {
            if index >= self.size {
                return Err(Broken("a descriptor index is beyond the queue"));
            }
            let mut bytes = [0; 16];
            dma.read(self.desc.wrapping_add(16 * u64::from(index)), &mut bytes)
                .map_err(|_| Broken("the descriptor table is not in memory"))?;
            let desc = Descriptor::from_bytes(bytes);
            if desc.flags & DESC_INDIRECT != 0 {
                if !self.indirect || desc.flags & DESC_NEXT != 0 {
                    return Err(Broken("an indirect descriptor where there can be none"));
                }
                self.walk_table(dma, &desc, &mut chain, &mut total)?;
                return Ok(chain);
            }
            chain.add(&desc, &mut total)?;
            if desc.flags & DESC_NEXT == 0 {
                return Ok(chain);
            }
            index = desc.next;
        }
        Err(Broken("a chain is longer than the queue"))
    }

    fn walk_table(
        &self,
        dma: &Dma,
        table: &Descriptor,
        chain: &mut Chain,
        total: &mut u64,
    ) -> Result<(), Broken> {
        if table.length == 0 || !table.length.is_multiple_of(16) {
            return Err(Broken("the length of an indirect table is no multiple of 16"));
        }
        // What lies beyond the longest chain cannot be used, and is not read.
        let count = (table.length as usize / 16).min(MAX_CHAIN);
        let mut bytes = vec![0; count * 16];
        dma.read(table.address, &mut bytes).map_err(|_| Broken("an indirect table is not in memory"))?;
        let (entries, _) = bytes.as_chunks::<16>();
        let mut index = 0;
        for _ in 0..count {
            let entry = entries.get(index).ok_or(Broken("an index is beyond the indirect table"))?;
            let desc = Descriptor::from_bytes(*entry);
            if desc.flags & DESC_INDIRECT != 0 {
                return Err(Broken("an indirect table in an indirect table"));
            }
            chain.add(&desc, total)?;
            if desc.flags & DESC_NEXT == 0 {
                return Ok(());
            }
            index = usize::from(desc.next);
        }
        Err(Broken("a chain is longer than its indirect table"))
    }

    /// Gives a chain back to the driver, `written` bytes of it filled. [`Queue::publish`] must follow.
    pub fn push(&mut self, dma: &Dma, head: u16, written: u32) -> Result<(), Broken> {
        let element = self.device.wrapping_add(4 + 8 * self.wrap(self.next_used));
        let value = u64::from(head) | u64::from(written) << 32;
        dma.write(element, &value.to_le_bytes()).map_err(|_| Broken("the used ring is not in memory"))?;
        self.next_used = self.next_used.wrapping_add(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        Ok(())
    }

    /// Shows the driver what has been pushed; says whether it wants to be interrupted for it.
    pub fn publish(&mut self, dma: &Dma) -> Result<bool, Broken> {
        // The elements are in place before the index that tells of them.
        fence(Ordering::Release);
        Self::write_u16(dma, self.device.wrapping_add(2), self.next_used)?;
        // Our index is visible before we look whether the driver wants to hear of it, else both could miss
        // the other's news (2.7.7.2).
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
        if !self.event_idx {
            return Ok(Self::read_u16(dma, self.driver)? & AVAIL_NO_INTERRUPT == 0);
        }
        let used_event = Self::read_u16(dma, self.driver.wrapping_add(4 + 2 * u64::from(self.size)))?;
        Ok(!valid || new.wrapping_sub(used_event).wrapping_sub(1) < new.wrapping_sub(old))
    }

    /// Tells the driver whether to notify of new chains. After asking for notifications the caller looks once
    /// more whether chains are waiting.
    pub fn set_notification(&mut self, dma: &Dma, wanted: bool) -> Result<(), Broken> {
        if !self.usable() {
            return Ok(());
        }
        self.quiet = !wanted;
        if self.event_idx {
            if wanted {
                let avail_event = self.device.wrapping_add(4 + 8 * u64::from(self.size));
                Self::write_u16(dma, avail_event, self.last_avail)?;
            }
        } else {
            Self::write_u16(dma, self.device, if wanted { 0 } else { USED_NO_NOTIFY })?;
        }
        if wanted {
            fence(Ordering::SeqCst);
        }
        Ok(())
    }
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
