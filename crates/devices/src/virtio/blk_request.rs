//! One request of the block device, as a worker thread performs it (VIRTIO 1.2, section 5.2.6).

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use backends::block::{BlockDevice, Buffer};
use memory::Dma;

use super::queue::{Broken, Chain, gather, length, scatter};

/// The unit of the guest's addresses, whatever the block size.
pub(super) const SECTOR: u64 = 512;
/// How much is copied between two looks at whether the request is still wanted; fits the processor's cache.
const CHUNK: usize = 256 << 10;
/// Bytes of a read that a vCPU makes itself if the host has them at hand: to copy them takes it no longer than to wake a thread.
const AT_HAND: u64 = 32 << 10;
/// Bytes of a request's header: type, priority, sector.
pub(super) const HEADER: u64 = 16;
/// The status byte that follows each request's data.
const STATUS: u64 = 1;

/// Types of request.
mod request {
    pub const IN: u32 = 0;
    pub const OUT: u32 = 1;
    pub const FLUSH: u32 = 4;
    pub const GET_ID: u32 = 8;
    pub const DISCARD: u32 = 11;
    pub const WRITE_ZEROES: u32 = 13;
    /// Legacy drivers may set it on any request; there are no barriers.
    pub const BARRIER: u32 = 1 << 31;
}

/// How a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// Lets requests of a queue touch guest memory only as long as the queue has not been reset since they were
/// taken: one epoch for each queue. Copying holds it shared, a reset alone.
#[derive(Default)]
pub(crate) struct Gate(RwLock<Vec<u64>>);

impl Gate {
    /// Opens it for so many queues.
    pub(crate) fn open(&self, queues: usize) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = vec![0; queues];
    }

    /// Copies, unless the queue has been reset since. Where the guest's memory is registers, no device is entered meanwhile: who
    /// waits in [`Gate::close`] holds a device's lock.
    pub(crate) fn pass<R>(&self, queue: usize, epoch: u64, copy: impl FnOnce() -> R) -> Option<R> {
        object::as_inside(|| {
            let epochs = self.0.read().unwrap_or_else(PoisonError::into_inner);
            (epochs.get(queue) == Some(&epoch)).then(copy)
        })
    }

    /// The epoch of a queue, for a request taken from it now.
    pub(crate) fn epoch(&self, queue: usize) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(queue).copied().unwrap_or(0)
    }

    /// Waits until nobody copies for this queue, and lets nobody any more.
    pub(crate) fn close(&self, queue: usize) {
        if let Some(epoch) = self.0.write().unwrap_or_else(PoisonError::into_inner).get_mut(queue) {
            *epoch += 1;
        }
    }
}

/// One request as a worker has it.
pub(super) struct Job {
    pub(super) dma: Dma,
    pub(super) gate: Arc<Gate>,
    pub(super) queue: usize,
    pub(super) epoch: u64,
    pub(super) chain: Chain,
    pub(super) kind: u32,
    pub(super) sector: u64,
    pub(super) write_through: bool,
    pub(super) limits: Limits,
    pub(super) serial: [u8; 20],
}

/// What requests are checked against.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) block_size: u64,
    pub(super) discard: bool,
    pub(super) write_zeroes: bool,
    pub(super) max_discard_sectors: u32,
    pub(super) max_write_zeroes_sectors: u32,
}

/// Why a request ends before its end.
pub(super) enum Stop {
    /// It is answered so.
    Answer(Outcome),
    /// Its buffers are nowhere.
    Broken(Broken),
    /// Its queue has been reset: nobody waits for an answer.
    Gone,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Stop::Answer(Outcome::IoError)
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Stop::Broken(broken)
    }
}

base::trace_points! {
    /// What is to be traced of disks.
    pub mod trace "virtio_blk" {
        /// A request, from its beginning to its end.
        REQUEST "request",
    }
}

impl Job {
    /// Performs the request; returns how many bytes of the writable buffers were filled.
    pub(super) fn perform(&self, device: &dyn BlockDevice) -> Result<u32, Stop> {
        let begin = trace::POINTS.begin(trace::REQUEST);
        let done = self.perform_untraced(device);
        trace::POINTS.end(trace::REQUEST, begin, || self.text());
        done
    }
    /// Performs a short read that needs no waiting; `None` if it is none.
    pub(super) fn perform_now(&self, device: &dyn BlockDevice) -> Option<Result<u32, Stop>> {
        let room = self.room();
        if self.kind & !request::BARRIER != request::IN || room > AT_HAND {
            return None;
        }
        let start = self.place(device, room).ok()?;
        let begin = trace::POINTS.begin(trace::REQUEST);
        let mut bytes = vec![0; room as usize];
        if !device.read_now(start, &mut bytes) {
            return None;
        }
        let read = self.put(0, &bytes).map(|()| room as u32);
        let done = self.answer(read);
        trace::POINTS.end(trace::REQUEST, begin, || self.text());
        Some(done)
    }
    fn text(&self) -> String {
        let (kind, sector, chain) = (self.kind, self.sector, &self.chain);
        format!("type {kind} sector {sector} out {} in {}", length(&chain.readable), length(&chain.writable))
    }
    /// Bytes for what is read.
    fn room(&self) -> u64 {
        length(&self.chain.writable).saturating_sub(STATUS)
    }
    fn perform_untraced(&self, device: &dyn BlockDevice) -> Result<u32, Stop> {
        let room = self.room();
        let result = match self.kind & !request::BARRIER {
            request::IN => self.read(device, room),
            request::OUT => self.write(device),
            request::FLUSH => device.flush().map(|()| 0).map_err(Stop::from),
            request::GET_ID => self.get_id(room),
            request::DISCARD if self.limits.discard => self.discard(device),
            request::WRITE_ZEROES if self.limits.write_zeroes => self.write_zeroes(device),
            _ => Err(Stop::Answer(Outcome::Unsupported)),
        };
        self.answer(result)
    }

