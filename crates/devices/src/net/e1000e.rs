//! A gigabit network card: "e1000e", Intel's 82574L.
//!
//! Document: Intel 82574 GbE Controller Family Datasheet, revision 3.4; section numbers are its. Left out: receive-side
//! scaling, time stamps of frames (the clock is there), interrupt moderation and delays, wake-up, management, access to
//! the EEPROM bit by bit; what is written to the EEPROM lasts until the machine is reset.
//!
//! tail of a transmit ring -> `transmit` -> the network; the network -> `Receiver` -> `receive` -> buffers of the receive
//! ring; both -> `cause` -> pin, message or one of five messages.

mod interrupts;
mod nvm;
mod phy;
mod receive;
mod registers;
mod ring;
mod statistics;
mod transmit;

use std::sync::{Arc, Weak};

use backends::net::{FrameOffload, NetPeer, NetReceiver, Offloads};
use base::Bits;
use events::EventLoop;
use object::pci::{Capability, CapabilityKind, Express, PortType};
use object::{Device, DeviceCell, Effect};
use state::State;

use crate::pci::Pci;
use crate::property_types::{BootIndex, MacAddress};
use crate::timer::DeviceClock;
use interrupts::cause;
use phy::Phy;
use registers::{File, SECOND, at, canonical};
use statistics::Statistics;
use transmit::Transmitter;

const CTRL_NO_MASTER: u32 = 1 << 2;
const CTRL_RESET: u32 = 1 << 26;
const CTRL_PHY_RESET: u32 = 1 << 31;
/// Full duplex, 1000 Mb/s, transceiver and function out of reset.
const STATUS: u32 = 0x8000_0281;
const STATUS_LINK: u32 = 1 << 1;
const STATUS_MASTER: u32 = 1 << 19;
/// An EEPROM is there, and has been read.
const EEC_PRESENT: u32 = 0x300;
const EEC_REQUEST: u32 = 1 << 6;
const EEC_GRANT: u32 = 1 << 7;
const NVM_START: u32 = 1;
const NVM_DONE: u32 = 2;
/// Fields of MDIC.
const MDIC_READY: u32 = 1 << 28;
const MDIC_INTERRUPT: u32 = 1 << 29;
const MDIC_ERROR: u32 = 1 << 30;
/// Windows in the order of their attributes.
const FLASH: usize = 1;
const PORTS: usize = 2;
/// Nanoseconds of a tick of the clock that counts time: 25 MHz.
const TICK: u64 = 40;

/// What is saved.
#[derive(Clone, Debug, Default, State)]
#[state(name = "e1000e")]
pub struct Registers {
    file: File,
    statistics: Statistics,
    phy: Phy,
    nvm: Vec<u16>,
    eerd: u32,
    mdic: u32,
    icr: u32,
    ims: u32,
    /// What the processor has been interrupted for.
    told: u32,
    senders: Vec<Transmitter>,
    /// The register that the I/O ports reach.
    port: u32,
    /// The time counter, and when it had that value.
    time: u64,
    time_since: u64,
    /// The latched high half of the time counter.
    time_high: u32,
}

