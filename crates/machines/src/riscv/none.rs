//! `none`: an empty machine.

use crate::board::Board;
use crate::machine::{MachineType, Setup};
use base::Result;

/// The machine.
pub const TYPE: MachineType = MachineType {
    name: "none",
    desc: "empty machine",
    max_cpus: 1,
    default_memory: 0,
    ram_name: "ram",
    default_cpu: "",
    flash_banks: 0,
    properties: &[],
    build,
};

fn build(setup: Setup) -> Result<Board> {
    let mut board = Board::new("none", &setup.events);
    if let Some(ram) = &setup.ram {
        let region = memory::Region::ram(TYPE.ram_name, ram.clone());
        board.map(0, &region);
    }
    Ok(board)
}
