//! Which machines there are, and what a user chooses when making one.

use crate::board::Board;
use crate::riscv;
use backends::block::BlockDevice;
use backends::char::CharPort;
use base::Result;
use cpu::RunControl;
use events::{Clock, EventLoop};
use memory::Ram;
use std::path::PathBuf;
use std::sync::Arc;

/// Which firmware runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bios {
    /// The machine's usual one, as installed.
    #[default]
    Default,
    /// None: the kernel begins where the processor does.
    None,
    /// The supervisor execution environment that is part of the emulator.
    Builtin,
    /// A file.
    File(String),
}

impl Bios {
    /// Reads the argument of `-bios`.
    pub fn parse(text: &str) -> Bios {
        match text {
            "default" => Bios::Default,
            "none" => Bios::None,
            "builtin" => Bios::Builtin,
            file => Bios::File(file.to_owned()),
        }
    }
}

/// What a user chooses.
pub struct Setup {
    /// The main loop.
    pub events: EventLoop,
    /// The run state: a part of the machine may watch it, and ask for a stop, a reset or an end.
    pub run: Arc<RunControl>,
    /// Options of the machine, without its name; each must be one of its properties.
    pub properties: Vec<(String, String)>,
    /// Values for properties of all devices of a type: type, property, value.
    pub globals: Vec<(String, String, String)>,
    /// CPU model and its options, as `-cpu` has them.
    pub cpu: String,
    /// Number of processors.
    pub cpus: u32,
    /// The guest's memory; of 0 bytes where the machine has none.
    pub ram: Option<Arc<Ram>>,
    /// The firmware.
    pub bios: Bios,
    /// `-kernel`.
    pub kernel: Option<PathBuf>,
    /// `-initrd`.
    pub initrd: Option<PathBuf>,
    /// `-append`.
    pub append: Option<String>,
    /// `-dtb`.
    pub dtb: Option<PathBuf>,
    /// Directories in which firmware is looked for first.
    pub firmware_directories: Vec<PathBuf>,
    /// The serial ports.
    pub serial: Vec<Option<Arc<dyn CharPort>>>,
    /// Content of the flash banks.
    pub flash: [Option<Arc<dyn BlockDevice>>; 2],
    /// What the real-time clock counts with.
    pub rtc_clock: Clock,
    /// The date it shows now, in nanoseconds after 1970.
    pub rtc_date_ns: u64,
    /// Files for the guest: name and content.
    pub fw_cfg: Vec<(String, Vec<u8>)>,
    /// `-seed`: makes the seed in the device tree the same each time.
    pub seed: Option<u64>,
}

/// A kind of machine.
pub struct MachineType {
    /// Name for `-machine`.
    pub name: &'static str,
    /// What it is.
    pub desc: &'static str,
    /// The most processors it takes.
    pub max_cpus: u32,
    /// Bytes of memory unless the user says otherwise; 0: it may have none.
    pub default_memory: u64,
    /// Name of its memory region.
    pub ram_name: &'static str,
    /// Model of its processors unless the user says otherwise.
    pub default_cpu: &'static str,
    /// How many flash banks a user may fill (`-pflash`), up to two.
    pub flash_banks: u32,
    /// Its own properties beside those that all machines have: name, type, description.
    pub properties: &'static [(&'static str, &'static str, &'static str)],
    /// Builds one.
    pub build: fn(Setup) -> Result<Board>,
}

/// All machines, by name.
pub const TYPES: &[MachineType] = &[riscv::none::TYPE, riscv::spike::TYPE, riscv::virt::TYPE];
