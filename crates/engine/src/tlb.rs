//! The soft TLB and the jump cache of one vCPU.
//!
//! A vCPU keeps a few *sets*, one for each address space that it used lately (root, ASID, privilege, SUM, MXR: the
//! guest numbers them, see [`cpu::Space`]). Switching spaces swaps two pointers in the frame. The spaces of a
//! supervisor share a set, from which what is not global goes when the page table changes: its own mappings and
//! code, which are global, need not be found again for each process. Translated code reads the entries at constant
//! offsets, so their layout is fixed here and nowhere else:
//!
//! - [`Entry`], 16 bytes, index `(va >> 12) % 4096`: a tag (the virtual page, and in its low bits what may not go straight to host
//!   memory there) and the distance from guest virtual to host address;
//! - [`Jump`], 16 bytes, index `(pc >> 1) % JUMPS`: pc xor mode tag, host address of the code.
//! - the table of code pages, 8 bytes each ([`host::CODE_PAGES`]): which code page is mapped where;
//! - the table of calls, with entries like these, found by the stack pointer ([`host::CALLS`]).
//!
//! Glossary. *Page*: 4 KiB of guest virtual memory. *Host page*: the host address of the RAM behind it, which also
//! names the physical page everywhere in the engine. *Log*: indices filled since the last flush, so that flushing
//! costs what was filled.
//!
//! Everything here belongs to its vCPU's thread, with one exception: when another thread translates code from a page,
//! it takes the write tags of that page away ([`Entries::forget_writes`]). Hence the atomics.

use crate::cache::{CodePage, WIDE};
use cpu::{Access, INTERRUPT_EXIT, INTERRUPT_GUEST, INTERRUPT_LOOK, Mapping, Space};
use host::{CALLS, CODE_PAGES, JUMPS};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, Ordering::*};

/// log2 of the entries of a set.
pub const ENTRIES_LOG2: u32 = 12;
/// Entries of a set.
pub const ENTRIES: usize = 1 << ENTRIES_LOG2;
/// log2 of the bytes of an entry.
pub const ENTRY_LOG2: u32 = 4;
/// Entries behind them, of which translated code does not know: what others have driven out last. Two pages that share an entry and are
/// used in turn find each other there, without a walk.
const VICTIMS: usize = 8;
/// All of them.
const ALL: usize = ENTRIES + VICTIMS;
/// What of `va >> (12 - ENTRY_LOG2)` is the offset of its entry in bytes.
pub const INDEX_MASK: u32 = (ENTRIES as u32 - 1) << ENTRY_LOG2;
/// A tag of the jump cache that matches no address: code begins at even ones.
pub const NONE: u64 = u64::MAX;
/// The same where the log has the place already.
const LEFT: u64 = u64::MAX - 2;
/// What a jump's tag has of the pc alone.
const TAG_PC: u64 = (1 << 57) - 1;

// Translated code looks for `pc ^ mode ^ interrupt` where `pc` has its entry, and is to find nothing while there is an interrupt: so
// whichever bits that may have, all pcs of an entry must have alike. (Bit 0 is that of no pc.)
const _: () = assert!(((INTERRUPT_GUEST | INTERRUPT_EXIT | INTERRUPT_LOOK) as usize) < 2 * JUMPS);

/// Sets that a vCPU keeps.
pub const SETS: usize = 16;

/// In an entry's tag: nobody may write to the page directly. A load compares the tag's page alone, a store all of the tag.
const READ_ONLY: u64 = 1;
/// With [`READ_ONLY`]: the page may be executed (looked at by the engine only).
const EXECUTE: u64 = 2;
/// The entry is for no page. Since loads do not see this, the tag's page is one that has another entry.
const ABSENT: u64 = 4;

/// One entry of the soft TLB: for a page that may be read. What may be executed may not be written, and the other way round: whoever
/// does both in turn has the entry filled in turn.
#[repr(C, align(16))]
pub struct Entry {
    /// The virtual page and what may be done there.
    tag: AtomicU64,
    /// Host address minus guest virtual address.
    pub addend: AtomicU64,
}

