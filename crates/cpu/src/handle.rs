//! A vCPU as other threads see it: input lines, a kick, work for its thread.

use crate::in_turn::Bell;
use crate::{Breakpoints, Counter, Cpu, Frame, INTERRUPT_EXIT, INTERRUPT_GUEST, Watchpoints};
use events::Timer;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

/// What a vCPU is to do when the machine goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Stand still.
    Stay,
    /// Run.
    Run,
    /// Do one instruction.
    Step(SingleStep),
}

/// How a single step is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleStep {
    /// An interrupt that is pending is taken first.
    pub interrupts: bool,
    /// The machine's clock runs meanwhile.
    pub clock: bool,
}

type Work = Box<dyn FnOnce(&mut dyn Cpu) + Send>;

/// What a vCPU's thread is asked to do; behind the handle's lock.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) stop: bool,
    pub(crate) quit: bool,
    pub(crate) step: Option<SingleStep>,
    pub(crate) parked: bool,
    pub(crate) woken: bool,
    pub(crate) work: VecDeque<Work>,
}

/// Shared handle of one vCPU.
pub struct CpuHandle {
    index: u32,
    frame: Arc<Frame>,
    lines: AtomicU64,
    pub(crate) asked: Mutex<Asked>,
    pub(crate) changed: Condvar,
    pub(crate) halted: AtomicBool,
    pub(crate) thread_id: AtomicU64,
    told: AtomicBool,
    /// Of a thread that runs several vCPUs in turn.
    pub(crate) bell: OnceLock<Arc<Bell>>,
    /// The vCPU's own timer, whose callback may run on its thread.
    timer: OnceLock<Timer>,
}

impl CpuHandle {
    /// A handle for vCPU `index` whose code runs on `frame`. It is created stopped.
    pub fn new(index: u32, frame: Arc<Frame>) -> Arc<CpuHandle> {
        Arc::new(CpuHandle {
            index,
            frame,
            lines: AtomicU64::new(0),
            asked: Mutex::new(Asked { stop: true, ..Asked::default() }),
            changed: Condvar::new(),
            halted: AtomicBool::new(false),
            thread_id: AtomicU64::new(0),
            told: AtomicBool::new(false),
            bell: OnceLock::new(),
            timer: OnceLock::new(),
        })
    }
    /// Index among the machine's vCPUs.
    pub fn index(&self) -> u32 {
        self.index
    }
    /// The frame.
    pub fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }
    /// Host thread id (Linux tid), 0 before the thread runs.
    pub fn thread_id(&self) -> u64 {
        self.thread_id.load(Relaxed)
    }
    /// Whether the vCPU waits for an interrupt.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Relaxed)
    }
    /// Levels of the 64 input lines.
    pub fn lines(&self) -> u64 {
        self.lines.load(Acquire)
    }
    /// Sets input line `n` (0 to 63) and lets the vCPU look.
    pub fn set_line(&self, n: u32, level: bool) {
        let bit = 1u64 << (n & 63);
        let before =
            if level { self.lines.fetch_or(bit, AcqRel) } else { self.lines.fetch_and(!bit, AcqRel) };
        if (before & bit != 0) != level {
            self.interrupt();
        }
    }
    /// Sets all input lines, as a snapshot has them.
    pub fn set_lines(&self, levels: u64) {
        self.lines.store(levels, SeqCst);
        self.interrupt();
    }
    /// Takes input line `n` back if it is set, and tells whether it was: for inputs of which only the edge counts. For
    /// the vCPU's own thread; nobody is woken.
    pub fn take_line(&self, n: u32) -> bool {
        let bit = 1u64 << (n & 63);
        self.lines.load(Acquire) & bit != 0 && self.lines.fetch_and(!bit, AcqRel) & bit != 0
    }
    /// Makes the vCPU look at its interrupts, waking it if it waits.
    pub fn interrupt(&self) {
        self.frame.interrupt.fetch_or(INTERRUPT_GUEST, SeqCst);
        if self.halted.load(SeqCst) {
            let mut asked = self.lock();
            asked.woken = true;
            drop(asked);
            self.wake();
        }
    }
    /// Gives the vCPU a timer of its own, once: one whose callback raises one of its lines. While the vCPU waits for an interrupt its own thread waits for the
    /// deadline, too, so that the main loop need not be woken first.
    pub fn set_timer(&self, timer: Timer) {
        let _ = self.timer.set(timer);
    }
    /// That timer.
    pub fn timer(&self) -> Option<&Timer> {
        self.timer.get()
    }
    /// The vCPU has nothing to do: its thread waits until somebody wakes it, or its timer is due. (Whose callback takes the
    /// lock, so that is given up.)
    pub(crate) fn wait_for_interrupt(&self, asked: MutexGuard<'_, Asked>) {
        let changed = &self.changed;
        let wait = |most: Option<Duration>| match most {
            None => drop(changed.wait(asked)),
            Some(most) => drop(changed.wait_timeout(asked, most)),
        };
        match self.timer.get() {
            None => wait(None),
            Some(timer) => timer.sleep_until_due(wait),
        }
    }
    /// Wakes the vCPU's thread if it waits.
    fn wake(&self) {
        self.changed.notify_all();
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
    /// Makes the vCPU come out of its accelerator soon.
    pub fn kick(&self) {
        self.frame.interrupt.fetch_or(INTERRUPT_EXIT, SeqCst);
        self.wake();
    }
    /// Whoever debugs has been told where the vCPU has stopped, and goes on from there. Of several that stop at once only one is told of.
    pub fn set_told(&self) {
        self.told.store(true, Release);
    }
    /// Whether that was so, once.
    pub fn take_told(&self) -> bool {
        self.told.load(Relaxed) && self.told.swap(false, AcqRel)
    }
    /// Runs `f` on the vCPU's thread, soon; does not wait.
    pub fn async_run_on(&self, f: impl FnOnce(&mut dyn Cpu) + Send + 'static) {
        self.lock().work.push_back(Box::new(f));
        self.kick();
    }
    /// Runs `f` on the vCPU's thread and waits for its result; `None` if the thread has ended.
    pub fn run_on<R: Send + 'static>(&self, f: impl FnOnce(&mut dyn Cpu) -> R + Send + 'static) -> Option<R> {
        let (send, receive) = mpsc::channel();
        self.async_run_on(move |c| {
            let _ = send.send(f(c));
        });
        receive.recv().ok()
    }
    /// Asks the vCPU to stop; [`Cpus::stop`] waits until all have.
    pub fn ask_stop(&self) {
        self.lock().stop = true;
        self.kick();
    }
    /// Lets the vCPU do what `how` says.
    pub fn ask_run(&self, how: Resume) {
        let step = match how {
            Resume::Stay => return,
            Resume::Run => None,
            Resume::Step(step) => Some(step),
        };
        let mut asked = self.lock();
        asked.stop = false;
        asked.step = step;
        asked.parked = false;
        drop(asked);
        self.wake();
    }
    /// Ends the vCPU's thread.
    pub fn ask_quit(&self) {
        self.lock().quit = true;
        self.kick();
    }
    pub(crate) fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All vCPUs of a machine, and what they share.
