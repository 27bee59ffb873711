//! The small PCI devices without state to speak of.

use std::sync::Arc;

use object::{AnyDevice, DeviceCell, Effect, ShutdownCause};

use super::pci_testdev::PciTestdev;
use super::pvpanic::PvpanicPci;

#[test]
fn panics_are_told() {
    let device: Arc<dyn AnyDevice> = DeviceCell::new(PvpanicPci::default());
    assert_eq!(device.read(0, 0, 1), 7);
    assert!(device.write(0, 0, 1, 2).is_none());
    assert!(matches!(device.write(0, 0, 1, 4), Effect::Shutdown { cause: ShutdownCause::GuestShutdown, .. }));
    assert!(matches!(device.write(0, 0, 1, 1), Effect::Panicked));
}

#[test]
fn writes_are_counted() {
    let device: Arc<dyn AnyDevice> = DeviceCell::new(PciTestdev::default());
    for (region, place, name) in [(0, 2048, &b"mmio-dat"[..]), (1, 128, b"portio-d")] {
        device.write(region, 0, 1, 2);
        assert_eq!(device.read(region, 1, 1), 1);
        let offset = device.read(region, 4, 4);
        assert_eq!(offset, place + 2);
        let data = device.read(region, 8, 4);
        device.write(region, offset, 1, data);
        device.write(region, offset, 1, data ^ 1);
        assert_eq!(device.read(region, 12, 4), 1);
        let bytes: Vec<u8> = (16..24).map(|at| device.read(region, at, 1) as u8).collect();
        assert_eq!(bytes, name);
        device.write(region, 0, 1, 3);
        assert_eq!(device.read(region, 1, 1), 0, "there is no such test");
    }
    object::check::check_device(&device, 1, 3000).unwrap();
}
