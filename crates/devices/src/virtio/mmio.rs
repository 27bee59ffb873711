//! The MMIO transport: "virtio-mmio".
//!
//! Document: VIRTIO 1.2, sections 4.2.2 (register layout) and 4.2.4 (legacy interface). With `force-legacy`,
//! which is on unless asked otherwise, the device reports version 1 and speaks the legacy interface only.
//! There are no shared memory regions.

use std::sync::Arc;

use base::Bits;
use memory::Dma;
use object::{AnyDevice, Device, DeviceCell, Effect, Line};
use state::State;

use super::common::{Doorbell, Function, FunctionRef, Wiring, isr};
use super::queue::Queue;

/// Offsets of registers.
mod register {
    pub const MAGIC_VALUE: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const VENDOR_ID: u64 = 0x00c;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const GUEST_PAGE_SIZE: u64 = 0x028;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_NUM_MAX: u64 = 0x034;
    pub const QUEUE_NUM: u64 = 0x038;
    pub const QUEUE_ALIGN: u64 = 0x03c;
    pub const QUEUE_PFN: u64 = 0x040;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC_LOW: u64 = 0x080;
    pub const QUEUE_DESC_HIGH: u64 = 0x084;
    pub const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub const SHM_SEL: u64 = 0x0ac;
    pub const SHM_LEN_LOW: u64 = 0x0b0;
    pub const SHM_LEN_HIGH: u64 = 0x0b4;
    pub const QUEUE_RESET: u64 = 0x0c0;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
    pub const CONFIG: u64 = 0x100;
}

/// "virt".
const MAGIC: u64 = 0x7472_6976;
/// "QEMU", which drivers know.
const VENDOR: u64 = 0x554d_4551;

/// What belongs to the transport and not to the device.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio_mmio")]
pub struct Registers {
    device_features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u32,
    /// Legacy: how addresses are made from page numbers, as a shift.
    page_shift: u32,
    /// Legacy: what the used ring is aligned to.
    queue_align: u32,
}

/// The transport. Its bus, `virtio-mmio-bus.N`, has room for one device.
#[derive(Device)]
#[device(name = "virtio-mmio", parent = "sys-bus-device", bus = "System", category = "misc")]
#[mmio(name = "virtio-mmio", size = 0x200, access = 1..=8, implemented = 1..=4)]
pub struct VirtioMmio {
    /// Speak the legacy interface only.
    #[property(name = "force-legacy", default = true)]
    pub force_legacy: bool,
    /// Name the transport's address in the paths of devices.
    #[property(name = "format_transport_address", default = true)]
    pub format_transport_address: bool,

    /// The interrupt.
    #[wire(name = "sysbus-irq")]
    irq: Line,
    function: Option<FunctionRef>,
    bell: Option<Arc<dyn Doorbell>>,

    #[state]
    regs: Registers,
}

impl VirtioMmio {
    /// A transport with nobody on its bus.
    pub fn new(force_legacy: bool) -> Self {
        Self { force_legacy, ..Self::default() }
    }

    /// Whether a device is plugged in.
    pub fn is_occupied(&self) -> bool {
        self.function.is_some()
    }

    /// Plugs a device in. The transport's interrupt is connected before.
    ///
    /// # Errors
    /// The bus is full.
    pub fn plug(cell: &DeviceCell<Self>, function: FunctionRef, dma: Dma) -> base::Result<()> {
        cell.with(|transport| {
            if transport.is_occupied() {
                return Err("the bus of the virtio-mmio transport is full".into());
            }
            function.attach(Wiring {
                dma: Some(dma),
                irq: transport.irq.clone(),
                legacy: transport.force_legacy,
                messages: None,
            });
            transport.function = Some(function);
            Ok(())
        })
    }

