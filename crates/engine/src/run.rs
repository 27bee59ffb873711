//! The run loop of one vCPU.
//!
//! ```text
//! Tcg::run --pc--> find: jump cache -> code cache -> translate
//!    ^                 |
//!    |                 v
//!    +---exit value-- enter (translated code; blocks go on to each other without coming back here)
//!                      |  ^
//!                      v  |  hooks: TLB misses, helpers, jump-cache misses
//! ```
//! Translated code comes out for five reasons: the interrupt word is set, a block is dead, a direct jump is not linked yet, the guest
//! has to go on where only the dispatcher can find code (an instruction to be interpreted, a fault in fetching), or a
//! function that it called asks for it. All bookkeeping is here, none in the code.

use crate::bus::Bus;
use crate::cache::{CodePage, Id, Key};
use crate::hot::Place;
use crate::persist::{Name, head};
use crate::profile::{Activity, Doing};
use crate::region::{self, Sightings};
use crate::settle::Owned;
use crate::shared::{At, Shared, Way};
use crate::splits::Splits;
use crate::tlb::{Entries, Set, Tlb as Sets};
use crate::trace;
use crate::verify::Checks;
use crate::walks::Walks;
use cpu::{
    Accelerator, Access, Counter, Exit, Guest, INTERRUPT_EXIT, INTERRUPT_LOOK, Space, Step, Stop, Trap,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

/// The translating accelerator of one vCPU.
pub struct Tcg<G: Guest> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) bus: Bus,
    pub(crate) tlb: Sets,
    pub(crate) walks: Walks,
    /// The frame of the guest that ran last.
    frame: Option<Arc<cpu::Frame>>,
    /// Set for fetches and jumps, and the space it is for.
    pub(crate) code_set: usize,
    pub(crate) space: Space,
    /// Set for data; the same one but for MPRV.
    pub(crate) data_set: usize,
    pub(crate) data_space: Space,
    /// The guest's mode that the sets are prepared for.
    mode: u32,
    pub(crate) activity: Arc<Activity>,
    /// There are other vCPUs.
    parallel: bool,
    /// The guest while translated code runs.
    pub(crate) guest: *mut G,
    /// Why translated code was left, when its exit value says that it is told here.
    pub(crate) exit: Option<Exit>,
    /// The last trap that translated code ran into.
    pub(crate) trapped: Option<Trap>,
    /// Translated code was left at a place where it had not done all of its block.
    pub(crate) turned_away: bool,
    pub(crate) checks: Checks,
    /// The jump cache that translated code sees if it is to come back after every block.
    empty: Set,
    /// Translations of the cache before this many clearings are gone.
    pub(crate) epoch: u64,
    breakpoints: u64,
    watchpoints: u64,
    /// The instruction that runs has met its watchpoint already.
    pub(crate) passing: bool,
    /// The pc of the breakpoint that stopped the vCPU last.
    stopped_at: Option<u64>,
    /// Somebody has been told of that.
    told: bool,
    pub(crate) config: G::Config,
    /// Counts instructions, if they are counted; see `icount.rs`.
    pub(crate) counter: Option<Arc<Counter>>,
    /// The next instruction is to be interpreted.
    pub(crate) alone: bool,
    /// The code at the pc was found to be cold by who came out for that.
    pub(crate) cold: bool,
    /// The pc at which the accesses of the code have to be on their own.
    pub(crate) apart: Option<u64>,
    /// Where groups that had to be split went on.
    pub(crate) splits: Splits,
    /// It was a region that was left for the interrupt word last.
    pub(crate) left_region: bool,
    /// Where the vCPU was when it was asked.
    pub(crate) sightings: Sightings,
    /// The address that was loaded from last otherwise than by translated code.
    pub(crate) loaded: Option<u64>,
}

// SAFETY note: `guest` is null outside `run`; the struct moves between threads only then.
#[allow(unsafe_code)]
// SAFETY: see above; everything else is Send.
unsafe impl<G: Guest> Send for Tcg<G> {}

