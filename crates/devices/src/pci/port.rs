//! Ports and bridges: "pcie-root-port", "x3130-upstream", "xio3130-downstream", "pcie-pci-bridge".
//!
//! Documents: PCI Express Base 3.0, 7.8; PCI-to-PCI Bridge Architecture 1.2; Texas Instruments XIO3130 data manual
//! (SLLS693). What a port does is what its configuration space says; the bus does it. Left out: the hot-plug controller
//! of the bridge to conventional PCI.

use object::pci::{Capability, CapabilityKind, Express, PciInfo, PortType};
use object::{Device, Node, OnOffAuto, Properties, PropertyError, PropertyType, PropertyValue, Size};

use super::bus::PciBus;
use super::link::Pci;
use crate::property_types::AlwaysOff;

/// A link speed as the user writes it: `2_5`, `5`, `8`, `16`; kept as the standard numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpeed(pub u8);
/// A number of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkWidth(pub u8);

const SPEEDS: [&str; 6] = ["2_5", "5", "8", "16", "32", "64"];
const WIDTHS: [(&str, u8); 7] = [("1", 1), ("2", 2), ("4", 4), ("8", 8), ("12", 12), ("16", 16), ("32", 32)];

fn refused(kind: &str, text: &str) -> PropertyError {
    PropertyError::Value(format!("Parameter '{kind}' does not accept value '{text}'"))
}

impl PropertyType for LinkSpeed {
    const KIND: &'static str = "PCIELinkSpeed";
    const DESC: &'static str = "2_5/5/8/16/32/64";
    fn get(&self) -> PropertyValue {
        let text = SPEEDS.get(usize::from(self.0).wrapping_sub(1)).copied().unwrap_or_default();
        PropertyValue::Str(text.to_owned())
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        let text = value.as_str().ok_or(PropertyError::Type(Self::KIND))?;
        let place = SPEEDS.iter().position(|s| *s == text).ok_or_else(|| refused("x-speed", text))?;
        self.0 = place as u8 + 1;
        Ok(())
    }
}

impl PropertyType for LinkWidth {
    const KIND: &'static str = "PCIELinkWidth";
    const DESC: &'static str = "1/2/4/8/12/16/32";
    fn get(&self) -> PropertyValue {
        PropertyValue::Str(self.0.to_string())
    }
    fn set(&mut self, value: &PropertyValue) -> Result<(), PropertyError> {
        let text = value.as_str().ok_or(PropertyError::Type(Self::KIND))?;
        let (_, width) = WIDTHS.iter().find(|(t, _)| *t == text).ok_or_else(|| refused("x-width", text))?;
        self.0 = *width;
        Ok(())
    }
}

impl From<u8> for LinkSpeed {
    fn from(speed: u8) -> Self {
        Self(speed)
    }
}
impl From<u8> for LinkWidth {
    fn from(width: u8) -> Self {
        Self(width)
    }
}

/// Properties of ports with a slot.
#[derive(Clone, Debug, Properties)]
pub struct SlotOptions {
    /// The slot has a power controller.
    #[property(name = "power_controller_present", default = true)]
    pub power_controller: bool,
    /// Number of the chassis.
    #[property]
    pub chassis: u8,
    /// Number of the slot in the chassis.
    #[property]
    pub slot: u16,
    /// Devices can come and go while the machine runs.
    #[property(default = true)]
    pub hotplug: bool,
    /// Hide that from the driver.
    #[property(name = "x-do-not-expose-native-hotplug-cap", desc = "on/off")]
    pub hidden: AlwaysOff,
}

/// Properties of all ports.
#[derive(Clone, Debug, Properties)]
pub struct PortOptions {
    /// Number of the port.
    #[property]
    pub port: u8,
    /// Errors that are remembered.
    #[property(name = "aer_log_max", default = 8u16)]
    pub error_log: u16,
    /// What old versions saved.
    #[property(name = "x-pci-express-writeable-slt-bug")]
    pub writable_slot: bool,
}

