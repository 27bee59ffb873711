//! Regions: hot loops, translated once more along the way that they take.
//!
//! ```text
//! regions' thread --INTERRUPT_LOOK--> vCPU: walks some hundred instructions in the interpreter
//!        ^                               |
//!        +------------- Trail -----------+
//!        |
//!        +--> paths (choose the loop, cut it where it leaves a page and the next) --> Shared::translate --> Cache::insert takes the blocks' place
//! ```
//!
//! A block ends at the first branch, so whatever a loop does not change is fetched and checked again in each of its blocks. A
//! region is a block that follows the guest on: through branches whichever way it went, into functions of the same page or the next and
//! out of them again, around short loops several times. Where the guest goes another way than it did on the walk the region is left like
//! any block, and whoever finds nothing better goes on in the blocks that are there. So nothing that the passes or
//! the host's half of the translator know has to be different for regions; they only see more at a time: values stay in registers from
//! branch to branch, accesses of one base in many turns of a loop share one look into the TLB.
//!
//! What is hot is found by looking, up to two thousand times a second, at where the vCPUs are: a vCPU says so when it next looks at its
//! interrupt word, at a jump back. Whoever has been seen twice at one place, one soon after the other, walks.

use crate::aside::Aside;
use crate::bus::Bus;
use crate::cache::{CodePage, Key, WIDE};
use crate::raw::Ahead;
use crate::run::Tcg;
use crate::shared::{At, Beside, Shared, Way};
use cpu::{Fetch, Frame, Guest, INTERRUPT_EXIT, Step};
use ir::SLOTS;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Instructions of a walk.
const WALK: usize = 1536;
/// A loop that is shorter is followed several times, as long as it does not get longer than that.
const UNROLLED: usize = 64;
/// The same of a steady loop.
const UNROLLED_STEADY: usize = 160;
/// A loop is steady if it goes round at once so many times as often as it is followed.
const STEADY: usize = 4;
/// A loop that is longer is left to the blocks. (In a long one regions follow one another.)
const LONGEST: usize = WALK / 2;
/// A path that is shorter is left to the blocks.
const SHORTEST: usize = 8;
/// What the entry of a region costs, in instructions: its first looks into the TLB, the registers that it fetches, and that it brings home when it is left.
const ENTRY: isize = 6;
/// Loops whose worth differs by this part of it are worth as much.
const NEARLY: isize = 16;
/// Instructions that a branch may lead past for that to become a choice of values.
const SKIPPED: usize = 4;
/// For how many looks a vCPU remembers where it was seen.
const REMEMBERED: u32 = 256;
/// Whoever is seen twice at one place within so many looks is in a loop; else it may be by chance.
const AT_ONCE: u32 = 16;
/// How long the thread sleeps between two looks: while there is new code, while there is none, and while no vCPU does anything, at most (new code wakes it).
const NEW: Duration = Duration::from_micros(500);
const BUSY: Duration = Duration::from_millis(4);
const IDLE: Duration = Duration::from_millis(256);
/// Trails that may wait for the thread.
const WAITING: usize = 16;
/// An offset in a page that no instruction has.
const ELSEWHERE: u16 = u16::MAX;
/// Offset of the last half-word of a page: an instruction that begins there may go on in the next.
const LAST: u16 = 4094;

/// Where a vCPU has been seen.
#[derive(Default)]
pub(crate) struct Sightings {
    /// How often, and by which look the last time.
    places: HashMap<Key, (u8, u32)>,
    looks: u32,
}

impl Sightings {
    /// The vCPU is there. Whether it should walk.
    fn seen(&mut self, key: Key) -> bool {
        self.looks += 1;
        if self.looks > REMEMBERED {
            self.looks = 0;
            self.places.clear();
        }
        let (n, last) = self.places.entry(key).or_default();
        let again = self.looks - std::mem::replace(last, self.looks) <= AT_ONCE;
        *n = match *n {
            1 if !again => 1,
            n => n.saturating_add(1),
        };
        // Again much later: the walk may have found another loop that was worth more, or the guest been on its way to elsewhere.
        matches!(*n, 2 | 8 | 32 | 128)
    }
}

