//! A driver in a small guest memory, and one that means no good.

use std::sync::Mutex;

use memory::{AddressSpace, Ram, Region, WHOLE};
use object::check::Random;
use object::{AnyDevice, Line, Node};

use super::*;
use crate::net::checksum::{Layers, finish, sum, write16};
use crate::pci::{Function, Intx, PciBus};

const RAM: u64 = 0x8000_0000;
const BAR: u64 = 0x4000_0000;
const TX: u64 = RAM;
const RX: u64 = RAM + 0x1000;
const DATA: u64 = RAM + 0x10_0000;
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

#[derive(Default)]
struct Peer {
    sent: Mutex<Vec<(Vec<u8>, FrameOffload)>>,
    receiver: Mutex<Option<Arc<dyn NetReceiver>>>,
    able: Offloads,
}

impl NetPeer for Peer {
    fn send(&self, frame: &[u8], offload: FrameOffload) {
        self.sent.lock().unwrap().push((frame.to_vec(), offload));
    }
    fn set_receiver(&self, receiver: Option<Arc<dyn NetReceiver>>) {
        *self.receiver.lock().unwrap() = receiver;
    }
    fn receive_ready(&self) {}
    fn offloads(&self) -> Offloads {
        self.able
    }
    fn describe(&self) -> String {
        "type=test".to_owned()
    }
}

struct Driver {
    space: Arc<AddressSpace>,
    function: Arc<Function>,
    cell: Arc<DeviceCell<E1000e>>,
    peer: Arc<Peer>,
    pin: Line,
    _runner: events::Runner,
}

impl Driver {
    fn new(able: Offloads) -> Self {
        let system = Region::container("system", WHOLE);
        system.add_subregion(RAM, &Region::ram("ram", Ram::anonymous(8 << 20).unwrap()));
        let space = AddressSpace::new("memory", &system);
        let memory = Region::container("memory", WHOLE);
        let io = Region::container("io", 0x1_0000);
        system.add_subregion(BAR, &Region::alias("low", &memory, BAR, 0x10_0000));
        let pin = Line::to_fn(|_| ());
        let lines = [0, 1, 2, 3].map(|_| pin.clone());
        let bus = PciBus::root("pcie.0", &Node::new("PCIE"), memory, io, system, Intx::new(lines));
        let (events, runner) = events::EventLoop::new().unwrap();
        let peer = Arc::new(Peer { able, ..Peer::default() });
        let cell = DeviceCell::new(E1000e::default());
        E1000e::connect(&cell, &events, Some(peer.clone()));
        let device: Arc<dyn AnyDevice> = cell.clone();
        let node = Node::for_device(device.clone());
        let function = bus.plug(&device, &node, None, false, false).unwrap();
        Box::leak(Box::new(node));
        let driver = Self { space, function, cell, peer, pin, _runner: runner };
        driver.map();
        driver
    }

    fn map(&self) {
        let bars = [(0x10, BAR), (0x14, BAR + 0x2_0000), (0x18, 0x1000), (0x1c, BAR + 0x4_0000), (4, 7)];
        for (offset, value) in bars {
            self.function.write_config(offset, 4, value).perform(&mut |_| ());
        }
    }

    fn read(&self, offset: u32) -> u32 {
        self.space.read_int(BAR + u64::from(offset), 4).unwrap_or(0) as u32
    }
    fn write(&self, offset: u32, value: u64) {
        let _ = self.space.write_int(BAR + u64::from(offset), 4, value);
    }

    /// Rings of 64 places, and both directions on.
    fn start(&self, rctl: u64) {
        for (registers, base) in [(0x2800, RX), (0x3800, TX)] {
            for (offset, value) in [(0, base), (4, 0), (8, 64 * 16), (0x10, 0), (0x18, 0)] {
                self.write(registers + offset, value);
            }
        }
        self.write(at::TCTL, 2);
        self.write(at::RCTL, rctl | 2 | 1 << 26);
    }

    /// Puts descriptors into the transmit ring and tells the card.
    fn send(&self, descriptors: &[(u64, u64)]) {
        let mut tail = u64::from(self.read(at::TDT));
        for (low, high) in descriptors {
            self.space.write_int(TX + 16 * tail, 8, *low).unwrap();
            self.space.write_int(TX + 16 * tail + 8, 8, *high).unwrap();
            tail = (tail + 1) % 64;
        }
        self.write(at::TDT, tail);
    }

