//! The memory balloon: "virtio-balloon-device".
//!
//! Document: VIRTIO 1.2, section 5.5. The guest gives pages away, as many as it is asked to, and tells how it is with the
//! rest of its memory. Left out: hints of free pages for a migration (`free-page-hint`).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base::PAGE_BITS;
use events::{Clock, EventLoop};
use object::{Device, DeviceCell};
use state::State;

use super::common::{
    CommonOptions, CoreState, MAX_QUEUE_SIZE, Virtio, VirtioDevice, Wiring, fresh_state, loaded,
    virtio_device,
};
use super::queue::{Broken, gather, length};
use crate::property_types::AlwaysOff;
use crate::timer::{DeviceClock, DeviceTimer};

const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const STATS: usize = 2;
const REPORTING: usize = 3;
const QUEUE_SIZE: u16 = 128;
/// Bytes of page numbers that are read at a time.
const CHUNK: u64 = 4096;
/// The most that one request may name: no driver comes near it, and a hostile one shall not keep the device for long.
const MOST: u64 = 1 << 16;

mod feature {
    pub const STATS_VQ: u64 = 1 << 1;
    pub const DEFLATE_ON_OOM: u64 = 1 << 2;
    pub const PAGE_POISON: u64 = 1 << 4;
    pub const REPORTING: u64 = 1 << 5;
}

/// Offsets in the configuration space (5.5.4).
mod config {
    pub const ACTUAL: usize = 4;
    pub const POISON: usize = 12;
}

/// What the guest's statistics are called, by their tags (5.5.6.4).
pub const STATISTICS: [&str; 16] = [
    "stat-swap-in",
    "stat-swap-out",
    "stat-major-faults",
    "stat-minor-faults",
    "stat-free-memory",
    "stat-total-memory",
    "stat-available-memory",
    "stat-disk-caches",
    "stat-htlb-pgalloc",
    "stat-htlb-pgfail",
    "stat-oom-kills",
    "stat-alloc-stalls",
    "stat-async-scans",
    "stat-direct-scans",
    "stat-async-reclaims",
    "stat-direct-reclaims",
];
/// Bytes of a statistic: its tag and its value.
const STATISTIC: usize = 10;

/// What is saved.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio-balloon")]
pub struct BalloonState {
    core: CoreState,
    /// Pages that the guest is to give away.
    num_pages: u32,
    /// Pages that it says it has given away.
    actual: u32,
    /// What it fills free pages with.
    poison_val: u32,
    /// Seconds between two requests for statistics; 0 for none.
    interval: u32,
    /// Virtual time of the next.
    deadline: Option<u64>,
    /// The buffer in the statistics queue has been read; giving it back asks for new ones.
    stats_read: bool,
}

/// The guest's statistics by tag; ones where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// The values.
    pub values: [u64; STATISTICS.len()],
    /// When they came, in seconds since 1970; 0 for never.
    pub last_update: u64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { values: [u64::MAX; STATISTICS.len()], last_update: 0 }
    }
}

virtio_device! {
    /// The device.
    #[derive(Device)]
    #[device(name = "virtio-balloon-device", parent = "virtio-device", bus = "virtio-bus", category = "misc",
        user_creatable)]
    pub struct VirtioBalloon {
        /// The guest may take pages back when it runs out of memory.
        #[property(name = "deflate-on-oom")]
        pub deflate_on_oom: bool,
        /// Hints of free pages for a migration.
        #[property(name = "free-page-hint", default = AlwaysOff, desc = "on/off")]
        pub free_page_hint: AlwaysOff,
        /// Let the guest say what it fills free pages with.
        #[property(name = "page-poison", default = true)]
        pub page_poison: bool,
        /// Let the guest report free pages, whose memory the host gets back.
        #[property(name = "free-page-reporting")]
        pub free_page_reporting: bool,
        clock: DeviceClock,
        timer: DeviceTimer,
        /// Hears of changes of what the guest has given away.
        listener: Option<Box<dyn Fn(u64) + Send + Sync>>,
        /// What the guest told last: not the guest's own state, and old news in another process.
        statistics: Statistics,
        #[state]
        state: BalloonState,
    }
}

