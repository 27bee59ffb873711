//! "platform-bus-device": room for devices that a board describes by itself. None of those exist, so it is empty.

use object::{Device, Line};

/// The bus.
#[derive(Device)]
#[device(name = "platform-bus-device", parent = "sys-bus-device", bus = "System", category = "misc")]
pub struct PlatformBus {
    /// Interrupts for its devices.
    #[property(name = "num_irqs", default = 32u32)]
    pub num_irqs: u32,
    /// Bytes of its part of the memory map.
    #[property(name = "mmio_size", default = 0x200_0000u32)]
    pub mmio_size: u32,
    /// Lines to the interrupt controller.
    #[wire(name = "sysbus-irq")]
    irqs: [Line; 32],
}

impl Device for PlatformBus {}
