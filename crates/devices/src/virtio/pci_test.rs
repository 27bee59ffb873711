//! Drivers of both interfaces, against devices on a bus.

use std::sync::Arc;

use memory::{AddressSpace, Ram, Region, WHOLE};
use object::check::Random;
use object::{AnyDevice, DeviceCell, Line, Node};

use super::super::driver_test::{BASE, DATA, SIZE, rings};
use super::*;
use crate::pci::{Function, Intx, PciBus, port};

const PORTS: u64 = 0x300_0000;
const BAR: u64 = 0x4000_0000;
const TABLE: u64 = 0x4010_0000;

struct Machine {
    space: Arc<AddressSpace>,
    bus: Arc<PciBus>,
}

fn machine() -> Machine {
    let system = Region::container("system", WHOLE);
    system.add_subregion(BASE, &Region::ram("ram", Ram::anonymous(SIZE).unwrap()));
    let space = AddressSpace::new("memory", &system);
    let memory = Region::container("memory", WHOLE);
    let io = Region::container("io", 0x1_0000);
    system.add_subregion(PORTS, &io);
    system.add_subregion(BAR, &Region::alias("low", &memory, BAR, 0x4000_0000));
    let lines = [0, 1, 2, 3].map(|_| Line::to_fn(|_| ()));
    let bus = PciBus::root("pcie.0", &Node::new("PCIE"), memory, io, system, Intx::new(lines));
    Machine { space, bus }
}

fn plug(bus: &Arc<PciBus>, device: Arc<dyn AnyDevice>) -> Arc<Function> {
    let node = Node::for_device(device.clone());
    let function = bus.plug(&device, &node, None, false, false).unwrap();
    Box::leak(Box::new((device, node)));
    function
}

fn set(function: &Function, offset: u64, size: u32, value: u64) {
    function.write_config(offset, size, value).perform(&mut |_| ());
}

/// Puts the BARs in place and lets the function reach memory.
fn start(function: &Function) {
    for (offset, value) in [(0x10, 0x100), (0x14, TABLE), (0x20, BAR), (0x24, 0)] {
        set(function, offset, 4, value);
    }
    set(function, 4, 2, 7);
}

impl Machine {
    fn read(&self, offset: u64, size: u32) -> u64 {
        self.space.read_int(BAR + offset, size).unwrap()
    }
    fn write(&self, offset: u64, size: u32, value: u64) {
        self.space.write_int(BAR + offset, size, value).unwrap();
    }
    fn port(&self, offset: u64, size: u32) -> u64 {
        self.space.read_int(PORTS + 0x100 + offset, size).unwrap()
    }
    fn set_port(&self, offset: u64, size: u32, value: u64) {
        self.space.write_int(PORTS + 0x100 + offset, size, value).unwrap();
    }
    /// Makes 16 bytes at `DATA` available for the device to write.
    fn offer(&self, desc: u64, avail: u64) {
        self.space.write_int(desc, 8, DATA).unwrap();
        self.space.write_int(desc + 8, 4, 16).unwrap();
        self.space.write_int(desc + 12, 4, 2).unwrap();
        self.space.write_int(avail + 2, 2, 1).unwrap();
    }
}

#[test]
fn a_driver_of_version_1_gets_a_message() {
    let machine = machine();
    let function = plug(&machine.bus, DeviceCell::new(VirtioPci::<Rng>::default()));
    assert_eq!(function.read_config(0, 4), 0x1005_1af4);
    assert_eq!(function.read_config(0x2c, 4), 0x0004_1af4);
    start(&function);
    // Vector 1 of the table, for queue 0.
    for (offset, value) in [(0x10, DATA + 0x100), (0x14, 0), (0x18, 0x1234), (0x1c, 0)] {
        machine.space.write_int(TABLE + offset, 4, value).unwrap();
    }
    let msix = 0x98;
    assert_eq!(function.read_config(msix, 1), 0x11);
    set(&function, msix + 2, 2, 0x8000);
    machine.write(0x14, 1, 0);
    machine.write(0x14, 1, 3);
    machine.write(0, 4, 1);
    assert_eq!(machine.read(4, 4) & 1, 1, "version 1 is offered");
    machine.write(8, 4, 1);
    machine.write(0xc, 4, 1);
    machine.write(0x14, 1, 0xb);
    assert_eq!(machine.read(0x14, 1), 0xb);
    assert_eq!((machine.read(0x12, 2), machine.read(0x18, 2)), (1, 8));
    let (desc, avail, used) = rings(0);
    for (offset, address) in [(0x20, desc), (0x28, avail), (0x30, used)] {
        machine.write(offset, 8, address);
        assert_eq!(machine.read(offset, 8), address);
    }
    machine.write(0x1a, 2, 7);
    assert_eq!(machine.read(0x1a, 2), 0xffff, "there is no vector 7");
    machine.write(0x1a, 2, 1);
    machine.write(0x1c, 2, 1);
    machine.write(0x14, 1, 0xf);
    machine.offer(desc, avail);
    machine.write(0x3000, 2, 0);
    assert_eq!(machine.space.read_int(used + 2, 2), Ok(1));
    assert_eq!(machine.space.read_int(DATA + 0x100, 4), Ok(0x1234));
    assert_ne!(machine.space.read_int(DATA, 8), Ok(0));
    assert_eq!(machine.read(0x1000, 1), 1, "the status is there, too, and reading clears it");
    assert_eq!(machine.read(0x1000, 1), 0);
}

