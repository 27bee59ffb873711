//! Interrupt lines: wires that carry one level.
//!
//! Levels reach the listeners in the order in which they were set, each exactly once, whichever threads set
//! them: a line has a queue, and one thread at a time empties it. A level set from inside a device is
//! delivered after the thread has left the device. Whoever sets a level while another thread delivers waits
//! until it has arrived: a guest that has just lowered a device's line must not find it high at the interrupt
//! controller, which would interrupt it over and over until the other thread, perhaps preempted by the very
//! processor that it has woken, gets on.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::guard::{Work, inside_device, push};

/// Who listens to lines: an interrupt controller's inputs, a processor's interrupt pins.
pub trait LineSink: Send + Sync {
    /// Line `n` now has this level.
    fn set(&self, n: u32, level: bool);
}

struct Shared {
    level: AtomicBool,
    sinks: Vec<(Arc<dyn LineSink>, u32)>,
    queue: Mutex<Delivery>,
    /// The queue has been emptied.
    idle: Condvar,
}

#[derive(Default)]
struct Delivery {
    pending: VecDeque<bool>,
    /// The thread that is delivering.
    busy: Option<ThreadId>,
    /// Threads that wait until the queue is empty.
    waiting: u32,
}

/// How long a level that another thread has to deliver is waited for, at most: lines may run in circles.
const PATIENCE: Duration = Duration::from_millis(5);

/// The driving end of an interrupt line. Clones are the same line. Setting the level it has costs one load.
#[derive(Clone, Default)]
pub struct Line(Option<Arc<Shared>>);

impl Line {
    /// A line that leads nowhere.
    pub const fn unconnected() -> Self {
        Self(None)
    }
    /// A line to input `n` of a sink.
    pub fn to(sink: Arc<dyn LineSink>, n: u32) -> Self {
        Self::to_all(vec![(sink, n)])
    }
    /// A line to several inputs.
    pub fn to_all(sinks: Vec<(Arc<dyn LineSink>, u32)>) -> Self {
        let (queue, idle) = Default::default();
        Self(Some(Arc::new(Shared { level: AtomicBool::new(false), sinks, queue, idle })))
    }
    /// A line that drives other lines.
    pub fn split(lines: impl IntoIterator<Item = Self>) -> Self {
        let sinks: Vec<_> =
            lines.into_iter().map(|line| (Arc::new(Feed(line)) as Arc<dyn LineSink>, 0)).collect();
        if sinks.is_empty() { Self::unconnected() } else { Self::to_all(sinks) }
    }
    /// A line whose level goes to a function.
    pub fn to_fn(listen: impl Fn(bool) + Send + Sync + 'static) -> Self {
        Self::to(Arc::new(Listen(listen)), 0)
    }
    /// A line whose level goes inverted to `line`.
    pub fn inverted(line: Self) -> Self {
        Self::to_fn(move |level| line.set(!level))
    }

    /// Whether the line leads anywhere.
    pub fn is_connected(&self) -> bool {
        self.0.is_some()
    }
    /// The level last set.
    #[inline]
    pub fn level(&self) -> bool {
        self.0.as_ref().is_some_and(|l| l.level.load(Relaxed))
    }
    /// Sets the level.
    #[inline]
    pub fn set(&self, level: bool) {
        if let Some(shared) = &self.0
            && shared.level.load(Relaxed) != level
        {
            self.change(shared, level);
        }
    }
    /// Sets the level and tells the listeners even if it is the old one: after a reset or a load, when what
    /// they remember may differ.
    pub fn refresh(&self, level: bool) {
        if let Some(shared) = &self.0 {
            self.change(shared, level);
        }
    }
    /// Sets the level to one.
    pub fn raise(&self) {
        self.set(true);
    }
    /// Sets the level to zero.
    pub fn lower(&self) {
        self.set(false);
    }
    /// One and then zero again.
    pub fn pulse(&self) {
        self.set(true);
        self.set(false);
    }

    #[cold]
    fn change(&self, shared: &Shared, level: bool) {
        {
            let mut queue = lock(&shared.queue);
            shared.level.store(level, Relaxed);
            queue.pending.push_back(level);
        }
        if inside_device() {
            push(Work::Line(self.clone()));
        } else {
            self.deliver();
        }
    }

    /// Empties the queue into the listeners, or waits until the thread that is at it has done so.
    pub(crate) fn deliver(&self) {
        let Some(shared) = &self.0 else { return };
        let this = thread::current().id();
        let mut queue = lock(&shared.queue);
        if let Some(other) = queue.busy {
            if other != this {
                queue.waiting += 1;
                let waited = shared.idle.wait_timeout_while(queue, PATIENCE, |queue| queue.busy.is_some());
                waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
            }
            return;
        }
        queue.busy = Some(this);
        while let Some(level) = queue.pending.pop_front() {
            drop(queue);
            for (sink, n) in &shared.sinks {
                sink.set(*n, level);
            }
            queue = lock(&shared.queue);
        }
        queue.busy = None;
        if queue.waiting > 0 {
            shared.idle.notify_all();
        }
    }
}

fn lock(queue: &Mutex<Delivery>) -> MutexGuard<'_, Delivery> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Line(unconnected)"),
            Some(_) => write!(f, "Line({})", u8::from(self.level())),
        }
    }
}

struct Feed(Line);
impl LineSink for Feed {
    fn set(&self, _: u32, level: bool) {
        self.0.set(level);
    }
}

struct Listen<F>(F);
impl<F: Fn(bool) + Send + Sync> LineSink for Listen<F> {
    fn set(&self, _: u32, level: bool) {
        (self.0)(level);
    }
}

/// A field of a device that holds output lines: one, or several by number.
pub trait Wire {
    /// How many lines there are.
    fn count(&self) -> usize;
    /// Line `n`.
    fn line(&mut self, n: usize) -> Option<&mut Line>;
}

impl Wire for Line {
    fn count(&self) -> usize {
        1
    }
    fn line(&mut self, n: usize) -> Option<&mut Line> {
        (n == 0).then_some(self)
    }
}
impl<const N: usize> Wire for [Line; N] {
    fn count(&self) -> usize {
        N
    }
    fn line(&mut self, n: usize) -> Option<&mut Line> {
        self.get_mut(n)
    }
}
impl Wire for Vec<Line> {
    fn count(&self) -> usize {
        self.len()
    }
    fn line(&mut self, n: usize) -> Option<&mut Line> {
        self.get_mut(n)
    }
}

#[cfg(test)]
#[path = "line_test.rs"]
mod test;
