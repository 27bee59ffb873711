//! What all virtio devices have in common: status, features, queues, interrupts (VIRTIO 1.2, section 2).

use std::sync::Arc;

use memory::Dma;
use object::{Device, DeviceCell, Line};
use state::State;

use super::queue::{Broken, Chain, NO_VECTOR, Queue};

/// Bits of the device status field (2.1).
pub mod status {
    #![allow(missing_docs)]
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 64;
    pub const FAILED: u8 = 128;
}

/// Feature bits that belong to no type of device (6), with those of the legacy interface.
pub mod feature {
    #![allow(missing_docs)]
    pub const NOTIFY_ON_EMPTY: u64 = 1 << 24;
    pub const ANY_LAYOUT: u64 = 1 << 27;
    pub const INDIRECT_DESC: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    pub const RING_PACKED: u64 = 1 << 34;
    pub const RING_RESET: u64 = 1 << 40;
}

/// Bits of the interrupt status.
pub mod isr {
    /// A queue has news.
    pub const QUEUE: u32 = 1;
    /// The configuration has changed.
    pub const CONFIG: u32 = 2;
}

/// The size of queue that transports let the driver choose at most.
pub const MAX_QUEUE_SIZE: u16 = 1024;

/// What is saved of every virtio device.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio")]
pub struct CoreState {
    /// The device status field.
    pub status: u8,
    /// What the driver has accepted.
    pub driver_features: u64,
    /// The interrupt status.
    pub isr: u32,
    /// Counts the changes of the configuration.
    pub config_generation: u32,
    /// The message that tells of such a change, with transports that send messages.
    pub config_vector: u16,
    /// The rings made no sense: nothing is done with them until a reset.
    pub broken: bool,
    /// The queues.
    pub queues: Vec<Queue>,
}

/// A transport that interrupts by messages.
pub trait Messages: Send + Sync {
    /// Sends message `vector`; false while the driver has messages switched off.
    fn signal(&self, vector: u16) -> bool;
}

/// Takes notifications of a device's driver on the vCPU that makes them, which it does not keep: the work is done elsewhere.
pub trait Doorbell: Send + Sync {
    /// The driver has made chains available in a queue, or says so: there may be no such queue, and nobody there to look.
    fn ring(&self, queue: usize);
}

/// How a device is connected; set by its transport.
#[derive(Default)]
pub struct Wiring {
    /// The way to memory.
    pub dma: Option<Dma>,
    /// The transport's interrupt.
    pub irq: Line,
    /// The driver speaks the legacy interface.
    pub legacy: bool,
    /// Interrupts by message, where the transport has them.
    pub messages: Option<Arc<dyn Messages>>,
}

/// The properties that all virtio devices have.
#[derive(Clone, Copy, Debug)]
pub struct CommonOptions {
    /// Offer VIRTIO_F_INDIRECT_DESC.
    pub indirect_desc: bool,
    /// Offer VIRTIO_F_EVENT_IDX.
    pub event_idx: bool,
    /// Offer VIRTIO_F_NOTIFY_ON_EMPTY.
    pub notify_on_empty: bool,
    /// Offer VIRTIO_F_ANY_LAYOUT.
    pub any_layout: bool,
    /// Offer VIRTIO_F_RING_RESET.
    pub queue_reset: bool,
    /// Offer VIRTIO_F_RING_PACKED.
    pub packed: bool,
}

