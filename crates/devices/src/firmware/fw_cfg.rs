//! The firmware configuration device, memory mapped: "fw_cfg_mem".
//!
//! Document: QEMU 10.0, docs/specs/fw_cfg.rst. Items have 16-bit keys; files are items with a name, listed in
//! the directory item. The selector and the directory are big-endian, the items of the platform
//! little-endian. Left out: the I/O-port variant.

use std::sync::Arc;

use memory::Dma;
use object::{Device, Effect};
use state::State;

/// Keys of items that are no files.
pub mod key {
    #![allow(missing_docs)]
    pub const SIGNATURE: u16 = 0x00;
    pub const ID: u16 = 0x01;
    pub const UUID: u16 = 0x02;
    pub const RAM_SIZE: u16 = 0x03;
    pub const NOGRAPHIC: u16 = 0x04;
    pub const NB_CPUS: u16 = 0x05;
    pub const MACHINE_ID: u16 = 0x06;
    pub const KERNEL_ADDR: u16 = 0x07;
    pub const KERNEL_SIZE: u16 = 0x08;
    pub const KERNEL_CMDLINE: u16 = 0x09;
    pub const INITRD_ADDR: u16 = 0x0a;
    pub const INITRD_SIZE: u16 = 0x0b;
    pub const BOOT_DEVICE: u16 = 0x0c;
    pub const NUMA: u16 = 0x0d;
    pub const BOOT_MENU: u16 = 0x0e;
    pub const MAX_CPUS: u16 = 0x0f;
    pub const KERNEL_ENTRY: u16 = 0x10;
    pub const KERNEL_DATA: u16 = 0x11;
    pub const INITRD_DATA: u16 = 0x12;
    pub const CMDLINE_ADDR: u16 = 0x13;
    pub const CMDLINE_SIZE: u16 = 0x14;
    pub const CMDLINE_DATA: u16 = 0x15;
    pub const SETUP_ADDR: u16 = 0x16;
    pub const SETUP_SIZE: u16 = 0x17;
    pub const SETUP_DATA: u16 = 0x18;
    pub const FILE_DIR: u16 = 0x19;
    pub const FILE_FIRST: u16 = 0x20;
    /// Set in the keys of items that belong to the architecture.
    pub const ARCH_LOCAL: u16 = 0x8000;
}

/// Bit of a key that once announced a write through the data register.
const WRITE_CHANNEL: u16 = 0x4000;
/// A name in the directory, with its terminating zero.
const NAME_SIZE: usize = 56;
/// What the DMA register reads as.
const DMA_SIGNATURE: u64 = 0x5145_4d55_2043_4647;
/// Bits of the item [`key::ID`].
const VERSION: u32 = 1 | 2;
/// Bytes moved by one guest access at most before the copying pauses for nothing: bounds one transfer.
const DMA_STEP: usize = 64 << 10;

/// Windows, in the order of QEMU's.
const CTL: usize = 0;
const DATA: usize = 1;
const DMA: usize = 2;

/// Bits of the control field of a DMA request.
mod control {
    pub const ERROR: u32 = 1 << 0;
    pub const READ: u32 = 1 << 1;
    pub const SKIP: u32 = 1 << 2;
    pub const SELECT: u32 = 1 << 3;
    pub const WRITE: u32 = 1 << 4;
}

/// Called after the guest has written to a file: what is written is the whole content.
pub type Written = Arc<dyn Fn(&[u8]) + Send + Sync>;

#[derive(Default)]
struct Item {
    data: Vec<u8>,
    written: Option<Written>,
    writable: bool,
}

struct File {
    name: String,
    item: Item,
}

/// Where the guest is. The items are configuration, but for those that it can write.
#[derive(Clone, Debug, Default, State)]
#[state(name = "fw_cfg")]
pub struct Registers {
    selected: u16,
    offset: u32,
    dma_address: u64,
}

/// The device.
#[derive(Device)]
#[device(name = "fw_cfg_mem", parent = "fw_cfg", bus = "System")]
#[mmio(name = "fwcfg.ctl", size = 2u64, access = 2..=2, endian = Big)]
#[mmio(name = "fwcfg.data", size = 8u64, access = 1..=8, implemented = 1..=1)]
#[mmio(name = "fwcfg.dma", size = 8u64, access = 1..=8, endian = Big)]
pub struct FwCfgMem {
    /// Bytes of the data window.
    #[property(name = "data_width", default = 8u32)]
    pub data_width: u32,
    /// Whether there is a DMA interface.
    #[property(name = "dma_enabled", default = true)]
    pub dma_enabled: bool,
    /// How many files there can be.
    #[property(name = "x-file-slots", default = 0x20u16)]
    pub file_slots: u16,
    items: std::collections::BTreeMap<u16, Item>,
    /// In the order of their names, which is that of their keys.
    files: Vec<File>,
    directory: Vec<u8>,
    dma: Option<Dma>,

    #[state]
    regs: Registers,
}

