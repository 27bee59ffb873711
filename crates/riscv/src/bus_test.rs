//! A machine small enough for tests: one hart, RAM, no translation cache.

use crate::hart::{Hart, Platform};
use crate::helpers::HELPERS;
use crate::{Config, build, slot};
use cpu::*;
use ir::eval::{self, End};
use ir::{Builder, MemOp, Op};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where RAM begins.
pub const RAM: u64 = 0x8000_0000;

/// Time that stands still unless a test moves it.
#[derive(Default)]
pub struct Clock(pub AtomicU64);

impl Platform for Clock {
    fn time(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
    fn arm_stimecmp(&self, _: u32, _: Option<u64>) {}
}

/// RAM.
pub struct Bus {
    pub ram: Vec<u8>,
    pub devices: Option<Box<dyn Devices>>,
}

/// What lies outside RAM.
pub trait Devices {
    fn read(&mut self, pa: u64, n: u64) -> Option<u64>;
    fn write(&mut self, pa: u64, v: u64, n: u64) -> Option<()>;
}

impl Bus {
    pub fn new(size: usize) -> Bus {
        Bus { ram: vec![0; size], devices: None }
    }
    fn at(&mut self, pa: u64, n: u64) -> Option<&mut [u8]> {
        let start = pa.checked_sub(RAM)? as usize;
        self.ram.get_mut(start..start.checked_add(n as usize)?)
    }
    pub fn read(&mut self, pa: u64, n: u64) -> Option<u64> {
        let mut b = [0; 8];
        b[..n as usize].copy_from_slice(self.at(pa, n)?);
        Some(u64::from_le_bytes(b))
    }
    pub fn write(&mut self, pa: u64, v: u64, n: u64) -> Option<()> {
        self.at(pa, n)?.copy_from_slice(&v.to_le_bytes()[..n as usize]);
        Some(())
    }
    fn physical(&mut self, g: &mut Hart, va: u64, n: u64, access: Access) -> Result<u64, Stop> {
        let m = g.translate(self, va, access)?;
        let device = m.physical < RAM && access != Access::Execute && self.devices.is_some();
        if !device {
            self.at(m.physical, n).ok_or_else(|| g.bus_fault(va, access))?;
        }
        Ok(m.physical)
    }
    /// Splits an access at bytes; all are translated before any is made.
    fn bytes(&mut self, g: &mut Hart, va: u64, n: u64, access: Access) -> Result<Vec<u64>, Stop> {
        if va & 4095 <= 4096 - n {
            let pa = self.physical(g, va, n, access)?;
            return Ok((0..n).map(|k| pa + k).collect());
        }
        (0..n).map(|k| self.physical(g, va.wrapping_add(k), 1, access)).collect()
    }
    fn aligned(&mut self, g: &mut Hart, va: u64, n: u64) -> Result<u64, Stop> {
        if va & (n - 1) != 0 {
            return Err(g.misaligned(va, Access::Write).into());
        }
        self.physical(g, va, n, Access::Write)
    }
}

impl Mmu<Hart> for Bus {
    fn load(&mut self, g: &mut Hart, va: u64, op: MemOp) -> Result<u64, Stop> {
        let n = op.bytes() as u64;
        if va & (n - 1) == 0 {
            let pa = self.physical(g, va, n, Access::Read)?;
            let v = match &mut self.devices {
                Some(d) if pa < RAM => d.read(pa, n).ok_or_else(|| g.bus_fault(va, Access::Read))?,
                _ => self.read(pa, n).unwrap_or(0),
            };
            return Ok(op.extend(v));
        }
        let places = self.bytes(g, va, n, Access::Read)?;
        let mut v = 0;
        for (k, pa) in places.into_iter().enumerate() {
            v |= self.read(pa, 1).unwrap_or(0) << (8 * k);
        }
        Ok(op.extend(v))
    }
    fn store(&mut self, g: &mut Hart, va: u64, value: u64, op: MemOp) -> Result<(), Stop> {
        let n = op.bytes() as u64;
        if va & (n - 1) == 0 {
            let pa = self.physical(g, va, n, Access::Write)?;
            match &mut self.devices {
                Some(d) if pa < RAM => d.write(pa, value, n).ok_or_else(|| g.bus_fault(va, Access::Write))?,
                _ => self.write(pa, value, n).unwrap_or(()),
            }
            return Ok(());
        }
        let places = self.bytes(g, va, n, Access::Write)?;
        for (k, pa) in places.into_iter().enumerate() {
            self.write(pa, value >> (8 * k) & 255, 1);
        }
        Ok(())
    }
    fn amo(&mut self, g: &mut Hart, kind: u8, va: u64, value: u64, op: MemOp) -> Result<u64, Stop> {
        let n = op.bytes() as u64;
        let pa = self.aligned(g, va, n)?;
        let old = op.extend(self.read(pa, n).unwrap_or(0));
        self.write(pa, eval::amo_result(kind, old, value, op), n);
        Ok(old)
    }
    fn cas(&mut self, g: &mut Hart, va: u64, old: u64, new: u64, op: MemOp) -> Result<u64, Stop> {
        let n = op.bytes() as u64;
        let pa = self.aligned(g, va, n)?;
        let found = op.extend(self.read(pa, n).unwrap_or(0));
        if found == op.extend(old) {
            self.write(pa, new, n);
        }
        Ok(found)
    }
    fn cas128(&mut self, g: &mut Hart, va: u64, old: u128, new: u128) -> Result<u128, Stop> {
        let pa = self.aligned(g, va, 16)?;
        let half = |b: &mut Bus, pa| b.read(pa, 8).unwrap_or(0) as u128;
        let found = half(self, pa) | half(self, pa + 8) << 64;
        if found == old {
            self.write(pa, new as u64, 8);
            self.write(pa + 8, (new >> 64) as u64, 8);
        }
        Ok(found)
    }
    fn fetch(&mut self, g: &mut Hart, va: u64, wide: fn(u16) -> bool) -> Result<u32, Stop> {
        let pa = self.physical(g, va, 2, Access::Execute)?;
        let first = self.read(pa, 2).unwrap_or(0) as u32;
        if !wide(first as u16) {
            return Ok(first);
        }
        let pa = self.physical(g, va.wrapping_add(2), 2, Access::Execute)?;
        Ok(first | (self.read(pa, 2).unwrap_or(0) as u32) << 16)
    }
    fn probe(&mut self, g: &mut Hart, va: u64, access: Access) -> Result<u64, Stop> {
        self.physical(g, va, 1, access)
    }
    fn physical_read(&mut self, pa: u64, bytes: u32) -> Option<u64> {
        self.read(pa, bytes as u64)
    }
    fn physical_cas(&mut self, pa: u64, bytes: u32, old: u64, new: u64) -> Option<bool> {
        let same = self.read(pa, bytes as u64)? == old;
        if same {
            self.write(pa, new, bytes as u64)?;
        }
        Some(same)
    }
    fn flush(&mut self, _: &mut Hart, _: Flush) {}
    fn synchronize_code(&mut self) {}
}

/// A block being evaluated: the hart and its memory.
struct Evaluation<'a> {
    hart: &'a mut Hart,
    bus: &'a mut Bus,
    page: u64,
    /// Offsets of the instructions that the block's calls belong to, in order.
    calls: std::vec::IntoIter<i64>,
}

