//! The configuration space of a function, and its tables of MSI-X.
//!
//! It is a device with three register windows: the configuration space itself, the MSI-X table, the pending bits.
//! Its lock is the last one taken: it asks nobody. What a write changes outside (mappings, a reset of the function)
//! is an effect; messages and lines are sent after the lock is gone, as those of any device.

use std::sync::Weak;

use memory::Dma;
use object::pci::{BarKind, PortType};
use object::{Device, Effect, Line};
use state::State;

use super::function::Function;
use super::layout::{Layout, MsixPlace, command, register};

/// What is saved of a configuration space.
#[derive(Clone, Debug, Default, State)]
#[state(name = "pci/config")]
pub struct Registers {
    bytes: Vec<u8>,
    /// The MSI-X table, four words for each vector.
    table: Vec<u32>,
    /// Its pending bits.
    pending: Vec<u64>,
    /// The level of the function's interrupt pin.
    level: bool,
}

/// What a configuration space says about the memory map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Address of each base address register of the layout, where it is mapped.
    pub bars: Vec<Option<u64>>,
    /// Whether the function may reach memory.
    pub master: bool,
    /// Of a bridge: first and last address of what goes to the secondary bus: I/O, memory, prefetchable memory.
    pub windows: [Option<(u64, u64)>; 3],
}

/// Steps of native hot plug that the driver has just taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotControl {
    /// The slot's power is on.
    pub powered: bool,
    /// The power indicator is not off.
    pub indicated: bool,
}

/// The configuration space.
#[derive(Device)]
#[device(name = "pci-config", parent = "device", no_default)]
#[mmio(name = "pci-config", size = self.layout.initial.len(), access = 1..=8, implemented = 1..=4)]
#[mmio(name = "msix-table", size = self.table_size(), access = 4..=8, implemented = 4..=4)]
#[mmio(name = "msix-pba", size = self.pending_size(), access = 4..=8, implemented = 4..=4)]
pub struct ConfigSpace {
    layout: Layout,
    function: Weak<Function>,
    dma: Option<Dma>,
    irq: Line,
    #[state]
    regs: Registers,
}

/// Register windows.
pub mod window {
    #![allow(missing_docs)]
    pub const CONFIG: usize = 0;
    pub const TABLE: usize = 1;
    pub const PENDING: usize = 2;
}

/// Link status: lanes and speed.
const LINK: u16 = 0x3ff;
const MSI_ENABLE: u16 = 1;
const MSIX_ENABLE: u16 = 0x8000;
const MSIX_MASK_ALL: u16 = 0x4000;
/// Vector control: this vector is masked.
const MASKED: u32 = 1;
/// Device control: reset the function.
const FUNCTION_RESET: u16 = 0x8000;
/// Bridge control: the secondary bus is held in reset.
const BUS_RESET: u16 = 0x40;
/// Status: the interrupt pin is asserted.
const INTX_STATUS: u8 = 8;

/// Bits of slot status and control (PCI Express 7.8.10, 7.8.11).
pub mod slot {
    #![allow(missing_docs)]
    pub const BUTTON: u16 = 1;
    pub const PRESENCE_CHANGED: u16 = 8;
    pub const COMMAND_DONE: u16 = 0x10;
    pub const PRESENT: u16 = 0x40;
    pub const INTERRUPT_ENABLE: u16 = 0x20;
    pub const POWER_INDICATOR_OFF: u16 = 0x300;
    pub const POWER_OFF: u16 = 0x400;
}

impl ConfigSpace {
    /// A configuration space in its state after reset.
    pub fn new(layout: Layout, function: Weak<Function>, dma: Option<Dma>, irq: Line) -> Self {
        let mut space = Self { layout, function, dma, irq, regs: Registers::default() };
        space.reset_state();
        space
    }

