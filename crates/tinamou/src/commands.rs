//! The monitor's commands that concern what only this crate knows: the lists of machines, devices and options, and how a
//! device is plugged in.

pub mod pci;

use monitor::Commands;

/// All commands of the monitors.
pub fn all() -> Commands {
    let mut commands = Commands::new();
    commands.add(pci::COMMANDS);
    commands.add_hmp(pci::HMP, pci::INFO);
    commands.add_events(pci::EVENTS);
    commands
}
