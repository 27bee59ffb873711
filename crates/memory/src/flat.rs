//! The memory map as an observer sees it: disjoint ranges in order of address.
//!
//! Rendering walks the tree from the root and lets each region that answers accesses fill the gaps that are
//! left in its window. Since a container's children are visited in the order of their visibility and before
//! the container itself, whoever comes first is seen, and nothing drawn is ever changed.
//!
//! Addresses are computed in `i128`: a region may be 2^64 bytes long, and the part of an alias's target that
//! lies before the window has, seen from the window, a negative address.

use std::fmt;
use std::sync::Arc;

use crate::bus::Mmio;
use crate::ram::Ram;
use crate::region::{Kind, Region};

/// What answers in a range.
#[derive(Clone)]
pub enum Target {
    /// RAM or ROM: the block, the offset of the range's start in it, whether writes are refused.
    Ram {
        /// The block.
        ram: Arc<Ram>,
        /// Offset in the block of the first byte of the range.
        offset: u64,
        /// Whether it cannot be written.
        readonly: bool,
    },
    /// A ROM device in its memory-like mode: reads from the block, writes to the device.
    Romd {
        /// The block.
        ram: Arc<Ram>,
        /// The device.
        mmio: Arc<dyn Mmio>,
        /// Offset in both of the first byte of the range.
        offset: u64,
    },
    /// Registers of a device.
    Mmio {
        /// The device.
        mmio: Arc<dyn Mmio>,
        /// Offset in the region of the first byte of the range.
        offset: u64,
    },
}

/// A piece of the memory map.
#[derive(Clone)]
pub struct FlatRange {
    /// First address.
    pub start: u64,
    /// Last address, included.
    pub last: u64,
    /// Offset of `start` in the region.
    pub offset: u64,
    /// The region that is seen here.
    pub region: Arc<Region>,
    /// What answers.
    pub target: Target,
}

impl FlatRange {
    /// Number of bytes from `address`, which lies in the range, to its end; [`u64::MAX`] for 2^64.
    #[inline]
    pub fn left(&self, address: u64) -> u64 {
        (self.last - address).saturating_add(1)
    }
    /// The RAM that a read at `address` sees, and the offset in it.
    #[inline]
    pub fn readable(&self, address: u64) -> Option<(&Arc<Ram>, u64)> {
        match &self.target {
            Target::Ram { ram, offset, .. } | Target::Romd { ram, offset, .. } => {
                Some((ram, offset + (address - self.start)))
            }
            Target::Mmio { .. } => None,
        }
    }
    /// The RAM that a write at `address` changes, and the offset in it.
    #[inline]
    pub fn writable(&self, address: u64) -> Option<(&Arc<Ram>, u64)> {
        match &self.target {
            Target::Ram { ram, offset, readonly: false } => Some((ram, offset + (address - self.start))),
            _ => None,
        }
    }
    /// The device registers that an access at `address` reaches when it is not RAM for it.
    #[inline]
    pub fn registers(&self, address: u64) -> Option<(&Arc<dyn Mmio>, u64)> {
        match &self.target {
            Target::Romd { mmio, offset, .. } | Target::Mmio { mmio, offset } => {
                Some((mmio, offset + (address - self.start)))
            }
            Target::Ram { .. } => None,
        }
    }

    /// Whether `next` continues this range without a seam.
    fn continues(&self, next: &Self) -> bool {
        self.last.checked_add(1) == Some(next.start)
            && Arc::ptr_eq(&self.region, &next.region)
            && self.offset + (self.last - self.start) + 1 == next.offset
            && matches!(
                (&self.target, &next.target),
                (Target::Ram { readonly: a, .. }, Target::Ram { readonly: b, .. }) if a == b
            ) | matches!(
                (&self.target, &next.target),
                (Target::Romd { .. }, Target::Romd { .. }) | (Target::Mmio { .. }, Target::Mmio { .. })
            )
    }
}

impl fmt::Debug for FlatRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}: {} @{:x}", self.start, self.last, self.region.name(), self.offset)
    }
}

/// A memory map: disjoint ranges in order of address.
#[derive(Clone, Debug, Default)]
pub struct FlatView {
    /// First addresses, apart from the ranges so that the search touches few cache lines.
    starts: Box<[u64]>,
    ranges: Box<[FlatRange]>,
    /// The largest range of RAM, where most look-ups end.
    main: usize,
}

