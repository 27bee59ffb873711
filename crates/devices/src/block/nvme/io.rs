//! Commands for data (NVM command set, 6), as a worker thread performs them, and the pages that a command names (4.3).

use std::io;

use backends::block::{BlockDevice, Buffer};
use memory::Dma;

use super::queues::Command;
use super::status;
use crate::virtio::blk_request::Gate;

/// Codes of commands.
pub mod opcode {
    #![allow(missing_docs)]
    pub const FLUSH: u8 = 0x00;
    pub const WRITE: u8 = 0x01;
    pub const READ: u8 = 0x02;
    pub const COMPARE: u8 = 0x05;
    pub const WRITE_ZEROES: u8 = 0x08;
    pub const DATASET_MANAGEMENT: u8 = 0x09;
}

/// How much is copied between two looks at whether the command is still wanted.
const CHUNK: u64 = 256 << 10;
/// Bytes of one range of dataset management, and how many ranges there may be.
const RANGE: u64 = 16;
/// Write zeroes: the blocks may be given back to the host.
const DEALLOCATE: u32 = 1 << 25;
/// Force unit access.
const THROUGH: u32 = 1 << 30;

/// What a worker needs to reach guest memory, as long as the controller has not been reset.
pub struct Pass<'a> {
    /// The way to memory.
    pub dma: &'a Dma,
    /// What a reset closes.
    pub gate: &'a Gate,
    /// Which of its queues.
    pub queue: usize,
    /// What it was when the command was taken.
    pub epoch: u64,
}

impl Pass<'_> {
    fn through<R>(&self, copy: impl FnOnce() -> R) -> Result<R, Stop> {
        self.gate.pass(self.queue, self.epoch, copy).ok_or(Stop::Gone)
    }
}

/// Why a command ends before its end.
enum Stop {
    /// It is answered so.
    Answer(u16),
    /// The controller has been reset.
    Gone,
}

/// A command for data.
pub struct Job {
    kind: u8,
    pages: [u64; 2],
    offset: u64,
    bytes: u64,
    deallocate: bool,
    through: bool,
    ranges: u64,
    block: u64,
    blocks: u64,
}

impl Job {
    /// Checks a command against the namespace: `blocks` blocks of `block` bytes, transfers of at most `most` bytes.
    pub fn new(
        command: &Command,
        block: u64,
        blocks: u64,
        most: u64,
        write_through: bool,
    ) -> Result<Self, u16> {
        if !command.is_plain() {
            return Err(status::INVALID_FIELD);
        }
        let (first, control) = (command.double(10), command.word(12));
        let count = u64::from(control & 0xffff) + 1;
        let kind = command.opcode();
        let mut job = Self {
            kind,
            pages: command.pages(),
            offset: 0,
            bytes: 0,
            deallocate: control & DEALLOCATE != 0,
            through: write_through || control & THROUGH != 0,
            ranges: 0,
            block,
            blocks,
        };
        match kind {
            opcode::FLUSH => {}
            opcode::READ | opcode::WRITE | opcode::COMPARE | opcode::WRITE_ZEROES => {
                if first.checked_add(count).is_none_or(|end| end > blocks) {
                    return Err(status::LBA_RANGE);
                }
                (job.offset, job.bytes) = (first * block, count * block);
                if kind != opcode::WRITE_ZEROES && job.bytes > most {
                    return Err(status::INVALID_FIELD);
                }
            }
            opcode::DATASET_MANAGEMENT => {
                job.ranges = u64::from(command.word(10) & 0xff) + 1;
                // The other attributes are hints.
                job.deallocate = command.word(11) & 4 != 0;
            }
            _ => return Err(status::INVALID_OPCODE),
        }
        Ok(job)
    }

    /// Performs it; the status, or nothing if the controller has been reset.
    pub fn perform(&self, drive: &dyn BlockDevice, pass: &Pass<'_>, page: u64) -> Option<u16> {
        let result = match self.kind {
            opcode::FLUSH => drive.flush().map_err(|_| Stop::Answer(status::WRITE_FAULT)),
            opcode::READ => self.read(drive, pass, page),
            opcode::WRITE => self.write(drive, pass, page),
            opcode::COMPARE => self.compare(drive, pass, page),
            opcode::WRITE_ZEROES => {
                self.after(drive, drive.write_zeroes(self.offset, self.bytes, self.deallocate))
            }
            _ => self.manage(drive, pass, page),
        };
        match result {
            Ok(()) => Some(status::SUCCESS),
            Err(Stop::Answer(status)) => Some(status),
            Err(Stop::Gone) => None,
        }
    }

    /// A write has ended: it is on the medium where that was asked for.
    fn after(&self, drive: &dyn BlockDevice, written: io::Result<()>) -> Result<(), Stop> {
        let flush = |()| if self.through { drive.flush() } else { Ok(()) };
        written.and_then(flush).map_err(|_| Stop::Answer(status::WRITE_FAULT))
    }

    /// Does something with each part of the transfer.
    fn each(&self, mut act: impl FnMut(u64, u64) -> Result<(), Stop>) -> Result<(), Stop> {
        let mut done = 0;
        while done < self.bytes {
            let size = CHUNK.min(self.bytes - done);
            act(done, size)?;
            done += size;
        }
        Ok(())
    }

    fn buffers(&self, pass: &Pass<'_>, bytes: u64, page: u64) -> Result<Pages, Stop> {
        pass.through(|| Pages::of(self.pages, bytes, page, pass.dma))?.map_err(Stop::Answer)
    }