/// Declares the struct of a virtio device: adds the common properties and the wiring to its fields.
macro_rules! virtio_device {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($body)*
            /// Offer indirect descriptors.
            #[property(name = "indirect_desc", default = true)]
            pub indirect_desc: bool,
            /// Offer event indices.
            #[property(name = "event_idx", default = true)]
            pub event_idx: bool,
            /// Offer an interrupt whenever a queue runs empty (legacy only).
            #[property(name = "notify_on_empty", default = true)]
            pub notify_on_empty: bool,
            /// Accept any framing of requests (legacy only).
            #[property(name = "any_layout", default = true)]
            pub any_layout: bool,
            /// Offer the reset of single queues.
            #[property(name = "queue_reset", default = true)]
            pub queue_reset: bool,
            /// Offer packed queues.
            #[property]
            pub packed: bool,
            /// Use of buffers in order.
            #[property(name = "in_order", default = $crate::property_types::AlwaysOff, desc = "on/off")]
            pub in_order: $crate::property_types::AlwaysOff,
            /// Access to memory through an IOMMU.
            #[property(name = "iommu_platform", default = $crate::property_types::AlwaysOff, desc = "on/off")]
            pub iommu_platform: $crate::property_types::AlwaysOff,
            /// The driver has started it: saved in any case.
            #[property]
            pub use_started: $crate::property_types::AlwaysOn,
            /// It is disabled: saved in any case.
            #[property]
            pub use_disabled_flag: $crate::property_types::AlwaysOn,
            /// Whether a legacy device may be left to a driver that could do better is checked in any case.
            #[property(name = "x-disable-legacy-check")]
            pub disable_legacy_check: $crate::property_types::AlwaysOff,
            wiring: $crate::virtio::common::Wiring,
        }

        impl $name {
            fn common_options(&self) -> $crate::virtio::common::CommonOptions {
                $crate::virtio::common::CommonOptions {
                    indirect_desc: self.indirect_desc,
                    event_idx: self.event_idx,
                    notify_on_empty: self.notify_on_empty,
                    any_layout: self.any_layout,
                    queue_reset: self.queue_reset,
                    packed: self.packed,
                }
            }
        }
    };
}
pub(crate) use virtio_device;

/// A type of virtio device. The transport calls these with the device's lock held.
pub trait VirtioDevice: Device {
    /// The device ID (5).
    const ID: u32;

    /// The common state, with the wiring it is used with.
    fn virtio(&mut self) -> Virtio<'_>;
    /// The wiring.
    fn wiring_mut(&mut self) -> &mut Wiring;
    /// The common properties.
    fn options(&self) -> CommonOptions;
    /// The features of the device's type that it offers, to a driver of the legacy interface if `legacy`.
    fn offered(&self, legacy: bool) -> u64;
    /// The size of each queue, unless the driver chooses another.
    fn queue_sizes(&self) -> Vec<u16>;
    /// The configuration space.
    fn config(&mut self) -> Vec<u8>;
    /// The driver writes to the configuration space. The range lies within it.
    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        let _ = (offset, bytes);
    }
    /// The driver has made chains available in a queue.
    fn notify(&mut self, queue: usize);
    /// What the transport rings, instead of calling [`VirtioDevice::notify`] with the device's lock held.
    fn doorbell(&self) -> Option<Arc<dyn Doorbell>> {
        None
    }
    /// The driver is ready (DRIVER_OK).
    fn driver_ok(&mut self) {}
    /// A queue is about to be reset: forget the chains taken from it.
    fn queue_reset(&mut self, queue: usize) {
        let _ = queue;
    }
}

base::trace_points! {
    /// What is to be traced of virtio devices.
    pub mod trace "virtio" {
        /// The driver has filled a queue.
        QUEUE_NOTIFY "queue_notify",
        /// The driver is interrupted.
        NOTIFY "notify",
    }
}

/// The common state of a device, and the way to memory and interrupts.
pub struct Virtio<'a> {
    /// The wiring.
    pub wiring: &'a Wiring,
    /// The state.
    pub state: &'a mut CoreState,
}

