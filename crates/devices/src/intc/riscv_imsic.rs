//! The incoming MSI controller: "riscv.imsic", one for each hart and privilege level.
//!
//! Document: RISC-V Advanced Interrupt Architecture 1.0, chapter 3. Each page of the register window is an interrupt
//! file: the first the hart's own, the others those of guests. A write of a number to a page makes that interrupt
//! pending. The hart reaches its file through CSRs: [`Imsic::read_file`] and the other functions.

use base::Bits;
use object::{Device, Effect, Line};
use state::State;

/// Bytes of a page.
const PAGE: u64 = 0x1000;
/// Registers of a page.
mod register {
    pub const SETEIPNUM_LE: u64 = 0;
    pub const SETEIPNUM_BE: u64 = 4;
}

/// Registers of an interrupt file, by the numbers that `miselect` and `siselect` have for them (3.8).
pub mod select {
    #![allow(missing_docs)]
    pub const EIDELIVERY: u64 = 0x70;
    pub const EITHRESHOLD: u64 = 0x72;
    pub const EIP0: u64 = 0x80;
    pub const EIE0: u64 = 0xc0;
    pub const END: u64 = 0x100;
}

/// One interrupt file. Bit N of a set is interrupt N.
#[derive(Clone, Debug, Default, State)]
#[state(name = "imsic-file")]
struct File {
    delivery: u32,
    threshold: u32,
    pending: Vec<u64>,
    enabled: Vec<u64>,
}

/// The files.
#[derive(Clone, Debug, Default, State)]
#[state(name = "riscv_imsic")]
pub struct Registers {
    files: Vec<File>,
}

/// The device.
#[derive(Device)]
#[device(name = "riscv.imsic", parent = "sys-bus-device", bus = "System", category = "misc")]
#[mmio(name = "riscv.imsic", size = PAGE * u64::from(self.num_pages), access = 4..=4)]
pub struct Imsic {
    /// For machine mode; else for supervisor mode.
    #[property]
    pub mmode: bool,
    /// Id of the hart.
    #[property]
    pub hartid: u32,
    /// Number of files.
    #[property(name = "num-pages")]
    pub num_pages: u32,
    /// Number of interrupts, number 0 (which does not exist) included.
    #[property(name = "num-irqs")]
    pub num_irqs: u32,
    /// One output for each file.
    #[wire(name = "")]
    external: Vec<Line>,
    #[state]
    regs: Registers,
}

impl Imsic {
    /// The controller of a hart.
    pub fn new(mmode: bool, hartid: u32, num_pages: u32, num_irqs: u32) -> Self {
        let external = vec![Line::unconnected(); num_pages as usize];
        let mut device = Self { mmode, hartid, num_pages, num_irqs, external, ..Self::default() };
        device.reset_state();
        device
    }

    fn words(&self) -> usize {
        self.num_irqs.div_ceil(64) as usize
    }

    fn top(&self, page: usize) -> u32 {
        let Some(file) = self.regs.files.get(page) else { return 0 };
        let both = file.pending.iter().zip(&file.enabled).enumerate();
        let first = both.map(|(n, (p, e))| (n, p & e)).find(|(_, word)| *word != 0);
        let id = first.map_or(0, |(n, word)| 64 * n as u32 + word.trailing_zeros());
        if file.threshold == 0 || id < file.threshold { id } else { 0 }
    }

    fn update(&self, page: usize) {
        let delivers = self.regs.files.get(page).is_some_and(|file| file.delivery == 1);
        if let Some(line) = self.external.get(page) {
            line.set(delivers && self.top(page) != 0);
        }
    }

    fn set_pending(&mut self, page: usize, id: u32, on: bool) {
        if id == 0 || id >= self.num_irqs {
            return;
        }
        if let Some(word) = self.regs.files.get_mut(page).and_then(|f| f.pending.get_mut(id as usize / 64)) {
            *word = word.with_bit(id % 64, on);
        }
        self.update(page);
    }

    fn is_pending(&self, page: usize, id: u32) -> bool {
        let word = self.regs.files.get(page).and_then(|f| f.pending.get(id as usize / 64));
        word.is_some_and(|word| word.bit(id % 64))
    }