    /// What it was made from.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn vectors(&self) -> usize {
        self.layout.msix.map_or(0, |m| usize::from(m.vectors))
    }
    fn table_size(&self) -> usize {
        16 * self.vectors()
    }
    fn pending_size(&self) -> usize {
        8 * self.vectors().div_ceil(64)
    }

    /// Bytes from `at` on as a number.
    pub fn get(&self, at: usize, size: usize) -> u32 {
        let bytes = self.regs.bytes.get(at..at.saturating_add(size));
        bytes.map_or(u32::MAX, |bytes| bytes.iter().rev().fold(0, |all, b| all << 8 | u32::from(*b)))
    }
    /// Sets bytes from `at` on, whether the guest could write them or not.
    pub fn put(&mut self, at: usize, size: usize, value: u64) {
        let new = value.to_le_bytes();
        if let (Some(bytes), Some(new)) = (self.regs.bytes.get_mut(at..at + size), new.get(..size)) {
            bytes.copy_from_slice(new);
        }
    }
    fn get16(&self, at: usize) -> u16 {
        self.get(at, 2) as u16
    }
    fn set16(&mut self, at: usize, value: u16) {
        self.put(at, 2, value.into());
    }

    /// The numbers of the buses behind a bridge: the secondary and the last.
    pub fn buses(&self) -> (u8, u8) {
        (self.get(register::SECONDARY_BUS, 1) as u8, self.get(register::SUBORDINATE_BUS, 1) as u8)
    }

    /// What is to be mapped now.
    pub fn decoded(&self) -> Decoded {
        let command = self.get16(register::COMMAND);
        let bars = self.layout.bars.iter().map(|bar| {
            if bar.fixed.is_some() {
                return bar.fixed;
            }
            let at = register::BAR0 + 4 * usize::from(bar.index);
            let low = u64::from(self.get(at, 4));
            let (enabled, address, limit) = match bar.kind {
                BarKind::Io => (command & command::IO != 0, low & !3, u64::from(u16::MAX)),
                BarKind::Memory32 => (command & command::MEMORY != 0, low & !0xf, u64::from(u32::MAX) - 1),
                BarKind::Memory64 => {
                    let high = u64::from(self.get(at + 4, 4)) << 32;
                    (command & command::MEMORY != 0, high | low & !0xf, u64::MAX - 1)
                }
            };
            // The registers read all ones while they are sized: that is no place to be.
            let last = (address & !(bar.size - 1)).checked_add(bar.size - 1)?;
            (enabled && last <= limit).then_some(address & !(bar.size - 1))
        });
        Decoded {
            bars: bars.collect(),
            master: command & command::MASTER != 0,
            windows: if self.layout.bridge { self.windows(command) } else { [None; 3] },
        }
    }

    fn windows(&self, command: u16) -> [Option<(u64, u64)>; 3] {
        let (io, memory) = (command & command::IO != 0, command & command::MEMORY != 0);
        let mut on = [io, memory, memory].into_iter();
        self.window_registers()
            .map(|(base, limit)| (on.next() == Some(true) && base <= limit).then_some((base, limit)))
    }

    /// Base and limit of what a bridge lets through, whether it does or not: I/O, memory, prefetchable memory.
    pub fn window_registers(&self) -> [(u64, u64); 3] {
        let get16 = |at| u64::from(self.get16(at));
        let get32 = |at| u64::from(self.get(at, 4));
        let io = (
            u64::from(self.get(register::IO_BASE, 1) & 0xf0) << 8,
            u64::from(self.get(register::IO_BASE + 1, 1) & 0xf0) << 8 | 0xfff,
        );
        let memory = (
            (get16(register::MEMORY_BASE) & 0xfff0) << 16,
            (get16(register::MEMORY_BASE + 2) & 0xfff0) << 16 | 0xf_ffff,
        );
        let high = register::PREFETCHABLE_BASE_HIGH;
        let prefetchable = (
            get32(high) << 32 | (get16(register::PREFETCHABLE_BASE) & 0xfff0) << 16,
            get32(high + 4) << 32 | (get16(register::PREFETCHABLE_BASE + 2) & 0xfff0) << 16 | 0xf_ffff,
        );
        [io, memory, prefetchable]
    }

    // ---- interrupts

    /// Whether the function sends messages by table now.
    pub fn msix_enabled(&self) -> bool {
        self.layout.msix.is_some_and(|m| self.get16(m.at + 2) & MSIX_ENABLE != 0)
    }
    /// Whether the function sends messages now.
    pub fn msi_enabled(&self) -> bool {
        self.layout.msi.is_some_and(|(at, _)| self.get16(at + 2) & MSI_ENABLE != 0)
    }

    /// Sends message `vector`, or remembers it while it is masked. False when neither form of messages is on.
    pub fn signal(&mut self, vector: u16) -> bool {
        if let Some(msix) = self.layout.msix.filter(|_| self.msix_enabled()) {
            if vector < msix.vectors {
                self.set_pending(vector, true);
                self.send_pending(&msix, vector);
            }
            return true;
        }
        let Some((at, maskable)) = self.layout.msi.filter(|_| self.msi_enabled()) else { return false };
        // The function knows how many vectors the driver has given it, and folds the rest onto them.
        let granted = 1u16 << (self.get16(at + 2) >> 4 & 7).min(5);
        let vector = vector & (granted - 1);
        if maskable && self.get(at + 16, 4) >> vector & 1 != 0 {
            let pending = self.get(at + 20, 4) | 1 << vector;
            self.put(at + 20, 4, pending.into());
        } else {
            self.send_msi(at, vector);
        }
        true
    }

    fn send_msi(&self, at: usize, vector: u16) {
        let address = u64::from(self.get(at + 8, 4)) << 32 | u64::from(self.get(at + 4, 4));
        let granted = 1u32 << (self.get16(at + 2) >> 4 & 7).min(5);
        let data = self.get(at + 12, 2) & !(granted - 1) | u32::from(vector);
        self.post(address, data);
    }

    /// A message is a write to memory, and needs bus mastering as any other.
    fn post(&self, address: u64, data: u32) {
        if self.get16(register::COMMAND) & command::MASTER != 0
            && let Some(dma) = &self.dma
            && dma.write_u32(address, data).is_err()
        {
            base::guest_error!("pci: nothing takes the interrupt message {data:#x} at {address:#x}");
        }
    }

    fn set_pending(&mut self, vector: u16, on: bool) {
        if let Some(word) = self.regs.pending.get_mut(usize::from(vector) / 64) {
            let bit = 1 << (vector % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    fn send_pending(&mut self, msix: &MsixPlace, vector: u16) {
        let control = self.get16(msix.at + 2);
        let is_pending =
            self.regs.pending.get(usize::from(vector) / 64).is_some_and(|w| w >> (vector % 64) & 1 != 0);
        let at = 4 * usize::from(vector);
        if !is_pending || control & MSIX_ENABLE == 0 || control & MSIX_MASK_ALL != 0 {
            return;
        }
        let Some(&[low, high, data, masked]) = self.regs.table.get(at..at + 4) else { return };
        if masked & MASKED != 0 {
            return;
        }
        self.set_pending(vector, false);
        self.post(u64::from(high) << 32 | u64::from(low), data);
    }

    /// Forgets a message that has not been sent yet.
    pub fn forget(&mut self, vector: u16) {
        self.set_pending(vector, false);
    }

    /// Whether a message waits until it is unmasked.
    pub fn is_pending(&self, vector: u16) -> bool {
        self.regs.pending.get(usize::from(vector) / 64).is_some_and(|w| w >> (vector % 64) & 1 != 0)
    }

    /// Sets the level of the interrupt pin.
    pub fn set_intx(&mut self, level: bool) {
        self.regs.level = level;
        self.drive_intx();
    }

    fn drive_intx(&mut self) {
        let off = self.get16(register::COMMAND) & command::NO_INTX != 0
            || self.msi_enabled()
            || self.msix_enabled();
        if let Some(status) = self.regs.bytes.get_mut(register::STATUS) {
            *status = *status & !INTX_STATUS | if self.regs.level { INTX_STATUS } else { 0 };
        }
        self.irq.set(self.regs.level && !off);
    }

    // ---- hot plug

    /// The offset of the capability, if there is a slot that devices come to and go from.
    fn slot(&self) -> Option<usize> {
        self.layout.express.filter(|(_, express)| express.hotplug).map(|(at, _)| at)
    }

    /// What the driver has set for the slot.
    pub fn slot_control(&self) -> Option<SlotControl> {
        let control = self.get16(self.slot()? + 0x18);
        Some(SlotControl {
            powered: control & slot::POWER_OFF == 0,
            indicated: control & slot::POWER_INDICATOR_OFF != slot::POWER_INDICATOR_OFF,
        })
    }

    /// A device is in the slot, or none any more. `events` are told to the driver. The link comes and goes with it.
    pub fn set_slot(&mut self, present: bool, events: u16) {
        let Some((at, _)) = self.layout.express else { return };
        let link = self.get16(at + 0x12);
        let link = if present { link } else { link & !LINK | self.link_alone() };
        self.set16(at + 0x12, if present { link | 0x2000 } else { link & !0x2000 });
        if self.slot().is_some() {
            let status = self.get16(at + 0x1a) & !slot::PRESENT | if present { slot::PRESENT } else { 0 };
            self.set16(at + 0x1a, status);
            self.slot_event(events);
        }
    }

    /// The link to the device in the slot: no wider and no faster than either end (lanes and speed).
    pub fn set_link(&mut self, (width, speed): (u8, u8)) {
        let Some((at, own)) = self.layout.express else { return };
        let (width, speed) = (width.min(own.link.0), speed.min(own.link.1));
        let status = self.get16(at + 0x12) & !LINK | u16::from(width) << 4 | u16::from(speed);
        self.set16(at + 0x12, status);
    }

    /// Width and speed that the status of a link shows while nothing is at its other end.
    fn link_alone(&self) -> u16 {
        let Some((at, _)) = self.layout.express else { return 0 };
        let bytes = self.layout.initial.get(at + 0x12..at + 0x14).and_then(|b| b.try_into().ok());
        u16::from_le_bytes(bytes.unwrap_or_default()) & LINK
    }

    /// The machine starts with a device in the slot, and its power is on. As in QEMU the indicator is not.
    pub fn power_slot(&mut self) {
        if let Some(at) = self.slot() {
            let control = self.get16(at + 0x18) & !slot::POWER_OFF;
            self.set16(at + 0x18, control);
        }
    }

    /// Tells the driver of something that has happened at the slot.
    pub fn slot_event(&mut self, events: u16) {
        let Some(at) = self.slot() else { return };
        let status = self.get16(at + 0x1a) | events;
        self.set16(at + 0x1a, status);
        self.slot_interrupt(at, events != 0);
    }

    fn slot_interrupt(&mut self, at: usize, news: bool) {
        let (control, status) = (self.get16(at + 0x18), self.get16(at + 0x1a));
        // Each event has its enable bit at the same place.
        let wanted = control & slot::INTERRUPT_ENABLE != 0 && control & status & 0x1f != 0;
        let message = self.get16(at + 2) >> 9 & 0x1f;
        if self.msix_enabled() || self.msi_enabled() {
            if wanted && news {
                self.signal(message);
            }
        } else {
            self.set_intx(wanted);
        }
    }

    /// The configuration registers have been written: what follows inside of them.
    fn after_write(&mut self, before: &Before) -> Effect {
        if let Some(msix) = self.layout.msix
            && before.msix != Some(self.get16(msix.at + 2))
        {
            (0..msix.vectors).for_each(|vector| self.send_pending(&msix, vector));
        }
        if let Some((at, true)) = self.layout.msi {
            let waiting = self.get(at + 20, 4) & !self.get(at + 16, 4);
            if waiting != 0 && self.msi_enabled() {
                let left = self.get(at + 20, 4) & !waiting;
                self.put(at + 20, 4, left.into());
                (0..32).filter(|v| waiting >> v & 1 != 0).for_each(|v| self.send_msi(at, v));
            }
        }
        if let Some(at) = self.slot() {
            let control = self.get16(at + 0x18);
            if before.commanded || before.slot != Some((control, self.get16(at + 0x1a))) {
                // Commands are carried out at once, those that change nothing too.
                let done = before.commanded;
                if done {
                    let status = self.get16(at + 0x1a) | slot::COMMAND_DONE;
                    self.set16(at + 0x1a, status);
                }
                let newly = before.slot.is_some_and(|(c, _)| c & slot::INTERRUPT_ENABLE == 0);
                self.slot_interrupt(at, done || newly);
            }
        }
        self.drive_intx();
        let mut effect = Effect::None;
        if self.decoded() != before.decoded {
            effect = self.later(|function| function.update());
        }
        if before.slot.is_some_and(|(c, _)| Some(c) != self.slot().map(|at| self.get16(at + 0x18))) {
            effect = effect.and(self.later(|function| function.slot_changed()));
        }
        if let Some((at, express)) = self.layout.express
            && self.get16(at + 8) & FUNCTION_RESET != 0
        {
            let control = self.get16(at + 8) & !FUNCTION_RESET;
            self.set16(at + 8, control);
            if express.resettable && !matches!(express.port, PortType::RootPort | PortType::Downstream) {
                effect = effect.and(self.later(|function| function.reset()));
            }
        }
        let control = self.get16(register::BRIDGE_CONTROL);
        if self.layout.bridge && before.bridge & BUS_RESET == 0 && control & BUS_RESET != 0 {
            effect = effect.and(self.later(|function| function.reset_secondary()));
        }
        effect
    }

    fn later(&self, work: fn(&std::sync::Arc<Function>)) -> Effect {
        let function = self.function.clone();
        Effect::change_layout(move || {
            if let Some(function) = function.upgrade() {
                work(&function);
            }
        })
    }

    fn before(&self) -> Before {
        Before {
            decoded: self.decoded(),
            msix: self.layout.msix.map(|m| self.get16(m.at + 2)),
            slot: self.slot().map(|at| (self.get16(at + 0x18), self.get16(at + 0x1a))),
            bridge: self.get16(register::BRIDGE_CONTROL),
            commanded: false,
        }
    }

    fn write_config(&mut self, offset: u64, size: u32, value: u64) -> Effect {
        let control = self.slot().map_or(0..0, |at| at as u64 + 0x18..at as u64 + 0x1a);
        let commanded = offset < control.end && offset + u64::from(size) > control.start;
        let before = Before { commanded, ..self.before() };
        let resets = self.layout.express.filter(|(_, e)| e.resettable).map(|(at, _)| at + 9);
        for (n, new) in value.to_le_bytes().into_iter().take(size as usize).enumerate() {
            let at = offset as usize + n;
            let mut allowed = self.layout.writable.get(at).copied().unwrap_or(0);
            if resets == Some(at) {
                // The bit that resets the function is taken, acted upon and cleared.
                allowed |= (FUNCTION_RESET >> 8) as u8;
            }
            let cleared = self.layout.clearable.get(at).copied().unwrap_or(0) & new;
            if let Some(byte) = self.regs.bytes.get_mut(at) {
                *byte = (*byte & !allowed | new & allowed) & !cleared;
            }
        }
        self.after_write(&before)
    }

    fn write_table(&mut self, offset: u64, value: u32) {
        let at = (offset / 4) as usize;
        let Some(word) = self.regs.table.get_mut(at) else { return };
        *word = match at % 4 {
            0 => value & !3,
            3 => value & MASKED,
            _ => value,
        };
        if let Some(msix) = self.layout.msix {
            self.send_pending(&msix, (at / 4) as u16);
        }
    }
}

/// What a write may change and others have to hear of.
struct Before {
    decoded: Decoded,
    msix: Option<u16>,
    slot: Option<(u16, u16)>,
    bridge: u16,
    /// The slot's control register is written.
    commanded: bool,
}

impl Device for ConfigSpace {
    fn read(&mut self, region: usize, offset: u64, size: u32) -> u64 {
        let at = (offset / 4) as usize;
        match region {
            window::CONFIG => u64::from(self.get(offset as usize, size as usize)),
            window::TABLE => self.regs.table.get(at).copied().unwrap_or(0).into(),
            _ => self.regs.pending.get(at / 2).map_or(0, |word| word >> (32 * (at % 2)) & 0xffff_ffff),
        }
    }

    fn write(&mut self, region: usize, offset: u64, size: u32, value: u64) -> Effect {
        match region {
            window::CONFIG => return self.write_config(offset, size, value),
            window::TABLE => self.write_table(offset, value as u32),
            // Pending bits are the function's.
            _ => {}
        }
        Effect::None
    }

    fn reset(&mut self) {
        let present = self.slot().is_some_and(|at| self.get16(at + 0x1a) & slot::PRESENT != 0);
        let link = self.layout.express.map(|(at, _)| self.get16(at + 0x12) & LINK);
        self.reset_state();
        if present {
            self.set_slot(true, 0);
            self.set_link(link.map_or((1, 1), |link| ((link >> 4) as u8, link as u8 & 0xf)));
            self.power_slot();
        }
        self.drive_intx();
        let function = self.function.clone();
        object::defer(move || {
            if let Some(function) = function.upgrade() {
                function.update();
            }
        });
    }

    fn reset_state(&mut self) {
        let vectors = self.vectors();
        self.regs = Registers {
            bytes: self.layout.initial.clone(),
            table: [0, 0, 0, MASKED].repeat(vectors),
            pending: vec![0; vectors.div_ceil(64)],
            level: false,
        };
    }

    fn loaded(&mut self) -> Result<(), String> {
        let vectors = self.vectors();
        if self.regs.bytes.len() != self.layout.initial.len()
            || self.regs.table.len() != 4 * vectors
            || self.regs.pending.len() != vectors.div_ceil(64)
        {
            return Err("the configuration space has another shape".into());
        }
        // What cannot be written is what this function is: a stream of another function does not change it.
        let fixed = self.layout.initial.iter().zip(&self.layout.writable).zip(&self.regs.bytes);
        let header = |at: usize| at < 4 || (8..12).contains(&at) || at == register::HEADER_TYPE;
        if fixed.enumerate().any(|(at, ((initial, _), byte))| header(at) && initial != byte) {
            return Err("the configuration space is that of another function".into());
        }
        self.irq.refresh(false);
        self.drive_intx();
        let function = self.function.clone();
        object::defer(move || {
            if let Some(function) = function.upgrade() {
                function.update();
            }
        });
        Ok(())
    }
}
