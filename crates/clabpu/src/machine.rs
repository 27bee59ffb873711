//! The board.

use crate::edc::Edc;
use crate::intc::Intc;
use crate::mxfc::{self, Mxfc};
use crate::pcihost::PciHost;
use crate::timer::TickTimer;
use base::{Result, error};
use cpu::{Request, RunControl, RunState};
use devices::block::pflash_cfi01::PflashCfi01;
use devices::intc::riscv_aclint::{AclintMtimer, AclintSwi};
use devices::pci::PciBus;
use machines::riscv::boot::{Boot, Layout};
use machines::riscv::harts::{Harts, input};
use machines::riscv::htif::{self, Htif};
use machines::riscv::platform::HartPlatform;
use machines::{Bios, Board, MachineType, Setup};
use memory::{Ram, Region};
use object::{AnyDevice, DeviceCell, Line, Node};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The machine.
pub const MACHINE: MachineType = MachineType {
    name: "clabpu",
    desc: "CLab Processor Units",
    max_cpus: 1,
    default_memory: 0x8000_0000,
    ram_name: "clabpu.ram",
    default_cpu: "thead-c906",
    flash_banks: 1,
    properties: &[],
    build,
};

const MROM: (u64, u64) = (0x1000, 0xf000);
const CLINT: u64 = 0x200_0000;
const INTC: u64 = 0x300_0000;
const EDC_REG1: u64 = 0x300_1000;
const EDC_ERR: u64 = 0x300_2000;
const TIMER: u64 = 0x300_3000;
const PCI_CONFIG: u64 = 0x300_4000;
const PCI_IO: u64 = 0x301_0000;
const ECAM: u64 = 0x3000_0000;
const DRAM: u64 = 0x8000_0000;

/// Interrupt of the error detection.
const IRQ_EDC: u32 = 1;
/// Interrupt of the tick timer.
const IRQ_TIMER: u32 = 2;
/// The first of four: INTA to INTD of device 0 of PCI Express.
const IRQ_PCI: u32 = 3;
/// Device 1, function 0 of its bus: the card with the flashes.
const CARD: u8 = 1 << 3;

/// Frequency of `mtime`, in Hz.
const TIMEBASE: u32 = 10_000_000;

fn build(mut setup: Setup) -> Result<Board> {
    let config = machines::riscv::config(&setup.cpu)?;
    let mut board = Board::new(MACHINE.name, &setup.events);
    board.globals.clone_from(&setup.globals);
    let platform = HartPlatform::new(TIMEBASE);
    let mut harts = Harts::build(&mut board, "clabpu-socket0", &config, setup.cpus, MROM.0, &platform)?;

    let ram = setup.ram.clone().ok_or_else(|| error!("the machine needs memory"))?;
    let layout = Layout { ram: DRAM, ram_size: ram.len(), rom: MROM.0, xlen: config.xlen() };
    board.map(DRAM, &Region::ram(MACHINE.ram_name, ram));
    let rom = Region::rom("riscv.clabpu.mrom", Ram::anonymous(MROM.1)?);
    rom.set_unowned(&object::unattached(&board.machine));
    board.map(MROM.0, &rom);

    harts.describe(&mut board, &config, TIMEBASE);
    clint(&mut board, &harts, &platform)?;
    let intc = DeviceCell::new(Intc::default());
    board.add_named("intc", &intc).at(0, INTC).line("sysbus-irq", 0, harts.line(0, input::MEI)).done()?;
    let edc = DeviceCell::new(Edc::default());
    board
        .add_named("edc", &edc)
        .at(0, EDC_REG1)
        .at(1, EDC_ERR)
        .line("sysbus-irq", 0, intc.input_line(IRQ_EDC))
        .done()?;
    let timer = DeviceCell::new(TickTimer::default());
    TickTimer::connect(&timer, &board.events);
    let pause = pause(&board, &setup.run);
    board
        .add_named("timer", &timer)
        .at(0, TIMER)
        .line("sysbus-irq", 0, intc.input_line(IRQ_TIMER))
        .line("pause", 0, pause)
        .done()?;
    let bus = pci(&mut board, &intc)?;
    card(&mut board, &setup, &bus)?;
    board.pci = Some(bus);
    let port = setup.serial.first().cloned().flatten();
    let words = (htif::DEFAULT + 8, htif::DEFAULT);
    let (htif, region, base) = Htif::new(&board.memory, &board.events, port, words, None);
    board.map(base, &region);
    board.parts.push(htif.clone());
    board.resets.push(Box::new(move || htif.reset()));

    // There is no firmware for this board.
    if setup.bios == Bios::Default {
        setup.bios = Bios::None;
    }
    let mut boot = Boot::firmware(&mut board, &setup, layout)?;
    if boot.builtin {
        return Err(error!("the built-in SBI has no console on this machine: use -bios none"));
    }
    if setup.kernel.is_some() {
        boot.kernel(&mut board, &setup, layout)?;
    } else if setup.flash[0].is_some() {
        boot.start = mxfc::BOOT;
    }
    Boot::chosen(&mut board, &setup, Some("/htif"));
    let fdt = Boot::device_tree(&mut board, layout)?;
    boot.reset_vector(&board, layout, fdt);
    boot.check(&board)?;
    HartPlatform::attach(&platform, &mut board);
    Ok(board)
}

