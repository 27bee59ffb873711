//! What a guest ISA gives to whoever runs it, and what it gets from them.

use crate::{CpuHandle, Frame, Watchpoint};
use ir::{Builder, HelperInfo, MemOp};
use state::{Loader, Saver, StateError};
use std::sync::Arc;

/// Kind of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load.
    Read,
    /// Store or atomic.
    Write,
    /// Instruction fetch.
    Execute,
}

/// A synchronous exception, in the guest's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Cause or vector number.
    pub cause: u64,
    /// Trap value (faulting address, instruction bits) or error code.
    pub value: u64,
}

/// Why an instruction did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It raised an exception; the pc is still its own.
    Trap(Trap),
    /// It asks to leave the accelerator. The guest has already set the pc to where it goes on.
    Exit(Exit),
}

impl From<Trap> for Stop {
    fn from(t: Trap) -> Stop {
        Stop::Trap(t)
    }
}

/// Why an accelerator came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Somebody asked ([`crate::INTERRUPT_EXIT`]).
    Kicked,
    /// The vCPU waits for an interrupt.
    Halted,
    /// A breakpoint or a finished single step.
    Debug,
    /// The instruction at the pc was about to make an access that the debugger watches. An accelerator lets the instruction
    /// happen before it comes back with this.
    Watched(Watchpoint),
    /// The vCPU has been stopped for good until somebody starts it (SBI HSM stop).
    Parked,
    /// Instructions are counted, and the frame's budget is used up.
    Spent,
    /// An accelerator's own: the instruction at the pc has done nothing yet and is to be interpreted, so that the count
    /// is exact while it runs and nothing follows it unseen.
    Alone,
}

/// Where a page of guest virtual memory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Physical address that the asked virtual address has.
    pub physical: u64,
    /// log2 of the bytes around it that are mapped alike (12 for a 4 KiB page; less only where protection is finer).
    pub size_log2: u8,
    /// log2 of the bytes around it that may be fetched from likewise, known to be so many if the access asked for is a fetch; at
    /// most `size_log2`.
    pub fetch_log2: u8,
    /// Loads are allowed.
    pub read: bool,
    /// Stores are allowed, and need no bookkeeping (dirty bit already set).
    pub write: bool,
    /// Fetches are allowed.
    pub execute: bool,
    /// The mapping holds in every address space (PTE.G).
    pub global: bool,
}

/// What decides how virtual addresses are translated. Where two of these are equal, every address is translated
/// alike; where only the numbers are, the addresses with a global mapping ([`Mapping::global`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Number of the access rules (privilege, SUM, MXR) and of what is common to those who see each other's global mappings.
    pub number: u64,
    /// Number of the page table (root, address-space id).
    pub owner: u64,
}

/// What a guest asks to be forgotten of its translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Everything: what is allowed has changed beside the page tables (physical memory protection, triggers).
    All,
    /// All that has been read from page tables.
    Tables,
    /// All non-global mappings of the address space with this id, or of all (`None`).
    Space(Option<u64>),
    /// The page at this virtual address, in the address space with this id, or in all (`None`).
    Page(u64, Option<u64>),
}

