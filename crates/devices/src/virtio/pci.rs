//! The PCI transport: "virtio-blk-pci" and its kin.
//!
//! Document: VIRTIO 1.2, section 4.1, with the legacy interface (4.1.4.10). A device of this kind is a PCI function
//! with a virtio device inside. On the root bus it is transitional: BAR 0 has the legacy registers, BAR 4 those of
//! version 1; behind a port of PCI Express it has only the latter. Left out: notifications by I/O ports, address
//! translation services.

use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use object::pci::{Capability, CapabilityKind, PciInfo};
use object::{
    Anatomy, AnyDevice, Device, DeviceCell, Effect, Inner, OnOffAuto, Properties, PropertySet, TypeInfo,
};
use state::State;

use super::common::{Doorbell, Function as Virtio, Messages, VirtioDevice, Wiring, isr};
use super::queue::{NO_VECTOR, Queue};
use super::{balloon, blk, console, net, rng};
use crate::pci::{ConfigHook, ConfigSpace, Function, Pci};
use crate::property_types::AlwaysOff;

/// Which interfaces a device has, as the user may say.
#[derive(Clone, Debug, Properties)]
pub struct Either {
    /// Without the legacy interface; left to the bus, only devices of the root bus have it.
    #[property(name = "disable-legacy")]
    pub disable_legacy: OnOffAuto,
    /// Without the interface of version 1.
    #[property(name = "disable-modern")]
    pub disable_modern: bool,
}

/// Which interfaces a device of a type has.
pub trait Form: PropertySet + Default + Send + 'static {
    /// Chooses, once the bus is known. `below_port` where PCI Express forbids I/O ports.
    fn choose(&mut self, below_port: bool);
    /// Whether it has the legacy interface, and that of version 1.
    fn interfaces(&self) -> (bool, bool);
}

impl Form for Either {
    fn choose(&mut self, below_port: bool) {
        let off = self.disable_legacy.or(below_port);
        self.disable_legacy = if off { OnOffAuto::On } else { OnOffAuto::Off };
    }
    fn interfaces(&self) -> (bool, bool) {
        (!self.disable_legacy.or(false), !self.disable_modern)
    }
}

macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident $legacy:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Properties)]
        pub struct $name {}
        impl Form for $name {
            fn choose(&mut self, _: bool) {}
            fn interfaces(&self) -> (bool, bool) {
                ($legacy, true)
            }
        }
    )*};
}
forms! {
    /// Both interfaces, wherever the device is.
    Transitional true;
    /// Only the interface of version 1.
    NonTransitional false;
}

/// For types whose class can be chosen.
#[derive(Clone, Copy, Debug, Properties)]
pub struct ClassOption {
    /// Class code; 0 for the usual one.
    #[property]
    pub class: u32,
}

/// For types without more properties.
#[derive(Clone, Copy, Debug, Properties)]
pub struct NoOption {}

/// Properties that only some types have.
pub trait Extra: PropertySet + Default + Send + 'static {
    /// The class that the user wants instead of the usual one.
    fn class(&self) -> Option<u32> {
        None
    }
}
impl Extra for NoOption {}
impl Extra for ClassOption {
    fn class(&self) -> Option<u32> {
        Some(self.class).filter(|class| *class != 0)
    }
}

/// The properties of the transport.
#[derive(Clone, Debug, Properties)]
pub struct TransportOptions {
    /// Take notifications outside of the vCPUs where that helps.
    #[property(default = true)]
    pub ioeventfd: bool,
    /// Interrupt messages; all ones for one to each queue and one more.
    #[property(default = u32::MAX)]
    pub vectors: u32,
    /// Load what old versions have saved.
    #[property(name = "virtio-pci-bus-master-bug-migration")]
    pub bus_master_bug: bool,
    /// Save all of the transport.
    #[property(name = "migrate-extra", default = true)]
    pub migrate_extra: bool,
    /// Notifications by I/O ports.
    #[property(name = "modern-pio-notify", desc = "on/off")]
    pub pio_notify: AlwaysOff,
    /// Without the PCI Express capability.
    #[property(name = "x-disable-pcie")]
    pub disable_pcie: bool,
    /// A page of notification registers for each queue.
    #[property(name = "page-per-vq")]
    pub page_per_queue: bool,
    /// Offer what the back end cannot do.
    #[property(name = "x-ignore-backend-features", desc = "on/off")]
    pub ignore_backend: AlwaysOff,
    /// Address translation services.
    #[property(desc = "on/off")]
    pub ats: AlwaysOff,
    /// Translations are of whole pages.
    #[property(name = "x-ats-page-aligned", default = true)]
    pub ats_aligned: bool,
    /// Error reporting can be enabled.
    #[property(name = "x-pcie-deverr-init", default = true)]
    pub device_errors: bool,
    /// The link can be controlled.
    #[property(name = "x-pcie-lnkctl-init", default = true)]
    pub link_control: bool,
    /// Power management.
    #[property(name = "x-pcie-pm-init", default = true)]
    pub power: bool,
    /// Power states keep the device's state.
    #[property(name = "x-pcie-pm-no-soft-reset")]
    pub no_soft_reset: bool,
    /// Function level reset.
    #[property(name = "x-pcie-flr-init", default = true)]
    pub function_reset: bool,
    /// Advanced error reporting.
    #[property]
    pub aer: bool,
}

