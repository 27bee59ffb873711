//! The board builder: parts are added at addresses and their lines are connected, and from the same calls follow the
//! memory map, the device tree, the object tree and what the monitor lists.

use crate::fdt::{Fdt, Node as FdtNode};
use base::{Result, error};
use cpu::Cpus;
use events::EventLoop;
use memory::{AddressSpace, Region, Roms, WHOLE, device_regions};
use object::{AnyDevice, Device, DeviceCell, Line, Node, ObjectRef, unattached};
use std::sync::Arc;

/// The processors of a board, to be run by an accelerator.
pub enum Processors {
    /// None at all.
    None,
    /// RISC-V harts.
    RiscV(Vec<riscv::Hart>),
}

/// A part of the board.
pub struct Part {
    /// The device; `None` for what is listed as a device and has no registers (a group of harts).
    pub device: Option<Arc<dyn AnyDevice>>,
    /// Its place in the object tree.
    pub node: ObjectRef,
    /// Its register windows: the region, and the address at which it was mapped.
    pub windows: Vec<(Arc<Region>, Option<u64>)>,
    /// Whether the monitor's list shows the addresses. It does not where a board maps a window by hand.
    pub shows_address: bool,
    /// Buses that the part offers.
    pub buses: Vec<Arc<Bus>>,
}

/// A bus and what sits on it.
pub struct Bus {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: String,
    /// Its place in the object tree.
    pub node: ObjectRef,
    /// Parts on it, in the order in which they came.
    pub parts: std::sync::Mutex<Vec<Arc<Part>>>,
}

impl Bus {
    /// A bus at a place of the object tree.
    pub fn new(name: &str, node: &ObjectRef) -> Arc<Bus> {
        Arc::new(Bus {
            name: name.to_owned(),
            type_name: node.type_name().to_owned(),
            node: node.clone(),
            parts: std::sync::Mutex::default(),
        })
    }
    /// The parts, in the order in which they came.
    pub fn parts(&self) -> Vec<Arc<Part>> {
        self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
    /// Adds a part.
    pub fn add(&self, part: Arc<Part>) {
        self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(part);
    }
}

/// An input of an interrupt controller, with the names under which the device tree knows it.
#[derive(Clone)]
pub struct Irq {
    /// The line.
    pub line: Line,
    /// The controller's phandle.
    pub controller: u32,
    /// The input's number.
    pub number: u32,
}

/// A board under construction, and then as it is.
pub struct Board {
    /// Root of the object tree.
    pub machine: ObjectRef,
    /// What processors and devices see.
    pub memory: Arc<AddressSpace>,
    /// Its root region.
    pub system: Arc<Region>,
    /// All address spaces, for the monitor.
    pub spaces: Vec<Arc<AddressSpace>>,
    /// The vCPUs' handles.
    pub cpus: Arc<Cpus>,
    /// The processors, until the wiring takes them.
    pub processors: Processors,
    /// Puts a processor into its state after a reset. Called on its own thread.
    pub reset_processor: Arc<dyn Fn(&mut dyn cpu::Cpu) + Send + Sync>,
    /// Other things to do at a reset, after the devices and before the processors.
    pub resets: Vec<Box<dyn Fn() + Send + Sync>>,
    /// Things to do before the program ends.
    pub flushes: Vec<Box<dyn Fn() + Send + Sync>>,
    /// The main loop.
    pub events: EventLoop,
    /// What is copied into memory at each reset.
    pub roms: Arc<Roms>,
    /// The device tree.
    pub fdt: Fdt,
    /// The bus that all parts sit on.
    pub bus: Arc<Bus>,
    /// Path of the node of the device tree under which parts are described.
    pub soc: &'static str,
    /// Lines to say to the user.
    pub notices: Vec<String>,
}

impl Board {
    /// An empty board whose machine object is of type `NAME-machine`.
    pub fn new(name: &str, events: &EventLoop) -> Board {
        let machine = Node::new(format!("{name}-machine"));
        for container in ["peripheral", "peripheral-anon"] {
            machine.add_child(container, &Node::new("container"));
        }
        let loose = unattached(&machine);
        let system = Region::container("system", WHOLE);
        system.set_unowned(&loose);
        let io = Region::mmio("io", 0x1_0000, Arc::new(memory::OpenBus));
        io.set_unowned(&loose);
        let memory = AddressSpace::new("memory", &system);
        let io = AddressSpace::new("I/O", &io);
        let sysbus = Node::new("System");
        loose.add_child("sysbus", &sysbus);
        Board {
            bus: Bus::new("main-system-bus", &sysbus),
            machine,
            spaces: vec![memory.clone(), io],
            memory,
            system,
            cpus: Cpus::new(),
            processors: Processors::None,
            reset_processor: Arc::new(|cpu| cpu.reset()),
            resets: Vec::new(),
            flushes: Vec::new(),
            events: events.clone(),
            roms: Arc::new(Roms::new()),
            fdt: Fdt::new(),
            soc: "/soc",
            notices: Vec::new(),
        }
    }

    /// Maps memory at an address.
    pub fn map(&mut self, address: u64, region: &Arc<Region>) {
        self.system.add_subregion(address, region);
    }

    /// Adds a device whose place in the tree nobody has named.
    pub fn add<D: Device>(&mut self, device: &Arc<DeviceCell<D>>) -> Adding<'_> {
        self.add_any(device.clone(), None)
    }

