//! The advanced platform-level interrupt controller: "riscv.aplic", one for each interrupt domain.
//!
//! Document: RISC-V Advanced Interrupt Architecture 1.0, chapter 4. A board has a domain of machine level, which may
//! delegate sources to its child of supervisor level. A domain delivers to harts itself, or as messages to their
//! incoming MSI controllers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base::Bits;
use memory::Dma;
use object::{Device, Effect, Line};
use state::State;

/// Offsets of registers (4.5).
mod register {
    pub const DOMAINCFG: u64 = 0x0000;
    pub const SOURCECFG: u64 = 0x0004;
    pub const SOURCECFG_END: u64 = 0x1000;
    pub const MMSIADDRCFG: u64 = 0x1bc0;
    pub const MMSIADDRCFGH: u64 = 0x1bc4;
    pub const SMSIADDRCFG: u64 = 0x1bc8;
    pub const SMSIADDRCFGH: u64 = 0x1bcc;
    pub const SETIP: u64 = 0x1c00;
    pub const SETIPNUM: u64 = 0x1cdc;
    pub const IN_CLRIP: u64 = 0x1d00;
    pub const CLRIPNUM: u64 = 0x1ddc;
    pub const SETIE: u64 = 0x1e00;
    pub const SETIENUM: u64 = 0x1edc;
    pub const CLRIE: u64 = 0x1f00;
    pub const CLRIENUM: u64 = 0x1fdc;
    pub const SETIPNUM_LE: u64 = 0x2000;
    pub const SETIPNUM_BE: u64 = 0x2004;
    pub const GENMSI: u64 = 0x3000;
    pub const TARGET: u64 = 0x3004;
    pub const TARGET_END: u64 = 0x4000;
    pub const IDC: u64 = 0x4000;
    /// Bytes of the registers of sets.
    pub const SET: u64 = 0x80;
}

/// Registers of a hart in direct delivery (4.8.1), and their stride.
mod idc {
    pub const STRIDE: u64 = 32;
    pub const IDELIVERY: u64 = 0x00;
    pub const IFORCE: u64 = 0x04;
    pub const ITHRESHOLD: u64 = 0x08;
    pub const TOPI: u64 = 0x18;
    pub const CLAIMI: u64 = 0x1c;
}

/// domaincfg: the bits that read as they do, interrupts enabled, delivery by messages.
const DOMAIN: u32 = 0x8000_0000;
const DOMAIN_ENABLE: u32 = 1 << 8;
const DOMAIN_MESSAGES: u32 = 1 << 2;
/// sourcecfg: delegated to a child.
const DELEGATED: u32 = 1 << 10;
/// mmsiaddrcfgh: the addresses cannot be changed any more.
const LOCKED: u32 = 1 << 31;
/// What can be written of mmsiaddrcfgh and smsiaddrcfgh.
const MACHINE_HIGH: u32 = 0x1f77_7fff | LOCKED;
const SUPERVISOR_HIGH: u32 = 0x0070_0fff;

/// What the source's wire means (4.5.2); 1 is that it means nothing.
mod mode {
    pub const EDGE1: u32 = 4;
    pub const EDGE0: u32 = 5;
    pub const LEVEL1: u32 = 6;
    pub const LEVEL0: u32 = 7;
}

/// Where messages go: the root domain's registers, which its children use too.
#[derive(Debug, Default)]
pub struct MessageAddresses {
    machine: AtomicU64,
    supervisor: AtomicU64,
}

/// What is saved of one hart's structure.
#[derive(Clone, Debug, Default, State)]
#[state(name = "aplic-idc")]
struct Idc {
    delivery: u32,
    force: u32,
    threshold: u32,
}

/// The registers. Bit N of a set is source N.
#[derive(Clone, Debug, Default, State)]
#[state(name = "riscv_aplic")]
pub struct Registers {
    domaincfg: u32,
    sourcecfg: Vec<u32>,
    target: Vec<u32>,
    pending: Vec<u32>,
    enabled: Vec<u32>,
    /// The wires as they are.
    level: Vec<u32>,
    genmsi: u32,
    idcs: Vec<Idc>,
    machine_address: u64,
    supervisor_address: u64,
}

