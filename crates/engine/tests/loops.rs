//! Regions: loops of random instructions, drawn from the table, that run until they have become regions must end as they do without.
//! `TINAMOU_SEED` repeats a run, `TINAMOU_ROUNDS` says how many loops there are.

mod common;

use common::{RAM, Random};
use cpu::{Accelerator, Cpu, Cpus, Exit, Guest};
use engine::{Options, Shared, Tcg};
use riscv::table::Row;
use riscv::{Config, Hart, Platform};
use std::sync::Arc;

/// Where the data lies, and how much of it the pointer goes through: a power of two that divides it.
const DATA: u64 = 0x1_0000;
const DATA_LOG2: u32 = 14;
/// What can be reached of it.
const BYTES: u64 = (1 << DATA_LOG2) + 128;
/// Where traps lead: none should come.
const HANDLER: u64 = 0x8000;
const TURNS: u64 = 300_000;

/// What the program needs for itself; the rest is for anybody.
const LINK: u32 = 1;
const INNER: u32 = 27;
const ADDRESS: u32 = 28;
const POINTER: u32 = 29;
const BASE: u32 = 30;
const COUNTER: u32 = 31;

struct Still;
impl Platform for Still {
    fn time(&self) -> u64 {
        0
    }
    fn arm_stimecmp(&self, _: u32, _: Option<u64>) {}
}

fn one_in(r: &mut Random, n: u64) -> bool {
    r.below(n) == 0
}
fn of<T: Copy>(r: &mut Random, all: &[T]) -> T {
    all[r.below(all.len() as u64) as usize]
}
fn value(r: &mut Random) -> u64 {
    let v = r.next() << 11 ^ r.next();
    match r.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => v >> 56,
        3 => v as i32 as u64,
        4 => f64::to_bits((v >> 40) as f64 / 1000.0),
        _ => v,
    }
}

fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    (imm as u32) << 20 | rs1 << 15 | rd << 7 | 0x13
}
fn andi(rd: u32, rs1: u32, imm: i32) -> u32 {
    addi(rd, rs1, imm) | 7 << 12
}
fn add(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | rd << 7 | 0x33
}
fn shift(rd: u32, rs1: u32, n: u32, right: bool) -> u32 {
    n << 20 | rs1 << 15 | (1 + 4 * right as u32) << 12 | rd << 7 | 0x13
}
fn branch(kind: u32, rs1: u32, rs2: u32, by: i32) -> u32 {
    let imm = by as u32;
    let low = (imm >> 1 & 15) << 8 | (imm >> 11 & 1) << 7;
    (imm >> 12 & 1) << 31 | (imm >> 5 & 63) << 25 | rs2 << 20 | rs1 << 15 | kind << 12 | low | 0x63
}
fn jal(rd: u32, by: i32) -> u32 {
    let imm = by as u32;
    (imm >> 20 & 1) << 31 | (imm >> 1 & 0x3ff) << 21 | (imm >> 11 & 1) << 20 | imm & 0xff000 | rd << 7 | 0x6f
}
const RETURN: u32 = LINK << 15 | 0x67;
const WFI: u32 = 0x1050_0073;

/// Instructions, and where among them there are calls of which function.
#[derive(Default)]
struct Code {
    bytes: Vec<u8>,
    calls: Vec<(usize, usize)>,
}

impl Code {
    fn word(&mut self, word: u32) {
        self.bytes.extend(word.to_le_bytes());
    }
    fn append(&mut self, other: Code) {
        let at = self.bytes.len();
        self.calls.extend(other.calls.iter().map(|&(offset, function)| (at + offset, function)));
        self.bytes.extend(other.bytes);
    }
    fn len(&self) -> i32 {
        self.bytes.len() as i32
    }
}

struct Generator<'a> {
    r: &'a mut Random,
    config: &'a Config,
    /// Registers that are used more than others.
    hot: Vec<u32>,
    functions: usize,
}

const LOADS: [&str; 9] = ["lb", "lbu", "lh", "lhu", "lw", "lwu", "ld", "flw", "fld"];
const STORES: [&str; 6] = ["sb", "sh", "sw", "sd", "fsw", "fsd"];
const COMPRESSED: [&str; 13] = [
    "c_addi", "c_li", "c_mv", "c_add", "c_slli", "c_sub", "c_xor", "c_or", "c_and", "c_addw", "c_subw",
    "c_srli", "c_andi",
];

