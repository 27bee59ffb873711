//! The PCI Express host bridge of `virt`, on the bus and in the device tree.

use crate::board::{Board, Irq};
use base::Result;
use devices::pci::host::GpexHost;
use memory::Region;
use object::{DeviceCell, Size};

/// Path of the host bridge in the device tree.
const NODE: &str = "/soc/pci@30000000";
const ECAM: (u64, u64) = (0x3000_0000, 0x1000_0000);
const PORTS: (u64, u64) = (0x300_0000, 0x1_0000);
const LOW: (u64, u64) = (0x4000_0000, 0x4000_0000);
/// Size of the window for 64-bit BARs, which begins at the first multiple of it after memory.
const HIGH: u64 = 16 << 30;
/// The same for harts of 32 bits: address and size.
const HIGH_OF_32: (u64, u64) = (0x3_0000_0000, 4 << 30);

/// Begins the bridge's node, which comes first in the tree.
pub fn begin(board: &mut Board) {
    board.describe(NODE);
}

/// Adds the bridge. `irqs` are INTA to INTD of slot 0, `msi` is the phandle of what takes messages.
pub fn add(board: &mut Board, irqs: [Irq; 4], msi: Option<u32>, end_of_memory: u64, xlen: u32) -> Result<()> {
    let high = if xlen == 32 { HIGH_OF_32 } else { (end_of_memory.next_multiple_of(HIGH), HIGH) };
    let host = DeviceCell::new(GpexHost {
        ecam_base: ECAM.0,
        ecam_size: Size(ECAM.1),
        pio_base: PORTS.0,
        pio_size: Size(PORTS.1),
        low_base: LOW.0,
        low_size: Size(LOW.1),
        high_base: high.0,
        high_size: Size(high.1),
        ..GpexHost::default()
    });
    let mut adding = board.add(&host);
    for (n, irq) in irqs.iter().enumerate() {
        adding = adding.line("sysbus-irq", n, irq.line.clone());
    }
    let node = adding.done()?;
    let parts = GpexHost::connect(&host, &node, &board.system)?;
    for (name, target, (base, size)) in [
        ("pcie-ecam", &parts.ecam, ECAM),
        ("pcie-mmio", &parts.memory, LOW),
        ("pcie-mmio-high", &parts.memory, high),
    ] {
        // Configuration space is shown from its beginning, memory at the bus's own addresses.
        let offset = if name == "pcie-ecam" { 0 } else { base };
        let alias = Region::alias(name, target, offset, size);
        alias.set_owner(&node);
        board.map(base, &alias);
    }
    board.map(PORTS.0, &parts.io);
    for function in parts.bus.functions() {
        board.devices.extend(function.device());
        if let Some(config) = function.config() {
            board.devices.push(config.clone());
        }
    }
    board.pci = Some(parts.bus);

    let split = |value: u64| [(value >> 32) as u32, value as u32];
    let range = |space: u32, bus: u64, (base, size): (u64, u64)| {
        [vec![space], split(bus).into(), split(base).into(), split(size).into()].concat()
    };
    let ranges =
        [range(0x100_0000, 0, PORTS), range(0x200_0000, LOW.0, LOW), range(0x300_0000, high.0, high)];
    let controller = irqs.first().map_or(0, |irq| irq.controller);
    let mut map = Vec::new();
    for slot in 0..4u32 {
        for pin in 0..4u32 {
            map.extend([slot << 11, 0, 0, pin + 1, controller]);
            map.extend(irqs.get(((slot + pin) % 4) as usize).map(Irq::cells).unwrap_or_default());
        }
    }
    let described = board
        .describe(NODE)
        .prop_u32("#address-cells", 3)
        .prop_u32("#interrupt-cells", 1)
        .prop_u32("#size-cells", 2)
        .prop_str("compatible", "pci-host-ecam-generic")
        .prop_str("device_type", "pci")
        .prop_u32("linux,pci-domain", 0)
        .prop_u32s("bus-range", &[0, 255])
        .prop_empty("dma-coherent");
    if let Some(msi) = msi {
        described.prop_u32("msi-parent", msi);
    }
    described
        .prop_u64s("reg", &[ECAM.0, ECAM.1])
        .prop_u32s("ranges", &ranges.concat())
        .prop_u32s("interrupt-map", &map)
        .prop_u32s("interrupt-map-mask", &[0x1800, 0, 0, 7]);
    Ok(())
}
