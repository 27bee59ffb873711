//! Random instructions, drawn from the table, interpreted and evaluated as blocks: the same state must come out.

use crate::bus_test::{Machine, RAM};
use crate::mode::{M, S, U};
use crate::table::Row;
use crate::{Config, Extension, models, mstatus, slot};
use cpu::{Cpu, Guest};

/// A small generator (xorshift64*), seeded per row so that failures repeat.
pub struct Random(u64);
impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn value(&mut self) -> u64 {
        let v = self.next();
        match v % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (v >> 8 & 63),
            3 => (v >> 8) as i32 as u64,
            4 => v >> 40,
            5 => 0x8000_0000_0000_0000,
            _ => self.next(),
        }
    }
    pub fn float(&mut self) -> u64 {
        let v = self.next();
        match v % 8 {
            0 => 0xffff_ffff_0000_0000 | self.next() >> 32,
            1 => f64::to_bits((v >> 8) as f64 / 1000.0 - 1e6),
            2 => 0xffff_ffff_0000_0000 | f32::to_bits((v >> 40) as f32 / 1000.0 - 8000.0) as u64,
            3 => 0x7ff0_0000_0000_0000 | (v >> 60) << 48 | (v >> 8 & 1) << 63,
            4 => 0xffff_ffff_7f80_0000 | (v >> 60) << 19 | (v >> 8 & 1) << 31,
            5 => v >> 62 << 62,
            _ => self.next(),
        }
    }
}

const SIZE: usize = 1 << 14;

fn setup(m: &mut Machine, r: &mut Random) {
    let rv32 = m.hart.config.rv32();
    for n in 1..32 {
        // Half of the registers are addresses in RAM, so that memory accesses have something to do.
        let v = if n % 2 == 0 { RAM + 0x1000 + (r.next() & 0x1ff8) } else { r.value() };
        m.hart.set_x(n, if rv32 { v as u32 as u64 } else { v });
    }
    for n in 0..32 {
        let v = r.float();
        m.hart.put(slot::F0 + n, v);
    }
    let frm = [0, 0, 0, 1, 2, 3, 4, 5][(r.next() & 7) as usize];
    m.hart.put(slot::FRM, frm);
    let privilege = [M, M, S, U][(r.next() & 3) as usize];
    m.hart.put(slot::PRIVILEGE, privilege as u64);
    let status =
        m.hart.get(slot::MSTATUS) | (r.next() & 3) << 13 | (r.next() & (mstatus::MPIE | mstatus::SPIE));
    m.hart.put(slot::MSTATUS, status);
    m.hart.put(slot::PMPADDR0, u64::MAX >> 10);
    m.hart.put(slot::PMPCFG0, 0x1f);
    m.hart.put(slot::MTVEC, RAM + 0x800);
    m.hart.put(slot::MEPC, RAM + 0x900);
    m.hart.put(slot::SEPC, RAM + 0xa00);
    m.hart.put(slot::MENVCFG, r.next() & 0xf1);
    let s = m.hart.get(slot::MSTATUS);
    mstatus::put(&mut m.hart, s);
    m.hart.refresh();
}

/// Instructions whose outcome depends on the host's time.
fn timed(row: &Row, word: u32) -> bool {
    row.name.starts_with("csrr") && {
        let number = word >> 20;
        matches!(number & 0xf7f, 0xc00..=0xc1f | 0xb00..=0xb1f)
            || matches!(number, 0x320 | 0x344 | 0x144 | 0x14d)
    }
}

