use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

use super::*;

const MS: u64 = 1_000_000;

fn short() -> Option<Duration> {
    Some(Duration::from_millis(20))
}

#[test]
fn timers_fire_in_order_of_deadline() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let now = events.clocks().now_ns(Clock::Realtime);
    let timers: Vec<_> = [(3, 5), (1, 1), (2, 3), (4, 5)]
        .map(|(name, ms)| {
            let order = Arc::clone(&order);
            let timer = events.timer(Clock::Realtime, move || order.lock().unwrap().push(name));
            timer.arm(now + ms * MS);
            timer
        })
        .into();
    runner.run(|| order.lock().unwrap().len() == 4).unwrap();
    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    assert!(events.clocks().now_ns(Clock::Realtime) >= now + 5 * MS);
    assert!(timers.iter().all(|timer| timer.deadline().is_none()));
}

#[test]
fn a_timer_arms_itself_in_its_callback() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let slot: Arc<OnceLock<Timer>> = Arc::default();
    let count = Arc::new(AtomicUsize::new(0));
    let timer = {
        let (slot, count) = (Arc::clone(&slot), Arc::clone(&count));
        events.timer(Clock::Realtime, move || {
            // A deadline in the past must not starve the rest of the loop.
            if count.fetch_add(1, Ordering::Relaxed) < 9 {
                slot.get().unwrap().arm(0);
            }
        })
    };
    timer.arm(0);
    assert_eq!(timer.deadline(), Some(0));
    let _ = slot.set(timer);
    runner.run_once(short()).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 1);
    runner.run(|| count.load(Ordering::Relaxed) == 10).unwrap();
    assert_eq!(slot.get().unwrap().deadline(), None);
}

#[test]
fn cancelled_and_dropped_timers_stay_silent() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let make = || {
        let count = Arc::clone(&count);
        events.timer(Clock::Realtime, move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
    };
    let (cancelled, dropped, moved) = (make(), make(), make());
    cancelled.arm(0);
    cancelled.cancel();
    dropped.arm(0);
    drop(dropped);
    moved.arm(0);
    moved.arm(u64::MAX);
    runner.run_once(short()).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0);
    assert_eq!(moved.deadline(), Some(u64::MAX));
}

#[test]
fn virtual_timers_keep_their_remaining_time() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let timer = {
        let count = Arc::clone(&count);
        events.timer(Clock::Virtual, move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
    };
    timer.arm(0);
    runner.run_once(short()).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0, "the clock has not been started");
    timer.arm(30 * MS);
    let clocks = events.clocks().clone();
    let started = Instant::now();
    clocks.start_virtual();
    thread::sleep(Duration::from_millis(2));
    clocks.stop_virtual();
    thread::sleep(Duration::from_millis(40));
    runner.run_once(Some(Duration::ZERO)).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0);
    // Starting the clock from another thread wakes the loop, which had no reason to wake by itself.
    let starter = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        clocks.start_virtual();
    });
    runner.run(|| count.load(Ordering::Relaxed) == 1).unwrap();
    starter.join().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(70 - 2));
    assert!(events.clocks().now_ns(Clock::Virtual) >= 30 * MS);
}

#[test]
fn a_watch_may_go_in_its_own_callback() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    let slot: Arc<Mutex<Option<FdWatch>>> = Arc::default();
    let count = Arc::new(AtomicUsize::new(0));
    let watch = {
        let (slot, count) = (Arc::clone(&slot), Arc::clone(&count));
        events
            .add_fd(far, Interest::READ, move |ready| {
                assert!(ready.readable);
                count.fetch_add(1, Ordering::Relaxed);
                slot.lock().unwrap().take();
            })
            .unwrap()
    };
    *slot.lock().unwrap() = Some(watch);
    near.write_all(b"x").unwrap();
    runner.run_once(short()).unwrap();
    runner.run_once(short()).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert!(near.write_all(b"y").is_err(), "the descriptor is closed with the watch");
}

