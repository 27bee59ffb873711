use std::time::{SystemTime, UNIX_EPOCH};

use object::AnyDevice;

use super::*;

fn bench() -> (Arc<DeviceCell<GoldfishRtc>>, Line, events::Runner) {
    let (events, runner) = EventLoop::new().unwrap();
    let cell = DeviceCell::new(GoldfishRtc::new());
    let date = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    GoldfishRtc::connect(&cell, &events, Clock::Host, date);
    cell.realize().unwrap();
    let irq = Line::to_fn(|_| ());
    cell.connect("sysbus-irq", 0, irq.clone());
    (cell, irq, runner)
}

fn time(cell: &DeviceCell<GoldfishRtc>) -> u64 {
    let low = cell.read(0, TIME_LOW, 4);
    low | cell.read(0, TIME_HIGH, 4) << 32
}

fn set_alarm(cell: &DeviceCell<GoldfishRtc>, at: u64) {
    cell.write(0, ALARM_HIGH, 4, at >> 32);
    cell.write(0, ALARM_LOW, 4, at & 0xffff_ffff);
}

#[test]
fn tells_the_time() {
    let (cell, ..) = bench();
    let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert!(time(&cell).abs_diff(host) < 1_000_000_000);
    cell.write(0, TIME_HIGH, 4, 0x1000);
    cell.write(0, TIME_LOW, 4, 5);
    let now = time(&cell);
    assert!((0x1000_0000_0005..0x1000_4000_0000).contains(&now), "{now:#x}");
    cell.reset();
    assert!(time(&cell).abs_diff(host) < 10_000_000_000);
}

#[test]
fn alarm() {
    let (cell, irq, mut runner) = bench();
    cell.write(0, IRQ_ENABLED, 4, 1);
    set_alarm(&cell, time(&cell) + 20_000_000);
    assert_eq!((cell.read(0, ALARM_STATUS, 4), irq.level()), (1, false));
    runner.run(|| irq.level()).unwrap();
    assert_eq!(cell.read(0, ALARM_STATUS, 4), 0);
    cell.write(0, CLEAR_INTERRUPT, 4, 1);
    assert!(!irq.level());
    // In the past: at once.
    set_alarm(&cell, 5);
    assert_eq!((cell.read(0, ALARM_STATUS, 4), irq.level()), (0, true));
    cell.write(0, CLEAR_INTERRUPT, 4, 1);
    set_alarm(&cell, u64::MAX / 2);
    assert_eq!((cell.read(0, ALARM_STATUS, 4), irq.level()), (1, false));
    cell.write(0, CLEAR_ALARM, 4, 1);
    assert_eq!(cell.read(0, ALARM_STATUS, 4), 0);
    assert_eq!((cell.read(0, ALARM_HIGH, 4), cell.read(0, ALARM_LOW, 4)), (0x7fff_ffff, 0xffff_ffff));
}
