//! An NVM Express controller: "nvme".
//!
//! Document: NVM Express Base Specification 1.4. The guest puts commands into submission queues in its memory and rings
//! a doorbell, which only wakes a worker thread of the drive. Workers take commands for data from the queues, one after the
//! other, perform them, copying straight between the drive and guest memory, and answer them. Commands of the administrator
//! are carried out at once. Left out: scatter-gather lists, metadata and protection, several formats, making and attaching
//! namespaces, subsystems, controller memory buffers, virtual functions, zoned namespaces.
//!
//! doorbell -> `Nvme::wake` -> `Nvme::serve` on a worker: `next` command -> `Task::perform` -> `finish` -> message, and again.

mod admin;
mod io;
mod namespace;
mod options;
mod queues;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use backends::block::{BlockDevice, BlockQueue};
use base::{Bits, error};
use events::EventLoop;
use object::pci::Capability;
use object::{Device, DeviceCell, Effect, PropertyType, PropertyValue};
use state::State;

use crate::pci::Pci;
use crate::property_types::{BootIndex, DiskAccounts, OnOffAuto};
use crate::virtio::blk_request::Gate;
pub use namespace::{Namespace, NvmeNamespace};
use queues::{Completion, CompletionQueue, SubmissionQueue};

/// Offsets of registers (3.1).
mod register {
    pub const CAP: u64 = 0x00;
    pub const CAP_HIGH: u64 = 0x04;
    pub const VS: u64 = 0x08;
    pub const INTMS: u64 = 0x0c;
    pub const INTMC: u64 = 0x10;
    pub const CC: u64 = 0x14;
    pub const CSTS: u64 = 0x1c;
    pub const AQA: u64 = 0x24;
    pub const ASQ: u64 = 0x28;
    pub const ASQ_HIGH: u64 = 0x2c;
    pub const ACQ: u64 = 0x30;
    pub const ACQ_HIGH: u64 = 0x34;
    pub const DOORBELLS: u64 = 0x1000;
}

/// Version 1.4.
const VERSION: u32 = 0x0001_0400;
/// The controller must get ready within 7.5 s; queues are contiguous; pages of 4 to 64 KiB.
const CAPABILITIES: u64 = 0x0040_0020_0f01_0000;
const CC_ENABLE: u32 = 1;
const CSTS_READY: u32 = 1;
const CSTS_FATAL: u32 = 2;
const CSTS_SHUTDOWN_DONE: u32 = 8;
/// The gate that requests pass before they copy: there is one for all queues.
const GATE: usize = 0;

/// Status codes: generic ones (4.5.1.1) and those of commands (type 1) and of media (type 2).
pub(crate) mod status {
    pub const SUCCESS: u16 = 0;
    pub const INVALID_OPCODE: u16 = 0x01;
    pub const INVALID_FIELD: u16 = 0x02;
    pub const DATA_TRANSFER: u16 = 0x04;
    pub const INTERNAL: u16 = 0x06;
    pub const INVALID_NAMESPACE: u16 = 0x0b;
    pub const INVALID_PRP_OFFSET: u16 = 0x13;
    pub const LBA_RANGE: u16 = 0x80;
    pub const INVALID_CQ: u16 = 0x100;
    pub const INVALID_QUEUE: u16 = 0x101;
    pub const INVALID_QUEUE_SIZE: u16 = 0x102;
    pub const EVENT_LIMIT: u16 = 0x105;
    pub const INVALID_VECTOR: u16 = 0x108;
    pub const INVALID_LOG: u16 = 0x109;
    pub const INVALID_QUEUE_DELETION: u16 = 0x10c;
    pub const NOT_SAVEABLE: u16 = 0x10d;
    pub const WRITE_FAULT: u16 = 0x280;
    pub const READ_ERROR: u16 = 0x281;
    pub const COMPARE_FAILURE: u16 = 0x285;
    /// Do not retry.
    pub const FINAL: u16 = 0x4000;
}

/// A serial number of at most 20 characters.
#[derive(Clone, Debug, Default)]
pub struct Serial(pub String);

impl PropertyType for Serial {
    const KIND: &'static str = "str";
    fn get(&self) -> PropertyValue {
        PropertyValue::Str(self.0.clone())
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), object::PropertyError> {
        self.0 = value.as_str().ok_or(object::PropertyError::Type(Self::KIND))?.to_owned();
        Ok(())
    }
}

