use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::{Clock, EventLoop};

fn counted(shift: u32) -> (EventLoop, Arc<Icount>) {
    let (events, _) = EventLoop::new().unwrap();
    let icount = Arc::new(Icount::new(IcountOptions { shift, ..IcountOptions::default() }));
    events.clocks().count_instructions(icount.clone());
    (events, icount)
}

#[test]
fn the_virtual_clock_is_the_count() {
    let (events, icount) = counted(2);
    let now = || events.clocks().now_ns(Clock::Virtual);
    events.clocks().start_virtual();
    assert_eq!(now(), 0);
    icount.set_count(10);
    assert_eq!(now(), 40);
    events.clocks().set_virtual(1_000);
    assert_eq!((now(), icount.count()), (1_000, 10));
    icount.set_count(11);
    assert_eq!(now(), 1_004);
    icount.restore(Moment { count: 3, rounds: 9 });
    icount.begin_round();
    assert_eq!(icount.here(), Moment { count: 3, rounds: 10 });
    assert_eq!(now(), 1_004);
    icount.set_shift(0);
    icount.set_count(4);
    assert_eq!(now(), 1_005);
    icount.set_shift(99);
    assert_eq!(icount.shift(), MAX_SHIFT);
}

#[test]
fn a_deadline_is_reached_by_the_instruction_that_reaches_it() {
    for shift in 0..=MAX_SHIFT {
        let (_, icount) = counted(shift);
        icount.set_count(7);
        for deadline in [0, 1, 100, 4097, 1 << 30] {
            let n = icount.instructions_until(deadline);
            icount.set_count(7 + n);
            assert!(icount.now_ns() >= deadline);
            if n > 0 {
                icount.set_count(7 + n - 1);
                assert!(icount.now_ns() < deadline);
            }
            icount.set_count(7);
        }
    }
}

#[test]
fn timers_run_where_they_are_asked_for_and_the_first_is_announced() {
    let (events, icount) = counted(0);
    let (fired, alarms) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let heard = alarms.clone();
    icount.on_alarm(move || {
        heard.fetch_add(1, SeqCst);
    });
    let timer = |events: &EventLoop| {
        let fired = fired.clone();
        events.timer(Clock::Virtual, move || {
            fired.fetch_add(1, SeqCst);
        })
    };
    let (early, late) = (timer(&events), timer(&events));
    late.arm(100);
    early.arm(50);
    assert_eq!(alarms.load(SeqCst), 2);
    early.arm(50);
    late.arm(200);
    assert_eq!(alarms.load(SeqCst), 3);
    icount.set_count(49);
    events.run_virtual();
    assert_eq!(fired.load(SeqCst), 0);
    icount.set_count(50);
    events.run_virtual();
    assert_eq!(fired.load(SeqCst), 1);
    assert_eq!(events.next_deadline(Clock::Virtual), Some(200));
}
