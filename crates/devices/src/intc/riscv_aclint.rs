//! The machine timer and the software interrupts of RISC-V harts: "riscv.aclint.mtimer", "riscv.aclint.swi".
//!
//! Document: RISC-V Advanced Core Local Interruptor Specification 1.0-rc4. The SiFive CLINT is one SWI and one
//! MTIMER device side by side.

use std::sync::Arc;

use events::{Clock, EventLoop};
use object::{Device, DeviceCell, Effect, Line};
use state::State;

use crate::timer::{DeviceClock, DeviceTimer};

/// Harts beyond this do not fit into the windows.
const MAX_HARTS: u32 = 4095;

/// The software interrupt pending bits, one for each hart.
#[derive(Clone, Debug, Default, State)]
#[state(name = "riscv_aclint_swi")]
pub struct SwiRegisters {
    pending: Vec<bool>,
}

/// The software interrupt device, MSWI or SSWI.
#[derive(Device)]
#[device(name = "riscv.aclint.swi", parent = "sys-bus-device", bus = "System")]
#[mmio(name = "riscv.aclint.swi", size = 0x4000, access = 4..=8, implemented = 4..=4)]
pub struct AclintSwi {
    /// Id of the first hart.
    #[property(default = 0u32)]
    pub hartid_base: u32,
    /// Number of harts.
    #[property(default = 1u32)]
    pub num_harts: u32,
    /// 1 for supervisor-level interrupts, whose registers are written only; 0 for machine level.
    #[property(default = 0u32)]
    pub sswi: u32,

    /// The interrupt of each hart. With SSWI it is a pulse: the bit in `mip` is the hart's own.
    #[wire(name = "")]
    hart: Vec<Line>,

    #[state]
    regs: SwiRegisters,
}

impl AclintSwi {
    /// MSWI for `num_harts` harts.
    pub fn mswi(num_harts: u32) -> Self {
        Self { num_harts, hart: vec![Line::unconnected(); num_harts as usize], ..Self::default() }
    }

    /// SSWI for `num_harts` harts.
    pub fn sswi(num_harts: u32) -> Self {
        Self { sswi: 1, ..Self::mswi(num_harts) }
    }
}

impl Device for AclintSwi {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        // SETSSIP reads as zero (chapter 4).
        let pending = self.regs.pending.get((offset / 4) as usize);
        u64::from(self.sswi == 0 && pending.copied().unwrap_or(false))
    }

    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        let n = (offset / 4) as usize;
        let (Some(pending), Some(line)) = (self.regs.pending.get_mut(n), self.hart.get(n)) else {
            base::guest_error!("aclint.swi: write to {offset:#x}, where no register is");
            return Effect::None;
        };
        let level = value & 1 != 0;
        if self.sswi == 0 {
            *pending = level;
            line.set(level);
        } else if level {
            line.pulse();
        }
        Effect::None
    }

    fn realize(&mut self) -> base::Result<()> {
        if self.num_harts > MAX_HARTS {
            return Err(base::error!(
                "aclint.swi: num-harts is {}, which is above {MAX_HARTS}",
                self.num_harts
            ));
        }
        self.hart.resize(self.num_harts as usize, Line::unconnected());
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        self.reset_state();
        self.hart.iter().for_each(Line::lower);
    }

    fn reset_state(&mut self) {
        self.regs.pending = vec![false; self.num_harts as usize];
    }

    fn loaded(&mut self) -> Result<(), String> {
        if self.regs.pending.len() != self.num_harts as usize {
            return Err(format!("there are {} harts instead of {}", self.regs.pending.len(), self.num_harts));
        }
        self.hart.iter().zip(&self.regs.pending).for_each(|(line, level)| line.refresh(*level));
        Ok(())
    }
}

/// What the guest has set: `mtime` as its distance from the clock, and `mtimecmp`.
#[derive(Clone, Debug, Default, State)]
#[state(name = "riscv_aclint_mtimer")]
pub struct MtimerRegisters {
    /// What is added to the ticks of the virtual clock to make `mtime`.
    offset: u64,
    compare: Vec<u64>,
}

