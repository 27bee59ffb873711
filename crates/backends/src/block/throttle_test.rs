use super::*;

fn limits(n: usize, average: u64) -> Limits {
    let mut limits = Limits::default();
    limits.each[n].average = average;
    limits
}

/// When each of these requests, all of which come at the time 0, may go.
fn times(limits: Limits, requests: &[(bool, u64)]) -> Vec<u64> {
    let mut state = State { limits, ..State::default() };
    requests.iter().map(|(write, bytes)| state.admit(*write, *bytes, 0) / 1_000_000).collect()
}

#[test]
fn requests_go_at_the_allowed_rate() {
    // 1000 bytes in a second, 100 of them at once.
    assert_eq!(times(limits(0, 1000), &[(false, 100), (true, 100), (false, 100)]), [0, 0, 100]);
    assert_eq!(times(limits(1, 1000), &[(false, 1000), (true, 1000), (false, 100)]), [0, 0, 900]);
    assert_eq!(times(limits(5, 10), &[(true, 1), (true, 1), (false, 1), (true, 1)]), [0, 0, 0, 100]);
    let mut sized = limits(3, 10);
    sized.request_size = 4096;
    assert_eq!(times(sized, &[(true, 8192), (true, 1)]), [0, 100]);
}

#[test]
fn a_burst_is_allowed_for_its_time() {
    let mut limits = limits(0, 1000);
    (limits.each[0].burst, limits.each[0].burst_length) = (10_000, 2);
    let all = times(limits, &[(false, 10_000), (false, 10_000), (false, 10_000), (false, 1000)]);
    // The burst's own rate holds the second and the third back, the average the fourth.
    assert!(all[1] >= 900 && all[2] >= 1900 && all[3] >= 9000, "{all:?}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let text = |limits: Limits| limits.check().err().map(|e| e.to_string()).unwrap_or_default();
    let mut both = limits(0, 1);
    both.each[2].average = 1;
    assert!(text(both).contains("cannot be used at the same time"));
    let mut sized = limits(0, 1);
    sized.request_size = 7;
    assert_eq!(text(sized), "iops size requires an iops value to be set");
    let mut low = limits(0, 10);
    low.each[0].burst = 5;
    assert_eq!(text(low), "bps_max/iops_max cannot be lower than bps/iops");
    assert_eq!(text(limits(4, 100)), "");
}

#[test]
fn who_waits_hears_of_a_change() {
    let throttle = Throttle::new();
    throttle.set(limits(0, 1));
    throttle.wait(true, 1_000_000);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| throttle.wait(true, 1));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished());
        throttle.set(Limits::default());
        waiting.join().unwrap();
        throttle.set(limits(0, 1));
        throttle.wait(true, 1_000_000);
        let waiting = scope.spawn(|| throttle.wait(true, 1));
        throttle.hurry(true);
        waiting.join().unwrap();
        throttle.hurry(false);
    });
}
