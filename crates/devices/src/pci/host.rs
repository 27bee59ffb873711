//! The generic PCI Express host bridge: "gpex-pcihost", and its root device "gpex-root".
//!
//! Documents: device tree binding "pci-host-ecam-generic"; PCI Express Base 3.0, 7.2.2 (ECAM: bus, device, function and
//! register are bits 27:20, 19:15, 14:12 and 11:0 of the offset).

use std::sync::Arc;

use memory::{BusResult, Mmio, OpenBus, Region, WHOLE};
use object::{Access, Device, DeviceCell, Effect, Line, Node, ObjectRef, Size};

use super::bus::{Intx, PciBus};
use super::link::Pci;

/// The root device: it is there, and has nothing to do.
#[derive(Device)]
#[device(name = "gpex-root", desc = "QEMU generic PCIe host bridge", category = "bridge")]
#[pci(vendor = 0x1b36, device = 0x0008, class = 0x06_0000)]
pub struct GpexRoot {
    #[place]
    pci: Pci,
}
impl Device for GpexRoot {}

/// The host bridge.
#[derive(Device)]
#[device(name = "gpex-pcihost", parent = "pcie-host-bridge", bus = "System", category = "bridge")]
pub struct GpexHost {
    /// Accesses to what is not there read as ones.
    #[property(name = "allow-unmapped-accesses", default = true)]
    pub allow_unmapped: bool,
    /// Where configuration space lies.
    #[property(name = "x-ecam-base")]
    pub ecam_base: u64,
    /// How much of it there is.
    #[property(name = "x-ecam-size")]
    pub ecam_size: Size,
    /// Where I/O ports lie.
    #[property(name = "x-pio-base")]
    pub pio_base: u64,
    /// How many there are.
    #[property(name = "x-pio-size")]
    pub pio_size: Size,
    /// Where memory for 32-bit BARs lies.
    #[property(name = "x-below-4g-mmio-base")]
    pub low_base: u64,
    /// How much.
    #[property(name = "x-below-4g-mmio-size")]
    pub low_size: Size,
    /// Where memory for 64-bit BARs lies.
    #[property(name = "x-above-4g-mmio-base")]
    pub high_base: u64,
    /// How much.
    #[property(name = "x-above-4g-mmio-size")]
    pub high_size: Size,
    /// Interrupt lines.
    #[property(name = "num-irqs", default = 4u8)]
    pub num_irqs: u8,
    /// What older versions save.
    #[property(name = "x-config-reg-migration-enabled", default = true)]
    pub migrate_register: bool,
    /// Devices reach memory past an IOMMU.
    #[property(name = "bypass-iommu")]
    pub bypass_iommu: bool,
    /// Interrupt lines, INTA to INTD of slot 0.
    #[wire(name = "sysbus-irq")]
    pub irqs: [Line; 4],
}
impl Device for GpexHost {}

/// The parts of a host bridge that a board maps.
pub struct HostParts {
    /// The root bus.
    pub bus: Arc<PciBus>,
    /// Configuration space.
    pub ecam: Arc<Region>,
    /// All memory of the bus, by bus address.
    pub memory: Arc<Region>,
    /// All I/O ports.
    pub io: Arc<Region>,
}

impl GpexHost {
    /// Makes the root bus of a host whose interrupt lines are connected and whose node is in the tree, with the root
    /// device on it. `system` is what the devices see.
    ///
    /// # Errors
    /// Never for a root device of this kind.
    pub fn connect(
        cell: &Arc<DeviceCell<Self>>,
        node: &ObjectRef,
        system: &Arc<Region>,
    ) -> base::Result<HostParts> {
        let (ecam_size, pio_size, irqs) = cell.with(|h| (h.ecam_size.0, h.pio_size.0, h.irqs.clone()));
        for size in [ecam_size, WHOLE] {
            node.add_window(size);
        }
        let ports = node.add_window(pio_size);
        node.map_window(ports, cell.with(|h| h.pio_base));
        let bus_node = Node::new("PCIE");
        // What no device answers is read as all ones.
        let window = |name: &str, size: u64| {
            let open = Region::mmio(&format!("{name}_window"), size, Arc::new(OpenBus));
            let inside = Region::container(name, size);
            open.add_subregion(0, &inside);
            [&open, &inside].into_iter().for_each(|region| region.set_owner(node));
            (open, inside)
        };
        let ((memory, devices), (io, ports)) = (window("gpex_mmio", WHOLE), window("gpex_ioport", pio_size));
        let bus = PciBus::root("pcie.0", &bus_node, devices, ports, system.clone(), Intx::new(irqs));
        let ecam = ecam(&bus, ecam_size);
        ecam.set_owner(node);
        node.add_child("pcie.0", &bus_node);
        let root: Arc<dyn object::AnyDevice> = DeviceCell::new(GpexRoot::default());
        let root_node = Node::for_device(root.clone());
        node.add_child("gpex_root", &root_node);
        bus.plug(&root, &root_node, Some(0), false, false)?;
        Ok(HostParts { bus, ecam, memory, io })
    }
}

/// Configuration space in memory, of as many buses as there are mebibytes.
pub fn ecam(bus: &Arc<PciBus>, size: u64) -> Arc<Region> {
    Region::mmio("pcie-mmcfg-mmio", size, Arc::new(Ecam(bus.clone())))
}

/// Configuration space in memory.
struct Ecam(Arc<PciBus>);

impl Ecam {
    fn function(&self, offset: u64) -> Option<Arc<super::Function>> {
        self.0.find((offset >> 20) as u8)?.function((offset >> 12) as u8)
    }
}

impl Mmio for Ecam {
    fn read(&self, offset: u64, size: u32) -> BusResult<u64> {
        let function = self.function(offset);
        Ok(function.map_or(u64::MAX, |f| f.read_config(offset & 0xfff, size)))
    }
    fn write(&self, offset: u64, size: u32, value: u64) -> BusResult<Effect> {
        let function = self.function(offset);
        Ok(function.map_or(Effect::None, |f| f.write_config(offset & 0xfff, size, value)))
    }
    fn access(&self) -> Access {
        Access::DEFAULT.with_impl(1, 4)
    }
}
