use super::super::split;
use super::*;

fn config(text: &str) -> Result<Config> {
    Config::gather(split(text.split_whitespace().map(str::to_owned))?, &mut Vec::new())
}

#[test]
fn a_usual_line() {
    let c = config(
        "-M virt,acpi=off -M aclint=on -smp 2 -m 1G -nographic -bios none -kernel Image -append x \
         -drive file=r.ext4,format=raw,if=none,id=d0 -device virtio-blk-device,drive=d0 \
         -netdev user,id=n0 -device virtio-net-device,netdev=n0 -s -serial mon:stdio",
    )
    .unwrap();
    assert_eq!(c.machine.get("type"), Some("virt"));
    assert_eq!(c.machine.get("aclint"), Some("on"));
    assert_eq!(c.memory, Some(1 << 30));
    assert_eq!(c.devices.len(), 2);
    assert_eq!(c.gdb[0].0, "tcp::1234");
    assert_eq!(c.serials[0].device, "mon:stdio");
    assert_eq!(parse_smp(c.smp.as_ref(), "virt", 512).unwrap(), 2);
}

#[test]
fn messages_as_the_reference_has_them() {
    let message = |text: &str| {
        let c = match config(text) {
            Ok(c) => c,
            Err(e) => return e.to_string(),
        };
        parse_smp(c.smp.as_ref(), "virt", 512).unwrap_err().to_string()
    };
    assert_eq!(message("-m 16E"), "-m 16E: Value '16E' is out of range for parameter 'size'");
    assert_eq!(message("-append x"), "-append only allowed with -kernel option");
    assert_eq!(message("-netdev user"), "-netdev user: Parameter 'id' is missing");
    assert_eq!(
        message("-netdev user,id=n0 -netdev user,id=n0"),
        "-netdev user,id=n0: Duplicate ID 'n0' for netdev"
    );
    assert_eq!(message("-uuid foo"), "-uuid foo: failed to parse UUID string: wrong format");
    assert_eq!(message("-m 8G,slots=2"), "slots specified but no max-size");
    assert_eq!(message("-smp 0"), "Invalid CPU topology: CPU topology parameters must be greater than zero");
    assert_eq!(message("-smp -1"), "Invalid SMP CPUs -1. The max CPUs supported by machine 'virt' is 512");
    assert_eq!(message("-smp 513"), "Invalid SMP CPUs 513. The max CPUs supported by machine 'virt' is 512");
    assert_eq!(message("-smp foo"), "Parameter 'smp.cpus' expects integer");
    assert_eq!(message("-smp 2,foo=1"), "Parameter 'smp.foo' is unexpected");
    assert_eq!(
        message("-smp cpus=2,cores=4"),
        "Invalid CPU topology: product of the hierarchy must match maxcpus: sockets (0) * cores (4) * threads (1) != maxcpus (2)"
    );
    assert_eq!(
        message("-smp 2,maxcpus=1"),
        "Invalid CPU topology: maxcpus must be equal to or greater than smp: sockets (1) * cores (1) * threads (1) == maxcpus (1) < smp_cpus (2)"
    );
}

#[test]
fn globals() {
    let c = config("-global virtio-mmio.force-legacy=false").unwrap();
    assert_eq!(c.globals[0], ("virtio-mmio".into(), "force-legacy".into(), "false".into()));
}

#[test]
fn no_argument_makes_it_panic() {
    for text in
        ["-smp sockets=9223372036854775807,cores=3", "-m ,", "-smp sockets=-1", "-machine ,,=", "-drive ="]
    {
        let _ = config(text).map(|c| parse_smp(c.smp.as_ref(), "virt", 512));
    }
}
