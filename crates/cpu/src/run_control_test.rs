use super::*;

#[test]
fn handlers_are_called_by_priority() {
    let control = RunControl::new();
    let calls = Arc::new(Mutex::new(Vec::new()));
    for (priority, name) in [(5, "late"), (0, "first"), (0, "second"), (-3, "early")] {
        let calls = calls.clone();
        control.on_change(priority, move |state| calls.lock().unwrap().push((name, state)));
    }
    let take = || std::mem::take(&mut *calls.lock().unwrap());
    control.set(RunState::Running);
    control.notify();
    assert_eq!(take(), ["early", "first", "second", "late"].map(|name| (name, RunState::Running)));
    control.set(RunState::Watchdog);
    control.notify();
    assert_eq!(take(), ["late", "second", "first", "early"].map(|name| (name, RunState::Watchdog)));
}

#[test]
fn requests_come_from_any_thread() {
    let control = RunControl::new();
    // Nobody listens yet.
    control.request(Request::Run);
    let (send, receive) = std::sync::mpsc::channel();
    control.set_performer(move |request| send.send(request).unwrap());
    let other = control.clone();
    std::thread::spawn(move || other.request(Request::Stop(RunState::Paused))).join().unwrap();
    assert_eq!(receive.recv().unwrap(), Request::Stop(RunState::Paused));
}

#[test]
#[should_panic(expected = "run state cannot go from prelaunch to paused")]
fn moves_are_asserted() {
    RunControl::new().set(RunState::Paused);
}

#[test]
fn another_thread_may_not_change_the_state() {
    let control = RunControl::new();
    control.own();
    control.set(RunState::Running);
    assert!(std::thread::spawn(move || control.set(RunState::Paused)).join().is_err());
}

/// The moves that the reference's table has, state by state.
#[test]
fn the_table_is_closed_and_every_state_can_be_left() {
    assert_eq!(RunState::ALL.len(), 16);
    for from in RunState::ALL {
        let ways: Vec<_> = RunState::ALL.iter().filter(|to| *to != from && from.may_become(**to)).collect();
        assert!(!ways.is_empty(), "{from} is a trap");
        // A reset leads to the state before the start from everywhere but the states of a snapshot being saved.
        let reset = from.may_become(RunState::Prelaunch);
        assert_eq!(reset, !matches!(from, RunState::Running | RunState::SaveVm), "{from}");
        // What does not run cannot be stopped by the guest.
        let guest = from.may_become(RunState::GuestPanicked) && *from != RunState::GuestPanicked;
        assert_eq!(
            guest,
            matches!(from, RunState::Running | RunState::InMigrate | RunState::FinishMigrate),
            "{from}"
        );
    }
    for (from, to, allowed) in [
        (RunState::Running, RunState::Paused, true),
        (RunState::Paused, RunState::Running, true),
        (RunState::Shutdown, RunState::Running, false),
        (RunState::InternalError, RunState::Running, false),
        (RunState::Prelaunch, RunState::Paused, false),
        (RunState::Debug, RunState::Paused, false),
        (RunState::Prelaunch, RunState::InMigrate, true),
    ] {
        assert_eq!(from.may_become(to), allowed, "{from} to {to}");
    }
}

#[test]
fn who_is_behind_a_shutdown() {
    assert!(Cause::GuestReset.by_guest() && Cause::SnapshotLoad.by_guest());
    assert!(!Cause::HostSignal.by_guest() && !Cause::HostQmpSystemReset.by_guest());
    assert_eq!(Cause::HostQmpSystemReset.name(), "host-qmp-system-reset");
}
