//! The file in the order of use.
//!
//! The next run of a guest comes to the same code in much the same order. Records that lie one behind the other in that order are read
//! as a stream, which the host's caches and page tables foresee; records that lie anywhere cost a miss of each, four times as
//! long. A file grows by what each run meets for the first time, so its order wears off. Then, as soon as the machine has nothing to
//! translate for a while, it is written anew beside the old one, which it replaces: first what this run has used, in that order, then the rest. What
//! there is no room for is what has not been used for longest.

use super::file::{Entry, Kept, LONGEST_FILE, Locked, SEGMENT_BYTES, segment_head};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Records at least that a run has used when the file is written anew.
const MANY: usize = 4096;
/// Records at most whose order is noted.
pub(super) const MOST: usize = 1 << 20;
/// A record is far if so many bytes lie between its beginning and that of the one that was used before it.
const FAR: u32 = 64 << 10;
/// A file that is written anew leaves room for what will be appended.
pub(super) const LONGEST_ANEW: u64 = LONGEST_FILE / 4 * 3;
/// Records that are read at once, at most.
const AT_ONCE: usize = 4096;
/// Bytes that are written at once, at least.
const PIECE: usize = 1 << 20;

/// What a run has used of the file.
#[derive(Default)]
pub(super) struct Used {
    /// Places of the records, in units of 8 bytes, in the order of use.
    places: Vec<u32>,
    /// How many were far.
    far: usize,
}

impl Used {
    /// Notes a record that was used, and whether it was `found`; else it is new.
    pub(super) fn note(&mut self, place: u32, found: bool) {
        if self.places.len() < MOST {
            let before = self.places.last().copied().unwrap_or(place);
            self.far += (found && place.abs_diff(before) > FAR / 8) as usize;
            self.places.push(place);
        }
    }
    /// Whether the next run would gain by another order of the file.
    pub(super) fn is_out_of_order(&self) -> bool {
        self.places.len() >= MANY && self.far > self.places.len() / 4
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
        let used = used.places.iter().filter_map(|place| all.binary_search_by_key(place, |e| e.place).ok());
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
