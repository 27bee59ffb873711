//! The code cache: which translation there is for which bytes.
//!
//! A translation is keyed by the *host page* its first byte lies in (which names the physical page, whatever virtual
//! addresses map to it), its offset there and the guest's mode. It never reaches beyond its page, but for regions that go on in the next: those
//! ask whether that is mapped as it was ([`ir::Op::Expect`]). Translations of one page jump to each other directly ([`Link`]), as do those of pages that wherever they run are mapped in a row
//! ([`CodePage::wide`], part of the key); everything else goes through a vCPU's jump cache. So what a change of
//! mappings makes stale is in the jump caches alone, and what a change of the bytes makes stale is found by page.
//!
//! Code memory has two ends. From the front grows what usually runs; behind the middle grows what is *apart*: slow
//! paths, exits, stubs of links. So the lines and pages that the host's caches see hold little that is not executed.
//!
//! A region (`region.rs`) takes the place of the block with its name, which dies. (If that became a jump to the region, computed jumps would
//! go on being led by it, and each would take two of the places in which the host remembers where they go.)
//!
//! A dead block is never freed on its own: its first two bytes become a jump to the call that stands before it, so that whoever
//! still comes there falls out to the dispatcher, and the direct jumps into it are taken back. Room returns when the memory is full and everything is
//! forgotten at once, while no vCPU is inside ([`Cache::clear`]).

use crate::code::CodeMemory;
use crate::index::Index;
use crate::raw::Ahead;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Number of a block or link.
pub type Id = u32;

/// Bytes of a call.
const CALL_BYTES: usize = host::exit::CALL_BYTES as usize;

/// What `jmp rel8` from the start of a block to the call before it is, as a number of two bytes.
const BACK: u64 = 0xeb | ((-2 - CALL_BYTES as i8) as u8 as u64) << 8;

/// No block, no link.
const NONE: Id = Id::MAX;

/// Places of the index for so many bytes of code memory: enough for blocks of the usual 170 bytes, so that it is the memory that
/// is full first; of a large memory, which hardly anything fills, as many as do not make the host's caches miss.
fn places(bytes: usize) -> usize {
    (bytes / 128).min(MANY_PLACES).max(bytes / 512)
}

/// See [`places`].
const MANY_PLACES: usize = 512 << 10;

/// A page of code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodePage {
    /// Its host address.
    pub host: u64,
    /// Whether it is run where all [`WIDE`] bytes around it, in the RAM block, are mapped in a row, so that translations can jump from one of these pages to
    /// another.
    pub wide: bool,
}

/// See [`CodePage::wide`]. Mappings of so many bytes are what supervisors put their own code in.
pub const WIDE: u64 = 2 << 20;

impl CodePage {
    /// The page `n` pages further on.
    fn beside(self, n: i16) -> CodePage {
        CodePage { host: self.host.wrapping_add_signed((n as i64) << 12), ..self }
    }
}

/// What names a translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(pub(crate) u64);

impl Key {
    /// The translation for `mode` of what stands at `offset` in `page`.
    pub fn new(page: CodePage, offset: u16, mode: u32) -> Key {
        let place = ((offset as u64 >> 1) & 0x7ff) << 7;
        Key((page.host >> 12) << 19 | (page.wide as u64) << 18 | place | mode as u64 & 0x7f)
    }
    /// The page.
    pub(crate) fn page(self) -> CodePage {
        CodePage { host: (self.0 >> 19) << 12 & (u64::MAX >> 8), wide: self.0 >> 18 & 1 != 0 }
    }
    /// The mode.
    pub(crate) fn mode(self) -> u32 {
        self.0 as u32 & 0x7f
    }
    /// The translation with this name in which each access is on its own.
    pub(crate) fn alone(self) -> Key {
        Key(self.0 | 1 << 63)
    }
    /// Whether it is the name of such a one.
    pub(crate) fn is_alone(self) -> bool {
        self.0 >> 63 != 0
    }
    /// The offset.
    pub(crate) fn offset(self) -> u64 {
        (self.0 >> 7 & 0x7ff) << 1
    }
    /// Everything but the offset.
    pub(crate) fn page_and_mode(self) -> u64 {
        self.0 & !(0x7ff << 7)
    }
}

