//! Control and status registers: access, and the table's machinery. The table itself is in `csr_table.rs`.

use crate::aia::Level;
use crate::config::Isa;
pub use crate::csr_table::ROWS;
use crate::extension::Extension;
use crate::hart::Hart;
use crate::helpers;
use crate::machine::{Machine, Meaning};
use crate::mode::{FloatState, M, S, U};
use crate::{mstatus, slot};
use ir::Int;

/// menvcfg: the supervisor timer is driven by stimecmp.
pub const STCE: u64 = 1 << 63;
/// menvcfg: page-based memory types.
pub const PBMTE: u64 = 1 << 62;
/// menvcfg: hardware updates A and D bits.
pub const ADUE: u64 = 1 << 61;
/// Interrupts that exist: software, timer and external ones of S and M, counter overflow.
pub const IMPLEMENTED_INTERRUPTS: u64 = 0x2aaa;
/// Interrupts of S.
pub const SUPERVISOR_INTERRUPTS: u64 = 0x2222;
/// Exceptions that can be delegated; as QEMU has them, with those of extensions that do not exist here.
pub const MEDELEG_MASK: u64 = 0xf4_bfff;
/// tdata1 after reset: an address-match trigger that matches nothing.
pub const TDATA1_RESET: u64 = 2 << 60;

/// What decides whether a CSR is there and may be accessed, besides the privilege that its number tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// This extension.
    Ext(Extension),
    /// The float unit, on.
    Float,
    /// satp: S, and TVM does not forbid it.
    Satp,
    /// The counter with this number, enabled in mcounteren and scounteren.
    Counter(u32),
    /// stimecmp: enabled in menvcfg and mcounteren.
    Stimecmp,
    /// RV32 only.
    Rv32,
    /// RV32 only, and this extension.
    Rv32Ext(Extension),
    /// RV32 only: upper half of a counter.
    Rv32Counter(u32),
    /// RV32 only: upper half of stimecmp.
    Rv32Stimecmp,
    /// The interrupt file of this level, which the machine may not have.
    File(Level),
    /// A register that miselect or siselect selects; not all numbers do.
    Selected(Level),
}

impl Need {
    /// Whether a model has such a CSR.
    pub fn exists(self, c: Isa) -> bool {
        let counter = |n: u32| c.has(if n < 3 { Extension::Zicntr } else { Extension::Zihpm });
        match self {
            Need::Nothing => true,
            Need::Ext(e) => c.has(e),
            Need::Float => c.has(Extension::F),
            Need::Satp => c.has(Extension::S),
            Need::Counter(n) => counter(n),
            Need::Stimecmp => c.has(Extension::Sstc),
            Need::Rv32 => c.rv32(),
            Need::Rv32Ext(e) => c.rv32() && c.has(e),
            Need::Rv32Counter(n) => c.rv32() && counter(n),
            Need::Rv32Stimecmp => c.rv32() && c.has(Extension::Sstc),
            Need::File(level) | Need::Selected(level) => c.has(level.extension()),
        }
    }
    /// Whether it may be accessed now.
    fn allows(self, h: &Hart) -> bool {
        let p = h.privilege();
        let counter = |n: u32| {
            (p == M || h.get(slot::MCOUNTEREN) >> n & 1 != 0)
                && (p != U || !h.config.has(Extension::S) || h.get(slot::SCOUNTEREN) >> n & 1 != 0)
        };
        match self {
            Need::Float => h.get(slot::MSTATUS) & mstatus::FS != 0,
            Need::Satp => p == M || h.get(slot::MSTATUS) & mstatus::TVM == 0,
            Need::Counter(n) | Need::Rv32Counter(n) => counter(n),
            Need::File(level) => h.has_file(level),
            Need::Selected(level) => h.selects(level),
            Need::Stimecmp | Need::Rv32Stimecmp => p == M || h.stce() && h.get(slot::MCOUNTEREN) & 2 != 0,
            _ => true,
        }
    }
    /// Whether the decoder can tell that it may be accessed.
    fn settled(self) -> bool {
        matches!(self, Need::Nothing | Need::Ext(_) | Need::Rv32 | Need::Rv32Ext(_))
    }
}

/// Where a CSR's value is.
#[derive(Clone, Copy)]
pub enum Storage {
    /// In a slot, and nothing else happens: bits of the mask can be written.
    Plain(u16, u64),
    /// Read from a slot through a mask (RV64), written by a function.
    View(u16, u64, fn(&mut Hart) -> u64, fn(&mut Hart, u64)),
    /// The float flags: in a slot, and those accrued since.
    Flags,
    /// By functions.
    Code(fn(&mut Hart) -> u64, fn(&mut Hart, u64)),
    /// Pending interrupts: what is read is more than what was written, so a write tells which bits it sets and which
    /// it clears (Privileged ISA, "Machine Interrupt Registers").
    Pending(fn(&mut Hart) -> u64, fn(&mut Hart, u64, u64)),
    /// Computed, writes are ignored (or trap, if the number says read-only).
    Read(fn(&mut Hart) -> u64),
    /// Always zero, writes are ignored.
    Zero,
}

