//! The interrupt controllers of the Advanced Interrupt Architecture on `virt`: APLIC domains for machine and supervisor
//! level, and with `aplic-imsic` incoming MSI controllers of each hart.

use super::harts::{Harts, input};
use super::platform::HartPlatform;
use crate::board::{Board, Irq};
use base::Result;
use devices::intc::riscv_aplic::Aplic;
use devices::intc::riscv_imsic::Imsic;
use memory::Dma;
use object::{AnyDevice, DeviceCell};
use riscv::InterruptFile;
use std::sync::Arc;

/// First addresses.
mod map {
    pub const APLIC_M: u64 = 0xc00_0000;
    pub const APLIC_S: u64 = 0xd00_0000;
    pub const IMSIC_M: u64 = 0x2400_0000;
    pub const IMSIC_S: u64 = 0x2800_0000;
    pub const PAGE: u64 = 0x1000;
}

/// Sources of a domain, the one that does not exist (0) included.
const SOURCES: u32 = 97;
/// Messages of a file, the one that does not exist (0) included.
const MESSAGES: u32 = 256;

/// What firmware writes to the domain of machine level (AIA 1.0, 4.5).
mod register {
    /// The configuration of source 1; the others follow.
    pub const SOURCECFG: u64 = 0x0004;
    pub const MMSIADDRCFG: u64 = 0x1bc0;
    pub const SMSIADDRCFG: u64 = 0x1bc8;
    /// The source is delegated to the first child.
    pub const DELEGATED: u64 = 1 << 10;
}
/// What follows the number of an interrupt in the device tree: a level that is active when high.
const LEVEL_HIGH: &[u32] = &[4];

/// Which controllers a board has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aia {
    /// Wires only.
    Aplic,
    /// Messages, with this many files for guests of each hart.
    Imsic(u32),
}

/// The controllers.
pub struct Controllers {
    root: Arc<DeviceCell<Aplic>>,
    supervisor: u32,
    firmware: Firmware,
    /// Phandle of what takes messages.
    pub msi: Option<u32>,
}

impl Controllers {
    /// Input `n`, for the supervisor's domain.
    pub fn source(&self, n: u32) -> Irq {
        Irq { line: self.root.input_line(n), controller: self.supervisor, number: n, flags: LEVEL_HIGH }
    }
    /// What is to be done where no firmware runs.
    pub fn firmware(&self) -> Firmware {
        self.firmware.clone()
    }
}

/// The work of firmware for the supervisor: the machine level gives everything away and is hidden.
#[derive(Clone)]
pub struct Firmware {
    root: Arc<DeviceCell<Aplic>>,
    /// Registers that say where the messages go, and their values.
    addresses: Vec<(u64, u64)>,
    /// Nodes of the device tree that are the machine level's.
    nodes: Vec<String>,
}

impl Firmware {
    /// Delegates all sources, and says where messages go. To be done after each reset.
    pub fn delegate(&self) {
        let sources = (0..u64::from(SOURCES) - 1).map(|n| (register::SOURCECFG + 4 * n, register::DELEGATED));
        for (offset, value) in sources.chain(self.addresses.iter().copied()) {
            AnyDevice::write(&*self.root, 0, offset, 4, value).perform(&mut |_| ());
        }
    }
    /// Hides the machine level's controllers from the kernel.
    pub fn hide(&self, board: &mut Board) {
        for node in &self.nodes {
            board.describe(node).prop_str("status", "disabled");
        }
    }
}

/// Where messages go (AIA 1.0, 4.5.3 and 4.5.4): the first page of each level, and how the number of a hart becomes an address.
fn message_addresses(count: u32, guest_bits: u32) -> Vec<(u64, u64)> {
    let hart_bits = u64::from(count.next_power_of_two().ilog2());
    vec![
        (register::MMSIADDRCFG, map::IMSIC_M >> 12),
        (register::MMSIADDRCFG + 4, hart_bits << 12),
        (register::SMSIADDRCFG, map::IMSIC_S >> 12),
        (register::SMSIADDRCFG + 4, u64::from(guest_bits) << 20),
    ]
}

/// Bits of the number of a guest's file, the hart's own included.
fn guest_bits(guests: u32) -> u32 {
    u32::BITS - guests.leading_zeros()
}

