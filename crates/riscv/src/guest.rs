//! The hart as accelerators, monitors and debuggers see it.

use crate::config::Config;
use crate::format::{F_NAMES, X_NAMES};
use crate::hart::Hart;
use crate::helpers::{self, HELPERS};
use crate::mode::{FloatState, Mode};
use crate::trap::cause;
use crate::{build, csr, disassemble, interpret, mmu, mstatus, slot};
use cpu::*;
use ir::Builder;
use state::{Loader, Saver, State, StateError};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

impl Guest for Hart {
    const HELPERS: &'static [Helper<Hart>] = HELPERS;
    const MAX_INSN: u16 = 4;
    const HOT_SLOTS: &'static [u16] = &[
        10, 15, 14, 2, 8, 13, 9, 11, 12, 1, 5, 16, 17, 18, 6, 19, 7, 20, 28, 29, 21, 22, 30, 31, 4, 3, 23,
        24, 25, 26, 27,
    ];
    const STACK_SLOT: u16 = 2;
    const FLAGS_SLOT: u16 = slot::FFLAGS;
    /// What compilers take first: fa5 to fa0, ft0 to ft2, and fs0 and fs1 for what lives across calls.
    const HOT_FLOATS: &'static [u16] = &[
        slot::F0 + 15,
        slot::F0 + 14,
        slot::F0 + 13,
        slot::F0 + 12,
        slot::F0 + 11,
        slot::F0 + 10,
        slot::F0,
        slot::F0 + 1,
        slot::F0 + 2,
        slot::F0 + 8,
        slot::F0 + 9,
    ];
    type Config = Config;

    fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }
    fn handle(&self) -> &Arc<CpuHandle> {
        &self.handle
    }
    fn mode(&self) -> u32 {
        self.mode.0
    }
    fn has_floats(mode: u32) -> bool {
        Mode(mode).float() != FloatState::Off
    }
    fn space(&self) -> Space {
        self.space
    }
    fn space_id(owner: u64) -> u64 {
        owner >> 43 & 0xffff
    }
    fn data_space(&self) -> Space {
        self.data_space
    }
    #[inline]
    fn translate(&mut self, mmu: &mut dyn Mmu<Hart>, va: u64, access: Access) -> Result<Mapping, Trap> {
        self.translate_address(mmu, va, access)
    }
    fn data_trigger(&self, va: u64, bytes: u32, access: Access) -> Option<Trap> {
        if self.triggers.armed { self.triggers.data(self.privilege(), va, bytes, access) } else { None }
    }
    fn bus_fault(&self, va: u64, access: Access) -> Trap {
        mmu::access_fault(va, access)
    }
    fn misaligned(&self, va: u64, access: Access) -> Trap {
        let cause = match access {
            Access::Read => cause::LOAD_MISALIGNED,
            Access::Write => cause::STORE_MISALIGNED,
            Access::Execute => cause::INSTRUCTION_MISALIGNED,
        };
        Trap { cause, value: va }
    }
    fn build(mode: u32, config: &Config, fetch: &Fetch<'_>, b: &Builder) -> Built {
        build::build(mode, config, fetch, b)
    }
    fn config(&self) -> &Config {
        &self.config
    }
    fn interpret(&mut self, mmu: &mut dyn Mmu<Hart>) -> Step {
        interpret::step(self, mmu)
    }
    fn take_trap(&mut self, trap: Trap) {
        self.enter_trap(false, trap.cause, trap.value)
    }
    fn take_interrupt(&mut self) -> bool {
        self.frame.interrupt.fetch_and(!INTERRUPT_GUEST, SeqCst);
        let pending = self.pending();
        if let Some(n) = pending {
            self.enter_trap(true, n as u64, 0);
        }
        self.frame.set(slot::WITHHELD, self.wakes() as u64);
        pending.is_some()
    }
    fn wakes(&self) -> bool {
        self.mip() & self.get(slot::MIE) != 0
    }
    fn accrue_fp_flags(&mut self, flags: u8) {
        helpers::accrue(self, softfloat::Flags(flags & 31));
    }
    fn fp_flags(&self) -> u8 {
        self.get(slot::FFLAGS) as u8 & 31
    }
    fn disassemble(config: &Config, pc: u64, bytes: &[u8]) -> (String, usize) {
        disassemble::disassemble(config, pc, bytes)
    }
}

/// What is saved of a hart: its slots, and the levels of its inputs, of which some are edges that nobody repeats.
#[derive(Default, State)]
#[state(name = "riscv_hart")]
struct Saved {
    hart: crate::HartState,
    lines: u64,
}

