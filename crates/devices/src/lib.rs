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
pub mod pci;
pub mod property_types;
pub mod rtc;
pub mod timer;
pub mod virtio;

use object::{Anatomy, TypeInfo};

/// All types of devices.
pub fn types() -> Vec<&'static TypeInfo> {
    let mut types = vec![
        block::pflash_cfi01::PflashCfi01::TYPE,
        char::ns16550a::Ns16550a::TYPE,
        firmware::fw_cfg::FwCfgMem::TYPE,
        intc::riscv_aclint::AclintMtimer::TYPE,
        intc::riscv_aclint::AclintSwi::TYPE,
        intc::riscv_aplic::Aplic::TYPE,
        intc::riscv_imsic::Imsic::TYPE,
        intc::sifive_plic::SifivePlic::TYPE,
        misc::platform_bus::PlatformBus::TYPE,
        misc::sifive_test::SifiveTest::TYPE,
        rtc::goldfish_rtc::GoldfishRtc::TYPE,
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

#[cfg(test)]
mod common_test;
#[cfg(test)]
mod oracle_test;
