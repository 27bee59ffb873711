//! The packed layout (2.8): one ring of descriptors, which the driver makes available and the device writes used ones
//! over. Who owns a slot is told by two bits of its flags, whose meaning changes each time the ring is gone around: the
//! *wrap counter*, which stands above the slot's number in a place as it does in event suppression (2.8.10).

use std::sync::atomic::{Ordering, fence};

use memory::Dma;

use super::{Broken, Chain, DESC_INDIRECT, DESC_NEXT, DESC_WRITE, Descriptor, MAX_CHAIN, Queue, passes};

const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;
const WRAP: u16 = 1 << 15;

/// Event suppression: all, none, or at one place.
const EVENTS_ENABLE: u16 = 0;
const EVENTS_DISABLE: u16 = 1;
const EVENTS_AT: u16 = 2;

/// Where both sides begin.
pub(super) const FIRST: u16 = WRAP;

/// The slot of a place.
pub(super) fn slot(place: u16) -> u16 {
    place & !WRAP
}

/// The place so many slots further on, at most once around.
pub(super) fn forward(place: u16, slots: u16, size: u16) -> u16 {
    let next = slot(place) + slots;
    if next < size { place & WRAP | next } else { (place ^ WRAP) & WRAP | (next - size) }
}

/// The place so many slots back, at most once around.
pub(super) fn back(place: u16, slots: u16, size: u16) -> u16 {
    match slot(place).checked_sub(slots) {
        Some(before) => place & WRAP | before,
        None => (place ^ WRAP) & WRAP | (slot(place) + size).saturating_sub(slots),
    }
}

impl Queue {
    fn descriptor(&self, place: u16) -> u64 {
        self.desc.wrapping_add(16 * u64::from(slot(place)))
    }

    fn read_packed(&self, dma: &Dma, place: u16) -> Result<Descriptor, Broken> {
        let mut bytes = [0; 16];
        dma.read(self.descriptor(place), &mut bytes).map_err(|_| Broken("the ring is not in memory"))?;
        Ok(Descriptor::from_packed(bytes))
    }

    pub(super) fn available_packed(&self, dma: &Dma) -> Result<u16, Broken> {
        let flags = Self::read_u16(dma, self.descriptor(self.last_avail).wrapping_add(14))?;
        // The rest of the descriptor is read after the flags that say that it is there.
        fence(Ordering::Acquire);
        let (avail, used) = (flags & AVAIL != 0, flags & USED != 0);
        Ok(u16::from(avail != used && avail == (self.last_avail & WRAP != 0)))
    }

    pub(super) fn take_packed(&self, dma: &Dma) -> Result<Chain, Broken> {
        let (mut chain, mut total, mut place) = (Chain::default(), 0, self.last_avail);
        for n in 1..=self.size {
            let desc = self.read_packed(dma, place)?;
            chain.slots = n;
            // The last descriptor of a chain has its buffer ID.
            chain.head = desc.next;
            if desc.flags & DESC_INDIRECT != 0 {
                if !self.indirect || desc.flags & DESC_NEXT != 0 || n > 1 {
                    return Err(Broken("an indirect descriptor where there can be none"));
                }
                Self::read_table(dma, &desc, &mut chain, &mut total)?;
                return Ok(chain);
            }
            chain.add(&desc, &mut total)?;
            if desc.flags & DESC_NEXT == 0 {
                return Ok(chain);
            }
            place = forward(place, 1, self.size);
        }
        Err(Broken("a chain is longer than the queue"))
    }

    /// An indirect table: one descriptor after the other (2.8.8).
    fn read_table(dma: &Dma, table: &Descriptor, chain: &mut Chain, total: &mut u64) -> Result<(), Broken> {
        let count = table.length as usize / 16;
        if count == 0 || !table.length.is_multiple_of(16) {
            return Err(Broken("the length of an indirect table is no multiple of 16"));
        }
        if count > MAX_CHAIN {
            return Err(Broken("a chain has too many buffers"));
        }
        let mut bytes = vec![0; count * 16];
        dma.read(table.address, &mut bytes).map_err(|_| Broken("an indirect table is not in memory"))?;
        let (entries, _) = bytes.as_chunks::<16>();
        entries.iter().try_for_each(|entry| {
            let desc = Descriptor::from_packed(*entry);
            // Of the flags only this one means something here.
            chain.add(&Descriptor { flags: desc.flags & DESC_WRITE, ..desc }, total)
        })
    }

    pub(super) fn push_packed(&mut self, dma: &Dma, chain: &Chain, written: u32) -> Result<(), Broken> {
        let place = self.next_used;
        let owner = if place & WRAP != 0 { AVAIL | USED } else { 0 };
        let flags = owner | if written > 0 { DESC_WRITE } else { 0 };
        let at = self.descriptor(place);
        let value = u64::from(written) | u64::from(chain.head) << 32;
        let [a, b, c, d, e, f, ..] = value.to_le_bytes();
        dma.write(at.wrapping_add(8), &[a, b, c, d, e, f])
            .map_err(|_| Broken("the ring is not in memory"))?;
        if self.held.is_some() {
            // The driver does not look beyond the one whose flags come last.
            return Self::write_u16(dma, at.wrapping_add(14), flags);
        }
        self.held = Some((slot(place), flags));
        Ok(())
    }

    pub(super) fn show_packed(&mut self, dma: &Dma) -> Result<(), Broken> {
        let Some((slot, flags)) = self.held.take() else { return Ok(()) };
        fence(Ordering::Release);
        Self::write_u16(dma, self.descriptor(slot).wrapping_add(14), flags)
    }

    pub(super) fn wanted_packed(&self, dma: &Dma, old: Option<u16>) -> Result<bool, Broken> {
        let flags = Self::read_u16(dma, self.driver.wrapping_add(2))?;
        let (true, Some(old)) = (flags & 3 == EVENTS_AT && self.event_idx, old) else {
            return Ok(flags & 3 != EVENTS_DISABLE);
        };
        let event = Self::read_u16(dma, self.driver)?;
        let new = self.next_used;
        // What belongs to the round before lies so much further back.
        let unrolled = |place: u16| {
            let round = if (place ^ new) & WRAP != 0 { self.size } else { 0 };
            slot(place).wrapping_sub(round)
        };
        Ok(passes(unrolled(event), slot(new), unrolled(old)))
    }

    pub(super) fn suppress_packed(&self, dma: &Dma, suppress: bool) -> Result<(), Broken> {
        let flags = match (suppress, self.event_idx) {
            (true, _) => EVENTS_DISABLE,
            (false, false) => EVENTS_ENABLE,
            (false, true) => {
                Self::write_u16(dma, self.device, self.last_avail)?;
                fence(Ordering::Release);
                EVENTS_AT
            }
        };
        Self::write_u16(dma, self.device.wrapping_add(2), flags)
    }
}
