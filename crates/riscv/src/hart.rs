//! A hart: its state, its mode, and what the machine gives it.

use crate::aia::InterruptFile;
use crate::config::Config;
use crate::decode::Recent;
use crate::extension::Extension;
use crate::helpers::HELPERS;
use crate::mode::{self, M, Mode};
use crate::mstatus;
use crate::pmp::Pmp;
use crate::slot::{self, HartState};
use crate::trigger::Triggers;
use cpu::{CpuHandle, Frame, INTERRUPT_GUEST, Mmu, Space, Stop, Trap};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

/// What a hart needs of the machine around it.
pub trait Platform: Send + Sync {
    /// mtime, in ticks.
    fn time(&self) -> u64;
    /// Instructions that the machine has executed, if they are counted.
    fn instructions(&self) -> Option<u64> {
        None
    }
    /// stimecmp of a hart was written. The platform lowers input line 5 of the hart and, when mtime reaches the
    /// deadline (at once if it has), raises it. `None`: no deadline.
    fn arm_stimecmp(&self, hart: u32, deadline: Option<u64>);
    /// The incoming MSI controller's file for machine or supervisor mode of a hart; `None` if the machine has none.
    fn interrupt_file(&self, hart: u32, supervisor: bool) -> Option<&dyn InterruptFile> {
        let _ = (hart, supervisor);
        None
    }
    /// An ecall from S-mode, where the emulator itself is the SBI implementation: `None` if it is not (the ecall traps).
    /// Otherwise a0 and a1 have been set; the pc is already that of the next instruction.
    fn sbi_ecall(&self, hart: &mut Hart, mmu: &mut dyn Mmu<Hart>) -> Option<Result<(), Stop>> {
        let _ = (hart, mmu);
        None
    }
}

/// One hardware thread.
pub struct Hart {
    pub(crate) frame: Arc<Frame>,
    pub(crate) handle: Arc<CpuHandle>,
    pub(crate) config: Config,
    pub(crate) recent: Recent,
    pub(crate) platform: Arc<dyn Platform>,
    /// mhartid.
    pub(crate) id: u64,
    pub(crate) mode: Mode,
    pub(crate) space: Space,
    pub(crate) data_space: Space,
    /// The supervisor marks mappings as global. Until it does, its own mappings are told apart by page table, so that
    /// going back to one costs nothing.
    pub(crate) globals: bool,
    pub(crate) pmp: Pmp,
    pub(crate) triggers: Triggers,
    pub(crate) reset_pc: u64,
    pub(crate) halted: bool,
    /// Physical memory protection or a trigger was changed; translations are to be forgotten.
    pub(crate) protection_changed: bool,
    pub(crate) hpm: Hpm,
    /// What an instruction has read of mtopei and stopei, for its write.
    pub(crate) seen_topei: [Option<u32>; 2],
    /// The exception taken last, where, and how often in a row.
    pub(crate) last_trap: (Trap, u64, u32),
    started: Instant,
}

/// Event counters and their selectors, from number 3 on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hpm {
    pub(crate) counters: [u64; 16],
    pub(crate) events: [u64; 29],
}

/// Bits of mstatus by which loads and stores may see other mappings than fetches.
const DATA_RULES: u64 = mstatus::SUM | mstatus::MXR;