    fn receive(&self, frame: &[u8], offload: FrameOffload) -> bool {
        let receiver = self.peer.receiver.lock().unwrap().clone().unwrap();
        let taken = receiver.receive(frame, offload);
        receiver.burst_done();
        taken
    }

    fn bytes(&self, at: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.space.read(at, &mut bytes).unwrap();
        bytes
    }
    fn sent(&self) -> Vec<(Vec<u8>, FrameOffload)> {
        std::mem::take(&mut *self.peer.sent.lock().unwrap())
    }
}

/// A TCP/IPv4 packet to the card with this much payload, with right checksums.
fn packet(payload: usize) -> Vec<u8> {
    let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 2, 8, 0]].concat();
    frame.extend([0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15]);
    frame.extend([0, 80, 0x10, 0, 0, 0, 0, 100, 0, 0, 0, 1, 0x50, 0x19, 0x20, 0, 0, 0, 0, 0]);
    frame.extend((0..payload).map(|n| n as u8));
    let length = frame.len() as u16 - 14;
    write16(&mut frame, 16, length);
    fill(&mut frame, 14, 24, 34);
    open(&mut frame);
    fill(&mut frame, 34, 50, 0);
    frame
}

use crate::net::checksum::fill;

/// Leaves the sum over the pseudo header in the place of TCP's checksum.
fn open(frame: &mut [u8]) {
    let length = frame.len() as u32 - 34;
    let pseudo = !finish(sum(6 + length, &frame[26..34]));
    write16(frame, 50, pseudo);
}

#[test]
fn identity_eeprom_and_transceiver() {
    let driver = Driver::new(Offloads::default());
    assert_eq!(driver.read(at::STATUS), 0x8008_0283);
    assert_eq!(driver.read(at::CTRL), 0x0014_0241);
    assert_eq!((driver.read(0x5400), driver.read(0x5404)), (0x1200_5452, 0x8000_5634));
    let mut sum = 0u16;
    for word in 0..64 {
        driver.write(at::EERD, word << 2 | 1);
        let answer = driver.read(at::EERD);
        assert_eq!(answer & 0xffff, (word as u32) << 2 | 2);
        sum = sum.wrapping_add((answer >> 16) as u16);
    }
    assert_eq!(sum, 0xbaba);
    let phy = |register: u64| {
        driver.write(at::MDIC, 2 << 26 | 1 << 21 | register << 16);
        driver.read(at::MDIC)
    };
    assert_eq!((phy(2), phy(3), phy(1)), (0x1822_0141, 0x1823_0cb1, 0x1821_796d));
    assert_eq!(phy(11) >> 30 & 1, 1, "there is no such register");
    // Power down takes the link away, and says so.
    driver.write(at::IMS, cause::LSC.into());
    driver.write(at::MDIC, 1 << 26 | 1 << 21 | 0x800);
    assert!(driver.pin.level());
    assert_eq!(driver.read(at::ICR) & 0x8000_0004, 0x8000_0004);
    assert!(!driver.pin.level());
    assert_eq!(driver.read(at::STATUS) & 2, 0);
    driver.write(at::MDIC, 1 << 26 | 1 << 21 | 0x1200);
    assert_eq!((driver.read(at::STATUS) & 2, phy(0) & 0xffff), (2, 0x1000));
    // The ports reach the registers too.
    driver.cell.write(PORTS, 0, 4, 0x5400).perform(&mut |_| ());
    assert_eq!(driver.cell.read(PORTS, 4, 4), 0x1200_5452);
    // A reset of the card brings everything back but the transceiver.
    driver.write(at::RCTL, 0xffff);
    driver.write(at::CTRL, 1 << 26);
    assert_eq!((driver.read(at::RCTL), driver.read(at::CTRL)), (0, 0x0014_0241));
}

