//! The CSRs (Privileged ISA, chapter "Control and Status Registers"): one row each.

use crate::aia::Level;
use crate::config::Paging;
use crate::csr::{
    ADUE, Csr, IMPLEMENTED_INTERRUPTS, MEDELEG_MASK, Need, PBMTE, STCE, SUPERVISOR_INTERRUPTS, Storage,
};
use crate::extension::Extension as E;
use crate::hart::Hart;
use crate::pmp::Pmp;
use crate::{mstatus, pmp, slot, trigger};

const ALL: u64 = u64::MAX;
/// Bits of mvip: software and external interrupts of S.
const MVIP: u64 = 0x202;
/// cycle, time, instret and the event counters 3 to 18.
const COUNTERS: u64 = 0x7_ffff;

macro_rules! table {
    ($( [ $($row:tt)* ] )*) => { &[$( table!(@row $($row)*) ),*] };
    (@row $n:literal $name:expr, $need:expr, quiet $storage:expr) => { Csr { number: $n, name: $name, need: $need, storage: $storage, changes_mode: false } };
    (@row $n:expr, $name:expr, $need:expr, $storage:expr) => { Csr { number: $n, name: $name, need: $need, storage: $storage, changes_mode: true } };
}
use Level::*;
use Need::*;
use Storage::*;