/// The device.
#[derive(Device)]
#[device(name = "riscv.aplic", parent = "sys-bus-device", bus = "System", category = "misc", inputs = self.inputs())]
#[mmio(name = "riscv.aplic", size = self.aperture_size, access = 4..=4)]
pub struct Aplic {
    /// Size of the window.
    #[property(name = "aperture-size")]
    pub aperture_size: u32,
    /// Id of the first hart.
    #[property(name = "hartid-base")]
    pub hartid_base: u32,
    /// Harts to which it delivers by itself.
    #[property(name = "num-harts")]
    pub num_harts: u32,
    /// Priorities that exist.
    #[property(name = "iprio-mask")]
    pub iprio_mask: u32,
    /// Number of sources, source 0 (which does not exist) included.
    #[property(name = "num-irqs")]
    pub num_irqs: u32,
    /// Delivers by messages.
    #[property]
    pub msimode: bool,
    /// Is the root, of machine level.
    #[property]
    pub mmode: bool,
    /// One output for each hart.
    #[wire(name = "")]
    external: Vec<Line>,
    /// Sources that are delegated.
    child: Vec<Line>,
    addresses: Arc<MessageAddresses>,
    dma: Option<Dma>,
    #[state]
    regs: Registers,
}

/// Does something with a source.
type Act = fn(&mut Aplic, usize);

fn get(set: &[u32], n: usize) -> bool {
    set.get(n / 32).is_some_and(|word| word.bit(n as u32 % 32))
}

fn put(set: &mut [u32], n: usize, on: bool) {
    if let Some(word) = set.get_mut(n / 32) {
        *word = word.with_bit(n as u32 % 32, on);
    }
}

impl Aplic {
    /// A domain. `num_harts` 0 makes one that delivers by messages, through `dma`.
    pub fn new(mmode: bool, num_harts: u32, num_irqs: u32, dma: Option<Dma>) -> Self {
        let mut device = Self {
            aperture_size: 0x8000,
            num_harts,
            iprio_mask: 7,
            num_irqs,
            msimode: num_harts == 0,
            mmode,
            external: vec![Line::unconnected(); num_harts as usize],
            dma,
            ..Self::default()
        };
        device.reset_state();
        device
    }

    /// Makes this the parent of a domain: sources it delegates come to these inputs, one for each number.
    pub fn set_child(&mut self, inputs: Vec<Line>) {
        self.child = inputs;
    }
    /// Where the root's messages go.
    pub fn addresses(&self) -> Arc<MessageAddresses> {
        self.addresses.clone()
    }
    /// Uses the root's addresses.
    pub fn set_addresses(&mut self, addresses: Arc<MessageAddresses>) {
        self.addresses = addresses;
    }

    fn inputs(&self) -> u32 {
        // Those of a child come from its parent.
        if self.mmode { self.num_irqs } else { 0 }
    }

    /// A source that exists.
    fn source(&self, n: u64) -> Option<usize> {
        (n > 0 && n < u64::from(self.num_irqs)).then_some(n as usize)
    }

    /// What a source's wire means, 0 if it is inactive or delegated.
    fn mode(&self, n: usize) -> u32 {
        match self.regs.sourcecfg.get(n) {
            Some(config) if config & DELEGATED == 0 => config & 7,
            _ => 0,
        }
    }

    /// The wire, inverted where the source is active when it is low.
    fn rectified(&self, n: usize) -> bool {
        let level = get(&self.regs.level, n);
        match self.mode(n) {
            mode::EDGE1 | mode::LEVEL1 => level,
            mode::EDGE0 | mode::LEVEL0 => !level,
            _ => false,
        }
    }

    fn is_level(&self, n: usize) -> bool {
        matches!(self.mode(n), mode::LEVEL1 | mode::LEVEL0)
    }

    /// A domain delivers in the one way that it is made for.
    fn messages(&self) -> bool {
        self.msimode
    }

    /// Software sets or clears a pending bit (4.7).
    fn set_pending(&mut self, n: usize, on: bool) {
        if self.mode(n) == 0 {
            return;
        }
        if self.is_level(n) {
            // The bit follows the wire; with messages it can be cleared, and set again while the wire is active.
            if !self.messages() || on && !self.rectified(n) {
                return;
            }
        }
        put(&mut self.regs.pending, n, on);
    }

    fn set_enabled(&mut self, n: usize, on: bool) {
        if self.mode(n) != 0 {
            put(&mut self.regs.enabled, n, on);
        }
    }

    /// The wire has this level now.
    fn wire_changed(&mut self, n: usize, level: bool) {
        let before = self.rectified(n);
        put(&mut self.regs.level, n, level);
        if self.regs.sourcecfg.get(n).is_some_and(|config| config & DELEGATED != 0) {
            if let Some(line) = self.child.get(n) {
                line.set(level);
            }
            return;
        }
        let now = self.rectified(n);
        if now && !before {
            put(&mut self.regs.pending, n, true);
        } else if !now && self.is_level(n) {
            put(&mut self.regs.pending, n, false);
        }
        self.deliver(n);
    }