fn run(config: &Config, row: &'static Row, rounds: u64) {
    let mut r = Random(row.value as u64 ^ (row.mask as u64) << 32 | 1);
    let mut ram = vec![0u8; SIZE];
    for round in 0..rounds {
        ram.iter_mut().for_each(|b| *b = r.next() as u8);
        let word = row.value | r.next() as u32 & !row.mask;
        if timed(row, word) {
            continue;
        }
        let seed = r.next();
        let outcome = |blocks: bool| {
            let mut m = Machine::new(config.clone(), 0);
            m.bus.ram = ram.clone();
            m.program(&[word]);
            setup(&mut m, &mut Random(seed | 1));
            m.hart.frame.interrupt.store(0, std::sync::atomic::Ordering::Relaxed);
            if blocks {
                m.evaluate(1);
                // A block may ask to be run again in another mode.
                if m.hart.pc() == RAM && m.hart.mode() & 0xc != 4 {
                    m.evaluate(1);
                }
            } else {
                m.interpret();
            }
            (m.state(), m.bus.ram)
        };
        let (a, b) = (outcome(false), outcome(true));
        let text = crate::disassemble::disassemble(config, RAM, &word.to_le_bytes()).0;
        let parts = a.0.iter().zip(&b.0).enumerate().filter(|(_, (x, y))| x != y);
        let parts: Vec<String> = parts.map(|(n, (x, y))| format!("slot {n}: {x:x} {y:x}")).collect();
        assert!(parts.is_empty(), "{} (round {round}): {text}\n{}", row.name, parts.join("\n"));
        assert!(a.1 == b.1, "{} (round {round}): {text}: memory differs", row.name);
    }
}

fn all(cpu: &str) {
    let config = models::parse_cpu(cpu).unwrap();
    for row in config.decoder().rows() {
        // A jump to itself looks like a block that wants to run again.
        run(&config, row, 60);
    }
    assert!(config.has(Extension::I));
}

#[test]
fn interpreter_and_blocks_agree_on_rv64() {
    all("max")
}

#[test]
fn interpreter_and_blocks_agree_on_rv32() {
    all("max32")
}

#[test]
fn interpreter_and_blocks_agree_on_t_heads() {
    all("thead-c906")
}

#[test]
fn interpreter_and_blocks_agree_without_c() {
    all("rv64i,m=on,a=on")
}

/// Programs of random instructions, run in step by the interpreter and by blocks of one instruction: privilege, traps,
/// page tables and CSRs are whatever comes of it.
#[test]
fn random_programs_agree() {
    // Without counters, which tell the host's time.
    let config = models::parse_cpu("max,zicntr=off,zihpm=off,sstc=off").unwrap();
    let rows = config.decoder().rows();
    for seed in 1..200u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut ram = vec![0u8; SIZE];
        let mut at = 0;
        while at + 4 <= SIZE {
            let row = rows[r.next() as usize % rows.len()];
            let word = row.value | r.next() as u32 & !row.mask;
            ram[at..at + row.length as usize].copy_from_slice(&word.to_le_bytes()[..row.length as usize]);
            at += row.length as usize;
        }
        let start = r.next() | 1;
        let make = || {
            let mut m = Machine::new(config.clone(), 0);
            m.bus.ram = ram.clone();
            setup(&mut m, &mut Random(start));
            m
        };
        let (mut a, mut b) = (make(), make());
        for n in 0..1500 {
            let mut word = [0; 4];
            if let Some(offset) = a.hart.pc().checked_sub(RAM).map(|o| o as usize).filter(|o| o + 4 <= SIZE) {
                word.copy_from_slice(&a.bus.ram[offset..offset + 4]);
            }
            let (pc, mode) = (b.hart.pc(), b.hart.mode());
            a.interpret();
            b.evaluate(1);
            if b.hart.pc() == pc && b.hart.mode() != mode && b.hart.state_is_float_retry(mode) {
                b.evaluate(1);
            }
            if a.state() != b.state() {
                let (x, y) = (a.state(), b.state());
                let parts = x.iter().zip(&y).enumerate().filter(|(_, (x, y))| x != y);
                let parts: Vec<String> = parts.map(|(n, (x, y))| format!("slot {n}: {x:x} {y:x}")).collect();
                let text = crate::disassemble::disassemble(&config, pc, &word).0;
                panic!("seed {seed}, step {n}, pc {pc:x}, mode {mode:x}: {text}\n{}", parts.join("\n"));
            }
        }
        assert!(a.bus.ram == b.bus.ram, "seed {seed}: memory differs");
    }
}

impl crate::Hart {
    /// Whether only the float state has become dirty since `mode`.
    fn state_is_float_retry(&self, mode: u32) -> bool {
        mode & 0xc == 4 && self.mode() == mode & !0xc | 8
    }
}