/// What is saved. Requests under way are not: whoever saves waits for them.
#[derive(Clone, Debug, Default, State)]
#[state(name = "nvme")]
pub struct Registers {
    cc: u32,
    csts: u32,
    interrupt_mask: u32,
    aqa: u32,
    asq: u64,
    acq: u64,
    /// By number; number 0 is that of the administrator.
    submissions: Vec<SubmissionQueue>,
    completions: Vec<CompletionQueue>,
    write_cache: bool,
    temperature_threshold: u16,
    event_config: u32,
    host_timestamp: u64,
    /// Command identifiers of requests for events, which wait for one.
    event_requests: Vec<u16>,
    /// Submission queues that there have been.
    generations: u64,
}

/// The controller. With a drive it has namespace 1; others come as devices of their own.
#[derive(Device)]
#[device(name = "nvme", desc = "Non-Volatile Memory Express", category = "storage", user_creatable)]
#[pci(vendor = self.options.vendor(), device = self.options.device(), revision = 2, class = 0x01_0802, pin = 1)]
#[bar(index = 0, kind = Memory64, name = "nvme", size = 0x2000, access = 2..=8, implemented = 4..=8)]
#[capability(Capability::power_management_keeping_state().at(0x60))]
#[capability(Capability::express(true).at(0x80))]
#[capability(Capability::msix(self.vectors(), 0, 0x2000, 0x3000).at(0x40))]
pub struct Nvme {
    /// Id of the drive.
    #[property(desc = "Node name or ID of a block device to use as a backend")]
    pub drive: String,
    /// Serial number.
    #[property]
    pub serial: Serial,
    /// Queue pairs beside the administrator's.
    #[property(name = "max_ioqpairs", default = 64u32)]
    pub max_queues: u32,
    /// Interrupt messages.
    #[property(name = "msix_qsize", default = 65u16)]
    pub messages: u16,
    /// The largest queue, less one.
    #[property(default = 2047u16)]
    pub mqes: u16,
    /// The largest transfer, as a power of two of pages.
    #[property(default = 7u8)]
    pub mdts: u8,
    /// Requests for events that may wait, less one.
    #[property(default = 3u8)]
    pub aerl: u8,
    /// Bytes of a block; 0 for 512.
    #[property(name = "logical_block_size", default = 0u64, desc = "A power of two between 512 B and 2 MiB")]
    pub logical_block_size: object::Size,
    /// Whether writes may be cached before a flush.
    #[property(name = "write-cache", default = OnOffAuto::Auto, desc = "on/off/auto")]
    pub write_cache: OnOffAuto,
    /// Place in the boot order, if it has one.
    #[property]
    pub bootindex: BootIndex,
    /// Others may write the drive too.
    #[property(name = "share-rw")]
    pub share_rw: bool,
    /// What else it may be asked for.
    #[properties]
    pub options: options::ControllerOptions,
    /// What all namespaces have.
    #[properties]
    pub disk: options::DiskOptions,
    /// Which statistics there are.
    #[properties]
    pub accounts: DiskAccounts,
    /// Its place on the bus.
    #[place]
    pub pci: Pci,
    namespaces: BTreeMap<u32, Namespace>,
    gate: Arc<Gate>,
    /// For each submission queue the workers that take commands from it, or will.
    servers: Vec<usize>,
    this: Weak<DeviceCell<Self>>,
    #[state]
    regs: Registers,
}