/// Mixes a key: multiplication by an odd constant, high bits kept.
#[derive(Default)]
pub struct Mix(u64);
impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(b as u64));
    }
    fn write_u64(&mut self, n: u64) {
        let x = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = x ^ x >> 29;
    }
}
type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// A translation.
struct Block {
    key: Key,
    host_page: u64,
    /// The page in which its last bytes lie, if it is one instruction that crosses into it, or a region that goes on there; else 0.
    second: u64,
    /// Bytes that it was made from.
    offset: u16,
    bytes: u16,
    /// Where the code starts, as an offset in code memory.
    start: u32,
    /// Where the code that is apart starts.
    apart: u32,
    /// The first of its points; they end where those of the next block begin.
    points: u32,
    /// The first of its instructions, likewise.
    insns: u32,
    /// The first of its links, likewise.
    links: u32,
    /// The last link that was made to jump here; the others follow from it.
    incoming: Id,
    /// Guest instructions, if running them twice is harmless.
    repeatable: Option<u16>,
    floats: bool,
    region: bool,
    straight: bool,
    dead: bool,
}

impl Block {
    /// The bytes of the page that it was made from: first offset, end.
    fn range_in(&self, host_page: u64) -> (u64, u64) {
        let end = self.offset as u64 + self.bytes as u64;
        if host_page == self.host_page {
            (self.offset as u64, end.min(4096))
        } else {
            (0, end.saturating_sub(4096))
        }
    }
}

/// A patchable jump from one block to another.
#[derive(Clone, Copy)]
struct Link {
    /// The block it lies in.
    from: Id,
    /// Offset in code memory of its 32-bit displacement.
    at: u32,
    /// Offset in code memory of the stub where it goes while it is not linked; 0 if it is a call itself then.
    stub: u32,
    /// Offset in code memory of the number of its target's page, which it compares with; 0 if it need not.
    guard: u32,
    /// Its target: in which page, counted from that of the block (of a guarded one only the frame knows), and the offset there.
    page: i16,
    target: u16,
    /// Whether it jumps to a block now, and the next link that jumps to the same one.
    linked: bool,
    next: Id,
}

/// A place from which a hook may be called: the return address as an offset from the start of the code that is apart
/// or, with the highest bit, from the start of the block; and the guest instruction's offset from the page base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Point {
    at: u16,
    insn: u16,
}

/// What [`Point::at`] of code that is not apart has set.
const IN_BLOCK: u16 = 1 << 15;

/// Code that the host crate has made, ready to be placed.
pub struct NewBlock<'a> {
    /// Its name.
    pub key: Key,
    /// Host address of the page that its only instruction crosses into, or that the region goes on into.
    pub second: Option<u64>,
    /// Bytes of the page that were looked at.
    pub offset: u16,
    /// How many.
    pub bytes: u16,
    /// Whether its mode is one in which floats can be used.
    pub floats: bool,
    /// How many instructions, if running them twice changes nothing but what slots and memory show.
    pub repeatable: Option<u16>,
    /// It is a region, and takes the place of the translation that there is with the same name.
    pub region: bool,
    /// Each instruction but the first stands behind the one before.
    pub straight: bool,
    /// Offsets in the page of its instructions, if it may be run twice; and of where it goes then, if that is known.
    pub path: &'a [u16],
    /// Host code.
    pub code: &'a host::Code,
    /// Where its instructions begin, as offsets from the page base, if they are counted.
    pub insns: &'a [u16],
}

#[derive(Default)]
struct Page {
    blocks: Vec<Id>,
    /// Which 64-byte lines have translated bytes.
    lines: u64,
    /// Stores into it since it has had no translation.
    idle: u32,
    /// Where the last store ended, and how many before it began where another had ended.
    next: u64,
    in_order: u32,
}

