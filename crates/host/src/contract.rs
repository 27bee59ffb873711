//! What translated code and the engine have to agree on.

/// Byte offsets of the frame's fields from the state register (`rbp`). The state register may point into the
/// middle of the frame so that short displacements reach more of it; the offsets include that bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// 32-bit word; not zero asks for leaving before the next jump that goes back or to another page. It is the low half of
    /// the word at `mode_tag`, so that whoever looks into the jump cache finds nothing while it is not zero.
    pub interrupt: i32,
    /// 32-bit word that holds `(1 << entries_log2) - 1 << entry_log2` of the soft TLB (see [`Tlb`]).
    pub entry_mask: i32,
    /// 64-bit word that holds -4096.
    pub page_mask: i32,
    /// Host address of the soft TLB.
    pub tlb: i32,
    /// Host address of the jump cache.
    pub jump_cache: i32,
    /// Guest virtual address of the page that the running code lies in.
    pub page: i32,
    /// Host address of the table of calls; see [`CALLS`].
    pub calls: i32,
    /// Host address of the table of code pages; see [`CODE_PAGES`].
    pub code_pages: i32,
    /// Guest program counter.
    pub pc: i32,
    /// Exclusive-or'ed into the tags of the jump cache; only its upper half says anything about the mode.
    pub mode_tag: i32,
    /// [`SCRATCH_WORDS`] words for the host code's own use.
    pub scratch: i32,
    /// Slot `n` lies at `slots + 8 * n`.
    pub slots: i32,
    /// 64-bit word that every hook gets as its first argument.
    pub context: i32,
    /// 32-bit value that MXCSR gets on entry: rounding bits zero, and all exceptions masked ([`MASKED`]) unless flags are watched for.
    pub mxcsr: i32,
    /// 32-bit word. Negative: which flags have been raised, MXCSR has to be asked. Else it is *watched*: no flags count but those
    /// that the guest has in a slot already; the word says which of those are masked, in the guest's order, and the processor
    /// traps before it raises any other. Whoever gets that trap masks all exceptions, clears the flags of those that were not,
    /// makes this word -1 and the one at `mxcsr` [`MASKED`], and has the instruction tried again.
    pub watched: i32,
    /// 32-bit word that counts how often MXCSR has been asked.
    pub polls: i32,
    /// Host address of the table of split groups; see [`SPLITS`].
    pub splits: i32,
}

/// Places of the table of split groups, 16 bytes each: the return address of a call for [`Hooks::fill`], and the code that goes on at its
/// instruction if the bytes lie in two pages. What returns to `at` has the place `at / 16 % SPLITS`.
pub const SPLITS: usize = 1024;

/// MXCSR with all exceptions masked, round to nearest, no flags.
pub const MASKED: u32 = 0x1f80;

/// MXCSR's flags (0 invalid, 1 denormal, 2 divide by zero, 3 overflow, 4 underflow, 5 inexact) in the guest's order (0 inexact,
/// 1 underflow, 2 overflow, 3 divide by zero, 4 invalid).
pub const fn flags_from_mxcsr(csr: u32) -> u8 {
    (csr >> 5 & 1 | (csr >> 4 & 1) << 1 | (csr >> 3 & 1) << 2 | (csr >> 2 & 1) << 3 | (csr & 1) << 4) as u8
}

/// The other way round.
pub const fn flags_to_mxcsr(flags: u8) -> u32 {
    let f = flags as u32;
    f >> 4 & 1 | (f >> 3 & 1) << 2 | (f >> 2 & 1) << 3 | (f >> 1 & 1) << 4 | (f & 1) << 5
}

/// Words that [`Layout::scratch`] must have.
pub const SCRATCH_WORDS: usize = 26;
/// The scratch word that holds, in a call of a function with [`ir::HelperEffects::Any`], the calling instruction's offset
/// from the page base.
pub const SCRATCH_INSN: usize = 5;
/// Slots that [`Layout::slots`] must have.
pub const SLOTS: usize = 128;

