//! The gdb stub: what `-gdb` and `-s` offer to a debugger.
//!
//! Written from "Debugging with gdb", appendix E (the remote serial protocol). A ready-made stub was considered; it
//! wants the registers as a type known to the compiler, while here a CPU lists its registers when asked.
//!
//! Threads are vCPUs of one process: `p1.N` is vCPU N-1. After an access to watched memory the machine stands behind the
//! instruction, as gdb expects of this architecture.

mod features;
mod packet;
mod session;

pub use packet::{Incoming, MAX_PACKET, Reader, frame, from_hex, to_hex};
pub use session::{Reversed, Session, StopReason, Target, trace};
