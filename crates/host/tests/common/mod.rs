//! A small machine round translated code: a frame, a soft TLB, four pages of memory, hooks. The same world serves the
//! evaluator, so that the two can be compared.
//!
//! Executing what this crate produces needs executable memory and a call through a pointer: the only `unsafe` here.
#![allow(unsafe_code, dead_code, missing_docs)]

use host::{Code, Config, Emitter, Features, Hooks, Layout, Stubs, Tlb, emit_stubs, exit};
use ir::{Block, HelperEffects, HelperInfo, MemOp, eval::End};

pub const SLOTS: usize = 128;
pub const USED: u16 = 40;
pub const MEM: u64 = 0x4000_0000;
pub const PAGE: u64 = 0x7_5000;
pub const ENTRY: i64 = 0x800;
/// The slot for float flags, which only `generate` writes as such.
pub const FLAGS: u16 = 50;
/// A slot that leads into the memory.
pub const TABLE: u16 = 24;
/// Statuses of the hooks.
pub const LOOKED_UP: u64 = 32;
pub const FAULT: u64 = 48;
pub const MISALIGNED: u64 = 64;
pub const HELPER_TRAP: u64 = 80;
/// With the return address above it.
pub const ALONE: u64 = 96;

#[repr(C, align(64))]
pub struct Frame {
    pub interrupt: u32,
    pub mode: u32,
    pub mxcsr: u32,
    pub entry_mask: u32,
    pub page_mask: u64,
    pub tlb: u64,
    pub jump_cache: u64,
    pub page: u64,
    pub pc: u64,
    pub context: u64,
    pub scratch: [u64; 26],
    pub slots: [u64; SLOTS],
    pub site_tags: [u64; SITES],
    pub site_addends: [u64; SITES],
    pub site_guesses: [u64; SITES],
    pub calls: u64,
    pub code_pages: u64,
    pub watched: i32,
    pub polls: u32,
    pub splits: u64,
}

/// Few, so that different places in the code share them.
pub const SITES: usize = 2;

const BIAS: i32 = 128;

pub fn layout() -> Layout {
    let at = |o: usize| o as i32 - BIAS;
    Layout {
        interrupt: at(std::mem::offset_of!(Frame, interrupt)),
        entry_mask: at(std::mem::offset_of!(Frame, entry_mask)),
        page_mask: at(std::mem::offset_of!(Frame, page_mask)),
        tlb: at(std::mem::offset_of!(Frame, tlb)),
        jump_cache: at(std::mem::offset_of!(Frame, jump_cache)),
        page: at(std::mem::offset_of!(Frame, page)),
        calls: at(std::mem::offset_of!(Frame, calls)),
        code_pages: at(std::mem::offset_of!(Frame, code_pages)),
        pc: at(std::mem::offset_of!(Frame, pc)),
        mode_tag: at(std::mem::offset_of!(Frame, interrupt)),
        scratch: at(std::mem::offset_of!(Frame, scratch)),
        slots: at(std::mem::offset_of!(Frame, slots)),
        context: at(std::mem::offset_of!(Frame, context)),
        mxcsr: at(std::mem::offset_of!(Frame, mxcsr)),
        watched: at(std::mem::offset_of!(Frame, watched)),
        polls: at(std::mem::offset_of!(Frame, polls)),
        splits: at(std::mem::offset_of!(Frame, splits)),
    }
}

pub fn config(features: Features) -> Config {
    Config {
        layout: layout(),
        tlb: Tlb { entries_log2: 12, entry_log2: 4, tag: 0, addend: 8 },
        hot_slots: vec![10, 11, 12, 13, 14, 15, 2, 1, 8, 9, 5, 6, 7, 16, 17, 18, 20, 25, 28, 29, 30],
        hot_floats: vec![47, 46, 45, 44, 43, 42, 32, 33, 34, 35, 40],
        stack_slot: 2,
        flags_slot: FLAGS,
        features,
        parallel: true,
        loops: true,
        budget: None,
        sites: None,
    }
}

