//! One thread for all vCPUs, where instructions are counted (`-icount`): what they do together is then decided by the
//! count and by nothing else.
//!
//! ```text
//! run_in_turn: serve requests --> agenda --> timers that are due --> whose turn? --> budget --> Accelerator::run
//!      ^                                                               |                          |
//!      |                                                               +-- nobody's: idle         |
//!      +------------------------------ what is left of the turn ----------------------------------+
//! ```
//! *Turn*: a vCPU runs [`TURN`] instructions, or until it waits for an interrupt; then the next one that can run does. A turn
//! goes on after whatever interrupts it (a deadline, a request from another thread), so that such things do not change who
//! runs when. *Budget*: the instructions until the turn is over, the next timer is due or the agenda has something to do,
//! whichever comes first; the accelerator stops exactly there. *Round*: one call of the timers that are due; with the
//! count, the number of rounds names a place in the execution, also while nothing is executed.

use crate::vcpu::{thread_id, trace};
use crate::{Accelerator, CpuHandle, Cpus, Exit, Frame, Guest, INTERRUPT_EXIT, SingleStep};
use events::{Agenda, Clock, EventLoop, Icount, Moment};
use state::{Loader, Saved, Saver, State, StateError};
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Instructions of a turn, and where there is nobody to take turns with.
const TURN: u64 = 10_000;
const ALONE: u64 = 1 << 20;
/// How often an adaptive shift is looked at, and by how much the clocks may differ.
const GLANCE: Duration = Duration::from_millis(100);
const WOBBLE: i64 = 100_000_000;
/// How far an aligned guest may be ahead of the host's clock.
const AHEAD: i64 = 3_000_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the thread.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_all();
    }
    /// What has rung so far has been heard.
    fn heard(&self) {
        *lock(&self.rung) = false;
    }
    /// Waits until it rings, or so long.
    fn wait(&self, most: Option<Duration>) {
        let mut rung = lock(&self.rung);
        let until = most.and_then(|most| Instant::now().checked_add(most));
        while !*rung {
            rung = match until {
                None => self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    self.changed.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Default, State)]
#[state(name = "icount")]
struct Turn {
    count: u64,
    rounds: u64,
    /// The vCPU.
    current: u32,
    /// What is left of its turn.
    left: u64,
}

/// Counts instructions.
pub struct Counter {
    icount: Arc<Icount>,
    events: EventLoop,
    /// The count when the budget of the vCPU that runs is zero, modulo 2^64.
    end: AtomicU64,
    turn: Mutex<Turn>,
    agenda: OnceLock<Arc<dyn Agenda>>,
    bell: Arc<Bell>,
}

impl Counter {
    /// For the machine of this main loop, whose clocks count instructions.
    pub fn new(events: &EventLoop, icount: Arc<Icount>) -> Arc<Counter> {
        Arc::new(Counter {
            icount,
            events: events.clone(),
            end: AtomicU64::new(0),
            turn: Mutex::default(),
            agenda: OnceLock::new(),
            bell: Arc::default(),
        })
    }
    /// The count and the clock.
    pub fn icount(&self) -> &Arc<Icount> {
        &self.icount
    }
    /// Lets the vCPU of this frame run so many instructions, all others none.
    pub fn grant(&self, frame: &Frame, budget: u64) {
        self.end.store(self.icount.count().wrapping_add(budget), Relaxed);
        frame.budget.store(i64::try_from(budget).unwrap_or(i64::MAX), Relaxed);
    }
    /// The vCPU that runs has this budget left: makes the count exact.
    #[inline]
    pub fn exact(&self, budget: i64) {
        self.icount.set_count(self.end.load(Relaxed).wrapping_sub(budget as u64));
    }
    /// The last lines of `info jit`.
    pub fn report(&self) -> String {
        let count = self.icount.count();
        let shift = self.icount.shift();
        format!("Instructions        {count}\nIcount shift        {shift}\n")
    }
    /// What is to happen besides timers; the first time counts.
    pub fn set_agenda(&self, agenda: Arc<dyn Agenda>) {
        let _ = self.agenda.set(agenda);
    }
}

impl Saved for Counter {
    fn section(&self) -> &'static str {
        Turn::NAME
    }
    fn save(&self, instance: u32, out: &mut Saver) {
        let Moment { count, rounds } = self.icount.here();
        let turn = Turn { count, rounds, ..*lock(&self.turn) };
        out.section(instance, &turn);
    }
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> Result<(), StateError> {
        let mut turn = Turn::default();
        from.section(instance, &mut turn)?;
        self.icount.restore(Moment { count: turn.count, rounds: turn.rounds });
        *lock(&self.turn) = turn;
        Ok(())
    }
}

