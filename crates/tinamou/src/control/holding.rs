//! Standing still for a snapshot: a stop that debuggers do not hear of, as nothing follows from it.

use super::Control;
use cpu::RunState;
use monitor::qmp::event;
use qapi::Event;

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

    /// Ends what [`Control::hold`] began: the machine is in the state `to`.
    pub fn go_on(&self, to: RunState) {
        if to != RunState::Running {
            if self.state() != to {
                self.states.set(to);
            }
            return;
        }
        event::Resume {}.emit();
        self.parts.events.clocks().start_virtual();
        self.states.set(RunState::Running);
        self.states.notify();
        self.parts.cpus.start();
    }
}
