//! Where the guest spends its time: the blocks in which vCPUs are found.
//!
//! The profile's thread asks a vCPU that runs translated code where it is ([`cpu::INTERRUPT_LOOK`]); the vCPU answers when it next looks
//! at its interrupt word. That is at a jump back, or at one that goes by the jump cache, so at most a few blocks later:
//! loops are found where they are, straight code at what it jumps to.

use crate::cache::CodePage;
use crate::shared::Shared;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Blocks that are listed.
const LISTED: usize = 20;

/// A block: where it was met, in which page, in which mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) page: CodePage,
    pub(crate) mode: u32,
}

/// How often vCPUs were found in a block, and its bytes.
#[derive(Default)]
pub(crate) struct Hot(Mutex<HashMap<Place, (u64, u16)>>);

impl Hot {
    fn all(&self) -> MutexGuard<'_, HashMap<Place, (u64, u16)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A vCPU is there.
    pub(crate) fn found(&self, place: Place, bytes: u16) {
        let mut all = self.all();
        let entry = all.entry(place).or_default();
        *entry = (entry.0 + 1, bytes);
    }
}

impl Shared {
    /// The list, the busiest first.
    pub(crate) fn hot_blocks(&self) -> String {
        let all = self.hot.all();
        let total: u64 = all.values().map(|(n, _)| n).sum();
        let mut sorted: Vec<_> = all.iter().collect();
        sorted.sort_by_key(|(place, (n, _))| (std::cmp::Reverse(*n), place.address));
        let mut text = format!("\nHot blocks ({total} samples in {} blocks):\n", all.len());
        for (place, (n, bytes)) in sorted.into_iter().take(LISTED) {
            let share = 100.0 * *n as f64 / total as f64;
            let name = self.options.symbols.name(place.address).unwrap_or_default();
            let line = format!("{share:6.2} %  {:#018x} {bytes:>4} bytes  {name}", place.address);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}
