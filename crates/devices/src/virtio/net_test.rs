use std::sync::Mutex;

use object::{AnyDevice, PropertyValue};

use super::super::common::Function;
use super::super::driver_test::{DATA, Driver};
use super::*;
use crate::common_test::Random;

#[derive(Default)]
struct Peer {
    sent: Mutex<Vec<(Vec<u8>, FrameOffload)>>,
    receiver: Mutex<Option<Arc<dyn NetReceiver>>>,
    asked: Mutex<u32>,
    plain: bool,
    queues: u16,
}

impl NetPeer for Peer {
    fn send(&self, frame: &[u8], offload: FrameOffload) {
        self.sent.lock().unwrap().push((frame.to_vec(), offload));
    }
    fn set_receiver(&self, receiver: Option<Arc<dyn NetReceiver>>) {
        *self.receiver.lock().unwrap() = receiver;
    }
    fn receive_ready(&self) {
        *self.asked.lock().unwrap() += 1;
    }
    fn offloads(&self) -> Offloads {
        Offloads { checksum: !self.plain, tso4: !self.plain }
    }
    fn queues(&self) -> u16 {
        self.queues.max(1)
    }
    fn describe(&self) -> String {
        "type=test".to_owned()
    }
}

struct Bench {
    cell: Arc<DeviceCell<VirtioNet>>,
    driver: Driver,
    peer: Arc<Peer>,
    _runner: events::Runner,
}

fn card(peer: &Arc<Peer>) -> (Arc<DeviceCell<VirtioNet>>, events::Runner) {
    let (events, runner) = EventLoop::new().unwrap();
    let cell = DeviceCell::new(VirtioNet::new());
    VirtioNet::connect(&cell, &events, Some(peer.clone()));
    cell.realize().unwrap();
    (cell, runner)
}

fn bench(legacy: bool, refuse: u64) -> Bench {
    let peer = Arc::new(Peer::default());
    let (cell, runner) = card(&peer);
    Bench { driver: Driver::start(cell.clone(), legacy, refuse), cell, peer, _runner: runner }
}

impl Bench {
    fn receiver(&self) -> Arc<dyn NetReceiver> {
        self.peer.receiver.lock().unwrap().clone().unwrap()
    }

    fn control(&mut self, command: &[u8]) -> u8 {
        self.driver.dma.write(DATA, command).unwrap();
        self.driver.dma.write_u8(DATA + 0x800, 0xee).unwrap();
        self.driver.add(2, &[(DATA, command.len() as u32)], &[(DATA + 0x800, 1)]);
        self.driver.kick(2);
        assert!(self.driver.used(2).is_some());
        self.driver.dma.read_u8(DATA + 0x800).unwrap()
    }

    /// Whether a frame for this address comes through.
    fn passes(&mut self, target: [u8; 6]) -> bool {
        let frame = [&target[..], &[0; 54]].concat();
        self.driver.add(0, &[], &[(DATA + 0x1000, 2048)]);
        assert!(self.receiver().receive(&frame, FrameOffload::default()));
        self.receiver().burst_done();
        let passed = self.driver.used(0).is_some();
        if !passed {
            // The buffer is used up by one that passes.
            let own = [&[0x52, 0x54, 0, 0x12, 0x34, 0x56][..], &[0; 54]].concat();
            self.receiver().receive(&own, FrameOffload::default());
            self.receiver().burst_done();
            assert!(self.driver.used(0).is_some());
        }
        passed
    }
}

/// With a back end that does no offloads the features are those of QEMU 10.0.2 with `-netdev user`, but for
/// the one that says nothing.
#[test]
fn features_and_configuration() {
    for (legacy, features) in [(true, 0x39bf_8024_u64), (false, 0x101_30bf_8024)] {
        let peer = Arc::new(Peer { plain: true, ..Peer::default() });
        let (cell, _runner) = card(&peer);
        assert_eq!(Driver::plug(cell.clone(), legacy).offered(), features);
        assert_eq!(cell.read_config(0, 4), 0x1200_5452);
        assert_eq!(cell.read_config(4, 4), 0x0001_5634);
        assert_eq!(cell.read_config(8, 2), 0xffff);
    }
}

