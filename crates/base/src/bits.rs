//! Reading and replacing bit fields of the unsigned integers. Fields are named as manuals name them: by the
//! lowest bit and the width, or by the range `high:low` through [`Bits::range`].

/// Bit-field access, for all unsigned integers. Fields that reach beyond the type read as zero there.
pub trait Bits: Copy {
    /// Number of bits of the type.
    const BITS: u32;
    /// The bit `n` (false beyond the type).
    fn bit(self, n: u32) -> bool;
    /// The value with bit `n` set or cleared.
    #[must_use]
    fn with_bit(self, n: u32, on: bool) -> Self;
    /// The field of `width` bits that starts at bit `low`.
    fn bits(self, low: u32, width: u32) -> Self;
    /// The value with the field of `width` bits at `low` replaced by the low bits of `field`.
    #[must_use]
    fn with_bits(self, low: u32, width: u32, field: Self) -> Self;
    /// The low `width` bits taken as a two's complement number and extended to the whole type.
    #[must_use]
    fn sign_extend(self, width: u32) -> Self;
    /// The field `high:low`, both ends included, as manuals write it.
    fn range(self, high: u32, low: u32) -> Self {
        if high < low { self.bits(0, 0) } else { self.bits(low, high - low + 1) }
    }
    /// A value whose low `width` bits are ones.
    fn mask(width: u32) -> Self;
}

macro_rules! bits {
    ($($ty:ty => $signed:ty),*) => {$(
        impl Bits for $ty {
            const BITS: u32 = <$ty>::BITS;
            #[inline]
            fn bit(self, n: u32) -> bool {
                self.checked_shr(n).unwrap_or(0) & 1 != 0
            }
            #[inline]
            fn with_bit(self, n: u32, on: bool) -> Self {
                let bit = (1 as $ty).checked_shl(n).unwrap_or(0);
                if on { self | bit } else { self & !bit }
            }
            #[inline]
            fn bits(self, low: u32, width: u32) -> Self {
                self.checked_shr(low).unwrap_or(0) & <$ty as Bits>::mask(width)
            }
            #[inline]
            fn with_bits(self, low: u32, width: u32, field: Self) -> Self {
                let mask = <$ty as Bits>::mask(width).checked_shl(low).unwrap_or(0);
                (self & !mask) | (field.checked_shl(low).unwrap_or(0) & mask)
            }
            #[inline]
            fn sign_extend(self, width: u32) -> Self {
                if width == 0 || width >= <$ty>::BITS {
                    return self;
                }
                let unused = <$ty>::BITS - width;
                (((self << unused) as $signed) >> unused) as $ty
            }
            #[inline]
            fn mask(width: u32) -> Self {
                if width >= <$ty>::BITS { <$ty>::MAX } else { ((1 as $ty) << width) - 1 }
            }
        }
    )*};
}
bits!(u8 => i8, u16 => i16, u32 => i32, u64 => i64, u128 => i128, usize => isize);

/// Rounds `value` up to a multiple of `align` (a power of two), or `None` past the end of `u64`.
#[inline]
pub const fn align_up(value: u64, align: u64) -> Option<u64> {
    match value.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}

/// Rounds `value` down to a multiple of `align` (a power of two).
#[inline]
pub const fn align_down(value: u64, align: u64) -> u64 {
    value & !(align - 1)
}

#[cfg(test)]
#[path = "bits_test.rs"]
mod test;