/// The guest's memory as the running vCPU sees it; accelerators implement it. Virtual accesses may be misaligned and
/// may cross pages; values are little-endian in the low bytes.
pub trait Mmu<G: ?Sized> {
    /// Loads from a virtual address; the result is extended as `op` says.
    fn load(&mut self, g: &mut G, va: u64, op: MemOp) -> Result<u64, Stop>;
    /// Stores to a virtual address.
    fn store(&mut self, g: &mut G, va: u64, value: u64, op: MemOp) -> Result<(), Stop>;
    /// Atomic read-modify-write as [`ir::Op::Amo`] numbers them; returns the old value, extended. Traps if misaligned.
    fn amo(&mut self, g: &mut G, kind: u8, va: u64, value: u64, op: MemOp) -> Result<u64, Stop>;
    /// Compare and swap; returns the old value, extended. Traps if misaligned.
    fn cas(&mut self, g: &mut G, va: u64, old: u64, new: u64, op: MemOp) -> Result<u64, Stop>;
    /// Compare and swap of 16 aligned bytes; returns the old value.
    fn cas128(&mut self, g: &mut G, va: u64, old: u128, new: u128) -> Result<u128, Stop>;
    /// Fetches the instruction bytes at `va`: two bytes, or four if `wide(first two)`.
    fn fetch(&mut self, g: &mut G, va: u64, wide: fn(u16) -> bool) -> Result<u32, Stop>;
    /// Checks that an access would succeed without doing it (cache-block operations).
    fn probe(&mut self, g: &mut G, va: u64, access: Access) -> Result<u64, Stop>;
    /// Reads a page-table entry of 4 or 8 bytes; `None` where there is no memory.
    fn physical_read(&mut self, pa: u64, bytes: u32) -> Option<u64>;
    /// Replaces a page-table entry atomically if it still equals `old`; `None` where there is no writable memory.
    fn physical_cas(&mut self, pa: u64, bytes: u32, old: u64, new: u64) -> Option<bool>;
    /// What [`Mmu::note_table`] was told of this region in this page table, if nothing has been forgotten since.
    fn known_table(&mut self, _owner: u64, _region: u64) -> Option<Table> {
        None
    }
    /// A walk through the page table `owner` (a number that stands for it and its address space) has come to the table that has the leaves, or
    /// the one leaf, for all of `region` (a number for that part of the virtual addresses).
    fn note_table(&mut self, _owner: u64, _region: u64, _table: Table) {}
    /// Forgets translations of virtual addresses; `g` is as it was when they were made, or may go on with others.
    fn flush(&mut self, g: &mut G, what: Flush);
    /// Makes this vCPU see what has been stored into its code (fence.i).
    fn synchronize_code(&mut self);
}

/// The table of a page table in which a walk has found a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its physical address.
    pub address: u64,
    /// What the levels before it said of all that it maps, as the guest likes to put it.
    pub attributes: u64,
    /// How many levels there may be below it.
    pub below: u32,
}

/// A function that translated code calls. `run` gets its arguments in order.
pub struct Helper<G: ?Sized> {
    /// Name, number of arguments, effects.
    pub info: HelperInfo,
    /// The function. With [`ir::HelperEffects::Any`] the frame's pc is that of the instruction when it is called.
    pub run: HelperFn<G>,
}

/// The function of a [`Helper`]: guest, memory, arguments.
pub type HelperFn<G> = fn(&mut G, &mut dyn Mmu<G>, [u64; 4]) -> Result<u64, Stop>;

/// Instruction bytes offered to the builder.
pub struct Fetch<'a> {
    /// Offset in the page of the first instruction.
    pub offset: u16,
    /// The page, 4096 bytes; of them, those that `limit` instructions can have and the last two are valid. Or two pages, all of them,
    /// if the path goes from the first into the second; before it does, the block asks whether that is still mapped ([`ir::Op::Expect`]).
    pub page: &'a [u8],
    /// First bytes of the page that follows at the next virtual address, if the first instruction may be taken from both. A block
    /// that uses them consists of that instruction alone.
    pub next: Option<[u8; 16]>,
    /// Most guest instructions wanted.
    pub limit: u32,
    /// Offsets of the instructions to follow, the first of them at `offset`, and of what comes behind the last one. Empty: straight on,
    /// until a jump or branch, and farther where `goes_on` says so. The block leaves wherever the guest takes another way, and ends where the path cannot be followed.
    pub path: &'a [u16],
    /// Offsets of branches on the path, in ascending order, that lead past instructions which only compute something: whether the guest goes through those
    /// is not worth a jump. The path leads past them.
    pub skips: &'a [u16],
    /// Whether a block without a path should go on with the instruction at this offset, which a branch or a jump leads to or
    /// past; asked for each of the two at most once.
    pub goes_on: &'a dyn Fn(u16) -> bool,
}

