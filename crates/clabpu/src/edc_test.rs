use super::*;
use object::{AnyDevice, DeviceCell};
use std::sync::Arc;

#[test]
fn errors_interrupt_until_they_are_cleared() {
    let cell = DeviceCell::new(Edc::default());
    let irq = Line::to_fn(|_| ());
    cell.connect("sysbus-irq", 0, irq.clone());
    cell.realize().unwrap();
    cell.write(1, INJECT, 4, 0b110);
    assert!(!irq.level());
    cell.write(REG1, INT_ENABLE, 4, 0b100);
    assert!(irq.level());
    assert_eq!((cell.read(REG1, INT_STATUS, 4), cell.read(1, COUNT, 4)), (0b110, 2));
    cell.write(REG1, INT_STATUS, 4, 0b100);
    assert!(!irq.level());
    assert_eq!(cell.read(REG1, INT_STATUS, 4), 0b010);
}

#[test]
fn only_the_magic_word_restarts() {
    let cell = DeviceCell::new(Edc::default());
    assert!(matches!(cell.write(REG1, RESTART, 4, 0x43), Effect::None));
    assert!(matches!(cell.write(REG1, RESTART, 4, MAGIC), Effect::Reset { .. }));
}

#[test]
fn common() {
    let device: Arc<dyn AnyDevice> = DeviceCell::new(Edc::default());
    object::check::check_device(&device, 1, 10_000).unwrap();
}
