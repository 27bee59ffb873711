//! Virtio: the transport, the queues and the devices.
//!
//! Document: Virtual I/O Device (VIRTIO) Version 1.2, Committee Specification 01.
//!
//! A virtio device is made of two: the transport (`virtio-mmio`, or one of [`pci`]), which the guest's bus knows, and the device
//! on the transport's bus. The queues and the status belong to the device, since its back end works on them
//! from other threads; the transport decodes its registers and asks the device. So the order of locks is
//! always transport before device, and a device never calls its transport: all that it needs to tell it is an
//! interrupt, which is a [`object::Line`].

pub mod balloon;
pub mod blk;
pub(crate) mod blk_request;
pub mod common;
pub mod console;
pub mod mmio;
pub mod net;
mod net_filter;
mod net_others;
mod net_pairs;
pub mod pci;
pub mod queue;
pub mod rng;

#[cfg(test)]
pub(crate) mod driver_test;

use std::sync::Arc;

use object::{AnyDevice, Device, DeviceCell};

use common::{FunctionRef, VirtioDevice};

/// The device as its transport sees it, if it is a virtio device.
pub fn function(device: &Arc<dyn AnyDevice>) -> Option<FunctionRef> {
    fn is<D: Device + VirtioDevice>(device: &Arc<dyn AnyDevice>) -> Option<FunctionRef> {
        let cell: Arc<DeviceCell<D>> = device.clone().downcast()?;
        Some(cell)
    }
    is::<blk::VirtioBlk>(device)
        .or_else(|| is::<net::VirtioNet>(device))
        .or_else(|| is::<console::VirtioSerial>(device))
        .or_else(|| is::<rng::VirtioRng>(device))
        .or_else(|| is::<balloon::VirtioBalloon>(device))
}
