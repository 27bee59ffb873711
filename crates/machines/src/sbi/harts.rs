//! What harts do to each other: IPI (chapter 7), RFENCE (chapter 8) and HSM (chapter 9).

use super::{Access, Entry, SbiError, SbiHart, SbiPlatform, SbiResult, register_max};

/// A checked set of harts (section "Hart list parameter").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HartTargets {
    /// All that the platform has.
    All,
    /// Hart `base + n` for each bit n of `mask`; each of them exists.
    Mask {
        /// Id of the hart that bit 0 stands for.
        base: u64,
        /// The bits.
        mask: u64,
    },
}

impl HartTargets {
    /// Whether a hart of the platform is meant.
    pub fn contains(self, hart: u64) -> bool {
        match self {
            HartTargets::All => true,
            HartTargets::Mask { base, mask } => {
                hart.checked_sub(base).is_some_and(|bit| bit < 64 && mask >> bit & 1 != 0)
            }
        }
    }

    /// The harts of a mask.
    ///
    /// # Errors
    /// [`SbiError::InvalidParam`] if one of them, or the base, is none of the platform's.
    pub(super) fn new(platform: &impl SbiPlatform, base: u64, mask: u64) -> Result<HartTargets, SbiError> {
        let exists = |bit: u32| base.checked_add(bit.into()).is_some_and(|hart| platform.has_hart(hart));
        let all_exist = (0..64).filter(|bit| mask >> bit & 1 != 0).all(exists);
        if all_exist && base < platform.hart_limit() {
            Ok(HartTargets::Mask { base, mask })
        } else {
            Err(SbiError::InvalidParam)
        }
    }

    /// The harts that `a0` (mask) and `a1` (base) name; a base of -1 means all.
    fn from_arguments(platform: &impl SbiPlatform, hart: &impl SbiHart) -> Result<HartTargets, SbiError> {
        match hart.argument(1) {
            base if base == register_max(hart) => Ok(HartTargets::All),
            base => HartTargets::new(platform, base, hart.argument(0)),
        }
    }
}

/// A fence for other harts. `size` of `u64::MAX` means the whole address space, whatever `start` is;
/// `start + size` does not exceed the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// `fence.i`.
    Instruction,
    /// `sfence.vma` for a range of virtual addresses, for one ASID or all.
    Vma {
        /// First address.
        start: u64,
        /// Bytes.
        size: u64,
        /// The address space identifier.
        asid: Option<u64>,
    },
    /// `hfence.gvma` for a range of guest physical addresses, for one VMID or all.
    Gvma {
        /// First address.
        start: u64,
        /// Bytes.
        size: u64,
        /// The virtual machine identifier.
        vmid: Option<u64>,
    },
    /// `hfence.vvma` for a range of guest virtual addresses of the calling hart's VMID, for one ASID
    /// or all.
    Vvma {
        /// First address.
        start: u64,
        /// Bytes.
        size: u64,
        /// The address space identifier.
        asid: Option<u64>,
    },
}

/// The state of a hart (table "HSM Hart States").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, state::State)]
pub enum HartState {
    /// Executing.
    Started = 0,
    /// Not executing.
    #[default]
    Stopped = 1,
    /// Asked to start, not yet executing.
    StartPending = 2,
    /// About to stop.
    StopPending = 3,
    /// Waiting for an interrupt in a suspend state.
    Suspended = 4,
    /// About to be suspended.
    SuspendPending = 5,
    /// Woken, not yet executing.
    ResumePending = 6,
}

/// IPI extension.
pub(super) fn ipi(platform: &impl SbiPlatform, hart: &impl SbiHart, fid: u64) -> SbiResult {
    match fid {
        0 => {
            platform.send_ipi(HartTargets::from_arguments(platform, hart)?);
            Ok(0)
        }
        _ => Err(SbiError::NotSupported),
    }
}

/// A range of addresses, normalized as [`Fence`] says.
///
/// # Errors
/// [`SbiError::InvalidAddress`] if it exceeds the address space.
pub(super) fn range(hart: &impl SbiHart, start: u64, size: u64) -> Result<(u64, u64), SbiError> {
    let max = register_max(hart);
    if (start, size) == (0, 0) || size == max {
        return Ok((0, u64::MAX));
    }
    // The last address, not the one after it, has to be in the address space.
    if size != 0 && start.checked_add(size - 1).is_none_or(|last| last > max) {
        return Err(SbiError::InvalidAddress);
    }
    Ok((start, size))
}

/// RFENCE extension.
pub(super) fn remote_fence(platform: &impl SbiPlatform, hart: &impl SbiHart, fid: u64) -> SbiResult {
    if fid > 6 {
        return Err(SbiError::NotSupported);
    }
    let targets = HartTargets::from_arguments(platform, hart)?;
    let (start, size) = if fid == 0 { (0, 0) } else { range(hart, hart.argument(2), hart.argument(3))? };
    let identifier = hart.argument(4);
    let fence = match fid {
        0 => Fence::Instruction,
        1 => Fence::Vma { start, size, asid: None },
        2 => Fence::Vma { start, size, asid: Some(identifier) },
        3 => Fence::Gvma { start, size, vmid: Some(identifier) },
        4 => Fence::Gvma { start, size, vmid: None },
        5 => Fence::Vvma { start, size, asid: Some(identifier) },
        _ => Fence::Vvma { start, size, asid: None },
    };
    platform.remote_fence(targets, fence)?;
    Ok(0)
}

/// What a call of the HSM extension means for the calling hart.
pub(super) enum Change {
    None(u64),
    Stop,
    Suspend,
    SuspendThenEnter(Entry),
}

/// An entry point that can be executed.
fn entry(platform: &impl SbiPlatform, address: u64, opaque: u64) -> Result<Entry, SbiError> {
    if address & 1 != 0 || !platform.is_allowed(Access::Execute, address, 2) {
        return Err(SbiError::InvalidAddress);
    }
    Ok(Entry { address, opaque })
}

/// HSM extension.
pub(super) fn state_management(
    platform: &impl SbiPlatform,
    hart: &impl SbiHart,
    fid: u64,
) -> Result<Change, SbiError> {
    let (first, second, third) = (hart.argument(0), hart.argument(1), hart.argument(2));
    match fid {
        0 | 2 if !platform.has_hart(first) => Err(SbiError::InvalidParam),
        0 => {
            let entry = entry(platform, second, third)?;
            platform.start_hart(first, entry)?;
            Ok(Change::None(0))
        }
        1 => Ok(Change::Stop),
        2 => Ok(Change::None(platform.hart_state(first) as u64)),
        // The type is 32 bits wide: what is above is not looked at. There are only the two default
        // types; deeper ones would gain nothing.
        3 => match first as u32 {
            0 => Ok(Change::Suspend),
            0x8000_0000 => Ok(Change::SuspendThenEnter(entry(platform, second, third)?)),
            _ => Err(SbiError::InvalidParam),
        },
        _ => Err(SbiError::NotSupported),
    }
}