    /// Writes the status of what has come to this.
    fn answer(&self, result: Result<u32, Stop>) -> Result<u32, Stop> {
        let (outcome, filled) = match result {
            Ok(filled) => (Outcome::Ok, filled),
            Err(Stop::Answer(outcome)) => (outcome, 0),
            Err(stop) => return Err(stop),
        };
        self.put(self.room(), &[outcome as u8])?;
        Ok(filled + STATUS as u32)
    }

    /// Writes to the buffers of the request, from this place on.
    fn put(&self, at: u64, bytes: &[u8]) -> Result<(), Stop> {
        self.pass(|| scatter(&self.dma, &self.chain.writable, at, bytes))??;
        Ok(())
    }

    fn pass<R>(&self, copy: impl FnOnce() -> R) -> Result<R, Stop> {
        self.gate.pass(self.queue, self.epoch, copy).ok_or(Stop::Gone)
    }

    /// Where on the drive `count` bytes from the request's sector on lie.
    fn place(&self, device: &dyn BlockDevice, count: u64) -> Result<u64, Stop> {
        let bad = Stop::Answer(Outcome::IoError);
        let Some(start) = self.sector.checked_mul(SECTOR) else { return Err(bad) };
        let inside = start.checked_add(count).is_some_and(|end| end <= device.len());
        let aligned =
            start.is_multiple_of(self.limits.block_size) && count.is_multiple_of(self.limits.block_size);
        if inside && aligned { Ok(start) } else { Err(bad) }
    }

    fn read(&self, device: &dyn BlockDevice, count: u64) -> Result<u32, Stop> {
        let start = self.place(device, count)?;
        let mut chunk = Buffer::new(CHUNK.min(count as usize));
        let mut done = 0;
        while done < count {
            let size = chunk.len().min((count - done) as usize);
            let part = chunk.get_mut(..size).unwrap_or_default();
            device.read_at(start + done, part)?;
            self.put(done, part)?;
            done += size as u64;
        }
        Ok(count as u32)
    }

    fn write(&self, device: &dyn BlockDevice) -> Result<u32, Stop> {
        let count = length(&self.chain.readable).saturating_sub(HEADER);
        if device.read_only() {
            return Err(Stop::Answer(Outcome::IoError));
        }
        let start = self.place(device, count)?;
        let mut chunk = Buffer::new(CHUNK.min(count as usize));
        let mut done = 0;
        while done < count {
            let size = chunk.len().min((count - done) as usize);
            let part = chunk.get_mut(..size).unwrap_or_default();
            self.pass(|| gather(&self.dma, &self.chain.readable, HEADER + done, part))??;
            device.write_at(start + done, part)?;
            done += size as u64;
        }
        if self.write_through {
            device.flush()?;
        }
        Ok(0)
    }

    fn get_id(&self, room: u64) -> Result<u32, Stop> {
        let count = self.serial.len().min(room as usize);
        let id = self.serial.get(..count).unwrap_or_default();
        self.put(0, id)?;
        Ok(count as u32)
    }

    /// The one segment of a discard or of writing zeroes (5.2.6): where, how many bytes, flags.
    fn segment(&self, device: &dyn BlockDevice, max_sectors: u32) -> Result<(u64, u64, u32), Stop> {
        let count = length(&self.chain.readable).saturating_sub(HEADER);
        let mut bytes = [0; 16];
        if count != 16 {
            // At most one segment was offered.
            return Err(Stop::Answer(Outcome::IoError));
        }
        self.pass(|| gather(&self.dma, &self.chain.readable, HEADER, &mut bytes))??;
        let all = u128::from_le_bytes(bytes);
        let (sector, sectors, flags) = (all as u64, (all >> 64) as u32, (all >> 96) as u32);
        let bytes = u64::from(sectors) * SECTOR;
        let start = sector.checked_mul(SECTOR).filter(|start| {
            start.checked_add(bytes).is_some_and(|end| end <= device.len()) && sectors <= max_sectors
        });
        let Some(start) = start.filter(|_| !device.read_only()) else {
            return Err(Stop::Answer(Outcome::IoError));
        };
        Ok((start, bytes, flags))
    }

    fn discard(&self, device: &dyn BlockDevice) -> Result<u32, Stop> {
        let (start, bytes, flags) = self.segment(device, self.limits.max_discard_sectors)?;
        if flags != 0 {
            return Err(Stop::Answer(Outcome::Unsupported));
        }
        device.discard(start, bytes)?;
        Ok(0)
    }

    fn write_zeroes(&self, device: &dyn BlockDevice) -> Result<u32, Stop> {
        let (start, bytes, flags) = self.segment(device, self.limits.max_write_zeroes_sectors)?;
        if flags & !1 != 0 {
            return Err(Stop::Answer(Outcome::Unsupported));
        }
        device.write_zeroes(start, bytes, flags & 1 != 0)?;
        if self.write_through {
            device.flush()?;
        }
        Ok(0)
    }
}
