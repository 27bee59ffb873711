//! Namespaces: what a controller shows of a drive, and the device "nvme-ns" that adds one to a controller.

use std::sync::Arc;

use backends::block::{BlockDevice, BlockQueue};
use object::{Device, PropertyError, PropertyType, PropertyValue};

use super::admin::{Fields, PAGE};
use super::options::{DiskOptions, NamespaceOptions};
use crate::property_types::{BootIndex, DiskAccounts, OnOffAuto};

/// The largest number of a namespace.
pub const LAST: u32 = 256;

/// Types of what identifies a namespace (5.15.2.3).
mod descriptor {
    pub const EUI64: u8 = 1;
    pub const NGUID: u8 = 2;
    pub const UUID: u8 = 3;
    pub const COMMAND_SET: u8 = 4;
}

/// A namespace.
pub struct Namespace {
    pub(super) store: Arc<BlockQueue>,
    /// Bytes of a block.
    pub(super) block: u64,
    names: Names,
}

/// By what a driver knows a namespace again. Zero is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names {
    uuid: u128,
    nguid: u128,
    eui64: u64,
}

impl Namespace {
    /// All of a drive, in blocks of `block` bytes.
    pub fn new(drive: Arc<dyn BlockDevice>, block: u64, names: Names) -> Self {
        Self { store: Arc::new(BlockQueue::new(drive)), block: block.max(512), names }
    }

    /// How many blocks it has.
    pub(super) fn blocks(&self) -> u64 {
        self.store.device().len() / self.block
    }

    /// What Identify says of it (5.15.2.1).
    pub(super) fn identify(&self) -> Fields {
        let mut fields = Fields::new(PAGE);
        let blocks = self.blocks();
        (0..3).for_each(|n| fields.put(8 * n, &blocks.to_le_bytes()));
        // Blocks that were given back read as zeroes, and can be given back by writing zeroes.
        fields.put(33, &[9]);
        if self.store.device().read_only() {
            fields.put(99, &[1]);
        }
        fields.put(104, &self.names.nguid.to_be_bytes());
        fields.put(120, &self.names.eui64.to_be_bytes());
        // The only format: no metadata.
        fields.put(128, &[0, 0, self.block.ilog2() as u8, 0]);
        fields
    }

    /// The list of its names.
    pub(super) fn descriptors(&self) -> Fields {
        let Names { uuid, nguid, eui64 } = self.names;
        let (wide, short) = (|name: u128| name.to_be_bytes().to_vec(), eui64.to_be_bytes().to_vec());
        let mut fields = Fields::new(PAGE);
        let mut at = 0;
        for (kind, name) in
            [(descriptor::UUID, wide(uuid)), (descriptor::NGUID, wide(nguid)), (descriptor::EUI64, short)]
        {
            if name.iter().any(|byte| *byte != 0) {
                fields.put(at, &[kind, name.len() as u8]);
                fields.put(at + 4, &name);
                at += 4 + name.len();
            }
        }
        // The command set is that of this specification, number 0.
        fields.put(at, &[descriptor::COMMAND_SET, 1]);
        fields
    }
}

/// A name of 128 bits: hexadecimal digits, with or without dashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WideName {
    /// One is made up.
    #[default]
    Auto,
    /// This one; 0 is none.
    Fixed(u128),
}

impl PropertyType for WideName {
    const KIND: &'static str = "str";
    fn get(&self) -> PropertyValue {
        PropertyValue::Str(match self {
            Self::Auto => "auto".to_owned(),
            Self::Fixed(name) => format!("{name:032x}"),
        })
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        let text = value.as_str().ok_or(PropertyError::Type(Self::KIND))?;
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        *self = match text {
            "auto" => Self::Auto,
            _ if digits.len() != 32 => return Err(PropertyError::Unusable),
            _ => Self::Fixed(u128::from_str_radix(&digits, 16).map_err(|_| PropertyError::Unusable)?),
        };
        Ok(())
    }
}

impl From<u128> for WideName {
    fn from(name: u128) -> Self {
        Self::Fixed(name)
    }
}

/// A namespace as the user describes it.
#[derive(Device)]
#[device(
    name = "nvme-ns",
    desc = "Virtual NVMe namespace",
    parent = "device",
    bus = "nvme-bus",
    category = "storage",
    user_creatable
)]
pub struct NvmeNamespace {
    /// Id of the drive.
    #[property(desc = "Node name or ID of a block device to use as a backend")]
    pub drive: String,
    /// Its number; 0 for the first that is free.
    #[property]
    pub nsid: u32,
    /// Bytes of a block; 0 for 512.
    #[property(name = "logical_block_size", default = 0u64, desc = "A power of two between 512 B and 2 MiB")]
    pub logical_block_size: object::Size,
    /// A name; made of the controller's serial number and the namespace's own unless it is given.
    #[property(desc = "UUID (aka GUID) or \"auto\" for random value (default)")]
    pub uuid: WideName,
    /// Another.
    #[property(default = 0u128, quiet, desc = "NGUID or \"auto\" for random value")]
    pub nguid: WideName,
    /// A shorter one.
    #[property]
    pub eui64: u64,
    /// Controllers may share it. There is one.
    #[property(default = true)]
    pub shared: bool,
    /// Whether writes may be cached is the controller's matter.
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
    pub options: NamespaceOptions,
    /// What all have.
    #[properties]
    pub disk: DiskOptions,
    /// Which statistics there are.
    #[properties]
    pub accounts: DiskAccounts,
}

impl Device for NvmeNamespace {}

impl NvmeNamespace {
    /// Its names, of which those that are made up follow from the controller's serial number and the namespace's: they are
    /// the same after a migration.
    pub fn names(&self, serial: &str, number: u32) -> Names {
        let wide = |name, kind: u8| match name {
            WideName::Fixed(name) => name,
            WideName::Auto => made_up(serial, number, kind),
        };
        Names {
            uuid: wide(self.uuid, descriptor::UUID),
            nguid: wide(self.nguid, descriptor::NGUID),
            eui64: self.eui64,
        }
    }
}

/// FNV-1a of 128 bits with the marks of a UUID of version 8, which is the maker's own (RFC 9562, 5.8).
fn made_up(serial: &str, number: u32, kind: u8) -> u128 {
    let (start, prime) = (0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, 0x0100_0000_0000_0000_0000_013b);
    let bytes = serial.bytes().chain(number.to_le_bytes()).chain([kind]);
    let hash = bytes.fold(start, |hash: u128, byte| (hash ^ u128::from(byte)).wrapping_mul(prime));
    let (version, variant) = (0xf << 76, 3 << 62);
    hash & !version & !variant | 8 << 76 | 2 << 62
}
