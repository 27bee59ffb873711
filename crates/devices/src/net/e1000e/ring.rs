//! A ring of descriptors in guest memory, as the registers of its queue describe it (7.1.8, 7.2.11).

use super::registers::File;

/// Where a queue is at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    registers: u32,
    base: u64,
    /// Places of 16 bytes.
    places: u32,
    /// The next place that the card takes.
    pub head: u32,
    tail: u32,
    /// Places that a descriptor takes.
    step: u32,
}

impl Ring {
    /// The ring whose registers begin at `registers`, with descriptors of `step` times 16 bytes. Nothing if it makes no
    /// sense: a head or tail outside would never meet the other.
    pub fn of(file: &File, registers: u32, step: u32) -> Option<Self> {
        let base = u64::from(file.get(registers + 4)) << 32 | u64::from(file.get(registers));
        let places = file.get(registers + 8) / 16;
        let (head, tail) = (file.get(registers + 0x10), file.get(registers + 0x18));
        if places == 0 && head == 0 && tail == 0 {
            return None;
        }
        let fits = |place: u32| place < places && place.is_multiple_of(step);
        if !fits(head) || !fits(tail) || !places.is_multiple_of(step) {
            base::guest_error!(
                "e1000e: a ring of {places} places has its head at {head}, its tail at {tail}"
            );
            return None;
        }
        Some(Self { registers, base, places, head, tail, step })
    }

    /// Whether the driver has left nothing for the card.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Descriptors of the driver's.
    pub fn filled(&self) -> u32 {
        let ahead = if self.tail >= self.head { self.tail } else { self.tail + self.places };
        (ahead - self.head) / self.step
    }

    /// Descriptors that there are.
    pub fn size(&self) -> u32 {
        self.places / self.step
    }

    /// Where the next descriptor lies.
    pub fn address(&self) -> u64 {
        self.base.wrapping_add(u64::from(self.head) * 16)
    }

    /// The next descriptor is done with.
    pub fn advance(&mut self) {
        self.head = if self.head + self.step >= self.places { 0 } else { self.head + self.step };
    }

    /// Shows the driver how far the card has come.
    pub fn store(&self, file: &mut File) {
        file.set(self.registers + 0x10, self.head);
    }
}
