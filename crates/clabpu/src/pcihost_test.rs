use super::*;
use crate::mxfc::{BOOT, BOOT_SIZE, Mxfc};
use memory::{AddressSpace, Ram};

const CONFIG: u64 = 0x300_4000;
const ECAM: u64 = 0x3000_0000;
/// The card's registers through the enhanced window.
const CARD: u64 = ECAM + (1 << 15);

struct Board {
    space: Arc<AddressSpace>,
    irqs: [Line; 4],
    card: Arc<DeviceCell<Mxfc>>,
    _nodes: Vec<ObjectRef>,
}

impl Board {
    fn new() -> Self {
        let system = Region::container("system", WHOLE);
        let space = AddressSpace::new("memory", &system);
        let host = DeviceCell::new(PciHost::default());
        let irqs: [Line; 4] = std::array::from_fn(|_| Line::to_fn(|_| ()));
        for (n, irq) in irqs.iter().enumerate() {
            host.connect("sysbus-irq", n, irq.clone());
        }
        let node = Node::for_device(host.clone());
        let parts = PciHost::connect(&host, &node, &system).unwrap();
        system.add_subregion(CONFIG, &memory::port_region(&host, 0).unwrap());
        system.add_subregion(CONFIG + 4, &parts.data);
        system.add_subregion(ECAM, &parts.ecam);
        let ram = Ram::anonymous(BOOT_SIZE).unwrap();
        ram.fill(0, BOOT_SIZE, 0x5a);
        let card = DeviceCell::new(Mxfc::default());
        Mxfc::connect(&card, Region::rom("boot", ram), None);
        let device: Arc<dyn AnyDevice> = card.clone();
        let card_node = Node::for_device(device.clone());
        parts.bus.plug(&device, &card_node, Some(8), false, false).unwrap();
        Self { space, irqs, card, _nodes: vec![node, card_node] }
    }
    fn get(&self, address: u64) -> u64 {
        self.space.read_int(address, 4).unwrap()
    }
    fn set(&self, address: u64, value: u64) {
        self.space.write_int(address, 4, value).unwrap();
    }
}

#[test]
fn both_ways_lead_to_the_same_registers() {
    let board = Board::new();
    assert_eq!(board.get(ECAM), 0xc1ab_1234);
    assert_eq!(board.get(CONFIG + 4), 0xffff_ffff, "the address is off");
    board.set(CONFIG, 1 << 31 | 1 << 11);
    assert_eq!((board.get(CONFIG), board.get(CONFIG + 4)), (0x8000_0800, 0x4d58_1234));
    board.set(CONFIG, 1 << 31 | 1 << 11 | 0x14);
    board.set(CONFIG + 4, u32::MAX.into());
    assert_eq!(board.get(CARD + 0x14), 0xfff0_0000);
    // No such function, no such bus.
    board.set(CONFIG, 1 << 31 | 2 << 11);
    assert_eq!(board.get(CONFIG + 4), 0xffff_ffff);
    board.set(CONFIG, 1 << 31 | 1 << 16);
    assert_eq!(board.get(CONFIG + 4), 0xffff_ffff);
}

#[test]
fn the_boot_flash_stays_where_it_is() {
    let board = Board::new();
    for value in [0, 0x5000_0000, u64::from(u32::MAX)] {
        board.set(CARD + 0x10, value);
        assert_eq!(board.get(CARD + 0x10), BOOT);
        board.set(CARD + 4, value & 7);
        assert_eq!(board.get(BOOT), 0x5a5a_5a5a);
    }
    AnyDevice::reset(&*board.card);
    assert_eq!(board.get(BOOT + BOOT_SIZE - 4), 0x5a5a_5a5a);
}

#[test]
fn the_others_follow_their_registers() {
    let board = Board::new();
    for (bar, address) in [(1, 0x5000_0000), (2, 0x5010_0000), (3, 0x5020_0000)] {
        board.set(CARD + 0x10 + 4 * bar, address);
    }
    assert!(board.space.read_int(0x5020_0000, 4).is_err(), "memory is not enabled");
    board.set(CARD + 4, 2);
    assert_eq!(board.get(0x5020_0000), u64::from(u32::from_le_bytes(*b"MXFC")));
    // A flash clears bits; a block is erased.
    board.set(0x5001_0000, 0x1234_5678);
    board.set(0x5001_0000, 0xff00_ffff);
    board.set(0x5010_0004, 0xcafe);
    assert_eq!((board.get(0x5001_0000), board.get(0x5010_0004)), (0x1200_5678, 0xcafe));
    board.set(0x5020_0008, 2);
    board.set(0x5020_0014, 1);
    assert_eq!(board.get(0x5001_0000), 0xffff_ffff);
    // Pin A of device 1 is line B.
    assert_eq!(board.irqs.each_ref().map(Line::level), [false, true, false, false]);
    board.set(0x5020_0004, 2);
    assert!(!board.irqs[1].level());
    // Moved.
    board.set(CARD + 0x1c, 0x6000_0000);
    assert!(board.space.read_int(0x5020_0000, 4).is_err());
    board.set(0x6000_000c, u64::from(b'!'));
    assert_eq!((board.get(0x6000_0010), board.get(0x6000_0004)), (1, 1));
    // A reset of the function forgets the registers and not the memories.
    AnyDevice::reset(&*board.card);
    assert_eq!((board.get(0x6000_0010), board.get(0x5010_0004)), (0, 0xcafe));
}

#[test]
fn common() {
    let device: Arc<dyn AnyDevice> = DeviceCell::new(PciHost::default());
    object::check::check_device(&device, 1, 10_000).unwrap();
}