/// The card.
#[derive(Device)]
#[device(name = "e1000e", desc = "Intel 82574L GbE Controller", category = "network", user_creatable)]
#[pci(vendor = 0x8086, device = 0x10d3, class = 0x02_0000, pin = 1, subsystem = (self.subsystem_vendor, self.subsystem))]
#[bar(index = 0, name = "e1000e-mmio", size = 0x2_0000, access = 1..=8, implemented = 4..=4)]
#[bar(index = 1, name = "e1000e-flash", size = 0x2_0000, access = 1..=8)]
#[bar(index = 2, kind = Io, name = "e1000e-io", size = 0x20, access = 1..=4, implemented = 4..=4)]
#[capability(Capability::new(CapabilityKind::ErrorReporting))]
#[capability(Capability::new(CapabilityKind::SerialNumber(self.serial_number())).at(0x140))]
#[capability(Capability::msix(5, 3, 0, 0x2000).at(0xa0))]
#[capability(Capability::new(CapabilityKind::Express(EXPRESS)).at(0xe0))]
#[capability(Capability::msi(1).at(0xd0))]
#[capability(Capability::new(CapabilityKind::PowerManagement(0x22)).at(0xc8))]
pub struct E1000e {
    /// Id of the network back end.
    #[property(desc = "ID of a netdev to use as a backend")]
    pub netdev: String,
    /// Address of the card.
    #[property(desc = "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56")]
    pub mac: MacAddress,
    /// Place in the boot order, if it has one.
    #[property]
    pub bootindex: BootIndex,
    /// Whether to do all offloads in the card.
    #[property(
        name = "disable_vnet_hdr",
        default = 0u8,
        desc = "Do not use virtio headers, perform SW offloads emulation instead"
    )]
    pub no_offloads: u8,
    /// Subsystem vendor ID.
    #[property(name = "subsys_ven", default = 0x8086u16, desc = "PCI device Subsystem Vendor ID")]
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    #[property(name = "subsys", default = 0u16, desc = "PCI device Subsystem ID")]
    pub subsystem: u16,
    /// Begin with the usual type of VLAN tags.
    #[property(name = "init-vet", default = true)]
    pub init_vet: bool,
    /// Save the adjustment of the time counter.
    #[property(name = "migrate-timadj", default = true)]
    pub migrate_timadj: bool,
    /// Its place on the bus.
    #[place]
    pub pci: Pci,
    peer: Option<Arc<dyn NetPeer>>,
    events: Option<EventLoop>,
    clock: DeviceClock,
    this: Weak<DeviceCell<Self>>,
    link_down: bool,
    /// The back end has a frame for which there was no room.
    starved: bool,
    /// Causes of the frames received in this burst.
    received: u32,
    #[state]
    regs: Registers,
}

const EXPRESS: Express = Express {
    port: PortType::Endpoint,
    number: 0,
    slot: None,
    hotplug: false,
    link: (1, 1),
    resettable: false,
    message: 0,
    version: 1,
};

/// What the back end calls.
struct Receiver(Weak<DeviceCell<E1000e>>);

impl NetReceiver for Receiver {
    fn can_receive(&self) -> bool {
        self.0.upgrade().is_some_and(|cell| cell.with(E1000e::can_receive))
    }
    fn receive(&self, frame: &[u8], offload: FrameOffload) -> bool {
        self.0.upgrade().is_none_or(|cell| cell.with(|card| card.receive(frame, offload)))
    }
    fn burst_done(&self) {
        if let Some(cell) = self.0.upgrade() {
            cell.with(E1000e::burst_done);
        }
    }
    fn offloads(&self) -> Offloads {
        // The card computes them while it copies, instead of looking whether they are right.
        let checksum = self.0.upgrade().is_some_and(|cell| cell.with(|card| card.no_offloads == 0));
        Offloads { checksum, tso4: false }
    }
}

impl E1000e {
    /// Gives the card its network; to be called before it is realized. Without a network the link is down.
    pub fn connect(cell: &Arc<DeviceCell<Self>>, events: &EventLoop, peer: Option<Arc<dyn NetPeer>>) {
        cell.with(|card| {
            card.this = Arc::downgrade(cell);
            card.events = Some(events.clone());
            card.clock = DeviceClock::new(events);
            card.link_down = peer.is_none();
            card.peer.clone_from(&peer);
        });
        if let Some(peer) = peer {
            peer.set_receiver(Some(Arc::new(Receiver(Arc::downgrade(cell)))));
        }
    }

    /// Plugs the cable in or pulls it out.
    pub fn set_link(&mut self, up: bool) {
        let before = self.has_link();
        self.link_down = !up;
        self.link_changed(before);
    }

    /// The address that it has.
    pub fn address(&self) -> MacAddress {
        self.mac
    }

    fn has_link(&self) -> bool {
        !self.link_down && self.regs.phy.is_powered()
    }

    fn link_changed(&mut self, before: bool) {
        if self.has_link() != before {
            self.cause(cause::LSC);
            self.ask_for_frames();
        }
    }

    fn ask_for_frames(&mut self) {
        if self.starved
            && let Some(peer) = &self.peer
        {
            self.starved = false;
            peer.receive_ready();
        }
    }

