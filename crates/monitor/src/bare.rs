//! A machine for the tests.

use crate::qmp::Actions;
use crate::qmp::event::DumpQueryResult;
use crate::{Commands, Vm};
use backends::block::Blocks;
use backends::char::Chardevs;
use base::Result;
use cpu::{Cpus, RunState};
use memory::{AddressSpace, Ram, Region};
use object::{Node, ObjectRef};
use std::sync::{Arc, Mutex};

/// A machine without processors and with a page of memory.
pub struct Bare {
    memory: Arc<AddressSpace>,
    root: ObjectRef,
    done: Mutex<Vec<&'static str>>,
    commands: Arc<Commands>,
    actions: Mutex<Actions>,
    chardevs: Mutex<Chardevs>,
    blocks: Mutex<Blocks>,
    dump: Mutex<DumpQueryResult>,
}

impl Bare {
    pub fn new() -> Bare {
        let system = Region::container("system", memory::WHOLE);
        let ram = Ram::anonymous(0x1000).unwrap();
        ram.write(0, &[0x97, 2, 0, 0, 0x13, 0x86, 0x82, 2]);
        system.add_subregion(0x1000, &Region::ram("ram", ram));
        let root = Node::new("container");
        root.add_child("machine", &Node::new("virt-machine"));
        Bare {
            memory: AddressSpace::new("memory", &system),
            root,
            done: Mutex::default(),
            commands: Arc::new(Commands::new()),
            actions: Mutex::default(),
            chardevs: Mutex::default(),
            blocks: Mutex::default(),
            dump: Mutex::default(),
        }
    }
    /// What has been asked of it.
    pub fn done(&self) -> Vec<&'static str> {
        self.done.lock().unwrap().clone()
    }
    fn note(&self, what: &'static str) {
        self.done.lock().unwrap().push(what);
    }
}

impl Vm for Bare {
    fn commands(&self) -> Arc<Commands> {
        self.commands.clone()
    }
    fn run_state(&self) -> RunState {
        RunState::Prelaunch
    }
    fn cpus(&self) -> Arc<Cpus> {
        Cpus::new()
    }
    fn memory(&self) -> Arc<AddressSpace> {
        self.memory.clone()
    }
    fn memory_size(&self) -> u64 {
        0x1000
    }
    fn spaces(&self) -> Vec<Arc<AddressSpace>> {
        vec![self.memory.clone()]
    }
    fn root(&self) -> ObjectRef {
        self.root.clone()
    }
    fn bus(&self) -> ObjectRef {
        Node::new("System")
    }
    fn roms(&self) -> String {
        String::new()
    }
    fn chardevs(&self) -> &Mutex<Chardevs> {
        &self.chardevs
    }
    fn blocks(&self) -> &Mutex<Blocks> {
        &self.blocks
    }
    fn name(&self) -> Option<String> {
        None
    }
    fn uuid(&self) -> String {
        "00000000-0000-0000-0000-000000000000".into()
    }
    fn package(&self) -> String {
        "10.0.2".into()
    }
    fn translation(&self) -> String {
        String::new()
    }
    fn dtb(&self) -> Option<Vec<u8>> {
        None
    }
    fn actions(&self) -> &Mutex<Actions> {
        &self.actions
    }
    fn last_dump(&self) -> &Mutex<DumpQueryResult> {
        &self.dump
    }
    fn stop(&self) {
        self.note("stop");
    }
    fn run(&self) -> Result<()> {
        self.note("run");
        Ok(())
    }
    fn reset(&self) {
        self.note("reset");
    }
    fn power_down(&self) {
        self.note("power_down");
    }
    fn quit(&self) {
        self.note("quit");
    }
}
