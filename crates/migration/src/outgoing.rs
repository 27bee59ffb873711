//! Sending a machine that runs.
//!
//! ```text
//! thread: all pages -> written pages -> written pages -> .. (until few enough are left for the longest standstill)
//! main loop, asked by the thread: stop, the last pages and all sections into a buffer
//! thread: the buffer, End
//! ```
//! Each round begins by taking the bitmaps of what has been written, then making the vCPUs forget their translations, so
//! that the next store to a page is noted again, and only then reads the pages: a store that comes before the reading is
//! in the page read, one that comes after is in the next round.

use crate::trace;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use base::{Result, error};
use memory::DirtyClient;

use crate::machine::Machine;
use crate::page::PAGE;
use crate::pages::{Batch, Written, read_page};
use crate::progress::{Progress, Status};
use crate::stream::{Kind, MAGIC, write_record};

/// Pages in a record.
const BATCH: usize = 64;

/// What is done last, on the main loop's thread: it gives the rest of the stream.
pub type Last = Box<dyn FnOnce(&Machine) -> Vec<u8> + Send>;

/// What the thread asks of the rest of the program.
pub trait Driver: Send {
    /// The state has changed, or a round has begun.
    fn changed(&self, status: Status, round: Option<u64>);
    /// Stops the machine and returns what `last` gives, all on the main loop's thread. `None` if the program ends.
    fn stop(&self, last: Last) -> Option<Vec<u8>>;
}

/// Sends `machine` through `out`; what is written there last is the end of the stream. The machine stands still after it,
/// whether that succeeds or not, if it got so far ([`Status::Device`]).
///
/// # Errors
/// The host's; or it was given up.
pub fn send(
    machine: &Machine,
    out: &mut (impl Write + ?Sized),
    progress: &Progress,
    driver: &dyn Driver,
) -> Result<()> {
    let mut sender = Sender { out, progress, window: Instant::now(), in_window: 0 };
    machine.blocks.iter().for_each(|block| block.ram.log_dirty(DirtyClient::Migration, true));
    let result = sender.run(machine, driver);
    machine.blocks.iter().for_each(|block| block.ram.log_dirty(DirtyClient::Migration, false));
    result
}

/// Pages to be sent: of each block, their offsets.
type Pages = Vec<Vec<u64>>;

fn count(pages: &Pages) -> u64 {
    pages.iter().map(|block| block.len() as u64).sum()
}

fn take_dirty(machine: &Machine) -> Pages {
    machine.blocks.iter().map(|b| b.ram.take_dirty(DirtyClient::Migration, 0, b.ram.len())).collect()
}

struct Sender<'a, W: ?Sized> {
    out: &'a mut W,
    progress: &'a Progress,
    /// Begin of the time for which the bandwidth is measured and limited, and bytes sent since.
    window: Instant,
    in_window: u64,
}

