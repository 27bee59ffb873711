//! What a register write asks of the rest of the machine.

use std::fmt;

/// Why the machine shuts down; the names are those of the machine protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownCause {
    /// The guest asked for it (`guest-shutdown`).
    GuestShutdown,
    /// The guest asked for a reset and resets mean shutdown (`guest-reset`).
    GuestReset,
    /// The guest has panicked (`guest-panic`).
    GuestPanic,
}

/// Why the machine is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// The guest asked for it (`guest-reset`).
    GuestReset,
    /// A subsystem of the guest asked for it (`subsystem-reset`).
    SubsystemReset,
}

/// What is to be done after a device's lock has been dropped. Returned by [`Device::write`](crate::Device::write)
/// and performed by whoever made the access.
#[derive(Default)]
pub enum Effect {
    /// Nothing.
    #[default]
    None,
    /// Stop the machine; `status` is the exit status of the process (0 unless the guest chose one).
    Shutdown {
        /// Why.
        cause: ShutdownCause,
        /// Exit status of the process.
        status: u32,
    },
    /// Reset the machine.
    Reset {
        /// Why.
        cause: ResetCause,
    },
    /// The guest has told of its panic.
    Panicked,
    /// A watchdog has not been heard of for too long.
    Watchdog,
    /// Move or switch parts of the memory map.
    ChangeLayout(Box<dyn FnOnce() + Send>),
    /// Anything else that must not happen under the lock.
    Run(Box<dyn FnOnce() + Send>),
    /// Several, in order.
    Many(Vec<Effect>),
}

impl Effect {
    /// The guest switched the machine off.
    pub const SHUTDOWN: Self = Self::Shutdown { cause: ShutdownCause::GuestShutdown, status: 0 };
    /// The guest asked for a reset.
    pub const RESET: Self = Self::Reset { cause: ResetCause::GuestReset };

    /// An effect that changes the memory map.
    pub fn change_layout(change: impl FnOnce() + Send + 'static) -> Self {
        Self::ChangeLayout(Box::new(change))
    }
    /// An effect that runs something after the lock is gone.
    pub fn run(work: impl FnOnce() + Send + 'static) -> Self {
        Self::Run(Box::new(work))
    }
    /// Whether there is nothing to do.
    #[inline]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
    /// This effect and then another.
    #[must_use]
    pub fn and(self, next: Self) -> Self {
        match (self, next) {
            (Self::None, other) | (other, Self::None) => other,
            (Self::Many(mut list), other) => {
                list.push(other);
                Self::Many(list)
            }
            (first, other) => Self::Many(vec![first, other]),
        }
    }
    /// Performs what can be performed anywhere (layout changes, closures) and hands the rest (shutdown, reset, panic)
    /// to `machine`, in order.
    pub fn perform(self, machine: &mut dyn FnMut(Effect)) {
        match self {
            Self::None => {}
            Self::ChangeLayout(work) | Self::Run(work) => work(),
            Self::Many(list) => list.into_iter().for_each(|e| e.perform(machine)),
            other => machine(other),
        }
    }
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Shutdown { cause, status } => write!(f, "Shutdown({cause:?}, {status})"),
            Self::Reset { cause } => write!(f, "Reset({cause:?})"),
            Self::Panicked => f.write_str("Panicked"),
            Self::Watchdog => f.write_str("Watchdog"),
            Self::ChangeLayout(_) => f.write_str("ChangeLayout"),
            Self::Run(_) => f.write_str("Run"),
            Self::Many(list) => f.debug_list().entries(list).finish(),
        }
    }
}