impl FlatView {
    /// Draws the tree below `root`.
    pub fn render(root: &Arc<Region>) -> Self {
        let mut drawing = Drawing { ranges: Vec::new(), through: Vec::new() };
        let all = Window { start: 0, end: 1 << 64 };
        drawing.draw(root, 0, all, false);
        let mut ranges: Vec<FlatRange> = Vec::with_capacity(drawing.ranges.len());
        for range in drawing.ranges {
            match ranges.last_mut() {
                Some(last) if last.continues(&range) => last.last = range.last,
                _ => ranges.push(range),
            }
        }
        let main = ranges
            .iter()
            .enumerate()
            .filter(|(_, r)| matches!(r.target, Target::Ram { .. }))
            .max_by_key(|(_, r)| r.last - r.start)
            .map_or(0, |(n, _)| n);
        Self { starts: ranges.iter().map(|r| r.start).collect(), ranges: ranges.into(), main }
    }

    /// All ranges in order of address.
    pub fn ranges(&self) -> &[FlatRange] {
        &self.ranges
    }

    /// The range that holds `address`.
    #[inline]
    pub fn lookup(&self, address: u64) -> Option<&FlatRange> {
        if let Some(main) = self.ranges.get(self.main)
            && main.start <= address
            && address <= main.last
        {
            return Some(main);
        }
        let n = self.starts.partition_point(|&start| start <= address);
        self.ranges.get(n.checked_sub(1)?).filter(|r| address <= r.last)
    }
}

/// Addresses from `start` up to but not including `end`.
#[derive(Clone, Copy)]
struct Window {
    start: i128,
    end: i128,
}

impl Window {
    fn intersect(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
    fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

struct Drawing {
    ranges: Vec<FlatRange>,
    /// The aliases through which we are looking. One that is met again shows itself: nothing.
    through: Vec<*const Region>,
}

impl Drawing {
    /// Draws `region`, whose container begins at `base`, as far as it lies in `window`.
    fn draw(&mut self, region: &Arc<Region>, base: i128, window: Window, readonly: bool) {
        if !region.is_enabled() {
            return;
        }
        let start = base + i128::from(region.address());
        let window = window.intersect(Window { start, end: start + region.size() as i128 });
        if window.is_empty() {
            return;
        }
        let readonly = readonly || region.is_readonly();
        if let Kind::Alias { target, offset } = region.kind() {
            // The target is drawn at its own address in its container, which is taken away again here.
            let base = start - i128::from(*offset) - i128::from(target.address());
            if !self.through.contains(&Arc::as_ptr(region)) {
                self.through.push(Arc::as_ptr(region));
                self.draw(target, base, window, readonly);
                self.through.pop();
            }
            return;
        }
        for child in region.children() {
            self.draw(&child, start, window, readonly);
        }
        if !matches!(region.kind(), Kind::Container) {
            self.fill(region, start, window, readonly);
        }
    }

    /// Lets `region`, which begins at `origin`, have what nobody else has of `window`.
    fn fill(&mut self, region: &Arc<Region>, origin: i128, window: Window, readonly: bool) {
        let mut at = window.start;
        let mut n = self.ranges.partition_point(|r| i128::from(r.last) < at);
        while at < window.end {
            let gap_end = match self.ranges.get(n) {
                Some(next) => window.end.min(i128::from(next.start)),
                None => window.end,
            };
            if at < gap_end {
                self.ranges.insert(n, range(region, origin, Window { start: at, end: gap_end }, readonly));
                n += 1;
            }
            match self.ranges.get(n) {
                Some(next) => at = i128::from(next.last) + 1,
                None => break,
            }
            n += 1;
        }
    }
}

fn range(region: &Arc<Region>, origin: i128, window: Window, readonly: bool) -> FlatRange {
    let offset = (window.start - origin) as u64;
    let target = match region.kind() {
        Kind::Ram(ram) | Kind::Rom(ram) => Target::Ram { ram: ram.clone(), offset, readonly },
        Kind::RomDevice(ram, mmio) if region.is_romd() => {
            Target::Romd { ram: ram.clone(), mmio: mmio.clone(), offset }
        }
        Kind::RomDevice(_, mmio) | Kind::Mmio(mmio) => Target::Mmio { mmio: mmio.clone(), offset },
        Kind::Container | Kind::Alias { .. } => unreachable!("only regions that answer are filled in"),
    };
    FlatRange {
        start: window.start as u64,
        last: (window.end - 1) as u64,
        offset,
        region: region.clone(),
        target,
    }
}

#[cfg(test)]
#[path = "flat_test.rs"]
mod test;
