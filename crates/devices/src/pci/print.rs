//! What monitors show of functions.

use std::fmt::Write;
use std::sync::Arc;

use object::pci::BarKind;

use super::bus::PciBus;
use super::function::Function;
use super::layout::register;

/// Names of classes, by base class and subclass.
const CLASSES: &[(u16, &str)] = &[
    (0x0100, "SCSI controller"),
    (0x0101, "IDE controller"),
    (0x0102, "Floppy controller"),
    (0x0103, "IPI controller"),
    (0x0104, "RAID controller"),
    (0x0106, "SATA controller"),
    (0x0107, "SAS controller"),
    (0x0180, "Storage controller"),
    (0x0200, "Ethernet controller"),
    (0x0280, "Network controller"),
    (0x0300, "VGA controller"),
    (0x0380, "Display controller"),
    (0x0400, "Video controller"),
    (0x0401, "Audio controller"),
    (0x0403, "Audio controller"),
    (0x0500, "RAM controller"),
    (0x0501, "Flash controller"),
    (0x0580, "Memory controller"),
    (0x0600, "Host bridge"),
    (0x0601, "ISA bridge"),
    (0x0604, "PCI bridge"),
    (0x0680, "Bridge"),
    (0x0700, "Serial port"),
    (0x0701, "Parallel port"),
    (0x0800, "Interrupt controller"),
    (0x0801, "DMA controller"),
    (0x0802, "Timer"),
    (0x0803, "RTC"),
    (0x0900, "Keyboard"),
    (0x0901, "Pen"),
    (0x0902, "Mouse"),
    (0x0c03, "USB controller"),
    (0x0c05, "SMBus"),
];

/// Name of a class.
pub fn class_name(class: u16) -> Option<&'static str> {
    CLASSES.iter().find(|(known, _)| *known == class).map(|(_, name)| *name)
}

/// What is known of a function at the moment.
#[derive(Clone, Debug)]
pub struct FunctionInfo {
    /// Number of its bus.
    pub bus: u8,
    /// Slot and function.
    pub devfn: u8,
    /// Base class and subclass.
    pub class: u16,
    /// Vendor and device.
    pub id: (u16, u16),
    /// Subsystem vendor and device; bridges have none.
    pub subsystem: Option<(u16, u16)>,
    /// Interrupt pin, 0 for none, and the line that firmware has written down.
    pub interrupt: (u8, u8),
    /// Base address registers.
    pub bars: Vec<BarInfo>,
    /// Of a bridge: primary, secondary and subordinate bus, and base and limit of its three windows.
    pub bridge: Option<BridgeInfo>,
    /// The user's name for the device.
    pub name: String,
}

/// A base address register.
#[derive(Clone, Copy, Debug)]
pub struct BarInfo {
    /// Its number.
    pub index: u8,
    /// What kind of room.
    pub kind: BarKind,
    /// Reading has no side effects.
    pub prefetchable: bool,
    /// Where it is mapped.
    pub address: Option<u64>,
    /// Bytes.
    pub size: u64,
}

/// A bridge.
#[derive(Clone, Debug)]
pub struct BridgeInfo {
    /// Primary, secondary and subordinate bus.
    pub buses: [u8; 3],
    /// Base and limit of what goes through: I/O, memory, prefetchable memory.
    pub windows: [(u64, u64); 3],
    /// The functions behind it.
    pub functions: Vec<FunctionInfo>,
}

impl FunctionInfo {
    /// Looks at a function.
    pub fn of(function: &Arc<Function>) -> Option<Self> {
        let bus = function.bus().number();
        let (mut info, bars) = function.config()?.with(|c| {
            let get16 = |at| c.get(at, 2) as u16;
            let layout = c.layout();
            let info = Self {
                bus,
                devfn: function.devfn(),
                class: get16(register::REVISION + 2),
                id: (get16(0), get16(2)),
                subsystem: (!layout.bridge)
                    .then(|| (get16(register::SUBSYSTEM), get16(register::SUBSYSTEM + 2))),
                interrupt: (layout.pin, c.get(register::INTERRUPT_LINE, 1) as u8),
                bars: Vec::new(),
                bridge: layout.bridge.then(|| BridgeInfo {
                    buses: [0, 1, 2].map(|n| c.get(register::BAR0 + 8 + n, 1) as u8),
                    windows: c.window_registers(),
                    functions: Vec::new(),
                }),
                name: function.node().id(),
            };
            (info, layout.bars.clone())
        });
        info.bars = bars
            .iter()
            .zip(function.mappings())
            .map(|(bar, (_, address))| BarInfo {
                index: bar.index,
                kind: bar.kind,
                prefetchable: bar.prefetchable,
                address,
                size: bar.size,
            })
            .collect();
        info.bars.sort_by_key(|bar| bar.index);
        if let (Some(bridge), Some(behind)) = (&mut info.bridge, function.secondary()) {
            bridge.functions = behind.functions().iter().filter_map(Self::of).collect();
        }
        Some(info)
    }

