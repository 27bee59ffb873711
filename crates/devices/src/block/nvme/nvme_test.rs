//! A driver in a small guest memory, and one that means no good.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memory::{AddressSpace, Ram, Region, WHOLE};
use object::check::Random;
use object::{AnyDevice, Line, Node};

use super::*;
use crate::pci::{Function, Intx, PciBus};

const RAM: u64 = 0x8000_0000;
const BAR: u64 = 0x4000_0000;
const DATA: u64 = RAM + 0x10_0000;

/// A drive in memory.
struct Disk(Mutex<Vec<u8>>);

impl BlockDevice for Disk {
    fn len(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.0.lock().unwrap()[at..at + bytes.len()]);
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        self.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn read_only(&self) -> bool {
        false
    }
}

struct Driver {
    space: Arc<AddressSpace>,
    function: Arc<Function>,
    cell: Arc<DeviceCell<Nvme>>,
    tails: [u16; 2],
    heads: [u16; 2],
}

impl Driver {
    fn new() -> Self {
        let system = Region::container("system", WHOLE);
        system.add_subregion(RAM, &Region::ram("ram", Ram::anonymous(8 << 20).unwrap()));
        let space = AddressSpace::new("memory", &system);
        let memory = Region::container("memory", WHOLE);
        let io = Region::container("io", 0x1_0000);
        system.add_subregion(BAR, &Region::alias("low", &memory, BAR, 0x1_0000));
        let lines = [0, 1, 2, 3].map(|_| Line::to_fn(|_| ()));
        let bus = PciBus::root("pcie.0", &Node::new("PCIE"), memory, io, system, Intx::new(lines));
        let cell = DeviceCell::new(Nvme { serial: Serial("x".into()), max_queues: 4, ..Nvme::default() });
        Nvme::connect(&cell, Some(Arc::new(Disk(Mutex::new(vec![0; 4 << 20])))));
        // Another of 4096 bytes a block.
        let second =
            NvmeNamespace { nsid: 3, logical_block_size: object::Size(4096), ..NvmeNamespace::default() };
        Nvme::add_namespace(&cell, &second, Arc::new(Disk(Mutex::new(vec![0; 1 << 20])))).unwrap();
        let device: Arc<dyn AnyDevice> = cell.clone();
        let node = Node::for_device(device.clone());
        let function = bus.plug(&device, &node, None, false, false).unwrap();
        Box::leak(Box::new(node));
        let driver = Self { space, function, cell, tails: [0; 2], heads: [0; 2] };
        driver.map();
        driver
    }

    fn map(&self) {
        for (offset, value) in [(0x10, BAR), (0x14, 0), (4, 6)] {
            self.function.write_config(offset, 4, value).perform(&mut |_| ());
        }
    }

    fn read(&self, offset: u64) -> u64 {
        self.space.read_int(BAR + offset, 4).unwrap()
    }
    fn write(&self, offset: u64, value: u64) {
        let _ = self.space.write_int(BAR + offset, 4, value);
    }

    /// Enables the controller, and makes one pair of queues for data, all of 32 places.
    fn start(&mut self) {
        for (offset, value) in [(0x24, 0x001f_001f), (0x28, RAM), (0x2c, 0), (0x30, RAM + 0x1000), (0x34, 0)]
        {
            self.write(offset, value);
        }
        self.write(0x14, 0x0046_0001);
        assert_eq!(self.read(0x1c), 1);
        assert_eq!(self.command(0, &[5, 0, RAM + 0x3000, 0, 0x001f_0001, 1 | 1 << 16 | 2]), (0, 0));
        assert_eq!(self.command(0, &[1, 0, RAM + 0x2000, 0, 0x001f_0001, 1 | 1 << 16]), (0, 0));
    }

