//! Where translated code comes back into Rust: TLB misses, helpers, jump-cache misses.
//!
//! Each hook is called by a stub of the host crate with the vCPU's context, and returns a pair in rax:rdx: a value,
//! and a status that is 0 if the code goes on, else the exit value with which it is left. Values of pinned registers are in the frame
//! while a hook runs. This file and `raw.rs`, `code.rs`, `fp.rs` are all the unsafe code of the engine.
#![allow(unsafe_code)]

use crate::fp;
use crate::profile::Doing;
use crate::run::{Next, Tcg};
use cpu::{Exit, Guest, Mmu, Stop};
use host::exit;
use ir::MemOp;
use std::sync::atomic::Ordering::*;

/// A value and a status, as the System V convention returns them in rax and rdx.
#[repr(C)]
pub(crate) struct Answer {
    value: u64,
    status: u64,
}

/// Exit value: a trap has been taken, or `Tcg::exit` says what to do.
const STATUS: u64 = exit::FIRST_FREE;

const fn ok(value: u64) -> Answer {
    Answer { value, status: 0 }
}

impl<G: Guest> Tcg<G> {
    /// The hooks of this kind of guest.
    pub(crate) fn hooks() -> host::Hooks {
        host::Hooks {
            load: load::<G> as *const () as u64,
            store: store::<G> as *const () as u64,
            fill: fill::<G> as *const () as u64,
            attempt: attempt::<G> as *const () as u64,
            amo: amo::<G> as *const () as u64,
            cas: cas::<G> as *const () as u64,
            store_cond: store_cond::<G> as *const () as u64,
            helper: helper::<G> as *const () as u64,
            lookup: lookup::<G> as *const () as u64,
            soft: soft::<G> as *const () as u64,
        }
    }
    /// Runs translated code until it is left; `Some` if the accelerator is to be left too.
    pub(crate) fn enter(&mut self, g: &mut G, code: u64) -> Option<Exit> {
        self.activity.entered.count();
        self.activity.begin(Doing::Code);
        let state = (std::sync::Arc::as_ptr(g.frame()) as *mut u8).wrapping_add(crate::shared::FRAME_BIAS);
        let shared = std::sync::Arc::as_ptr(&self.shared);
        let this: *mut Self = self;
        fp::enter(g);
        g.frame().context.store(this as u64, Relaxed);
        g.frame().splits.store(self.splits.address(), Relaxed);
        // SAFETY: the code comes from the cache, made for this frame layout; the hooks get `this`, which is alive, keeps `shared`
        // alive, and is not otherwise used until `enter` returns.
        let value = unsafe {
            (*this).guest = g;
            (*shared).code.enter((*shared).enter, state, code)
        };
        // SAFETY: `this` is `self`; this spelling keeps the two uses apart.
        let this = unsafe { &mut *this };
        this.guest = std::ptr::null_mut();
        this.activity.begin(Doing::Lookup);
        fp::leave(g);
        let (kind, at) = exit::split(value);
        this.turned_away = matches!(kind, exit::INTERRUPT | exit::DEAD);
        match kind {
            STATUS => return this.exit.take(),
            exit::INTERRUPT => {
                this.restore_pc(g, at);
                this.left_region = this.shared.regions.are_made() && this.shared.cache().is_in_region(at);
            }
            exit::LINK => this.leave_by_link(g, at),
            exit::DEAD => {
                let Some(key) = this.shared.cache().dead_entry(at) else {
                    unreachable!("a dead block was entered that does not exist")
                };
                g.frame().set_pc(g.frame().page.load(Relaxed).wrapping_add(key.offset()));
                // What may still lead to it.
                if key.is_alone() {
                    this.splits.forget();
                } else {
                    this.tlb.set(this.code_set).forget_jump(g.pc());
                }
            }
            _ => {}
        }
        None
    }
    /// The answer to translated code, which goes on if there is a value.
    #[inline(always)]
    fn answer(&mut self, g: &mut G, result: Result<u64, Stop>, at: u64) -> Answer {
        if let Err(Stop::Trap(_) | Stop::Exit(Exit::Watched(_) | Exit::Alone)) = result {
            self.restore_pc(g, at);
            self.give_back(g, at, matches!(result, Err(Stop::Trap(_))));
        }
        self.answer_here(g, result)
    }
    /// The same when the frame's pc is that of the instruction already.
    #[inline(always)]
    fn answer_here(&mut self, g: &mut G, result: Result<u64, Stop>) -> Answer {
        let answer = match result {
            Ok(value) => ok(value),
            Err(stop) => self.stopped(g, stop),
        };
        self.activity.begin(Doing::Code);
        answer
    }
    /// Sets the pc to the instruction that has called from host address `at`.
    fn restore_pc(&mut self, g: &G, at: u64) {
        if let Some(offset) = self.shared.cache().point(at) {
            let frame = g.frame();
            frame.set_pc(frame.page.load(Relaxed).wrapping_add(offset as u64));
        }
    }
    /// The code at the pc, unless the dispatcher has to look at something first.
    fn handler(&mut self, g: &mut G) -> Option<u64> {
        let dispatch = self.shared.options.nochain || self.shared.cpus.breakpoints.any();
        if dispatch || g.frame().interrupt.load(Relaxed) != 0 {
            return None;
        }
        let apart = self.apart.take();
        let found = if apart == Some(g.pc()) { self.find_alone(g) } else { self.find(g) };
        match found {
            Next::Code(code) => Some(code),
            Next::InterpretBlock => {
                self.cold = true;
                None
            }
            _ => {
                self.apart = apart;
                None
            }
        }
    }
    /// The group whose leader has called from host address `at` needs more than one entry of the TLB, or none will do: a
    /// translation in which each access is on its own goes on there.
    fn split(&mut self, g: &mut G, at: u64) -> Answer {
        if let Some(code) = self.splits.get(at) {
            self.activity.begin(Doing::Code);
            return Answer { value: code, status: exit::GO };
        }
        self.restore_pc(g, at);
        self.give_back(g, at, false);
        self.apart = Some(g.pc());
        // Whoever looks there stays in the page.
        let here = g.frame().page.load(Relaxed) == g.pc() & !4095;
        match self.handler(g) {
            Some(code) => {
                if self.counter.is_none() && here {
                    self.splits.set(at, code);
                }
                self.activity.begin(Doing::Code);
                Answer { value: code, status: exit::GO }
            }
            None => Answer { value: 0, status: STATUS },
        }
    }
    /// What a fault or a request of a hook means for the code that called it.
    #[cold]
    fn stopped(&mut self, g: &mut G, stop: Stop) -> Answer {
        match stop {
            Stop::Trap(trap) => {
                self.trapped = Some(trap);
                g.take_trap(trap);
                self.follow_spaces(g);
                if let Some(code) = self.handler(g) {
                    return Answer { value: code, status: exit::GO };
                }
            }
            Stop::Exit(Exit::Alone) => self.alone = true,
            Stop::Exit(e) => self.exit = Some(e),
        }
        Answer { value: 0, status: STATUS }
    }
}

