use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use object::AnyDevice;

use super::super::driver_test::{DATA, Driver};
use super::*;

#[derive(Default)]
struct End {
    out: Mutex<Vec<u8>>,
    limit: AtomicUsize,
    receiver: Mutex<Option<Arc<dyn CharReceiver>>>,
    asked: AtomicUsize,
}

impl CharPort for End {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut out = self.out.lock().unwrap();
        let taken = bytes.len().min(self.limit.load(SeqCst).saturating_sub(out.len()));
        out.extend_from_slice(&bytes[..taken]);
        taken
    }
    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        *self.receiver.lock().unwrap() = receiver;
    }
    fn receive_ready(&self) {
        self.asked.fetch_add(1, SeqCst);
    }
    fn describe(&self) -> String {
        "end".to_owned()
    }
}

struct Bench {
    driver: Driver,
    end: Arc<End>,
    runner: events::Runner,
}

fn bench(refuse: u64, name: Option<&str>, console: bool) -> Bench {
    let (events, runner) = EventLoop::new().unwrap();
    let cell = DeviceCell::new(VirtioSerial { max_ports: 4, ..VirtioSerial::new() });
    VirtioSerial::connect(&cell, &events);
    cell.realize().unwrap();
    let end = Arc::new(End::default());
    end.limit.store(1 << 20, SeqCst);
    let config =
        PortConfig { nr: None, name: name.map(str::to_owned), console, id: None, port: Some(end.clone()) };
    let nr = VirtioSerial::add_port(&cell, config.clone()).unwrap();
    assert_eq!(nr, u32::from(!console));
    if name.is_some() {
        assert!(VirtioSerial::add_port(&cell, config.clone()).is_err());
    }
    assert!(VirtioSerial::add_port(&cell, PortConfig { nr: Some(4), ..PortConfig::default() }).is_err());
    assert!(VirtioSerial::add_port(&cell, PortConfig { nr: Some(nr), ..PortConfig::default() }).is_err());
    Bench { driver: Driver::start(cell, false, refuse), end, runner }
}

impl Bench {
    fn control(&mut self, port: u32, event: u16, value: u16) {
        let message = u64::from(port) | u64::from(event) << 32 | u64::from(value) << 48;
        self.driver.dma.write_u64(DATA, message).unwrap();
        self.driver.add(3, &[(DATA, 8)], &[]);
        self.driver.kick(3);
        assert!(self.driver.used(3).is_some());
    }

    fn offer_control(&mut self, count: u64) {
        for n in 0..count {
            self.driver.add(2, &[], &[(DATA + 0x1000 + 64 * n, 64)]);
        }
        self.driver.kick(2);
    }

    /// The next control message: port, event, value, tail.
    fn message(&mut self) -> Option<(u32, u16, u16, Vec<u8>)> {
        let (head, length) = self.driver.used(2)?;
        let bytes = self.driver.bytes(DATA + 0x1000 + 64 * u64::from(head), length as usize);
        let all = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        Some((all as u32, (all >> 32) as u16, (all >> 48) as u16, bytes[8..].to_vec()))
    }

    fn receiver(&self) -> Arc<dyn CharReceiver> {
        self.end.receiver.lock().unwrap().clone().unwrap()
    }
}

