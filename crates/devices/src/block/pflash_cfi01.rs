//! Parallel NOR flash with the Intel command set: "cfi.pflash01".
//!
//! Documents: JEDEC JESD68.01, Common Flash Interface; JEDEC JEP137; Intel 28F128J3 and Numonyx P30 data sheets.
//!
//! A bank is one or more chips side by side (`width` over `device-width`): each lane of the bus sees commands
//! and answers of its own chip, and all chips are given the same commands. While the chips are in the mode
//! "read array" the bank is memory to the guest, and reads cost nothing; any other mode takes reads to the
//! device. Programming takes no time. As in QEMU, programming overwrites instead of only clearing bits, and
//! lock bits are accepted but do not protect. Left out: suspending, OTP registers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use backends::block::{BlockDevice, BlockQueue, Request};
use memory::{DirtyClient, PageSource, Port, Ram, Region};
use object::{Device, DeviceCell, Effect};
use state::State;

/// The unit in which changes are written back.
const SECTOR: u64 = 512;
/// At most so many sectors are written back in one request.
const WRITE_BACK: u64 = 2048;

/// Bytes of the write buffer of one chip.
const WRITE_BUFFER: u32 = 1 << 11;

/// Status register.
mod status {
    pub const PROGRAM_ERROR: u8 = 1 << 4;
    pub const ERASE_ERROR: u8 = 1 << 5;
    pub const READY: u8 = 1 << 7;
}

/// Commands.
mod command {
    pub const READ_ARRAY: u8 = 0xff;
    pub const READ_ARRAY_AMD: u8 = 0xf0;
    pub const READ_ID: u8 = 0x90;
    pub const READ_QUERY: u8 = 0x98;
    pub const READ_STATUS: u8 = 0x70;
    pub const CLEAR_STATUS: u8 = 0x50;
    pub const BLOCK_ERASE: u8 = 0x20;
    pub const BLOCK_ERASE_2: u8 = 0x28;
    pub const PROGRAM: u8 = 0x40;
    pub const PROGRAM_2: u8 = 0x10;
    pub const WRITE_TO_BUFFER: u8 = 0xe8;
    pub const LOCK_SETUP: u8 = 0x60;
    pub const CONFIRM: u8 = 0xd0;
    pub const LOCK: u8 = 0x01;
    pub const UNLOCK: u8 = 0xd0;
}

/// What reads give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, State)]
enum Mode {
    #[default]
    Array,
    Id,
    Query,
    Status,
}

/// What the next write is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, State)]
enum Expect {
    #[default]
    Command,
    EraseConfirm,
    ProgramData,
    BufferCount,
    BufferData,
    BufferConfirm,
    LockConfirm,
}

/// The state machine. The content is saved as memory.
#[derive(Clone, Debug, Default, State)]
#[state(name = "pflash_cfi01")]
pub struct Registers {
    mode: Mode,
    expect: Expect,
    status: u8,
    /// Words of a buffered write still to come.
    count: u32,
    /// The block that the buffered write is for.
    block: u64,
    /// The buffered writes: offset, size, value.
    buffer: Vec<(u64, u8, u64)>,
}

/// The device.
#[derive(Device)]
#[device(name = "cfi.pflash01", parent = "sys-bus-device", bus = "System", category = "storage")]
#[mmio(
    name = if self.name.is_empty() { "pflash" } else { self.name.as_str() },
    size = self.size(),
    access = 1..=8,
    implemented = 1..=4
)]
pub struct PflashCfi01 {
    /// Id of the drive that holds the content.
    #[property]
    pub drive: String,
    /// Number of blocks.
    #[property(default = 0u32)]
    pub num_blocks: u32,
    /// Bytes of a block.
    #[property(default = 0u64)]
    pub sector_length: u64,
    /// Bytes of the bank's bus.
    #[property(default = 0u8)]
    pub width: u8,
    /// Bytes of one chip's bus.
    #[property(default = 0u8)]
    pub device_width: u8,
    /// Widest bus a chip can have.
    #[property(default = 0u8)]
    pub max_device_width: u8,
    /// Manufacturer code.
    #[property(default = 0u16)]
    pub id0: u16,
    /// Device code.
    #[property(default = 0u16)]
    pub id1: u16,
    /// Second device code.
    #[property(default = 0u16)]
    pub id2: u16,
    /// Third device code.
    #[property(default = 0u16)]
    pub id3: u16,
    /// Name of the memory region.
    #[property]
    pub name: String,
    ram: Option<Arc<Ram>>,
    region: Weak<Region>,
    store: Option<BlockQueue>,
    /// Sectors that differ from the store's.
    changed: BTreeSet<u64>,
    /// A request to the store is under way.
    writing: bool,
    this: Weak<DeviceCell<Self>>,
    read_only: bool,
    /// What the region is asked to be; shared with the effects under way.
    romd: Arc<Mutex<bool>>,