impl VirtioBalloon {
    /// A device; its configuration is the public fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the device its clock; to be called before it is realized.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop) {
        cell.with(|device| {
            device.clock = DeviceClock::new(events);
            device.timer = DeviceTimer::new(cell, events, Clock::Virtual, 0);
        });
    }

    /// Who hears how many bytes the guest has given away, whenever that changes.
    pub fn on_change(cell: &DeviceCell<Self>, listener: impl Fn(u64) + Send + Sync + 'static) {
        cell.with(|device| device.listener = Some(Box::new(listener)));
    }

    /// Bytes that the guest has given away.
    pub fn given(cell: &DeviceCell<Self>) -> u64 {
        cell.with(|device| u64::from(device.state.actual) << PAGE_BITS)
    }

    /// Asks the guest to give away so many bytes.
    pub fn ask(cell: &DeviceCell<Self>, bytes: u64) {
        cell.with(|device| {
            device.state.num_pages = u32::try_from(bytes >> PAGE_BITS).unwrap_or(u32::MAX);
            device.virtio().config_changed();
        });
    }

    /// What the guest told last.
    pub fn statistics(cell: &DeviceCell<Self>) -> Statistics {
        cell.with(|device| device.statistics)
    }

    /// Seconds between two requests for statistics; 0 for none.
    pub fn interval(cell: &DeviceCell<Self>) -> u32 {
        cell.with(|device| device.state.interval)
    }

    /// Sets how often the guest is asked; the first time at once.
    pub fn set_interval(cell: &DeviceCell<Self>, seconds: u32) {
        cell.with(|device| {
            let before = std::mem::replace(&mut device.state.interval, seconds);
            match (before, seconds) {
                (before, seconds) if before == seconds => {}
                (0, _) => device.wake_at(Some(device.clock.virtual_ns())),
                _ => device.wake_later(),
            }
        });
    }

    fn wake_at(&mut self, deadline: Option<u64>) {
        self.state.deadline = deadline;
        self.timer.set(deadline);
    }

    fn wake_later(&mut self) {
        let pause = u64::from(self.state.interval) * 1_000_000_000;
        let deadline = (pause > 0).then(|| self.clock.virtual_ns().saturating_add(pause));
        self.wake_at(deadline);
    }

    /// Takes what comes in a queue of page numbers; `give` is done with the address of each page.
    fn pages(&mut self, queue: usize, give: impl Fn(&memory::Dma, u64)) {
        for _ in 0..MAX_QUEUE_SIZE {
            let mut virtio = self.virtio();
            let (Some(dma), Some(chain)) = (virtio.dma(), virtio.pop(queue)) else { break };
            let all = length(&chain.readable);
            if all > MOST {
                return virtio.fail(Broken("a request names too many pages"));
            }
            let mut numbers = [0; CHUNK as usize];
            for offset in (0..all).step_by(CHUNK as usize) {
                let count = match gather(&dma, &chain.readable, offset, &mut numbers) {
                    Ok(count) => count,
                    Err(broken) => return virtio.fail(broken),
                };
                let (words, _) = numbers.get(..count).unwrap_or_default().as_chunks::<4>();
                for word in words {
                    give(&dma, u64::from(u32::from_le_bytes(*word)) << PAGE_BITS);
                }
            }
            virtio.push(queue, &chain, 0);
        }
        self.virtio().publish(queue);
    }

    /// Free pages are reported: whole ranges of them.
    fn reported(&mut self) {
        // A page must come back as the guest has left it, if it says that it will look.
        let keep = self.state.poison_val != 0 && self.virtio().has(feature::PAGE_POISON);
        for _ in 0..MAX_QUEUE_SIZE {
            let mut virtio = self.virtio();
            let (Some(dma), Some(chain)) = (virtio.dma(), virtio.pop(REPORTING)) else { break };
            for buffer in chain.writable.iter().filter(|_| !keep) {
                let end = buffer.address.saturating_add(buffer.length.into());
                for page in (buffer.address..end).step_by(1 << PAGE_BITS) {
                    if page + (1 << PAGE_BITS) > end || !dma.discard_page(page) {
                        break;
                    }
                }
            }
            virtio.push(REPORTING, &chain, 0);
        }
        self.virtio().publish(REPORTING);
    }

    /// Reads statistics. The buffer stays in the queue until new ones are wanted (5.5.6.3).
    fn read_statistics(&mut self) {
        let mut virtio = self.virtio();
        let (Some(dma), Some(chain)) = (virtio.dma(), virtio.pop(STATS)) else { return };
        let mut bytes = [0; 2 * STATISTIC * STATISTICS.len()];
        let count = match gather(&dma, &chain.readable, 0, &mut bytes) {
            Ok(count) => count,
            Err(broken) => return virtio.fail(broken),
        };
        virtio.unpop(STATS, &chain);
        let mut values = Statistics::default().values;
        for entry in bytes.get(..count).unwrap_or_default().as_chunks::<STATISTIC>().0 {
            let [low, high, value @ ..] = *entry;
            if let Some(place) = values.get_mut(usize::from(u16::from_le_bytes([low, high]))) {
                *place = u64::from_le_bytes(value);
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.statistics = Statistics { values, last_update: now };
        self.state.stats_read = true;
        self.wake_later();
    }
}

impl VirtioDevice for VirtioBalloon {
    const ID: u32 = 5;

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
        let offer = |wanted: bool, feature: u64| if wanted { feature } else { 0 };
        feature::STATS_VQ
            | offer(self.deflate_on_oom, feature::DEFLATE_ON_OOM)
            | offer(self.page_poison, feature::PAGE_POISON)
            | offer(self.free_page_reporting, feature::REPORTING)
    }

    fn queue_sizes(&self) -> Vec<u16> {
        // Inflate, deflate, statistics, and reports where they are offered.
        vec![QUEUE_SIZE; 3 + usize::from(self.free_page_reporting)]
    }

    fn config(&mut self) -> Vec<u8> {
        let hints = 0u32;
        let mut words = vec![self.state.num_pages, self.state.actual];
        if self.page_poison {
            words.extend([hints, self.state.poison_val]);
        }
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        let before = self.state.actual;
        for (field, place) in
            [(&mut self.state.actual, config::ACTUAL), (&mut self.state.poison_val, config::POISON)]
        {
            let mut value = field.to_le_bytes();
            for (n, byte) in bytes.iter().enumerate() {
                if let Some(old) = (offset + n).checked_sub(place).and_then(|at| value.get_mut(at)) {
                    *old = *byte;
                }
            }
            *field = u32::from_le_bytes(value);
        }
        if let Some(listener) = self.listener.as_ref().filter(|_| self.state.actual != before) {
            listener(u64::from(self.state.actual) << PAGE_BITS);
        }
    }

    /// Drivers fill the statistics queue before they say that they are ready, when nobody looks yet.
    fn driver_ok(&mut self) {
        self.read_statistics();
    }

    fn notify(&mut self, queue: usize) {
        match queue {
            INFLATE => self.pages(INFLATE, |dma, page| {
                if !dma.discard_page(page) {
                    base::guest_error!("virtio-balloon: there is no page of RAM at {page:#x}");
                }
            }),
            // A page that the guest takes back is there when it touches it.
            DEFLATE => self.pages(DEFLATE, |_, _| ()),
            STATS => self.read_statistics(),
            REPORTING => self.reported(),
            _ => {}
        }
    }
}

