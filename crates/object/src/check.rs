//! The tests that every device gets: random register accesses, and saving and loading what they led to.

use std::sync::Arc;

use state::{Loader, Saver};

use crate::{AnyDevice, Effect};

/// A sequence of numbers from a seed (xorshift64*, Vigna 2014), the same on every host.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `n` (0 for 0).
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(n)) >> 64) as u64
    }
    /// A value of the sort that finds mistakes: mostly small, all ones, single bits, or random.
    pub fn value(&mut self) -> u64 {
        let random = self.number();
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (random & 63),
            3 | 4 => random & 0xff,
            5 => random & 0xffff_ffff,
            6 => random & 0x8000_0fff,
            _ => random,
        }
    }
}

/// Does what a guest could do to a device: `steps` random accesses to its register windows, input lines too.
/// Returns how many asked for a shutdown or reset. Panics are the device's.
pub fn exercise(device: &Arc<dyn AnyDevice>, random: &mut Random, steps: u32) -> u32 {
    let regions = device.regions();
    let inputs = u64::from(device.inputs());
    let mut asked = 0;
    for _ in 0..steps {
        if inputs > 0 && random.below(16) == 0 {
            device.input(random.below(inputs) as usize, random.below(2) == 1);
        }
        let Some(region) = regions.get(random.below(regions.len() as u64) as usize) else { continue };
        let access = region.access;
        // Sizes as the bus makes them: what is allowed but not implemented never reaches the device.
        let (low, high) = (access.impl_min.max(1), access.impl_max.max(1));
        let size = 1u32 << (low.ilog2() + random.below(u64::from(high.ilog2() - low.ilog2() + 1)) as u32);
        let Some(room) = region.size.checked_sub(u64::from(size)) else { continue };
        // Half of the accesses go to the first registers, where most devices have theirs.
        let room = if random.below(2) == 0 { room.min(0x100) } else { room };
        let offset = random.below(room.saturating_add(1)) & !u64::from(size - 1);
        let window = regions.iter().position(|r| std::ptr::eq(r, region)).unwrap_or(0);
        if random.below(3) == 0 {
            device.read(window, offset, size);
        } else {
            let value = random.value() & (u64::MAX >> (64 - 8 * size.min(8)));
            device.write(window, offset, size, value).perform(&mut |e| {
                asked += u32::from(matches!(e, Effect::Shutdown { .. } | Effect::Reset { .. }));
            });
        }
    }
    asked
}

fn saved(device: &Arc<dyn AnyDevice>) -> Vec<u8> {
    let mut out = Saver::new();
    device.save(0, &mut out);
    out.into_bytes()
}

/// What every device has to stand: random accesses; saving, changing, loading and saving again gives the same
/// bytes; a truncated or foreign stream is refused without a panic; a reset after all that. The error says what
/// did not hold. Devices whose state moves by itself (a clock) are to be stopped before.
pub fn check_device(device: &Arc<dyn AnyDevice>, seed: u64, steps: u32) -> Result<(), String> {
    let name = device.type_info().name;
    let mut random = Random::new(seed);
    device.reset();
    for round in 0..4 {
        exercise(device, &mut random, steps);
        let before = saved(device);
        exercise(device, &mut random, steps);
        device
            .load(0, &mut Loader::new(&before))
            .map_err(|e| format!("{name}, seed {seed}, round {round}: what was saved does not load: {e}"))?;
        if saved(device) != before {
            return Err(format!(
                "{name}, seed {seed}, round {round}: loading and saving gives something else"
            ));
        }
        for _ in 0..16 {
            let mut bad = before.clone();
            let at = random.below(bad.len() as u64) as usize;
            match random.below(2) {
                0 => bad.truncate(at),
                _ => bad[at] = random.number() as u8,
            }
            // Refused or taken: the device must stand both.
            let _ = device.load(0, &mut Loader::new(&bad));
            exercise(device, &mut random, 8);
        }
        device.reset();
    }
    Ok(())
}