    #[state]
    regs: Registers,
}

/// What an erased flash holds.
struct Erased;

impl PageSource for Erased {
    fn page(&self, _: u64, into: &mut [u8; base::PAGE_SIZE as usize]) -> Result<(), String> {
        into.fill(0xff);
        Ok(())
    }
}

impl PflashCfi01 {
    /// A bank as the `virt` board has it: blocks of 256 KiB, two 16-bit chips side by side.
    pub fn virt(name: &str, size: u64) -> Self {
        Self {
            name: name.to_owned(),
            num_blocks: (size / 0x4_0000) as u32,
            sector_length: 0x4_0000,
            width: 4,
            device_width: 2,
            max_device_width: 2,
            id0: 0x89,
            id1: 0x18,
            ..Self::default()
        }
    }

    /// Bytes of the bank.
    pub fn size(&self) -> u64 {
        u64::from(self.num_blocks).saturating_mul(self.sector_length)
    }

    /// Gives the device its memory, already filled with the content, and the drive to which what the guest
    /// programs is written back (`None`: nowhere). A drive that cannot be written makes the flash read-only.
    /// Returns the region to be mapped.
    ///
    /// # Errors
    /// The memory has another size than the bank.
    pub fn connect(
        cell: &Arc<DeviceCell<Self>>,
        ram: &Arc<Ram>,
        drive: Option<Arc<dyn BlockDevice>>,
    ) -> base::Result<Arc<Region>> {
        let Some(port) = Port::new(cell, 0) else { return Err("the flash has no window".into()) };
        cell.with(|device| {
            if ram.len() != device.size() {
                return Err(base::error!(
                    "device requires {} bytes, its memory has {} bytes",
                    device.size(),
                    ram.len()
                ));
            }
            let region = Region::rom_device(&device.name, ram.clone(), port);
            device.ram = Some(ram.clone());
            device.region = Arc::downgrade(&region);
            device.this = Arc::downgrade(cell);
            device.read_only = drive.as_ref().is_some_and(|drive| drive.read_only());
            device.store = drive.map(BlockQueue::new);
            ram.log_dirty(DirtyClient::WriteBack, device.store.is_some() && !device.read_only);
            Ok(region)
        })
    }

    /// Makes the content that of an erased flash. Pages take memory of the host only when somebody looks at them.
    pub fn erase_all(ram: &Ram) {
        ram.replace(Arc::new(Erased), |_| false);
    }

    /// Reads the content of a drive into the memory of a bank, as the board does before the guest runs.
    ///
    /// # Errors
    /// The drive has another size, or cannot be read.
    pub fn fill(ram: &Ram, drive: &dyn BlockDevice) -> base::Result<()> {
        if drive.len() != ram.len() {
            return Err(base::error!(
                "device requires {} bytes, block backend provides {} bytes",
                ram.len(),
                drive.len()
            ));
        }
        let mut chunk = vec![0; 1 << 20];
        let mut offset = 0;
        while offset < ram.len() {
            let count = chunk.len().min((ram.len() - offset) as usize);
            let part = chunk.get_mut(..count).unwrap_or_default();
            drive.read_at(offset, part).map_err(|error| {
                base::Error::new("failed to read the initial flash content").because(error)
            })?;
            ram.write(offset, part);
            offset += count as u64;
        }
        Ok(())
    }

