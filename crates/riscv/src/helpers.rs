//! Ordinary functions that instructions call: all that is not arithmetic.

use crate::csr;
use crate::extension::Extension;
use crate::float;
use crate::hart::Hart;
use crate::mode::{M, S, U};
use crate::mstatus;
use crate::slot;
use crate::trap::cause;
use cpu::{Access, Cpu, Exit, Flush, Guest, Helper, Mmu, Stop, Trap};
use ir::{HelperEffects, HelperInfo, MemOp};
use softfloat::{Flags, Round};

macro_rules! helpers {
    ($($(#[$d:meta])* $name:ident $text:literal $args:literal $returns:literal $effects:ident |$h:pat_param, $mmu:pat_param, $a:pat_param| $body:expr;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Order { $($name),* }
        $($(#[$d])* pub const $name: u16 = Order::$name as u16;)*
        /// All functions, by number.
        pub const HELPERS: &[Helper<Hart>] = &[$(Helper {
            info: HelperInfo { name: $text, args: $args, returns: $returns, effects: HelperEffects::$effects },
            run: |$h: &mut Hart, $mmu: &mut dyn Mmu<Hart>, $a: [u64; 4]| $body,
        }),*];
    };
}

helpers! {
    /// Raises an illegal-instruction exception: (bits).
    ILLEGAL "illegal" 1 false Any |_, _, [word, ..]| Err(illegal(word));
    /// Environment call. Goes on behind it if the emulator's own SBI has served it.
    ECALL "ecall" 0 false Any |h, mmu, _| ecall(h, mmu);
    /// Breakpoint.
    EBREAK "ebreak" 0 false Any |h, _, _| Err(trap(cause::BREAKPOINT, h.frame.pc()));
    /// Traps if the branch is taken and its target is misaligned: (taken, target).
    MISALIGNED_BRANCH "misaligned_branch" 2 false Any |h, _, [taken, target, ..]| {
        let target = h.wrap(target);
        if taken & 1 != 0 && target & 2 != 0 { Err(trap(cause::INSTRUCTION_MISALIGNED, target)) } else { Ok(0) }
    };
    /// Compare and swap of a register pair: (address, rd, rs2).
    CAS_PAIR "cas_pair" 3 false Any |h, mmu, [address, rd, rs2, _]| cas_pair(h, mmu, address, rd as u8, rs2 as u8);
    /// CSR access: (packed request, operand, bits). Sets the pc behind the instruction if the request says so.
    CSR "csr" 3 true Any |h, mmu, [request, operand, word, _]| {
        let old = csr::run(h, request, operand).ok_or(illegal(word));
        if std::mem::take(&mut h.protection_changed) {
            mmu.flush(h, Flush::All);
        }
        old
    };
    /// Sets or clears sstatus.SUM, if that is all: (bits, whether to set them). 0 if it was; else nothing is done. Neither the mode nor
    /// the interrupts change.
    USER_MEMORY "user_memory" 2 true Any |h, _, [bits, set, ..]| {
        if bits != mstatus::SUM { return Ok(1) }
        let status = h.get(slot::MSTATUS) & !mstatus::SUM;
        h.put(slot::MSTATUS, if set != 0 { status | mstatus::SUM } else { status });
        h.update_data_space();
        Ok(0)
    };
    /// Interrupts were enabled: looks whether one is pending before the next block.
    LOOK "look" 0 false Hidden |h, _, _| {
        h.look();
        Ok(0)
    };
    /// Makes stores into code visible.
    FENCE_I "fence_i" 0 false Any |h, mmu, _| {
        mmu.synchronize_code();
        advance(h);
        Ok(0)
    };
    /// Address-translation fence: (virtual address, ASID, which are given; bits in the high half).
    SFENCE_VMA "sfence_vma" 3 false Any |h, mmu, [va, asid, which, _]| sfence_vma(h, mmu, va, asid, which);
    /// Return from a trap into M.
    MRET "mret" 0 false Any |h, _, _| {
        let (status, pc) = (h.get(slot::MSTATUS), h.get(slot::MEPC));
        let to = (status >> 11) as u8 & 3;
        let mut new = status & !(mstatus::MIE | mstatus::MPP) | mstatus::MPIE;
        if status & mstatus::MPIE != 0 { new |= mstatus::MIE }
        if !h.config.has(Extension::U) { new |= (M as u64) << 11 }
        xret(h, to, new, pc)
    };
    /// Return from a trap into S: (bits).
    SRET "sret" 1 false Any |h, _, [word, ..]| {
        let (status, pc) = (h.get(slot::MSTATUS), h.get(slot::SEPC));
        if h.privilege() == S && status & mstatus::TSR != 0 { return Err(illegal(word)) }
        let to = (status >> 8) as u8 & 1;
        let mut new = status & !(mstatus::SIE | mstatus::SPP) | mstatus::SPIE;
        if status & mstatus::SPIE != 0 { new |= mstatus::SIE }
        xret(h, to, new, pc)
    };
    /// Wait for an interrupt: (bits).
    WFI "wfi" 1 false Any |h, _, [word, ..]| {
        let p = h.privilege();
        let forbidden = p < M && h.get(slot::MSTATUS) & mstatus::TW != 0 || p == U && h.config.has(Extension::S);
        if forbidden { return Err(illegal(word)) }
        advance(h);
        if h.wakes() { Ok(0) } else { Err(Stop::Exit(Exit::Halted)) }
    };
    /// Wait on a reservation: (bits, whether for an unbounded time).
    WAIT_RESERVATION "wait_reservation" 2 false Any |h, _, [word, unbounded, ..]| {
        if unbounded != 0 && h.privilege() < M && h.get(slot::MSTATUS) & mstatus::TW != 0 { return Err(illegal(word)) }
        std::thread::yield_now();
        Ok(0)
    };
    /// Cache-block management: (address, bits).
    CACHE_BLOCK "cache_block" 2 false Any |h, mmu, [address, word, ..]| cache_block(h, mmu, address, word);
    /// The float registers become dirty.
    FLOAT_DIRTY "float_dirty" 0 false Any |h, _, _| {
        mstatus::put(h, h.get(slot::MSTATUS) | mstatus::FS);
        Ok(0)
    };
    /// A float operation with a rounding mode known to be legal: (packed operation, operands).
    FLOAT "float" 4 true Hidden |h, _, [op, a, b, c]| {
        let round = Round::from_frm((op >> 16 & 7) as u8).unwrap_or_default();
        Ok(float_operation(h, op, round, a, b, c))
    };
    /// A float operation that rounds as frm says: (packed operation, operands; the bits are read from the pc's trap).
    FLOAT_DYNAMIC "float_dynamic" 4 true Any |h, _, [op, a, b, c]| {
        let Some(round) = Round::from_frm(h.get(slot::FRM) as u8) else { return Err(illegal(op >> 32)) };
        Ok(float_operation(h, op & 0xffff_ffff, round, a, b, c))
    };
    /// Interleaves the halves of a word.
    ZIP "zip" 1 true Pure |_, _, [v, ..]| Ok(interleave(v, false));
    /// Takes interleaved halves apart.
    UNZIP "unzip" 1 true Pure |_, _, [v, ..]| Ok(interleave(v, true));
    /// Crossbar permutation: (elements, indices, bits per element, XLEN).
    PERMUTE "permute" 4 true Pure |_, _, [v, indices, width, xlen]| {
        let (mask, width) = ((1u64 << (width & 15)) - 1, width.max(1) as usize);
        Ok((0..xlen.min(64)).step_by(width).fold(0, |r, n| {
            let from = (indices >> n & mask) * width as u64;
            r | if from < xlen { (v >> from & mask) << n } else { 0 }
        }))
    };
}

/// Bits of the halves interleaved, or the reverse (RV32).
fn interleave(v: u64, apart: bool) -> u64 {
    (0..16).fold(0, |r, n| {
        if apart {
            r | (v >> (2 * n) & 1) << n | (v >> (2 * n + 1) & 1) << (n + 16)
        } else {
            r | (v >> n & 1) << (2 * n) | (v >> (n + 16) & 1) << (2 * n + 1)
        }
    })
}

/// A trap as a reason to stop.
pub fn trap(cause: u64, value: u64) -> Stop {
    Stop::Trap(Trap { cause, value })
}
/// An illegal instruction with these bits.
pub fn illegal(word: u64) -> Stop {
    trap(cause::ILLEGAL, word as u32 as u64)
}
/// Moves the pc behind the 4-byte instruction that runs.
fn advance(h: &Hart) {
    h.frame.set_pc(h.wrap(h.frame.pc().wrapping_add(4)));
}

fn ecall(h: &mut Hart, mmu: &mut dyn Mmu<Hart>) -> Result<u64, Stop> {
    let privilege = h.privilege();
    if privilege == S {
        let (pc, platform) = (h.frame.pc(), h.platform.clone());
        advance(h);
        match platform.sbi_ecall(h, mmu) {
            Some(r) => return r.map(|()| 0),
            None => h.frame.set_pc(pc),
        }
    }
    Err(trap(cause::ECALL_U + privilege as u64, 0))
}

/// Goes to privilege `to` at `pc` with the new mstatus.
fn xret(h: &mut Hart, to: u8, status: u64, pc: u64) -> Result<u64, Stop> {
    // Privileged ISA, "Memory Privilege in mstatus Register": a return to less than M clears MPRV.
    let status = if to < M { status & !mstatus::MPRV } else { status };
    h.last_trap.2 = 0;
    h.set_privilege(to);
    mstatus::put(h, status);
    let align = if h.config.compressed() { !1 } else { !3 };
    h.set_pc(pc & align);
    h.look();
    Ok(0)
}

fn sfence_vma(h: &mut Hart, mmu: &mut dyn Mmu<Hart>, va: u64, asid: u64, which: u64) -> Result<u64, Stop> {
    if h.privilege() == S && h.get(slot::MSTATUS) & mstatus::TVM != 0 {
        return Err(illegal(which >> 32));
    }
    let space = (which & 2 != 0).then_some(asid & if h.config.rv32() { 0x1ff } else { 0xffff });
    let what = match (which & 1 != 0, space) {
        (true, s) => Flush::Page(h.wrap(va), s),
        (false, None) => Flush::Tables,
        (false, s) => Flush::Space(s),
    };
    mmu.flush(h, what);
    advance(h);
    Ok(0)
}

/// Whether menvcfg and senvcfg let the current privilege use what bit `n` stands for.
pub(crate) fn envcfg_allows(h: &Hart, n: u32) -> bool {
    let p = h.privilege();
    (p == M || h.get(slot::MENVCFG) >> n & 1 != 0)
        && (p != U || !h.config.has(Extension::S) || h.get(slot::SENVCFG) >> n & 1 != 0)
}

fn cache_block(h: &mut Hart, mmu: &mut dyn Mmu<Hart>, address: u64, word: u64) -> Result<u64, Stop> {
    // cbo.inval is governed by CBIE (bits 4-5: 0 forbids), clean and flush by CBCFE (bit 6).
    let allowed =
        if word >> 20 == 0 { envcfg_allows(h, 4) || envcfg_allows(h, 5) } else { envcfg_allows(h, 6) };
    if !allowed {
        return Err(illegal(word));
    }
    // Any permission to load or store suffices; the fault is that of a store. Caches need no management here.
    let block = address & !63;
    if mmu.probe(h, block, Access::Read).is_err() {
        mmu.probe(h, block, Access::Write)?;
    }
    Ok(0)
}

fn float_operation(h: &mut Hart, op: u64, round: Round, a: u64, b: u64, c: u64) -> u64 {
    let (r, flags) = float::compute(op, round, a, b, c);
    accrue(h, flags);
    r
}
/// Adds flags to fflags.
pub fn accrue(h: &mut Hart, flags: Flags) {
    if !flags.is_empty() {
        h.put(slot::FFLAGS, h.get(slot::FFLAGS) | flags.bits() as u64);
    }
}

/// Unprivileged ISA, "Zacas": x0 as the first of a pair stands for a pair of zeros and is not written.
fn cas_pair(h: &mut Hart, mmu: &mut dyn Mmu<Hart>, address: u64, rd: u8, rs2: u8) -> Result<u64, Stop> {
    let pair = |r: u8| if r == 0 { (0, 0) } else { (h.x(r), h.x(r | 1)) };
    let (old, new) = (pair(rd), pair(rs2));
    let (low, high) = if h.config.rv32() {
        let join = |(l, h): (u64, u64)| l & 0xffff_ffff | h << 32;
        let (old, new) = (join(old), join(new));
        let v = mmu.cas(h, address, old, new, MemOp::U64)?;
        (v, v >> 32)
    } else {
        let join = |(l, h): (u64, u64)| l as u128 | (h as u128) << 64;
        let (old, new) = (join(old), join(new));
        let v = mmu.cas128(h, address, old, new)?;
        (v as u64, (v >> 64) as u64)
    };
    if rd != 0 {
        h.set_x(rd, low);
        h.set_x(rd | 1, high);
    }
    Ok(0)
}