/// A type of virtio device as a PCI function.
pub trait PciKind: Send + 'static {
    /// Name of the type.
    const NAME: &'static str;
    /// The virtio device inside.
    type Inside: VirtioDevice + Default;
    /// Which interfaces.
    type Form: Form;
    /// More properties.
    type Extra: Extra;
    /// PCI class.
    const CLASS: u32;
    /// PCI device ID of the transitional device.
    const LEGACY_ID: u16;
    /// Heading in the list of devices.
    const CATEGORY: &'static str;
    /// Interrupt messages unless the user says otherwise: one for each queue and one for the configuration, or a
    /// number of its own.
    const VECTORS: Option<u16>;
}

/// Register windows.
mod window {
    pub const LEGACY: usize = 0;
    pub const COMMON: usize = 1;
    pub const ISR: usize = 2;
    pub const DEVICE: usize = 3;
    pub const NOTIFY: usize = 4;
}

/// Registers of the legacy interface (4.1.4.10).
mod legacy {
    pub const DEVICE_FEATURES: u64 = 0;
    pub const DRIVER_FEATURES: u64 = 4;
    pub const QUEUE_ADDRESS: u64 = 8;
    pub const QUEUE_SIZE: u64 = 12;
    pub const QUEUE_SELECT: u64 = 14;
    pub const QUEUE_NOTIFY: u64 = 16;
    pub const DEVICE_STATUS: u64 = 18;
    pub const ISR_STATUS: u64 = 19;
    pub const CONFIG_VECTOR: u64 = 20;
    pub const QUEUE_VECTOR: u64 = 22;
    /// Where the device's configuration begins without and with MSI-X.
    pub const CONFIG: (u64, u64) = (20, 24);
    /// Queues are aligned to pages, and addressed by them.
    pub const PAGE: u64 = 4096;
}

/// Registers of the common configuration (4.1.4.3).
mod common {
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub const DEVICE_FEATURE: u64 = 0x04;
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub const DRIVER_FEATURE: u64 = 0x0c;
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    pub const NUM_QUEUES: u64 = 0x12;
    pub const DEVICE_STATUS: u64 = 0x14;
    pub const CONFIG_GENERATION: u64 = 0x15;
    pub const QUEUE_SELECT: u64 = 0x16;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    pub const QUEUE_DESC: u64 = 0x20;
    pub const QUEUE_DRIVER: u64 = 0x28;
    pub const QUEUE_DEVICE: u64 = 0x30;
    pub const QUEUE_NOTIFY_DATA: u64 = 0x38;
    pub const QUEUE_RESET: u64 = 0x3a;
}

/// Bytes of each structure in BAR 4.
const STRUCTURE: u64 = 0x1000;
/// Types of the structures (4.1.4).
const STRUCTURES: [(u8, u32); 4] = [(1, 0), (3, 0x1000), (4, 0x2000), (2, 0x3000)];
/// Type of the structure that reaches the others through configuration space.
const CONFIG_ACCESS: u8 = 5;
/// The largest number of queues.
const QUEUES: u64 = 1024;

/// What belongs to the transport and not to the device.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio_pci")]
pub struct Registers {
    device_feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    /// The driver speaks the legacy interface.
    legacy: bool,
}