    /// All functions of a bus.
    pub fn all(bus: &Arc<PciBus>) -> Vec<Self> {
        bus.functions().iter().filter_map(Self::of).collect()
    }

    /// The lines of `info qtree`.
    pub fn details(&self) -> Vec<String> {
        let class = class_name(self.class).map_or_else(|| format!("Class {:04x}", self.class), str::to_owned);
        let (vendor, device) = self.id;
        let (sub_vendor, sub_device) = self.subsystem.unwrap_or_default();
        let mut lines = vec![format!(
            "class {class}, addr {:02x}:{}, pci id {vendor:04x}:{device:04x} (sub {sub_vendor:04x}:{sub_device:04x})",
            self.bus,
            super::address_text(self.devfn)
        )];
        lines.extend(self.bars.iter().map(|bar| {
            let kind = if bar.kind == BarKind::Io { "i/o" } else { "mem" };
            let address = bar.address.unwrap_or(u64::MAX);
            let last = address.wrapping_add(bar.size).wrapping_sub(1);
            format!("bar {}: {kind} at {address:#x} [{last:#x}]", bar.index)
        }));
        lines
    }

    /// The text of `info pci`.
    pub fn print(&self, out: &mut String) {
        let _ =
            writeln!(out, "  Bus {:2}, device {:3}, function {}:", self.bus, self.devfn >> 3, self.devfn & 7);
        let class = class_name(self.class).map_or_else(|| format!("Class {:04}", self.class), str::to_owned);
        let _ = writeln!(out, "    {class}: PCI device {:04x}:{:04x}", self.id.0, self.id.1);
        if let Some((vendor, device)) = self.subsystem {
            let _ = writeln!(out, "      PCI subsystem {vendor:04x}:{device:04x}");
        }
        if self.interrupt.0 != 0 {
            let pin = char::from(b'A' + (self.interrupt.0 - 1) % 4);
            let _ = writeln!(out, "      IRQ {}, pin {pin}", self.interrupt.1);
        }
        if let Some(bridge) = &self.bridge {
            let [primary, secondary, subordinate] = bridge.buses;
            let _ = writeln!(out, "      BUS {primary}.");
            let _ = writeln!(out, "      secondary bus {secondary}.");
            let _ = writeln!(out, "      subordinate bus {subordinate}.");
            let [io, memory, prefetchable] = bridge.windows;
            let _ = writeln!(out, "      IO range [0x{:04x}, 0x{:04x}]", io.0, io.1);
            let _ = writeln!(out, "      memory range [0x{:08x}, 0x{:08x}]", memory.0, memory.1);
            let _ = writeln!(
                out,
                "      prefetchable memory range [0x{:08x}, 0x{:08x}]",
                prefetchable.0, prefetchable.1
            );
        }
        for bar in &self.bars {
            let kind = match bar.kind {
                BarKind::Io => "I/O".to_owned(),
                kind => format!(
                    "{} bit{} memory",
                    if kind == BarKind::Memory64 { 64 } else { 32 },
                    if bar.prefetchable { " prefetchable" } else { "" }
                ),
            };
            let _ = match (bar.address, bar.kind) {
                (None, _) => writeln!(out, "      BAR{}: {kind} (not mapped)", bar.index),
                (Some(at), BarKind::Io) => {
                    writeln!(
                        out,
                        "      BAR{}: {kind} at 0x{at:04x} [0x{:04x}]",
                        bar.index,
                        at + bar.size - 1
                    )
                }
                (Some(at), _) => {
                    writeln!(
                        out,
                        "      BAR{}: {kind} at 0x{at:08x} [0x{:08x}]",
                        bar.index,
                        at + (bar.size - 1)
                    )
                }
            };
        }
        let _ = writeln!(out, "      id \"{}\"", self.name);
        for function in self.bridge.iter().flat_map(|bridge| &bridge.functions) {
            function.print(out);
        }
    }
}

/// The text of `info pci`.
pub fn info_pci(root: &Arc<PciBus>) -> String {
    let mut out = String::new();
    FunctionInfo::all(root).iter().for_each(|function| function.print(&mut out));
    out
}
