//! The block device: "virtio-blk-device".
//!
//! Document: VIRTIO 1.2, section 5.2. A vCPU that notifies answers a short read that the host has in its page cache, and
//! wakes a worker thread for all else. Worker threads take requests from
//! the rings, one after the other, perform them, copying straight between the drive and guest memory, and answer them.
//! Left out: SCSI commands, zoned devices, secure erase, lifetime.
//!
//! notification -> `Bell` -> `next` request -> at hand? `Job::perform_now` -> `finish` -> interrupt
//!                                          -> `serve_from` on a worker: `Job::perform` -> `finish` -> interrupt, and the `next`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use backends::block::{BlockDevice, BlockQueue, Pool};
use events::EventLoop;
use object::{Anatomy, Device, DeviceCell, Size};
use state::State;

use super::blk_request::{Gate, HEADER, Job, Limits, SECTOR, Stop};
use super::common::{
    CommonOptions, CoreState, Doorbell, Virtio, VirtioDevice, Wiring, fresh_state, loaded, trace,
    virtio_device,
};
use super::queue::{Broken, Chain, gather, length};
use crate::property_types::{
    AlwaysOn, BootIndex, DiskAccounts, Link, LinkTarget, NoLink, OnError, OnOffAuto,
};

mod feature {
    pub const SEG_MAX: u64 = 1 << 2;
    pub const GEOMETRY: u64 = 1 << 4;
    pub const RO: u64 = 1 << 5;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const TOPOLOGY: u64 = 1 << 10;
    pub const CONFIG_WCE: u64 = 1 << 11;
    pub const MQ: u64 = 1 << 12;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// What is saved. Requests under way are not: the machine waits for them, or the driver finds them in the
/// ring again.
#[derive(Clone, Debug, Default, State)]
#[state(name = "virtio-blk")]
pub struct BlkState {
    core: CoreState,
    /// The driver has switched the write cache on.
    write_cache: bool,
}

virtio_device! {
    /// The device.
    #[derive(Device)]
    #[device(name = "virtio-blk-device", parent = "virtio-device", bus = "virtio-bus", category = "storage",
        user_creatable)]
    pub struct VirtioBlk {
        /// Id of the drive.
        #[property(desc = "Node name or ID of a block device to use as a backend")]
        pub drive: String,
        /// What VIRTIO_BLK_T_GET_ID says.
        #[property]
        pub serial: Option<String>,
        /// Bytes of a logical block; 0 for the drive's.
        #[property(name = "logical_block_size", default = 0u64, desc = "A power of two between 512 B and 2 MiB")]
        pub logical_block_size: Size,
        /// Bytes of a physical block; 0 for the logical.
        #[property(name = "physical_block_size", default = 0u64, desc = "A power of two between 512 B and 2 MiB")]
        pub physical_block_size: Size,
        /// Suggested smallest transfer in bytes.
        #[property(name = "min_io_size", default = 0u64)]
        pub min_io_size: Size,
        /// Suggested best transfer in bytes.
        #[property(name = "opt_io_size", default = 0u64)]
        pub opt_io_size: Size,
        /// Unit of discards in bytes; all ones for one block.
        #[property(name = "discard_granularity", default = 0xffff_ffff_u64)]
        pub discard_granularity: Size,
        /// Whether writes may be cached before a flush.
        #[property(name = "write-cache", default = OnOffAuto::Auto, desc = "on/off/auto")]
        pub write_cache: OnOffAuto,
        /// Whether the driver may change that.
        #[property(name = "config-wce", default = true)]
        pub config_wce: bool,
        /// Number of request queues; 65535 for one.
        #[property(name = "num-queues", default = 65535u16)]
        pub num_queues: u16,
        /// Descriptors of a queue.
        #[property(name = "queue-size", default = 256u16)]
        pub queue_size: u16,
        /// Offer as many segments as a queue holds.
        #[property(name = "seg-max-adjust", default = true)]
        pub seg_max_adjust: bool,
        /// Offer discards.
        #[property(default = true)]
        pub discard: bool,
        /// Offer writing zeroes.
        #[property(name = "write-zeroes", default = true)]
        pub write_zeroes: bool,
        /// Longest discard in sectors.
        #[property(name = "max-discard-sectors", default = 0x3f_ffff_u32)]
        pub max_discard_sectors: u32,
        /// Longest writing of zeroes in sectors.
        #[property(name = "max-write-zeroes-sectors", default = 0x3f_ffff_u32)]
        pub max_write_zeroes_sectors: u32,
        /// Tell the driver the unit of discards.
        #[property(name = "report-discard-granularity", default = true)]
        pub report_discard_granularity: bool,
        /// Cylinders; 0 to be computed.
        #[property(default = 0u32)]
        pub cyls: u32,
        /// Heads; 0 to be computed.
        #[property(default = 0u32)]
        pub heads: u32,
        /// Sectors of a track; 0 to be computed.
        #[property(default = 0u32)]
        pub secs: u32,
        /// The same for firmware of PCs.
        #[property]
        pub lcyls: u32,
        /// The same.
        #[property]
        pub lheads: u32,
        /// The same.
        #[property]
        pub lsecs: u32,
        /// Make one request of those that follow each other: the host's kernel does.
        #[property(default = true)]
        pub request_merging: bool,
        /// Which statistics there are.
        #[properties]
        pub accounts: DiskAccounts,
        /// The driver may change the write cache only where there is one to be seen.
        #[property(name = "x-enable-wce-if-config-wce")]
        pub enable_wce: AlwaysOn,
        /// Threads for single queues.
        #[property(
            name = "iothread-vq-mapping",
            desc = "IOThread virtqueue mapping list [{\"iothread\":\"<id>\", \"vqs\":[1,2,3,...]},...]"
        )]
        pub queue_threads: NoLink<QueueThreads>,
        /// Place in the boot order, if it has one.
        #[property]
        pub bootindex: BootIndex,
        /// Others may write the drive too.
        #[property(name = "share-rw", default = false)]
        pub share_rw: bool,
        /// What is done about the host's errors in reading.
        #[property]
        pub rerror: OnError,
        /// What is done about them in writing.
        #[property]
        pub werror: OnError,
        /// The threads that do the disk's work; its own if none are named.
        #[property]
        pub iothread: Link<Threads>,
        store: Option<Arc<BlockQueue>>,
        bell: Option<Arc<Bell>>,
        gate: Arc<Gate>,
        flights: Vec<Flights>,
        this: Weak<DeviceCell<Self>>,
        #[state]
        state: BlkState,
    }
}

