use super::*;

#[test]
fn sections_are_options() {
    let text = "# a machine\n[machine]\n  type = \"virt\"\n\n[device \"net0\"]\n driver = \"virtio-net-device\"\n  mac = \"a,b\"\n[memory]\nsize = \"1G\"\n";
    let given = parse(text, "f", "-readconfig f").unwrap();
    let seen: Vec<_> = given.iter().map(|g| (g.name, g.value.as_str())).collect();
    assert_eq!(
        seen,
        [("machine", "type=virt"), ("device", "id=net0,driver=virtio-net-device,mac=a,,b"), ("m", "size=1G")]
    );
}

#[test]
fn what_makes_no_sense() {
    for (text, error) in [
        ("x = \"1\"", "-readconfig f: no group defined"),
        ("[device", "f:1: parse error"),
        ("\n[device a]", "f:2: parse error"),
        ("[nosuch]", "-readconfig f: There is no option group 'nosuch'"),
        ("[device]\nx = 1", "f:2: parse error"),
        ("[device]\nx", "f:2: parse error"),
    ] {
        assert_eq!(parse(text, "f", "-readconfig f").unwrap_err().to_string(), error, "{text}");
    }
}