    /// Writes back what has not been yet, and waits for it. For the end of the program.
    pub fn flush(cell: &DeviceCell<Self>) {
        // A completion takes the device's lock, so that nothing may be waited for while holding it.
        let Some(store) = cell.with(|device| device.store.take()) else { return };
        store.drain();
        cell.with(|device| {
            device.store = Some(store);
            device.writing = false;
            while let Some((offset, data)) = device.next_write() {
                if let Some(store) = &device.store {
                    report(store.device().write_at(offset, &data));
                }
            }
        });
    }

    fn chip_width(&self) -> u8 {
        if self.device_width != 0 { self.device_width } else { self.width }
    }

    /// A chip's answer in every lane that an access of `size` bytes sees.
    fn in_all_lanes(&self, answer: u64, size: u32) -> u64 {
        let lane = 8 * u32::from(self.chip_width().clamp(1, 8));
        let mask = if lane >= 64 { u64::MAX } else { (1 << lane) - 1 };
        let mut value = answer & mask;
        let mut filled = lane;
        while filled < 8 * size {
            value |= (answer & mask).checked_shl(filled).unwrap_or(0);
            filled += lane;
        }
        value
    }

    /// The address within a chip, in words of its bus, that a byte offset selects.
    fn chip_address(&self, offset: u64) -> u64 {
        let widest = if self.max_device_width != 0 { self.max_device_width } else { self.chip_width() };
        // A chip that is run narrower than it could be is addressed in words of its widest bus.
        let narrow = u64::from(widest.max(1) / self.chip_width().max(1)).max(1);
        offset / u64::from(self.width.max(1)) / narrow
    }

    fn id(&self, offset: u64, size: u32) -> u64 {
        let answer = match self.chip_address(offset) & 0xff {
            0 => self.id0,
            1 => self.id1,
            // The lock bits: unlocked.
            _ => 0,
        };
        self.in_all_lanes(u64::from(answer), size)
    }

    /// One byte of the query structure (JESD68.01, tables "Query structure output" and following).
    fn query(&self, address: u64) -> u8 {
        let chips = (self.width / self.chip_width().max(1)).max(1);
        let chip_size = self.size() / u64::from(chips);
        let chip_block = self.sector_length / u64::from(chips);
        let blocks = self.num_blocks.wrapping_sub(1);
        match address {
            0x10 => b'Q',
            0x11 => b'R',
            0x12 => b'Y',
            // Primary command set: Intel extended; its table is at 0x31.
            0x13 => 1,
            0x15 => 0x31,
            // Supply voltage, 4.5 V to 5.5 V, and no programming voltage.
            0x1b => 0x45,
            0x1c => 0x55,
            // Typical times: word and buffer write 2^7 us, block erase 2^10 ms; at most 2^4 times that.
            0x1f | 0x20 => 7,
            0x21 => 10,
            0x23..=0x25 => 4,
            0x27 => chip_size.checked_ilog2().unwrap_or(0) as u8,
            // x8 and x16 interface.
            0x28 => 2,
            0x2a => WRITE_BUFFER.ilog2() as u8,
            // One erase region.
            0x2c => 1,
            0x2d => blocks as u8,
            0x2e => (blocks >> 8) as u8,
            0x2f => (chip_block >> 8) as u8,
            0x30 => (chip_block >> 16) as u8,
            0x31 => b'P',
            0x32 => b'R',
            0x33 => b'I',
            0x34 => b'1',
            0x35 => b'0',
            // One protection field.
            0x3f => 1,
            _ => 0,
        }
    }

    fn read_array(&self, offset: u64, size: u32) -> u64 {
        match &self.ram {
            Some(ram) if offset.checked_add(u64::from(size)).is_some_and(|end| end <= ram.len()) => {
                ram.read_int(offset, size)
            }
            _ => 0,
        }
    }

    /// Whether the guest's bytes at `offset` may be changed; else an error goes to the status.
    fn writable(&mut self, error: u8) -> bool {
        if self.read_only {
            self.regs.status |= error;
        }
        !self.read_only
    }

    fn program(&mut self, offset: u64, size: u32, value: u64) {
        if !self.writable(status::PROGRAM_ERROR) {
            return;
        }
        let Some(ram) = &self.ram else { return };
        if offset.checked_add(u64::from(size)).is_none_or(|end| end > ram.len()) {
            return;
        }
        ram.write_int(offset, size, value);
        ram.mark_dirty(offset, u64::from(size));
        self.write_back(offset, u64::from(size));
    }