/// What a block can see and change.
#[derive(Clone, PartialEq)]
pub struct World {
    pub slots: [u64; SLOTS],
    pub mem: Vec<u8>,
    pub log: Vec<(u16, u64)>,
    pub page: u64,
}

impl World {
    pub fn new(random: &mut Random) -> World {
        let mut slots = [0; SLOTS];
        for s in &mut slots {
            *s = random.value();
        }
        slots[FLAGS as usize] &= random.next() & 31;
        slots[TABLE as usize] = MEM + random.below(0x2000);
        let mem = (0..0x4000).map(|_| random.next() as u8).collect();
        World { slots, mem, log: Vec::new(), page: PAGE }
    }
    fn range(&self, va: u64, bytes: u32) -> Result<usize, u64> {
        let offset = va.wrapping_sub(MEM);
        let end = offset.checked_add(bytes as u64).ok_or(FAULT)?;
        if end > 0x3000 { Err(FAULT) } else { Ok(offset as usize) }
    }
    pub fn read(&self, va: u64, m: MemOp) -> Result<u64, u64> {
        let at = self.range(va, m.bytes())?;
        let mut w = [0; 8];
        w[..m.bytes() as usize].copy_from_slice(&self.mem[at..at + m.bytes() as usize]);
        Ok(m.extend(u64::from_le_bytes(w)))
    }
    pub fn write(&mut self, va: u64, v: u64, m: MemOp) -> Result<(), u64> {
        let at = self.range(va, m.bytes())?;
        self.mem[at..at + m.bytes() as usize].copy_from_slice(&v.to_le_bytes()[..m.bytes() as usize]);
        Ok(())
    }
    fn aligned(va: u64, m: MemOp) -> Result<(), u64> {
        if va & (m.bytes() as u64 - 1) == 0 { Ok(()) } else { Err(MISALIGNED) }
    }
}

impl ir::eval::Env for World {
    type Stop = u64;
    fn get(&mut self, slot: u16) -> u64 {
        self.slots[slot as usize]
    }
    fn set(&mut self, slot: u16, value: u64) {
        self.slots[slot as usize] = value;
    }
    fn load(&mut self, va: u64, m: MemOp) -> Result<u64, u64> {
        self.read(va, m)
    }
    fn store(&mut self, va: u64, v: u64, m: MemOp) -> Result<(), u64> {
        self.write(va, v, m)
    }
    fn amo(&mut self, kind: u8, va: u64, v: u64, m: MemOp) -> Result<u64, u64> {
        Self::aligned(va, m)?;
        let old = self.read(va, m)?;
        self.write(va, ir::eval::amo_result(kind, old, v, m), m)?;
        Ok(old)
    }
    fn cas(&mut self, va: u64, expected: u64, new: u64, m: MemOp) -> Result<u64, u64> {
        Self::aligned(va, m)?;
        let old = self.read(va, m)?;
        if MemOp(m.0 & 3).extend(old) == MemOp(m.0 & 3).extend(expected) {
            self.write(va, new, m)?;
        }
        Ok(old)
    }
    fn store_cond(&mut self, va: u64, expected: u64, new: u64, m: MemOp) -> Result<u64, u64> {
        Self::aligned(va, m)?;
        let old = self.read(va, m)?;
        let same = MemOp(m.0 & 3).extend(old) == MemOp(m.0 & 3).extend(expected);
        if same {
            self.write(va, new, m)?;
        }
        Ok(!same as u64)
    }
    fn call(&mut self, id: u16, args: &[u64]) -> Result<u64, u64> {
        match id {
            0 => Ok(args[0].wrapping_mul(3).wrapping_add(args[1])),
            1 => {
                self.log.push((id, args[0]));
                Ok(!args[0])
            }
            2 => {
                self.log.push((id, args[0] ^ args[1]));
                let sum = self.slots[..USED as usize].iter().fold(0u64, |a, &b| a.rotate_left(7) ^ b);
                self.log.push((id, sum));
                if args[1] & 15 == 0 {
                    return Err(HELPER_TRAP);
                }
                self.slots[(args[0] % USED as u64) as usize] ^= args[1];
                self.slots[10] = self.slots[10].wrapping_add(1);
                Ok(sum)
            }
            _ => {
                self.log.push((id, 4));
                self.slots[20] = args[0] ^ args[1] ^ args[2] ^ args[3];
                Ok(0)
            }
        }
    }
    fn page(&self) -> u64 {
        self.page
    }
    fn accrue(&mut self, flags: u8) {
        self.slots[FLAGS as usize] |= flags as u64;
    }
    fn accrued(&self) -> u8 {
        0
    }
    fn forget(&mut self) {}
}

