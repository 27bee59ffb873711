use std::sync::Mutex;

use memory::{AddressSpace, Ram, Region};
use object::{AnyDevice, DeviceCell};

use super::*;

const BASE: u64 = 0x8000_0000;

fn bench() -> (Arc<DeviceCell<FwCfgMem>>, memory::Dma) {
    let root = Region::container("system", memory::WHOLE);
    root.add_subregion(BASE, &Region::ram("ram", Ram::anonymous(1 << 20).unwrap()));
    let dma = Dma::new(&AddressSpace::new("memory", &root));
    let mut device = FwCfgMem::new(Some(dma.clone()));
    device.set_u16(key::NB_CPUS, 3);
    device.add_file("etc/b", vec![1, 2, 3]).unwrap();
    device.add_file("etc/a", vec![9]).unwrap();
    let cell = DeviceCell::new(device);
    cell.realize().unwrap();
    (cell, dma)
}

fn select(cell: &Arc<DeviceCell<FwCfgMem>>, key: u16) {
    // As a little-endian processor writes a big-endian register.
    let port = memory::Port::new(cell, CTL).unwrap();
    assert!(memory::mmio_write(&*port, 0, 2, u64::from(key.swap_bytes())).unwrap().is_none());
}

fn data(cell: &Arc<DeviceCell<FwCfgMem>>, size: u32) -> u64 {
    memory::mmio_read(&*memory::Port::new(cell, DATA).unwrap(), 0, size).unwrap()
}

fn transfer(cell: &Arc<DeviceCell<FwCfgMem>>, dma: &memory::Dma, command: u32, length: u32, at: u64) -> u32 {
    let descriptor = u128::from(command) << 96 | u128::from(length) << 64 | u128::from(at);
    dma.write(BASE, &descriptor.to_be_bytes()).unwrap();
    let port = memory::Port::new(cell, DMA).unwrap();
    let address = BASE.swap_bytes();
    assert!(memory::mmio_write(&*port, 0, 4, address & 0xffff_ffff).unwrap().is_none());
    assert!(memory::mmio_write(&*port, 4, 4, address >> 32).unwrap().is_none());
    dma.read_u32(BASE).unwrap().swap_bytes()
}

/// The values are those that QEMU 10.0.2's `virt` board gives.
#[test]
fn data_register() {
    let (cell, _) = bench();
    select(&cell, key::SIGNATURE);
    assert_eq!((data(&cell, 4), data(&cell, 4)), (0x554d_4551, 0));
    select(&cell, key::SIGNATURE);
    assert_eq!((data(&cell, 1), data(&cell, 2), data(&cell, 8)), (0x51, 0x4d45, 0x55));
    select(&cell, key::NB_CPUS);
    assert_eq!(data(&cell, 4), 3);
    select(&cell, key::ID);
    assert_eq!(data(&cell, 4), 3);
    select(&cell, 0x7fff);
    assert_eq!(data(&cell, 8), 0);
    select(&cell, 0x8019);
    assert_eq!(data(&cell, 8), 0);
}

#[test]
fn directory() {
    let (cell, _) = bench();
    select(&cell, key::FILE_DIR);
    let bytes: Vec<_> = (0..132).map(|_| data(&cell, 1) as u8).collect();
    assert_eq!(bytes[..20], *b"\0\0\0\x02\0\0\0\x01\0\x20\0\0etc/a\0\0\0");
    assert_eq!(bytes[68..84], *b"\0\0\0\x03\0\x21\0\0etc/b\0\0\0");
    select(&cell, 0x21);
    assert_eq!(data(&cell, 4), 0x0003_0201);
    cell.with(|device| {
        assert!(device.add_file("etc/a", vec![]).is_err());
        assert!(device.add_file(&"x".repeat(56), vec![]).is_err());
        device.set_file("etc/a", vec![4, 4]).unwrap();
        assert_eq!(device.files().collect::<Vec<_>>(), [("etc/a", 2), ("etc/b", 3)]);
        for n in 2..32 {
            device.add_file(&format!("n{n}"), vec![]).unwrap();
        }
        assert!(device.add_file("more", vec![]).is_err());
    });
}

#[test]
fn dma_requests() {
    let (cell, dma) = bench();
    let port = memory::Port::new(&cell, DMA).unwrap();
    assert_eq!(memory::mmio_read(&*port, 0, 8), Ok(0x4746_4320_554d_4551));
    assert_eq!(memory::mmio_read(&*port, 0, 4), Ok(0x554d_4551));
    assert_eq!(memory::mmio_read(&*port, 4, 4), Ok(0x4746_4320));
    let buffer = BASE + 0x1000;
    let read = |at| {
        let mut bytes = [0; 6];
        dma.read(at, &mut bytes).unwrap();
        bytes
    };
    dma.write(buffer, &[0xff; 8]).unwrap();
    assert_eq!(transfer(&cell, &dma, 0x0021_000a, 5, buffer), 0);
    assert_eq!(read(buffer), [1, 2, 3, 0, 0, 0xff]);
    assert_eq!(transfer(&cell, &dma, 0x0021_000c, 1, 0), 0);
    assert_eq!(transfer(&cell, &dma, 2, 2, buffer), 0);
    assert_eq!(read(buffer)[..2], [2, 3]);
    assert_eq!(transfer(&cell, &dma, 0x0021_000a, 5, 0x10), 1);
    assert_eq!(transfer(&cell, &dma, 0x0021_000a, u32::MAX, buffer), 1);
    assert_eq!(transfer(&cell, &dma, 0x0021_0018, 1, buffer), 1);
    assert_eq!(transfer(&cell, &dma, 0x7fff_000a, 4, buffer), 0);
}

#[test]
fn writable_files() {
    let (cell, dma) = bench();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let also = seen.clone();
    let written: Written = Arc::new(move |bytes| *also.lock().unwrap() = bytes.to_vec());
    cell.with(|device| device.add_writable_file("etc/w", vec![0; 4], Some(written)).unwrap());
    dma.write(BASE + 0x1000, &[5, 6, 7, 8]).unwrap();
    assert_eq!(transfer(&cell, &dma, 0x0022_0018, 4, BASE + 0x1000), 0);
    assert_eq!(*seen.lock().unwrap(), [5, 6, 7, 8]);
    assert_eq!(transfer(&cell, &dma, 0x0022_0018, 5, BASE + 0x1000), 1);
    assert_eq!(transfer(&cell, &dma, 0x0022_0018, 4, 0x1000), 1);
}
