//! A device for tests of I/O: "pci-testdev".
//!
//! Document: "pci-testdev" of QEMU's specifications. BAR 0 (memory) and BAR 1 (I/O) begin with a header that says how a
//! test is to write; the device counts the writes.

use object::pci::{BarKind, BarWindow, PciInfo};
use object::{Device, Effect, Size};
use state::State;

use crate::pci::Pci;

/// Offsets in the header.
mod header {
    pub const TEST: u64 = 0;
    pub const WIDTH: u64 = 1;
    pub const OFFSET: u64 = 4;
    pub const DATA: u64 = 8;
    pub const COUNT: u64 = 12;
    pub const NAME: u64 = 16;
}

const TESTS: [&str; 3] = ["no-eventfd", "wildcard-eventfd", "datamatch-eventfd"];
/// Where tests write: behind the header, in memory and in I/O.
const PLACES: [u64; 2] = [2048, 128];
const MATCH: u8 = 0xfa;
const NO_MATCH: u8 = 0xce;

/// One BAR's test.
#[derive(Clone, Debug, Default, State)]
#[state(name = "pci-testdev-bar")]
struct Test {
    number: u8,
    count: u32,
}

/// What is saved.
#[derive(Clone, Debug, Default, State)]
#[state(name = "pci-testdev")]
pub struct Registers {
    tests: [Test; 2],
}

/// The device.
#[derive(Device)]
#[device(name = "pci-testdev", desc = "PCI Test Device", category = "misc", user_creatable)]
#[pci(vendor = 0x1b36, device = 0x0005, class = 0x00_ff00, adjust = Self::describe)]
#[bar(index = 0, name = "pci-testdev-mmio", size = 4096, access = 1..=4)]
#[bar(index = 1, kind = Io, name = "pci-testdev-portio", size = 256, access = 1..=4)]
pub struct PciTestdev {
    /// Bytes of BAR 2, which has nothing behind it.
    #[property(default = 0u64)]
    pub membar: Size,
    /// Its place on the bus.
    #[place]
    pci: Pci,
    #[state]
    regs: Registers,
}

impl PciTestdev {
    fn describe(&self, info: &mut PciInfo) {
        if self.membar.0 > 0 {
            info.bars.push(BarWindow {
                index: 2,
                kind: BarKind::Memory64,
                prefetchable: true,
                // No window of the device's: nobody answers.
                window: usize::MAX,
                offset: 0,
                size: self.membar.0,
                fixed: None,
            });
        }
    }

    fn name(region: usize, test: u8) -> String {
        let kind = if region == 0 { "mmio" } else { "portio" };
        TESTS.get(usize::from(test)).map_or_else(String::new, |test| format!("{kind}-{test}"))
    }

    fn data(test: u8) -> u8 {
        if test == 2 { MATCH } else { NO_MATCH }
    }

    fn byte(&self, region: usize, at: u64) -> u8 {
        let Some(test) = self.regs.tests.get(region) else { return 0 };
        let place = PLACES.get(region).copied().unwrap_or(0) as u32 + u32::from(test.number);
        let of = |value: u32, base: u64| value.to_le_bytes().get((at - base) as usize).copied().unwrap_or(0);
        match at {
            header::TEST => test.number,
            // Further tests do not exist.
            header::WIDTH => u8::from(usize::from(test.number) < TESTS.len()),
            header::OFFSET..header::DATA => of(place, header::OFFSET),
            header::DATA => Self::data(test.number),
            header::COUNT..header::NAME => of(test.count, header::COUNT),
            header::NAME.. => {
                let name = Self::name(region, test.number);
                name.as_bytes().get((at - header::NAME) as usize).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

impl Device for PciTestdev {
    fn read(&mut self, region: usize, offset: u64, size: u32) -> u64 {
        (0..u64::from(size)).fold(0, |all, n| all | u64::from(self.byte(region, offset + n)) << (8 * n))
    }

    fn write(&mut self, region: usize, offset: u64, size: u32, value: u64) -> Effect {
        let (Some(test), Some(place)) = (self.regs.tests.get_mut(region), PLACES.get(region)) else {
            return Effect::None;
        };
        match offset {
            header::TEST => *test = Test { number: value as u8, count: 0 },
            _ if offset == place + u64::from(test.number)
                && size == 1
                && (test.number != 2 || value as u8 == MATCH) =>
            {
                test.count = test.count.wrapping_add(1);
            }
            _ => {}
        }
        Effect::None
    }
}
