//! Buses and the paths of interrupt pins.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base::{Result, error};
use memory::{Region, WHOLE};
use object::{AnyDevice, Line, ObjectRef};

use super::function::Function;
use super::link::address_text;
use super::print::FunctionInfo;

/// The largest number for names given by firmware.
const MAX_ACPI_INDEX: u64 = 16383;

/// The four interrupt lines of a root bus: each is high while any pin that leads to it is.
pub struct Intx {
    lines: [Line; 4],
    high: Mutex<[u32; 4]>,
}

impl Intx {
    /// Leads to these lines.
    pub fn new(lines: [Line; 4]) -> Arc<Self> {
        Arc::new(Self { lines, high: Mutex::default() })
    }

    /// A pin that leads to line `n`.
    fn pin(self: &Arc<Self>, n: usize) -> Line {
        let this = self.clone();
        let before = Mutex::new(false);
        let change = move |level| {
            let mut before = lock(&before);
            if *before == level {
                return;
            }
            *before = level;
            let mut high = lock(&this.high);
            let (Some(count), Some(line)) = (high.get_mut(n), this.lines.get(n)) else { return };
            *count = if level { count.saturating_add(1) } else { count.saturating_sub(1) };
            line.set(*count > 0);
        };
        // Whom the line leads to is told when the locks are free: it may let another pin change.
        Line::to_fn(move |level| object::as_inside(|| change(level)))
    }
}

/// What tells the machine that a device has been taken out.
pub type GoneListener = Box<dyn Fn(&Arc<Function>) + Send + Sync>;

