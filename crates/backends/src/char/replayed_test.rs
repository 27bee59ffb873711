use super::*;
use events::{Agenda, Icount, IcountOptions, Log};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A device that takes as much as it has room for.
#[derive(Default)]
struct Device {
    room: AtomicUsize,
    got: Mutex<Vec<u8>>,
    events: Mutex<Vec<CharEvent>>,
}

impl CharReceiver for Device {
    fn room(&self) -> usize {
        self.room.load(SeqCst)
    }
    fn receive(&self, bytes: &[u8]) {
        self.room.fetch_sub(bytes.len(), SeqCst);
        self.got.lock().unwrap().extend_from_slice(bytes);
    }
    fn event(&self, event: CharEvent) {
        self.events.lock().unwrap().push(event);
    }
}

/// The other side, which takes three bytes at a time.
#[derive(Default)]
struct Other {
    ear: ReceiverSlot,
    heard: Mutex<Vec<u8>>,
}

impl CharPort for Other {
    fn write(&self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(3);
        self.heard.lock().unwrap().extend_from_slice(&bytes[..taken]);
        taken
    }
    fn set_receiver(&self, receiver: Option<Arc<dyn CharReceiver>>) {
        self.ear.set(receiver);
    }
    fn receive_ready(&self) {}
    fn describe(&self) -> String {
        "other".into()
    }
}

#[test]
fn input_is_heard_at_its_place_and_output_is_taken_whole() {
    let path = std::env::temp_dir().join(format!("tinamou-replayed-{}", std::process::id()));
    let name = path.to_str().unwrap();
    let icount = Arc::new(Icount::new(IcountOptions::default()));
    let replay = Replay::record(name, "test", &icount).unwrap();
    let (other, device) = (Arc::new(Other::default()), Arc::new(Device::default()));
    let port = Replayed::new(other.clone(), &replay);
    port.set_receiver(Some(device.clone()));
    let ear = other.ear.get().unwrap();
    device.room.store(4, SeqCst);
    ear.event(CharEvent::Opened);
    ear.receive(b"abcdefgh");
    assert!(device.got.lock().unwrap().is_empty());
    icount.set_count(10);
    replay.act(icount.here());
    assert_eq!(*device.got.lock().unwrap(), b"abcd");
    assert_eq!(*device.events.lock().unwrap(), [CharEvent::Opened]);
    device.room.store(9, SeqCst);
    icount.set_count(20);
    port.receive_ready();
    replay.act(icount.here());
    assert_eq!(*device.got.lock().unwrap(), b"abcdefgh");
    assert_eq!(port.write(b"0123456"), 7);
    assert_eq!(*other.heard.lock().unwrap(), b"012");
    ear.writable();
    ear.writable();
    assert_eq!(*other.heard.lock().unwrap(), b"0123456");

    let log = Log::parse(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let icount = Arc::new(Icount::new(IcountOptions::default()));
    let replay = Replay::play(name, log, &icount);
    let (other, device) = (Arc::new(Other::default()), Arc::new(Device::default()));
    let port = Replayed::new(other.clone(), &replay);
    port.set_receiver(Some(device.clone()));
    other.ear.get().unwrap().receive(b"not this");
    device.room.store(4, SeqCst);
    icount.set_count(10);
    replay.act(icount.here());
    assert_eq!(*device.got.lock().unwrap(), b"abcd");
}
