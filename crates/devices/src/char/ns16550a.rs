//! The 16550A UART, memory mapped: "serial-mm".
//!
//! Document: National Semiconductor PC16550D, "Universal Asynchronous Receiver/Transmitter with FIFOs".
//!
//! Transmission takes no time: a byte written goes to the character back end at once, and THRE falls only
//! while the back end cannot take more. Receiving is paced by the guest: the back end is asked for as many
//! bytes as the FIFO has room for. Left out: DMA mode; parity and framing errors, which no back end reports; the
//! line settings, a break towards the line and the modem outputs, which no back end takes.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use backends::char::{CharEvent, CharPort, CharReceiver};
use base::Bits;
use events::{Clock, EventLoop};
use object::{Device, DeviceCell, Effect, Line};
use state::State;

use crate::timer::{DeviceClock, DeviceTimer};

/// Depth of both FIFOs.
const FIFO: usize = 16;

/// Interrupt enable register.
mod ier {
    pub const RDI: u8 = 1 << 0;
    pub const THRI: u8 = 1 << 1;
    pub const RLSI: u8 = 1 << 2;
    pub const MSI: u8 = 1 << 3;
}

/// Interrupt identification register: the causes, and the bits that say "FIFOs enabled".
mod iir {
    pub const NONE: u8 = 0x01;
    pub const MODEM_STATUS: u8 = 0x00;
    pub const TRANSMITTER_EMPTY: u8 = 0x02;
    pub const RECEIVED_DATA: u8 = 0x04;
    pub const LINE_STATUS: u8 = 0x06;
    pub const CHARACTER_TIMEOUT: u8 = 0x0c;
    pub const FIFOS: u8 = 0xc0;
}

/// FIFO control register.
mod fcr {
    pub const ENABLE: u8 = 1 << 0;
    pub const CLEAR_RECEIVER: u8 = 1 << 1;
    pub const CLEAR_TRANSMITTER: u8 = 1 << 2;
    pub const STORED: u8 = 0xc9;
}

/// Line control register.
mod lcr {
    pub const STOP_BITS: u8 = 1 << 2;
    pub const PARITY: u8 = 1 << 3;
    pub const DLAB: u8 = 1 << 7;
}

/// Modem control register.
mod mcr {
    pub const DTR: u8 = 1 << 0;
    pub const RTS: u8 = 1 << 1;
    pub const OUT1: u8 = 1 << 2;
    pub const OUT2: u8 = 1 << 3;
    pub const LOOP: u8 = 1 << 4;
}

/// Line status register.
mod lsr {
    pub const DATA_READY: u8 = 1 << 0;
    pub const OVERRUN: u8 = 1 << 1;
    pub const BREAK: u8 = 1 << 4;
    pub const THR_EMPTY: u8 = 1 << 5;
    pub const TRANSMITTER_EMPTY: u8 = 1 << 6;
    pub const ERRORS: u8 = 0x1e;
}

/// Modem status register.
mod msr {
    pub const DELTAS: u8 = 0x0f;
    pub const CTS: u8 = 1 << 4;
    pub const DSR: u8 = 1 << 5;
    pub const RI: u8 = 1 << 6;
    pub const DCD: u8 = 1 << 7;
}

/// What the guest sees of the chip.
#[derive(Clone, Debug, State)]
#[state(name = "serial", post_load = Self::check)]
pub struct Registers {
    divisor: u16,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    /// Only the error bits: the others follow from the FIFOs.
    lsr: u8,
    msr: u8,
    scr: u8,
    /// The transmitter has become empty since the cause was last taken note of.
    thr_interrupt: bool,
    /// Bytes have waited for four character times below the trigger level.
    timeout_interrupt: bool,
    receiver: VecDeque<u8>,
    transmitter: VecDeque<u8>,
    /// Virtual time at which waiting bytes make a time-out interrupt.
    timeout: Option<u64>,
}

impl Default for Registers {
    fn default() -> Self {
        Self {
            divisor: 12,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: mcr::OUT2,
            lsr: 0,
            msr: msr::CTS | msr::DSR | msr::DCD,
            scr: 0,
            thr_interrupt: false,
            timeout_interrupt: false,
            receiver: VecDeque::new(),
            transmitter: VecDeque::new(),
            timeout: None,
        }
    }
}