/// Where a vCPU has walked.
struct Trail {
    mode: u32,
    /// Guest addresses of the instructions, in order.
    pcs: Vec<u64>,
    /// The pages in which they lie, by guest address.
    pages: Vec<(u64, CodePage)>,
    /// Those that load from another page each few times, in ascending order.
    wandering: Vec<u64>,
    /// Of these, those for which the host's memory lies as far from the guest's address in each page.
    steady: Vec<u64>,
    /// What the guest's slots held at instructions that a jump led back to.
    values: HashMap<u64, Box<[u64; SLOTS]>>,
}

impl Trail {
    /// The page that the instruction at `pc` lies in.
    fn page(&self, pc: u64) -> Option<CodePage> {
        self.pages.iter().find(|(at, _)| *at == pc & !4095).map(|(_, page)| *page)
    }
}

/// The pages that loads have met on a walk.
#[derive(Default)]
struct Loads(HashMap<u64, Load>);

/// What one of them did: how often, from how many other pages than the time before, and from which the last time.
#[derive(Default)]
struct Load {
    times: u32,
    changes: u32,
    page: u64,
    /// What the host's address is more than the guest's, and how often it was something else than the time before.
    addend: u64,
    others: u32,
}

impl Loads {
    /// The instruction at `pc` has loaded from `va`.
    fn note(&mut self, pc: u64, va: u64, addend: u64) {
        let page = va >> 12;
        let load = self.0.entry(pc).or_default();
        load.changes += (load.times != 0 && load.page != page) as u32;
        load.others += (load.times != 0 && load.addend != addend) as u32;
        load.times += 1;
        (load.page, load.addend) = (page, addend);
    }
    /// Those that were in another page at least one time of eight; and of these, those that had another addend hardly ever. In ascending order.
    fn wandering(self) -> (Vec<u64>, Vec<u64>) {
        let mut loads: Vec<(u64, Load)> =
            self.0.into_iter().filter(|(_, l)| l.changes * 8 >= l.times).collect();
        loads.sort_unstable_by_key(|&(pc, _)| pc);
        let steady = loads.iter().filter(|(_, l)| l.others * 32 <= l.times).map(|&(pc, _)| pc).collect();
        (loads.into_iter().map(|(pc, _)| pc).collect(), steady)
    }
}

/// What is to be translated: instructions of one page, and maybe the next.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    /// Guest address of the page.
    page: u64,
    /// Offsets of the instructions, and of where it goes behind the last one. From 4096 on they are in the next page.
    offsets: Vec<u16>,
}

/// The trails that wait for the thread.
#[derive(Default)]
pub(crate) struct Regions {
    trails: Mutex<Vec<Trail>>,
    come: Condvar,
    /// The thread sleeps longer than it would if there were something to do.
    dozes: AtomicBool,
    /// It sleeps so briefly that to wake it would take a vCPU longer than it is worth.
    naps: AtomicBool,
    started: OnceLock<()>,
}

/// How many instructions of `trail` a region for `path` would run, less what its entries cost.
fn covered(trail: &[u64], path: &[u64]) -> isize {
    let (mut at, mut covered, mut inside) = (0, 0, false);
    while at < trail.len() {
        let n = path.iter().zip(&trail[at..]).take_while(|(a, b)| a == b).count();
        if n == 0 {
            inside = false;
            at += 1;
            continue;
        }
        covered += n as isize;
        if !inside {
            covered -= ENTRY;
        }
        inside = n == path.len();
        at += n;
    }
    covered
}

/// The same for a region for the part `turn` of the trail, as far as the rest of the trail tells: the part itself is run once by any.
fn worth(trail: &[u64], turn: &Range<usize>) -> isize {
    let path = &trail[turn.clone()];
    let (before, behind) = (&trail[..turn.start], &trail[turn.end..]);
    let rest = before.len() + behind.len();
    let whole = (covered(before, path) + covered(behind, path)) * trail.len() as isize;
    whole / rest.max(1) as isize
}