    fn write_sourcecfg(&mut self, n: usize, value: u32) {
        let value = match value & DELEGATED != 0 {
            true if self.child.is_empty() => 0,
            // There is one child.
            true => DELEGATED,
            false => match value & 7 {
                2 | 3 => 0,
                mode => mode,
            },
        };
        if let Some(config) = self.regs.sourcecfg.get_mut(n) {
            *config = value;
        }
        let level = get(&self.regs.level, n);
        if let Some(line) = self.child.get(n) {
            line.set(value & DELEGATED != 0 && level);
        }
        if value & 7 == 0 || value & DELEGATED != 0 {
            put(&mut self.regs.enabled, n, false);
            put(&mut self.regs.pending, n, false);
            if let Some(target) = self.regs.target.get_mut(n) {
                *target = 0;
            }
        } else if self.rectified(n) {
            put(&mut self.regs.pending, n, true);
        } else if self.is_level(n) {
            put(&mut self.regs.pending, n, false);
        }
    }

    /// The interrupt to be taken by a hart: its number and priority (4.8.1.5).
    fn top(&self, hart: usize) -> (u32, u32) {
        let Some(idc) = self.regs.idcs.get(hart) else { return (0, 0) };
        let mut best = (0, u32::MAX);
        let both = self.regs.pending.iter().zip(&self.regs.enabled).enumerate();
        for (word, (pending, enabled)) in both {
            let mut left = pending & enabled;
            while left != 0 {
                let n = 32 * word + left.trailing_zeros() as usize;
                left &= left - 1;
                let target = self.regs.target.get(n).copied().unwrap_or(0);
                let priority = target & 0xff;
                let wanted = target >> 18 == hart as u32 && priority < best.1;
                if wanted && (idc.threshold == 0 || priority < idc.threshold) {
                    best = (n as u32, priority);
                }
            }
        }
        if best.0 == 0 { (0, 0) } else { best }
    }

    fn update_hart(&self, hart: usize) {
        let (Some(line), Some(idc)) = (self.external.get(hart), self.regs.idcs.get(hart)) else { return };
        let enabled = self.regs.domaincfg & DOMAIN_ENABLE != 0 && idc.delivery == 1;
        line.set(enabled && (idc.force != 0 || self.top(hart).0 != 0));
    }

    /// Source `n` may have become pending or enabled, or stopped being so.
    fn deliver(&mut self, n: usize) {
        if self.messages() {
            self.send(n);
        } else {
            let hart = self.regs.target.get(n).map_or(0, |target| target >> 18);
            self.update_hart(hart as usize);
        }
    }

    fn deliver_all(&mut self) {
        if self.messages() {
            (1..self.num_irqs as usize).for_each(|n| self.send(n));
        } else {
            (0..self.external.len()).for_each(|hart| self.update_hart(hart));
        }
    }

    /// Sends the message of a source that is pending and enabled, and forgets that it was (4.9).
    fn send(&mut self, n: usize) {
        let ready = get(&self.regs.pending, n) && get(&self.regs.enabled, n);
        if ready && self.regs.domaincfg & DOMAIN_ENABLE != 0 {
            put(&mut self.regs.pending, n, false);
            let target = self.regs.target.get(n).copied().unwrap_or(0);
            self.post(target >> 18, target >> 12 & 0x3f, target & 0x7ff);
        }
    }

    /// Writes an interrupt's identity to the file of a hart (4.9.1).
    fn post(&self, hart: u32, guest: u32, identity: u32) {
        let machine = self.addresses.machine.load(Relaxed);
        let supervisor = self.addresses.supervisor.load(Relaxed);
        let high = (machine >> 32) as u32;
        let (hart_bits, group_bits, group_shift) = (high.bits(12, 4), high.bits(16, 3), high.bits(24, 5));
        let (low, shift, guest) = match self.mmode {
            true => (machine, high.bits(20, 3), 0),
            false => (supervisor, ((supervisor >> 32) as u32).bits(20, 3), guest),
        };
        let base = (low >> 32 & 0xfff) << 32 | low & 0xffff_ffff;
        let hart = u64::from(hart);
        let group = hart >> hart_bits & ((1 << group_bits) - 1);
        let within = hart & ((1 << hart_bits) - 1);
        let page = base | group << (group_shift + 12) | within << shift | u64::from(guest);
        if let Some(dma) = &self.dma
            && dma.write_u32(page << 12, identity).is_err()
        {
            base::guest_error!("riscv.aplic: nothing takes the message at {:#x}", page << 12);
        }
    }