/// A vCPU with what runs it.
struct Seat<G, A> {
    cpu: G,
    accelerator: A,
    handle: Arc<CpuHandle>,
}

/// What a vCPU is about to do.
enum Ready {
    /// It stands still, or waits.
    No,
    /// Its thread is to end.
    Quit,
    Run,
    Step(SingleStep),
}

impl<G: Guest, A: Accelerator<G>> Seat<G, A> {
    /// Does what others have asked for. Afterwards it stands still for them if it is to.
    fn serve(&mut self) {
        let mut asked = self.handle.lock();
        let mut worked = false;
        while let Some(work) = asked.work.pop_front() {
            drop(asked);
            work(&mut self.cpu);
            worked = true;
            asked = self.handle.lock();
        }
        if (asked.quit || asked.stop) && !asked.parked {
            asked.parked = true;
            self.handle.changed.notify_all();
        }
        drop(asked);
        if worked {
            self.accelerator.sync(&mut self.cpu);
        }
    }
    fn is_stopped(&self) -> bool {
        let asked = self.handle.lock();
        asked.stop || asked.quit
    }
    fn has_work(&self) -> bool {
        !self.handle.lock().work.is_empty()
    }
    fn ready(&mut self) -> Ready {
        let mut asked = self.handle.lock();
        if asked.quit {
            return Ready::Quit;
        }
        if asked.stop {
            return Ready::No;
        }
        // A step waits for the interrupt that the vCPU waits for: it is to be what happens without a debugger.
        if self.cpu.halted() {
            if !self.cpu.wakes() {
                return Ready::No;
            }
            self.cpu.set_halted(false);
            self.handle.halted.store(false, SeqCst);
        }
        asked.step.take().map_or(Ready::Run, Ready::Step)
    }
}

/// Starts the thread that runs all vCPUs in turn. `report` is as in [`crate::spawn`]. The machine's [`Cpus::counter`] says how
/// they are counted.
///
/// # Errors
/// The host's.
///
/// # Panics
/// If instructions are not counted.
pub fn spawn_in_turn<G: Guest, A: Accelerator<G>>(
    cpus: Arc<Cpus>,
    vcpus: Vec<(G, A)>,
    report: impl Fn(u32, Exit) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let Some(counter) = cpus.counter().cloned() else { panic!("vCPUs in turn without a count") };
    let seat = |(cpu, accelerator): (G, A)| {
        let handle = cpu.handle().clone();
        let _ = handle.bell.set(counter.bell.clone());
        Seat { cpu, accelerator, handle }
    };
    let mut seats: Vec<_> = vcpus.into_iter().map(seat).collect();
    let (bell, running) = (counter.bell.clone(), cpus.clone());
    counter.icount.on_alarm(move || {
        running.all().iter().for_each(|handle| {
            handle.frame().interrupt.fetch_or(INTERRUPT_EXIT, SeqCst);
        });
        bell.ring();
    });
    std::thread::Builder::new().name("CPU 0/TCG".into()).spawn(move || {
        let id = thread_id();
        seats.iter().for_each(|seat| seat.handle.thread_id.store(id, Relaxed));
        let mut loops = Loop { cpus, counter, pace: Pace::default(), last_round: None };
        while loops.turn(&mut seats, &report) {}
    })
}

