//! The host's side of I/O: what stands behind a serial port, a disk, a network card, an entropy source.
//!
//! A device knows a back end only by a trait: [`char::CharPort`], [`block::BlockDevice`],
//! [`net::NetPeer`]. The modules also read the command-line spellings of `-chardev`, `-serial`, `-drive`,
//! `-blockdev`, `-netdev` and `-nic` into typed structures, with the error texts that scripts look for.

pub mod block;
pub mod char;
mod error;
pub mod fd;
pub mod net;
pub mod options;
pub mod rng;

pub use error::{Error, reason};

/// The trace points of this crate.
pub const TRACE: &[&base::trace::Points] = &[&block::trace::POINTS, &char::trace::POINTS];