impl Virtio<'_> {
    /// Whether the driver has accepted the feature.
    pub fn has(&self, feature: u64) -> bool {
        self.state.driver_features & feature != 0
    }

    /// The queue, if it is set up and the driver allows it to be used.
    fn live(&mut self, queue: usize) -> Option<(&Dma, &mut Queue)> {
        let running = self.wiring.legacy || self.state.status & status::DRIVER_OK != 0;
        if self.state.broken || !running {
            return None;
        }
        let queue = self.state.queues.get_mut(queue).filter(|queue| queue.usable())?;
        Some((self.wiring.dma.as_ref()?, queue))
    }

    /// What the operation gives, or nothing if the rings make no sense.
    fn checked<T>(&mut self, result: Result<T, Broken>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(broken) => {
                self.fail(broken);
                None
            }
        }
    }

    /// The guest's rings or requests make no sense: the device stops until it is reset (2.1.1).
    pub fn fail(&mut self, Broken(reason): Broken) {
        base::guest_error!("virtio: {reason}; the device needs a reset");
        self.state.broken = true;
        if self.has(feature::VERSION_1) {
            self.state.status |= status::NEEDS_RESET;
            self.interrupt(isr::CONFIG, self.state.config_vector);
        }
    }

    /// Takes the next chain of a queue.
    pub fn pop(&mut self, queue: usize) -> Option<Chain> {
        let (dma, live) = self.live(queue)?;
        let result = live.pop(dma);
        self.checked(result).flatten()
    }

    /// Puts the chain taken last back.
    pub fn unpop(&mut self, queue: usize, chain: &Chain) {
        if let Some(queue) = self.state.queues.get_mut(queue) {
            queue.unpop(chain);
        }
    }

    /// How many chains wait in a queue.
    pub fn available(&mut self, queue: usize) -> u16 {
        let Some((dma, live)) = self.live(queue) else { return 0 };
        let result = live.available_or_notified(dma);
        self.checked(result).unwrap_or(0)
    }

    /// Gives a chain back, `written` bytes of it filled. The driver sees it after [`Virtio::publish`].
    pub fn push(&mut self, queue: usize, chain: &Chain, written: u32) {
        let Some((dma, live)) = self.live(queue) else { return };
        let result = live.push(dma, chain, written);
        self.checked(result);
    }

    /// Shows the driver the chains given back, with an interrupt if it wants one.
    pub fn publish(&mut self, queue: usize) {
        let Some((dma, live)) = self.live(queue) else { return };
        let result = live.publish(dma);
        if self.checked(result) == Some(true) {
            let vector = self.state.queues.get(queue).map_or(NO_VECTOR, |queue| queue.vector);
            self.interrupt(isr::QUEUE, vector);
        }
    }

    /// Asks the driver to notify of new chains, or not to.
    pub fn set_notification(&mut self, queue: usize, wanted: bool) {
        let Some((dma, live)) = self.live(queue) else { return };
        let result = live.set_notification(dma, wanted);
        self.checked(result);
    }

    /// Sets bits of the interrupt status, and sends a message or raises the line.
    fn interrupt(&mut self, bits: u32, vector: u16) {
        base::trace!(trace::NOTIFY, "isr {bits:#x} vector {vector}");
        self.state.isr |= bits;
        if !self.wiring.messages.as_ref().is_some_and(|messages| messages.signal(vector)) {
            self.wiring.irq.raise();
        }
    }

    /// The configuration has changed.
    pub fn config_changed(&mut self) {
        self.state.config_generation = self.state.config_generation.wrapping_add(1);
        if self.state.status & status::DRIVER_OK != 0 {
            // Both bits, as QEMU sets them: there are drivers that wait for news of a queue.
            self.interrupt(isr::QUEUE | isr::CONFIG, self.state.config_vector);
        }
    }

    /// The way to memory.
    pub fn dma(&self) -> Option<Dma> {
        self.wiring.dma.clone()
    }
}

/// All that a device offers.
pub fn offered<D: VirtioDevice>(device: &mut D) -> u64 {
    let legacy = device.virtio().wiring.legacy;
    let options = device.options();
    let offer = |wanted: bool, feature: u64| if wanted { feature } else { 0 };
    let common = offer(options.indirect_desc, feature::INDIRECT_DESC)
        | offer(options.event_idx, feature::EVENT_IDX)
        | offer(legacy && options.notify_on_empty, feature::NOTIFY_ON_EMPTY)
        | offer(legacy && options.any_layout, feature::ANY_LAYOUT)
        | offer(!legacy, feature::VERSION_1)
        | offer(!legacy && options.queue_reset, feature::RING_RESET)
        | offer(!legacy && options.packed, feature::RING_PACKED);
    common | device.offered(legacy)
}