/// The two that a hook works on.
///
/// # Safety
/// `context` is what `enter` put into the frame, and its code is still running.
unsafe fn both<'a, G: Guest>(context: *mut Tcg<G>, what: Doing) -> (&'a mut Tcg<G>, &'a mut G) {
    // SAFETY: the caller's promise; the two are distinct objects.
    unsafe {
        let tcg = &mut *context;
        let guest = &mut *tcg.guest;
        tcg.activity.begin(what);
        (tcg, guest)
    }
}

/// The arguments of a function, each read by itself: translated code has just written them so, and the host's loads wait for stores
/// that are narrower.
///
/// # Safety
/// `args` points to four words, as [`host::Hooks`] says.
#[inline(always)]
unsafe fn arguments(args: *const [u64; 4]) -> [u64; 4] {
    let first = args.cast::<u64>();
    // SAFETY: the caller's promise.
    std::array::from_fn(|n| unsafe { first.add(n).read_volatile() })
}

extern "sysv64" fn load<G: Guest>(context: *mut Tcg<G>, va: u64, op: u64, at: u64) -> Answer {
    // SAFETY: called by translated code with the context of `enter`.
    let (t, g) = unsafe { both(context, Doing::Memory) };
    let loaded = t.load(g, va, MemOp(op as u8));
    t.answer(g, loaded, at)
}

extern "sysv64" fn store<G: Guest>(context: *mut Tcg<G>, va: u64, value: u64, op: u64, at: u64) -> Answer {
    // SAFETY: as in `load`.
    let (t, g) = unsafe { both(context, Doing::Memory) };
    let stored = t.store(g, va, value, MemOp(op as u8)).map(|()| 0);
    t.answer(g, stored, at)
}

/// See [`host::Hooks::fill`].
extern "sysv64" fn fill<G: Guest>(context: *mut Tcg<G>, first: u64, last: u64, need: u64, at: u64) -> Answer {
    // SAFETY: as in `load`.
    let (t, g) = unsafe { both(context, Doing::Memory) };
    let whole = (first ^ last) >> 12 == 0;
    match whole.then(|| t.fill(g, first, need)).flatten() {
        Some(addend) => {
            t.activity.begin(Doing::Code);
            ok(addend)
        }
        None => t.split(g, at),
    }
}

/// See [`host::Hooks::attempt`].
extern "sysv64" fn attempt<G: Guest>(context: *mut Tcg<G>, first: u64, last: u64, need: u64) -> Answer {
    // SAFETY: as in `load`.
    let (t, g) = unsafe { both(context, Doing::Memory) };
    let whole = (first ^ last) >> 12 == 0;
    let addend = whole.then(|| t.fill(g, first, need)).flatten();
    t.activity.begin(Doing::Code);
    addend.map_or(Answer { value: 0, status: 1 }, ok)
}

