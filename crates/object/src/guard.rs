//! Whether this thread is inside a device, and what waits until it has come out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::line::Line;

pub(crate) enum Work {
    Line(Line),
    Run(Box<dyn FnOnce()>),
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static DRAINING: Cell<bool> = const { Cell::new(false) };
    static QUEUE: RefCell<VecDeque<Work>> = const { RefCell::new(VecDeque::new()) };
}

/// Whether this thread holds a device's lock. Other devices cannot be asked anything then.
#[inline]
pub fn inside_device() -> bool {
    DEPTH.get() > 0
}

/// Runs `work` when this thread holds no device's lock any more: at once if it holds none now.
pub fn defer(work: impl FnOnce() + 'static) {
    if inside_device() {
        push(Work::Run(Box::new(work)));
    } else {
        work();
    }
}

/// Runs `work` as if this thread held a device's lock: for who holds another lock for which devices wait. Writes to registers
/// are done after it, and none are read.
pub fn as_inside<R>(work: impl FnOnce() -> R) -> R {
    let _inside = Inside::enter();
    work()
}

pub(crate) fn push(work: Work) {
    QUEUE.with_borrow_mut(|q| q.push_back(work));
}

/// Counts the locks that this thread holds. Dropped after the lock itself, the last one does the queued work.
pub(crate) struct Inside(());

impl Inside {
    #[inline]
    pub(crate) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        // While unwinding the work would run in the middle of a panic: it stays for the next time.
        if depth == 0 && QUEUE.with_borrow(|q| !q.is_empty()) && !std::thread::panicking() {
            drain();
        }
    }
}

/// What queued work queues is left to who is at it: a transfer may be thousands of writes to registers, and each would need room
/// on the stack of the one before.
#[cold]
fn drain() {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            DRAINING.set(false);
        }
    }
    if DRAINING.replace(true) {
        return;
    }
    let _end = End;
    // Work may enter devices again and so queue more: taken one by one, the order is kept.
    while let Some(work) = QUEUE.with_borrow_mut(VecDeque::pop_front) {
        match work {
            Work::Line(line) => line.deliver(),
            Work::Run(run) => run(),
        }
    }
}