pub fn helpers(id: u16) -> HelperInfo {
    match id {
        0 => HelperInfo { name: "pure", args: 2, returns: true, effects: HelperEffects::Pure },
        1 => HelperInfo { name: "hidden", args: 1, returns: true, effects: HelperEffects::Hidden },
        2 => HelperInfo { name: "any", args: 2, returns: true, effects: HelperEffects::Any },
        _ => HelperInfo { name: "four", args: 4, returns: false, effects: HelperEffects::Any },
    }
}

/// How a run ended: as the evaluator says, or stopped by a status at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    At(u64),
    Stopped(u64, i64),
}

/// What the hooks get.
struct Context {
    world: World,
    /// What translated code sees of the memory: the pages lie apart from each other, and what lies behind one of them is none.
    pages: Vec<u8>,
    frame: *mut Frame,
    /// Return address of the last hook that stopped.
    ra: u64,
}

/// Where a page of the memory lies in [`Context::pages`].
fn page_at(page: usize) -> usize {
    [0x4000, 0, 0x6000, 0x2000][page]
}

/// Bytes of [`Context::pages`].
const PAGES: usize = 0x8000;

impl Context {
    /// Brings the memory from where translated code sees it, or there.
    fn copy(&mut self, out: bool) {
        for (n, page) in self.world.mem.chunks_exact_mut(4096).enumerate() {
            let seen = &mut self.pages[page_at(n)..][..4096];
            if out { seen.copy_from_slice(page) } else { page.copy_from_slice(seen) }
        }
    }
    /// What leads from a guest address in the page to where translated code finds it.
    fn addend(&self, page: usize) -> u64 {
        (self.pages.as_ptr() as u64 + page_at(page) as u64).wrapping_sub(MEM + 4096 * page as u64)
    }
    /// Runs `f` on the world with the frame's slots.
    fn with<T>(&mut self, ra: u64, f: impl FnOnce(&mut World) -> Result<T, u64>) -> Result<T, u64> {
        // SAFETY: the frame outlives the run, and nothing else refers to it while a hook runs.
        let frame = unsafe { &mut *self.frame };
        self.world.slots = frame.slots;
        self.copy(false);
        let r = f(&mut self.world);
        self.copy(true);
        frame.slots = self.world.slots;
        if r.is_err() {
            self.ra = ra;
        }
        r
    }
}

#[repr(C)]
pub struct Pair(u64, u64);

fn pair(r: Result<u64, u64>) -> Pair {
    // Garbage in the caller-saved registers, so that nobody relies on them.
    match r {
        Ok(v) => Pair(v, 0),
        Err(s) => Pair(0x5a5a, s),
    }
}

use ir::eval::Env;

