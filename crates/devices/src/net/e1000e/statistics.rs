//! The counters (10.2.7), which reading clears.

use state::State;

const FIRST: u32 = 0x4000;
const COUNT: usize = 0x4a;

/// Offsets of the counters that count.
#[allow(missing_docs)]
pub mod count {
    pub const MISSED: u32 = 0x4010;
    pub const RECEIVED_64: u32 = 0x405c;
    pub const RECEIVED_GOOD: u32 = 0x4074;
    pub const RECEIVED_BROADCAST: u32 = 0x4078;
    pub const RECEIVED_MULTICAST: u32 = 0x407c;
    pub const SENT_GOOD: u32 = 0x4080;
    pub const RECEIVED_GOOD_OCTETS: u32 = 0x4088;
    pub const SENT_GOOD_OCTETS: u32 = 0x4090;
    pub const NO_BUFFER: u32 = 0x40a0;
    pub const OVERSIZE: u32 = 0x40ac;
    pub const RECEIVED_OCTETS: u32 = 0x40c0;
    pub const SENT_OCTETS: u32 = 0x40c8;
    pub const RECEIVED: u32 = 0x40d0;
    pub const SENT: u32 = 0x40d4;
    pub const SENT_64: u32 = 0x40d8;
    pub const SENT_MULTICAST: u32 = 0x40f0;
    pub const SENT_BROADCAST: u32 = 0x40f4;
    pub const SENT_SEGMENTED: u32 = 0x40f8;
    pub const INTERRUPTS: u32 = 0x4100;
}

/// The low half of a counter of 64 bits.
const fn is_low_half(offset: u32) -> bool {
    matches!(offset, 0x4088 | 0x4090 | 0x40c0 | 0x40c8)
}

/// All counters.
#[derive(Clone, Debug, Default, State)]
#[state(name = "e1000e-statistics", post_load = Self::check)]
pub struct Statistics(Vec<u32>);

impl Statistics {
    /// All zero.
    pub fn new() -> Self {
        Self(vec![0; COUNT])
    }

    fn check(&mut self, _: u32) -> Result<(), String> {
        if self.0.len() == COUNT { Ok(()) } else { Err("there are other counters".into()) }
    }

    /// Whether there is a counter at this offset.
    pub fn has(offset: u32) -> bool {
        (FIRST..FIRST + 4 * COUNT as u32).contains(&offset)
    }

    fn counter(&mut self, offset: u32) -> Option<&mut u32> {
        self.0.get_mut((offset.checked_sub(FIRST)? / 4) as usize)
    }

    /// Reads a counter, which begins anew. The halves of a long one do so when the high half is read.
    pub fn read(&mut self, offset: u32) -> u32 {
        if is_low_half(offset) {
            return self.counter(offset).map_or(0, |counter| *counter);
        }
        if is_low_half(offset.wrapping_sub(4))
            && let Some(low) = self.counter(offset.wrapping_sub(4))
        {
            *low = 0;
        }
        self.counter(offset).map_or(0, std::mem::take)
    }

    /// Counts one more; a counter that is full stays so.
    pub fn one(&mut self, offset: u32) {
        if let Some(counter) = self.counter(offset) {
            *counter = counter.saturating_add(1);
        }
    }

    fn octets(&mut self, offset: u32, bytes: usize) {
        let low = self.counter(offset).map_or(0, |counter| u64::from(*counter));
        let high = self.counter(offset + 4).map_or(0, |counter| u64::from(*counter));
        let total = (high << 32 | low).saturating_add(bytes as u64);
        for (at, half) in [(offset, total as u32), (offset + 4, (total >> 32) as u32)] {
            if let Some(counter) = self.counter(at) {
                *counter = half;
            }
        }
    }

    /// The counter of a frame's length, one of six from `first` on.
    fn length_class(first: u32, length: usize) -> u32 {
        let class = match length {
            0..=64 => 0,
            65..=127 => 1,
            128..=255 => 2,
            256..=511 => 3,
            512..=1023 => 4,
            _ => 5,
        };
        first + 4 * class
    }

    /// A frame has been received; `length` with its check sequence.
    pub fn received(&mut self, frame: &[u8], length: usize) {
        self.one(count::RECEIVED);
        self.one(count::RECEIVED_GOOD);
        self.octets(count::RECEIVED_OCTETS, length);
        self.octets(count::RECEIVED_GOOD_OCTETS, length);
        self.one(Self::length_class(count::RECEIVED_64, length));
        match frame {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ..] => self.one(count::RECEIVED_BROADCAST),
            [first, ..] if first & 1 != 0 => self.one(count::RECEIVED_MULTICAST),
            _ => {}
        }
    }

    /// A frame has been sent; `length` with its check sequence.
    pub fn sent(&mut self, frame: &[u8], length: usize) {
        self.one(count::SENT);
        self.one(count::SENT_GOOD);
        self.octets(count::SENT_OCTETS, length);
        self.octets(count::SENT_GOOD_OCTETS, length);
        self.one(Self::length_class(count::SENT_64, length));
        match frame {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ..] => self.one(count::SENT_BROADCAST),
            [first, ..] if first & 1 != 0 => self.one(count::SENT_MULTICAST),
            _ => {}
        }
    }
}
