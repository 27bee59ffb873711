//! The tests that every device gets: random register accesses do no harm, what is saved is restored, reset
//! leads back to the beginning.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::block::pflash_cfi01::PflashCfi01;
use crate::firmware::fw_cfg::FwCfgMem;
use crate::virtio::balloon::VirtioBalloon;
use crate::virtio::blk::VirtioBlk;
use crate::virtio::console::VirtioSerial;
use crate::virtio::driver_test::guest_memory;
use crate::virtio::mmio::VirtioMmio;
use crate::virtio::net::VirtioNet;
use crate::virtio::rng::VirtioRng;
use object::{AnyDevice, Device, DeviceCell};
use state::{Loader, Saver};

/// A small random number generator (splitmix64), whose seed is printed.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded from the environment's `SEED` or else from the clock.
    pub(crate) fn new(what: &str) -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64)
        });
        println!("{what}: SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `limit`, which is above 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Mostly small numbers and numbers near powers of two.
    pub(crate) fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(16),
            1 => (1u64 << self.below(64)).wrapping_sub(self.below(2)),
            2 => u64::from(self.next() as u16) << 16 | self.below(8),
            _ => self.next(),
        }
    }
}

pub(crate) fn cell<D: Device>(device: D) -> Arc<dyn AnyDevice> {
    let cell = DeviceCell::new(device);
    cell.realize().unwrap();
    cell
}

type Make = fn() -> Arc<dyn AnyDevice>;

/// Every device in a configuration in which it has registers to play with.
fn all() -> Vec<Make> {
    vec![
        || cell(crate::char::ns16550a::Ns16550a::new(399_193, 0)),
        || cell(crate::intc::riscv_aclint::AclintMtimer::virt(3, 10_000_000)),
        || cell(crate::intc::riscv_aclint::AclintSwi::mswi(3)),
        || cell(crate::intc::riscv_aclint::AclintSwi::sswi(2)),
        || cell(crate::intc::sifive_plic::SifivePlic::virt("MS,MS").unwrap()),
        || cell(crate::misc::sifive_test::SifiveTest::new()),
        || cell(crate::rtc::goldfish_rtc::GoldfishRtc::new()),
        flash,
        firmware,
        || plugged(virtio_blk(), true),
        || plugged(virtio_blk(), false),
        || plugged(cell(VirtioRng::new()), false),
        || plugged(cell(VirtioBalloon::new()), false),
        || plugged(cell(VirtioBalloon::new()), true),
        || plugged(cell(VirtioNet::new()), false),
        || plugged(cell(VirtioNet::new()), true),
        || cell(VirtioNet::new()),
        || plugged(cell(VirtioSerial::new()), false),
        virtio_blk,
        || cell(VirtioRng::new()),
        || cell(VirtioBalloon::new()),
        || cell(VirtioSerial::new()),
    ]
}

fn flash() -> Arc<dyn AnyDevice> {
    let ram = memory::Ram::anonymous(1 << 20).unwrap();
    let cell = DeviceCell::new(PflashCfi01::virt("flash", 1 << 20));
    PflashCfi01::connect(&cell, &ram, None).unwrap();
    cell.realize().unwrap();
    cell
}

fn firmware() -> Arc<dyn AnyDevice> {
    let mut device = FwCfgMem::new(Some(guest_memory()));
    device.add_file("etc/x", vec![1; 100]).unwrap();
    device.add_writable_file("etc/y", vec![1; 100], None).unwrap();
    cell(device)
}

fn virtio_blk() -> Arc<dyn AnyDevice> {
    let cell = DeviceCell::new(VirtioBlk::new());
    let drive = backends::block::NullDevice { len: 1 << 20, read_only: false };
    VirtioBlk::connect(&cell, Arc::new(drive));
    cell.realize().unwrap();
    cell
}

/// A transport with a device on its bus: the guest sees both.
fn plugged(device: Arc<dyn AnyDevice>, legacy: bool) -> Arc<dyn AnyDevice> {
    let transport = DeviceCell::new(VirtioMmio::new(legacy));
    transport.realize().unwrap();
    VirtioMmio::plug_any(&transport, &device, guest_memory()).unwrap();
    transport
}