impl FwCfgMem {
    /// The device with the items that every machine has, and its way to memory.
    pub fn new(dma: Option<Dma>) -> Self {
        let mut device = Self { dma, ..Self::default() };
        device.set_bytes(key::SIGNATURE, b"QEMU".to_vec());
        device.set_u32(key::ID, VERSION);
        device
    }

    /// Sets an item to bytes.
    pub fn set_bytes(&mut self, key: u16, data: Vec<u8>) {
        self.items.insert(key & !WRITE_CHANNEL, Item { data, ..Item::default() });
    }

    /// Sets an item to a text with a terminating zero.
    pub fn set_string(&mut self, key: u16, text: &str) {
        self.set_bytes(key, [text.as_bytes(), &[0]].concat());
    }

    /// Sets an item to a 16-bit number.
    pub fn set_u16(&mut self, key: u16, value: u16) {
        self.set_bytes(key, value.to_le_bytes().to_vec());
    }

    /// Sets an item to a 32-bit number.
    pub fn set_u32(&mut self, key: u16, value: u32) {
        self.set_bytes(key, value.to_le_bytes().to_vec());
    }

    /// Sets an item to a 64-bit number.
    pub fn set_u64(&mut self, key: u16, value: u64) {
        self.set_bytes(key, value.to_le_bytes().to_vec());
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The name is too long or taken, or there are too many files.
    pub fn add_file(&mut self, name: &str, data: Vec<u8>) -> base::Result<()> {
        self.add(name, Item { data, ..Item::default() })
    }

    /// Adds a file that the guest can write through DMA; `written` hears of it.
    ///
    /// # Errors
    /// As for [`FwCfgMem::add_file`].
    pub fn add_writable_file(
        &mut self,
        name: &str,
        data: Vec<u8>,
        written: Option<Written>,
    ) -> base::Result<()> {
        self.add(name, Item { data, written, writable: true })
    }

    /// Replaces the content of a file, or adds the file.
    ///
    /// # Errors
    /// As for [`FwCfgMem::add_file`].
    pub fn set_file(&mut self, name: &str, data: Vec<u8>) -> base::Result<()> {
        match self.files.iter_mut().find(|file| file.name == name) {
            Some(file) => {
                file.item.data = data;
                self.rebuild_directory();
                Ok(())
            }
            None => self.add_file(name, data),
        }
    }

    /// The names and sizes of the files, in the order of their keys.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().map(|file| (file.name.as_str(), file.item.data.len()))
    }

    fn add(&mut self, name: &str, item: Item) -> base::Result<()> {
        if name.len() >= NAME_SIZE {
            return Err(base::error!("name too long (max. {} char)", NAME_SIZE - 1));
        }
        if self.files.len() >= usize::from(self.file_slots) {
            return Err(base::error!("fw_cfg: there are {} files already", self.file_slots));
        }
        match self.files.binary_search_by(|file| file.name.as_str().cmp(name)) {
            Ok(_) => return Err(base::error!("duplicate fw_cfg file name: {name}")),
            Err(at) => self.files.insert(at, File { name: name.to_owned(), item }),
        }
        self.rebuild_directory();
        Ok(())
    }

    fn rebuild_directory(&mut self) {
        let mut directory = (self.files.len() as u32).to_be_bytes().to_vec();
        for (n, file) in self.files.iter().enumerate() {
            let key = key::FILE_FIRST.wrapping_add(n as u16);
            directory.extend_from_slice(&(file.item.data.len() as u32).to_be_bytes());
            directory.extend_from_slice(&key.to_be_bytes());
            directory.extend_from_slice(&[0, 0]);
            let mut name = file.name.as_bytes().to_vec();
            name.resize(NAME_SIZE, 0);
            directory.extend_from_slice(&name);
        }
        // The item has room for all the slots.
        directory.resize(4 + usize::from(self.file_slots) * (8 + NAME_SIZE), 0);
        self.directory = directory;
    }

    fn item_mut(&mut self, key: u16) -> Option<&mut Item> {
        let key = key & !WRITE_CHANNEL;
        match key.checked_sub(key::FILE_FIRST) {
            Some(n) if key & key::ARCH_LOCAL == 0 => {
                self.files.get_mut(usize::from(n)).map(|file| &mut file.item)
            }
            _ => self.items.get_mut(&key),
        }
    }

    fn data(&self, key: u16) -> &[u8] {
        let key = key & !WRITE_CHANNEL;
        if key == key::FILE_DIR {
            return &self.directory;
        }
        let item = match key.checked_sub(key::FILE_FIRST) {
            Some(n) if key & key::ARCH_LOCAL == 0 => self.files.get(usize::from(n)).map(|file| &file.item),
            _ => self.items.get(&key),
        };
        item.map_or(&[], |item| &item.data)
    }

    fn select(&mut self, key: u16) {
        self.regs.selected = key;
        self.regs.offset = 0;
    }

    /// The next byte of the item; zeros behind its end.
    fn next_byte(&mut self) -> u8 {
        let byte = self.data(self.regs.selected).get(self.regs.offset as usize).copied();
        if byte.is_some() {
            self.regs.offset = self.regs.offset.saturating_add(1);
        }
        byte.unwrap_or(0)
    }

