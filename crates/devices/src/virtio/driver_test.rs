//! A driver for tests: rings in a small guest memory, driven through the MMIO transport.

use std::sync::Arc;

use memory::{AddressSpace, Dma, Ram, Region};
use object::{AnyDevice, DeviceCell, Line};

use super::common::FunctionRef;
use super::mmio::VirtioMmio;
use crate::common_test::Random;

pub(crate) const BASE: u64 = 0x8000_0000;
pub(crate) const SIZE: u64 = 8 << 20;
/// Where buffers of tests lie.
pub(crate) const DATA: u64 = BASE + (1 << 20);
const SIZE_OF_QUEUE: u16 = 64;
/// The wrap counter of a place in a packed ring.
const WRAP: u16 = 1 << 15;

/// A place of a packed ring so many slots further on.
fn step(place: u16, slots: u16) -> u16 {
    (0..slots).fold(place, |place, _| {
        if (place & !WRAP) + 1 == SIZE_OF_QUEUE { (place ^ WRAP) & WRAP } else { place + 1 }
    })
}

pub(crate) struct Driver {
    pub(crate) dma: Dma,
    pub(crate) mmio: Arc<DeviceCell<VirtioMmio>>,
    pub(crate) irq: Line,
    legacy: bool,
    next_avail: Vec<u16>,
    next_used: Vec<u16>,
    next_desc: Vec<u16>,
    kicked: Vec<u16>,
    event_idx: bool,
    /// The packed layout; places are then slots with the wrap counter above.
    packed: bool,
    /// Packed: slots of each chain, by its ID.
    slots: Vec<[u16; SIZE_OF_QUEUE as usize]>,
}

pub(crate) fn guest_memory() -> Dma {
    let root = Region::container("system", memory::WHOLE);
    root.add_subregion(BASE, &Region::ram("ram", Ram::anonymous(SIZE).unwrap()));
    Dma::new(&AddressSpace::new("memory", &root))
}

pub(crate) fn rings(queue: usize) -> (u64, u64, u64) {
    let desc = BASE + 0x4000 * queue as u64;
    let avail = desc + 16 * u64::from(SIZE_OF_QUEUE);
    // As a legacy driver with pages of 4 KiB lays them out.
    (desc, avail, (avail + 6 + 2 * u64::from(SIZE_OF_QUEUE)).next_multiple_of(4096))
}

impl Driver {
    /// Plugs a device in and starts it, accepting what it offers but for `refuse`.
    pub(crate) fn start(function: FunctionRef, legacy: bool, refuse: u64) -> Self {
        let mut driver = Self::plug(function, legacy);
        driver.initialize(refuse);
        driver
    }

    pub(crate) fn plug(function: FunctionRef, legacy: bool) -> Self {
        let dma = guest_memory();
        let mmio = DeviceCell::new(VirtioMmio::new(legacy));
        let irq = Line::to_fn(|_| ());
        assert!(mmio.connect("sysbus-irq", 0, irq.clone()));
        mmio.realize().unwrap();
        VirtioMmio::plug(&mmio, function, dma.clone()).unwrap();
        let none = Vec::new();
        Self {
            dma,
            mmio,
            irq,
            legacy,
            next_avail: none.clone(),
            next_used: none.clone(),
            next_desc: none.clone(),
            kicked: none,
            event_idx: false,
            packed: false,
            slots: Vec::new(),
        }
    }

    pub(crate) fn read(&self, offset: u64) -> u64 {
        self.mmio.read(0, offset, 4)
    }

    pub(crate) fn write(&self, offset: u64, value: u64) {
        assert!(self.mmio.write(0, offset, 4, value).is_none());
    }

    pub(crate) fn offered(&self) -> u64 {
        self.write(0x14, 1);
        let high = self.read(0x10) << 32;
        self.write(0x14, 0);
        high | self.read(0x10)
    }

