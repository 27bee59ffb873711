//! Words that everyone in the house may use: guest addresses, bit fields, endian cells, the log, and the
//! conventions about errors. This crate knows nothing of machines, devices or processors.

#![forbid(unsafe_code)]

pub mod addr;
pub mod bits;
pub mod endian;
pub mod error;
pub mod log;
pub mod trace;

pub use addr::{GuestPhys, GuestVirt, PAGE_BITS, PAGE_SIZE};
pub use bits::Bits;
pub use endian::Endian;
pub use error::{Error, Result};