impl Hart {
    /// A hart with the number `index`, which is also its mhartid, in its reset state.
    pub fn new(index: u32, config: Config, platform: Arc<dyn Platform>) -> Hart {
        let frame = Arc::new(Frame::default());
        let reset_pc = config.reset_vector();
        let mut hart = Hart {
            handle: CpuHandle::new(index, frame.clone()),
            frame,
            recent: Recent::new(config.decoder()),
            config,
            platform,
            id: index as u64,
            mode: Mode(0),
            space: Space { number: 0, owner: 0 },
            data_space: Space { number: 0, owner: 0 },
            globals: false,
            pmp: Pmp::default(),
            triggers: Triggers::default(),
            reset_pc: reset_pc & !1,
            halted: false,
            protection_changed: false,
            hpm: Hpm::default(),
            seen_topei: [None; 2],
            last_trap: (Trap { cause: 0, value: 0 }, 0, 0),
            started: Instant::now(),
        };
        hart.power_on();
        hart
    }
    /// Sets where the hart begins after a reset (the model's reset vector unless told).
    pub fn set_reset_pc(&mut self, pc: u64) {
        self.reset_pc = pc & !1;
        self.frame.set_pc(self.reset_pc);
    }
    /// The platform.
    pub fn platform(&self) -> &Arc<dyn Platform> {
        &self.platform
    }
    /// mhartid.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// Integer register `n`.
    pub fn x(&self, n: u8) -> u64 {
        self.frame.get(n as u16 & 31)
    }
    /// Writes integer register `n`.
    pub fn set_x(&self, n: u8, v: u64) {
        if n & 31 != 0 {
            self.frame.set(n as u16 & 31, if self.config.rv32() { v as i32 as u64 } else { v });
        }
    }
    /// Current privilege level: 0, 1 or 3.
    pub fn privilege(&self) -> u8 {
        self.frame.get(slot::PRIVILEGE) as u8 & 3
    }
    /// Reads a slot.
    #[inline(always)]
    pub(crate) fn get(&self, n: u16) -> u64 {
        self.frame.get(n)
    }
    /// Writes a slot.
    #[inline(always)]
    pub(crate) fn put(&self, n: u16, v: u64) {
        self.frame.set(n, v)
    }
    /// An address as the pc or a memory access uses it.
    pub(crate) fn wrap(&self, a: u64) -> u64 {
        if self.config.rv32() { a as u32 as u64 } else { a }
    }