const BASIC: &[Csr] = table! {
    // ---- unprivileged
    [0x001 "fflags", Float, quiet Flags]
    [0x002, "frm", Float, View(slot::FRM, 7, |h| h.get(slot::FRM), |h, v| write_float(h, h.get(slot::FFLAGS), v))]
    [0x003, "fcsr", Float, Code(|h| h.get(slot::FRM) << 5 | h.get(slot::FFLAGS), |h, v| write_float(h, v & 31, v >> 5))]
    [0xc00 "cycle", Counter(0), quiet Read(cycle)]
    [0xc01 "time", Counter(1), quiet Read(|h| h.platform.time())]
    [0xc02 "instret", Counter(2), quiet Read(instret)]
    [0xc80 "cycleh", Rv32Counter(0), quiet Read(|h| cycle(h) >> 32)]
    [0xc81 "timeh", Rv32Counter(1), quiet Read(|h| h.platform.time() >> 32)]
    [0xc82 "instreth", Rv32Counter(2), quiet Read(|h| instret(h) >> 32)]
    // ---- supervisor
    [0x100, "sstatus", Ext(E::S), View(slot::MSTATUS, mstatus::SSTATUS, |h| status(h) & if h.config.rv32() { 0x800d_e762 } else { mstatus::SSTATUS }, |h, v| write_status(h, v, mstatus::SSTATUS))]
    [0x104, "sie", Ext(E::S), Code(|h| h.get(slot::MIE) & h.get(slot::MIDELEG), write_sie)]
    [0x105 "stvec", Ext(E::S), quiet Code(|h| h.get(slot::STVEC), |h, v| write_vector(h, slot::STVEC, v))]
    [0x106 "scounteren", Ext(E::S), quiet Plain(slot::SCOUNTEREN, COUNTERS)]
    [0x10a, "senvcfg", Ext(E::S), Code(|h| h.get(slot::SENVCFG), write_senvcfg)]
    [0x140 "sscratch", Ext(E::S), quiet Plain(slot::SSCRATCH, ALL)]
    [0x141 "sepc", Ext(E::S), quiet Plain(slot::SEPC, !1)]
    [0x142 "scause", Ext(E::S), quiet Plain(slot::SCAUSE, ALL)]
    [0x143 "stval", Ext(E::S), quiet Plain(slot::STVAL, ALL)]
    [0x144, "sip", Ext(E::S), Pending(|h| h.mip() & h.get(slot::MIDELEG), write_sip)]
    [0x14d, "stimecmp", Stimecmp, Code(|h| h.get(slot::STIMECMP), |h, v| { let keep = if h.config.rv32() { h.get(slot::STIMECMP) >> 32 << 32 } else { 0 }; write_stimecmp(h, keep | v) })]
    [0x15d, "stimecmph", Rv32Stimecmp, Code(|h| h.get(slot::STIMECMP) >> 32, |h, v| { let low = h.get(slot::STIMECMP) & 0xffff_ffff; write_stimecmp(h, v << 32 | low) })]
    [0x150 "siselect", Ext(E::Ssaia), quiet Plain(slot::SISELECT, 0x1ff)]
    [0x151, "sireg", Selected(Supervisor), Pending(|h| h.read_selected(Supervisor), |h, set, clear| h.write_selected(Supervisor, set, clear))]
    [0x15c, "stopei", File(Supervisor), Code(|h| h.read_topei(Supervisor), |h, _| h.claim(Supervisor))]
    [0xdb0 "stopi", Ext(E::Ssaia), quiet Read(|h| h.topi(Supervisor))]
    [0x114 "sieh", Rv32Ext(E::Ssaia), quiet Zero]
    [0x154 "siph", Rv32Ext(E::Ssaia), quiet Zero]
    [0x180, "satp", Satp, Code(|h| h.get(slot::SATP), write_satp)]
    // ---- machine
    [0xf11 "mvendorid", Nothing, quiet Read(|h| h.config.vendor()[0])]
    [0xf12 "marchid", Nothing, quiet Read(|h| h.config.vendor()[1])]
    [0xf13 "mimpid", Nothing, quiet Read(|h| h.config.vendor()[2])]
    [0xf14 "mhartid", Nothing, quiet Read(|h| h.id)]
    [0xf15 "mconfigptr", Nothing, quiet Zero]
    [0x300, "mstatus", Nothing, View(slot::MSTATUS, ALL, status, |h, v| write_status(h, v, ALL))]
    [0x301 "misa", Nothing, quiet Read(|h| h.config.misa())]
    [0x302 "medeleg", Ext(E::S), quiet Plain(slot::MEDELEG, MEDELEG_MASK)]
    [0x303, "mideleg", Ext(E::S), Code(|h| h.get(slot::MIDELEG), |h, v| { h.put(slot::MIDELEG, v & SUPERVISOR_INTERRUPTS); h.look() })]
    [0x304, "mie", Nothing, Code(|h| h.get(slot::MIE), |h, v| { let mask = interrupts(h); h.put(slot::MIE, v & mask); h.look() })]
    [0x305 "mtvec", Nothing, quiet Code(|h| h.get(slot::MTVEC), |h, v| write_vector(h, slot::MTVEC, v))]
    [0x306 "mcounteren", Ext(E::U), quiet Plain(slot::MCOUNTEREN, COUNTERS)]
    [0x30a, "menvcfg", Ext(E::U), Code(|h| h.get(slot::MENVCFG), |h, v| { let keep = if h.config.rv32() { h.get(slot::MENVCFG) >> 32 << 32 } else { 0 }; write_menvcfg(h, keep | v) })]
    [0x310 "mstatush", Rv32, quiet Zero]
    [0x312 "medelegh", Rv32Ext(E::S), quiet Zero]
    [0x31a, "menvcfgh", Rv32Ext(E::U), Code(|h| h.get(slot::MENVCFG) >> 32, |h, v| { let low = h.get(slot::MENVCFG) & 0xffff_ffff; write_menvcfg(h, v << 32 | low) })]
    [0x320 "mcountinhibit", Nothing, quiet Code(|h| h.get(slot::MCOUNTINHIBIT), write_countinhibit)]
    [0x308 "mvien", Ext(E::Smaia), quiet Zero]
    // Without mvien the bits are those of mip.
    [0x309, "mvip", Ext(E::Smaia), Pending(|h| h.get(slot::MIP) & MVIP, |h, set, clear| write_mip(h, set & MVIP, clear & MVIP))]
    [0x313 "midelegh", Rv32Ext(E::Smaia), quiet Zero]
    [0x314 "mieh", Rv32Ext(E::Smaia), quiet Zero]
    [0x318 "mvienh", Rv32Ext(E::Smaia), quiet Zero]
    [0x319 "mviph", Rv32Ext(E::Smaia), quiet Zero]
    [0x350 "miselect", Ext(E::Smaia), quiet Plain(slot::MISELECT, 0x1ff)]
    [0x351, "mireg", Selected(Machine), Pending(|h| h.read_selected(Machine), |h, set, clear| h.write_selected(Machine, set, clear))]
    [0x354 "miph", Rv32Ext(E::Smaia), quiet Zero]
    [0x35c, "mtopei", File(Machine), Code(|h| h.read_topei(Machine), |h, _| h.claim(Machine))]
    [0xfb0 "mtopi", Ext(E::Smaia), quiet Read(|h| h.topi(Machine))]
    [0x340 "mscratch", Nothing, quiet Plain(slot::MSCRATCH, ALL)]
    [0x341 "mepc", Nothing, quiet Plain(slot::MEPC, !1)]
    [0x342 "mcause", Nothing, quiet Plain(slot::MCAUSE, ALL)]
    [0x343 "mtval", Nothing, quiet Plain(slot::MTVAL, ALL)]
    [0x344, "mip", Nothing, Pending(|h| h.mip(), write_mip)]
    [0x7a0 "tselect", Nothing, quiet Code(|h| h.get(slot::TSELECT), |h, v| if v < trigger::COUNT { h.put(slot::TSELECT, v) })]
    [0x7a1, "tdata1", Nothing, Code(|h| h.get(slot::TDATA1_0 + selected(h)), write_tdata1)]
    [0x7a2, "tdata2", Nothing, Code(|h| h.get(slot::TDATA2_0 + selected(h)), |h, v| { h.put(slot::TDATA2_0 + selected(h), v); h.triggers_changed() })]
    [0x7a3 "tdata3", Nothing, quiet Code(|h| h.get(slot::TDATA3_0 + selected(h)), |h, v| h.put(slot::TDATA3_0 + selected(h), v & 0xfffc_0000_0000_0000))]
    // mcontrol and mcontrol6. Type 3 (icount) can be set, but QEMU does not tell of it.
    [0x7a4 "tinfo", Nothing, quiet Read(|_| 1 << 2 | 1 << 6)]
    [0x7a8 "mcontext", Nothing, quiet Plain(slot::MCONTEXT, 0x1fff)]
    [0xb00 "mcycle", Ext(E::Zicntr), quiet Code(cycle, |h, v| write_counter(h, slot::CYCLE_BASE, 0, v, false))]
    [0xb02 "minstret", Ext(E::Zicntr), quiet Code(instret, |h, v| write_counter(h, slot::INSTRET_BASE, 2, v, false))]
    [0xb80 "mcycleh", Rv32Ext(E::Zicntr), quiet Code(|h| cycle(h) >> 32, |h, v| write_counter(h, slot::CYCLE_BASE, 0, v, true))]
    [0xb82 "minstreth", Rv32Ext(E::Zicntr), quiet Code(|h| instret(h) >> 32, |h, v| write_counter(h, slot::INSTRET_BASE, 2, v, true))]
    [0x3a0, "pmpcfg0", Ext(E::Pmp), Code(|h| pmpcfg(h, 0), |h, v| write_pmpcfg(h, 0, v))]
    [0x3a1, "pmpcfg1", Rv32Ext(E::Pmp), Code(|h| pmpcfg(h, 4), |h, v| write_pmpcfg(h, 4, v))]
    [0x3a2, "pmpcfg2", Ext(E::Pmp), Code(|h| pmpcfg(h, 8), |h, v| write_pmpcfg(h, 8, v))]
    [0x3a3, "pmpcfg3", Rv32Ext(E::Pmp), Code(|h| pmpcfg(h, 12), |h, v| write_pmpcfg(h, 12, v))]
};