    /// Plugs a device of any type in, if it is a virtio device.
    ///
    /// # Errors
    /// The bus is full, or the device does not belong on it.
    pub fn plug_any(cell: &DeviceCell<Self>, device: &Arc<dyn AnyDevice>, dma: Dma) -> base::Result<()> {
        match super::function(device) {
            Some(function) => Self::plug(cell, function, dma),
            None => Err(base::error!("a device of type '{}' is no virtio device", device.type_info().name)),
        }
    }

    fn queue<R: Default>(&self, look: impl FnOnce(&mut Queue) -> R) -> R {
        let mut result = R::default();
        let mut look = Some(look);
        if let Some(function) = &self.function {
            function.with_queue(self.regs.queue_sel as usize, &mut |queue| {
                if let Some(look) = look.take() {
                    result = look(queue);
                }
            });
        }
        result
    }

    fn read_register(&self, function: &dyn Function, offset: u64) -> u64 {
        match offset {
            register::MAGIC_VALUE => MAGIC,
            register::VERSION => {
                if self.force_legacy {
                    1
                } else {
                    2
                }
            }
            register::DEVICE_ID => u64::from(function.id()),
            register::VENDOR_ID => VENDOR,
            register::DEVICE_FEATURES => {
                let shift = match (self.regs.device_features_sel, self.force_legacy) {
                    (0, _) => 0,
                    (_, true) => return 0,
                    _ => 32,
                };
                function.offered() >> shift & 0xffff_ffff
            }
            register::QUEUE_NUM_MAX => u64::from(self.queue(|queue| queue.max_size)),
            register::QUEUE_PFN if self.force_legacy => {
                self.queue(|queue| queue.desc).checked_shr(self.regs.page_shift).unwrap_or(0)
            }
            register::QUEUE_READY if !self.force_legacy => u64::from(self.queue(|queue| queue.ready)),
            register::INTERRUPT_STATUS => u64::from(function.isr()),
            register::STATUS => u64::from(function.status()),
            register::CONFIG_GENERATION if !self.force_legacy => u64::from(function.config_generation()),
            // There is no shared memory: its length is -1 whatever is selected.
            register::SHM_LEN_LOW | register::SHM_LEN_HIGH => 0xffff_ffff,
            // A queue is reset at once.
            register::QUEUE_RESET => 0,
            _ => {
                base::guest_error!("virtio-mmio: read of {offset:#x}, where no register can be read");
                0
            }
        }
    }

    fn write_register(&mut self, function: &dyn Function, offset: u64, value: u64) {
        let word = value as u32;
        match offset {
            register::DEVICE_FEATURES_SEL => self.regs.device_features_sel = word,
            register::DRIVER_FEATURES_SEL => self.regs.driver_features_sel = word,
            register::DRIVER_FEATURES => match (self.regs.driver_features_sel, self.force_legacy) {
                (0, _) | (1, false) => function.set_driver_features(self.regs.driver_features_sel, word),
                _ if word == 0 => {}
                _ => base::guest_error!("virtio-mmio: features beyond those that exist are set"),
            },
            register::QUEUE_SEL => self.regs.queue_sel = word,
            register::QUEUE_NUM => {
                if !self.queue(|queue| queue.ready || queue.set_size(value)) {
                    base::guest_error!("virtio-mmio: {value} is no size of queue {}", self.regs.queue_sel);
                }
                if self.force_legacy {
                    self.lay_out();
                }
            }
            register::QUEUE_NOTIFY => {
                // The device is plugged in before it is realized, and has its bell only then.
                self.bell = self.bell.take().or_else(|| function.doorbell());
                match &self.bell {
                    Some(bell) => bell.ring(word as u16 as usize),
                    None => function.notify(word as u16 as usize),
                }
            }
            register::INTERRUPT_ACK => function.acknowledge(word & (isr::QUEUE | isr::CONFIG)),
            register::STATUS => {
                // A reset concerns the device, and selects queue 0 as QEMU does. Drivers set the page size before it, and only
                // once.
                if word as u8 == 0 {
                    self.regs.queue_sel = 0;
                }
                function.set_status(word as u8);
            }
            register::SHM_SEL => {}
            _ if self.force_legacy => self.write_legacy(function, offset, word),
            _ => self.write_modern(function, offset, word),
        }
    }

