//! The bus's lock round a device.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base::trace::Points;
use state::{Loader, Saver, State, StateError};

use crate::guard::Inside;
use crate::pci::PciInfo;
use crate::types::point;
use crate::{
    Anatomy, BusPlace, Device, Effect, Line, LineSink, PropertyError, PropertyInfo, PropertyValue,
    RegionInfo, TypeInfo,
};

/// A device and its lock. Handed about as `Arc<DeviceCell<D>>` or `Arc<dyn AnyDevice>`.
pub struct DeviceCell<D> {
    device: Mutex<D>,
    realized: AtomicBool,
}

impl<D: Device> DeviceCell<D> {
    /// Puts a lock round a device.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(device: D) -> Arc<Self> {
        Arc::new(Self { device: Mutex::new(device), realized: AtomicBool::new(false) })
    }

    /// Does something with the device. What this starts in other devices (lines, [`crate::defer`]) happens
    /// after `f` has returned and the lock is gone. Not to be nested within one device.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut D) -> R) -> R {
        // Dropped in reverse order: first the lock, then the queued work is done.
        let _inside = Inside::enter();
        let mut device = self.lock();
        f(&mut device)
    }

    /// A device whose method has panicked is in a state that its author did not foresee, but so is the
    /// whole machine; going on is what lets the monitor still answer.
    fn lock(&self) -> MutexGuard<'_, D> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line to input `n` of this device.
    pub fn input_line(self: &Arc<Self>, n: u32) -> Line {
        Line::to(self.clone() as Arc<dyn LineSink>, n)
    }
}

impl<D: Default> Default for DeviceCell<D> {
    fn default() -> Self {
        Self { device: Mutex::default(), realized: AtomicBool::new(false) }
    }
}

impl<D: Device> LineSink for DeviceCell<D> {
    fn set(&self, n: u32, level: bool) {
        self.with(|d| d.input(n as usize, level));
    }
}

impl<D> fmt::Debug for DeviceCell<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCell").finish_non_exhaustive()
    }
}

