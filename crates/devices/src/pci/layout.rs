//! From what a device says of itself to the bytes of its configuration space.

use object::pci::{BarKind, BarWindow, Capability, CapabilityKind, Express, KEEPS_STATE, PciInfo, PortType};

/// Offsets of the registers that all functions have (PCI 3.0, 6.1; for bridges: bridge architecture 1.2, 3.2).
pub mod register {
    #![allow(missing_docs)]
    pub const COMMAND: usize = 0x04;
    pub const STATUS: usize = 0x06;
    pub const REVISION: usize = 0x08;
    pub const CACHE_LINE: usize = 0x0c;
    pub const HEADER_TYPE: usize = 0x0e;
    pub const BAR0: usize = 0x10;
    pub const SECONDARY_BUS: usize = 0x19;
    pub const SUBORDINATE_BUS: usize = 0x1a;
    pub const IO_BASE: usize = 0x1c;
    pub const MEMORY_BASE: usize = 0x20;
    pub const PREFETCHABLE_BASE: usize = 0x24;
    pub const PREFETCHABLE_BASE_HIGH: usize = 0x28;
    pub const SUBSYSTEM: usize = 0x2c;
    pub const CAPABILITIES: usize = 0x34;
    pub const INTERRUPT_LINE: usize = 0x3c;
    pub const INTERRUPT_PIN: usize = 0x3d;
    pub const BRIDGE_CONTROL: usize = 0x3e;
}

/// Bits of the command register.
pub mod command {
    #![allow(missing_docs)]
    pub const IO: u16 = 1;
    pub const MEMORY: u16 = 2;
    pub const MASTER: u16 = 4;
    pub const SERR: u16 = 0x100;
    pub const NO_INTX: u16 = 0x400;
}

/// The subsystem of functions that do not say theirs.
const SUBSYSTEM: (u16, u16) = (0x1af4, 0x1100);
/// The first byte that is free for capabilities.
const FIRST: usize = 0x40;
/// Bytes of a conventional configuration space, and of one of PCI Express.
const CONVENTIONAL: usize = 256;
const EXTENDED: usize = 4096;

/// A base address register with all that lies behind it.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its number.
    pub index: u8,
    /// What kind of room it asks for.
    pub kind: BarKind,
    /// Reading has no side effects.
    pub prefetchable: bool,
    /// How much.
    pub size: u64,
    /// The device's register windows in it: number and offset.
    pub windows: Vec<(usize, u64)>,
    /// Where it lies, if the register cannot be written.
    pub fixed: Option<u64>,
}

/// Where the parts of MSI-X are.
#[derive(Clone, Copy, Debug)]
pub struct MsixPlace {
    /// Offset of the capability.
    pub at: usize,
    /// How many vectors.
    pub vectors: u16,
    /// BAR and offset of the table.
    pub table: (u8, u32),
    /// BAR and offset of the pending bits.
    pub pending: (u8, u32),
}

/// A configuration space after reset, and what can be written in it.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The bytes after reset.
    pub initial: Vec<u8>,
    /// Bits that take what is written.
    pub writable: Vec<u8>,
    /// Bits that are cleared by writing 1.
    pub clearable: Vec<u8>,
    /// The base address registers.
    pub bars: Vec<Bar>,
    /// Whether it is a bridge.
    pub bridge: bool,
    /// Interrupt pin, 0 for none.
    pub pin: u8,
    /// Offset of the MSI capability, and whether vectors can be masked.
    pub msi: Option<(usize, bool)>,
    /// MSI-X.
    pub msix: Option<MsixPlace>,
    /// PCI Express: offset and what was said.
    pub express: Option<(usize, Express)>,
    next_extended: usize,
    last_extended: usize,
}