/// Adds the controllers.
///
/// # Errors
/// A global property that a controller does not take.
pub fn add(
    board: &mut Board,
    harts: &Harts,
    platform: &Arc<HartPlatform>,
    count: u32,
    aia: Aia,
) -> Result<Controllers> {
    let messages = match aia {
        Aia::Imsic(guests) => Some(files(board, harts, platform, count, guests)?),
        Aia::Aplic => None,
    };
    let by_wire = if messages.is_some() { 0 } else { count };
    let dma = Dma::new(&board.memory);
    let root = DeviceCell::new(Aplic::new(true, by_wire, SOURCES, Some(dma.clone())));
    let child = DeviceCell::new(Aplic::new(false, by_wire, SOURCES, Some(dma)));
    root.with(|r| r.set_child((0..SOURCES).map(|n| child.input_line(n)).collect()));
    let addresses = root.with(|r| r.addresses());
    child.with(|c| c.set_addresses(addresses));
    let phandles = [board.fdt.allocate_phandle(), board.fdt.allocate_phandle()];
    for (domain, (cell, address, input)) in
        [(&root, map::APLIC_M, input::MEI), (&child, map::APLIC_S, input::SEI)].into_iter().enumerate()
    {
        let mut adding = board.add(cell).at(0, address);
        for hart in 0..by_wire as usize {
            adding = adding.line("", hart, harts.line(hart, input));
        }
        adding
            .describe("interrupt-controller", &["qemu,aplic", "riscv,aplic"], 0, |node| {
                node.prop_u32("#address-cells", 0)
                    .prop_u32("#interrupt-cells", 2)
                    .prop_empty("interrupt-controller");
                match messages {
                    Some(files) => node.prop_u32("msi-parent", files[domain]),
                    None => node.prop_u32s("interrupts-extended", &harts.extended(&[input])),
                };
                node.prop_u32("riscv,num-sources", SOURCES - 1);
                if domain == 0 {
                    let delegated = [phandles[1], 1, SOURCES - 1];
                    node.prop_u32("riscv,children", phandles[1])
                        .prop_u32s("riscv,delegation", &delegated)
                        .prop_u32s("riscv,delegate", &delegated);
                }
                node.prop_u32("phandle", phandles[domain]);
            })
            .done()?;
    }
    let mut firmware = Firmware { root: root.clone(), addresses: Vec::new(), nodes: Vec::new() };
    firmware.nodes.push(format!("/soc/interrupt-controller@{:x}", map::APLIC_M));
    if let Aia::Imsic(guests) = aia {
        firmware.nodes.push(format!("/soc/interrupt-controller@{:x}", map::IMSIC_M));
        firmware.addresses = message_addresses(count, guest_bits(guests));
    }
    Ok(Controllers { root, supervisor: phandles[1], firmware, msi: messages.map(|files| files[1]) })
}

/// Adds the incoming MSI controllers. Returns the phandles of those of machine and of supervisor level.
fn files(
    board: &mut Board,
    harts: &Harts,
    platform: &Arc<HartPlatform>,
    count: u32,
    guests: u32,
) -> Result<[u32; 2]> {
    let mut phandles = [0; 2];
    let mut all: [Vec<File>; 2] = Default::default();
    for (level, (base, pages, bits, wire)) in
        [(map::IMSIC_M, 1, 0, input::MEI), (map::IMSIC_S, 1 + guests, guest_bits(guests), input::SEI)]
            .into_iter()
            .enumerate()
    {
        let stride = map::PAGE << bits;
        for hart in 0..count {
            let cell = DeviceCell::new(Imsic::new(level == 0, hart, pages, MESSAGES));
            board
                .add(&cell)
                .at(0, base + stride * u64::from(hart))
                .line("", 0, harts.line(hart as usize, wire))
                .done()?;
            all[level].push(File(cell));
        }
        phandles[level] = board.fdt.allocate_phandle();
        let node = board
            .describe(&format!("/soc/interrupt-controller@{base:x}"))
            .prop_strs("compatible", &["qemu,imsics", "riscv,imsics"])
            .prop_u32("#interrupt-cells", 0)
            .prop_empty("interrupt-controller")
            .prop_empty("msi-controller")
            .prop_u32s("interrupts-extended", &harts.extended(&[wire]))
            .prop_u64s("reg", &[base, stride * u64::from(count)])
            .prop_u32("riscv,num-ids", MESSAGES - 1);
        if bits > 0 {
            node.prop_u32("riscv,guest-index-bits", bits);
        }
        node.prop_u32("phandle", phandles[level]);
    }
    platform.set_files(all);
    Ok(phandles)
}

/// A controller as its hart sees it.
pub struct File(Arc<DeviceCell<Imsic>>);

impl InterruptFile for File {
    fn read(&self, select: u64, xlen: u32) -> Option<u64> {
        self.0.with(|device| device.read_file(select, xlen))
    }
    fn write(&self, select: u64, xlen: u32, set: u64, clear: u64) {
        self.0.with(|device| device.write_file(select, xlen, set, clear));
    }
    fn top(&self) -> u64 {
        self.0.with(|device| device.external_top())
    }
    fn claim(&self, id: u32) {
        self.0.with(|device| device.claim(id));
    }
}