#[test]
fn sends_whole_frames_and_checksums() {
    let driver = Driver::new(Offloads { checksum: true, tso4: true });
    driver.start(0);
    driver.write(at::IMS, cause::TXDW.into());
    let mut frame = packet(100);
    let right = frame.clone();
    driver.space.write(DATA, &frame).unwrap();
    // Legacy, in two pieces.
    driver.send(&[(DATA, 20 | 2 << 24), (DATA + 20, 134 | 0xb << 24)]);
    assert_eq!(driver.sent(), [(right.clone(), FrameOffload::default())]);
    assert_eq!(driver.bytes(TX + 28, 1), [1]);
    assert_eq!(driver.bytes(TX + 12, 1), [0], "no report was asked for");
    assert_eq!(driver.read(0x3810), 2);
    assert!(driver.pin.level());
    assert_eq!(driver.read(at::ICR), 0x8040_0003);
    // Extended, with both checksums to be made, of which the second is left to the back end.
    write16(&mut frame, 24, 0);
    open(&mut frame);
    driver.space.write(DATA, &frame).unwrap();
    let context = (14 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40, 0x20 << 24);
    let data = (DATA, 154 | 1 << 20 | 0x2b << 24 | 3 << 40);
    driver.send(&[context, data]);
    let offload = FrameOffload { checksum: Some((34, 16)), segment: None };
    let mut expected = right.clone();
    expected[50..52].copy_from_slice(&frame[50..52]);
    assert_eq!(driver.sent(), [(expected, offload)]);
    // With a tag it is made here.
    driver.write(at::CTRL, 0x4014_0241);
    driver.send(&[context, (DATA, 154 | 1 << 20 | 0x6b << 24 | 3 << 40 | 0x123 << 48)]);
    let sent = driver.sent();
    assert_eq!(sent[0].0[12..16], [0x81, 0, 1, 0x23]);
    assert_eq!(sent[0].0[16..], right[12..]);
    assert_eq!((driver.read(0x4080), driver.read(0x4080)), (3, 0), "statistics");
}

#[test]
fn cuts_segments_or_leaves_them() {
    let context =
        |mss: u64| (14 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40, 0x27 << 24 | 54 << 40 | mss << 48);
    let data = (DATA, 3054 | 1 << 20 | 0x2f << 24 | 3 << 40);
    let mut frame = packet(3000);
    let payload = frame[54..].to_vec();
    for (able, pieces) in [(true, 1), (false, 3)] {
        let driver = Driver::new(Offloads { checksum: able, tso4: able });
        driver.start(0);
        // As Linux does: no length, neither in the header nor in the sum.
        write16(&mut frame, 16, 0);
        write16(&mut frame, 24, 0);
        let pseudo = !finish(sum(6, &frame[26..34]));
        write16(&mut frame, 50, pseudo);
        driver.space.write(DATA, &frame).unwrap();
        driver.send(&[context(1200), data]);
        let sent = driver.sent();
        assert_eq!(sent.len(), pieces);
        let mut got = Vec::new();
        for (n, (bytes, offload)) in sent.iter().enumerate() {
            let layers = Layers::of(bytes).unwrap();
            assert_eq!((layers.end, layers.header_is_right(bytes)), (bytes.len(), true));
            if able {
                assert_eq!(*offload, FrameOffload { checksum: Some((34, 16)), segment: Some(1200) });
            } else {
                assert!(layers.transport_is_right(bytes));
                assert_eq!(u64::from(bytes[41]), (100 + 1200 * n as u64) & 0xff);
                assert_eq!(bytes[47] & 9, if n == 2 { 9 } else { 0 });
            }
            got.extend_from_slice(&bytes[54..]);
        }
        assert_eq!(got, payload);
    }
}