impl Registers {
    fn check(&mut self, _: u32) -> Result<(), String> {
        if self.receiver.len() > FIFO || self.transmitter.len() > FIFO {
            return Err(format!("a FIFO holds more than {FIFO} bytes"));
        }
        Ok(())
    }

    fn fifos(&self) -> bool {
        self.fcr & fcr::ENABLE != 0
    }

    fn depth(&self) -> usize {
        if self.fifos() { FIFO } else { 1 }
    }

    /// How many bytes make the "received data" interrupt.
    fn trigger(&self) -> usize {
        match (self.fifos(), self.fcr >> 6) {
            (false, _) | (true, 0) => 1,
            (true, 1) => 4,
            (true, 2) => 8,
            (true, _) => 14,
        }
    }

    fn line_status(&self) -> u8 {
        let mut status = self.lsr & lsr::ERRORS;
        if !self.receiver.is_empty() {
            status |= lsr::DATA_READY;
        }
        if self.transmitter.is_empty() {
            status |= lsr::THR_EMPTY | lsr::TRANSMITTER_EMPTY;
        }
        status
    }

    fn modem_status(&self) -> u8 {
        if self.mcr & mcr::LOOP == 0 {
            return self.msr;
        }
        let route = |from: u8, to: u8| if self.mcr & from != 0 { to } else { 0 };
        route(mcr::RTS, msr::CTS)
            | route(mcr::DTR, msr::DSR)
            | route(mcr::OUT1, msr::RI)
            | route(mcr::OUT2, msr::DCD)
    }

    /// The cause of the highest priority (table "Interrupt control functions").
    fn cause(&self) -> u8 {
        if self.ier & ier::RLSI != 0 && self.lsr & lsr::ERRORS != 0 {
            iir::LINE_STATUS
        } else if self.ier & ier::RDI != 0 && self.timeout_interrupt {
            iir::CHARACTER_TIMEOUT
        } else if self.ier & ier::RDI != 0 && self.receiver.len() >= self.trigger() {
            iir::RECEIVED_DATA
        } else if self.ier & ier::THRI != 0 && self.thr_interrupt {
            iir::TRANSMITTER_EMPTY
        } else if self.ier & ier::MSI != 0 && self.msr & msr::DELTAS != 0 {
            iir::MODEM_STATUS
        } else {
            iir::NONE
        }
    }

    /// A byte from the line or, in loop-back mode, from our own transmitter.
    fn take(&mut self, byte: u8) {
        if self.receiver.len() >= self.depth() {
            self.lsr |= lsr::OVERRUN;
            if self.fifos() {
                // The byte in the shift register is lost, those in the FIFO stay.
                return;
            }
            self.receiver.clear();
        }
        self.receiver.push_back(byte);
    }

    fn clear_receiver(&mut self) {
        self.receiver.clear();
        self.lsr &= !lsr::BREAK;
        self.timeout_interrupt = false;
        self.timeout = None;
    }
}

/// The device: a 16550A on the system bus.
#[derive(Device)]
#[device(name = "serial-mm", parent = "sys-bus-device", bus = "System", category = "input")]
#[mmio(name = "serial", size = 8u64 << self.regshift, access = 1..=1)]
pub struct Ns16550a {
    /// Registers lie `1 << regshift` bytes apart.
    #[property(default = 0u8)]
    pub regshift: u8,
    /// Characters per second are this over the divisor, over the bits of a character.
    pub baudbase: u32,

    /// The interrupt.
    #[wire(name = "sysbus-irq")]
    irq: Line,
    port: Option<Arc<dyn CharPort>>,
    clock: DeviceClock,
    timer: DeviceTimer,

    #[state]
    regs: Registers,
}

/// What the back end calls.
struct Receiver(Weak<DeviceCell<Ns16550a>>);

impl CharReceiver for Receiver {
    fn room(&self) -> usize {
        self.0.upgrade().map_or(0, |cell| cell.with(|device| device.room()))
    }