    /// The interrupt that the hart is to take, and its priority: the value of `mtopei` or `stopei`.
    pub fn external_top(&self) -> u64 {
        let id = u64::from(self.top(0));
        // A lower number has priority: it is its own.
        id << 16 | id
    }

    /// The hart takes interrupt `id`, or the one on top now if that is not pending any more.
    pub fn claim(&mut self, id: u32) {
        let id = if self.is_pending(0, id) { id } else { self.top(0) };
        self.set_pending(0, id, false);
    }

    /// The word that holds register `select`, and where in it the register begins; the first interrupt does not exist.
    fn place(&self, select: u64, base: u64, xlen: u32) -> Option<(usize, u32, u64)> {
        let n = select.checked_sub(base)?;
        if xlen == 64 && !n.is_multiple_of(2) {
            return None;
        }
        let half = if xlen == 32 && n % 2 == 1 { 32 } else { 0 };
        let mask = if xlen == 32 { 0xffff_ffff } else { u64::MAX };
        let mask = if n == 0 { mask & !1 } else { mask };
        Some(((n / 2) as usize, half, mask))
    }

    /// Reads a register of the hart's file, of `xlen` bits; `None` if there is none of that number.
    pub fn read_file(&self, select: u64, xlen: u32) -> Option<u64> {
        let file = self.regs.files.first()?;
        let set = |set: &[u64], base| {
            let (word, half, mask) = self.place(select, base, xlen)?;
            Some(set.get(word).map_or(0, |word| word >> half & mask))
        };
        match select {
            select::EIDELIVERY => Some(file.delivery.into()),
            select::EITHRESHOLD => Some(file.threshold.into()),
            select::EIP0..select::EIE0 => set(&file.pending, select::EIP0),
            select::EIE0..select::END => set(&file.enabled, select::EIE0),
            _ => None,
        }
    }

    /// Sets and clears bits of a register of the hart's file.
    pub fn write_file(&mut self, select: u64, xlen: u32, set: u64, clear: u64) {
        let last = self.num_irqs.next_power_of_two() - 1;
        let which = match select {
            select::EIP0..select::EIE0 => self.place(select, select::EIP0, xlen),
            select::EIE0..select::END => self.place(select, select::EIE0, xlen),
            _ => None,
        };
        let Some(file) = self.regs.files.first_mut() else { return };
        let apply = |old: u32| ((u64::from(old) & !clear) | set) as u32;
        match (select, which) {
            (select::EIDELIVERY, _) => file.delivery = apply(file.delivery) & 1,
            (select::EITHRESHOLD, _) => file.threshold = apply(file.threshold) & last,
            (_, Some((word, half, mask))) => {
                let target = if select < select::EIE0 { &mut file.pending } else { &mut file.enabled };
                if let Some(word) = target.get_mut(word) {
                    *word = *word & !((clear & mask) << half) | (set & mask) << half;
                }
            }
            _ => {}
        }
        self.update(0);
    }
}

impl Device for Imsic {
    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        let (page, register) = ((offset / PAGE) as usize, offset % PAGE);
        match register {
            register::SETEIPNUM_LE => self.set_pending(page, value as u32, true),
            register::SETEIPNUM_BE => self.set_pending(page, (value as u32).swap_bytes(), true),
            _ => base::guest_error!("riscv.imsic: write of {value:#x} to {offset:#x} means nothing"),
        }
        Effect::None
    }

    fn reset(&mut self) {
        self.reset_state();
        (0..self.external.len()).for_each(|page| self.update(page));
    }

    fn reset_state(&mut self) {
        let words = self.words();
        let file = File { pending: vec![0; words], enabled: vec![0; words], ..File::default() };
        self.regs.files = vec![file; self.num_pages as usize];
    }

    fn loaded(&mut self) -> Result<(), String> {
        let words = self.words();
        let fits = |f: &File| f.pending.len() == words && f.enabled.len() == words;
        if self.regs.files.len() != self.num_pages as usize || !self.regs.files.iter().all(fits) {
            return Err("the interrupt files have another shape".into());
        }
        for (page, line) in self.external.iter().enumerate() {
            let delivers = self.regs.files.get(page).is_some_and(|file| file.delivery == 1);
            line.refresh(delivers && self.top(page) != 0);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "riscv_imsic_test.rs"]
mod test;
