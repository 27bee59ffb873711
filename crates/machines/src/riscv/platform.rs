//! What a board gives its harts: time, supervisor timers, and with `-bios builtin` the supervisor execution environment.

use super::aia::File;
use super::harts::input;
use crate::board::Board;
use crate::sbi::{
    self, Access, Entry, Fence, HartState, HartTargets, Outcome, ResetReason, ResetType, SbiError, SbiHart,
    SbiPlatform,
};
use cpu::{Cpu, CpuHandle, Exit, Flush, Guest, Mmu, Stop};
use devices::intc::riscv_aclint::Mtime;
use events::{Clock, Clocks, EventLoop};
use ir::MemOp;
use memory::AddressSpace;
use object::{Effect, ResetCause, ShutdownCause};
use riscv::{Hart, InterruptFile, Platform};
use state::{Loader, Saved, Saver, State, StateError};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// gdb's numbers of CSRs begin here; the registers of a hart are reached by them.
const CSR: usize = 66;
const SATP: usize = CSR + 0x180;
const SSTATUS: usize = CSR + 0x100;
const SIP: usize = CSR + 0x144;
const MIE: usize = CSR + 0x304;
const SSTATUS_SIE: u64 = 1 << 1;

/// What surrounds the harts of a board.
pub struct HartPlatform {
    mtime: OnceLock<Mtime>,
    frequency: u64,
    around: OnceLock<Around>,
    builtin: OnceLock<Builtin>,
    /// Interrupt files of machine and of supervisor level, of each hart.
    files: OnceLock<[Vec<File>; 2]>,
}

struct Around {
    harts: Vec<Arc<CpuHandle>>,
    memory: Arc<AddressSpace>,
    clocks: Clocks,
}

/// What only the built-in environment needs.
struct Builtin {
    /// First register of the console's 16550.
    uart: Option<u64>,
    states: Mutex<Vec<HartState>>,
    /// A hart stands in a remote fence: it does what others ask of it before its next instruction.
    fencing: Vec<AtomicBool>,
}

impl HartPlatform {
    /// A platform whose `mtime` runs at `frequency` Hz.
    pub fn new(frequency: u32) -> Arc<HartPlatform> {
        Arc::new(HartPlatform {
            mtime: OnceLock::new(),
            frequency: frequency.into(),
            around: OnceLock::new(),
            builtin: OnceLock::new(),
            files: OnceLock::new(),
        })
    }

    /// Connects the clock.
    pub fn set_mtime(&self, mtime: Mtime) {
        let _ = self.mtime.set(mtime);
    }

    /// Connects the interrupt files of machine and of supervisor level.
    pub fn set_files(&self, files: [Vec<File>; 2]) {
        let _ = self.files.set(files);
    }

    /// Connects the harts.
    pub fn set_harts(&self, harts: &[Arc<CpuHandle>], memory: Arc<AddressSpace>, events: &EventLoop) {
        for hart in harts {
            // The hart has the timer.
            let of = Arc::downgrade(hart);
            hart.set_timer(events.timer(Clock::Virtual, move || {
                if let Some(hart) = of.upgrade() {
                    hart.set_line(input::STI, true);
                }
            }));
        }
        let _ = self.around.set(Around { harts: harts.to_vec(), memory, clocks: events.clocks().clone() });
    }

    /// Serves `ecall` from S-mode from now on.
    pub fn serve_sbi(&self, uart: Option<u64>) {
        let count = self.harts().len();
        let _ = self.builtin.set(Builtin {
            uart,
            states: Mutex::new(first_states(count)),
            fencing: (0..count).map(|_| AtomicBool::new(false)).collect(),
        });
    }

    /// Lets the board reset and save it.
    pub fn attach(platform: &Arc<HartPlatform>, board: &mut Board) {
        let reset = platform.clone();
        board.parts.push(platform.clone());
        board.resets.push(Box::new(move || reset.reset()));
    }

    /// The machine is reset.
    fn reset(&self) {
        if let Some(around) = self.around.get() {
            for hart in &around.harts {
                hart.timer().inspect(|timer| timer.cancel());
                hart.set_line(input::STI, false);
                hart.set_line(input::SSI, false);
            }
        }
        if let Some(builtin) = self.builtin.get() {
            *states(builtin) = first_states(self.harts().len());
        }
    }

    fn harts(&self) -> &[Arc<CpuHandle>] {
        self.around.get().map_or(&[], |a| &a.harts)
    }