/// What firmware is asked to keep free behind a port.
#[derive(Clone, Debug, Properties)]
pub struct Reservations {
    /// Save the interrupt table.
    #[property(name = "x-migrate-msix", default = true)]
    pub migrate_msix: bool,
    /// Bus numbers.
    #[property(name = "bus-reserve", default = u32::MAX)]
    pub buses: u32,
    /// I/O ports.
    #[property(name = "io-reserve", default = u64::MAX)]
    pub io: Size,
    /// Memory.
    #[property(name = "mem-reserve", default = u64::MAX)]
    pub memory: Size,
    /// Prefetchable memory below 4 GiB.
    #[property(name = "pref32-reserve", default = u64::MAX)]
    pub prefetchable32: Size,
    /// Prefetchable memory.
    #[property(name = "pref64-reserve", default = u64::MAX)]
    pub prefetchable64: Size,
    /// Speed of the link.
    #[property(name = "x-speed", default = 4u8)]
    pub speed: LinkSpeed,
    /// Lanes of the link.
    #[property(name = "x-width", default = 32u8)]
    pub width: LinkWidth,
}

/// The capability of a port.
fn express(port: PortType, options: &PortOptions, slot: Option<&SlotOptions>, link: (u8, u8)) -> Capability {
    Capability::new(CapabilityKind::Express(Express {
        port,
        number: options.port,
        slot: slot.map(|s| s.slot),
        hotplug: slot.is_some_and(|s| s.hotplug),
        link,
        resettable: matches!(port, PortType::Upstream | PortType::Downstream),
        message: 0,
        version: 2,
    }))
}

/// Makes the bus behind a port that has been put on a bus. It has the port's own name, or the next number.
fn make_bus(pci: &Pci, is_express: bool) {
    let Some(function) = pci.function() else { return };
    let node = Node::new(if is_express { "PCIE" } else { "PCI" });
    let id = function.node().id();
    let name = if id.is_empty() {
        let root = function.bus().root_bus();
        let taken: Vec<String> = root.all().iter().map(|bus| bus.name().to_owned()).collect();
        let stem = if is_express { "pcie" } else { "pci" };
        let free = |name: &String| !taken.contains(name);
        (u32::from(is_express)..).map(|n| format!("{stem}.{n}")).find(free).unwrap_or_default()
    } else {
        id
    };
    function.node().add_child(&name, &node);
    function.set_secondary(PciBus::behind(&name, &node, function, is_express));
}

/// A root port.
#[derive(Device)]
#[device(
    name = "pcie-root-port",
    desc = "PCI Express Root Port",
    parent = "pcie-root-port-base",
    category = "bridge",
    user_creatable
)]
#[pci(vendor = 0x1b36, device = 0x000c, class = 0x06_0400, pin = 1, bridge, adjust = Self::describe)]
pub struct RootPort {
    /// What it reserves.
    #[properties]
    pub reservations: Reservations,
    /// Whether access control services are left out; at their place in the list of properties.
    #[properties]
    pub slot: SlotOptions,
    /// Without access control services.
    #[property(name = "disable-acs")]
    pub disable_acs: bool,
    /// What all ports have.
    #[properties]
    pub options: PortOptions,
    /// Its place.
    #[place]
    pci: Pci,
}

impl RootPort {
    fn describe(&self, info: &mut PciInfo) {
        let link = (self.reservations.width.0, self.reservations.speed.0);
        info.capabilities = vec![
            Capability::new(CapabilityKind::Subsystem(0x1b36, 0)),
            Capability::msix_alone(1, 0),
            express(PortType::RootPort, &self.options, Some(&self.slot), link),
            Capability::new(CapabilityKind::ErrorReporting),
        ];
        if !self.disable_acs {
            info.capabilities.push(Capability::new(CapabilityKind::AccessControl));
        }
    }
}

