//! The test finisher: a register by which the guest ends or restarts the machine.
//!
//! Document: "sifive,test0" and "sifive,test1" of the Linux device tree bindings (syscon-poweroff,
//! syscon-reboot). The low half of what is written says what to do, the high half is the exit status.

use object::{Device, Effect, ShutdownCause};

const FAIL: u64 = 0x3333;
const PASS: u64 = 0x5555;
const RESET: u64 = 0x7777;

/// The device.
#[derive(Device)]
#[device(name = "riscv.sifive.test", parent = "sys-bus-device", bus = "System", category = "misc")]
#[mmio(name = "riscv.sifive.test", size = 0x1000, access = 2..=8, implemented = 2..=4)]
pub struct SifiveTest {}

impl SifiveTest {
    /// The device.
    pub fn new() -> Self {
        Self {}
    }
}

impl Device for SifiveTest {
    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        let code = (value >> 16 & 0xffff) as u32;
        match (offset, value & 0xffff) {
            (0, FAIL) => Effect::Shutdown { cause: ShutdownCause::GuestPanic, status: code },
            (0, PASS) => Effect::Shutdown { cause: ShutdownCause::GuestShutdown, status: code },
            (0, RESET) => Effect::RESET,
            _ => {
                base::guest_error!("sifive_test: write of {value:#x} to {offset:#x} means nothing");
                Effect::None
            }
        }
    }
}

#[cfg(test)]
#[path = "sifive_test_test.rs"]
mod test;
