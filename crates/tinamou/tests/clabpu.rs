//! The board `clabpu`, driven by a program that uses all of it: interrupts by the controller, an error, the tick timer, a
//! pause of the machine, HTIF, a reset and an end.

mod common;

use common::{Client, Machine, program, temporary};
use serde_json::json;

// Registers.
const ZERO: u32 = 0;
const T0: u32 = 5;
const T1: u32 = 6;
const T2: u32 = 7;
const INTC: u32 = 8;
const ERRORS: u32 = 9;
const TICKS: u32 = 18;
const TIMER: u32 = 19;
const EDC: u32 = 20;
const EDC_ERR: u32 = 21;
const HTIF: u32 = 22;
const FLAG: u32 = 23;

fn immediate(value: i32, rs1: u32, funct3: u32, rd: u32, opcode: u32) -> u32 {
    (value as u32) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}
fn addi(rd: u32, rs1: u32, value: i32) -> u32 {
    immediate(value, rs1, 0, rd, 0x13)
}
fn shift(rd: u32, by: i32) -> u32 {
    immediate(by, rd, 1, rd, 0x13)
}
fn load(rd: u32, base: u32, offset: i32) -> u32 {
    immediate(offset, base, 2, rd, 0x03)
}
/// `width`: log2 of the bytes.
fn store(width: u32, base: u32, offset: u32, from: u32) -> u32 {
    offset >> 5 << 25 | from << 20 | base << 15 | width << 12 | (offset & 31) << 7 | 0x23
}
/// `funct3`: 0 equal, 1 not equal. `offset` in bytes.
fn branch(funct3: u32, rs1: u32, rs2: u32, offset: i32) -> u32 {
    let o = offset as u32;
    let bits = (o >> 12 & 1) << 31 | (o >> 5 & 63) << 25 | (o >> 1 & 15) << 8 | (o >> 11 & 1) << 7;
    bits | rs2 << 20 | rs1 << 15 | funct3 << 12 | 0x63
}
fn lui(rd: u32, value: u32) -> u32 {
    value & 0xffff_f000 | rd << 7 | 0x37
}
fn write_csr(csr: i32, from: u32) -> u32 {
    immediate(csr, from, 1, 0, 0x73)
}
const MRET: u32 = 0x3020_0073;
const STAY: u32 = 0x6f;

fn guest() -> Vec<u32> {
    let handler = [
        load(T0, INTC, 8), // the source to serve
        addi(T1, ZERO, 1),
        branch(0, T0, T1, 16),
        store(2, TIMER, 8, T1), // the timer: it has been heard
        addi(TICKS, TICKS, 1),
        MRET,
        addi(T0, ZERO, 4),
        store(2, EDC, 0, T0), // the error: it is dealt with
        addi(ERRORS, ERRORS, 1),
        MRET,
    ];
    let main = [
        lui(INTC, 0x300_0000),
        lui(EDC, 0x300_1000),
        lui(EDC_ERR, 0x300_2000),
        lui(TIMER, 0x300_3000),
        lui(HTIF, 0x100_0000),
        addi(FLAG, ZERO, 1),
        shift(FLAG, 15),
        addi(FLAG, FLAG, 1),
        shift(FLAG, 16), // 0x8001_0000
        addi(T0, ZERO, 1),
        shift(T0, 31),
        addi(T0, T0, 4), // the handler, at 0x8000_0004
        write_csr(0x305, T0),
        addi(T0, ZERO, 6),
        store(2, INTC, 4, T0), // sources 1 and 2
        addi(T0, ZERO, 7),
        store(0, INTC, 0x22, T0), // priority of source 2
        addi(T0, ZERO, 1),
        shift(T0, 11),
        write_csr(0x304, T0),            // mie: machine external interrupts
        immediate(0x300, 8, 6, 0, 0x73), // mstatus.MIE
        addi(T0, ZERO, 4),
        store(2, EDC, 4, T0),
        store(2, EDC_ERR, 0, T0), // an error happens
        branch(0, ERRORS, ZERO, 0),
        addi(T0, ZERO, 10),
        store(2, TIMER, 0xc, T0),
        addi(T0, ZERO, 1),
        store(2, TIMER, 4, T0),
        addi(T0, ZERO, 100),
        store(2, TIMER, 0, T0), // a millisecond
        branch(0, TICKS, ZERO, 0),
        addi(T0, ZERO, 3),
        store(2, TIMER, 4, T0), // and once more, with a pause
        addi(T0, ZERO, 100),
        store(2, TIMER, 0, T0),
        addi(T2, ZERO, 2),
        branch(1, TICKS, T2, 0),
        addi(T0, ZERO, 0x101),
        shift(T0, 48),
        addi(T0, T0, 'C' as i32),
        store(3, HTIF, 8, T0), // a letter on the console
        load(T0, FLAG, 0),
        branch(1, T0, ZERO, 24),
        addi(T0, ZERO, 1),
        store(2, FLAG, 0, T0),
        addi(T0, ZERO, 0x42),
        store(2, EDC, 0x500, T0), // restarts the board
        STAY,
        addi(T0, ZERO, 1),
        store(3, HTIF, 8, T0), // ends with status 0
        STAY,
    ];
    let jump = (4 * (handler.len() as u32 + 1)) << 20 | 0x6f;
    [&[jump], handler.as_slice(), &main].concat()
}

