//! Where a user's devices go: the slots for virtio devices and the buses of PCI Express. Before the machine runs, and
//! while it does.

use crate::board::Slot;
use base::{Result, error};
use devices::pci::PciBus;
use devices::virtio;
use devices::virtio::mmio::VirtioMmio;
use events::EventLoop;
use memory::{AddressSpace, Dma};
use object::{AnyDevice, Node, ObjectRef, PropertyValue};
use std::sync::Arc;

/// What has come with a device: all that is to be reset and saved.
pub type Arrivals = Vec<Arc<dyn AnyDevice>>;

/// The places of a board that take devices.
#[derive(Clone)]
pub struct Sockets {
    /// The board in the object tree.
    pub machine: ObjectRef,
    /// What devices see that are on no bus of their own.
    pub memory: Arc<AddressSpace>,
    /// Slots for virtio devices, in order of address.
    pub slots: Vec<Slot>,
    /// The root bus of PCI Express.
    pub pci: Option<Arc<PciBus>>,
    /// Values for properties of all devices of a type: type, property, value.
    pub globals: Vec<(String, String, String)>,
    /// The main loop.
    pub events: EventLoop,
    /// Number of processors.
    pub cpus: usize,
}

impl Sockets {
    /// Sets the properties of a device that `-global` gives for its type or one that it is a kind of.
    ///
    /// # Errors
    /// A value that the property does not take.
    pub fn apply_globals(&self, device: &Arc<dyn AnyDevice>) -> Result<()> {
        apply_globals(&self.globals, device)
    }

    /// Plugs a device in, on the bus called `bus` or where there is room. `id` is the user's name for it. `running` when
    /// the machine has started.
    ///
    /// # Errors
    /// There is no such bus, no room, or the device refuses its configuration.
    pub fn plug(
        &self,
        device: &Arc<dyn AnyDevice>,
        id: Option<&str>,
        bus: Option<&str>,
        running: bool,
    ) -> Result<Arrivals> {
        let node = Node::for_device(device.clone());
        let container = if id.is_some() { "peripheral" } else { "peripheral-anon" };
        let container = self.machine.child(container).unwrap_or_else(|| self.machine.clone());
        container.add_child(id.unwrap_or("device[*]"), &node);
        let plugged = if is_for_pci(device) {
            self.plug_pci(device, &node, bus, running)
        } else {
            self.plug_virtio(device, &node, bus, running)
        };
        if plugged.is_err() {
            node.unparent();
        }
        plugged
    }

    fn plug_virtio(
        &self,
        device: &Arc<dyn AnyDevice>,
        node: &ObjectRef,
        bus: Option<&str>,
        running: bool,
    ) -> Result<Arrivals> {
        let name = device.type_info().name;
        let free = |slot: &&Slot| !slot.transport.with(|t| t.is_occupied());
        let slot = match bus {
            Some(bus) => {
                let named = self.slots.iter().find(|s| s.bus.name().as_deref() == Some(bus));
                let slot = named.ok_or_else(|| error!("Bus '{bus}' not found"))?;
                Some(slot).filter(free).ok_or_else(|| error!("Bus '{bus}' is full"))?
            }
            None => {
                let last = self.slots.iter().rev().find(free);
                last.ok_or_else(|| error!("No 'virtio-bus' bus found for device '{name}'"))?
            }
        };
        if running {
            let bus = slot.bus.name().unwrap_or_default();
            return Err(error!("Bus '{bus}' does not support hotplugging"));
        }
        slot.bus.attach(node);
        VirtioMmio::plug_any(&slot.transport, device, Dma::new(&self.memory))?;
        device.realize()?;
        Ok(vec![device.clone()])
    }

    fn plug_pci(
        &self,
        device: &Arc<dyn AnyDevice>,
        node: &ObjectRef,
        bus: Option<&str>,
        running: bool,
    ) -> Result<Arrivals> {
        let name = device.type_info().name;
        let root = self.pci.as_ref().ok_or_else(|| error!("No 'PCI' bus found for device '{name}'"))?;
        let bus = match bus {
            None => root.clone(),
            Some(wanted) => {
                let named = root.all().into_iter().find(|b| b.name() == wanted);
                named.ok_or_else(|| error!("Bus '{wanted}' not found"))?
            }
        };
        let address = device.property("addr").and_then(|v| v.as_int()).and_then(|n| u8::try_from(n).ok());
        let multifunction = device.property("multifunction").and_then(|v| v.as_bool()) == Some(true);
        let inside = devices::inside(device);
        if let Some(inside) = virtio::pci::inside(device) {
            let (part, parts) = (Node::for_device(inside), Node::new("virtio-pci-bus"));
            node.add_child("virtio-backend", &part);
            node.add_child("virtio-bus", &parts);
            parts.attach(&part);
        }
        let function = bus.plug(device, node, address, multifunction, running)?;
        // The configuration first: a device that has been loaded goes on with its work, for which it needs its way to
        // memory and its interrupts.
        let mut arrivals: Arrivals =
            function.config().map(|c| c.clone() as Arc<dyn AnyDevice>).into_iter().collect();
        arrivals.push(device.clone());
        arrivals.extend(inside);
        Ok(arrivals)
    }
}

/// Sets the properties of a device that `-global` gives for its type or one that it is a kind of.
///
/// # Errors
/// A value that the property does not take.
pub(crate) fn apply_globals(globals: &[(String, String, String)], device: &Arc<dyn AnyDevice>) -> Result<()> {
    let info = device.type_info();
    for (kind, property, value) in globals {
        if kind == info.name || info.parent == Some(kind) {
            let fail = |e: object::PropertyError| {
                let reason = e.error(info.name, "", property, value);
                error!("can't apply global {kind}.{property}={value}: {reason}")
            };
            device.set_property(property, &PropertyValue::Str(value.clone())).map_err(fail)?;
        }
    }
    Ok(())
}

/// Whether a device is one for PCI.
pub fn is_for_pci(device: &Arc<dyn AnyDevice>) -> bool {
    device.type_info().bus == Some("PCI")
}