/// The space of no guest.
const NOWHERE: Space = Space { number: u64::MAX, owner: u64::MAX };

/// What to do next at a pc.
pub(crate) enum Next {
    /// Run this code.
    Code(u64),
    /// Interpret one instruction.
    Interpret,
    /// Interpret what would be a block.
    InterpretBlock,
    /// The fetch faults.
    Fault(Trap),
}

impl<G: Guest> Tcg<G> {
    /// An accelerator for the vCPU whose CPU model is `config`, on the machine whose engine is `shared`.
    pub fn new(shared: Arc<Shared>, config: G::Config) -> Tcg<G> {
        let parallel = shared.cpus.all().len() > 1;
        let activity = Arc::new(Activity::new(G::HELPERS.len()));
        shared.activities().push(activity.clone());
        region::start::<G>(&shared, &config);
        shared.start_persistent::<G>(&config);
        Tcg {
            bus: Bus::new(shared.memory.clone()),
            parallel,
            counter: shared.cpus.counter().cloned(),
            alone: false,
            cold: false,
            apart: None,
            splits: Splits::default(),
            left_region: false,
            sightings: Sightings::default(),
            loaded: None,
            shared,
            tlb: Sets::new(parallel),
            walks: Walks::default(),
            frame: None,
            code_set: usize::MAX,
            space: NOWHERE,
            data_set: usize::MAX,
            data_space: NOWHERE,
            mode: 0,
            activity,
            guest: std::ptr::null_mut(),
            exit: None,
            trapped: None,
            turned_away: false,
            checks: Checks::default(),
            empty: Set::new(!parallel),
            epoch: 0,
            breakpoints: 0,
            watchpoints: 0,
            passing: false,
            stopped_at: None,
            told: false,
            config,
        }
    }

    /// Makes the TLB sets in use those of the guest's address spaces.
    #[inline(always)]
    pub(crate) fn follow_spaces(&mut self, g: &G) {
        let (space, data) = (g.space(), g.data_space());
        if space != self.space {
            self.change_spaces(g, space, data);
            return;
        }
        if data != self.data_space {
            self.activity.switches.count();
            self.change_data_space(g, data);
        }
        if g.mode() != self.mode {
            self.prepare(g);
        }
    }
    fn register(&self, g: &G, entries: Arc<Entries>) {
        let (activity, handle) = (self.activity.clone(), g.handle().clone());
        self.shared.register(Owned { entries, activity, handle });
    }
    fn change_spaces(&mut self, g: &G, space: Space, data: Space) {
        self.activity.switches.count();
        let (code, made) = self.tlb.select(space, usize::MAX);
        made.into_iter().for_each(|e| self.register(g, e));
        if self.code_set != usize::MAX {
            self.tlb.set(self.code_set).leave();
        }
        (self.code_set, self.space) = (code, space);
        let frame = g.frame();
        if self.frame.as_ref().is_none_or(|f| !Arc::ptr_eq(f, frame)) {
            frame.entry_mask.store(crate::tlb::INDEX_MASK, Relaxed);
            self.frame = Some(frame.clone());
        }
        let jumps = if self.shared.options.nochain { &self.empty } else { &*self.tlb.set(self.code_set) };
        frame.jump_cache.store(jumps.jumps_address(), Relaxed);
        frame.code_pages.store(jumps.code_pages_address(), Relaxed);
        self.change_data_space(g, data);
        self.prepare(g);
    }
    /// Loads and stores see other mappings, fetches see those that they saw.
    fn change_data_space(&mut self, g: &G, data: Space) {
        self.data_set = self.code_set;
        if data != self.space {
            let (set, made) = self.tlb.select(data, self.code_set);
            made.into_iter().for_each(|e| self.register(g, e));
            self.data_set = set;
        }
        self.data_space = data;
        g.frame().forget_sites();
        g.frame().tlb.store(self.tlb.set(self.data_set).entries_address(), Relaxed);
    }
    /// Prepares the set in use for the code that runs now.
    pub(crate) fn prepare(&mut self, g: &G) {
        self.mode = g.mode();
        let calls = self.tlb.set(self.code_set).run(g.mode(), g.frame().page.load(Relaxed));
        g.frame().calls.store(calls, Relaxed);
    }
    /// Forgets every translation of addresses.
    pub(crate) fn flush_sets(&mut self) {
        self.tlb.sets().for_each(|s| s.flush());
        self.walks.forget();
        self.forget_sites();
    }
    /// Forgets the pages that translated loads remember beside the TLB.
    pub(crate) fn forget_sites(&self) {
        if let Some(frame) = &self.frame {
            frame.forget_sites();
        }
    }
    /// Forgets what depends on things changed from outside.
    fn refresh(&mut self, g: &mut G) {
        let breakpoints = self.shared.cpus.breakpoints.generation();
        if breakpoints != self.breakpoints {
            self.breakpoints = breakpoints;
            self.splits.forget();
            self.tlb.sets().for_each(|s| s.forget_jumps());
        }
        let watchpoints = self.shared.cpus.watchpoints.generation();
        if self.bus.refresh() || watchpoints != self.watchpoints {
            self.watchpoints = watchpoints;
            self.flush_sets();
        }
        self.follow_epoch();
        self.follow_spaces(g);
    }
    /// Empties the jump caches if the code cache has been cleared.
    fn follow_epoch(&mut self) {
        let epoch = self.shared.epoch.load(Acquire);
        if epoch != self.epoch {
            self.epoch = epoch;
            self.checks.forget();
            self.splits.forget();
            self.tlb.sets().for_each(|s| s.forget_jumps());
        }
    }