    fn word(set: &[u32], offset: u64, base: u64) -> u64 {
        set.get(((offset - base) / 4) as usize).copied().unwrap_or(0).into()
    }

    /// Does something with each source whose bit is set.
    fn each(&mut self, offset: u64, base: u64, value: u64, act: Act) {
        let first = (offset - base) * 8;
        for bit in (0..32).filter(|bit| value >> bit & 1 != 0) {
            self.one(first + bit, act);
        }
    }

    fn one(&mut self, n: u64, act: Act) {
        if let Some(n) = self.source(n) {
            act(self, n);
            self.deliver(n);
        }
    }

    fn read_idc(&mut self, offset: u64) -> u64 {
        let hart = (offset / idc::STRIDE) as usize;
        let (id, priority) = self.top(hart);
        let top = id << 16 | priority;
        let Some(idc) = self.regs.idcs.get_mut(hart) else { return 0 };
        match offset % idc::STRIDE {
            idc::IDELIVERY => idc.delivery.into(),
            idc::IFORCE => idc.force.into(),
            idc::ITHRESHOLD => idc.threshold.into(),
            idc::TOPI => top.into(),
            idc::CLAIMI => {
                if id == 0 {
                    idc.force = 0;
                } else {
                    self.set_pending(id as usize, false);
                }
                self.update_hart(hart);
                top.into()
            }
            _ => 0,
        }
    }

    fn write_idc(&mut self, offset: u64, value: u32) {
        let hart = (offset / idc::STRIDE) as usize;
        let mask = self.iprio_mask;
        let Some(idc) = self.regs.idcs.get_mut(hart) else { return };
        match offset % idc::STRIDE {
            idc::IDELIVERY => idc.delivery = value & 1,
            idc::IFORCE => idc.force = value & 1,
            idc::ITHRESHOLD => idc.threshold = value & mask,
            _ => {}
        }
        self.update_hart(hart);
    }

    fn write_target(&mut self, n: usize, value: u32) {
        if self.mode(n) == 0 {
            return;
        }
        let kept = if self.messages() {
            value & 0xffff_f7ff
        } else {
            // A priority of 0 does not exist.
            value & !0x3_ffff | (value & self.iprio_mask).max(1)
        };
        let old = self.regs.target.get(n).map_or(0, |target| target >> 18);
        if let Some(target) = self.regs.target.get_mut(n) {
            *target = kept;
        }
        self.deliver(n);
        self.update_hart(old as usize);
    }

    fn write_address(&mut self, offset: u64, value: u32) {
        if !self.mmode || self.regs.machine_address >> 32 & u64::from(LOCKED) != 0 {
            return;
        }
        let replace = |old: u64, high: bool, value: u32| match high {
            true => old & 0xffff_ffff | u64::from(value) << 32,
            false => old >> 32 << 32 | u64::from(value),
        };
        let (machine, supervisor) = (self.regs.machine_address, self.regs.supervisor_address);
        match offset {
            register::MMSIADDRCFG => self.regs.machine_address = replace(machine, false, value),
            register::MMSIADDRCFGH => {
                self.regs.machine_address = replace(machine, true, value & MACHINE_HIGH)
            }
            register::SMSIADDRCFG => self.regs.supervisor_address = replace(supervisor, false, value),
            _ => self.regs.supervisor_address = replace(supervisor, true, value & SUPERVISOR_HIGH),
        }
        self.share_addresses();
    }

    fn share_addresses(&self) {
        if self.mmode {
            self.addresses.machine.store(self.regs.machine_address, Relaxed);
            self.addresses.supervisor.store(self.regs.supervisor_address, Relaxed);
        }
    }
}