    /// The address with ff:ff in its middle.
    fn serial_number(&self) -> u64 {
        let [a, b, c, d, e, f] = self.mac.0;
        u64::from_be_bytes([a, b, c, 0xff, 0xff, d, e, f])
    }

    // ---- registers

    fn read_register(&mut self, offset: u32) -> u32 {
        match offset {
            at::STATUS => {
                let master = self.regs.file.get(at::CTRL) & CTRL_NO_MASTER == 0;
                let bit = |on, bit| if on { bit } else { 0 };
                STATUS | bit(self.has_link(), STATUS_LINK) | bit(master, STATUS_MASTER)
            }
            at::EERD => self.regs.eerd,
            at::MDIC => self.regs.mdic,
            at::ICR => self.read_icr(),
            // Writing it sets causes; reading shows them.
            at::ICS => self.regs.icr,
            at::IMS => self.regs.ims,
            at::SWSM => {
                // Whoever reads a free semaphore has it.
                let value = self.regs.file.get(at::SWSM);
                self.regs.file.set(at::SWSM, value | 1);
                value
            }
            at::SYSTIML => {
                let now = self.time_now();
                self.regs.time_high = (now >> 32) as u32;
                now as u32
            }
            at::SYSTIMH => self.regs.time_high,
            _ if Statistics::has(offset) => self.regs.statistics.read(offset),
            _ => self.regs.file.get(offset),
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) {
        match offset {
            at::CTRL => self.write_ctrl(value),
            at::EEC => {
                let grant = if value & EEC_REQUEST != 0 { EEC_GRANT } else { 0 };
                self.regs.file.set(at::EEC, value & 0x77 | grant | EEC_PRESENT);
            }
            at::EERD => {
                if value & NVM_START != 0 {
                    let word = value.bits(2, 14);
                    let data = self.regs.nvm.get(word as usize).copied().unwrap_or(0);
                    self.regs.eerd = u32::from(data) << 16 | word << 2 | NVM_DONE;
                }
            }
            at::EEWR => {
                if value & NVM_START != 0
                    && let Some(word) = self.regs.nvm.get_mut(value.bits(2, 14) as usize)
                {
                    *word = (value >> 16) as u16;
                }
            }
            at::MDIC => self.write_mdic(value),
            at::ICR => self.acknowledge(value),
            at::ICS => self.cause(value),
            at::IMS => self.set_mask(value),
            at::IMC => self.clear_mask(value),
            at::SYSTIML | at::SYSTIMH => {
                let (from, now) = (if offset == at::SYSTIML { 0 } else { 32 }, self.time_now());
                self.regs.time = now.with_bits(from, 32, value.into());
            }
            at::TIMINCA => {
                self.time_now();
                self.regs.file.write(offset, value);
            }
            _ => {
                self.regs.file.write(offset, value);
                self.written(offset);
            }
        }
    }

    /// What follows from a write to a register that keeps it.
    fn written(&mut self, offset: u32) {
        match offset {
            at::TDT => self.transmit(0),
            _ if offset == at::TDT + SECOND => self.transmit(1),
            at::TCTL => (0..2).for_each(|queue| self.transmit(queue)),
            at::RDT | at::RCTL => self.ask_for_frames(),
            _ => {}
        }
    }

    fn write_ctrl(&mut self, value: u32) {
        if value & CTRL_RESET != 0 {
            self.reset_registers();
            return;
        }
        let before = self.has_link();
        if value & CTRL_PHY_RESET != 0 {
            self.regs.phy = Phy::new();
        }
        self.regs.file.write(at::CTRL, value & !CTRL_PHY_RESET);
        self.link_changed(before);
    }

    fn write_mdic(&mut self, value: u32) {
        let (register, link, before) = (value.bits(16, 5), self.has_link(), self.has_link());
        let address = value.bits(21, 5);
        let data = match (value.bits(26, 2), address) {
            (1, 1) => self.regs.phy.write(register, value as u16).then_some(value as u16),
            (2, 1) => self.regs.phy.read(register, link),
            _ => None,
        };
        let error = if data.is_none() { MDIC_ERROR } else { 0 };
        let kept = value & 0x2fff_0000;
        self.regs.mdic = kept | MDIC_READY | error | u32::from(data.unwrap_or(0));
        self.link_changed(before);
        if value & MDIC_INTERRUPT != 0 {
            self.cause(cause::MDAC);
        }
    }

    /// The time counter: so much more after every so many ticks.
    fn time_now(&mut self) -> u64 {
        let increment = self.regs.file.get(at::TIMINCA);
        let (period, value) = (increment >> 24, u64::from(increment & 0xff_ffff));
        let now = self.clock.virtual_ns();
        let step = u64::from(period.max(1)) * TICK;
        let steps = now.saturating_sub(self.regs.time_since) / step;
        self.regs.time = self.regs.time.wrapping_add(steps.wrapping_mul(value));
        self.regs.time_since = self.regs.time_since.wrapping_add(steps * step);
        self.regs.time
    }

    /// The registers as they are after the EEPROM has been read.
    fn reset_registers(&mut self) {
        let (low, high) = match self.regs.nvm.first_chunk::<3>() {
            Some([a, b, c]) => (u32::from(*b) << 16 | u32::from(*a), u32::from(*c)),
            None => (0, 0),
        };
        self.regs.file = File::new();
        self.regs.file.set(at::RAL, low);
        self.regs.file.set(at::RAL + 4, high | 1 << 31);
        if !self.init_vet {
            self.regs.file.set(at::VET, 0);
        }
        self.regs.senders = vec![Transmitter::default(); 2];
        (self.regs.icr, self.regs.ims, self.regs.told) = (0, 0, 0);
        self.received = 0;
        self.pci.set_intx(false);
    }
}

impl Device for E1000e {
    fn read(&mut self, region: usize, offset: u64, _: u32) -> u64 {
        match (region, offset) {
            // There is no flash memory.
            (FLASH, _) => 0,
            (PORTS, 0) => self.regs.port.into(),
            (PORTS, 4) => self.read_register(canonical(self.regs.port & 0x1_fffc)).into(),
            (PORTS, _) => 0,
            _ => self.read_register(canonical(offset as u32)).into(),
        }
    }