    /// Arms the supervisor timer of a hart.
    fn arm(&self, hart: usize, deadline: Option<u64>) {
        let Some(around) = self.around.get() else { return };
        let Some(handle) = around.harts.get(hart) else { return };
        let Some(timer) = handle.timer() else { return };
        let now = self.time();
        match deadline {
            Some(deadline) if deadline <= now => {
                timer.cancel();
                handle.set_line(input::STI, true);
            }
            Some(deadline) => {
                handle.set_line(input::STI, false);
                // Beyond a century there is no need to wake up.
                let ticks = deadline - now;
                let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.frequency.max(1));
                match u64::try_from(ns) {
                    Ok(ns) if ns < 1 << 61 => {
                        timer.arm(around.clocks.now_ns(Clock::Virtual).saturating_add(ns + 1));
                    }
                    _ => timer.cancel(),
                }
            }
            None => {
                timer.cancel();
                handle.set_line(input::STI, false);
            }
        }
    }
}

/// What is saved.
#[derive(Default, State)]
#[state(name = "riscv_platform")]
struct PlatformState {
    /// Virtual time at which each hart's supervisor timer interrupt is raised.
    deadlines: Vec<Option<u64>>,
    /// The emulator is the supervisor execution environment (`-bios builtin`).
    builtin: bool,
    /// What that knows of each hart.
    states: Vec<HartState>,
}

impl Saved for HartPlatform {
    fn section(&self) -> &'static str {
        PlatformState::NAME
    }

    fn save(&self, instance: u32, out: &mut Saver) {
        let builtin = self.builtin.get();
        let state = PlatformState {
            deadlines: self.harts().iter().map(|hart| hart.timer()?.deadline()).collect(),
            builtin: builtin.is_some(),
            states: builtin.map(|b| states(b).clone()).unwrap_or_default(),
        };
        out.section(instance, &state);
    }

    /// To be called after the harts have been loaded, which arm timers by what they know.
    fn load(&self, instance: u32, from: &mut Loader<'_>) -> Result<(), StateError> {
        let mut state = PlatformState::default();
        from.section(instance, &mut state)?;
        let refuse = |field: &str, reason: String| {
            Err(StateError { section: PlatformState::NAME.into(), field: field.into(), reason })
        };
        let harts = self.harts();
        if state.deadlines.len() != harts.len() {
            return refuse(
                "deadlines",
                format!("there are {} harts instead of {}", state.deadlines.len(), harts.len()),
            );
        }
        let builtin = self.builtin.get();
        if state.builtin != builtin.is_some() {
            let words = |on| if on { "the built-in SBI" } else { "firmware of its own" };
            return refuse(
                "builtin",
                format!("the machine had {} and has {} here", words(state.builtin), words(!state.builtin)),
            );
        }
        if let Some(builtin) = builtin {
            if state.states.len() != harts.len() {
                return refuse("states", format!("there are {} harts", state.states.len()));
            }
            *states(builtin) = state.states;
        }
        for (hart, deadline) in harts.iter().zip(state.deadlines) {
            match (hart.timer(), deadline) {
                (Some(timer), Some(deadline)) => timer.arm(deadline),
                (Some(timer), None) => timer.cancel(),
                (None, _) => {}
            }
        }
        Ok(())
    }
}

/// The first hart runs; the others wait to be started.
fn first_states(count: usize) -> Vec<HartState> {
    (0..count).map(|n| if n == 0 { HartState::Started } else { HartState::Stopped }).collect()
}

