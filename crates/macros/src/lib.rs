//! The derives of the house: [`State`](macro@State), what of a type is saved, and [`Device`](macro@Device),
//! the anatomy of a device. They are re-exported by the crates whose traits they implement; use them from there.

#![forbid(unsafe_code)]

mod device;
mod saved;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Derives `state::State` (and `state::Field`, so that the type can be a field of another).
///
/// On the type: `#[state(name = "serial", version = 3, minimum = 2, post_load = Self::check)]`, or
/// `#[state(transparent)]` for a newtype that is saved as its content. On a field: `#[state(since = 3)]`,
/// `#[state(subsection = "serial/timeout", needed = Self::timeout_needed)]`, `#[state(skip = "reason")]`.
/// Enums of unit variants are saved by position and checked by name.
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    saved::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Derives `object::Anatomy` (what is to be known of a device beside what it does) and `Default`.
///
/// On the type: `#[device(name = "goldfish_rtc", desc = "..", category = "misc", parent = "sys-bus-device",
/// bus = "System", user_creatable, no_default, inputs = 8)]` and for each register window
/// `#[mmio(name = "..", size = 0x24, access = 1..=4, implemented = 4..=4, endian = Big, unaligned)]`.
/// On fields: `#[property(name = "..", default = .., desc = "..")]`, `#[state]` (one field) and
/// `#[wire]` (`#[wire(name = "..")]`) for outputs.
#[proc_macro_derive(Device, attributes(device, mmio, property, wire, state))]
pub fn derive_device(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    device::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
