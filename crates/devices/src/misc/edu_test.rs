use std::sync::Arc;

use memory::{AddressSpace, Ram, Region, WHOLE};
use object::{AnyDevice, DeviceCell, Line, Node};

use super::*;
use crate::pci::{Function, Intx, PciBus};

const RAM: u64 = 0x8000_0000;

fn edu(dma_mask: u64) -> (Arc<AddressSpace>, Arc<Function>, Arc<dyn AnyDevice>) {
    let system = Region::container("system", WHOLE);
    system.add_subregion(RAM, &Region::ram("ram", Ram::anonymous(1 << 20).unwrap()));
    let space = AddressSpace::new("memory", &system);
    let memory = Region::container("memory", WHOLE);
    let lines = [0, 1, 2, 3].map(|_| Line::to_fn(|_| ()));
    let io = Region::container("io", 0x1_0000);
    let bus = PciBus::root("pcie.0", &Node::new("PCIE"), memory, io, system, Intx::new(lines));
    let device: Arc<dyn AnyDevice> = DeviceCell::new(Edu { dma_mask, ..Edu::default() });
    let node = Node::for_device(device.clone());
    let function = bus.plug(&device, &node, None, false, false).unwrap();
    Box::leak(Box::new(node));
    function.write_config(4, 2, 6).perform(&mut |_| ());
    (space, function, device)
}

#[test]
fn computes_and_interrupts() {
    let (_, function, device) = edu(0);
    let (read, write) =
        (|at| device.read(0, at, 4), |at, value| assert!(device.write(0, at, 4, value).is_none()));
    assert_eq!(read(0), 0x0100_00ed);
    write(4, 0x1234_5678);
    assert_eq!(read(4), 0xedcb_a987);
    write(0x20, 0xff);
    assert_eq!(read(0x20), 0x80);
    for (n, expected) in
        [(0, 1), (5, 120), (12, 479_001_600), (13, 1_932_053_504), (33, 0x8000_0000), (34, 0)]
    {
        write(8, n);
        assert_eq!(read(8), expected);
    }
    assert_eq!((read(0x24), function.read_config(6, 1) & 8), (1, 8));
    write(0x60, 6);
    write(0x64, 3);
    assert_eq!((read(0x24), function.read_config(6, 1) & 8), (4, 8));
    write(0x64, 4);
    assert_eq!((read(0x24), function.read_config(6, 1) & 8), (0, 0));
    assert_eq!(device.read(0, 0, 8), u64::MAX);
}

#[test]
fn copies_within_its_mask() {
    let (space, _, device) = edu(u64::MAX);
    let copy = |from: u64, to: u64, count: u64, command: u64| {
        for (at, value) in [(0x80, from), (0x88, to), (0x90, count), (0x98, command)] {
            assert!(device.write(0, at, 8, value).is_none());
        }
    };
    space.write(RAM + 3, b"tinamou").unwrap();
    copy(RAM + 3, 0x4_0010, 7, 1);
    copy(0x4_0010, RAM + 0x100, 7, 7);
    let mut bytes = [0; 7];
    space.read(RAM + 0x100, &mut bytes).unwrap();
    assert_eq!(&bytes, b"tinamou");
    assert_eq!(device.read(0, 0x24, 4), 0x100);
    // Beyond the buffer, and beyond memory: nothing happens.
    copy(0x4_0ffa, RAM, 7, 3);
    copy(0x3_ffff, RAM, 7, 3);
    copy(0x4_0000, RAM, u64::MAX, 3);
    copy(0x4_0000, 0x100, 7, 3);
    assert_eq!(space.read_int(RAM, 2), Ok(0));
    object::check::check_device(&device, 3, 5000).unwrap();
}
