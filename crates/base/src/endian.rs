//! Byte order: of a bus or a register ([`Endian`]), and of a field in a structure that guest and host share
//! ([`Le`], [`Be`]: cells that hold the bytes as they lie in memory).

use std::fmt;

/// A byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte at the lowest address.
    #[default]
    Little,
    /// Most significant byte at the lowest address.
    Big,
}

impl Endian {
    /// The number that the bytes mean in this order. Bytes past the eighth are ignored.
    #[inline]
    pub fn number(self, bytes: &[u8]) -> u64 {
        let bytes = &bytes[..bytes.len().min(8)];
        match self {
            Self::Little => bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)),
            Self::Big => bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b)),
        }
    }

    /// Stores the low bytes of `value` in this order.
    #[inline]
    pub fn store(self, value: u64, bytes: &mut [u8]) {
        let n = bytes.len().min(8);
        match self {
            Self::Little => bytes[..n].copy_from_slice(&value.to_le_bytes()[..n]),
            Self::Big => bytes[..n].copy_from_slice(&value.to_be_bytes()[8 - n..]),
        }
    }
}

/// The low `size` bytes of `value` in the opposite order; `size` is 1, 2, 4 or 8.
#[inline]
pub const fn swap(value: u64, size: u32) -> u64 {
    match size {
        1 => value,
        2 => (value as u16).swap_bytes() as u64,
        4 => (value as u32).swap_bytes() as u64,
        _ => value.swap_bytes(),
    }
}

macro_rules! cell {
    ($(#[$doc:meta])* $name:ident, $to:ident, $from:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        pub struct $name<T>(T);
        cell!(@ints $name, $to, $from, u16 u32 u64 i16 i32 i64);
    };
    (@ints $name:ident, $to:ident, $from:ident, $($ty:ty)*) => {$(
        impl $name<$ty> {
            /// A cell holding `value`.
            #[inline]
            pub const fn new(value: $ty) -> Self {
                Self(value.$to())
            }
            /// The number in the cell.
            #[inline]
            pub const fn get(self) -> $ty {
                <$ty>::$from(self.0)
            }
            /// Replaces the number in the cell.
            #[inline]
            pub const fn set(&mut self, value: $ty) {
                self.0 = value.$to();
            }
            /// The bytes as they lie in memory.
            #[inline]
            pub const fn bytes(self) -> [u8; size_of::<$ty>()] {
                self.0.to_ne_bytes()
            }
            /// The cell whose bytes lie so in memory.
            #[inline]
            pub const fn from_bytes(bytes: [u8; size_of::<$ty>()]) -> Self {
                Self(<$ty>::from_ne_bytes(bytes))
            }
        }
        impl From<$ty> for $name<$ty> {
            fn from(value: $ty) -> Self {
                Self::new(value)
            }
        }
        impl From<$name<$ty>> for $ty {
            fn from(cell: $name<$ty>) -> Self {
                cell.get()
            }
        }
        impl fmt::Debug for $name<$ty> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.get())
            }
        }
    )*};
}
cell! {
    /// A number kept in little-endian order.
    Le, to_le, from_le
}
cell! {
    /// A number kept in big-endian order.
    Be, to_be, from_be
}

#[cfg(test)]
#[path = "endian_test.rs"]
mod test;
