//! The monitor's commands that concern what only this crate knows: the lists of machines, devices and options, and how a
//! device is plugged in.

use monitor::Commands;

/// All commands of the monitors.
pub fn all() -> Commands {
    Commands::new()
}
