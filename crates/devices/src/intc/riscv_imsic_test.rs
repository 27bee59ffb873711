use std::sync::Arc;

use object::{AnyDevice, DeviceCell};

use super::*;

fn imsic() -> Arc<DeviceCell<Imsic>> {
    let cell = DeviceCell::new(Imsic::new(false, 0, 2, 256));
    assert!(cell.connect("", 0, Line::to_fn(|_| ())));
    cell
}

fn send(cell: &DeviceCell<Imsic>, offset: u64, id: u64) {
    assert!(AnyDevice::write(cell, 0, offset, 4, id).is_none());
}

fn line(cell: &DeviceCell<Imsic>) -> bool {
    cell.with(|d| d.external[0].level())
}

#[test]
fn messages_become_interrupts() {
    let cell = imsic();
    send(&cell, 0, 70);
    send(&cell, 4, 5u32.swap_bytes().into());
    // Neither exists; the other page is another file.
    send(&cell, 0, 0);
    send(&cell, 0, 256);
    send(&cell, 0x1000, 3);
    let read = |select, xlen| cell.with(|d| d.read_file(select, xlen));
    let write = |select, set, clear| cell.with(|d| d.write_file(select, 64, set, clear));
    let top = || cell.with(|d| d.external_top());
    assert_eq!(read(select::EIP0, 64), Some(1 << 5));
    assert_eq!(read(select::EIP0 + 2, 64), Some(1 << 6));
    assert_eq!(read(select::EIP0 + 1, 64), None, "odd registers do not exist");
    assert_eq!(read(select::EIP0 + 2, 32), Some(1 << 6));
    assert_eq!((top(), line(&cell)), (0, false));
    write(select::EIE0, u64::MAX, 0);
    write(select::EIE0 + 2, u64::MAX, 0);
    assert_eq!(read(select::EIE0, 64), Some(!1));
    assert_eq!((top(), line(&cell)), (5 << 16 | 5, false));
    write(select::EIDELIVERY, 1, 0);
    assert!(line(&cell));
    write(select::EITHRESHOLD, 5, 0);
    assert_eq!((top(), line(&cell)), (0, false));
    write(select::EITHRESHOLD, 0, u64::MAX);
    cell.with(|d| d.claim(5));
    assert_eq!(top(), 70 << 16 | 70);
    cell.with(|d| d.claim(5));
    assert_eq!((top(), line(&cell)), (0, false), "what is on top is taken when the other is gone");
    assert_eq!((read(0x71, 64), read(0x6f, 64), read(0x100, 64)), (None, None, None));
}

#[test]
fn common() {
    let cell: Arc<dyn AnyDevice> = imsic();
    object::check::check_device(&cell, 1, 5000).unwrap();
}
