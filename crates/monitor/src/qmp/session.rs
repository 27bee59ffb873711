//! A client of the machine protocol on a character device.

use super::json::write;
use super::preconfig;
use super::{Hub, commands};
use crate::trace;
use crate::{Context, Session, Vm};
use backends::char::{CharEvent, CharPort, CharReceiver};
use base::error::Class;
use base::{Error, Result, error};
use qapi::Stream;
use qapi::{Emitted, Map, Qapi, Value, json};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How much may wait to be sent before no more commands are read.
const OUTPUT_LIMIT: usize = 64 << 10;
/// How much may wait before events are dropped: a client that does not read them would take all memory.
const EVENT_LIMIT: usize = 4 << 20;

#[derive(Default)]
struct State {
    stream: Stream,
    session: Session,
    /// Output that the port has not taken.
    waiting: Vec<u8>,
    /// Somebody is connected.
    open: bool,
}

/// A monitor for programs.
pub struct Qmp {
    vm: Arc<dyn Vm>,
    port: Arc<dyn CharPort>,
    hub: Arc<Hub>,
    pretty: bool,
    state: Mutex<State>,
}

impl Qmp {
    /// Puts a monitor on a port. `pretty` makes it indent what it writes.
    pub fn attach(vm: Arc<dyn Vm>, hub: &Arc<Hub>, port: Arc<dyn CharPort>, pretty: bool) -> Arc<Qmp> {
        let qmp = Arc::new(Qmp { vm, port: port.clone(), hub: hub.clone(), pretty, state: Mutex::default() });
        hub.add(&qmp);
        port.set_receiver(Some(Arc::new(Ear(Arc::downgrade(&qmp)))));
        qmp
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, state: &mut State, value: &Value) {
        if !state.open {
            return;
        }
        state.waiting.extend_from_slice(write(value, self.pretty).as_bytes());
        state.waiting.extend_from_slice(b"\r\n");
        self.push(state);
    }

    fn push(&self, state: &mut State) {
        let taken = self.port.write(&state.waiting);
        state.waiting.drain(..taken.min(state.waiting.len()));
    }

    /// Sends an event, if the client listens already.
    pub(super) fn event(&self, event: &Emitted) {
        let mut state = self.state();
        if !state.session.negotiated || state.waiting.len() > EVENT_LIMIT {
            return;
        }
        let at = event.at;
        let mut value = json!({
            "event": event.name,
            "timestamp": {"seconds": at.as_secs(), "microseconds": at.subsec_micros()},
        });
        if let Some(map) = value.as_object_mut().filter(|_| !event.data.is_empty()) {
            map.insert("data".into(), Value::Object(event.data.clone()));
        }
        self.send(&mut state, &value);
    }

    fn receive(&self, bytes: &[u8]) {
        let mut messages = Vec::new();
        {
            let mut state = self.state();
            bytes.iter().for_each(|byte| state.stream.push(*byte, &mut messages));
        }
        for message in messages {
            let reply = match message {
                Ok(value) => self.message(value),
                Err(text) => json!({"error": error_value(&Error::new(text))}),
            };
            // What the command has led to is told before its reply.
            self.hub.deliver();
            self.send(&mut self.state(), &reply);
        }
    }

    /// Carries out a message and returns the reply.
    fn message(&self, value: Value) -> Value {
        let Value::Object(mut members) = value else {
            return json!({"error": error_value(&error!("QMP input must be a JSON object"))});
        };
        let id = members.remove("id");
        // The connection's state is out of its place while the command runs, so that the command may emit events.
        let mut session = std::mem::take(&mut self.state().session);
        let listening = session.negotiated;
        self.state().session.negotiated = listening;
        let result = self.execute(members, &mut session);
        {
            let mut state = self.state();
            state.session = session;
        }
        let mut reply = match result {
            Ok(value) => json!({"return": value}),
            Err(error) => json!({"error": error_value(&error)}),
        };
        if let (Some(id), Some(map)) = (id, reply.as_object_mut()) {
            map.insert("id".into(), id);
        }
        reply
    }

