//! When two states that differ are both right.
//!
//! The two emulators run at different speeds, so whatever reads time reads other values: the counters
//! (`rdtime`, `rdcycle`, `rdinstret`), the CLINT's `mtime`, the RTC. From there:
//!
//! - a register *follows from time* when it differs after an instruction that reads time, or one of whose
//!   sources follows from time; it stops doing so when both sides have the same value in it again. A store
//!   of such a register makes later differing loads acceptable (memory is not tracked by address);
//! - the pending bits of timer and external interrupts in `mip` are not compared;
//! - the instruction streams may part at a branch or jump one of whose sources follows from time, or when
//!   one side takes an interrupt. Then both are read on until they are at the same pc with the same `ra`,
//!   `sp`, `gp`, `tp`; what still differs there follows from time.
//!
//! Everything else is a divergence. After a meeting the comparison is weaker where registers follow from
//! time, so the report counts these instructions.

use super::state::{Feed, Record};
use crate::Result;
use std::collections::HashMap;

/// MTIP, STIP, VSTIP, MEIP, SEIP, VSEIP, SGEIP: raised by devices and by time (privileged specification, `mip`).
const PENDING_BY_TIME: u64 = 0x1ee0;
/// What taking an interrupt and returning from it leaves behind.
const TRAP_REGISTERS: &[&str] = &[
    "mstatus", "mepc", "mcause", "mtval", "sepc", "scause", "stval", "mscratch", "sscratch", "mtval2",
    "htval",
];
/// Physical addresses that answer with time: the CLINT and the RTC of the virt board.
const TIME_DEVICES: &[std::ops::Range<u64>] = &[0x200_0000..0x201_0000, 0x10_1000..0x10_2000];

/// The judgement of one step.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All registers are equal.
    Equal,
    /// They differ, in values that follow from time.
    Tolerated,
    /// The streams part, and may: for this reason.
    MayPart(String),
    /// A difference that time does not explain.
    Diverged(String),
}

/// One register that both logs have.
struct Pair {
    name: String,
    ours: usize,
    theirs: usize,
    /// Its number, when it is one of x0-x31.
    x: Option<u32>,
    /// Bits that are compared.
    mask: u64,
}

/// The comparison's memory.
pub struct Judge {
    pairs: Vec<Pair>,
    /// Registers that only one of the logs has.
    pub absent: Vec<String>,
    /// One flag for each pair: follows from time.
    timed: Vec<bool>,
    /// A value that follows from time has been stored.
    stored: bool,
}

impl Judge {
    /// Pairs the registers of two logs.
    pub fn new(ours: &[String], theirs: &[String]) -> Result<Self> {
        let mut pairs = Vec::new();
        for (at, name) in ours.iter().enumerate() {
            if let Some(other) = theirs.iter().position(|n| n == name) {
                let mask = if name == "mip" { !PENDING_BY_TIME } else { u64::MAX };
                let x = name.strip_prefix('x').and_then(|n| n.split('/').next()?.parse().ok());
                pairs.push(Pair { name: name.clone(), ours: at, theirs: other, x, mask });
            }
        }
        if pairs.iter().filter(|p| p.x.is_some()).count() != 32 {
            return Err("the logs have no x0-x31 in QEMU's layout".into());
        }
        let absent =
            ours.iter().filter(|n| !theirs.contains(n)).chain(theirs.iter().filter(|n| !ours.contains(n)));
        let absent = absent.cloned().collect();
        let timed = vec![false; pairs.len()];
        Ok(Self { pairs, absent, timed, stored: false })
    }

