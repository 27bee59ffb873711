//! Objects: types by name, properties, the composition tree, and what a device is.
//!
//! Glossary. A *type* ([`TypeInfo`]) has a name and a parent type. A [`Node`] is a place in the composition
//! tree, which begins at the machine; its children have names, and so it has a path such as
//! `/machine/unattached/device[3]`. A [`Device`] is what an author writes; a [`DeviceCell`] is the lock that
//! the bus puts round it. A [`Line`] carries an interrupt level from a device to whoever listens. An
//! [`Effect`] is what a register access asks of the rest of the machine, done after the lock is gone.
//!
//! **Locks.** At most one device lock is held by a thread. Whatever a device starts in others (a line, an
//! effect, a transfer to another device's registers) is queued while the thread is inside a device, and done
//! when it has come out ([`defer`]). So no order among device locks is needed, and none can deadlock.

#![forbid(unsafe_code)]

// The derives name this crate absolutely, also inside of it.
extern crate self as object;

mod access;
mod cell;
pub mod check;
mod device;
mod effect;
mod guard;
mod help;
mod line;
mod link;
mod node;
pub mod pci;
mod print;
mod property;
mod qtree;
mod types;

pub use access::{Access, RegionInfo};
pub use base::Endian;
pub use cell::{AnyDevice, DeviceCell, Inner, InputSink};
pub use device::{Anatomy, Device};
pub use effect::{Effect, ResetCause, ShutdownCause};
pub use guard::{as_inside, defer, inside_device};
pub use help::{device_help, device_list, properties_help};
pub use line::{Line, LineSink, Wire};
pub use link::{BusLink, BusPlace};
pub use macros::{Device, Properties};
pub use node::{Ambiguous, Node, NodeProperty, ObjectRef, escape, unattached};
pub use print::print_tree;
pub use property::{
    OnOffAuto, PropertyError, PropertyInfo, PropertySet, PropertyType, PropertyValue, Size, human_size,
    parse_size,
};
pub use qtree::print_qtree;
pub use types::{Category, ROOTS, TypeInfo, Types, point};
