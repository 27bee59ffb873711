//! Migration: a machine that goes to another process, or comes from one.
//!
//! ```text
//! migrate ----> thread: migration::send --Link::stop--> main loop: hold, drain, last pages --> thread --> main loop: postmigrate
//! -incoming --> thread: migration::receive -----------> main loop: Machine::load, run
//! ```

use super::Saving;
use crate::commands::migration_events::{MigrationEvent, MigrationPass};
use crate::control::Control;
use base::{Result, error};
use cpu::RunState;
use migration::{Driver, Last, Machine, Place, Progress, Sink, Source, Status};
use qapi::Event;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

type Breaker = Box<dyn Fn() + Send>;

/// The migration of a machine.
#[derive(Default)]
pub struct Moving {
    /// How it stands.
    pub progress: Arc<Progress>,
    /// Ends what the thread may be waiting for.
    breaker: Mutex<Option<Breaker>>,
    /// An incoming one has begun.
    received: AtomicBool,
}

fn descriptor(name: &str) -> Result<OwnedFd> {
    backends::fd::given(name).map_err(|e| error!("{e}"))
}

/// What the sending thread asks of the program.
struct Link {
    control: Arc<Control>,
    /// The state before the machine was stopped for the last part.
    before: Mutex<Option<RunState>>,
    /// This is the main loop's thread already.
    here: bool,
}

impl Link {
    fn tell(control: &Control, status: Status) {
        if control.migration_events.load(SeqCst) {
            MigrationEvent { status: status.into() }.emit();
        }
    }

    fn stop_now(&self, last: Last) -> Result<Vec<u8>> {
        let saving = self.control.saving()?;
        let before = self.control.hold_for_migration();
        *super::lock(&self.before) = Some(before);
        saving.ran.store(before == RunState::Running, SeqCst);
        self.control.drain();
        Ok(last(&saving.machine(&self.control)))
    }

    /// The stream has been sent, or has not.
    fn ended(&self, result: Result<()>) {
        let Ok(saving) = self.control.saving() else { return };
        let progress = &saving.moving.progress;
        let before = super::lock(&self.before).take();
        let status = match result {
            Ok(()) => Status::Completed,
            Err(_) if progress.is_cancelled() => Status::Cancelled,
            Err(_) => Status::Failed,
        };
        if let Some(before) = before {
            self.control.go_on(if status == Status::Completed { RunState::PostMigrate } else { before });
        }
        let total_time = progress.elapsed();
        progress.update(|counts| {
            counts.status = status;
            counts.total_time = total_time;
            counts.error = result.err().filter(|_| status == Status::Failed).map(|e| e.to_string());
        });
        Self::tell(&self.control, status);
    }
}

impl Driver for Link {
    fn changed(&self, status: Status, round: Option<u64>) {
        match round {
            Some(pass) if self.control.migration_events.load(SeqCst) => MigrationPass { pass }.emit(),
            Some(_) => {}
            None => Self::tell(&self.control, status),
        }
    }

    fn stop(&self, last: Last) -> Option<Vec<u8>> {
        if self.here {
            return self.stop_now(last).ok();
        }
        let (send, receive) = mpsc::channel();
        let link = Link { control: self.control.clone(), before: Mutex::default(), here: true };
        self.control.events().defer(move || {
            let bytes = link.stop_now(last).ok();
            let before = super::lock(&link.before).take();
            let _ = send.send((bytes, before));
        });
        let (bytes, before) = receive.recv().ok()?;
        *super::lock(&self.before) = before;
        bytes
    }
}

impl Saving {
    /// Sends the machine to a place: in the background, or, if `wait`, before this returns.
    ///
    /// # Errors
    /// It cannot begin now, or the place cannot be opened; with `wait` also what went wrong later.
    pub fn migrate(&self, control: &Arc<Control>, uri: &str, wait: bool) -> Result<()> {
        let moving = &self.moving;
        match control.state() {
            RunState::InMigrate => return Err(error!("Guest is waiting for an incoming migration")),
            RunState::PostMigrate => {
                return Err(error!("Can't migrate the vm that was paused due to previous migration"));
            }
            _ if moving.progress.status().is_under_way() => {
                return Err(error!("There's a migration process in progress"));
            }
            _ => {}
        }
        let mut sink = Place::parse(uri)?.open_outgoing(descriptor)?;
        let machine = self.machine(control);
        moving.progress.begin(machine.blocks.iter().map(|b| b.ram.len()).sum());
        *super::lock(&moving.breaker) = breaker(&sink);
        Link::tell(control, Status::Setup);
        let progress = moving.progress.clone();
        let link = Link { control: control.clone(), before: Mutex::default(), here: wait };
        if wait {
            link.ended(send(&machine, &mut sink, &progress, &link));
            let counts = progress.counts();
            return match counts.status {
                Status::Completed => Ok(()),
                _ => Err(error!("{}", counts.error.unwrap_or_else(|| counts.status.name().into()))),
            };
        }
        let work = move || {
            let result = send(&machine, &mut sink, &progress, &link);
            let events = link.control.events().clone();
            events.defer(move || link.ended(result));
        };
        let thread = thread::Builder::new().name("live_migration".to_owned()).spawn(work);
        thread.map(|_| ()).map_err(|e| error!("cannot start the migration").because(e))
    }

