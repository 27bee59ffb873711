//! What a PCI function says of itself: identity, base address registers, capabilities.
//!
//! Documents: PCI Local Bus 3.0, chapter 6; PCI Express Base 3.0, chapter 7. Data only: the bus, which makes a
//! configuration space of it, is the business of the crate of devices.

/// Identity and shape of a function's configuration space. Written as attributes of a device's struct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PciInfo {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Base class, subclass and programming interface: `0x010802`.
    pub class: u32,
    /// Subsystem vendor ID and subsystem ID; `None` for those of the bus.
    pub subsystem: Option<(u16, u16)>,
    /// Interrupt pin: 1 for INTA to 4 for INTD, 0 for none.
    pub pin: u8,
    /// Whether it is a bridge (header type 1).
    pub bridge: bool,
    /// What lies behind the base address registers.
    pub bars: Vec<BarWindow>,
    /// Capabilities, in the order in which they are added: the last is the first of the list.
    pub capabilities: Vec<Capability>,
}

/// What a base address register asks room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes two registers.
    Memory64,
    /// I/O ports.
    Io,
}

/// A register window of a device that lies behind a base address register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarWindow {
    /// Number of the register, 0 to 5.
    pub index: u8,
    /// What kind of room. All windows of a register say the same.
    pub kind: BarKind,
    /// Reading has no side effects, writes may be merged.
    pub prefetchable: bool,
    /// Number of the device's register window.
    pub window: usize,
    /// Where it begins behind the register.
    pub offset: u64,
    /// Bytes; the register asks for the power of two that holds all its windows.
    pub size: u64,
    /// Address that is wired in: the window is there from power on, whatever is written to the register.
    pub fixed: Option<u64>,
}

/// What kind of PCI Express function it is (PCI Express 7.8.2, device/port type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortType {
    /// An endpoint; on the root bus one that is integrated.
    Endpoint,
    /// A root port.
    RootPort,
    /// The upstream port of a switch.
    Upstream,
    /// A downstream port of a switch.
    Downstream,
    /// A bridge to conventional PCI.
    ToPci,
}

/// The PCI Express capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Express {
    /// What kind of function.
    pub port: PortType,
    /// Number of the port.
    pub number: u8,
    /// Physical slot number, for ports with a slot.
    pub slot: Option<u16>,
    /// The slot takes devices while the machine runs.
    pub hotplug: bool,
    /// Widest link in lanes, and the speed as the standard numbers it.
    pub link: (u8, u8),
    /// Can be reset alone (function level reset).
    pub resettable: bool,
    /// Interrupt message that events of the port use.
    pub message: u8,
    /// Reports the newer link and device registers.
    pub version: u8,
}

/// A capability and where it lies in the configuration space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Offset; 0 for the next place that is free.
    pub at: u16,
    /// Which.
    pub kind: CapabilityKind,
}

/// The capabilities that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CapabilityKind {
    /// Power management, with the capability bits of its register.
    PowerManagement(u16),
    /// Message signalled interrupts.
    Msi {
        /// How many, a power of two up to 32.
        vectors: u8,
        /// Whether each can be masked.
        maskable: bool,
    },
    /// Message signalled interrupts by table.
    MsiX {
        /// How many, up to 2048.
        vectors: u16,
        /// In which BAR the table lies, and where.
        table: (u8, u32),
        /// In which BAR the pending bits lie, and where.
        pending: (u8, u32),
    },
    /// PCI Express.
    Express(Express),
    /// Subsystem of a bridge: vendor and device.
    Subsystem(u16, u16),
    /// Whatever the vendor says: the bytes after the header, and which of their bits can be written.
    Vendor(Vec<u8>, Vec<u8>),
    /// Advanced error reporting (extended).
    ErrorReporting,
    /// Access control services (extended).
    AccessControl,
    /// Serial number (extended).
    SerialNumber(u64),
    /// Alternative routing-ID interpretation (extended).
    AlternativeRouting,
}

/// Beyond the capability bits of power management: the control register's bit that says that state is kept.
pub const KEEPS_STATE: u16 = 1 << 15;

impl Capability {
    /// This capability, at the next place that is free.
    pub const fn new(kind: CapabilityKind) -> Self {
        Self { at: 0, kind }
    }
    /// The capability at a place of its own.
    #[must_use]
    pub const fn at(mut self, at: u16) -> Self {
        self.at = at;
        self
    }
    /// Message signalled interrupts without masks.
    pub const fn msi(vectors: u8) -> Self {
        Self::new(CapabilityKind::Msi { vectors, maskable: false })
    }
    /// Interrupts by table, with the table and the pending bits in a BAR at these offsets. Where the device has no
    /// window in that BAR, it is there for them alone.
    pub const fn msix(vectors: u16, bar: u8, table: u32, pending: u32) -> Self {
        Self::new(CapabilityKind::MsiX { vectors, table: (bar, table), pending: (bar, pending) })
    }
    /// PCI Express for a device that can be reset alone.
    pub const fn express(resettable: bool) -> Self {
        Self::new(CapabilityKind::Express(Express {
            port: PortType::Endpoint,
            number: 0,
            slot: None,
            hotplug: false,
            link: (1, 1),
            resettable,
            message: 0,
            version: 2,
        }))
    }
    /// Interrupts by table in a BAR of their own.
    pub fn msix_alone(vectors: u16, bar: u8) -> Self {
        Self::msix(vectors, bar, 0, (u32::from(vectors) * 16).max(2048))
    }
    /// Power management without any bit.
    pub const fn power_management() -> Self {
        Self::new(CapabilityKind::PowerManagement(3))
    }
    /// Power management that keeps the function's state when it comes back from sleep.
    pub const fn power_management_keeping_state() -> Self {
        Self::new(CapabilityKind::PowerManagement(3 | KEEPS_STATE))
    }
    /// What a vendor defines; `writable` has a byte of mask for each byte of `body`.
    pub fn vendor(body: impl Into<Vec<u8>>, writable: impl Into<Vec<u8>>) -> Self {
        Self::new(CapabilityKind::Vendor(body.into(), writable.into()))
    }
}