    /// Performs the request whose descriptor lies at `address`.
    fn transfer(&mut self, address: u64) {
        let Some(dma) = self.dma.clone() else { return };
        let mut descriptor = [0; 16];
        if dma.read(address, &mut descriptor).is_err() {
            base::guest_error!("fw_cfg: there is no DMA descriptor at {address:#x}");
            let _ = dma.write(address, &control::ERROR.to_be_bytes());
            return;
        }
        let descriptor = u128::from_be_bytes(descriptor);
        let (command, length, buffer) =
            ((descriptor >> 96) as u32, (descriptor >> 64) as u32, descriptor as u64);
        if command & control::SELECT != 0 {
            self.select((command >> 16) as u16);
        }
        let result = if command & control::READ != 0 {
            self.transfer_to_guest(&dma, buffer, length)
        } else if command & control::WRITE != 0 {
            self.transfer_from_guest(&dma, buffer, length)
        } else {
            if command & control::SKIP != 0 {
                self.skip(length);
            }
            Ok(())
        };
        let answer = if result.is_ok() { 0 } else { control::ERROR };
        if dma.write(address, &answer.to_be_bytes()).is_err() {
            base::guest_error!("fw_cfg: the DMA descriptor at {address:#x} cannot be written");
        }
    }

    fn skip(&mut self, count: u32) {
        let length = self.data(self.regs.selected).len() as u32;
        let left = length.saturating_sub(self.regs.offset);
        self.regs.offset = self.regs.offset.saturating_add(count.min(left));
    }

    fn transfer_to_guest(&mut self, dma: &Dma, buffer: u64, length: u32) -> Result<(), memory::BusError> {
        let from = self.regs.offset as usize;
        let item = self.data(self.regs.selected).get(from..).unwrap_or(&[]);
        let item = item.get(..length as usize).unwrap_or(item);
        let copied = item.len();
        let mut result = dma.write(buffer, item);
        // What the item does not have reads as zeros. The first address outside of memory ends it.
        let zeros = vec![0; DMA_STEP.min(length as usize - copied)];
        let mut done = copied;
        while result.is_ok() && done < length as usize {
            let count = zeros.len().min(length as usize - done);
            result = dma.write(buffer.wrapping_add(done as u64), zeros.get(..count).unwrap_or(&[]));
            done += count;
        }
        self.regs.offset = self.regs.offset.saturating_add(copied as u32);
        result
    }

    fn transfer_from_guest(&mut self, dma: &Dma, buffer: u64, length: u32) -> Result<(), memory::BusError> {
        let (key, from) = (self.regs.selected, self.regs.offset as usize);
        let Some(item) = self.item_mut(key).filter(|item| item.writable) else {
            base::guest_error!("fw_cfg: item {key:#x} cannot be written");
            return Err(memory::BusError::Device);
        };
        let part = from.checked_add(length as usize).and_then(|end| item.data.get_mut(from..end));
        let Some(part) = part else {
            base::guest_error!("fw_cfg: a write goes beyond the end of item {key:#x}");
            return Err(memory::BusError::Device);
        };
        dma.read(buffer, part)?;
        if let Some(written) = &item.written {
            let (written, data) = (written.clone(), item.data.clone());
            object::defer(move || written(&data));
        }
        self.regs.offset = self.regs.offset.saturating_add(length);
        Ok(())
    }
}

impl Device for FwCfgMem {
    fn read(&mut self, region: usize, offset: u64, size: u32) -> u64 {
        match region {
            DATA => u64::from(self.next_byte()),
            DMA if self.dma_enabled => {
                let (_, value) = window(DMA_SIGNATURE, offset, size);
                value
            }
            _ => 0,
        }
    }

    fn write(&mut self, region: usize, offset: u64, size: u32, value: u64) -> Effect {
        match region {
            CTL => self.select(value as u16),
            // Writing through the data register has been abolished.
            DATA => {}
            _ if !self.dma_enabled => {}
            _ => match (size, offset) {
                (4, 0) => self.regs.dma_address = value << 32,
                (4, 4) => {
                    let address = std::mem::take(&mut self.regs.dma_address) | value;
                    self.transfer(address);
                }
                (8, 0) => {
                    self.regs.dma_address = 0;
                    self.transfer(value);
                }
                _ => base::guest_error!("fw_cfg: a DMA address is written in one or two words"),
            },
        }
        Effect::None
    }

    fn realize(&mut self) -> base::Result<()> {
        if self.file_slots < 0x10 {
            return Err(base::error!("\"file_slots\" must be at least 0x{:x}", 0x10));
        }
        self.rebuild_directory();
        Ok(())
    }
}

/// The bytes of a big-endian register that an access sees, as a number in the register's order.
fn window(register: u64, offset: u64, size: u32) -> (u64, u64) {
    let shift = 64u64.saturating_sub(8 * (offset + u64::from(size)));
    let mask = if size >= 8 { u64::MAX } else { (1 << (8 * size)) - 1 };
    (shift, register >> shift & mask)
}

#[cfg(test)]
#[path = "fw_cfg_test.rs"]
mod test;
