//! `virt`: the board that software for QEMU's board of this name runs on.
//!
//! Its map, its interrupt numbers and its device tree are those of QEMU 10.0.2.

use super::aia::{self, Aia, Firmware};
use super::boot::{self, Boot, Layout};
use super::harts::{Harts, input};
use super::pcie;
use super::platform::HartPlatform;
use crate::board::{Board, Irq, Slot};
use crate::machine::{Bios, MachineType, Setup};
use base::{Result, error};
use devices::block::pflash_cfi01::PflashCfi01;
use devices::char::ns16550a::Ns16550a;
use devices::firmware::fw_cfg::{FwCfgMem, key};
use devices::intc::riscv_aclint::{AclintMtimer, AclintSwi};
use devices::intc::sifive_plic::SifivePlic;
use devices::misc::platform_bus::PlatformBus;
use devices::misc::sifive_test::SifiveTest;
use devices::rtc::goldfish_rtc::GoldfishRtc;
use devices::virtio::mmio::VirtioMmio;
use memory::{Dma, Ram, Region};
use object::{DeviceCell, Node};
use riscv::{Extension, Extensions, Hart};
use std::path::Path;
use std::sync::Arc;

/// The machine.
pub const TYPE: MachineType = MachineType {
    name: "virt",
    desc: "RISC-V VirtIO board",
    max_cpus: 512,
    default_memory: 128 << 20,
    ram_name: "riscv_virt_board.ram",
    default_cpu: "rv64",
    flash_banks: 2,
    properties: &[
        ("aclint", "bool", "(TCG only) Set on/off to enable/disable emulating ACLINT devices"),
        ("acpi", "OnOffAuto", "Enable ACPI"),
        (
            "aia",
            "string",
            "Set type of AIA interrupt controller. Valid values are none, aplic, and aplic-imsic.",
        ),
        (
            "aia-guests",
            "string",
            "Set number of guest MMIO pages for AIA IMSIC. Valid value should be between 0 and 7.",
        ),
        ("iommu-sys", "OnOffAuto", "Enable IOMMU platform device"),
    ],
    build,
};

/// The memory map: first address and size.
mod map {
    pub const MROM: (u64, u64) = (0x1000, 0xf000);
    pub const TEST: u64 = 0x10_0000;
    pub const RTC: u64 = 0x10_1000;
    pub const CLINT: u64 = 0x200_0000;
    /// In the CLINT as in the ACLINT the timer follows the software interrupts.
    pub const MTIMER: u64 = CLINT + 0x4000;
    pub const ACLINT_SSWI: u64 = 0x2f0_0000;
    pub const PLATFORM_BUS: (u64, u64) = (0x400_0000, 0x200_0000);
    pub const PLIC: u64 = 0xc00_0000;
    pub const UART0: u64 = 0x1000_0000;
    pub const VIRTIO: (u64, u64) = (0x1000_1000, 0x1000);
    pub const FW_CFG: (u64, u64) = (0x1010_0000, 0x18);
    pub const FLASH: (u64, u64) = (0x2000_0000, 0x200_0000);
    pub const DRAM: u64 = 0x8000_0000;
}

/// Inputs of the PLIC.
mod irq {
    pub const VIRTIO: u32 = 1;
    pub const UART0: u32 = 10;
    pub const RTC: u32 = 11;
    /// INTA to INTD of slot 0.
    pub const PCIE: u32 = 32;
    /// Those of the platform bus.
    pub const PLATFORM_BUS: u32 = 64;
}

/// Slots for virtio devices.
pub const VIRTIO_SLOTS: u32 = 8;
/// Sources of the PLIC, the one that does not exist (0) included.
const PLIC_SOURCES: u32 = 96;
/// Frequency of `mtime`, in Hz.
const TIMEBASE: u32 = 10_000_000;
/// What the UART divides, in Hz.
const UART_CLOCK: u32 = 3_686_400;
/// Events of the SBI PMU extension and the counters that can count them (device tree binding "riscv,pmu"): cycles,
/// instructions, and misses of the data TLB (reads, writes) and of the instruction TLB; counters 3 to 18.
const PMU_EVENTS: [u32; 15] = [
    0x1, 0x1, 0x7_fff9, 0x2, 0x2, 0x7_fffc, 0x1_0019, 0x1_0019, 0x7_fff8, 0x1_001b, 0x1_001b, 0x7_fff8,
    0x1_0021, 0x1_0021, 0x7_fff8,
];

struct Properties {
    aclint: bool,
    aia: Option<Aia>,
    dumpdtb: Option<String>,
}

