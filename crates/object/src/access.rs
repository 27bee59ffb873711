//! What accesses a register window takes.

use base::Endian;

/// Which accesses a register window allows (`valid`) and which its device implements (`impl`). The bus
/// refuses the first kind with an error to the guest, and makes the second out of what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Smallest access that is allowed, in bytes.
    pub valid_min: u32,
    /// Largest access that is allowed, in bytes.
    pub valid_max: u32,
    /// Smallest access the device implements: smaller reads are cut out of it, smaller writes widened by zeros.
    pub impl_min: u32,
    /// Largest access the device implements: larger ones are split.
    pub impl_max: u32,
    /// Whether an access may lie at an address that is no multiple of its size.
    pub unaligned: bool,
    /// Byte order of the registers.
    pub endian: Endian,
}

impl Access {
    /// Aligned accesses of 1 to 8 bytes are allowed, 1 to 8 implemented, little-endian.
    pub const DEFAULT: Self = Self {
        valid_min: 1,
        valid_max: 8,
        impl_min: 1,
        impl_max: 8,
        unaligned: false,
        endian: Endian::Little,
    };

    /// Only accesses of exactly `size` bytes.
    pub const fn only(size: u32) -> Self {
        Self { valid_min: size, valid_max: size, impl_min: size, impl_max: size, ..Self::DEFAULT }
    }

    /// The same with other implemented sizes.
    #[must_use]
    pub const fn with_impl(mut self, min: u32, max: u32) -> Self {
        self.impl_min = min;
        self.impl_max = max;
        self
    }

    /// Whether an access of `size` bytes at `offset` is allowed.
    #[inline]
    pub const fn allows(&self, offset: u64, size: u32) -> bool {
        size >= self.valid_min
            && size <= self.valid_max
            && (self.unaligned || offset & (size as u64).wrapping_sub(1) == 0)
    }
}

impl Default for Access {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A register window of a device, as it declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// Name in the memory map.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Accesses it takes.
    pub access: Access,
}
