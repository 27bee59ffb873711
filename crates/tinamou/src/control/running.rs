//! Starting, stopping, resetting and ending: the moves between run states. All of it happens on the main loop's thread.

use super::{Control, lock};
use base::{Result, error};
use cpu::{Cause, Request, Resume, RunState, SingleStep};
use monitor::gdb::StopReason;
use monitor::qmp::event;
use monitor::qmp::{PanicAction, RebootAction, ShutdownAction, WatchdogAction};
use object::{Effect, ResetCause, ShutdownCause};
use qapi::Event;
use std::sync::Arc;

/// What a device's effect asks for.
pub(super) fn request_of(effect: &Effect) -> Option<Request> {
    Some(match effect {
        Effect::Shutdown { cause, status } => {
            let cause = match cause {
                ShutdownCause::GuestShutdown => Cause::GuestShutdown,
                ShutdownCause::GuestReset => Cause::GuestReset,
                ShutdownCause::GuestPanic => Cause::GuestPanic,
            };
            Request::Shutdown(cause, *status)
        }
        Effect::Reset { cause: ResetCause::GuestReset } => Request::Reset(Cause::GuestReset),
        Effect::Reset { cause: ResetCause::SubsystemReset } => Request::Reset(Cause::SubsystemReset),
        Effect::Panicked => Request::Panicked,
        Effect::Watchdog => Request::Watchdog,
        _ => return None,
    })
}

impl Control {
    /// A request from whatever thread: no instruction follows it before the main loop has dealt with it.
    pub(super) fn ask(self: &Arc<Self>, request: Request) {
        self.parts.cpus.ask_stop();
        let Some(request) = self.travel.note(request) else { return };
        let control = self.clone();
        self.parts.events.defer(move || control.perform(request));
    }

    pub(super) fn perform(&self, request: Request) {
        match request {
            Request::Stop(to) => self.halt(to, None, StopReason::Interrupted),
            Request::Run => {
                // Who asks from a callback has no ear for the reason why not.
                let _ = self.run_some(None);
            }
            Request::Reset(cause) => self.reset_for(cause),
            Request::Shutdown(cause, status) => self.shut_down(cause, status),
            Request::PowerDown => event::Powerdown {}.emit(),
            Request::Watchdog => self.watchdog(),
            Request::Panicked => self.panicked(),
        }
        // The vCPUs were stopped so that nothing followed the request; if the machine goes on they do.
        if self.state() == RunState::Running && self.ended().is_none() {
            self.start_processors();
        }
    }

    pub(super) fn shut_down(&self, cause: Cause, status: u32) {
        event::Shutdown { guest: cause.by_guest(), reason: cause }.emit();
        if lock(&self.actions).shutdown == ShutdownAction::Pause {
            self.halt(RunState::Shutdown, None, StopReason::Shutdown);
        } else {
            self.end(status.min(255) as u8);
        }
    }

    /// What a signal that ends the program does.
    pub fn terminated(&self) {
        lock(&self.actions).shutdown = ShutdownAction::Poweroff;
        self.shut_down(Cause::HostSignal, 0);
    }

    /// Ends the program.
    pub fn end(&self, status: u8) {
        lock(&self.ended).get_or_insert(status);
        self.parts.events.wake();
    }

    /// The exit status, if the program is to end.
    pub fn ended(&self) -> Option<u8> {
        *lock(&self.ended)
    }

    fn panicked(&self) {
        let actions = *lock(&self.actions);
        let pause = actions.panic == PanicAction::Pause
            || actions.panic == PanicAction::Shutdown && actions.shutdown == ShutdownAction::Pause;
        let action = match actions.panic {
            _ if pause => event::PanicResult::Pause,
            PanicAction::None => event::PanicResult::Run,
            _ => event::PanicResult::Poweroff,
        };
        event::GuestPanicked { action }.emit();
        if action != event::PanicResult::Run {
            self.halt(RunState::GuestPanicked, None, StopReason::Shutdown);
        }
        if action == event::PanicResult::Poweroff {
            self.shut_down(Cause::GuestPanic, u32::from(actions.panic == PanicAction::ExitFailure));
        }
    }

