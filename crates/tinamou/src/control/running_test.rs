use super::*;
use crate::control::{Manners, Parts};
use crate::plug::Backends;
use cpu::{Cpus, RunControl};
use events::{Clock, EventLoop, Runner};
use memory::{AddressSpace, Region};
use object::Node;
use std::sync::Mutex;
use std::time::Duration;

/// Control over a machine of nothing.
fn control() -> (Arc<Control>, Runner) {
    let (events, runner) = EventLoop::new().unwrap();
    let sockets = machines::Board::new("none", &events).sockets();
    let parts = Parts {
        events,
        cpus: Cpus::new(),
        memory: AddressSpace::new("memory", &Region::container("system", memory::WHOLE)),
        spaces: Vec::new(),
        root: Node::new("container"),
        bus: Node::new("System"),
        roms: Arc::default(),
        devices: Mutex::default(),
        sockets,
        resets: Vec::new(),
        reset_processor: Arc::new(|_| ()),
        dtb: None,
        translation: Box::new(String::new),
        limit_blocks: Box::new(|_| ()),
    };
    let backends = Backends::new(Arc::default(), Arc::default(), Default::default(), Default::default());
    let (manners, states) = (Manners::default(), RunControl::new());
    let lines = crate::lines::lines(&Default::default(), &parts.events, &Arc::default());
    let control = Control::new(parts, manners, states, lines, backends);
    control.states().own();
    (control, runner)
}

fn turn(runner: &mut Runner, until: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !until() {
        runner.run_once(Some(Duration::from_millis(10))).unwrap();
        assert!(begin.elapsed().as_secs() < 30);
    }
}

#[test]
fn a_timer_stops_the_machine_and_starts_it_again() {
    let (control, mut runner) = control();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    control.states().on_change(0, move |state| note.lock().unwrap().push(state));
    let states = control.states().clone();
    let mut next = Request::Stop(RunState::Paused);
    let again: Arc<std::sync::OnceLock<events::Timer>> = Arc::default();
    let (timer, clocks) = (again.clone(), control.events().clocks().clone());
    let _ = again.set(control.events().timer(Clock::Realtime, move || {
        states.request(next);
        next = if next == Request::Run { Request::Stop(RunState::Paused) } else { Request::Run };
        if let Some(timer) = timer.get() {
            timer.arm(clocks.now_ns(Clock::Realtime) + 1_000_000);
        }
    }));
    control.run_some(None).unwrap();
    again.get().unwrap().arm(0);
    turn(&mut runner, || seen.lock().unwrap().len() >= 5);
    let seen = seen.lock().unwrap();
    assert_eq!(seen[..4], [RunState::Running, RunState::Paused, RunState::Running, RunState::Paused]);
    again.get().unwrap().cancel();
}

#[test]
fn watchdogs_and_panics() {
    let (control, mut runner) = control();
    let change = |watchdog, panic| {
        let mut actions = lock(&control.actions);
        (actions.watchdog, actions.panic) = (watchdog, panic);
    };
    let mut ask = |request| {
        control.run_some(None).unwrap();
        let asked = control.states().clone();
        std::thread::spawn(move || asked.request(request)).join().unwrap();
        runner.run_once(Some(Duration::from_secs(1))).unwrap();
        control.state()
    };
    change(WatchdogAction::Pause, PanicAction::None);
    assert_eq!(ask(Request::Watchdog), RunState::Watchdog);
    assert_eq!(ask(Request::Panicked), RunState::Running);
    change(WatchdogAction::None, PanicAction::Pause);
    assert_eq!(ask(Request::Watchdog), RunState::Running);
    assert_eq!(ask(Request::Panicked), RunState::GuestPanicked);
    assert_eq!(control.ended(), None);
    change(WatchdogAction::Reset, PanicAction::ExitFailure);
    assert_eq!(ask(Request::Watchdog), RunState::Running);
    assert_eq!(ask(Request::Panicked), RunState::GuestPanicked);
    assert_eq!(control.ended(), Some(1));
}

#[test]
fn effects_of_devices_are_requests() {
    for (effect, request) in [
        (Effect::SHUTDOWN, Some(Request::Shutdown(Cause::GuestShutdown, 0))),
        (Effect::RESET, Some(Request::Reset(Cause::GuestReset))),
        (Effect::Watchdog, Some(Request::Watchdog)),
        (Effect::Panicked, Some(Request::Panicked)),
        (Effect::None, None),
    ] {
        assert_eq!(request_of(&effect), request);
    }
}