/// `args`: address and operand; `imm` as [`ir::Op::Amo`] packs it.
extern "sysv64" fn amo<G: Guest>(context: *mut Tcg<G>, args: *const [u64; 4], imm: u64, at: u64) -> Answer {
    // SAFETY: as in `load`; `args` points into the frame.
    let ((t, g), args) = unsafe { (both(context, Doing::Memory), arguments(args)) };
    let old = t.amo(g, (imm >> 8) as u8 & 15, args[0], args[1], MemOp(imm as u8));
    t.answer(g, old, at)
}

/// `args`: address, expected, new.
extern "sysv64" fn cas<G: Guest>(context: *mut Tcg<G>, args: *const [u64; 4], op: u64, at: u64) -> Answer {
    // SAFETY: as in `amo`.
    let ((t, g), args) = unsafe { (both(context, Doing::Memory), arguments(args)) };
    let old = t.cas(g, args[0], args[1], args[2], MemOp(op as u8));
    t.answer(g, old, at)
}

/// `args`: address, expected, new; the condition holds. 0 if stored, else 1.
extern "sysv64" fn store_cond<G: Guest>(
    context: *mut Tcg<G>,
    args: *const [u64; 4],
    op: u64,
    at: u64,
) -> Answer {
    // SAFETY: as in `amo`.
    let ((t, g), args) = unsafe { (both(context, Doing::Memory), arguments(args)) };
    let op = MemOp(op as u8);
    let old = t.cas(g, args[0], args[1], args[2], op);
    t.answer(g, old.map(|found| (found != op.extend(args[1])) as u64), at)
}

/// A float operation on raw bits: one that the host has not, or a case of it in which the host's result differs.
extern "sysv64" fn soft<G: Guest>(context: *mut Tcg<G>, what: u64, args: *const [u64; 4]) -> u64 {
    // SAFETY: as in `amo`.
    let ((t, g), args) = unsafe { (both(context, Doing::Function), arguments(args)) };
    let result = host::soft_operation(what).and_then(|(op, ty)| ir::eval::float(op, ty, |n| args[n & 3]));
    let (value, flags) = result.unwrap_or_default();
    if flags != 0 {
        g.accrue_fp_flags(flags);
    }
    t.activity.begin(Doing::Code);
    value
}

/// Calls function `id` of the guest with the arguments at `args` (four words). The frame's pc is already set if it needs it.
extern "sysv64" fn helper<G: Guest>(context: *mut Tcg<G>, id: u64, args: *const [u64; 4], at: u64) -> Answer {
    // SAFETY: as in `load`; `args` points into the frame or the stub's stack.
    let ((t, g), args) = unsafe { (both(context, Doing::Function), arguments(args)) };
    if let Some(n) = t.activity.functions.get(id as usize) {
        n.count();
    }
    let Some(h) = G::HELPERS.get(id as usize) else {
        unreachable!("call of a function that the guest does not have")
    };
    // Others look at no state that translated code may have, the float flags among it.
    let any = h.info.effects == ir::HelperEffects::Any;
    if any {
        fp::take_flags(g);
        let frame = g.frame();
        let insn = frame.scratch[host::SCRATCH_INSN].load(Relaxed);
        frame.set_pc(frame.page.load(Relaxed).wrapping_add(insn));
        if t.counter.is_some() {
            t.give_back(g, at, false);
            return t.answer_here(g, Err(Stop::Exit(Exit::Alone)));
        }
    }
    let result = (h.run)(g, t, args);
    t.follow_spaces(g);
    if !any {
        return t.answer(g, result, at);
    }
    fp::go_on(g);
    t.answer_here(g, result)
}

/// Finds the code for the frame's pc: its address, or status INTERRUPT to let the dispatcher do it.
extern "sysv64" fn lookup<G: Guest>(context: *mut Tcg<G>) -> Answer {
    // SAFETY: as in `load`.
    let (t, g) = unsafe { both(context, Doing::Lookup) };
    t.activity.lookups.count();
    let leave = Answer { value: 0, status: STATUS };
    if t.shared.options.nochain || g.frame().interrupt.load(Relaxed) != 0 {
        return leave;
    }
    match t.find(g) {
        Next::Code(code) => {
            t.activity.begin(Doing::Code);
            ok(code)
        }
        Next::Interpret => leave,
        Next::InterpretBlock => {
            t.cold = true;
            leave
        }
        // The dispatcher knows whether the fault may still be counted.
        Next::Fault(_) if t.counter.is_some() => leave,
        Next::Fault(trap) => {
            t.trapped = Some(trap);
            g.take_trap(trap);
            t.follow_spaces(g);
            leave
        }
    }
}