/// The thread's own state.
struct Loop {
    cpus: Arc<Cpus>,
    counter: Arc<Counter>,
    pace: Pace,
    /// The count at which timers ran last: one that is always due does not keep instructions from running.
    last_round: Option<(u64, u64)>,
}

impl Loop {
    /// Does the next thing; false at the end.
    fn turn<G: Guest, A: Accelerator<G>>(
        &mut self,
        seats: &mut [Seat<G, A>],
        report: &impl Fn(u32, Exit),
    ) -> bool {
        let (counter, icount) = (self.counter.clone(), self.counter.icount.clone());
        counter.bell.heard();
        seats.iter_mut().for_each(Seat::serve);
        if self.cpus.undivided(|| seats.iter().all(Seat::is_stopped)) {
            self.pace.rest();
            if seats.iter().all(|seat| seat.handle.lock().quit) {
                return false;
            }
            counter.bell.wait(None);
            return true;
        }
        if let Some(agenda) = counter.agenda.get() {
            agenda.act(icount.here());
            // What it has asked for goes first.
            if seats.iter().all(Seat::is_stopped) {
                return true;
            }
        }
        let deadline = counter.events.next_deadline(Clock::Virtual);
        let now = (icount.count(), icount.now_ns());
        if deadline.is_some_and(|deadline| deadline <= now.1) && self.last_round != Some(now) {
            self.last_round = Some(now);
            icount.begin_round();
            counter.events.run_virtual();
            return true;
        }
        // Work that has come meanwhile goes first, for whomever it is: it does not make it another's turn.
        if seats.iter().any(Seat::has_work) {
            return true;
        }
        // Not between the first and the last of several that are stopped.
        let cpus = self.cpus.clone();
        match cpus.undivided(|| self.choose(seats)) {
            Some((n, ready)) => {
                if self.run(&mut seats[n], ready, deadline, report) {
                    // Nobody runs on while the debugger is told.
                    seats.iter().for_each(|seat| seat.handle.lock().stop = true);
                }
            }
            None if seats.iter().all(Seat::is_stopped) => {}
            None => self.idle(deadline),
        }
        true
    }
    /// Whose turn it is, if anybody can run.
    fn choose<G: Guest, A: Accelerator<G>>(&mut self, seats: &mut [Seat<G, A>]) -> Option<(usize, Ready)> {
        let mut turn = lock(&self.counter.turn);
        let (count, current) = (seats.len(), turn.current as usize % seats.len().max(1));
        let first = if turn.left > 0 { current } else { current + 1 };
        for n in (first..first + count).map(|n| n % count) {
            match seats[n].ready() {
                Ready::No | Ready::Quit => {}
                ready => {
                    if n != current || turn.left == 0 {
                        turn.left = if count == 1 { ALONE } else { TURN };
                    }
                    turn.current = n as u32;
                    return Some((n, ready));
                }
            }
        }
        None
    }
    /// Runs a vCPU until its budget is used up or something else ends it; true if that is the debugger's business.
    fn run<G: Guest, A: Accelerator<G>>(
        &mut self,
        seat: &mut Seat<G, A>,
        ready: Ready,
        deadline: Option<u64>,
        report: &impl Fn(u32, Exit),
    ) -> bool {
        let (counter, icount) = (&self.counter, &self.counter.icount);
        let (frame, before) = (seat.handle.frame().clone(), icount.count());
        let next = counter.agenda.get().map_or(u64::MAX, |agenda| agenda.next());
        let budget = lock(&counter.turn)
            .left
            .min(deadline.map_or(u64::MAX, |deadline| icount.instructions_until(deadline)))
            .min(next.saturating_sub(before))
            .max(1);
        counter.grant(&frame, budget);
        frame.interrupt.fetch_and(!INTERRUPT_EXIT, SeqCst);
        // A request made before the clearing is not lost: its data is behind the lock. Neither is an alarm.
        let mut asked = seat.handle.lock();
        if asked.stop
            || asked.quit
            || !asked.work.is_empty()
            || counter.events.next_deadline(Clock::Virtual) != deadline
        {
            if let Ready::Step(step) = ready {
                asked.step = Some(step);
            }
            return false;
        }
        drop(asked);
        self.cpus.enter();
        let begin = trace::POINTS.begin(trace::RUN);
        let exit = match ready {
            Ready::Step(how) => seat.accelerator.step(&mut seat.cpu, how.interrupts),
            _ => seat.accelerator.run(&mut seat.cpu),
        };
        self.cpus.leave();
        let index = seat.handle.index();
        trace::POINTS.end(trace::RUN, begin, || format!("cpu {index} {exit:?}"));
        counter.exact(frame.budget.load(Relaxed));
        let executed = icount.count().wrapping_sub(before);
        {
            let mut turn = lock(&counter.turn);
            turn.left = turn.left.saturating_sub(executed);
            if matches!(exit, Exit::Halted | Exit::Parked) {
                turn.left = 0;
            }
        }
        if matches!(exit, Exit::Halted | Exit::Parked) {
            seat.cpu.set_halted(true);
            seat.handle.halted.store(true, SeqCst);
        }
        self.pace.keep(counter);
        let met = match (exit, &ready) {
            (Exit::Debug | Exit::Watched(_), _) => exit,
            (_, Ready::Step(_)) => Exit::Debug,
            _ => return false,
        };
        report(index, met);
        true
    }
    /// Nothing is to be executed until a timer or somebody outside makes an interrupt.
    fn idle(&mut self, deadline: Option<u64>) {
        let (counter, icount) = (&self.counter, &self.counter.icount);
        let now = icount.now_ns();
        if let Some(time) = counter.agenda.get().and_then(|agenda| agenda.time(icount.here())) {
            // Where the agenda knows the future there is no reason to wait for it.
            icount.set_time(time);
            return;
        }
        match deadline {
            None => counter.bell.wait(None),
            // Timers that are armed for the present again, with nothing executed in between.
            Some(deadline) if deadline <= now => self.last_round = None,
            Some(deadline) if icount.options().sleep => {
                let left = deadline.saturating_sub(now);
                let began = Instant::now();
                counter.bell.wait(Some(Duration::from_nanos(left)));
                let slept = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                icount.set_time(now + slept.min(left));
            }
            Some(deadline) => icount.set_time(deadline),
        }
        self.pace.rest();
    }
}