impl Device for VirtioBalloon {
    /// It is time to ask for statistics: the driver answers a buffer given back with a new one.
    fn timer(&mut self, _: usize) {
        if self.state.deadline.take().is_none() {
            return;
        }
        let read = std::mem::take(&mut self.state.stats_read);
        match self.virtio().pop(STATS).filter(|_| read) {
            Some(chain) => {
                let mut virtio = self.virtio();
                virtio.push(STATS, &chain, 0);
                virtio.publish(STATS);
                // Looking asks the driver to tell of the next one.
                if virtio.available(STATS) > 0 {
                    self.read_statistics();
                }
            }
            None => self.wake_later(),
        }
    }

    fn realize(&mut self) -> base::Result<()> {
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        self.statistics = Statistics::default();
        self.reset_state();
        self.timer.set(self.state.deadline);
        self.wiring.irq.lower();
    }

    /// What the user asks for outlives a reset; what the guest has given away it has got back.
    fn reset_state(&mut self) {
        self.state = BalloonState {
            core: fresh_state(self),
            num_pages: self.state.num_pages,
            interval: self.state.interval,
            deadline: self.state.deadline,
            ..BalloonState::default()
        };
    }

    fn loaded(&mut self) -> Result<(), String> {
        loaded(self)?;
        self.timer.set(self.state.deadline);
        Ok(())
    }
}

#[cfg(test)]
#[path = "balloon_test.rs"]
mod test;