/// Software interrupt and timer of the hart.
fn clint(board: &mut Board, harts: &Harts, platform: &HartPlatform) -> Result<()> {
    let swi = DeviceCell::new(AclintSwi::mswi(1));
    board.add(&swi).at(0, CLINT).line("", 0, harts.line(0, input::MSI)).done()?;
    let mtimer = DeviceCell::new(AclintMtimer::virt(1, TIMEBASE));
    AclintMtimer::connect(&mtimer, &board.events);
    platform.set_mtime(mtimer.with(|m| m.time()));
    board.add(&mtimer).at(0, CLINT + 0x4000).line("", 0, harts.line(0, input::MTI)).done()?;
    Ok(())
}

/// PCI Express: the host bridge, and what leads to its bus.
fn pci(board: &mut Board, intc: &Arc<DeviceCell<Intc>>) -> Result<Arc<PciBus>> {
    let host = DeviceCell::new(PciHost::default());
    let mut adding = board.add_named("pcihost", &host).at(0, PCI_CONFIG);
    for (n, irq) in (IRQ_PCI..).take(4).enumerate() {
        adding = adding.line("sysbus-irq", n, intc.input_line(irq));
    }
    let node = adding.done()?;
    let parts = PciHost::connect(&host, &node, &board.system)?;
    board.map(PCI_CONFIG + 4, &parts.data);
    board.map(PCI_IO, &parts.io);
    board.map(ECAM, &parts.ecam);
    for function in parts.bus.functions() {
        board.devices.extend(function.config().map(|config| config.clone() as Arc<dyn AnyDevice>));
        board.devices.extend(function.device());
    }
    Ok(parts.bus)
}

/// The card, with the chip of the boot flash, from which the hart begins where there is neither kernel nor firmware.
fn card(board: &mut Board, setup: &Setup, bus: &Arc<PciBus>) -> Result<()> {
    let ram = Ram::anonymous(mxfc::BOOT_SIZE)?;
    let drive = setup.flash[0].clone();
    match &drive {
        Some(drive) => PflashCfi01::fill(&ram, drive.as_ref())?,
        None => ram.fill(0, mxfc::BOOT_SIZE, 0xff),
    }
    let chip = DeviceCell::new(PflashCfi01::virt("mxfc-boot", mxfc::BOOT_SIZE));
    let region = PflashCfi01::connect(&chip, &ram, drive)?;
    let node = board.add_named("boot-flash", &chip).done()?;
    region.set_owner(&node);
    board.flushes.push(Box::new(move || PflashCfi01::flush(&chip)));

    let card = DeviceCell::new(Mxfc::default());
    Mxfc::connect(&card, region, setup.serial.get(1).cloned().flatten());
    let device: Arc<dyn AnyDevice> = card;
    let node = Node::for_device(device.clone());
    board.machine.add_child("mxfc", &node);
    let function = bus.plug(&device, &node, Some(CARD), false, false)?;
    board.devices.extend(function.config().map(|config| config.clone() as Arc<dyn AnyDevice>));
    board.devices.push(device);
    Ok(())
}

/// A line whose rise stops the machine, which then goes on by itself.
///
/// The timer that drives it fires on the main loop: stopping there and then would wait for the very loop that waits for
/// the timer. So it only asks. When the machine stands, a handler sends work to the hart's thread, and that asks for the
/// machine to run.
fn pause(board: &Board, run: &Arc<RunControl>) -> Line {
    let asked = Arc::new(AtomicBool::new(false));
    let (cpus, control, mine) = (board.cpus.clone(), Arc::downgrade(run), asked.clone());
    run.on_change(0, move |state| {
        if state == RunState::Paused
            && mine.swap(false, SeqCst)
            && let Some(hart) = cpus.all().first()
        {
            let control = control.clone();
            hart.async_run_on(move |_| {
                if let Some(control) = control.upgrade() {
                    control.request(Request::Run);
                }
            });
        }
    });
    let control = Arc::downgrade(run);
    Line::to_fn(move |level| {
        if level && let Some(control) = control.upgrade() {
            asked.store(true, SeqCst);
            control.request(Request::Stop(RunState::Paused));
        }
    })
}