impl eval::Env for Evaluation<'_> {
    type Stop = Stop;
    fn get(&mut self, slot: u16) -> u64 {
        self.hart.get(slot)
    }
    fn set(&mut self, slot: u16, value: u64) {
        self.hart.put(slot, value)
    }
    fn load(&mut self, va: u64, op: MemOp) -> Result<u64, Stop> {
        self.bus.load(self.hart, va, op)
    }
    fn store(&mut self, va: u64, value: u64, op: MemOp) -> Result<(), Stop> {
        self.bus.store(self.hart, va, value, op)
    }
    fn amo(&mut self, kind: u8, va: u64, value: u64, op: MemOp) -> Result<u64, Stop> {
        self.bus.amo(self.hart, kind, va, value, op)
    }
    fn cas(&mut self, va: u64, expected: u64, new: u64, op: MemOp) -> Result<u64, Stop> {
        self.bus.cas(self.hart, va, expected, new, op)
    }
    fn store_cond(&mut self, va: u64, expected: u64, new: u64, op: MemOp) -> Result<u64, Stop> {
        let found = self.bus.cas(self.hart, va, expected, new, op)?;
        Ok((found != op.extend(expected)) as u64)
    }
    fn call(&mut self, id: u16, args: &[u64]) -> Result<u64, Stop> {
        let mut a = [0; 4];
        a[..args.len()].copy_from_slice(args);
        if let Some(offset) = self.calls.next() {
            self.hart.frame.set_pc(self.page.wrapping_add(offset as u64));
        }
        (HELPERS[id as usize].run)(self.hart, self.bus, a)
    }
    fn page(&self) -> u64 {
        self.page
    }
    fn accrue(&mut self, flags: u8) {
        self.hart.accrue_fp_flags(flags)
    }
    fn accrued(&self) -> u8 {
        0
    }
    fn forget(&mut self) {}
}

