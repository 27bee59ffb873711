//! What the vCPUs of a machine share: code memory, the code cache, the translator.

use crate::bus::Bus;
use crate::cache::{Cache, CodePage, Id, Key, NewBlock, WIDE};
use crate::code::CodeMemory;
use crate::heat::Heat;
use crate::hot::Hot;
use crate::index::Index;
use crate::options::Options;
use crate::perf::Perf;
use crate::persist::{Name, Persistent, build_id, head};
use crate::profile::{self, Activity, Profile};
use crate::region::Regions;
use crate::run::Tcg;
use crate::settle::{Owned, Settling};
use crate::tlb::{self, Set};
use crate::trace::{Trace, points};
use cpu::{Built, CpuHandle, Cpus, Fetch, Frame, Guest};
use ir::{HelperInfo, SLOTS};
use memory::{AddressSpace, CodeWatcher, FlatView, Listener, Ram};
use std::cell::Cell;
use std::mem::offset_of;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// The state register points this far into the frame, so that more of it is near.
pub const FRAME_BIAS: usize = 128;

/// Guest instructions of a region at most.
const REGION_LIMIT: u32 = 480;

/// The same of a region that is checked: some are left early and checked again.
const CHECKED_REGION_LIMIT: u32 = 20;

/// Bytes of a page.
const PAGE: usize = 4096;

/// Room that one block may need at most.
const BLOCK_ROOM: usize = 64 << 10;

/// One translation of so many is timed, for all of them.
const TIMED: u64 = 8;

/// Branches and jumps that a block may have in it at most, besides the one that ends it.
const BRANCHES: u32 = 4;

/// What the vCPUs of a machine share.
pub struct Shared {
    /// The machine's memory as the vCPUs see it.
    pub memory: Arc<AddressSpace>,
    /// The vCPUs.
    pub cpus: Arc<Cpus>,
    /// Options of `-accel tcg`.
    pub options: Options,
    /// Instructions of a block at most; can be changed.
    block_limit: AtomicU32,
    pub(crate) code: Arc<CodeMemory>,
    pub(crate) enter: u64,
    pub(crate) epoch: AtomicU64,
    full: AtomicBool,
    cache: Mutex<Cache>,
    pub(crate) index: Arc<Index>,
    pub(crate) heat: Heat,
    translator: Mutex<Translator>,
    entries: Mutex<Vec<Owned>>,
    settling: Settling,
    activities: Mutex<Vec<Arc<Activity>>>,
    pub(crate) profile: Profile,
    pub(crate) function_names: Vec<&'static str>,
    pub(crate) hot: Hot,
    pub(crate) regions: Regions,
    perf: Perf,
    pub(crate) persistent: Persistent,
    /// What shapes the code, besides the CPU model: see `persist.rs`.
    maker: String,
}

/// What is to be translated.
pub(crate) struct At<'a> {
    pub(crate) mode: u32,
    pub(crate) page: CodePage,
    pub(crate) offset: u16,
    /// The page that the instruction there crosses into.
    pub(crate) second: Option<u64>,
    /// The virtual address, for the log.
    pub(crate) pc: u64,
    /// Whose vCPU's thread this is; `None` for the regions' thread, which makes translations only of pages that have some.
    pub(crate) me: Option<&'a Activity>,
    /// Which pages of code are mapped there, for links that ask for that when they are taken.
    pub(crate) mapped: Option<&'a Set>,
    /// Whether each access is to be on its own.
    pub(crate) alone: bool,
    /// For a region, what is known of its way.
    pub(crate) way: Way<'a>,
}

/// The way that a region follows, and what a walk along it has told: offsets of instructions in the page, from 4096 on in the next.
#[derive(Clone, Copy, Default)]
pub(crate) struct Way<'a> {
    /// The instructions, and where it goes then; empty for a block.
    pub(crate) path: &'a [u16],
    /// See [`Fetch::skips`].
    pub(crate) skips: &'a [u16],
    /// Those that load from one page after another, in ascending order.
    pub(crate) wandering: &'a [u16],
    /// See [`host::Placement::steady`].
    pub(crate) steady: &'a [u16],
    /// What the slots held once when that was begun.
    pub(crate) values: Option<&'a [u64; SLOTS]>,
    /// The page that it goes on into.
    pub(crate) beside: Option<Beside>,
}