/// Requests under way of one queue.
#[derive(Clone, Copy, Debug, Default)]
struct Flights {
    /// All of them.
    count: usize,
    /// Those from before a reset: until they are over no new ones are begun, lest an old write come after a
    /// new one.
    stale: usize,
    /// Workers that take requests from the queue, or will.
    servers: usize,
}

/// What a [`Link`] to an object of type `iothread` is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads;

impl LinkTarget for Threads {
    const KIND: &'static str = "link<iothread>";
}

/// Which threads serve which queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueThreads;

impl LinkTarget for QueueThreads {
    const KIND: &'static str = "IOThreadVirtQueueMappingList";
}

/// Has a queue served, by a worker if that may take long. The device's lock is taken only to take requests and to answer them.
struct Bell {
    device: Weak<DeviceCell<VirtioBlk>>,
    store: Arc<BlockQueue>,
    /// For each queue whether a worker has been woken that has not looked yet.
    rung: Vec<AtomicBool>,
}

impl Doorbell for Bell {
    fn ring(&self, queue: usize) {
        let Some(rung) = self.rung.get(queue) else { return };
        base::trace!(trace::QUEUE_NOTIFY, "{} n {queue}", VirtioBlk::TYPE.name);
        if rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let begin = move |device: &mut VirtioBlk| {
            let bell = device.bell.as_ref().and_then(|bell| bell.rung.get(queue));
            // Whoever makes a chain available from here on rings again.
            bell.inspect(|rung| rung.store(false, Ordering::Release));
            device.wants_server(queue)
        };
        let device = self.device.clone();
        if !self.store.is_prompt() {
            self.store.run(move |drive| {
                let Some(cell) = device.upgrade() else { return };
                if cell.with(begin) {
                    VirtioBlk::serve(&cell, queue, drive);
                }
            });
        } else if let Some(cell) = device.upgrade() {
            let first = cell.with(|device| if begin(device) { device.next(queue) } else { None });
            VirtioBlk::begin_here(&cell, first, &self.store);
        }
    }
}

