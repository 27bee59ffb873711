//! Writing a snapshot of a machine that stands still: all processors of the host pack pages at once.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use base::{Result, error};

use memory::DirtyClient;

use crate::image::{Image, Index, TRAILER_MAGIC};
use crate::machine::Machine;
use crate::page::{PAGE, is_zero};
use crate::pages::{Batch, Place, Written, read_page};
use crate::stream::{Kind, MAGIC, write_record};

/// Pages in a record.
const BATCH: u32 = 256;
/// Tables of fingerprints, so that threads rarely wait for each other.
const TABLES: usize = 16;
/// More threads than this only wait for the disk.
const THREADS: usize = 8;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts what is written.
struct Counted<W> {
    out: W,
    at: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.at += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Pages by fingerprint, and pages taken over from the base by where they lie there.
#[derive(Default)]
struct Twins {
    tables: [Mutex<HashMap<u64, Place>>; TABLES],
    taken_over: [Mutex<HashMap<u64, Place>>; TABLES],
}

impl Twins {
    /// A page that was taken over from the same position of the base.
    fn at(&self, position: u64, place: Place) -> Option<Place> {
        let table = &self.taken_over[(position / PAGE as u64) as usize % TABLES];
        let found = *lock(table).entry(position).or_insert(place);
        (found != place).then_some(found)
    }

    /// A page that is like `page`, which lies at `place`; if there is none, it will be one for others.
    fn find(&self, machine: &Machine, page: &[u8; PAGE], fingerprint: u64, place: Place) -> Option<Place> {
        let found = *lock(&self.tables[fingerprint as usize % TABLES]).entry(fingerprint).or_insert(place);
        if found == place {
            return None;
        }
        let mut other = [0; PAGE];
        read_page(&machine.blocks[usize::from(found.0)].ram, found.1, &mut other);
        (other == *page).then_some(found)
    }
}

/// Writes a snapshot and returns how many bytes it has. Of `base`, the snapshot since which memory keeps bitmaps
/// ([`Machine::mark`]), pages that have not been written are taken over as they are packed there.
///
/// # Errors
/// The host's.
pub fn capture(machine: &Machine, base: Option<&Image>, out: impl Write + Send) -> Result<u64> {
    let failed = |e: io::Error| error!("the snapshot cannot be written: {e}");
    let mut out = Counted { out, at: 0 };
    out.write_all(&MAGIC).map_err(failed)?;
    let origin = state::to_bytes(&machine.origin);
    write_record(&mut out, Kind::Sections, &origin).map_err(failed)?;
    let out = Mutex::new(out);
    let base = base.filter(|base| base.origin.memory == machine.origin.memory);
    let mut index = pages(machine, base, &out).map_err(failed)?;
    let mut out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
    index.state = out.at;
    write_record(&mut out, Kind::Sections, &machine.save()).map_err(failed)?;
    let at = out.at;
    write_record(&mut out, Kind::Index, &index.to_bytes()).map_err(failed)?;
    write_record(&mut out, Kind::End, &[]).map_err(failed)?;
    out.write_all(&at.to_be_bytes()).and_then(|()| out.write_all(&TRAILER_MAGIC)).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(out.at)
}

/// Writes all pages that are not zero; several threads, each a record at a time.
fn pages(
    machine: &Machine,
    base: Option<&Image>,
    out: &Mutex<Counted<impl Write + Send>>,
) -> io::Result<Index> {
    let counts: Vec<u32> = machine.blocks.iter().map(|b| b.ram.len().div_ceil(PAGE as u64) as u32).collect();
    let work: Vec<(u16, u32)> = counts
        .iter()
        .enumerate()
        .flat_map(|(block, count)| {
            (0..*count).step_by(BATCH as usize).map(move |first| (block as u16, first))
        })
        .collect();
    let (next, twins) = (AtomicUsize::new(0), Twins::default());
    let done: Mutex<Vec<(Place, Written)>> = Mutex::default();
    let worker = || -> io::Result<()> {
        while let Some(&(block, first)) = work.get(next.fetch_add(1, Relaxed)) {
            let ram = &machine.blocks[usize::from(block)].ram;
            let mut batch = Batch::new(block);
            let mut written = Vec::new();
            let mut page = [0; PAGE];
            for number in first..(first + BATCH).min(counts[usize::from(block)]) {
                let place = (block, number);
                let offset = u64::from(number) * PAGE as u64;
                let clean = base.filter(|_| !ram.is_dirty(DirtyClient::Snapshot, offset, 1));
                let what = match clean.map(|base| base.packed(block.into(), number.into(), &mut page)) {
                    Some(Ok(None)) => continue,
                    Some(Ok(Some((at, packed)))) => match twins.at(at, place) {
                        Some(other) => batch.add_same(number, other),
                        None => batch.add_packed(number, packed),
                    },
                    // Not clean; or the base cannot be read, but memory can.
                    Some(Err(_)) | None => {
                        read_page(ram, number, &mut page);
                        if is_zero(&page) {
                            continue;
                        }
                        batch.add(number, &page, |print, place| twins.find(machine, &page, print, place))
                    }
                };
                written.push((place, what));
            }
            if batch.is_empty() {
                continue;
            }
            let bytes = batch.finish();
            let at = {
                let mut out = lock(out);
                let at = out.at;
                write_record(&mut *out, Kind::Pages, &bytes)?;
                at
            };
            for (_, what) in &mut written {
                if let Written::At(offset, _) = what {
                    *offset += at;
                }
            }
            lock(&done).append(&mut written);
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let own = worker();
        others.into_iter().map(|t| t.join().unwrap_or(Ok(()))).fold(own, io::Result::and)
    })?;
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Index::new(&counts, &done))
}