fn states(builtin: &Builtin) -> MutexGuard<'_, Vec<HartState>> {
    builtin.states.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Platform for HartPlatform {
    fn time(&self) -> u64 {
        self.mtime.get().map_or(0, Mtime::now)
    }

    fn instructions(&self) -> Option<u64> {
        Some(self.around.get()?.clocks.icount()?.count())
    }

    fn arm_stimecmp(&self, hart: u32, deadline: Option<u64>) {
        self.arm(hart as usize, deadline);
    }

    fn interrupt_file(&self, hart: u32, supervisor: bool) -> Option<&dyn InterruptFile> {
        let file = self.files.get()?.get(usize::from(supervisor))?.get(hart as usize)?;
        Some(file)
    }

    fn sbi_ecall(&self, hart: &mut Hart, mmu: &mut dyn Mmu<Hart>) -> Option<Result<(), Stop>> {
        let builtin = self.builtin.get()?;
        let next = hart.pc();
        let id = hart.id() as usize;
        let fenced = Mutex::new(false);
        let outcome = {
            let platform = Serving { platform: self, builtin, hart: id, fenced: &fenced };
            sbi::ecall(&platform, &mut Caller { hart, mmu })
        };
        let fenced = fenced.into_inner().unwrap_or_else(PoisonError::into_inner);
        Some(match outcome {
            // Others have waited for us to be here; what they asked is done before the next instruction.
            Outcome::Resume if fenced => {
                mmu.flush(hart, Flush::Tables);
                mmu.synchronize_code();
                Err(Stop::Exit(Exit::Kicked))
            }
            Outcome::Resume => Ok(()),
            Outcome::Suspend => Err(Stop::Exit(Exit::Halted)),
            Outcome::SuspendThenEnter(entry) => {
                // The registers are lost; which interrupts end the suspension is not.
                hart.write_register(SATP, 0);
                let status = hart.read_register(SSTATUS).unwrap_or(0);
                hart.write_register(SSTATUS, status & !SSTATUS_SIE);
                hart.set_x(10, id as u64);
                hart.set_x(11, entry.opaque);
                hart.set_pc(entry.address);
                mmu.flush(hart, Flush::Tables);
                Err(Stop::Exit(Exit::Halted))
            }
            Outcome::Stop => {
                hart.write_register(MIE, 0);
                if let Some(state) = states(builtin).get_mut(id) {
                    *state = HartState::Stopped;
                }
                Err(Stop::Exit(Exit::Parked))
            }
            Outcome::Reset(kind, reason) => {
                let effect = match (kind, reason) {
                    (ResetType::Shutdown, ResetReason::None) => Effect::SHUTDOWN,
                    (ResetType::Shutdown, ResetReason::SystemFailure) => {
                        Effect::Shutdown { cause: ShutdownCause::GuestPanic, status: 1 }
                    }
                    _ => Effect::Reset { cause: ResetCause::GuestReset },
                };
                // No instruction follows; the main loop decides whether one ever will.
                hart.handle().ask_stop();
                if let Some(around) = self.around.get() {
                    around.memory.perform(effect);
                }
                Err(Stop::Exit(Exit::Kicked))
            }
            Outcome::Fault(stop) => {
                hart.set_pc(next.wrapping_sub(4));
                Err(stop)
            }
        })
    }
}

/// The hart that makes a call.
struct Caller<'a> {
    hart: &'a mut Hart,
    mmu: &'a mut dyn Mmu<Hart>,
}

impl SbiHart for Caller<'_> {
    type Fault = Stop;

    fn hart_id(&self) -> u64 {
        self.hart.id()
    }
    fn xlen(&self) -> u32 {
        self.hart.config().xlen()
    }
    fn argument(&self, n: usize) -> u64 {
        let value = self.hart.x(10 + (n as u8 & 7));
        if self.xlen() == 32 { value & 0xffff_ffff } else { value }
    }
    fn set_result(&mut self, n: usize, value: u64) {
        self.hart.set_x(10 + (n as u8 & 1), value);
    }
    fn load_word(&mut self, virtual_address: u64) -> Result<u64, Stop> {
        let op = if self.xlen() == 32 { MemOp::U32 } else { MemOp::U64 };
        self.mmu.load(self.hart, virtual_address, op)
    }
    fn clear_software_interrupt(&mut self) -> bool {
        self.hart.handle().set_line(input::SSI, false);
        let sip = self.hart.read_register(SIP).unwrap_or(0);
        self.hart.write_register(SIP, sip & !(1 << input::SSI));
        sip & 1 << input::SSI != 0
    }
    fn identity(&self) -> [u64; 3] {
        self.hart.config().vendor()
    }
}

/// The platform while it serves hart `hart`.
struct Serving<'a> {
    platform: &'a HartPlatform,
    builtin: &'a Builtin,
    hart: usize,
    fenced: &'a Mutex<bool>,
}

impl Serving<'_> {
    fn memory(&self) -> Option<&Arc<AddressSpace>> {
        self.platform.around.get().map(|a| &a.memory)
    }
    fn chosen(&self, targets: HartTargets) -> impl Iterator<Item = (usize, &Arc<CpuHandle>)> {
        self.platform.harts().iter().enumerate().filter(move |(n, _)| targets.contains(*n as u64))
    }
    fn uart(&self, register: u64) -> Option<u8> {
        let at = self.builtin.uart?;
        self.memory()?.read_int(at + register, 1).ok().map(|v| v as u8)
    }
}

