//! Namespaces of NVMe controllers: devices on a bus that each controller has.

use super::{Backends, Held, find_device};
use base::{Result, error};
use devices::block::nvme::{Nvme, NvmeNamespace};
use machines::Sockets;
use object::{AnyDevice, DeviceCell, Node, ObjectRef};
use std::sync::{Arc, Weak};

/// The bus of a controller.
pub(super) struct Bus {
    name: String,
    controller: Weak<DeviceCell<Nvme>>,
    node: ObjectRef,
}

impl Backends {
    /// A controller has come: it has a bus, with the controller's own name.
    pub(super) fn add_nvme_bus(&mut self, sockets: &Sockets, device: &Arc<dyn AnyDevice>, id: Option<&str>) {
        let Some(cell) = device.clone().downcast::<Nvme>() else { return };
        let count = self.nvme_buses.len();
        let name = id.map_or_else(|| format!("nvme-bus.{count}"), str::to_owned);
        let node = Node::new("nvme-bus");
        if let Some(place) = find_device(&sockets.machine, device) {
            place.add_child(&name, &node);
        }
        self.nvme_buses.push(Bus { name, controller: Arc::downgrade(&cell), node });
    }

    /// Adds a namespace to a controller.
    pub(super) fn namespace(
        &mut self,
        sockets: &Sockets,
        device: &Arc<dyn AnyDevice>,
        id: Option<&str>,
        bus: Option<&str>,
        running: bool,
    ) -> Result<()> {
        let name = device.type_info().name;
        let alive = |bus: &&Bus| bus.controller.strong_count() > 0;
        let mut buses = self.nvme_buses.iter().filter(alive);
        let found = match bus {
            Some(wanted) => {
                buses.find(|bus| bus.name == wanted).ok_or_else(|| error!("Bus '{wanted}' not found"))
            }
            None => buses.next().ok_or_else(|| error!("No 'nvme-bus' bus found for device '{name}'")),
        }?;
        if running {
            return Err(error!("Bus '{}' does not support hotplugging", found.name));
        }
        let (controller, bus) = (found.controller.upgrade(), found.node.clone());
        let Some((controller, cell)) = controller.zip(device.clone().downcast::<NvmeNamespace>()) else {
            return Err(error!("Device '{name}' can't go on this bus"));
        };
        let drive = cell.with(|namespace| namespace.drive.clone());
        if drive.is_empty() {
            return Err(error!("block backend not configured"));
        }
        let medium = self.medium(&drive, name)?;
        let held = vec![Held::Drive(drive.clone())];
        let added = cell.with(|namespace| {
            let number = Nvme::add_namespace(&controller, namespace, medium)?;
            namespace.nsid = number;
            Ok(())
        });
        if let Err(error) = added {
            self.release(&held);
            return Err(error);
        }
        Nvme::follow_clock(&controller, &sockets.events);
        let node = Node::for_device(device.clone());
        let container = if id.is_some() { "peripheral" } else { "peripheral-anon" };
        if let Some(container) = sockets.machine.child(container) {
            container.add_child(id.unwrap_or("device[*]"), &node);
        }
        bus.attach(&node);
        let mut blocks = self.blocks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        blocks.set_user(&drive, &node.path());
        drop(blocks);
        self.holders.push((Arc::downgrade(device), id.map(str::to_owned), held));
        Ok(())
    }

    /// A controller leaves: so do its namespaces. Returns their places.
    pub(super) fn leave_nvme_bus(&mut self, device: &Arc<dyn AnyDevice>) -> Vec<ObjectRef> {
        let Some(cell) = device.clone().downcast::<Nvme>() else { return Vec::new() };
        let mine = |bus: &Bus| bus.controller.ptr_eq(&Arc::downgrade(&cell));
        let Some(place) = self.nvme_buses.iter().position(mine) else { return Vec::new() };
        let bus = self.nvme_buses.remove(place);
        let nodes = bus.node.attached();
        for device in nodes.iter().filter_map(|node| node.device()) {
            self.give_up(device);
        }
        nodes
    }
}
