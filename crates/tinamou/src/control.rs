//! The machine's run state and who may change it: the main loop, and nobody else. All others send requests.

use backends::block::Blocks;
use backends::char::Chardevs;
use base::{Result, error};
use cpu::{Cpus, RunState, VmStop};
use events::EventLoop;
use memory::{AddressSpace, Roms};
use monitor::gdb::StopReason;
use monitor::{Commands, Context, Vm};
use object::{AnyDevice, Effect, ObjectRef};
use std::any::Any;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is told when the machine stops: the vCPU that met a breakpoint, and why.
type StopListener = Box<dyn Fn(Option<usize>, StopReason) + Send + Sync>;

/// What `-name`, `-uuid` and other options say about the machine as a whole.
#[derive(Default)]
pub struct Manners {
    /// Leave instead of resetting.
    pub no_reboot: bool,
    /// Stop instead of leaving.
    pub no_shutdown: bool,
    /// The guest's name.
    pub name: Option<String>,
    /// The guest's UUID.
    pub uuid: Option<String>,
}

/// The parts of a machine that control needs.
pub struct Parts {
    /// The main loop.
    pub events: EventLoop,
    /// The vCPUs.
    pub cpus: Arc<Cpus>,
    /// Memory.
    pub memory: Arc<AddressSpace>,
    /// All address spaces.
    pub spaces: Vec<Arc<AddressSpace>>,
    /// Root of the object tree.
    pub root: ObjectRef,
    /// The bus.
    pub bus: ObjectRef,
    /// What is loaded at a reset.
    pub roms: Arc<Roms>,
    /// Devices to reset.
    pub devices: Vec<Arc<dyn AnyDevice>>,
    /// Other things to reset.
    pub resets: Vec<Box<dyn Fn() + Send + Sync>>,
    /// Resets a processor.
    pub reset_processor: machines::ResetProcessor,
    /// The device tree.
    pub dtb: Option<Vec<u8>>,
    /// The text of `info jit`.
    pub translation: Box<dyn Fn() -> String + Send + Sync>,
    /// The text of `info network`.
    pub networks: Box<dyn Fn() -> String + Send + Sync>,
}

/// The machine under control.
pub struct Control {
    parts: Parts,
    manners: Manners,
    state: Mutex<VmStop>,
    /// Exit status, once the program is to end.
    ended: Mutex<Option<u8>>,
    /// A reset or shutdown that the guest asked for is on its way to the main loop.
    requested: AtomicBool,
    listeners: Mutex<Vec<StopListener>>,
    commands: Arc<Commands>,
    /// Character back ends.
    pub chardevs: Arc<Mutex<Chardevs>>,
    /// Drives.
    pub blocks: Arc<Mutex<Blocks>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Takes control of a machine that has not run yet.
    pub fn new(
        parts: Parts,
        manners: Manners,
        chardevs: Arc<Mutex<Chardevs>>,
        blocks: Arc<Mutex<Blocks>>,
    ) -> Arc<Control> {
        let control = Arc::new(Control {
            parts,
            manners,
            state: Mutex::default(),
            ended: Mutex::new(None),
            requested: AtomicBool::new(false),
            listeners: Mutex::default(),
            commands: Arc::new(crate::commands::all()),
            chardevs,
            blocks,
        });
        let weak = Arc::downgrade(&control);
        control.parts.memory.set_effect_sink(Arc::new(move |effect| {
            if let Some(control) = weak.upgrade() {
                control.request(effect);
            }
        }));
        control
    }

