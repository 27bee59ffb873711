//! Modes: what the translation of an instruction depends on besides its bits.

/// Privilege level U.
pub const U: u8 = 0;
/// Privilege level S.
pub const S: u8 = 1;
/// Privilege level M.
pub const M: u8 = 3;

/// The state of the float unit that decoding looks at (mstatus.FS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatState {
    /// Off: float instructions are illegal.
    Off,
    /// Initial or clean: the first change makes it dirty.
    Clean,
    /// Dirty.
    Dirty,
}

/// A mode, packed: bits 0-1 privilege, 2-3 float state, 4 set if frm is not RNE, 6 set if cbo.zero is allowed; bit 5 is kept for
/// virtualization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Mode {
    /// Packs a mode.
    pub fn new(privilege: u8, fs: u64, frm: u64, zero: bool) -> Mode {
        let float = match fs {
            0 => 0,
            3 => 2,
            _ => 1,
        };
        Mode(privilege as u32 & 3 | float << 2 | ((frm != 0) as u32) << 4 | (zero as u32) << 6)
    }
    /// Privilege level.
    #[inline(always)]
    pub fn privilege(self) -> u8 {
        self.0 as u8 & 3
    }
    /// State of the float unit.
    #[inline(always)]
    pub fn float(self) -> FloatState {
        match self.0 >> 2 & 3 {
            0 => FloatState::Off,
            1 => FloatState::Clean,
            _ => FloatState::Dirty,
        }
    }
    /// Whether cbo.zero is allowed (menvcfg.CBZE, senvcfg.CBZE).
    #[inline(always)]
    pub fn zeroes_blocks(self) -> bool {
        self.0 >> 6 & 1 != 0
    }
    /// Whether the dynamic rounding mode is to nearest, ties to even.
    #[inline(always)]
    pub fn nearest_even(self) -> bool {
        self.0 >> 4 & 1 == 0
    }
}
