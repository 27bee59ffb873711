//! What the tests with random programs share.

use memory::{AddressSpace, Ram, Region};
use std::sync::Arc;

/// Where the memory lies.
pub const RAM: u64 = 0x8000_0000;

/// xorshift64*.
pub struct Random(u64);
impl Random {
    /// For one round of a run with this seed.
    pub fn new(seed: u64, round: u64) -> Random {
        Random(seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
    pub fn below(&mut self, n: u64) -> u32 {
        (self.next() % n) as u32
    }
}

/// The number that is given in the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|s| s.parse().ok())
}

/// The seed of this run, which is printed so that it can be repeated.
pub fn seed() -> u64 {
    let seed = number("TINAMOU_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | 0x9e37);
    println!("TINAMOU_SEED={seed}");
    seed
}

/// A memory of a mebibyte, and what a hart sees of it.
pub fn memory() -> (Arc<Ram>, Arc<AddressSpace>) {
    let ram = Ram::anonymous(1 << 20).unwrap();
    let root = Region::container("system", memory::WHOLE);
    root.add_subregion(RAM, &Region::ram("ram", ram.clone()));
    (ram, AddressSpace::new("memory", &root))
}

/// Writes instructions at an offset.
pub fn write_words(ram: &Ram, offset: u64, words: &[u32]) {
    ram.write(offset, &words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>());
}

/// Some bytes in a number.
pub fn sum(ram: &Ram, offset: u64, bytes: u64) -> u64 {
    let mut data = vec![0; bytes as usize];
    ram.read(offset, &mut data);
    data.iter().fold(0u64, |sum, &byte| sum.rotate_left(5) ^ u64::from(byte))
}