/// The machine timer.
#[derive(Device)]
#[device(name = "riscv.aclint.mtimer", parent = "sys-bus-device", bus = "System")]
#[mmio(name = "riscv.aclint.mtimer", size = self.aperture_size, access = 4..=8)]
pub struct AclintMtimer {
    /// Id of the first hart.
    #[property(default = 0u32)]
    pub hartid_base: u32,
    /// Number of harts.
    #[property(default = 1u32)]
    pub num_harts: u32,
    /// Offset of `mtimecmp` of the first hart.
    #[property(default = 0u32)]
    pub timecmp_base: u32,
    /// Offset of `mtime`.
    #[property(default = 0x7ff8u32)]
    pub time_base: u32,
    /// Size of the window.
    #[property(default = 0x8000u32)]
    pub aperture_size: u32,
    /// Ticks of `mtime` per second.
    #[property(default = 10_000_000u32)]
    pub timebase_freq: u32,

    /// The timer interrupt of each hart.
    #[wire(name = "")]
    hart: Vec<Line>,
    clock: DeviceClock,
    timers: Vec<DeviceTimer>,
    time: Mtime,

    #[state]
    regs: MtimerRegisters,
}

/// `mtime`, for whoever reads it beside the bus: the `time` CSR is a shadow of it. Clones read the same time.
#[derive(Clone, Default)]
pub struct Mtime {
    clock: DeviceClock,
    frequency: u32,
    offset: Arc<std::sync::atomic::AtomicU64>,
}

impl Mtime {
    /// The value now. Takes no lock.
    pub fn now(&self) -> u64 {
        ticks(self.clock.virtual_ns(), self.frequency)
            .wrapping_add(self.offset.load(std::sync::atomic::Ordering::Relaxed))
    }
}

const SECOND: u128 = 1_000_000_000;

/// Whole ticks in that many nanoseconds.
fn ticks(ns: u64, frequency: u32) -> u64 {
    (u128::from(ns) * u128::from(frequency) / SECOND) as u64
}

/// The first nanosecond at which `ticks` ticks have passed.
fn nanoseconds(ticks: u64, frequency: u32) -> u64 {
    let ns = (u128::from(ticks) * SECOND).div_ceil(u128::from(frequency.max(1)));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

enum Register {
    Compare(usize),
    Time,
}

impl AclintMtimer {
    /// The timer of `num_harts` harts with `mtime` running at `timebase_freq` Hz, as the `virt` board has it.
    pub fn virt(num_harts: u32, timebase_freq: u32) -> Self {
        Self {
            num_harts,
            timebase_freq,
            hart: vec![Line::unconnected(); num_harts as usize],
            ..Self::default()
        }
    }

    /// Gives the device its clock; to be called before it is realized.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop) {
        cell.with(|device| {
            device.clock = DeviceClock::new(events);
            device.timers = (0..device.num_harts as usize)
                .map(|n| DeviceTimer::new(cell, events, Clock::Virtual, n))
                .collect();
            device.time.clock = device.clock.clone();
            device.time.frequency = device.timebase_freq;
        });
    }

    /// `mtime` for the `time` CSR; valid once the device is connected.
    pub fn time(&self) -> Mtime {
        self.time.clone()
    }

    fn now(&self) -> u64 {
        ticks(self.clock.virtual_ns(), self.timebase_freq).wrapping_add(self.regs.offset)
    }

    fn set_offset(&mut self, offset: u64) {
        self.regs.offset = offset;
        self.time.offset.store(offset, std::sync::atomic::Ordering::Relaxed);
    }

    /// Register and bit offset that a byte offset leads to.
    fn decode(&self, offset: u64) -> Option<(Register, u32)> {
        let shift = (offset % 8 * 8) as u32;
        let from = offset.checked_sub(u64::from(self.timecmp_base));
        if let Some(n) = from.map(|from| from / 8)
            && n < u64::from(self.num_harts)
        {
            return Some((Register::Compare(n as usize), shift));
        }
        (offset & !7 == u64::from(self.time_base)).then_some((Register::Time, shift))
    }

    /// Sets the line of a hart to what `mtime` and `mtimecmp` say, and the timer to when that changes.
    fn update(&mut self, n: usize) {
        let Some(&compare) = self.regs.compare.get(n) else { return };
        let clock = ticks(self.clock.virtual_ns(), self.timebase_freq);
        let now = clock.wrapping_add(self.regs.offset);
        let due = now >= compare;
        if let Some(line) = self.hart.get(n) {
            line.set(due);
        }
        // `mtime` may be behind the clock or beyond it: what counts is how far it is from the compared value.
        let at = clock.checked_add(compare.wrapping_sub(now));
        let deadline = at.filter(|_| !due).map(|at| nanoseconds(at, self.timebase_freq));
        let deadline = deadline.filter(|ns| *ns < i64::MAX as u64);
        if let Some(timer) = self.timers.get(n) {
            timer.set(deadline);
        }
    }

    fn update_all(&mut self) {
        for n in 0..self.regs.compare.len() {
            self.update(n);
        }
    }
}