    /// Sends opcode, namespace, two pointers, and words 10 to 12; returns result and status.
    fn command(&mut self, queue: usize, words: &[u64]) -> (u32, u16) {
        let get = |n| words.get(n).copied().unwrap_or(0);
        let at = RAM + 0x2000 * queue as u64 + 64 * u64::from(self.tails[queue]);
        self.space.write(at, &[0; 64]).unwrap();
        for (offset, size, n) in
            [(0, 4, 0), (4, 4, 1), (24, 8, 2), (32, 8, 3), (40, 4, 4), (44, 4, 5), (48, 4, 6)]
        {
            self.space.write_int(at + offset, size, get(n)).unwrap();
        }
        self.space.write_int(at + 2, 2, 0x77).unwrap();
        self.tails[queue] = (self.tails[queue] + 1) % 32;
        self.write(0x1000 + 8 * queue as u64, self.tails[queue].into());
        let answer = RAM + 0x1000 + 0x2000 * queue as u64 + 16 * u64::from(self.heads[queue] % 32);
        let phase = u64::from((self.heads[queue] / 32).is_multiple_of(2));
        for _ in 0..5000 {
            let last = self.space.read_int(answer + 12, 4).unwrap();
            if last >> 16 & 1 == phase {
                assert_eq!(last & 0xffff, 0x77);
                self.heads[queue] = (self.heads[queue] + 1) % 64;
                self.write(0x1004 + 8 * queue as u64, u64::from(self.heads[queue] % 32));
                return (self.space.read_int(answer, 4).unwrap() as u32, (last >> 17) as u16);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("no answer to {words:x?}");
    }

    fn bytes(&self, at: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.space.read(at, &mut bytes).unwrap();
        bytes
    }
}

#[test]
fn identifies_itself_as_the_reference_does() {
    let mut driver = Driver::new();
    assert_eq!([0, 4, 8].map(|at| driver.read(at)), [0x0f01_07ff, 0x0040_0020, 0x0001_0400]);
    driver.start();
    assert_eq!(driver.command(0, &[6, 0, DATA, 0, 1]), (0, 0));
    let page = driver.bytes(DATA, 4096);
    assert_eq!(page[..5], [0x36, 0x1b, 0xf4, 0x1a, b'x']);
    assert_eq!(&page[24..39], b"QEMU NVMe Ctrl ");
    assert_eq!((page[77], &page[512..514]), (7, &[0x66, 0x44][..]));
    assert_eq!(driver.command(0, &[6, 1, DATA, 0, 0]), (0, 0));
    assert_eq!(driver.bytes(DATA, 8), 8192u64.to_le_bytes());
    assert_eq!(driver.command(0, &[6, 0, DATA, 0, 2]), (0, 0));
    assert_eq!(driver.bytes(DATA, 12), [1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(driver.command(0, &[0xa, 0, 0, 0, 7]), (0x0003_0003, 0));
    assert_eq!(driver.command(0, &[0xa, 0, 0, 0, 6]), (1, 0));
    assert_eq!(driver.command(0, &[2, 0xffff_ffff, DATA, 0, 2 | 127 << 16]), (0, 0));
    assert_eq!(driver.bytes(DATA, 4), [0, 0x43, 1, 100]);
    assert_eq!(driver.command(0, &[0x7f]), (0, 0x4001));
    assert_eq!(driver.command(0, &[6, 9, DATA, 0, 0xee]), (0, 0x4002));
    assert_eq!(driver.command(0, &[4, 0, 0, 0, 1]), (0, 0x410c), "a queue that is used");
    assert_eq!(driver.command(0, &[0, 0, 0, 0, 1]), (0, 0));
    assert_eq!(driver.command(0, &[4, 0, 0, 0, 1]), (0, 0));
}

#[test]
fn data_goes_to_the_drive_and_comes_back() {
    let mut driver = Driver::new();
    driver.start();
    // 64 blocks: a piece of a page, and a list of pages that go backwards.
    let text: Vec<u8> = (0..32768u32).map(|n| (n * 7 / 3) as u8).collect();
    let list = DATA + 0x40_000;
    let mut place = vec![(DATA + 0x800, 0x800usize)];
    for n in 0..8u64 {
        let page = DATA + 0x20_000 - 0x1000 * n;
        driver.space.write_int(list + 8 * n, 8, page).unwrap();
        place.push((page, if n == 7 { 0x800 } else { 0x1000 }));
    }
    let mut at = 0;
    for (address, size) in &place {
        driver.space.write(*address, &text[at..at + size]).unwrap();
        at += size;
    }
    assert_eq!(driver.command(1, &[1, 1, DATA + 0x800, list, 100, 0, 63]), (0, 0));
    assert_eq!(driver.command(1, &[5, 1, DATA + 0x800, list, 100, 0, 63]), (0, 0));
    assert_eq!(driver.command(1, &[0]), (0, 0x400b), "no namespace");
    assert_eq!(driver.command(1, &[0, 1]), (0, 0));
    assert_eq!(driver.command(1, &[2, 1, DATA + 0x10_0000, 0, 101, 0, 0]), (0, 0));
    assert_eq!(driver.bytes(DATA + 0x10_0000, 512), text[512..1024]);
    assert_eq!(driver.command(1, &[5, 1, DATA + 0x10_0000, 0, 102, 0, 0]), (0, 0x4285));
    assert_eq!(driver.command(1, &[8, 1, 0, 0, 101, 0, 0]), (0, 0));
    assert_eq!(driver.command(1, &[2, 1, DATA + 0x10_0000, 0, 101, 0, 0]), (0, 0));
    assert_eq!(driver.bytes(DATA + 0x10_0000, 512), [0; 512]);
    // A discard of one range.
    driver.space.write_int(DATA, 8, 8 << 32).unwrap();
    driver.space.write_int(DATA + 8, 8, 100).unwrap();
    assert_eq!(driver.command(1, &[9, 1, DATA, 0, 0, 4]), (0, 0));
    for (words, status) in [
        ([2, 1, DATA, 0, 8192, 0, 0], 0x4080),
        ([2, 1, DATA, 0, 8191, 0, 1], 0x4080),
        ([2, 1, DATA + 1, 0, 0, 0, 0], 0x4013),
        ([2, 1, DATA, DATA + 8, 0, 0, 15], 0x4013),
        ([2, 1, 0x10, 0, 0, 0, 0], 0x4004),
        ([2, 1, DATA, 0, 0, 0, 0x1000], 0x4002),
        ([2, 2, DATA, 0, 0, 0, 0], 0x400b),
        ([0x99, 1, DATA, 0, 0, 0, 0], 0x4001),
    ] {
        assert_eq!(driver.command(1, &words), (0, status), "{words:x?}");
    }
    // Around the ring and on.
    for _ in 0..70 {
        assert_eq!(driver.command(1, &[0, 1]), (0, 0));
    }
    // Off and on again.
    driver.write(0x14, 0);
    assert_eq!(driver.read(0x1c), 0);
    (driver.tails, driver.heads) = ([0; 2], [0; 2]);
    driver.space.write(RAM, &[0; 0x5000]).unwrap();
    driver.start();
    driver.write(0x14, 0x0046_4001);
    assert_eq!(driver.read(0x1c), 9, "shut down");
}

#[test]
fn namespaces_are_apart() {
    let mut driver = Driver::new();
    driver.start();
    assert_eq!(driver.command(0, &[6, 3, DATA, 0, 0]), (0, 0));
    let page = driver.bytes(DATA, 4096);
    assert_eq!((&page[..2], page[130]), (&256u16.to_le_bytes()[..], 12));
    // One that is not there is empty; one that cannot be is an error.
    assert_eq!(driver.command(0, &[6, 2, DATA, 0, 0]), (0, 0));
    assert_eq!(driver.bytes(DATA, 4096), [0; 4096]);
    assert_eq!(driver.command(0, &[6, 257, DATA, 0, 0]), (0, 0x400b));
    assert_eq!(driver.command(0, &[6, 1, DATA, 0, 2]), (0, 0));
    assert_eq!(driver.bytes(DATA, 8), [3, 0, 0, 0, 0, 0, 0, 0], "those after 1");
    // Names: the first has none, the second one that was made up.
    assert_eq!(driver.command(0, &[6, 1, DATA, 0, 3]), (0, 0));
    assert_eq!(driver.bytes(DATA, 8), [4, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(driver.command(0, &[6, 3, DATA, 0, 3]), (0, 0));
    let names = driver.bytes(DATA, 32);
    assert_eq!((&names[..4], names[10] >> 4, names[12] >> 6), (&[3, 16, 0, 0][..], 8, 2));
    assert_eq!(names[20..24], [4, 1, 0, 0]);
    assert_eq!(driver.command(0, &[6, 3, DATA, 0, 0x12]), (0, 0));
    assert_eq!(driver.bytes(DATA, 4), [1, 0, 0, 0], "one controller, number 0");
    assert_eq!(driver.command(0, &[6, 2, DATA, 0, 0x12]), (0, 0x4002));
    // The same block of both.
    for (number, byte) in [(1, 0x11), (3, 0x33)] {
        driver.space.write(DATA, &[byte; 4096]).unwrap();
        assert_eq!(driver.command(1, &[1, number, DATA, 0, 5, 0, 0]), (0, 0));
    }
    for (number, byte) in [(1, 0x11), (3, 0x33)] {
        assert_eq!(driver.command(1, &[2, number, DATA, 0, 5, 0, 0]), (0, 0));
        assert_eq!(driver.bytes(DATA, 8), [byte; 8]);
    }
    assert_eq!(driver.command(1, &[2, 3, DATA, 0, 256, 0, 0]), (0, 0x4080));
    assert_eq!(driver.command(1, &[0, 0xffff_ffff]), (0, 0), "a flush of both");
    let add = |nsid, size| {
        let wanted =
            NvmeNamespace { nsid, logical_block_size: object::Size(size), ..NvmeNamespace::default() };
        let drive = Arc::new(Disk(Mutex::new(vec![0; 4096])));
        Nvme::add_namespace(&driver.cell, &wanted, drive).map_err(|e| e.to_string())
    };
    assert_eq!(add(0, 0), Ok(2), "the first that is free");
    assert_eq!(add(3, 0), Err("namespace id '3' already allocated".to_owned()));
    assert_eq!(add(257, 0), Err("invalid namespace id (must be between 0 and 256)".to_owned()));
    assert!(add(0, 1000).is_err());
}

#[test]
fn hostile_drivers_do_no_harm() {
    let mut driver = Driver::new();
    let device: Arc<dyn AnyDevice> = driver.cell.clone();
    let mut random = Random::new(7);
    for _ in 0..30 {
        driver.map();
        driver.write(0x14, 0);
        (driver.tails, driver.heads) = ([0; 2], [0; 2]);
        driver.space.write(RAM, &[0; 0x5000]).unwrap();
        driver.start();
        for _ in 0..300 {
            let place = |random: &mut Random| match random.below(4) {
                0 => random.value(),
                _ => (RAM + random.below(8 << 20)) & !(random.below(2) * 0xfff),
            };
            match random.below(8) {
                // A command with something wrong in it, anywhere in a queue.
                0..=4 => {
                    let queue = random.below(2);
                    let at = RAM + 0x2000 * queue + 64 * random.below(32);
                    let opcodes = [0, 1, 2, 4, 5, 6, 8, 9, 0xa, 0xc, random.below(256)];
                    let opcode = opcodes[random.below(11) as usize];
                    let _ = driver.space.write_int(at, 4, opcode | random.below(65536) << 16);
                    let _ = driver.space.write_int(
                        at + 4,
                        4,
                        [0, 1, 3, 0xffff_ffff, random.value()][random.below(5) as usize],
                    );
                    for word in [24, 32] {
                        let _ = driver.space.write_int(at + word, 8, place(&mut random));
                    }
                    for word in [40, 44, 48] {
                        let _ = driver.space.write_int(at + word, 4, random.value());
                    }
                    driver.write(0x1000 + 8 * queue, random.below(34));
                }
                5 => driver.write(0x1004 + 8 * random.below(6), random.below(34)),
                6 => driver.write(random.below(16) * 4, random.value()),
                _ => {
                    driver.function.write_config(random.below(64) * 4, 4, random.value()).perform(&mut |_| ())
                }
            }
        }
    }
    Nvme::drain(&driver.cell);
    driver.map();
    object::check::check_device(&device, 1, 500).unwrap();
    Nvme::drain(&driver.cell);
}