/// Shape of the soft TLB. An entry serves loads from the page that the upper 52 bits of its tag name, and stores to it if the lower
/// 12 are zero; one that is to serve none names a page whose accesses, those that cross into the next page too, look at another entry.
/// Host address = guest address + addend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlb {
    /// Log2 of the number of entries; the index is the low bits of the page number.
    pub entries_log2: u32,
    /// Log2 of an entry's bytes.
    pub entry_log2: u32,
    /// Offset of the tag.
    pub tag: i32,
    /// Offset of the addend.
    pub addend: i32,
}

/// Entries of the jump cache, 16 bytes each: the tag `pc ^ mode_tag` and the host address of the code. A pc's entry is number
/// `pc >> 1` modulo this: its low 16 bits are the entry's offset in units of eight bytes, which takes one instruction to find.
pub const JUMPS: usize = 1 << 15;

/// Entries of the table of calls: guest address to which a call will return, and the host address of the code there. The entry is
/// found by the guest's stack pointer, which is the same when the call returns: its bits 4 to 11 are the entry's number. An entry
/// of all ones is none: no code lies there. Whatever makes a jump cache wrong makes such a table wrong; so does a change of the mode.
pub const CALLS: usize = 256;

/// Entries of the table of code pages, 8 bytes each: a guest address of a page exclusive-or the number of the code page that is mapped there. The
/// entry of a page is its number modulo this. Numbers have fewer bits than what an entry's pages have alike, and none in common with
/// a page's address alone, so that an entry exclusive-or an address is a code page's number only if it is this page's; 0 is no entry.
pub const CODE_PAGES: usize = 1 << 12;

/// Whether a code page can have this number.
pub const fn is_code_page_number(n: u32) -> bool {
    n & 4095 != 0 && n < 4096 * CODE_PAGES as u32
}

/// What a guarded link compares with while it leads nowhere: the number of no code page.
pub const NO_CODE_PAGE: u32 = i32::MAX as u32;

/// Remembered pages: words in the frame where loads that stand alone leave the page that they met last, so that the next
/// address does not depend on a look into the TLB. Whatever takes a read tag away from the TLB in use, or changes which TLB
/// is in use, must set all tags to all ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sites {
    /// Offset from the state register of the tags: virtual page addresses.
    pub tags: i32,
    /// Offset of the addends.
    pub addends: i32,
    /// Offset of guesses: addends that loads met last. Each look into the TLB compares, so nobody has to forget them.
    pub guesses: i32,
    /// How many there are of each; the places in the code share them in turn.
    pub count: u32,
}

/// Everything that shapes the code of one code memory.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the frame's fields are.
    pub layout: Layout,
    /// Shape of the soft TLB.
    pub tlb: Tlb,
    /// Slots that live in host registers, hottest first; at most [`PINNED`] are taken. In a region all of them that are below 32 need not be in the
    /// frame when [`Hooks::attempt`] is called.
    pub hot_slots: Vec<u16>,
    /// Float slots that live in `xmm` registers where floats can be used, hottest first; at most [`PINNED_FLOATS`] are taken.
    pub hot_floats: Vec<u16>,
    /// The slot of the guest's stack pointer. Calls are remembered if it is one of the hottest.
    pub stack_slot: u16,
    /// The slot to which [`Hooks::soft`] adds flags: it need not hold what was last written to it.
    pub flags_slot: u16,
    /// Which optional instructions may be used.
    pub features: Features,
    /// Remembered pages, if the frame has room for them.
    pub sites: Option<Sites>,
    /// Whether there are other vCPUs, for which atomics have to be atomic.
    pub parallel: bool,
    /// Whether a block may go on at its own entry without a link, which nobody could take back.
    pub loops: bool,
    /// Offset from the state register of a signed 64-bit word with the guest instructions that may still run, if they are to be
    /// counted: every entry of a block looks at the interrupt word and takes [`Placement::insns`] from this one. Where that
    /// leaves less than nothing, the word gets them back and the block is left with [`exit::INTERRUPT`]. Who leaves a block in
    /// its middle corrects the word himself.
    pub budget: Option<i32>,
}

