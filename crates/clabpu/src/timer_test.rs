use super::*;
use object::AnyDevice;

fn device(frequency: u32, speed: u32) -> (Arc<DeviceCell<TickTimer>>, Line, EventLoop, events::Runner) {
    let (events, runner) = EventLoop::new().unwrap();
    let cell = DeviceCell::new(TickTimer { frequency, speed, ..TickTimer::default() });
    let irq = Line::to_fn(|_| ());
    cell.connect("sysbus-irq", 0, irq.clone());
    TickTimer::connect(&cell, &events);
    cell.realize().unwrap();
    (cell, irq, events, runner)
}

#[test]
fn it_counts_down_and_interrupts() {
    let (cell, irq, events, mut runner) = device(1_000_000, 100);
    cell.write(0, COUNTER, 4, 5);
    assert_eq!(cell.read(0, COUNTER, 4), 0, "not enabled");
    cell.write(0, CONTROL, 4, 1);
    cell.write(0, PRESCALER, 4, 10);
    cell.write(0, COUNTER, 4, 1000);
    // The machine's clock stands still.
    assert_eq!(cell.read(0, COUNTER, 4), 1000);
    events.clocks().start_virtual();
    runner.run(|| irq.level()).unwrap();
    assert!(events.clocks().now_ns(Clock::Virtual) >= 10_000_000, "10,000 ticks of a microsecond");
    assert_eq!((cell.read(0, COUNTER, 4), cell.read(0, STATUS, 4)), (0, 1));
    cell.write(0, STATUS, 4, 1);
    assert!(!irq.level());
    cell.write(0, COUNTER, 4, 0);
    assert!(irq.level(), "zero expires at once");
}

#[test]
fn speed_changes_how_long_it_takes() {
    for (speed, ns) in [(100, 2_000_000), (200, 1_000_000), (50, 4_000_000)] {
        let (cell, ..) = device(1_000_000, speed);
        cell.write(0, CONTROL, 4, 1);
        cell.write(0, COUNTER, 4, 2000);
        assert_eq!(cell.with(|t| t.regs.deadline), Some(ns));
        assert_eq!(cell.read(0, COUNTER, 4), 2000);
    }
}

#[test]
fn the_deadline_is_saved() {
    let (cell, ..) = device(1_000_000, 100);
    cell.write(0, CONTROL, 4, 1);
    cell.write(0, COUNTER, 4, 3000);
    let bytes = state::to_bytes(&cell.with(|t| t.regs.clone()));
    let (other, irq, events, mut runner) = device(1_000_000, 100);
    other.with(|t| {
        state::from_bytes(&mut t.regs, &bytes).unwrap();
        t.loaded().unwrap();
    });
    assert_eq!(other.read(0, COUNTER, 4), 3000);
    events.clocks().start_virtual();
    runner.run(|| irq.level()).unwrap();
}

#[test]
fn common() {
    let device: Arc<dyn AnyDevice> = DeviceCell::new(TickTimer::default());
    object::check::check_device(&device, 1, 10_000).unwrap();
}