    fn write(&mut self, region: usize, offset: u64, _: u32, value: u64) -> Effect {
        match (region, offset) {
            (PORTS, 0) => self.regs.port = value as u32,
            (PORTS, 4) => self.write_register(canonical(self.regs.port & 0x1_fffc), value as u32),
            (FLASH | PORTS, _) => {}
            _ => self.write_register(canonical(offset as u32), value as u32),
        }
        Effect::None
    }

    fn realize(&mut self) -> base::Result<()> {
        if !self.mac.is_set() {
            self.mac = MacAddress::nth(0);
        }
        self.reset_state();
        Ok(())
    }

    fn reset(&mut self) {
        self.reset_state();
        // What comes before a driver is there is lost; what comes when it is waits.
        self.starved = true;
    }

    fn reset_state(&mut self) {
        self.regs = Registers {
            statistics: Statistics::new(),
            phy: Phy::new(),
            nvm: nvm::delivered(self.mac.0),
            time_since: self.clock.virtual_ns(),
            ..Registers::default()
        };
        self.reset_registers();
    }

    fn loaded(&mut self) -> Result<(), String> {
        if self.regs.nvm.len() != 64 || self.regs.senders.len() != 2 {
            return Err("there are other queues, or another EEPROM".into());
        }
        if !self.pci.msix_enabled() && self.regs.icr & self.regs.ims != 0 {
            self.pci.set_intx(true);
        }
        self.starved = true;
        self.ask_for_frames();
        (0..2).for_each(|queue| self.transmit(queue));
        Ok(())
    }
}

base::trace_points! {
    /// What is to be traced of the card.
    pub mod trace "e1000e" {
        /// A frame for the guest.
        RECEIVE "receive",
        /// A frame from the guest.
        TRANSMIT "transmit",
        /// The driver is interrupted.
        INTERRUPT "interrupt",
    }
}

#[cfg(test)]
#[path = "e1000e/e1000e_test.rs"]
mod test;