/// What the builder made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// Guest instructions in the block. 0: the first instruction crosses the end of the page, and `next` was not given.
    pub insns: u32,
    /// Offset of the first byte that was looked at.
    pub from: u16,
    /// How many bytes from there on were looked at, or lie between such bytes.
    pub bytes: u32,
    /// How many bytes its instructions have; fewer than `bytes` if it goes past some.
    pub length: u32,
}

/// Outcome of interpreting one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Done; the next instruction is the one behind it.
    Done,
    /// Done (a trap that was taken counts as done), and the next instruction may be any: a translated block would end here.
    End,
    /// Done, and the accelerator is to be left.
    Exit(Exit),
}

impl Step {
    /// Why the accelerator is to be left, if it is.
    pub fn exit(self) -> Option<Exit> {
        match self {
            Step::Exit(exit) => Some(exit),
            _ => None,
        }
    }
}

/// A guest ISA, as an accelerator runs it.
pub trait Guest: Cpu + Sized + 'static {
    /// Functions that its blocks call, by number.
    const HELPERS: &'static [Helper<Self>];
    /// Bytes of the longest instruction; at most 16.
    const MAX_INSN: u16;
    /// Slots that deserve a host register of their own, best first.
    const HOT_SLOTS: &'static [u16];
    /// The slot of the stack pointer: a function returns with the one with which it was called.
    const STACK_SLOT: u16;
    /// The slot to which [`Guest::accrue_fp_flags`] adds.
    const FLAGS_SLOT: u16;
    /// Float slots that deserve one, best first.
    const HOT_FLOATS: &'static [u16];

    /// The frame.
    fn frame(&self) -> &Arc<Frame>;
    /// The handle under which others know this vCPU.
    fn handle(&self) -> &Arc<CpuHandle>;
    /// Number below 128 of the mode for which blocks are translated: everything that [`Guest::build`] looks at besides the
    /// bytes (privilege, which units are on, rounding mode).
    fn mode(&self) -> u32;
    /// Whether floats can be used in this mode.
    fn has_floats(mode: u32) -> bool;
    /// Which mappings fetches see.
    fn space(&self) -> Space;
    /// The address-space id (ASID) inside [`Space::owner`], as [`Flush`] names it.
    fn space_id(owner: u64) -> u64;
    /// Which mappings data accesses see: other ones if they are under other rules (SUM, MXR, MPRV).
    fn data_space(&self) -> Space {
        self.space()
    }
    /// Walks the page table and the protection for one access; sets accessed and dirty bits if the guest has that.
    fn translate(&mut self, mmu: &mut dyn Mmu<Self>, va: u64, access: Access) -> Result<Mapping, Trap>;
    /// Trap that the guest's own debug registers raise before these bytes are accessed. Asked where the access is not one that
    /// the TLB remembers: the guest's [`Guest::translate`] must answer with less than a page for such addresses.
    fn data_trigger(&self, va: u64, bytes: u32, access: Access) -> Option<Trap> {
        let _ = (va, bytes, access);
        None
    }
    /// Trap for an access that reaches nothing on the bus.
    fn bus_fault(&self, va: u64, access: Access) -> Trap;
    /// Trap for a misaligned atomic.
    fn misaligned(&self, va: u64, access: Access) -> Trap;
    /// Builds the block that begins at `fetch.offset` for mode `mode`, ending in a terminal, not beyond the page. A jump to an
    /// instruction that crosses the end of the page must be an [`ir::Op::Jump`] even within the page.
    fn build(mode: u32, config: &Self::Config, fetch: &Fetch<'_>, b: &Builder) -> Built;
    /// What of the CPU model decides how bytes are decoded; fixed once the CPU exists, equal for all CPUs that share translations. It tells all of
    /// that (`Debug`), so that translations of other models are known for what they are.
    type Config: Send + Sync + Clone + std::fmt::Debug;
    /// The configuration.
    fn config(&self) -> &Self::Config;
    /// Interprets one instruction at the pc. Interrupts are not looked at; exceptions are taken.
    fn interpret(&mut self, mmu: &mut dyn Mmu<Self>) -> Step;
    /// Takes `trap` at the frame's pc: sets the pc to the handler.
    fn take_trap(&mut self, trap: Trap);
    /// Takes the interrupt of highest rank that is pending and enabled, if any. Clears [`crate::INTERRUPT_GUEST`] first.
    fn take_interrupt(&mut self) -> bool;
    /// Whether something is pending that ends a wait for interrupts, enabled globally or not.
    fn wakes(&self) -> bool;
    /// Adds IEEE flags that host code has gathered: bit 0 inexact, 1 underflow, 2 overflow, 3 divide by zero, 4 invalid.
    fn accrue_fp_flags(&mut self, flags: u8);
    /// Those that it has, in the same order.
    fn fp_flags(&self) -> u8;
    /// One line for the instruction at the start of `bytes`, which lies at `pc`: its bytes as a number, then its assembly; and its
    /// length in bytes.
    fn disassemble(config: &Self::Config, pc: u64, bytes: &[u8]) -> (String, usize);
}

