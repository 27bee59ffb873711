//! Timers of devices: a deadline that is saved with the device, and the main loop's timer that fires it.

use std::sync::Arc;

use events::{Clock, Clocks, EventLoop};
use object::{AnyDevice, Device, DeviceCell};

/// The main loop's side of a device's timer. The deadline itself is a field of the device's saved state; after
/// a load the device arms the timer for it again. Fires [`Device::timer`].
#[derive(Default)]
pub struct DeviceTimer(Option<events::Timer>);

impl DeviceTimer {
    /// A timer on `clock` that fires `timer(which)` of the device in `cell`, as long as there is one.
    pub fn new<D: Device>(cell: &Arc<DeviceCell<D>>, events: &EventLoop, clock: Clock, which: usize) -> Self {
        let cell = Arc::downgrade(cell);
        Self(Some(events.timer(clock, move || {
            if let Some(cell) = cell.upgrade() {
                cell.timer(which);
            }
        })))
    }

    /// Fires at `deadline`, in nanoseconds of the timer's clock, or never. A timer in no main loop never fires.
    pub fn set(&self, deadline: Option<u64>) {
        match (&self.0, deadline) {
            (Some(timer), Some(deadline)) => timer.arm(deadline),
            (Some(timer), None) => timer.cancel(),
            (None, _) => {}
        }
    }
}

/// The clocks a device reads; without a main loop they stand still.
#[derive(Clone, Default)]
pub struct DeviceClock(Option<Clocks>);

impl DeviceClock {
    /// The clocks of a main loop.
    pub fn new(events: &EventLoop) -> Self {
        Self(Some(events.clocks().clone()))
    }

    /// Nanoseconds of the virtual clock.
    pub fn virtual_ns(&self) -> u64 {
        self.now_ns(Clock::Virtual)
    }

    /// Nanoseconds of a clock.
    pub fn now_ns(&self, clock: Clock) -> u64 {
        self.0.as_ref().map_or(0, |clocks| clocks.now_ns(clock))
    }
}