#[test]
fn a_console() {
    let mut b = bench(0, Some("con"), true);
    assert_eq!(b.driver.read(0x104), 4);
    b.offer_control(4);
    b.control(0, event::DEVICE_READY, 1);
    assert_eq!(b.message(), Some((0, event::PORT_ADD, 1, vec![])));
    b.control(0, event::PORT_READY, 1);
    assert_eq!(b.message(), Some((0, event::CONSOLE_PORT, 1, vec![])));
    assert_eq!(b.message(), Some((0, event::PORT_NAME, 1, b"con\0".to_vec())));
    assert_eq!(b.message(), Some((0, event::PORT_OPEN, 1, vec![])));
    b.control(0, event::PORT_OPEN, 1);
    b.driver.dma.write(DATA, b"hello, world").unwrap();
    b.driver.add(1, &[(DATA, 5), (DATA + 5, 7)], &[]);
    b.driver.kick(1);
    assert!(b.driver.used(1).is_some());
    assert_eq!(*b.end.out.lock().unwrap(), b"hello, world");
    // Input.
    let receiver = b.receiver();
    assert_eq!(receiver.room(), 0);
    b.driver.add(0, &[], &[(DATA, 4)]);
    b.driver.kick(0);
    assert!(b.end.asked.load(SeqCst) > 0);
    assert_eq!(receiver.room(), 4096);
    receiver.receive(b"abcdef");
    assert_eq!(b.driver.used(0), Some((0, 4)));
    assert_eq!(b.driver.bytes(DATA, 4), b"abcd");
    b.driver.add(0, &[], &[(DATA, 4)]);
    b.driver.kick(0);
    assert_eq!(b.driver.used(0), Some((1, 2)));
    // Nonsense.
    b.control(7, event::PORT_READY, 1);
    b.control(0, 99, 1);
    b.control(3, event::PORT_OPEN, 1);
    assert_eq!(b.message(), None);
}

#[test]
fn a_port() {
    let mut b = bench(0, None, false);
    b.offer_control(8);
    b.control(0, event::DEVICE_READY, 1);
    assert_eq!(b.message(), Some((1, event::PORT_ADD, 1, vec![])));
    b.control(1, event::PORT_READY, 1);
    assert_eq!(b.message(), None);
    b.receiver().event(CharEvent::Opened);
    assert_eq!(b.message(), Some((1, event::PORT_OPEN, 1, vec![])));
    // Port 1 has queues 4 and 5, and takes input only when it is open.
    b.driver.add(4, &[], &[(DATA, 64)]);
    b.driver.kick(4);
    assert_eq!(b.receiver().room(), 0);
    b.control(1, event::PORT_OPEN, 1);
    assert_eq!(b.receiver().room(), 4096);
    b.receiver().event(CharEvent::Closed);
    assert_eq!(b.message(), Some((1, event::PORT_OPEN, 0, vec![])));
}

#[test]
fn without_multiport() {
    let mut b = bench(feature::MULTIPORT, None, true);
    b.driver.dma.write(DATA, b"x").unwrap();
    b.driver.add(1, &[(DATA, 1)], &[]);
    b.driver.kick(1);
    assert_eq!(*b.end.out.lock().unwrap(), b"x");
    b.driver.add(0, &[], &[(DATA, 4)]);
    b.driver.kick(0);
    b.receiver().receive(b"y");
    assert_eq!(b.driver.used(0), Some((0, 1)));
    // The last words.
    b.driver.write(0x108, u64::from(b'!'));
    assert_eq!(*b.end.out.lock().unwrap(), b"x!");
}

#[test]
fn waits_for_the_back_end() {
    let mut b = bench(0, None, true);
    b.end.limit.store(3, SeqCst);
    b.driver.dma.write(DATA, b"hello").unwrap();
    for _ in 0..60 {
        b.driver.add(1, &[(DATA, 5)], &[]);
    }
    b.driver.kick(1);
    assert_eq!(b.driver.used(1), None);
    b.end.limit.store(1 << 20, SeqCst);
    b.receiver().writable();
    let mut count = 0;
    while b.driver.used(1).is_some() {
        count += 1;
    }
    assert_eq!(count, 60);
    assert_eq!(*b.end.out.lock().unwrap(), b"hello".repeat(60));
    b.runner.run_once(Some(std::time::Duration::ZERO)).unwrap();
}

#[test]
fn from_properties() {
    let port = DeviceCell::new(Virtconsole { nr: 3, ..Virtconsole::default() });
    let config = PortConfig::of(&*port, None);
    assert_eq!((config.nr, config.console, config.name), (Some(3), true, None));
    let port = DeviceCell::new(Virtserialport { name: Some("org.example".to_owned()), ..Default::default() });
    let config = PortConfig::of(&*port, None);
    assert_eq!((config.nr, config.console, config.name.as_deref()), (None, false, Some("org.example")));
}
