use std::fs::OpenOptions;
use std::io::{Read, Write};

use super::super::test_support::{Front, run};
use super::*;

fn actions() -> Arc<MuxActions> {
    Arc::new(MuxActions { quit: Box::new(|| {}), commit: Box::new(|| {}), escape: 1 })
}

#[test]
fn chardev_options_are_read() {
    let socket = Chardev::parse("socket,id=s,host=localhost,port=99,server,nowait,nodelay").unwrap();
    let expected = SocketOptions {
        address: SocketAddress::Tcp("localhost".into(), "99".into()),
        server: true,
        wait: false,
        nodelay: true,
        reconnect_ms: 0,
    };
    assert_eq!(socket.backend, CharBackend::Socket(expected));
    let stdio = Chardev::parse("stdio,id=x,mux=on,signal=off,logfile=/l").unwrap();
    assert!(stdio.mux && stdio.backend == CharBackend::Stdio { signal: false });
    assert_eq!(stdio.log, Some(("/l".into(), false)));
    let file = Chardev::parse("file,id=f,path=a,,b,append=on").unwrap();
    assert_eq!(file.backend, CharBackend::File { path: "a,b".into(), append: true });
}

#[test]
fn chardev_errors_have_their_words() {
    for (option, text) in [
        ("foo,id=x", "'foo' is not a valid char driver name"),
        ("stdio", "chardev: no id specified"),
        ("stdio,id=x,foo=1", "Invalid parameter 'foo'"),
        ("file,id=x", "chardev: file: no filename given"),
        ("socket,id=x,host=127.0.0.1", "chardev: socket: no port given"),
        ("null,id=x,mux=maybe", "Parameter 'mux' expects 'on' or 'off'"),
        ("id=x", "chardev: \"x\" missing backend"),
        ("mux,id=m", "chardev: mux: no chardev given"),
        (
            "socket,id=x,path=/s,server=on,reconnect=3",
            "'reconnect' option is incompatible with socket in server listen mode",
        ),
        ("socket,id=x,path=/s,wait=off", "'wait' option is incompatible with socket in client connect mode"),
    ] {
        assert_eq!(Chardev::parse(option).unwrap_err().to_string(), text, "{option}");
    }
}

#[test]
fn serial_options_are_read() {
    let new = |text| match SerialOption::parse(text, "serial0").unwrap() {
        SerialOption::New { chardev, monitor } => (chardev, monitor),
        other => panic!("{other:?}"),
    };
    let (chardev, monitor) = new("mon:stdio");
    assert!(monitor && chardev.mux && chardev.id == "serial0");
    assert_eq!(chardev.backend, CharBackend::Stdio { signal: false });
    assert_eq!(new("stdio").0.backend, CharBackend::Stdio { signal: true });
    assert_eq!(new("file:a:b").0.backend, CharBackend::File { path: "a:b".into(), append: false });
    let CharBackend::Socket(unix) = new("unix:/s,server,nowait").0.backend else { panic!() };
    assert_eq!((unix.address, unix.server, unix.wait), (SocketAddress::Unix("/s".into()), true, false));
    let CharBackend::Socket(tcp) = new("tcp:[::1]:7,server=on").0.backend else { panic!() };
    assert_eq!((tcp.address, tcp.wait), (SocketAddress::Tcp("::1".into(), "7".into()), true));
    assert_eq!(SerialOption::parse("none", "l").unwrap(), SerialOption::None);
    assert_eq!(SerialOption::parse("chardev:a", "l").unwrap(), SerialOption::Existing("a".into()));
    for (option, text) in [
        ("foo", "'foo' is not a valid char driver"),
        ("null:x", "'null:x' is not a valid char driver"),
        ("tcp:1", ""),
        ("tcp:127.0.0.1:1,foo=1", "Invalid parameter 'foo'"),
    ] {
        assert_eq!(SerialOption::parse(option, "l").unwrap_err().to_string(), text);
    }
}

#[test]
fn back_ends_are_opened_and_given_out() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let actions = actions();
    let context = CharContext { events: &events, actions: &actions, notice: &|_| {}, detached: true };
    let mut chardevs = Chardevs::default();
    let path = format!("{}/chardev-test-{}.out", std::env::temp_dir().display(), std::process::id());
    let open = |chardevs: &mut Chardevs, text: &str| {
        chardevs.open(&Chardev::parse(text).unwrap(), &context).map_err(|error| error.to_string())
    };
    open(&mut chardevs, &format!("file,id=f,path={path}")).unwrap();
    open(&mut chardevs, "null,id=n,mux=on").unwrap();
    assert_eq!(open(&mut chardevs, "stdio,id=s").unwrap_err(), "cannot use stdio with -daemonize");
    open(&mut chardevs, "ringbuf,id=r,size=4").unwrap();
    assert_eq!(open(&mut chardevs, "null,id=n").unwrap_err(), "Duplicate ID 'n' for chardev");
    assert_eq!(
        open(&mut chardevs, "ringbuf,id=q,size=100").unwrap_err(),
        "size of ringbuf chardev must be power of two"
    );
    assert_eq!(
        open(&mut chardevs, "file,id=g,path=/nonexistent/f").unwrap_err(),
        "Could not open '/nonexistent/f': No such file or directory"
    );
    let names: Vec<_> = chardevs.list().into_iter().map(|one| format!("{}: {}", one.id, one.what)).collect();
    assert_eq!(names, ["f: file", "n: mux", "n-base: null", "r: ringbuf"]);
    let file = chardevs.front("f").unwrap();
    assert!(chardevs.front("f").is_err());
    assert!(chardevs.front("n").is_ok() && chardevs.front("n").is_ok());
    assert_eq!(chardevs.mux("n").unwrap().fronts(), 2);
    file.write(b"out");
    run(&mut runner, || std::fs::read(&path).unwrap() == b"out");
    std::fs::remove_file(&path).unwrap();
    chardevs.front("r").unwrap().write(b"abcdef");
    assert_eq!(chardevs.ringbuf("r").unwrap().read(3), b"cde");
    assert!(chardevs.open_serial("none", "serial0", &context).unwrap().is_none());
    assert!(chardevs.open_serial("null", "serial0", &context).unwrap().is_some());
    assert!(chardevs.open_serial("chardev:zz", "serial1", &context).is_err());
}

#[test]
fn a_pty_connects_when_its_other_end_is_opened() {
    let (events, mut runner) = EventLoop::new().unwrap();
    let port = PtyPort::open(&events, "test").unwrap();
    let front = Front::new(100);
    port.set_receiver(Some(front.clone()));
    assert_eq!(port.write(b"lost"), 4);
    runner.run_once(Some(std::time::Duration::from_millis(10))).unwrap();
    assert!(front.heard.lock().unwrap().is_empty());
    let name = port.describe().strip_prefix("pty:").unwrap().to_owned();
    for round in 1..3 {
        let mut terminal = OpenOptions::new().read(true).write(true).open(&name).unwrap();
        terminal.write_all(b"key").unwrap();
        run(&mut runner, || front.text() == "key".repeat(round));
        port.write(b"out");
        runner.run_once(None).unwrap();
        let mut out = [0; 3];
        terminal.read_exact(&mut out).unwrap();
        assert_eq!(&out, b"out");
        drop(terminal);
        run(&mut runner, || front.heard.lock().unwrap().len() == 2 * round);
    }
}
