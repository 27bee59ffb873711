//! Interrupts (7.4, 10.2.4): causes, masks, and how they reach the processor: by pin, by one message, or by one of five.
//! Moderation is left out: an interrupt comes at the end of each burst.

use base::Bits;

use super::registers::at;
use super::{E1000e, statistics::count, trace};

/// Bits of ICR and its masks.
#[allow(missing_docs)]
pub mod cause {
    pub const TXDW: u32 = 1 << 0;
    pub const TXQE: u32 = 1 << 1;
    pub const LSC: u32 = 1 << 2;
    pub const RXDMT0: u32 = 1 << 4;
    pub const RXO: u32 = 1 << 6;
    pub const RXT0: u32 = 1 << 7;
    pub const MDAC: u32 = 1 << 9;
    pub const RXQ0: u32 = 1 << 20;
    pub const TXQ0: u32 = 1 << 22;
    pub const OTHER: u32 = 1 << 24;
    pub const ASSERTED: u32 = 1 << 31;
}

/// What can be masked.
const MASKABLE: u32 = 0x01f7_82d7;
/// What also sets [`cause::OTHER`].
const OTHERS: u32 = cause::LSC | cause::RXO | cause::MDAC | 0x0007_0000;
/// Causes with a message of their own, and where IVAR says which.
const BY_MESSAGE: [(u32, u32); 5] = [(20, 0), (21, 4), (22, 8), (23, 12), (24, 16)];

const CTRL_EXT_EIAME: u32 = 1 << 24;
const CTRL_EXT_IAME: u32 = 1 << 27;

impl E1000e {
    fn pending(&self) -> u32 {
        self.regs.icr & self.regs.ims
    }

    /// Something has happened.
    pub(super) fn cause(&mut self, bits: u32) {
        self.regs.icr |= bits & !cause::ASSERTED;
        if bits & OTHERS != 0 {
            self.regs.icr |= cause::OTHER;
        }
        self.update_interrupts();
    }

    /// Interrupts for what is pending and has not been told yet.
    pub(super) fn update_interrupts(&mut self) {
        let news = self.pending() & !self.regs.told;
        if news != 0 {
            base::trace!(trace::INTERRUPT, "icr {:#x} ims {:#x}", self.regs.icr, self.regs.ims);
            self.regs.statistics.one(count::INTERRUPTS);
        }
        if self.pci.msix_enabled() {
            self.send_messages(news);
        } else if news != 0 {
            self.pci.interrupt(true);
        } else if self.pending() == 0 {
            self.pci.interrupt(false);
        }
        self.regs.told = self.pending();
    }

    fn send_messages(&mut self, news: u32) {
        let ivar = self.regs.file.get(at::IVAR);
        let automask = self.regs.file.get(at::CTRL_EXT) & CTRL_EXT_EIAME != 0;
        for (bit, shift) in BY_MESSAGE {
            let entry = ivar >> shift & 0xf;
            if !news.bit(bit) || entry & 8 == 0 {
                continue;
            }
            self.pci.signal((entry & 7) as u16);
            let cause = 1 << bit;
            self.regs.icr &= !(self.regs.file.get(at::EIAC) & cause);
            if automask {
                self.regs.ims &= !(self.regs.file.get(at::IAM) & cause);
            }
        }
    }

    /// Reading the causes clears them if all are masked or an interrupt is asserted (10.2.4.1).
    pub(super) fn read_icr(&mut self) -> u32 {
        let asserted = self.pending() != 0;
        let value = self.regs.icr | if asserted { cause::ASSERTED } else { 0 };
        if asserted || self.regs.ims == 0 {
            self.acknowledge(u32::MAX);
        }
        value
    }

    /// Causes are cleared, by reading or writing them; masks may follow of their own.
    pub(super) fn acknowledge(&mut self, bits: u32) {
        let asserted = self.pending() != 0;
        self.regs.icr &= !bits;
        if asserted && self.regs.file.get(at::CTRL_EXT) & CTRL_EXT_IAME != 0 {
            self.regs.ims &= !self.regs.file.get(at::IAM);
        }
        self.update_interrupts();
    }

    pub(super) fn set_mask(&mut self, bits: u32) {
        self.regs.ims |= bits & MASKABLE;
        self.update_interrupts();
    }

    pub(super) fn clear_mask(&mut self, bits: u32) {
        self.regs.ims &= !bits;
        self.update_interrupts();
    }
}
