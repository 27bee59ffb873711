//! A function: a device's place on a bus.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use base::{Result, error};
use memory::{AddressSpace, Dma, Port, Region, WHOLE, port_region, transaction};
use object::pci::BarKind;
use object::{AnyDevice, DeviceCell, Effect, Line, ObjectRef};

use super::bus::PciBus;
use super::config::{ConfigSpace, Decoded, slot, window};
use super::layout::Layout;

/// Regions that BARs map lie above what answers where no device does.
const BAR_PRIORITY: i32 = 1;
/// Names of what a bridge lets through: I/O, memory, prefetchable memory.
const WINDOW_NAMES: [&str; 3] = ["pci_bridge_io", "pci_bridge_mem", "pci_bridge_pref_mem"];

/// What a function does with its configuration registers beyond what their layout says.
pub trait ConfigHook: Send + Sync {
    /// Registers from `offset` on are about to be read.
    fn before_read(&self, offset: u64, size: u32);
    /// Registers from `offset` on have been written.
    fn after_write(&self, offset: u64, size: u32) -> Effect;
}

/// What is mapped at the moment.
#[derive(Default)]
struct Mapped {
    now: Decoded,
    /// The windows of a bridge, as regions of the bus it sits on.
    windows: [Option<Arc<Region>>; 3],
    /// The device has been taken out: nothing is mapped any more.
    gone: bool,
}

