use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use object::{AnyDevice, Device, DeviceCell};

use super::*;
use crate::region::WHOLE;
use crate::{Dma, Ram, device_regions, port_region};

#[derive(state::State, Default)]
#[state(name = "cellar", version = 1)]
struct Kept {
    value: u64,
}

/// Keeps one number; a write to offset 8 copies it by DMA to the address written, one to 16 asks for a reset,
/// one to 24 switches a region on.
#[derive(Device)]
#[device(name = "cellar", no_default)]
#[mmio(name = "cellar", size = 0x40, access = 1..=8, implemented = 4..=8)]
struct Cellar {
    dma: Option<Dma>,
    hidden: Option<Arc<Region>>,
    #[state]
    state: Kept,
}

impl Device for Cellar {
    fn read(&mut self, _: usize, _: u64, _: u32) -> u64 {
        self.state.value
    }
    fn write(&mut self, _: usize, offset: u64, _: u32, value: u64) -> Effect {
        match (offset, &self.dma) {
            (8, Some(dma)) => {
                assert_eq!(dma.write_u64(value, self.state.value), Ok(()));
                Effect::None
            }
            (32, Some(dma)) => {
                self.state.value = u64::from(dma.read_u32(value).is_err());
                Effect::None
            }
            (16, _) => Effect::RESET,
            (24, _) => {
                let hidden = self.hidden.clone();
                Effect::change_layout(move || hidden.unwrap().set_enabled(true))
            }
            _ => {
                self.state.value = value;
                Effect::None
            }
        }
    }
}

type Cell = Arc<DeviceCell<Cellar>>;

fn world() -> (Arc<AddressSpace>, Cell, Cell, Arc<Region>) {
    let system = Region::container("system", WHOLE);
    let space = AddressSpace::new("memory", &system);
    let ram = Region::ram("ram", Ram::anonymous(0x4000).unwrap());
    let rom = Region::rom("rom", Ram::anonymous(0x1000).unwrap());
    let device = || {
        DeviceCell::new(Cellar {
            dma: Some(Dma::new(&space)),
            hidden: Some(ram.clone()),
            state: Kept::default(),
        })
    };
    let (a, b) = (device(), device());
    transaction(|| {
        system.add_subregion(0x8000, &ram);
        system.add_subregion(0x1000, &rom);
        system.add_subregion(0x100, &device_regions(&a, None)[0]);
        let any: Arc<dyn AnyDevice> = b.clone();
        system.add_subregion(0x200, &port_region(&any, 0).unwrap());
        assert!(port_region(&any, 1).is_none());
        assert!(space.view().ranges().is_empty());
    });
    assert_eq!(space.view().ranges().len(), 4);
    (space, a, b, ram)
}

#[test]
fn numbers_and_bytes() {
    let (space, ..) = world();
    space.write_int(0x8001, 8, 0x0102_0304_0506_0708).unwrap();
    assert_eq!(space.read_int(0x8001, 2), Ok(0x0708));
    let mut bytes = [0; 3];
    space.read(0x8001, &mut bytes).unwrap();
    assert_eq!(bytes, [8, 7, 6]);
    assert_eq!(space.read_int(0xbffe, 4), Err(BusError::Decode));
    assert_eq!(space.read_int(0x0, 4), Err(BusError::Decode));
    assert_eq!(space.write_int(0x1000, 4, 1), Err(BusError::Decode));
    assert_eq!(space.write(u64::MAX, &[0, 0]), Err(BusError::Decode));
    space.write_rom(0x1000, &[7]).unwrap();
    assert_eq!(space.read_int(0x1000, 4), Ok(7));
    assert_eq!(space.write_rom(0x100, &[7]), Err(BusError::Decode));
}