    /// Judges the states after the instruction of `before` (QEMU's record of it).
    pub fn step(&mut self, before: Option<&Record>, ours: &Record, theirs: &Record) -> Verdict {
        let instruction = before.and_then(|b| b.instruction);
        let excuse = before.is_some_and(|b| self.excuse(b, instruction.unwrap_or(0)));
        if ours.pc != theirs.pc {
            if excuse {
                return Verdict::MayPart("a branch on a value that follows from time".into());
            }
            return match (interrupted(before, ours), interrupted(before, theirs)) {
                (true, false) => Verdict::MayPart("an interrupt in tinamou".into()),
                (false, true) => Verdict::MayPart("an interrupt in qemu".into()),
                _ => Verdict::Diverged("the program counters differ".into()),
            };
        }
        let mut verdict = Verdict::Equal;
        for (pair, timed) in self.pairs.iter().zip(&mut self.timed) {
            let (mine, others) = pair.values(ours, theirs);
            if mine == others {
                *timed = false;
            } else if *timed || excuse {
                *timed = true;
                verdict = Verdict::Tolerated;
            } else {
                return Verdict::Diverged(format!("{} differs", pair.name));
            }
        }
        verdict
    }

    /// Whether what the instruction wrote may follow from time.
    fn excuse(&mut self, before: &Record, instruction: u32) -> bool {
        let sources = sources(instruction);
        let timed = self
            .pairs
            .iter()
            .zip(&self.timed)
            .any(|(pair, timed)| *timed && pair.x.is_some_and(|x| sources & (1 << x) != 0));
        if timed && is_store(instruction) {
            self.stored = true;
        }
        timed
            || reads_time(instruction)
            || is_load(instruction) && (self.stored || self.reads_device(before, instruction))
    }

    /// Whether a load's address, not translated, is one of a device that answers with time.
    fn reads_device(&self, before: &Record, instruction: u32) -> bool {
        let base = if instruction & 3 == 3 { instruction >> 15 & 31 } else { 8 + (instruction >> 7 & 7) };
        let offset = if instruction & 3 == 3 { i64::from(instruction.cast_signed() >> 20) } else { 0 };
        let value = self.pairs.iter().find(|p| p.x == Some(base)).and_then(|p| before.values.get(p.theirs));
        let address = value.copied().unwrap_or(0).wrapping_add_signed(offset);
        TIME_DEVICES.iter().any(|range| range.contains(&address))
    }

    /// Reads both sides on, behind the two records that parted, until they meet; returns how many instructions each skipped.
    pub fn meet(
        &mut self,
        ours: &mut Feed,
        theirs: &mut Feed,
        window: usize,
    ) -> Result<Option<(usize, usize)>> {
        let (mut mine, mut others) = (HashMap::new(), HashMap::new());
        let key = |judge: &Self, record: &Record, side: fn(&Pair) -> usize| {
            let value = |x: u32| {
                let pair = judge.pairs.iter().find(|p| p.x == Some(x));
                pair.and_then(|p| record.values.get(side(p))).copied().unwrap_or(0)
            };
            (record.pc, value(1), value(2), value(3), value(4))
        };
        for place in 0..window {
            let here = key(self, ours.peek(place)?, |p| p.ours);
            mine.entry(here).or_insert(place);
            let met = others.get(&here).map(|&there| (place, there));
            let there = key(self, theirs.peek(place)?, |p| p.theirs);
            others.entry(there).or_insert(place);
            let met = met.or_else(|| mine.get(&there).map(|&here| (here, place)));
            if let Some((here, there)) = met {
                self.pardon(ours.peek(here)?, theirs.peek(there)?);
                ours.skip(here);
                theirs.skip(there);
                return Ok(Some((here, there)));
            }
        }
        Ok(None)
    }

    /// All that differs at a meeting follows from time.
    fn pardon(&mut self, ours: &Record, theirs: &Record) {
        for (pair, timed) in self.pairs.iter().zip(&mut self.timed) {
            let (mine, others) = pair.values(ours, theirs);
            *timed = mine != others || TRAP_REGISTERS.contains(&pair.name.as_str());
        }
        self.stored = true;
    }