    /// The state after reset.
    pub(crate) fn power_on(&mut self) {
        for n in 0..slot::END {
            self.put(n, 0);
        }
        self.hpm = Hpm::default();
        self.globals = false;
        self.put(slot::PRIVILEGE, M as u64);
        self.put(slot::MSTATUS, mstatus::reset(&self.config));
        self.put(slot::RESERVATION, u64::MAX);
        self.put(slot::STIMECMP, u64::MAX);
        let mut menvcfg = 0;
        if self.config.has(Extension::Svpbmt) {
            menvcfg |= crate::csr::PBMTE;
        }
        if self.config.has(Extension::Svadu) && !self.config.has(Extension::Svade) {
            menvcfg |= crate::csr::ADUE;
        }
        self.put(slot::MENVCFG, menvcfg);
        self.put(slot::TDATA1_0, crate::csr::TDATA1_RESET);
        self.put(slot::TDATA1_1, crate::csr::TDATA1_RESET);
        self.frame.set_pc(self.reset_pc);
        self.halted = false;
        self.refresh();
    }
    /// Starts the hart in S-mode as an SBI implementation does: a0 = hart id, a1 = device tree, traps and interrupts
    /// of S and U delegated, all memory accessible.
    pub fn start_supervisor(&mut self, pc: u64, a0: u64, a1: u64) {
        self.power_on();
        self.put(slot::PRIVILEGE, mode::S as u64);
        self.put(slot::MEDELEG, 0xb5ff & crate::csr::MEDELEG_MASK);
        self.put(slot::MIDELEG, crate::csr::SUPERVISOR_INTERRUPTS);
        self.put(slot::MCOUNTEREN, 0x7_ffff);
        // Linux without the PMU extension leaves this as firmware has set it, and its vDSO reads `time`.
        self.put(slot::SCOUNTEREN, 7);
        let stce = if self.config.has(Extension::Sstc) { crate::csr::STCE } else { 0 };
        self.put(slot::MENVCFG, self.get(slot::MENVCFG) | stce | 0xf0);
        self.put(slot::PMPADDR0, u64::MAX >> 10);
        self.put(slot::PMPCFG0, 0x1f);
        self.set_x(10, a0);
        self.set_x(11, a1);
        self.frame.set_pc(pc & !1);
        self.refresh();
    }
    /// The state to be saved.
    pub fn save(&mut self) -> HartState {
        let counters = [slot::CYCLE_BASE, slot::INSTRET_BASE].map(|n| self.get(n).wrapping_add(self.ticks()));
        let Hpm { counters: hpm_counters, events: hpm_events } = self.hpm.clone();
        HartState { halted: self.halted, counters, hpm_counters, hpm_events, ..HartState::take(&self.frame) }
    }
    /// Goes on from a saved state.
    pub fn restore(&mut self, s: &HartState) {
        s.put(&self.frame);
        self.halted = s.halted;
        self.hpm = Hpm { counters: s.hpm_counters, events: s.hpm_events };
        let ticks = self.ticks();
        self.put(slot::CYCLE_BASE, s.counters[0].wrapping_sub(ticks));
        self.put(slot::INSTRET_BASE, s.counters[1].wrapping_sub(ticks));
        self.refresh();
        let deadline = self.get(slot::STIMECMP);
        let armed = (self.stce() && deadline != u64::MAX).then_some(deadline);
        self.platform.arm_stimecmp(self.handle.index(), armed);
    }
    /// Computes again what is derived from slots: after they were changed from outside (reset, restored state).
    pub fn refresh(&mut self) {
        self.pmp = Pmp::fold(&self.frame);
        self.triggers = Triggers::fold(self);
        self.update_mode();
        self.look();
    }
    /// Computes the mode and the address spaces again.
    pub(crate) fn update_mode(&mut self) {
        let status = self.get(slot::MSTATUS);
        let privilege = self.privilege();
        let zero = crate::helpers::envcfg_allows(self, 7);
        self.mode = Mode::new(privilege, status >> 13 & 3, self.get(slot::FRM), zero);
        self.frame.mode.store(self.mode.0 << 25, Relaxed);
        // SUM and MXR are about data: what was found for fetches holds whatever they are.
        self.space = self.space_of(privilege, status & !DATA_RULES);
        // Mostly loads and stores see the same.
        self.data_space = self.space;
        if status & (DATA_RULES | mstatus::MPRV) != 0 {
            self.update_data_space();
        }
    }
    /// Computes again which mappings loads and stores see.
    pub(crate) fn update_data_space(&mut self) {
        self.data_space = self.space_of(self.data_privilege(), self.get(slot::MSTATUS));
    }
    /// The privilege with which loads and stores are checked (mstatus.MPRV).
    pub(crate) fn data_privilege(&self) -> u8 {
        let status = self.get(slot::MSTATUS);
        if status & mstatus::MPRV != 0 { (status >> 11) as u8 & 3 } else { self.privilege() }
    }
    /// What is enabled may have changed: if something is pending, lets the hart look before its next block. (What becomes
    /// pending later says so itself.)
    pub(crate) fn look(&self) {
        let pending = self.mip() & self.get(slot::MIE) != 0;
        self.frame.set(slot::WITHHELD, pending as u64);
        if pending {
            self.frame.interrupt.fetch_or(INTERRUPT_GUEST, SeqCst);
        }
    }
    /// Sets the privilege level. A reservation does not survive it.
    pub(crate) fn set_privilege(&mut self, p: u8) {
        self.put(slot::PRIVILEGE, p as u64);
        self.put(slot::RESERVATION, u64::MAX);
    }
    /// What cycle and instret count: instructions (of all harts, as QEMU has it), or nanoseconds of the host, as there is no better
    /// clock without counting instructions.
    pub(crate) fn ticks(&self) -> u64 {
        self.platform.instructions().unwrap_or_else(|| self.started.elapsed().as_nanos() as u64)
    }
    /// mip: input lines (the platform raises the supervisor timer's, see [`Platform::arm_stimecmp`]) and bits set by
    /// software.
    pub(crate) fn mip(&self) -> u64 {
        (self.handle.lines() | self.get(slot::MIP)) & crate::csr::IMPLEMENTED_INTERRUPTS
    }
    /// Whether stimecmp drives STIP.
    pub(crate) fn stce(&self) -> bool {
        self.get(slot::MENVCFG) & crate::csr::STCE != 0
    }
    /// Runs helper `id`.
    #[inline]
    pub(crate) fn helper(&mut self, mmu: &mut dyn Mmu<Hart>, id: u16, args: [u64; 4]) -> Result<u64, Stop> {
        (HELPERS[id as usize].run)(self, mmu, args)
    }
}
