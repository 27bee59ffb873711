//! The machine's run state and who may change it: the main loop, and nobody else. All others send requests.

use crate::commands::pci::DeviceDeleted;
use crate::debugger::Debugger;
use crate::jobs::Jobs;
use crate::lines::Lines;
use crate::options::Opts;
use crate::plug::{Backends, drain};
use crate::saving::Saving;
use crate::travel::Travel;
use backends::block::Blocks;
use backends::char::Chardevs;
use base::{Result, error};
use cpu::{Cause, Cpus, Request, RunControl, RunState};
use devices::pci::{Function, PciBus};
use events::EventLoop;
use machines::Sockets;
use memory::{AddressSpace, Ram, Roms};
use monitor::gdb::StopReason;
use monitor::qmp::event::DumpQueryResult;
use monitor::qmp::{Actions, ShutdownAction};
use monitor::{Commands, Context, Vm};
use object::{AnyDevice, ObjectRef};
use qapi::Event;
use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

mod holding;
mod running;

/// What is told when the machine stops: the vCPU that met a breakpoint, and why.
type StopListener = Box<dyn Fn(Option<usize>, StopReason) + Send + Sync>;

/// What `-name`, `-uuid` and other options say about the machine as a whole.
#[derive(Clone, Default)]
pub struct Manners {
    /// What is done when the guest resets, ends, panics or hangs.
    pub actions: Actions,
    /// The guest's memory.
    pub ram: Option<Arc<Ram>>,
    /// Its name.
    pub ram_name: String,
    /// The guest's name.
    pub name: Option<String>,
    /// The guest's UUID.
    pub uuid: Option<String>,
    /// Tests play the processors: these execute nothing while the machine runs, and time does not pass by itself.
    pub still: bool,
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
    pub devices: Mutex<Vec<Arc<dyn AnyDevice>>>,
    /// Where devices are plugged in.
    pub sockets: Sockets,
    /// Other things to reset.
    pub resets: Vec<Box<dyn Fn() + Send + Sync>>,
    /// Resets a processor.
    pub reset_processor: machines::ResetProcessor,
    /// The device tree.
    pub dtb: Option<Vec<u8>>,
    /// The text of `info jit`.
    pub translation: Box<dyn Fn() -> String + Send + Sync>,
    /// Sets how many instructions a translated block has at most (0 is as many as usual).
    pub limit_blocks: Box<dyn Fn(u32) + Send + Sync>,
}

/// The machine under control.
pub struct Control {
    parts: Parts,
    manners: Manners,
    actions: Mutex<Actions>,
    states: Arc<RunControl>,
    /// Whether the machine is to run once an incoming migration has ended.
    autostart: AtomicBool,
    last_dump: Mutex<DumpQueryResult>,
    /// Exit status, once the program is to end.
    ended: Mutex<Option<u8>>,
    listeners: Mutex<Vec<StopListener>>,
    commands: Arc<Commands>,
    /// `MIGRATION` events are wanted.
    pub migration_events: AtomicBool,
    saving: OnceLock<Saving>,
    jobs: Jobs,
    /// Debuggers that may connect.
    debuggers: Mutex<Vec<Arc<Debugger>>>,
    /// The machine waits to be completed (`-preconfig`).
    preconfig: AtomicBool,
    /// Points of a replay to go back to.
    pub(crate) travel: Travel,
    this: Weak<Control>,
    /// Character back ends.
    pub chardevs: Arc<Mutex<Chardevs>>,
    /// Drives.
    pub blocks: Arc<Mutex<Blocks>>,
    /// What opening a character back end takes.
    pub lines: Lines,
    /// What devices may name.
    pub backends: Mutex<Backends>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Takes control of a machine that has not run yet.
    pub fn new(
        parts: Parts,
        manners: Manners,
        states: Arc<RunControl>,
        lines: Lines,
        backends: Backends,
    ) -> Arc<Control> {
        let control = Arc::new_cyclic(|this| Control {
            parts,
            actions: Mutex::new(manners.actions),
            manners,
            states,
            autostart: AtomicBool::new(true),
            last_dump: Mutex::default(),
            ended: Mutex::new(None),
            listeners: Mutex::default(),
            migration_events: AtomicBool::new(false),
            commands: Arc::new(crate::commands::all()),
            saving: OnceLock::new(),
            chardevs: lines.chardevs.clone(),
            lines,
            blocks: backends.blocks.clone(),
            jobs: Jobs::default(),
            debuggers: Mutex::default(),
            preconfig: AtomicBool::new(false),
            travel: Travel::default(),
            this: this.clone(),
            backends: Mutex::new(backends),
        });
        let weak = Arc::downgrade(&control);
        control.states.set_performer(move |request| {
            if let Some(control) = weak.upgrade() {
                control.ask(request);
            }
        });
        crate::disk_faults::listen(&control);
        let weak = Arc::downgrade(&control);
        if let Some(root) = control.pci() {
            root.on_gone(Box::new(move |function| {
                // On a vCPU's thread, in the middle of an access: the rest is the main loop's.
                let (Some(control), Some(device)) = (weak.upgrade(), function.device()) else { return };
                let (function, events) = (function.clone(), control.parts.events.clone());
                events.defer(move || control.unplugged(&function, &device));
            }));
        }
        let states = control.states.clone();
        control.parts.memory.set_effect_sink(Arc::new(move |effect| {
            if let Some(request) = running::request_of(&effect) {
                states.request(request);
            }
        }));
        control
    }