impl Layout {
    /// The configuration space of a function, on the root bus of a host or below a port.
    pub fn new(info: &PciInfo, on_root: bool, multifunction: bool) -> Self {
        let is_express = info.capabilities.iter().any(|c| matches!(c.kind, CapabilityKind::Express(_)));
        let size = if is_express { EXTENDED } else { CONVENTIONAL };
        let mut layout = Self {
            initial: vec![0; size],
            writable: vec![0; size],
            clearable: vec![0; size],
            bridge: info.bridge,
            pin: info.pin,
            next_extended: CONVENTIONAL,
            ..Self::default()
        };
        layout.header(info, multifunction);
        layout.bars = collect(&info.bars);
        for capability in &info.capabilities {
            layout.add(capability, on_root);
        }
        if let Some(msix) = layout.msix {
            layout.room_for_msix(&msix);
        }
        for bar in layout.bars.clone() {
            layout.bar(&bar);
        }
        layout
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(part) = self.initial.get_mut(at..at + bytes.len()) {
            part.copy_from_slice(bytes);
        }
    }
    fn put16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }
    fn put32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }
    fn allow(&mut self, at: usize, mask: &[u8]) {
        if let Some(part) = self.writable.get_mut(at..at + mask.len()) {
            part.copy_from_slice(mask);
        }
    }
    fn allow16(&mut self, at: usize, mask: u16) {
        self.allow(at, &mask.to_le_bytes());
    }
    fn allow32(&mut self, at: usize, mask: u32) {
        self.allow(at, &mask.to_le_bytes());
    }
    fn clear_by_one(&mut self, at: usize, mask: u32) {
        if let Some(part) = self.clearable.get_mut(at..at + 4) {
            part.copy_from_slice(&mask.to_le_bytes());
        }
    }

    fn header(&mut self, info: &PciInfo, multifunction: bool) {
        self.put16(0, info.vendor);
        self.put16(2, info.device);
        self.put32(register::REVISION, info.class << 8 | u32::from(info.revision));
        let kind = u8::from(info.bridge) | if multifunction { 0x80 } else { 0 };
        self.put(register::HEADER_TYPE, &[kind]);
        self.put(register::INTERRUPT_PIN, &[info.pin]);
        let command = command::IO | command::MEMORY | command::MASTER | command::SERR | command::NO_INTX;
        self.allow16(register::COMMAND, command);
        // Parity, aborts and system errors.
        self.clear_by_one(register::COMMAND, 0xf900_0000);
        self.allow(register::CACHE_LINE, &[0xff]);
        self.allow(register::INTERRUPT_LINE, &[0xff]);
        if !info.bridge {
            let (vendor, device) = info.subsystem.unwrap_or(SUBSYSTEM);
            self.put32(register::SUBSYSTEM, u32::from(device) << 16 | u32::from(vendor));
            return;
        }
        self.allow(register::BAR0 + 8, &[0xff, 0xff, 0xff]);
        self.allow16(register::IO_BASE, 0xf0f0);
        self.clear_by_one(register::IO_BASE, 0xf900_0000);
        self.allow32(register::MEMORY_BASE, 0xfff0_fff0);
        self.allow32(register::PREFETCHABLE_BASE, 0xfff0_fff0);
        self.put32(register::PREFETCHABLE_BASE, 0x0001_0001);
        self.allow32(register::PREFETCHABLE_BASE_HIGH, u32::MAX);
        self.allow32(register::PREFETCHABLE_BASE_HIGH + 4, u32::MAX);
        self.allow16(register::BRIDGE_CONTROL, 0x5f);
    }

    fn bar(&mut self, bar: &Bar) {
        let at = register::BAR0 + 4 * usize::from(bar.index);
        let prefetchable = if bar.prefetchable { 8 } else { 0 };
        let mask = if bar.fixed.is_some() { 0 } else { !(bar.size.max(1) - 1) };
        match bar.kind {
            BarKind::Io => {
                self.put32(at, 1);
                self.allow32(at, mask as u32 & !3);
            }
            BarKind::Memory32 => {
                self.put32(at, prefetchable);
                // The low bits of small BARs are part of the address, as far as they are not flags.
                self.allow32(at, mask as u32 & if bar.size < 16 { !1 } else { !0xf });
            }
            BarKind::Memory64 => {
                self.put32(at, 4 | prefetchable);
                self.allow32(at, mask as u32 & !0xf);
                self.allow32(at + 4, (mask >> 32) as u32);
            }
        }
        if let Some(address) = bar.fixed {
            let flags = self.initial.get(at).copied().unwrap_or(0);
            self.put32(at, address as u32 | u32::from(flags));
            if bar.kind == BarKind::Memory64 {
                self.put32(at + 4, (address >> 32) as u32);
            }
        }
    }

    /// Where the tables of MSI-X lie in a BAR without anything else, there is such a BAR.
    fn room_for_msix(&mut self, msix: &MsixPlace) {
        let table = u64::from(msix.table.1) + 16 * u64::from(msix.vectors);
        let pending = u64::from(msix.pending.1) + 8 * u64::from(msix.vectors.div_ceil(64));
        for (index, end) in [(msix.table.0, table), (msix.pending.0, pending)] {
            let size = end.next_power_of_two().max(4096);
            match self.bars.iter_mut().find(|b| b.index == index) {
                Some(bar) => bar.size = bar.size.max(end.next_power_of_two()),
                None => self.bars.push(Bar {
                    index,
                    kind: BarKind::Memory32,
                    prefetchable: false,
                    size,
                    windows: Vec::new(),
                    fixed: None,
                }),
            }
        }
    }

    /// Claims room for a capability and puts it in front of the list. Returns its offset.
    fn claim(&mut self, id: u8, at: u16, size: usize) -> usize {
        let at = if at == 0 { self.free(size) } else { usize::from(at) };
        let next = self.initial.get(register::CAPABILITIES).copied().unwrap_or(0);
        self.put(at, &[id, next]);
        self.put(register::CAPABILITIES, &[at as u8]);
        let status = self.initial.get(register::STATUS).copied().unwrap_or(0);
        self.put(register::STATUS, &[status | 0x10]);
        at
    }

    /// The next free place: capabilities are added in order of address.
    fn free(&self, size: usize) -> usize {
        let mut at = FIRST;
        let mut pointer = self.initial.get(register::CAPABILITIES).copied().unwrap_or(0);
        while pointer != 0 {
            let here = usize::from(pointer);
            let id = self.initial.get(here).copied().unwrap_or(0);
            at = at.max((here + self.length(id, here)).next_multiple_of(4));
            pointer = self.initial.get(here + 1).copied().unwrap_or(0);
        }
        debug_assert!(at + size <= CONVENTIONAL, "the capabilities do not fit");
        at
    }

    fn length(&self, id: u8, at: usize) -> usize {
        match id {
            id::POWER => 8,
            id::MSI => match self.msi {
                Some((_, true)) => 0x18,
                _ => 0x0e,
            },
            id::MSIX => 0x0c,
            id::EXPRESS => match self.express {
                Some((_, express)) if express.version < 2 => 0x14,
                _ => 0x3c,
            },
            id::VENDOR => usize::from(self.initial.get(at + 2).copied().unwrap_or(0)),
            _ => 8,
        }
    }

    fn add(&mut self, capability: &Capability, on_root: bool) {
        let at = capability.at;
        match &capability.kind {
            CapabilityKind::PowerManagement(bits) => {
                let at = self.claim(id::POWER, at, 8);
                self.put16(at + 2, *bits & !KEEPS_STATE);
                self.put16(at + 4, if *bits & KEEPS_STATE != 0 { 8 } else { 0 });
                self.allow16(at + 4, 3);
            }
            CapabilityKind::Msi { vectors, maskable } => {
                let at = self.claim(id::MSI, at, if *maskable { 0x18 } else { 0x0e });
                self.msi = Some((at, *maskable));
                let count = u16::from(vectors.max(&1).ilog2() as u8);
                self.put16(at + 2, 0x80 | count << 1 | if *maskable { 0x100 } else { 0 });
                // A function with one vector has nothing to choose.
                self.allow16(at + 2, if count > 0 { 0x71 } else { 1 });
                self.allow32(at + 4, !3);
                self.allow32(at + 8, u32::MAX);
                self.allow16(at + 12, u16::MAX);
                if *maskable {
                    self.allow32(at + 16, u32::MAX >> (32 - u32::from(*vectors).clamp(1, 32)));
                }
            }
            CapabilityKind::MsiX { vectors, table, pending } => {
                let at = self.claim(id::MSIX, at, 0x0c);
                self.msix = Some(MsixPlace { at, vectors: *vectors, table: *table, pending: *pending });
                self.put16(at + 2, vectors.wrapping_sub(1) & 0x7ff);
                self.put32(at + 4, table.1 & !7 | u32::from(table.0));
                self.put32(at + 8, pending.1 & !7 | u32::from(pending.0));
                self.allow16(at + 2, 0xc000);
            }
            CapabilityKind::Express(express) => self.express(at, express, on_root),
            CapabilityKind::Subsystem(vendor, device) => {
                let at = self.claim(id::SUBSYSTEM, at, 8);
                self.put32(at + 4, u32::from(*device) << 16 | u32::from(*vendor));
            }
            CapabilityKind::Vendor(body, writable) => {
                let size = body.len() + 2;
                let at = self.claim(id::VENDOR, at, size);
                self.put(at + 2, body);
                self.allow(at + 2, writable);
            }
            CapabilityKind::ErrorReporting => self.errors(),
            CapabilityKind::AccessControl => {
                let at = self.claim_extended(0x0d, 1, 8);
                self.put16(at + 4, 0x5f);
                self.allow16(at + 6, 0x5f);
            }
            CapabilityKind::SerialNumber(number) => {
                if at != 0 {
                    self.next_extended = at.into();
                }
                let at = self.claim_extended(3, 1, 12);
                self.put(at + 4, &number.to_le_bytes());
            }
            CapabilityKind::AlternativeRouting => {
                self.claim_extended(0x0e, 1, 8);
            }
        }
    }

    /// Appends an extended capability. Returns its offset.
    fn claim_extended(&mut self, id: u16, version: u32, size: usize) -> usize {
        let at = self.next_extended;
        self.put32(at, u32::from(id) | version << 16);
        // The one before, if there is one, leads here.
        if at > CONVENTIONAL
            && let Some(before) = self.initial.get(self.last_extended..self.last_extended + 4)
        {
            let head = before.iter().rev().fold(0u32, |all, b| all << 8 | u32::from(*b));
            self.put32(self.last_extended, head | (at as u32) << 20);
        }
        self.last_extended = at;
        self.next_extended = (at + size).next_multiple_of(4);
        at
    }

    /// Advanced error reporting (7.10): masks and severities that can be set; nothing is ever reported.
    fn errors(&mut self) {
        let is_port = self.bridge;
        let at = self.claim_extended(1, 2, 0x48);
        self.clear_by_one(at + 4, 0x03ff_f030);
        self.put32(at + 8, 0x0240_0000);
        self.allow32(at + 8, 0x03ff_f030);
        self.put32(at + 0xc, 0x0046_2030);
        self.allow32(at + 0xc, 0x03ff_f030);
        self.clear_by_one(at + 0x10, 0xf1c1);
        self.put32(at + 0x14, 0xe000);
        self.allow32(at + 0x14, 0xf1c1);
        let several = is_port && !matches!(self.express, Some((_, Express { port: PortType::ToPci, .. })));
        self.put32(at + 0x18, if several { 0x2a0 } else { 0xa0 });
        self.allow32(at + 0x18, if several { 0x540 } else { 0x140 });
        if matches!(self.express, Some((_, Express { port: PortType::RootPort, .. }))) {
            self.allow32(at + 0x2c, 7);
            self.clear_by_one(at + 0x30, 0x7f);
        }
    }

    /// The PCI Express capability (7.8).
    fn express(&mut self, at: u16, express: &Express, on_root: bool) {
        let newer = express.version >= 2;
        let at = self.claim(id::EXPRESS, at, if newer { 0x3c } else { 0x14 });
        self.express = Some((at, *express));
        let kind = match express.port {
            PortType::Endpoint if on_root => 9,
            PortType::Endpoint => 0,
            PortType::RootPort => 4,
            PortType::Upstream => 5,
            PortType::Downstream => 6,
            PortType::ToPci => 7,
        };
        let is_slot = express.slot.is_some();
        let flags = u16::from(express.version) | kind << 4 | u16::from(is_slot) << 8;
        self.put16(at + 2, flags | u16::from(express.message) << 9);
        // Errors by role, extended tags.
        self.put32(at + 4, 0x8020 | u32::from(express.resettable) << 28);
        // A function of the older kind does not report errors.
        self.allow16(at + 8, if newer { 0xf } else { 0 });
        self.clear_by_one(at + 8, 0x000f_0000);
        if express.port == PortType::ToPci {
            // The conventional bus runs at 66 MHz, with transfers back to back; both status registers say so.
            let status = self.initial.get(register::STATUS).copied().unwrap_or(0);
            self.put(register::STATUS, &[status | 0xa0]);
            self.put(register::IO_BASE + 2, &[0xa0]);
        }
        let (width, speed) = (u32::from(express.link.0), u32::from(express.link.1));
        // Standby; ports also report whether the link is up, and changes of its bandwidth.
        let is_port = matches!(express.port, PortType::RootPort | PortType::Downstream);
        let reports = if is_port { 0x0030_0400 } else { 0x400 };
        self.put32(at + 0xc, u32::from(express.number) << 24 | reports | width << 4 | speed);
        self.put32(at + 0x10, (width << 4 | speed) << 16);
        if let Some(number) = express.slot {
            // Attention button, power controller, both indicators, interlock; surprise removal and hot plug.
            let hotplug = if express.hotplug { 0x60 } else { 0 };
            self.put32(at + 0x14, 0x0002_001b | hotplug | u32::from(number) << 19);
            // Both indicators off, power off.
            self.put16(at + 0x18, 0x07c0);
            self.allow16(at + 0x18, 0x07f9);
            self.clear_by_one(at + 0x18, 0x011b_0000);
        }
        if express.port == PortType::RootPort {
            // Its windows begin closed: the base is above the limit.
            self.put16(register::IO_BASE, 0x00f0);
            self.put32(register::MEMORY_BASE, 0xfff0);
            self.put32(register::PREFETCHABLE_BASE, 0x0001_fff1);
            self.allow16(at + 0x1c, 7);
            self.clear_by_one(at + 0x20, 0x0001_0000);
        }
        if newer {
            let forwards = matches!(express.port, PortType::RootPort | PortType::Downstream);
            let routing = if forwards || express.port == PortType::ToPci { 0x20 } else { 0 };
            self.put32(at + 0x24, 0x0030_0000 | routing);
            self.allow16(at + 0x28, 0x8000 | routing as u16);
            if speed > 1 {
                self.put32(at + 0x2c, 0xfe & ((2 << speed) - 1));
                self.put16(at + 0x30, speed as u16);
            }
        }
    }
}

/// Capability IDs.
mod id {
    pub const POWER: u8 = 0x01;
    pub const MSI: u8 = 0x05;
    pub const VENDOR: u8 = 0x09;
    pub const SUBSYSTEM: u8 = 0x0d;
    pub const EXPRESS: u8 = 0x10;
    pub const MSIX: u8 = 0x11;
}

/// Puts the windows that lie behind the same register together.
fn collect(windows: &[BarWindow]) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for window in windows {
        let end = window.offset.saturating_add(window.size).next_power_of_two();
        match bars.iter_mut().find(|b| b.index == window.index) {
            Some(bar) => {
                bar.size = bar.size.max(end);
                bar.windows.push((window.window, window.offset));
            }
            None => bars.push(Bar {
                index: window.index,
                kind: window.kind,
                prefetchable: window.prefetchable,
                size: end,
                windows: vec![(window.window, window.offset)],
                fixed: window.fixed,
            }),
        }
    }
    bars
}
