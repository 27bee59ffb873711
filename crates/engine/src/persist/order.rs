//! The file in the order of use.
//!
//! The next run of a guest comes to the same pages in much the same order, and in each to much the same code. So records lie page by
//! page: who finds the first takes all of the page. But a file grows in the order in which a run translates, to and fro between pages.
//! So as soon as the machine has had nothing to translate for a while, it is written anew beside the old one, which it replaces: first
//! the pages that this run has used, in that order, then the rest. What there is no room for is what has not been used for longest.

use super::Use;
use super::file::{Entry, Kept, LONGEST_FILE, Locked, SEGMENT_BYTES, segment_head};
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Records at least that a run has used when the file is written anew.
const MANY: usize = 4096;
/// Records at most whose order is noted.
pub(super) const MOST: usize = 1 << 20;
/// A file that is written anew leaves room for what will be appended.
pub(super) const LONGEST_ANEW: u64 = LONGEST_FILE / 4 * 3;
/// Records that are read at once, at most.
const AT_ONCE: usize = 4096;
/// Bytes that are written at once, at least.
const PIECE: usize = 1 << 20;

/// What a run has used of the file.
#[derive(Default)]
pub(super) struct Used {
    /// In the order of use.
    records: Vec<Use>,
    /// The pages that they were for.
    pages: HashSet<u32>,
    /// How many were for a page that others had been for, but not the last.
    apart: usize,
}

impl Used {
    /// Notes a record.
    pub(super) fn note(&mut self, record: Use) {
        if self.records.len() < MOST {
            let goes_on = self.records.last().is_some_and(|last| last.page == record.page);
            self.apart += (!self.pages.insert(record.page) && !goes_on) as usize;
            self.records.push(record);
        }
    }
    /// Whether the next run would gain by another order of the file.
    pub(super) fn is_scattered(&self) -> bool {
        self.records.len() >= MANY && self.apart > self.records.len() / 4
    }
    /// The records' places: page by page, in the order in which a page was first used, and each record of a page was.
    fn by_page(&self) -> Vec<u32> {
        let mut first = HashMap::new();
        let with_first = |(n, r): (usize, &Use)| (*first.entry(r.page).or_insert(n), r.place);
        let mut all: Vec<_> = self.records.iter().enumerate().map(with_first).collect();
        all.sort_by_key(|&(first, _)| first);
        all.into_iter().map(|(_, place)| place).collect()
    }
}

impl Kept {
    /// Writes the file anew, what was used in front, so many bytes of records at most. `None` if others have done so meanwhile.
    pub(super) fn put_in_order(&self, used: &Used, room: u64) -> io::Result<Option<Kept>> {
        let _locked = Locked::new(&self.file)?;
        if !self.is_current() {
            return Ok(None);
        }
        let end = self.cut()?;
        let mut all = Vec::new();
        self.each_entry(end, |entry| all.push(entry))?;
        let mut waits = vec![true; all.len()];
        let used = used.by_page();
        let used = used.iter().filter_map(|place| all.binary_search_by_key(place, |e| e.place).ok());
        let (mut order, mut table, mut bytes) = (Vec::with_capacity(all.len()), Vec::new(), 0);
        for n in used.chain(0..all.len()) {
            if !std::mem::take(&mut waits[n]) {
                continue;
            }
            let entry = all[n];
            if bytes + entry.len as u64 > room {
                break;
            }
            bytes += entry.len as u64;
            table.extend(entry.bytes());
            order.push(entry);
        }
        let path = self.path.with_extension("new");
        // Whoever was interrupted has left it.
        let _ = std::fs::remove_file(&path);
        let written = self.copy(&path, &order, &table, bytes);
        let file = written.and_then(|file| std::fs::rename(&path, &self.path).map(|()| file));
        let file = file.inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        let end = self.head.len() + SEGMENT_BYTES + table.len() + bytes as usize;
        Ok(Some(Kept { path: self.path.clone(), head: self.head.clone(), file, end, settled: true }))
    }
    /// Makes a file of one segment at `path`, with these records, which have so many bytes.
    fn copy(&self, path: &Path, order: &[Entry], table: &[u8], bytes: u64) -> io::Result<File> {
        let mut file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&self.head)?;
        file.write_all(&segment_head(order.len(), bytes as usize, table))?;
        file.write_all(table)?;
        // Those that lie one behind the other are read at once.
        let next = |a: &Entry, b: &Entry| a.place + a.len / 8 == b.place;
        let mut piece = Vec::new();
        for row in order.chunk_by(next).flat_map(|row| row.chunks(AT_ONCE)) {
            let before = piece.len();
            piece.resize(before + row.iter().map(|e| e.len as usize).sum::<usize>(), 0);
            self.file.read_exact_at(&mut piece[before..], 8 * row[0].place as u64)?;
            if piece.len() >= PIECE {
                file.write_all(&piece)?;
                piece.clear();
            }
        }
        file.write_all(&piece)?;
        Ok(file)
    }
}

#[cfg(test)]
#[path = "order_test.rs"]
mod test;