    fn receive(&self, bytes: &[u8]) {
        if let Some(cell) = self.0.upgrade() {
            cell.with(|device| device.receive(bytes));
        }
    }

    fn event(&self, event: CharEvent) {
        if event == CharEvent::Break
            && let Some(cell) = self.0.upgrade()
        {
            cell.with(Ns16550a::receive_break);
        }
    }

    fn writable(&self) {
        if let Some(cell) = self.0.upgrade() {
            cell.with(Ns16550a::transmit);
        }
    }
}

impl Ns16550a {
    /// A UART whose divisor divides `baudbase` (a sixteenth of the clock), with registers `1 << regshift`
    /// bytes apart.
    pub fn new(baudbase: u32, regshift: u8) -> Self {
        Self { baudbase, regshift, ..Self::default() }
    }

    /// Gives the device its clock and the back end that it talks to. Without a back end it talks to nobody.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop, port: Option<Arc<dyn CharPort>>) {
        cell.with(|device| {
            device.clock = DeviceClock::new(events);
            device.timer = DeviceTimer::new(cell, events, Clock::Virtual, 0);
            device.port.clone_from(&port);
        });
        if let Some(port) = port {
            port.set_receiver(Some(Arc::new(Receiver(Arc::downgrade(cell)))));
        }
    }

    fn update(&mut self) {
        self.irq.set(self.regs.cause() != iir::NONE);
    }

    /// How long one character takes, in nanoseconds.
    fn character_ns(&self) -> u64 {
        let lcr = self.regs.lcr;
        let bits = 1
            + u64::from(5 + (lcr & 3))
            + u64::from(lcr & lcr::PARITY != 0)
            + if lcr & lcr::STOP_BITS != 0 { 2 } else { 1 };
        let divisor = u64::from(self.regs.divisor.max(1));
        1_000_000_000 * bits * divisor / u64::from(self.baudbase.max(1))
    }

    /// The time-out begins anew: four character times after the last byte came or went.
    fn restart_timeout(&mut self) {
        self.regs.timeout_interrupt = false;
        let waiting = self.regs.fifos() && !self.regs.receiver.is_empty();
        self.regs.timeout = waiting.then(|| self.clock.virtual_ns() + 4 * self.character_ns());
        self.timer.set(self.regs.timeout);
    }

    fn room(&self) -> usize {
        if self.regs.mcr & mcr::LOOP != 0 {
            // The serial input is disconnected; the back end waits until it is back.
            return 0;
        }
        self.regs.depth().saturating_sub(self.regs.receiver.len())
    }

    fn receive(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.regs.take(byte);
        }
        self.restart_timeout();
        self.update();
    }

    fn receive_break(&mut self) {
        self.regs.take(0);
        self.regs.lsr |= lsr::BREAK;
        self.update();
    }

    /// The guest has taken bytes out or otherwise made room.
    fn ask_for_input(&self) {
        if self.room() > 0
            && let Some(port) = &self.port
        {
            port.receive_ready();
        }
    }

    /// Hands the back end what waits in the transmitter.
    fn transmit(&mut self) {
        if self.regs.transmitter.is_empty() {
            return;
        }
        let taken = match &self.port {
            Some(port) => {
                let bytes = self.regs.transmitter.make_contiguous();
                port.write(bytes).min(bytes.len())
            }
            None => self.regs.transmitter.len(),
        };
        self.regs.transmitter.drain(..taken);
        if self.regs.transmitter.is_empty() {
            self.regs.thr_interrupt = true;
        }
        self.update();
    }

    fn write_thr(&mut self, byte: u8) {
        self.regs.thr_interrupt = false;
        if self.regs.mcr & mcr::LOOP != 0 {
            self.regs.take(byte);
            self.regs.thr_interrupt = true;
            self.restart_timeout();
            self.update();
            return;
        }
        if self.regs.transmitter.len() >= self.regs.depth() {
            // The guest did not wait for THRE: the byte in the holding register is overwritten.
            self.regs.transmitter.pop_back();
        }
        self.regs.transmitter.push_back(byte);
        self.transmit();
        self.update();
    }

    fn write_fcr(&mut self, value: u8) {
        let changed = (self.regs.fcr ^ value) & fcr::ENABLE != 0;
        if changed || value & fcr::CLEAR_RECEIVER != 0 {
            self.regs.clear_receiver();
            self.timer.set(None);
        }
        if changed || value & fcr::CLEAR_TRANSMITTER != 0 {
            self.regs.transmitter.clear();
            self.regs.thr_interrupt = true;
        }
        // The other bits count only when the FIFOs are being enabled.
        self.regs.fcr = if value & fcr::ENABLE != 0 { value & fcr::STORED } else { 0 };
        self.update();
        self.ask_for_input();
    }

    fn read_rbr(&mut self) -> u8 {
        let byte = self.regs.receiver.pop_front().unwrap_or(0);
        if self.regs.receiver.is_empty() {
            self.regs.lsr &= !lsr::BREAK;
        }
        self.restart_timeout();
        self.update();
        self.ask_for_input();
        byte
    }

    fn read_iir(&mut self) -> u8 {
        let cause = self.regs.cause();
        if cause == iir::TRANSMITTER_EMPTY {
            self.regs.thr_interrupt = false;
            self.update();
        }
        cause | if self.regs.fifos() { iir::FIFOS } else { 0 }
    }
}