/// Compares the guest's clock with the host's.
#[derive(Default)]
struct Pace {
    /// When the guest has begun to run, and its clock then.
    begun: Option<(Instant, u64)>,
    looked: Option<Instant>,
    last: i64,
}

impl Pace {
    /// The guest stands still or has waited: what has passed then does not count.
    fn rest(&mut self) {
        self.begun = None;
    }
    /// By how much the guest is ahead.
    fn ahead(&mut self, icount: &Icount) -> i64 {
        let now = icount.now_ns();
        let (begun, guest) = *self.begun.get_or_insert_with(|| (Instant::now(), now));
        let host = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
        (now.wrapping_sub(guest) as i64).saturating_sub(host)
    }
    fn keep(&mut self, counter: &Counter) {
        let icount = &counter.icount;
        if icount.options().align {
            let ahead = self.ahead(icount);
            if ahead > AHEAD {
                counter.bell.wait(Some(Duration::from_nanos(ahead as u64)));
            }
        }
        if !icount.options().adaptive || self.looked.is_some_and(|looked| looked.elapsed() < GLANCE) {
            return;
        }
        self.looked = Some(Instant::now());
        let ahead = self.ahead(icount);
        let shift = icount.shift();
        if ahead > WOBBLE && ahead > self.last && shift > 0 {
            icount.set_shift(shift - 1);
        } else if ahead < -WOBBLE && ahead < self.last {
            icount.set_shift(shift + 1);
        }
        self.last = ahead;
    }
}