impl VirtioBlk {
    /// A device; its configuration is the public fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the device its drive; to be called before it is realized.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, drive: Arc<dyn BlockDevice>) {
        Self::connect_on(cell, BlockQueue::new(drive));
    }

    /// Gives the device its drive, and the threads of a pool for its work.
    pub fn connect_to_pool(cell: &Arc<DeviceCell<Self>>, drive: Arc<dyn BlockDevice>, pool: Arc<Pool>) {
        Self::connect_on(cell, BlockQueue::on(pool, drive));
    }

    fn connect_on(cell: &Arc<DeviceCell<Self>>, store: BlockQueue) {
        cell.with(|device| {
            device.this = Arc::downgrade(cell);
            device.store = Some(Arc::new(store));
        });
    }

    /// Where instructions are counted, lets requests take the guest's time; to be called before it is realized.
    pub fn follow_clock(cell: &DeviceCell<Self>, events: &EventLoop) {
        if let Some(store) = cell.with(|device| device.store.clone()) {
            store.follow_clock(events);
        }
    }

    /// Waits until no request is under way. For saving the state while the vCPUs stand still, and for the end.
    /// Not to be called with any device's lock held.
    pub fn drain(cell: &DeviceCell<Self>) {
        if let Some(store) = cell.with(|device| device.store.clone()) {
            store.drain();
        }
    }

    /// The drive has another size now: the driver is told.
    pub fn resized(cell: &DeviceCell<Self>) {
        cell.with(|device| device.virtio().config_changed());
    }

    fn drive(&self) -> Option<&Arc<dyn BlockDevice>> {
        self.store.as_ref().map(|store| store.device())
    }

    fn queues(&self) -> u16 {
        if self.num_queues == u16::MAX { 1 } else { self.num_queues.max(1) }
    }

    fn block_size(&self) -> u64 {
        self.logical_block_size.0.max(SECTOR)
    }

    /// Whether each write goes to the medium before it is answered (5.2.6.2).
    fn write_through(&mut self) -> bool {
        let write_cache = self.state.write_cache;
        let virtio = self.virtio();
        if virtio.has(feature::CONFIG_WCE) {
            !write_cache
        } else {
            !write_cache || !virtio.has(feature::FLUSH)
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            block_size: self.block_size(),
            discard: self.discard,
            write_zeroes: self.write_zeroes,
            max_discard_sectors: self.max_discard_sectors,
            max_write_zeroes_sectors: self.max_write_zeroes_sectors,
        }
    }

    fn serial_bytes(&self) -> [u8; 20] {
        let mut id = [0; 20];
        let text = self.serial.as_deref().unwrap_or("").bytes();
        id.iter_mut().zip(text).for_each(|(to, from)| *to = from);
        id
    }

    /// One more worker is to take requests from a queue, if that makes sense: the caller is, or brings it.
    fn wants_server(&mut self, queue: usize) -> bool {
        let most = self.drive().map_or(0, |drive| drive.at_once());
        let Some(flights) = self.flights.get_mut(queue) else { return false };
        let wanted = flights.stale == 0 && flights.servers < most;
        flights.servers += usize::from(wanted);
        wanted
    }

    /// Has a worker take the requests that wait in a queue.
    fn take_requests(&mut self, queue: usize) {
        let Some(store) = self.store.clone() else { return };
        if !self.wants_server(queue) {
            return;
        }
        let this = self.this.clone();
        store.run(move |drive| {
            if let Some(cell) = this.upgrade() {
                Self::serve(&cell, queue, drive);
            }
        });
    }

    /// Takes requests from a queue and performs them until there are none, on a worker thread.
    fn serve(cell: &DeviceCell<Self>, queue: usize, drive: &dyn BlockDevice) {
        let first = cell.with(|device| device.next(queue));
        Self::serve_from(cell, first, queue, drive);
    }

    fn serve_from(cell: &DeviceCell<Self>, first: Option<Job>, queue: usize, drive: &dyn BlockDevice) {
        let mut next = first;
        while let Some(job) = next {
            let result = job.perform(drive);
            if drive.holds() {
                return Self::try_again(cell, job);
            }
            next = cell.with(|device| {
                device.finish(&job, result);
                device.next(queue)
            });
        }
    }

    /// Answers a request here if that needs no waiting, and leaves what follows, or else the request, to a worker.
    fn begin_here(cell: &Arc<DeviceCell<Self>>, first: Option<Job>, store: &BlockQueue) {
        let Some(mut job) = first else { return };
        if let Some(result) = job.perform_now(&**store.device()) {
            let queue = job.queue;
            let next = cell.with(|device| {
                device.finish(&job, result);
                device.next(queue)
            });
            match next {
                Some(next) => job = next,
                None => return,
            }
        }
        let device = Arc::downgrade(cell);
        store.run(move |drive| {
            if let Some(cell) = device.upgrade() {
                let queue = job.queue;
                Self::serve_from(&cell, Some(job), queue, drive);
            }
        });
    }

    /// The machine stops for an error: the request is performed when it goes on.
    fn try_again(cell: &DeviceCell<Self>, job: Job) {
        let (this, store) = cell.with(|device| (device.this.clone(), device.store.clone()));
        let Some(store) = store else { return };
        store.run(move |drive| {
            if let Some(cell) = this.upgrade() {
                let queue = job.queue;
                Self::serve_from(&cell, Some(job), queue, drive);
            }
        });
    }

    /// The next request of a queue; without one the worker leaves.
    fn next(&mut self, queue: usize) -> Option<Job> {
        let job = self.begin_next(queue);
        if job.is_none() {
            if let Some(flights) = self.flights.get_mut(queue) {
                flights.servers = flights.servers.saturating_sub(1);
            }
        } else if self.virtio().available(queue) > 0 {
            self.take_requests(queue);
        }
        job
    }

    fn begin_next(&mut self, queue: usize) -> Option<Job> {
        if self.flights.get(queue).is_none_or(|flights| flights.stale > 0) {
            return None;
        }
        loop {
            if let Some(chain) = self.virtio().pop(queue) {
                self.virtio().set_notification(queue, false);
                return self.begin(queue, chain);
            }
            self.virtio().set_notification(queue, true);
            // A chain that came between the last look and the wish for notifications.
            if self.virtio().available(queue) == 0 {
                return None;
            }
        }
    }

    fn begin(&mut self, queue: usize, chain: Chain) -> Option<Job> {
        let dma = self.virtio().dma()?;
        let mut header = [0; HEADER as usize];
        let read = gather(&dma, &chain.readable, 0, &mut header);
        if read != Ok(header.len()) || length(&chain.writable) == 0 {
            let why = read.err().unwrap_or(Broken("a request has no header or no status"));
            self.virtio().fail(why);
            return None;
        }
        let header = u128::from_le_bytes(header);
        self.flights.get_mut(queue)?.count += 1;
        Some(Job {
            dma,
            gate: self.gate.clone(),
            queue,
            epoch: self.gate.epoch(queue),
            kind: header as u32,
            sector: (header >> 64) as u64,
            write_through: self.write_through(),
            limits: self.limits(),
            serial: self.serial_bytes(),
            chain,
        })
    }

    /// A request has ended.
    fn finish(&mut self, job: &Job, result: Result<u32, Stop>) {
        let queue = job.queue;
        let current = self.gate.epoch(queue) == job.epoch;
        let Some(flights) = self.flights.get_mut(queue) else { return };
        flights.count = flights.count.saturating_sub(1);
        if !current {
            flights.stale = flights.stale.saturating_sub(1);
            return;
        }
        match result {
            Ok(written) => {
                let mut virtio = self.virtio();
                virtio.push(queue, &job.chain, written);
                virtio.publish(queue);
            }
            Err(Stop::Broken(broken)) => self.virtio().fail(broken),
            Err(_) => {}
        }
    }

    fn close_queue(&mut self, queue: usize) {
        self.gate.close(queue);
        if let Some(flights) = self.flights.get_mut(queue) {
            flights.stale = flights.count;
        }
    }

    fn put_config(&self, config: &mut [u8; 60]) {
        let bytes = self.drive().map_or(0, |drive| drive.len());
        let sectors = bytes / SECTOR;
        let (heads, secs) =
            (if self.heads != 0 { self.heads } else { 16 }, if self.secs != 0 { self.secs } else { 63 });
        let cylinders = if self.cyls != 0 {
            u64::from(self.cyls)
        } else {
            (sectors / u64::from(heads) / u64::from(secs)).clamp(2, 16383)
        };
        let block = self.block_size();
        let physical = self.physical_block_size.0.max(block);
        let seg_max = if self.seg_max_adjust { u32::from(self.queue_size.saturating_sub(2)) } else { 126 };
        let granularity = match self.discard_granularity.0 {
            0xffff_ffff => block,
            other => other.max(block),
        };
        let alignment = if self.report_discard_granularity { granularity } else { block };
        let write_cache = u8::from(self.state.write_cache);
        let fields: [(usize, &[u8]); 17] = [
            (0, &sectors.to_le_bytes()),
            (12, &seg_max.to_le_bytes()),
            (16, &(cylinders as u16).to_le_bytes()),
            (18, &[heads as u8]),
            (19, &[secs as u8]),
            (20, &(block as u32).to_le_bytes()),
            (24, &[(physical / block).checked_ilog2().unwrap_or(0) as u8]),
            (26, &((self.min_io_size.0 / block) as u16).to_le_bytes()),
            (28, &((self.opt_io_size.0 / block) as u32).to_le_bytes()),
            (32, &[write_cache]),
            (34, &self.queues().to_le_bytes()),
            (36, &self.max_discard_sectors.to_le_bytes()),
            (40, &1u32.to_le_bytes()),
            (44, &((alignment / SECTOR) as u32).to_le_bytes()),
            (48, &self.max_write_zeroes_sectors.to_le_bytes()),
            (52, &1u32.to_le_bytes()),
            (56, &[1]),
        ];
        for (at, bytes) in fields {
            if let Some(field) = config.get_mut(at..at + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        }
    }
}