impl Nvme {
    /// Gives the controller its drive, if it has one; to be called before it is realized.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, drive: Option<Arc<dyn BlockDevice>>) {
        cell.with(|device| {
            device.this = Arc::downgrade(cell);
            let block = device.logical_block_size.0;
            let own = drive.map(|drive| (1, Namespace::new(drive, block, namespace::Names::default())));
            device.namespaces.extend(own);
        });
    }

    /// Where instructions are counted, lets requests take the guest's time; to be called before the machine runs.
    pub fn follow_clock(cell: &DeviceCell<Self>, events: &EventLoop) {
        Self::stores(cell).iter().for_each(|store| store.follow_clock(events));
    }

    fn stores(cell: &DeviceCell<Self>) -> Vec<Arc<BlockQueue>> {
        cell.with(|device| device.namespaces.values().map(|n| n.store.clone()).collect())
    }

    /// Adds a namespace, before the machine runs. Returns its number.
    ///
    /// # Errors
    /// The number is taken, or there is none left.
    pub fn add_namespace(
        cell: &DeviceCell<Self>,
        namespace: &NvmeNamespace,
        drive: Arc<dyn BlockDevice>,
    ) -> base::Result<u32> {
        check_block_size(namespace.logical_block_size.0)?;
        cell.with(|device| {
            let free = |n: &u32| !device.namespaces.contains_key(n);
            let number = match namespace.nsid {
                0 => (1..=namespace::LAST).find(free).ok_or_else(|| error!("no free namespace id"))?,
                n if n > namespace::LAST => {
                    return Err(error!("invalid namespace id (must be between 0 and {})", namespace::LAST));
                }
                n if !free(&n) => return Err(error!("namespace id '{n}' already allocated")),
                n => n,
            };
            let names = namespace.names(&device.serial.0, number);
            device.namespaces.insert(number, Namespace::new(drive, namespace.logical_block_size.0, names));
            Ok(number)
        })
    }

    /// Waits until no request is under way. Not to be called with any device's lock held.
    pub fn drain(cell: &DeviceCell<Self>) {
        Self::stores(cell).iter().for_each(|store| store.drain());
    }

    fn vectors(&self) -> u16 {
        self.messages.clamp(1, 2048)
    }

    fn queue_pairs(&self) -> usize {
        self.max_queues as usize + 1
    }

    /// Bytes of a page of guest memory, as the driver has chosen.
    fn page_size(&self) -> u64 {
        0x1000 << self.regs.cc.bits(7, 4).min(4)
    }

    fn is_ready(&self) -> bool {
        self.regs.csts & (CSTS_READY | CSTS_FATAL) == CSTS_READY
    }

    // ---- registers

    fn write_cc(&mut self, value: u32) {
        let before = std::mem::replace(&mut self.regs.cc, value);
        if value & CC_ENABLE != 0 && before & CC_ENABLE == 0 {
            self.start();
        } else if value & CC_ENABLE == 0 && before & CC_ENABLE != 0 {
            self.stop();
        }
        if value.bits(14, 2) != 0 {
            if before.bits(14, 2) == 0 {
                self.flush_before_power_goes();
            }
            self.regs.csts |= CSTS_SHUTDOWN_DONE;
        } else {
            self.regs.csts &= !0xc;
        }
    }

    /// A driver that announces the end of power expects its data to be on the medium.
    fn flush_before_power_goes(&self) {
        for namespace in self.namespaces.values() {
            namespace.store.run(|drive| {
                if let Err(error) = drive.flush() {
                    base::guest_error!("nvme: the drive cannot be flushed: {error}");
                }
            });
        }
    }

    /// The controller is enabled (7.6.1): the queues of the administrator are where the registers say.
    fn start(&mut self) {
        let (pages, aqa) = (self.regs.cc.bits(7, 4), self.regs.aqa);
        let (commands, entries) = (self.regs.cc.bits(16, 4), self.regs.cc.bits(20, 4));
        let sizes = (aqa.bits(0, 12) as u16, aqa.bits(16, 12) as u16);
        let aligned = (self.regs.asq | self.regs.acq) & 0xfff == 0;
        if pages > 4
            || !aligned
            || sizes.0 == 0
            || sizes.1 == 0
            || !matches!((commands, entries), (0 | 6, 0 | 4))
        {
            base::guest_error!("nvme: enabled with {:#x}, {aqa:#x}, which makes no sense", self.regs.cc);
            self.regs.csts |= CSTS_FATAL;
            return;
        }
        let first = SubmissionQueue::new(self.regs.asq, sizes.0, 0, self.next_generation());
        let answers = CompletionQueue::new(self.regs.acq, sizes.1, 0, true);
        if let (Some(s), Some(c)) = (self.regs.submissions.first_mut(), self.regs.completions.first_mut()) {
            (*s, *c) = (first, answers);
        }
        self.regs.csts |= CSTS_READY;
    }

    fn next_generation(&mut self) -> u64 {
        self.regs.generations += 1;
        self.regs.generations
    }

    /// The controller is disabled: its queues are gone, and requests that are under way have nowhere to answer to.
    fn stop(&mut self) {
        self.gate.close(GATE);
        let Registers { aqa, asq, acq, cc, generations, .. } = self.regs;
        self.reset_state();
        self.regs = Registers { aqa, asq, acq, cc, generations, ..std::mem::take(&mut self.regs) };
        self.pci.set_intx(false);
    }

    fn ring(&mut self, offset: u64, value: u32) {
        let n = (offset / 8) as usize;
        if !self.is_ready() || !offset.is_multiple_of(4) || value > u32::from(u16::MAX) {
            return;
        }
        if offset.is_multiple_of(8) {
            if self.regs.submissions.get_mut(n).is_some_and(|queue| queue.set_tail(value as u16)) {
                self.wake(n);
            }
        } else if self.regs.completions.get_mut(n).is_some_and(|queue| queue.set_head(value as u16)) {
            self.post(n);
            if !self.pci.msix_enabled() {
                self.update_pin();
            }
            // Submission queues that waited for room go on.
            for sq in 0..self.regs.submissions.len() {
                if self.regs.submissions.get(sq).is_some_and(|q| usize::from(q.completion) == n && q.waits())
                {
                    self.wake(sq);
                }
            }
        } else {
            base::guest_error!("nvme: doorbell {offset:#x} rings with {value}, which makes no sense");
        }
    }

    // ---- queues

    /// Carries out the commands of the administrator, as many as the completion queue can take the answers of.
    fn take_commands(&mut self) {
        while let Some(command) = self.fetch(0) {
            if let Some((result, status)) = self.administer(&command) {
                self.complete(0, command.id(), result, status);
            }
        }
    }

    /// The next command of a submission queue, if there is one and its answer will have room.
    fn fetch(&mut self, n: usize) -> Option<queues::Command> {
        if !self.is_ready() {
            return None;
        }
        let dma = self.pci.dma()?;
        let queue = self.regs.submissions.get_mut(n).filter(|queue| queue.waits() && !queue.is_full())?;
        let mut bytes = [0; queues::COMMAND];
        if dma.read(queue.head_address(), &mut bytes).is_err() {
            base::guest_error!("nvme: submission queue {n} is not in memory");
            self.regs.csts |= CSTS_FATAL;
            return None;
        }
        queue.advance();
        Some(queues::Command(bytes))
    }

    /// A command has ended: its answer is put into the completion queue as soon as there is room.
    fn complete(&mut self, sq: usize, id: u16, result: u32, status: u16) {
        let Some(queue) = self.regs.submissions.get(sq).filter(|queue| queue.exists()) else { return };
        let cq = usize::from(queue.completion);
        let status = if status == status::SUCCESS { 0 } else { status | status::FINAL };
        if let Some(answers) = self.regs.completions.get_mut(cq) {
            answers.waiting.push_back(Completion { queue: sq as u16, id, result, status });
        }
        self.post(cq);
    }

    fn post(&mut self, cq: usize) {
        let Some(dma) = self.pci.dma() else { return };
        let mut news = false;
        while let Some(queue) = self.regs.completions.get_mut(cq)
            && let Some((address, answer)) = queue.next()
        {
            let head = match self.regs.submissions.get_mut(usize::from(answer.queue)) {
                Some(submission) => {
                    submission.answered();
                    submission.head()
                }
                None => 0,
            };
            let Some(queue) = self.regs.completions.get_mut(cq) else { return };
            let entry = queue.entry(&answer, head);
            if dma.write(address, &entry).is_err() {
                base::guest_error!("nvme: completion queue {cq} is not in memory");
                self.regs.csts |= CSTS_FATAL;
                return;
            }
            queue.posted();
            news = true;
        }
        if news && let Some(queue) = self.regs.completions.get(cq).filter(|queue| queue.interrupts) {
            if !self.pci.msix_enabled() {
                self.update_pin();
            } else {
                self.pci.signal(queue.vector);
            }
        }
    }

    /// The interrupt pin: some queue that interrupts has answers, and its vector is not masked.
    fn update_pin(&self) {
        let wants = |queue: &CompletionQueue| {
            queue.interrupts
                && queue.has_answers()
                && !self.regs.interrupt_mask.bit(u32::from(queue.vector).min(31))
        };
        self.pci.set_intx(self.regs.completions.iter().any(wants));
    }
}