fn properties(setup: &Setup) -> Result<Properties> {
    let mut all = Properties { aclint: false, aia: None, dumpdtb: None };
    let mut guests = 0;
    let switch = |key: &str, text: &str| match text {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(error!("Parameter '{key}' expects 'on' or 'off'")),
    };
    for (key, value) in &setup.properties {
        match key.as_str() {
            "aclint" => all.aclint = switch(key, value)?,
            "acpi" | "iommu-sys" if !["on", "off", "auto"].contains(&value.as_str()) => {
                return Err(error!("Parameter '{key}' does not accept value '{value}'"));
            }
            "iommu-sys" if value == "on" => {
                return Err(error!("iommu-sys=on is not supported by Tinamou yet"));
            }
            "aia-guests" => {
                let number = value.parse().ok().filter(|n| *n <= 7);
                guests = number.ok_or_else(|| {
                    error!("Invalid number of AIA IMSIC guests").hint("Valid values be between 0 and 7.")
                })?;
            }
            "aia" => match value.as_str() {
                "none" => all.aia = None,
                "aplic" => all.aia = Some(Aia::Aplic),
                "aplic-imsic" => all.aia = Some(Aia::Imsic(0)),
                _ => {
                    return Err(error!("Invalid AIA interrupt controller type")
                        .hint("Valid values are none, aplic, and aplic-imsic."));
                }
            },
            "dumpdtb" => all.dumpdtb = Some(value.clone()),
            _ => {}
        }
    }
    if let Some(Aia::Imsic(number)) = &mut all.aia {
        *number = guests;
    }
    Ok(all)
}

fn build(setup: Setup) -> Result<Board> {
    let properties = properties(&setup)?;
    let mut config = super::config(&setup.cpu)?;
    if let Some(Aia::Imsic(_)) = properties.aia {
        config = config.with(Extensions::of(&[Extension::Smaia, Extension::Ssaia]));
    }
    let mut board = Board::new("virt", &setup.events);
    board.globals.clone_from(&setup.globals);
    let platform = HartPlatform::new(TIMEBASE);
    let (rom, size) = map::MROM;
    let mut harts = Harts::build(&mut board, "soc0", &config, setup.cpus, rom, &platform)?;
    let ram = setup.ram.clone().ok_or_else(|| error!("the machine needs memory"))?;
    let layout = Layout { ram: map::DRAM, ram_size: ram.len(), rom, xlen: config.xlen() };

    board
        .describe("/")
        .prop_u32("#address-cells", 2)
        .prop_u32("#size-cells", 2)
        .prop_str("compatible", "riscv-virtio")
        .prop_str("model", "riscv-virtio,qemu");
    board
        .describe("/soc")
        .prop_u32("#address-cells", 2)
        .prop_u32("#size-cells", 2)
        .prop_str("compatible", "simple-bus")
        .prop_empty("ranges");
    pcie::begin(&mut board);
    harts.describe(&mut board, &config, TIMEBASE);
    timers(&mut board, &harts, &properties, &platform, setup.cpus)?;
    let (source, msi, firmware): (Box<dyn Fn(u32) -> Irq>, _, _) = match properties.aia {
        None => (plic(&mut board, &harts, setup.cpus)?, None, None),
        Some(aia) => {
            let controllers = aia::add(&mut board, &harts, &platform, setup.cpus, aia)?;
            let (msi, firmware) = (controllers.msi, controllers.firmware());
            (Box::new(move |n| controllers.source(n)), msi, Some(firmware))
        }
    };
    memory(&mut board, ram, size)?;
    fw_cfg(&mut board, &setup)?;
    test(&mut board)?;
    virtio(&mut board, &*source)?;
    let pins = [0, 1, 2, 3].map(|pin| source(irq::PCIE + pin));
    pcie::add(&mut board, pins, msi, map::DRAM + layout.ram_size, layout.xlen)?;
    platform_bus(&mut board, &*source)?;
    let uart = serial(&mut board, &setup, source(irq::UART0))?;
    clock(&mut board, &setup, source(irq::RTC))?;
    flash(&mut board, &setup)?;
    board
        .describe("/pmu")
        .prop_str("compatible", "riscv,pmu")
        .prop_u32s("riscv,event-to-mhpmcounters", &PMU_EVENTS);

    // From here on the tree may be the user's own.
    if let Some(path) = &setup.dtb {
        board.fdt = boot::load_dtb(path)?;
    }
    let stdout = if setup.dtb.is_none() { Some(uart.as_str()) } else { None };
    Boot::chosen(&mut board, &setup, stdout);
    if let Some(path) = &properties.dumpdtb {
        board.fdt.dump(Path::new(path)).map_err(base::Error::new)?;
        return Err(super::dumped(path));
    }
    finish(&mut board, &setup, layout, &platform, firmware)?;
    Ok(board)
}