#[test]
fn interest_can_change_and_sleep() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watch = {
        let seen = Arc::clone(&seen);
        events.add_fd(far, Interest::NONE, move |ready| seen.lock().unwrap().push(ready)).unwrap()
    };
    drop(near);
    runner.run_once(short()).unwrap();
    assert!(seen.lock().unwrap().is_empty());
    watch.set_interest(Interest::BOTH);
    assert_eq!(watch.interest(), Interest::BOTH);
    runner.run_once(short()).unwrap();
    assert!(seen.lock().unwrap()[0].hangup);
}

#[test]
fn regular_files_are_always_ready() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let watch = {
        let count = Arc::clone(&count);
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        events
            .add_fd(file, Interest::READ, move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap()
    };
    runner.run(|| count.load(Ordering::Relaxed) == 3).unwrap();
    watch.set_interest(Interest::NONE);
    runner.run_once(short()).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

#[test]
fn deferred_work_runs_in_order_and_a_turn_ends() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    for name in 0..3 {
        let (order, events2) = (Arc::clone(&order), events.clone());
        events.defer(move || {
            order.lock().unwrap().push(name);
            let order = Arc::clone(&order);
            events2.defer(move || order.lock().unwrap().push(name + 10));
        });
    }
    runner.run_once(None).unwrap();
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    runner.run_once(None).unwrap();
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 10, 11, 12]);
}