/// The loop of the trail that is worth most, or the shortest of several: its instructions, several times if it is short and goes round
/// so often, and the one that it comes back to. Loops that begin where there `is_one` already do not count.
fn busiest_loop(trail: &[u64], is_one: impl Fn(u64) -> bool) -> Option<Vec<u64>> {
    let mut last: HashMap<u64, usize> = HashMap::new();
    let mut known: HashSet<&[u64]> = HashSet::new();
    let mut loops: Vec<(isize, Range<usize>)> = Vec::new();
    for (at, &pc) in trail.iter().enumerate().skip(1) {
        // Where a jump back inside a page leads, or from the next page, there a loop begins.
        let from = trail[at - 1];
        if pc > from || (from & !4095) - (pc & !4095) > 4096 {
            continue;
        }
        let Some(from) = last.insert(pc, at) else { continue };
        if at - from > LONGEST || is_one(pc) || !known.insert(&trail[from..at]) {
            continue;
        }
        loops.push((worth(trail, &(from..at)), from..at));
    }
    // Of those that are worth nearly as much as any, the shortest: how much a long one is worth, the trail hardly tells.
    let most = loops.iter().map(|(worth, _)| *worth).max()?;
    loops.retain(|(worth, _)| (most - worth) * NEARLY <= most.abs());
    let turn = &trail[loops.into_iter().map(|(_, turn)| turn).min_by_key(|turn| turn.len())?];
    let (turns, followed) = (usual_turns(trail, turn), UNROLLED_STEADY / turn.len());
    let is_steady = turns >= STEADY * followed;
    let times = if is_steady { followed } else { turns.min(UNROLLED / turn.len()) };
    let mut way = turn.repeat(times.max(1));
    way.push(turn[0]);
    Some(way)
}

/// How often the trail goes round `turn` at once, at least in the middle.
fn usual_turns(trail: &[u64], turn: &[u64]) -> usize {
    let (mut at, mut runs, mut turns) = (0, 0, 0);
    while at < trail.len() {
        let n = trail[at..].chunks_exact(turn.len()).take_while(|&next| next == turn).count();
        runs += (n != 0) as usize;
        turns += n;
        at += (n * turn.len()).max(1);
    }
    turns / runs.max(1)
}

/// A branch of the trail that leads past a few instructions, or not.
#[derive(Default)]
struct Fork {
    /// The instructions that it leads past, and where it leads.
    past: Vec<u64>,
    target: u64,
    /// How often the guest was there, and how often it went past them.
    times: usize,
    skipped: usize,
    /// It goes other ways as well.
    other: bool,
}

/// The branches that lead past instructions which are all `plain`, taken so often and left out so often that a jump would not be foreseen.
fn skips(trail: &[u64], mut plain: impl FnMut(u64) -> bool) -> HashMap<u64, Fork> {
    let mut forks: HashMap<u64, Fork> = HashMap::new();
    // Who goes straight on and comes to a place soon may have been able to go there at once.
    for w in trail.windows(2) {
        let far = w[1].wrapping_sub(w[0]);
        if !(1..=4).contains(&far) && far <= 4 * (SKIPPED as u64 + 1) {
            let fork = forks.entry(w[0]).or_default();
            (fork.other, fork.target) = (fork.other || fork.skipped != 0 && fork.target != w[1], w[1]);
            fork.skipped += 1;
        }
    }
    for (n, pc) in trail.iter().enumerate() {
        let Some(fork) = forks.get_mut(pc) else { continue };
        fork.times += 1;
        let behind = &trail[n + 1..];
        let Some(to) = behind.iter().take(SKIPPED + 1).position(|&pc| pc == fork.target) else {
            // The trail may end here.
            fork.other |= behind.len() > SKIPPED;
            continue;
        };
        let past = &behind[..to];
        if !past.is_empty() {
            fork.other |= !fork.past.is_empty() && fork.past != past;
            fork.past = past.to_vec();
        }
    }
    forks.retain(|_, f| {
        let rare = f.skipped.min(f.times - f.skipped);
        !f.other && rare * 8 >= f.times && f.past.is_sorted() && f.past.iter().all(|&pc| plain(pc))
    });
    forks
}

