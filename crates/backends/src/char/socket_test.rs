use std::io::{Read, Write};

use super::super::CharEvent;
use super::super::test_support::{Front, run};
use super::*;

fn options(address: SocketAddress, server: bool) -> SocketOptions {
    SocketOptions { address, server, wait: false, nodelay: false, reconnect_ms: 0 }
}

#[test]
fn a_server_takes_one_client_after_the_other() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let path = format!("{}/chardev-test-{}.sock", std::env::temp_dir().display(), std::process::id());
    let port = SocketPort::open(&events, options(SocketAddress::Unix(path.clone()), true), |_| {}).unwrap();
    assert_eq!(port.describe(), format!("disconnected:unix:{path},server=on"));
    let front = Front::new(100);
    port.set_receiver(Some(front.clone()));
    for round in 1..3 {
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"hi").unwrap();
        run(&mut runner, || front.text() == "hi".repeat(round));
        assert_eq!(port.describe(), format!("unix:{path},server=on"));
        port.write(b"yo");
        runner.run_once(None).unwrap();
        let mut answer = [0; 2];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"yo");
        drop(client);
        run(&mut runner, || front.heard.lock().unwrap().len() == 2 * round);
        assert_eq!(front.heard.lock().unwrap().last(), Some(&CharEvent::Closed));
    }
    drop(port);
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn a_client_connects_and_reconnects() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let mut options = options(SocketAddress::Tcp("127.0.0.1".into(), at.port().to_string()), false);
    options.reconnect_ms = 10;
    let port = SocketPort::open(&events, options, |_| {}).unwrap();
    let front = Front::new(100);
    port.set_receiver(Some(front.clone()));
    for round in 1..3 {
        let (client, from) = listener.accept().unwrap();
        run(&mut runner, || front.heard.lock().unwrap().len() == 2 * round - 1);
        assert_eq!(port.describe(), format!("tcp:{from} <-> {at}"));
        drop(client);
        listener.set_nonblocking(round == 2).unwrap();
        run(&mut runner, || front.heard.lock().unwrap().len() == 2 * round);
        runner.run_once(Some(std::time::Duration::from_millis(50))).unwrap();
    }
}

#[test]
fn failures_have_their_words() {
    let (events, _runner) = EventLoop::new().unwrap();
    let fail = |address, server| match SocketPort::open(&events, options(address, server), |_| {}) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    };
    let unix = || SocketAddress::Unix("/nonexistent/s".into());
    assert_eq!(fail(unix(), false), "Failed to connect to '/nonexistent/s': No such file or directory");
    assert_eq!(fail(unix(), true), "Failed to bind socket to /nonexistent/s: No such file or directory");
    let tcp = |host: &str, port: &str| SocketAddress::Tcp(host.into(), port.into());
    assert_eq!(fail(tcp("127.0.0.1", "1"), false), "Failed to connect to '127.0.0.1:1': Connection refused");
    assert_eq!(
        fail(tcp("", "x"), false),
        "address resolution failed for :x: Servname not supported for ai_socktype"
    );
}
