//! Boards with RISC-V harts.

mod aia;
pub mod boot;
pub mod harts;
pub mod htif;
pub mod none;
mod pcie;
pub mod platform;
pub mod spike;
pub mod virt;

use base::{Error, Result, error};
use riscv::Config;

/// The CPU model that `-cpu` names.
///
/// # Errors
/// There is none such, or it has not what is asked for.
pub fn config(cpu: &str) -> Result<Config> {
    riscv::models::parse_cpu(cpu).map_err(|e| error!("{e}"))
}

/// What ends the making of a machine of which only the device tree was wanted. The message is for standard output, the
/// exit status 0: [`is_dump`] tells it from an error.
fn dumped(path: &str) -> Error {
    error!("{DUMPED}{path}. Exiting...")
}

const DUMPED: &str = "DTB dumped to ";

/// Whether an error of a machine's `build` says that the device tree has been written as `dumpdtb=` asks.
pub fn is_dump(error: &Error) -> bool {
    error.message().starts_with(DUMPED)
}