/// A virtio device as a PCI function.
#[derive(Device)]
#[device(name = K::NAME, parent = "virtio-pci", category = K::CATEGORY, user_creatable)]
#[pci(vendor = 0x1af4, device = K::LEGACY_ID, class = K::CLASS, pin = 1, adjust = Self::describe)]
#[bar(index = 0, kind = Io, name = "virtio-pci", size = self.legacy_size(), access = 1..=4)]
#[bar(index = 4, kind = Memory64, prefetchable, offset = 0, name = self.region_name("common"), size = STRUCTURE,
    access = 1..=8, implemented = 1..=4)]
#[bar(index = 4, kind = Memory64, prefetchable, offset = 0x1000, name = self.region_name("isr"), size = STRUCTURE,
    access = 1..=8, implemented = 1..=4)]
#[bar(index = 4, kind = Memory64, prefetchable, offset = 0x2000, name = self.region_name("device"), size = STRUCTURE,
    access = 1..=8, implemented = 1..=4)]
#[bar(index = 4, kind = Memory64, prefetchable, offset = 0x3000, name = self.region_name("notify"),
    size = self.notify_size(), access = 1..=8, implemented = 1..=4)]
pub struct VirtioPci<K: PciKind> {
    /// Which interfaces it has.
    #[properties]
    pub form: K::Form,
    /// Properties of its type.
    #[properties]
    pub extra: K::Extra,
    /// Properties of the transport.
    #[properties]
    pub options: TransportOptions,
    /// Its place on the bus.
    #[place]
    pub pci: Pci,
    /// The device inside.
    #[alias]
    pub inside: Inner<K::Inside>,
    hook: Option<Arc<dyn ConfigHook>>,
    bell: Option<Arc<dyn Doorbell>>,
    kind: PhantomData<K>,
    #[state]
    regs: Registers,
}

impl<K: PciKind> VirtioPci<K> {
    fn region_name(&self, part: &str) -> String {
        let name = K::NAME.split("-pci").next().unwrap_or_default();
        format!("virtio-pci-{part}-{name}")
    }

    fn legacy_size(&self) -> u64 {
        (legacy::CONFIG.1 + self.inside.config_length() as u64).next_power_of_two()
    }

    fn notify_size(&self) -> u64 {
        if self.options.page_per_queue { STRUCTURE * QUEUES } else { STRUCTURE }
    }

    /// Bytes between the notification registers of two queues.
    fn notify_step(&self) -> u32 {
        if self.options.page_per_queue { STRUCTURE as u32 } else { 4 }
    }

    fn vectors(&self) -> u16 {
        match self.options.vectors {
            u32::MAX => K::VECTORS.unwrap_or(self.inside.queue_count() as u16 + 1),
            n => n.min(2048) as u16,
        }
    }

    /// What the attributes cannot say: it depends on the bus.
    fn describe(&self, info: &mut PciInfo) {
        let (has_legacy, has_modern) = self.form.interfaces();
        let id = K::Inside::ID as u16;
        if has_legacy {
            info.subsystem = Some((info.vendor, id));
        } else {
            info.device = 0x1040 + id;
            info.revision = 1;
            info.bars.retain(|bar| bar.index != 0);
        }
        if let Some(class) = self.extra.class() {
            info.class = class;
        }
        if self.pci.is_below_port() && !self.options.disable_pcie {
            info.capabilities.push(Capability::express(self.options.function_reset));
            let bits = if self.options.power { 3 } else { 0 };
            if bits != 0 {
                info.capabilities.push(Capability::new(CapabilityKind::PowerManagement(bits)));
            }
            if self.options.aer {
                info.capabilities.push(Capability::new(CapabilityKind::ErrorReporting));
            }
        }
        if has_modern {
            for (kind, offset) in STRUCTURES {
                let size = if kind == 2 { self.notify_size() as u32 } else { STRUCTURE as u32 };
                let more = if kind == 2 { Some(self.notify_step()) } else { None };
                info.capabilities.push(structure(kind, 4, offset, size, more));
            }
            info.capabilities.push(structure(CONFIG_ACCESS, 0, 0, 0, Some(0)));
        } else {
            info.bars.retain(|bar| bar.index != 4);
        }
        let vectors = self.vectors();
        if vectors > 0 {
            info.capabilities.push(Capability::msix_alone(vectors, 1));
        }
    }

    fn queue<R: Default>(&self, look: impl FnOnce(&mut Queue) -> R) -> R {
        let mut result = R::default();
        let mut look = Some(look);
        self.inside.with_queue(usize::from(self.regs.queue_select), &mut |queue| {
            if let Some(look) = look.take() {
                result = look(queue);
            }
        });
        result
    }

