use std::sync::Arc;

use object::AnyDevice;

use super::super::blk::VirtioBlk;
use super::super::driver_test::Driver;
use super::super::rng::VirtioRng;
use super::*;

fn rng() -> Arc<DeviceCell<VirtioRng>> {
    let cell = DeviceCell::new(VirtioRng::new());
    cell.realize().unwrap();
    cell
}

#[test]
fn nobody_there() {
    let cell = DeviceCell::new(VirtioMmio::new(false));
    let values: Vec<_> = [0, 4, 8, 12, 0x10, 0x34, 0x70, 0x100].map(|at| cell.read(0, at, 4)).to_vec();
    assert_eq!(values, [MAGIC, 2, 0, VENDOR, 0, 0, 0, 0]);
    cell.write(0, 0x50, 4, 3);
}

#[test]
fn identification() {
    for legacy in [true, false] {
        let driver = Driver::plug(rng(), legacy);
        assert_eq!(driver.read(0), MAGIC);
        assert_eq!(driver.read(4), if legacy { 1 } else { 2 });
        assert_eq!((driver.read(8), driver.read(12)), (4, VENDOR));
        let expected = if legacy { 0x3900_0000 } else { 0x101_3000_0000 };
        assert_eq!(driver.offered(), expected);
        driver.write(0x30, 0);
        assert_eq!(driver.read(0x34), 1024);
        driver.write(0x30, 1);
        assert_eq!(driver.read(0x34), 0);
        // A reset selects the first queue again.
        driver.write(0x70, 0);
        assert_eq!(driver.read(0x34), 1024);
        assert_eq!(driver.read(0x100), 0xffff_ffff);
        assert_eq!((driver.read(0xb0), driver.read(0xb4)), (0xffff_ffff, 0xffff_ffff));
        assert_eq!(driver.mmio.read(0, 0, 1), 0);
    }
    let second = VirtioMmio::plug(&Driver::plug(rng(), true).mmio, rng(), Driver::plug(rng(), true).dma);
    assert!(second.is_err());
}

#[test]
fn features_are_checked() {
    let driver = Driver::plug(rng(), false);
    driver.write(0x70, 3);
    driver.write(0x24, 0);
    driver.write(0x20, 0xffff_ffff);
    driver.write(0x70, 0xb);
    assert_eq!(driver.read(0x70), 3);
    // A driver that knows the low half only is taken, too.
    driver.write(0x20, 0);
    driver.write(0x70, 0xb);
    assert_eq!(driver.read(0x70), 0xb);
    driver.write(0x24, 1);
    driver.write(0x20, 1);
    driver.write(0x20, 0);
    driver.write(0x70, 0);
    assert_eq!(driver.read(0x70), 0);
}

#[test]
fn queue_registers() {
    let driver = Driver::plug(rng(), false);
    driver.write(0x38, 63);
    driver.write(0x38, 64);
    driver.write(0x80, 0x1000);
    driver.write(0x84, 1);
    driver.write(0x44, 1);
    assert_eq!(driver.read(0x44), 1);
    // A ready queue keeps its size.
    driver.write(0x38, 128);
    driver.write(0xc0, 1);
    assert_eq!((driver.read(0x44), driver.read(0xc0)), (0, 0));
    driver.write(0x44, 1);
    driver.write(0x70, 0);
    assert_eq!(driver.read(0x44), 0);
}

#[test]
fn only_virtio_devices() {
    let cell = DeviceCell::new(VirtioMmio::new(true));
    let drive: Arc<dyn AnyDevice> = DeviceCell::new(VirtioBlk::new());
    let dma = Driver::plug(rng(), true).dma;
    let other: Arc<dyn AnyDevice> = DeviceCell::new(VirtioMmio::new(true));
    assert!(VirtioMmio::plug_any(&cell, &other, dma.clone()).is_err());
    VirtioMmio::plug_any(&cell, &drive, dma).unwrap();
    assert!(drive.realize().is_err(), "without a drive");
}
