//! The board's PCI Express host bridge, and the function that stands for it on its own bus.
//!
//! | window | offset | register | |
//! |---|---|---|---|
//! | 0 | 0x0 | address | bit 31: on; 23:16 bus, 15:11 device, 10:8 function, 7:2 register |
//! | 0 | 0x4 | data | the register that the address names, by 1, 2 or 4 bytes; without bit 31, or where no function is, ones |
//!
//! Software from the time before PCI Express configures functions through this pair and reaches their first 256 bytes; the
//! enhanced window has all of them. The memory of the bus is the board's own, address for address, under all that the board
//! has: what no part of the board answers to, a BAR may.

use devices::pci::host::ecam;
use devices::pci::{Intx, Pci, PciBus};
use memory::{BusResult, Mmio, Region, WHOLE};
use object::pci::Capability;
use object::{Access, AnyDevice, Device, DeviceCell, Effect, Line, Node, ObjectRef};
use state::State;
use std::sync::Arc;

/// Bytes of the enhanced configuration window: all 256 buses.
pub const ECAM_SIZE: u64 = 256 << 20;
/// Bytes of I/O ports.
pub const IO_SIZE: u64 = 0x1_0000;

const ON: u32 = 1 << 31;

/// What the guest sees.
#[derive(Clone, Debug, Default, State)]
#[state(name = "clabpu-pcihost", version = 1)]
pub struct Registers {
    address: u32,
}

/// The host bridge.
#[derive(Device)]
#[device(
    name = "clabpu-pcihost",
    desc = "CLabPU PCI Express host bridge",
    parent = "pcie-host-bridge",
    bus = "System",
    category = "bridge"
)]
#[mmio(name = "pci-conf-addr", size = 4, access = 4..=4)]
pub struct PciHost {
    /// Interrupt lines: INTA to INTD of device 0.
    #[wire(name = "sysbus-irq")]
    irqs: [Line; 4],
    #[state]
    regs: Registers,
}

impl Device for PciHost {
    fn read(&mut self, _: usize, _: u64, _: u32) -> u64 {
        self.regs.address.into()
    }
    fn write(&mut self, _: usize, _: u64, _: u32, value: u64) -> Effect {
        self.regs.address = value as u32;
        Effect::None
    }
}

/// The bridge as a function of its bus, 00:00.0.
#[derive(Device)]
#[device(
    name = "clabpu-pciroot",
    desc = "CLabPU PCI Express host bridge, as a function",
    category = "bridge"
)]
#[pci(vendor = 0x1234, device = 0xc1ab, class = 0x06_0000, revision = 1)]
#[capability(Capability::express(false))]
pub struct PciRoot {
    #[place]
    pci: Pci,
}

impl Device for PciRoot {}

/// What a board maps.
pub struct Parts {
    /// The bus.
    pub bus: Arc<PciBus>,
    /// The register that the address names.
    pub data: Arc<Region>,
    /// The enhanced window.
    pub ecam: Arc<Region>,
    /// I/O ports.
    pub io: Arc<Region>,
}

impl PciHost {
    /// Makes the bus of a bridge whose lines are connected and whose place in the tree is `node`. Its memory comes under that
    /// of `system`, which is what its devices see.
    ///
    /// # Errors
    /// Never for this function.
    pub fn connect(
        cell: &Arc<DeviceCell<Self>>,
        node: &ObjectRef,
        system: &Arc<Region>,
    ) -> base::Result<Parts> {
        let memory = Region::container("pci", WHOLE);
        let io = Region::container("pci-io", IO_SIZE);
        system.add_overlap(0, &memory, -1);
        let bus_node = Node::new("PCIE");
        node.add_child("pcie.0", &bus_node);
        let lines = Intx::new(cell.with(|host| host.irqs.clone()));
        let bus = PciBus::root("pcie.0", &bus_node, memory.clone(), io.clone(), system.clone(), lines);
        let ecam = ecam(&bus, ECAM_SIZE);
        let data = Region::mmio("pci-conf-data", 4, Arc::new(Data { host: cell.clone(), bus: bus.clone() }));
        [&memory, &io, &ecam, &data].into_iter().for_each(|region| region.set_owner(node));
        let root: Arc<dyn AnyDevice> = DeviceCell::new(PciRoot::default());
        let root_node = Node::for_device(root.clone());
        node.add_child("root", &root_node);
        bus.plug(&root, &root_node, Some(0), false, false)?;
        Ok(Parts { bus, data, ecam, io })
    }
}

/// The data register. It is no window of the bridge's: the bridge's lock is not held while a function is configured.
struct Data {
    host: Arc<DeviceCell<PciHost>>,
    bus: Arc<PciBus>,
}

impl Data {
    /// The function that the address names, and its register.
    fn named(&self, offset: u64) -> Option<(Arc<devices::pci::Function>, u64)> {
        let address = self.host.with(|host| host.regs.address);
        let bus = self.bus.find((address >> 16) as u8).filter(|_| address & ON != 0)?;
        Some((bus.function((address >> 8) as u8)?, u64::from(address & 0xfc) + offset))
    }
}

impl Mmio for Data {
    fn read(&self, offset: u64, size: u32) -> BusResult<u64> {
        Ok(self.named(offset).map_or(u64::MAX, |(function, at)| function.read_config(at, size)))
    }
    fn write(&self, offset: u64, size: u32, value: u64) -> BusResult<Effect> {
        let named = self.named(offset);
        Ok(named.map_or(Effect::None, |(function, at)| function.write_config(at, size, value)))
    }
    fn access(&self) -> Access {
        Access::DEFAULT.with_impl(1, 4)
    }
}

#[cfg(test)]
#[path = "pcihost_test.rs"]
mod test;