/// The page that a region goes on into.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    /// Its host address.
    pub(crate) host: u64,
    /// See [`host::Placement::expected`].
    pub(crate) expected: Option<u64>,
}

impl At<'_> {
    /// The page of code that is mapped so many pages from this one, as far as is known.
    fn code_page(&self, page: i16) -> Option<CodePage> {
        self.mapped?.code_page(self.pc.wrapping_add_signed((page as i64) << 12))
    }
    /// See [`host::Placement::reach`]; the page lies at this offset in its RAM block.
    fn reach(&self, offset: u64) -> (i64, i64) {
        let before = if self.page.wide { (offset & (WIDE - 1)) as i64 } else { 0 };
        (-before, if self.page.wide { WIDE as i64 - before } else { 4096 })
    }
}

/// What has been translated.
pub(crate) struct Made {
    pub(crate) id: Id,
    /// Host address.
    pub(crate) address: u64,
    /// Guest instructions; 0 if it had been there before.
    pub(crate) insns: u32,
}

/// Buffers of the translation, used by one thread at a time.
struct Translator {
    builder: ir::Builder,
    block: ir::Block,
    pipeline: opt::Pipeline,
    emitter: host::Emitter,
    code: host::Code,
    helpers: Vec<HelperInfo>,
    /// Where the block's instructions begin, if they are counted.
    insns: Vec<u16>,
    pages: Box<[u8; 2 * PAGE]>,
}

/// Tells the code cache of stores into translated pages.
struct Watch {
    shared: Weak<Shared>,
    ram: Weak<Ram>,
}

impl CodeWatcher for Watch {
    fn code_written(&self, offset: u64, len: u64) {
        let (Some(shared), Some(ram)) = (self.shared.upgrade(), self.ram.upgrade()) else { return };
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let (page, next) = (at & !4095, ((at | 4095) + 1).min(end));
            if ram.has_code(page) {
                // Under the cache's lock: a translation that begins meanwhile marks the page again.
                let mut cache = shared.cache();
                if cache.invalidate(ram.host_ptr() as u64 + page, at - page, next - at) {
                    ram.unprotect_code(page, 4096);
                }
            }
            at = next;
        }
    }
}

/// Makes the vCPUs take up a new memory map.
struct Follow(Weak<Cpus>);

impl Listener for Follow {
    fn changed(&self, _: &FlatView, _: &FlatView) {
        if let Some(cpus) = self.0.upgrade() {
            cpus.all().iter().for_each(|c| c.kick());
        }
    }
}

