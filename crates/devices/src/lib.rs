//! Guest-visible hardware, one file for each chip.
//!
//! A device knows the machine by its wires, its DMA handle, its timers and its back ends only; which address
//! it sits at and what its lines lead to is the board's business. [`types`] lists all of them.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod block;
pub mod char;
pub mod firmware;
pub mod intc;
pub mod misc;
pub mod net;
pub mod pci;
pub mod property_types;
pub mod rtc;
pub mod timer;
pub mod virtio;

use object::{Anatomy, AnyDevice, TypeInfo};
use std::sync::Arc;

/// All types of devices.
pub fn types() -> Vec<&'static TypeInfo> {
    let mut types = vec![
        block::nvme::Nvme::TYPE,
        block::nvme::NvmeNamespace::TYPE,
        block::pflash_cfi01::PflashCfi01::TYPE,
        char::ns16550a::Ns16550a::TYPE,
        char::pci_serial::PciSerial::TYPE,
        firmware::fw_cfg::FwCfgMem::TYPE,
        intc::riscv_aclint::AclintMtimer::TYPE,
        intc::riscv_aclint::AclintSwi::TYPE,
        intc::riscv_aplic::Aplic::TYPE,
        intc::riscv_imsic::Imsic::TYPE,
        intc::sifive_plic::SifivePlic::TYPE,
        misc::edu::Edu::TYPE,
        misc::pci_testdev::PciTestdev::TYPE,
        misc::platform_bus::PlatformBus::TYPE,
        misc::pvpanic::PvpanicPci::TYPE,
        misc::sifive_test::SifiveTest::TYPE,
        net::e1000e::E1000e::TYPE,
        rtc::goldfish_rtc::GoldfishRtc::TYPE,
        virtio::balloon::VirtioBalloon::TYPE,
        virtio::blk::VirtioBlk::TYPE,
        virtio::console::VirtioSerial::TYPE,
        virtio::console::Virtconsole::TYPE,
        virtio::console::Virtserialport::TYPE,
        virtio::mmio::VirtioMmio::TYPE,
        virtio::net::VirtioNet::TYPE,
        virtio::rng::VirtioRng::TYPE,
    ];
    types.extend(pci::TYPES);
    types.extend(virtio::pci::types());
    types
}

/// The device inside of a device that is made of two: what has back ends, and a state of its own.
pub fn inside(device: &Arc<dyn AnyDevice>) -> Option<Arc<dyn AnyDevice>> {
    virtio::pci::inside(device).or_else(|| {
        let cell = device.clone().downcast::<char::pci_serial::PciSerial>()?;
        cell.with(|serial| serial.port().cloned()).map(|port| port as Arc<dyn AnyDevice>)
    })
}

/// The trace points of this crate, beside those that each type of device has.
pub const TRACE: &[&base::trace::Points] = &[
    &net::e1000e::trace::POINTS,
    &virtio::blk_request::trace::POINTS,
    &virtio::common::trace::POINTS,
    &virtio::net::trace::POINTS,
];

#[cfg(test)]
mod common_test;
#[cfg(test)]
mod oracle_test;