impl<W: Write + ?Sized> Sender<'_, W> {
    fn run(&mut self, machine: &Machine, driver: &dyn Driver) -> Result<()> {
        let failed = |e: io::Error| error!("Unable to write to the channel: {e}");
        self.out.write_all(&MAGIC).map_err(failed)?;
        self.record(Kind::Sections, &state::to_bytes(&machine.origin)).map_err(failed)?;
        let setup = self.progress.elapsed();
        self.progress.update(|counts| (counts.status, counts.setup) = (Status::Active, setup));
        driver.changed(Status::Active, None);
        take_dirty(machine);
        machine.forget_translations();
        let mut pages: Pages =
            machine.blocks.iter().map(|b| (0..b.ram.len()).step_by(PAGE).collect()).collect();
        loop {
            let round = self.progress.update(|counts| {
                counts.rounds += 1;
                counts.rounds
            });
            driver.changed(Status::Active, Some(round));
            let begin = Instant::now();
            let traced = trace::POINTS.begin(trace::ROUND);
            self.pages(machine, &pages)?;
            trace::POINTS.end(trace::ROUND, traced, || format!("round {round} pages {}", count(&pages)));
            pages = take_dirty(machine);
            machine.forget_translations();
            self.measure(count(&pages), begin.elapsed());
            if self.progress.counts().expected_downtime.as_millis() as u64 <= self.progress.limits().downtime
            {
                break;
            }
        }
        self.finish(driver, pages)
    }

    fn measure(&self, dirty: u64, round: Duration) {
        let bandwidth = self.in_window as f64 / self.window.elapsed().as_secs_f64().max(1e-3);
        let remaining = dirty * PAGE as u64;
        self.progress.update(|counts| {
            counts.remaining = remaining;
            counts.bandwidth = (bandwidth as u64).max(1);
            counts.dirty_rate = (dirty as f64 / round.as_secs_f64().max(1e-3)) as u64;
            counts.expected_downtime = Duration::from_secs_f64(remaining as f64 / bandwidth.max(1.0));
        });
    }

    /// Sends pages that may change meanwhile.
    fn pages(&mut self, machine: &Machine, pages: &Pages) -> Result<()> {
        for (n, offsets) in pages.iter().enumerate() {
            for some in offsets.chunks(BATCH) {
                if self.progress.is_cancelled() {
                    return Err(error!("migration was cancelled"));
                }
                let (bytes, zero) = batch(machine, n, some);
                self.record(Kind::Pages, &bytes)
                    .map_err(|e| error!("Unable to write to the channel: {e}"))?;
                self.progress.update(|counts| {
                    counts.zero += zero;
                    counts.normal += some.len() as u64 - zero;
                    counts.remaining = counts.remaining.saturating_sub((some.len() * PAGE) as u64);
                });
                self.keep_to_limit();
            }
        }
        Ok(())
    }

    fn record(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        write_record(&mut self.out, kind, bytes)?;
        let length = bytes.len() as u64 + 5;
        self.in_window += length;
        self.progress.update(|counts| counts.transferred += length);
        Ok(())
    }

    /// Waits if more has been sent than the limit allows.
    fn keep_to_limit(&mut self) {
        while !self.progress.is_cancelled() {
            // The limit may be changed meanwhile.
            let limit = self.progress.limits().bandwidth;
            let due = self.in_window as f64 / limit as f64 - self.window.elapsed().as_secs_f64();
            if limit == 0 || due <= 0.0 {
                break;
            }
            std::thread::sleep(Duration::from_secs_f64(due.min(0.02)));
        }
        if self.window.elapsed() > Duration::from_secs(2) {
            // Half of the old window stays, lest the measure jump.
            self.window = Instant::now() - Duration::from_secs(1);
            self.in_window /= 2;
        }
    }

    fn finish(&mut self, driver: &dyn Driver, mut pages: Pages) -> Result<()> {
        let begin = Instant::now();
        let traced = trace::POINTS.begin(trace::FINISH);
        let last: Last = Box::new(move |machine: &Machine| {
            // Stores since the last look are in the bitmaps; the vCPUs stand still.
            for (all, more) in pages.iter_mut().zip(take_dirty(machine)) {
                all.extend(more);
                all.sort_unstable();
                all.dedup();
            }
            let mut out = Vec::new();
            for (n, offsets) in pages.iter().enumerate() {
                for some in offsets.chunks(BATCH) {
                    // Writing to memory cannot fail.
                    let _ = write_record(&mut out, Kind::Pages, &batch(machine, n, some).0);
                }
            }
            let _ = write_record(&mut out, Kind::Sections, &machine.save());
            out
        });
        let bytes = driver.stop(last).ok_or_else(|| error!("the program ends"))?;
        self.progress.update(|counts| counts.status = Status::Device);
        driver.changed(Status::Device, None);
        if self.progress.is_cancelled() {
            return Err(error!("migration was cancelled"));
        }
        trace::POINTS.end(trace::FINISH, traced, || format!("bytes {}", bytes.len()));
        let failed = |e: io::Error| error!("Unable to write to the channel: {e}");
        self.out.write_all(&bytes).map_err(failed)?;
        self.record(Kind::End, &[]).map_err(failed)?;
        self.out.flush().map_err(failed)?;
        self.progress.update(|counts| {
            counts.transferred += bytes.len() as u64;
            counts.remaining = 0;
            counts.downtime = begin.elapsed();
        });
        Ok(())
    }
}

/// A record with these pages of a block, and how many of them are zero.
fn batch(machine: &Machine, block: usize, offsets: &[u64]) -> (Vec<u8>, u64) {
    let mut batch = Batch::new(block as u16);
    let mut page = [0; PAGE];
    let mut zero = 0;
    for offset in offsets {
        let number = (offset / PAGE as u64) as u32;
        read_page(&machine.blocks[block].ram, number, &mut page);
        zero += u64::from(batch.add(number, &page, |_, _| None) == Written::Zero);
    }
    (batch.finish(), zero)
}
