//! The floating-point environment: rounding mode and accrued exception flags.
//!
//! RISC-V unprivileged ISA, chapter "F" Extension, section "Floating-Point Control and Status
//! Register": the numbers here are those of `frm` and `fflags`.

use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign};

/// A rounding direction (`frm` encoding 0 to 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Round {
    /// RNE: to nearest, ties to even.
    #[default]
    NearestEven = 0,
    /// RTZ: towards zero.
    TowardZero = 1,
    /// RDN: towards minus infinity.
    Down = 2,
    /// RUP: towards plus infinity.
    Up = 3,
    /// RMM: to nearest, ties to the larger magnitude.
    NearestMaxMagnitude = 4,
}

impl Round {
    /// All five directions in the order of their encoding.
    pub const ALL: [Round; 5] =
        [Round::NearestEven, Round::TowardZero, Round::Down, Round::Up, Round::NearestMaxMagnitude];

    /// The direction an `frm` or `rm` field names; `None` for the reserved encodings 5 and 6 and for
    /// 7 (DYN), which the caller has to look up in `frm`.
    pub const fn from_frm(frm: u8) -> Option<Round> {
        match frm {
            0 => Some(Round::NearestEven),
            1 => Some(Round::TowardZero),
            2 => Some(Round::Down),
            3 => Some(Round::Up),
            4 => Some(Round::NearestMaxMagnitude),
            _ => None,
        }
    }
}

/// A set of accrued exceptions, in the bit order of `fflags`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No exception.
    pub const NONE: Flags = Flags(0);
    /// NX: the result was rounded.
    pub const INEXACT: Flags = Flags(1);
    /// UF: the result is tiny (after rounding) and inexact.
    pub const UNDERFLOW: Flags = Flags(2);
    /// OF: the rounded result is larger than the largest finite number.
    pub const OVERFLOW: Flags = Flags(4);
    /// DZ: a finite number was divided by zero.
    pub const DIVIDE_BY_ZERO: Flags = Flags(8);
    /// NV: the operation has no usefully definable result.
    pub const INVALID: Flags = Flags(16);

    /// The `fflags` bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every flag of `other` is in `self`.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is raised.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Flags;

    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        let mut space = "";
        for (bit, name) in [(16, "NV"), (8, "DZ"), (4, "OF"), (2, "UF"), (1, "NX")] {
            if self.0 & bit != 0 {
                write!(f, "{space}{name}")?;
                space = " ";
            }
        }
        f.write_str("]")
    }
}

/// What an operation reads (the rounding direction) and accrues (the flags).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Env {
    /// The direction of every rounding.
    pub round: Round,
    /// Flags raised since they were last cleared; operations only ever add to them.
    pub flags: Flags,
}

impl Env {
    /// An environment without flags that rounds as `round` says.
    pub const fn new(round: Round) -> Env {
        Env { round, flags: Flags::NONE }
    }

    /// Adds `flags` to the accrued ones.
    pub fn raise(&mut self, flags: Flags) {
        self.flags |= flags;
    }
}