impl Entry {
    /// Entry `i` for no page.
    fn none(i: usize) -> Entry {
        Entry { tag: AtomicU64::new(Entry::absent(i)), addend: AtomicU64::new(0) }
    }
    /// The tag of entry `i` if it is for no page. (What crosses from a page to the next looks for the second in the entry of the first.)
    fn absent(i: usize) -> u64 {
        ((i ^ (ENTRIES / 2)) as u64) << 12 | READ_ONLY | ABSENT
    }
    fn forget(&self, i: usize) {
        self.tag.store(Entry::absent(i), Relaxed);
    }
    /// Offset of the tag in an entry.
    pub const TAG: usize = std::mem::offset_of!(Entry, tag);
    /// Whether this access to the page `page` may go straight to host memory.
    #[inline(always)]
    pub fn allows(&self, page: u64, access: Access) -> bool {
        let tag = self.tag.load(Relaxed);
        match access {
            Access::Read => (tag ^ page) & !4095 == 0,
            Access::Write => tag == page,
            Access::Execute => tag == page | READ_ONLY | EXECUTE,
        }
    }
    /// Nobody may write to the page directly any more.
    pub fn forbid_writes(&self) {
        self.tag.fetch_or(READ_ONLY, SeqCst);
    }
    /// The page that it is for.
    fn page(&self) -> Option<u64> {
        let tag = self.tag.load(Relaxed);
        (tag & ABSENT == 0).then_some(tag & !4095)
    }
    /// Becomes entry `i` for another page, or with other rights. `order` is that of a tag that allows writes, where others may look for such.
    fn set(&self, i: usize, tag: u64, addend: u64, order: Ordering) {
        // The old one goes before the addend changes: another thread reads them together.
        if self.tag.load(Relaxed) & READ_ONLY == 0 {
            self.tag.store(Entry::absent(i), order);
        }
        self.addend.store(addend, Relaxed);
        self.tag.store(tag, if tag & READ_ONLY == 0 { order } else { Relaxed });
    }
}

/// One entry of the jump cache.
#[repr(C, align(16))]
pub struct Jump {
    /// pc xor mode tag.
    pub tag: AtomicU64,
    /// Host address of the code.
    pub code: AtomicU64,
}

impl Jump {
    fn none() -> Jump {
        Jump { tag: AtomicU64::new(NONE), code: AtomicU64::new(0) }
    }
}

/// Where calls return to that code of one mode has made; the tag is the pc alone. Translated code fills it, with addresses in pages
/// of which the jump cache may have something.
struct Calls {
    mode: u32,
    /// Nobody has used it since it was emptied.
    empty: bool,
    entries: Box<[Jump]>,
}

impl Calls {
    fn forget(&mut self) {
        if !self.empty {
            self.entries.iter().for_each(|c| c.tag.store(NONE, Relaxed));
        }
    }
}

/// Modes for which a set remembers calls. A trap, say, is often taken with floating point enabled, handled without.
const MODES: usize = 4;

/// The entries of one set: the part that other threads may reach.
pub struct Entries {
    entries: Box<[Entry]>,
    /// Which physical pages may have a write tag here: a bit for each value of the page number modulo 4096.
    written: [AtomicU64; 64],
}

impl Entries {
    /// Takes the write tags of a physical page away; any thread may ask. Whether there were any: then the owner may be between
    /// its look at one and the store.
    pub fn forget_writes(&self, host_page: u64) -> bool {
        let (word, bit) = self.written(host_page);
        let mut found = false;
        if word.load(SeqCst) & bit == 0 {
            return found;
        }
        for e in &self.entries {
            let tag = e.tag.load(Relaxed);
            if tag & READ_ONLY == 0 && tag.wrapping_add(e.addend.load(Relaxed)) == host_page {
                // If its owner has refilled it meanwhile, it has looked at the page's state and found code.
                let _ = e.tag.compare_exchange(tag, tag | READ_ONLY, SeqCst, Relaxed);
                found = true;
            }
        }
        found
    }
    fn written(&self, host_page: u64) -> (&AtomicU64, u64) {
        let n = host_page >> 12;
        (&self.written[(n >> 6) as usize % 64], 1 << (n & 63))
    }
}