/// One CSR.
pub struct Csr {
    /// Number.
    pub number: u16,
    /// Name.
    pub name: &'static str,
    /// Who may access it.
    pub need: Need,
    /// Where its value is.
    pub storage: Storage,
    /// Whether a write may change the mode, the address space or the enabled interrupts.
    pub changes_mode: bool,
}

/// The bits of fflags.
pub(crate) const FLAGS: u64 = 31;

const NONE: u16 = u16::MAX;
const fn index() -> [u16; 4096] {
    let mut t = [NONE; 4096];
    let mut i = 0;
    while i < ROWS.len() {
        assert!(t[ROWS[i].number as usize] == NONE, "two CSRs have one number");
        t[ROWS[i].number as usize] = i as u16;
        i += 1;
    }
    t
}
static INDEX: [u16; 4096] = index();

/// The CSR with a number.
#[inline]
pub fn find(number: u16) -> Option<&'static Csr> {
    ROWS.get(INDEX[number as usize & 4095] as usize)
}

/// Name of a CSR in assembly; its number if it has none.
pub fn name(number: u16) -> String {
    // The name of draft versions, by which disassemblers still call it.
    if number == 0x320 {
        return "mucounteren".to_string();
    }
    find(number).map_or_else(|| format!("0x{number:x}"), |c| c.name.to_string())
}

/// How an instruction changes a CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replaces it.
    Write,
    /// Sets bits.
    Set,
    /// Clears bits.
    Clear,
}

impl Change {
    fn apply(self, old: u64, operand: u64) -> u64 {
        match self {
            Change::Write => operand,
            Change::Set => old | operand,
            Change::Clear => old & !operand,
        }
    }
}

/// Meaning of the Zicsr instructions with an immediate.
pub fn access_immediate<T: Machine>(m: &T, number: u16, rd: u8, change: Change, operand: u8) -> Meaning {
    let (privilege, operand) = (m.place().mode.privilege(), operand as u64);
    // Switching interrupts off and on, which kernels do all the time.
    let enables =
        number == 0x100 && privilege >= S && m.place().isa.has(Extension::S) && operand == mstatus::SIE
            || number == 0x300 && privilege == M && operand == mstatus::MIE;
    if enables && change != Change::Write && !m.rv32() {
        let (old, bit) = (m.get(slot::MSTATUS), m.k(operand));
        m.put(slot::MSTATUS, if change == Change::Set { old | bit } else { old & !bit });
        m.set(rd, if number == 0x100 { old & m.k(mstatus::SSTATUS) } else { old });
        if change == Change::Set {
            if m.done_if(m.get(slot::WITHHELD).eq(m.k(0))) {
                return Ok(());
            }
            m.call(helpers::LOOK, &[])?;
            m.goto(m.place().length);
        }
        return Ok(());
    }
    access(m, number, rd, change, m.k(operand), change == Change::Write || operand != 0)
}

