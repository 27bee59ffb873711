use object::{AnyDevice, DeviceCell};
use std::sync::Arc;

use super::*;

const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const CONTEXT: u64 = 0x20_0000;
const CLAIM: u64 = CONTEXT + 4;

fn plic() -> Arc<DeviceCell<SifivePlic>> {
    let cell = DeviceCell::new(SifivePlic::virt("MS").unwrap());
    cell.realize().unwrap();
    cell
}

fn read(cell: &DeviceCell<SifivePlic>, offset: u64) -> u64 {
    cell.read(0, offset, 4)
}

fn write(cell: &DeviceCell<SifivePlic>, offset: u64, value: u64) {
    assert!(cell.write(0, offset, 4, value).is_none());
}

/// The values are those that QEMU 10.0.2's `virt` board gives.
#[test]
fn what_registers_keep() {
    let cell = plic();
    for (offset, kept) in [
        (4 * 10, 7),
        (0, 0),
        (4 * 95, 7),
        (4 * 96, 0),
        (ENABLE, 0xffff_ffff),
        (ENABLE + 8, 0xffff_ffff),
        (ENABLE + 12, 0),
        (ENABLE + 0x80, 0xffff_ffff),
        (ENABLE + 0x100, 0),
        (CONTEXT, 7),
        (CONTEXT + 0x1000, 7),
        (CONTEXT + 0x2000, 0),
        (PENDING, 0),
    ] {
        write(&cell, offset, 0xffff_ffff);
        assert_eq!(read(&cell, offset), kept, "{offset:#x}");
    }
}

#[test]
fn claim_and_complete() {
    let cell = plic();
    let line = cell.input_line(10);
    let lines: Vec<_> = (0..2).map(|_| Line::to_fn(|_| ())).collect();
    for (n, line) in lines.iter().enumerate() {
        assert!(cell.connect("", n, line.clone()));
    }
    write(&cell, 40, 1);
    write(&cell, ENABLE + 0x80, 1 << 10);
    line.set(true);
    assert_eq!(read(&cell, PENDING), 1 << 10);
    assert_eq!((lines[0].level(), lines[1].level()), (false, true));
    assert_eq!(read(&cell, CLAIM), 0);
    assert_eq!(read(&cell, CLAIM + 0x1000), 10);
    assert!(!lines[1].level());
    assert_eq!((read(&cell, PENDING), read(&cell, CLAIM + 0x1000)), (0, 0));
    // Who has not enabled a source cannot complete it.
    write(&cell, CLAIM, 10);
    assert!(!lines[1].level());
    // The line is still high.
    write(&cell, CLAIM + 0x1000, 10);
    assert!(lines[1].level());
    assert_eq!(read(&cell, CLAIM + 0x1000), 10);
    line.set(false);
    write(&cell, CLAIM + 0x1000, 10);
    assert!(!lines[1].level());
    assert_eq!(read(&cell, PENDING), 0);
}

#[test]
fn a_pulse_stays_pending() {
    let cell = plic();
    write(&cell, 40, 1);
    write(&cell, ENABLE, 1 << 10);
    let line = cell.input_line(10);
    line.pulse();
    assert_eq!(read(&cell, CLAIM), 10);
    line.pulse();
    assert_eq!((read(&cell, PENDING), read(&cell, CLAIM)), (1 << 10, 0));
    write(&cell, CLAIM, 10);
    assert_eq!(read(&cell, CLAIM), 10);
}

#[test]
fn priorities_and_threshold() {
    let cell = plic();
    write(&cell, ENABLE, 0xffff_ffff);
    for (source, priority) in [(3, 3), (4, 4), (5, 3), (6, 0)] {
        write(&cell, 4 * source, priority);
        cell.input(source as usize, true);
    }
    let order: Vec<_> = (0..4).map(|_| read(&cell, CLAIM)).collect();
    assert_eq!(order, [4, 3, 5, 0]);
    for source in [3, 4, 5] {
        write(&cell, CLAIM, source);
    }
    write(&cell, CONTEXT, 3);
    assert_eq!((read(&cell, CLAIM), read(&cell, CLAIM)), (4, 0));
    write(&cell, CONTEXT, 7);
    assert_eq!(read(&cell, CLAIM), 0);
}

#[test]
fn hart_configurations() {
    let targets = parse_hart_config("M,MS").unwrap();
    assert_eq!(targets.len(), 3);
    assert_eq!(targets[2], Target { hart: 1, mode: Mode::S });
    assert!(parse_hart_config("MX").is_err());
}