/// A device's place on a bus.
pub struct Function {
    device: Mutex<Option<Arc<dyn AnyDevice>>>,
    node: ObjectRef,
    bus: Arc<PciBus>,
    devfn: u8,
    config: OnceLock<Arc<DeviceCell<ConfigSpace>>>,
    /// The function's view of memory: an alias of all of it, which bus mastering switches.
    space: Arc<AddressSpace>,
    dma: Dma,
    master: Arc<Region>,
    /// What each base address register maps.
    bars: Mutex<Vec<(BarKind, Arc<Region>)>>,
    mapped: Mutex<Mapped>,
    /// Regions that stand for register windows of the device, by their number.
    shown: Mutex<BTreeMap<usize, Arc<Region>>>,
    hook: OnceLock<Weak<dyn ConfigHook>>,
    /// The bus behind a bridge.
    secondary: OnceLock<Arc<PciBus>>,
    this: Weak<Function>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Function {
    /// Puts a device on a bus: the device learns its place, is realized, and gets its configuration space. `node` is its
    /// place in the object tree.
    pub(super) fn new(
        device: &Arc<dyn AnyDevice>,
        node: &ObjectRef,
        bus: &Arc<PciBus>,
        devfn: u8,
        multifunction: bool,
    ) -> Result<Arc<Self>> {
        let name = device.type_info().name;
        let container = Region::container("bus master container", WHOLE);
        container.set_owner(node);
        let system = bus.system();
        let master = Region::alias("bus master", system, 0, WHOLE);
        master.set_owner(node);
        master.set_enabled(false);
        container.add_subregion(0, &master);
        let space = AddressSpace::new(name, &container);
        let function = Arc::new_cyclic(|this: &Weak<Self>| Self {
            device: Mutex::new(Some(device.clone())),
            node: node.clone(),
            bus: bus.clone(),
            devfn,
            config: OnceLock::new(),
            dma: Dma::new(&space),
            space,
            master,
            bars: Mutex::default(),
            mapped: Mutex::default(),
            shown: Mutex::default(),
            hook: OnceLock::new(),
            secondary: OnceLock::new(),
            this: this.clone(),
        });
        let place: Arc<dyn Any + Send + Sync> = function.clone();
        if !device.attach(place) {
            return Err(error!("Device '{name}' can't go on {} bus", bus.kind()));
        }
        if let Err(error) = device.realize() {
            function.forget();
            return Err(error);
        }
        let info = device.pci().ok_or_else(|| error!("Device '{name}' can't go on {} bus", bus.kind()))?;
        let layout = Layout::new(&info, bus.is_root(), multifunction);
        if layout.express.is_some() && bus.is_link() && devfn >> 3 != 0 {
            function.forget();
            return Err(error!(
                "PCI: slot {} is not valid for {name}, parent device only allows plugging into slot 0.",
                devfn >> 3
            ));
        }
        let irq = if info.pin > 0 { bus.intx(devfn, info.pin - 1) } else { Line::unconnected() };
        let config = ConfigSpace::new(layout, Arc::downgrade(&function), Some(function.dma.clone()), irq);
        let config = DeviceCell::new(config);
        let _ = function.config.set(config.clone());
        function.make_regions(device, &config);
        // What is wired in is there before anybody has configured anything.
        function.update();
        Ok(function)
    }

    /// Makes the regions that the base address registers map.
    fn make_regions(&self, device: &Arc<dyn AnyDevice>, config: &Arc<DeviceCell<ConfigSpace>>) {
        let name = device.type_info().name;
        let (layout, infos) = (config.with(|c| c.layout().clone()), device.regions());
        let mut regions = Vec::new();
        let shown = std::mem::take(&mut *lock(&self.shown));
        let part_of = |n: usize| shown.get(&n).cloned().or_else(|| port_region(device, n));
        for bar in &layout.bars {
            let tables: Vec<_> = layout
                .msix
                .iter()
                .flat_map(|m| [(m.table, window::TABLE), (m.pending, window::PENDING)])
                .filter(|((index, _), _)| *index == bar.index)
                .map(|((_, offset), n)| (n, u64::from(offset)))
                .collect();
            let region = match bar.windows[..] {
                // One window that fills its register is the region itself.
                [(n, 0)] if infos.get(n).is_some_and(|i| i.size == bar.size) => part_of(n),
                _ => {
                    let alone = bar.windows.is_empty() && !tables.is_empty();
                    let label = if alone { format!("{name}-msix") } else { name.to_owned() };
                    let region = Region::container(&label, bar.size);
                    for (n, offset) in &bar.windows {
                        if let Some(part) = part_of(*n) {
                            part.set_owner(&self.node);
                            region.add_subregion(*offset, &part);
                        }
                    }
                    Some(region)
                }
            };
            let Some(region) = region else { continue };
            region.set_owner(&self.node);
            for (n, offset) in tables {
                let (Some(info), Some(port)) = (config.regions().into_iter().nth(n), Port::new(config, n))
                else {
                    continue;
                };
                let part = Region::mmio(&info.name, info.size, port);
                part.set_owner(&self.node);
                // Before the windows, which are there already.
                region.add_subregion(offset, &part);
            }
            regions.push((bar.kind, region));
        }
        *lock(&self.bars) = regions;
    }

    /// Slot and function on its bus.
    pub fn devfn(&self) -> u8 {
        self.devfn
    }
    /// The bus it is on.
    pub fn bus(&self) -> &Arc<PciBus> {
        &self.bus
    }
    /// The bus behind it, if it is a bridge.
    pub fn secondary(&self) -> Option<&Arc<PciBus>> {
        self.secondary.get()
    }
    /// Its place in the object tree.
    pub fn node(&self) -> &ObjectRef {
        &self.node
    }
    /// The device, until it is taken out.
    pub fn device(&self) -> Option<Arc<dyn AnyDevice>> {
        lock(&self.device).clone()
    }
    /// The configuration space, once there is one.
    pub fn config(&self) -> Option<&Arc<DeviceCell<ConfigSpace>>> {
        self.config.get()
    }
    /// Its way to memory.
    pub fn dma(&self) -> &Dma {
        &self.dma
    }
    /// Its view of memory.
    pub fn space(&self) -> &Arc<AddressSpace> {
        &self.space
    }
    /// The interrupt pin (0 for INTA) and the slot it leaves from, for the bus behind this bridge.
    pub(super) fn pin_of_bridge(&self, pin: u8) -> Line {
        self.bus.intx(self.devfn, pin)
    }
    /// Has a region stand for register window `n` of the device: memory, or what another device shows. To be said while
    /// the device is realized.
    pub fn show(&self, n: usize, region: Arc<Region>) {
        lock(&self.shown).insert(n, region);
    }
    /// Has `hook` take part in accesses to the configuration registers.
    pub fn set_hook(&self, hook: Weak<dyn ConfigHook>) {
        let _ = self.hook.set(hook);
    }
    /// Makes the bus behind this bridge.
    pub fn set_secondary(&self, bus: Arc<PciBus>) {
        let _ = self.secondary.set(bus);
    }
    /// The regions of its base address registers, with the addresses at which they are mapped.
    pub fn mappings(&self) -> Vec<(Arc<Region>, Option<u64>)> {
        let mapped = lock(&self.mapped);
        let bars = lock(&self.bars);
        bars.iter().zip(&mapped.now.bars).map(|((_, region), at)| (region.clone(), *at)).collect()
    }

    /// Reads configuration registers.
    pub fn read_config(&self, offset: u64, size: u32) -> u64 {
        if let Some(hook) = self.hook.get().and_then(Weak::upgrade) {
            hook.before_read(offset, size);
        }
        match self.config.get() {
            Some(config) if offset + u64::from(size) <= config.with(|c| c.layout().initial.len() as u64) => {
                config.read(window::CONFIG, offset, size)
            }
            _ => u64::MAX >> (64 - 8 * size.clamp(1, 8)),
        }
    }

    /// Writes configuration registers.
    pub fn write_config(&self, offset: u64, size: u32, value: u64) -> Effect {
        let Some(config) = self.config.get() else { return Effect::None };
        if offset + u64::from(size) > config.with(|c| c.layout().initial.len() as u64) {
            return Effect::None;
        }
        let effect = config.write(window::CONFIG, offset, size, value);
        match self.hook.get().and_then(Weak::upgrade) {
            Some(hook) => effect.and(hook.after_write(offset, size)),
            None => effect,
        }
    }

    /// Maps what the configuration space says now. Called when that may have changed, from any thread that is in no
    /// device.
    pub fn update(&self) {
        let Some(config) = self.config.get() else { return };
        let mut mapped = lock(&self.mapped);
        let next = if mapped.gone { Decoded::default() } else { config.with(|c| c.decoded()) };
        let bars = lock(&self.bars).clone();
        transaction(|| {
            for (n, (kind, region)) in bars.iter().enumerate() {
                let room = match kind {
                    BarKind::Io => self.bus.io(),
                    _ => self.bus.memory(),
                };
                let place = |decoded: &Decoded| decoded.bars.get(n).copied().flatten();
                let (old, new) = (place(&mapped.now), place(&next));
                if old != new {
                    if old.is_some() {
                        room.remove(region);
                    }
                    if let Some(address) = new {
                        room.add_overlap(address, region, BAR_PRIORITY);
                    }
                }
            }
            self.master.set_enabled(next.master);
            if let Some(secondary) = self.secondary.get() {
                self.update_windows(&mut mapped, &next, secondary);
            }
        });
        mapped.now = next;
    }

    /// What a bridge lets through: aliases of the secondary bus's rooms on the primary bus.
    fn update_windows(&self, mapped: &mut Mapped, next: &Decoded, secondary: &Arc<PciBus>) {
        for (n, name) in WINDOW_NAMES.into_iter().enumerate() {
            let range = |decoded: &Decoded| decoded.windows.get(n).copied().flatten();
            if range(&mapped.now) == range(next) {
                continue;
            }
            let (room, behind) = match n {
                0 => (self.bus.io(), secondary.io()),
                _ => (self.bus.memory(), secondary.memory()),
            };
            let Some(place) = mapped.windows.get_mut(n) else { continue };
            if let Some(old) = place.take() {
                room.remove(&old);
                old.leave_tree();
            }
            if let Some((base, limit)) = range(next) {
                let alias = Region::alias(name, behind, base, (limit - base).saturating_add(1));
                alias.set_owner(&self.node);
                room.add_overlap(base, &alias, BAR_PRIORITY);
                *place = Some(alias);
            }
        }
    }

    /// Resets the function alone.
    pub fn reset(self: &Arc<Self>) {
        if let Some(device) = self.device() {
            device.reset();
        }
        if let Some(config) = self.config.get() {
            AnyDevice::reset(&**config);
        }
        self.update();
        self.reset_secondary();
    }

    /// Resets all that is behind a bridge.
    pub fn reset_secondary(self: &Arc<Self>) {
        if let Some(bus) = self.secondary.get() {
            bus.functions().iter().for_each(|f| f.reset());
        }
    }

    // ---- hot plug

    /// The driver has written the slot's control register: a device whose power is off and whose indicator is off may be
    /// taken out.
    pub(super) fn slot_changed(self: &Arc<Self>) {
        let control = self.config.get().and_then(|c| c.with(|c| c.slot_control()));
        if let (Some(control), Some(bus)) = (control, self.secondary.get())
            && !control.powered
            && !control.indicated
        {
            bus.functions().iter().filter(|f| bus.is_leaving(f)).for_each(|f| bus.gone(f));
        }
    }

    /// A device has come into the slot behind this port. `running` when the driver is to be told.
    pub(super) fn slot_filled(&self, device: &Function, running: bool) {
        let link = device.config.get().and_then(|c| c.with(|c| c.layout().express.map(|(_, e)| e.link)));
        if let Some(config) = self.config.get() {
            config.with(|c| {
                c.set_link(link.unwrap_or((1, 1)));
                c.set_slot(true, if running { slot::PRESENCE_CHANGED | slot::BUTTON } else { 0 });
                if !running {
                    c.power_slot();
                }
            });
        }
    }

    /// The device in the slot is gone.
    pub(super) fn slot_emptied(&self) {
        if let Some(config) = self.config.get() {
            config.with(|c| c.set_slot(false, slot::PRESENCE_CHANGED));
        }
    }

    /// Asks the driver to let the device in the slot go. False if nobody would hear it: the slot has no power.
    pub(super) fn ask_to_eject(&self) -> bool {
        let Some(config) = self.config.get() else { return false };
        config.with(|c| {
            let powered = c.slot_control().is_some_and(|s| s.powered);
            if powered {
                c.slot_event(slot::BUTTON);
            }
            powered
        })
    }

    /// Whether there is a slot behind this port.
    pub(super) fn has_slot(&self) -> bool {
        self.config.get().is_some_and(|c| c.with(|c| c.slot_control().is_some()))
    }

    /// The device leaves: nothing of it stays in the memory map or in the tree of objects.
    pub(super) fn remove(&self) {
        lock(&self.mapped).gone = true;
        self.update();
        if let Some(config) = self.config.get() {
            config.with(|c| c.set_intx(false));
        }
        for (_, region) in lock(&self.bars).drain(..) {
            region.children().iter().for_each(|part| part.leave_tree());
            region.leave_tree();
        }
        self.forget();
    }

    /// Cuts the circle of device and place.
    fn forget(&self) {
        if let Some(device) = lock(&self.device).take() {
            device.detach();
        }
    }

    /// A reference that does not keep it.
    pub fn downgrade(&self) -> Weak<Function> {
        self.this.clone()
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({} {})", self.bus.name(), super::address_text(self.devfn))
    }
}
