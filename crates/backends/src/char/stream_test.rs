use std::os::unix::net::UnixStream;

use super::super::test_support::{Front, run};
use super::*;

fn pair(stream: &Stream) -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    let source = File::from(OwnedFd::from(far.try_clone().unwrap()));
    stream.attach(Some(source), Some(Sink::Socket(Arc::new(far.into())))).unwrap();
    near
}

#[test]
fn input_waits_for_room() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let stream = Stream::new(&events);
    let front = Front::new(0);
    stream.set_receiver(Some(front.clone()));
    let mut near = pair(&stream);
    near.write_all(b"abcdef").unwrap();
    for _ in 0..3 {
        runner.run_once(Some(Duration::from_millis(5))).unwrap();
    }
    assert_eq!(front.text(), "");
    front.room.store(2, Ordering::SeqCst);
    stream.receive_ready();
    run(&mut runner, || front.text() == "ab");
    runner.run_once(Some(Duration::from_millis(5))).unwrap();
    front.room.store(100, Ordering::SeqCst);
    stream.receive_ready();
    run(&mut runner, || front.text() == "abcdef");
    drop(near);
    run(&mut runner, || front.heard.lock().unwrap().last() == Some(&CharEvent::Closed));
    assert_eq!(*front.heard.lock().unwrap(), [CharEvent::Opened, CharEvent::Closed]);
}

#[test]
fn output_is_queued_and_refused_when_full() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let stream = Stream::new(&events);
    let front = Front::new(0);
    stream.set_receiver(Some(front.clone()));
    let mut near = pair(&stream);
    let data: Vec<u8> = (0..3_000_000u32).map(|index| (index % 251) as u8).collect();
    let mut sent = 0;
    loop {
        let taken = stream.write(&data[sent..]);
        sent += taken;
        if taken == 0 {
            runner.run_once(Some(Duration::from_millis(1))).unwrap();
            if stream.write(&data[sent..sent]) == 0 && locked(&stream.output).queue.len() == OUTPUT_LIMIT {
                break;
            }
        }
    }
    assert!(sent < data.len());
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 3_000_000];
        near.read_exact(&mut all).unwrap();
        all
    });
    run(&mut runner, || {
        sent += stream.write(&data[sent..]);
        sent == data.len() && locked(&stream.output).queue.is_empty()
    });
    assert!(reader.join().unwrap() == data);
    assert!(front.writable.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_port_without_a_peer_forgets() {
    let (events, _runner) = EventLoop::new().unwrap();
    let stream = Stream::new(&events);
    assert_eq!(stream.write(b"lost"), 4);
    let near = pair(&stream);
    drop(near);
    assert_eq!(stream.write(b"lost"), 4);
    stream.flush();
    assert!(locked(&stream.output).queue.is_empty());
}