/// The trail without what `forks` lead past.
fn without(trail: &[u64], forks: &HashMap<u64, Fork>) -> Vec<u64> {
    let mut rest = Vec::with_capacity(trail.len());
    let mut at = 0;
    while at < trail.len() {
        rest.push(trail[at]);
        at += 1;
        if let Some(fork) = forks.get(&trail[at - 1])
            && trail[at..].starts_with(&fork.past)
        {
            at += fork.past.len();
        }
    }
    rest
}

/// The first part of `way` that lies in one page and the next; none if only its end is left.
fn part(way: &[u64]) -> Option<Path> {
    let (&end, insns) = way.split_last()?;
    let page = insns.first()? & !4095;
    let offset = |pc: u64| u16::try_from(pc.wrapping_sub(page)).ok().filter(|&offset| offset < 2 * 4096);
    let mut offsets: Vec<u16> = insns.iter().map_while(|&pc| offset(pc)).collect();
    let next = insns.get(offsets.len()).copied().unwrap_or(end);
    offsets.push(offset(next).unwrap_or(ELSEWHERE));
    Some(Path { page, offsets })
}

impl Path {
    /// Whether a region can do more with it than blocks: it is long enough, or a loop.
    fn is_worthwhile(&self) -> bool {
        let goes_back = self.offsets.last() == self.offsets.first();
        self.offsets.len() > SHORTEST || goes_back
    }
    fn insns(&self) -> usize {
        self.offsets.len() - 1
    }
    /// Ends it before instruction `n`.
    fn cut(&mut self, n: usize) {
        self.offsets.truncate(n);
        self.offsets.push(ELSEWHERE);
    }
}

/// Starts the thread that makes the regions of this machine; it ends with the machine.
pub(crate) fn start<G: Guest>(shared: &Arc<Shared>, config: &G::Config) {
    let wanted = shared.options.regions && shared.cpus.counter().is_none() && shared.options.block_limit > 1;
    if !wanted || shared.regions.started.set(()).is_err() {
        return;
    }
    let (weak, config) = (Arc::downgrade(shared), config.clone());
    let started = std::thread::Builder::new().name("regions".into()).spawn(move || run::<G>(&weak, &config));
    if let Err(e) = started {
        base::log::write(format_args!("no thread for regions: {e}\n"));
    }
}

fn run<G: Guest>(shared: &Weak<Shared>, config: &G::Config) {
    let (mut sleep, mut known, mut got, mut aside) = (NEW, 0, [0; 3], None);
    if let Some(shared) = shared.upgrade() {
        shared.index.get_ahead();
        aside = shared.options.aside.then(Aside::new).flatten();
    }
    while let Some(shared) = shared.upgrade() {
        for trail in shared.regions.wait(sleep) {
            shared.make_regions::<G>(config, &trail);
        }
        let (translated, (front, back), lists) = {
            let cache = shared.cache();
            (cache.counts.translated, cache.next_offsets(), cache.ahead(&mut got))
        };
        lists.into_iter().flatten().for_each(Ahead::get);
        [front, back].into_iter().for_each(|at| shared.code.gather(at));
        shared.persistent.let_go();
        if let Some(aside) = &mut aside {
            let vcpus: Vec<u64> = shared.cpus.all().iter().map(|handle| handle.thread_id()).collect();
            aside.look(&vcpus);
        }
        let new = std::mem::replace(&mut known, translated) != translated;
        sleep = match shared.ask_where() {
            true if new => NEW,
            true => (sleep + sleep / 8).min(BUSY),
            false => (sleep * 2).min(IDLE),
        };
    }
}