impl Page {
    /// A store: whether so many have come one behind the other that the page is probably being filled.
    fn is_filled(&mut self, offset: u64, len: u64) -> bool {
        self.in_order = if offset == self.next { self.in_order + 1 } else { 0 };
        self.next = offset + len;
        self.in_order >= IDLE_STORES
    }
}

/// After so many stores into a page without translations nobody needs to be told of them any more. Not at once: a guest
/// that writes code, runs it and writes it again would have every TLB searched for the page each time.
const IDLE_STORES: u32 = 32;

/// Counters for `info jit`.
#[derive(Default, Clone, Copy, Debug)]
pub struct Counts {
    /// Blocks translated since the start.
    pub translated: u64,
    /// Blocks of these that the persistent code cache had.
    pub recalled: u64,
    /// Nanoseconds spent on them.
    pub recalled_nanoseconds: u64,
    /// Guest instructions translated, without theirs.
    pub guest_insns: u64,
    /// Guest bytes translated.
    pub guest_bytes: u64,
    /// Host bytes emitted.
    pub host_bytes: u64,
    /// Regions made.
    pub regions: u64,
    /// Guest instructions in them.
    pub region_insns: u64,
    /// Nanoseconds spent on them.
    pub region_nanoseconds: u64,
    /// Blocks killed because their bytes changed.
    pub invalidated: u64,
    /// Times that everything was forgotten.
    pub cleared: u64,
    /// Microseconds that the longest of these took, while all vCPUs waited.
    pub longest_clear: u64,
    /// Nanoseconds spent translating.
    pub nanoseconds: u64,
}

/// All translations. Behind one lock, which nobody takes while running translated code.
pub struct Cache {
    code: Arc<CodeMemory>,
    index: Arc<Index>,
    /// Where the next block goes, and where its code that is apart goes.
    used: usize,
    used_apart: usize,
    first: usize,
    /// Host addresses of what dead blocks call, without and with floats.
    dead_stubs: [u64; 2],
    /// Host addresses of what links call that lead nowhere yet, likewise.
    link_stubs: [u64; 2],
    /// Host addresses of what looks into the jump cache, likewise.
    probe_stubs: [u64; 2],
    /// The numbers of pages that links have led to, and the last.
    numbers: Map<u64, u32>,
    last_number: u32,
    /// Blocks of one instruction that crosses from a page into another.
    crossing: HashMap<(u64, u64), Id>,
    pages: Map<u64, Page>,
    blocks: Vec<Block>,
    /// Where to look for the block at a place in code memory, and for the one whose code that is apart is there.
    marks: Marks,
    marks_apart: Marks,
    links: Vec<Link>,
    points: Vec<Point>,
    insns: Vec<u16>,
    /// The paths of what may be run twice, by where the code begins.
    paths: HashMap<u32, Arc<[u16]>>,
    alive: usize,
    /// What is being translated now: pages, and the bytes of them that are looked at.
    reading: [(u64, u64, u64); 2],
    /// Somebody has stored there since.
    disturbed: bool,
    /// Counters.
    pub counts: Counts,
}

/// For each [`Marks::BYTES`] of code memory, the first block whose code begins there or later. Blocks are placed one behind the
/// other, so what is asked for is not far from there; among all of them a search would miss the host's caches at each step.
#[derive(Default)]
struct Marks(Vec<Id>);

impl Marks {
    const BYTES: usize = 256;
    /// Block `id` begins `at` bytes from where the code begins.
    fn note(&mut self, at: usize, id: Id) {
        while self.0.len() <= at / Marks::BYTES {
            self.0.push(id);
        }
    }
    /// The blocks of which one, if any, has its code `at` bytes from where the code begins: first, end; there are `blocks`.
    fn around(&self, at: usize, blocks: usize) -> (usize, usize) {
        let mark = |n: usize| self.0.get(n).map_or(blocks, |&id| id as usize);
        (mark(at / Marks::BYTES).saturating_sub(1), mark(at / Marks::BYTES + 1))
    }
}

