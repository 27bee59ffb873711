use super::*;
use object::{AnyDevice, DeviceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

fn device() -> (Arc<DeviceCell<Intc>>, Arc<AtomicBool>) {
    let (cell, level) = (DeviceCell::new(Intc::default()), Arc::new(AtomicBool::new(false)));
    let seen = level.clone();
    cell.connect("sysbus-irq", 0, Line::to_fn(move |on| seen.store(on, SeqCst)));
    cell.realize().unwrap();
    (cell, level)
}

fn word(cell: &DeviceCell<Intc>, offset: u64) -> u32 {
    (0..4).map(|n| (cell.read(0, offset + n, 1) as u32) << (8 * n)).sum()
}

#[test]
fn enabled_sources_reach_the_hart_by_priority() {
    let (cell, level) = device();
    let lines: Vec<_> = [3, 9, 31].into_iter().map(|n| cell.input_line(n)).collect();
    lines.iter().for_each(Line::raise);
    assert_eq!((word(&cell, PENDING), word(&cell, CLAIM)), (0x8000_0208, u32::MAX));
    assert!(!level.load(SeqCst));
    cell.write(0, ENABLE, 1, 0x08);
    cell.write(0, ENABLE + 3, 1, 0x80);
    assert!(level.load(SeqCst));
    assert_eq!(word(&cell, CLAIM), 3, "the lowest of equals");
    cell.write(0, PRIORITY + 31, 1, 5);
    assert_eq!((word(&cell, CLAIM), cell.read(0, PRIORITY + 31, 1)), (31, 5));
    lines[2].lower();
    assert_eq!(word(&cell, CLAIM), 3);
    lines[0].lower();
    assert!(!level.load(SeqCst), "source 9 is not enabled");
    cell.write(0, PRIORITY + 32, 1, 1);
    cell.write(0, PENDING, 1, 1);
    assert_eq!(word(&cell, PENDING), 0x200);
}

#[test]
fn common() {
    let device: Arc<dyn AnyDevice> = DeviceCell::new(Intc::default());
    object::check::check_device(&device, 1, 10_000).unwrap();
}
