//! What a controller and a namespace may be asked for beyond what they need. What is not here can only be asked to be off.

use object::{Properties, Size};

use crate::property_types::{AlwaysOff, LinkTarget, NoLink, Zero};

/// What a link to memory that outlives power would lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory;

impl LinkTarget for Memory {
    const KIND: &'static str = "link<memory-backend>";
}

/// What a link to a subsystem would lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subsystem;

impl LinkTarget for Subsystem {
    const KIND: &'static str = "link<nvme-subsys>";
}

/// A controller's.
#[derive(Debug, Properties)]
pub struct ControllerOptions {
    /// Be known by numbers of Intel's, as long ago.
    #[property]
    pub use_intel_id: bool,
    /// Queues with the administrator's: the old name of `max_ioqpairs`, one more; 0 for that.
    #[property(name = "num_queues")]
    pub num_queues: u32,
    /// Take doorbells on another thread: a worker does in any case.
    #[property]
    pub ioeventfd: bool,
    /// Events that wait for a request. There are none.
    #[property(name = "aer_max_queued", default = 64u32)]
    pub aer_max_queued: u32,
    /// The longest verification, as a power of two of pages. There is no such command.
    #[property(default = 7u8)]
    pub vsl: u8,
    /// Writes of so many blocks are whole or not at all.
    #[property(name = "atomic.awun")]
    pub awun: Zero<u16>,
    /// The same when power fails.
    #[property(name = "atomic.awupf")]
    pub awupf: Zero<u16>,
    /// The driver may do with less.
    #[property(name = "atomic.dn")]
    pub dn: AlwaysOff,
    /// Memory of the controller.
    #[property(name = "cmb_size_mb")]
    pub cmb_size_mb: Zero<u32>,
    /// Memory that outlives power.
    #[property]
    pub pmrdev: NoLink<Memory>,
    /// Fixed memory as a trait.
    #[property(name = "ctratt.mem")]
    pub fixed_memory: AlwaysOff,
    /// Doorbells in guest memory.
    #[property]
    pub dbcs: AlwaysOff,
    /// The interrupt table in a BAR of its own.
    #[property]
    pub msix_exclusive_bar: AlwaysOff,
    /// The log of the Open Compute Project.
    #[property]
    pub ocp: AlwaysOff,
    /// Port of a responder to questions of security.
    #[property(name = "spdm_port")]
    pub spdm_port: Zero<u16>,
    /// Virtual functions.
    #[property(name = "sriov_max_vfs")]
    pub sriov_max_vfs: Zero<u16>,
    /// Their interrupts.
    #[property(name = "sriov_max_vi_per_vf")]
    pub sriov_max_vi_per_vf: Zero<u32>,
    /// Their queues.
    #[property(name = "sriov_max_vq_per_vf")]
    pub sriov_max_vq_per_vf: Zero<u32>,
    /// Interrupts that can be moved between them.
    #[property(name = "sriov_vi_flexible")]
    pub sriov_vi_flexible: Zero<u16>,
    /// Queues that can be moved between them.
    #[property(name = "sriov_vq_flexible")]
    pub sriov_vq_flexible: Zero<u16>,
    /// The subsystem of the controller.
    #[property]
    pub subsys: NoLink<Subsystem>,
    /// Open zones are closed when another is to be opened. There are no zones.
    #[property(name = "zoned.auto_transition", default = true)]
    pub auto_transition: bool,
    /// The longest append to a zone.
    #[property(name = "zoned.zasl")]
    pub zasl: u8,
}

impl ControllerOptions {
    pub(super) fn vendor(&self) -> u16 {
        if self.use_intel_id { 0x8086 } else { 0x1b36 }
    }
    pub(super) fn device(&self) -> u16 {
        if self.use_intel_id { 0x5845 } else { 0x0010 }
    }
}

/// Of the drive behind a namespace: hints, which the driver is not told.
#[derive(Debug, Properties)]
pub struct DiskOptions {
    /// Unit of discards in bytes; all ones for one block.
    #[property(name = "discard_granularity", default = 0xffff_ffff_u64)]
    pub discard_granularity: Size,
    /// Suggested smallest transfer in bytes.
    #[property(name = "min_io_size")]
    pub min_io_size: Size,
    /// Suggested best transfer in bytes.
    #[property(name = "opt_io_size")]
    pub opt_io_size: Size,
    /// Bytes of a physical block; 0 for the logical.
    #[property(name = "physical_block_size", desc = "A power of two between 512 B and 2 MiB")]
    pub physical_block_size: Size,
}

/// A namespace's.
#[derive(Debug, Properties)]
pub struct NamespaceOptions {
    /// No controller has it at first.
    #[property]
    pub detached: AlwaysOff,
    /// Make up the shorter name.
    #[property]
    pub eui64_default: AlwaysOff,
    /// Handles of flexible placement.
    #[property(name = "fdp.ruhs")]
    pub fdp_ruhs: Zero<String>,
    /// Bytes of metadata of a block.
    #[property]
    pub ms: Zero<u16>,
    /// Where they are.
    #[property]
    pub mset: Zero<u8>,
    /// Protection of blocks.
    #[property]
    pub pi: Zero<u8>,
    /// Its format.
    #[property]
    pub pif: Zero<u8>,
    /// Where it is.
    #[property]
    pub pil: Zero<u8>,
    /// Limits of the command that copies, which there is not.
    #[property(default = 128u32)]
    pub mcl: u32,
    /// The same.
    #[property(default = 127u8)]
    pub msrc: u8,
    /// The same.
    #[property(default = 128u16)]
    pub mssrl: u16,
    /// Divided into zones.
    #[property]
    pub zoned: AlwaysOff,
    /// Reads may cross them.
    #[property(name = "zoned.cross_read")]
    pub cross_read: bool,
    /// Bytes that describe one.
    #[property(name = "zoned.descr_ext_size")]
    pub descr_ext_size: u32,
    /// How many may be active.
    #[property(name = "zoned.max_active")]
    pub max_active: u32,
    /// How many may be open.
    #[property(name = "zoned.max_open")]
    pub max_open: u32,
    /// How many may be written at random.
    #[property(name = "zoned.numzrwa")]
    pub numzrwa: u32,
    /// What is flushed of those.
    #[property(name = "zoned.zrwafg", default = u64::MAX)]
    pub zrwafg: Size,
    /// How much may be.
    #[property(name = "zoned.zrwas")]
    pub zrwas: Size,
    /// Bytes of a zone that can be written.
    #[property(name = "zoned.zone_capacity")]
    pub zone_capacity: Size,
    /// Bytes of a zone.
    #[property(name = "zoned.zone_size", default = 0x800_0000u64)]
    pub zone_size: Size,
}
