//! `-device`, `-object` and what they name: drives, networks, character devices, entropy.

mod namespaces;
mod objects;

pub use objects::Objects;

use crate::commands::balloon;
use crate::device_events;
use crate::lists::types;
use crate::options::Opts;
use backends::block::{self, BlockDevice, Blocks};
use backends::char::{CharPort, Chardevs};
use backends::net::{Network, ReplayedNet};
use backends::rng::Entropy;
use base::{Result, error};
use devices::block::nvme::Nvme;
use devices::char::pci_serial::PciSerial;
use devices::net::card::{Card, card};
use devices::property_types::MacAddress;
use devices::virtio::balloon::VirtioBalloon;
use devices::virtio::blk::VirtioBlk;
use devices::virtio::console::{PortConfig, VirtioSerial};
use devices::virtio::rng::VirtioRng;
use machines::{Arrivals, Sockets};
use object::{AnyDevice, Node, ObjectRef, PropertyValue};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Something of which only one device can have hold.
enum Held {
    Drive(String),
    Network(String),
}

/// A device with the user's name for it and what it holds.
type Holder = (Weak<dyn AnyDevice>, Option<String>, Vec<Held>);

/// Other names of devices: those of virtio devices are the PCI ones.
const ALIASES: &[(&str, &str)] = &[
    ("virtio-balloon", "virtio-balloon-pci"),
    ("virtio-blk", "virtio-blk-pci"),
    ("virtio-net", "virtio-net-pci"),
    ("virtio-rng", "virtio-rng-pci"),
    ("virtio-serial", "virtio-serial-pci"),
];

/// A device may name an expansion ROM, which is not shown to the guest. Those that come with QEMU are named without a
/// directory; another must be there.
fn check_rom(device: &Arc<dyn AnyDevice>) -> Result<()> {
    let named = device.property("romfile").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    if named.contains('/') && !std::path::Path::new(&named).is_file() {
        return Err(error!("failed to find romfile \"{named}\""));
    }
    Ok(())
}

/// What devices may name.
pub struct Backends {
    /// Drives.
    pub blocks: Arc<Mutex<Blocks>>,
    /// Character devices.
    pub chardevs: Arc<Mutex<Chardevs>>,
    /// Networks by id.
    pub networks: BTreeMap<String, Network>,
    /// Objects.
    pub objects: Objects,
    /// Bytes of the machine's memory.
    pub memory_size: u64,
    /// Networks that a device has.
    pub taken: Vec<String>,
    /// What each device holds of them.
    holders: Vec<Holder>,
    /// Network cards that have been made.
    cards: u8,
    /// Buses of virtio-serial devices by name.
    serial_buses: Vec<(String, Arc<object::DeviceCell<VirtioSerial>>, ObjectRef)>,
    /// Ports with the device they are of.
    serial_ports: Vec<(Weak<Node>, Arc<object::DeviceCell<VirtioSerial>>)>,
    /// Buses of NVMe controllers.
    nvme_buses: Vec<namespaces::Bus>,
}

impl Backends {
    /// Nothing plugged in yet.
    pub fn new(
        blocks: Arc<Mutex<Blocks>>,
        chardevs: Arc<Mutex<Chardevs>>,
        networks: BTreeMap<String, Network>,
        objects: Objects,
    ) -> Backends {
        Backends {
            blocks,
            chardevs,
            networks,
            objects,
            memory_size: 0,
            taken: Vec::new(),
            holders: Vec::new(),
            cards: 0,
            serial_buses: Vec::new(),
            serial_ports: Vec::new(),
            nvme_buses: Vec::new(),
        }
    }