impl VirtioDevice for VirtioBlk {
    const ID: u32 = 2;

    fn virtio(&mut self) -> Virtio<'_> {
        Virtio { wiring: &self.wiring, state: &mut self.state.core }
    }

    fn wiring_mut(&mut self) -> &mut Wiring {
        &mut self.wiring
    }

    fn options(&self) -> CommonOptions {
        // The header of a legacy request stands alone.
        CommonOptions { any_layout: false, ..self.common_options() }
    }

    fn offered(&self, _: bool) -> u64 {
        let offer = |wanted: bool, feature: u64| if wanted { feature } else { 0 };
        feature::SEG_MAX
            | feature::GEOMETRY
            | feature::BLK_SIZE
            | feature::FLUSH
            | feature::TOPOLOGY
            | offer(self.config_wce, feature::CONFIG_WCE)
            | offer(self.queues() > 1, feature::MQ)
            | offer(self.discard, feature::DISCARD)
            | offer(self.write_zeroes, feature::WRITE_ZEROES)
            | offer(self.drive().is_some_and(|drive| drive.read_only()), feature::RO)
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![self.queue_size; usize::from(self.queues())]
    }

    fn config(&mut self) -> Vec<u8> {
        let mut config = [0; 60];
        self.put_config(&mut config);
        config.to_vec()
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        // Only `writeback` can be written.
        if let Some(at) = 32usize.checked_sub(offset)
            && let Some(value) = bytes.get(at)
            && self.virtio().has(feature::CONFIG_WCE)
        {
            self.state.write_cache = value & 1 != 0;
        }
    }

    fn notify(&mut self, queue: usize) {
        self.take_requests(queue);
    }

    fn doorbell(&self) -> Option<Arc<dyn Doorbell>> {
        self.bell.clone().map(|bell| bell as Arc<dyn Doorbell>)
    }

    fn queue_reset(&mut self, queue: usize) {
        self.close_queue(queue);
    }
}