    /// The driver has written the status through one of the interfaces: that is the one it speaks.
    fn speak(&mut self, legacy: bool) {
        if self.regs.legacy != legacy {
            self.regs.legacy = legacy;
            self.inside.set_legacy(legacy);
        }
    }

    fn set_status(&mut self, value: u8, legacy: bool) {
        self.speak(legacy);
        self.inside.set_status(value);
        if value == 0 {
            self.regs = Registers { legacy, ..Registers::default() };
            self.pci.set_intx(false);
        }
    }

    fn read_isr(&self) -> u64 {
        let bits = self.inside.isr();
        self.inside.acknowledge(isr::QUEUE | isr::CONFIG);
        bits.into()
    }

    /// A vector that exists, or none.
    fn vector(&self, value: u64) -> u16 {
        let vector = value as u16;
        if vector < self.vectors() { vector } else { NO_VECTOR }
    }

    fn notify(&self, queue: u64) {
        match &self.bell {
            _ if queue >= QUEUES => {}
            Some(bell) => bell.ring(queue as usize),
            None => self.inside.notify(queue as usize),
        }
    }

    fn config_offset(&self) -> u64 {
        if self.pci.msix_enabled() { legacy::CONFIG.1 } else { legacy::CONFIG.0 }
    }

    fn read_legacy(&mut self, offset: u64, size: u32) -> u64 {
        if let Some(at) = offset.checked_sub(self.config_offset()) {
            return self.inside.read_config(at, size);
        }
        match offset {
            legacy::DEVICE_FEATURES => {
                let offered = self.inside.offered() & 0xffff_ffff;
                // Before the first reset nothing says which interface the driver speaks; here it is clear.
                if self.regs.legacy { offered } else { offered | self.legacy_features() }
            }
            legacy::DRIVER_FEATURES => self.inside.driver_features() & 0xffff_ffff,
            legacy::QUEUE_ADDRESS => self.queue(|queue| queue.desc / legacy::PAGE),
            legacy::QUEUE_SIZE => self.queue(|queue| queue.size).into(),
            legacy::QUEUE_SELECT => self.regs.queue_select.into(),
            legacy::DEVICE_STATUS => self.inside.status().into(),
            legacy::ISR_STATUS => self.read_isr(),
            legacy::CONFIG_VECTOR => self.inside.config_vector().into(),
            legacy::QUEUE_VECTOR => self.queue_vector().into(),
            _ => 0,
        }
    }

    fn legacy_features(&self) -> u64 {
        self.inside.set_legacy(true);
        let offered = self.inside.offered();
        self.inside.set_legacy(false);
        offered & 0xffff_ffff
    }

    fn queue_vector(&self) -> u16 {
        let mut vector = NO_VECTOR;
        self.inside.with_queue(usize::from(self.regs.queue_select), &mut |queue| vector = queue.vector);
        vector
    }

    fn write_legacy(&mut self, offset: u64, size: u32, value: u64) {
        if let Some(at) = offset.checked_sub(self.config_offset()) {
            self.inside.write_config(at, size, value);
            return;
        }
        match offset {
            legacy::DRIVER_FEATURES => {
                self.speak(true);
                self.inside.set_driver_features(0, value as u32);
            }
            legacy::QUEUE_ADDRESS => {
                self.speak(true);
                let address = (value & 0xffff_ffff) * legacy::PAGE;
                if address == 0 {
                    self.set_status(0, true);
                    return;
                }
                self.queue(|queue| {
                    queue.desc = address;
                    queue.ready = true;
                    queue.lay_out_legacy(legacy::PAGE);
                });
            }
            legacy::QUEUE_SELECT => self.regs.queue_select = value as u16,
            legacy::QUEUE_NOTIFY => self.notify(value & 0xffff),
            legacy::DEVICE_STATUS => self.set_status(value as u8, true),
            legacy::CONFIG_VECTOR => self.inside.set_config_vector(self.vector(value)),
            legacy::QUEUE_VECTOR => {
                let vector = self.vector(value);
                self.queue(|queue| queue.vector = vector);
            }
            _ => base::guest_error!("virtio-pci: write of {value:#x} to {offset:#x} means nothing"),
        }
    }

