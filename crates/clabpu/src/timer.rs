//! The tick timer: a counter that goes down on the machine's clock and interrupts at zero.
//!
//! | offset | register | |
//! |---|---|---|
//! | 0x0 | counter | written: ticks until it expires, if the timer is enabled; read: ticks that are left |
//! | 0x4 | control | bit 0: enabled, without which a running count is given up; bit 1: the machine pauses when it expires |
//! | 0x8 | status | bit 0: it has expired, which interrupts; a one that is written clears it |
//! | 0xc | prescaler | ticks of the base frequency for one of the counter; 0 is taken as 1 |
//!
//! The clock is the virtual one: it stands still while the machine does. Property `frequency` is the base frequency in Hz,
//! `speed` how fast time passes for the timer, in percent: with 200 it expires in half the time.

use devices::timer::{DeviceClock, DeviceTimer};
use events::{Clock, EventLoop};
use object::{Device, DeviceCell, Effect, Line};
use state::State;
use std::sync::Arc;

const COUNTER: u64 = 0x0;
const CONTROL: u64 = 0x4;
const STATUS: u64 = 0x8;
const PRESCALER: u64 = 0xc;

/// Control.
mod control {
    pub const ENABLE: u32 = 1 << 0;
    pub const PAUSE: u32 = 1 << 1;
    pub const ALL: u32 = ENABLE | PAUSE;
}
/// Status.
const EXPIRED: u32 = 1 << 0;

/// Nanoseconds of a second, times the percent of the usual speed.
const SECOND: u128 = 1_000_000_000 * 100;

/// What the guest sees.
#[derive(Clone, Debug, State)]
#[state(name = "clabpu-timer", version = 1)]
pub struct Registers {
    control: u32,
    status: u32,
    prescaler: u32,
    /// Virtual time at which the count is zero, while it runs.
    deadline: Option<u64>,
}

impl Default for Registers {
    fn default() -> Self {
        Self { control: 0, status: 0, prescaler: 1, deadline: None }
    }
}

/// The timer.
#[derive(Device)]
#[device(
    name = "clabpu-timer",
    desc = "CLabPU tick timer",
    parent = "sys-bus-device",
    bus = "System",
    category = "misc"
)]
#[mmio(name = "clabpu-timer", size = 0x100, access = 4..=4)]
pub struct TickTimer {
    /// Ticks per second of the prescaler's input.
    #[property(name = "frequency", default = 1_000_000u32, desc = "base frequency in Hz")]
    pub frequency: u32,
    /// How fast time passes.
    #[property(name = "speed", default = 100u32, desc = "how fast time passes, in percent")]
    pub speed: u32,
    /// High while it has expired.
    #[wire(name = "sysbus-irq")]
    irq: Line,
    /// A pulse asks for the machine to pause.
    #[wire(name = "pause")]
    pause: Line,
    clock: DeviceClock,
    timer: DeviceTimer,
    #[state]
    regs: Registers,
}

impl TickTimer {
    /// Gives it the clock of a main loop.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop) {
        let timer = DeviceTimer::new(cell, events, Clock::Virtual, 0);
        cell.with(|t| (t.clock, t.timer) = (DeviceClock::new(events), timer));
    }
    /// Ticks of the counter in `SECOND` units of time.
    fn rate(&self) -> u128 {
        u128::from(self.frequency.max(1)) * u128::from(self.speed.max(1))
    }
    /// Nanoseconds that so many ticks take.
    fn nanoseconds(&self, ticks: u32) -> u64 {
        let ticks = u128::from(ticks) * u128::from(self.regs.prescaler.max(1));
        u64::try_from((ticks * SECOND).div_ceil(self.rate())).unwrap_or(u64::MAX)
    }
    /// Ticks that are left.
    fn left(&self) -> u32 {
        let left = self.regs.deadline.map_or(0, |d| d.saturating_sub(self.clock.virtual_ns()));
        let ticks =
            (u128::from(left) * self.rate()).div_ceil(SECOND * u128::from(self.regs.prescaler.max(1)));
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
    fn arm(&mut self, deadline: Option<u64>) {
        self.regs.deadline = deadline;
        self.timer.set(deadline);
    }
    fn expire(&mut self) {
        self.arm(None);
        self.regs.status |= EXPIRED;
        self.irq.raise();
        if self.regs.control & control::PAUSE != 0 {
            self.pause.pulse();
        }
    }
    fn update(&self) {
        self.irq.set(self.regs.status & EXPIRED != 0);
    }
}

impl Device for TickTimer {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        let value = match offset {
            COUNTER => self.left(),
            CONTROL => self.regs.control,
            STATUS => self.regs.status,
            PRESCALER => self.regs.prescaler,
            _ => 0,
        };
        value.into()
    }
    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        let word = value as u32;
        match offset {
            COUNTER if self.regs.control & control::ENABLE == 0 => {}
            COUNTER if word == 0 => self.expire(),
            COUNTER => {
                let deadline = self.clock.virtual_ns().saturating_add(self.nanoseconds(word));
                self.arm(Some(deadline));
            }
            CONTROL => {
                self.regs.control = word & control::ALL;
                if word & control::ENABLE == 0 {
                    self.arm(None);
                }
            }
            STATUS => {
                self.regs.status &= !word;
                self.update();
            }
            PRESCALER => self.regs.prescaler = word,
            _ => base::guest_error!("clabpu_timer: write of {value:#x} to {offset:#x} means nothing"),
        }
        Effect::None
    }
    fn timer(&mut self, _: usize) {
        // A write may have given up or moved the count while this was on its way.
        match self.regs.deadline {
            Some(deadline) if deadline <= self.clock.virtual_ns() => self.expire(),
            later => self.timer.set(later),
        }
    }
    fn reset(&mut self) {
        self.reset_state();
        self.timer.set(None);
        self.irq.lower();
    }
    fn loaded(&mut self) -> Result<(), String> {
        self.timer.set(self.regs.deadline);
        self.irq.refresh(self.regs.status & EXPIRED != 0);
        Ok(())
    }
}

#[cfg(test)]
#[path = "timer_test.rs"]
mod test;