impl Device for Aplic {
    fn read(&mut self, _: usize, offset: u64, _: u32) -> u64 {
        let regs = &self.regs;
        let in_set = |base: u64| (base..base + register::SET).contains(&offset);
        match offset {
            register::DOMAINCFG => {
                let messages = if self.msimode { DOMAIN_MESSAGES } else { 0 };
                (regs.domaincfg | DOMAIN | messages).into()
            }
            register::SOURCECFG..register::SOURCECFG_END => {
                regs.sourcecfg.get((offset / 4) as usize).copied().unwrap_or(0).into()
            }
            register::MMSIADDRCFG if self.mmode => regs.machine_address & 0xffff_ffff,
            register::MMSIADDRCFGH if self.mmode => regs.machine_address >> 32,
            register::SMSIADDRCFG if self.mmode => regs.supervisor_address & 0xffff_ffff,
            register::SMSIADDRCFGH if self.mmode => regs.supervisor_address >> 32,
            register::GENMSI if self.messages() => regs.genmsi.into(),
            register::TARGET..register::TARGET_END => {
                regs.target.get(((offset - register::TARGET) / 4 + 1) as usize).copied().unwrap_or(0).into()
            }
            _ if offset >= register::IDC => self.read_idc(offset - register::IDC),
            _ if in_set(register::SETIP) => Self::word(&regs.pending, offset, register::SETIP),
            _ if in_set(register::SETIE) => Self::word(&regs.enabled, offset, register::SETIE),
            _ if in_set(register::IN_CLRIP) => {
                let first = ((offset - register::IN_CLRIP) * 8) as usize;
                (0..32).filter(|bit| self.rectified(first + bit)).fold(0, |all, bit| all | 1 << bit)
            }
            _ => 0,
        }
    }

    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        let word = value as u32;
        let in_set = |base: u64| (base..base + register::SET).contains(&offset);
        let (set, clear): (Act, Act) = (|a, n| a.set_pending(n, true), |a, n| a.set_pending(n, false));
        let (enable, disable): (Act, Act) = (|a, n| a.set_enabled(n, true), |a, n| a.set_enabled(n, false));
        match offset {
            register::DOMAINCFG => {
                self.regs.domaincfg = word & DOMAIN_ENABLE;
                self.deliver_all();
            }
            register::SOURCECFG..register::SOURCECFG_END => {
                if let Some(n) = self.source(offset / 4) {
                    self.write_sourcecfg(n, word);
                    self.deliver_all();
                }
            }
            register::MMSIADDRCFG..=register::SMSIADDRCFGH => self.write_address(offset, word),
            register::SETIPNUM | register::SETIPNUM_LE => self.one(value, set),
            register::SETIPNUM_BE => self.one(word.swap_bytes().into(), set),
            register::CLRIPNUM => self.one(value, clear),
            register::SETIENUM => self.one(value, enable),
            register::CLRIENUM => self.one(value, disable),
            register::GENMSI if self.messages() => {
                self.regs.genmsi = word & 0xfffc_07ff;
                self.post(word >> 18, 0, word & 0x7ff);
            }
            register::TARGET..register::TARGET_END => {
                if let Some(n) = self.source((offset - register::TARGET) / 4 + 1) {
                    self.write_target(n, word);
                }
            }
            _ if offset >= register::IDC => self.write_idc(offset - register::IDC, word),
            _ if in_set(register::SETIP) => self.each(offset, register::SETIP, value, set),
            _ if in_set(register::IN_CLRIP) => self.each(offset, register::IN_CLRIP, value, clear),
            _ if in_set(register::SETIE) => self.each(offset, register::SETIE, value, enable),
            _ if in_set(register::CLRIE) => self.each(offset, register::CLRIE, value, disable),
            _ => base::guest_error!("riscv.aplic: write of {value:#x} to {offset:#x} means nothing"),
        }
        Effect::None
    }

    fn input(&mut self, line: usize, level: bool) {
        if line < self.num_irqs as usize {
            self.wire_changed(line, level);
        }
    }

    fn reset(&mut self) {
        let level = std::mem::take(&mut self.regs.level);
        self.reset_state();
        // Wires are what they are.
        self.regs.level = level;
        self.child.iter().for_each(Line::lower);
        self.share_addresses();
        (0..self.external.len()).for_each(|hart| self.update_hart(hart));
    }

    fn reset_state(&mut self) {
        let (count, words) = (self.num_irqs as usize, self.num_irqs.div_ceil(32) as usize);
        self.regs = Registers {
            sourcecfg: vec![0; count],
            target: vec![0; count],
            pending: vec![0; words],
            enabled: vec![0; words],
            level: vec![0; words],
            idcs: vec![Idc::default(); self.num_harts as usize],
            ..Registers::default()
        };
    }

    fn loaded(&mut self) -> Result<(), String> {
        let (count, words) = (self.num_irqs as usize, self.num_irqs.div_ceil(32) as usize);
        let regs = &self.regs;
        let sets = [&regs.pending, &regs.enabled, &regs.level];
        if [&regs.sourcecfg, &regs.target].iter().any(|list| list.len() != count)
            || sets.iter().any(|set| set.len() != words)
            || regs.idcs.len() != self.num_harts as usize
        {
            return Err("the domain has another number of sources or harts".into());
        }
        self.share_addresses();
        (0..self.external.len()).for_each(|hart| self.update_hart(hart));
        Ok(())
    }
}

#[cfg(test)]
#[path = "riscv_aplic_test.rs"]
mod test;
