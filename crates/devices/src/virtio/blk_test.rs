use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use object::{AnyDevice, PropertyValue};
use state::{Loader, Saver};

use super::super::driver_test::{DATA, Driver};
use super::*;
use crate::common_test::Random;

/// A disk in memory.
#[derive(Default)]
struct Disk {
    bytes: Mutex<Vec<u8>>,
    flushes: AtomicU32,
    read_only: bool,
    /// Even sectors are at hand.
    at_hand: bool,
    /// How often that was used.
    now: AtomicU32,
}

impl Disk {
    fn new(read_only: bool) -> Arc<Disk> {
        let bytes = (0..1u32 << 20).map(|n| (n / 512) as u8).collect();
        Arc::new(Disk { bytes: Mutex::new(bytes), read_only, ..Disk::default() })
    }
}

impl BlockDevice for Disk {
    fn len(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn read_now(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let found = self.at_hand && (offset / 512).is_multiple_of(2);
        self.now.fetch_add(u32::from(found), SeqCst);
        found && self.read_at(offset, bytes).is_ok()
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.bytes.lock().unwrap()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, SeqCst);
        Ok(())
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
}

fn device(disk: &Arc<Disk>) -> Arc<DeviceCell<VirtioBlk>> {
    let cell = DeviceCell::new(VirtioBlk::new());
    VirtioBlk::connect(&cell, disk.clone());
    cell.set_property("serial", &PropertyValue::Str("abc".into())).unwrap();
    cell.realize().unwrap();
    cell
}

/// Sends a request with its header at `DATA` and its status right behind; returns status and length written.
fn request(
    driver: &mut Driver,
    kind: u32,
    sector: u64,
    out: &[(u64, u32)],
    into: &[(u64, u32)],
) -> (u8, u32) {
    driver.dma.write_u64(DATA, u64::from(kind)).unwrap();
    driver.dma.write_u64(DATA + 8, sector).unwrap();
    driver.dma.write_u8(DATA + 16, 0xee).unwrap();
    let readable = [&[(DATA, 16)], out].concat();
    let writable = [into, &[(DATA + 16, 1)]].concat();
    let head = driver.add(0, &readable, &writable);
    driver.kick(0);
    let (used, written) = driver.wait(0);
    assert_eq!(used, head);
    (driver.dma.read_u8(DATA + 16).unwrap(), written)
}

/// The bytes that QEMU 10.0.2 shows for a disk of 64 MiB.
#[test]
fn configuration() {
    let cell = DeviceCell::new(VirtioBlk::new());
    VirtioBlk::connect(&cell, Arc::new(backends::block::NullDevice { len: 64 << 20, read_only: false }));
    cell.realize().unwrap();
    let text: String = (0..60)
        .map(|at| format!("{:02x}", super::super::common::Function::read_config(&*cell, at, 1)))
        .collect();
    assert_eq!(
        text,
        "000002000000000000000000fe0000008200103f00020000000000000000000001000100ffff3f000100000001000000ffff3f000100000001000000"
    );
    for (legacy, features) in [(true, 0x3100_6e54_u64), (false, 0x101_3000_6e54)] {
        assert_eq!(Driver::plug(device(&Disk::new(false)), legacy).offered(), features);
    }
}

#[test]
fn reads_and_writes() {
    for legacy in [true, false] {
        let disk = Disk::new(false);
        let mut driver = Driver::start(device(&disk), legacy, 0);
        let buffer = DATA + 0x1000;
        let (status, written) = request(&mut driver, 0, 3, &[], &[(buffer, 700), (buffer + 700, 324)]);
        assert_eq!((status, written), (0, 1025));
        assert_eq!(driver.bytes(buffer, 1024), [vec![3; 512], vec![4; 512]].concat());
        assert_eq!((driver.irq.level(), driver.read(0x60)), (true, 1));
        driver.write(0x64, 1);
        assert!(!driver.irq.level());
        assert_eq!(request(&mut driver, 1, 8, &[(buffer, 1024)], &[]), (0, 1));
        assert_eq!(disk.bytes.lock().unwrap()[8 * 512 - 1..][..3], [7, 3, 3]);
        assert_eq!(request(&mut driver, 4, 0, &[], &[]), (0, 1));
        assert_eq!(disk.flushes.load(SeqCst), 1);
        assert_eq!(request(&mut driver, 8, 0, &[], &[(buffer, 20)]), (0, 21));
        assert_eq!(driver.bytes(buffer, 4), b"abc\0");
        // Beyond the end, not a whole sector, unknown.
        assert_eq!(request(&mut driver, 0, 2048, &[], &[(buffer, 512)]), (1, 1));
        assert_eq!(request(&mut driver, 0, u64::MAX, &[], &[(buffer, 512)]), (1, 1));
        assert_eq!(request(&mut driver, 0, 0, &[], &[(buffer, 100)]), (1, 1));
        assert_eq!(request(&mut driver, 77, 0, &[], &[(buffer, 512)]), (2, 1));
    }
}

#[test]
fn a_short_read_that_is_at_hand_is_answered_at_once() {
    let disk = Arc::new(Disk { at_hand: true, ..Arc::try_unwrap(Disk::new(false)).unwrap_or_default() });
    let mut driver = Driver::start(device(&disk), false, 0);
    let buffer = DATA + 0x1000;
    for (sector, bytes, now) in [(2, 512, 1), (3, 512, 1), (4, 32 << 10, 2), (4, 33 << 10, 2), (6, 1024, 3)] {
        assert_eq!(request(&mut driver, 0, sector, &[], &[(buffer, bytes)]), (0, bytes + 1));
        assert_eq!(driver.bytes(buffer, 512), vec![sector as u8; 512]);
        assert_eq!(disk.now.load(SeqCst), now, "sector {sector}, {bytes} bytes");
    }
    // Beyond the end, and nowhere.
    assert_eq!(request(&mut driver, 0, 2048, &[], &[(buffer, 512)]), (1, 1));
    assert_eq!(request(&mut driver, 1, 8, &[(buffer, 1024)], &[]), (0, 1));
    // Several at once: the first by who rings, the others by workers.
    for n in 0..4 {
        driver.dma.write_u64(DATA + 32 * n, 0).unwrap();
        driver.dma.write_u64(DATA + 32 * n + 8, 2 * n).unwrap();
        driver.add(0, &[(DATA + 32 * n, 16)], &[(buffer + 512 * n, 512), (DATA + 32 * n + 16, 1)]);
    }
    driver.kick(0);
    (0..4).for_each(|_| assert_eq!(driver.wait(0).1, 513));
    assert_eq!(driver.bytes(buffer + 512, 1024), [vec![2; 512], vec![4; 512]].concat());
}

#[test]
fn discards_and_zeroes() {
    let disk = Disk::new(false);
    let mut driver = Driver::start(device(&disk), false, 0);
    let segment = DATA + 0x1000;
    let set = |driver: &Driver, sector: u64, count: u32, flags: u32| {
        driver.dma.write_u64(segment, sector).unwrap();
        driver.dma.write_u32(segment + 8, count).unwrap();
        driver.dma.write_u32(segment + 12, flags).unwrap();
    };
    set(&driver, 5, 2, 1);
    assert_eq!(request(&mut driver, 13, 0, &[(segment, 16)], &[]), (0, 1));
    assert_eq!(disk.bytes.lock().unwrap()[5 * 512 - 1..][..1026], [vec![4], vec![0; 1024], vec![7]].concat());
    assert_eq!(request(&mut driver, 11, 0, &[(segment, 16)], &[]), (2, 1));
    set(&driver, 5, 2, 0);
    assert_eq!(request(&mut driver, 11, 0, &[(segment, 16)], &[]), (0, 1));
    set(&driver, u64::MAX / 256, 2, 0);
    assert_eq!(request(&mut driver, 13, 0, &[(segment, 16)], &[]), (1, 1));
    set(&driver, 0, 0x40_0000, 0);
    assert_eq!(request(&mut driver, 13, 0, &[(segment, 16)], &[]), (1, 1));
    assert_eq!(request(&mut driver, 13, 0, &[(segment, 15)], &[]), (1, 1));
}

#[test]
fn read_only_disks() {
    let disk = Disk::new(true);
    let mut driver = Driver::start(device(&disk), false, 0);
    assert_ne!(driver.offered() & 1 << 5, 0);
    assert_eq!(request(&mut driver, 1, 0, &[(DATA + 0x1000, 512)], &[]), (1, 1));
    assert_eq!(disk.bytes.lock().unwrap()[0], 0);
}

#[test]
fn write_through() {
    // A driver that does not know of flushes.
    let disk = Disk::new(false);
    let mut driver = Driver::start(device(&disk), false, 1 << 9 | 1 << 11);
    assert_eq!(request(&mut driver, 1, 0, &[(DATA + 0x1000, 512)], &[]), (0, 1));
    assert_eq!(disk.flushes.load(SeqCst), 1);
    // One that switches the cache off.
    let mut driver = Driver::start(device(&disk), false, 0);
    assert_eq!(request(&mut driver, 1, 0, &[(DATA + 0x1000, 512)], &[]), (0, 1));
    assert_eq!(disk.flushes.load(SeqCst), 1);
    driver.mmio.write(0, 0x120, 1, 0);
    assert_eq!(driver.mmio.read(0, 0x120, 1), 0);
    assert_eq!(request(&mut driver, 1, 0, &[(DATA + 0x1000, 512)], &[]), (0, 1));
    assert_eq!(disk.flushes.load(SeqCst), 2);
}

#[test]
fn many_at_once() {
    let disk = Disk::new(false);
    let mut driver = Driver::start(device(&disk), false, 0);
    for round in 0..50u64 {
        for n in 0..20u64 {
            let header = DATA + 0x100 * n;
            driver.dma.write_u64(header, 0).unwrap();
            driver.dma.write_u64(header + 8, round + n).unwrap();
            driver.add(0, &[(header, 16)], &[(DATA + 0x1_0000 + 512 * n, 512), (header + 16, 1)]);
        }
        driver.kick(0);
        for _ in 0..20 {
            assert_eq!(driver.wait(0).1, 513);
        }
        for n in 0..20 {
            assert_eq!(driver.bytes(DATA + 0x1_0000 + 512 * n, 1)[0], (round + n) as u8);
        }
    }
}

#[test]
fn a_broken_ring_needs_a_reset() {
    let mut driver = Driver::start(device(&Disk::new(false)), false, 0);
    // A request without a status.
    driver.add(0, &[(DATA, 16)], &[]);
    driver.kick(0);
    while driver.read(0x70) != 0x4f {
        std::thread::yield_now();
    }
    assert_eq!(driver.read(0x60), 2);
    driver.write(0x50, 0);
    driver.initialize(0);
    assert!(!driver.irq.level());
    assert_eq!(request(&mut driver, 0, 0, &[], &[(DATA + 0x1000, 512)]), (0, 513));
    // A buffer that is nowhere.
    driver.dma.write_u64(DATA, 0).unwrap();
    driver.dma.write_u64(DATA + 8, 0).unwrap();
    driver.add(0, &[(DATA, 16)], &[(0x1000, 512), (DATA + 16, 1)]);
    driver.kick(0);
    while driver.read(0x70) != 0x4f {
        std::thread::yield_now();
    }
}

#[test]
fn requests_survive_saving() {
    let disk = Disk::new(false);
    let first = device(&disk);
    let mut driver = Driver::start(first.clone(), false, 0);
    assert_eq!(request(&mut driver, 0, 0, &[], &[(DATA + 0x1000, 512)]), (0, 513));
    VirtioBlk::drain(&first);
    let mut out = Saver::new();
    first.save(0, &mut out);
    driver.mmio.save(0, &mut out);
    driver.write(0x70, 0);
    let mut from = Loader::new(out.bytes());
    first.load(0, &mut from).unwrap();
    driver.mmio.load(0, &mut from).unwrap();
    assert_eq!(request(&mut driver, 0, 9, &[], &[(DATA + 0x1000, 512)]), (0, 513));
    assert_eq!(driver.bytes(DATA + 0x1000, 1), [9]);
}

/// Random rings and resets while requests are under way: no panic, no hang, and afterwards a driver that
/// behaves is served.
#[test]
fn hostile_rings() {
    for packed in [false, true] {
        let mut random = Random::new("hostile block driver");
        let disk = Disk::new(false);
        let cell = device(&disk);
        cell.with(|blk| blk.packed = packed);
        let mut driver = Driver::start(cell, false, 0);
        for round in 0..300 {
            driver.rubbish(0, &mut random);
            for at in 0..1000 {
                driver.dma.write_u64(DATA + 8 * at, random.below(16)).unwrap();
            }
            driver.write(0x50, 0);
            match random.below(4) {
                0 => driver.write(0xc0, 1),
                1 => driver.write(0x70, 0),
                _ => {}
            }
            if round % 4 == 0 {
                driver.initialize(0);
            }
        }
        driver.initialize(0);
        assert_eq!(request(&mut driver, 0, 1, &[], &[(DATA + 0x1000, 512)]), (0, 513));
    }
}

/// Requests of several sizes around a packed ring many times, saved and loaded on the way.
#[test]
fn a_packed_ring() {
    for refuse in [0, 1 << 29] {
        let disk = Disk::new(false);
        let cell = device(&disk);
        cell.with(|blk| blk.packed = true);
        let mut driver = Driver::start(cell.clone(), false, refuse);
        let buffer = DATA + 0x1000;
        for n in 0..300u64 {
            let parts = [(buffer, 256), (buffer + 256, 256), (buffer + 512, 512)];
            let parts = &parts[..[1, 2, 3][n as usize % 3]];
            let length = parts.iter().map(|(_, length)| length).sum::<u32>();
            if length.is_multiple_of(512) {
                assert_eq!(request(&mut driver, 0, n % 1000, &[], parts), (0, length + 1));
                assert_eq!(driver.bytes(buffer, 1), [(n % 1000) as u8]);
            } else {
                assert_eq!(request(&mut driver, 0, n, &[], parts).0, 1, "no whole sectors");
            }
            assert!(driver.irq.level());
            driver.write(0x64, 1);
            if n % 50 == 7 {
                let mut saver = Saver::new();
                AnyDevice::save(&*cell, 0, &mut saver);
                let bytes = saver.into_bytes();
                AnyDevice::load(&*cell, 0, &mut Loader::new(&bytes)).unwrap();
            }
        }
    }
}

#[test]
fn configuration_is_checked() {
    let refused = |name: &str, value: PropertyValue| {
        let cell = DeviceCell::new(VirtioBlk::new());
        VirtioBlk::connect(&cell, Disk::new(false));
        cell.set_property(name, &value).unwrap();
        cell.realize().unwrap_err().message().to_owned()
    };
    assert!(refused("logical_block_size", PropertyValue::Uint(1000)).contains("must be a power of 2"));
    assert!(refused("queue-size", PropertyValue::Uint(100)).contains("queue-size"));
    assert!(refused("num-queues", PropertyValue::Uint(0)).contains("num-queues"));
    assert_eq!(DeviceCell::new(VirtioBlk::new()).realize().unwrap_err().message(), "drive property not set");
}
