//! What is on the buses of PCI, and devices that come and go.

use crate::control::Control;
use crate::options::Opts;
use base::error::Class;
use base::{Result, error};
use devices::pci::{BarInfo, BridgeInfo, FunctionInfo, class_name};
use monitor::{Command, Context, command};
use object::pci::BarKind;
use qapi::{Anything, Event, EventInfo, Qapi, Value};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[DEVICE_ADD, DEVICE_DEL, QUERY_PCI];
/// Its events.
pub const EVENTS: &[EventInfo] = &[DeviceDeleted::INFO];

/// A device has been taken out.
#[derive(Qapi)]
#[qapi(event = "DEVICE_DELETED")]
pub struct DeviceDeleted {
    /// The user's name for it.
    pub device: Option<String>,
    /// Where it was in the object tree.
    pub path: String,
}

/// A bus and what is on it.
#[derive(Qapi)]
pub struct PciInfo {
    bus: i64,
    devices: Vec<PciDeviceInfo>,
}

/// A function.
#[derive(Qapi)]
pub struct PciDeviceInfo {
    bus: i64,
    slot: i64,
    function: i64,
    #[qapi(name = "class_info")]
    class_info: PciDeviceClass,
    id: PciDeviceId,
    irq: Option<i64>,
    #[qapi(name = "irq_pin")]
    irq_pin: i64,
    #[qapi(name = "qdev_id")]
    qdev_id: String,
    #[qapi(name = "pci_bridge")]
    pci_bridge: Option<PciBridgeInfo>,
    regions: Vec<PciMemoryRegion>,
}

/// Its class.
#[derive(Qapi)]
pub struct PciDeviceClass {
    desc: Option<String>,
    class: i64,
}

/// Its identity.
#[derive(Qapi)]
pub struct PciDeviceId {
    device: i64,
    vendor: i64,
    subsystem: Option<i64>,
    subsystem_vendor: Option<i64>,
}

/// A base address register.
#[derive(Qapi)]
pub struct PciMemoryRegion {
    bar: i64,
    #[qapi(name = "type")]
    kind: String,
    address: i64,
    size: i64,
    prefetch: Option<bool>,
    #[qapi(name = "mem_type_64")]
    mem_type_64: Option<bool>,
}

/// What a bridge leads to.
#[derive(Qapi)]
pub struct PciBridgeInfo {
    bus: PciBusInfo,
    devices: Option<Vec<PciDeviceInfo>>,
}

/// Numbers and windows of a bridge.
#[derive(Qapi)]
pub struct PciBusInfo {
    number: i64,
    secondary: i64,
    subordinate: i64,
    #[qapi(name = "io_range")]
    io_range: PciMemoryRange,
    #[qapi(name = "memory_range")]
    memory_range: PciMemoryRange,
    #[qapi(name = "prefetchable_range")]
    prefetchable_range: PciMemoryRange,
}

/// First and last address.
#[derive(Qapi)]
pub struct PciMemoryRange {
    base: i64,
    limit: i64,
}

impl From<(u64, u64)> for PciMemoryRange {
    fn from((base, limit): (u64, u64)) -> Self {
        Self { base: base as i64, limit: limit as i64 }
    }
}

impl From<&BarInfo> for PciMemoryRegion {
    fn from(bar: &BarInfo) -> Self {
        let is_memory = bar.kind != BarKind::Io;
        Self {
            bar: bar.index.into(),
            kind: if is_memory { "memory" } else { "io" }.to_owned(),
            // What is not mapped is at -1.
            address: bar.address.map_or(-1, |address| address as i64),
            size: bar.size as i64,
            prefetch: is_memory.then_some(bar.prefetchable),
            mem_type_64: is_memory.then_some(bar.kind == BarKind::Memory64),
        }
    }
}

impl From<&BridgeInfo> for PciBridgeInfo {
    fn from(bridge: &BridgeInfo) -> Self {
        let [number, secondary, subordinate] = bridge.buses.map(i64::from);
        let [io_range, memory_range, prefetchable_range] = bridge.windows.map(PciMemoryRange::from);
        let bus = PciBusInfo { number, secondary, subordinate, io_range, memory_range, prefetchable_range };
        let devices =
            (!bridge.functions.is_empty()).then(|| bridge.functions.iter().map(Into::into).collect());
        Self { bus, devices }
    }
}