    fn execute(&self, members: Map<String, Value>, session: &mut Session) -> Result<Value> {
        let (name, out_of_band, arguments) = take_apart(members, session.oob)?;
        let not_found = |text: String| Error::new(text).class(Class::CommandNotFound);
        base::trace!(trace::QMP_COMMAND, "{name}");
        let registry = self.vm.commands();
        let negotiation = name == commands::QMP_CAPABILITIES.name;
        if !session.negotiated && !negotiation {
            return Err(not_found("Expecting capabilities negotiation with 'qmp_capabilities'".into()));
        }
        if session.negotiated && negotiation {
            return Err(not_found("Capabilities negotiation is already complete, command ignored".into()));
        }
        let command = registry
            .find(&name)
            .ok_or_else(|| not_found(format!("The command {name} has not been found")))?;
        if out_of_band && !command.oob {
            return Err(error!("The command {name} does not support OOB"));
        }
        if self.vm.preconfig() && !preconfig::ALLOWED.contains(&&*name) {
            return Err(error!(
                "The command '{name}' is permitted only after machine initialization has completed"
            ));
        }
        let mut context = Context { vm: self.vm.as_ref(), session, out: String::new() };
        (command.run)(&mut context, arguments)
    }
}

/// The command's name, whether it may overtake others, and its arguments.
fn take_apart(members: Map<String, Value>, oob: bool) -> Result<(String, bool, Map<String, Value>)> {
    let (mut command, mut arguments) = (None, Map::new());
    for (name, value) in members {
        match (name.as_str(), value) {
            ("execute" | "exec-oob", _) if command.is_some() || name == "exec-oob" && !oob => {
                return Err(error!("QMP input member '{name}' is unexpected"));
            }
            ("execute" | "exec-oob", Value::String(text)) => command = Some((text, name == "exec-oob")),
            ("execute" | "exec-oob", _) => {
                return Err(error!("QMP input member '{name}' must be a string"));
            }
            ("arguments", Value::Object(map)) => arguments = map,
            ("arguments", _) => return Err(error!("QMP input member 'arguments' must be an object")),
            _ => return Err(error!("QMP input member '{name}' is unexpected")),
        }
    }
    let (name, out_of_band) = command.ok_or_else(|| error!("QMP input lacks member 'execute'"))?;
    Ok((name, out_of_band, arguments))
}

fn error_value(error: &Error) -> Value {
    json!({"class": format!("{:?}", error.class), "desc": error.to_string()})
}

/// The monitor's ear.
struct Ear(Weak<Qmp>);

impl CharReceiver for Ear {
    fn room(&self) -> usize {
        self.0.upgrade().map_or(4096, |qmp| {
            let full = qmp.state().waiting.len() > OUTPUT_LIMIT;
            if full { 0 } else { 4096 }
        })
    }
    fn receive(&self, bytes: &[u8]) {
        if let Some(qmp) = self.0.upgrade() {
            qmp.receive(bytes);
        }
    }
    fn receive_fds(&self, fds: Vec<OwnedFd>) {
        if let Some(qmp) = self.0.upgrade() {
            // Those that came before and were not taken are closed: a client cannot pile them up.
            qmp.state().session.received = fds;
        }
    }
    fn event(&self, event: CharEvent) {
        let Some(qmp) = self.0.upgrade() else { return };
        let mut state = qmp.state();
        match event {
            CharEvent::Opened => {
                *state = State { open: true, ..State::default() };
                let greeting = commands::greeting().to_json();
                qmp.send(&mut state, &json!({"QMP": greeting}));
            }
            CharEvent::Closed => *state = State::default(),
            _ => {}
        }
    }
    fn writable(&self) {
        if let Some(qmp) = self.0.upgrade() {
            let mut state = qmp.state();
            qmp.push(&mut state);
            let room = state.waiting.len() <= OUTPUT_LIMIT;
            drop(state);
            if room {
                qmp.port.receive_ready();
            }
        }
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod test;