    pub(crate) fn initialize(&mut self, refuse: u64) {
        // The page size comes before the reset, as Linux does it.
        self.write(0x28, 4096);
        self.write(0x70, 0);
        self.write(0x70, 1);
        self.write(0x70, 3);
        let features = self.offered() & !refuse;
        self.write(0x24, 0);
        self.write(0x20, features & 0xffff_ffff);
        if !self.legacy {
            self.write(0x24, 1);
            self.write(0x20, features >> 32);
            self.write(0x70, 0xb);
            assert_eq!(self.read(0x70), 0xb);
        }
        let mut queue = 0;
        loop {
            self.write(0x30, queue);
            if self.read(0x34) == 0 {
                break;
            }
            self.set_queue_up(queue as usize);
            queue += 1;
        }
        self.packed = features & 1 << 34 != 0;
        let first = vec![if self.packed { WRAP } else { 0 }; queue as usize];
        self.next_avail = first.clone();
        self.next_used = first.clone();
        self.next_desc = first.clone();
        self.kicked = first;
        self.slots = vec![[0; SIZE_OF_QUEUE as usize]; queue as usize];
        self.event_idx = features & 1 << 29 != 0;
        self.write(0x70, 0xf);
        assert_eq!(self.read(0x70), 0xf);
    }

    fn set_queue_up(&self, queue: usize) {
        let (desc, avail, used) = rings(queue);
        let zeros = vec![0; 0x4000];
        self.dma.write(desc, &zeros).unwrap();
        self.write(0x38, u64::from(SIZE_OF_QUEUE));
        if self.legacy {
            self.write(0x3c, 4096);
            self.write(0x40, desc >> 12);
            assert_eq!(self.read(0x40), desc >> 12);
        } else {
            for (low, address) in [(0x80, desc), (0x90, avail), (0xa0, used)] {
                self.write(low, address & 0xffff_ffff);
                self.write(low + 4, address >> 32);
            }
            self.write(0x44, 1);
            assert_eq!(self.read(0x44), 1);
        }
    }

    /// Writes a descriptor; `next` is the ID in the packed layout.
    fn desc(&self, at: u64, address: u64, length: u32, flags: u16, next: u16) {
        let (flags, next) = if self.packed { (next, flags) } else { (flags, next) };
        let value = u128::from(address)
            | u128::from(length) << 64
            | u128::from(flags) << 96
            | u128::from(next) << 112;
        self.dma.write(at, &value.to_le_bytes()).unwrap();
    }

    fn add_packed(&mut self, queue: usize, buffers: &[(&(u64, u32), u16)]) -> u16 {
        let (desc, ..) = rings(queue);
        let first = self.next_avail[queue];
        let id = first & !WRAP;
        // The first descriptor comes last, since it makes the others available.
        for (n, ((address, length), flags)) in buffers.iter().enumerate().rev() {
            let place = step(first, n as u16);
            let owner = if place & WRAP != 0 { 1 << 7 } else { 1 << 15 };
            let flags = flags | owner | u16::from(n + 1 < buffers.len());
            self.desc(desc + 16 * u64::from(place & !WRAP), *address, *length, flags, id);
        }
        self.slots[queue][usize::from(id)] = buffers.len() as u16;
        self.next_avail[queue] = step(first, buffers.len() as u16);
        id
    }

    /// Makes a chain available, without telling the device; returns its head.
    pub(crate) fn add(&mut self, queue: usize, readable: &[(u64, u32)], writable: &[(u64, u32)]) -> u16 {
        let (desc, avail, _) = rings(queue);
        let buffers: Vec<_> =
            readable.iter().map(|b| (b, 0)).chain(writable.iter().map(|b| (b, 2))).collect();
        if self.packed {
            return self.add_packed(queue, &buffers);
        }
        let head = self.next_desc[queue];
        for (n, ((address, length), flags)) in buffers.iter().enumerate() {
            let index = (head + n as u16) % SIZE_OF_QUEUE;
            let last = n + 1 == buffers.len();
            let next = (index + 1) % SIZE_OF_QUEUE;
            let flags = flags | u16::from(!last);
            self.desc(desc + 16 * u64::from(index), *address, *length, flags, next);
        }
        self.next_desc[queue] = (head + buffers.len() as u16) % SIZE_OF_QUEUE;
        let at = self.next_avail[queue];
        self.dma.write_u16(avail + 4 + 2 * u64::from(at % SIZE_OF_QUEUE), head).unwrap();
        self.next_avail[queue] = at.wrapping_add(1);
        self.dma.write_u16(avail + 2, self.next_avail[queue]).unwrap();
        // Interrupt for each.
        self.dma.write_u16(avail + 4 + 2 * u64::from(SIZE_OF_QUEUE), self.next_used[queue]).unwrap();
        head
    }