#[test]
fn a_driver_of_the_legacy_interface_gets_a_level() {
    let machine = machine();
    let function = plug(&machine.bus, DeviceCell::new(VirtioPci::<RngTransitional>::default()));
    start(&function);
    machine.set_port(18, 1, 0);
    machine.set_port(18, 1, 3);
    assert_eq!(machine.port(0, 4), 0x3900_0000, "no version 1, but what only the legacy interface has");
    machine.set_port(4, 4, 0);
    machine.set_port(14, 2, 0);
    assert_eq!(machine.port(12, 2), 8);
    machine.set_port(8, 4, BASE >> 12);
    assert_eq!(machine.port(8, 4), BASE >> 12);
    machine.set_port(18, 1, 7);
    machine.offer(BASE, BASE + 16 * 8);
    machine.set_port(16, 2, 0);
    assert_eq!(machine.space.read_int(BASE + 4096 + 2, 2), Ok(1));
    assert_eq!(function.read_config(6, 1) & 8, 8);
    assert_eq!(machine.port(19, 1), 1);
    assert_eq!(function.read_config(6, 1) & 8, 0);
}

#[test]
fn behind_a_port_there_is_only_version_1() {
    let machine = machine();
    let bridge = plug(&machine.bus, DeviceCell::new(port::RootPort::default()));
    let function = plug(bridge.secondary().unwrap(), DeviceCell::new(VirtioPci::<Net>::default()));
    assert_eq!(function.read_config(0, 4), 0x1041_1af4);
    assert_eq!(function.read_config(8, 1), 1);
    assert_eq!((function.read_config(0x10, 4), function.read_config(0x20, 4)), (0, 0xc));
    // The list of capabilities as the reference has it.
    let mut list = Vec::new();
    let mut at = function.read_config(0x34, 1);
    while at != 0 {
        list.push((at, function.read_config(at, 1)));
        at = function.read_config(at + 1, 1);
    }
    let expected =
        [(0xdc, 0x11), (0xc8, 9), (0xb4, 9), (0xa4, 9), (0x94, 9), (0x84, 9), (0x7c, 1), (0x40, 0x10)];
    assert_eq!(list, expected);
}

#[test]
fn configuration_space_reaches_the_structures() {
    let machine = machine();
    let function = plug(&machine.bus, DeviceCell::new(VirtioPci::<Rng>::default()));
    let access = 0x84;
    assert_eq!(function.read_config(access, 4), 0x0514_7009);
    set(&function, access + 4, 1, 4);
    set(&function, access + 8, 4, 0x12);
    set(&function, access + 12, 4, 2);
    assert_eq!(function.read_config(access + 16, 2), 1, "one queue");
    set(&function, access + 8, 4, 0x14);
    set(&function, access + 12, 4, 1);
    set(&function, access + 16, 1, 3);
    assert_eq!(function.read_config(access + 16, 1), 3);
    // Sizes and places that do not exist.
    for (bar, offset, size) in [(4, 0x14, 3), (4, 0xffff_fffc, 4), (1, 0, 4), (4, 1, 4)] {
        set(&function, access + 4, 1, bar);
        set(&function, access + 8, 4, offset);
        set(&function, access + 12, 4, size);
        function.read_config(access + 16, 4);
        set(&function, access + 16, 4, u64::MAX);
    }
}

#[test]
fn hostile_drivers_do_no_harm() {
    let machine = machine();
    let devices: Vec<Arc<dyn AnyDevice>> = vec![
        DeviceCell::new(VirtioPci::<Rng>::default()),
        DeviceCell::new(VirtioPci::<NetTransitional>::default()),
        DeviceCell::new(VirtioPci::<SerialNonTransitional>::default()),
    ];
    for (seed, device) in devices.into_iter().enumerate() {
        let function = plug(&machine.bus, device.clone());
        start(&function);
        object::check::check_device(&device, seed as u64, 2000).unwrap();
        // Through the bus: configuration space and BARs in turn, rings wherever numbers lead.
        start(&function);
        let mut random = Random::new(seed as u64);
        for _ in 0..20_000 {
            let value = if random.below(3) == 0 { BASE + random.below(SIZE) } else { random.value() };
            match random.below(6) {
                0 => set(&function, random.below(64) * 4, 4, value),
                1 => start(&function),
                _ => {
                    let size = 1 << random.below(4);
                    let at = random.below(5) * 0x1000 + random.below(0x40) / size * size;
                    let _ = machine.space.write_int(BAR + at, size as u32, value);
                }
            }
        }
        set(&function, 4, 2, 0);
    }
}
