use std::sync::Arc;

use memory::{AddressSpace, Ram, Region};
use object::{AnyDevice, DeviceCell};

use super::*;

type Cell = Arc<DeviceCell<Aplic>>;

/// A root and its child.
fn domains(harts: u32, dma: Option<Dma>) -> (Cell, Cell) {
    let root = DeviceCell::new(Aplic::new(true, harts, 97, dma.clone()));
    let child = DeviceCell::new(Aplic::new(false, harts, 97, dma));
    let inputs = (0..97).map(|n| child.input_line(n)).collect();
    root.with(|r| r.set_child(inputs));
    let addresses = root.with(|r| r.addresses());
    child.with(|c| c.set_addresses(addresses));
    for cell in [&root, &child] {
        for hart in 0..harts as usize {
            assert!(cell.connect("", hart, Line::to_fn(|_| ())));
        }
    }
    (root, child)
}

fn read(cell: &Cell, offset: u64) -> u64 {
    AnyDevice::read(&**cell, 0, offset, 4)
}

fn write(cell: &Cell, offset: u64, value: u64) {
    assert!(AnyDevice::write(&**cell, 0, offset, 4, value).is_none());
}

fn line(cell: &Cell, hart: usize) -> bool {
    cell.with(|c| c.external[hart].level())
}

#[test]
fn a_delegated_level_reaches_a_hart() {
    let (root, child) = domains(2, None);
    assert_eq!(read(&root, 0), 0x8000_0000);
    write(&root, 4 * 10, DELEGATED.into());
    assert_eq!(read(&root, 4 * 10), u64::from(DELEGATED));
    write(&child, 4 * 10, DELEGATED.into());
    assert_eq!(read(&child, 4 * 10), 0, "it has no child");
    write(&child, 4 * 10, mode::LEVEL1.into());
    write(&child, register::TARGET + 4 * 9, 1 << 18 | 3);
    write(&child, register::SETIENUM, 10);
    write(&child, 0, 0x100);
    write(&child, register::IDC + 32, 1);
    root.input(10, true);
    assert_eq!(read(&child, register::IN_CLRIP), 1 << 10);
    assert_eq!((line(&child, 0), line(&child, 1)), (false, true));
    assert_eq!(read(&child, register::IDC + 32 + idc::CLAIMI), 10 << 16 | 3);
    assert!(line(&child, 1), "a level stays until it goes");
    root.input(10, false);
    assert!(!line(&child, 1));
}

#[test]
fn edges_and_priorities() {
    let (root, _) = domains(1, None);
    for (n, priority) in [(3u64, 5), (4, 2), (5, 2)] {
        write(&root, 4 * n, mode::EDGE1.into());
        write(&root, register::TARGET + 4 * (n - 1), priority);
        write(&root, register::SETIENUM, n);
        root.input(n as usize, true);
        root.input(n as usize, false);
    }
    write(&root, 0, 0x104);
    assert_eq!(read(&root, 0), 0x8000_0100, "no messages without controllers for them");
    write(&root, register::IDC, 1);
    assert_eq!(read(&root, register::SETIP), 0b11_1000);
    assert_eq!(read(&root, register::IDC + idc::TOPI), 4 << 16 | 2);
    write(&root, register::IDC + idc::ITHRESHOLD, 2);
    assert_eq!((read(&root, register::IDC + idc::TOPI), line(&root, 0)), (0, false));
    write(&root, register::IDC + idc::ITHRESHOLD, 0);
    let claimed: Vec<_> = (0..4).map(|_| read(&root, register::IDC + idc::CLAIMI) >> 16).collect();
    assert_eq!(claimed, [4, 5, 3, 0]);
    assert!(!line(&root, 0));
    write(&root, register::IDC + idc::IFORCE, 1);
    assert!(line(&root, 0));
    assert_eq!(read(&root, register::IDC + idc::CLAIMI), 0);
    assert!(!line(&root, 0));
}

#[test]
fn messages_go_where_the_root_says() {
    let system = Region::container("system", memory::WHOLE);
    system.add_subregion(0x2800_0000, &Region::ram("files", Ram::anonymous(0x1_0000).unwrap()));
    let space = AddressSpace::new("memory", &system);
    let (root, child) = domains(0, Some(Dma::new(&space)));
    write(&root, register::MMSIADDRCFGH, 2 << 12);
    write(&root, register::SMSIADDRCFG, 0x2_8000);
    write(&root, register::SMSIADDRCFGH, 2 << 20);
    write(&child, register::SMSIADDRCFG, 1);
    assert_eq!(read(&child, register::SMSIADDRCFG), 0, "the root's alone");
    write(&root, 4 * 8, DELEGATED.into());
    write(&child, 4 * 8, mode::LEVEL1.into());
    write(&child, register::TARGET + 4 * 7, 3 << 18 | 1 << 12 | 0x44);
    write(&child, register::SETIENUM, 8);
    write(&child, 0, 0x104);
    root.input(8, true);
    // Hart 3, four pages each; guest 1.
    assert_eq!(space.read_int(0x2800_d000, 4), Ok(0x44));
    assert_eq!(read(&child, register::SETIP), 0, "sent");
    space.write_int(0x2800_d000, 4, 0).unwrap();
    write(&child, register::SETIPNUM_LE, 8);
    assert_eq!(space.read_int(0x2800_d000, 4), Ok(0x44), "still active: once more");
    root.input(8, false);
    space.write_int(0x2800_d000, 4, 0).unwrap();
    write(&child, register::SETIPNUM_LE, 8);
    assert_eq!(space.read_int(0x2800_d000, 4), Ok(0));
    write(&child, register::GENMSI, 2 << 18 | 9);
    assert_eq!(space.read_int(0x2800_8000, 4), Ok(9));
}

#[test]
fn common() {
    for harts in [0, 2] {
        let (root, child) = domains(harts, None);
        for cell in [root, child] {
            let device: Arc<dyn AnyDevice> = cell;
            object::check::check_device(&device, u64::from(harts), 5000).unwrap();
        }
    }
}