    /// Gives the migration up that is under way, if there is one.
    pub fn cancel_migration(&self, control: &Control) {
        let progress = &self.moving.progress;
        if progress.status().is_under_way() {
            progress.cancel();
            progress.update(|counts| counts.status = Status::Cancelling);
            Link::tell(control, Status::Cancelling);
            if let Some(end) = super::lock(&self.moving.breaker).take() {
                end();
            }
        }
    }

    /// Waits in the background for a machine to come from a place.
    ///
    /// # Errors
    /// None is waited for, it has begun already, or the place cannot be opened.
    pub fn receive(&self, control: &Arc<Control>, uri: &str) -> Result<()> {
        if self.moving.received.load(SeqCst) {
            return Err(error!("The incoming migration has already been started"));
        }
        if control.state() != RunState::InMigrate {
            return Err(error!("'-incoming' was not specified on the command line"));
        }
        let source = Place::parse(uri)?.open_incoming(descriptor)?;
        self.moving.received.store(true, SeqCst);
        let machine = self.machine(control);
        let progress = self.moving.progress.clone();
        progress.begin(machine.blocks.iter().map(|b| b.ram.len()).sum());
        Link::tell(control, Status::Setup);
        let (control, events) = (control.clone(), control.events().clone());
        let work = move || {
            let result = Self::take_in(source, &machine, &control, &progress);
            events.defer(move || Self::arrived(&control, &machine, result));
        };
        let thread = thread::Builder::new().name("mig/dst/main".to_owned()).spawn(work);
        thread.map(|_| ()).map_err(|e| error!("cannot start the migration").because(e))
    }

    fn take_in(source: Source, machine: &Machine, control: &Control, progress: &Progress) -> Result<Vec<u8>> {
        let mut source = source.accept().map_err(|e| error!("nobody can connect: {e}"))?;
        progress.update(|counts| counts.status = Status::Active);
        Link::tell(control, Status::Active);
        let mut source = std::io::BufReader::with_capacity(1 << 20, &mut source);
        migration::receive(machine, &mut source, progress)
    }

    /// On the main loop's thread: the whole stream has come, or it has not.
    fn arrived(control: &Control, machine: &Machine, sections: Result<Vec<u8>>) {
        let Ok(saving) = control.saving() else { return };
        let result = sections.and_then(|sections| machine.load(&sections));
        let status = if result.is_ok() { Status::Completed } else { Status::Failed };
        let total_time = saving.moving.progress.elapsed();
        saving.moving.progress.update(|counts| {
            counts.status = status;
            counts.total_time = total_time;
            counts.remaining = 0;
            counts.error = result.as_ref().err().map(ToString::to_string);
        });
        Link::tell(control, status);
        match result {
            Ok(()) => control.arrived(saving.ran.load(SeqCst)),
            Err(error) => {
                crate::report::say(format_args!("load of migration failed: {error}"));
                control.end(1);
            }
        }
    }
}

/// Sends everything, and waits until it is out of the program.
fn send(machine: &Machine, sink: &mut Sink, progress: &Progress, link: &Link) -> Result<()> {
    migration::send(machine, sink, progress, link)?;
    sink.finish().map_err(|e| error!("Unable to write to the channel: {e}"))
}

/// What ends a write to a peer that does not read.
fn breaker(sink: &Sink) -> Option<Breaker> {
    match sink {
        Sink::Unix(socket) => {
            let socket = socket.try_clone().ok()?;
            Some(Box::new(move || {
                let _ = socket.shutdown(Shutdown::Both);
            }))
        }
        Sink::Tcp(socket) => {
            let socket = socket.try_clone().ok()?;
            Some(Box::new(move || {
                let _ = socket.shutdown(Shutdown::Both);
            }))
        }
        Sink::File(_) | Sink::Exec(..) => None,
    }
}