#[test]
fn registers_in_bytes() {
    let (space, a, ..) = world();
    space.write(0x100, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(a.with(|d| d.state.value), 0x0807_0605_0403_0201);
    let mut bytes = [0; 3];
    space.read(0x101, &mut bytes).unwrap();
    assert_eq!(bytes, [2, 3, 4]);
    assert_eq!(space.lookup(0x13f).unwrap().left(0x13f), 1);
    assert_eq!(space.read_int(0x13c, 8), Err(BusError::Decode));
}

#[test]
fn dma_to_ram_and_to_registers() {
    let (space, a, b, _) = world();
    space.write_int(0x100, 8, 0x1234).unwrap();
    space.write_int(0x108, 8, 0x8008).unwrap();
    assert_eq!(space.read_int(0x8008, 8), Ok(0x1234));
    // From the registers of one device into those of another, and back into its own.
    space.write_int(0x108, 8, 0x200).unwrap();
    assert_eq!(b.with(|d| d.state.value), 0x1234);
    space.write_int(0x108, 8, 0x100).unwrap();
    assert_eq!(a.with(|d| d.state.value), 0x1234);
    // Reading another's registers is refused.
    space.write_int(0x120, 8, 0x200).unwrap();
    assert_eq!(a.with(|d| d.state.value), 1);
}

#[test]
fn effects_are_performed() {
    let (space, _, _, ram) = world();
    let resets = Arc::new(AtomicU32::new(0));
    let counter = resets.clone();
    space.set_effect_sink(Arc::new(move |effect| {
        assert!(matches!(effect, Effect::Reset { .. }) && !object::inside_device());
        counter.fetch_add(1, SeqCst);
    }));
    space.write_int(0x110, 4, 0).unwrap();
    assert_eq!(resets.load(SeqCst), 1);
    ram.set_enabled(false);
    assert_eq!(space.read_int(0x8000, 1), Err(BusError::Decode));
    space.write_int(0x118, 4, 0).unwrap();
    assert_eq!(space.read_int(0x8000, 1), Ok(0));
}

#[test]
fn listeners_and_aliases() {
    struct Count(AtomicU64);
    impl Listener for Count {
        fn changed(&self, old: &FlatView, new: &FlatView) {
            self.0.fetch_add((old.ranges().len() * 100 + new.ranges().len()) as u64, SeqCst);
        }
    }
    let (space, _, _, ram) = world();
    let outer = Region::container("other", WHOLE);
    outer.add_subregion(0, &Region::alias("window", space.root(), 0x8000, 0x1000));
    let other = AddressSpace::new("other", &outer);
    let count = Arc::new(Count(AtomicU64::new(0)));
    other.listen(count.clone());
    assert_eq!(count.0.swap(0, SeqCst), 1);
    ram.set_enabled(false);
    assert_eq!(count.0.swap(0, SeqCst), 100);
    space.root().remove(&ram);
    ram.set_enabled(true);
    assert_eq!(count.0.swap(0, SeqCst), 0);
    space.root().add_subregion(0x8000, &ram);
    ram.set_address(0x9000);
    assert_eq!(count.0.load(SeqCst), 101);
    transaction(|| transaction(|| ram.set_address(0x8000)));
    assert_eq!(other.view().ranges().len(), 1);
}

#[test]
fn listeners_leave() {
    struct Count(AtomicU64);
    impl Listener for Count {
        fn changed(&self, old: &FlatView, new: &FlatView) {
            self.0.fetch_add((old.ranges().len() * 100 + new.ranges().len()) as u64, SeqCst);
        }
    }
    let (space, _, _, ram) = world();
    let count = Arc::new(Count(AtomicU64::new(0)));
    let listener: Arc<dyn Listener> = count.clone();
    space.listen(listener.clone());
    assert_eq!(count.0.swap(0, SeqCst), 4);
    space.unlisten(&listener);
    space.unlisten(&listener);
    assert_eq!(count.0.swap(0, SeqCst), 400);
    ram.set_enabled(false);
    assert_eq!(count.0.load(SeqCst), 0);
}

#[test]
fn owners_in_the_tree() {
    let (_, _, _, ram) = world();
    let node = object::Node::new_device("thing");
    ram.set_owner(&node);
    assert_eq!(node.children()[0].0, "ram[0]");
    ram.set_unowned(&node);
    assert_eq!(node.children().len(), 1);
    ram.leave_tree();
    assert!(node.children().is_empty());
}

/// While one thread moves memory about, others always see all of it or none, and never a stale place after
/// the move has returned.
#[test]
fn changes_under_load() {
    let system = Region::container("system", WHOLE);
    let space = AddressSpace::new("memory", &system);
    let (low, high) = (Ram::anonymous(0x1000).unwrap(), Ram::anonymous(0x1000).unwrap());
    low.write_u64(0, 0x1111);
    high.write_u64(0, 0x2222);
    let (low, high) = (Region::ram("low", low), Region::ram("high", high));
    system.add_subregion(0, &low);
    system.add_overlap(0, &high, 1);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                while !done.load(SeqCst) {
                    assert!(matches!(space.read_int(0, 8), Ok(0x1111 | 0x2222)));
                }
            });
        }
        for n in 0..2000 {
            let on = n % 2 == 0;
            high.set_enabled(on);
            assert_eq!(space.read_int(0, 8), Ok(if on { 0x2222 } else { 0x1111 }));
        }
        done.store(true, SeqCst);
    });
}