    fn read_common(&mut self, offset: u64, size: u32) -> u64 {
        // Addresses are of 64 bits and read in parts.
        let part = |value: u64| value >> (8 * (offset & 7));
        match offset {
            common::DEVICE_FEATURE_SELECT => self.regs.device_feature_select.into(),
            common::DEVICE_FEATURE => match self.regs.device_feature_select {
                // What only the legacy interface offers is not told here.
                0 => self.inside.offered() & 0xffff_ffff,
                1 => self.inside.offered() >> 32,
                _ => 0,
            },
            common::DRIVER_FEATURE_SELECT => self.regs.driver_feature_select.into(),
            common::DRIVER_FEATURE => match self.regs.driver_feature_select {
                0 => self.inside.driver_features() & 0xffff_ffff,
                1 => self.inside.driver_features() >> 32,
                _ => 0,
            },
            common::CONFIG_MSIX_VECTOR => self.inside.config_vector().into(),
            common::NUM_QUEUES => self.inside.queue_count() as u64,
            common::DEVICE_STATUS => self.inside.status().into(),
            common::CONFIG_GENERATION => u64::from(self.inside.config_generation() & 0xff),
            common::QUEUE_SELECT => self.regs.queue_select.into(),
            common::QUEUE_SIZE => self.queue(|queue| queue.size).into(),
            common::QUEUE_MSIX_VECTOR => self.queue_vector().into(),
            common::QUEUE_ENABLE => u64::from(self.queue(|queue| queue.ready)),
            common::QUEUE_NOTIFY_OFF | common::QUEUE_NOTIFY_DATA => self.regs.queue_select.into(),
            _ if offset & !7 == common::QUEUE_DESC => part(self.queue(|queue| queue.desc)),
            _ if offset & !7 == common::QUEUE_DRIVER => part(self.queue(|queue| queue.driver)),
            _ if offset & !7 == common::QUEUE_DEVICE => part(self.queue(|queue| queue.device)),
            // A queue is reset at once.
            common::QUEUE_RESET => 0,
            _ => {
                base::guest_error!("virtio-pci: read of {size} bytes at {offset:#x}, where no register is");
                0
            }
        }
    }

    fn write_common(&mut self, offset: u64, value: u64) {
        let word = value as u32;
        match offset {
            common::DEVICE_FEATURE_SELECT => self.regs.device_feature_select = word,
            common::DRIVER_FEATURE_SELECT => self.regs.driver_feature_select = word,
            common::DRIVER_FEATURE if self.regs.driver_feature_select < 2 => {
                self.speak(false);
                self.inside.set_driver_features(self.regs.driver_feature_select, word);
            }
            common::CONFIG_MSIX_VECTOR => self.inside.set_config_vector(self.vector(value)),
            common::DEVICE_STATUS => self.set_status(value as u8, false),
            common::QUEUE_SELECT => self.regs.queue_select = value as u16,
            common::QUEUE_SIZE => {
                if !self.queue(|queue| queue.ready || queue.set_size(value & 0xffff)) {
                    base::guest_error!("virtio-pci: {value} is no size of queue {}", self.regs.queue_select);
                }
            }
            common::QUEUE_MSIX_VECTOR => {
                let vector = self.vector(value);
                self.queue(|queue| queue.vector = vector);
            }
            common::QUEUE_ENABLE => self.queue(|queue| queue.ready = value & 1 != 0),
            common::QUEUE_RESET if value & 1 != 0 => {
                self.inside.reset_queue(usize::from(self.regs.queue_select));
            }
            _ if (common::QUEUE_DESC..common::QUEUE_NOTIFY_DATA).contains(&offset)
                && offset.is_multiple_of(4) =>
            {
                self.queue(|queue| {
                    let field = match offset & !7 {
                        common::QUEUE_DESC => &mut queue.desc,
                        common::QUEUE_DRIVER => &mut queue.driver,
                        _ => &mut queue.device,
                    };
                    let shift = 8 * (offset & 4);
                    *field = *field & !(0xffff_ffff << shift) | u64::from(word) << shift;
                });
            }
            _ => base::guest_error!("virtio-pci: write of {value:#x} to {offset:#x} means nothing"),
        }
    }
}