fn saved(device: &Arc<dyn AnyDevice>) -> Vec<u8> {
    let mut out = Saver::new();
    device.save(0, &mut out);
    out.into_bytes()
}

/// Random accesses, as the bus would let them through, most of them near the beginning of a window.
pub(crate) fn play(device: &Arc<dyn AnyDevice>, random: &mut Random, count: usize) {
    let regions = device.regions();
    for _ in 0..count {
        if device.inputs() > 0 && random.below(8) == 0 {
            device.input(random.below(u64::from(device.inputs())) as usize, random.below(2) == 0);
        }
        if random.below(32) == 0 {
            device.timer(random.below(4) as usize);
        }
        if regions.is_empty() {
            continue;
        }
        let n = random.below(regions.len() as u64) as usize;
        let region = &regions[n];
        let sizes: Vec<u32> = [1, 2, 4, 8]
            .into_iter()
            .filter(|size| *size >= region.access.impl_min && *size <= region.access.impl_max)
            .filter(|size| u64::from(*size) <= region.size)
            .collect();
        let size = sizes[random.below(sizes.len() as u64) as usize];
        let limit = if random.below(4) == 0 { region.size } else { region.size.min(0x200) };
        let offset = random.below(limit) / u64::from(size) * u64::from(size);
        if random.below(2) == 0 {
            device.read(n, offset, size);
        } else {
            let value = random.value();
            let value = if size == 8 { value } else { value & ((1 << (8 * size)) - 1) };
            let _effect = device.write(n, offset, size, value);
        }
    }
}

#[test]
fn random_accesses_do_no_harm() {
    let mut random = Random::new("registers");
    for make in all() {
        let device = make();
        play(&device, &mut random, 20_000);
    }
}

/// Every offset of every window, in every size, read and written once.
#[test]
fn every_register() {
    for make in all() {
        let device = make();
        for (n, region) in device.regions().iter().enumerate() {
            for size in [1u32, 2, 4, 8] {
                if size < region.access.impl_min || size > region.access.impl_max {
                    continue;
                }
                let step = usize::try_from(size).unwrap();
                for offset in (0..region.size.min(0x8000)).step_by(step) {
                    device.read(n, offset, size);
                    let _effect = device.write(n, offset, size, 0x5a5a_5a5a & ((1 << (8 * size.min(4))) - 1));
                }
            }
        }
    }
}

#[test]
fn saved_state_comes_back() {
    let mut random = Random::new("save and restore");
    for make in all() {
        let device = make();
        play(&device, &mut random, 500);
        let first = saved(&device);
        play(&device, &mut random, 500);
        device.load(0, &mut Loader::new(&first)).unwrap();
        assert_eq!(saved(&device), first, "{} restored in place", device.type_info().name);
        let other = make();
        other.load(0, &mut Loader::new(&first)).unwrap();
        assert_eq!(saved(&other), first, "{} restored elsewhere", device.type_info().name);
    }
}

#[test]
fn reset_leads_back() {
    let mut random = Random::new("reset");
    for make in all() {
        let (fresh, used) = (make(), make());
        fresh.reset();
        play(&used, &mut random, 500);
        for n in 0..used.inputs() {
            used.input(n as usize, false);
        }
        used.reset();
        assert_eq!(saved(&used), saved(&fresh), "{}", used.type_info().name);
    }
}

/// A damaged stream is refused or gives a state that can be used.
#[test]
fn damaged_states_do_no_harm() {
    let mut random = Random::new("damage");
    for make in all() {
        let device = make();
        play(&device, &mut random, 200);
        let good = saved(&device);
        for _ in 0..200 {
            let mut bad = good.clone();
            let at = random.below(bad.len() as u64) as usize;
            bad[at] = random.next() as u8;
            let victim = make();
            if victim.load(0, &mut Loader::new(&bad)).is_ok() {
                play(&victim, &mut random, 100);
            }
        }
    }
}

#[test]
fn types_are_unique() {
    let mut names: Vec<_> = crate::types().iter().map(|info| info.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