/// A device of whatever type, behind its lock: what lists of devices hold.
pub trait AnyDevice: Send + Sync + Any {
    /// Its type.
    fn type_info(&self) -> &'static TypeInfo;
    /// Its register windows.
    fn regions(&self) -> Vec<RegionInfo>;
    /// The guest reads a register. See [`Device::read`].
    fn read(&self, region: usize, offset: u64, size: u32) -> u64;
    /// The guest writes a register. The effect is to be performed by the caller, who holds no lock.
    fn write(&self, region: usize, offset: u64, size: u32, value: u64) -> Effect;
    /// A timer has expired.
    fn timer(&self, which: usize);
    /// How many input lines it has.
    fn inputs(&self) -> u32;
    /// An input line has a new level.
    fn input(&self, line: usize, level: bool);
    /// The outputs: name and how many lines.
    fn wires(&self) -> Vec<(&'static str, usize)>;
    /// Connects an output; false when there is none of that name and number.
    fn connect(&self, wire: &str, n: usize, line: Line) -> bool;
    /// What it is as a PCI function, if it is one.
    fn pci(&self) -> Option<PciInfo>;
    /// Puts it at a place of a bus; false when it does not belong there.
    fn attach(&self, place: BusPlace) -> bool;
    /// It has been taken out of its place.
    fn detach(&self);
    /// Its properties.
    fn properties(&self) -> Vec<PropertyInfo>;
    /// Its properties without those of a device inside it.
    fn own_properties(&self) -> Vec<PropertyInfo>;
    /// The value of a property.
    fn property(&self, name: &str) -> Option<PropertyValue>;
    /// Sets a property, as long as the device is not realized.
    fn set_property(&self, name: &str, value: &PropertyValue) -> Result<(), PropertyError>;
    /// Checks the configuration; from here on properties cannot be set.
    fn realize(&self) -> base::Result<()>;
    /// Whether [`AnyDevice::realize`] has succeeded.
    fn is_realized(&self) -> bool;
    /// Resets the volatile state.
    fn reset(&self);
    /// Name of the section that [`AnyDevice::save`] writes.
    fn section(&self) -> &'static str;
    /// Writes the volatile state as one section.
    fn save(&self, instance: u32, out: &mut Saver);
    /// Reads the volatile state. The state is reset before.
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> Result<(), StateError>;
}

/// The points of a type of device, and the time, if point `n` is on.
#[inline(always)]
fn traced<D: Device>(n: u32) -> Option<(&'static Points, Instant)> {
    let points = D::TYPE.points?();
    points.begin(n).map(|begin| (points, begin))
}
/// An access to a register in words.
#[cold]
fn told(region: usize, offset: u64, size: u32, value: u64) -> String {
    format!("window {region} addr {offset:#x} value {value:#x} size {size}")
}

impl<D: Device> AnyDevice for DeviceCell<D> {
    fn type_info(&self) -> &'static TypeInfo {
        D::TYPE
    }
    fn regions(&self) -> Vec<RegionInfo> {
        self.with(|d| Anatomy::regions(d))
    }
    #[inline]
    fn read(&self, region: usize, offset: u64, size: u32) -> u64 {
        let begin = traced::<D>(point::READ);
        let value = self.with(|d| d.read(region, offset, size));
        if let Some((points, begin)) = begin {
            points.end(point::READ, Some(begin), || told(region, offset, size, value));
        }
        value
    }
    #[inline]
    fn write(&self, region: usize, offset: u64, size: u32, value: u64) -> Effect {
        let begin = traced::<D>(point::WRITE);
        let effect = self.with(|d| d.write(region, offset, size, value));
        if let Some((points, begin)) = begin {
            points.end(point::WRITE, Some(begin), || told(region, offset, size, value));
        }
        effect
    }
    fn timer(&self, which: usize) {
        if let Some((points, _)) = traced::<D>(point::TIMER) {
            points.emit(point::TIMER, format_args!("timer {which}"));
        }
        self.with(|d| d.timer(which));
    }
    fn inputs(&self) -> u32 {
        self.with(|d| Anatomy::inputs(d))
    }
    fn input(&self, line: usize, level: bool) {
        if let Some((points, _)) = traced::<D>(point::INPUT) {
            points.emit(point::INPUT, format_args!("input {line} level {}", u8::from(level)));
        }
        self.with(|d| d.input(line, level));
    }
    fn wires(&self) -> Vec<(&'static str, usize)> {
        self.with(|d| Anatomy::wires(d))
    }
    fn connect(&self, wire: &str, n: usize, line: Line) -> bool {
        self.with(|d| d.wire(wire, n).map(|end| *end = line).is_some())
    }
    fn pci(&self) -> Option<PciInfo> {
        self.with(|d| Anatomy::pci(d))
    }
    fn attach(&self, place: BusPlace) -> bool {
        self.with(|d| d.link().is_some_and(|link| link.attach(place)))
    }
    fn detach(&self) {
        self.with(|d| {
            if let Some(link) = d.link() {
                link.detach();
            }
        });
    }
    fn properties(&self) -> Vec<PropertyInfo> {
        <D as Anatomy>::properties()
    }
    fn own_properties(&self) -> Vec<PropertyInfo> {
        let (mut all, aliases) = (<D as Anatomy>::properties(), <D as Anatomy>::aliases());
        all.truncate(all.len() - aliases.len());
        all
    }
    fn property(&self, name: &str) -> Option<PropertyValue> {
        self.with(|d| Anatomy::property(d, name))
    }
    fn set_property(&self, name: &str, value: &PropertyValue) -> Result<(), PropertyError> {
        if self.is_realized() {
            return Err(PropertyError::Realized);
        }
        self.with(|d| Anatomy::set_property(d, name, value))
    }
    fn realize(&self) -> base::Result<()> {
        self.with(Device::realize)?;
        self.realized.store(true, Relaxed);
        Ok(())
    }
    fn is_realized(&self) -> bool {
        self.realized.load(Relaxed)
    }
    fn reset(&self) {
        if let Some((points, _)) = traced::<D>(point::RESET) {
            points.emit(point::RESET, format_args!("reset"));
        }
        self.with(Device::reset);
    }
    fn section(&self) -> &'static str {
        <D::State as State>::NAME
    }
    fn save(&self, instance: u32, out: &mut Saver) {
        self.with(|d| out.section(instance, d.state()));
    }
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> Result<(), StateError> {
        self.with(|d| {
            d.reset_state();
            from.section(instance, d.state_mut())?;
            d.loaded().map_err(|reason| StateError {
                section: <D::State as State>::NAME.to_owned(),
                field: String::new(),
                reason,
            })
        })
    }
}

/// A device that is part of another, behind its own lock; its properties are that one's too.
pub struct Inner<D>(pub Arc<DeviceCell<D>>);

impl<D: Default> Default for Inner<D> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<D> std::ops::Deref for Inner<D> {
    type Target = Arc<DeviceCell<D>>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<D: Device> crate::PropertySet for Inner<D> {
    fn properties() -> Vec<PropertyInfo> {
        <D as Anatomy>::properties()
    }
    fn property(&self, name: &str) -> Option<PropertyValue> {
        AnyDevice::property(&*self.0, name)
    }
    fn set_property(&mut self, name: &str, value: &PropertyValue) -> Result<(), PropertyError> {
        AnyDevice::set_property(&*self.0, name, value)
    }
}

/// The input lines of a device of whatever type, as a [`LineSink`].
#[derive(Clone)]
pub struct InputSink(pub Arc<dyn AnyDevice>);

impl LineSink for InputSink {
    fn set(&self, n: u32, level: bool) {
        self.0.input(n as usize, level);
    }
}

impl fmt::Debug for InputSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InputSink({})", self.0.type_info().name)
    }
}

impl dyn AnyDevice {
    /// A line to input `n` of this device.
    pub fn input_line(self: &Arc<Self>, n: u32) -> Line {
        Line::to(Arc::new(InputSink(self.clone())), n)
    }
    /// The device as its own type, if it is a `D`.
    pub fn downcast<D: Device>(self: Arc<Self>) -> Option<Arc<DeviceCell<D>>> {
        let any: Arc<dyn Any + Send + Sync> = self;
        any.downcast().ok()
    }
}

#[cfg(test)]
#[path = "cell_test.rs"]
mod test;