    fn erase(&mut self, offset: u64) {
        if !self.writable(status::ERASE_ERROR) || self.sector_length == 0 {
            return;
        }
        let start = offset / self.sector_length * self.sector_length;
        let Some(ram) = &self.ram else { return };
        if start.checked_add(self.sector_length).is_none_or(|end| end > ram.len()) {
            return;
        }
        ram.fill(start, self.sector_length, 0xff);
        ram.mark_dirty(start, self.sector_length);
        self.write_back(start, self.sector_length);
    }

    /// Notes that a range has to be written back, and begins to.
    fn write_back(&mut self, offset: u64, count: u64) {
        if self.store.is_some() {
            self.changed.extend(offset / SECTOR..(offset + count).div_ceil(SECTOR));
            self.write_some();
        }
    }

    /// The next run of changed sectors.
    fn next_write(&mut self) -> Option<(u64, Vec<u8>)> {
        let first = *self.changed.first()?;
        let mut end = first;
        while end - first < WRITE_BACK && self.changed.remove(&end) {
            end += 1;
        }
        let ram = self.ram.as_ref()?;
        let (start, end) = (first * SECTOR, (end * SECTOR).min(ram.len()));
        let mut data = vec![0; end.saturating_sub(start) as usize];
        ram.read(start, &mut data);
        Some((start, data))
    }

    /// One request at a time, since two writes of the same sector could overtake each other.
    fn write_some(&mut self) {
        if self.writing || self.store.is_none() {
            return;
        }
        let Some((offset, bytes)) = self.next_write() else { return };
        let Some(store) = &self.store else { return };
        self.writing = true;
        let this = self.this.clone();
        store.submit(Request::Write { offset, bytes }, move |result| {
            report(result.map(|_| ()));
            if let Some(cell) = this.upgrade() {
                cell.with(|device| {
                    device.writing = false;
                    device.write_some();
                });
            }
        });
    }

    fn command(&mut self, offset: u64, value: u64) {
        let command = value as u8;
        let (mode, expect) = match command {
            command::READ_ARRAY | command::READ_ARRAY_AMD | 0 => (Mode::Array, Expect::Command),
            command::READ_ID => (Mode::Id, Expect::Command),
            command::READ_QUERY => (Mode::Query, Expect::Command),
            command::READ_STATUS => (Mode::Status, Expect::Command),
            command::CLEAR_STATUS => {
                self.regs.status = 0;
                (self.regs.mode, Expect::Command)
            }
            command::BLOCK_ERASE | command::BLOCK_ERASE_2 => (Mode::Status, Expect::EraseConfirm),
            command::PROGRAM | command::PROGRAM_2 => (Mode::Status, Expect::ProgramData),
            command::WRITE_TO_BUFFER => (Mode::Status, Expect::BufferCount),
            command::LOCK_SETUP => (Mode::Status, Expect::LockConfirm),
            _ => {
                base::guest_error!("pflash: command {command:#04x} at {offset:#x} is unknown");
                (Mode::Array, Expect::Command)
            }
        };
        self.regs.mode = mode;
        self.regs.expect = expect;
    }

    /// The chips find the sequence of commands wrong: both error bits, and the status is read.
    fn sequence_error(&mut self) {
        self.regs.status |= status::PROGRAM_ERROR | status::ERASE_ERROR;
        self.regs.buffer.clear();
        self.regs.mode = Mode::Status;
        self.regs.expect = Expect::Command;
    }