/// `old` with the accessed half, or all of it, replaced.
fn merge(old: u64, shift: u32, size: u32, value: u64) -> u64 {
    if size == 8 {
        return value;
    }
    let mask = 0xffff_ffff_u64 << shift;
    (old & !mask) | (value << shift & mask)
}

impl Device for AclintMtimer {
    fn read(&mut self, _: usize, offset: u64, size: u32) -> u64 {
        let (value, shift) = match self.decode(offset) {
            Some((Register::Compare(n), shift)) => (self.regs.compare.get(n).copied().unwrap_or(0), shift),
            Some((Register::Time, shift)) => (self.now(), shift),
            None => {
                base::guest_error!("aclint.mtimer: read of {offset:#x}, where no register is");
                return 0;
            }
        };
        if size == 8 { value } else { value >> shift & 0xffff_ffff }
    }

    fn write(&mut self, _: usize, offset: u64, size: u32, value: u64) -> Effect {
        match self.decode(offset) {
            Some((Register::Compare(n), shift)) => {
                if let Some(compare) = self.regs.compare.get_mut(n) {
                    *compare = merge(*compare, shift, size, value);
                    self.update(n);
                }
            }
            Some((Register::Time, shift)) => {
                let now = self.now();
                let offset = merge(now, shift, size, value).wrapping_sub(now.wrapping_sub(self.regs.offset));
                self.set_offset(offset);
                self.update_all();
            }
            None => base::guest_error!("aclint.mtimer: write to {offset:#x}, where no register is"),
        }
        Effect::None
    }

    fn timer(&mut self, n: usize) {
        self.update(n);
    }

    fn realize(&mut self) -> base::Result<()> {
        if self.num_harts > MAX_HARTS {
            return Err(base::error!(
                "aclint.mtimer: num-harts is {}, which is above {MAX_HARTS}",
                self.num_harts
            ));
        }
        if self.timebase_freq == 0 {
            return Err("aclint.mtimer: timebase-freq cannot be 0".into());
        }
        self.hart.resize(self.num_harts as usize, Line::unconnected());
        self.reset_state();
        self.update_all();
        Ok(())
    }

    /// `mtime` goes on through a reset of the machine only from 0: firmware expects a time that begins there.
    fn reset(&mut self) {
        let elapsed = ticks(self.clock.virtual_ns(), self.timebase_freq);
        self.reset_state();
        self.set_offset(0u64.wrapping_sub(elapsed));
        self.update_all();
    }

    fn reset_state(&mut self) {
        // mtimecmp is not reset by the hardware; all ones keeps the line low until it has been written.
        self.regs = MtimerRegisters { offset: 0, compare: vec![u64::MAX; self.num_harts as usize] };
        self.set_offset(0);
    }

    fn loaded(&mut self) -> Result<(), String> {
        if self.regs.compare.len() != self.num_harts as usize {
            return Err(format!("there are {} harts instead of {}", self.regs.compare.len(), self.num_harts));
        }
        self.set_offset(self.regs.offset);
        self.update_all();
        self.hart.iter().for_each(|line| line.refresh(line.level()));
        Ok(())
    }
}

#[cfg(test)]
#[path = "riscv_aclint_test.rs"]
mod test;
