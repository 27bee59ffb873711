//! The entropy device: "virtio-rng-device".
//!
//! Document: VIRTIO 1.2, section 5.4. At most `max-bytes` are given out in each `period` milliseconds.

use std::sync::{Arc, Weak};
use std::thread;

use backends::rng::Entropy;
use events::{Clock, EventLoop};
use object::{Device, DeviceCell};
use state::State;

use super::common::{
    CommonOptions, CoreState, Virtio, VirtioDevice, Wiring, fresh_state, loaded, virtio_device,
};
use super::queue::{Chain, length, scatter};
use crate::property_types::RngLink;
use crate::timer::{DeviceClock, DeviceTimer};

const QUEUE: usize = 0;
/// The most that one chain is given: a driver asks again.
const CHUNK: u64 = 64 << 10;

/// What is saved.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio-rng")]
pub struct RngState {
    core: CoreState,
    /// Bytes left in this period.
    quota: u64,
    /// Virtual time at which the period ends, while one runs.
    period_end: Option<u64>,
}

virtio_device! {
    /// The device.
    #[derive(Device)]
    #[device(name = "virtio-rng-device", parent = "virtio-device", bus = "virtio-bus", category = "misc",
        user_creatable)]
    pub struct VirtioRng {
        /// Id of the entropy back end; the kernel's generator if there is none.
        #[property]
        pub rng: RngLink,
        /// Bytes in each period.
        #[property(name = "max-bytes", default = i64::MAX as u64)]
        pub max_bytes: u64,
        /// Milliseconds.
        #[property(default = 65536u32)]
        pub period: u32,
        source: Option<Entropy>,
        events: Option<EventLoop>,
        clock: DeviceClock,
        timer: DeviceTimer,
        this: Weak<DeviceCell<Self>>,
        /// A thread reads the source; the chain it reads for is the one taken last.
        reading: bool,
        /// Tells a thread whether the chain is still its own.
        epoch: u64,
        #[state]
        state: RngState,
    }
}

impl VirtioRng {
    /// A device; its configuration is the public fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the device its source and its clock; to be called before it is realized.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop, source: Entropy) {
        cell.with(|device| {
            device.this = Arc::downgrade(cell);
            device.source = Some(source);
            device.events = Some(events.clone());
            device.clock = DeviceClock::new(events);
            device.timer = DeviceTimer::new(cell, events, Clock::Virtual, 0);
        });
    }

    fn begin_period(&mut self) {
        let end = self.clock.virtual_ns().saturating_add(u64::from(self.period) * 1_000_000);
        self.state.period_end = Some(end);
        self.timer.set(Some(end));
    }

    fn serve(&mut self) {
        // What one notification can ask for; a driver that wants more asks again.
        for _ in 0..self.queue_sizes().iter().sum::<u16>() {
            if self.reading || self.state.quota == 0 {
                return;
            }
            let Some(chain) = self.virtio().pop(QUEUE) else { return };
            if self.state.period_end.is_none() && self.max_bytes != i64::MAX as u64 {
                self.begin_period();
            }
            let count = length(&chain.writable).min(self.state.quota).min(CHUNK) as usize;
            match self.source.clone().unwrap_or(Entropy::Builtin) {
                file @ Entropy::File(_) => self.read_elsewhere(file, chain, count),
                source => {
                    let mut bytes = vec![0; count];
                    source.fill(&mut bytes);
                    self.deliver(&chain, &bytes);
                }
            }
        }
    }

    /// Reading a file may take long: a thread does it.
    fn read_elsewhere(&mut self, source: Entropy, chain: Chain, count: usize) {
        let (this, epoch) = (self.this.clone(), self.epoch);
        let Some(events) = self.events.clone() else { return };
        self.reading = true;
        let taken = chain.clone();
        let thread = thread::Builder::new().name("rng".to_owned()).spawn(move || {
            let mut bytes = vec![0; count];
            source.fill(&mut bytes);
            // On the main loop's thread: while that takes a snapshot nothing moves.
            events.defer(move || {
                if let Some(cell) = this.upgrade() {
                    cell.with(|device| {
                        device.reading = false;
                        if device.epoch == epoch {
                            device.deliver(&chain, &bytes);
                        }
                        device.serve();
                    });
                }
            });
        });
        if thread.is_err() {
            self.reading = false;
            self.virtio().unpop(QUEUE, &taken);
        }
    }

    fn deliver(&mut self, chain: &Chain, bytes: &[u8]) {
        self.state.quota = self.state.quota.saturating_sub(bytes.len() as u64);
        let mut virtio = self.virtio();
        let Some(dma) = virtio.dma() else { return };
        match scatter(&dma, &chain.writable, 0, bytes) {
            Ok(written) => {
                virtio.push(QUEUE, chain, written as u32);
                virtio.publish(QUEUE);
            }
            Err(broken) => virtio.fail(broken),
        }
    }
}

impl VirtioDevice for VirtioRng {
    const ID: u32 = 4;

    fn virtio(&mut self) -> Virtio<'_> {
        Virtio { wiring: &self.wiring, state: &mut self.state.core }
    }

    fn wiring_mut(&mut self) -> &mut Wiring {
        &mut self.wiring
    }

    fn options(&self) -> CommonOptions {
        self.common_options()
    }

    fn offered(&self, _: bool) -> u64 {
        0
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![8]
    }

    fn config(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn notify(&mut self, _: usize) {
        self.serve();
    }

    fn driver_ok(&mut self) {
        self.serve();
    }

    fn queue_reset(&mut self, _: usize) {
        self.epoch += 1;
    }
}

impl Device for VirtioRng {
    fn timer(&mut self, _: usize) {
        if self.state.period_end.take().is_some() {
            self.state.quota = self.max_bytes;
            self.serve();
        }
    }

    fn realize(&mut self) -> base::Result<()> {
        if self.period == 0 {
            return Err("'period' parameter expects a positive integer".into());
        }
        if self.max_bytes == 0 || self.max_bytes > i64::MAX as u64 {
            return Err("'max-bytes' parameter must be positive, and less than 2^63".into());
        }
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        self.epoch += 1;
        self.reset_state();
        self.timer.set(None);
        self.wiring.irq.lower();
    }

    fn reset_state(&mut self) {
        self.state = RngState { core: fresh_state(self), quota: self.max_bytes, period_end: None };
    }

    fn loaded(&mut self) -> Result<(), String> {
        loaded(self)?;
        self.epoch += 1;
        self.timer.set(self.state.period_end);
        self.serve();
        Ok(())
    }
}

#[cfg(test)]
#[path = "rng_test.rs"]
mod test;