impl Device for VirtioBlk {
    fn realize(&mut self) -> base::Result<()> {
        let power = |size: u64| size == 0 || (size.is_power_of_two() && (512..=2 << 20).contains(&size));
        for (name, size) in [
            ("logical_block_size", self.logical_block_size.0),
            ("physical_block_size", self.physical_block_size.0),
        ] {
            if !power(size) {
                return Err(base::error!("{name} must be a power of 2 between 512 and 2097152"));
            }
        }
        if self.physical_block_size.0 != 0 && self.physical_block_size.0 < self.logical_block_size.0 {
            return Err("logical_block_size > physical_block_size not supported".into());
        }
        if self.num_queues == 0 {
            return Err("num-queues property must be larger than 0".into());
        }
        if self.queue_size <= 2 || !self.queue_size.is_power_of_two() || self.queue_size > 1024 {
            return Err(base::error!(
                "invalid queue-size property ({}), must be a power of 2 (max 1024)",
                self.queue_size
            ));
        }
        let Some(store) = self.store.clone() else { return Err("drive property not set".into()) };
        let queues = usize::from(self.queues());
        self.flights = vec![Flights::default(); queues];
        self.gate.open(queues);
        let rung = (0..queues).map(|_| AtomicBool::new(false)).collect();
        self.bell = Some(Arc::new(Bell { device: self.this.clone(), store, rung }));
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        for queue in 0..self.flights.len() {
            self.close_queue(queue);
        }
        self.reset_state();
        self.wiring.irq.lower();
    }

    fn reset_state(&mut self) {
        self.state = BlkState { core: fresh_state(self), write_cache: self.write_cache.or(true) };
    }

    fn loaded(&mut self) -> Result<(), String> {
        loaded(self)?;
        for queue in 0..self.flights.len() {
            self.close_queue(queue);
            // What the saved machine had begun is begun again.
            self.take_requests(queue);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "blk_test.rs"]
mod test;
