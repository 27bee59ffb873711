//! The monitor's commands that concern what only this crate knows: the lists of machines, devices and options, and how a
//! device is plugged in.

mod machines;
mod migration;
pub mod pci;
mod processors;
mod types;

use crate::saving;
use monitor::Commands;

/// All commands of the monitors.
pub fn all() -> Commands {
    let mut commands = Commands::new();
    for list in
        [machines::COMMANDS, migration::COMMANDS, pci::COMMANDS, processors::COMMANDS, types::COMMANDS]
    {
        commands.add(list);
    }
    commands.add_hmp(pci::HMP, pci::INFO);
    commands.add_events(pci::EVENTS);
    commands.add_hmp(saving::COMMANDS, saving::INFO);
    commands
}