/// Timers and software interrupts. Where harts get messages, they send one another those.
fn timers(
    board: &mut Board,
    harts: &Harts,
    properties: &Properties,
    platform: &Arc<HartPlatform>,
    count: u32,
) -> Result<()> {
    let all = 0..count as usize;
    let software = |board: &mut Board, device: AclintSwi, address: u64, input: u32| -> Result<()> {
        let mut adding = board.add(&DeviceCell::new(device)).at(0, address);
        for hart in all.clone() {
            adding = adding.line("", hart, harts.line(hart, input));
        }
        adding.done().map(|_| ())
    };
    let alone = properties.aclint && matches!(properties.aia, Some(Aia::Imsic(_)));
    if !alone {
        software(board, AclintSwi::mswi(count), map::CLINT, input::MSI)?;
    }
    let at = if alone { map::CLINT } else { map::MTIMER };
    let mtimer = DeviceCell::new(AclintMtimer::virt(count, TIMEBASE));
    AclintMtimer::connect(&mtimer, &board.events);
    platform.set_mtime(mtimer.with(|m| m.time()));
    let mut adding = board.add(&mtimer).at(0, at);
    for hart in all.clone() {
        adding = adding.line("", hart, harts.line(hart, input::MTI));
    }
    adding.done()?;
    if !properties.aclint {
        board
            .describe(&format!("/soc/clint@{:x}", map::CLINT))
            .prop_strs("compatible", &["sifive,clint0", "riscv,clint0"])
            .prop_u64s("reg", &[map::CLINT, 0x1_0000])
            .prop_u32s("interrupts-extended", &harts.extended(&[input::MSI, input::MTI]));
        return Ok(());
    }
    if !alone {
        software(board, AclintSwi::sswi(count), map::ACLINT_SSWI, input::SSI)?;
        for (path, compatible, address, input) in [
            ("mswi", "riscv,aclint-mswi", map::CLINT, input::MSI),
            ("sswi", "riscv,aclint-sswi", map::ACLINT_SSWI, input::SSI),
        ] {
            board
                .describe(&format!("/soc/{path}@{address:x}"))
                .prop_str("compatible", compatible)
                .prop_u64s("reg", &[address, 0x4000])
                .prop_u32s("interrupts-extended", &harts.extended(&[input]))
                .prop_empty("interrupt-controller")
                .prop_u32("#interrupt-cells", 0);
        }
    }
    board
        .describe(&format!("/soc/mtimer@{at:x}"))
        .prop_str("compatible", "riscv,aclint-mtimer")
        .prop_u64s("reg", &[at + 0x7ff8, if alone { 8 } else { 0x4008 }, at, 0x7ff8])
        .prop_u32s("interrupts-extended", &harts.extended(&[input::MTI]));
    Ok(())
}

/// The platform-level interrupt controller. Returns its inputs.
fn plic(board: &mut Board, harts: &Harts, count: u32) -> Result<Box<dyn Fn(u32) -> Irq>> {
    let modes = vec!["MS"; count as usize].join(",");
    let plic = DeviceCell::new(SifivePlic::virt(&modes)?);
    let phandle = board.fdt.allocate_phandle();
    let mut adding = board.add(&plic).at(0, map::PLIC);
    for hart in 0..count as usize {
        adding = adding.line("", hart * 2, harts.line(hart, input::MEI)).line(
            "",
            hart * 2 + 1,
            harts.line(hart, input::SEI),
        );
    }
    adding
        .describe("plic", &["sifive,plic-1.0.0", "riscv,plic0"], 0, |node| {
            node.prop_u32("#address-cells", 0)
                .prop_u32("#interrupt-cells", 1)
                .prop_empty("interrupt-controller")
                .prop_u32s("interrupts-extended", &harts.extended(&[input::MEI, input::SEI]))
                .prop_u32("riscv,ndev", PLIC_SOURCES - 1)
                .prop_u32("phandle", phandle);
        })
        .done()?;
    Ok(Box::new(move |n| Irq { line: plic.input_line(n), controller: phandle, number: n, flags: &[] }))
}

fn memory(board: &mut Board, ram: Arc<Ram>, rom_size: u64) -> Result<()> {
    let size = ram.len();
    board
        .describe(&format!("/memory@{:x}", map::DRAM))
        .prop_str("device_type", "memory")
        .prop_u64s("reg", &[map::DRAM, size]);
    let region = Region::ram(TYPE.ram_name, ram);
    board.map(map::DRAM, &region);
    let rom = Region::rom("riscv_virt_board.mrom", Ram::anonymous(rom_size)?);
    rom.set_unowned(&object::unattached(&board.machine));
    board.map(map::MROM.0, &rom);
    Ok(())
}