/// A bit for each entry, and one for each word of those that may have any.
struct Bits {
    words: [u64; ALL.div_ceil(64)],
    any: [u64; ALL.div_ceil(64 * 64)],
}

impl Bits {
    const NONE: Bits = Bits { words: [0; ALL.div_ceil(64)], any: [0; ALL.div_ceil(64 * 64)] };
    fn get(&self, i: usize) -> bool {
        self.words[i / 64] >> (i % 64) & 1 != 0
    }
    fn set(&mut self, i: usize, on: bool) {
        let word = &mut self.words[i / 64];
        *word = *word & !(1 << (i % 64)) | u64::from(on) << (i % 64);
        self.any[i / 4096] |= u64::from(on) << (i / 64 % 64);
    }
    /// Calls `each` with those that are set, and sets them no longer.
    fn drain(&mut self, mut each: impl FnMut(usize)) {
        for (m, any) in self.any.iter_mut().enumerate() {
            for n in ones(std::mem::take(any)) {
                let n = 64 * m + n;
                ones(std::mem::take(&mut self.words[n])).for_each(|bit| each(64 * n + bit));
            }
        }
    }
}

/// The bits that are set.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit as usize)
    })
}

/// One address space's translations.
pub struct Set {
    entries: Arc<Entries>,
    jumps: Box<[Jump]>,
    /// Which code pages are mapped, as far as is known: for translated code, and for us.
    code_pages: Box<[AtomicU64]>,
    mapped: Box<[Option<CodePage>]>,
    /// Indices of those that are not `None`.
    placed: Vec<u16>,
    /// Where calls return to, for the modes met last; and which of them is in use.
    calls: Vec<Calls>,
    mode: usize,
    /// Code runs here, and may fill that table.
    in_use: bool,
    /// Something is known of code here, besides calls.
    has_code: bool,
    /// The page table that mappings which are not global belong to.
    owner: u64,
    used: u64,
    /// Indices of entries filled.
    filled: Vec<u16>,
    /// Which are filled with a mapping that is not global, victims behind them.
    own: Bits,
    /// The victim that was put there last; whether there are any.
    next_victim: usize,
    victims: bool,
    /// Their pages, where looking for one is quicker.
    victim_pages: [u64; VICTIMS],
    /// There is no other vCPU.
    alone: bool,
    /// Code may be in the jump cache that lies in such a mapping.
    own_code: bool,
    /// Indices of jumps filled.
    jumped: Vec<u16>,
    /// Gigabytes of virtual space in which a superpage was filled in pieces.
    large: Vec<u64>,
    /// The mappings that the code in the jump cache lies in.
    code: Vec<CodeMapping>,
    jump_pages: Box<Pages>,
    /// Numbers of the pieces of [`WIDE`] bytes of virtual space that are mapped in a row.
    wide: Vec<u64>,
    /// Gigabytes of virtual space with code in superpages.
    large_code: Vec<u64>,
}

/// Which accesses may go straight to host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Fetches.
    pub execute: bool,
}

/// A mapping that code lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeMapping {
    /// Where it begins.
    pub virtual_address: u64,
    /// What is mapped there.
    pub physical: u64,
    /// log2 of its bytes.
    pub size_log2: u8,
    /// It holds in every address space; if not, a change of the page table takes its code along.
    pub global: bool,
}

impl CodeMapping {
    /// What `mapping`, which was found for `va`, is as a whole.
    pub fn at(va: u64, mapping: &Mapping) -> CodeMapping {
        let within = (1 << mapping.size_log2.min(63)) - 1;
        CodeMapping {
            virtual_address: va & !within,
            physical: mapping.physical & !within,
            size_log2: mapping.size_log2,
            global: mapping.global,
        }
    }
}

/// Mappings with code that a set remembers: a kernel and its modules have some hundreds.
const CODE_MAPPINGS: usize = 512;

/// Pieces of [`WIDE`] bytes that a set remembers as such.
const WIDE_MAPPINGS: usize = 32;

/// What else there is to know of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// It holds in every address space.
    pub global: bool,
    /// It is wider than a page.
    pub large: bool,
}