/// A register as a debugger and the monitor see it.
#[derive(Clone, Debug)]
pub struct Register {
    /// Name.
    pub name: &'static str,
    /// Width in bits.
    pub bits: u32,
    /// gdb's type, e.g. `int`, `data_ptr`, `ieee_double`, or empty.
    pub kind: &'static str,
    /// Number in gdb's counting; a set may have gaps.
    pub number: usize,
}

/// A group of registers with the name of the gdb feature that describes them.
#[derive(Clone, Debug)]
pub struct RegisterSet {
    /// gdb feature, e.g. `org.gnu.gdb.riscv.cpu`.
    pub feature: &'static str,
    /// File name in `qXfer:features:read`.
    pub file: &'static str,
    /// Number of the first register.
    pub first: usize,
    /// The registers.
    pub registers: Vec<Register>,
}

/// A vCPU as monitors and debuggers see it.
pub trait Cpu: Send {
    /// QOM type name, e.g. `rv64-riscv-cpu`.
    fn type_name(&self) -> String;
    /// Index among the machine's vCPUs.
    fn index(&self) -> u32;
    /// Program counter.
    fn pc(&self) -> u64;
    /// Sets the program counter.
    fn set_pc(&mut self, pc: u64);
    /// Returns to the state after power-on.
    fn reset(&mut self);
    /// Text of `info registers` in QEMU's layout; with float registers if `fpu`.
    fn dump(&self, fpu: bool) -> String;
    /// The registers that gdb knows, in its numbering.
    fn register_sets(&self) -> Vec<RegisterSet>;
    /// Value of register `n`; `None` if there is none such or it cannot be read now.
    fn read_register(&mut self, n: usize) -> Option<u64>;
    /// Writes register `n`; false if there is none such.
    fn write_register(&mut self, n: usize, value: u64) -> bool;
    /// Physical address of a virtual one, without side effects. `read` reads page tables.
    fn debug_translate(&self, va: u64, read: &mut dyn FnMut(u64, u32) -> Option<u64>) -> Option<u64>;
    /// Assembly of the instruction at the start of `bytes`, and its length.
    fn disassemble_at(&self, pc: u64, bytes: &[u8]) -> (String, usize);
    /// Whether it waits for an interrupt or has been stopped by firmware.
    fn halted(&self) -> bool;
    /// Makes it wait, or ends the wait.
    fn set_halted(&mut self, halted: bool);
    /// Writes all that the guest can see of it, input lines included, as one section. It stands still.
    fn save(&mut self, out: &mut Saver);
    /// Reads the section back.
    ///
    /// # Errors
    /// The stream does not fit; the state may be half loaded then.
    fn load(&mut self, from: &mut Loader<'_>) -> Result<(), StateError>;
    /// As itself, for those who know what it is.
    fn as_any(&mut self) -> &mut dyn std::any::Any;
}
