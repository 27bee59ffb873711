//! The split layout (2.7): a table of descriptors, a ring of available chains, a ring of used ones.

use std::sync::atomic::{Ordering, fence};

use memory::Dma;

use super::{Broken, Chain, DESC_INDIRECT, DESC_NEXT, Descriptor, MAX_CHAIN, Queue, passes};

const AVAIL_NO_INTERRUPT: u16 = 1;
const USED_NO_NOTIFY: u16 = 1;

impl Queue {
    fn wrap(&self, index: u16) -> u64 {
        u64::from(index & self.size.wrapping_sub(1))
    }

    pub(super) fn available_split(&self, dma: &Dma) -> Result<u16, Broken> {
        let index = Self::read_u16(dma, self.driver.wrapping_add(2))?;
        let waiting = index.wrapping_sub(self.last_avail);
        if waiting > self.size {
            return Err(Broken("more chains are available than the queue holds"));
        }
        // The entries are read after the index that says that they are there.
        fence(Ordering::Acquire);
        Ok(waiting)
    }

    pub(super) fn take_split(&self, dma: &Dma) -> Result<Chain, Broken> {
        let entry = self.driver.wrapping_add(4 + 2 * self.wrap(self.last_avail));
        let head = Self::read_u16(dma, entry)?;
        self.walk(dma, head)
    }

    fn walk(&self, dma: &Dma, head: u16) -> Result<Chain, Broken> {
        let mut chain = Chain { head, slots: 1, ..Chain::default() };
        let mut total = 0;
        let mut index = head;
        // A chain may not be longer than the queue: whoever has gone so far goes in circles.
        for _ in 0..self.size {
            if index >= self.size {
                return Err(Broken("a descriptor index is beyond the queue"));
            }
            let mut bytes = [0; 16];
            dma.read(self.desc.wrapping_add(16 * u64::from(index)), &mut bytes)
                .map_err(|_| Broken("the descriptor table is not in memory"))?;
            let desc = Descriptor::from_bytes(bytes);
            if desc.flags & DESC_INDIRECT != 0 {
                if !self.indirect || desc.flags & DESC_NEXT != 0 {
                    return Err(Broken("an indirect descriptor where there can be none"));
                }
                self.walk_table(dma, &desc, &mut chain, &mut total)?;
                return Ok(chain);
            }
            chain.add(&desc, &mut total)?;
            if desc.flags & DESC_NEXT == 0 {
                return Ok(chain);
            }
            index = desc.next;
        }
        Err(Broken("a chain is longer than the queue"))
    }

    fn walk_table(
        &self,
        dma: &Dma,
        table: &Descriptor,
        chain: &mut Chain,
        total: &mut u64,
    ) -> Result<(), Broken> {
        if table.length == 0 || !table.length.is_multiple_of(16) {
            return Err(Broken("the length of an indirect table is no multiple of 16"));
        }
        // What lies beyond the longest chain cannot be used, and is not read.
        let count = (table.length as usize / 16).min(MAX_CHAIN);
        let mut bytes = vec![0; count * 16];
        dma.read(table.address, &mut bytes).map_err(|_| Broken("an indirect table is not in memory"))?;
        let (entries, _) = bytes.as_chunks::<16>();
        let mut index = 0;
        for _ in 0..count {
            let entry = entries.get(index).ok_or(Broken("an index is beyond the indirect table"))?;
            let desc = Descriptor::from_bytes(*entry);
            if desc.flags & DESC_INDIRECT != 0 {
                return Err(Broken("an indirect table in an indirect table"));
            }
            chain.add(&desc, total)?;
            if desc.flags & DESC_NEXT == 0 {
                return Ok(());
            }
            index = usize::from(desc.next);
        }
        Err(Broken("a chain is longer than its indirect table"))
    }

    pub(super) fn push_split(&self, dma: &Dma, chain: &Chain, written: u32) -> Result<(), Broken> {
        let element = self.device.wrapping_add(4 + 8 * self.wrap(self.next_used));
        let value = u64::from(chain.head) | u64::from(written) << 32;
        dma.write(element, &value.to_le_bytes()).map_err(|_| Broken("the used ring is not in memory"))
    }

    pub(super) fn show_split(&self, dma: &Dma) -> Result<(), Broken> {
        // The elements are in place before the index that tells of them.
        fence(Ordering::Release);
        Self::write_u16(dma, self.device.wrapping_add(2), self.next_used)
    }

    pub(super) fn wanted_split(&self, dma: &Dma, old: Option<u16>) -> Result<bool, Broken> {
        if !self.event_idx {
            return Ok(Self::read_u16(dma, self.driver)? & AVAIL_NO_INTERRUPT == 0);
        }
        let used_event = Self::read_u16(dma, self.driver.wrapping_add(4 + 2 * u64::from(self.size)))?;
        Ok(old.is_none_or(|old| passes(used_event, self.next_used, old)))
    }

    pub(super) fn suppress_split(&self, dma: &Dma, suppress: bool) -> Result<(), Broken> {
        if !self.event_idx {
            return Self::write_u16(dma, self.device, if suppress { USED_NO_NOTIFY } else { 0 });
        }
        if suppress {
            return Ok(());
        }
        let avail_event = self.device.wrapping_add(4 + 8 * u64::from(self.size));
        Self::write_u16(dma, avail_event, self.last_avail)
    }
}
