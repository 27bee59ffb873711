use object::{AnyDevice, PropertyValue};

use super::super::driver_test::{DATA, Driver};
use super::*;

#[test]
fn gives_bytes() {
    for source in [Entropy::Builtin, Entropy::open("/dev/urandom").unwrap()] {
        let (events, mut runner) = EventLoop::new().unwrap();
        let cell = DeviceCell::new(VirtioRng::new());
        VirtioRng::connect(&cell, &events, source);
        cell.realize().unwrap();
        let mut driver = Driver::start(cell, false, 0);
        driver.add(0, &[], &[(DATA, 64)]);
        driver.kick(0);
        let mut used = None;
        runner
            .run(|| {
                used = driver.used(0);
                used.is_some()
            })
            .unwrap();
        assert_eq!(used, Some((0, 64)));
        assert_ne!(driver.bytes(DATA, 64), [0; 64]);
        assert!(driver.irq.level());
    }
}

#[test]
fn keeps_to_its_quota() {
    let (events, mut runner) = EventLoop::new().unwrap();
    events.clocks().start_virtual();
    let cell = DeviceCell::new(VirtioRng::new());
    VirtioRng::connect(&cell, &events, Entropy::Builtin);
    cell.set_property("max-bytes", &PropertyValue::Uint(16)).unwrap();
    cell.set_property("period", &PropertyValue::Uint(20)).unwrap();
    cell.realize().unwrap();
    let mut driver = Driver::start(cell, false, 0);
    for _ in 0..3 {
        driver.add(0, &[], &[(DATA, 12)]);
    }
    driver.kick(0);
    assert_eq!((driver.used(0), driver.used(0), driver.used(0)), (Some((0, 12)), Some((1, 4)), None));
    let mut last = None;
    runner
        .run(|| {
            last = driver.used(0);
            last.is_some()
        })
        .unwrap();
    assert_eq!(last, Some((2, 12)));
}

/// More than one notification gets through, with and without event indices.
#[test]
fn again_and_again() {
    for refuse in [0, 1 << 29] {
        let cell = DeviceCell::new(VirtioRng::new());
        cell.realize().unwrap();
        let mut driver = Driver::start(cell, false, refuse);
        for _ in 0..200 {
            driver.add(0, &[], &[(DATA, 8)]);
            driver.kick(0);
            assert!(driver.used(0).is_some());
        }
    }
}