fn lines(offset: u64, len: u64) -> u64 {
    if len == 0 {
        return 0;
    }
    let (first, last) = ((offset >> 6).min(63), ((offset + len - 1) >> 6).min(63));
    (u64::MAX >> (63 - last)) & (u64::MAX << first)
}

impl Cache {
    /// An empty cache in `code`, whose first `reserved` bytes hold the common stubs.
    pub fn new(code: Arc<CodeMemory>, reserved: usize, stubs: &host::Stubs) -> Cache {
        let first = (reserved + CALL_BYTES).next_multiple_of(64);
        let most = places(code.len());
        Cache {
            index: Arc::new(Index::new(most)),
            used: first,
            used_apart: code.len() / 2,
            first,
            dead_stubs: stubs.dead,
            link_stubs: stubs.link,
            probe_stubs: stubs.probe,
            numbers: Map::default(),
            last_number: 0,
            code,
            crossing: HashMap::new(),
            pages: Map::default(),
            blocks: Vec::with_capacity(most),
            marks: Marks::default(),
            marks_apart: Marks::default(),
            links: Vec::with_capacity(2 * most),
            points: Vec::with_capacity(4 * most),
            insns: Vec::new(),
            paths: HashMap::new(),
            alive: 0,
            reading: [(0, 0, 0); 2],
            disturbed: false,
            counts: Counts::default(),
        }
    }
    /// Where vCPUs look translations up: the block's number above, the offset of its code below bit 32.
    pub(crate) fn index(&self) -> Arc<Index> {
        self.index.clone()
    }
    /// Number and host address of the translation `key`.
    pub fn find(&self, key: Key) -> Option<(Id, u64)> {
        let id = (self.index.get(key)? >> 32) as Id;
        Some((id, self.address(id)))
    }
    /// Number and host address of the translation `key` of an instruction that crosses into the page at host address `second`.
    pub fn find_crossing(&self, key: Key, second: u64) -> Option<(Id, u64)> {
        let id = *self.crossing.get(&(key.0, second))?;
        Some((id, self.address(id)))
    }
    fn address(&self, id: Id) -> u64 {
        self.code.address(self.blocks[id as usize].start as usize)
    }
    /// Offsets in code memory where the next block and its code that is apart will begin.
    pub fn next_offsets(&self) -> (usize, usize) {
        (self.used, self.used_apart)
    }
    /// The memory that the lists will grow into; `got` says what has been asked for. They never move, having room for as many blocks as the index.
    pub(crate) fn ahead(&self, got: &mut [usize; 3]) -> [Option<Ahead>; 3] {
        let [blocks, links, points] = got;
        [Ahead::of(&self.blocks, blocks), Ahead::of(&self.links, links), Ahead::of(&self.points, points)]
    }
    /// Whether a block of `len` more bytes fits.
    pub fn has_room(&self, len: usize) -> bool {
        self.used + len <= self.code.len() / 2
            && self.used_apart + len <= self.code.len()
            && !self.index.crowded()
    }
    /// Bytes of code memory in use, and of how many.
    pub fn usage(&self) -> (usize, usize) {
        (self.used + self.used_apart - self.code.len() / 2, self.code.len())
    }
    /// Blocks alive.
    pub fn alive(&self) -> usize {
        self.alive
    }
    /// A translation begins that reads these bytes: page, first offset, end.
    pub fn begin(&mut self, reading: [(u64, u64, u64); 2]) {
        self.reading = reading;
        self.disturbed = false;
    }
    /// Whether some of the bytes that the translation reads have been stored to since it began.
    pub fn is_disturbed(&self) -> bool {
        self.disturbed
    }
    /// Places a block. There is room, and it was made to run at [`Cache::next_offsets`].
    pub fn insert(&mut self, new: NewBlock<'_>) -> (Id, u64) {
        let (id, host_page) = (self.blocks.len() as Id, new.key.page().host);
        let (start, apart, hot) = (self.used as u32, self.used_apart as u32, new.code.hot);
        let (front, back) = new.code.bytes.split_at(hot as usize);
        self.code.write(self.used, front);
        self.code.write(self.used_apart, back);
        let dead = self.call(self.used - CALL_BYTES, self.dead_stubs[new.floats as usize]);
        self.code.write(self.used - CALL_BYTES, &dead.to_le_bytes()[..CALL_BYTES]);
        self.used = (self.used + front.len() + CALL_BYTES).next_multiple_of(8);
        self.used_apart = (self.used_apart + back.len()).next_multiple_of(8);
        let place = |o: u32| if o < hot { start + o } else { apart + o - hot };
        let links = self.links.len() as u32;
        self.links.extend(new.code.links.iter().map(|l| Link {
            from: id,
            at: place(l.at),
            stub: l.stub.map_or(0, place),
            guard: l.guard.map_or(0, place),
            page: (l.target >> 12) as i16,
            target: l.target as u16 & 4095,
            linked: false,
            next: NONE,
        }));
        let points = self.points.len() as u32;
        self.points.extend(new.code.points.iter().map(|p| Point {
            at: if p.return_offset <= hot {
                p.return_offset as u16 | IN_BLOCK
            } else {
                (p.return_offset - hot) as u16
            },
            insn: p.insn as u16,
        }));
        self.marks.note(start as usize, id);
        self.marks_apart.note(apart as usize - self.code.len() / 2, id);
        self.blocks.push(Block {
            key: new.key,
            host_page,
            second: new.second.unwrap_or(0),
            offset: new.offset,
            bytes: new.bytes,
            start,
            apart,
            points,
            insns: self.insns.len() as u32,
            links,
            incoming: NONE,
            repeatable: new.repeatable,
            floats: new.floats,
            region: new.region,
            straight: new.straight,
            dead: false,
        });
        self.insns.extend_from_slice(new.insns);
        let old = if new.region { self.find(new.key) } else { None };
        if new.repeatable.is_some() {
            self.paths.insert(start, new.path.into());
        }
        match new.second.filter(|_| !new.region) {
            None => self.index.set(new.key, (id as u64) << 32 | start as u64),
            Some(second) => {
                self.crossing.insert((new.key.0, second), id);
            }
        }
        if new.region {
            self.counts.regions += 1;
            // What is checked is looked for each time, and must not become something else under who checks it.
            if let Some((old, _)) = old.filter(|_| new.repeatable.is_none()) {
                self.replace(old, id);
            }
        }
        self.alive += 1;
        for host_page in [Some(host_page), new.second].into_iter().flatten() {
            let (from, to) = self.blocks[id as usize].range_in(host_page);
            let page = self.pages.entry(host_page).or_default();
            page.blocks.push(id);
            page.lines |= lines(from, to - from);
        }
        if !new.region {
            self.counts.translated += 1;
            self.counts.host_bytes += new.code.bytes.len() as u64;
        }
        (id, self.address(id))
    }
    /// The first translation for `mode` that has what stands at `offset` of the page in it: its own offset, and bytes. (A vCPU that has come
    /// out at the last instruction of a block has another one that begins there.)
    pub fn around(&self, page: CodePage, offset: u16, mode: u32) -> Option<(u16, u16)> {
        let blocks = self.pages.get(&page.host)?.blocks.iter().map(|&id| &self.blocks[id as usize]);
        blocks
            .filter(|b| !b.dead && b.key.page_and_mode() == Key::new(page, 0, mode).page_and_mode())
            .filter(|b| (b.offset..b.offset + b.bytes).contains(&offset))
            .min_by_key(|b| b.offset)
            .map(|b| (b.offset, b.bytes))
    }
    /// What `call rel32` at offset `at` of code memory is, as a number of five bytes.
    fn call(&self, at: usize, target: u64) -> u64 {
        let distance = target.wrapping_sub(self.code.address(at + CALL_BYTES)) as u32;
        0xe8 | (distance as u64) << 8
    }
    /// The link whose call returns to host address `at`.
    pub fn link_at(&self, at: u64) -> Option<Id> {
        let call = self.code.offset(at)?.checked_sub(CALL_BYTES)? as u32;
        let b = self.block_at(call)?;
        let first = self.blocks[b].links;
        let end = self.blocks.get(b + 1).map_or(self.links.len(), |next| next.links as usize);
        let mut links = self.links[first as usize..end].iter();
        let found = links.position(|l| l.stub == call || l.at == call + 1)?;
        Some(first + found as Id)
    }
    /// Index of the block to which the offset `o` of code memory belongs.
    fn block_at(&self, o: u32) -> Option<usize> {
        let front = o as usize <= self.used;
        let begin = |b: &Block| if front { b.start } else { b.apart };
        let (first, end) = if front {
            self.marks.around(o as usize, self.blocks.len())
        } else {
            self.marks_apart.around((o as usize).checked_sub(self.code.len() / 2)?, self.blocks.len())
        };
        (first + self.blocks[first..end].partition_point(|b| begin(b) <= o)).checked_sub(1)
    }
    /// The name of the dead block at host address `at`.
    pub fn dead_entry(&self, at: u64) -> Option<Key> {
        let start = self.code.offset(at)? as u32;
        let id = self.blocks.binary_search_by_key(&start, |b| b.start).ok()?;
        Some(self.blocks[id].key)
    }
    /// The translation `key`, if it has all that a region would have that follows `path`, whose last offset is where it goes then, and takes so
    /// many bytes.
    pub fn covers(&self, key: Key, path: &[u16], bytes: u32) -> Option<(Id, u64)> {
        let (end, insns) = path.split_last()?;
        let (found, loops) = (self.find(key)?, insns.first() == Some(end));
        let block = &self.blocks[found.0 as usize];
        (!loops && block.straight && bytes <= block.bytes as u32 && insns.is_sorted()).then_some(found)
    }
    /// Whether the translation `key` is a region.
    pub fn is_region(&self, key: Key) -> bool {
        self.find(key).is_some_and(|(id, _)| self.blocks[id as usize].region)
    }
    /// Whether the code that returns to host address `at` is a region's.
    pub fn is_in_region(&self, at: u64) -> bool {
        self.block_and_point(at).is_some_and(|(b, _)| self.blocks[b].region)
    }
    /// Offsets in the page of the instructions of the translation that begins at `address`, if it may be run twice.
    pub fn path(&self, address: u64) -> Option<Arc<[u16]>> {
        self.paths.get(&(self.code.offset(address)? as u32)).cloned()
    }
    /// Whoever comes to block `old` gets to block `new` from here on, which has the same name.
    fn replace(&mut self, old: Id, new: Id) {
        let mut next = std::mem::replace(&mut self.blocks[old as usize].incoming, NONE);
        while let Some(link) = self.links.get_mut(next as usize) {
            let id = std::mem::replace(&mut next, link.next);
            link.linked = false;
            self.link(id, new);
        }
        let b = &mut self.blocks[old as usize];
        b.dead = true;
        self.alive -= 1;
        self.code.patch(b.start as usize, BACK, 2);
    }
    /// Link `id`: the offset in its page of its target.
    pub fn link_offset(&self, id: Id) -> Option<u16> {
        self.links.get(id as usize).map(|link| link.target)
    }
    /// Link `id`: whether it is guarded; then the frame's page is that of its target.
    pub fn is_guarded(&self, id: Id) -> bool {
        self.links.get(id as usize).is_some_and(|link| link.guard != 0)
    }
    /// Link `id`: the key of its target in the mode of its own block; `None` if it is guarded, or its block dead.
    pub fn link_target(&self, id: Id) -> Option<Key> {
        let link = self.links.get(id as usize)?;
        let from = &self.blocks[link.from as usize];
        let here = !from.dead && link.guard == 0;
        here.then(|| Key::new(from.key.page().beside(link.page), link.target, from.key.mode()))
    }
    /// The number of a page, for tables of code pages. `None` if there are no more.
    pub fn page_number(&mut self, page: CodePage) -> Option<u32> {
        let key = page.host | page.wide as u64;
        if let Some(&number) = self.numbers.get(&key) {
            return Some(number);
        }
        let next =
            (self.last_number + 1..).find(|n| n & 4095 != 0).filter(|&n| host::is_code_page_number(n))?;
        self.last_number = next;
        self.numbers.insert(key, next);
        Some(next)
    }
    /// Instructions of the block whose code begins at `address`, if it may be run twice.
    pub fn repeatable(&self, address: u64) -> Option<u16> {
        let o = self.code.offset(address)? as u32;
        let b = self.blocks.binary_search_by_key(&o, |b| b.start).ok()?;
        self.blocks[b].repeatable
    }
    /// Makes the links of the blocks from `id` on jump to what there is of their targets. `mapped` says which page is probably mapped so many pages
    /// from theirs.
    pub fn link_known(&mut self, id: Id, mapped: impl Fn(i16) -> Option<CodePage>) {
        for link in self.blocks[id as usize].links..self.links.len() as Id {
            let Link { guard, page, target, from, .. } = self.links[link as usize];
            let key = match guard {
                0 => self.link_target(link),
                _ => mapped(page).map(|page| Key::new(page, target, self.blocks[from as usize].key.mode())),
            };
            if let Some((to, _)) = key.and_then(|key| self.find(key)) {
                self.link(link, to);
            }
        }
    }
    /// Makes link `id` jump to block `to`.
    pub fn link(&mut self, id: Id, to: Id) {
        let Some(&Link { guard, .. }) = self.links.get(id as usize) else { return };
        let number = match guard {
            0 => 0,
            _ => match self.page_number(self.blocks[to as usize].key.page()) {
                Some(number) => number,
                None => return,
            },
        };
        let link = &mut self.links[id as usize];
        // What is written into a dead block could make it live again: it may begin with its link.
        let Block { dead: false, floats, .. } = self.blocks[link.from as usize] else { return };
        let target = &mut self.blocks[to as usize];
        if !target.dead && !link.linked {
            link.linked = true;
            link.next = std::mem::replace(&mut target.incoming, id);
            let distance = target.start.wrapping_sub(link.at + 4) as u64;
            let Link { at, stub, .. } = *link;
            match stub {
                // jmp rel32
                _ if stub == 0 || guard != 0 => {
                    self.code.patch(at as usize - 1, 0xe9 | distance << 8, CALL_BYTES)
                }
                _ => self.code.patch(at as usize, distance, 4),
            }
            if guard != 0 {
                // Whoever finds another page there looks for what is mapped; before that, whoever compares comes to the right place.
                let number = number ^ link.target as u32;
                self.code.patch(guard as usize, number.into(), 4);
                let probe = self.call(stub as usize, self.probe_stubs[floats as usize]) & !0xff | 0xe9;
                self.code.patch(stub as usize, probe, CALL_BYTES);
            }
        }
    }
    /// The guest instruction (offset from the page base) to which the host return address `at` belongs.
    pub fn point(&self, at: u64) -> Option<i64> {
        self.block_and_point(at).map(|(_, insn)| insn.into())
    }
    /// How many instructions of its block follow the one to which the host return address `at` belongs, where they are counted.
    pub fn instructions_behind(&self, at: u64) -> Option<u32> {
        let (b, insn) = self.block_and_point(at)?;
        let end = self.blocks.get(b + 1).map_or(self.insns.len(), |next| next.insns as usize);
        let insns = &self.insns[self.blocks[b].insns as usize..end];
        let n = insns.iter().position(|&begin| begin == insn)?;
        Some((insns.len() - 1 - n) as u32)
    }
    fn block_and_point(&self, at: u64) -> Option<(usize, u16)> {
        let o = self.code.offset(at)? as u32;
        // A return address may be the first byte behind a block's code.
        let in_block = o as usize <= self.used;
        let b = self.block_at(o.checked_sub(1)?)?;
        let block = &self.blocks[b];
        let at = if in_block { (o - block.start) as u16 | IN_BLOCK } else { (o - block.apart) as u16 };
        let end = self.blocks.get(b + 1).map_or(self.points.len(), |next| next.points as usize);
        let points = &self.points[block.points as usize..end];
        points.iter().find(|p| p.at == at).map(|p| (b, p.insn))
    }
    /// The bytes `offset..offset+len` of the page at `host_page` have changed. Returns whether it is no
    /// page of code any more.
    pub fn invalidate(&mut self, host_page: u64, offset: u64, len: u64) -> bool {
        let reads =
            |&(page, from, to): &(u64, u64, u64)| page == host_page && offset < to && from < offset + len;
        self.disturbed |= self.reading.iter().any(reads);
        let Some(page) = self.pages.get_mut(&host_page) else { return true };
        // A page that has been freed and is cleared: what lies behind will be written next, and would be told of store by store.
        let filled = page.is_filled(offset, len);
        let len = if filled { 4096 - offset } else { len };
        if page.lines & lines(offset, len) == 0 {
            return page.lines == 0 && self.forget_idle(host_page, filled);
        }
        let (blocks, mut kept) = (std::mem::take(&mut page.blocks), Vec::new());
        let mut left = 0;
        for id in blocks {
            let b = &self.blocks[id as usize];
            let (from, to) = b.range_in(host_page);
            if b.dead {
                continue;
            }
            if offset < to && from < offset + len {
                self.kill(id);
            } else {
                left |= lines(from, to - from);
                kept.push(id);
            }
        }
        if let Some(page) = self.pages.get_mut(&host_page) {
            page.blocks = kept;
            page.lines = left;
            page.idle = 0;
        }
        false
    }
    /// A store into a page without translations, which may be `filled`: whether it is no page of code any more.
    fn forget_idle(&mut self, host_page: u64, filled: bool) -> bool {
        let Some(page) = self.pages.get_mut(&host_page) else { return true };
        page.idle += 1;
        let over = filled || page.idle >= IDLE_STORES;
        if over {
            self.pages.remove(&host_page);
        }
        over
    }
    fn kill(&mut self, id: Id) {
        let b = &mut self.blocks[id as usize];
        b.dead = true;
        match b.second {
            second if second != 0 && !b.region => {
                self.crossing.remove(&(b.key.0, second));
            }
            _ => self.index.set(b.key, 0),
        }
        self.code.patch(b.start as usize, BACK, 2);
        let mut next = std::mem::replace(&mut b.incoming, NONE);
        while let Some(link) = self.links.get_mut(next as usize) {
            link.linked = false;
            next = std::mem::replace(&mut link.next, NONE);
            let (at, stub, guard) = (link.at as usize, link.stub, link.guard as usize);
            let Block { floats, dead, .. } = self.blocks[link.from as usize];
            if dead {
                continue;
            }
            if guard != 0 {
                self.code.patch(guard, host::NO_CODE_PAGE.into(), 4);
                let call = self.call(stub as usize, self.link_stubs[floats as usize]);
                self.code.patch(stub as usize, call, CALL_BYTES);
            } else if stub == 0 {
                self.code.patch(at - 1, self.call(at - 1, self.link_stubs[floats as usize]), CALL_BYTES);
            } else {
                self.code.patch(at, stub.wrapping_sub(at as u32 + 4) as u64, 4);
            }
        }
        self.alive -= 1;
        self.counts.invalidated += 1;
    }
    /// Forgets everything; returns the pages that had translations. No vCPU is inside translated code, and all jump caches are emptied
    /// by the caller.
    pub fn clear(&mut self) -> Vec<u64> {
        self.used = self.first;
        self.used_apart = self.code.len() / 2;
        self.index.clear();
        self.crossing.clear();
        self.numbers.clear();
        self.last_number = 0;
        self.blocks.clear();
        self.marks.0.clear();
        self.marks_apart.0.clear();
        self.links.clear();
        self.points.clear();
        self.insns.clear();
        self.paths.clear();
        self.alive = 0;
        self.counts.cleared += 1;
        self.pages.drain().map(|(p, _)| p).collect()
    }
}

#[cfg(test)]
#[path = "cache_test.rs"]
mod test;
