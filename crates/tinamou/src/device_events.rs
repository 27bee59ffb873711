//! Events of devices that know neither their names nor their paths.

use devices::rtc::goldfish_rtc::GoldfishRtc;
use devices::virtio::net::VirtioNet;
use object::{AnyDevice, ObjectRef};
use qapi::{Event, EventInfo, Qapi};
use std::sync::Arc;

/// The events of this file.
pub const EVENTS: &[EventInfo] = &[NicRxFilterChanged::INFO, RtcChange::INFO];

/// The guest has set its real-time clock.
#[derive(Debug, Qapi)]
#[qapi(event = "RTC_CHANGE")]
pub struct RtcChange {
    offset: i64,
    qom_path: String,
}

/// The guest has changed the receive filter of a network card for the first time since somebody has looked at it.
#[derive(Debug, Qapi)]
#[qapi(event = "NIC_RX_FILTER_CHANGED")]
pub struct NicRxFilterChanged {
    name: Option<String>,
    path: String,
}

/// Lets a device that is at `node` tell what happens to it.
pub fn watch(device: &Arc<dyn AnyDevice>, id: Option<&str>, node: &ObjectRef) {
    let path = node.path();
    if let Some(cell) = device.clone().downcast::<VirtioNet>() {
        let name = id.map(str::to_owned);
        VirtioNet::on_filter(&cell, move || {
            NicRxFilterChanged { name: name.clone(), path: path.clone() }.emit();
        });
    } else if let Some(cell) = device.clone().downcast::<GoldfishRtc>() {
        GoldfishRtc::on_set(&cell, move |offset| RtcChange { offset, qom_path: path.clone() }.emit());
    }
}
