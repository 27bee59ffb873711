//! The monitor's commands that concern what only this crate knows: the lists of machines, devices and options, and how a
//! device is plugged in.

mod blockdevs;
mod chardevs;
pub mod jobs;
mod machines;
mod migration;
pub mod migration_events;
mod network;
mod objects;
pub mod pci;
mod processors;
mod traces;
mod types;

use crate::saving;
use monitor::Commands;
use qapi::Event;

/// All commands of the monitors.
pub fn all() -> Commands {
    let mut commands = Commands::new();
    let lists = [
        blockdevs::COMMANDS,
        chardevs::COMMANDS,
        jobs::COMMANDS,
        machines::COMMANDS,
        migration::COMMANDS,
        network::COMMANDS,
        objects::COMMANDS,
        pci::COMMANDS,
        processors::COMMANDS,
        traces::COMMANDS,
        types::COMMANDS,
    ];
    lists.iter().for_each(|list| commands.add(list));
    commands.add_hmp(blockdevs::HMP, &[]);
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
    commands.add_events(jobs::EVENTS);
    commands
}
