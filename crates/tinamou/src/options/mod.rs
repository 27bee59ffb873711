//! The command line, with the reference's syntax: what options there are, how their arguments are read, what the
//! user wants in the end.

mod config;
mod groups;
mod help;
mod icount;
mod opts;
mod readconfig;
mod table;

pub use config::{Config, Mon, SerialPort, parse_smp};
pub use groups::GROUPS;
pub use help::{print_help, version};
pub use icount::{IcountConfig, Recording, read_icount};
pub use opts::{Opts, is_identifier, number, size, switch};
pub use readconfig::read_config;
pub use table::{Arg, Given, OPTIONS, Row, Standing, split};
