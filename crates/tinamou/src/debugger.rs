//! The gdb stub on a character device.

use crate::control::Control;
use backends::char::{CharEvent, CharPort, CharReceiver};
use cpu::{Cpu, RegisterSet, Resume, Watchpoint};
use monitor::gdb::{Reversed, Session, StopReason, Target};
use monitor::{Vm, hmp, read_physical, read_virtual, write_physical, write_virtual};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A machine as the stub sees it.
struct Machine {
    control: Arc<Control>,
    program: String,
    executor: Mutex<hmp::Executor>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    fn with<R: Send + 'static>(
        &self,
        cpu: usize,
        f: impl FnOnce(&mut dyn Cpu) -> R + Send + 'static,
    ) -> Option<R> {
        self.control.vcpus().all().get(cpu)?.run_on(f)
    }
}

impl Target for Machine {
    fn cpus(&self) -> usize {
        self.control.vcpus().all().len()
    }
    fn architecture(&self) -> String {
        let wide =
            self.register_sets(0).first().and_then(|s| s.registers.first()).is_none_or(|r| r.bits == 64);
        if wide { "riscv:rv64".into() } else { "riscv:rv32".into() }
    }
    fn register_sets(&self, cpu: usize) -> Vec<RegisterSet> {
        self.with(cpu, |cpu| cpu.register_sets()).unwrap_or_default()
    }
    fn read_register(&self, cpu: usize, n: usize) -> Option<u64> {
        self.with(cpu, move |cpu| cpu.read_register(n))?
    }
    fn write_register(&self, cpu: usize, n: usize, value: u64) -> bool {
        self.with(cpu, move |cpu| cpu.write_register(n, value)).unwrap_or(false)
    }
    fn set_pc(&self, cpu: usize, pc: u64) {
        self.with(cpu, move |cpu| cpu.set_pc(pc));
    }
    fn halted(&self, cpu: usize) -> bool {
        self.with(cpu, |cpu| cpu.halted()).unwrap_or(false)
    }
    fn read_memory(&self, cpu: usize, address: u64, into: &mut [u8], physical: bool) -> bool {
        if physical {
            read_physical(self.control.as_ref(), address, into)
        } else {
            read_virtual(self.control.as_ref(), cpu, address, into)
        }
    }
    fn write_memory(&self, cpu: usize, address: u64, from: &[u8], physical: bool) -> bool {
        if physical {
            write_physical(self.control.as_ref(), address, from)
        } else {
            write_virtual(self.control.as_ref(), cpu, address, from)
        }
    }
    fn breakpoint(&self, address: u64, insert: bool) {
        if insert {
            self.control.vcpus().breakpoints.insert(address);
        } else {
            self.control.vcpus().breakpoints.remove(address);
        }
    }
    fn watchpoint(&self, watch: Watchpoint, insert: bool) -> bool {
        let all = &self.control.vcpus().watchpoints;
        if insert { all.insert(watch) } else { all.remove(watch) }
    }
    fn clear_breakpoints(&self) {
        self.control.vcpus().breakpoints.clear();
        self.control.vcpus().watchpoints.clear();
    }
    fn resume(&self, how: &[Resume]) {
        if self.control.run_some(Some(how)).is_err() {
            // It cannot run; the debugger gets the answer it waits for.
            self.control.pause();
        }
    }
    fn can_reverse(&self) -> bool {
        self.control.is_replaying()
    }
    fn reverse(&self, step: bool) -> Option<Reversed> {
        if !self.control.is_replaying() {
            return None;
        }
        if step {
            return Some(if self.control.step_back().ok()? { Reversed::Stepped } else { Reversed::Begin });
        }
        let hit = self.control.last_hit().ok()?;
        Some(hit.map_or(Reversed::Begin, |hit| Reversed::Met(hit.cpu, hit.reason)))
    }
    fn stop(&self) {
        self.control.pause();
    }
    fn command(&self, line: &str) -> String {
        lock(&self.executor).execute(line).replace('\n', "\r\n")
    }
    fn quit(&self) {
        eprintln!("{}: QEMU: Terminated via GDBstub", self.program);
        self.control.end(0);
    }
}

/// A debugger's connection.
pub struct Debugger {
    port: Arc<dyn CharPort>,
    session: Mutex<Session>,
    waiting: Mutex<Vec<u8>>,
    control: Weak<Control>,
}

impl Debugger {
    /// Serves whoever connects to a port.
    pub fn attach(control: &Arc<Control>, port: Arc<dyn CharPort>, program: &str) -> Arc<Debugger> {
        let machine = Machine {
            control: control.clone(),
            program: program.to_owned(),
            executor: Mutex::new(hmp::Executor::new(control.clone() as Arc<dyn Vm>)),
        };
        let debugger = Arc::new(Debugger {
            port: port.clone(),
            session: Mutex::new(Session::new(Arc::new(machine))),
            waiting: Mutex::default(),
            control: Arc::downgrade(control),
        });
        port.set_receiver(Some(Arc::new(Ear(Arc::downgrade(&debugger)))));
        let weak = Arc::downgrade(&debugger);
        control.listen(Box::new(move |cpu, reason| {
            // The session may be the one that has just asked for the stop: it is told when it has finished.
            let weak = weak.clone();
            let Some(debugger) = weak.upgrade() else { return };
            let Some(control) = debugger.control.upgrade() else { return };
            control.events().defer(move || {
                if let Some(debugger) = weak.upgrade() {
                    debugger.stopped(cpu, reason);
                }
            });
        }));
        debugger
    }

    fn stopped(&self, cpu: Option<usize>, reason: StopReason) {
        let reply = lock(&self.session).stopped(cpu, reason);
        self.send(&reply);
    }

    fn send(&self, bytes: &[u8]) {
        let mut waiting = lock(&self.waiting);
        waiting.extend_from_slice(bytes);
        let taken = self.port.write(&waiting).min(waiting.len());
        waiting.drain(..taken);
    }

    /// The program ends: the debugger is told with which status.
    pub fn ended(&self, status: u8) {
        let bytes = lock(&self.session).exited(status);
        self.send(&bytes);
        self.port.flush();
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        self.port.set_receiver(None);
    }
}

/// The stub's ear.
struct Ear(Weak<Debugger>);

impl CharReceiver for Ear {
    fn room(&self) -> usize {
        4096
    }
    fn receive(&self, bytes: &[u8]) {
        if let Some(debugger) = self.0.upgrade() {
            let reply = lock(&debugger.session).receive(bytes);
            debugger.send(&reply);
        }
    }
    fn event(&self, event: CharEvent) {
        if let Some(debugger) = self.0.upgrade()
            && event == CharEvent::Opened
        {
            lock(&debugger.waiting).clear();
            lock(&debugger.session).connected();
        }
    }
    fn writable(&self) {
        if let Some(debugger) = self.0.upgrade() {
            debugger.send(&[]);
        }
    }
}