#[test]
fn receives_in_three_forms() {
    let driver = Driver::new(Offloads::default());
    for n in 0..64 {
        driver.space.write_int(RX + 16 * n, 8, DATA + 0x1000 * n).unwrap();
        driver.space.write_int(RX + 16 * n + 8, 8, 0).unwrap();
    }
    driver.start(1 << 15);
    driver.write(at::IMS, cause::RXT0.into());
    let mut frame = packet(100);
    assert!(!driver.receive(&frame, FrameOffload::default()), "there is no buffer");
    driver.write(at::RDT, 40);
    assert!(driver.receive(&frame, FrameOffload::default()));
    assert!(driver.pin.level());
    assert_eq!(driver.bytes(DATA, frame.len()), frame);
    // Length 154; done, end, TCP and IP checked.
    assert_eq!(driver.space.read_int(RX + 8, 8).unwrap() & 0xffff_0000_ffff, 0x0063_0000_009a);
    assert_eq!(driver.read(0x2810), 1);
    // A checksum that the back end has left open is made; a wrong one is found.
    let right = frame.clone();
    open(&mut frame);
    assert!(driver.receive(&frame, FrameOffload { checksum: Some((34, 16)), segment: None }));
    assert_eq!(driver.bytes(DATA + 0x1000, frame.len()), right);
    frame[60] ^= 1;
    assert!(driver.receive(&frame, FrameOffload::default()));
    assert_eq!(driver.space.read_int(RX + 0x28, 8).unwrap() >> 40 & 0xff, 0x20);
    // Extended, with a tag taken off.
    driver.write(at::CTRL, 0x4014_0241);
    driver.write(at::RFCTL, 1 << 15);
    let tagged = [&right[..12], &[0x81, 0, 0, 7], &right[12..]].concat();
    assert!(driver.receive(&tagged, FrameOffload::default()));
    assert_eq!(driver.space.read_int(RX + 0x38, 8).unwrap(), 0x0007_009a_0000_006b);
    assert_eq!(driver.bytes(DATA + 0x3000, right.len()), right);
    // A long one needs two buffers and permission.
    let long = packet(3000);
    assert!(driver.receive(&long, FrameOffload::default()));
    assert_eq!(driver.read(0x2810), 4);
    driver.write(at::RCTL, 1 << 15 | 1 << 26 | 2 | 1 << 5);
    assert!(driver.receive(&long, FrameOffload::default()));
    assert_eq!(driver.read(0x2810), 6);
    assert_eq!(driver.space.read_int(RX + 0x48, 8).unwrap() & 0xffff_ffff_ffff, 0x0800_0000_0001);
    assert_eq!(driver.space.read_int(RX + 0x58, 8).unwrap() & 0xffff_ffff_ffff, (3054 - 2048) << 32 | 0x63);
    // Headers and the rest in buffers of their own.
    driver.write(at::PSRCTL, 1 | 2 << 8 | 2 << 16);
    driver.write(at::RCTL, 1 << 15 | 1 << 26 | 2 | 1 << 5 | 1 << 10);
    for n in 0..4 {
        driver.space.write_int(RX + 96 + 8 * n, 8, DATA + 0x10_000 * n).unwrap();
    }
    assert!(driver.receive(&long, FrameOffload::default()));
    assert_eq!(driver.read(0x2810), 8);
    assert_eq!(driver.space.read_int(RX + 104, 8).unwrap(), 54 << 32 | 0x63);
    assert_eq!(driver.space.read_int(RX + 112, 8).unwrap(), 952 << 32 | 2048 << 16 | 0x8036);
    assert_eq!(driver.bytes(DATA + 0x1_0000, 2048), long[54..2102]);
    assert_eq!(driver.bytes(DATA + 0x2_0000, 952), long[2102..]);
}

#[test]
fn filters_and_loops_back() {
    let driver = Driver::new(Offloads::default());
    for n in 0..64 {
        driver.space.write_int(RX + 16 * n, 8, DATA).unwrap();
    }
    driver.start(0);
    driver.write(at::RDT, 60);
    let passes = |target: [u8; 6], vlan: Option<u8>| {
        let before = driver.read(0x2810);
        let tag: &[u8] = if vlan.is_some() { &[0x81, 0, 0] } else { &[] };
        let frame = [&target[..], &[2; 6], tag, vlan.as_slice(), &[8, 0], &[0; 50]].concat();
        assert!(driver.receive(&frame, FrameOffload::default()));
        driver.read(0x2810) != before
    };
    assert!(passes(MAC, None) && !passes([0x52, 0x54, 0, 0x12, 0x34, 0x57], None));
    assert!(!passes([0xff; 6], None) && !passes([1, 0, 0x5e, 0, 0, 1], None));
    driver.write(at::RCTL, 2 | 1 << 15);
    assert!(passes([0xff; 6], None));
    // Hash of 00:01 with the upper twelve bits.
    driver.write(at::MTA, 1 << 16);
    assert!(passes([1, 0, 0x5e, 0, 0, 1], None) && !passes([1, 0, 0x5e, 0, 0x10, 2], None));
    driver.write(at::RCTL, 2 | 1 << 3 | 1 << 4 | 1 << 18);
    assert!(passes([2; 6], None) && passes([3; 6], None) && !passes([3; 6], Some(5)));
    driver.write(at::VFTA, 1 << 5);
    assert!(passes([3; 6], Some(5)));
    driver.write(at::RCTL, 2 | 1 << 6);
    let frame = packet(10);
    driver.space.write(DATA + 0x8000, &frame).unwrap();
    driver.send(&[(DATA + 0x8000, 64 | 0xb << 24)]);
    assert!(driver.sent().is_empty());
    assert_eq!(driver.bytes(DATA, 64), frame);
    driver.cell.with(|card| card.set_link(false));
    assert_eq!(driver.read(at::STATUS) & 2, 0);
}