    fn read(&self, drive: &dyn BlockDevice, pass: &Pass<'_>, page: u64) -> Result<(), Stop> {
        let buffers = self.buffers(pass, self.bytes, page)?;
        self.each(|done, size| {
            let mut part = Buffer::new(size as usize);
            let read = drive.read_at(self.offset + done, &mut part);
            read.map_err(|_| Stop::Answer(status::READ_ERROR))?;
            pass.through(|| buffers.write(pass.dma, done, &part))?.map_err(Stop::Answer)
        })
    }

    fn write(&self, drive: &dyn BlockDevice, pass: &Pass<'_>, page: u64) -> Result<(), Stop> {
        let buffers = self.buffers(pass, self.bytes, page)?;
        self.each(|done, size| {
            let mut part = Buffer::new(size as usize);
            pass.through(|| buffers.read(pass.dma, done, &mut part))?.map_err(Stop::Answer)?;
            let written = drive.write_at(self.offset + done, &part);
            written.map_err(|_| Stop::Answer(status::WRITE_FAULT))
        })?;
        self.after(drive, Ok(()))
    }

    fn compare(&self, drive: &dyn BlockDevice, pass: &Pass<'_>, page: u64) -> Result<(), Stop> {
        let buffers = self.buffers(pass, self.bytes, page)?;
        self.each(|done, size| {
            let (mut ours, mut theirs) = (Buffer::new(size as usize), Buffer::new(size as usize));
            let read = drive.read_at(self.offset + done, &mut ours);
            read.map_err(|_| Stop::Answer(status::READ_ERROR))?;
            pass.through(|| buffers.read(pass.dma, done, &mut theirs))?.map_err(Stop::Answer)?;
            if *ours == *theirs { Ok(()) } else { Err(Stop::Answer(status::COMPARE_FAILURE)) }
        })
    }

    /// Dataset management: of its hints only that blocks are not needed any more means something.
    fn manage(&self, drive: &dyn BlockDevice, pass: &Pass<'_>, page: u64) -> Result<(), Stop> {
        if !self.deallocate {
            return Ok(());
        }
        let bytes = self.ranges * RANGE;
        let buffers = self.buffers(pass, bytes, page)?;
        let mut list = vec![0; bytes as usize];
        pass.through(|| buffers.read(pass.dma, 0, &mut list))?.map_err(Stop::Answer)?;
        for range in list.chunks(RANGE as usize) {
            let all = range.iter().rev().fold(0u128, |all, byte| all << 8 | u128::from(*byte));
            let (count, first) = (u64::from((all >> 32) as u32), (all >> 64) as u64);
            if first.checked_add(count).is_none_or(|end| end > self.blocks) {
                return Err(Stop::Answer(status::LBA_RANGE));
            }
            let done = drive.discard(first * self.block, count * self.block);
            done.map_err(|_| Stop::Answer(status::WRITE_FAULT))?;
        }
        Ok(())
    }
}

/// Pieces of guest memory, in order.
pub struct Pages(Vec<(u64, u64)>);

impl Pages {
    /// What two pointers name: a piece of a page and then either another page, or a list of pages (4.3).
    pub fn of(pointers: [u64; 2], bytes: u64, page: u64, dma: &Dma) -> Result<Self, u16> {
        let [first, second] = pointers;
        if first % 4 != 0 {
            return Err(status::INVALID_PRP_OFFSET);
        }
        let size = (page - first % page).min(bytes);
        let mut pieces = vec![(first, size)];
        let mut left = bytes - size;
        if left == 0 {
            return Ok(Self(pieces));
        }
        if left <= page {
            if second % page != 0 {
                return Err(status::INVALID_PRP_OFFSET);
            }
            pieces.push((second, left));
            return Ok(Self(pieces));
        }
        // The list goes on in another page where its last entry in one leads; what is left to find bounds it.
        let mut at = second;
        if at % 8 != 0 {
            return Err(status::INVALID_PRP_OFFSET);
        }
        while left > 0 {
            let is_last_of_page = (at + 8).is_multiple_of(page);
            let entry = dma.read_u64(at).map_err(|_| status::DATA_TRANSFER)?;
            if entry % page != 0 {
                return Err(status::INVALID_PRP_OFFSET);
            }
            if is_last_of_page && left > page {
                // A page of a list has room for more entries than one, so this ends too.
                at = entry;
                continue;
            }
            let size = left.min(page);
            pieces.push((entry, size));
            left -= size;
            at = at.wrapping_add(8);
        }
        Ok(Self(pieces))
    }

    /// The pieces that hold the bytes from `offset` to `offset + count`: place in the buffer, address, bytes.
    fn parts(&self, offset: u64, count: u64) -> impl Iterator<Item = (usize, u64, usize)> + '_ {
        let mut at = 0;
        self.0.iter().filter_map(move |(address, size)| {
            let (start, end) = (at.max(offset), (at + size).min(offset + count));
            let begin = at;
            at += size;
            (start < end).then(|| {
                ((start - offset) as usize, address.wrapping_add(start - begin), (end - start) as usize)
            })
        })
    }

    /// Copies guest bytes from `offset` on into `into`.
    pub fn read(&self, dma: &Dma, offset: u64, into: &mut [u8]) -> Result<(), u16> {
        let count = into.len() as u64;
        for (place, address, size) in self.parts(offset, count) {
            let part = into.get_mut(place..place + size).unwrap_or_default();
            dma.read(address, part).map_err(|_| status::DATA_TRANSFER)?;
        }
        Ok(())
    }

    /// Copies `bytes` to the guest.
    pub fn write(&self, dma: &Dma, offset: u64, bytes: &[u8]) -> Result<(), u16> {
        for (place, address, size) in self.parts(offset, bytes.len() as u64) {
            let part = bytes.get(place..place + size).unwrap_or_default();
            dma.write(address, part).map_err(|_| status::DATA_TRANSFER)?;
        }
        Ok(())
    }
}