    fn watchdog(&self) {
        let action = lock(&self.actions).watchdog;
        event::Watchdog { action }.emit();
        match action {
            WatchdogAction::Reset => self.reset_for(Cause::GuestReset),
            WatchdogAction::Shutdown => event::Powerdown {}.emit(),
            WatchdogAction::Poweroff => self.end(0),
            WatchdogAction::Pause => self.halt(RunState::Watchdog, None, StopReason::Interrupted),
            WatchdogAction::Debug => eprintln!("watchdog: timer fired"),
            WatchdogAction::None | WatchdogAction::InjectNmi => {}
        }
    }

    pub(super) fn start_clock(&self) {
        if !self.manners.still {
            self.parts.events.clocks().start_virtual();
        }
    }

    pub(super) fn start_processors(&self) {
        if !self.manners.still {
            self.parts.cpus.start();
        }
    }

    /// Stops the machine if it runs.
    pub fn halt(&self, to: RunState, cpu: Option<usize>, reason: StopReason) {
        if self.state() != RunState::Running {
            return;
        }
        self.parts.events.clocks().stop_virtual();
        self.parts.cpus.stop();
        if let Some(cpu) = cpu {
            self.tell_cpu(cpu);
        }
        self.states.set(to);
        self.states.notify();
        event::Stop {}.emit();
        self.tell_debuggers(cpu, reason);
    }

    /// This vCPU's stop is the one that is known.
    fn tell_cpu(&self, cpu: usize) {
        if let Some(handle) = self.parts.cpus.all().get(cpu) {
            handle.set_told();
        }
    }

    fn tell_debuggers(&self, cpu: Option<usize>, reason: StopReason) {
        lock(&self.listeners).iter().for_each(|tell| tell(cpu, reason));
    }

    /// A vCPU has met a breakpoint or watchpoint, or finished a step. May be called on any thread.
    pub fn debug_exit(self: &Arc<Self>, cpu: u32, reason: StopReason) {
        if self.travel.meet(self.instructions(), cpu, reason) {
            self.tell_cpu(cpu as usize);
            return;
        }
        let control = self.clone();
        self.parts.events.defer(move || control.halt(RunState::Debug, Some(cpu as usize), reason));
    }

    /// Lets the machine run, each vCPU as `how` says: all of them if it is `None`.
    ///
    /// # Errors
    /// It has shut down.
    pub fn run_some(&self, how: Option<&[Resume]>) -> Result<()> {
        let state = self.state();
        if state == RunState::Running {
            return Ok(());
        }
        if state.needs_reset() || !state.may_become(RunState::Running) {
            return Err(error!("Resetting the Virtual Machine is required"));
        }
        event::Resume {}.emit();
        if how.is_none_or(|all| {
            all.iter().any(|r| !matches!(r, Resume::Step(SingleStep { clock: false, .. }) | Resume::Stay))
        }) {
            self.start_clock();
        }
        self.states.set(RunState::Running);
        self.states.notify();
        match how {
            None => self.start_processors(),
            Some(how) => self.parts.cpus.resume(how),
        }
        Ok(())
    }

    /// Stops the machine for a debugger, which is told even if it has been stopped before.
    pub fn pause(&self) {
        if self.state() == RunState::Running {
            self.halt(RunState::Paused, None, StopReason::Interrupted);
        } else {
            self.tell_debuggers(None, StopReason::Interrupted);
        }
    }

    /// Resets the machine, or ends the program if that is what resets are to do.
    pub fn reset_for(&self, cause: Cause) {
        if lock(&self.actions).reboot == RebootAction::Shutdown && cause != Cause::SubsystemReset {
            return self.shut_down(cause, 0);
        }
        self.parts.cpus.stop();
        self.record_reset(cause);
        self.initialize();
        event::Reset { guest: cause.by_guest(), reason: cause }.emit();
        match self.state() {
            RunState::Running => self.start_processors(),
            RunState::InMigrate | RunState::FinishMigrate => {}
            _ => self.states.set(RunState::Prelaunch),
        }
    }
}

#[cfg(test)]
#[path = "running_test.rs"]
mod test;