/// The state after a reset: the queues as the device wants them.
pub fn fresh_state<D: VirtioDevice>(device: &D) -> CoreState {
    let queues = device.queue_sizes().into_iter().map(|size| Queue::new(size, MAX_QUEUE_SIZE)).collect();
    CoreState { queues, config_vector: NO_VECTOR, ..CoreState::default() }
}

/// Checks what has been loaded, and sets the line that follows from it.
///
/// # Errors
/// The stream has other queues than the device.
pub fn loaded<D: VirtioDevice>(device: &mut D) -> Result<(), String> {
    let count = device.queue_sizes().len();
    let virtio = device.virtio();
    if virtio.state.queues.len() != count {
        return Err(format!("there are {} queues instead of {count}", virtio.state.queues.len()));
    }
    for queue in &mut virtio.state.queues {
        queue.max_size = MAX_QUEUE_SIZE;
        queue.forget_in_flight();
    }
    virtio.wiring.irq.refresh(virtio.state.isr != 0);
    Ok(())
}

fn apply_features(state: &mut CoreState) {
    let features = state.driver_features;
    state.queues.iter_mut().for_each(|queue| queue.negotiate(features));
}

/// A virtio device as its transport sees it.
pub trait Function: Send + Sync {
    /// The device ID.
    fn id(&self) -> u32;
    /// Connects the device to its transport.
    fn attach(&self, wiring: Wiring);
    /// The driver speaks the legacy interface, or does not.
    fn set_legacy(&self, legacy: bool);
    /// How many queues there are.
    fn queue_count(&self) -> usize;
    /// Bytes of the configuration space.
    fn config_length(&self) -> usize;
    /// The message that tells of changes of the configuration.
    fn config_vector(&self) -> u16;
    /// Chooses that message.
    fn set_config_vector(&self, vector: u16);
    /// What the device offers.
    fn offered(&self) -> u64;
    /// What the driver has accepted.
    fn driver_features(&self) -> u64;
    /// The driver accepts 32 features, `word` 0 or 1.
    fn set_driver_features(&self, word: u32, value: u32);
    /// The device status.
    fn status(&self) -> u8;
    /// The driver sets the device status; 0 is a reset.
    fn set_status(&self, value: u8);
    /// The interrupt status.
    fn isr(&self) -> u32;
    /// Clears bits of the interrupt status.
    fn acknowledge(&self, bits: u32);
    /// Counts the changes of the configuration.
    fn config_generation(&self) -> u32;
    /// Reads from the configuration space; ones beyond its end.
    fn read_config(&self, offset: u64, size: u32) -> u64;
    /// Writes to the configuration space.
    fn write_config(&self, offset: u64, size: u32, value: u64);
    /// Looks at a queue, or sets it up. Nothing happens if there is no such queue.
    fn with_queue(&self, queue: usize, look: &mut dyn FnMut(&mut Queue));
    /// Resets a queue.
    fn reset_queue(&self, queue: usize);
    /// The driver has made chains available.
    fn notify(&self, queue: usize);
    /// What to ring instead, if the device has it; asked once the device is realized.
    fn doorbell(&self) -> Option<Arc<dyn Doorbell>>;
}

fn reset_queue<D: VirtioDevice>(device: &mut D, n: usize) {
    let Some(size) = device.queue_sizes().get(n).copied() else { return };
    device.queue_reset(n);
    let virtio = device.virtio();
    if let Some(queue) = virtio.state.queues.get_mut(n) {
        *queue = Queue::new(size, MAX_QUEUE_SIZE);
    }
    apply_features(virtio.state);
}

impl<D: VirtioDevice> Function for DeviceCell<D> {
    fn id(&self) -> u32 {
        D::ID
    }

    fn attach(&self, wiring: Wiring) {
        self.with(|device| *device.wiring_mut() = wiring);
    }

    fn set_legacy(&self, legacy: bool) {
        self.with(|device| device.wiring_mut().legacy = legacy);
    }

    fn queue_count(&self) -> usize {
        self.with(|device| device.queue_sizes().len())
    }