/// How many slots can live in host registers.
pub const PINNED: usize = 10;

/// How many float slots can live in host registers.
pub const PINNED_FLOATS: usize = 11;

/// Optional instructions of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// ANDN and friends.
    pub bmi1: bool,
    /// SHLX, SHRX, SARX, RORX.
    pub bmi2: bool,
    /// LZCNT.
    pub lzcnt: bool,
    /// POPCNT.
    pub popcnt: bool,
    /// FMA3.
    pub fma: bool,
    /// PEXTRD, ROUNDSD.
    pub sse41: bool,
    /// PCLMULQDQ.
    pub pclmul: bool,
}

impl Features {
    /// None of them: what every x86-64 has.
    pub const BASE: Features = Features {
        bmi1: false,
        bmi2: false,
        lzcnt: false,
        popcnt: false,
        fma: false,
        sse41: false,
        pclmul: false,
    };
    /// What this machine has.
    pub fn detect() -> Features {
        #[cfg(target_arch = "x86_64")]
        return Features {
            bmi1: std::is_x86_feature_detected!("bmi1"),
            bmi2: std::is_x86_feature_detected!("bmi2"),
            lzcnt: std::is_x86_feature_detected!("lzcnt"),
            popcnt: std::is_x86_feature_detected!("popcnt"),
            fma: std::is_x86_feature_detected!("fma"),
            sse41: std::is_x86_feature_detected!("sse4.1"),
            pclmul: std::is_x86_feature_detected!("pclmulqdq"),
        };
        #[cfg(not(target_arch = "x86_64"))]
        Features::BASE
    }
}

/// Addresses of the engine's functions, all `extern "sysv64"`. `context` is the word at [`Layout::context`].
/// Where a function returns a pair (`rax`, `rdx`), the second is a status: 0 goes on, anything else leaves
/// translated code with that exit value, but for [`exit::GO`]. In every hook but `attempt`, `soft` and `quiet` all slots are in the frame (NaNs may not be canonical in `fill`); only in `helper` may
/// the hook change them and have that seen. `ra` is the return address in the block; its offset from the block's first byte is in
/// [`Code::points`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// `(context, va, memop, ra) -> (value, status)`: a load that missed the TLB; the value extended as memop says.
    pub load: u64,
    /// `(context, va, value, memop, ra) -> (_, status)`: a store that missed.
    pub store: u64,
    /// `(context, first, last, need, ra) -> (addend, status)`: an access of bytes between these two missed; sees to it that the TLB has
    /// their page. `need`: 0 a load; 1 a load now, and stores later; 2 a store. If they lie in two pages, or if not all of it can go
    /// straight to memory, the block is over: nothing has been done of its instruction at `ra`, which has to be run by a translation
    /// with [`Placement::alone`].
    pub fill: u64,
    /// `(context, first, last, need) -> (addend, status)`: the same, but that nothing at all has been done if the status is not 0. Called in
    /// regions, where not all slots are in the frame: not those of [`Config::hot_slots`].
    pub attempt: u64,
    /// `(context, args, imm, ra) -> (old, status)`: [`ir::Op::Amo`]; `args` points to address and operand, `imm`
    /// is the instruction's.
    pub amo: u64,
    /// `(context, args, memop, ra) -> (old, status)`: [`ir::Op::Cas`]; `args` points to address, expected, new.
    pub cas: u64,
    /// `(context, args, memop, ra) -> (0 stored or 1, status)`: [`ir::Op::StoreCond`] whose condition holds; `args`
    /// points to address, expected, new.
    pub store_cond: u64,
    /// `(context, id, args, ra) -> (value, status)`: [`ir::Op::Call`]; `args` points to four words. The status of functions
    /// that cannot trap is ignored.
    pub helper: u64,
    /// `(context) -> (host code address, status)`: finds or makes the code at the frame's pc, sets the frame's page.
    pub lookup: u64,
    /// `(context, what, args) -> bits`: the float operation that [`soft_code`] names on the words at `args`; accrues its flags.
    pub soft: u64,
}