macro_rules! pmpaddr {
    ($($n:literal)*) => { &[$(Csr {
        number: 0x3b0 + $n, name: concat!("pmpaddr", $n), need: Ext(E::Pmp), changes_mode: true,
        storage: Code(|h| h.get(slot::PMPADDR0 + $n), |h, v| write_pmpaddr(h, $n, v)),
    }),*] };
}
const PMPADDR: &[Csr] = pmpaddr! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 };

/// Event counters and selectors hold what is written to them; nothing is counted.
macro_rules! hpm {
    ($first:literal $name:literal $suffix:literal $need:expr, $from:ident, $shift:literal, $writes:literal; $($n:literal)*) => {
        &[$(Csr {
            number: $first + $n, name: concat!($name, $n, $suffix), need: $need($n), changes_mode: false,
            storage: Code(|h| h.hpm.$from[$n - 3] >> $shift, |h, v| if $writes {
                let old = h.hpm.$from[$n - 3];
                h.hpm.$from[$n - 3] = match (h.config.rv32(), $shift) {
                    (false, _) => v,
                    (true, 0) => old >> 32 << 32 | v,
                    (true, _) => old & 0xffff_ffff | v << 32,
                };
            }),
        }),*]
    };
}
const fn machine(_: u32) -> Need {
    Ext(E::Zihpm)
}
const fn upper(_: u32) -> Need {
    Rv32Ext(E::Zihpm)
}
const HPMCOUNTER: &[Csr] =
    hpm! { 0xc00 "hpmcounter" "" Counter, counters, 0, false; 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 };
const HPMCOUNTERH: &[Csr] = hpm! { 0xc80 "hpmcounter" "h" Rv32Counter, counters, 32, false; 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 };
const MHPMCOUNTER: &[Csr] =
    hpm! { 0xb00 "mhpmcounter" "" machine, counters, 0, true; 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 };
const MHPMCOUNTERH: &[Csr] =
    hpm! { 0xb80 "mhpmcounter" "h" upper, counters, 32, true; 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 };
