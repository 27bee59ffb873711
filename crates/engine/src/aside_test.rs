use super::*;

#[test]
fn the_figures_are_found_whatever_the_thread_is_called() {
    let rest = (3..60).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    let seen = Seen { processor: 39, ran: 5, waited: 7 };
    for name in ["(CPU 0/TCG)", "(a) 1 (b))", "()"] {
        assert_eq!(Seen::parse(&format!("17 {name} {rest}"), "5 7 9\n"), Some(seen), "{name}");
    }
    for (stat, schedstat) in [("", "5 7 9"), ("1 (a) S 1", "5 7 9"), ("1 (a) S", ""), ("1 a", "5")] {
        assert_eq!(Seen::parse(stat, schedstat), None);
    }
    for schedstat in ["5", "5 x", "-5 7", ""] {
        assert_eq!(Seen::parse(&format!("17 (a) {rest}"), schedstat), None);
    }
    let own = Seen::of(gettid().as_raw_nonzero().get() as u64);
    assert!(own.is_none_or(|own| own.processor < CpuSet::MAX_CPU));
}

/// Runs `act` on a thread of its own, and gives the processors of that and of another thread afterwards.
fn after(act: impl FnOnce(&mut Aside, [u64; 2]) + Send) -> [CpuSet; 2] {
    let (told, number) = std::sync::mpsc::channel();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            told.send(gettid()).unwrap();
            let _ = wait.recv();
        });
        let act = scope.spawn(move || {
            let (own, other) = (gettid(), number.recv().unwrap());
            let numbers = [own, other].map(|t| t.as_raw_nonzero().get() as u64);
            let mut aside = Aside::new().unwrap();
            act(&mut aside, numbers);
            let sets = [own, other].map(|t| sched_getaffinity(Some(t)).unwrap());
            // The other tests' threads were among those that were kept.
            aside.keep(&[], aside.all);
            drop(end);
            sets
        });
        act.join().unwrap()
    })
}

#[test]
fn others_leave_the_processor_of_a_vcpu_and_come_back() {
    let all = sched_getaffinity(None).unwrap();
    if all.count() < 2 {
        eprintln!("SKIPPED: there is one processor");
        return;
    }
    let first = (0..CpuSet::MAX_CPU).find(|&n| all.is_set(n)).unwrap();
    let mut rest = all;
    rest.unset(first);
    let [own, other] = after(|aside, [own, _]| aside.keep(&[own], rest));
    assert!(same(&own, &all) && same(&other, &rest));
    // Who was started meanwhile, a vCPU, say, has got the place of the one that has started it.
    let [own, other] = after(|aside, [own, other]| {
        aside.keep(&[own], rest);
        aside.keep(&[other], rest);
        aside.keep(&[own, other], all);
    });
    assert!(same(&own, &all) && same(&other, &all));
    // Somebody else has given the thread its place.
    let mut one = CpuSet::new();
    one.set(first);
    let [_, other] = after(|aside, [own, other]| {
        sched_setaffinity(Pid::from_raw(other as i32), &one).unwrap();
        aside.keep(&[own], rest);
    });
    assert!(same(&other, &one));
}
