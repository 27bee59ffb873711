//! What a device is: [`Device`] is written by its author, [`Anatomy`] is derived from the struct.

use state::State;

use crate::pci::PciInfo;
use crate::{BusLink, Effect, Line, PropertyError, PropertyInfo, PropertyValue, RegionInfo, TypeInfo};

/// What is to be known of a device beside what it does. Derived with `#[derive(Device)]`.
pub trait Anatomy: Sized {
    /// The volatile, guest-visible state; its `Default` is the state after reset.
    type State: State + Default;
    /// The type.
    const TYPE: &'static TypeInfo;
    /// The volatile state.
    fn state(&self) -> &Self::State;
    /// The volatile state.
    fn state_mut(&mut self) -> &mut Self::State;
    /// The user-visible configuration.
    fn properties() -> Vec<PropertyInfo>;
    /// Those of them that belong to a device inside this one, which shows them itself.
    fn aliases() -> Vec<PropertyInfo> {
        Vec::new()
    }
    /// The value of one property.
    fn property(&self, name: &str) -> Option<PropertyValue>;
    /// Sets one property.
    fn set_property(&mut self, name: &str, value: &PropertyValue) -> Result<(), PropertyError>;
    /// The register windows, in the order in which [`Device::read`] numbers them.
    fn regions(&self) -> Vec<RegionInfo>;
    /// How many input lines there are.
    fn inputs(&self) -> u32;
    /// The outputs: name and how many lines.
    fn wires(&self) -> Vec<(&'static str, usize)>;
    /// The driving end of an output.
    fn wire(&mut self, name: &str, n: usize) -> Option<&mut Line>;
    /// What it is as a PCI function, if it is one.
    fn pci(&self) -> Option<PciInfo> {
        None
    }
    /// Its link to its bus.
    fn link(&mut self) -> Option<&mut dyn BusLink> {
        None
    }
}

/// What a device does. The bus calls these with the device's lock held; the author does not see the lock.
pub trait Device: Anatomy + Send + 'static {
    /// The guest reads `size` bytes at `offset` of register window `region`. Size and alignment are as the
    /// window declares them; the offset lies within it.
    fn read(&mut self, region: usize, offset: u64, size: u32) -> u64 {
        let _ = (region, offset, size);
        0
    }
    /// The guest writes. Only the low `size` bytes of `value` are set.
    fn write(&mut self, region: usize, offset: u64, size: u32, value: u64) -> Effect {
        let _ = (region, offset, size, value);
        Effect::None
    }
    /// Timer `which` has expired.
    fn timer(&mut self, which: usize) {
        let _ = which;
    }
    /// Input line `line` has a new level.
    fn input(&mut self, line: usize, level: bool) {
        let _ = (line, level);
    }
    /// Checks the configuration and connects to what it names, once, before the guest runs.
    fn realize(&mut self) -> base::Result<()> {
        Ok(())
    }
    /// The machine is reset. A device that overrides this and keeps something calls
    /// [`Device::reset_state`] itself.
    fn reset(&mut self) {
        self.reset_state();
    }
    /// Sets the volatile state to its default.
    fn reset_state(&mut self) {
        *self.state_mut() = Default::default();
    }
    /// The state has been loaded: check it, set the lines and timers that follow from it. The error is a
    /// reason to refuse the stream.
    fn loaded(&mut self) -> Result<(), String> {
        Ok(())
    }
}
