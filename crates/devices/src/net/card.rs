//! Any network card, as what plugs it in and what a monitor sees of it.

use std::sync::Arc;

use backends::net::NetPeer;
use events::EventLoop;
use object::{AnyDevice, DeviceCell};

use super::e1000e::E1000e;
use crate::property_types::MacAddress;
use crate::virtio::net::{RxFilter, VirtioNet};

/// A network card.
pub trait Card: Send + Sync {
    /// Gives the card its network, and an address unless the user has; to be called before it is realized. Without a
    /// network the link is down.
    fn connect(self: Arc<Self>, events: &EventLoop, peer: Option<Arc<dyn NetPeer>>, mac: MacAddress);
    /// Plugs the cable in or pulls it out.
    fn set_link(&self, up: bool);
    /// The receive filter as it is now, if the card tells.
    fn rx_filter(&self) -> Option<RxFilter>;
    /// The address that it has now.
    fn address(&self) -> MacAddress;
}

/// The device as a network card, if it is one.
pub fn card(device: &Arc<dyn AnyDevice>) -> Option<Arc<dyn Card>> {
    fn is<D: object::Device>(device: &Arc<dyn AnyDevice>) -> Option<Arc<dyn Card>>
    where
        DeviceCell<D>: Card,
    {
        device.clone().downcast::<D>().map(|cell| cell as Arc<dyn Card>)
    }
    is::<VirtioNet>(device).or_else(|| is::<E1000e>(device))
}

impl Card for DeviceCell<VirtioNet> {
    fn connect(self: Arc<Self>, events: &EventLoop, peer: Option<Arc<dyn NetPeer>>, mac: MacAddress) {
        self.with(|net| net.mac = net.mac.or(mac));
        VirtioNet::connect(&self, events, peer);
    }
    fn set_link(&self, up: bool) {
        VirtioNet::set_link(self, up);
    }
    fn rx_filter(&self) -> Option<RxFilter> {
        Some(VirtioNet::rx_filter(self))
    }
    fn address(&self) -> MacAddress {
        self.with(|card| card.address())
    }
}

impl Card for DeviceCell<E1000e> {
    fn connect(self: Arc<Self>, events: &EventLoop, peer: Option<Arc<dyn NetPeer>>, mac: MacAddress) {
        self.with(|net| net.mac = net.mac.or(mac));
        E1000e::connect(&self, events, peer);
    }
    fn set_link(&self, up: bool) {
        self.with(|card| card.set_link(up));
    }
    fn rx_filter(&self) -> Option<RxFilter> {
        None
    }
    fn address(&self) -> MacAddress {
        self.with(|card| card.address())
    }
}