/// The number that tells [`Hooks::soft`] what to do.
pub fn soft_code(op: ir::Op, ty: ir::Ty) -> u64 {
    (op as u64) << 1 | (ty == ir::Ty::F64) as u64
}

/// What [`soft_code`] has put into a number.
pub fn soft_operation(code: u64) -> Option<(ir::Op, ir::Ty)> {
    let ty = if code & 1 != 0 { ir::Ty::F64 } else { ir::Ty::F32 };
    ir::Op::ALL.get(code as usize >> 1).map(|&op| (op, ty))
}

/// Host addresses of the common code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stubs {
    /// `extern "sysv64" fn(state: *mut u8, code: *const u8) -> u64`: enters translated code, returns the exit value.
    pub enter: u64,
    /// Of the pairs that follow, and in the second halves of the arrays, the second is for modes in which floats can be used: it
    /// takes care of `xmm` registers too.
    ///
    /// Stores pinned slots and returns `rax` from `enter`.
    pub leave: [u64; 2],
    /// By memop: load from the address on the stack; leaves the value in its place.
    pub load: [u64; 16],
    /// By log2 of the size: store the second word on the stack to the address that is the first; takes both away.
    pub store: [u64; 8],
    /// By what is needed: the addend for the bytes whose first and last address are the first and second word on the stack; leaves it in
    /// the place of the second. See [`Hooks::fill`].
    pub fill: [u64; 6],
    /// Likewise. Zero flag not set: the addend is not to be had, and both words are still there. See [`Hooks::attempt`].
    pub attempt: [u64; 6],
    /// [`BASED`] bytes for each of the above, once for each register: adds it to the addresses, and goes on as that does.
    pub based: u64,
    /// Atomics on scratch words 0 to 2, imm in word 4.
    pub amo: [u64; 2],
    /// Likewise.
    pub cas: [u64; 2],
    /// Likewise.
    pub store_cond: [u64; 2],
    /// Function number in scratch word 4 on scratch words 0 to 3; slots written back and read anew.
    pub call: [u64; 2],
    /// The same for functions that cannot trap and know no slot.
    pub call_quiet: [u64; 2],
    /// The float operation named in word 4 on scratch words 0 to 2; the result is in word 0.
    pub soft: u64,
    /// Carry-less product of `rax` and `rdx`: its high half in `rdx`, its low half in `rax`; `rcx` and `r11` are destroyed. For hosts
    /// without PCLMULQDQ.
    pub carryless: u64,
    /// Called: `rax` = guest pc in another page, which becomes the frame's. `rdx` = the pc exclusive-or its page's entry of the table of
    /// code pages, or a number that no guarded link has while the interrupt word is not zero.
    pub mapped: u64,
    /// `rax` = guest pc: looks in the jump cache, jumps.
    pub probe: [u64; 2],
    /// `rax` = guest pc of a return that is not in the table of calls, bit 0 of which does not count: looks in the jump cache, jumps.
    pub elsewhere: [u64; 2],
    /// `rax` = guest pc that missed the jump cache.
    pub miss: [u64; 2],
    /// Goes on at the frame's pc in whatever mode that is now.
    pub resume: u64,
    /// Called: leaves with [`exit::INTERRUPT`] and the return address.
    pub interrupt: [u64; 2],
    /// Likewise with [`exit::LINK`].
    pub link: [u64; 2],
    /// Likewise with [`exit::DEAD`].
    pub dead: [u64; 2],
    /// By the register that holds the guest address (in the order of the temporaries) and log2 of the size: looks into the TLB for
    /// a load whose site number lies on the stack. Zero flag set: the site remembers the page, and the register holds the addend.
    /// Else scratch word 0 holds the address. The number is gone.
    pub site: [[u64; 4]; 4],
    /// Constants for floats, 16 bytes each: canonical binary32 NaN, canonical binary64 NaN, NaN box, zero, canonical binary32 NaN
    /// in its box; the sign bits of both formats, and all bits but those; a table of
    /// 64 bytes that gives the guest's flags for those of the host.
    pub constants: u64,
}

