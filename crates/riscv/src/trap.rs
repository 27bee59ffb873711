//! Exceptions and interrupts (Privileged ISA, sections "Machine Cause Register", "Machine Interrupt Registers",
//! "Machine Trap Delegation Registers").

use crate::hart::Hart;
use crate::mode::{M, S};
use crate::mstatus;
use crate::slot;
use base::log::LogMask;
use cpu::Trap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Exception codes.
#[allow(missing_docs)]
pub mod cause {
    pub const INSTRUCTION_MISALIGNED: u64 = 0;
    pub const INSTRUCTION_ACCESS: u64 = 1;
    pub const ILLEGAL: u64 = 2;
    pub const BREAKPOINT: u64 = 3;
    pub const LOAD_MISALIGNED: u64 = 4;
    pub const LOAD_ACCESS: u64 = 5;
    pub const STORE_MISALIGNED: u64 = 6;
    pub const STORE_ACCESS: u64 = 7;
    pub const ECALL_U: u64 = 8;
    pub const INSTRUCTION_PAGE: u64 = 12;
    pub const LOAD_PAGE: u64 = 13;
    pub const STORE_PAGE: u64 = 15;
}

base::trace_points! {
    /// What is to be traced of harts.
    pub mod trace "riscv" {
        /// An exception or interrupt is taken.
        TRAP "trap",
    }
}

/// So many exceptions of one kind in a row are a loop.
const LOOP: u32 = 16;
/// The user has been told of a loop: once is enough.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Order in which pending interrupts are taken (Privileged ISA, "Machine Interrupt Registers"): MEI, MSI, MTI, SEI, SSI, STI.
const ORDER: [u32; 7] = [11, 3, 7, 9, 1, 5, 13];

/// A cause in words, for the log.
fn describe(interrupt: bool, cause: u64) -> &'static str {
    const EXCEPTIONS: [&str; 16] = [
        "misaligned_fetch",
        "fault_fetch",
        "illegal_instruction",
        "breakpoint",
        "misaligned_load",
        "fault_load",
        "misaligned_store",
        "fault_store",
        "user_ecall",
        "supervisor_ecall",
        "hypervisor_ecall",
        "machine_ecall",
        "exec_page_fault",
        "load_page_fault",
        "reserved",
        "store_page_fault",
    ];
    const INTERRUPTS: [&str; 14] = [
        "u_software",
        "s_software",
        "vs_software",
        "m_software",
        "u_timer",
        "s_timer",
        "vs_timer",
        "m_timer",
        "u_external",
        "s_external",
        "vs_external",
        "m_external",
        "s_guest_external",
        "counter_overflow",
    ];
    let names: &[&str] = if interrupt { &INTERRUPTS } else { &EXCEPTIONS };
    names.get(cause as usize).copied().unwrap_or("(unknown)")
}

/// The first of a set of interrupts in the order in which they are taken.
pub(crate) fn first(set: u64) -> Option<u32> {
    ORDER.iter().copied().find(|n| set >> n & 1 != 0).or((set != 0).then(|| 63 - set.leading_zeros()))
}

impl Hart {
    /// The interrupt to be taken now, if any.
    pub(crate) fn pending(&self) -> Option<u32> {
        let pending = self.mip() & self.get(slot::MIE);
        if pending == 0 {
            return None;
        }
        let (p, status, delegated) = (self.privilege(), self.get(slot::MSTATUS), self.get(slot::MIDELEG));
        let machine = p < M || status & mstatus::MIE != 0;
        let supervisor = p < S || p == S && status & mstatus::SIE != 0;
        let for_machine = if machine { first(pending & !delegated) } else { None };
        for_machine.or_else(|| if supervisor { first(pending & delegated) } else { None })
    }
    /// Tells the user when the same exception is taken over and over, without a return in between: the handler itself
    /// faults, or there is none, and the guest will do nothing else any more.
    fn watch_loop(&mut self, trap: Trap, pc: u64, vector: u64) {
        let (last, at, times) = self.last_trap;
        let times = if (last, at) == (trap, pc) { times.saturating_add(1) } else { 0 };
        self.last_trap = (trap, pc, times);
        if times == LOOP && !TOLD.swap(true, Relaxed) {
            base::log::tell(format_args!(
                "hart {} loops in its trap vector {vector:#x}: cause {} ({}), epc {pc:#x}, tval {:#x}",
                self.id,
                trap.cause,
                describe(false, trap.cause),
                trap.value
            ));
        }
    }
    /// Enters the handler for `cause`.
    pub(crate) fn enter_trap(&mut self, interrupt: bool, cause: u64, value: u64) {
        let p = self.privilege();
        let delegated = self.get(if interrupt { slot::MIDELEG } else { slot::MEDELEG });
        let to_supervisor = p <= S && cause < 64 && delegated >> cause & 1 != 0;
        let top = if self.config.rv32() { 1u64 << 31 } else { 1 << 63 };
        let code = cause | if interrupt { top } else { 0 };
        // CSRs hold values as registers do: sign-extended on RV32.
        let keep = |v: u64| if self.config.rv32() { v as i32 as u64 } else { v };
        let (pc, status) = (self.frame.pc(), self.get(slot::MSTATUS));
        base::log_item!(
            LogMask::INT,
            "riscv_cpu_do_interrupt: hart:{}, async:{}, cause:{cause:016x}, epc:0x{pc:016x}, tval:0x{value:016x}, desc={}",
            self.id,
            interrupt as u8,
            describe(interrupt, cause)
        );
        base::trace!(
            trace::TRAP,
            "hart:{}, async:{}, cause:{cause}, epc:{pc:#x}, tval:{value:#x}, desc={}",
            self.id,
            u8::from(interrupt),
            describe(interrupt, cause)
        );
        let (vector, status, to) = if to_supervisor {
            self.put(slot::SCAUSE, keep(code));
            self.put(slot::SEPC, keep(pc));
            self.put(slot::STVAL, keep(value));
            let kept = status & !(mstatus::SIE | mstatus::SPIE | mstatus::SPP);
            let enabled = if status & mstatus::SIE != 0 { mstatus::SPIE } else { 0 };
            (self.get(slot::STVEC), kept | enabled | (p as u64 & 1) << 8, S)
        } else {
            self.put(slot::MCAUSE, keep(code));
            self.put(slot::MEPC, keep(pc));
            self.put(slot::MTVAL, keep(value));
            let kept = status & !(mstatus::MIE | mstatus::MPIE | mstatus::MPP);
            let enabled = if status & mstatus::MIE != 0 { mstatus::MPIE } else { 0 };
            (self.get(slot::MTVEC), kept | enabled | (p as u64) << 11, M)
        };
        self.set_privilege(to);
        mstatus::put(self, status);
        let base = vector & !3;
        let target = if interrupt && vector & 3 == 1 { base.wrapping_add(4 * cause) } else { base };
        self.frame.set_pc(self.wrap(target));
        if !interrupt {
            self.watch_loop(Trap { cause, value }, pc, target);
        }
        self.look();
    }
}