impl Translator {
    /// Builds the block at `offset` of the page at hand; with `apart`, an instruction that cannot be run twice gets a block of its
    /// own.
    fn build<G: Guest>(
        &mut self,
        mode: u32,
        config: &G::Config,
        (offset, next, way): (u16, Option<[u8; 16]>, &Way<'_>),
        goes_on: &dyn Fn(u16) -> bool,
        limit: u32,
        apart: bool,
    ) -> Option<Built> {
        let mut limit = limit;
        loop {
            self.builder.clear();
            let page = &self.pages[..if way.beside.is_some() { 2 * PAGE } else { PAGE }];
            let fetch = Fetch { offset, page, next, limit, goes_on, path: way.path, skips: way.skips };
            let built = G::build(mode, config, &fetch, &self.builder);
            if built.insns == 0 {
                return None;
            }
            self.builder.swap(&mut self.block);
            if !apart {
                return Some(built);
            }
            match first_unrepeatable(&self.block, &self.helpers) {
                Some(n) if n > 0 && limit > n => limit = n,
                Some(0) if limit > 1 => limit = 1,
                _ => return Some(built),
            }
        }
    }
}

/// Index of the first guest instruction whose effects go beyond slots and memory.
fn first_unrepeatable(block: &ir::Block, helpers: &[HelperInfo]) -> Option<u32> {
    let mut insn = 0u32;
    for i in &block.insts {
        match i.op {
            ir::Op::Insn => insn += 1,
            ir::Op::Call => {
                let any = |h: &HelperInfo| h.effects == ir::HelperEffects::Any;
                if helpers.get(i.imm as usize).is_none_or(any) {
                    return Some(insn.saturating_sub(1));
                }
            }
            _ => {}
        }
    }
    None
}

fn layout() -> host::Layout {
    let at = |offset: usize| offset as i32 - FRAME_BIAS as i32;
    host::Layout {
        interrupt: at(offset_of!(Frame, interrupt)),
        mxcsr: at(offset_of!(Frame, mxcsr)),
        watched: at(offset_of!(Frame, watched)),
        polls: at(offset_of!(Frame, polls)),
        splits: at(offset_of!(Frame, splits)),
        context: at(offset_of!(Frame, context)),
        entry_mask: at(offset_of!(Frame, entry_mask)),
        page_mask: at(offset_of!(Frame, page_mask)),
        tlb: at(offset_of!(Frame, tlb)),
        jump_cache: at(offset_of!(Frame, jump_cache)),
        page: at(offset_of!(Frame, page)),
        calls: at(offset_of!(Frame, calls)),
        code_pages: at(offset_of!(Frame, code_pages)),
        pc: at(offset_of!(Frame, pc)),
        mode_tag: at(offset_of!(Frame, interrupt)),
        scratch: at(offset_of!(Frame, scratch)),
        slots: at(offset_of!(Frame, slots)),
    }
}

impl Shared {
    /// Prepares the engine of a machine whose vCPUs are guests of kind `G`.
    ///
    /// # Errors
    /// If the host gives no memory for code.
    pub fn new<G: Guest>(
        memory: Arc<AddressSpace>,
        cpus: Arc<Cpus>,
        options: Options,
    ) -> std::io::Result<Arc<Shared>> {
        let code = Arc::new(CodeMemory::new(options.code_bytes)?);
        let config = host::Config {
            layout: layout(),
            tlb: host::Tlb {
                entries_log2: tlb::ENTRIES_LOG2,
                entry_log2: tlb::ENTRY_LOG2,
                tag: tlb::Entry::TAG as i32,
                addend: offset_of!(tlb::Entry, addend) as i32,
            },
            hot_slots: G::HOT_SLOTS.to_vec(),
            stack_slot: G::STACK_SLOT,
            flags_slot: G::FLAGS_SLOT,
            hot_floats: G::HOT_FLOATS.to_vec(),
            features: host::Features::detect(),
            sites: Some(host::Sites {
                tags: offset_of!(Frame, site_tags) as i32 - FRAME_BIAS as i32,
                addends: offset_of!(Frame, site_addends) as i32 - FRAME_BIAS as i32,
                guesses: offset_of!(Frame, site_guesses) as i32 - FRAME_BIAS as i32,
                count: cpu::SITES as u32,
            }),
            parallel: cpus.all().len() > 1,
            loops: !options.nochain,
            budget: cpus.counter().map(|_| offset_of!(Frame, budget) as i32 - FRAME_BIAS as i32),
        };
        let (bytes, stubs) = host::emit_stubs(&config, &Tcg::<G>::hooks(), code.address(0));
        code.write(0, &bytes);
        let enter = stubs.enter;
        let maker = format!(
            "{config:?} common: {} passes: {} insns: {}",
            bytes.len(),
            options.passes,
            options.block_limit
        );
        let perf = Perf::new(options.perf_map, options.perf_dump)?;
        perf.add(code.address(0), &bytes, "common code");
        let cache = Cache::new(code.clone(), bytes.len(), &stubs);
        let shared = Arc::new(Shared {
            index: cache.index(),
            cache: Mutex::new(cache),
            translator: Mutex::new(Translator {
                builder: ir::Builder::new(),
                block: ir::Block::default(),
                pipeline: opt::Pipeline::new(),
                emitter: host::Emitter::new(config, stubs),
                code: host::Code::default(),
                insns: Vec::new(),
                helpers: G::HELPERS.iter().map(|h| h.info).collect(),
                pages: Box::new([0; 2 * PAGE]),
            }),
            memory,
            cpus,
            block_limit: AtomicU32::new(options.block_limit),
            heat: Heat::new(if options.verify { 0 } else { options.warmup }),
            options,
            code,
            enter,
            epoch: AtomicU64::new(0),
            full: AtomicBool::new(false),
            entries: Mutex::default(),
            settling: Settling::default(),
            activities: Mutex::default(),
            profile: Profile::default(),
            function_names: G::HELPERS.iter().map(|h| h.info.name).collect(),
            hot: Hot::default(),
            regions: Regions::default(),
            perf,
            persistent: Persistent::new(),
            maker,
        });
        shared.memory.listen(Arc::new(Follow(Arc::downgrade(&shared.cpus))));
        if shared.options.profile {
            profile::watch(&shared)?;
        }
        Ok(shared)
    }