/// Bytes of a stub at [`Stubs::based`].
pub const BASED: u64 = 16;

impl Stubs {
    /// Those for which there is one at [`Stubs::based`], and how many addresses each takes.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = (u64, i32)> + '_ {
        let one = self.load.iter().chain(&self.store).map(|&at| (at, 1));
        one.chain(self.fill.iter().chain(&self.attempt).map(|&at| (at, 2)))
    }
    /// The one that loads (`n` as in [`Stubs::load`]), for addresses less the register `base`, if that is given.
    pub(crate) fn load_from(&self, n: usize, base: Option<u8>) -> u64 {
        base.map_or(self.load[n], |base| self.based_at(base, n))
    }
    /// The one that stores, likewise.
    pub(crate) fn store_to(&self, n: usize, base: Option<u8>) -> u64 {
        base.map_or(self.store[n], |base| self.based_at(base, self.load.len() + n))
    }
    /// The one that fills, likewise.
    pub(crate) fn fill_at(&self, n: usize, base: u8) -> u64 {
        self.based_at(base, self.load.len() + self.store.len() + n)
    }
    /// The one that attempts to, likewise.
    pub(crate) fn attempt_at(&self, n: usize, base: u8) -> u64 {
        self.based_at(base, self.load.len() + self.store.len() + self.fill.len() + n)
    }
    fn based_at(&self, base: u8, n: usize) -> u64 {
        let all = self.load.len() + self.store.len() + self.fill.len() + self.attempt.len();
        self.based + BASED * (base as usize * all + n) as u64
    }
}

/// A place where a direct jump can be patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Offset in the code of the 32-bit displacement, relative to its end; it lies in one aligned 8-byte word.
    pub at: u32,
    /// Offset in the code of the five bytes that the jump leads to until it is patched: a call of [`Stubs::link`]. `None`:
    /// the jump is that call itself until it is patched, opcode and all, and the five bytes lie in one aligned 8-byte word.
    pub stub: Option<u32>,
    /// Where it should lead: offset from the page base.
    pub target: i64,
    /// For a jump to where pages are mapped one by one, offset in the code of 32 bits (in one aligned 8-byte word): the number of the code page that has to be mapped there,
    /// exclusive-or the target's offset in it; [`NO_CODE_PAGE`] until the jump is linked. The jump itself is a call of [`Stubs::link`] until then. If another page is
    /// mapped there, the way leads to the stub, which may become a jump to [`Stubs::probe`] once the link is made; its five bytes lie in one
    /// aligned 8-byte word, too. Either way the frame has the target's page.
    pub guard: Option<u32>,
}

/// A place from which a hook may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Offset in the code of the return address.
    pub return_offset: u32,
    /// Offset of the guest instruction from the page base.
    pub insn: i64,
}

