//! Smaia and Ssaia: the CSRs of the Advanced Interrupt Architecture 1.0, chapter 2. Interrupt priorities are fixed: the
//! priority registers exist and read as zero.

use crate::extension::Extension as E;
use crate::hart::Hart;
use crate::slot;

/// An incoming MSI controller's file for one privilege level of a hart.
pub trait InterruptFile: Send + Sync {
    /// Reads register `select`, of `xlen` bits; `None` if there is none of that number.
    fn read(&self, select: u64, xlen: u32) -> Option<u64>;
    /// Sets and clears bits of a register.
    fn write(&self, select: u64, xlen: u32, set: u64, clear: u64);
    /// The value of `mtopei` or `stopei`.
    fn top(&self) -> u64;
    /// Takes interrupt `id`, or the one on top if that is not pending any more.
    fn claim(&self, id: u32);
}

/// Which of the two sets of CSRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Smaia.
    Machine,
    /// Ssaia.
    Supervisor,
}

/// Numbers of the priorities of major interrupts in `miselect`.
const PRIORITIES: std::ops::RangeInclusive<u64> = 0x30..=0x3f;

impl Level {
    /// The extension that has them.
    pub const fn extension(self) -> E {
        match self {
            Level::Machine => E::Smaia,
            Level::Supervisor => E::Ssaia,
        }
    }
    const fn select(self) -> u16 {
        match self {
            Level::Machine => slot::MISELECT,
            Level::Supervisor => slot::SISELECT,
        }
    }
}

impl Hart {
    /// Does something with the interrupt file of a level, if the machine has one.
    fn with_file<R>(&self, level: Level, act: impl FnOnce(&dyn InterruptFile) -> R) -> Option<R> {
        let index = self.handle.index();
        self.platform.interrupt_file(index, level == Level::Supervisor).map(act)
    }
    /// Whether the register that is selected exists.
    pub(crate) fn selects(&self, level: Level) -> bool {
        let (select, xlen) = (self.get(level.select()), self.config.xlen());
        if PRIORITIES.contains(&select) {
            return xlen == 32 || select.is_multiple_of(2);
        }
        self.with_file(level, |file| file.read(select, xlen).is_some()).unwrap_or(false)
    }
    /// Whether there is an interrupt file.
    pub(crate) fn has_file(&self, level: Level) -> bool {
        self.with_file(level, |_| ()).is_some()
    }
    pub(crate) fn read_selected(&self, level: Level) -> u64 {
        let (select, xlen) = (self.get(level.select()), self.config.xlen());
        self.with_file(level, |file| file.read(select, xlen)).flatten().unwrap_or(0)
    }
    pub(crate) fn write_selected(&self, level: Level, set: u64, clear: u64) {
        let (select, xlen) = (self.get(level.select()), self.config.xlen());
        self.with_file(level, |file| file.write(select, xlen, set, clear));
        self.look();
    }
    /// The external interrupt to be taken. A write in the same instruction claims the one that was read.
    pub(crate) fn read_topei(&mut self, level: Level) -> u64 {
        let top = self.with_file(level, |file| file.top()).unwrap_or(0);
        self.seen_topei[level as usize] = Some((top >> 16) as u32);
        top
    }
    pub(crate) fn claim(&mut self, level: Level) {
        match self.seen_topei[level as usize].take() {
            // Nothing was there to be read; a message that has come since is not what the instruction claims.
            Some(0) => return,
            seen => self.with_file(level, |file| file.claim(seen.unwrap_or(0))),
        };
        self.look();
    }
    /// `mtopi` and `stopi`: the interrupt of the level that is pending and enabled, with the priority 1 that all have.
    pub(crate) fn topi(&self, level: Level) -> u64 {
        let delegated = self.get(slot::MIDELEG);
        let of_level = if level == Level::Supervisor { delegated } else { !delegated };
        let ready = self.mip() & self.get(slot::MIE) & of_level;
        crate::trap::first(ready).map_or(0, |id| u64::from(id) << 16 | 1)
    }
}

#[cfg(test)]
#[path = "aia_test.rs"]
mod test;