const MHPMEVENT: &[Csr] = hpm! { 0x320 "mhpmevent" "" machine, events, 0, true; 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 };

const PARTS: [&[Csr]; 7] = [BASIC, PMPADDR, HPMCOUNTER, HPMCOUNTERH, MHPMCOUNTER, MHPMCOUNTERH, MHPMEVENT];
const COUNT: usize = {
    let (mut n, mut i) = (0, 0);
    while i < PARTS.len() {
        n += PARTS[i].len();
        i += 1;
    }
    n
};

/// All CSRs.
pub static ROWS: [Csr; COUNT] = {
    const EMPTY: Csr = Csr { number: 0, name: "", need: Nothing, storage: Zero, changes_mode: false };
    let mut rows = [EMPTY; COUNT];
    let (mut n, mut p) = (0, 0);
    while p < PARTS.len() {
        let mut i = 0;
        while i < PARTS[p].len() {
            let r = &PARTS[p][i];
            rows[n] = Csr {
                number: r.number,
                name: r.name,
                need: r.need,
                storage: r.storage,
                changes_mode: r.changes_mode,
            };
            n += 1;
            i += 1;
        }
        p += 1;
    }
    rows
};

// ---- what reads and writes do

/// Sign-extends what a 32-bit register holds.
fn keep(h: &Hart, v: u64) -> u64 {
    if h.config.rv32() { v as i32 as u64 } else { v }
}

fn write_float(h: &mut Hart, flags: u64, frm: u64) {
    h.put(slot::FFLAGS, flags & crate::csr::FLAGS);
    h.put(slot::FRM, frm & 7);
    mstatus::put(h, h.get(slot::MSTATUS) | mstatus::FS);
}

fn cycle(h: &mut Hart) -> u64 {
    counter(h, slot::CYCLE_BASE, 0)
}
fn instret(h: &mut Hart) -> u64 {
    counter(h, slot::INSTRET_BASE, 2)
}
/// A counter is its base plus the host's count; an inhibited one is its base.
fn counter(h: &Hart, base: u16, n: u32) -> u64 {
    let ticks = if h.get(slot::MCOUNTINHIBIT) >> n & 1 != 0 { 0 } else { h.ticks() };
    h.get(base).wrapping_add(ticks)
}
fn write_counter(h: &mut Hart, base: u16, n: u32, v: u64, upper: bool) {
    let old = counter(h, base, n);
    let v = match (h.config.rv32(), upper) {
        (false, _) => v,
        (true, false) => old >> 32 << 32 | v,
        (true, true) => v << 32 | old & 0xffff_ffff,
    };
    h.put(base, h.get(base).wrapping_add(v.wrapping_sub(old)));
}
fn write_countinhibit(h: &mut Hart, v: u64) {
    let (cycle, instret) = (cycle(h), instret(h));
    h.put(slot::MCOUNTINHIBIT, v & 0x7_fffd);
    write_counter_whole(h, slot::CYCLE_BASE, 0, cycle);
    write_counter_whole(h, slot::INSTRET_BASE, 2, instret);
}
fn write_counter_whole(h: &mut Hart, base: u16, n: u32, v: u64) {
    let old = counter(h, base, n);
    h.put(base, h.get(base).wrapping_add(v.wrapping_sub(old)));
}

fn status(h: &mut Hart) -> u64 {
    let v = h.get(slot::MSTATUS);
    if h.config.rv32() { mstatus::narrow(v) } else { v }
}
fn write_status(h: &mut Hart, v: u64, mask: u64) {
    let mask = if h.config.rv32() { mask & 0x7fff_ffff } else { mask };
    mstatus::write(h, v, mask);
}

/// Interrupts that the model has.
fn interrupts(h: &Hart) -> u64 {
    if h.config.has(E::S) { IMPLEMENTED_INTERRUPTS } else { IMPLEMENTED_INTERRUPTS & !SUPERVISOR_INTERRUPTS }
}
fn write_sie(h: &mut Hart, v: u64) {
    let mask = h.get(slot::MIDELEG) & SUPERVISOR_INTERRUPTS;
    h.put(slot::MIE, h.get(slot::MIE) & !mask | v & mask);
    h.look();
}
fn write_sip(h: &mut Hart, set: u64, clear: u64) {
    // Of the supervisor's bits only SSIP can be written from S.
    let mask = h.get(slot::MIDELEG) & 1 << 1;
    write_pending(h, set & mask, clear & mask);
}
fn write_mip(h: &mut Hart, set: u64, clear: u64) {
    if !h.config.has(E::S) {
        return;
    }
    let mask = if h.stce() { SUPERVISOR_INTERRUPTS & !(1 << 5) } else { SUPERVISOR_INTERRUPTS };
    write_pending(h, set & mask, clear & mask);
}
/// SSIP is a latch: whoever raised its line (an SSWI device, an SBI implementation) leaves it to software to clear.
fn write_pending(h: &mut Hart, set: u64, clear: u64) {
    h.put(slot::MIP, h.get(slot::MIP) & !clear | set);
    if clear & 1 << 1 != 0 {
        h.handle.set_line(1, false);
    }
    h.look();
}

