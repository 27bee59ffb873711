//! The architecture's own tests (riscv-tests), in the interpreter and in evaluated blocks.
//!
//! `TINAMOU_RISCV_TESTS` names the directory with the binaries; without it the tests say so and pass.

use crate::bus_test::{Machine, RAM};
use crate::models::parse_cpu;
use cpu::Cpu;

fn number(b: &[u8], at: usize, n: usize) -> u64 {
    let mut v = [0; 8];
    v[..n].copy_from_slice(&b[at..at + n]);
    u64::from_le_bytes(v)
}

/// Loads an ELF file, of 32 or 64 bits; the address of its `tohost`.
fn load(m: &mut Machine, elf: &[u8]) -> u64 {
    let wide = elf[4] == 2;
    // Width of an address, and offsets of fields: (program headers, their number, file offset, address, size).
    let w = if wide { 8 } else { 4 };
    let (phoff, phnum, offset, address, size) = if wide { (32, 56, 8, 24, 32) } else { (28, 44, 4, 12, 16) };
    let (ph, phn) = (number(elf, phoff, w) as usize, number(elf, phnum, 2) as usize);
    for k in 0..phn {
        let p = ph + k * if wide { 56 } else { 32 };
        if number(elf, p, 4) == 1 {
            let (from, to, n) =
                (number(elf, p + offset, w), number(elf, p + address, w), number(elf, p + size, w));
            let start = (to - RAM) as usize;
            m.bus.ram[start..start + n as usize].copy_from_slice(&elf[from as usize..(from + n) as usize]);
        }
    }
    let (shoff, shnum, entry, place) = if wide { (40, 60, 64, 16) } else { (32, 48, 40, 12) };
    let (sh, shn, names) =
        (number(elf, shoff, w) as usize, number(elf, shnum, 2) as usize, number(elf, shnum + 2, 2) as usize);
    let strings = number(elf, sh + names * entry + place + w, w) as usize;
    for k in 0..shn {
        let s = sh + k * entry;
        let name = strings + number(elf, s, 4) as usize;
        if elf[name..].starts_with(b".tohost\0") {
            return number(elf, s + place, w);
        }
    }
    panic!("no .tohost");
}

/// Runs until the program reports; its exit code (0 is a pass).
fn run(m: &mut Machine, tohost: u64, block: Option<u32>) -> Result<(), String> {
    for _ in 0..3_000_000u64 {
        match block {
            Some(limit) => m.evaluate(limit),
            None => m.interpret(),
        };
        let report = m.bus.read(tohost, 8).unwrap_or(0);
        if report & 1 != 0 {
            return if report == 1 { Ok(()) } else { Err(format!("test {} fails", report >> 1)) };
        }
        if report != 0 {
            m.bus.write(tohost, 0, 8);
            m.bus.write(tohost + 64, 1, 8);
        }
    }
    Err(format!("does not end, pc {:x}", m.hart.pc()))
}

/// What is otherwise here: instret is the host's time, and this bus does not ask for triggers.
const NOT_HERE: [&str; 2] = ["instret_overflow", "breakpoint"];

fn all(block: Option<u32>) {
    let Ok(directory) = std::env::var("TINAMOU_RISCV_TESTS") else {
        eprintln!("SKIPPED: TINAMOU_RISCV_TESTS is not set");
        return;
    };
    let only = std::env::var("TINAMOU_RISCV_TEST").unwrap_or_default();
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let (mut passed, mut failed) = (0, Vec::new());
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().to_string();
        if name.contains('.') || !name.contains(&only) || NOT_HERE.iter().any(|n| name.contains(n)) {
            continue;
        }
        let Ok(elf) = std::fs::read(&path) else { continue };
        let model = if elf[4] == 2 { "max" } else { "max32" };
        let mut m = Machine::new(parse_cpu(model).unwrap(), 32 << 20);
        let tohost = load(&mut m, &elf);
        match run(&mut m, tohost, block) {
            Ok(()) => passed += 1,
            Err(e) => failed.push(format!("{name}: {e}")),
        }
    }
    assert!(failed.is_empty(), "{passed} pass, {} fail:\n{}", failed.len(), failed.join("\n"));
    eprintln!("{passed} pass");
}

#[test]
fn riscv_tests_interpreted() {
    all(None)
}

#[test]
fn riscv_tests_one_instruction_blocks() {
    all(Some(1))
}

#[test]
fn riscv_tests_blocks() {
    all(Some(64))
}
