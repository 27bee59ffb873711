//! `mxfc`, the multi-function card of the board: two flashes, an EEPROM and a serial port behind one PCI Express function.
//!
//! | BAR | size | |
//! |---|---|---|
//! | 0 | 4 MiB | boot flash, where the hart begins; wired to 0x7fc0_0000 from power on, whatever is written to the register |
//! | 1 | 1 MiB | data flash: a write clears bits, a block of 64 KiB is erased through a register |
//! | 2 | 8 KiB | EEPROM: bytes that can be written |
//! | 3 | 4 KiB | registers |
//!
//! | offset | register | |
//! |---|---|---|
//! | 0x00 | id | "MXFC" |
//! | 0x04 | int_status | bit 0: the byte has been sent, bit 1: the block has been erased; ones that are written clear |
//! | 0x08 | int_enable | those of them that interrupt |
//! | 0x0c | serial | a byte that is written goes to the log |
//! | 0x10 | sent | how many have gone |
//! | 0x14 | erase | the block of the data flash whose number is written is erased |
//!
//! The log is the machine's second serial port. The boot flash is a chip of its own, which the board gives; the card shows it.
//! Left out: what the flashes hold outside of the program's life (the boot flash has a drive for it).

use backends::char::CharPort;
use devices::pci::Pci;
use memory::Region;
use object::pci::Capability;
use object::{Device, DeviceCell, Effect};
use state::State;
use std::sync::Arc;

/// Where the boot flash lies.
pub const BOOT: u64 = 0x7fc0_0000;
/// Its size.
pub const BOOT_SIZE: u64 = 4 << 20;
const DATA_SIZE: usize = 1 << 20;
const BLOCK: usize = 64 << 10;
const EEPROM_SIZE: usize = 8 << 10;

/// The register windows, by number.
mod window {
    pub const BOOT: usize = 0;
    pub const DATA: usize = 1;
    pub const EEPROM: usize = 2;
    pub const REGISTERS: usize = 3;
}

const ID: u64 = 0x00;
const INT_STATUS: u64 = 0x04;
const INT_ENABLE: u64 = 0x08;
const SERIAL: u64 = 0x0c;
const SENT: u64 = 0x10;
const ERASE: u64 = 0x14;

const NAME: u32 = u32::from_le_bytes(*b"MXFC");

/// Interrupts.
mod interrupt {
    pub const SENT: u32 = 1 << 0;
    pub const ERASED: u32 = 1 << 1;
    pub const ALL: u32 = SENT | ERASED;
}

/// What the guest sees. The contents of the memories outlive a reset.
#[derive(Clone, Debug, State)]
#[state(name = "mxfc", version = 1)]
pub struct Registers {
    int_status: u32,
    int_enable: u32,
    sent: u32,
    data: Vec<u8>,
    eeprom: Vec<u8>,
}

impl Default for Registers {
    fn default() -> Self {
        let (data, eeprom) = (vec![0xff; DATA_SIZE], vec![0xff; EEPROM_SIZE]);
        Self { int_status: 0, int_enable: 0, sent: 0, data, eeprom }
    }
}

/// The card.
#[derive(Device)]
#[device(name = "mxfc", desc = "CLabPU flash and serial card", category = "storage")]
#[pci(vendor = 0x1234, device = 0x4d58, class = 0xff_0000, revision = 1, pin = 1)]
#[bar(index = 0, fixed = BOOT, name = "mxfc-boot", size = BOOT_SIZE, access = 1..=8)]
#[bar(index = 1, name = "mxfc-data", size = DATA_SIZE, access = 1..=8, implemented = 1..=1)]
#[bar(index = 2, name = "mxfc-eeprom", size = EEPROM_SIZE, access = 1..=8, implemented = 1..=1)]
#[bar(index = 3, name = "mxfc-registers", size = 0x1000, access = 4..=4)]
#[capability(Capability::express(true))]
#[capability(Capability::power_management())]
pub struct Mxfc {
    #[place]
    pci: Pci,
    boot: Option<Arc<Region>>,
    log: Option<Arc<dyn CharPort>>,
    #[state]
    regs: Registers,
}

impl Mxfc {
    /// Gives it its boot flash and where the serial port leads to; to be said before it is plugged in.
    pub fn connect(cell: &DeviceCell<Self>, boot: Arc<Region>, log: Option<Arc<dyn CharPort>>) {
        cell.with(|card| (card.boot, card.log) = (Some(boot), log));
    }

    fn update(&self) {
        self.pci.interrupt(self.regs.int_status & self.regs.int_enable != 0);
    }

    fn erase(&mut self, block: usize) {
        match self.regs.data.chunks_mut(BLOCK).nth(block) {
            Some(bytes) => {
                bytes.fill(0xff);
                self.regs.int_status |= interrupt::ERASED;
            }
            None => base::guest_error!("mxfc: there is no block {block} to erase"),
        }
    }

    fn send(&mut self, byte: u8) {
        if let Some(log) = &self.log {
            log.write(&[byte]);
        }
        self.regs.sent = self.regs.sent.wrapping_add(1);
        self.regs.int_status |= interrupt::SENT;
    }
}

impl Device for Mxfc {
    fn read(&mut self, region: usize, offset: u64, _: u32) -> u64 {
        let regs = &self.regs;
        let byte = |memory: &[u8]| memory.get(offset as usize).copied().unwrap_or(0xff).into();
        match (region, offset) {
            (window::DATA, _) => byte(&regs.data),
            (window::EEPROM, _) => byte(&regs.eeprom),
            (window::REGISTERS, ID) => NAME.into(),
            (window::REGISTERS, INT_STATUS) => regs.int_status.into(),
            (window::REGISTERS, INT_ENABLE) => regs.int_enable.into(),
            (window::REGISTERS, SENT) => regs.sent.into(),
            (window::REGISTERS, _) => 0,
            // The boot flash is another chip's window.
            _ => u64::MAX,
        }
    }

    fn write(&mut self, region: usize, offset: u64, _: u32, value: u64) -> Effect {
        let word = value as u32;
        match (region, offset) {
            (window::DATA, _) => {
                if let Some(byte) = self.regs.data.get_mut(offset as usize) {
                    *byte &= value as u8;
                }
            }
            (window::EEPROM, _) => {
                if let Some(byte) = self.regs.eeprom.get_mut(offset as usize) {
                    *byte = value as u8;
                }
            }
            (window::REGISTERS, INT_STATUS) => self.regs.int_status &= !word,
            (window::REGISTERS, INT_ENABLE) => self.regs.int_enable = word & interrupt::ALL,
            (window::REGISTERS, SERIAL) => self.send(value as u8),
            (window::REGISTERS, ERASE) => self.erase(word as usize),
            _ => base::guest_error!("mxfc: write of {value:#x} to {offset:#x} means nothing"),
        }
        if region == window::REGISTERS {
            self.update();
        }
        Effect::None
    }

    fn realize(&mut self) -> base::Result<()> {
        if let Some(boot) = &self.boot {
            self.pci.show(window::BOOT, boot);
        }
        Ok(())
    }

    fn reset(&mut self) {
        let Registers { data, eeprom, .. } = std::mem::take(&mut self.regs);
        self.regs = Registers { data, eeprom, ..Registers::default() };
    }

    fn loaded(&mut self) -> Result<(), String> {
        if self.regs.data.len() != DATA_SIZE || self.regs.eeprom.len() != EEPROM_SIZE {
            return Err("the card's memories have another size".into());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "mxfc_test.rs"]
mod test;