/// A capability that says where a structure lies.
fn structure(kind: u8, bar: u8, offset: u32, size: u32, more: Option<u32>) -> Capability {
    let length = if more.is_some() { 0x14 } else { 0x10 };
    let mut body = vec![length, kind, bar, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(size.to_le_bytes());
    body.extend(more.map(u32::to_le_bytes).unwrap_or_default().into_iter().take(usize::from(length) - 0x10));
    // What reaches the other structures is told by the driver where.
    let mut writable = vec![0; body.len()];
    if kind == CONFIG_ACCESS {
        writable.iter_mut().skip(6).for_each(|byte| *byte = 0xff);
        if let Some(byte) = writable.get_mut(2) {
            *byte = 0xff;
        }
    }
    Capability::vendor(body, writable)
}

impl<K: PciKind> Device for VirtioPci<K> {
    fn read(&mut self, region: usize, offset: u64, size: u32) -> u64 {
        match region {
            window::LEGACY => self.read_legacy(offset, size),
            window::COMMON => self.read_common(offset, size),
            window::ISR if offset == 0 => self.read_isr(),
            window::DEVICE => self.inside.read_config(offset, size),
            _ => 0,
        }
    }

    fn write(&mut self, region: usize, offset: u64, size: u32, value: u64) -> Effect {
        match region {
            window::LEGACY => self.write_legacy(offset, size, value),
            window::COMMON => self.write_common(offset, value),
            window::DEVICE => self.inside.write_config(offset, size, value),
            window::NOTIFY => self.notify(offset / u64::from(self.notify_step())),
            _ => {}
        }
        Effect::None
    }

    fn realize(&mut self) -> base::Result<()> {
        self.form.choose(self.pci.is_below_port());
        if self.form.interfaces() == (false, false) {
            return Err("device cannot work as neither modern nor legacy mode is enabled".into());
        }
        self.inside.realize()?;
        self.options.vectors = self.vectors().into();
        self.bell = self.inside.doorbell().filter(|_| self.options.ioeventfd);
        let Some(function) = self.pci.function() else { return Ok(()) };
        let wiring = Wiring {
            dma: self.pci.dma(),
            irq: self.pci.intx_line(),
            legacy: false,
            messages: Some(Arc::new(Sender(function.downgrade()))),
        };
        Virtio::attach(&**self.inside, wiring);
        let hook: Arc<dyn ConfigHook> = Arc::new(ConfigAccess { function: function.downgrade() });
        function.set_hook(Arc::downgrade(&hook));
        self.hook = Some(hook);
        Ok(())
    }

    fn reset(&mut self) {
        AnyDevice::reset(&**self.inside);
        self.reset_state();
        self.inside.set_legacy(false);
    }

    fn loaded(&mut self) -> Result<(), String> {
        self.inside.set_legacy(self.regs.legacy);
        Ok(())
    }
}

/// Sends the messages of a device.
struct Sender(Weak<Function>);

impl Messages for Sender {
    fn signal(&self, vector: u16) -> bool {
        let Some(function) = self.0.upgrade() else { return false };
        let Some(config) = function.config() else { return false };
        config.with(|config| config.msix_enabled() && config.signal(vector))
    }
}

/// The capability that reaches the structures through configuration space (4.1.4.9).
struct ConfigAccess {
    function: Weak<Function>,
}

/// A register of a structure.
struct Chosen {
    device: Arc<dyn AnyDevice>,
    config: Arc<DeviceCell<ConfigSpace>>,
    window: usize,
    offset: u64,
    size: u32,
    /// Where the data register is.
    data: usize,
}

impl ConfigAccess {
    /// What the driver has chosen, if the access touches the data register.
    fn target(&self, offset: u64, size: u32) -> Option<Chosen> {
        let function = self.function.upgrade()?;
        let config = function.config()?;
        let (data, bar, at, length) = config.with(|c| {
            let capability = capabilities(c).find(|at| c.get(*at, 1) == 9 && c.get(at + 3, 1) == 5)?;
            let get = |n| c.get(capability + n, 4);
            Some((capability + 16, c.get(capability + 4, 1), get(8), get(12)))
        })?;
        let touches = offset < data as u64 + 4 && offset + u64::from(size) > data as u64;
        if !touches || bar != 4 || !matches!(length, 1 | 2 | 4) || at % length != 0 {
            return None;
        }
        let place = usize::try_from(at / STRUCTURE as u32).ok().filter(|n| *n < STRUCTURES.len())?;
        Some(Chosen {
            device: function.device()?,
            config: config.clone(),
            window: window::COMMON + place,
            offset: u64::from(at) % STRUCTURE,
            size: length,
            data,
        })
    }
}

/// Offsets of the capabilities.
fn capabilities(config: &ConfigSpace) -> impl Iterator<Item = usize> + '_ {
    let first = config.get(0x34, 1) as usize;
    let next = |at: &usize| Some(config.get(at + 1, 1) as usize).filter(|at| *at >= 0x40);
    std::iter::successors(Some(first).filter(|at| *at >= 0x40), next).take(48)
}

