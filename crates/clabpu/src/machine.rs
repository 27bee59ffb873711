//! The board.

use crate::edc::Edc;
use crate::intc::Intc;
use crate::timer::TickTimer;
use base::{Result, error};
use cpu::{Request, RunControl, RunState};
use devices::intc::riscv_aclint::{AclintMtimer, AclintSwi};
use machines::riscv::boot::{Boot, Layout};
use machines::riscv::harts::{Harts, input};
use machines::riscv::htif::{self, Htif};
use machines::riscv::platform::HartPlatform;
use machines::{Bios, Board, MachineType, Setup};
use memory::{Ram, Region};
use object::{DeviceCell, Line};
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
    properties: &[],
    build,
};

const MROM: (u64, u64) = (0x1000, 0xf000);
const CLINT: u64 = 0x200_0000;
const INTC: u64 = 0x300_0000;
const EDC_REG1: u64 = 0x300_1000;
const EDC_ERR: u64 = 0x300_2000;
const TIMER: u64 = 0x300_3000;
const DRAM: u64 = 0x8000_0000;

/// Interrupt of the error detection.
const IRQ_EDC: u32 = 1;
/// Interrupt of the tick timer.
const IRQ_TIMER: u32 = 2;

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
