//! Error detection: a driver injects or meets errors, is interrupted, and may restart the board.
//!
//! | window | offset | register | |
//! |---|---|---|---|
//! | reg1 | 0x000 | int_status | the errors that have happened; ones that are written clear |
//! | reg1 | 0x004 | int_enable | those of them that interrupt |
//! | reg1 | 0x500 | restart | writing 0x42 resets the machine |
//! | err | 0x0 | inject | the errors that are written happen |
//! | err | 0x4 | count | how many have been injected |

use object::{Device, Effect, Line};
use state::State;

const REG1: usize = 0;
const INT_STATUS: u64 = 0x000;
const INT_ENABLE: u64 = 0x004;
const RESTART: u64 = 0x500;
const INJECT: u64 = 0x0;
const COUNT: u64 = 0x4;

/// What restarts the machine.
const MAGIC: u64 = 0x42;

/// What the guest sees.
#[derive(Clone, Debug, Default, State)]
#[state(name = "clabpu-edc", version = 1)]
pub struct Registers {
    int_status: u32,
    int_enable: u32,
    count: u32,
}

/// The device.
#[derive(Device)]
#[device(
    name = "clabpu-edc",
    desc = "CLabPU error detection",
    parent = "sys-bus-device",
    bus = "System",
    category = "misc"
)]
#[mmio(name = "clabpu-edc-reg1", size = 0x1000, access = 4..=4)]
#[mmio(name = "clabpu-edc-err", size = 0x100, access = 4..=4)]
pub struct Edc {
    /// High while an error has happened that interrupts.
    #[wire(name = "sysbus-irq")]
    irq: Line,
    #[state]
    regs: Registers,
}

impl Edc {
    fn level(&self) -> bool {
        self.regs.int_status & self.regs.int_enable != 0
    }
}

impl Device for Edc {
    fn read(&mut self, region: usize, offset: u64, _: u32) -> u64 {
        let value = match (region, offset) {
            (REG1, INT_STATUS) => self.regs.int_status,
            (REG1, INT_ENABLE) => self.regs.int_enable,
            (REG1, _) | (_, INJECT) => 0,
            (_, COUNT) => self.regs.count,
            _ => 0,
        };
        value.into()
    }
    fn write(&mut self, region: usize, offset: u64, _: u32, value: u64) -> Effect {
        let word = value as u32;
        match (region, offset) {
            (REG1, INT_STATUS) => self.regs.int_status &= !word,
            (REG1, INT_ENABLE) => self.regs.int_enable = word,
            (REG1, RESTART) if value == MAGIC => return Effect::RESET,
            (1, INJECT) => {
                self.regs.int_status |= word;
                self.regs.count = self.regs.count.wrapping_add(word.count_ones());
            }
            _ => base::guest_error!("clabpu_edc: write of {value:#x} to {offset:#x} means nothing"),
        }
        self.irq.set(self.level());
        Effect::None
    }
    fn reset(&mut self) {
        self.reset_state();
        self.irq.lower();
    }
    fn loaded(&mut self) -> Result<(), String> {
        self.irq.refresh(self.level());
        Ok(())
    }
}

#[cfg(test)]
#[path = "edc_test.rs"]
mod test;
