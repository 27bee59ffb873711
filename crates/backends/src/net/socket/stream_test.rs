use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Default)]
struct Card {
    frames: Mutex<Vec<Vec<u8>>>,
    full: AtomicBool,
}

impl NetReceiver for Card {
    fn can_receive(&self) -> bool {
        !self.full.load(Ordering::SeqCst)
    }
    fn receive(&self, frame: &[u8], _: FrameOffload) -> bool {
        locked(&self.frames).push(frame.to_vec());
        true
    }
}

#[test]
fn frames_come_and_go_whole() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let net = StreamNet::on(near.into(), "3", &events).unwrap();
    assert_eq!(net.describe(), "type=socket,socket: fd=3");
    let card = Arc::new(Card::default());
    net.set_receiver(Some(card.clone()));
    net.send(b"to the others", FrameOffload::default());
    for _ in 0..5 {
        runner.run_once(Some(Duration::from_millis(5))).unwrap();
    }
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut sent = [0; 17];
    far.read_exact(&mut sent).unwrap();
    assert_eq!(&sent, b"\0\0\0\x0dto the others");

    // Byte by byte, two in one piece, one too long, and one for which there is no room.
    let mut input = b"\0\0\0\x01a\0\0\0\x03bcd\0\0\0\x02ef".to_vec();
    input.extend((LONGEST as u32 + 1).to_be_bytes());
    input.extend(vec![7; LONGEST + 1]);
    input.extend(b"\0\0\0\x01z");
    for byte in input.drain(..6).collect::<Vec<_>>() {
        far.write_all(&[byte]).unwrap();
        runner.run_once(Some(Duration::from_millis(5))).unwrap();
    }
    card.full.store(true, Ordering::SeqCst);
    far.write_all(&input[..20]).unwrap();
    for _ in 0..5 {
        runner.run_once(Some(Duration::from_millis(5))).unwrap();
    }
    assert_eq!(*locked(&card.frames), [b"a"]);
    card.full.store(false, Ordering::SeqCst);
    net.receive_ready();
    let mut rest = &input[20..];
    for _ in 0..1000 {
        let part = rest.len().min(4096);
        far.write_all(&rest[..part]).unwrap();
        rest = &rest[part..];
        runner.run_once(Some(Duration::from_millis(5))).unwrap();
        if locked(&card.frames).len() == 4 {
            break;
        }
    }
    assert_eq!(*locked(&card.frames), [&b"a"[..], b"bcd", b"ef", b"z"]);
}