impl SbiPlatform for Serving<'_> {
    fn hart_limit(&self) -> u64 {
        self.platform.harts().len() as u64
    }
    fn hart_state(&self, hart: u64) -> HartState {
        // A hart that waits for an interrupt is still a started one.
        states(self.builtin).get(hart as usize).copied().unwrap_or(HartState::Stopped)
    }
    fn start_hart(&self, hart: u64, entry: Entry) -> Result<(), SbiError> {
        let mut all = states(self.builtin);
        let state = all.get_mut(hart as usize).ok_or(SbiError::InvalidParam)?;
        if *state != HartState::Stopped {
            return Err(SbiError::AlreadyAvailable);
        }
        let handle = self.platform.harts().get(hart as usize).ok_or(SbiError::InvalidParam)?;
        *state = HartState::Started;
        handle.set_line(input::SSI, false);
        handle.async_run_on(move |cpu| {
            if let Some(target) = cpu.as_any().downcast_mut::<Hart>() {
                target.start_supervisor(entry.address, hart, entry.opaque);
                target.set_halted(false);
            }
        });
        Ok(())
    }
    fn send_ipi(&self, targets: HartTargets) {
        self.chosen(targets).for_each(|(_, handle)| handle.set_line(input::SSI, true));
    }
    fn remote_fence(&self, targets: HartTargets, fence: Fence) -> Result<(), SbiError> {
        if matches!(fence, Fence::Gvma { .. } | Fence::Vvma { .. }) {
            return Err(SbiError::NotSupported);
        }
        // Work done on a vCPU's thread makes its accelerator forget all translations.
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut asked = Vec::new();
        let fencing = &self.builtin.fencing;
        if let Some(me) = fencing.get(self.hart) {
            me.store(true, SeqCst);
        }
        for (n, handle) in self.chosen(targets).filter(|(n, _)| *n != self.hart) {
            let waiting = waiting.clone();
            let done = Arc::new(AtomicBool::new(false));
            waiting.fetch_add(1, SeqCst);
            asked.push((n, done.clone()));
            handle.async_run_on(move |_| {
                done.store(true, SeqCst);
                waiting.fetch_sub(1, SeqCst);
            });
        }
        // A hart that stands in a fence itself will not run an instruction before it has done what we asked: two harts
        // that fence one another do not wait for ever.
        let settled = |(n, done): &(usize, Arc<AtomicBool>)| {
            done.load(SeqCst) || fencing.get(*n).is_some_and(|f| f.load(SeqCst))
        };
        let mut turns = 0u32;
        // Harts that run in turn do what they are asked before they run again: there is nothing to wait for.
        let in_turn = self.platform.instructions().is_some();
        while !in_turn && waiting.load(SeqCst) > 0 && !asked.iter().all(settled) {
            turns += 1;
            if turns < 1000 { std::hint::spin_loop() } else { std::thread::sleep(Duration::from_micros(20)) }
        }
        if let Some(me) = fencing.get(self.hart) {
            me.store(false, SeqCst);
        }
        *self.fenced.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }
    fn set_timer(&self, hart: u64, deadline: u64) {
        let deadline = if deadline == u64::MAX { None } else { Some(deadline) };
        self.platform.arm(hart as usize, deadline);
    }
    fn is_allowed(&self, access: Access, address: u64, size: u64) -> bool {
        let Some(memory) = self.memory() else { return false };
        let mut at = address;
        let Some(end) = address.checked_add(size) else { return false };
        while at < end {
            let Some(range) = memory.lookup(at) else { return false };
            let fits = match access {
                Access::Read | Access::Execute => range.readable(at).is_some(),
                Access::Write => range.writable(at).is_some(),
            };
            if !fits {
                return false;
            }
            at = at.saturating_add(range.left(at).max(1));
        }
        true
    }
    fn read_memory(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.is_allowed(Access::Read, address, bytes.len() as u64)
            && self.memory().is_some_and(|m| m.read(address, bytes).is_ok())
    }
    fn write_memory(&self, address: u64, bytes: &[u8]) -> bool {
        self.is_allowed(Access::Write, address, bytes.len() as u64)
            && self.memory().is_some_and(|m| m.write(address, bytes).is_ok())
    }
    fn console_write(&self, bytes: &[u8]) -> Result<usize, SbiError> {
        let (Some(at), Some(memory)) = (self.builtin.uart, self.memory()) else {
            return Err(SbiError::Denied);
        };
        let mut done = 0;
        for &byte in bytes {
            // 16550, line status register: bit 5 is set while a byte can be written.
            if self.uart(5).is_none_or(|status| status & 0x20 == 0) {
                break;
            }
            memory.write_int(at, 1, byte.into()).map_err(|_| SbiError::Failed)?;
            done += 1;
        }
        Ok(done)
    }
    fn console_read(&self, bytes: &mut [u8]) -> Result<usize, SbiError> {
        if self.builtin.uart.is_none() {
            return Err(SbiError::Denied);
        }
        let mut done = 0;
        for byte in bytes {
            // Bit 0 is set while a byte can be read.
            if self.uart(5).is_none_or(|status| status & 1 == 0) {
                break;
            }
            *byte = self.uart(0).ok_or(SbiError::Failed)?;
            done += 1;
        }
        Ok(done)
    }
}