    /// The code cache, locked.
    pub fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What each vCPU counts.
    pub(crate) fn activities(&self) -> MutexGuard<'_, Vec<Arc<Activity>>> {
        self.activities.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Makes the TLB entries of a vCPU known, so that write tags can be taken away.
    pub(crate) fn register(&self, owned: Owned) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(owned);
    }
    /// From here on every store to the page is told to us, but for those that other vCPUs than `me` are making now.
    fn protect(self: &Arc<Self>, ram: &Arc<Ram>, offset: u64, me: &Activity) {
        self.watch(ram);
        ram.protect_code(offset, 4096);
        let host_page = ram.host_ptr() as u64 + offset;
        let all = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for owned in all.iter() {
            if owned.entries.forget_writes(host_page) && !std::ptr::eq(&*owned.activity, me) {
                self.settling.wait_for(host_page, owned);
            }
        }
    }
    /// Hears of stores into pages of `ram` that have translations.
    fn watch(self: &Arc<Self>, ram: &Arc<Ram>) {
        ram.watch_code(Arc::new(Watch { shared: Arc::downgrade(self), ram: Arc::downgrade(ram) }));
    }
    pub(crate) fn needs_room(&self) -> bool {
        self.full.load(Relaxed)
    }
    /// Has everything forgotten as soon as all vCPUs have come out.
    pub(crate) fn ask_clear(self: &Arc<Self>, handle: &CpuHandle) {
        let shared = self.clone();
        handle.async_run_on(move |_| shared.clear());
    }
    /// Instructions of a region at most.
    fn region_limit(&self) -> u32 {
        if self.options.verify { CHECKED_REGION_LIMIT } else { REGION_LIMIT }
    }
    /// Instructions of a block at most.
    pub fn block_limit(&self) -> u32 {
        self.block_limit.load(Relaxed)
    }
    /// Instructions that a block may have: of now, or left from before the limit was changed.
    pub(crate) fn longest_block(&self) -> u32 {
        self.options.block_limit.max(Options::default().block_limit)
    }
    /// Sets how many instructions a block has at most; 0 is as many as usual. What has been translated is forgotten.
    pub fn set_block_limit(self: &Arc<Self>, limit: u32) {
        let usual = Options::default().block_limit;
        self.block_limit.store(if limit == 0 { usual } else { limit }, Relaxed);
        if let Some(handle) = self.cpus.all().first() {
            self.full.store(true, Release);
            self.ask_clear(handle);
        }
    }
    /// Forgets all translations. Not to be called from inside the accelerator.
    pub fn clear(&self) {
        self.cpus.alone(|| {
            // The regions' thread may be translating.
            let _translator = self.translator.lock().unwrap_or_else(PoisonError::into_inner);
            if self.full.swap(false, AcqRel) {
                let began = Instant::now();
                // The pages stay marked until the first store finds them without translations.
                let mut cache = self.cache();
                cache.clear();
                cache.counts.longest_clear =
                    cache.counts.longest_clear.max(began.elapsed().as_micros() as u64);
                drop(cache);
                self.epoch.fetch_add(1, AcqRel);
            }
        });
    }