impl From<&FunctionInfo> for PciDeviceInfo {
    fn from(function: &FunctionInfo) -> Self {
        let subsystem = function.subsystem;
        Self {
            bus: function.bus.into(),
            slot: (function.devfn >> 3).into(),
            function: (function.devfn & 7).into(),
            class_info: PciDeviceClass {
                desc: class_name(function.class).map(str::to_owned),
                class: function.class.into(),
            },
            id: PciDeviceId {
                device: function.id.1.into(),
                vendor: function.id.0.into(),
                subsystem: subsystem.map(|(_, device)| device.into()),
                subsystem_vendor: subsystem.map(|(vendor, _)| vendor.into()),
            },
            irq: (function.interrupt.0 != 0).then_some(function.interrupt.1.into()),
            irq_pin: function.interrupt.0.into(),
            qdev_id: function.name.clone(),
            pci_bridge: function.bridge.as_ref().map(Into::into),
            regions: function.bars.iter().map(Into::into).collect(),
        }
    }
}

/// What is on the buses of PCI.
#[command]
pub fn query_pci(context: &mut Context<'_>) -> Result<Vec<PciInfo>> {
    let control = Control::of(context)?;
    let buses = control
        .pci()
        .map(|root| PciInfo { bus: 0, devices: FunctionInfo::all(root).iter().map(Into::into).collect() });
    Ok(buses.into_iter().collect())
}

/// The same for people.
pub const INFO: &[monitor::hmp::Command] = &[monitor::hmp::Command {
    names: "pci",
    params: "",
    help: "show PCI info",
    run: |context, arguments| {
        arguments.finish()?;
        match Control::of(context)?.pci() {
            Some(root) => context.out.push_str(&devices::pci::info_pci(root)),
            None => context.out.push_str("PCI devices not supported\n"),
        }
        Ok(())
    },
}];

/// What device to make, as `-device` has it.
#[derive(Qapi)]
pub struct DeviceAdd {
    driver: String,
    bus: Option<String>,
    id: Option<String>,
    #[qapi(flatten)]
    rest: Anything,
}

/// Makes a device and plugs it in.
#[command(name = "device_add", boxed, features("json-cli-hotplug"))]
pub fn device_add(context: &mut Context<'_>, wanted: DeviceAdd) -> Result<()> {
    let mut opts = Opts::empty("device_add");
    let named = [("driver", Some(wanted.driver)), ("bus", wanted.bus), ("id", wanted.id)];
    named.into_iter().for_each(|(key, value)| value.into_iter().for_each(|value| opts.push(key, value)));
    for (key, value) in &wanted.rest.0 {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
            other => other.to_string(),
        };
        opts.push(key, text);
    }
    Control::of(context)?.plug(&opts)
}

/// Takes a device out.
#[command(name = "device_del", hmp("device_del", "device", "remove device"))]
pub fn device_del(context: &mut Context<'_>, id: String) -> Result<()> {
    let control = Control::of(context)?;
    let node = match id.starts_with('/') {
        true => context.vm.root().resolve(&id).ok().flatten(),
        false => control.machine().child("peripheral").and_then(|peripheral| peripheral.child(&id)),
    };
    let node = node.filter(|node| node.is_device());
    let node = node.ok_or_else(|| error!("Device '{id}' not found").class(Class::DeviceNotFound))?;
    control.unplug(&node)
}

/// What people type instead of `device_add`'s structure.
pub const HMP: &[monitor::hmp::Command] = &[monitor::hmp::Command {
    names: "device_add",
    params: "driver[,prop=value][,...]",
    help: "add device, like -device on the command line",
    run: |context, arguments| {
        let text = std::mem::take(&mut arguments.rest).trim();
        let opts = Opts::parse("device", text, Some("driver"))?;
        Control::of(context)?.plug(&opts).map_err(monitor::hmp::refused)
    },
}];