    /// Makes the device of a `-device` option or of `device_add` and plugs it in. `running` when the machine has started.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn device(&mut self, sockets: &Sockets, opts: &Opts, running: bool) -> Result<Arrivals> {
        self.plug(sockets, &mut opts.clone(), running).map_err(|e| opts.blame(e))
    }

    fn plug(&mut self, sockets: &Sockets, opts: &mut Opts, running: bool) -> Result<Arrivals> {
        let types = types();
        let driver = opts.take("driver").ok_or_else(|| error!("Parameter 'driver' is missing"))?;
        let driver = ALIASES.iter().find(|(alias, _)| *alias == driver).map_or(&*driver, |(_, name)| name);
        let invalid = || error!("'{driver}' is not a valid device model name");
        let info = types.find(driver).filter(|t| !t.is_abstract).ok_or_else(invalid)?;
        if !info.user_creatable {
            return Err(error!("Parameter 'driver' expects a pluggable device type"));
        }
        let create = info.create.ok_or_else(invalid)?;
        let (id, bus) = (opts.take("id"), opts.take("bus"));
        if let Some(id) = &id
            && sockets.machine.child("peripheral").is_some_and(|p| p.child(id).is_some())
        {
            return Err(error!("Duplicate ID '{id}' for device"));
        }
        let device = create();
        sockets.apply_globals(&device)?;
        for (key, value) in opts.items() {
            let fail = |e: object::PropertyError| e.error(info.name, id.as_deref().unwrap_or(""), key, value);
            device.set_property(key, &PropertyValue::Str(value.clone())).map_err(fail)?;
        }
        if matches!(info.name, "virtconsole" | "virtserialport") {
            self.port(sockets, &device, id.as_deref(), bus.as_deref())?;
            return Ok(Vec::new());
        }
        if info.name == "nvme-ns" {
            self.namespace(sockets, &device, id.as_deref(), bus.as_deref(), running)?;
            return Ok(Vec::new());
        }
        self.check_slot(&device)?;
        check_rom(&device)?;
        // What is inside a virtio device for PCI is what has back ends.
        let working = devices::virtio::pci::inside(&device).unwrap_or_else(|| device.clone());
        let taken = self.connect(sockets, &working, info.name)?;
        let arrivals = match sockets.plug(&device, id.as_deref(), bus.as_deref(), running) {
            Ok(arrivals) => arrivals,
            Err(error) => {
                self.release(&taken);
                return Err(error);
            }
        };
        self.holders.push((Arc::downgrade(&device), id.clone(), taken));
        if let (Some(node), Some(drive)) =
            (find_device(&sockets.machine, &working), working.property("drive"))
        {
            let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
            blocks.set_user(drive.as_str().unwrap_or_default(), &node.path());
        }
        if let Some(cell) = working.clone().downcast::<VirtioBalloon>() {
            let places = [&device, &working].map(|device| find_device(&sockets.machine, device));
            balloon::enter(&cell, places.into_iter().flatten(), self.memory_size);
        }
        if let Some(node) = find_device(&sockets.machine, &working) {
            device_events::watch(&working, id.as_deref(), &node);
        }
        self.add_nvme_bus(sockets, &working, id.as_deref());
        if let Some(cell) = working.clone().downcast::<VirtioSerial>() {
            let n = self.serial_buses.len();
            let name = id.as_ref().map_or_else(|| format!("virtio-serial-bus.{n}"), |id| format!("{id}.0"));
            let node = Node::new("virtio-serial-bus");
            if let Some(place) = find_device(&sockets.machine, &working) {
                place.add_child(&name, &node);
            }
            self.serial_buses.push((name, cell, node));
        }
        Ok(arrivals)
    }

    /// Slots are known by their numbers: those of a chassis differ.
    fn check_slot(&self, device: &Arc<dyn AnyDevice>) -> Result<()> {
        let place =
            |device: &Arc<dyn AnyDevice>| Some((device.property("chassis")?, device.property("slot")?));
        let Some(wanted) = place(device) else { return Ok(()) };
        let taken = self.holders.iter().filter_map(|holder| holder.0.upgrade()).filter_map(|d| place(&d));
        match taken.into_iter().any(|place| place == wanted) {
            true => Err(error!("Can't add chassis slot, error -16")),
            false => Ok(()),
        }
    }

    /// Gives a device what its properties name; returns what it then holds. `name` is the type that the user has named.
    fn connect(&mut self, sockets: &Sockets, device: &Arc<dyn AnyDevice>, name: &str) -> Result<Vec<Held>> {
        let named = |property: &str| {
            device.property(property).and_then(|v| v.as_str().map(str::to_owned)).filter(|v| !v.is_empty())
        };
        // Of a device inside a transport it is that one's property.
        let of = device.type_info().name;
        let absent =
            |property: &str, value: &str| error!("Property '{of}.{property}' can't find value '{value}'");
        let mut held = Vec::new();
        if let Some(cell) = device.clone().downcast::<VirtioBlk>() {
            let drive = named("drive").ok_or_else(|| error!("drive property not set"))?;
            let node = self.medium(&drive, of)?;
            let (write, read) = cell.with(|blk| (blk.werror.0, blk.rerror.0));
            node.change_actions(write, read);
            match cell.with(|blk| blk.iothread.0.clone()) {
                id if id.is_empty() => VirtioBlk::connect(&cell, node.clone()),
                id => match self.objects.iothreads.get(&id) {
                    Some(pool) => VirtioBlk::connect_to_pool(&cell, node.clone(), pool.clone()),
                    None => {
                        self.release(&[Held::Drive(drive)]);
                        return Err(error!("Device '{id}' not found"));
                    }
                },
            }
            VirtioBlk::follow_clock(&cell, &sockets.events);
            let weak = Arc::downgrade(&cell);
            node.on_resize(move || {
                if let Some(cell) = weak.upgrade() {
                    VirtioBlk::resized(&cell);
                }
            });
            held.push(Held::Drive(drive));
            if name.contains("-pci") {
                // A queue for each processor, unless the user has chosen.
                cell.with(|blk| {
                    if blk.num_queues == u16::MAX {
                        blk.num_queues = sockets.cpus.clamp(1, 64) as u16;
                    }
                });
            }
        } else if let Some(cell) = device.clone().downcast::<PciSerial>() {
            PciSerial::connect(&cell, &sockets.events, self.character(sockets, device)?);
        } else if let Some(cell) = device.clone().downcast::<Nvme>() {
            let drive = named("drive");
            let medium = drive.as_ref().map(|id| self.medium(id, of)).transpose()?;
            Nvme::connect(&cell, medium.map(|node| node as Arc<dyn BlockDevice>));
            Nvme::follow_clock(&cell, &sockets.events);
            held.extend(drive.map(Held::Drive));
        } else if let Some(cell) = device.clone().downcast::<VirtioRng>() {
            let source = match named("rng") {
                None => Entropy::Builtin,
                Some(id) => {
                    self.objects.entropy.get(&id).cloned().ok_or_else(|| error!("Device '{id}' not found"))?
                }
            };
            let source = match sockets.events.clocks().replay() {
                Some(replay) => Entropy::Replayed(replay.clone(), Box::new(source)),
                None => source,
            };
            VirtioRng::connect(&cell, &sockets.events, source);
        } else if let Some(cell) = device.clone().downcast::<VirtioBalloon>() {
            if balloon::find(&sockets.machine).is_some() {
                return Err(error!("Only one balloon device is supported"));
            }
            VirtioBalloon::connect(&cell, &sockets.events);
        } else if let Some(card) = card(device) {
            let peer = match named("netdev") {
                None => None,
                Some(id) => {
                    let net = self.networks.get(&id).ok_or_else(|| absent("netdev", &id))?;
                    if self.taken.contains(&id) {
                        return Err(error!("Property '{of}.netdev' can't take value '{id}', it's in use"));
                    }
                    self.taken.push(id.clone());
                    held.push(Held::Network(id));
                    let net = net.peer();
                    Some(match sockets.events.clocks().replay() {
                        Some(replay) => ReplayedNet::new(net, replay),
                        None => net,
                    })
                }
            };
            let mac = MacAddress::nth(self.cards);
            self.cards = self.cards.wrapping_add(1);
            card.connect(&sockets.events, peer, mac);
        } else if let Some(cell) = device.clone().downcast::<VirtioSerial>() {
            VirtioSerial::connect(&cell, &sockets.events);
        }
        Ok(held)
    }

    /// The character back end that a device names, if it names one.
    fn character(&self, sockets: &Sockets, device: &Arc<dyn AnyDevice>) -> Result<Option<Arc<dyn CharPort>>> {
        let name = device.type_info().name;
        let chardev = device.property("chardev").and_then(|v| v.as_str().map(str::to_owned));
        let Some(chardev) = chardev.filter(|c| !c.is_empty()) else { return Ok(None) };
        let mut chardevs = self.chardevs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = chardevs.contains(&chardev);
        let refused = |_| match known {
            true => error!("Property '{name}.chardev' can't take value '{chardev}', it's in use"),
            false => error!("Property '{name}.chardev' can't find value '{chardev}'"),
        };
        let port = chardevs.front(&chardev).map_err(refused)?;
        Ok(Some(backends::char::for_device(port, sockets.events.clocks().replay())))
    }

    /// The drive that a device of type `name` is to have.
    fn medium(&self, id: &str, name: &str) -> Result<Arc<block::Node>> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = || error!("Property '{name}.drive' can't find value '{id}'");
        let drive = blocks.take(id).ok_or_else(absent)?.map_err(|e| error!("{e}"))?;
        let medium = drive.device.clone();
        medium.ok_or_else(|| {
            blocks.give_back(id);
            error!("Device needs media, but drive is empty")
        })
    }

    /// A device has been taken out: what it held can be given to another. Returns the places of devices that go with it.
    pub fn unplugged(&mut self, device: &Arc<dyn AnyDevice>) -> Vec<ObjectRef> {
        drain(&devices::virtio::pci::inside(device).unwrap_or_else(|| device.clone()));
        self.give_up(device);
        self.leave_nvme_bus(device)
    }

    /// Takes a port of a virtio-serial device out; false if there is none at that place of the tree. Its character device
    /// can be given to another.
    pub fn unplug_port(&mut self, node: &ObjectRef) -> bool {
        let here =
            |(place, _): &(Weak<Node>, _)| place.upgrade().is_some_and(|place| Arc::ptr_eq(&place, node));
        let Some(n) = self.serial_ports.iter().position(here) else { return false };
        let removed =
            self.serial_ports.get(n).is_some_and(|(_, cell)| VirtioSerial::remove_port(cell, &node.id()));
        if !removed {
            return false;
        }
        self.serial_ports.swap_remove(n);
        let chardev = node.device().and_then(|device| device.property("chardev"));
        if let Some(chardev) = chardev.as_ref().and_then(|chardev| chardev.as_str()) {
            self.chardevs.lock().unwrap_or_else(PoisonError::into_inner).give_back(chardev);
        }
        true
    }

    /// What a device held can be given to another.
    fn give_up(&mut self, device: &Arc<dyn AnyDevice>) {
        let weak = Arc::downgrade(device);
        let (gone, left) = std::mem::take(&mut self.holders).into_iter().partition(|(d, ..)| d.ptr_eq(&weak));
        self.holders = left;
        let gone: Vec<Holder> = gone;
        gone.iter().for_each(|(.., held)| self.release(held));
    }

    fn release(&mut self, held: &[Held]) {
        for one in held {
            match one {
                Held::Drive(id) => {
                    self.blocks.lock().unwrap_or_else(PoisonError::into_inner).give_back(id);
                }
                Held::Network(id) => {
                    if let Some(net) = self.networks.get(id) {
                        net.peer().set_receiver(None);
                    }
                    self.taken.retain(|taken| taken != id);
                }
            }
        }
    }

    /// Adds a port to a virtio-serial device.
    fn port(
        &mut self,
        sockets: &Sockets,
        device: &Arc<dyn AnyDevice>,
        id: Option<&str>,
        bus: Option<&str>,
    ) -> Result<()> {
        let name = device.type_info().name;
        let found = match bus {
            Some(bus) => self.serial_buses.iter().find(|(name, ..)| name == bus),
            None => self.serial_buses.first(),
        };
        let (_, cell, node) = found.ok_or_else(|| match bus {
            Some(bus) => error!("Bus '{bus}' not found"),
            None => error!("No 'virtio-serial-bus' bus found for device '{name}'"),
        })?;
        let port = self.character(sockets, device)?;
        let config = PortConfig { id: id.map(str::to_owned), ..PortConfig::of(device.as_ref(), port) };
        VirtioSerial::add_port(cell, config)?;
        let place = Node::for_device(device.clone());
        self.serial_ports.push((Arc::downgrade(&place), cell.clone()));
        let container = if id.is_some() { "peripheral" } else { "peripheral-anon" };
        if let Some(container) = sockets.machine.child(container) {
            container.add_child(id.unwrap_or("device[*]"), &place);
        }
        node.attach(&place);
        Ok(())
    }
}