    /// The machine that a command works with.
    ///
    /// # Errors
    /// It is another program's, as in a test.
    #[allow(dead_code, reason = "the first command that needs it is on its way")]
    pub fn of<'a>(context: &Context<'a>) -> Result<&'a Control> {
        let vm: &'a dyn Any = context.vm;
        vm.downcast_ref().ok_or_else(|| error!("there is no machine of this program's"))
    }

    /// A request from whatever thread: no instruction follows it before the main loop has dealt with it.
    pub fn request(self: &Arc<Self>, effect: Effect) {
        self.requested.store(true, SeqCst);
        self.parts.cpus.all().iter().for_each(|handle| handle.ask_stop());
        let control = self.clone();
        self.parts.events.defer(move || control.perform(effect));
    }

    fn perform(&self, effect: Effect) {
        self.requested.store(false, SeqCst);
        match effect {
            Effect::Shutdown { status, .. } => self.shut_down(status),
            Effect::Reset { .. } if self.manners.no_reboot => self.shut_down(0),
            Effect::Reset { .. } => self.reset_now(),
            _ => self.resume_if_running(),
        }
    }

    /// What asked the vCPUs to stop was nothing that stops the machine.
    fn resume_if_running(&self) {
        if lock(&self.state).state() == RunState::Running {
            self.parts.cpus.start();
        }
    }

    fn shut_down(&self, status: u32) {
        if self.manners.no_shutdown {
            self.halt(RunState::Shutdown, None, StopReason::Shutdown);
        } else {
            self.end(status.min(255) as u8);
        }
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

    /// Hears of stops.
    pub fn listen(&self, listener: StopListener) {
        lock(&self.listeners).push(listener);
    }

    fn halt(&self, to: RunState, cpu: Option<usize>, reason: StopReason) {
        self.parts.cpus.stop();
        self.parts.events.clocks().stop_virtual();
        {
            let mut state = lock(&self.state);
            if !state.state().may_become(to) {
                return;
            }
            state.set(to);
        }
        lock(&self.listeners).iter().for_each(|tell| tell(cpu, reason));
    }

    /// A vCPU has met a breakpoint or finished a step. May be called on any thread.
    pub fn debug_exit(self: &Arc<Self>, cpu: u32) {
        let control = self.clone();
        self.parts.events.defer(move || {
            if lock(&control.state).state() == RunState::Running {
                control.halt(RunState::Debug, Some(cpu as usize), StopReason::Trap);
            }
        });
    }

    /// Lets the machine run, each vCPU as `how` says: `None` stands still, else whether it does one step only.
    ///
    /// # Errors
    /// It has shut down.
    pub fn run_some(&self, how: Option<&[Option<bool>]>) -> Result<()> {
        {
            let mut state = lock(&self.state);
            if state.state() == RunState::Running {
                return Ok(());
            }
            if !state.state().may_become(RunState::Running) {
                return Err(error!("Resetting the Virtual Machine is required"));
            }
            state.set(RunState::Running);
        }
        self.parts.events.clocks().start_virtual();
        match how {
            None => self.parts.cpus.start(),
            Some(how) => {
                for (handle, how) in self.parts.cpus.all().iter().zip(how) {
                    if let Some(step) = how {
                        handle.ask_run(*step);
                    }
                }
            }
        }
        Ok(())
    }

    /// Stops the machine on somebody's request.
    pub fn pause(&self) {
        let state = lock(&self.state).state();
        if state == RunState::Running {
            self.halt(RunState::Paused, None, StopReason::Interrupted);
        } else {
            lock(&self.listeners).iter().for_each(|tell| tell(None, StopReason::Interrupted));
        }
    }

    /// Resets the machine.
    pub fn reset_now(&self) {
        self.parts.cpus.stop();
        self.initialize();
        let mut state = lock(&self.state);
        match state.state() {
            RunState::Running => {
                drop(state);
                self.parts.cpus.start();
            }
            _ => state.set(RunState::Prelaunch),
        }
    }

    /// Puts everything into the state after power-on. The vCPUs stand still.
    pub fn initialize(&self) {
        let parts = &self.parts;
        parts.devices.iter().for_each(|d| d.reset());
        parts.resets.iter().for_each(|reset| reset());
        parts.roms.reset();
        for handle in parts.cpus.all() {
            let reset = parts.reset_processor.clone();
            handle.run_on(move |cpu| reset(cpu));
        }
    }

    /// The run state.
    pub fn state(&self) -> RunState {
        lock(&self.state).state()
    }

    /// The main loop.
    pub fn events(&self) -> &EventLoop {
        &self.parts.events
    }

    /// The vCPUs.
    pub fn vcpus(&self) -> &Arc<Cpus> {
        &self.parts.cpus
    }
}

impl Vm for Control {
    fn commands(&self) -> Arc<Commands> {
        self.commands.clone()
    }
    fn run_state(&self) -> RunState {
        self.state()
    }
    fn cpus(&self) -> Arc<Cpus> {
        self.parts.cpus.clone()
    }
    fn memory(&self) -> Arc<AddressSpace> {
        self.parts.memory.clone()
    }
    fn spaces(&self) -> Vec<Arc<AddressSpace>> {
        self.parts.spaces.clone()
    }
    fn root(&self) -> ObjectRef {
        self.parts.root.clone()
    }
    fn bus(&self) -> ObjectRef {
        self.parts.bus.clone()
    }
    fn roms(&self) -> String {
        self.parts.roms.print()
    }
    fn status(&self) -> String {
        lock(&self.state).describe()
    }
    fn chardevs(&self) -> String {
        let mut out = String::new();
        for (name, what) in lock(&self.chardevs).list() {
            let _ = writeln!(out, "{name}: filename={what}");
        }
        out
    }
    fn blocks(&self) -> String {
        let mut out = String::new();
        for drive in lock(&self.blocks).iter() {
            if !out.is_empty() {
                out.push('\n');
            }
            let file = drive.option.as_ref().and_then(|o| o.file.as_deref());
            let _ = match file {
                Some(file) => {
                    let format = drive.option.as_ref().and_then(|o| o.format.as_deref()).unwrap_or("raw");
                    writeln!(out, "{}: {file} ({format})", drive.id)
                }
                None => writeln!(out, "{}: [not inserted]", drive.id),
            };
            if file.is_some() {
                out.push_str("    Cache mode:       writeback\n");
            }
        }
        out
    }
    fn networks(&self) -> String {
        (self.parts.networks)()
    }
    fn name(&self) -> Option<String> {
        self.manners.name.clone()
    }
    fn uuid(&self) -> String {
        self.manners.uuid.clone().unwrap_or_else(|| "00000000-0000-0000-0000-000000000000".into())
    }
    fn package(&self) -> String {
        format!("10.0.2Tinamou {}", env!("CARGO_PKG_VERSION"))
    }
    fn translation(&self) -> String {
        (self.parts.translation)()
    }
    fn dtb(&self) -> Option<Vec<u8>> {
        self.parts.dtb.clone()
    }
    fn stop(&self) {
        if self.state() == RunState::Running {
            self.pause();
        }
    }
    fn run(&self) -> Result<()> {
        self.run_some(None)
    }
    fn reset(&self) {
        if self.manners.no_reboot {
            self.shut_down(0);
        } else {
            self.reset_now();
        }
    }
    fn power_down(&self) {
        // The boards that exist have no power button; the reference does nothing either without one.
    }
    fn quit(&self) {
        self.end(0);
    }
}
