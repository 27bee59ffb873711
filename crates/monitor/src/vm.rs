//! The machine as monitors need it.

use crate::Commands;
use crate::qmp::Actions;
use crate::qmp::event::DumpQueryResult;
use backends::block::Blocks;
use backends::char::Chardevs;
use cpu::RunState;
use cpu::{Cpu, CpuHandle, Cpus};
use memory::AddressSpace;
use object::ObjectRef;
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sets of names from which a line is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Commands.
    Commands,
    /// Subcommands of `info`.
    Information,
    /// Types of devices that can be plugged in.
    DeviceTypes,
    /// Devices with a name of the user's.
    Devices,
    /// Types of objects.
    ObjectTypes,
    /// Objects.
    Objects,
    /// Drives and block nodes.
    Drives,
    /// Character devices.
    Chardevs,
    /// Networks.
    Networks,
    /// Snapshots.
    Snapshots,
    /// Items of the log.
    LogItems,
    /// Trace points.
    TracePoints,
    /// `on` and `off`.
    Switch,
}

/// What the wiring of the program lets monitors do. All is called on the main loop's thread.
pub trait Vm: Any + Send + Sync {
    /// All commands of the monitors.
    fn commands(&self) -> Arc<Commands>;
    /// The run state.
    fn run_state(&self) -> RunState;
    /// Whether the machine waits to be completed (`-preconfig`).
    fn preconfig(&self) -> bool {
        false
    }
    /// The names of what only the wiring knows.
    fn names(&self, names: Names) -> Vec<String> {
        let _ = names;
        Vec::new()
    }
    /// The vCPUs.
    fn cpus(&self) -> Arc<Cpus>;
    /// Guest memory.
    fn memory(&self) -> Arc<AddressSpace>;
    /// Bytes of memory that the guest was given.
    fn memory_size(&self) -> u64;
    /// All address spaces.
    fn spaces(&self) -> Vec<Arc<AddressSpace>>;
    /// Root of the object tree.
    fn root(&self) -> ObjectRef;
    /// The bus that all others hang on.
    fn bus(&self) -> ObjectRef;
    /// The text of `info roms`.
    fn roms(&self) -> String;
    /// The character devices.
    fn chardevs(&self) -> &Mutex<Chardevs>;
    /// Drives and block nodes.
    fn blocks(&self) -> &Mutex<Blocks>;
    /// The guest's name, if it has one.
    fn name(&self) -> Option<String>;
    /// The guest's UUID.
    fn uuid(&self) -> String;
    /// The version of this program, in parentheses or not, as it follows the number in `info version`.
    fn package(&self) -> String;
    /// The text of `info jit`.
    fn translation(&self) -> String;
    /// The device tree.
    fn dtb(&self) -> Option<Vec<u8>>;
    /// What is done when the guest resets, ends, panics or hangs.
    fn actions(&self) -> &Mutex<Actions>;
    /// How the last dump of memory went.
    fn last_dump(&self) -> &Mutex<DumpQueryResult>;
    /// Stops the machine.
    fn stop(&self);
    /// Lets the machine run.
    ///
    /// # Errors
    /// It cannot run in its present state.
    fn run(&self) -> base::Result<()>;
    /// Resets the machine.
    fn reset(&self);
    /// Presses the power button.
    fn power_down(&self);
    /// Ends the program.
    fn quit(&self);
}

/// A lock, even if its last holder has panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with vCPU `index` on its thread.
pub(crate) fn with_cpu<R: Send + 'static>(
    vm: &dyn Vm,
    index: usize,
    f: impl FnOnce(&mut dyn Cpu) -> R + Send + 'static,
) -> Option<R> {
    let handle: Arc<CpuHandle> = vm.cpus().all().get(index)?.clone();
    handle.run_on(f)
}

const PAGE: u64 = 4096;

/// Physical address of a virtual one, as vCPU `index` sees it.
pub fn translate(vm: &dyn Vm, index: usize, address: u64) -> Option<u64> {
    let memory = vm.memory();
    with_cpu(vm, index, move |cpu| {
        cpu.debug_translate(address, &mut |at, size| memory.read_int(at, size).ok())
    })?
}

/// Splits a range at pages and does `f` with the physical address of each part.
fn each_page(
    vm: &dyn Vm,
    index: usize,
    address: u64,
    length: usize,
    mut f: impl FnMut(u64, std::ops::Range<usize>) -> bool,
) -> bool {
    let mut done = 0;
    while done < length {
        let at = address.wrapping_add(done as u64);
        let part = (length - done).min((PAGE - at % PAGE) as usize);
        let Some(physical) = translate(vm, index, at) else { return false };
        if !f(physical, done..done + part) {
            return false;
        }
        done += part;
    }
    true
}

/// Reads memory as vCPU `index` sees it; false if some of it is not there.
pub fn read_virtual(vm: &dyn Vm, index: usize, address: u64, into: &mut [u8]) -> bool {
    let length = into.len();
    each_page(vm, index, address, length, |physical, range| {
        into.get_mut(range).is_some_and(|part| read_physical(vm, physical, part))
    })
}

/// Writes memory as vCPU `index` sees it, ROM included, as a debugger may.
pub fn write_virtual(vm: &dyn Vm, index: usize, address: u64, from: &[u8]) -> bool {
    each_page(vm, index, address, from.len(), |physical, range| {
        from.get(range).is_some_and(|part| write_physical(vm, physical, part))
    })
}

/// Reads physical memory.
pub fn read_physical(vm: &dyn Vm, address: u64, into: &mut [u8]) -> bool {
    vm.memory().read(address, into).is_ok()
}

/// Writes physical memory, ROM included.
pub fn write_physical(vm: &dyn Vm, address: u64, from: &[u8]) -> bool {
    let memory = vm.memory();
    match memory.lookup(address) {
        Some(range) if range.readable(address).is_some() => memory.write_rom(address, from).is_ok(),
        Some(_) => memory.write(address, from).is_ok(),
        None => false,
    }
}