/// The test finisher, by which the guest switches the machine off.
fn test(board: &mut Board) -> Result<()> {
    let phandle = board.fdt.allocate_phandle();
    board
        .add(&DeviceCell::new(SifiveTest::new()))
        .at(0, map::TEST)
        .describe("test", &["sifive,test1", "sifive,test0", "syscon"], 0, |node| {
            node.prop_u32("phandle", phandle);
        })
        .done()?;
    for (name, value) in [("reboot", 0x7777), ("poweroff", 0x5555)] {
        board
            .describe(&format!("/{name}"))
            .prop_str("compatible", &format!("syscon-{name}"))
            .prop_u32("offset", 0)
            .prop_u32("regmap", phandle)
            .prop_u32("value", value);
    }
    Ok(())
}

fn virtio(board: &mut Board, source: &dyn Fn(u32) -> Irq) -> Result<()> {
    let (first, size) = map::VIRTIO;
    for slot in 0..VIRTIO_SLOTS {
        let transport = DeviceCell::new(VirtioMmio::new(true));
        let node = board
            .add(&transport)
            .at(0, first + size * u64::from(slot))
            .irq("sysbus-irq", 0, source(irq::VIRTIO + slot))
            .describe("virtio_mmio", &["virtio,mmio"], size, |_| {})
            .done()?;
        let bus = Node::new("virtio-mmio-bus");
        node.add_child(&format!("virtio-mmio-bus.{slot}"), &bus);
        board.slots.push(Slot { transport, bus });
    }
    Ok(())
}

/// The platform bus, on which there is nothing.
fn platform_bus(board: &mut Board, source: &dyn Fn(u32) -> Irq) -> Result<()> {
    let (base, size) = map::PLATFORM_BUS;
    let mut adding = board.add(&DeviceCell::new(PlatformBus::default()));
    for n in 0..32u32 {
        adding = adding.line("sysbus-irq", n as usize, source(irq::PLATFORM_BUS + n).line);
    }
    let node = adding.done()?;
    node.add_window(size);
    let region = Region::container("platform bus", size);
    region.set_owner(&node);
    board.map(base, &region);
    board
        .describe(&format!("/platform-bus@{base:x}"))
        .prop_strs("compatible", &["qemu,platform", "simple-bus"])
        .prop_u32("#size-cells", 1)
        .prop_u32("#address-cells", 1)
        .prop_u32s("ranges", &[0, (base >> 32) as u32, base as u32, size as u32])
        .prop_u32("interrupt-parent", source(irq::PLATFORM_BUS).controller);
    Ok(())
}

/// The serial port. Returns its path in the device tree.
fn serial(board: &mut Board, setup: &Setup, irq: Irq) -> Result<String> {
    let uart = DeviceCell::new(Ns16550a::new(399_193, 0));
    Ns16550a::connect(&uart, &board.events, setup.serial.first().cloned().flatten());
    let node = board
        .add(&uart)
        .at(0, map::UART0)
        .hide_address()
        .irq("sysbus-irq", 0, irq)
        .describe("serial", &["ns16550a"], 0x100, |node| {
            node.prop_u32("clock-frequency", UART_CLOCK);
        })
        .done()?;
    node.add_child("serial", &Node::new("serial"));
    let path = format!("/soc/serial@{:x}", map::UART0);
    board.describe("/aliases").prop_str("serial0", &path);
    Ok(path)
}

fn clock(board: &mut Board, setup: &Setup, irq: Irq) -> Result<()> {
    let rtc = DeviceCell::new(GoldfishRtc::new());
    GoldfishRtc::connect(&rtc, &board.events, setup.rtc_clock, setup.rtc_date_ns);
    board
        .add(&rtc)
        .at(0, map::RTC)
        .irq("sysbus-irq", 0, irq)
        .describe("rtc", &["google,goldfish-rtc"], 0x1000, |_| {})
        .done()?;
    Ok(())
}

