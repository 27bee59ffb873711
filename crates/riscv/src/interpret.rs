//! The interpreter: values are numbers.

use crate::decode::is_wide;
use crate::float::{self, File, Function};
use crate::hart::Hart;
use crate::helpers::{self, HELPERS, illegal};
use crate::machine::softfloat_width::Width;
use crate::machine::{Machine, Meaning, Place};
use crate::mode::FloatState;
use crate::{mstatus, slot};
use cpu::{Exit, Mmu, Step, Stop};
use ir::{Bit, MemOp, N32, N64};
use softfloat::Round;
use std::cell::{Cell, RefCell};

/// One instruction being interpreted.
pub struct Interpreter<'a> {
    world: RefCell<(&'a mut Hart, &'a mut dyn Mmu<Hart>)>,
    place: Place,
    pc: u64,
    next: Cell<u64>,
    left: Cell<bool>,
    /// A translated block would end with the instruction.
    ends: Cell<bool>,
}

impl Interpreter<'_> {
    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut Hart, &mut dyn Mmu<Hart>) -> R) -> R {
        let mut w = self.world.borrow_mut();
        let (hart, mmu) = &mut *w;
        f(hart, &mut **mmu)
    }
}

impl Machine for Interpreter<'_> {
    type B = Bit;
    type W = N32;
    type V = N64;

    #[inline(always)]
    fn place(&self) -> &Place {
        &self.place
    }
    #[inline(always)]
    fn k(&self, c: u64) -> N64 {
        N64(c)
    }
    #[inline(always)]
    fn known(&self, v: N64) -> Option<u64> {
        Some(v.0)
    }
    #[inline(always)]
    fn get(&self, slot: u16) -> N64 {
        N64(self.world.borrow().0.frame.get(slot))
    }
    #[inline(always)]
    fn get_now(&self, slot: u16) -> N64 {
        self.get(slot)
    }
    #[inline(always)]
    fn put(&self, slot: u16, v: N64) {
        self.world.borrow().0.frame.set(slot, v.0)
    }
    #[inline(always)]
    fn pc_plus(&self, offset: i64) -> N64 {
        N64(self.pc.wrapping_add(offset as u64))
    }
    fn load(&self, a: N64, op: MemOp) -> Result<N64, Stop> {
        self.with(|h, m| m.load(h, a.0, op)).map(N64)
    }
    fn store(&self, a: N64, v: N64, op: MemOp) -> Meaning {
        self.with(|h, m| m.store(h, a.0, v.0, op))
    }
    fn amo(&self, kind: u8, a: N64, v: N64, op: MemOp) -> Result<N64, Stop> {
        self.with(|h, m| m.amo(h, kind, a.0, v.0, op)).map(N64)
    }
    fn cas(&self, a: N64, old: N64, new: N64, op: MemOp) -> Result<N64, Stop> {
        self.with(|h, m| m.cas(h, a.0, old.0, new.0, op)).map(N64)
    }
    fn store_conditional(&self, when: Bit, a: N64, old: N64, new: N64, op: MemOp) -> Result<N64, Stop> {
        if !when.0 {
            return Ok(N64(1));
        }
        let expected = op.extend(old.0);
        let found = self.with(|h, m| m.cas(h, a.0, old.0, new.0, op))?;
        Ok(N64((found != expected) as u64))
    }
    fn fence(&self) {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst)
    }
    #[inline(always)]
    fn branch(&self, c: Bit, offset: i64) {
        self.ends.set(true);
        if c.0 {
            self.goto(offset)
        }
    }
    fn done_if(&self, c: Bit) -> bool {
        if c.0 {
            self.goto(self.place.length);
        }
        c.0
    }
    #[inline(always)]
    fn goto(&self, offset: i64) {
        self.ends.set(true);
        self.next.set(self.pc.wrapping_add(offset as u64))
    }
    #[inline(always)]
    fn returns_here(&self, _: N64) {}
    fn jump(&self, a: N64, _hint: u64) {
        self.ends.set(true);
        self.next.set(a.0)
    }
    fn call(&self, id: u16, args: &[N64]) -> Result<N64, Stop> {
        let mut a = [0; 4];
        for (to, from) in a.iter_mut().zip(args) {
            *to = from.0;
        }
        self.with(|h, m| h.helper(m, id, a)).map(N64)
    }
    #[inline(always)]
    fn leave(&self, _look: bool) {
        self.ends.set(true);
        self.left.set(true)
    }
    // The interpreter accrues into the slot.
    fn accrued(&self) -> Self::V {
        self.k(0)
    }
    fn forget_accrued(&self, _: Self::V) {}
    fn float_state(&self, write: bool) -> Result<bool, Stop> {
        match self.place.mode.float() {
            FloatState::Off => return Err(illegal(self.place.word as u64)),
            FloatState::Clean if write => {
                self.with(|h, _| mstatus::put(h, h.get(slot::MSTATUS) | mstatus::FS));
            }
            _ => {}
        }
        Ok(true)
    }
    fn float(&self, f: Function, w: Width, rm: u8, rd: u8, rs: [u8; 3]) -> Meaning {
        self.float_state(true)?;
        let rm = if rm == 7 { self.get(slot::FRM).0 as u8 } else { rm };
        let Some(round) = Round::from_frm(rm) else { return Err(illegal(self.place.word as u64)) };
        let operand = |n: usize| match f.from() {
            _ if n >= f.sources() => 0,
            File::X => self.x(rs[n]).0,
            File::F => self.f(rs[n]).0,
        };
        let (r, flags) = float::compute(float::pack(f, w, 0), round, operand(0), operand(1), operand(2));
        if !flags.is_empty() {
            self.with(|h, _| helpers::accrue(h, flags));
        }
        match f.to() {
            File::X => self.set(rd, N64(r)),
            File::F => self.set_f(rd, N64(r)),
        }
        Ok(())
    }
}