    fn config_length(&self) -> usize {
        self.with(|device| device.config().len())
    }

    fn config_vector(&self) -> u16 {
        self.with(|device| device.virtio().state.config_vector)
    }

    fn set_config_vector(&self, vector: u16) {
        self.with(|device| device.virtio().state.config_vector = vector);
    }

    fn offered(&self) -> u64 {
        self.with(|device| offered(device))
    }

    fn driver_features(&self) -> u64 {
        self.with(|device| device.virtio().state.driver_features)
    }

    fn set_driver_features(&self, word: u32, value: u32) {
        self.with(|device| {
            let offered = offered(device);
            let virtio = device.virtio();
            if virtio.state.status & status::FEATURES_OK != 0 {
                base::guest_error!("virtio: features are set after FEATURES_OK");
                return;
            }
            let (shift, mask) = if word == 0 { (0, 0xffff_ffff) } else { (32, 0xffff_ffff << 32) };
            let features = virtio.state.driver_features & !mask | u64::from(value) << shift;
            // A legacy driver is not asked whether it means it.
            virtio.state.driver_features = if virtio.wiring.legacy { features & offered } else { features };
            apply_features(virtio.state);
        });
    }

    fn status(&self) -> u8 {
        self.with(|device| device.virtio().state.status)
    }

    fn set_status(&self, value: u8) {
        self.with(|device| {
            if value == 0 {
                device.reset();
                return;
            }
            let offered = offered(device);
            let virtio = device.virtio();
            let old = virtio.state.status;
            let mut new = value | old & status::NEEDS_RESET;
            if !virtio.wiring.legacy && new & !old & status::FEATURES_OK != 0 {
                let features = virtio.state.driver_features;
                // Drivers that know the first 32 bits only do not accept VIRTIO_F_VERSION_1, and yet work (6.1
                // leaves it to the device).
                if features & !offered != 0 {
                    base::guest_error!("virtio: the driver accepts {features:#x} of {offered:#x}");
                    new &= !status::FEATURES_OK;
                }
            }
            virtio.state.status = new;
            if new & !old & status::DRIVER_OK != 0 {
                device.driver_ok();
            }
        });
    }

    fn isr(&self) -> u32 {
        self.with(|device| device.virtio().state.isr)
    }

    fn acknowledge(&self, bits: u32) {
        self.with(|device| {
            let virtio = device.virtio();
            virtio.state.isr &= !bits;
            virtio.wiring.irq.set(virtio.state.isr != 0);
        });
    }

    fn config_generation(&self) -> u32 {
        self.with(|device| device.virtio().state.config_generation)
    }

    fn read_config(&self, offset: u64, size: u32) -> u64 {
        let config = self.with(|device| device.config());
        let all = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = config.get(all..all.saturating_add(size as usize));
        let ones = u64::MAX >> (64 - 8 * size.clamp(1, 8));
        part.map_or(ones, |bytes| base::Endian::Little.number(bytes))
    }

    fn write_config(&self, offset: u64, size: u32, value: u64) {
        self.with(|device| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(size as usize);
            let length = device.config().len();
            if let Some(bytes) = value.to_le_bytes().get(..size as usize)
                && end <= length
            {
                device.write_config(start, bytes);
            }
        });
    }

    fn with_queue(&self, queue: usize, look: &mut dyn FnMut(&mut Queue)) {
        self.with(|device| {
            if let Some(queue) = device.virtio().state.queues.get_mut(queue) {
                look(queue);
            }
        });
    }

    fn reset_queue(&self, queue: usize) {
        self.with(|device| reset_queue(device, queue));
    }

    fn doorbell(&self) -> Option<Arc<dyn Doorbell>> {
        self.with(|device| device.doorbell())
    }

    fn notify(&self, queue: usize) {
        base::trace!(trace::QUEUE_NOTIFY, "{} n {queue}", D::TYPE.name);
        self.with(|device| {
            if device.virtio().live(queue).is_some() {
                device.notify(queue);
            }
        });
    }
}

/// A function behind its lock, whatever its type.
pub type FunctionRef = Arc<dyn Function>;