impl Regions {
    /// Whether there is somebody who makes them.
    pub(crate) fn are_made(&self) -> bool {
        self.started.get().is_some()
    }
    fn trails(&self) -> MutexGuard<'_, Vec<Trail>> {
        self.trails.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The trails that come within this time; none if there is new code.
    fn wait(&self, time: Duration) -> Vec<Trail> {
        let trails = self.trails();
        let long = time > BUSY;
        self.dozes.store(long, Relaxed);
        self.naps.store(time <= NEW, Relaxed);
        let nothing = |trails: &mut Vec<Trail>| trails.is_empty() && long == self.dozes.load(Relaxed);
        let (mut trails, _) =
            self.come.wait_timeout_while(trails, time, nothing).unwrap_or_else(PoisonError::into_inner);
        self.dozes.store(false, Relaxed);
        std::mem::take(&mut trails)
    }
    /// There is new code: a guest that did nothing has begun something.
    #[inline]
    pub(crate) fn wake(&self) {
        if self.dozes.load(Relaxed) {
            let _trails = self.trails();
            self.dozes.store(false, Relaxed);
            self.come.notify_one();
        }
    }
    /// Leaves a trail for the thread, unless that is behind.
    fn add(&self, trail: Trail) {
        let mut trails = self.trails();
        if trails.len() < WAITING {
            trails.push(trail);
            if !self.naps.load(Relaxed) {
                self.come.notify_one();
            }
        }
    }
}

impl Shared {
    /// Translates what is worth it of a trail.
    fn make_regions<G: Guest>(self: &Arc<Self>, config: &G::Config, trail: &Trail) {
        let is_one = |pc: u64| {
            let page = trail.page(pc);
            page.is_some_and(|p| self.cache().is_region(Key::new(p, (pc & 4095) as u16, trail.mode)))
        };
        let mut bus = Bus::new(self.memory.clone());
        bus.refresh();
        // What is checked goes one way.
        let forks = match self.options.verify {
            true => HashMap::new(),
            false => skips(&trail.pcs, |pc| self.is_plain::<G>(config, &bus, trail, pc)),
        };
        let Some(way) = busiest_loop(&without(&trail.pcs, &forks), is_one) else { return };
        let mut rest = &way[..];
        while let Some(mut path) = part(rest) {
            // Where it cannot be followed further (a jump to a computed address) another one begins.
            let made = self.make_region::<G>(config, &bus, trail, &mut path, &forks);
            rest = &rest[made.map_or(path.insns(), |n| n as usize)..];
        }
    }
    /// Translates the path, or cuts it where it goes on into a page that it cannot follow it into; returns how many of its instructions are
    /// in the region.
    fn make_region<G: Guest>(
        self: &Arc<Self>,
        config: &G::Config,
        bus: &Bus,
        trail: &Trail,
        path: &mut Path,
        forks: &HashMap<u64, Fork>,
    ) -> Option<u32> {
        let (mode, page, &offset) = (trail.mode, trail.page(path.page)?, path.offsets.first()?);
        let (n, beside) = self.beside(bus, trail, page, path);
        if n < path.insns() && beside.is_none() {
            path.cut(n.max(1));
        }
        if !path.is_worthwhile() || self.cache().is_region(Key::new(page, offset, mode)) {
            return None;
        }
        let here = |pcs: &[u64]| -> Vec<u16> {
            let offsets = pcs.iter().map(|pc| pc.wrapping_sub(path.page)).filter(|&offset| offset < 2 * 4096);
            offsets.map(|offset| offset as u16).collect()
        };
        let (wandering, steady) = (here(&trail.wandering), here(&trail.steady));
        let mut skips = here(&forks.keys().copied().collect::<Vec<_>>());
        skips.sort_unstable();
        let pc = path.page + offset as u64;
        let values = trail.values.get(&pc).map(|values| &**values);
        let way = Way {
            path: &path.offsets,
            skips: &skips,
            wandering: &wandering,
            steady: &steady,
            values,
            beside,
        };
        let at = At { mode, page, offset, second: None, pc, me: None, mapped: None, alone: false, way };
        self.translate::<G>(config, bus, &at).map(|made| made.insns).filter(|&n| n != 0)
    }
    /// How many instructions of the path lie in its first page alone; and the next page, if a region can go on there with what follows.
    fn beside(&self, bus: &Bus, trail: &Trail, page: CodePage, path: &Path) -> (usize, Option<Beside>) {
        let (insns, cache) = (&path.offsets[..path.insns()], self.cache());
        let beside = trail.page(path.page + 4096).filter(|beside| beside.host != page.host);
        // Where what begins in the last half-word lies in both pages there is a translation that says so.
        let in_both =
            beside.and_then(|beside| cache.find_crossing(Key::new(page, LAST, trail.mode), beside.host));
        let n = insns.iter().position(|&o| o >= 4096 || o == LAST && in_both.is_some());
        let (Some(n @ 1..), Some(beside)) = (n, beside) else { return (n.unwrap_or(insns.len()), None) };
        if page.wide {
            let room = bus.ram_at(page.host).is_some_and(|(_, at)| at % WIDE + 4096 < WIDE);
            let together = room && beside.wide && beside.host == page.host + 4096;
            return (n, together.then_some(Beside { host: beside.host, expected: None }));
        }
        let code = match insns[n] {
            LAST => in_both,
            offset => cache.find(Key::new(beside, offset - 4096, trail.mode)),
        };
        (n, code.map(|(_, code)| Beside { host: beside.host, expected: Some(code) }))
    }
    /// Whether the instruction at `pc` only computes something.
    fn is_plain<G: Guest>(&self, config: &G::Config, bus: &Bus, trail: &Trail, pc: u64) -> bool {
        let Some((ram, at)) = trail.page(pc).and_then(|page| bus.ram_at(page.host)) else { return false };
        let mut page = [0; 4096];
        ram.read(at, &mut page);
        let (offset, builder) = ((pc & 4095) as u16, ir::Builder::new());
        let fetch =
            Fetch { offset, page: &page, next: None, limit: 1, path: &[], skips: &[], goes_on: &|_| false };
        let built = G::build(trail.mode, config, &fetch, &builder);
        let block = builder.block();
        let last = block.insts.last().is_some_and(|i| i.op == ir::Op::Goto);
        let plain = |i: &ir::Inst| matches!(i.op, ir::Op::Set | ir::Op::Goto) || i.is_plain();
        built.insns == 1 && last && block.insts.iter().all(plain)
    }
}