/// Destroys what a called function may destroy.
fn clobber() {
    // SAFETY: only call-clobbered registers are written, and they are declared.
    unsafe {
        std::arch::asm!(
            "mov rcx, 0x1111", "mov rsi, 0x2222", "mov rdi, 0x3333", "mov r8, 0x4444", "mov r9, 0x5555",
            "mov r10, 0x6666", "mov r11, 0x7777",
            "pcmpeqd xmm0, xmm0", "pcmpeqd xmm1, xmm1", "pcmpeqd xmm2, xmm2", "pcmpeqd xmm3, xmm3",
            "pcmpeqd xmm4, xmm4", "pcmpeqd xmm5, xmm5", "pcmpeqd xmm6, xmm6", "pcmpeqd xmm7, xmm7",
            "pcmpeqd xmm8, xmm8", "pcmpeqd xmm9, xmm9", "pcmpeqd xmm10, xmm10",
            out("rcx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _,
            out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _,
        )
    }
}

// SAFETY (all hooks): `c` is the context word, which `run` sets to a live `Context`; `args` points to scratch words.
unsafe extern "sysv64" fn hook_load(c: *mut Context, va: u64, m: u64, ra: u64) -> Pair {
    clobber();
    pair(unsafe { &mut *c }.with(ra, |w| w.load(va, MemOp(m as u8))))
}
/// The first page is had for all, the second for loads only, the third by nobody.
unsafe extern "sysv64" fn hook_fill(c: *mut Context, first: u64, last: u64, need: u64, ra: u64) -> Pair {
    clobber();
    let page = first.wrapping_sub(MEM) >> 12;
    let had = page == 0 || page == 1 && need == 0;
    if had && (first ^ last) >> 12 == 0 {
        Pair(unsafe { &*c }.addend(page as usize), 0)
    } else {
        Pair(0, ALONE | ra << 8)
    }
}
/// The same, without consequences.
unsafe extern "sysv64" fn hook_attempt(c: *mut Context, first: u64, last: u64, need: u64) -> Pair {
    clobber();
    let page = first.wrapping_sub(MEM) >> 12;
    let had = page == 0 || page == 1 && need == 0;
    let had = had && (first ^ last) >> 12 == 0;
    if had { Pair(unsafe { &*c }.addend(page as usize), 0) } else { Pair(0x5a5a, 1) }
}
unsafe extern "sysv64" fn hook_store(c: *mut Context, va: u64, v: u64, m: u64, ra: u64) -> Pair {
    clobber();
    pair(unsafe { &mut *c }.with(ra, |w| w.store(va, v, MemOp(m as u8)).map(|()| 0)))
}
unsafe extern "sysv64" fn hook_amo(c: *mut Context, a: *const [u64; 4], imm: u64, ra: u64) -> Pair {
    let [va, v, ..] = unsafe { *a };
    clobber();
    pair(unsafe { &mut *c }.with(ra, |w| w.amo((imm >> 8 & 15) as u8, va, v, MemOp(imm as u8))))
}
unsafe extern "sysv64" fn hook_cas(c: *mut Context, a: *const [u64; 4], m: u64, ra: u64) -> Pair {
    let [va, e, n, _] = unsafe { *a };
    clobber();
    pair(unsafe { &mut *c }.with(ra, |w| w.cas(va, e, n, MemOp(m as u8))))
}
unsafe extern "sysv64" fn hook_store_cond(c: *mut Context, a: *const [u64; 4], m: u64, ra: u64) -> Pair {
    let [va, e, n, _] = unsafe { *a };
    clobber();
    pair(unsafe { &mut *c }.with(ra, |w| w.store_cond(va, e, n, MemOp(m as u8))))
}
unsafe extern "sysv64" fn hook_helper(c: *mut Context, id: u64, a: *const [u64; 4], ra: u64) -> Pair {
    let args = unsafe { *a };
    clobber();
    pair(unsafe { &mut *c }.with(ra, |w| w.call(id as u16, &args[..helpers(id as u16).args as usize])))
}
unsafe extern "sysv64" fn hook_lookup(_: *mut Context) -> Pair {
    Pair(0, LOOKED_UP)
}
unsafe extern "sysv64" fn hook_soft(c: *mut Context, what: u64, a: *const [u64; 4]) -> u64 {
    let args = unsafe { *a };
    clobber();
    let (op, ty) = host::soft_operation(what).unwrap();
    let (x, flags) = ir::eval::float(op, ty, |k| args[k]).unwrap();
    let frame = unsafe { &mut *(*c).frame };
    frame.slots[FLAGS as usize] |= flags as u64;
    x
}

thread_local! {
    static WATCHING: std::cell::Cell<*mut Frame> = const { std::cell::Cell::new(std::ptr::null_mut()) };
}

/// The contract's handler of traps (`host::Layout::watched`).
extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over a context of this type; only code that `run_watching` has entered has exceptions unmasked.
    unsafe {
        let control = &mut (*(*context.cast::<libc::ucontext_t>()).uc_mcontext.fpregs).mxcsr;
        let watched = !*control >> 7 & 0x3f;
        assert!(watched != 0, "a trap that nobody asked for");
        *control = *control & !watched | host::MASKED;
        let frame = &mut *WATCHING.get();
        (frame.watched, frame.mxcsr) = (-1, host::MASKED);
    }
}