/// Runs the instruction at the pc.
pub fn step(hart: &mut Hart, mmu: &mut dyn Mmu<Hart>) -> Step {
    let pc = hart.frame.pc();
    let stop = match run(hart, mmu) {
        Ok(false) => return Step::Done,
        Ok(true) => return Step::End,
        Err(stop) => stop,
    };
    match stop {
        Stop::Trap(t) => {
            hart.enter_trap(false, t.cause, t.value);
            Step::End
        }
        Stop::Exit(e) => {
            if matches!(e, Exit::Watched(_)) {
                hart.frame.set_pc(pc);
            }
            Step::Exit(e)
        }
    }
}

/// Whether a translated block would end with the instruction.
fn run(hart: &mut Hart, mmu: &mut dyn Mmu<Hart>) -> Result<bool, Stop> {
    let pc = hart.frame.pc();
    if pc & 2 != 0 && !hart.config.compressed() {
        return Err(helpers::trap(crate::trap::cause::INSTRUCTION_MISALIGNED, pc));
    }
    if hart.triggers.armed
        && let Some(trap) = hart.fetch_trigger()
    {
        return Err(trap.into());
    }
    let word = mmu.fetch(hart, pc, is_wide)?;
    let Some(row) = hart.recent.decode(hart.config.decoder(), word) else { return Err(illegal(word as u64)) };
    let length = row.length as i64;
    let place = Place { word, length, mode: hart.mode, isa: hart.config.isa() };
    let next = pc.wrapping_add(length as u64);
    let m = Interpreter {
        world: RefCell::new((hart, mmu)),
        place,
        pc,
        next: Cell::new(next),
        left: Cell::new(false),
        ends: Cell::new(false),
    };
    (row.interpret)(&m, word)?;
    if !m.left.get() {
        let next = m.next.get();
        m.world.borrow().0.frame.set_pc(if m.rv32() { next as u32 as u64 } else { next });
    }
    Ok(m.ends.get())
}

const _: () = assert!(HELPERS.len() < 64);