    /// Finds code for the pc, translating if there is none.
    pub(crate) fn find(&mut self, g: &mut G) -> Next {
        let pc = g.frame().pc();
        let tag = (g.mode() as u64) << 57;
        if let Some(code) = self.tlb.set(self.code_set).jump(pc, tag) {
            g.frame().page.store(pc & !4095, Relaxed);
            return Next::Code(code);
        }
        if self.shared.cpus.breakpoints.any() && self.shared.cpus.breakpoints.in_page(pc) {
            return Next::Interpret;
        }
        let page = match self.code_page(g, pc) {
            Ok(Some(page)) => page,
            Ok(None) => return Next::Interpret,
            Err(Stop::Trap(t)) => return Next::Fault(t),
            Err(Stop::Exit(_)) => return Next::Interpret,
        };
        if self.shared.options.interpret {
            return Next::Interpret;
        }
        let offset = (pc & 4095) as u16;
        let key = Key::new(page, offset, g.mode());
        let crossed = pc.wrapping_add(G::MAX_INSN as u64);
        let known = match self.shared.index.get(key) {
            Some(found) => Some((self.shared.code.address(found as u32 as usize), pc)),
            None => self.known_crossing(g, key).map(|(_, code)| (code, crossed)),
        };
        let (code, last) = match known {
            Some(known) => known,
            None if self.is_cold(key) => return Next::InterpretBlock,
            None => match self.translate_block(g, page, offset) {
                Some((_, code)) => (code, pc),
                None => match self.crossing_block(g, page, offset) {
                    Some((_, code)) => (code, crossed),
                    None => return Next::Interpret,
                },
            },
        };
        g.frame().page.store(pc & !4095, Relaxed);
        let set = self.tlb.set(self.code_set);
        set.set_jump(pc, tag, code, last);
        if !set.has_code_page(pc, page)
            && let Some(number) = self.shared.cache().page_number(page)
        {
            set.set_code_page(pc, page, number);
        }
        Next::Code(code)
    }
    /// The same for code whose accesses are on their own. The jump cache does not know it.
    pub(crate) fn find_alone(&mut self, g: &mut G) -> Next {
        let pc = g.frame().pc();
        let page = match self.code_page(g, pc) {
            Ok(Some(page)) => page,
            Ok(None) | Err(Stop::Exit(_)) => return Next::Interpret,
            Err(Stop::Trap(t)) => return Next::Fault(t),
        };
        let offset = (pc & 4095) as u16;
        let key = Key::new(page, offset, g.mode()).alone();
        let code = match self.shared.index.get(key) {
            Some(found) => Some(self.shared.code.address(found as u32 as usize)),
            None => self.translate_as(g, page, offset, true).map(|(_, code)| code),
        };
        g.frame().page.store(pc & !4095, Relaxed);
        code.map_or(Next::Interpret, Next::Code)
    }
    /// The page that the pc lies in; `None` if it is not RAM.
    fn code_page(&mut self, g: &mut G, pc: u64) -> Result<Option<CodePage>, Stop> {
        if let Some(page) = self.known_page(pc) {
            return Ok(Some(page));
        }
        Ok(match self.place(g, pc, Access::Execute)? {
            crate::mmu::Place::Direct(host) => Some(self.code_page_at(pc, host & !4095)),
            _ => None,
        })
    }
    /// The same, as far as the TLB knows.
    pub(crate) fn known_page(&mut self, pc: u64) -> Option<CodePage> {
        let e = self.tlb.set(self.code_set).entry(pc);
        if !e.allows(pc & !4095, Access::Execute) {
            return None;
        }
        let host = (pc & !4095).wrapping_add(e.addend.load(Relaxed));
        Some(self.code_page_at(pc, host))
    }
    fn code_page_at(&mut self, pc: u64, host: u64) -> CodePage {
        // With breakpoints nothing may be run but what the dispatcher has found in the jump cache.
        let wide = self.tlb.set(self.code_set).is_wide(pc) && !self.shared.cpus.breakpoints.any();
        CodePage { host, wide }
    }
    /// Whether `key`, which has no translation, should not get one yet.
    fn is_cold(&self, key: Key) -> bool {
        !trace::Trace::any() && self.shared.heat.is_cold(key) && !self.is_kept(key)
    }
    /// Whether an earlier run may have left a translation for `key`.
    fn is_kept(&self, key: Key) -> bool {
        self.shared.persistent.is_on() && {
            let (page, offset) = (key.page(), key.offset() as u16);
            let head = head(offset, |at| crate::raw::load(page.host + at as u64, 8));
            self.shared.persistent.has(Name { offset, mode: key.mode(), alone: false, reach: 0 }, head)
        }
    }
    fn translate_block(&mut self, g: &G, page: CodePage, offset: u16) -> Option<(Id, u64)> {
        self.translate_as(g, page, offset, false)
    }
    fn translate_as(&mut self, g: &G, page: CodePage, offset: u16, alone: bool) -> Option<(Id, u64)> {
        let before = self.activity.begin(Doing::Translation);
        let shared = self.shared.clone();
        let made = shared.translate::<G>(
            &self.config,
            &self.bus,
            &At {
                mode: g.mode(),
                page,
                offset,
                second: None,
                pc: g.pc(),
                me: Some(&self.activity),
                mapped: Some(self.tlb.get(self.code_set)),
                alone,
                way: Way::default(),
            },
        );
        self.activity.begin(before);
        made.map(|m| (m.id, m.address))
    }
    /// What [`Tcg::crossing_block`] has made for the instruction `key` at the pc, if the TLB knows the next page.
    fn known_crossing(&mut self, g: &G, key: Key) -> Option<(Id, u64)> {
        if key.offset() <= 4096 - G::MAX_INSN as u64 {
            return None;
        }
        let second = self.known_page(next_page(g.pc()))?.host;
        self.shared.cache().find_crossing(key, second)
    }
    /// The translation of the instruction at `offset` that crosses into the next virtual page. `None` if it does not, or if
    /// that page cannot be fetched from (then the interpreter takes the fault).
    fn crossing_block(&mut self, g: &mut G, page: CodePage, offset: u16) -> Option<(Id, u64)> {
        if offset <= 4096 - G::MAX_INSN {
            return None;
        }
        let second = self.code_page(g, next_page(g.pc())).ok()??.host;
        let shared = self.shared.clone();
        let at = At {
            mode: g.mode(),
            page,
            offset,
            second: Some(second),
            pc: g.pc(),
            me: Some(&self.activity),
            mapped: Some(self.tlb.get(self.code_set)),
            alone: false,
            way: Way::default(),
        };
        shared.translate::<G>(&self.config, &self.bus, &at).map(|m| (m.id, m.address))
    }
    /// The link whose stub returns to host address `at` was taken while it was not linked: sets the pc to its target, and
    /// links it.
    pub(crate) fn leave_by_link(&mut self, g: &mut G, at: u64) {
        let found = {
            let cache = self.shared.cache();
            let guarded = |id| cache.is_guarded(id);
            cache
                .link_at(at)
                .and_then(|id| Some((id, cache.link_offset(id)?, cache.link_target(id), guarded(id))))
        };
        let Some((id, offset, mut target, guarded)) = found else {
            unreachable!("code was left by a link that it does not have")
        };
        g.frame().set_pc(g.frame().page.load(Relaxed).wrapping_add(offset as u64));
        if self.shared.options.nochain || self.shared.cpus.breakpoints.any() {
            return;
        }
        if guarded {
            // If that cannot be fetched, the dispatcher says so.
            let Ok(Some(page)) = self.code_page(g, g.pc()) else { return };
            target = Some(Key::new(page, offset, g.mode()));
        }
        let Some(key) = target else { return };
        let to = match self.shared.index.get(key) {
            Some(found) => Some((found >> 32) as Id),
            None => {
                self.cold = self.is_cold(key);
                if self.cold { None } else { self.translate_block(g, key.page(), offset).map(|(to, _)| to) }
            }
        };
        if let Some(to) = to {
            self.shared.cache().link(id, to);
        }
    }
    pub(crate) fn interpret(&mut self, g: &mut G) -> Step {
        self.activity.interpreted.count();
        let before = self.activity.begin(Doing::Interpreter);
        self.make_exact(g);
        let step = g.interpret(self);
        self.activity.begin(before);
        self.follow_spaces(g);
        self.count_interpreted(g, step);
        step
    }
    /// Interprets instructions as far as they would make a block.
    fn interpret_block(&mut self, g: &mut G, frame: &cpu::Frame) -> Step {
        let page = frame.pc() & !4095;
        for _ in 0..self.shared.block_limit() {
            let step = self.interpret(g);
            let within = frame.pc() & !4095 == page;
            // Whoever came out for cold code may be elsewhere by now, or the debugger may have been here since.
            let watched = self.shared.cpus.breakpoints.any() || frame.interrupt.load(Relaxed) != 0;
            if step != Step::Done || !within || watched || self.is_spent(frame) {
                return step;
            }
        }
        Step::Done
    }
    /// Tells the profile in which block the guest is.
    #[cold]
    fn say_where(&mut self, g: &mut G) {
        let (pc, mode) = (g.frame().pc(), g.mode());
        let Ok(Some(page)) = self.code_page(g, pc) else { return };
        let found = self.shared.cache().around(page, (pc & 4095) as u16, mode);
        if let Some((offset, bytes)) = found {
            let address = (pc & !4095) + offset as u64;
            self.shared.hot.found(Place { address, page, mode }, bytes);
        }
    }
    /// Runs the guest until somebody is to be told.
    fn dispatch(&mut self, g: &mut G) -> Exit {
        let handle = g.handle().clone();
        let frame = g.frame().clone();
        self.refresh(g);
        self.told |= handle.take_told();
        let mut walk = false;
        loop {
            if self.parallel {
                self.activity.turn.next();
            }
            // First: what happens at a deadline comes before the interrupts that are taken there.
            if self.is_spent(&frame) {
                return Exit::Spent;
            }
            let word = frame.interrupt.load(Acquire);
            if word != 0 {
                if word & INTERRUPT_EXIT != 0 {
                    return Exit::Kicked;
                }
                if word & INTERRUPT_LOOK != 0 {
                    frame.interrupt.fetch_and(!INTERRUPT_LOOK, Relaxed);
                    if self.shared.options.profile {
                        self.say_where(g);
                    }
                    walk = self.wants_walk(g);
                }
                g.take_interrupt();
                self.follow_spaces(g);
            }
            // The breakpoint that stopped the vCPU is passed over when it goes on, if somebody knows of it; one that it comes back to, be it
            // after an interrupt that ended a wait, is not.
            let stopped_here = self.stopped_at.take() == Some(frame.pc()) && self.told;
            if !stopped_here && self.shared.cpus.breakpoints.at(frame.pc()) {
                (self.stopped_at, self.told) = (Some(frame.pc()), false);
                return Exit::Debug;
            }
            if self.shared.needs_room() {
                // Only the vCPU loop may wait for the others.
                self.shared.ask_clear(&handle);
                return Exit::Kicked;
            }
            let cold = std::mem::take(&mut self.cold);
            let apart = self.apart.take() == Some(frame.pc());
            let next = match self.next_counted(&frame) {
                Some(()) => Next::Interpret,
                None if cold => Next::InterpretBlock,
                None if apart => self.find_alone(g),
                None => self.find(g),
            };
            let exit = match next {
                _ if std::mem::take(&mut walk) => self.walk(g, &frame).exit(),
                Next::Code(code) => {
                    trace::before_block(g, code);
                    if self.shared.options.verify { self.enter_checked(g, code) } else { self.enter(g, code) }
                }
                Next::Interpret => self.interpret(g).exit(),
                Next::InterpretBlock => self.interpret_block(g, &frame).exit(),
                Next::Fault(t) => {
                    self.count(g, 1);
                    g.take_trap(t);
                    self.follow_spaces(g);
                    None
                }
            };
            if let Some(exit) = exit {
                if matches!(exit, Exit::Watched(_)) {
                    self.pass_watched(g);
                }
                return exit;
            }
        }
    }
}