fn catch_traps() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: plain data; the handler does what one may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_trap as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGFPE, &action, std::ptr::null_mut());
        }
    });
}

/// Executable memory with the common code, and a TLB whose four entries for `MEM` are: all, read only, none, none.
pub struct Machine {
    memory: *mut u8,
    pub emitter: Emitter,
    /// One that emits the same for another place.
    twin: Emitter,
    pub stubs: Stubs,
    pub code: Code,
    tlb: Vec<[u64; 2]>,
    pub jump_cache: Vec<[u64; 2]>,
    pub calls: Vec<[u64; 2]>,
    pub code_pages: Vec<u64>,
    /// Of the next block; see [`host::Placement::reach`].
    pub reach: (i64, i64),
    /// See [`host::Placement::alone`].
    pub alone: bool,
    /// See [`host::Placement::wandering`] and [`host::Placement::steady`].
    pub wandering: Vec<u16>,
    pub steady: Vec<u16>,
    /// The last block was left by a guarded link whose guard let it pass.
    pub passed: bool,
    /// The table of split groups.
    pub splits: Vec<[u64; 2]>,
}

const SIZE: usize = 1 << 20;
const CODE_AT: usize = 1 << 15;
/// Where the code that is rarely reached is placed.
const APART_AT: usize = CODE_AT + (SIZE - CODE_AT) / 2;

