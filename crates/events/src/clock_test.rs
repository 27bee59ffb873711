use std::thread;
use std::time::Duration;

use super::*;

#[test]
fn virtual_clock_stops_and_starts() {
    let clocks = Clocks::new();
    assert_eq!(clocks.now_ns(Clock::Virtual), 0);
    assert!(!clocks.virtual_running());
    clocks.start_virtual();
    thread::sleep(Duration::from_millis(3));
    let running = clocks.now_ns(Clock::Virtual);
    assert!((3_000_000..3_000_000_000).contains(&running), "{running}");
    clocks.stop_virtual();
    let stopped = clocks.now_ns(Clock::VirtualRt);
    assert!(stopped >= running);
    thread::sleep(Duration::from_millis(2));
    assert_eq!(clocks.now_ns(Clock::Virtual), stopped);
    clocks.start_virtual();
    let again = clocks.now_ns(Clock::Virtual);
    assert!(again >= stopped && again < stopped + 1_000_000_000);
}

#[test]
fn virtual_clock_can_be_set() {
    let clocks = Clocks::new();
    clocks.set_virtual(1 << 40);
    assert_eq!(clocks.now_ns(Clock::Virtual), 1 << 40);
    clocks.start_virtual();
    clocks.set_virtual(5);
    assert!(clocks.now_ns(Clock::Virtual) < 10_000_000_000);
    clocks.set_virtual(1 << 50);
    assert!(clocks.now_ns(Clock::Virtual) >= 1 << 50);
    assert!(clocks.virtual_running());
}

#[test]
fn virtual_clock_never_runs_backwards_across_stops() {
    let clocks = Clocks::new();
    clocks.start_virtual();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    for _ in 0..200_000 {
                        let now = clocks.now_ns(Clock::Virtual);
                        assert!(now >= last, "{now} after {last}");
                        last = now;
                    }
                })
            })
            .collect();
        while readers.iter().any(|reader| !reader.is_finished()) {
            clocks.stop_virtual();
            clocks.start_virtual();
        }
    });
}

#[test]
fn the_other_clocks_run() {
    let clocks = Clocks::new();
    assert!(clocks.now_ns(Clock::Host) > 1_600_000_000_000_000_000);
    let before = clocks.now_ns(Clock::Realtime);
    assert!(clocks.now_ns(Clock::Realtime) >= before);
}
