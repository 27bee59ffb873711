//! The register windows of devices as regions.

use std::fmt;
use std::sync::Arc;

use object::{Access, AnyDevice, Effect, ObjectRef};

use crate::bus::{BusResult, Mmio};
use crate::region::Region;

/// One register window of a device, as the bus sees it. `A` is a [`object::DeviceCell`] or `dyn AnyDevice`.
pub struct Port<A: ?Sized> {
    device: Arc<A>,
    window: usize,
    access: Access,
}

impl<A: AnyDevice + ?Sized> Port<A> {
    /// Window number `window` of the device; `None` if it has fewer.
    pub fn new(device: &Arc<A>, window: usize) -> Option<Arc<Self>> {
        let access = device.regions().get(window)?.access;
        Some(Arc::new(Self { device: device.clone(), window, access }))
    }
}

impl<A: AnyDevice + ?Sized> Mmio for Port<A> {
    #[inline]
    fn read(&self, offset: u64, size: u32) -> BusResult<u64> {
        Ok(self.device.read(self.window, offset, size))
    }
    #[inline]
    fn write(&self, offset: u64, size: u32, value: u64) -> BusResult<Effect> {
        Ok(self.device.write(self.window, offset, size, value))
    }
    #[inline]
    fn access(&self) -> Access {
        self.access
    }
}

impl<A: AnyDevice + ?Sized> fmt::Debug for Port<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({}, window {})", self.device.type_info().name, self.window)
    }
}

/// A region for window number `window` of a device; `None` if it has fewer.
pub fn port_region<A: AnyDevice + ?Sized>(device: &Arc<A>, window: usize) -> Option<Arc<Region>> {
    let info = device.regions().into_iter().nth(window)?;
    Some(Region::mmio(&info.name, info.size, Port::new(device, window)?))
}

/// Regions for all windows of a device, owned by its node in the tree.
pub fn device_regions<A: AnyDevice + ?Sized>(device: &Arc<A>, node: Option<&ObjectRef>) -> Vec<Arc<Region>> {
    let regions: Vec<_> = (0..device.regions().len()).filter_map(|n| port_region(device, n)).collect();
    if let Some(node) = node {
        regions.iter().for_each(|r| r.set_owner(node));
    }
    regions
}