#[test]
fn sends() {
    for (legacy, refuse, size) in [(true, feature::MRG_RXBUF, 10), (true, 0, 12), (false, 0, 12)] {
        let mut b = bench(legacy, refuse);
        b.driver.dma.write(DATA, &[0; 12]).unwrap();
        b.driver.dma.write(DATA + u64::from(size), b"hello world").unwrap();
        b.driver.add(1, &[(DATA, size), (DATA + u64::from(size), 11)], &[]);
        b.driver.kick(1);
        assert!(b.driver.used(1).is_some());
        let sent = b.peer.sent.lock().unwrap();
        assert_eq!(sent[..], [(b"hello world".to_vec(), FrameOffload::default())]);
    }
}

#[test]
fn sends_segments() {
    let mut b = bench(false, 0);
    let header = [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0];
    b.driver.dma.write(DATA, &header).unwrap();
    b.driver.add(1, &[(DATA, 12 + 60_000)], &[]);
    b.driver.add(1, &[(DATA, 12 + 80_000)], &[]);
    b.driver.kick(1);
    let sent = b.peer.sent.lock().unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].0.len(), sent[0].1),
        (60_000, FrameOffload { checksum: Some((34, 16)), segment: Some(1460) })
    );
}

#[test]
fn receives() {
    let mut b = bench(false, 0);
    let receiver = b.receiver();
    assert!(!receiver.can_receive());
    for n in 0..3 {
        b.driver.add(0, &[], &[(DATA + 0x1000 * n, 40)]);
    }
    b.driver.kick(0);
    assert!(*b.peer.asked.lock().unwrap() > 0);
    assert!(receiver.can_receive());
    assert_eq!(receiver.offloads(), Offloads { checksum: true, tso4: true });
    let frame: Vec<u8> = (0..80).collect();
    assert!(receiver.receive(&frame, FrameOffload { checksum: Some((34, 16)), segment: None }));
    assert_eq!(b.driver.used(0), None);
    receiver.burst_done();
    assert_eq!(
        [b.driver.used(0), b.driver.used(0), b.driver.used(0)],
        [Some((0, 40)), Some((1, 40)), Some((2, 12))]
    );
    assert_eq!(b.driver.bytes(DATA, 12), [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 3, 0]);
    let parts =
        [b.driver.bytes(DATA + 12, 28), b.driver.bytes(DATA + 0x1000, 40), b.driver.bytes(DATA + 0x2000, 12)];
    assert_eq!(parts.concat(), frame);
    // One buffer is too little: the frame waits.
    b.driver.add(0, &[], &[(DATA, 40)]);
    b.driver.kick(0);
    let before = *b.peer.asked.lock().unwrap();
    assert!(!receiver.receive(&frame, FrameOffload::default()));
    b.driver.add(0, &[], &[(DATA + 0x1000, 400)]);
    b.driver.kick(0);
    assert_eq!(*b.peer.asked.lock().unwrap(), before + 1);
    assert!(receiver.receive(&frame, FrameOffload::default()));
    receiver.burst_done();
    assert_eq!([b.driver.used(0), b.driver.used(0)], [Some((3, 40)), Some((4, 52))]);
}

#[test]
fn receives_without_merging() {
    let mut b = bench(true, feature::MRG_RXBUF);
    b.driver.add(0, &[], &[(DATA, 10), (DATA + 0x1000, 1514)]);
    b.driver.kick(0);
    let receiver = b.receiver();
    assert!(receiver.receive(&[7; 2000], FrameOffload::default()), "lost: it does not fit");
    assert!(receiver.receive(&[7; 60], FrameOffload::default()));
    receiver.burst_done();
    assert_eq!(b.driver.used(0), Some((0, 70)));
    assert_eq!(b.driver.bytes(DATA + 0x1000, 61), [vec![7; 60], vec![0]].concat());
}

