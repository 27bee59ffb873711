//! The educational device: "edu".
//!
//! Document: "EDU device" of QEMU's specifications. It computes factorials, copies between memory and a buffer of its
//! own, and interrupts by pin or message. It takes no time for either, so that a driver never sees it busy.

use object::pci::Capability;
use object::{Device, Effect};
use state::State;

use crate::pci::Pci;

/// Offsets of registers.
mod register {
    pub const IDENTIFICATION: u64 = 0x00;
    pub const LIVENESS: u64 = 0x04;
    pub const FACTORIAL: u64 = 0x08;
    pub const STATUS: u64 = 0x20;
    pub const INTERRUPT_STATUS: u64 = 0x24;
    pub const INTERRUPT_RAISE: u64 = 0x60;
    pub const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
    pub const DMA_SOURCE: u64 = 0x80;
    pub const DMA_DESTINATION: u64 = 0x88;
    pub const DMA_COUNT: u64 = 0x90;
    pub const DMA_COMMAND: u64 = 0x98;
}

/// Version 1.0 of the device.
const IDENTIFICATION: u64 = 0x0100_00ed;
/// Interrupt when a factorial is ready.
const STATUS_INTERRUPT: u32 = 0x80;
const INTERRUPT_FACTORIAL: u32 = 1;
const INTERRUPT_DMA: u32 = 0x100;
const DMA_START: u64 = 1;
const DMA_FROM_DEVICE: u64 = 2;
const DMA_INTERRUPT: u64 = 4;
/// The buffer, as transfers address it.
const BUFFER: u64 = 0x4_0000;
const BUFFER_SIZE: usize = 4096;

/// What is saved.
#[derive(Clone, Debug, Default, State)]
#[state(name = "edu")]
pub struct Registers {
    liveness: u32,
    factorial: u32,
    status: u32,
    interrupts: u32,
    source: u64,
    destination: u64,
    count: u64,
    command: u64,
    buffer: Vec<u8>,
}

/// The device.
#[derive(Device)]
#[device(name = "edu", category = "misc", user_creatable)]
#[pci(vendor = 0x1234, device = 0x11e8, revision = 0x10, class = 0x00_ff00, pin = 1)]
#[bar(index = 0, name = "edu-mmio", size = 1 << 20, access = 4..=8)]
#[capability(Capability::msi(1))]
pub struct Edu {
    /// Address bits that transfers have.
    #[property(name = "dma_mask", default = (1u64 << 28) - 1, quiet)]
    pub dma_mask: u64,
    /// Its place on the bus.
    #[place]
    pci: Pci,
    #[state]
    regs: Registers,
}

/// Factorials in 32 bits: from 34 on they are 0, since they have more than 31 factors of two.
fn factorial(n: u32) -> u32 {
    if n > 33 { 0 } else { (1..=n).fold(1, u32::wrapping_mul) }
}

impl Edu {
    fn raise(&mut self, bits: u32) {
        self.regs.interrupts |= bits;
        if self.regs.interrupts != 0 {
            self.pci.interrupt(true);
        }
    }

    fn acknowledge(&mut self, bits: u32) {
        self.regs.interrupts &= !bits;
        if self.regs.interrupts == 0 {
            self.pci.interrupt(false);
        }
    }

    /// The part of the buffer that a transfer names.
    fn range(address: u64, count: u64) -> Option<std::ops::Range<usize>> {
        let start = address.checked_sub(BUFFER)?;
        let end = start.checked_add(count).filter(|end| *end <= BUFFER_SIZE as u64)?;
        Some(start as usize..end as usize)
    }

    fn transfer(&mut self, command: u64) {
        let out = command & DMA_FROM_DEVICE != 0;
        let (inside, outside) = match out {
            true => (self.regs.source, self.regs.destination),
            false => (self.regs.destination, self.regs.source),
        };
        if outside & !self.dma_mask != 0 {
            base::guest_error!("edu: clamping DMA {outside:#x} to {:#x}", outside & self.dma_mask);
        }
        let outside = outside & self.dma_mask;
        let part = Self::range(inside, self.regs.count).and_then(|range| self.regs.buffer.get_mut(range));
        let (Some(part), Some(dma)) = (part, self.pci.dma()) else {
            base::guest_error!(
                "edu: a transfer of {:#x} bytes at {inside:#x} leaves the buffer",
                self.regs.count
            );
            return;
        };
        let done = if out { dma.write(outside, part) } else { dma.read(outside, part) };
        if done.is_err() {
            base::guest_error!("edu: no memory of {:#x} bytes at {outside:#x}", self.regs.count);
        }
        if command & DMA_INTERRUPT != 0 {
            self.raise(INTERRUPT_DMA);
        }
    }
}

impl Device for Edu {
    fn read(&mut self, _: usize, offset: u64, size: u32) -> u64 {
        let regs = &self.regs;
        let nothing = u64::MAX;
        if offset < register::DMA_SOURCE && size != 4 {
            return nothing;
        }
        match offset {
            register::IDENTIFICATION => IDENTIFICATION,
            register::LIVENESS => regs.liveness.into(),
            register::FACTORIAL => regs.factorial.into(),
            register::STATUS => regs.status.into(),
            register::INTERRUPT_STATUS => regs.interrupts.into(),
            register::DMA_SOURCE => regs.source,
            register::DMA_DESTINATION => regs.destination,
            register::DMA_COUNT => regs.count,
            register::DMA_COMMAND => regs.command,
            _ => nothing,
        }
    }

    fn write(&mut self, _: usize, offset: u64, size: u32, value: u64) -> Effect {
        let word = value as u32;
        if offset < register::DMA_SOURCE && size != 4 {
            return Effect::None;
        }
        match offset {
            register::LIVENESS => self.regs.liveness = !word,
            register::FACTORIAL => {
                self.regs.factorial = factorial(word);
                if self.regs.status & STATUS_INTERRUPT != 0 {
                    self.raise(INTERRUPT_FACTORIAL);
                }
            }
            register::STATUS => self.regs.status = word & STATUS_INTERRUPT,
            register::INTERRUPT_RAISE => self.raise(word),
            register::INTERRUPT_ACKNOWLEDGE => self.acknowledge(word),
            register::DMA_SOURCE => self.regs.source = value,
            register::DMA_DESTINATION => self.regs.destination = value,
            register::DMA_COUNT => self.regs.count = value,
            register::DMA_COMMAND if value & DMA_START != 0 => {
                self.regs.command = value & !DMA_START;
                self.transfer(value);
            }
            _ => base::guest_error!("edu: write of {value:#x} to {offset:#x} means nothing"),
        }
        Effect::None
    }

    fn realize(&mut self) -> base::Result<()> {
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        self.reset_state();
        self.pci.set_intx(false);
    }

    fn reset_state(&mut self) {
        self.regs = Registers { buffer: vec![0; BUFFER_SIZE], ..Registers::default() };
    }

    fn loaded(&mut self) -> Result<(), String> {
        if self.regs.buffer.len() != BUFFER_SIZE {
            return Err("the buffer has another size".into());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "edu_test.rs"]
mod test;
