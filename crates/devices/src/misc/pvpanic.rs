//! The paravirtual panic device: "pvpanic-pci".
//!
//! Document: "PVPANIC DEVICE" of QEMU's specifications: one byte that tells which events are understood, and takes them.

use object::{Device, Effect};
use qapi::{Event, EventInfo, Qapi};

use crate::pci::Pci;

const PANICKED: u8 = 1;
/// The guest has its own kernel for crashes: it needs nothing.
const CRASH_LOADED: u8 = 2;
const SHUTDOWN: u8 = 4;

/// What is done about a crash that the guest itself takes care of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum GuestPanicAction {
    /// Nothing.
    Run,
}

/// The guest has panicked and now runs its kernel for crashes.
#[derive(Debug, Qapi)]
#[qapi(event = "GUEST_CRASHLOADED")]
pub struct GuestCrashloaded {
    /// What is done.
    pub action: GuestPanicAction,
}

/// The guest has asked for an end through this device.
#[derive(Debug, Qapi)]
#[qapi(event = "GUEST_PVSHUTDOWN")]
pub struct GuestPvshutdown {}

/// The events of this file.
pub const EVENTS: &[EventInfo] = &[GuestCrashloaded::INFO, GuestPvshutdown::INFO];

/// The device.
#[derive(Device)]
#[device(name = "pvpanic-pci", category = "misc", user_creatable)]
#[pci(vendor = 0x1b36, device = 0x0011, revision = 1, class = 0x08_8000)]
#[bar(index = 0, name = "pvpanic", size = 2, access = 1..=1)]
pub struct PvpanicPci {
    /// Events that are understood.
    #[property(default = PANICKED | CRASH_LOADED | SHUTDOWN)]
    pub events: u8,
    /// Its place on the bus.
    #[place]
    pci: Pci,
}

impl Device for PvpanicPci {
    fn read(&mut self, _: usize, _: u64, _: u32) -> u64 {
        self.events.into()
    }

    fn write(&mut self, _: usize, _: u64, _: u32, value: u64) -> Effect {
        let event = value as u8;
        if event & PANICKED != 0 {
            return Effect::Panicked;
        }
        if event & SHUTDOWN != 0 {
            GuestPvshutdown {}.emit();
            return Effect::SHUTDOWN;
        }
        if event & CRASH_LOADED != 0 {
            GuestCrashloaded { action: GuestPanicAction::Run }.emit();
        } else {
            base::guest_error!("pvpanic: unknown event {event:#x}");
        }
        Effect::None
    }
}
