//! `-device`, `-object` and what they name: drives, networks, character devices, entropy.

mod namespaces;

use crate::commands::balloon;
use crate::device_events;
use crate::lists::types;
use crate::options::Opts;
use backends::block::{self, BlockDevice, Blocks, Pool};
use backends::char::{CharPort, Chardevs};
use backends::net::{NetPeer, ReplayedNet, UserNet};
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
use memory::Ram;
use object::{AnyDevice, Node, NodeProperty, ObjectRef, PropertyValue};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// What `-object` has made.
#[derive(Default)]
pub struct Objects {
    /// Sources of entropy by id.
    pub entropy: BTreeMap<String, Entropy>,
    /// Threads for the I/O of disks, by id.
    pub iothreads: BTreeMap<String, Arc<Pool>>,
    /// Memory by id.
    pub memory: BTreeMap<String, Arc<Ram>>,
    /// All: id and type.
    pub list: Vec<(String, String)>,
    /// Their place in the object tree.
    container: OnceLock<ObjectRef>,
}

impl Objects {
    /// Makes an object while the machine exists.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn add(&mut self, opts: &Opts) -> Result<()> {
        self.make(&mut opts.clone())?;
        if let (Some(container), Some((id, kind))) = (self.container.get(), self.list.last()) {
            container.add_child(id, &self.node(id, kind));
        }
        Ok(())
    }

    /// An object's place in the tree.
    fn node(&self, id: &str, kind: &str) -> ObjectRef {
        let node = Node::new(kind.to_owned());
        if let Some(thread) = self.iothreads.get(id).and_then(|pool| pool.start()) {
            let id = PropertyValue::Int(thread.into());
            node.add_property(NodeProperty::fixed("thread-id", "int", id));
        }
        node
    }

    /// Removes an object. What a device has of it stays with the device.
    ///
    /// # Errors
    /// There is no such, or it is the machine's memory.
    pub fn remove(&mut self, id: &str) -> Result<()> {
        let place = self.list.iter().position(|(other, _)| other == id);
        let place = place.ok_or_else(|| error!("object '{id}' not found"))?;
        let used = self.memory.get(id).is_some_and(|ram| Arc::strong_count(ram) > 1)
            || self.iothreads.get(id).is_some_and(|pool| Arc::strong_count(pool) > 1);
        if used {
            return Err(error!("object '{id}' is in use, can not be deleted"));
        }
        self.list.remove(place);
        self.memory.remove(id);
        self.iothreads.remove(id);
        self.entropy.remove(id);
        if let Some(node) = self.container.get().and_then(|container| container.child(id)) {
            node.unparent();
        }
        Ok(())
    }

    /// Makes an object that the command line asks for.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn create(&mut self, opts: &Opts) -> Result<()> {
        self.make(&mut opts.clone()).map_err(|e| opts.blame(e))
    }

    fn make(&mut self, opts: &mut Opts) -> Result<()> {
        let kind = opts.take("qom-type").ok_or_else(|| error!("Parameter 'qom-type' is missing"))?;
        if !crate::lists::OBJECTS.iter().any(|object| object.name == kind) {
            return Err(error!("Parameter 'qom-type' does not accept value '{kind}'"));
        }
        let id = opts.take("id").ok_or_else(|| error!("Parameter 'id' is missing"))?;
        if self.list.iter().any(|(other, _)| *other == id) {
            return Err(error!("Duplicate ID '{id}' for object"));
        }
        match kind.as_str() {
            "rng-builtin" => {
                self.entropy.insert(id.clone(), Entropy::Builtin);
            }
            "iothread" => {
                for key in [
                    "poll-max-ns",
                    "poll-grow",
                    "poll-shrink",
                    "aio-max-batch",
                    "thread-pool-min",
                    "thread-pool-max",
                ] {
                    opts.take_number(key)?;
                }
                self.iothreads.insert(id.clone(), Arc::new(Pool::new(&format!("IO {id}"))));
            }
            "secret" => secret(opts)?,
            "rng-random" => {
                let file = opts.take("filename").unwrap_or_else(|| "/dev/urandom".into());
                self.entropy.insert(id.clone(), Entropy::open(&file).map_err(|e| error!("{e}"))?);
            }
            _ => {
                let ram = Self::memory(&kind, &id, opts)?;
                self.memory.insert(id.clone(), ram);
            }
        }
        opts.finish()?;
        self.list.push((id, kind));
        Ok(())
    }

    fn memory(kind: &str, id: &str, opts: &mut Opts) -> Result<Arc<Ram>> {
        let size = opts.take_size("size")?.filter(|s| *s > 0);
        let size = size.ok_or_else(|| error!("can't create backend with size 0"))?;
        let share = opts.take_switch("share")?;
        // Hints about the host's memory that change nothing the guest sees.
        for hint in [
            "prealloc",
            "prealloc-threads",
            "merge",
            "dump",
            "reserve",
            "seal",
            "x-use-canonical-path-for-ramblock-id",
        ] {
            opts.take(hint);
        }
        let refused = |e: base::Error| error!("cannot set up guest memory '{id}': {e}");
        match kind {
            "memory-backend-file" => {
                let path = opts.take("mem-path").ok_or_else(|| error!("mem-path property not set"))?;
                opts.take("discard-data");
                Ram::file(&PathBuf::from(path), size, share.unwrap_or(false)).map_err(refused)
            }
            "memory-backend-memfd" => Ram::memfd(id, size).map_err(refused),
            _ if share == Some(true) => Ram::memfd(id, size).map_err(refused),
            _ => Ram::anonymous(size).map_err(refused),
        }
    }

    /// Puts the objects into the tree.
    pub fn enter(&self, root: &ObjectRef) {
        let container = Node::new("container");
        for (id, kind) in &self.list {
            container.add_child(id, &self.node(id, kind));
        }
        root.add_child("objects", &container);
        let _ = self.container.set(container);
    }
}

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

