//! The macros of the house: [`State`](macro@State), what of a type is saved, [`Device`](macro@Device), the anatomy of
//! a device, [`Qapi`](macro@Qapi), a type of the machine protocol, and [`command`](macro@command), a command of it. They
//! are re-exported by the crates whose traits they implement; use them from there.

#![forbid(unsafe_code)]

mod command;
mod device;
mod pci;
mod qapi;
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
/// On fields: `#[property(name = "..", default = .., desc = "..")]`, `#[state]` (one field),
/// `#[wire]` (`#[wire(name = "..")]`) for outputs, `#[properties]` for a part whose properties are the device's too,
/// `#[alias]` for a device inside this one whose properties are set through it,
/// and `#[place]` for the one that connects the device to its bus.
///
/// A PCI function has `#[pci(vendor = .., device = .., class = .., revision = .., subsystem = (.., ..), pin = ..,
/// bridge, adjust = Self::f)]`, for each base address register `#[bar(index = 0, kind = Memory64, prefetchable, ..)]`
/// with the words of `#[mmio]` (`fixed = ..`: at an address of its own from power on), and for each capability `#[capability(expr)]`. `adjust` may change what the attributes
/// say: `fn(&Self, &mut PciInfo)`.
#[proc_macro_derive(
    Device,
    attributes(device, mmio, property, wire, state, pci, bar, capability, place, properties, alias)
)]
pub fn derive_device(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    device::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Derives `qapi::Qapi`: how a type is read from JSON and written to it, and its entry in the protocol's schema.
///
/// A struct is a structure of the protocol; a member's name is the field's with dashes, or what
/// `#[qapi(name = "..")]` says; `Option` members may be left away; `#[qapi(flatten)]` puts another structure's members
/// among its own. `#[qapi(event = "NAME")]` on the type makes it an event. An enum of unit variants is an enumeration;
/// with `#[qapi(tag = "type")]` an enum is a union, whose member `type` names the variant; with `#[qapi(alternate)]` it
/// is a choice between values of different JSON types.
#[proc_macro_derive(Qapi, attributes(qapi))]
pub fn derive_qapi(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    qapi::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function a command of the machine protocol and, with `hmp(..)`, of the monitor for people too: beside
/// `fn query_name(context: &mut Context<'_>) -> Result<NameInfo>` there is then a constant `QUERY_NAME`, which goes into
/// a list of commands.
///
/// Arguments and result are of types that are `Qapi`; an argument's name is the variable's with dashes, or what
/// `#[name("..")]` before it says. Options: `name = ".."` if the command's name is not the function's with dashes;
/// `oob` if it may overtake others; `boxed` if its single argument is the structure of all arguments;
/// `features("..")`; `hmp("names", "parameters", "help")`, where a name such as `info roms` makes a subcommand of `info`.
#[proc_macro_attribute]
pub fn command(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut options = command::Options::default();
    let parser = syn::meta::parser(|meta| options.parse(&meta));
    parse_macro_input!(attribute with parser);
    let function = parse_macro_input!(item as syn::ItemFn);
    command::expand(&options, function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Derives `object::PropertySet` and `Default` for a struct of properties: `#[property(..)]` as in a device.
#[proc_macro_derive(Properties, attributes(property))]
pub fn derive_properties(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    device::derive_properties(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
