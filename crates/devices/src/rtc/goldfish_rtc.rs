//! The real-time clock of Google's Goldfish platform.
//!
//! Document: "goldfish-virtual-hardware" of the Android emulator, section "Goldfish RTC". Time is counted in
//! nanoseconds since the epoch. Left out: the big-endian variant.

use std::sync::Arc;

use base::Bits;
use events::{Clock, EventLoop};
use object::{Device, DeviceCell, Effect, Line};
use state::State;

use crate::timer::{DeviceClock, DeviceTimer};

/// Reading gives the low half of the time and latches the high half; writing sets the low half.
const TIME_LOW: u64 = 0x00;
const TIME_HIGH: u64 = 0x04;
/// Writing sets the alarm, with the high half written before.
const ALARM_LOW: u64 = 0x08;
const ALARM_HIGH: u64 = 0x0c;
const IRQ_ENABLED: u64 = 0x10;
const CLEAR_ALARM: u64 = 0x14;
const ALARM_STATUS: u64 = 0x18;
const CLEAR_INTERRUPT: u64 = 0x1c;

/// The registers.
#[derive(Clone, Debug, Default, State)]
#[state(name = "goldfish_rtc")]
pub struct Registers {
    /// What is added to the host's clock to make the guest's time, in nanoseconds, wrapping.
    offset: u64,
    /// The high half of the time, as of the last read of the low half.
    time_high: u32,
    alarm: u64,
    /// The alarm that is running: what it was when its low half was written.
    armed: u64,
    alarm_running: bool,
    irq_pending: bool,
    irq_enabled: bool,
}

/// The device.
#[derive(Device)]
#[device(name = "goldfish_rtc", parent = "sys-bus-device", bus = "System", category = "misc")]
#[mmio(name = "goldfish_rtc", size = 0x24, access = 4..=8, implemented = 4..=4)]
pub struct GoldfishRtc {
    /// The interrupt.
    #[wire(name = "sysbus-irq")]
    irq: Line,
    source: Option<Clock>,
    clock: DeviceClock,
    timer: DeviceTimer,
    /// The offset that a reset leads back to.
    initial_offset: u64,
    /// Hears of the guest's setting the clock: how many seconds it now differs from what it was started with.
    listener: Option<SetListener>,

    #[state]
    regs: Registers,
}

/// Hears of the guest's setting the clock.
type SetListener = Box<dyn Fn(i64) + Send + Sync>;

impl GoldfishRtc {
    /// Who hears of the guest's setting the clock, with the seconds by which it now differs from what it was started
    /// with. Called with the device's lock held.
    pub fn on_set(cell: &DeviceCell<Self>, listener: impl Fn(i64) + Send + Sync + 'static) {
        cell.with(|device| device.listener = Some(Box::new(listener)));
    }

    /// The device.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the device count with `source` (`-rtc clock=`), beginning now at `date_ns` nanoseconds after the
    /// epoch (`-rtc base=`). To be called before the device is realized.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop, source: Clock, date_ns: u64) {
        cell.with(|device| {
            device.source = Some(source);
            device.clock = DeviceClock::new(events);
            device.timer = DeviceTimer::new(cell, events, source, 0);
            device.initial_offset = date_ns.wrapping_sub(device.clock.now_ns(source));
            device.regs.offset = device.initial_offset;
        });
    }

    fn now(&self) -> u64 {
        let clock = self.source.map_or(0, |source| self.clock.now_ns(source));
        clock.wrapping_add(self.regs.offset)
    }

    fn set_now(&mut self, time: u64) {
        let now = self.now();
        self.regs.offset = self.regs.offset.wrapping_add(time.wrapping_sub(now));
        if let Some(tell) = &self.listener {
            let difference = self.regs.offset.wrapping_sub(self.initial_offset) as i64;
            tell(difference.div_euclid(1_000_000_000));
        }
        self.check_alarm();
    }

    fn update(&mut self) {
        self.irq.set(self.regs.irq_pending && self.regs.irq_enabled);
    }

    /// Lets a running alarm go off if it is due, or else the timer wait for it.
    fn check_alarm(&mut self) {
        let now = self.now();
        if self.regs.alarm_running && self.regs.armed <= now {
            self.regs.alarm_running = false;
            self.regs.irq_pending = true;
        }
        let running = self.regs.alarm_running;
        let deadline = self.regs.armed.wrapping_sub(self.regs.offset);
        self.timer.set((running && deadline < i64::MAX as u64).then_some(deadline));
        self.update();
    }
}

impl Device for GoldfishRtc {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        let value = match offset {
            TIME_LOW => {
                let now = self.now();
                self.regs.time_high = (now >> 32) as u32;
                now as u32
            }
            TIME_HIGH => self.regs.time_high,
            ALARM_LOW => self.regs.alarm as u32,
            ALARM_HIGH => (self.regs.alarm >> 32) as u32,
            IRQ_ENABLED => u32::from(self.regs.irq_enabled),
            ALARM_STATUS => u32::from(self.regs.alarm_running),
            _ => {
                base::guest_error!("goldfish_rtc: read of {offset:#x}, where no register can be read");
                0
            }
        };
        u64::from(value)
    }

    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        match offset {
            TIME_LOW => {
                let time = self.now().with_bits(0, 32, value);
                self.set_now(time);
            }
            TIME_HIGH => {
                let time = self.now().with_bits(32, 32, value);
                self.set_now(time);
            }
            ALARM_LOW => {
                self.regs.alarm = self.regs.alarm.with_bits(0, 32, value);
                self.regs.armed = self.regs.alarm;
                self.regs.alarm_running = true;
                self.check_alarm();
            }
            ALARM_HIGH => self.regs.alarm = self.regs.alarm.with_bits(32, 32, value),
            IRQ_ENABLED => {
                self.regs.irq_enabled = value & 1 != 0;
                self.update();
            }
            CLEAR_ALARM => {
                self.regs.alarm_running = false;
                self.check_alarm();
            }
            CLEAR_INTERRUPT => {
                self.regs.irq_pending = false;
                self.update();
            }
            _ => base::guest_error!("goldfish_rtc: write to {offset:#x}, where no register can be written"),
        }
        Effect::None
    }

    fn timer(&mut self, _: usize) {
        self.check_alarm();
    }

    fn reset(&mut self) {
        self.reset_state();
        self.check_alarm();
    }

    fn reset_state(&mut self) {
        self.regs = Registers { offset: self.initial_offset, ..Registers::default() };
    }

    fn loaded(&mut self) -> Result<(), String> {
        self.check_alarm();
        self.irq.refresh(self.irq.level());
        Ok(())
    }
}

#[cfg(test)]
#[path = "goldfish_rtc_test.rs"]
mod test;