/// Checks a secret. Nothing here asks for one: it is read, so that a wrong one is refused, and not kept.
fn secret(opts: &mut Opts) -> Result<()> {
    let (data, file) = (opts.take("data"), opts.take("file"));
    let (format, keyid, iv) = (opts.take("format"), opts.take("keyid"), opts.take("iv"));
    if let Some(other) = format.filter(|format| !matches!(format.as_str(), "raw" | "base64")) {
        return Err(error!("Parameter 'format' does not accept value '{other}'"));
    }
    if keyid.is_some() && iv.is_none() {
        return Err(error!("IV is required to decrypt secret"));
    }
    match (data, file) {
        (Some(_), None) => Ok(()),
        (None, Some(file)) => match std::fs::read(&file) {
            Ok(_) => Ok(()),
            Err(e) => Err(error!("Unable to read {file}: {}", crate::launch::reason(&e))),
        },
        (Some(_), Some(_)) => Err(error!("'file' and 'data' are mutually exclusive")),
        (None, None) => Err(error!("Must provide 'file' or 'data'")),
    }
}

/// What devices may name.
pub struct Backends {
    /// Drives.
    pub blocks: Arc<Mutex<Blocks>>,
    /// Character devices.
    pub chardevs: Arc<Mutex<Chardevs>>,
    /// Networks by id.
    pub networks: BTreeMap<String, Arc<UserNet>>,
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
    /// Buses of NVMe controllers.
    nvme_buses: Vec<namespaces::Bus>,
}

impl Backends {
    /// Nothing plugged in yet.
    pub fn new(
        blocks: Arc<Mutex<Blocks>>,
        chardevs: Arc<Mutex<Chardevs>>,
        networks: BTreeMap<String, Arc<UserNet>>,
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

    /// Gives a device what its properties name; returns what it then holds. `name` is the type that the user has named.
    fn connect(&mut self, sockets: &Sockets, device: &Arc<dyn AnyDevice>, name: &str) -> Result<Vec<Held>> {
        let named = |property: &str| {
            device.property(property).and_then(|v| v.as_str().map(str::to_owned)).filter(|v| !v.is_empty())
        };
        let absent =
            |property: &str, value: &str| error!("Property '{name}.{property}' can't find value '{value}'");
        let mut held = Vec::new();
        if let Some(cell) = device.clone().downcast::<VirtioBlk>() {
            let drive = named("drive").ok_or_else(|| error!("drive property not set"))?;
            let node = self.medium(&drive, name)?;
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
            let medium = drive.as_ref().map(|id| self.medium(id, name)).transpose()?;
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
                        return Err(error!("Property '{name}.netdev' can't take value '{id}', it's in use"));
                    }
                    self.taken.push(id.clone());
                    held.push(Held::Network(id));
                    let net = net.clone() as Arc<dyn NetPeer>;
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
                        net.set_receiver(None);
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

/// The place of a device that a user has plugged in.
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