impl Machine {
    pub fn new(features: Features, sites: bool) -> Machine {
        // SAFETY: a fresh anonymous mapping.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        } as *mut u8;
        assert!(memory as isize != -1);
        let mut cfg = config(features);
        let at = |o: usize| o as i32 - BIAS;
        // One vCPU is what remembers pages in the tests; atomics are made otherwise for more.
        cfg.parallel = !sites;
        cfg.sites = sites.then_some(host::Sites {
            tags: at(std::mem::offset_of!(Frame, site_tags)),
            addends: at(std::mem::offset_of!(Frame, site_addends)),
            guesses: at(std::mem::offset_of!(Frame, site_guesses)),
            count: SITES as u32,
        });
        let hooks = Hooks {
            load: hook_load as *const () as u64,
            store: hook_store as *const () as u64,
            fill: hook_fill as *const () as u64,
            attempt: hook_attempt as *const () as u64,
            amo: hook_amo as *const () as u64,
            cas: hook_cas as *const () as u64,
            store_cond: hook_store_cond as *const () as u64,
            helper: hook_helper as *const () as u64,
            lookup: hook_lookup as *const () as u64,
            soft: hook_soft as *const () as u64,
        };
        let (bytes, stubs) = emit_stubs(&cfg, &hooks, memory as u64);
        assert!(bytes.len() < CODE_AT, "{}", bytes.len());
        // SAFETY: the mapping is larger than the stubs.
        unsafe { memory.copy_from(bytes.as_ptr(), bytes.len()) };
        Machine {
            memory,
            emitter: Emitter::new(cfg.clone(), stubs),
            twin: Emitter::new(cfg, stubs),
            stubs,
            code: Code::default(),
            // Each for a page that has another entry.
            tlb: (0..4096).map(|i| [(i ^ 2048) << 12 | 1, 0]).collect(),
            jump_cache: vec![[u64::MAX, 0]; host::JUMPS],
            calls: vec![[u64::MAX, 0]; host::CALLS],
            code_pages: vec![0; host::CODE_PAGES],
            reach: (0, 0x1000),
            alone: false,
            wandering: Vec::new(),
            steady: Vec::new(),
            passed: false,
            splits: vec![[0, 0]; host::SPLITS],
        }
    }
    /// Translates a block into the code memory.
    pub fn translate(&mut self, block: &Block) -> Result<(), host::TooComplex> {
        self.translate_as(block, None)
    }
    /// The same as a region if there are `values` that slots held once.
    pub fn translate_as(
        &mut self,
        block: &Block,
        values: Option<&[u64; SLOTS]>,
    ) -> Result<(), host::TooComplex> {
        let base = self.memory as u64;
        // What calls have been made from is overwritten.
        self.calls.fill([u64::MAX, 0]);
        let placement = host::Placement {
            base: base + CODE_AT as u64,
            apart: base + APART_AT as u64,
            entry: ENTRY,
            reach: self.reach,
            expected: None,
            alone: self.alone,
            floats: true,
            insns: 1,
            region: values.is_some(),
            wandering: &self.wandering,
            steady: &self.steady,
            values,
        };
        // Code that was made for another place and has moved here is the same.
        let (further, apart_further) = (0x1238, 0x40_0010);
        let elsewhere = host::Placement {
            base: placement.base + further,
            apart: placement.apart + apart_further,
            ..placement
        };
        let mut moved = Code::default();
        let there = self.twin.emit(block, &helpers, &elsewhere, &mut moved);
        moved.move_by((further as u32).wrapping_neg(), (apart_further as u32).wrapping_neg());
        let here = self.emitter.emit(block, &helpers, &placement, &mut self.code);
        assert_eq!(here, there);
        here?;
        assert_eq!(moved, self.code, "{block}");
        let (usual, apart) = self.code.bytes.split_at(self.code.hot as usize);
        assert!(usual.len() < APART_AT - CODE_AT && apart.len() < SIZE - APART_AT);
        // SAFETY: both fit, as just asserted.
        unsafe {
            self.memory.add(CODE_AT).copy_from(usual.as_ptr(), usual.len());
            self.memory.add(APART_AT).copy_from(apart.as_ptr(), apart.len());
        }
        Ok(())
    }
    /// Writes a number into the translated block, at this offset of its usual code.
    pub fn patch(&mut self, at: u32, number: u32) {
        assert!(at + 4 <= self.code.hot);
        // SAFETY: it lies in the block, as just asserted.
        unsafe { self.memory.add(CODE_AT + at as usize).copy_from(number.to_le_bytes().as_ptr(), 4) };
    }
    /// Runs the translated block on `world`.
    pub fn run(&mut self, world: &mut World, interrupt: u32) -> Outcome {
        self.run_watching(world, interrupt, None)
    }
    /// The same; all float flags but `masked`, which the world has, are watched for.
    pub fn run_watching(&mut self, world: &mut World, interrupt: u32, masked: Option<u8>) -> Outcome {
        let mut frame = Box::new(Frame {
            interrupt,
            mode: 3 << 25,
            mxcsr: 0x1f80,
            entry_mask: 4095 << 4,
            page_mask: !4095,
            tlb: self.tlb.as_ptr() as u64,
            jump_cache: self.jump_cache.as_ptr() as u64,
            page: PAGE,
            pc: 0xdead,
            context: 0,
            scratch: [0; 26],
            slots: world.slots,
            site_tags: [u64::MAX; SITES],
            site_addends: [0x5555; SITES],
            site_guesses: [0x5555; SITES],
            calls: self.calls.as_ptr() as u64,
            code_pages: self.code_pages.as_ptr() as u64,
            watched: -1,
            polls: 0,
            splits: self.splits.as_ptr() as u64,
        });
        let mut c =
            Box::new(Context { world: world.clone(), pages: vec![0xdb; PAGES], frame: &mut *frame, ra: 0 });
        c.copy(true);
        let first = (MEM >> 12) as usize & 4095;
        self.tlb[first] = [MEM, c.addend(0)];
        self.tlb[first + 1] = [(MEM + 4096) | 1, c.addend(1)];
        frame.context = &raw mut *c as u64;
        if let Some(masked) = masked {
            catch_traps();
            WATCHING.set(&raw mut *frame);
            frame.watched = masked as i32;
            frame.mxcsr = host::MASKED & !(host::flags_to_mxcsr(!masked) << 7);
        }
        let mut mxcsr = 0u32;
        let state = (&raw mut *frame as u64 + BIAS as u64) as *mut u8;
        // SAFETY: the bytes at `enter` are a function of this signature made for this frame, and the code was made for
        // these stubs.
        let value = unsafe {
            let enter: extern "sysv64" fn(*mut u8, *const u8) -> u64 =
                std::mem::transmute(self.stubs.enter as *const ());
            let value = enter(state, self.memory.add(CODE_AT));
            std::arch::asm!("stmxcsr [{}]", in(reg) &mut mxcsr);
            let clean = 0x1f80u32;
            std::arch::asm!("ldmxcsr [{}]", in(reg) &clean);
            value
        };
        c.copy(false);
        frame.slots[FLAGS as usize] |= host::flags_from_mxcsr(mxcsr) as u64;
        c.world.slots = frame.slots;
        let offset_of = |ra: u64| {
            let at = (ra - self.memory as u64) as usize;
            if at < APART_AT { (at - CODE_AT) as u32 } else { (at - APART_AT) as u32 + self.code.hot }
        };
        let insn_at = |ra: u64| {
            let offset = offset_of(ra);
            let points = &self.code.points;
            let n = points
                .binary_search_by_key(&offset, |p| p.return_offset)
                .expect("a point for the return address");
            points[n].insn
        };
        let outcome = match exit::split(value) {
            (LOOKED_UP, _) => Outcome::At(frame.pc),
            (FAULT | MISALIGNED | HELPER_TRAP, _) => Outcome::Stopped(value, insn_at(c.ra)),
            (exit::INTERRUPT | ALONE, at) => Outcome::At(frame.page.wrapping_add(insn_at(at) as u64)),
            (exit::LINK, at) => {
                let stub = offset_of(at - exit::CALL_BYTES);
                let link = self
                    .code
                    .links
                    .iter()
                    .find(|l| l.stub == Some(stub) || l.at == stub + 1)
                    .expect("a link for the return address");
                self.passed = link.guard.is_some() && link.stub != Some(stub);
                // The way to the link has told the frame the page.
                Outcome::At(frame.page.wrapping_add(link.target as u64 & 4095))
            }
            other => panic!("unknown exit {other:x?}"),
        };
        *world = c.world.clone();
        outcome
    }
}

