use super::*;
use crate::char::SocketAddress;

#[test]
fn netdev_errors_have_their_words() {
    for (option, text) in [
        ("user", "Parameter 'id' is missing"),
        ("user,id=n0,foo=1", "Invalid parameter 'foo'"),
        ("id=x", "Parameter 'type' is missing"),
        ("user,id=n0,net=10.0.2.0/33", "Invalid netmask provided (must be in range 4-32)"),
        ("user,id=n0,host=10.1.1.1", "Host doesn't belong to network"),
        ("user,id=n0,host=bad", "Failed to parse host"),
        ("user,id=n0,hostfwd=foo", "Invalid host forwarding rule 'foo' (No : separators)"),
        ("user,id=n0,hostfwd=tcp::1", "Invalid host forwarding rule 'tcp::1' (Bad host port separator)"),
        (
            "user,id=n0,hostfwd=tcp::99999-:22",
            "Invalid host forwarding rule 'tcp::99999-:22' (Bad host port)",
        ),
        ("user,id=n0,hostfwd=tcp::5555-:x", "Invalid host forwarding rule 'tcp::5555-:x' (Bad guest port)"),
        ("user,id=n0,hostfwd=tcp::5555-:0", "Invalid host forwarding rule 'tcp::5555-:0' (Bad guest port)"),
        (
            "user,id=n0,hostfwd=tcp:bad:5555-:22",
            "Invalid host forwarding rule 'tcp:bad:5555-:22' (Bad host address)",
        ),
        ("user,id=n0,hostfwd=icmp::1-:2", "Invalid host forwarding rule 'icmp::1-:2' (Bad protocol name)"),
        ("user,id=n0,dns=10.0.2.2", "DNS must be different from host"),
        ("user,id=n0,dhcpstart=1.1.1.1", "DHCP doesn't belong to network"),
        ("user,id=n0,dhcpstart=10.0.2.2", "DHCP must be different from host and DNS"),
        ("user,id=n0,net=10.0.2.0/30", "DHCP must be different from host and DNS"),
        ("user,id=n0,restrict=foo", "Parameter 'restrict' expects 'on' or 'off'"),
        ("user,id=n0,ipv4=off,ipv6=off", "IPv4 and IPv6 disabled"),
        ("foo,id=n0", "Parameter 'type' does not accept value 'foo'"),
    ] {
        assert_eq!(NetdevOption::parse(option).unwrap_err().to_string(), text, "{option}");
    }
    let error = |text| NicOption::parse(text).unwrap_err().to_string();
    assert_eq!(error("foo"), "Parameter 'type' does not accept value 'foo'");
    assert_eq!(error("user,foo=1"), "Invalid parameter 'foo'");
    assert_eq!(error("user,mac=zz"), "invalid syntax for ethernet address");
}

#[test]
fn networks_have_their_places() {
    let parse = |text: &str| match NetdevOption::parse(text).unwrap().kind {
        NetdevKind::User(user) => *user,
        other => panic!("{other:?}"),
    };
    assert_eq!(parse("user,id=n"), UserOptions::default());
    let user =
        parse("user,id=n,net=192.168.76.9/24,hostname=abc,domainname=d,dnssearch=a,dnssearch=b,ipv6=off");
    assert_eq!(user.network, Ipv4Addr::new(192, 168, 76, 0));
    assert_eq!(user.host, Ipv4Addr::new(192, 168, 76, 2));
    assert_eq!(user.dhcp_start, Ipv4Addr::new(192, 168, 76, 15));
    assert_eq!(user.broadcast(), Ipv4Addr::new(192, 168, 76, 255));
    assert_eq!(user.dns_search, ["a", "b"]);
    assert_eq!(parse("user,id=n,net=10.0.0.0/255.255.0.0").prefix, 16);
    let rule = &parse("user,id=n,hostfwd=udp:127.0.0.1:5-10.0.2.20:6").forwards[0];
    assert_eq!((rule.transport, rule.host_port, rule.guest_port), (Transport::Udp, 5, 6));
    assert_eq!((rule.host, rule.guest), (Ipv4Addr::LOCALHOST, Some(Ipv4Addr::new(10, 0, 2, 20))));
}

#[test]
fn other_programs_are_found() {
    let kind = |text: &str| NetdevOption::parse(text).map(|option| option.kind);
    let stream = |text: &str| match kind(text).unwrap() {
        NetdevKind::Stream(stream) => (stream.kind, stream.socket.address, stream.socket.server),
        other => panic!("{other:?}"),
    };
    let tcp = |host: &str| SocketAddress::Tcp(host.into(), "1234".into());
    assert_eq!(kind("socket,id=n,fd=7").unwrap(), NetdevKind::Descriptor("7".into()));
    assert_eq!(stream("socket,id=n,listen=:1234"), ("socket", tcp(""), true));
    assert_eq!(stream("socket,id=n,connect=[::1]:1234"), ("socket", tcp("::1"), false));
    let inet = "stream,id=n,server=on,addr.type=inet,addr.host=h,addr.port=1234,addr.ipv4=on";
    assert_eq!(stream(inet), ("stream", tcp("h"), true));
    let unix = ("stream", SocketAddress::Unix("/a".into()), false);
    assert_eq!(stream("stream,id=n,addr.type=unix,addr.path=/a"), unix);
    let fails = |text: &str| kind(text).unwrap_err().to_string();
    let one = "exactly one of listen=, connect=, mcast= or udp= is required";
    assert_eq!(fails("socket,id=n"), one);
    assert_eq!(fails("socket,id=n,listen=:1,connect=a:1"), one);
    assert_eq!(fails("socket,id=n,udp=a:1"), "localaddr= is mandatory with udp=");
    assert_eq!(fails("dgram,id=n"), "dgram requires local= or remote= parameter");
    assert_eq!(fails("stream,id=n"), "Parameter 'addr.type' is missing");
}

#[test]
fn nic_options_are_read() {
    assert_eq!(NicOption::parse("none").unwrap(), NicOption::None);
    let NicOption::Nic { model, mac, id, .. } =
        NicOption::parse("user,model=virtio-net-device,mac=52:54:0:12:34:56").unwrap()
    else {
        panic!()
    };
    assert_eq!(model.as_deref(), Some("virtio-net-device"));
    assert_eq!((mac, id), (Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]), None));
}