    /// The registers that differ: name, ours, theirs, the value before.
    pub fn differences<'a>(
        &'a self,
        before: Option<&'a Record>,
        ours: &'a Record,
        theirs: &'a Record,
    ) -> impl Iterator<Item = (&'a str, u64, u64, Option<u64>)> {
        self.pairs.iter().filter_map(move |pair| {
            let (mine, others) = pair.values(ours, theirs);
            let was = before.and_then(|b| b.values.get(pair.theirs)).copied();
            (mine != others).then_some((pair.name.as_str(), mine, others, was))
        })
    }
}

impl Pair {
    fn values(&self, ours: &Record, theirs: &Record) -> (u64, u64) {
        let at = |record: &Record, index: usize| record.values.get(index).copied().unwrap_or(0) & self.mask;
        (at(ours, self.ours), at(theirs, self.theirs))
    }
}

/// Whether a record says the same as the one before it on its side, but for what is pending.
pub fn repeats(before: &Record, now: &Record) -> bool {
    let equal = |((name, a), b): ((&String, &u64), &u64)| a == b || name == "mip";
    before.pc == now.pc && now.names.iter().zip(&before.values).zip(&now.values).all(equal)
}

/// Whether a side has just taken an interrupt: a cause register got its interrupt bit with this step.
fn interrupted(before: Option<&Record>, now: &Record) -> bool {
    let value = |record: &Record, name: &str| {
        record.names.iter().position(|n| n == name).and_then(|at| record.values.get(at)).copied()
    };
    [("mcause", "mepc", "mtvec"), ("scause", "sepc", "stvec")].iter().any(|(cause, epc, vector)| {
        let is_interrupt = value(now, cause).is_some_and(|v| v >> 63 == 1);
        let at_vector = value(now, vector).is_some_and(|v| now.pc.wrapping_sub(v & !3) < 0x80);
        let fresh =
            before.is_none_or(|b| value(b, epc) != value(now, epc) || value(b, cause) != value(now, cause));
        is_interrupt && at_vector && fresh
    })
}

/// A mask of the registers an instruction may read; rather too many than too few.
fn sources(instruction: u32) -> u32 {
    let bit = |shift: u32| 1 << (instruction >> shift & 31);
    let mask: u32 = if instruction & 3 == 3 {
        match instruction & 0x7f {
            // lui, auipc, jal
            0x37 | 0x17 | 0x6f => 0,
            _ => bit(15) | bit(20) | bit(27),
        }
    } else {
        // Compressed: both full fields and both short ones (rd', rs1', rs2' name x8-x15), and sp.
        bit(7) | bit(2) | 1 << (8 + (instruction >> 7 & 7)) | 1 << (8 + (instruction >> 2 & 7)) | 1 << 2
    };
    mask & !1
}

/// Reads of the counters: `time`, `cycle`, `instret` and their machine counterparts, and `seed`.
fn reads_time(instruction: u32) -> bool {
    let csr = instruction >> 20;
    let is_csr = instruction & 0x7f == 0x73 && instruction >> 12 & 3 != 0;
    is_csr && matches!(csr, 0xc00..=0xc1f | 0xb00..=0xb1f | 0x14d | 0x24d | 0x015)
}

fn is_load(instruction: u32) -> bool {
    match instruction & 3 {
        3 => matches!(instruction & 0x7f, 0x03 | 0x07 | 0x2f),
        // c.lw, c.ld, c.fld; c.lwsp, c.ldsp, c.fldsp
        0 | 2 => matches!(instruction >> 13 & 7, 1..=3),
        _ => false,
    }
}

fn is_store(instruction: u32) -> bool {
    match instruction & 3 {
        3 => matches!(instruction & 0x7f, 0x23 | 0x27 | 0x2f),
        0 | 2 => matches!(instruction >> 13 & 7, 5..=7),
        _ => false,
    }
}

#[cfg(test)]
#[path = "judge_test.rs"]
mod test;
