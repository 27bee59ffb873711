//! A serial port on PCI: "pci-serial". The port itself is the 16550A of [`super::ns16550a`].

use std::sync::Arc;

use backends::char::CharPort;
use events::EventLoop;
use object::{AnyDevice, Device, DeviceCell, Effect, PropertyError, PropertyType, PropertyValue};

use super::ns16550a::Ns16550a;
use crate::pci::Pci;

/// Id of a character back end; empty for none.
#[derive(Clone, Debug, Default)]
pub struct ChardevId(pub String);

impl PropertyType for ChardevId {
    const KIND: &'static str = "str";
    const DESC: &'static str = "ID of a chardev to use as a backend";
    fn get(&self) -> PropertyValue {
        PropertyValue::Str(self.0.clone())
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        self.0.set(value)
    }
}

/// The device.
#[derive(Device)]
#[device(name = "pci-serial", category = "input", user_creatable)]
#[pci(vendor = 0x1b36, device = 0x0002, revision = 1, class = 0x07_0000 | u32::from(self.interface), pin = 1)]
#[bar(index = 0, kind = Io, name = "serial", size = 8, access = 1..=1)]
pub struct PciSerial {
    /// Id of the back end.
    #[property]
    pub chardev: ChardevId,
    /// Programming interface: 2 for a 16550.
    #[property(name = "prog_if", default = 2u8)]
    pub interface: u8,
    /// Its place on the bus.
    #[place]
    pci: Pci,
    port: Option<Arc<DeviceCell<Ns16550a>>>,
}

impl PciSerial {
    /// Gives the port its clock and its back end; to be called before it is realized.
    pub fn connect(cell: &DeviceCell<Self>, events: &EventLoop, back: Option<Arc<dyn CharPort>>) {
        let port = DeviceCell::new(Ns16550a::new(115_200, 0));
        Ns16550a::connect(&port, events, back);
        cell.with(|device| device.port = Some(port));
    }

    /// The port inside.
    pub fn port(&self) -> Option<&Arc<DeviceCell<Ns16550a>>> {
        self.port.as_ref()
    }
}

impl Device for PciSerial {
    fn read(&mut self, _: usize, offset: u64, size: u32) -> u64 {
        self.port.as_ref().map_or(0xff, |port| port.read(0, offset, size))
    }

    fn write(&mut self, _: usize, offset: u64, size: u32, value: u64) -> Effect {
        self.port.as_ref().map_or(Effect::None, |port| port.write(0, offset, size, value))
    }

    fn realize(&mut self) -> base::Result<()> {
        if let Some(port) = &self.port {
            port.connect("sysbus-irq", 0, self.pci.intx_line());
            port.realize()?;
        }
        Ok(())
    }

    fn reset(&mut self) {
        if let Some(port) = &self.port {
            AnyDevice::reset(&**port);
        }
    }
}