impl Generator<'_> {
    fn register(&mut self) -> u32 {
        if one_in(self.r, 4) { 2 + self.r.below(25) } else { of(self.r, &self.hot) }
    }
    fn row(&mut self, is: impl Fn(&Row) -> bool) -> &'static Row {
        let rows: Vec<_> = self.config.decoder().rows().iter().copied().filter(|row| is(row)).collect();
        of(self.r, &rows)
    }
    /// A word of this row that writes to one of the registers for anybody.
    fn word(&mut self, row: &Row) -> u32 {
        let mut word = row.value | self.r.next() as u32 & !row.mask;
        let mut put = |low: u32, value: u32| {
            let field = 31 << low;
            if row.mask & field == 0 {
                word = word & !field | value << low;
            }
        };
        put(7, self.register());
        if row.length == 4 {
            put(15, self.register());
            put(20, self.register());
            // Where it is not part of the picture this is the direction of rounding.
            if row.mask >> 12 & 7 == 0 && row.value & 0x7f >= 0x43 {
                word = word & !(7 << 12) | of(self.r, &[0, 0, 0, 7, 1, 2, 3, 4]) << 12;
            }
        } else {
            // Not the zero of a hint or of what is reserved.
            word |= 1 << 2;
        }
        word
    }
    /// Something that only computes.
    fn computation(&mut self, code: &mut Code) {
        let quick = one_in(self.r, 2);
        let row = self.row(|row| match row.value & 0x7f {
            _ if row.length == 2 => COMPRESSED.contains(&row.name),
            0x13 | 0x1b | 0x33 | 0x3b => true,
            0x37 | 0x17 | 0x53 | 0x43 | 0x47 | 0x4b | 0x4f => !quick,
            _ => false,
        });
        let word = self.word(row);
        // Some words are reserved.
        if self.config.decoder().decode(word).is_some_and(|found| found.name == row.name) {
            code.bytes.extend(&word.to_le_bytes()[..row.length as usize]);
        }
    }
    /// Accesses to an element that a register chooses, or to what the pointer points to.
    fn accesses(&mut self, code: &mut Code) {
        let base = of(self.r, &[ADDRESS, POINTER]);
        if base == ADDRESS {
            let index = self.register();
            code.word(shift(ADDRESS, index, 51, false));
            code.word(shift(ADDRESS, ADDRESS, 51, true));
            if !one_in(self.r, 8) {
                code.word(andi(ADDRESS, ADDRESS, -8));
            }
            code.word(add(ADDRESS, ADDRESS, BASE));
        }
        for _ in 0..1 + self.r.below(3) {
            let mut offset = 8 * self.r.below(8);
            if one_in(self.r, 10) {
                offset = self.r.below(64);
            }
            let kind = self.r.below(16);
            let row = self.row(|row| match kind {
                0..9 => LOADS.contains(&row.name),
                9..15 => STORES.contains(&row.name),
                _ => row.name.starts_with("amo") && !row.name.starts_with("amocas"),
            });
            let (row, data) = (row.value, self.register());
            code.word(match kind {
                0..9 => row | offset << 20 | base << 15 | data << 7,
                9..15 => row | (offset >> 5) << 25 | data << 20 | base << 15 | (offset & 31) << 7,
                // Aligned.
                _ => row | self.register() << 20 | POINTER << 15 | data << 7,
            });
        }
    }
    fn some(&mut self, most: u64, depth: u32) -> Code {
        let mut code = Code::default();
        for _ in 0..1 + self.r.below(most) {
            self.one(&mut code, depth);
        }
        code
    }
    fn one(&mut self, code: &mut Code, depth: u32) {
        match self.r.below(20) {
            0..13 => self.computation(code),
            13..16 => self.accesses(code),
            // Past a few, or either way.
            16 | 17 if depth < 2 => {
                let most = of(self.r, &[1, 2, 4, 8]);
                let mut part = self.some(most, depth + 1);
                let other = if one_in(self.r, 4) { self.some(3, depth + 1) } else { Code::default() };
                if other.len() > 0 {
                    part.word(jal(0, 4 + other.len()));
                }
                let (kind, left, right) = (of(self.r, &[0, 1, 4, 5, 6, 7]), self.register(), self.register());
                code.word(branch(kind, left, right, 4 + part.len()));
                code.append(part);
                code.append(other);
            }
            18 if depth == 0 => {
                let mut part = self.some(8, 1);
                let turns = self.register();
                code.word(andi(INNER, turns, 7));
                code.word(addi(INNER, INNER, 1));
                part.word(addi(INNER, INNER, -1));
                let by = -part.len();
                part.word(branch(1, INNER, 0, by));
                code.append(part);
            }
            19 if depth == 0 && self.functions > 0 => {
                code.calls.push((code.bytes.len(), self.r.below(self.functions as u64) as usize));
                code.word(jal(LINK, 0));
            }
            _ => self.computation(code),
        }
    }
    /// Functions, then the loop at the offset given, which ends in a `wfi`.
    fn program(&mut self) -> (Vec<u8>, usize) {
        let (mut all, mut starts) = (Code::default(), Vec::new());
        for _ in 0..self.functions {
            starts.push(all.len());
            let body = self.some(6, 1);
            all.append(body);
            all.word(RETURN);
        }
        let start = all.len();
        let most = of(self.r, &[3, 10, 20, 50]);
        let body = self.some(most, 0);
        all.append(body);
        all.word(addi(POINTER, POINTER, 8 << self.r.below(4)));
        all.word(shift(ADDRESS, POINTER, 64 - DATA_LOG2, false));
        all.word(shift(ADDRESS, ADDRESS, 64 - DATA_LOG2, true));
        all.word(add(POINTER, BASE, ADDRESS));
        all.word(addi(COUNTER, COUNTER, -1));
        all.word(branch(0, COUNTER, 0, 8));
        all.word(jal(0, start - all.len()));
        all.word(WFI);
        for (at, function) in std::mem::take(&mut all.calls) {
            all.bytes[at..at + 4].copy_from_slice(&jal(LINK, starts[function] - at as i32).to_le_bytes());
        }
        (all.bytes, start as usize)
    }
}

