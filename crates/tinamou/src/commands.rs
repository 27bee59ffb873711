//! The monitor's commands that concern what only this crate knows: the lists of machines, devices and options, and how a
//! device is plugged in.

pub mod balloon;
mod block_jobs;
mod blockdevs;
mod chardevs;
mod debugging;
mod jobs;
mod machines;
mod media;
mod migration;
pub mod migration_events;
pub mod names;
mod network;
mod objects;
pub mod pci;
mod processors;
mod replay;
mod traces;
mod transaction;
mod types;

use crate::saving;
use base::Result;
use monitor::{Command, Commands, Context};
use qapi::{Event, Value};

/// All commands of the monitors.
pub fn all() -> Commands {
    let mut commands = Commands::new();
    let lists = [
        balloon::COMMANDS,
        block_jobs::COMMANDS,
        blockdevs::COMMANDS,
        chardevs::COMMANDS,
        debugging::COMMANDS,
        jobs::COMMANDS,
        machines::COMMANDS,
        media::COMMANDS,
        migration::COMMANDS,
        network::COMMANDS,
        objects::COMMANDS,
        pci::COMMANDS,
        processors::COMMANDS,
        replay::COMMANDS,
        traces::COMMANDS,
        transaction::COMMANDS,
        types::COMMANDS,
    ];
    lists.iter().for_each(|list| commands.add(list));
    commands.add_events(balloon::EVENTS);
    commands.add_hmp(balloon::HMP, &[]);
    commands.add_hmp(block_jobs::HMP, &[]);
    commands.add_hmp(blockdevs::HMP, &[]);
    commands.add_hmp(debugging::HMP, &[]);
    commands.add_hmp(media::HMP, &[]);
    commands.add_hmp(chardevs::HMP, &[]);
    commands.add_hmp(&[], types::INFO);
    commands.add_hmp(network::HMP, network::INFO);
    commands.add_hmp(objects::HMP, &[]);
    commands.add_hmp(pci::HMP, pci::INFO);
    commands.add_hmp(traces::HMP, traces::INFO);
    commands.add_events(pci::EVENTS);
    commands.add_events(&[devices::virtio::console::VserportChange::INFO]);
    commands.add_events(devices::misc::pvpanic::EVENTS);
    commands.add_hmp(saving::COMMANDS, saving::INFO);
    commands.add_hmp(migration::HMP, migration::INFO);
    commands.add_events(migration_events::EVENTS);
    commands.add_events(crate::jobs::EVENTS);
    commands.add_events(crate::device_events::EVENTS);
    commands.add_events(crate::disk_faults::EVENTS);
    commands
}

/// Runs a command of the machine protocol for a person.
fn as_qmp(context: &mut Context<'_>, command: &Command, arguments: Value) -> Result<()> {
    let Value::Object(arguments) = arguments else { return Ok(()) };
    (command.run)(context, arguments).map(|_| ()).map_err(monitor::hmp::refused)
}