/// Meaning of the Zicsr instructions.
pub fn access<T: Machine>(m: &T, number: u16, rd: u8, change: Change, operand: T::V, write: bool) -> Meaning {
    let place = m.place();
    let read = change != Change::Write || rd != 0;
    let privilege = place.mode.privilege() as u16;
    let Some(row) = find(number).filter(|r| r.need.exists(place.isa)) else { return m.illegal() };
    if privilege < number >> 8 & 3 || write && number >> 10 == 3 {
        return m.illegal();
    }
    let silent = number == 0x100 && change != Change::Write && rd == 0 && write && !m.rv32();
    let known = m.known(operand);
    // What was found before is restored: mostly that interrupts are enabled, and none is pending.
    if silent && change == Change::Set && known.is_none_or(|v| v & !mstatus::SIE == 0) {
        let (old, others) = (m.get(slot::MSTATUS), operand & m.k(!mstatus::SIE));
        let quick = (others | m.get(slot::WITHHELD)).eq(m.k(0));
        m.put(slot::MSTATUS, Int::select(quick, old | operand, old));
        if m.done_if(quick) {
            return Ok(());
        }
    }
    // What a kernel does before and after it accesses a process' memory: it goes on where it is.
    if silent && privilege == S as u16 && known.is_none_or(|v| v == mstatus::SUM) {
        let set = m.k((change == Change::Set) as u64);
        let other = m.call(helpers::USER_MEMORY, &[operand, set])?;
        if known.is_some() || m.done_if(other.eq(m.k(0))) {
            return Ok(());
        }
    }
    // The mode tells whether the float unit is on.
    let settled = row.need.settled() || row.need == Need::Float && place.mode.float() != FloatState::Off;
    match row.storage {
        Storage::Plain(slot, mask) if settled => {
            let old = if read || mask != u64::MAX { m.get(slot) } else { m.k(0) };
            if write {
                let new = match change {
                    Change::Write => operand,
                    Change::Set => old | operand,
                    Change::Clear => old & !operand,
                };
                let kept = if mask == u64::MAX { new } else { (new & m.k(mask)) | (old & m.k(!mask)) };
                m.put(slot, kept);
            }
            m.set(rd, old);
            Ok(())
        }
        Storage::Flags if settled => {
            if write && !m.float_state(true)? {
                return Ok(());
            }
            let old = if read { m.get_now(slot::FFLAGS) | m.accrued() } else { m.k(0) };
            if write {
                let new = match change {
                    Change::Write => operand,
                    Change::Set => old | operand,
                    Change::Clear => old & !operand,
                } & m.k(FLAGS);
                m.put(slot::FFLAGS, new);
                m.forget_accrued(new);
            }
            m.set(rd, old);
            Ok(())
        }
        Storage::View(slot, mask, ..) if !write && !m.rv32() && settled => {
            m.set(rd, m.get(slot) & m.k(mask));
            Ok(())
        }
        _ => {
            let leaves = write && row.changes_mode;
            let request = number as u64
                | (change as u64) << 12
                | (write as u64) << 14
                | (read as u64) << 15
                | (leaves as u64) << 16;
            let old = m.call(helpers::CSR, &[m.k(request), operand, m.k(place.word as u64)])?;
            m.set(rd, old);
            if leaves { m.resume() } else { Ok(()) }
        }
    }
}

/// Serves a packed request of [`access`]; `None` if the access is illegal now.
pub fn run(h: &mut Hart, request: u64, operand: u64) -> Option<u64> {
    let row = find(request as u16 & 0xfff).filter(|r| r.need.allows(h))?;
    let change = match request >> 12 & 3 {
        0 => Change::Write,
        1 => Change::Set,
        _ => Change::Clear,
    };
    let (write, reads, leaves) = (request >> 14 & 1 != 0, request >> 15 & 1 != 0, request >> 16 & 1 != 0);
    let mut old = if reads || change != Change::Write { read(h, row) } else { 0 };
    if write {
        let rv32 = h.config.rv32();
        let cut = |v: u64| if rv32 { v as u32 as u64 } else { v };
        match row.storage {
            Storage::Pending(_, write) => match change {
                Change::Write => write(h, cut(operand), cut(!operand)),
                Change::Set => write(h, cut(operand), 0),
                Change::Clear => write(h, 0, cut(operand)),
            },
            _ => store(h, row, cut(change.apply(old, operand))),
        }
    }
    if leaves {
        h.frame.set_pc(h.wrap(h.frame.pc().wrapping_add(4)));
    }
    if h.config.rv32() {
        old = old as i32 as u64;
    }
    Some(old)
}

/// Value of a CSR, without a check of privilege.
pub fn read(h: &mut Hart, row: &Csr) -> u64 {
    match row.storage {
        Storage::Plain(slot, _) => h.get(slot),
        Storage::Flags => h.get(slot::FFLAGS),
        Storage::View(_, _, f, _) | Storage::Code(f, _) | Storage::Read(f) | Storage::Pending(f, _) => f(h),
        Storage::Zero => 0,
    }
}

/// Writes a CSR, without a check of privilege.
pub fn store(h: &mut Hart, row: &Csr, v: u64) {
    match row.storage {
        Storage::Plain(slot, mask) => {
            let v = h.get(slot) & !mask | v & mask;
            h.put(slot, if h.config.rv32() { v as i32 as u64 } else { v });
        }
        Storage::Flags => {
            h.put(slot::FFLAGS, v & FLAGS);
            mstatus::put(h, h.get(slot::MSTATUS) | mstatus::FS);
        }
        Storage::View(_, _, _, f) | Storage::Code(_, f) => f(h, v),
        Storage::Pending(_, f) => f(h, v, !v),
        Storage::Read(_) | Storage::Zero => {}
    }
}

/// Privilege that a CSR's number asks for.
pub fn privilege(number: u16) -> u8 {
    match number >> 8 & 3 {
        0 => U,
        1 => S,
        _ => M,
    }
}