/// Which virtual pages may be in a jump cache: a set of which a page that is not in it is seldom thought to be. A supervisor has
/// code in thousands of pages.
struct Pages([u64; Pages::BITS / 64]);

impl Pages {
    const BITS: usize = 32768;
    /// A page's two bits.
    fn bits(page: u64) -> [(usize, u64); 2] {
        let mixed = (page >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        [mixed >> 49, mixed >> 34].map(|n| (n as usize / 64 % (Pages::BITS / 64), 1 << (n & 63)))
    }
    fn insert(&mut self, page: u64) {
        Pages::bits(page).iter().for_each(|&(word, bit)| self.0[word] |= bit);
    }
    fn may_contain(&self, page: u64) -> bool {
        Pages::bits(page).iter().all(|&(word, bit)| self.0[word] & bit != 0)
    }
}

impl Set {
    /// A set that holds nothing, of a vCPU that is `alone` or one of several.
    pub fn new(alone: bool) -> Set {
        Set {
            entries: Arc::new(Entries {
                entries: (0..ENTRIES + VICTIMS).map(Entry::none).collect(),
                written: [const { AtomicU64::new(0) }; 64],
            }),
            jumps: (0..JUMPS).map(|_| Jump::none()).collect(),
            code_pages: (0..CODE_PAGES).map(|_| AtomicU64::new(0)).collect(),
            mapped: vec![None; CODE_PAGES].into(),
            placed: Vec::new(),
            calls: Vec::new(),
            mode: 0,
            in_use: false,
            has_code: false,
            owner: NONE,
            used: 0,
            filled: Vec::new(),
            own: Bits::NONE,
            next_victim: 0,
            victims: false,
            victim_pages: [NONE; VICTIMS],
            alone,
            own_code: false,
            jumped: Vec::new(),
            large: Vec::new(),
            code: Vec::new(),
            jump_pages: Box::new(Pages([0; Pages::BITS / 64])),
            wide: Vec::new(),
            large_code: Vec::new(),
        }
    }
    /// The page table that mappings which are not global belong to.
    pub fn owner(&self) -> u64 {
        self.owner
    }
    /// Host address of the entries.
    pub fn entries_address(&self) -> u64 {
        self.entries.entries.as_ptr() as u64
    }
    /// Host address of the jump cache.
    pub fn jumps_address(&self) -> u64 {
        self.jumps.as_ptr() as u64
    }
    /// Host address of the table of code pages.
    pub fn code_pages_address(&self) -> u64 {
        self.code_pages.as_ptr() as u64
    }
    /// Whether the table of code pages has `page` for the page of `pc`.
    pub fn has_code_page(&self, pc: u64, page: CodePage) -> bool {
        let i = (pc >> 12) as usize % CODE_PAGES;
        let number = self.code_pages[i].load(Relaxed) ^ pc & !4095;
        self.mapped[i] == Some(page) && u32::try_from(number).is_ok_and(host::is_code_page_number)
    }
    /// The page of code that the table has for `va`.
    pub fn code_page(&self, va: u64) -> Option<CodePage> {
        self.mapped[(va >> 12) as usize % CODE_PAGES].filter(|&page| self.has_code_page(va, page))
    }
    /// Puts that there. The jump cache has something of the page already.
    pub fn set_code_page(&mut self, pc: u64, page: CodePage, number: u32) {
        let i = (pc >> 12) as usize % CODE_PAGES;
        self.has_code = true;
        if self.mapped[i].replace(page).is_none() {
            self.placed.push(i as u16);
        }
        self.code_pages[i].store(pc & !4095 ^ number as u64, Relaxed);
    }
    /// Translated code of this mode goes on, in the page at `page`. Returns the host address of its table of calls.
    pub fn run(&mut self, mode: u32, page: u64) -> u64 {
        if self.calls.get(self.mode).is_none_or(|c| c.mode != mode) {
            self.choose_calls(mode);
        }
        self.jump_pages.insert(page);
        (self.in_use, self.has_code) = (true, true);
        let calls = &mut self.calls[self.mode];
        calls.empty = false;
        calls.entries.as_ptr() as u64
    }
    /// No code runs here until there is word of [`Set::run`] again.
    pub fn leave(&mut self) {
        self.in_use = false;
    }
    fn choose_calls(&mut self, mode: u32) {
        self.mode = match self.calls.iter().position(|c| c.mode == mode) {
            Some(known) => known,
            None if self.calls.len() < MODES => {
                let entries = (0..CALLS).map(|_| Jump::none()).collect();
                self.calls.push(Calls { mode, empty: true, entries });
                self.calls.len() - 1
            }
            None => {
                let next = (self.mode + 1) % MODES;
                self.calls[next].forget();
                self.calls[next].mode = mode;
                next
            }
        };
    }
    fn forget_calls(&mut self) {
        for (i, calls) in self.calls.iter_mut().enumerate() {
            calls.forget();
            calls.empty = i != self.mode || !self.in_use;
        }
    }
    /// The entry that a virtual address falls on.
    #[inline(always)]
    pub fn entry(&self, va: u64) -> &Entry {
        &self.entries.entries[(va >> 12) as usize % ENTRIES]
    }
    /// The code for `pc` in the mode of `mode_tag`, if the jump cache has it.
    #[inline(always)]
    pub fn jump(&self, pc: u64, mode_tag: u64) -> Option<u64> {
        let j = &self.jumps[(pc >> 1) as usize % JUMPS];
        (j.tag.load(Relaxed) == pc ^ mode_tag).then(|| j.code.load(Relaxed))
    }
    /// Puts code into the jump cache; `last` is an address in the last page that it was made from.
    pub fn set_jump(&mut self, pc: u64, mode_tag: u64, code: u64, last: u64) {
        let i = (pc >> 1) as usize % JUMPS;
        let j = &self.jumps[i];
        if j.tag.load(Relaxed) == NONE {
            self.jumped.push(i as u16);
        }
        [pc, last].iter().for_each(|&page| self.jump_pages.insert(page));
        self.has_code = true;
        j.tag.store(pc ^ mode_tag, Relaxed);
        j.code.store(code, Relaxed);
    }
    /// Fills an entry: `rights` says what may be done there. There is none for a page that may not be read.
    pub fn fill(&mut self, va: u64, host_page: u64, rights: Rights, kind: Kind) {
        let page = va & !4095;
        let i = (va >> 12) as usize % ENTRIES;
        self.own_code |= rights.execute && !kind.global;
        let old = self.entries.entries[i].page();
        if !rights.read {
            if old == Some(page) {
                self.entries.entries[i].forget(i);
            }
            return;
        }
        match old {
            None => self.filled.push(i as u16),
            Some(old) if old != page => {
                let k = self.next_victim();
                self.keep_victim(i, old, k);
            }
            Some(_) => {}
        }
        if kind.large && !self.large.contains(&(va >> 30)) {
            self.large.push(va >> 30);
        }
        self.own.set(i, !kind.global);
        let not = match rights {
            Rights { execute: true, .. } => READ_ONLY | EXECUTE,
            Rights { write: false, .. } => READ_ONLY,
            _ => 0,
        };
        if not & READ_ONLY == 0 {
            // Before the tag: who looks for tags of the page and misses this comes early enough for its owner to see that the page
            // has code.
            let (word, bit) = self.entries.written(host_page);
            let bits = word.load(Relaxed);
            if bits & bit == 0 {
                word.store(bits | bit, Relaxed);
            }
        }
        self.entries.entries[i].set(i, page | not, host_page.wrapping_sub(page), self.order());
    }
    /// Entry `i` is about to be replaced: puts what it has in place `k`. Its write tag stays to be found there by whoever wants to
    /// take it away, since the owner may have looked at it and still be about to store.
    fn keep_victim(&mut self, i: usize, page: u64, k: usize) {
        self.victim_pages[k] = page;
        let (from, to) = (&self.entries.entries[i], ENTRIES + k);
        let (tag, addend) = (from.tag.load(Relaxed), from.addend.load(Relaxed));
        self.entries.entries[to].set(to, tag, addend, self.order());
        self.own.set(to, self.own.get(i));
        self.victims = true;
    }
    fn order(&self) -> Ordering {
        if self.alone { Relaxed } else { SeqCst }
    }
    fn next_victim(&mut self) -> usize {
        self.next_victim = (self.next_victim + 1) % VICTIMS;
        self.next_victim
    }
    /// Gives `va` its entry back if another page has driven it out lately; whether this access may go straight to memory now.
    pub fn recall(&mut self, va: u64, access: Access) -> bool {
        // A write tag on its way from here to there might not be found by another vCPU.
        if !self.victims || access == Access::Write && !self.alone {
            return false;
        }
        let (page, victims) = (va & !4095, &self.entries.entries[ENTRIES..]);
        let allows = |k: usize| self.victim_pages[k] == page && victims[k].allows(page, access);
        let Some(k) = (0..VICTIMS).find(|&k| allows(k)) else { return false };
        let tag = victims[k].tag.load(Relaxed) | if self.alone { 0 } else { READ_ONLY };
        let addend = victims[k].addend.load(Relaxed);
        let own = self.own.get(ENTRIES + k);
        self.victim_pages[k] = NONE;
        let i = (va >> 12) as usize % ENTRIES;
        match self.entries.entries[i].page() {
            None => self.filled.push(i as u16),
            Some(old) => {
                let k = if self.alone { k } else { self.next_victim() };
                self.keep_victim(i, old, k);
            }
        }
        self.entries.entries[i].set(i, tag, addend, self.order());
        self.own.set(i, own);
        true
    }
    fn forget_victims(&mut self) {
        if std::mem::take(&mut self.victims) {
            self.victim_pages = [NONE; VICTIMS];
            (ENTRIES..ENTRIES + VICTIMS).for_each(|i| self.entries.entries[i].forget(i));
        }
    }
    /// Code at `va`, in this mapping, may be executed; if `wide`, the [`WIDE`] bytes around it are mapped in a row.
    #[inline]
    pub fn note_code(&mut self, va: u64, mapping: CodeMapping, wide: bool) {
        self.has_code = true;
        match (self.is_wide(va), wide) {
            (false, true) if self.wide.len() < WIDE_MAPPINGS => self.wide.push(va / WIDE),
            // The guest has split a superpage and not fenced yet: from here on its pages count on their own.
            (true, false) => self.wide.retain(|&piece| piece != va / WIDE),
            _ => {}
        }
        if mapping.size_log2 > 12 && !self.large_code.contains(&(va >> 30)) {
            self.large_code.push(va >> 30);
        }
        if !self.code.contains(&mapping) && self.code.len() <= CODE_MAPPINGS {
            self.code.push(mapping);
        }
    }
    /// Whether the [`WIDE`] bytes around `va` are mapped in a row, as far as that is known.
    #[inline]
    pub fn is_wide(&self, va: u64) -> bool {
        self.wide.contains(&(va / WIDE))
    }
    /// The mappings that all code in the jump cache lies in, unless they are too many.
    pub fn code(&self) -> Option<&[CodeMapping]> {
        Some(&self.code[..]).filter(|c| c.len() <= CODE_MAPPINGS)
    }
    /// Forgets everything.
    pub fn flush(&mut self) {
        self.flush_entries();
        self.forget_jumps();
    }
    /// Forgets everything but the jump cache.
    pub fn flush_entries(&mut self) {
        for i in self.filled.drain(..) {
            self.entries.entries[i as usize].forget(i as usize);
        }
        self.forget_victims();
        self.entries.written.iter().for_each(|w| w.store(0, Relaxed));
        self.large.clear();
        self.own = Bits::NONE;
    }
    /// Forgets what is not global.
    pub fn flush_own(&mut self) {
        let (entries, pages) = (&self.entries.entries, &mut self.victim_pages);
        self.own.drain(|i| {
            entries[i].forget(i);
            if let Some(page) = i.checked_sub(ENTRIES).and_then(|k| pages.get_mut(k)) {
                *page = NONE;
            }
        });
        if self.own_code {
            self.forget_jumps();
        }
    }
    /// Forgets the jump cache.
    pub fn forget_jumps(&mut self) {
        self.own_code = false;
        self.forget_calls();
        // A supervisor that forgets everything does so again and again, while most sets are not used.
        if !std::mem::take(&mut self.has_code) {
            return;
        }
        self.code.clear();
        self.wide.clear();
        self.large_code.clear();
        for i in self.jumped.drain(..) {
            self.jumps[i as usize].tag.store(NONE, Relaxed);
        }
        for i in self.placed.drain(..) {
            self.mapped[i as usize] = None;
            self.code_pages[i as usize].store(0, Relaxed);
        }
        self.jump_pages.0.fill(0);
    }
    /// Forgets the code for `pc`.
    pub fn forget_jump(&mut self, pc: u64) {
        let j = &self.jumps[(pc >> 1) as usize % JUMPS];
        if j.tag.load(Relaxed) != NONE {
            j.tag.store(LEFT, Relaxed);
        }
    }
    /// Forgets the code in a page, and the instruction that crosses into it.
    fn forget_jumps_in(&mut self, page: u64) {
        let first = (page >> 1) as usize % JUMPS;
        for j in &self.jumps[first..first + 2048] {
            if (j.tag.load(Relaxed) ^ page) & TAG_PC & !4095 == 0 {
                j.tag.store(LEFT, Relaxed);
            }
        }
        let i = (page >> 12) as usize % CODE_PAGES;
        self.code_pages[i].store(0, Relaxed);
        self.forget_jump(page.wrapping_sub(2));
        self.forget_calls();
    }
    /// Forgets the page at `va` (everything, if it may be part of a superpage); with `own`, only if it is not global.
    pub fn flush_page(&mut self, va: u64, own: bool) {
        if self.large.contains(&(va >> 30)) || self.large_code.contains(&(va >> 30)) {
            return if own { self.flush_own() } else { self.flush() };
        }
        self.forget_victims();
        let page = va & !4095;
        if self.entry(va).page() == Some(page) {
            self.entry(va).forget((va >> 12) as usize % ENTRIES);
        }
        if self.jump_pages.may_contain(page) {
            self.forget_jumps_in(page);
        }
    }
}

/// The sets of one vCPU.
#[derive(Default)]
pub struct Tlb {
    sets: Vec<Set>,
    /// Numbers of their spaces.
    numbers: Vec<u64>,
    clock: u64,
    /// There are other vCPUs.
    parallel: bool,
}

impl Tlb {
    /// Sets of a vCPU that is one of several if `parallel`.
    pub fn new(parallel: bool) -> Tlb {
        Tlb { parallel, ..Tlb::default() }
    }
    /// Index of the set for a space, and its entries if it is new (others must know them). The set that was not used for
    /// longest makes room, but never set `keep`.
    pub fn select(&mut self, space: Space, keep: usize) -> (usize, Option<Arc<Entries>>) {
        self.clock += 1;
        let now = self.clock;
        if let Some(i) = self.numbers.iter().position(|&n| n == space.number) {
            let set = &mut self.sets[i];
            set.used = now;
            if set.owner != space.owner {
                set.flush_own();
                set.owner = space.owner;
            }
            return (i, None);
        }
        let mut oldest =
            (0..self.sets.len()).filter(|&i| i != keep).min_by_key(|&i| self.sets[i].used).unwrap_or(0);
        let mut made = None;
        if self.sets.len() < SETS {
            oldest = self.sets.len();
            let set = Set::new(!self.parallel);
            made = Some(set.entries.clone());
            self.sets.push(set);
            self.numbers.push(space.number);
        }
        let set = &mut self.sets[oldest];
        set.flush();
        set.owner = space.owner;
        set.used = now;
        self.numbers[oldest] = space.number;
        (oldest, made)
    }
    /// Set `i`, to be looked at.
    pub fn get(&self, i: usize) -> &Set {
        &self.sets[i]
    }
    /// Set `i`.
    #[inline(always)]
    pub fn set(&mut self, i: usize) -> &mut Set {
        &mut self.sets[i]
    }
    /// All sets.
    pub fn sets(&mut self) -> impl Iterator<Item = &mut Set> {
        self.sets.iter_mut()
    }
}

#[cfg(test)]
#[path = "tlb_test.rs"]
mod test;