    /// The machine that a command works with.
    ///
    /// # Errors
    /// It is another program's, as in a test.
    pub fn of<'a>(context: &Context<'a>) -> Result<&'a Control> {
        let vm: &'a dyn Any = context.vm;
        vm.downcast_ref().ok_or_else(|| error!("there is no machine of this program's"))
    }

    /// Itself, for a thread of its own.
    ///
    /// # Errors
    /// The program ends.
    pub fn shared(&self) -> Result<Arc<Control>> {
        self.this.upgrade().ok_or_else(|| error!("the program ends"))
    }

    /// Says how the machine is saved.
    pub fn set_saving(&self, saving: Saving) {
        let _ = self.saving.set(saving);
    }

    /// The jobs that have been begun.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// How the machine is saved.
    ///
    /// # Errors
    /// It is too early.
    pub fn saving(&self) -> Result<&Saving> {
        self.saving.get().ok_or_else(|| error!("the machine is not complete yet"))
    }

    /// Debuggers that may connect.
    pub fn debuggers(&self) -> Vec<Arc<Debugger>> {
        lock(&self.debuggers).clone()
    }

    /// More debuggers may connect.
    pub fn attach_debuggers(&self, more: impl IntoIterator<Item = Arc<Debugger>>) {
        lock(&self.debuggers).extend(more);
    }

    /// No debugger may connect any more, and those that have are left.
    pub fn leave_debuggers(&self) {
        let all = std::mem::take(&mut *lock(&self.debuggers));
        drop(all);
    }

    /// Whether the machine waits to be completed (`-preconfig`).
    pub fn set_preconfig(&self, waits: bool) {
        self.preconfig.store(waits, SeqCst);
        self.parts.events.wake();
    }

    /// Sets how many instructions a translated block has at most (0 is as many as usual).
    pub fn limit_blocks(&self, limit: u32) {
        (self.parts.limit_blocks)(limit);
    }

    /// Hears of stops.
    pub fn listen(&self, listener: StopListener) {
        lock(&self.listeners).push(listener);
    }

    /// Puts everything into the state after power-on. The vCPUs stand still.
    pub fn initialize(&self) {
        let parts = &self.parts;
        lock(&self.blocks).nodes().for_each(|node| node.give_up(false));
        self.devices().iter().for_each(|d| d.reset());
        parts.resets.iter().for_each(|reset| reset());
        parts.roms.reset();
        for handle in parts.cpus.all() {
            let reset = parts.reset_processor.clone();
            handle.run_on(move |cpu| reset(cpu));
        }
    }

    /// All devices, as they are now.
    pub fn devices(&self) -> Vec<Arc<dyn AnyDevice>> {
        lock(&self.parts.devices).clone()
    }

    /// Memory by its name: that of objects, and the machine's own.
    pub fn memory_backends(&self) -> Vec<(String, Arc<Ram>)> {
        let mut list: Vec<_> =
            lock(&self.backends).objects.memory.iter().map(|(id, ram)| (id.clone(), ram.clone())).collect();
        if let Some(ram) =
            self.manners.ram.as_ref().filter(|ram| !list.iter().any(|(_, other)| Arc::ptr_eq(other, ram)))
        {
            list.push((self.manners.ram_name.clone(), ram.clone()));
        }
        list
    }

    /// Waits until no device has a request under way.
    pub fn drain(&self) {
        let nodes: Vec<_> = lock(&self.blocks).nodes().cloned().collect();
        nodes.iter().for_each(|node| node.hurry(true));
        self.devices().iter().for_each(drain);
        nodes.iter().for_each(|node| node.hurry(false));
    }

    /// Memory as processors see it.
    pub fn memory_space(&self) -> &Arc<AddressSpace> {
        &self.parts.memory
    }

    /// The board in the object tree.
    pub fn machine(&self) -> &ObjectRef {
        &self.parts.sockets.machine
    }

    /// Makes a device and plugs it in while the machine exists.
    ///
    /// # Errors
    /// In the words of the reference.
    pub fn plug(&self, opts: &Opts) -> Result<()> {
        let arrivals = lock(&self.backends).device(&self.parts.sockets, opts, true)?;
        arrivals.iter().for_each(|device| device.reset());
        lock(&self.parts.devices).extend(arrivals);
        Ok(())
    }

    /// Asks for a device to be taken out. It goes when the guest lets go of it.
    ///
    /// # Errors
    /// It stays where it is.
    pub fn unplug(&self, node: &ObjectRef) -> Result<()> {
        let buses = self.pci().map(PciBus::all).unwrap_or_default();
        let functions = buses.iter().flat_map(|bus| bus.functions());
        match functions.into_iter().find(|function| Arc::ptr_eq(function.node(), node)) {
            Some(function) => function.bus().unplug(&function),
            None if lock(&self.backends).unplug_port(node) => {
                let (id, path) = (node.id(), node.path());
                node.unparent();
                DeviceDeleted { device: Some(id).filter(|id| !id.is_empty()), path }.emit();
                Ok(())
            }
            None => Err(error!("Device '{}' can not be hot-unplugged", node.id())),
        }
    }

    /// A function has been taken off its bus: its device leaves the machine.
    fn unplugged(&self, function: &Function, device: &Arc<dyn AnyDevice>) {
        let node = function.node();
        let mut leaving: Vec<Arc<dyn AnyDevice>> = vec![device.clone()];
        leaving.extend(devices::inside(device));
        leaving.extend(function.config().map(|config| config.clone() as Arc<dyn AnyDevice>));
        let with_it = lock(&self.backends).unplugged(device);
        lock(&self.parts.devices).retain(|d| !leaving.iter().any(|gone| Arc::ptr_eq(gone, d)));
        for node in with_it {
            let (id, path) = (Some(node.id()).filter(|id| !id.is_empty()), node.path());
            node.unparent();
            DeviceDeleted { device: id, path }.emit();
        }
        let path = node.path();
        for (name, child) in node.children() {
            if child.is_device() {
                DeviceDeleted { device: None, path: format!("{path}/{name}") }.emit();
            }
        }
        let id = node.id();
        node.unparent();
        DeviceDeleted { device: Some(id).filter(|id| !id.is_empty()), path }.emit();
    }

    /// The root bus of PCI Express.
    pub fn pci(&self) -> Option<&Arc<PciBus>> {
        self.parts.sockets.pci.as_ref()
    }

    /// The run state.
    pub fn state(&self) -> RunState {
        self.states.state()
    }

    /// The run state with those who watch it.
    pub fn states(&self) -> &Arc<RunControl> {
        &self.states
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
    fn preconfig(&self) -> bool {
        self.preconfig.load(SeqCst)
    }
    fn names(&self, names: monitor::Names) -> Vec<String> {
        crate::commands::names::names(self, names)
    }
    fn cpus(&self) -> Arc<Cpus> {
        self.parts.cpus.clone()
    }
    fn memory(&self) -> Arc<AddressSpace> {
        self.parts.memory.clone()
    }
    fn memory_size(&self) -> u64 {
        self.manners.ram.as_ref().map_or(0, |ram| ram.len())
    }
    fn spaces(&self) -> Vec<Arc<AddressSpace>> {
        let mut spaces = self.parts.spaces.clone();
        let buses = self.pci().map(PciBus::all).unwrap_or_default();
        spaces.extend(buses.iter().flat_map(|bus| bus.functions()).map(|function| function.space().clone()));
        spaces
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
    fn chardevs(&self) -> &Mutex<Chardevs> {
        &self.chardevs
    }
    fn blocks(&self) -> &Mutex<Blocks> {
        &self.blocks
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
    fn actions(&self) -> &Mutex<Actions> {
        &self.actions
    }
    fn last_dump(&self) -> &Mutex<DumpQueryResult> {
        &self.last_dump
    }
    fn stop(&self) {
        match self.state() {
            RunState::InMigrate => self.autostart.store(false, SeqCst),
            _ => self.halt(RunState::Paused, None, StopReason::Interrupted),
        }
    }
    fn run(&self) -> Result<()> {
        match self.state() {
            RunState::InMigrate => {
                self.autostart.store(true, SeqCst);
                Ok(())
            }
            RunState::FinishMigrate => Err(error!("Migration is not finalized yet")),
            _ => self.run_some(None),
        }
    }
    fn reset(&self) {
        // The resets of a replay are those of the recording.
        if !self.is_replaying() {
            self.reset_for(Cause::HostQmpSystemReset);
        }
    }
    fn power_down(&self) {
        self.perform(Request::PowerDown);
    }
    fn quit(&self) {
        lock(&self.actions).shutdown = ShutdownAction::Poweroff;
        self.shut_down(Cause::HostQmpQuit, 0);
    }
}