/// A network card.
pub struct NetworkCard {
    /// The user's name for it, or one that is made up.
    pub name: String,
    /// The type of device that the user has plugged in.
    pub model: &'static str,
    /// The card.
    pub card: Arc<dyn Card>,
    /// The network that it has.
    pub network: Option<String>,
}

impl Backends {
    /// The network cards.
    pub fn cards(&self) -> Vec<NetworkCard> {
        let mut cards: Vec<NetworkCard> = Vec::new();
        for (holder, id, held) in &self.holders {
            let Some(device) = holder.upgrade() else { continue };
            let kind = device.type_info().name;
            let working = devices::virtio::pci::inside(&device).unwrap_or(device);
            let Some(card) = card(&working) else { continue };
            let network = held.iter().find_map(|one| match one {
                Held::Network(id) => Some(id.clone()),
                Held::Drive(_) => None,
            });
            let alike = |card: &&NetworkCard| card.name.starts_with(kind);
            let made_up = format!("{kind}.{}", cards.iter().filter(alike).count());
            let name = id.clone().unwrap_or(made_up);
            cards.push(NetworkCard { name, model: kind, card, network });
        }
        cards
    }
}

/// The option of a network as its parser takes it: the elements of lists, which JSON has, follow each other.
pub fn netdev_text(opts: &Opts) -> String {
    let mut flat = Opts::empty("");
    for (key, value) in opts.items() {
        let list = ["hostfwd", "dnssearch"].into_iter().find(|list| {
            key.strip_prefix(list)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|rest| rest.ends_with(".str"))
        });
        flat.push(list.unwrap_or(key), value.as_str());
    }
    flat.to_text()
}

/// The place of a device in the object tree.
pub fn find_device(machine: &ObjectRef, device: &Arc<dyn AnyDevice>) -> Option<ObjectRef> {
    let here = |node: &ObjectRef| node.device().is_some_and(|d| Arc::ptr_eq(d, device));
    let mut found = None;
    machine.walk(&mut |node| {
        if here(node) {
            found = Some(node.clone());
        }
    });
    found
}

/// Waits until a device has no request under way.
pub fn drain(device: &Arc<dyn AnyDevice>) {
    if let Some(cell) = device.clone().downcast::<VirtioBlk>() {
        VirtioBlk::drain(&cell);
    } else if let Some(cell) = device.clone().downcast::<Nvme>() {
        Nvme::drain(&cell);
    }
}
