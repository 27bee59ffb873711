//! A device's own end of its place on a PCI bus.

use std::sync::Arc;

use memory::{Dma, Region};
use object::{BusLink, BusPlace, Properties, PropertyError, PropertySet, PropertyType, PropertyValue, Size};
use object::{Line, PropertyInfo};

use super::function::Function;

/// The field by which a device reaches its bus: `#[place] pci: Pci`. It also has the properties of all PCI devices.
#[derive(Default)]
pub struct Pci {
    function: Option<Arc<Function>>,
    /// What the user has said.
    pub options: PciOptions,
}

/// The properties of all PCI devices.
#[derive(Clone, Debug, Properties)]
pub struct PciOptions {
    /// Where on the bus.
    #[property(default = None, desc = "Slot and optional function number, example: 06.0 or 06")]
    pub addr: Address,
    /// File with an expansion ROM.
    #[property]
    pub romfile: Option<String>,
    /// Bytes of the expansion ROM.
    #[property(default = u32::MAX)]
    pub romsize: u32,
    /// Whether the expansion ROM has a BAR.
    #[property(default = -1)]
    pub rombar: i32,
    /// Whether other functions share the slot.
    #[property]
    pub multifunction: bool,
    /// Report that the link is active.
    #[property(name = "x-pcie-lnksta-dllla", default = true)]
    pub link_active: bool,
    /// Have an extended configuration space.
    #[property(name = "x-pcie-extcap-init", default = true)]
    pub extended: bool,
    /// The device that takes over.
    #[property(name = "failover_pair_id")]
    pub failover_pair: Option<String>,
    /// Number for names given by firmware.
    #[property(name = "acpi-index")]
    pub acpi_index: u32,
    /// Mask for errors.
    #[property(name = "x-pcie-err-unc-mask", default = true)]
    pub error_mask: bool,
    /// Report function 1 as the next.
    #[property(name = "x-pcie-ari-nextfn-1")]
    pub next_function: bool,
    /// Bytes for transfers that are not to memory.
    #[property(
        name = "x-max-bounce-buffer-size",
        default = 4096u64,
        desc = "Maximum buffer size allocated for bounce buffers used for mapped access to indirect DMA memory"
    )]
    pub bounce: Size,
    /// Extended tags.
    #[property(name = "x-pcie-ext-tag", default = true)]
    pub extended_tags: bool,
    /// Number of the bus.
    #[property]
    pub busnr: BusNumber,
}

/// Slot and function, from `06.0` or `06`; none is chosen yet at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(pub Option<u8>);

impl From<Option<u8>> for Address {
    fn from(devfn: Option<u8>) -> Self {
        Self(devfn)
    }
}

/// Reads `SLOT` or `SLOT.FUNCTION`, both hexadecimal.
pub fn parse_address(text: &str) -> Option<u8> {
    let (slot, function) = text.split_once('.').unwrap_or((text, "0"));
    let slot = u8::from_str_radix(slot.trim_start_matches("0x"), 16).ok().filter(|s| *s < 32)?;
    let function = u8::from_str_radix(function.trim_start_matches("0x"), 16).ok().filter(|f| *f < 8)?;
    Some(slot << 3 | function)
}

/// Slot and function as text.
pub fn address_text(devfn: u8) -> String {
    format!("{:02x}.{:x}", devfn >> 3, devfn & 7)
}

impl PropertyType for Address {
    const KIND: &'static str = "str";
    fn get(&self) -> PropertyValue {
        PropertyValue::Int(self.0.map_or(-1, i64::from))
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        self.0 = match value {
            PropertyValue::Str(text) => Some(parse_address(text).ok_or(PropertyError::Unusable)?),
            other => match other.as_int().ok_or(PropertyError::Type(Self::KIND))? {
                -1 => None,
                n => Some(u8::try_from(n).map_err(|_| PropertyError::Unusable)?),
            },
        };
        Ok(())
    }
}

/// The number that firmware has given the bus; only read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusNumber(pub u8);

impl PropertyType for BusNumber {
    const KIND: &'static str = "busnr";
    fn get(&self) -> PropertyValue {
        PropertyValue::Uint(self.0.into())
    }
    fn set(&mut self, _: &PropertyValue) -> Result<(), PropertyError> {
        Err(PropertyError::ReadOnly)
    }
}

impl BusLink for Pci {
    fn attach(&mut self, place: BusPlace) -> bool {
        match place.downcast::<Function>() {
            Ok(function) => {
                self.options.addr = Address(Some(function.devfn()));
                self.function = Some(function);
                true
            }
            Err(_) => false,
        }
    }
    fn detach(&mut self) {
        self.function = None;
    }
}

impl PropertySet for Pci {
    fn properties() -> Vec<PropertyInfo> {
        PciOptions::properties()
    }
    fn property(&self, name: &str) -> Option<PropertyValue> {
        if name == "busnr" {
            let number = self.function.as_ref().map_or(0, |f| f.bus().number());
            return Some(PropertyValue::Uint(number.into()));
        }
        self.options.property(name)
    }
    fn set_property(&mut self, name: &str, value: &PropertyValue) -> Result<(), PropertyError> {
        self.options.set_property(name, value)
    }
}

impl Pci {
    /// The function, once the device is on a bus.
    pub fn function(&self) -> Option<&Arc<Function>> {
        self.function.as_ref()
    }
    /// The way to memory, which is closed while the driver has not allowed bus mastering.
    pub fn dma(&self) -> Option<Dma> {
        self.function.as_ref().map(|f| f.dma().clone())
    }
    /// Whether the device is below a port of PCI Express; else it is on the root bus or on a conventional one.
    pub fn is_below_port(&self) -> bool {
        self.function.as_ref().is_some_and(|f| f.bus().is_express() && !f.bus().is_root())
    }
    /// Whether the bus is PCI Express.
    pub fn is_express(&self) -> bool {
        self.function.as_ref().is_some_and(|f| f.bus().is_express())
    }
    /// Has a region stand for register window `n` of the device ([`Function::show`]).
    pub fn show(&self, n: usize, region: &Arc<Region>) {
        if let Some(function) = &self.function {
            function.show(n, region.clone());
        }
    }
    /// Sends message `vector`. False when the driver has switched messages off.
    pub fn signal(&self, vector: u16) -> bool {
        self.config(false, |config| config.signal(vector))
    }
    /// Sets the level of the interrupt pin.
    pub fn set_intx(&self, level: bool) {
        self.config((), |config| config.set_intx(level));
    }
    /// For devices that have one interrupt, in whichever form the driver has chosen: a level at the pin, and a message
    /// when it rises.
    pub fn interrupt(&self, level: bool) {
        self.config((), |config| {
            if !config.msi_enabled() && !config.msix_enabled() {
                config.set_intx(level);
            } else if level {
                config.signal(0);
            }
        });
    }
    /// Whether the driver has switched MSI-X on.
    pub fn msix_enabled(&self) -> bool {
        self.config(false, |config| config.msix_enabled())
    }
    /// The interrupt pin as a line.
    pub fn intx_line(&self) -> Line {
        match &self.function {
            Some(function) => {
                let function = Arc::downgrade(function);
                Line::to_fn(move |level| {
                    if let Some(config) = function.upgrade().and_then(|f| f.config().cloned()) {
                        config.with(|c| c.set_intx(level));
                    }
                })
            }
            None => Line::unconnected(),
        }
    }

    fn config<R>(&self, absent: R, look: impl FnOnce(&mut super::ConfigSpace) -> R) -> R {
        match self.function.as_ref().and_then(|f| f.config()) {
            Some(config) => config.with(look),
            None => absent,
        }
    }
}
