//! Guest addresses as types of their own, for the places where a physical and a virtual address meet and
//! could be taken for one another. Where only one kind can occur a plain `u64` is fine.

use std::fmt;

/// log2 of the smallest page size that all guests and hosts share (4 KiB).
pub const PAGE_BITS: u32 = 12;
/// Bytes of a page ([`PAGE_BITS`]).
pub const PAGE_SIZE: u64 = 1 << PAGE_BITS;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The address `n` bytes further on, wrapping at 2^64.
            #[inline]
            pub const fn offset(self, n: u64) -> Self {
                Self(self.0.wrapping_add(n))
            }
            /// The address of the 4 KiB page that holds this one.
            #[inline]
            pub const fn page(self) -> Self {
                Self(self.0 & !(PAGE_SIZE - 1))
            }
            /// Bytes from the start of the 4 KiB page.
            #[inline]
            pub const fn page_offset(self) -> u64 {
                self.0 & (PAGE_SIZE - 1)
            }
            /// Whether the address is a multiple of `size` (a power of two).
            #[inline]
            pub const fn is_aligned(self, size: u64) -> bool {
                self.0 & size.wrapping_sub(1) == 0
            }
        }
        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }
        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#018x}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// A guest physical address: what leaves the processor's MMU and what devices use.
    GuestPhys
}
address! {
    /// A guest virtual address: what a guest program uses.
    GuestVirt
}
