//! Counting instructions (`-icount`): at each of them the count is exact where the guest can see it.
//!
//! ```text
//! a block's entry takes all its instructions from the frame's budget (host: Config::budget)
//!   left in the middle by a trap              --> Tcg::give_back what has not been executed
//!   device access, function with any effects  --> Tcg::give_back, and the dispatcher interprets that instruction alone
//! budget used up or less than a block may have --> the dispatcher interprets, down to nothing: Exit::Spent
//! ```
//! The rule: an instruction counts one when it has been executed, has trapped, or its fetch has faulted; interrupts count
//! nothing. It is the same whatever blocks the instructions were translated in, so that the count does not
//! depend on where the execution was stopped. For the same reason everything that can make an interrupt, or read a clock, is
//! interpreted: after it the dispatcher looks at the interrupt word at once.
//!
//! Where nothing is counted, none of this is in the code; the engine asks `Tcg::counter` on its slow paths only.

use crate::run::Tcg;
use cpu::{Exit, Frame, Guest, Step, Stop};
use std::sync::atomic::Ordering::Relaxed;

impl<G: Guest> Tcg<G> {
    /// The budget is used up.
    #[inline]
    pub(crate) fn is_spent(&self, frame: &Frame) -> bool {
        self.counter.is_some() && frame.budget.load(Relaxed) <= 0
    }
    /// Whether the next instruction has to be interpreted: because it was put aside for that, or because a block might
    /// have more instructions than may run.
    #[inline]
    pub(crate) fn next_counted(&mut self, frame: &Frame) -> Option<()> {
        self.counter.as_ref()?;
        let few = frame.budget.load(Relaxed) < self.shared.longest_block().into();
        (std::mem::take(&mut self.alone) || few).then_some(())
    }
    /// Makes the clocks and counters show what has been executed.
    #[inline]
    pub(crate) fn make_exact(&self, g: &G) {
        if let Some(counter) = &self.counter {
            counter.exact(g.frame().budget.load(Relaxed));
        }
    }
    /// Takes instructions from the budget.
    #[inline]
    pub(crate) fn count(&self, g: &G, insns: i64) {
        if self.counter.is_some() {
            g.frame().budget.fetch_sub(insns, Relaxed);
        }
    }
    /// An instruction has been interpreted. One that a watchpoint has kept from happening will be once more.
    pub(crate) fn count_interpreted(&self, g: &G, step: Step) {
        if !matches!(step, Step::Exit(Exit::Watched(_))) {
            self.count(g, 1);
        }
    }
    /// Translated code is left by the instruction that has called from host address `at`: gives back those behind it, and
    /// itself unless it has been executed.
    pub(crate) fn give_back(&self, g: &G, at: u64, executed: bool) {
        if self.counter.is_some()
            && let Some(behind) = self.shared.cache().instructions_behind(at)
        {
            self.count(g, -(i64::from(behind) + i64::from(!executed)));
        }
    }
    /// Before an access to a device: the reason not to make it from translated code.
    #[inline]
    pub(crate) fn alone(&self) -> Result<(), Stop> {
        if self.counter.is_some() && !self.guest.is_null() { Err(Stop::Exit(Exit::Alone)) } else { Ok(()) }
    }
}