#[test]
fn many_threads_arm_and_defer() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let fired = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (events, fired) = (events.clone(), Arc::clone(&fired));
            thread::spawn(move || {
                let mut timers = Vec::new();
                for step in 0..200u64 {
                    let count = Arc::clone(&fired);
                    let timer = events.timer(Clock::Realtime, move || {
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                    timer.arm(u64::MAX);
                    timer.arm(events.clocks().now_ns(Clock::Realtime) + step % 7 * 100_000);
                    timers.push(timer);
                    let count = Arc::clone(&fired);
                    events.defer(move || {
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                }
                timers
            })
        })
        .collect();
    runner.run(|| fired.load(Ordering::Relaxed) == 8 * 200 * 2).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn sleeps_are_precise() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let fired = Arc::new(AtomicBool::new(false));
    let timer = {
        let fired = Arc::clone(&fired);
        events.timer(Clock::Realtime, move || fired.store(true, Ordering::Relaxed))
    };
    let started = Instant::now();
    timer.arm(events.clocks().now_ns(Clock::Realtime) + 300_000);
    runner.run(|| fired.load(Ordering::Relaxed)).unwrap();
    assert!(started.elapsed() >= Duration::from_micros(300));
}

#[test]
fn a_timer_armed_from_elsewhere_lets_the_loop_sleep_until_then() {
    let (events, mut runner) = EventLoop::new().unwrap();
    events.clocks().start_virtual();
    events.spare_wakes();
    // That the clock runs has woken the loop.
    runner.run_once(short()).unwrap();
    let fired = Arc::new(AtomicUsize::new(0));
    let timers: Vec<_> = (0..2)
        .map(|_| {
            let fired = Arc::clone(&fired);
            events.timer(Clock::Virtual, move || {
                fired.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    let armer = {
        let events = events.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            // The later call has the earlier deadline.
            let now = events.clocks().now_ns(Clock::Virtual);
            timers[0].arm(now + 400 * MS);
            timers[1].arm(now + 40 * MS);
            (timers, now)
        })
    };
    let mut turns = Vec::new();
    while fired.load(Ordering::Relaxed) < 2 {
        runner.run_once(Some(Duration::from_secs(10))).unwrap();
        turns.push((events.clocks().now_ns(Clock::Virtual), fired.load(Ordering::Relaxed)));
    }
    let (_timers, armed) = armer.join().unwrap();
    let fired: Vec<usize> = turns.iter().map(|turn| turn.1).collect();
    assert_eq!(fired, [1, 2], "a turn for each deadline and none before");
    assert!(turns[0].0 >= armed + 40 * MS && turns[1].0 >= armed + 400 * MS, "{turns:?} {armed}");
    assert!(turns[0].0 < armed + 300 * MS, "{turns:?} {armed}");
}

/// A loop whose virtual clock runs, a timer on it, and how often that has fired.
fn ticking() -> (EventLoop, Runner, Timer, Arc<AtomicUsize>) {
    let (events, mut runner) = EventLoop::new().unwrap();
    events.clocks().start_virtual();
    runner.run_once(short()).unwrap();
    let fired = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fired);
    let timer = events.timer(Clock::Virtual, move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    (events, runner, timer, fired)
}

#[test]
fn the_loop_looks_once_more_for_a_timer_that_has_fired() {
    let (events, mut runner, timer, fired) = ticking();
    timer.arm(events.clocks().now_ns(Clock::Virtual) + MS);
    while fired.load(Ordering::Relaxed) == 0 {
        runner.run_once(Some(Duration::from_secs(10))).unwrap();
    }
    let begin = Instant::now();
    runner.run_once(Some(Duration::from_secs(10))).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "nothing has woken it");
    // Armed meanwhile, without a wake.
    timer.arm(events.clocks().now_ns(Clock::Virtual) + 20 * MS);
    runner.run_once(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(fired.load(Ordering::Relaxed), 2);
    runner.run_once(Some(Duration::from_secs(10))).unwrap();
    let begin = Instant::now();
    runner.run_once(Some(Duration::from_millis(20))).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(20), "and once only");
}

#[test]
fn the_loop_does_not_wake_for_a_timer_that_somebody_sleeps_for() {
    let (events, mut runner, timer, fired) = ticking();
    timer.arm(events.clocks().now_ns(Clock::Virtual) + 50 * MS);
    timer.sleep_until_due(|left| {
        let left = left.unwrap();
        assert!(left <= Duration::from_millis(50));
        let begin = Instant::now();
        runner.run_once(Some(left + Duration::from_millis(50))).unwrap();
        assert!(begin.elapsed() >= left + Duration::from_millis(50));
    });
    assert_eq!(fired.load(Ordering::Relaxed), 1, "once, by whoever comes first");
    timer.arm(events.clocks().now_ns(Clock::Virtual) + 20 * MS);
    timer.sleep_until_due(|left| thread::sleep(left.unwrap()));
    assert_eq!(fired.load(Ordering::Relaxed), 2, "nobody else is there");
    assert_eq!(timer.deadline(), None);
}

#[test]
fn the_loop_has_a_timer_again_whose_sleeper_wakes_early() {
    let (events, mut runner, timer, fired) = ticking();
    timer.arm(events.clocks().now_ns(Clock::Virtual) + 100 * MS);
    let sleeper = thread::spawn(move || {
        // The loop is asleep when this begins, and when it ends.
        timer.sleep_until_due(|_| thread::sleep(Duration::from_millis(20)));
        timer
    });
    let begin = Instant::now();
    while fired.load(Ordering::Relaxed) == 0 && begin.elapsed() < Duration::from_secs(5) {
        runner.run_once(Some(Duration::from_secs(5))).unwrap();
    }
    assert_eq!(fired.load(Ordering::Relaxed), 1);
    assert!(begin.elapsed() < Duration::from_secs(4));
    sleeper.join().unwrap();
}

#[test]
fn the_loop_has_a_timer_that_is_armed_while_somebody_sleeps_for_it() {
    let (events, mut runner, timer, fired) = ticking();
    let now = events.clocks().now_ns(Clock::Virtual);
    timer.arm(now + 500 * MS);
    timer.sleep_until_due(|_| {
        timer.arm(now + 20 * MS);
        runner.run(|| fired.load(Ordering::Relaxed) == 1).unwrap();
    });
    assert_eq!(fired.load(Ordering::Relaxed), 1);
}

#[test]
fn nobody_sleeps_for_a_timer_whose_clock_stands() {
    let (events, _runner, timer, fired) = ticking();
    timer.sleep_until_due(|left| assert_eq!(left, None, "not armed"));
    timer.arm(events.clocks().now_ns(Clock::Virtual) + MS);
    events.clocks().stop_virtual();
    timer.sleep_until_due(|left| assert_eq!(left, None));
    assert_eq!(fired.load(Ordering::Relaxed), 0);
    let real = events.timer(Clock::Realtime, || {});
    real.arm(0);
    real.sleep_until_due(|left| assert_eq!(left, None, "that is the loop's"));
}
