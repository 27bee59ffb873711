//! A machine as it is saved: what it is, its memory, its parts with state.

use crate::trace;
use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Result, error};
use cpu::{CpuHandle, Cpus};
use memory::{AddressSpace, Block, ram_blocks};
use object::AnyDevice;
use state::{Loader, Saved, Saver, StateError};

use crate::Origin;

/// What a machine consists of beside its devices, which come and go.
pub struct Parts {
    /// What it is; the memory is filled in by [`Machine::new`].
    pub origin: Origin,
    /// Its memory.
    pub memory: Arc<AddressSpace>,
    /// Its vCPUs.
    pub cpus: Arc<Cpus>,
    /// What is loaded before all else: clocks.
    pub first: Vec<Arc<dyn Saved>>,
    /// What is loaded after the vCPUs: what surrounds them.
    pub then: Vec<Arc<dyn Saved>>,
}

/// What is needed of a machine to save it and to let it go on elsewhere. It stands still while that is done.
pub struct Machine {
    /// What it is.
    pub origin: Origin,
    /// Its memory.
    pub blocks: Vec<Block>,
    /// Its vCPUs.
    pub cpus: Arc<Cpus>,
    parts: Vec<Arc<dyn Saved>>,
}

impl Machine {
    /// Puts a machine together as it is now. Of the devices, those that hear lines come before those that drive them.
    pub fn new(parts: &Parts, devices: &[Arc<dyn AnyDevice>]) -> Machine {
        let Parts { origin, memory, cpus, first, then } = parts;
        let mut origin = origin.clone();
        let blocks = ram_blocks(memory.root());
        origin.memory = blocks.iter().map(|b| (b.name.clone(), b.ram.len())).collect();
        let processors = cpus.all().into_iter().map(|handle| Arc::new(Processor(handle)) as Arc<dyn Saved>);
        let devices = devices
            .iter()
            .filter(|device| !device.section().is_empty())
            .map(|device| Arc::new(Device(device.clone())) as Arc<dyn Saved>);
        let parts =
            first.iter().cloned().chain(processors).chain(then.iter().cloned()).chain(devices).collect();
        Machine { origin, blocks, cpus: cpus.clone(), parts }
    }

    /// All but memory, as sections.
    pub fn save(&self) -> Vec<u8> {
        let mut out = Saver::new();
        let mut count = BTreeMap::new();
        for part in &self.parts {
            let instance = next(&mut count, part.section());
            let begin = trace::POINTS.begin(trace::SAVE_SECTION);
            part.save(instance, &mut out);
            trace::POINTS.end(trace::SAVE_SECTION, begin, || format!("{} {instance}", part.section()));
        }
        out.into_bytes()
    }

    /// Reads back what [`Machine::save`] wrote. The memory has been loaded before.
    ///
    /// # Errors
    /// A section does not fit. Some parts are loaded then: the machine must not run.
    pub fn load(&self, bytes: &[u8]) -> Result<()> {
        let mut from = Loader::new(bytes);
        let mut count = BTreeMap::new();
        for part in &self.parts {
            let name = part.section();
            let instance = next(&mut count, name);
            match from.next_section()? {
                Some((found, _)) if !name.is_empty() && found != name => {
                    return Err(error!("the saved state has '{found}' where this machine has '{name}'"));
                }
                None => return Err(error!("the saved state has no '{name}', which this machine has")),
                Some(_) => {
                    let begin = trace::POINTS.begin(trace::LOAD_SECTION);
                    part.load(instance, &mut from)?;
                    trace::POINTS.end(trace::LOAD_SECTION, begin, || format!("{name} {instance}"));
                }
            }
        }
        match from.next_section()? {
            Some((found, _)) => Err(error!("the saved state has '{found}', which this machine has not")),
            None => Ok(()),
        }
    }

    /// Makes all vCPUs forget their translations of addresses, so that they come by the memory's bitmaps again.
    pub fn forget_translations(&self) {
        // Their accelerators take note of whatever runs on their threads.
        for handle in self.cpus.all() {
            handle.run_on(|_| ());
        }
    }
}

/// How many of this name there have been.
fn next<'a>(count: &mut BTreeMap<&'a str, u32>, name: &'a str) -> u32 {
    let n = count.entry(name).or_default();
    *n += 1;
    *n - 1
}

struct Processor(Arc<CpuHandle>);

impl Processor {
    fn gone() -> StateError {
        StateError {
            section: "processor".into(),
            field: String::new(),
            reason: "its thread has ended".into(),
        }
    }
}

impl Saved for Processor {
    /// Its section is named by the kind of processor, which `Origin` compares.
    fn section(&self) -> &'static str {
        ""
    }
    fn save(&self, _: u32, out: &mut Saver) {
        let saved = self.0.run_on(|cpu| {
            let mut out = Saver::new();
            cpu.save(&mut out);
            out.into_bytes()
        });
        out.raw(&saved.unwrap_or_default());
    }
    fn load(&self, _: u32, from: &mut Loader<'_>) -> std::result::Result<(), StateError> {
        let bytes = from.section_bytes()?.to_vec();
        self.0.run_on(move |cpu| cpu.load(&mut Loader::new(&bytes))).ok_or_else(Self::gone)?
    }
}

struct Device(Arc<dyn AnyDevice>);

impl Saved for Device {
    fn section(&self) -> &'static str {
        self.0.section()
    }
    fn save(&self, instance: u32, out: &mut Saver) {
        self.0.save(instance, out);
    }
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> std::result::Result<(), StateError> {
        self.0.load(instance, from)
    }
}

#[cfg(test)]
#[path = "machine_test.rs"]
mod test;