/// A bus.
pub struct PciBus {
    name: String,
    node: ObjectRef,
    express: bool,
    /// The bridge to this bus; the root bus has none.
    bridge: Option<Weak<Function>>,
    functions: Mutex<BTreeMap<u8, Arc<Function>>>,
    /// Functions that are to be taken out once the driver has let go of them.
    leaving: Mutex<Vec<u8>>,
    memory: Arc<Region>,
    io: Arc<Region>,
    /// What bus masters see.
    system: Arc<Region>,
    intx: Option<Arc<Intx>>,
    gone: Mutex<Option<GoneListener>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PciBus {
    /// The root bus of a host. `memory` and `io` are where its BARs are mapped, `system` is what its devices see.
    pub fn root(
        name: &str,
        node: &ObjectRef,
        memory: Arc<Region>,
        io: Arc<Region>,
        system: Arc<Region>,
        intx: Arc<Intx>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            node: node.clone(),
            express: true,
            bridge: None,
            functions: Mutex::default(),
            leaving: Mutex::default(),
            memory,
            io,
            system,
            intx: Some(intx),
            gone: Mutex::default(),
        })
    }

    /// The bus behind a bridge.
    pub fn behind(name: &str, node: &ObjectRef, bridge: &Arc<Function>, express: bool) -> Arc<Self> {
        let memory = Region::container("pci_bridge_pci", WHOLE);
        memory.set_owner(bridge.node());
        let io = Region::container("pci_bridge_io", 1 << 32);
        io.set_owner(bridge.node());
        Arc::new(Self {
            name: name.to_owned(),
            node: node.clone(),
            express,
            bridge: Some(bridge.downgrade()),
            functions: Mutex::default(),
            leaving: Mutex::default(),
            memory,
            io,
            system: bridge.bus().system().clone(),
            intx: None,
            gone: Mutex::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its place in the object tree.
    pub fn node(&self) -> &ObjectRef {
        &self.node
    }
    /// The type of bus, for messages.
    pub fn kind(&self) -> &'static str {
        if self.express { "PCIE" } else { "PCI" }
    }
    /// Whether it is PCI Express.
    pub fn is_express(&self) -> bool {
        self.express
    }
    /// Whether it is the root bus.
    pub fn is_root(&self) -> bool {
        self.bridge.is_none()
    }
    /// The bridge to it.
    pub fn bridge(&self) -> Option<Arc<Function>> {
        self.bridge.as_ref().and_then(Weak::upgrade)
    }
    /// Where memory BARs are mapped.
    pub fn memory(&self) -> &Arc<Region> {
        &self.memory
    }
    /// Where I/O BARs are mapped.
    pub fn io(&self) -> &Arc<Region> {
        &self.io
    }
    /// What bus masters see.
    pub fn system(&self) -> &Arc<Region> {
        &self.system
    }
    /// Its functions in order of address.
    pub fn functions(&self) -> Vec<Arc<Function>> {
        lock(&self.functions).values().cloned().collect()
    }
    /// The function at an address.
    pub fn function(&self, devfn: u8) -> Option<Arc<Function>> {
        lock(&self.functions).get(&devfn).cloned()
    }

    /// The number that firmware has given it.
    pub fn number(&self) -> u8 {
        match self.bridge() {
            Some(bridge) => bridge.config().map_or(0, |c| c.with(|c| c.buses().0)),
            None => 0,
        }
    }

    /// The bus with this number at or behind this one.
    pub fn find(self: &Arc<Self>, number: u8) -> Option<Arc<Self>> {
        if self.is_root() && number == 0 {
            return Some(self.clone());
        }
        self.functions().iter().find_map(|bridge| {
            let secondary = bridge.secondary()?;
            let (first, last) = bridge.config()?.with(|c| c.buses());
            match number {
                n if n == first && n != 0 => Some(secondary.clone()),
                n if first != 0 && n > first && n <= last => secondary.find(n),
                _ => None,
            }
        })
    }

    /// This bus and all behind it, the nearest first.
    pub fn all(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut list = vec![self.clone()];
        let mut n = 0;
        while let Some(bus) = list.get(n).cloned() {
            list.extend(bus.functions().iter().filter_map(|f| f.secondary().cloned()));
            n += 1;
        }
        list
    }

    /// The line of interrupt pin `pin` (0 for INTA) of a function. Each bridge on the way turns the pins by the slot
    /// number (bridge architecture 1.2, 9.1).
    pub(super) fn intx(&self, devfn: u8, pin: u8) -> Line {
        let turned = (pin + (devfn >> 3)) % 4;
        match (&self.intx, self.bridge()) {
            (Some(intx), _) => intx.pin(usize::from(turned)),
            (None, Some(bridge)) => bridge.pin_of_bridge(turned),
            (None, None) => Line::unconnected(),
        }
    }

    /// Where a device may go: the address asked for, or the first that is free.
    fn place(&self, wanted: Option<u8>, name: &str) -> Result<u8> {
        let functions = lock(&self.functions);
        let Some(devfn) = wanted else {
            let mut slots = (0..32u8).map(|slot| slot << 3);
            return slots
                .find(|at| !functions.contains_key(at))
                .ok_or_else(|| error!("PCI: no slot/function available for {name}, all in use or reserved"));
        };
        if let Some(other) = functions.get(&devfn) {
            let of = other.node().type_name().to_owned();
            return Err(error!(
                "PCI: slot {} function {} not available for {name}, in use by {of},id={}",
                devfn >> 3,
                devfn & 7,
                Some(other.node().id()).filter(|id| !id.is_empty()).unwrap_or_else(|| "(null)".to_owned())
            ));
        }
        Ok(devfn)
    }

    /// Whether it is the link behind a port of PCI Express, on which there is one slot.
    pub(super) fn is_link(&self) -> bool {
        self.express && !self.is_root() && !self.is_switch()
    }

    /// Whether the ports of a switch are on this bus.
    fn is_switch(&self) -> bool {
        self.bridge().is_some_and(|b| {
            b.config().is_some_and(|c| {
                c.with(|c| c.layout().express.is_some_and(|(_, e)| e.port == object::pci::PortType::Upstream))
            })
        })
    }

    /// Puts a device on the bus. `running` when the machine has started: then only slots that can take it do.
    ///
    /// # Errors
    /// The address is taken, or the device refuses its configuration.
    pub fn plug(
        self: &Arc<Self>,
        device: &Arc<dyn AnyDevice>,
        node: &ObjectRef,
        wanted: Option<u8>,
        multifunction: bool,
        running: bool,
    ) -> Result<Arc<Function>> {
        let name = device.type_info().name;
        let bridge = self.bridge();
        if running && !bridge.as_ref().is_some_and(|b| b.has_slot()) {
            return Err(error!("Bus '{}' does not support hotplugging", self.name));
        }
        self.check_options(device)?;
        let devfn = self.place(wanted, name)?;
        self.check_multifunction(devfn, multifunction)?;
        let function = Function::new(device, node, self, devfn, multifunction)?;
        lock(&self.functions).insert(devfn, function.clone());
        self.node.attach(node);
        let weak = function.downgrade();
        node.set_details(move || {
            let info = weak.upgrade().and_then(|function| FunctionInfo::of(&function));
            info.map(|info| info.details()).unwrap_or_default()
        });
        // Functions other than the first come with the first. (Other slots are there, but nobody looks for them.)
        if devfn == 0
            && let Some(bridge) = bridge
        {
            bridge.slot_filled(&function, running);
        }
        Ok(function)
    }

    /// Several functions share a slot only where function 0 says so.
    fn check_multifunction(&self, devfn: u8, multifunction: bool) -> Result<()> {
        let slot = devfn & !7;
        if devfn & 7 != 0 {
            let first = self.function(slot);
            let alone = first.filter(|f| {
                f.config()
                    .is_some_and(|c| c.with(|c| c.layout().initial.get(0xe).is_some_and(|h| h & 0x80 == 0)))
            });
            return match alone {
                Some(_) => Err(error!(
                    "PCI: single function device can't be populated in function {:x}.{:x}",
                    devfn >> 3,
                    devfn & 7
                )),
                None => Ok(()),
            };
        }
        match (1..8).find(|f| !multifunction && self.function(slot | f).is_some()) {
            Some(_) => Err(error!(
                "PCI: {:x}.0 indicates single function, but {:x}.{:x} is already populated.",
                slot >> 3,
                slot >> 3,
                (1..8).find(|f| self.function(slot | f).is_some()).unwrap_or(1)
            )),
            None => Ok(()),
        }
    }

    /// Whether the options that all PCI devices have make sense.
    fn check_options(self: &Arc<Self>, device: &Arc<dyn AnyDevice>) -> Result<()> {
        let number = |device: &Arc<dyn AnyDevice>, name: &str| {
            device.property(name).and_then(|value| value.as_uint()).unwrap_or(0)
        };
        let rom = number(device, "romsize");
        if rom != u64::from(u32::MAX) && rom != 0 && !rom.is_power_of_two() {
            return Err(error!("ROM size {rom} is not a power of two"));
        }
        let index = number(device, "acpi-index");
        if index > MAX_ACPI_INDEX {
            return Err(error!("acpi-index should be less or equal to {MAX_ACPI_INDEX}"));
        }
        let buses = self.root_bus().all();
        let mut others =
            buses.iter().flat_map(|bus| bus.functions()).filter_map(|function| function.device());
        match others.any(|other| index != 0 && number(&other, "acpi-index") == index) {
            true => Err(error!("a PCI device with acpi-index = {index} already exist")),
            false => Ok(()),
        }
    }

    /// Who is told when a device has been taken out, of this bus or one behind it.
    pub fn on_gone(&self, listener: GoneListener) {
        *lock(&self.gone) = Some(listener);
    }

    /// The root bus above it.
    pub fn root_bus(self: &Arc<Self>) -> Arc<Self> {
        self.bridge().map_or_else(|| self.clone(), |b| b.bus().root_bus())
    }

    /// Asks for a device to be taken out. The driver is asked first where it has powered the slot.
    ///
    /// # Errors
    /// Devices on this bus stay.
    pub fn unplug(self: &Arc<Self>, function: &Arc<Function>) -> Result<()> {
        let bridge = self.bridge().filter(|b| b.has_slot());
        let Some(bridge) = bridge else {
            return Err(error!("Bus '{}' does not support hotplugging", self.name));
        };
        if self.is_leaving(function) {
            return Err(error!("Device {} is already in the process of unplug", function.node().id()));
        }
        {
            let mut leaving = lock(&self.leaving);
            lock(&self.functions).keys().for_each(|devfn| leaving.push(*devfn));
        }
        if !bridge.ask_to_eject() {
            self.functions().iter().for_each(|f| self.gone(f));
        }
        Ok(())
    }

    pub(super) fn is_leaving(&self, function: &Arc<Function>) -> bool {
        lock(&self.leaving).contains(&function.devfn())
    }

    /// Takes a device out, now.
    pub(super) fn gone(self: &Arc<Self>, function: &Arc<Function>) {
        if lock(&self.functions).remove(&function.devfn()).is_none() {
            return;
        }
        lock(&self.leaving).retain(|devfn| *devfn != function.devfn());
        if let Some(behind) = function.secondary() {
            behind.functions().iter().for_each(|f| behind.gone(f));
        }
        let root = self.root_bus();
        if let Some(tell) = &*lock(&root.gone) {
            tell(function);
        }
        function.remove();
        if function.devfn() & 7 == 0
            && let Some(bridge) = self.bridge()
        {
            bridge.slot_emptied();
        }
    }
}

impl fmt::Debug for PciBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = lock(&self.functions).keys().map(|d| address_text(*d)).collect();
        write!(f, "PciBus({}: {places:?})", self.name)
    }
}