    /// Translates. `None`: the first instruction crosses the page's end and no second page was given, there is no room, or
    /// somebody is storing there.
    pub(crate) fn translate<G: Guest>(
        self: &Arc<Self>,
        config: &G::Config,
        bus: &Bus,
        at: &At<'_>,
    ) -> Option<Made> {
        let key = Key::new(at.page, at.offset, at.mode);
        let key = if at.alone { key.alone() } else { key };
        let mut translator = self.translator.lock().unwrap_or_else(PoisonError::into_inner);
        let t = &mut *translator;
        let way = &at.way;
        let is_region = !way.path.is_empty();
        let page = bus.ram_at(at.page.host)?;
        let beside = way.beside.map(|beside| beside.host);
        let second_page = at.second.or(beside);
        let second = match second_page {
            None => None,
            Some(second) => Some(bus.ram_at(second)?),
        };
        let pages = || [Some(page), second].into_iter().flatten();
        let (mut start, mut limit) = (at.offset as usize, self.block_limit());
        let mut end = (start + limit as usize * G::MAX_INSN as usize).min(PAGE);
        if is_region {
            (start, end, limit) = (0, PAGE, self.region_limit());
        }
        let (usual, apart, began) = {
            let mut cache = self.cache();
            let found = match at.second {
                None => cache.find(key).filter(|_| !is_region),
                Some(second) => cache.find_crossing(key, second),
            };
            if let Some((id, address)) = found {
                return Some(Made { id, address, insns: 0 });
            }
            if !cache.has_room(BLOCK_ROOM) {
                self.full.store(true, Release);
                return None;
            }
            cache.begin([
                (at.page.host, start as u64, end as u64),
                (second_page.unwrap_or(0), 0, if is_region { PAGE as u64 } else { G::MAX_INSN as u64 }),
            ]);
            // Nobody else places anything while we have the translator.
            let (usual, apart) = cache.next_offsets();
            let timed = is_region || cache.counts.translated.is_multiple_of(TIMED);
            (usual, apart, timed.then(Instant::now))
        };
        for (ram, offset) in pages() {
            if !ram.has_code(offset) {
                self.protect(ram, offset, at.me?);
            }
        }
        if [Some(at.page.host), second_page].into_iter().flatten().any(|page| !self.settling.is_over(page)) {
            return None;
        }
        // Whole words: a store that others make now tells the code cache only afterwards, and half an instruction of it would run
        // until then.
        for part in [start & !7..end.next_multiple_of(8), PAGE - 8..PAGE] {
            page.0.read(page.1 + part.start as u64, &mut t.pages[part]);
        }
        let mut next = None;
        match second {
            Some((ram, offset)) if is_region => ram.read(offset, &mut t.pages[PAGE..]),
            Some((ram, offset)) => ram.read(offset, next.insert([0; 16])),
            None => {}
        }
        let name = self.persistent_name(at, page.1);
        let head =
            head(at.offset, |at| t.pages[at as usize..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b)));
        if let Some(name) = name
            && let Some(made) = self.recall::<G>(t, at, page, (name, head, start..end))
        {
            return Some(made);
        }
        t.insns.clear();
        let placement = host::Placement {
            base: self.code.address(usual),
            apart: self.code.address(apart),
            entry: at.offset as i64,
            reach: at.reach(page.1),
            expected: way.beside.and_then(|beside| beside.expected),
            floats: G::has_floats(at.mode),
            insns: 0,
            region: is_region,
            alone: at.alone,
            wandering: way.wandering,
            steady: way.steady,
            values: way.values,
        };
        let built = self.build::<G>(t, config, at, next, limit)?;
        if is_region
            && let Some((id, address)) =
                self.cache().covers(key, &way.path[..=built.insns as usize], built.bytes)
        {
            return Some(Made { id, address, insns: built.insns });
        }
        self.emit::<G>(t, config, at, next, &host::Placement { insns: built.insns, ..placement })?;
        self.name_code(&t.code, (placement.base, placement.apart), at.pc, (at.mode, is_region));
        let block = &t.block;
        let twice = self.options.verify && first_unrepeatable(block, &t.helpers).is_none();
        let repeatable = twice.then_some(built.insns as u16);
        if is_region && self.options.verify && !twice {
            return None;
        }
        let took = began.map_or(0, |began| began.elapsed().as_nanos() as u64);
        let mut cache = self.cache();
        if cache.is_disturbed() || pages().any(|(ram, offset)| !ram.has_code(offset)) {
            // Somebody has stored there since we read it, and found nothing to forget.
            return None;
        }
        self.regions.wake();
        if is_region {
            base::trace!(points::REGION, "pc:{:#x}, insns:{}, of:{}", at.pc, built.insns, way.path.len() - 1);
            cache.counts.region_insns += built.insns as u64;
            cache.counts.region_nanoseconds += took;
        } else {
            base::trace!(points::BLOCK, "pc:{:#x}, insns:{}, bytes:{}", at.pc, built.insns, built.bytes);
            cache.counts.guest_bytes += built.length as u64;
            cache.counts.guest_insns += built.insns as u64;
            cache.counts.nanoseconds += TIMED * took;
        }
        let is_new = !self.index.knows(key);
        let (id, address) = cache.insert(NewBlock {
            key,
            second: second_page,
            offset: built.from,
            bytes: built.bytes as u16,
            floats: placement.floats,
            repeatable,
            region: is_region,
            straight: built.length == built.bytes,
            path: if is_region { &way.path[..=built.insns as usize] } else { &t.insns },
            code: &t.code,
            insns: &t.insns,
        });
        if !self.options.nochain && !self.cpus.breakpoints.any() {
            cache.link_known(id, |page| at.code_page(page));
        }
        drop(cache);
        if let Some(name) = name.filter(|_| is_new) {
            self.persistent.keep(
                (name, head, &t.pages[start..end]),
                at.page.host,
                &built,
                (usual, apart),
                &mut t.code,
            );
        }
        Some(Made { id, address, insns: built.insns })
    }
    /// Places what an earlier run has left of what is asked for, and with it the records behind that which are of the page, too: who comes to
    /// a page seldom comes for one block alone. The bytes at hand are those of the page in the range, the first of them `head`.
    fn recall<G: Guest>(
        &self,
        t: &mut Translator,
        at: &At<'_>,
        (ram, offset): (&Arc<Ram>, u64),
        (name, head, range): (Name, u64, Range<usize>),
    ) -> Option<Made> {
        let began = Instant::now();
        let first = self.persistent.find(name, head, &t.pages[range])?;
        // Whoever stores into the page from here on waits, and finds what we have placed.
        let mut cache = self.cache();
        if cache.is_disturbed() || !ram.has_code(offset) {
            return None;
        }
        ram.read(offset, &mut t.pages[..PAGE]);
        let (mut made, mut places) = (None, Vec::new());
        for (place, record) in self.persistent.from(first) {
            let Name { offset, mode, alone, reach } = record.name();
            let key = Key::new(at.page, offset, mode);
            let key = if alone { key.alone() } else { key };
            let is_here = reach == name.reach && record.is_in(&t.pages[..PAGE]);
            if !is_here || self.index.get(key).is_some() || !cache.has_room(BLOCK_ROOM) {
                break;
            }
            let (usual, apart) = cache.next_offsets();
            let Some(built) = record.code((usual, apart), &mut t.code) else { break };
            let pc = at.pc & !(PAGE as u64 - 1) | offset as u64;
            self.name_code(&t.code, (self.code.address(usual), self.code.address(apart)), pc, (mode, false));
            base::trace!(points::BLOCK, "pc:{pc:#x}, insns:{}, bytes:{}", built.insns, built.bytes);
            let (id, address) = cache.insert(NewBlock {
                key,
                second: None,
                offset: built.from,
                bytes: built.bytes as u16,
                floats: G::has_floats(mode),
                repeatable: None,
                region: false,
                straight: built.length == built.bytes,
                path: &[],
                code: &t.code,
                insns: &[],
            });
            cache.counts.guest_bytes += built.length as u64;
            made.get_or_insert(Made { id, address, insns: built.insns });
            places.push(place);
        }
        cache.counts.recalled += places.len() as u64;
        cache.counts.recalled_nanoseconds += began.elapsed().as_nanos() as u64;
        if !self.cpus.breakpoints.any() {
            cache.link_known(made.as_ref()?.id, |page| at.code_page(page));
        }
        drop(cache);
        self.regions.wake();
        self.persistent.note(&places, at.page.host);
        made
    }
    /// Tells `perf` of code that lies, its two parts, at these host addresses.
    fn name_code(
        &self,
        code: &host::Code,
        (usual, apart): (u64, u64),
        pc: u64,
        (mode, is_region): (u32, bool),
    ) {
        if self.perf.wanted() {
            let name = self.options.symbols.name(pc).map_or_else(String::new, |name| format!(" {name}"));
            let kind = if is_region { " region" } else { "" };
            let name = format!("guest {pc:#x}{name} mode {mode}{kind}");
            let (front, back) = code.bytes.split_at(code.hot as usize);
            self.perf.add(usual, front, &name);
            self.perf.add_apart(apart, back, &format!("{name} apart"));
        }
    }
    /// Builds the block that is asked for, in `t`.
    fn build<G: Guest>(
        &self,
        t: &mut Translator,
        config: &G::Config,
        at: &At<'_>,
        next: Option<[u8; 16]>,
        limit: u32,
    ) -> Option<Built> {
        // Where instructions are counted, all of a block's are taken at its entry.
        let branches = Cell::new(if self.cpus.counter().is_some() { 0 } else { BRANCHES });
        let goes_on = |offset: u16| {
            let (left, there) = (branches.get(), Key::new(at.page, offset, at.mode));
            let goes_on = left > 0
                && match self.options.verify {
                    // A verifier has met nothing before, and is to see blocks that go on in all ways.
                    true => (offset >> 1).count_ones().is_multiple_of(2),
                    // What is translated already is jumped to.
                    false => self.heat.is_met(there) && self.index.get(there).is_none(),
                };
            branches.set(left - u32::from(goes_on));
            goes_on
        };
        t.build::<G>(at.mode, config, (at.offset, next, &at.way), &goes_on, limit, self.options.verify)
    }
    /// Makes code of the block in `t`. `None` if it cannot be placed.
    fn emit<G: Guest>(
        &self,
        t: &mut Translator,
        config: &G::Config,
        at: &At<'_>,
        next: Option<[u8; 16]>,
        placement: &host::Placement<'_>,
    ) -> Option<()> {
        let trace = Trace::of(at.pc);
        let block = &mut t.block;
        if let Some(trace) = &trace {
            let mut page = t.pages[..if at.way.beside.is_some() { 2 * PAGE } else { PAGE }].to_vec();
            page.extend(next.unwrap_or_default());
            trace.built::<G>(config, &page, block);
        }
        if self.cpus.counter().is_some() || self.options.verify {
            let begins = |i: &ir::Inst| (i.op == ir::Op::Insn).then_some(i.imm as u16);
            t.insns.extend(block.insts.iter().filter_map(begins));
        }
        let helpers = &t.helpers;
        let helper = |id: u16| helpers[id as usize];
        if self.options.passes {
            t.pipeline.run(block, &helper, placement.region);
        }
        debug_assert_eq!(ir::verify::verify(block, &|id| helpers.get(id as usize).copied()), Ok(()));
        if let Some(trace) = &trace {
            trace.optimised(block);
        }
        t.emitter.emit(block, &helper, placement, &mut t.code).ok()?;
        if placement.region && t.code.bytes.len() >= i16::MAX as usize {
            // Too far for what is noted of its places.
            return None;
        }
        if let Some(trace) = &trace {
            trace.emitted(&t.code, placement);
        }
        Some(())
    }
    /// What the translation is called in the persistent cache, if it may be there; its page lies at this offset in its RAM block.
    fn persistent_name(&self, at: &At<'_>, offset: u64) -> Option<Name> {
        let is_usual =
            at.second.is_none() && at.way.path.is_empty() && self.block_limit() == self.options.block_limit;
        let reach = if at.page.wide { ((offset & (WIDE - 1)) / 4096) as u16 + 1 } else { 0 };
        (self.persistent.is_on() && is_usual && !Trace::any()).then_some(Name {
            offset: at.offset,
            mode: at.mode,
            alone: at.alone,
            reach,
        })
    }
    /// Begins to use the persistent code cache, if there is one.
    pub(crate) fn start_persistent<G: Guest>(&self, config: &G::Config) {
        let o = &self.options;
        let usual = !o.nochain && !o.verify && !o.interpret && self.cpus.counter().is_none();
        let Some(directory) = o.code_cache.clone().filter(|_| usual) else { return };
        if let Some(build) = build_id() {
            self.persistent.start(directory, format!("{build} {} {config:?}", self.maker));
        }
    }
}
