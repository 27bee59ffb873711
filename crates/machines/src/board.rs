//! The board builder: parts are added at addresses and their lines are connected, and from the same calls follow the
//! memory map, the device tree, the object tree and what the monitor lists.

use crate::fdt::{Fdt, Node as FdtNode};
use crate::sockets::{Sockets, apply_globals};
use base::Result;
use cpu::Cpus;
use devices::pci::PciBus;
use devices::virtio::mmio::VirtioMmio;
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

/// A place for a virtio device.
#[derive(Clone)]
pub struct Slot {
    /// The transport.
    pub transport: Arc<DeviceCell<VirtioMmio>>,
    /// Its bus.
    pub bus: ObjectRef,
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
    /// What the controller wants to be told after the number.
    pub flags: &'static [u32],
}

impl Irq {
    /// As the device tree has it: number and flags.
    pub fn cells(&self) -> Vec<u32> {
        [&[self.number], self.flags].concat()
    }
}

/// Puts a processor into its state after a reset.
pub type ResetProcessor = Arc<dyn Fn(&mut dyn cpu::Cpu) + Send + Sync>;

/// A board under construction, and then as it is.
pub struct Board {
    /// Root of the object tree; its child `machine` is the board.
    pub root: ObjectRef,
    /// The board in the object tree.
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
    pub reset_processor: ResetProcessor,
    /// Other things to do at a reset, after the devices and before the processors.
    pub resets: Vec<Box<dyn Fn() + Send + Sync>>,
    /// What has state beside devices and processors.
    pub parts: Vec<Arc<dyn state::Saved>>,
    /// Things to do before the program ends.
    pub flushes: Vec<Box<dyn Fn() + Send + Sync>>,
    /// The main loop.
    pub events: EventLoop,
    /// What is copied into memory at each reset.
    pub roms: Arc<Roms>,
    /// The device tree.
    pub fdt: Fdt,
    /// The bus that all parts sit on.
    pub bus: ObjectRef,
    /// Devices, in the order in which they came.
    pub devices: Vec<Arc<dyn AnyDevice>>,
    /// Places for virtio devices, in order of address.
    pub slots: Vec<Slot>,
    /// The root bus of PCI Express.
    pub pci: Option<Arc<PciBus>>,
    /// Values for properties of all devices of a type (`-global`): type, property, value.
    pub globals: Vec<(String, String, String)>,
    /// Path of the node of the device tree under which parts are described.
    pub soc: &'static str,
    /// Lines to say to the user.
    pub notices: Vec<String>,
}

impl Board {
    /// An empty board whose machine object is of type `NAME-machine`.
    pub fn new(name: &str, events: &EventLoop) -> Board {
        let root = Node::new("container");
        let machine = Node::new(format!("{name}-machine"));
        root.add_child("machine", &machine);
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
            root,
            bus: sysbus,
            devices: Vec::new(),
            slots: Vec::new(),
            pci: None,
            globals: Vec::new(),
            machine,
            spaces: vec![memory.clone(), io],
            memory,
            system,
            cpus: Cpus::new(),
            processors: Processors::None,
            reset_processor: Arc::new(|cpu| cpu.reset()),
            resets: Vec::new(),
            parts: Vec::new(),
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
        Adding {
            board: self,
            device,
            node,
            windows,
            shows_address: true,
            irqs: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Adds a part that is listed and has no registers.
    pub fn add_group(&mut self, name: &str, node: &ObjectRef) {
        self.machine.add_child(name, node);
        self.bus.attach(node);
    }

    /// The places that take a user's devices.
    pub fn sockets(&self) -> Sockets {
        Sockets {
            machine: self.machine.clone(),
            memory: self.memory.clone(),
            slots: self.slots.clone(),
            pci: self.pci.clone(),
            globals: self.globals.clone(),
            events: self.events.clone(),
            cpus: self.cpus.all().len(),
        }
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
    device: Arc<dyn AnyDevice>,
    node: ObjectRef,
    windows: Vec<(Arc<Region>, Option<u64>)>,
    shows_address: bool,
    irqs: Vec<Irq>,
    errors: Vec<String>,
}

impl Adding<'_> {
    /// Maps register window `n` at an address.
    pub fn at(mut self, n: usize, address: u64) -> Self {
        match self.windows.get_mut(n) {
            Some((region, place)) => {
                self.board.system.add_subregion(address, region);
                *place = Some(address);
            }
            None => self.errors.push(format!("no register window {n}")),
        }
        self
    }
    /// Maps `region` instead of register window `n`: a window that is shown through memory has a region of its own kind.
    pub fn in_place_of(mut self, n: usize, region: Arc<Region>, address: u64) -> Self {
        if let Some(window) = self.windows.get_mut(n) {
            self.board.system.add_subregion(address, &region);
            *window = (region, Some(address));
        }
        self
    }
    /// Keeps the addresses out of the monitor's list of devices.
    pub fn hide_address(mut self) -> Self {
        self.shows_address = false;
        self
    }
    /// Connects output `n` of the group `wire` to a line.
    pub fn line(mut self, wire: &str, n: usize, line: Line) -> Self {
        if !self.device.connect(wire, n, line) {
            self.errors.push(format!("no output {wire}[{n}]"));
        }
        self
    }
    /// Connects output `n` of the group `wire` to an input of an interrupt controller; the device tree says so too.
    pub fn irq(mut self, wire: &str, n: usize, irq: Irq) -> Self {
        self.irqs.push(irq.clone());
        self.line(wire, n, irq.line)
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
        let Some((region, Some(address))) = self.windows.first() else { return self };
        let size = if size == 0 { region.size() as u64 } else { size };
        let path = format!("{}/{name}@{address:x}", self.board.soc);
        let node = self.board.fdt.node(&path);
        node.prop_strs("compatible", compatible);
        node.prop_u64s("reg", &[*address, size]);
        if let Some(first) = self.irqs.first() {
            node.prop_u32("interrupt-parent", first.controller);
            node.prop_u32s("interrupts", &self.irqs.iter().flat_map(Irq::cells).collect::<Vec<_>>());
        }
        more(node);
        self
    }
    /// Realizes the device and puts it on the board; returns its place in the object tree.
    ///
    /// # Errors
    /// The device refuses its configuration.
    pub fn done(self) -> Result<ObjectRef> {
        // A wire that is not there is a mistake in a board's description.
        assert!(self.errors.is_empty(), "{}: {}", self.device.type_info().name, self.errors.join(", "));
        if self.shows_address {
            for (n, (_, address)) in self.windows.iter().enumerate() {
                address.iter().for_each(|a| self.node.map_window(n, *a));
            }
        }
        apply_globals(&self.board.globals, &self.device)?;
        self.device.realize()?;
        self.board.bus.attach(&self.node);
        self.board.devices.push(self.device);
        Ok(self.node)
    }
}