impl Device for RootPort {
    fn realize(&mut self) -> base::Result<()> {
        let [low, high] = [&self.reservations.prefetchable32, &self.reservations.prefetchable64];
        if low.0 != u64::MAX && high.0 != u64::MAX {
            return Err("PCI resource reserve cap: PREF32 and PREF64 conflict".into());
        }
        make_bus(&self.pci, true);
        Ok(())
    }
}

/// The upstream port of a switch.
#[derive(Device)]
#[device(
    name = "x3130-upstream",
    desc = "TI X3130 Upstream Port of PCI Express Switch",
    parent = "pcie-port",
    category = "bridge",
    user_creatable
)]
#[pci(vendor = 0x104c, device = 0x8232, revision = 2, class = 0x06_0400, bridge, adjust = Self::describe)]
pub struct UpstreamPort {
    /// What all ports have.
    #[properties]
    pub options: PortOptions,
    /// Its place.
    #[place]
    pci: Pci,
}

impl UpstreamPort {
    fn describe(&self, info: &mut PciInfo) {
        info.capabilities = vec![
            Capability::msi(1).at(0x70),
            Capability::new(CapabilityKind::Subsystem(0, 0)).at(0x80),
            express(PortType::Upstream, &self.options, None, (1, 1)).at(0x90),
            Capability::new(CapabilityKind::ErrorReporting),
        ];
    }
}

impl Device for UpstreamPort {
    fn realize(&mut self) -> base::Result<()> {
        make_bus(&self.pci, true);
        Ok(())
    }
}

/// A downstream port of a switch.
#[derive(Device)]
#[device(
    name = "xio3130-downstream",
    desc = "TI X3130 Downstream Port of PCI Express Switch",
    parent = "pcie-slot",
    category = "bridge",
    user_creatable
)]
#[pci(vendor = 0x104c, device = 0x8233, revision = 1, class = 0x06_0400, bridge, adjust = Self::describe)]
pub struct DownstreamPort {
    /// Its slot.
    #[properties]
    pub slot: SlotOptions,
    /// What all ports have.
    #[properties]
    pub options: PortOptions,
    /// Its place.
    #[place]
    pci: Pci,
}

impl DownstreamPort {
    fn describe(&self, info: &mut PciInfo) {
        info.capabilities = vec![
            Capability::msi(1).at(0x70),
            Capability::new(CapabilityKind::Subsystem(0, 0)).at(0x80),
            express(PortType::Downstream, &self.options, Some(&self.slot), (1, 1)).at(0x90),
            Capability::new(CapabilityKind::ErrorReporting),
        ];
    }
}

impl Device for DownstreamPort {
    fn realize(&mut self) -> base::Result<()> {
        make_bus(&self.pci, true);
        Ok(())
    }
}

/// A bridge to conventional PCI.
#[derive(Device)]
#[device(name = "pcie-pci-bridge", category = "bridge", user_creatable)]
#[pci(vendor = 0x1b36, device = 0x000e, class = 0x06_0400, pin = 1, bridge, adjust = Self::describe)]
pub struct PciePciBridge {
    /// Message signalled interrupts.
    #[property]
    pub msi: OnOffAuto,
    /// What old versions saved.
    #[property(name = "x-pci-express-writeable-slt-bug")]
    pub writable_slot: bool,
    /// Its place.
    #[place]
    pci: Pci,
}

impl PciePciBridge {
    fn describe(&self, info: &mut PciInfo) {
        info.capabilities = vec![
            express(PortType::ToPci, &PortOptions::default(), None, (1, 1)).at(0x48),
            Capability::power_management().at(0x84),
            Capability::new(CapabilityKind::ErrorReporting),
        ];
        if self.msi.or(true) {
            let kind = CapabilityKind::Msi { vectors: 1, maskable: true };
            info.capabilities.push(Capability::new(kind).at(0x8c));
        }
    }
}

impl Device for PciePciBridge {
    fn realize(&mut self) -> base::Result<()> {
        if !self.pci.is_express() {
            return Err("pcie-pci-bridge goes on a bus of PCI Express".into());
        }
        make_bus(&self.pci, false);
        Ok(())
    }
}
