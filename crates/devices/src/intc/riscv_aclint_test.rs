use std::time::Duration;

use object::AnyDevice;

use super::*;

const TIME: u64 = 0x7ff8;

#[test]
fn software_interrupts() {
    let cell = DeviceCell::new(AclintSwi::mswi(2));
    cell.realize().unwrap();
    let line = Line::to_fn(|_| ());
    assert!(cell.connect("", 1, line.clone()));
    cell.write(0, 4, 4, 3);
    assert!(line.level());
    assert_eq!((cell.read(0, 0, 4), cell.read(0, 4, 4), cell.read(0, 8, 4)), (0, 1, 0));
    cell.write(0, 4, 4, 2);
    assert!(!line.level());
    cell.write(0, 8, 4, 1);
}

#[test]
fn supervisor_software_interrupts_are_pulses() {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    let cell = DeviceCell::new(AclintSwi::sswi(1));
    cell.realize().unwrap();
    let seen = Arc::new(AtomicU32::new(0));
    let also = seen.clone();
    cell.connect(
        "",
        0,
        Line::to_fn(move |level| {
            also.fetch_add(if level { 1 } else { 100 }, SeqCst);
        }),
    );
    cell.write(0, 0, 4, 1);
    assert_eq!((seen.load(SeqCst), cell.read(0, 0, 4)), (101, 0));
    cell.write(0, 0, 4, 0);
    assert_eq!(seen.load(SeqCst), 101);
}

#[test]
fn halves() {
    let cell = DeviceCell::new(AclintMtimer::virt(2, 10_000_000));
    cell.realize().unwrap();
    cell.write(0, 0, 8, 0x1234_5678_9abc_def0);
    assert_eq!((cell.read(0, 0, 4), cell.read(0, 4, 4)), (0x9abc_def0, 0x1234_5678));
    cell.write(0, 4, 4, 1);
    cell.write(0, 0, 4, 2);
    assert_eq!(cell.read(0, 0, 8), 0x1_0000_0002);
    cell.write(0, TIME, 8, 0x10_0000_0000);
    cell.write(0, TIME + 4, 4, 5);
    cell.write(0, TIME, 4, 0x7777_7777);
    assert_eq!(cell.read(0, TIME, 8), 0x5_7777_7777);
    assert_eq!(cell.with(|d| d.time()).now(), 0x5_7777_7777);
}

#[test]
fn compares() {
    let cell = DeviceCell::new(AclintMtimer::virt(1, 10_000_000));
    cell.realize().unwrap();
    let line = Line::to_fn(|_| ());
    cell.connect("", 0, line.clone());
    cell.write(0, 0, 8, 100);
    assert!(!line.level());
    cell.write(0, TIME, 8, 100);
    assert!(line.level());
    cell.write(0, 0, 8, 101);
    assert!(!line.level());
    cell.reset();
    assert!(!line.level());
}

#[test]
fn fires_in_time() {
    let (events, mut runner) = EventLoop::new().unwrap();
    events.clocks().start_virtual();
    let cell = DeviceCell::new(AclintMtimer::virt(1, 10_000_000));
    AclintMtimer::connect(&cell, &events);
    cell.realize().unwrap();
    let line = Line::to_fn(|_| ());
    cell.connect("", 0, line.clone());
    let time = cell.with(|d| d.time());
    let now = cell.read(0, TIME, 8);
    cell.write(0, 0, 8, now + 20_000);
    assert!(!line.level());
    while !line.level() {
        runner.run_once(Some(Duration::from_millis(100))).unwrap();
    }
    let late = time.now() - now;
    assert!((20_000..10_000_000).contains(&late), "{late} ticks");
}

/// After a reset `mtime` is behind the clock: a deadline that is never to come does not come.
#[test]
fn a_deadline_may_be_beyond_all_time() {
    let (events, _runner) = EventLoop::new().unwrap();
    let cell = DeviceCell::new(AclintMtimer::virt(1, 10_000_000));
    AclintMtimer::connect(&cell, &events);
    cell.realize().unwrap();
    events.clocks().set_virtual(5_000_000_000);
    cell.reset();
    assert_eq!(cell.read(0, TIME, 8), 0);
    cell.write(0, 0, 8, u64::MAX);
    assert_eq!(events.next_deadline(events::Clock::Virtual), None);
    cell.write(0, 0, 8, 10_000_000);
    assert_eq!(events.next_deadline(events::Clock::Virtual), Some(6_000_000_000));
}