impl ConfigHook for ConfigAccess {
    fn before_read(&self, offset: u64, size: u32) {
        let Some(chosen) = self.target(offset, size) else { return };
        let value = chosen.device.read(chosen.window, chosen.offset, chosen.size);
        chosen.config.with(|c| c.put(chosen.data, chosen.size as usize, value));
    }

    fn after_write(&self, offset: u64, size: u32) -> Effect {
        let Some(chosen) = self.target(offset, size) else { return Effect::None };
        let value = chosen.config.with(|c| c.get(chosen.data, chosen.size as usize));
        chosen.device.write(chosen.window, chosen.offset, chosen.size, value.into())
    }
}

/// The rows: each device in three forms.
macro_rules! kinds {
    (@one $kind:ident, $form:ty, $name:expr, $inside:ty, $extra:ty, $class:literal, $id:literal, $category:literal,
        $vectors:expr) => {
        #[doc = concat!("`", $name, "`.")]
        pub struct $kind;
        impl PciKind for $kind {
            const NAME: &'static str = $name;
            type Inside = $inside;
            type Form = $form;
            type Extra = $extra;
            const CLASS: u32 = $class;
            const LEGACY_ID: u16 = $id;
            const CATEGORY: &'static str = $category;
            const VECTORS: Option<u16> = $vectors;
        }
    };
    ($($either:ident $transitional:ident $modern:ident = $name:literal, $inside:ty, $extra:ty, $class:literal, $id:literal,
        $category:literal, $vectors:expr;)*) => {
        $(
            kinds!(@one $either, Either, $name, $inside, $extra, $class, $id, $category, $vectors);
            kinds!(@one $transitional, Transitional, concat!($name, "-transitional"), $inside, $extra, $class, $id,
                $category, $vectors);
            kinds!(@one $modern, NonTransitional, concat!($name, "-non-transitional"), $inside, $extra, $class, $id,
                $category, $vectors);
        )*

        /// All types.
        pub fn types() -> Vec<&'static TypeInfo> {
            vec![$(
                VirtioPci::<$either>::TYPE, VirtioPci::<$transitional>::TYPE, VirtioPci::<$modern>::TYPE,
            )*]
        }

        /// The virtio device inside of a device, if it is one of these.
        pub fn inside(device: &Arc<dyn AnyDevice>) -> Option<Arc<dyn AnyDevice>> {
            $(
                if let Some(inside) = inside_of::<$either>(device)
                    .or_else(|| inside_of::<$transitional>(device))
                    .or_else(|| inside_of::<$modern>(device))
                {
                    return Some(inside);
                }
            )*
            None
        }
    };
}

fn inside_of<K: PciKind>(device: &Arc<dyn AnyDevice>) -> Option<Arc<dyn AnyDevice>> {
    let cell: Arc<DeviceCell<VirtioPci<K>>> = device.clone().downcast()?;
    Some(cell.with(|transport| transport.inside.0.clone()))
}

kinds! {
    Balloon BalloonTransitional BalloonNonTransitional =
        "virtio-balloon-pci", balloon::VirtioBalloon, NoOption, 0x00_ff00, 0x1002, "misc", Some(2);
    Blk BlkTransitional BlkNonTransitional =
        "virtio-blk-pci", blk::VirtioBlk, ClassOption, 0x01_0000, 0x1001, "storage", None;
    Net NetTransitional NetNonTransitional =
        "virtio-net-pci", net::VirtioNet, NoOption, 0x02_0000, 0x1000, "network", None;
    Rng RngTransitional RngNonTransitional =
        "virtio-rng-pci", rng::VirtioRng, NoOption, 0x00_ff00, 0x1005, "misc", None;
    Serial SerialTransitional SerialNonTransitional =
        "virtio-serial-pci", console::VirtioSerial, ClassOption, 0x07_8000, 0x1003, "input", Some(2);
}

#[cfg(test)]
#[path = "pci_test.rs"]
mod test;
