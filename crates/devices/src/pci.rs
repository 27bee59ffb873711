//! PCI and PCI Express: configuration space, buses, interrupts.
//!
//! Documents: PCI Local Bus 3.0; PCI-to-PCI Bridge Architecture 1.2; PCI Express Base 3.0.
//!
//! Glossary. A *function* ([`Function`]) is a device's place on a [`PciBus`]: it owns the configuration space, maps
//! what lies behind the base address registers, and carries DMA and interrupts. A device reaches it through [`Pci`], a
//! field of its struct. A *bridge* is a function with a bus behind it; a [`host`] is where the root bus meets the
//! processors' memory.
//!
//! **Who calls whom.** processor -> [`host`] -> function -> [`ConfigSpace`] for configuration; processor -> region -> the
//! device itself for what lies behind BARs; device -> [`Pci`] -> function -> memory (DMA, messages) or line (INTx).
//!
//! **Locks.** The configuration space is a device with a lock of its own, which is taken last: it calls nobody. A write
//! that moves a BAR returns an effect; the effect asks the configuration space what is to be mapped *now*, under the
//! function's own lock of its mappings. So a late effect never undoes a newer one, and nothing that the memory map
//! waits for waits for a device.

mod bus;
mod config;
mod function;
pub mod host;
mod layout;
mod link;
pub mod port;
mod print;

pub use bus::{Intx, PciBus};
pub use config::ConfigSpace;
pub use function::{ConfigHook, Function};
pub use link::{Pci, address_text, parse_address};
pub use print::{BarInfo, BridgeInfo, FunctionInfo, class_name, info_pci};

use object::{Anatomy, TypeInfo};

/// What the types of PCI devices stand on.
pub const INTERFACES: &[TypeInfo] = &[
    TypeInfo::interface("pci-device", Some("device")),
    TypeInfo::interface("virtio-pci", Some("pci-device")),
    TypeInfo::interface("pci-bridge-base", Some("pci-device")),
    TypeInfo::interface("pcie-port", Some("pci-bridge-base")),
    TypeInfo::interface("pcie-slot", Some("pcie-port")),
    TypeInfo::interface("pcie-root-port-base", Some("pcie-slot")),
    TypeInfo::interface("pci-host-bridge", Some("sys-bus-device")),
    TypeInfo::interface("pcie-host-bridge", Some("pci-host-bridge")),
];

/// All types that are part of the bus.
pub const TYPES: &[&TypeInfo] = &[
    host::GpexHost::TYPE,
    host::GpexRoot::TYPE,
    port::DownstreamPort::TYPE,
    port::PciePciBridge::TYPE,
    port::RootPort::TYPE,
    port::UpstreamPort::TYPE,
];

#[cfg(test)]
#[path = "pci/pci_test.rs"]
mod test;