#[test]
fn a_program_drives_all_of_it() {
    let (kernel, console) = (temporary("guest.bin"), temporary("console"));
    let words: Vec<u8> = guest().into_iter().flat_map(u32::to_le_bytes).collect();
    std::fs::write(&kernel, words).unwrap();
    let line = format!(
        "-M clabpu -m 64M -display none -S -serial file:{} -kernel {}",
        console.display(),
        kernel.display()
    );
    let mut machine = Machine::start(&line);
    let mut client = Client::ready(&machine);
    client.run("cont", json!({}));
    // The timer has stopped the machine and it has gone on by itself; then it has restarted, and all of it again.
    let wanted = ["RESUME", "STOP", "RESUME", "RESET", "STOP", "RESUME", "SHUTDOWN"];
    let mut seen = Vec::new();
    while seen.last().is_none_or(|name| name != "SHUTDOWN") {
        let name = match client.events.is_empty() {
            false => client.events.remove(0).0,
            true => client.read().unwrap()["event"].as_str().unwrap().to_owned(),
        };
        seen.push(name);
    }
    assert_eq!(seen, wanted);
    assert_eq!(machine.wait().code(), Some(0));
    assert_eq!(std::fs::read(&console).unwrap(), b"CC");
    for file in [kernel, console] {
        std::fs::remove_file(file).unwrap();
    }
}

/// What the book shows.
#[test]
fn the_monitor_lists_it() {
    let line = "-M clabpu -m 64M -display none -S";
    let machine = Machine::start(line);
    let mut client = Client::ready(&machine);
    let tree = client.hmp("info mtree");
    for region in [
        "    0000000000001000-000000000000ffff (prio 0, rom): riscv.clabpu.mrom\n",
        "    0000000080000000-0000000083ffffff (prio 0, ram): clabpu.ram\n",
    ] {
        assert!(tree.contains(region), "{tree}");
    }
    let tree = client.hmp("info qom-tree");
    let edc = "  /edc (clabpu-edc)\n    /clabpu-edc-err[0] (memory-region)\n    /clabpu-edc-reg1[0] (memory-region)\n  /intc (clabpu-intc)\n    /clabpu-intc[0] (memory-region)\n    /unnamed-gpio-in[0] (irq)\n";
    assert!(tree.contains(edc), "{tree}");
    let list = program("-M ?").output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains("clabpu               CLab Processor Units\n"));
}