    /// Adds a device as the machine's child `name`.
    pub fn add_named<D: Device>(&mut self, name: &str, device: &Arc<DeviceCell<D>>) -> Adding<'_> {
        self.add_any(device.clone(), Some(name))
    }

    fn add_any(&mut self, device: Arc<dyn AnyDevice>, name: Option<&str>) -> Adding<'_> {
        let node = Node::for_device(device.clone());
        match name {
            Some(name) => self.machine.add_child(name, &node),
            None => unattached(&self.machine).add_child("device[*]", &node),
        };
        let windows = device_regions(&device, Some(&node)).into_iter().map(|r| (r, None)).collect();
        let part =
            Part { device: Some(device), node, windows, shows_address: true, buses: Vec::new() };
        Adding { board: self, part, irqs: Vec::new(), errors: Vec::new() }
    }

    /// Adds a part that is listed and has no registers.
    pub fn add_group(&mut self, name: &str, node: &ObjectRef) {
        self.machine.add_child(name, node);
        self.bus.add(Arc::new(Part {
            device: None,
            node: node.clone(),
            windows: Vec::new(),
            shows_address: false,
            buses: Vec::new(),
        }));
    }

    /// All devices, in the order in which they came, those on buses after the part that offers the bus.
    pub fn devices(&self) -> Vec<Arc<dyn AnyDevice>> {
        fn visit(bus: &Bus, all: &mut Vec<Arc<dyn AnyDevice>>) {
            for part in bus.parts() {
                all.extend(part.device.clone());
                part.buses.iter().for_each(|bus| visit(bus, all));
            }
        }
        let mut all = Vec::new();
        visit(&self.bus, &mut all);
        all
    }

    /// The node of the device tree at `path`.
    pub fn describe(&mut self, path: &str) -> &mut FdtNode {
        self.fdt.node(path)
    }
}

/// A part that is being added. [`Adding::done`] ends it.
#[must_use]
pub struct Adding<'a> {
    board: &'a mut Board,
    part: Part,
    irqs: Vec<Irq>,
    errors: Vec<String>,
}

impl Adding<'_> {
    /// Maps register window `n` at an address.
    pub fn at(mut self, n: usize, address: u64) -> Self {
        match self.part.windows.get_mut(n) {
            Some((region, place)) => {
                self.board.system.add_subregion(address, region);
                *place = Some(address);
            }
            None => self.errors.push(format!("no register window {n}")),
        }
        self
    }
    /// Maps the windows one after the other from an address on, where they were made to lie so.
    pub fn in_place_of(mut self, n: usize, region: Arc<Region>, address: u64) -> Self {
        // A window that is shown through memory (a flash bank in its reading mode) has a region of its own kind.
        if let Some(window) = self.part.windows.get_mut(n) {
            self.board.system.add_subregion(address, &region);
            *window = (region, Some(address));
        }
        self
    }
    /// Keeps the addresses out of the monitor's list of devices.
    pub fn hide_address(mut self) -> Self {
        self.part.shows_address = false;
        self
    }
    /// Connects output `n` of the group `wire` to a line.
    pub fn line(mut self, wire: &str, n: usize, line: Line) -> Self {
        if let Some(device) = &self.part.device
            && !device.connect(wire, n, line)
        {
            self.errors.push(format!("no output {wire}[{n}]"));
        }
        self
    }
    /// Connects output `n` of the group `wire` to an input of an interrupt controller; the device tree says so too.
    pub fn irq(mut self, wire: &str, n: usize, irq: Irq) -> Self {
        self.irqs.push(irq.clone());
        self.line(wire, n, irq.line)
    }
    /// Offers a bus of its own, a child of its node.
    pub fn bus(mut self, name: &str, type_name: &str) -> Self {
        let node = Node::new(type_name);
        self.part.node.add_child(name, &node);
        self.part.buses.push(Bus::new(name, &node));
        self
    }
    /// Describes the part in the device tree: a node `name@address` with the address of the first window, `size` bytes
    /// (the window's own if 0), its interrupts and what `more` adds.
    pub fn describe(
        self,
        name: &str,
        compatible: &[&str],
        size: u64,
        more: impl FnOnce(&mut FdtNode),
    ) -> Self {
        let Some((region, Some(address))) = self.part.windows.first() else { return self };
        let size = if size == 0 { region.size() as u64 } else { size };
        let path = format!("{}/{name}@{address:x}", self.board.soc);
        let node = self.board.fdt.node(&path);
        node.prop_strs("compatible", compatible);
        node.prop_u64s("reg", &[*address, size]);
        if let Some(first) = self.irqs.first() {
            node.prop_u32("interrupt-parent", first.controller);
            node.prop_u32s("interrupts", &self.irqs.iter().map(|i| i.number).collect::<Vec<_>>());
        }
        more(node);
        self
    }
    /// Realizes the device and puts it on the board.
    ///
    /// # Errors
    /// The device refuses its configuration.
    pub fn done(self) -> Result<Arc<Part>> {
        if let Some(device) = &self.part.device {
            // A wire that is not there is a mistake in a board's description.
            assert!(self.errors.is_empty(), "{}: {}", device.type_info().name, self.errors.join(", "));
            device.realize().map_err(|e| error!("{}", e))?;
        }
        let part = Arc::new(self.part);
        self.board.bus.add(part.clone());
        Ok(part)
    }
}
