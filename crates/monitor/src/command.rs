//! Commands: what one is, the list of all, and what they work with.

use crate::{Vm, hmp, qmp};
use base::Result;
use qapi::{EventInfo, Map, Schema, Value};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// A command of the machine protocol. `#[command]` makes it from a function.
#[derive(Clone, Copy)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Whether it may overtake others.
    pub oob: bool,
    /// Reads its arguments and runs it.
    pub run: fn(&mut Context<'_>, Map<String, Value>) -> Result<Value>,
    /// Enters it into the schema.
    pub describe: fn(&mut Schema),
    /// Its row in the monitor for people, if it has one.
    pub hmp: Option<hmp::Command>,
}

/// What lasts as long as the connection to a monitor.
#[derive(Debug, Default)]
pub struct Session {
    /// The vCPU that the user has chosen.
    pub cpu: usize,
    /// The lines that people have typed, the oldest first.
    pub history: Vec<String>,
    /// File descriptors that the client has sent and not named yet.
    pub received: Vec<OwnedFd>,
    /// The client has negotiated capabilities.
    pub negotiated: bool,
    /// Commands may be executed out of band.
    pub oob: bool,
}

/// What a command works with: the machine, the connection, and the answer's text where people read it.
pub struct Context<'a> {
    /// The machine.
    pub vm: &'a dyn Vm,
    /// The connection.
    pub session: &'a mut Session,
    /// The answer in the monitor for people.
    pub out: String,
}

impl Context<'_> {
    /// Shows the result of a command that is made for people.
    pub fn show(&mut self, result: &Value) {
        if let Some(text) = result.get("human-readable-text").and_then(Value::as_str) {
            self.out.push_str(text);
        }
    }
}

/// All commands and events.
#[derive(Default)]
pub struct Commands {
    qmp: BTreeMap<&'static str, Command>,
    hmp: Vec<hmp::Command>,
    info: Vec<hmp::Command>,
    events: Vec<EventInfo>,
}

impl Commands {
    /// Those of this crate.
    pub fn new() -> Commands {
        let mut commands = Commands::default();
        qmp::LISTS.iter().for_each(|list| commands.add(list));
        commands.add_hmp(hmp::COMMANDS, hmp::INFO);
        qmp::HMP.iter().for_each(|table| commands.add_hmp(table, &[]));
        qmp::INFO.iter().for_each(|table| commands.add_hmp(&[], table));
        qmp::EVENTS.iter().for_each(|list| commands.add_events(list));
        commands
    }

    /// Adds commands, with their rows for people.
    pub fn add(&mut self, list: &[Command]) {
        for command in list {
            let before = self.qmp.insert(command.name, *command);
            assert!(before.is_none(), "command '{}' is listed twice", command.name);
            match command.hmp {
                Some(row) if row.names.starts_with("info ") => {
                    self.add_hmp(&[], &[hmp::Command { names: &row.names["info ".len()..], ..row }]);
                }
                Some(row) => self.add_hmp(&[row], &[]),
                None => {}
            }
        }
    }
    /// Adds commands and subcommands of `info` that are for people only.
    pub fn add_hmp(&mut self, commands: &[hmp::Command], info: &[hmp::Command]) {
        for (table, more) in [(&mut self.hmp, commands), (&mut self.info, info)] {
            table.extend(more);
            table.sort_by_key(|row| row.names);
        }
    }
    /// Adds events.
    pub fn add_events(&mut self, list: &[EventInfo]) {
        self.events.extend(list);
    }

    /// The command of that name.
    pub fn find(&self, name: &str) -> Option<&Command> {
        self.qmp.get(name)
    }
    /// The names of all commands.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.qmp.keys().copied()
    }
    /// The commands for people, in the order of help.
    pub fn hmp(&self) -> &[hmp::Command] {
        &self.hmp
    }
    /// The subcommands of `info`.
    pub fn info(&self) -> &[hmp::Command] {
        &self.info
    }
    /// What the protocol says of itself.
    pub fn schema(&self) -> Vec<Value> {
        let mut schema = Schema::default();
        for event in &self.events {
            let data = (event.describe)(&mut schema);
            schema.event(event.name, &data);
        }
        self.qmp.values().for_each(|command| (command.describe)(&mut schema));
        schema.finish()
    }
}