impl<G: Guest> Tcg<G> {
    /// The vCPU has been asked where it is. Whether it should walk from there.
    pub(crate) fn wants_walk(&mut self, g: &mut G) -> bool {
        let in_region = std::mem::take(&mut self.left_region);
        if in_region || !self.shared.regions.are_made() || self.shared.cpus.breakpoints.any() {
            return false;
        }
        let (pc, mode) = (g.frame().pc(), g.mode());
        let Some(page) = self.known_page(pc) else { return false };
        self.sightings.seen(Key::new(page, (pc & 4095) as u16, mode))
    }
    /// Interprets instructions and tells the regions' thread which.
    pub(crate) fn walk(&mut self, g: &mut G, frame: &Frame) -> Step {
        let (mode, space) = (g.mode(), self.space);
        let mut trail = Trail {
            mode,
            pcs: Vec::with_capacity(WALK),
            pages: Vec::new(),
            wandering: Vec::new(),
            steady: Vec::new(),
            values: HashMap::new(),
        };
        let mut loads = Loads::default();
        let mut step = Step::Done;
        while trail.pcs.len() < WALK && g.mode() == mode && self.space == space {
            let pc = frame.pc();
            let at = pc & !4095;
            if trail.pcs.last().is_some_and(|&last| pc <= last) {
                trail.values.entry(pc).or_insert_with(|| Box::new(crate::raw::slots(frame)));
            }
            trail.pcs.push(pc);
            self.loaded = None;
            step = self.interpret(g);
            if let Some(va) = self.loaded {
                let addend = self.tlb.set(self.data_set).entry(va).addend.load(Relaxed);
                loads.note(pc, va, addend);
            }
            // The guest's interrupts can wait for so long.
            if matches!(step, Step::Exit(_)) || frame.interrupt.load(Relaxed) & INTERRUPT_EXIT != 0 {
                break;
            }
            if trail.pages.last().is_none_or(|last| last.0 != at)
                && !trail.pages.iter().any(|known| known.0 == at)
                && let Some(page) = self.known_page(pc)
            {
                trail.pages.push((at, page));
            }
        }
        (trail.wandering, trail.steady) = loads.wandering();
        self.shared.regions.add(trail);
        step
    }
}

#[cfg(test)]
#[path = "region_test.rs"]
mod test;