/// A hart and its memory.
pub struct Machine {
    pub hart: Hart,
    pub bus: Bus,
    builder: Builder,
}

impl Machine {
    pub fn new(config: Config, ram: usize) -> Machine {
        let mut hart = Hart::new(0, config, Arc::new(Clock::default()));
        hart.set_reset_pc(RAM);
        Machine { hart, bus: Bus::new(ram), builder: Builder::new() }
    }
    /// Puts instructions at the start of RAM.
    pub fn program(&mut self, words: &[u32]) {
        for (n, w) in words.iter().enumerate() {
            self.bus.write(RAM + 4 * n as u64, *w as u64, 4);
        }
    }
    /// Interprets one instruction, after a look at interrupts.
    pub fn interpret(&mut self) -> Step {
        if self.hart.frame.interrupt.load(Relaxed) & INTERRUPT_GUEST != 0 {
            self.hart.take_interrupt();
        }
        self.hart.interpret(&mut self.bus)
    }
    /// Builds a block of at most `limit` instructions at the pc and evaluates it.
    pub fn evaluate(&mut self, limit: u32) -> Step {
        if self.hart.frame.interrupt.load(Relaxed) & INTERRUPT_GUEST != 0 {
            self.hart.take_interrupt();
        }
        let pc = self.hart.pc();
        let page = pc & !4095;
        let trap = |h: &mut Hart, t: Trap| {
            h.take_trap(t);
            Step::Done
        };
        let physical = match self.hart.translate(&mut self.bus, pc, Access::Execute) {
            Ok(m) => m.physical & !4095,
            Err(t) => return trap(&mut self.hart, t),
        };
        let Some(bytes) = self.bus.at(physical, 4096).map(|b| b.to_vec()) else {
            let t = self.hart.bus_fault(pc, Access::Execute);
            return trap(&mut self.hart, t);
        };
        self.builder.clear();
        let offset = (pc & 4095) as u16;
        let fetch =
            Fetch { offset, page: &bytes, next: None, limit, goes_on: &|_| false, path: &[], skips: &[] };
        let built = build::build(self.hart.mode(), &self.hart.config, &fetch, &self.builder);
        if built.insns == 0 {
            return self.hart.interpret(&mut self.bus);
        }
        let block = self.builder.take();
        let mut at = 0;
        let mut calls = Vec::new();
        for i in &block.insts {
            match i.op {
                Op::Insn => at = i.imm as i64,
                Op::Call => calls.push(at),
                _ => {}
            }
        }
        let mut env = Evaluation { hart: &mut self.hart, bus: &mut self.bus, page, calls: calls.into_iter() };
        let end = eval::eval(&block, &mut env);
        let hart = &mut self.hart;
        match end {
            Ok(End::Goto(offset)) => hart.set_pc(page.wrapping_add(offset as u64)),
            Ok(End::Jump(to)) => hart.set_pc(to),
            Ok(End::Leave) => {}
            Err((Stop::Trap(t), offset)) => {
                hart.set_pc(page.wrapping_add(offset as u64));
                hart.take_trap(t);
            }
            Err((Stop::Exit(e), _)) => return Step::Exit(e),
        }
        Step::Done
    }
    /// All state that two ways of running must agree on.
    pub fn state(&self) -> Vec<u64> {
        let skip = [slot::CYCLE_BASE, slot::INSTRET_BASE];
        (0..slot::END)
            .filter(|n| !skip.contains(n))
            .map(|n| self.hart.get(n))
            .chain([self.hart.pc()])
            .collect()
    }
}