fn check_block_size(size: u64) -> base::Result<()> {
    match size {
        0 => Ok(()),
        _ if size.is_power_of_two() && (512..=2 << 20).contains(&size) => Ok(()),
        _ => Err("logical_block_size must be a power of 2 between 512 and 2097152".into()),
    }
}

impl Device for Nvme {
    fn read(&mut self, _: usize, offset: u64, size: u32) -> u64 {
        let regs = &self.regs;
        let half = |value: u64, at: u64| if offset == at { value } else { value >> 32 };
        match offset {
            register::CAP | register::CAP_HIGH => half(CAPABILITIES | u64::from(self.mqes), register::CAP),
            register::VS => VERSION.into(),
            register::INTMS | register::INTMC => regs.interrupt_mask.into(),
            register::CC => regs.cc.into(),
            register::CSTS => regs.csts.into(),
            register::AQA => regs.aqa.into(),
            register::ASQ | register::ASQ_HIGH => half(regs.asq, register::ASQ),
            register::ACQ | register::ACQ_HIGH => half(regs.acq, register::ACQ),
            register::DOORBELLS.. => {
                base::guest_error!("nvme: doorbells cannot be read ({size} bytes at {offset:#x})");
                0
            }
            _ => 0,
        }
    }

    fn write(&mut self, _: usize, offset: u64, size: u32, value: u64) -> Effect {
        let word = value as u32;
        let replace = |old: u64, high: bool| match (size, high) {
            (8, false) => value,
            (_, false) => old >> 32 << 32 | u64::from(word),
            (_, true) => old & 0xffff_ffff | u64::from(word) << 32,
        };
        match offset {
            register::INTMS | register::INTMC => {
                let old = self.regs.interrupt_mask;
                self.regs.interrupt_mask = if offset == register::INTMS { old | word } else { old & !word };
                if !self.pci.msix_enabled() {
                    self.update_pin();
                }
            }
            register::CC => self.write_cc(word),
            register::AQA => self.regs.aqa = word & 0x0fff_0fff,
            register::ASQ => self.regs.asq = replace(self.regs.asq, false),
            register::ASQ_HIGH => self.regs.asq = replace(self.regs.asq, true),
            register::ACQ => self.regs.acq = replace(self.regs.acq, false),
            register::ACQ_HIGH => self.regs.acq = replace(self.regs.acq, true),
            register::DOORBELLS.. => self.ring(offset - register::DOORBELLS, word),
            _ => base::guest_error!("nvme: write of {value:#x} to {offset:#x} means nothing"),
        }
        Effect::None
    }