/// Five messages, cleared and masked of their own as the driver has asked.
#[test]
fn messages() {
    let driver = Driver::new(Offloads::default());
    let mailbox = DATA + 0x100;
    for n in 0..5 {
        for (word, value) in [mailbox + 4 * n, 0, 0x50 + n, 0].into_iter().enumerate() {
            let _ = driver.space.write_int(BAR + 0x4_0000 + 16 * n + 4 * word as u64, 4, value);
        }
    }
    driver.function.write_config(0xa0, 4, 0x8000_0000).perform(&mut |_| ());
    // Receive 0, transmit 2, others 4; clear and mask of their own.
    driver.write(at::IVAR, 0xc0a08);
    driver.write(at::EIAC, 0x50_0000);
    driver.write(at::CTRL_EXT, 1 << 24);
    driver.write(at::IAM, 0x1f0_0000);
    driver.write(at::IMS, 0x150_0004);
    driver.start(0);
    driver.send(&[(DATA, 64 | 0xb << 24)]);
    let message = |n: u64| driver.space.read_int(mailbox + 4 * n, 4).unwrap();
    assert_eq!([message(0), message(2), message(4)], [0, 0x52, 0]);
    assert_eq!(driver.read(at::IMS) & 0x40_0000, 0, "masked of its own");
    driver.write(at::ICS, cause::LSC.into());
    assert_eq!(message(4), 0x54);
    assert_eq!(driver.read(at::ICR) & 0x140_0004, 0x100_0004);
    assert!(!driver.pin.level());
}

#[test]
fn hostile_drivers_do_no_harm() {
    let driver = Driver::new(Offloads { checksum: true, tso4: true });
    let device: Arc<dyn AnyDevice> = driver.cell.clone();
    let mut random = Random::new(11);
    let place = |random: &mut Random| match random.below(4) {
        0 => random.value(),
        1 => BAR + random.below(0x8_0000),
        _ => RAM + random.below(8 << 20),
    };
    for round in 0..25 {
        driver.map();
        driver.write(at::CTRL, 1 << 26);
        driver.start([0, 1 << 5 | 0x18, 1 << 10 | 0x18, 1 << 6 | 0x38][round % 4]);
        driver.write(at::RFCTL, random.below(2) << 15);
        for _ in 0..150 {
            match random.below(8) {
                0..=2 => {
                    for n in 0..random.below(8) {
                        let at = TX + 16 * ((u64::from(driver.read(at::TDT)) + n) % 64);
                        let lengths = [0, 60, 1514, 0xffff, random.value() & 0xf_ffff];
                        let length = lengths[random.below(5) as usize];
                        let high = length | random.below(3) << 20 | random.value() << 24;
                        let _ = driver.space.write_int(at, 8, place(&mut random));
                        let _ = driver.space.write_int(at + 8, 8, high | random.below(2) << 29);
                    }
                    driver.write(at::TDT, random.below(66));
                }
                3 => {
                    for n in 0..64 {
                        let _ = driver.space.write_int(RX + 16 * n, 8, place(&mut random));
                        let _ = driver.space.write_int(RX + 16 * n + 8, 8, place(&mut random));
                    }
                    driver.write(at::RDT, random.below(66));
                }
                4 | 5 => {
                    let mut frame = packet(random.below(4000) as usize);
                    let at = random.below(54) as usize;
                    frame[at] = random.value() as u8;
                    let open = (random.value() as u16, random.value() as u16);
                    let checksum = (random.below(2) == 0).then_some(open);
                    driver.receive(&frame, FrameOffload { checksum, segment: None });
                }
                6 => {
                    let blocks = [0, 0xc0, 0x100, 0x2800, 0x3800, 0x5000, 0x5b00, 0xb600];
                    let offset = blocks[random.below(8) as usize] + 4 * random.below(16) as u32;
                    driver.write(offset, random.value());
                    driver.read(offset);
                }
                _ => {
                    driver
                        .function
                        .write_config(random.below(64) * 4, 4, random.value())
                        .perform(&mut |_| ());
                }
            }
        }
    }
    driver.map();
    object::check::check_device(&device, 1, 2000).unwrap();
}
