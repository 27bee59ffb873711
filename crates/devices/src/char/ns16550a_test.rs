use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use object::AnyDevice;

use super::*;

/// A back end that keeps what it gets, up to a limit.
#[derive(Default)]
struct Wire {
    out: Mutex<Vec<u8>>,
    limit: AtomicUsize,
    receiver: Mutex<Option<Arc<dyn CharReceiver>>>,
}

impl CharPort for Wire {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut out = self.out.lock().unwrap();
        let taken = bytes.len().min(self.limit.load(SeqCst).saturating_sub(out.len()));
        out.extend_from_slice(&bytes[..taken]);
        taken
    }
    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        *self.receiver.lock().unwrap() = receiver;
    }
    fn receive_ready(&self) {}
    fn describe(&self) -> String {
        "wire".to_owned()
    }
}

struct Bench {
    cell: Arc<DeviceCell<Ns16550a>>,
    wire: Arc<Wire>,
    irq: Line,
    runner: events::Runner,
}

fn bench() -> Bench {
    let (events, runner) = EventLoop::new().unwrap();
    events.clocks().start_virtual();
    let cell = DeviceCell::new(Ns16550a::new(399_193, 0));
    let wire = Arc::new(Wire::default());
    wire.limit.store(1 << 20, SeqCst);
    Ns16550a::connect(&cell, &events, Some(wire.clone()));
    cell.realize().unwrap();
    let irq = Line::to_fn(|_| ());
    cell.connect("sysbus-irq", 0, irq.clone());
    Bench { cell, wire, irq, runner }
}

impl Bench {
    fn read(&self, offset: u64) -> u64 {
        self.cell.read(0, offset, 1)
    }
    fn write(&self, offset: u64, value: u64) {
        assert!(self.cell.write(0, offset, 1, value).is_none());
    }
    fn receiver(&self) -> Arc<dyn CharReceiver> {
        self.wire.receiver.lock().unwrap().clone().unwrap()
    }
}

/// The values are those that QEMU 10.0.2's `virt` board gives.
#[test]
fn after_reset() {
    let b = bench();
    let values: Vec<_> = (0..8).map(|n| b.read(n)).collect();
    assert_eq!(values, [0, 0, 1, 0, 8, 0x60, 0xb0, 0]);
    b.write(1, 0xff);
    assert_eq!((b.read(1), b.read(2), b.read(2)), (0x0f, 2, 1));
    b.write(1, 2);
    b.write(2, 0xff);
    assert_eq!(b.read(2) & 0xc0, 0xc0);
    b.write(3, 0x80);
    assert_eq!((b.read(0), b.read(1)), (12, 0));
    b.write(0, 1);
    b.write(1, 2);
    assert_eq!((b.read(0), b.read(1)), (1, 2));
    b.write(3, 3);
    b.write(7, 0x5a);
    assert_eq!(b.read(7), 0x5a);
}

#[test]
fn loop_back() {
    let b = bench();
    for (mcr, msr) in [(0x10, 0), (0x11, 0x20), (0x12, 0x10), (0x14, 0x40), (0x18, 0x80), (0x1f, 0xf0)] {
        b.write(4, mcr);
        assert_eq!(b.read(6), msr, "{mcr:#x}");
    }
    b.write(2, 0xc1);
    b.write(1, 0xf);
    b.write(0, 0x41);
    assert_eq!((b.read(5), b.read(0), b.read(5)), (0x61, 0x41, 0x60));
    for n in 0..20 {
        b.write(0, 0x61 + n);
    }
    assert_eq!((b.read(5), b.read(2), b.read(5)), (0x63, 0xc4, 0x61));
    let bytes: Vec<_> = (0..17).map(|_| b.read(0)).collect();
    assert_eq!((bytes[0], bytes[15], bytes[16]), (0x61, 0x70, 0));
    assert!(b.wire.out.lock().unwrap().is_empty());
    assert_eq!(b.receiver().room(), 0);
}

#[test]
fn transmits_at_once() {
    let b = bench();
    b.write(1, 2);
    assert!(b.irq.level());
    assert_eq!(b.read(2), 2);
    assert!(!b.irq.level());
    for byte in b"hello" {
        b.write(0, u64::from(*byte));
        assert_eq!(b.read(5), 0x60);
    }
    assert!(b.irq.level());
    assert_eq!(*b.wire.out.lock().unwrap(), b"hello");
}

#[test]
fn waits_for_the_back_end() {
    let b = bench();
    b.wire.limit.store(3, SeqCst);
    b.write(2, 1);
    for n in 0..5 {
        b.write(0, n);
    }
    assert_eq!(b.read(5), 0);
    b.wire.limit.store(100, SeqCst);
    b.receiver().writable();
    assert_eq!(b.read(5), 0x60);
    assert_eq!(*b.wire.out.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[test]
fn receives() {
    let mut b = bench();
    let receiver = b.receiver();
    assert_eq!(receiver.room(), 1);
    b.write(1, 1);
    receiver.receive(b"x");
    assert!(b.irq.level());
    assert_eq!((receiver.room(), b.read(2), b.read(0), receiver.room()), (0, 4, 0x78, 1));
    assert!(!b.irq.level());
    // With FIFOs the interrupt comes at the trigger level, or when nothing more comes.
    b.write(2, 0x41);
    assert_eq!(receiver.room(), 16);
    receiver.receive(b"abcd");
    assert_eq!(b.read(2), 0xc4);
    for _ in 0..4 {
        b.read(0);
    }
    assert!(!b.irq.level());
    receiver.receive(b"e");
    assert!(!b.irq.level());
    let irq = b.irq.clone();
    b.runner.run(|| irq.level()).unwrap();
    assert_eq!((b.read(2), b.read(5), b.read(0)), (0xcc, 0x61, 0x65));
    assert!(!b.irq.level());
    b.write(1, 5);
    receiver.event(CharEvent::Break);
    assert_eq!((b.read(2), b.read(5), b.read(0)), (0xc6, 0x71, 0));
}
