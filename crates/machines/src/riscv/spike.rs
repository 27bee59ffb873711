//! `spike`: the board that the RISC-V test suites expect: memory, a CLINT and HTIF.

use super::boot::{self, Boot, Layout};
use super::harts::{Harts, input};
use super::htif::{self, Htif, Signature};
use super::platform::HartPlatform;
use crate::board::Board;
use crate::machine::{MachineType, Setup};
use base::{Result, error};
use devices::intc::riscv_aclint::{AclintMtimer, AclintSwi};
use memory::{Ram, Region};
use object::DeviceCell;
use std::path::Path;

/// The machine.
pub const TYPE: MachineType = MachineType {
    name: "spike",
    desc: "RISC-V Spike board (default)",
    max_cpus: 512,
    default_memory: 128 << 20,
    ram_name: "riscv.spike.ram",
    default_cpu: "rv64",
    flash_banks: 0,
    properties: &[
        ("signature", "string", "File to write ACT test signature"),
        ("signature-granularity", "uint8", "Size of each line in ACT signature file"),
    ],
    build,
};

const MROM: (u64, u64) = (0x1000, 0xf000);
const CLINT: u64 = 0x200_0000;
const DRAM: u64 = 0x8000_0000;
/// Frequency of `mtime`, in Hz.
const TIMEBASE: u32 = 10_000_000;

fn build(setup: Setup) -> Result<Board> {
    let config = super::config(&setup.cpu)?;
    let mut board = Board::new("spike", &setup.events);
    board.globals.clone_from(&setup.globals);
    let platform = HartPlatform::new(TIMEBASE);
    let mut harts = Harts::build(&mut board, "soc0", &config, setup.cpus, MROM.0, &platform)?;
    let ram = setup.ram.clone().ok_or_else(|| error!("the machine needs memory"))?;
    let layout = Layout { ram: DRAM, ram_size: ram.len(), rom: MROM.0, xlen: config.xlen() };
    board
        .describe("/")
        .prop_u32("#address-cells", 2)
        .prop_u32("#size-cells", 2)
        .prop_str("compatible", "ucbbar,spike-bare-dev")
        .prop_str("model", "ucbbar,spike-bare,qemu");
    board
        .describe("/soc")
        .prop_u32("#address-cells", 2)
        .prop_u32("#size-cells", 2)
        .prop_str("compatible", "simple-bus")
        .prop_empty("ranges");
    harts.describe(&mut board, &config, TIMEBASE);
    let count = setup.cpus;
    let swi = DeviceCell::new(AclintSwi::mswi(count));
    let mut adding = board.add(&swi).at(0, CLINT);
    for hart in 0..count as usize {
        adding = adding.line("", hart, harts.line(hart, input::MSI));
    }
    adding.done()?;
    let mtimer = DeviceCell::new(AclintMtimer::virt(count, TIMEBASE));
    AclintMtimer::connect(&mtimer, &board.events);
    platform.set_mtime(mtimer.with(|m| m.time()));
    let mut adding = board.add(&mtimer).at(0, CLINT + 0x4000);
    for hart in 0..count as usize {
        adding = adding.line("", hart, harts.line(hart, input::MTI));
    }
    adding.done()?;
    board
        .describe(&format!("/soc/clint@{CLINT:x}"))
        .prop_strs("compatible", &["sifive,clint0", "riscv,clint0"])
        .prop_u64s("reg", &[CLINT, 0x1_0000])
        .prop_u32s("interrupts-extended", &harts.extended(&[input::MSI, input::MTI]));
    board
        .describe(&format!("/memory@{DRAM:x}"))
        .prop_str("device_type", "memory")
        .prop_u64s("reg", &[DRAM, ram.len()]);
    let region = Region::ram(TYPE.ram_name, ram);
    board.map(DRAM, &region);
    let rom = Region::rom("riscv.spike.mrom", Ram::anonymous(MROM.1)?);
    rom.set_unowned(&object::unattached(&board.machine));
    board.map(MROM.0, &rom);

    let mut boot = Boot::firmware(&mut board, &setup, layout)?;
    if boot.builtin {
        return Err(error!(
            "the built-in SBI has no console on this machine: give a firmware file or -bios none"
        ));
    }
    if setup.kernel.is_some() {
        boot.kernel(&mut board, &setup, layout)?;
    }
    attach_htif(&mut board, &setup, &boot)?;
    if let Some(path) = &setup.dtb {
        board.fdt = boot::load_dtb(path)?;
    }
    // This board has never had a seed for random numbers.
    let chosen = board.describe("/chosen");
    chosen.prop_str("stdout-path", "/htif");
    if let Some(line) = setup.append.as_deref().filter(|l| !l.is_empty()) {
        chosen.prop_str("bootargs", line);
    }
    if let Some((_, path)) = setup.properties.iter().find(|(key, _)| key == "dumpdtb") {
        board.fdt.dump(Path::new(path)).map_err(base::Error::new)?;
        return Err(super::dumped(path));
    }
    let fdt = Boot::device_tree(&mut board, layout)?;
    boot.reset_vector(&board, layout, fdt);
    boot.check(&board)?;
    HartPlatform::attach(&platform, &mut board);
    Ok(board)
}

/// Puts HTIF where the program has it, or at its usual place, which the device tree then names.
fn attach_htif(board: &mut Board, setup: &Setup, boot: &Boot) -> Result<()> {
    let symbol = |name: &str| boot.symbols.iter().rev().find(|s| s.name == name).map(|s| s.address);
    let own = symbol("tohost").zip(symbol("fromhost"));
    let signature = signature(setup, symbol("begin_signature").zip(symbol("end_signature")))?;
    // The binding "ucb,htif0" has fromhost first.
    let words = own.unwrap_or((htif::DEFAULT + 8, htif::DEFAULT));
    let apart = words.0.abs_diff(words.1);
    if !(8..=0x1_0000).contains(&apart) {
        return Err(error!("tohost and fromhost lie {apart} bytes apart: there is no HTIF like that"));
    }
    let port = setup.serial.first().cloned().flatten();
    let (htif, region, base) = Htif::new(&board.memory, &board.events, port, words, signature);
    board.system.add_overlap(base, &region, 1);
    let node = board.describe("/htif");
    node.prop_str("compatible", "ucb,htif0");
    if own.is_none() {
        node.prop_u64s("reg", &[htif::DEFAULT, 0x1000]);
    }
    board.parts.push(htif.clone());
    board.resets.push(Box::new(move || htif.reset()));
    Ok(())
}

fn signature(setup: &Setup, range: Option<(u64, u64)>) -> Result<Option<Signature>> {
    let property = |name: &str| setup.properties.iter().rev().find(|(key, _)| key == name).map(|(_, v)| v);
    let Some(file) = property("signature") else { return Ok(None) };
    let granularity = match property("signature-granularity") {
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=255).contains(n))
            .ok_or_else(|| error!("Parameter 'signature-granularity' expects uint8"))?,
        None => 16,
    };
    Ok(range.map(|(begin, end)| Signature { file: file.clone(), begin, end, granularity }))
}
