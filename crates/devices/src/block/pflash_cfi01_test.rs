use std::io;

use memory::{AddressSpace, Dma};
use object::AnyDevice;

use super::*;

const SIZE: u64 = 1 << 20;

#[derive(Default)]
struct Store(Mutex<Vec<u8>>);

impl BlockDevice for Store {
    fn len(&self) -> u64 {
        SIZE
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(&self.0.lock().unwrap()[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn read_only(&self) -> bool {
        false
    }
}

struct Bench {
    cell: Arc<DeviceCell<PflashCfi01>>,
    region: Arc<Region>,
    bus: Dma,
    store: Arc<Store>,
}

fn bench() -> Bench {
    let ram = Ram::anonymous(SIZE).unwrap();
    let store = Arc::new(Store(Mutex::new(vec![0; SIZE as usize])));
    PflashCfi01::fill(&ram, &*store).unwrap();
    let cell = DeviceCell::new(PflashCfi01::virt("virt.flash0", SIZE));
    let drive: Arc<dyn BlockDevice> = store.clone();
    let region = PflashCfi01::connect(&cell, &ram, Some(drive)).unwrap();
    cell.realize().unwrap();
    let root = Region::container("system", memory::WHOLE);
    root.add_subregion(0, &region);
    Bench { cell, region, bus: Dma::new(&AddressSpace::new("memory", &root)), store }
}

impl Bench {
    fn read(&self, offset: u64) -> u32 {
        self.bus.read_u32(offset).unwrap()
    }
    fn write(&self, offset: u64, value: u32) {
        self.bus.write_u32(offset, value).unwrap();
    }
}

/// The values are those that QEMU 10.0.2's `virt` board gives (for another size).
#[test]
fn identifies_itself() {
    let b = bench();
    assert_eq!(b.read(0), 0);
    b.write(0x55 * 4, 0x0098_0098);
    assert!(!b.region.is_romd());
    let query: Vec<_> = (0x10..0x16).map(|n| b.read(4 * n)).collect();
    assert_eq!(query, [0x51_0051, 0x52_0052, 0x59_0059, 0x01_0001, 0, 0x31_0031]);
    let query: Vec<_> = (0x27..0x31).map(|n| b.read(4 * n) & 0xff).collect();
    assert_eq!(query, [0x13, 2, 0, 0x0b, 0, 1, 3, 0, 0, 2]);
    b.write(0, 0x0090_0090);
    assert_eq!((b.read(0), b.read(4), b.read(8)), (0x89_0089, 0x18_0018, 0));
    assert_eq!(b.bus.read_u8(0), Ok(0x89));
    b.write(0, 0x0070_0070);
    assert_eq!(b.read(100), 0x80_0080);
    b.write(0, 0x00ff_00ff);
    assert_eq!(b.read(0), 0);
    assert!(b.region.is_romd());
}

#[test]
fn programs_and_erases() {
    let b = bench();
    b.write(0, 0x0040_0040);
    b.write(0x100, 0x1234_5678);
    assert_eq!(b.read(0), 0x80_0080);
    b.write(0, 0x00ff_00ff);
    assert_eq!((b.read(0x100), b.read(0x104)), (0x1234_5678, 0));
    b.write(0x4_0000, 0x0020_0020);
    b.write(0x4_0000, 0x00d0_00d0);
    b.write(0, 0x00ff_00ff);
    assert_eq!((b.read(0x3_fffc), b.read(0x4_0000), b.read(0x7_fffc), b.read(0x8_0000)), (0, !0, !0, 0));
    // A buffered write.
    b.write(0x4_1000, 0x00e8_00e8);
    assert_eq!(b.read(0), 0x80_0080);
    b.write(0x4_1000, 0x0003_0003);
    for n in 0..4 {
        b.write(0x4_1000 + 4 * n, 0x1111_1111 * (n as u32 + 1));
    }
    b.write(0x4_1000, 0x00d0_00d0);
    assert_eq!(b.read(0), 0x80_0080);
    b.write(0, 0x00ff_00ff);
    let words: Vec<_> = (0..5).map(|n| b.read(0x4_1000 + 4 * n)).collect();
    assert_eq!(words, [0x1111_1111, 0x2222_2222, 0x3333_3333, 0x4444_4444, !0]);
    PflashCfi01::flush(&b.cell);
    let stored = b.store.0.lock().unwrap();
    assert_eq!(stored[0x100..0x104], [0x78, 0x56, 0x34, 0x12]);
    assert_eq!((stored[0x3_ffff], stored[0x4_0000], stored[0x4_1004]), (0, 0xff, 0x22));
}

#[test]
fn wrong_sequences() {
    let b = bench();
    b.write(0, 0x0020_0020);
    b.write(0, 0x0012_0012);
    assert_eq!(b.read(0), 0xb0_00b0);
    b.write(0, 0x0050_0050);
    b.write(0, 0x0070_0070);
    assert_eq!(b.read(0), 0x80_0080);
    b.write(0, 0x00e8_00e8);
    b.write(0, 0xffff_ffff);
    assert_eq!(b.read(0), 0xb0_00b0);
    b.write(0, 0x00ff_00ff);
    b.write(0, 0x0090_0090);
    assert!(!b.region.is_romd());
    b.cell.reset();
    assert!(b.region.is_romd());
    assert_eq!(b.read(0), 0);
}

#[test]
fn an_erased_flash_comes_page_by_page() {
    let ram = Ram::anonymous(SIZE).unwrap();
    PflashCfi01::erase_all(&ram);
    let cell = DeviceCell::new(PflashCfi01::virt("virt.flash0", SIZE));
    let region = PflashCfi01::connect(&cell, &ram, None).unwrap();
    cell.realize().unwrap();
    let root = Region::container("system", memory::WHOLE);
    root.add_subregion(0, &region);
    let bus = Dma::new(&AddressSpace::new("memory", &root));
    assert_eq!(bus.read_u32(0x4000).unwrap(), u32::MAX);
    // Word program; then the bytes around it.
    bus.write_u32(0x4_0000, 0x0040_0040).unwrap();
    bus.write_u32(0x4_0000, 0x1234_5678).unwrap();
    bus.write_u32(0x4_0000, 0x00ff_00ff).unwrap();
    assert_eq!(bus.read_u32(0x4_0000).unwrap(), 0x1234_5678);
    assert_eq!(bus.read_u32(0x4_0004).unwrap(), u32::MAX);
    assert!(ram.is_coming());
}