/// What a block's code has to know besides the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement<'a> {
    /// Where it will run; a multiple of 8.
    pub base: u64,
    /// Where the part of it that is rarely reached will run.
    pub apart: u64,
    /// Offset of its first instruction from the page base.
    pub entry: i64,
    /// Offsets from the page base that direct jumps may be linked to: first, end; multiples of 4096. The pages between are mapped
    /// together wherever the block runs.
    pub reach: (i64, i64),
    /// Host address of the code that is at what [`ir::Op::Expect`] names: if the jump cache leads there, it is mapped as it was. None:
    /// it lies in reach.
    pub expected: Option<u64>,
    /// Whether its mode is one in which floats can be used.
    pub floats: bool,
    /// Guest instructions in it.
    pub insns: u32,
    /// Whether it is a region: all its accesses may share looks into the TLB, whether others follow or not.
    pub region: bool,
    /// Whether each access looks into the TLB for itself, and [`Hooks::fill`] is not called.
    pub alone: bool,
    /// Instructions (offsets from the page base, ascending) that load from another page again and again: not to be guessed from a site.
    pub wandering: &'a [u16],
    /// Of these, those whose pages had the same addend: one that is guessed needs not be waited for.
    pub steady: &'a [u16],
    /// What the slots held once when it was entered: where tables may lie.
    pub values: Option<&'a [u64; SLOTS]>,
}

/// A 32-bit displacement that leads from one part of a block's code to the other, or to the common code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Its offset in the code.
    pub at: u32,
    /// Whether it leads to the common code.
    pub common: bool,
}

/// The code of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// Machine code; its first byte is the entry. To make every entry leave with [`exit::DEAD`], overwrite the first five bytes,
    /// at once, with a call of [`Stubs::dead`]: they are one instruction.
    pub bytes: Vec<u8>,
    /// Bytes of it that run at the block's own base. The rest is rarely reached and runs at the second base.
    pub hot: u32,
    /// Patchable jumps, their stubs in ascending order.
    pub links: Vec<Link>,
    /// Calls of hooks, ascending by return address.
    pub points: Vec<Point>,
    /// What changes when the code moves.
    pub relocations: Vec<Relocation>,
}

impl Code {
    /// Makes code for one place into code for another, in the same code memory or one with the same common code: by how many bytes the part at the block's base,
    /// and the part that is rarely reached, lie further from the common code. Multiples of 8, as patchable jumps lie in aligned words.
    pub fn move_by(&mut self, base: u32, apart: u32) {
        let moved = |here: bool| if here { base } else { apart };
        for r in &self.relocations {
            let (at, hot) = (r.at as usize, r.at < self.hot);
            let target = if r.common { 0 } else { moved(!hot) };
            let Some(bytes) = self.bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) else { continue };
            let displacement = u32::from_le_bytes(*bytes).wrapping_add(target).wrapping_sub(moved(hot));
            *bytes = displacement.to_le_bytes();
        }
    }
}

/// Exit values of `Stubs::enter`. The low byte tells the kind, what is above it the return address of the call that left, for
/// the kinds here; the kinds from 16 upwards are the engine's to use as statuses of its hooks.
pub mod exit {
    /// The interrupt word was not zero. The pc is where [`super::Code::points`] says that the guest is.
    pub const INTERRUPT: u64 = 1;
    /// A link that is not patched: the one whose stub ends at the return address. The pc is its target.
    pub const LINK: u64 = 2;
    /// No exit: a hook's answer that the block is over and other code is gone on with.
    pub const GO: u64 = 3;
    /// The block at the return address is dead: whoever places blocks keeps room for a call of [`super::Stubs::dead`] before each,
    /// and leads its first two bytes there. The pc is its start.
    pub const DEAD: u64 = 4;
    /// The first kind that is free for statuses of hooks.
    pub const FIRST_FREE: u64 = 16;
    /// Bytes of the calls that leave.
    pub const CALL_BYTES: u64 = 5;
    /// Kind and return address.
    pub const fn split(value: u64) -> (u64, u64) {
        (value & 0xff, value >> 8)
    }
}

/// The block has more values alive at once than there is room for; translate a shorter one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooComplex;

impl std::fmt::Display for TooComplex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many live values in one block")
    }
}

impl std::error::Error for TooComplex {}