    fn continue_command(&mut self, offset: u64, size: u32, value: u64) {
        let command = value as u8;
        match self.regs.expect {
            Expect::Command => self.command(offset, value),
            Expect::EraseConfirm => {
                self.regs.expect = Expect::Command;
                match command {
                    command::CONFIRM => self.erase(offset),
                    command::READ_ARRAY => self.regs.mode = Mode::Array,
                    _ => self.sequence_error(),
                }
            }
            Expect::ProgramData => {
                self.program(offset, size, value);
                self.regs.expect = Expect::Command;
            }
            Expect::BufferCount => {
                let lane = 8 * u32::from(self.chip_width().clamp(1, 4));
                let words = (value & ((1 << lane) - 1)) + 1;
                if words * u64::from(self.chip_width().max(1)) > u64::from(WRITE_BUFFER) {
                    self.sequence_error();
                    return;
                }
                self.regs.count = words as u32;
                self.regs.block = offset / self.sector_length.max(1);
                self.regs.buffer.clear();
                self.regs.expect = Expect::BufferData;
            }
            Expect::BufferData => {
                if offset / self.sector_length.max(1) != self.regs.block {
                    self.sequence_error();
                    return;
                }
                self.regs.buffer.push((offset, size as u8, value));
                self.regs.count = self.regs.count.saturating_sub(1);
                if self.regs.count == 0 {
                    self.regs.expect = Expect::BufferConfirm;
                }
            }
            Expect::BufferConfirm => {
                if command != command::CONFIRM {
                    self.sequence_error();
                    return;
                }
                for (offset, size, value) in std::mem::take(&mut self.regs.buffer) {
                    self.program(offset, u32::from(size), value);
                }
                self.regs.expect = Expect::Command;
            }
            Expect::LockConfirm => {
                self.regs.expect = Expect::Command;
                match command {
                    command::LOCK | command::UNLOCK => {}
                    command::READ_ARRAY => self.regs.mode = Mode::Array,
                    _ => self.sequence_error(),
                }
            }
        }
    }

    /// The effect that makes the region memory or registers, as the mode asks.
    fn show(&self) -> Effect {
        let wanted = self.regs.mode == Mode::Array;
        let romd = self.romd.clone();
        let mut shown = romd.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown == wanted {
            return Effect::None;
        }
        *shown = wanted;
        drop(shown);
        let region = self.region.clone();
        Effect::change_layout(move || {
            // Of several effects under way the last decides, in whatever order they come.
            let wanted = romd.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(region) = region.upgrade() {
                region.set_romd(*wanted);
            }
        })
    }
}

fn report(result: std::io::Result<()>) {
    if let Err(error) = result {
        base::log::write(format_args!("pflash: the content cannot be written back: {error}\n"));
    }
}

impl Device for PflashCfi01 {
    fn read(&mut self, _: usize, offset: u64, size: u32) -> u64 {
        match self.regs.mode {
            Mode::Array => self.read_array(offset, size),
            Mode::Id => self.id(offset, size),
            Mode::Query => {
                let answer = self.query(self.chip_address(offset));
                self.in_all_lanes(u64::from(answer), size)
            }
            Mode::Status => self.in_all_lanes(u64::from(self.regs.status | status::READY), size),
        }
    }

    fn write(&mut self, _: usize, offset: u64, size: u32, value: u64) -> Effect {
        self.continue_command(offset, size, value);
        self.show()
    }

    fn realize(&mut self) -> base::Result<()> {
        if self.sector_length == 0 {
            return Err("attribute \"sector-length\" not specified or zero.".into());
        }
        if self.num_blocks == 0 {
            return Err("attribute \"num-blocks\" not specified or zero.".into());
        }
        if self.name.is_empty() {
            return Err("attribute \"name\" not specified.".into());
        }
        if !matches!(self.width, 1 | 2 | 4) || self.chip_width() > self.width {
            return Err(base::error!("pflash: a bus of {} bytes cannot be made of such chips", self.width));
        }
        *self.romd.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }

    fn reset(&mut self) {
        self.reset_state();
        let effect = self.show();
        object::defer(move || effect.perform(&mut |_| ()));
    }

    fn loaded(&mut self) -> Result<(), String> {
        if self.regs.buffer.len() > WRITE_BUFFER as usize {
            return Err("the write buffer is too full".to_owned());
        }
        // What the snapshot has put into memory has to reach the drive.
        if let Some(ram) = self.ram.clone() {
            let pages = ram.take_dirty(DirtyClient::WriteBack, 0, ram.len());
            pages.into_iter().for_each(|page| self.write_back(page, base::PAGE_SIZE));
        }
        let effect = self.show();
        object::defer(move || effect.perform(&mut |_| ()));
        Ok(())
    }
}

#[cfg(test)]
#[path = "pflash_cfi01_test.rs"]
mod test;
