//! Standing still for a snapshot: a stop that debuggers do not hear of, as nothing follows from it.

use super::Control;
use cpu::RunState;
use monitor::qmp::event;
use qapi::Event;
use std::sync::atomic::Ordering::SeqCst;

impl Control {
    /// Lets the machine stand still; one that runs is in the state `why` meanwhile. [`Control::go_on`] with what this
    /// returns must follow.
    pub fn hold(&self, why: RunState) -> RunState {
        let before = self.state();
        self.parts.events.clocks().stop_virtual();
        self.parts.cpus.stop();
        if before == RunState::Running {
            self.states.set(why);
            self.states.notify();
            event::Stop {}.emit();
        }
        before
    }

    /// The same before the last part of a migration; a machine that does not run is in a state of its own too.
    pub fn hold_for_migration(&self) -> RunState {
        let before = self.hold(RunState::FinishMigrate);
        if self.state().may_become(RunState::FinishMigrate) {
            self.states.set(RunState::FinishMigrate);
        }
        before
    }

    /// The machine waits for another process to send it its content, and then runs if `autostart`.
    pub fn expect_migration(&self, autostart: bool) {
        self.autostart.store(autostart, SeqCst);
        self.states.set(RunState::InMigrate);
    }

    /// The content has come, of a machine that ran or did not.
    pub fn arrived(&self, ran: bool) {
        self.states.set(RunState::Paused);
        if ran && self.autostart.load(SeqCst) {
            // Nothing forbids it in this state.
            let _ = self.run_some(None);
        }
    }

    /// Ends what [`Control::hold`] began: the machine is in the state `to`.
    pub fn go_on(&self, to: RunState) {
        if to != RunState::Running {
            if self.state() != to {
                self.states.set(to);
            }
            return;
        }
        event::Resume {}.emit();
        self.start_clock();
        self.states.set(RunState::Running);
        self.states.notify();
        self.start_processors();
    }
}