impl<G: Guest> Accelerator<G> for Tcg<G> {
    fn run(&mut self, g: &mut G) -> Exit {
        self.activity.begin(Doing::Lookup);
        self.activity.turn.toggle();
        let exit = self.dispatch(g);
        self.activity.turn.toggle();
        self.activity.begin(Doing::Idle);
        exit
    }
    fn step(&mut self, g: &mut G, interrupts: bool) -> Exit {
        self.activity.turn.toggle();
        let exit = self.step_one(g, interrupts);
        self.activity.turn.toggle();
        exit
    }
    fn sync(&mut self, g: &mut G) {
        self.space = NOWHERE;
        self.flush_sets();
        self.bus.forget();
        self.refresh(g);
    }
}

impl<G: Guest> Tcg<G> {
    fn step_one(&mut self, g: &mut G, interrupts: bool) -> Exit {
        self.refresh(g);
        if interrupts && g.frame().interrupt.load(Acquire) != 0 {
            g.take_interrupt();
            self.follow_spaces(g);
        }
        let exit = self.interpret(g).exit().unwrap_or(Exit::Debug);
        if matches!(exit, Exit::Watched(_)) {
            self.pass_watched(g);
        }
        exit
    }
}

/// The first address of the page behind that of `pc`.
fn next_page(pc: u64) -> u64 {
    (pc | 4095).wrapping_add(1)
}