/// What a loop leaves behind, how many regions there were, and whether it came to its end.
fn run(code: &[u8], at: u64, start: usize, values: u64, options: Options) -> (String, u64, bool) {
    let (ram, space) = common::memory();
    let r = &mut Random::new(values, 0);
    (0..BYTES).for_each(|n| ram.write(DATA + n, &[r.next() as u8]));
    ram.write(at, code);
    common::write_words(&ram, HANDLER, &[WFI]);
    let cpus = Cpus::new();
    let shared = Shared::new::<Hart>(space, cpus.clone(), options).unwrap();
    let mut hart = Hart::new(0, riscv::parse_cpu("max").unwrap(), Arc::new(Still));
    hart.set_reset_pc(RAM + at + start as u64);
    for n in 1..32 {
        hart.set_x(n as u8, value(r));
        let float = value(r);
        assert!(hart.write_register(33 + n, float));
    }
    hart.set_x(BASE as u8, RAM + DATA);
    hart.set_x(POINTER as u8, RAM + DATA);
    hart.set_x(COUNTER as u8, TURNS);
    assert!(hart.write_register(66 + 0x300, 1 << 13));
    assert!(hart.write_register(66 + 0x305, RAM + HANDLER));
    cpus.add(hart.handle().clone());
    let mut tcg = Tcg::<Hart>::new(shared.clone(), hart.config().clone());
    while tcg.run(&mut hart) != Exit::Halted {}
    let sum = common::sum(&ram, DATA, BYTES);
    let regions = shared.cache().counts.regions;
    (format!("{}\ndata {sum:x}", hart.dump(true)), regions, hart.x(COUNTER as u8) == 0)
}

#[test]
fn loops_end_alike_with_and_without_regions() {
    let seed = common::seed();
    let config = riscv::parse_cpu("max").unwrap();
    let rounds = common::number("TINAMOU_ROUNDS").unwrap_or(40);
    let (mut made, mut trapped) = (0, 0);
    for round in 0..rounds {
        let r = &mut Random::new(seed, round);
        let hot = (0..of(r, &[4, 8, 14, 25])).map(|_| 2 + r.below(25)).collect::<Vec<u32>>();
        let functions = r.below(3) as usize;
        let (code, start) = Generator { r, config: &config, hot, functions }.program();
        let (at, values) = (0x2000 + 2 * u64::from(r.below(2048)), r.next() | 1);
        let passes = one_in(r, 2);
        let ways = [true, false].map(|regions| {
            let options = Options { regions, passes, ..Options::default() };
            run(&code, at, start, values, options)
        });
        let [(with, regions, ends), (without, none, _)] = ways;
        assert!(with == without, "round {round}, passes {passes}:\n{with}\nis not\n{without}");
        assert_eq!(none, 0);
        made += regions;
        trapped += u64::from(!ends);
    }
    println!("{made} regions, {trapped} loops trapped");
    assert!(made > 0, "no regions");
    assert!(trapped * 4 < rounds, "{trapped} of {rounds} loops trapped");
}
