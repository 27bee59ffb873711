use std::sync::Mutex;

use super::*;

/// Eight bytes of registers that record how they are reached.
struct Recorder {
    access: Access,
    log: Mutex<Vec<(char, u64, u32, u64)>>,
}

impl Recorder {
    fn new(access: Access) -> Self {
        Self { access, log: Mutex::default() }
    }
    fn log(&self) -> Vec<(char, u64, u32, u64)> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Mmio for Recorder {
    fn read(&self, offset: u64, size: u32) -> BusResult<u64> {
        self.log.lock().unwrap().push(('r', offset, size, 0));
        // Every byte tells its own offset, in the order of the device.
        let bytes: Vec<u8> = (0..size).map(|i| 0x10 + (offset as u8) + i as u8).collect();
        Ok(self.access.endian.number(&bytes))
    }
    fn write(&self, offset: u64, size: u32, value: u64) -> BusResult<Effect> {
        self.log.lock().unwrap().push(('w', offset, size, value));
        Ok(if offset == 0 { Effect::RESET } else { Effect::None })
    }
    fn access(&self) -> Access {
        self.access
    }
}

#[test]
fn direct() {
    let m = Recorder::new(Access::only(4));
    assert_eq!(mmio_read(&m, 4, 4), Ok(0x1716_1514));
    mmio_write(&m, 4, 4, 0xffff_ffff_0000_0001).unwrap();
    assert_eq!(m.log(), [('r', 4, 4, 0), ('w', 4, 4, 1)]);
    for (offset, size) in [(0, 1), (0, 2), (0, 8), (2, 4)] {
        assert_eq!(mmio_read(&m, offset, size), Err(BusError::Decode));
        assert_eq!(mmio_write(&m, offset, size, 0).unwrap_err(), BusError::Decode);
    }
    assert!(m.log().is_empty());
}

#[test]
fn split() {
    let m = Recorder::new(Access::DEFAULT.with_impl(1, 2));
    assert_eq!(mmio_read(&m, 0, 8), Ok(0x1716_1514_1312_1110));
    assert_eq!(m.log().len(), 4);
    let effect = mmio_write(&m, 0, 4, 0xaabb_ccdd).unwrap();
    assert!(matches!(effect, Effect::Reset { .. }));
    assert_eq!(m.log(), [('w', 0, 2, 0xccdd), ('w', 2, 2, 0xaabb)]);
}

#[test]
fn cut_out_and_widen() {
    let m = Recorder::new(Access::DEFAULT.with_impl(4, 4));
    assert_eq!(mmio_read(&m, 6, 1), Ok(0x16));
    assert_eq!(mmio_read(&m, 6, 2), Ok(0x1716));
    assert_eq!(m.log(), [('r', 4, 4, 0), ('r', 4, 4, 0)]);
    mmio_write(&m, 6, 1, 0xabcd).unwrap();
    mmio_write(&m, 0, 2, 0xabcd).unwrap();
    assert_eq!(m.log(), [('w', 4, 4, 0xcd_0000), ('w', 0, 4, 0xabcd)]);
}

#[test]
fn big_endian() {
    let m = Recorder::new(Access { endian: Endian::Big, ..Access::DEFAULT }.with_impl(2, 4));
    // Bytes lie in memory as the device has them, whatever the size of the access.
    assert_eq!(mmio_read(&m, 0, 8), Ok(0x1716_1514_1312_1110));
    assert_eq!(mmio_read(&m, 0, 4), Ok(0x1312_1110));
    assert_eq!(mmio_read(&m, 3, 1), Ok(0x13));
    m.log();
    mmio_write(&m, 4, 4, 0x1122_3344).unwrap();
    mmio_write(&m, 5, 1, 0x99).unwrap();
    assert_eq!(m.log(), [('w', 4, 4, 0x4433_2211), ('w', 4, 2, 0x0099)]);
}

#[test]
fn unaligned() {
    let m = Recorder::new(Access { unaligned: true, ..Access::DEFAULT });
    assert_eq!(mmio_read(&m, 1, 4), Ok(0x1413_1211));
    assert_eq!(mmio_read(&OpenBus, 3, 4), Ok(0xffff_ffff));
    assert_eq!(mmio_read(&OpenBus, 0, 8), Ok(u64::MAX));
    assert_eq!(mmio_read(&Unassigned, 0, 4), Err(BusError::Decode));
}
