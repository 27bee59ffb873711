//! How a device learns where on its bus it has been put.

use std::any::Any;
use std::sync::Arc;

/// A place on a bus: what it is, its bus and the devices made for that bus know.
pub type BusPlace = Arc<dyn Any + Send + Sync>;

/// The field of a device (`#[place]`) by which it reaches its bus: DMA, interrupts.
pub trait BusLink {
    /// The device has been put at this place. False when it belongs on another kind of bus.
    fn attach(&mut self, place: BusPlace) -> bool;
    /// The device has been taken out: it reaches nothing any more.
    fn detach(&mut self);
}