#[test]
fn filters() {
    let mut b = bench(false, feature::CTRL_VLAN);
    let (own, other) = ([0x52, 0x54, 0, 0x12, 0x34, 0x56], [2, 0, 0, 0, 0, 9]);
    let group = [1, 0, 0x5e, 0, 0, 1];
    assert!(b.passes(own) && b.passes(other) && b.passes(group));
    let told = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = told.clone();
    VirtioNet::on_filter(&b.cell, move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(b.control(&[0, 0, 0]), ACK_OK);
    assert!(b.passes(own) && !b.passes(other) && !b.passes(group) && b.passes([0xff; 6]));
    let table = [&[1, 0, 1, 0, 0, 0][..], &other, &[1, 0, 0, 0], &group].concat();
    assert_eq!(b.control(&table), ACK_OK);
    assert!(b.passes(other) && b.passes(group) && !b.passes([1, 0, 0x5e, 0, 0, 2]));
    assert_eq!(b.control(&[0, 5, 1]), ACK_OK);
    assert!(!b.passes([0xff; 6]));
    assert_eq!(b.control(&[1, 0, 0xff, 0xff, 0xff, 0xff]), ACK_ERROR);
    assert_eq!((b.control(&[9, 9, 9]), b.control(&[0])), (ACK_ERROR, ACK_ERROR));
    assert_eq!(b.control(&[1, 1, 2, 0, 0, 0, 0, 7]), ACK_OK);
    assert_eq!(b.cell.read_config(0, 4), 2);
    assert_eq!(b.control(&[5, 0, 0, 0, 0, 0, 0, 0, 0, 0]), ACK_OK);
    assert_eq!(b.receiver().offloads(), Offloads::default());
    assert_eq!(b.control(&[5, 0, 0, 0, 0, 1, 0, 0, 0, 0]), ACK_ERROR);
    // The first change is told, and the first after each look.
    let times = || told.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(times(), 1);
    VirtioNet::rx_filter(&b.cell);
    assert_eq!((b.control(&[0, 0, 1]), b.control(&[0, 0, 0])), (ACK_OK, ACK_OK));
    assert_eq!(times(), 2);
}

#[test]
fn vlans() {
    let mut b = bench(false, 0);
    let frame = |vlan: u16| [&[0xff; 12][..], &[0x81, 0], &vlan.to_be_bytes(), &[0; 50]].concat();
    b.driver.add(0, &[], &[(DATA, 2048)]);
    let receiver = b.receiver();
    assert!(receiver.receive(&frame(5), FrameOffload::default()));
    receiver.burst_done();
    assert_eq!(b.driver.used(0), None);
    assert_eq!(b.control(&[2, 0, 5, 0]), ACK_OK);
    assert_eq!(b.control(&[2, 0, 0, 0x10]), ACK_ERROR);
    assert!(receiver.receive(&frame(0x2005), FrameOffload::default()));
    receiver.burst_done();
    assert!(b.driver.used(0).is_some());
}

#[test]
fn the_link() {
    let b = bench(false, 0);
    VirtioNet::set_link(&b.cell, false);
    assert_eq!((b.cell.read_config(6, 2), b.driver.read(0x60), b.driver.read(0xfc)), (0, 3, 1));
    assert!(b.receiver().receive(&[0; 60], FrameOffload::default()), "lost");
    VirtioNet::set_link(&b.cell, true);
    assert_eq!(b.cell.read_config(6, 2), 1);
    VirtioNet::announce(&b.cell);
    assert_eq!(b.cell.read_config(6, 2), 3);
}

#[test]
fn hostile_rings() {
    for packed in [false, true] {
        let mut random = Random::new("hostile network driver");
        let mut b = bench(false, 0);
        b.cell.with(|card| card.packed = packed);
        b.driver.initialize(0);
        for _ in 0..500 {
            for queue in 0..3 {
                b.driver.rubbish(queue, &mut random);
                b.driver.write(0x50, queue as u64);
            }
            let receiver = b.receiver();
            for _ in 0..4 {
                receiver.can_receive();
                receiver.receive(&vec![0xff; random.below(3000) as usize], FrameOffload::default());
            }
            receiver.burst_done();
            b.driver.initialize(0);
        }
    }
}

/// The parts of a frame that is spread over several chains of a packed ring appear at once.
#[test]
fn a_packed_ring() {
    let mut b = bench(false, 0);
    b.cell.with(|card| card.packed = true);
    b.driver.initialize(0);
    let receiver = b.receiver();
    let frame: Vec<u8> = (0..80).collect();
    for _ in 0..50 {
        let heads: Vec<u16> = (0..3).map(|n| b.driver.add(0, &[], &[(DATA + 0x1000 * n, 40)])).collect();
        b.driver.kick(0);
        assert!(receiver.receive(&frame, FrameOffload::default()));
        assert_eq!(b.driver.used(0), None, "not before the last is there");
        receiver.burst_done();
        let used = [b.driver.used(0), b.driver.used(0), b.driver.used(0)];
        assert_eq!(used, [Some((heads[0], 40)), Some((heads[1], 40)), Some((heads[2], 12))]);
        b.driver.add(1, &[(DATA, 12), (DATA + 12, 60)], &[]);
        b.driver.kick(1);
        assert!(b.driver.used(1).is_some());
    }
    assert_eq!(b.peer.sent.lock().unwrap().len(), 50);
    // A frame for which there is too little room takes nothing.
    b.driver.add(0, &[], &[(DATA, 40)]);
    assert!(!receiver.receive(&frame, FrameOffload::default()));
    b.driver.add(0, &[], &[(DATA, 400)]);
    assert!(receiver.receive(&frame, FrameOffload::default()));
    assert_eq!(b.control(&[0, 0, 0]), ACK_OK);
}

#[test]
fn configuration_is_checked() {
    let cell = DeviceCell::new(VirtioNet::new());
    assert!(cell.set_property("mac", &PropertyValue::Str("nonsense".into())).is_err());
    cell.set_property("rx_queue_size", &PropertyValue::Uint(100)).unwrap();
    assert!(cell.realize().is_err());
}

/// Frames of a flow come back in the pair through which it was sent.
#[test]
fn several_pairs() {
    let peer = Arc::new(Peer { queues: 4, ..Peer::default() });
    let (cell, runner) = card(&peer);
    cell.with(|card| card.mq = true);
    cell.realize().unwrap();
    let driver = Driver::start(cell.clone(), false, 0);
    let mut b = Bench { driver, cell, peer, _runner: runner };
    assert_eq!((b.driver.offered() >> 22 & 1, b.cell.read_config(8, 2), b.cell.queue_count()), (1, 4, 9));
    let mut command = |command: &[u8]| {
        b.driver.dma.write(DATA, command).unwrap();
        b.driver.add(8, &[(DATA, command.len() as u32)], &[(DATA + 0x800, 1)]);
        b.driver.kick(8);
        assert!(b.driver.used(8).is_some());
        b.driver.dma.read_u8(DATA + 0x800).unwrap()
    };
    assert_eq!((command(&[4, 0, 5, 0]), command(&[4, 0, 0, 0])), (ACK_ERROR, ACK_ERROR));
    assert_eq!(command(&[4, 0, 3, 0]), ACK_OK);
    let frame = |ports: [u8; 4], ends: [u8; 8]| {
        let ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0];
        [&[0xff; 12][..], &[8, 0], &ip, &ends, &ports, &[0; 26]].concat()
    };
    let out = frame([0, 53, 0x12, 0x34], [10, 0, 2, 15, 10, 0, 2, 3]);
    let back = frame([0x12, 0x34, 0, 53], [10, 0, 2, 3, 10, 0, 2, 15]);
    for pair in [2, 0, 1] {
        b.driver.dma.write(DATA, &[0; 12]).unwrap();
        b.driver.dma.write(DATA + 12, &out).unwrap();
        b.driver.add(2 * pair + 1, &[(DATA, 12 + out.len() as u32)], &[]);
        b.driver.kick(2 * pair + 1);
        assert!(b.driver.used(2 * pair + 1).is_some());
        b.driver.add(2 * pair, &[], &[(DATA + 0x1000, 2048)]);
        b.driver.kick(2 * pair);
        assert!(b.receiver().receive(&back, FrameOffload::default()));
        b.receiver().burst_done();
        assert_eq!(b.driver.used(2 * pair), Some((0, 12 + back.len() as u32)));
    }
    // Without the feature the control queue is the third.
    b.driver.initialize(feature::MQ);
    assert_eq!(b.control(&[0, 0, 1]), ACK_OK);
}