#[derive(Default)]
pub struct Cpus {
    handles: Mutex<Vec<Arc<CpuHandle>>>,
    /// The debugger's breakpoints.
    pub breakpoints: Breakpoints,
    /// The debugger's watchpoints.
    pub watchpoints: Watchpoints,
    exclusive: Mutex<Running>,
    left: Condvar,
    /// Held by whoever stops or starts several vCPUs.
    gate: Mutex<()>,
    counter: OnceLock<Arc<Counter>>,
}

#[derive(Default)]
struct Running {
    count: usize,
    wanted: usize,
}

impl Cpus {
    /// An empty machine.
    pub fn new() -> Arc<Cpus> {
        Arc::default()
    }
    /// Instructions are counted from now on. To be called before an accelerator is made.
    pub fn count(&self, counter: Arc<Counter>) {
        let _ = self.counter.set(counter);
    }
    /// What counts instructions, if they are counted: then one thread runs all vCPUs.
    pub fn counter(&self) -> Option<&Arc<Counter>> {
        self.counter.get()
    }
    /// Adds a vCPU.
    pub fn add(&self, h: Arc<CpuHandle>) {
        self.all_mut().push(h);
    }
    /// All vCPUs by index.
    pub fn all(&self) -> Vec<Arc<CpuHandle>> {
        self.all_mut().clone()
    }
    fn all_mut(&self) -> MutexGuard<'_, Vec<Arc<CpuHandle>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Does something that concerns several vCPUs, so that it is seen as a whole or not at all by those who do the same.
    pub(crate) fn undivided<R>(&self, f: impl FnOnce() -> R) -> R {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        f()
    }
    /// Asks all vCPUs to stop.
    pub fn ask_stop(&self) {
        self.undivided(|| self.all().iter().for_each(|h| h.ask_stop()));
    }
    /// Stops all vCPUs and waits until they stand still. Not to be called on a vCPU's thread.
    pub fn stop(&self) {
        self.ask_stop();
        self.wait();
    }
    /// Waits until all vCPUs stand still, whoever has asked them to. Not to be called on a vCPU's thread.
    pub fn wait(&self) {
        for h in self.all() {
            let mut asked = h.lock();
            while !asked.parked && !asked.quit {
                asked = h.changed.wait(asked).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
    /// Lets all vCPUs run.
    pub fn start(&self) {
        self.undivided(|| self.all().iter().for_each(|h| h.ask_run(Resume::Run)));
    }
    /// Lets each vCPU do what `how` says.
    pub fn resume(&self, how: &[Resume]) {
        self.undivided(|| self.all().iter().zip(how).for_each(|(h, how)| h.ask_run(*how)));
    }
    /// Ends all threads.
    pub fn quit(&self) {
        self.all().iter().for_each(|h| h.ask_quit());
    }

    /// A vCPU's thread enters its accelerator. Waits while somebody is alone.
    pub fn enter(&self) {
        let mut r = self.running();
        while r.wanted > 0 {
            r = self.left.wait(r).unwrap_or_else(PoisonError::into_inner);
        }
        r.count += 1;
    }
    /// A vCPU's thread has left its accelerator.
    pub fn leave(&self) {
        let mut r = self.running();
        r.count -= 1;
        drop(r);
        self.left.notify_all();
    }
    /// Runs `f` while no vCPU is inside its accelerator. May be called by a vCPU's thread that is itself outside.
    pub fn alone<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut r = self.running();
        r.wanted += 1;
        while r.count > 0 {
            drop(r);
            self.all().iter().for_each(|h| h.kick());
            r = self.running();
            if r.count > 0 {
                let pause = std::time::Duration::from_millis(1);
                r = self.left.wait_timeout(r, pause).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        // The lock is held throughout: two who want to be alone take turns.
        let result = f();
        r.wanted -= 1;
        drop(r);
        self.left.notify_all();
        result
    }
    fn running(&self) -> MutexGuard<'_, Running> {
        self.exclusive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
