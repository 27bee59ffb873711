//! The interrupt controller: 32 level-triggered sources, one output.
//!
//! | offset | register | |
//! |---|---|---|
//! | 0x00 | pending | bit n follows source n; read only |
//! | 0x04 | enable | bit n lets source n through |
//! | 0x08 | claim | number of the source to serve: pending, enabled, of highest priority, the lowest of equals; all ones for none |
//! | 0x20 + n | priority | one byte for each source |
//!
//! All can be accessed by 1, 2 or 4 bytes.

use object::{Device, Effect, Line};
use state::State;

/// Number of sources.
pub const SOURCES: usize = 32;

const PENDING: u64 = 0x00;
const ENABLE: u64 = 0x04;
const CLAIM: u64 = 0x08;
const PRIORITY: u64 = 0x20;

/// What the guest sees.
#[derive(Clone, Debug, Default, State)]
#[state(name = "clabpu-intc", version = 1)]
pub struct Registers {
    pending: u32,
    enable: u32,
    priority: [u8; SOURCES],
}

/// The controller.
#[derive(Device)]
#[device(
    name = "clabpu-intc",
    desc = "CLabPU interrupt controller",
    parent = "sys-bus-device",
    bus = "System",
    category = "misc",
    inputs = 32u32
)]
#[mmio(name = "clabpu-intc", size = 0x1000, access = 1..=4, implemented = 1..=1)]
pub struct Intc {
    /// To the hart's machine external interrupt.
    #[wire(name = "sysbus-irq")]
    irq: Line,
    #[state]
    regs: Registers,
}

impl Registers {
    /// The source to serve.
    fn claim(&self) -> Option<u32> {
        let asking = self.pending & self.enable;
        let asks = |n: &u32| asking >> n & 1 != 0;
        let rank = |n: &u32| (self.priority.get(*n as usize).copied(), std::cmp::Reverse(*n));
        (0..SOURCES as u32).filter(asks).max_by_key(rank)
    }
    /// The word that a byte at this offset lies in.
    fn word(&self, offset: u64) -> u32 {
        match offset & !3 {
            PENDING => self.pending,
            ENABLE => self.enable,
            CLAIM => self.claim().unwrap_or(u32::MAX),
            _ => 0,
        }
    }
}

impl Intc {
    fn update(&self) {
        self.irq.set(self.regs.pending & self.regs.enable != 0);
    }
}

impl Device for Intc {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        let byte = match offset.checked_sub(PRIORITY) {
            Some(n) => self.regs.priority.get(n as usize).copied().unwrap_or(0),
            None => (self.regs.word(offset) >> (8 * (offset & 3))) as u8,
        };
        byte.into()
    }
    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        let byte = value as u8;
        if let Some(irq) = offset.checked_sub(PRIORITY) {
            match self.regs.priority.get_mut(irq as usize) {
                Some(priority) => *priority = byte,
                None => base::guest_error!("clabpu_intc: invalid irq {irq}"),
            }
        } else if offset & !3 == ENABLE {
            let shift = 8 * (offset & 3);
            self.regs.enable = self.regs.enable & !(0xff << shift) | u32::from(byte) << shift;
            self.update();
        } else {
            base::guest_error!("clabpu_intc: write to {offset:#x}, where nothing can be written");
        }
        Effect::None
    }
    fn input(&mut self, line: usize, level: bool) {
        if line >= SOURCES {
            base::guest_error!("clabpu_intc: invalid irq {line}");
            return;
        }
        let bit = 1 << line;
        self.regs.pending = if level { self.regs.pending | bit } else { self.regs.pending & !bit };
        self.update();
    }
    fn reset(&mut self) {
        // The levels of the sources are the sources' matter: they tell of a change when they are reset themselves.
        let pending = self.regs.pending;
        self.regs = Registers { pending, ..Registers::default() };
        self.update();
    }
    fn loaded(&mut self) -> Result<(), String> {
        self.irq.refresh(self.regs.pending & self.regs.enable != 0);
        Ok(())
    }
}

#[cfg(test)]
#[path = "intc_test.rs"]
mod test;