/// Runs the evaluator on `world`.
pub fn evaluate(block: &Block, world: &mut World) -> Outcome {
    match ir::eval::eval(block, world) {
        Ok(End::Goto(o)) => Outcome::At(PAGE.wrapping_add(o as u64)),
        Ok(End::Jump(a)) => Outcome::At(a),
        Ok(End::Leave) => Outcome::At(0xdead),
        Err((s, at)) => Outcome::Stopped(s, at),
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    /// A number as programs and floating point have them.
    pub fn value(&mut self) -> u64 {
        match self.below(14) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => i64::MIN as u64,
            4 => i32::MIN as i64 as u64,
            5 => self.below(64),
            6 => self.below(256).wrapping_neg(),
            7 => 1 << self.below(64),
            8 => f64::to_bits(self.below(1000) as f64 / 8.0 - 50.0),
            9 => 0x7ff0_0000_0000_0000 | self.below(2) << 63 | self.below(3) << 51 | self.below(2),
            10 => 0xffff_ffff_0000_0000 | f32::to_bits(self.below(1000) as f32 / 8.0 - 50.0) as u64,
            11 => 0xffff_ffff_7f80_0000 | self.below(2) << 31 | self.below(3) << 21 | self.below(2),
            12 => self.next() as u32 as u64,
            _ => self.next(),
        }
    }
}
