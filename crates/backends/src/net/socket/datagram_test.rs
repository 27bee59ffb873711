use super::*;
use std::time::Duration;

#[derive(Default)]
struct Card(Mutex<Vec<Vec<u8>>>);

impl NetReceiver for Card {
    fn can_receive(&self) -> bool {
        locked(&self.0).len() < 2
    }
    fn receive(&self, frame: &[u8], _: FrameOffload) -> bool {
        locked(&self.0).push(frame.to_vec());
        true
    }
}

#[test]
fn each_frame_is_a_datagram() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let (near, far) = UnixDatagram::pair().unwrap();
    let net = DatagramNet::on(near.into(), "5", &events).unwrap();
    assert_eq!(net.describe(), "type=socket,fd=5 unix");
    let card = Arc::new(Card::default());
    net.set_receiver(Some(card.clone()));
    net.send(b"hello", FrameOffload::default());
    let mut sent = [0; 16];
    assert_eq!(far.recv(&mut sent).unwrap(), 5);
    let mut turn = || runner.run_once(Some(Duration::from_millis(20))).unwrap();
    for frame in [b"one", b"two", b"thr"] {
        far.send(frame).unwrap();
    }
    turn();
    assert_eq!(*locked(&card.0), [b"one", b"two"]);
    locked(&card.0).clear();
    net.receive_ready();
    turn();
    turn();
    assert_eq!(*locked(&card.0), [b"thr"]);
}

#[test]
fn programs_meet_at_ports() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = far.local_addr().unwrap().port().to_string();
    let inet = |port: &str| Some(DatagramAddress::Inet("127.0.0.1".into(), port.into()));
    let options = DatagramOptions { kind: "dgram", local: inet("0"), remote: inet(&port) };
    let net = DatagramNet::open(&options, &events).unwrap();
    let card = Arc::new(Card::default());
    net.set_receiver(Some(card.clone()));
    net.send(b"there", FrameOffload::default());
    let mut sent = [0; 16];
    let (length, from) = far.recv_from(&mut sent).unwrap();
    assert_eq!(&sent[..length], b"there");
    far.send_to(b"back", from).unwrap();
    runner.run_once(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(*locked(&card.0), [b"back"]);
}