    fn realize(&mut self) -> base::Result<()> {
        if self.serial.0.is_empty() {
            return Err("serial property not set".into());
        }
        if self.serial.0.len() > 20 {
            return Err("serial property is too long".into());
        }
        if self.options.num_queues > 0 {
            self.max_queues = self.options.num_queues - 1;
        }
        if self.max_queues == 0 || self.max_queues > 65535 {
            return Err("max_ioqpairs must be between 1 and 65535".into());
        }
        if self.messages == 0 || self.messages > 2048 {
            return Err("msix_qsize must be between 1 and 2048".into());
        }
        check_block_size(self.logical_block_size.0)?;
        self.gate.open(1);
        self.servers = vec![0; self.queue_pairs()];
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        self.gate.close(GATE);
        self.reset_state();
        self.pci.set_intx(false);
    }

    fn reset_state(&mut self) {
        let count = self.queue_pairs();
        self.regs = Registers {
            submissions: vec![SubmissionQueue::default(); count],
            completions: vec![CompletionQueue::default(); count],
            write_cache: self.write_cache.or(true),
            temperature_threshold: admin::WARNING_TEMPERATURE,
            ..Registers::default()
        };
    }

    fn loaded(&mut self) -> Result<(), String> {
        let count = self.queue_pairs();
        if self.regs.submissions.len() != count || self.regs.completions.len() != count {
            return Err(format!("there are other queues than {count}"));
        }
        self.gate.close(GATE);
        if self.regs.submissions.iter().any(|queue| !queue.is_sound(count))
            || self.regs.completions.iter().any(|queue| !queue.is_sound())
        {
            return Err("a queue has no such size".into());
        }
        if !self.pci.msix_enabled() {
            self.update_pin();
        }
        (0..count).for_each(|cq| self.post(cq));
        (0..count).for_each(|sq| self.wake(sq));
        Ok(())
    }
}

#[cfg(test)]
#[path = "nvme/nvme_test.rs"]
mod test;