    /// Fills a ring with whatever, in either layout.
    pub(crate) fn rubbish(&self, queue: usize, random: &mut Random) {
        let (desc, avail, used) = rings(queue);
        for at in 0..u64::from(SIZE_OF_QUEUE) {
            let address = if random.below(6) == 0 { random.next() } else { BASE + random.below(4 << 20) };
            let length = if random.below(8) == 0 { random.next() as u32 } else { random.below(5000) as u32 };
            let owner = [0, 1 << 7, 1 << 7, 1 << 15, 1 << 15 | 1 << 7][random.below(5) as usize];
            let flags = random.below(8) as u16 | if self.packed { owner } else { 0 };
            self.desc(desc + 16 * at, address, length, flags, random.below(70) as u16);
            self.dma.write_u16(avail + 4 + 2 * at, random.below(66) as u16).unwrap();
        }
        self.dma.write_u16(avail + 2, random.below(65) as u16).unwrap();
        self.dma.write_u16(avail, random.value() as u16).unwrap();
        self.dma.write_u16(used, random.value() as u16).unwrap();
    }

    /// Tells the device of new chains, if it wants to be told.
    pub(crate) fn kick(&mut self, queue: usize) {
        let (_, _, used) = rings(queue);
        let (old, new) = (self.kicked[queue], self.next_avail[queue]);
        self.kicked[queue] = new;
        let wanted = if self.packed {
            match self.dma.read_u16(used + 2).unwrap() {
                2 => {
                    let event = self.dma.read_u16(used).unwrap();
                    (0..SIZE_OF_QUEUE)
                        .map(|n| step(old, n))
                        .take_while(|place| *place != new)
                        .any(|p| p == event)
                }
                flags => flags == 0,
            }
        } else if self.event_idx {
            let event = self.dma.read_u16(used + 4 + 8 * u64::from(SIZE_OF_QUEUE)).unwrap();
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.dma.read_u16(used).unwrap() & 1 == 0
        };
        if wanted {
            self.write(0x50, queue as u64);
        }
    }

    /// The next chain that the device has used: its head and how much was written.
    pub(crate) fn used(&mut self, queue: usize) -> Option<(u16, u32)> {
        let (desc, _, used) = rings(queue);
        let at = self.next_used[queue];
        if self.packed {
            let element = desc + 16 * u64::from(at & !WRAP);
            let owner = self.dma.read_u16(element + 14).unwrap() & (1 << 15 | 1 << 7);
            if owner != if at & WRAP != 0 { 1 << 15 | 1 << 7 } else { 0 } {
                return None;
            }
            let id = self.dma.read_u16(element + 12).unwrap();
            self.next_used[queue] = step(at, self.slots[queue][usize::from(id)]);
            return Some((id, self.dma.read_u32(element + 8).unwrap()));
        }
        if self.dma.read_u16(used + 2).unwrap() == at {
            return None;
        }
        let element = self.dma.read_u64(used + 4 + 8 * u64::from(at % SIZE_OF_QUEUE)).unwrap();
        self.next_used[queue] = at.wrapping_add(1);
        Some((element as u16, (element >> 32) as u32))
    }

    /// Waits for a chain that a thread works on.
    pub(crate) fn wait(&mut self, queue: usize) -> (u16, u32) {
        for _ in 0..5000 {
            if let Some(used) = self.used(queue) {
                return used;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("the device does not answer");
    }

    pub(crate) fn bytes(&self, address: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.dma.read(address, &mut bytes).unwrap();
        bytes
    }
}
