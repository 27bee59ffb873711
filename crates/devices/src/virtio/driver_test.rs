//! A driver for tests: rings in a small guest memory, driven through the MMIO transport.

use std::sync::Arc;

use memory::{AddressSpace, Dma, Ram, Region};
use object::{AnyDevice, DeviceCell, Line};

use super::common::FunctionRef;
use super::mmio::VirtioMmio;

pub(crate) const BASE: u64 = 0x8000_0000;
pub(crate) const SIZE: u64 = 8 << 20;
/// Where buffers of tests lie.
pub(crate) const DATA: u64 = BASE + (1 << 20);
const SIZE_OF_QUEUE: u16 = 64;

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
        self.next_avail = vec![0; queue as usize];
        self.next_used = vec![0; queue as usize];
        self.next_desc = vec![0; queue as usize];
        self.kicked = vec![0; queue as usize];
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

    fn desc(&self, at: u64, address: u64, length: u32, flags: u16, next: u16) {
        let value = u128::from(address)
            | u128::from(length) << 64
            | u128::from(flags) << 96
            | u128::from(next) << 112;
        self.dma.write(at, &value.to_le_bytes()).unwrap();
    }

    /// Makes a chain available, without telling the device; returns its head.
    pub(crate) fn add(&mut self, queue: usize, readable: &[(u64, u32)], writable: &[(u64, u32)]) -> u16 {
        let (desc, avail, _) = rings(queue);
        let buffers: Vec<_> =
            readable.iter().map(|b| (b, 0)).chain(writable.iter().map(|b| (b, 2))).collect();
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

    /// Tells the device of new chains, if it wants to be told.
    pub(crate) fn kick(&mut self, queue: usize) {
        let (_, _, used) = rings(queue);
        let (old, new) = (self.kicked[queue], self.next_avail[queue]);
        self.kicked[queue] = new;
        let wanted = if self.event_idx {
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
        let (_, _, used) = rings(queue);
        let at = self.next_used[queue];
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