fn flash(board: &mut Board, setup: &Setup) -> Result<()> {
    let (first, size) = map::FLASH;
    for (n, drive) in setup.flash.iter().enumerate() {
        let name = format!("virt.flash{n}");
        let ram = Ram::anonymous(size)?;
        if let Some(drive) = drive {
            if drive.len() != size {
                return Err(error!(
                    "cfi.pflash01 device '/machine/{name}' requires {size} bytes, pflash{n} block backend provides {} bytes",
                    drive.len()
                ));
            }
            PflashCfi01::fill(&ram, drive.as_ref())?;
        } else {
            PflashCfi01::erase_all(&ram);
        }
        let bank = DeviceCell::new(PflashCfi01::virt(&name, size));
        let region = PflashCfi01::connect(&bank, &ram, drive.clone())?;
        board
            .add_named(&name, &bank)
            .in_place_of(0, region, first + size * n as u64)
            .hide_address()
            .done()?;
        board.flushes.push(Box::new(move || PflashCfi01::flush(&bank)));
    }
    board
        .describe(&format!("/flash@{first:x}"))
        .prop_str("compatible", "cfi-flash")
        .prop_u64s("reg", &[first, size, first + size, size])
        .prop_u32("bank-width", 4);
    Ok(())
}

fn fw_cfg(board: &mut Board, setup: &Setup) -> Result<()> {
    let (address, size) = map::FW_CFG;
    let device = DeviceCell::new(FwCfgMem::new(Some(Dma::new(&board.memory))));
    device.with(|d| -> Result<()> {
        d.set_u16(key::NB_CPUS, setup.cpus.min(u16::MAX.into()) as u16);
        if setup.flash[0].is_some() && setup.kernel.is_some() {
            software(d, setup)?;
        }
        setup.fw_cfg.iter().try_for_each(|(name, data)| d.add_file(name, data.clone()))
    })?;
    board.add_named("fw_cfg", &device).at(0, address + 8).at(1, address).at(2, address + 16).done()?;
    board
        .describe(&format!("/fw-cfg@{address:x}"))
        .prop_str("compatible", "qemu,fw-cfg-mmio")
        .prop_u64s("reg", &[address, size])
        .prop_empty("dma-coherent");
    Ok(())
}

/// Kernel, initial RAM disk and command line for firmware in flash, which loads them by itself.
fn software(device: &mut FwCfgMem, setup: &Setup) -> Result<()> {
    const LIMIT: u64 = 1 << 31;
    let read = |path: &Path| {
        crate::loader::read_file(path, LIMIT)
            .map_err(|e| error!("could not load kernel '{}'", e.file.display()))
    };
    if let Some(path) = &setup.kernel {
        let data = read(path)?;
        device.set_u32(key::KERNEL_SIZE, data.len() as u32);
        device.set_bytes(key::KERNEL_DATA, data);
    }
    if let Some(path) = &setup.initrd {
        let data = read(path)?;
        device.set_u32(key::INITRD_SIZE, data.len() as u32);
        device.set_bytes(key::INITRD_DATA, data);
    }
    if let Some(line) = &setup.append {
        device.set_u32(key::CMDLINE_SIZE, line.len() as u32 + 1);
        device.set_string(key::CMDLINE_DATA, line);
    }
    Ok(())
}

/// Loads what runs, and says what a reset does. `aia` is what firmware has to do for its controllers.
fn finish(
    board: &mut Board,
    setup: &Setup,
    layout: Layout,
    platform: &Arc<HartPlatform>,
    aia: Option<Firmware>,
) -> Result<()> {
    let mut boot = Boot::firmware(board, setup, layout)?;
    if setup.flash[0].is_some() {
        // Without firmware in memory the flash holds it; with firmware, the flash holds what comes after it.
        match setup.bios {
            Bios::None => boot.start = map::FLASH.0,
            _ => boot.kernel_entry = map::FLASH.0,
        }
    } else {
        boot.kernel(board, setup, layout)?;
    }
    let aia = aia.filter(|_| boot.builtin);
    if let Some(firmware) = aia.as_ref().filter(|_| setup.dtb.is_none()) {
        firmware.hide(board);
    }
    let fdt = Boot::device_tree(board, layout)?;
    boot.reset_vector(board, layout, fdt);
    boot.check(board)?;
    let entry = boot.kernel_entry;
    if boot.builtin {
        if entry == 0 {
            return Err(error!("the built-in SBI has nothing to start: give a kernel (-kernel)"));
        }
        if let Some(firmware) = aia {
            board.resets.push(Box::new(move || firmware.delegate()));
        }
        platform.serve_sbi(Some(map::UART0));
        board.reset_processor = Arc::new(move |cpu| {
            cpu.reset();
            let first = cpu.index() == 0;
            if first && let Some(hart) = cpu.as_any().downcast_mut::<Hart>() {
                hart.start_supervisor(entry, 0, fdt);
            }
            cpu.set_halted(!first);
        });
    }
    HartPlatform::attach(platform, board);
    Ok(())
}

#[cfg(test)]
#[path = "virt_test.rs"]
mod test;