/// Modes 0 (direct) and 1 (vectored); other values change nothing.
fn write_vector(h: &mut Hart, to: u16, v: u64) {
    if v & 3 < 2 {
        h.put(to, keep(h, v));
    }
}

fn write_stimecmp(h: &mut Hart, v: u64) {
    h.put(slot::STIMECMP, v);
    let (platform, index) = (h.platform.clone(), h.handle.index());
    platform.arm_stimecmp(index, (h.stce() && v != u64::MAX).then_some(v));
    h.look();
}

fn write_senvcfg(h: &mut Hart, v: u64) {
    h.put(slot::SENVCFG, v & 0xf1);
    h.update_mode();
}

fn write_menvcfg(h: &mut Hart, v: u64) {
    let mut mask = 0xf1;
    for (bit, extension) in [(PBMTE, E::Svpbmt), (ADUE, E::Svadu), (STCE, E::Sstc)] {
        if h.config.has(extension) {
            mask |= bit;
        }
    }
    let before = h.stce();
    h.put(slot::MENVCFG, v & mask);
    if h.stce() != before {
        write_stimecmp(h, h.get(slot::STIMECMP));
    }
    h.update_mode();
}

/// Unsupported modes leave satp as it is (Privileged ISA, "satp").
fn write_satp(h: &mut Hart, v: u64) {
    if h.config.rv32() {
        let legal = v >> 31 == 0 || h.config.paging() == Paging::Sv32;
        if legal {
            h.put(slot::SATP, keep(h, v));
        }
    } else {
        let needed = match v >> 60 {
            0 => Paging::Bare,
            8 => Paging::Sv39,
            9 => Paging::Sv48,
            10 => Paging::Sv57,
            _ => return,
        };
        if h.config.paging() < needed {
            return;
        }
        // Physical addresses have 55 bits: the top bit of PPN is 0.
        h.put(slot::SATP, v & !(1 << 43));
    }
    h.update_mode();
}

fn selected(h: &Hart) -> u16 {
    h.get(slot::TSELECT) as u16 & 1
}
fn write_tdata1(h: &mut Hart, v: u64) {
    if let Some(v) = trigger::legal(v, h.config.rv32()) {
        h.put(slot::TDATA1_0 + selected(h), v);
        h.triggers_changed();
    }
}

/// The configuration bytes from entry `first` on.
fn pmpcfg(h: &mut Hart, first: u32) -> u64 {
    let word = h.get(if first < 8 { slot::PMPCFG0 } else { slot::PMPCFG8 });
    if h.config.rv32() { word >> (first % 8 * 8) & 0xffff_ffff } else { word }
}
fn write_pmpcfg(h: &mut Hart, first: usize, v: u64) {
    let count = if h.config.rv32() { 4 } else { 8 };
    for n in first..first + count {
        let new = (v >> ((n - first) * 8)) as u8 & 0x9f;
        let old = pmp::config(&h.frame, n);
        // W without R is reserved; a locked entry keeps its value.
        if old & pmp::LOCK != 0 || new & 3 == 2 {
            continue;
        }
        let slot = if n < 8 { slot::PMPCFG0 } else { slot::PMPCFG8 };
        let shift = n % 8 * 8;
        h.put(slot, h.get(slot) & !(0xff << shift) | (new as u64) << shift);
    }
    h.pmp = Pmp::fold(&h.frame);
    h.protection_changed = true;
}
fn write_pmpaddr(h: &mut Hart, n: usize, v: u64) {
    let next = if n + 1 < pmp::ENTRIES { pmp::config(&h.frame, n + 1) } else { 0 };
    // A locked TOR entry also locks the address below it.
    let locked = pmp::config(&h.frame, n) & pmp::LOCK != 0 || next & pmp::LOCK != 0 && next >> 3 & 3 == 1;
    if locked {
        return;
    }
    let mask = if h.config.rv32() { 0xffff_ffff } else { u64::MAX >> 10 };
    h.put(slot::PMPADDR0 + n as u16, v & mask);
    h.pmp = Pmp::fold(&h.frame);
    h.protection_changed = true;
}
