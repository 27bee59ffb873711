//! Serial ports.

pub mod ns16550a;
pub mod pci_serial;
