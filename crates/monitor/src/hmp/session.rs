//! A monitor on a character device.

use super::arguments::Defaults;
use super::commands::execute;
use super::completion::choice;
use super::line::{Line, Typed};
use crate::{Session, Vm};
use backends::char::{CharEvent, CharPort, CharReceiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The version of QEMU whose monitor this one resembles.
const VERSION: &str = "10.0.2";
/// How much may wait to be sent before no more commands are read.
const OUTPUT_LIMIT: usize = 64 << 10;
const PROMPT: &str = "(qemu) ";

/// Runs command lines: the state that outlives one command.
pub struct Executor {
    vm: Arc<dyn Vm>,
    session: Session,
    defaults: Defaults,
}

impl Executor {
    /// For the machine.
    pub fn new(vm: Arc<dyn Vm>) -> Executor {
        Executor { vm, session: Session::default(), defaults: Defaults::default() }
    }
    /// Runs one line for vCPU `cpu`, with nothing remembered.
    pub fn once(vm: &dyn Vm, cpu: usize, line: &str) -> String {
        let mut session = Session { cpu, ..Session::default() };
        execute(vm, &mut session, &mut Defaults::default(), line)
    }
    /// Runs a line; the answer's lines end in `\n`.
    pub fn execute(&mut self, line: &str) -> String {
        execute(self.vm.as_ref(), &mut self.session, &mut self.defaults, line)
    }
}

struct State {
    executor: Executor,
    line: Line,
    /// Output that the port has not taken.
    waiting: Vec<u8>,
    greeted: bool,
    /// The keyboard is here.
    focus: bool,
}

/// A monitor.
pub struct Monitor {
    port: Arc<dyn CharPort>,
    state: Mutex<State>,
}

impl Monitor {
    /// Puts a monitor on a port. On a port of a multiplexer, which `shared` says, it greets when the keyboard comes to it.
    pub fn attach(vm: Arc<dyn Vm>, port: Arc<dyn CharPort>, shared: bool) -> Arc<Monitor> {
        let state = State {
            executor: Executor::new(vm),
            line: Line::default(),
            waiting: Vec::new(),
            greeted: false,
            focus: !shared,
        };
        let monitor = Arc::new(Monitor { port: port.clone(), state: Mutex::new(state) });
        port.set_receiver(Some(Arc::new(Ear(Arc::downgrade(&monitor)))));
        monitor
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, state: &mut State, text: &str) {
        state.waiting.extend_from_slice(text.as_bytes());
        let taken = self.port.write(&state.waiting);
        state.waiting.drain(..taken.min(state.waiting.len()));
    }

    fn greet(&self, state: &mut State) {
        if !std::mem::replace(&mut state.greeted, true) {
            self.send(state, &format!("QEMU {VERSION} monitor - type 'help' for more information\r\n"));
        }
        let line = format!("{PROMPT}{}", state.line.text());
        self.send(state, &line);
    }

    fn receive(&self, bytes: &[u8]) {
        let mut state = self.state();
        for &byte in bytes {
            let mut echo = String::new();
            let typed = state.line.push(byte, &mut echo);
            match typed {
                Typed::More => {}
                Typed::Finished(line) => {
                    // What has been typed is seen before the answer, and before a command that ends the program.
                    self.send(&mut state, &std::mem::take(&mut echo));
                    state.executor.session.history = state.line.history().to_vec();
                    let answer = state.executor.execute(&line);
                    echo = answer.replace('\n', "\r\n");
                    echo.push_str(PROMPT);
                }
                Typed::Complete(text) => {
                    let vm = state.executor.vm.clone();
                    complete(&*vm, &mut state.line, &text, &mut echo);
                }
            }
            self.send(&mut state, &echo);
        }
    }
}

/// Completes the last word, or shows the choice.
fn complete(vm: &dyn Vm, line: &mut Line, text: &str, echo: &mut String) {
    let (word, names) = choice(vm, text);
    let Some(first) = names.first() else { return };
    // As far as all of them agree.
    let common = names.iter().fold(first.len(), |end, name| {
        first.bytes().zip(name.bytes()).take(end).take_while(|(a, b)| a == b).count()
    });
    match names.len() {
        1 => line.insert(&format!("{} ", &first[word.len()..]), echo),
        _ if common > word.len() => line.insert(&first[word.len()..common], echo),
        _ => {
            echo.push_str("\r\n");
            echo.push_str(&columns(&names));
            echo.push_str(&format!("{PROMPT}{}", line.text()));
        }
    }
}

/// Names side by side, as many as a terminal of 80 columns holds.
fn columns(names: &[String]) -> String {
    const WIDTH: usize = 80;
    let width = names.iter().map(String::len).max().unwrap_or_default().max(8) + 2;
    let row =
        |names: &[String]| names.iter().map(|name| format!("{name:width$}")).collect::<String>() + "\r\n";
    names.chunks((WIDTH / width).max(1)).map(row).collect()
}

/// The monitor's ear.
struct Ear(Weak<Monitor>);

impl CharReceiver for Ear {
    fn room(&self) -> usize {
        // Who does not read the answers is not listened to.
        let full = |monitor: Arc<Monitor>| monitor.state().waiting.len() > OUTPUT_LIMIT;
        if self.0.upgrade().is_some_and(full) { 0 } else { 4096 }
    }
    fn receive(&self, bytes: &[u8]) {
        if let Some(monitor) = self.0.upgrade() {
            monitor.receive(bytes);
        }
    }
    fn event(&self, event: CharEvent) {
        let Some(monitor) = self.0.upgrade() else { return };
        let mut state = monitor.state();
        match event {
            CharEvent::Opened if state.focus => {
                state.waiting.clear();
                state.greeted = false;
                state.line = Line::default();
                monitor.greet(&mut state);
            }
            CharEvent::FocusIn => {
                state.focus = true;
                monitor.greet(&mut state);
            }
            CharEvent::FocusOut => {
                state.focus = false;
                monitor.send(&mut state, "\r\n");
            }
            _ => {}
        }
    }
    fn writable(&self) {
        if let Some(monitor) = self.0.upgrade() {
            let mut state = monitor.state();
            monitor.send(&mut state, "");
            let room = state.waiting.len() <= OUTPUT_LIMIT;
            drop(state);
            if room {
                monitor.port.receive_ready();
            }
        }
    }
}
