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

/// Loads an ELF file; the address of its `tohost`.
fn load(m: &mut Machine, elf: &[u8]) -> u64 {
    let (ph, phn) = (number(elf, 32, 8) as usize, number(elf, 56, 2) as usize);
    for k in 0..phn {
        let p = ph + k * 56;
        if number(elf, p, 4) == 1 {
            let (from, to, n) = (number(elf, p + 8, 8), number(elf, p + 24, 8), number(elf, p + 32, 8));
            let start = (to - RAM) as usize;
            m.bus.ram[start..start + n as usize].copy_from_slice(&elf[from as usize..(from + n) as usize]);
        }
    }
    let (sh, shn, names) =
        (number(elf, 40, 8) as usize, number(elf, 60, 2) as usize, number(elf, 62, 2) as usize);
    let strings = number(elf, sh + names * 64 + 24, 8) as usize;
    for k in 0..shn {
        let s = sh + k * 64;
        let name = strings + number(elf, s, 4) as usize;
        if elf[name..].starts_with(b".tohost\0") {
            return number(elf, s + 16, 8);
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

/// Tests of what is otherwise here: instret is the host's time here, triggers do not fire.
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
        let mut m = Machine::new(parse_cpu("max").unwrap(), 32 << 20);
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