    fn write_legacy(&mut self, function: &dyn Function, offset: u64, value: u32) {
        match offset {
            register::GUEST_PAGE_SIZE if value.is_power_of_two() => {
                self.regs.page_shift = value.trailing_zeros()
            }
            register::QUEUE_ALIGN if value.is_power_of_two() => {
                self.regs.queue_align = value;
                self.lay_out();
            }
            register::QUEUE_PFN if value == 0 => function.reset_queue(self.regs.queue_sel as usize),
            register::QUEUE_PFN => {
                let desc = u64::from(value).wrapping_shl(self.regs.page_shift);
                self.queue(|queue| {
                    queue.desc = desc;
                    queue.ready = true;
                });
                self.lay_out();
            }
            _ => base::guest_error!("virtio-mmio: write of {value:#x} to {offset:#x} means nothing"),
        }
    }

    fn lay_out(&self) {
        let align = u64::from(self.regs.queue_align.max(4));
        self.queue(|queue| queue.lay_out_legacy(align));
    }

    fn write_modern(&mut self, function: &dyn Function, offset: u64, value: u32) {
        let half = u64::from(value);
        let set = |field: &mut u64, high: bool| *field = field.with_bits(if high { 32 } else { 0 }, 32, half);
        match offset {
            register::QUEUE_READY => self.queue(|queue| queue.ready = value & 1 != 0),
            register::QUEUE_RESET if value & 1 != 0 => function.reset_queue(self.regs.queue_sel as usize),
            register::QUEUE_DESC_LOW => self.queue(|queue| set(&mut queue.desc, false)),
            register::QUEUE_DESC_HIGH => self.queue(|queue| set(&mut queue.desc, true)),
            register::QUEUE_DRIVER_LOW => self.queue(|queue| set(&mut queue.driver, false)),
            register::QUEUE_DRIVER_HIGH => self.queue(|queue| set(&mut queue.driver, true)),
            register::QUEUE_DEVICE_LOW => self.queue(|queue| set(&mut queue.device, false)),
            register::QUEUE_DEVICE_HIGH => self.queue(|queue| set(&mut queue.device, true)),
            _ => base::guest_error!("virtio-mmio: write of {value:#x} to {offset:#x} means nothing"),
        }
    }
}

impl Device for VirtioMmio {
    fn read(&mut self, _: usize, offset: u64, size: u32) -> u64 {
        let Some(function) = self.function.clone() else {
            // Without a device the ID is 0, which says that there is none (4.2.2).
            return match offset {
                register::MAGIC_VALUE => MAGIC,
                register::VERSION => {
                    if self.force_legacy {
                        1
                    } else {
                        2
                    }
                }
                register::VENDOR_ID => VENDOR,
                _ => 0,
            };
        };
        if offset >= register::CONFIG {
            return function.read_config(offset - register::CONFIG, size);
        }
        if size != 4 {
            base::guest_error!("virtio-mmio: read of {size} bytes at {offset:#x}; registers have 4");
            return 0;
        }
        self.read_register(&*function, offset)
    }

    fn write(&mut self, _: usize, offset: u64, size: u32, value: u64) -> Effect {
        let Some(function) = self.function.clone() else { return Effect::None };
        if offset >= register::CONFIG {
            function.write_config(offset - register::CONFIG, size, value);
        } else if size == 4 {
            self.write_register(&*function, offset, value);
        } else {
            base::guest_error!("virtio-mmio: write of {size} bytes at {offset:#x}; registers have 4");
        }
        Effect::None
    }
}

#[cfg(test)]
#[path = "mmio_test.rs"]
mod test;