/// CSRs in the order of `info registers`, with those of the hypervisor extension, which read as zero.
const DUMP: [&str; 27] = [
    "mhartid", "mstatus", "hstatus", "vsstatus", "mip", "mie", "mideleg", "hideleg", "medeleg", "hedeleg",
    "mtvec", "stvec", "vstvec", "mepc", "sepc", "vsepc", "mcause", "scause", "vscause", "mtval", "stval",
    "htval", "mtval2", "mscratch", "sscratch", "satp", "",
];

impl Hart {
    /// The CSR named `name`, if the model has it.
    fn csr_named(&self, name: &str) -> Option<&'static csr::Csr> {
        csr::ROWS.iter().find(|r| r.name == name && r.need.exists(self.config.isa()))
    }
    /// Value of a CSR that has no side effects when read.
    fn peek(&self, name: &str) -> Option<u64> {
        let row = self.csr_named(name)?;
        Some(match row.number {
            0x300 if self.config.rv32() => mstatus::narrow(self.get(slot::MSTATUS)),
            0x300 => self.get(slot::MSTATUS),
            0x304 => self.get(slot::MIE),
            0x303 => self.get(slot::MIDELEG),
            0x305 => self.get(slot::MTVEC),
            0x105 => self.get(slot::STVEC),
            0x180 => self.get(slot::SATP),
            0x344 => self.mip(),
            0xf14 => self.id,
            _ => match row.storage {
                csr::Storage::Plain(slot, _) => self.get(slot),
                _ => return None,
            },
        })
    }
}

impl Cpu for Hart {
    fn type_name(&self) -> String {
        format!("{}-riscv-cpu", self.config.model())
    }
    fn index(&self) -> u32 {
        self.handle.index()
    }
    fn pc(&self) -> u64 {
        self.frame.pc()
    }
    fn set_pc(&mut self, pc: u64) {
        // An odd pc does not exist, and the jump cache relies on that.
        self.frame.set_pc(self.wrap(pc) & !1)
    }
    fn reset(&mut self) {
        base::log_item!(
            base::log::LogMask::CPU_RESET,
            "CPU Reset (CPU {})\n{}",
            self.index(),
            self.dump(base::log::enabled(base::log::LogMask::FPU))
        );
        self.power_on()
    }
    fn dump(&self, fpu: bool) -> String {
        let mut s = String::new();
        let digits = if self.config.rv32() { 8 } else { 16 };
        let show = |v: u64| {
            let v = if digits == 8 { v & 0xffff_ffff } else { v };
            format!("{v:0digits$x}")
        };
        let _ = writeln!(s, " pc       {}", show(self.frame.pc()));
        for name in DUMP {
            if let Some(v) = self.peek(name) {
                let _ = writeln!(s, " {name:<8} {}", show(v));
            }
        }
        for (n, name) in X_NAMES.iter().enumerate() {
            let _ = write!(s, " {:<8} {}", format!("x{n}/{name}"), show(self.x(n as u8)));
            if n % 4 == 3 {
                s.push('\n');
            }
        }
        if fpu && self.config.has(crate::Extension::F) {
            let fcsr = self.get(slot::FRM) << 5 | self.get(slot::FFLAGS);
            let _ = writeln!(s, " fcsr     {}", show(fcsr));
            for (n, name) in F_NAMES.iter().enumerate() {
                let v = self.get(slot::F0 + n as u16);
                let _ = write!(s, " {:<8} {v:016x}", format!("f{n}/{name}"));
                if n % 4 == 3 {
                    s.push('\n');
                }
            }
        }
        s
    }
    fn register_sets(&self) -> Vec<RegisterSet> {
        crate::debug::register_sets(&self.config)
    }
    fn read_register(&mut self, n: usize) -> Option<u64> {
        crate::debug::read(self, n)
    }
    fn write_register(&mut self, n: usize, value: u64) -> bool {
        crate::debug::write(self, n, value)
    }
    fn debug_translate(&self, va: u64, read: &mut dyn FnMut(u64, u32) -> Option<u64>) -> Option<u64> {
        self.debug_address(va, read)
    }
    fn disassemble_at(&self, pc: u64, bytes: &[u8]) -> (String, usize) {
        disassemble::disassemble(&self.config, pc, bytes)
    }
    fn halted(&self) -> bool {
        self.halted
    }
    fn set_halted(&mut self, halted: bool) {
        self.halted = halted
    }
    fn save(&mut self, out: &mut Saver) {
        let saved = Saved { hart: Hart::save(self), lines: self.handle.lines() };
        out.section(self.handle.index(), &saved);
    }
    fn load(&mut self, from: &mut Loader<'_>) -> Result<(), StateError> {
        let mut saved = Saved::default();
        from.section(self.handle.index(), &mut saved)?;
        self.restore(&saved.hart);
        // Last: restoring arms the supervisor timer, which moves a line.
        self.handle.set_lines(saved.lines);
        Ok(())
    }
    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