impl Device for Ns16550a {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        let dlab = self.regs.lcr & lcr::DLAB != 0;
        let value = match offset >> self.regshift {
            0 if dlab => self.regs.divisor as u8,
            0 => self.read_rbr(),
            1 if dlab => (self.regs.divisor >> 8) as u8,
            1 => self.regs.ier,
            2 => self.read_iir(),
            3 => self.regs.lcr,
            4 => self.regs.mcr,
            5 => {
                let status = self.regs.line_status();
                if self.regs.lsr & lsr::ERRORS != 0 {
                    self.regs.lsr &= !lsr::ERRORS;
                    self.update();
                }
                status
            }
            6 => {
                let status = self.regs.modem_status();
                if self.regs.msr & msr::DELTAS != 0 {
                    self.regs.msr &= !msr::DELTAS;
                    self.update();
                }
                status
            }
            _ => self.regs.scr,
        };
        u64::from(value)
    }

    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        let value = value as u8;
        let dlab = self.regs.lcr & lcr::DLAB != 0;
        match offset >> self.regshift {
            0 if dlab => self.regs.divisor = self.regs.divisor.with_bits(0, 8, u16::from(value)),
            0 => self.write_thr(value),
            1 if dlab => self.regs.divisor = self.regs.divisor.with_bits(8, 8, u16::from(value)),
            1 => {
                let enabled = value & !self.regs.ier & ier::THRI != 0;
                self.regs.ier = value & 0x0f;
                if enabled && self.regs.transmitter.is_empty() {
                    self.regs.thr_interrupt = true;
                }
                self.update();
            }
            2 => self.write_fcr(value),
            3 => self.regs.lcr = value,
            4 => {
                self.regs.mcr = value & 0x1f;
                self.update();
                self.ask_for_input();
            }
            // Writing the status registers is for factory tests.
            5 | 6 => {}
            _ => self.regs.scr = value,
        }
        Effect::None
    }

    fn timer(&mut self, _: usize) {
        if self.regs.timeout.take().is_some() && !self.regs.receiver.is_empty() {
            self.regs.timeout_interrupt = true;
            self.update();
        }
    }

    fn realize(&mut self) -> base::Result<()> {
        if self.regshift > 8 {
            return Err(base::error!("serial-mm: regshift {} is too large", self.regshift));
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.reset_state();
        self.timer.set(None);
        self.irq.lower();
        self.ask_for_input();
    }

    fn loaded(&mut self) -> Result<(), String> {
        self.timer.set(self.regs.timeout);
        self.irq.refresh(self.regs.cause() != iir::NONE);
        self.transmit();
        self.ask_for_input();
        Ok(())
    }
}

#[cfg(test)]
#[path = "ns16550a_test.rs"]
mod test;
