//! The machine protocol of the real program.

mod common;

use common::{Client, Machine, finisher, send_fds};
use serde_json::{Value, json};

fn status(client: &mut Client) -> String {
    let status = client.run("query-status", json!({}));
    assert_eq!(status["running"], status["status"] == "running");
    status["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_machine_is_stopped_started_and_reset() {
    let mut machine = Machine::start("-M virt -bios none -display none -S");
    let mut client = Client::ready(&machine);
    assert_eq!(status(&mut client), "prelaunch");
    // What does not run is not stopped.
    client.run("stop", json!({}));
    assert!(client.events.is_empty());
    assert_eq!(status(&mut client), "prelaunch");
    client.run("cont", json!({}));
    assert_eq!(client.event("RESUME"), Value::Null);
    assert_eq!(status(&mut client), "running");
    client.run("stop", json!({}));
    // The event comes before the reply.
    assert_eq!(client.events.remove(0).0, "STOP");
    assert_eq!(status(&mut client), "paused");
    client.run("system_reset", json!({}));
    assert_eq!(client.event("RESET"), json!({"guest": false, "reason": "host-qmp-system-reset"}));
    assert_eq!(status(&mut client), "prelaunch");
    client.run("system_powerdown", json!({}));
    assert_eq!(client.event("POWERDOWN"), Value::Null);
    assert_eq!(
        client.refused("system_wakeup", json!({})).1,
        "wake-up from suspend is not supported by this guest"
    );
    client.run("quit", json!({}));
    assert_eq!(client.event("SHUTDOWN"), json!({"guest": false, "reason": "host-qmp-quit"}));
    assert!(machine.wait().success());
    assert!(!machine.socket.exists());
}

#[test]
fn what_a_guest_does_to_its_machine() {
    let file = finisher(0x5555);
    let line = format!("-M virt -bios none -display none -S -no-shutdown -kernel {}", file.display());
    let mut machine = Machine::start(&line);
    let mut client = Client::ready(&machine);
    client.run("cont", json!({}));
    assert_eq!(client.event("SHUTDOWN"), json!({"guest": true, "reason": "guest-shutdown"}));
    client.event("STOP");
    assert_eq!(status(&mut client), "shutdown");
    let (class, desc) = client.refused("cont", json!({}));
    assert_eq!(
        (class.as_str(), desc.as_str()),
        ("GenericError", "Resetting the Virtual Machine is required")
    );
    client.run("system_reset", json!({}));
    assert_eq!(status(&mut client), "prelaunch");
    client.run("set-action", json!({"shutdown": "poweroff"}));
    client.run("cont", json!({}));
    assert_eq!(client.event("SHUTDOWN"), json!({"guest": true, "reason": "guest-shutdown"}));
    assert!(machine.wait().success());
    let _ = std::fs::remove_file(file);
}

#[test]
fn resets_by_the_guest() {
    let file = finisher(0x7777);
    let line = format!("-M virt -bios none -display none -S -kernel {}", file.display());
    let mut machine = Machine::start(&line);
    let mut client = Client::ready(&machine);
    client.run("cont", json!({}));
    for _ in 0..3 {
        assert_eq!(client.event("RESET"), json!({"guest": true, "reason": "guest-reset"}));
    }
    client.run("set-action", json!({"reboot": "shutdown"}));
    assert_eq!(client.event("SHUTDOWN"), json!({"guest": true, "reason": "guest-reset"}));
    assert!(machine.wait().success());
    let _ = std::fs::remove_file(file);
}

#[test]
fn descriptors_come_through_the_socket() {
    let machine = Machine::start("-M none -nodefaults -display none");
    let mut client = Client::ready(&machine);
    let none = "No file descriptor supplied via SCM_RIGHTS";
    assert_eq!(client.refused("getfd", json!({"fdname": "a"})).1, none);
    let null = std::fs::File::open("/dev/null").unwrap();
    let fd = std::os::fd::AsFd::as_fd(&null);
    let text = json!({"execute": "add-fd", "arguments": {"fdset-id": 7, "opaque": "o"}}).to_string();
    send_fds(client.stream(), &text, &[fd]);
    let number = client.reply()["return"]["fd"].clone();
    let sets = json!([{"fdset-id": 7, "fds": [{"fd": number, "opaque": "o"}]}]);
    assert_eq!(client.run("query-fdsets", json!({})), sets);
    client.run("remove-fd", json!({"fdset-id": 7}));
    assert_eq!(client.run("query-fdsets", json!({})), json!([]));
    let text = json!({"execute": "getfd", "arguments": {"fdname": "a"}}).to_string();
    send_fds(client.stream(), &text, &[fd, fd]);
    assert_eq!(client.reply()["return"], json!({}));
    client.run("closefd", json!({"fdname": "a"}));
    assert_eq!(client.refused("closefd", json!({"fdname": "a"})).1, "File descriptor named 'a' not found");
}

/// What libvirt asks of a program that it does not know yet.
#[test]
fn libvirt_learns_what_the_program_can() {
    let (socket, pidfile) = (common::temporary("probe"), common::temporary("pid"));
    let line = format!(
        "-S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg -qmp \
         unix:{},server=on,wait=off -pidfile {} -daemonize",
        socket.display(),
        pidfile.display()
    );
    // The child keeps standard error to its end.
    let mut command = common::program(&line);
    assert!(command.stderr(std::process::Stdio::null()).status().unwrap().success());
    // The parent ends when all is ready.
    let pid: i32 = std::fs::read_to_string(&pidfile).unwrap().trim().parse().unwrap();
    let mut client = Client::new(std::os::unix::net::UnixStream::connect(&socket).unwrap());
    client.run("qmp_capabilities", json!({}));
    assert_eq!(client.run("query-version", json!({}))["qemu"]["major"], 10);
    assert_eq!(client.run("query-target", json!({})), json!({"arch": "riscv64"}));
    assert_eq!(client.run("query-kvm", json!({})), json!({"enabled": false, "present": false}));
    assert_eq!(status(&mut client), "prelaunch");
    let named = |list: &Value, name: &str| {
        list.as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    let types = client.run("qom-list-types", json!({}));
    for name in ["tcg-accel", "virtio-blk-device", "memory-backend-ram", "secret", "virt-machine"] {
        assert!(named(&types, name)["parent"].is_string(), "{name}");
    }
    assert_eq!(client.run("qom-list-types", json!({"implements": "accel"})).as_array().unwrap().len(), 1);
    let properties = client.run("device-list-properties", json!({"typename": "virtio-blk-device"}));
    assert_eq!(named(&properties, "queue-size")["default-value"], 256);
    assert_eq!(
        client.refused("device-list-properties", json!({"typename": "nosuch"})),
        ("DeviceNotFound".into(), "Device 'nosuch' not found".into())
    );
    let properties = client.run("qom-list-properties", json!({"typename": "virt-machine"}));
    assert_eq!(named(&properties, "memory-backend")["type"], "link<memory-backend>");
    let machines = client.run("query-machines", json!({}));
    assert_eq!(named(&machines, "virt")["default-cpu-type"], "rv64-riscv-cpu");
    assert_eq!(named(&machines, "virt")["default-ram-id"], "riscv_virt_board.ram");
    let models = client.run("query-cpu-definitions", json!({}));
    assert_eq!(named(&models, "rv64")["static"], false);
    let model = client.run("query-cpu-model-expansion", json!({"type": "full", "model": {"name": "rv64"}}));
    assert_eq!(
        (&model["model"]["props"]["sstc"], &model["model"]["props"]["zfh"]),
        (&json!(true), &json!(false))
    );
    assert!(client.run("query-migrate-capabilities", json!({})).is_array());
    assert!(client.run("query-command-line-options", json!({})).as_array().unwrap().len() > 10);
    assert!(client.run("query-qmp-schema", json!({})).as_array().unwrap().len() > 50);
    client.run("quit", json!({}));
    common::until("the program does not end", || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    assert!(!pidfile.exists() && !socket.exists());
}

/// A domain as libvirt starts it, with a monitor on a socket that listens already, and in the sandbox.
#[test]
fn libvirt_starts_a_domain() {
    let (socket, disk) = (common::temporary("monitor"), common::temporary("disk"));
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let fd = rustix::io::dup(&listener).unwrap();
    drop(listener);
    std::fs::write(&disk, vec![0; 1 << 16]).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut command = common::program("");
    command.args(words("-name guest=rv,debug-threads=on -S -object"));
    command.arg(r#"{"qom-type":"secret","id":"masterKey0","format":"raw","data":"x"}"#);
    command.args(words(
        "-machine virt,usb=off,dump-guest-core=off,memory-backend=riscv_virt_board.ram -accel tcg -m 64 -bios none -object",
    ));
    command.arg(r#"{"qom-type":"memory-backend-ram","id":"riscv_virt_board.ram","size":67108864}"#);
    command.args(["-object", r#"{"qom-type":"iothread","id":"iothread1"}"#]);
    command.args(words(&format!(
        "-overcommit mem-lock=off -smp 1,sockets=1,cores=1,threads=1 -uuid 21111111-2222-3333-4444-555555555555 \
         -display none -no-user-config -nodefaults -chardev socket,id=charmonitor,fd={},server=on,wait=off \
         -mon chardev=charmonitor,id=monitor,mode=control -rtc base=utc -no-shutdown -boot strict=on",
        std::os::fd::AsRawFd::as_raw_fd(&fd)
    )));
    let file = disk.display();
    for json in [
        r#"-device {"driver":"virtio-serial-device","id":"virtio-serial0"}"#.to_owned(),
        format!(
            r#"-blockdev {{"driver":"file","filename":"{file}","node-name":"store","auto-read-only":true,"discard":"unmap"}}"#
        ),
        r#"-blockdev {"node-name":"format","read-only":false,"driver":"raw","file":"store"}"#.to_owned(),
        r#"-device {"driver":"virtio-blk-device","iothread":"iothread1","drive":"format","id":"virtio-disk0","bootindex":1}"#
            .to_owned(),
        r#"-netdev {"type":"user","id":"hostnet0"}"#.to_owned(),
        r#"-device {"driver":"virtio-net-device","netdev":"hostnet0","id":"net0","mac":"52:54:00:46:e1:9d"}"#
            .to_owned(),
        r#"-audiodev {"id":"audio1","driver":"none"}"#.to_owned(),
    ] {
        command.args(json.splitn(2, ' '));
    }
    command.args(words(
        "-chardev pty,id=charserial0 -serial chardev:charserial0 -msg timestamp=on \
         -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    ));
    let child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    drop(fd);
    let mut machine = Machine { child, socket };
    let mut client = Client::ready(&machine);
    let chardevs = client.run("query-chardev", json!({}));
    let serial = chardevs.as_array().unwrap().iter().find(|c| c["label"] == "charserial0").unwrap();
    assert!(serial["filename"].as_str().unwrap().starts_with("pty:/dev/pts/"));
    let cpus = client.run("query-cpus-fast", json!({}));
    assert_eq!(cpus[0]["qom-path"], "/machine/soc0/harts[0]");
    let nodes = client.run("query-named-block-nodes", json!({"flat": true}));
    assert_eq!((&nodes[1]["node-name"], &nodes[1]["drv"]), (&json!("format"), &json!("raw")));
    assert_eq!(nodes[1]["image"]["virtual-size"], 1 << 16);
    let block = client.run("query-block", json!({}));
    assert_eq!(block[0]["qdev"], "virtio-disk0");
    let peripheral = client.run("qom-list", json!({"path": "/machine/peripheral"}));
    assert!(
        peripheral.as_array().unwrap().contains(&json!({"name": "net0", "type": "child<virtio-net-device>"}))
    );
    let thread = &client.run("query-iothreads", json!({}))[0];
    assert_eq!(thread["id"], "iothread1");
    let name = format!("/proc/{}/task/{}/comm", machine.child.id(), thread["thread-id"]);
    assert_eq!(std::fs::read_to_string(name).unwrap(), "IO iothread1\n");
    let (_, refused) = client.refused("object-del", json!({"id": "iothread1"}));
    assert_eq!(refused, "object 'iothread1' is in use, can not be deleted");
    assert_eq!(client.run("query-uuid", json!({}))["UUID"], "21111111-2222-3333-4444-555555555555");
    assert_eq!(client.run("query-name", json!({}))["name"], "rv");
    // The filter is in force on all threads.
    for thread in std::fs::read_dir(format!("/proc/{}/task", machine.child.id())).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    }
    client.run("cont", json!({}));
    client.event("RESUME");
    client.run("quit", json!({}));
    assert!(machine.wait().success());
    // The socket is libvirt's to remove.
    assert!(machine.socket.exists());
    let _ = std::fs::remove_file(disk);
}

#[test]
fn back_ends_come_and_go() {
    let line = "-M virt -bios none -display none -S -serial null -netdev user,id=n0 -device virtio-net-device,netdev=n0,id=card";
    let machine = Machine::start(line);
    let mut client = Client::ready(&machine);
    // Networks.
    let filter = client.run("query-rx-filter", json!({"name": "card"}));
    assert_eq!((&filter[0]["promiscuous"], &filter[0]["vlan"]), (&json!(true), &json!("all")));
    client.run("set_link", json!({"name": "card", "up": false}));
    assert_eq!(
        client.refused("set_link", json!({"name": "x", "up": false})),
        ("DeviceNotFound".into(), "Device 'x' not found".into())
    );
    client
        .run("netdev_add", json!({"type": "user", "id": "n1", "hostfwd": [{"str": "tcp:127.0.0.1:0-:22"}]}));
    let text = client.hmp("info network");
    assert!(text.starts_with("card: index=0,type=nic,model=virtio-net-device,macaddr=52:54:00:12:34:56\n \\ n0: index=0,type=user,net=10.0.2.0,restrict=off\nn1: index=0,type=user"), "{text}");
    assert_eq!(
        client.refused("netdev_add", json!({"type": "user", "id": "n1"})).1,
        "Duplicate ID 'n1' for netdev"
    );
    client.run("netdev_del", json!({"id": "n1"}));
    client.run("netdev_del", json!({"id": "n0"}));
    assert_eq!(client.refused("netdev_del", json!({"id": "n0"})).0, "DeviceNotFound");
    assert_eq!(client.hmp("hostfwd_add tcp::1-:2"), "user mode network stack not in use\n");
    // Objects.
    client.run("object-add", json!({"qom-type": "memory-backend-ram", "id": "m", "size": 4096}));
    let memory = client.run("query-memdev", json!({}));
    assert_eq!((&memory[0]["id"], &memory[0]["size"]), (&json!("m"), &json!(4096)));
    assert_eq!(memory[1]["id"], "riscv_virt_board.ram");
    assert_eq!(
        client.refused("object-add", json!({"qom-type": "rng-random", "id": "m"})).1,
        "Duplicate ID 'm' for object"
    );
    assert_eq!(
        client.refused("object-add", json!({"qom-type": "rng-random", "id": "o", "size": 1})).1,
        "Parameter 'size' is unexpected"
    );
    client.run("object-del", json!({"id": "m"}));
    assert_eq!(client.refused("object-del", json!({"id": "m"})).1, "object 'm' not found");
    // Character devices.
    let add = |backend: Value| json!({"id": "c", "backend": backend});
    client.run("chardev-add", add(json!({"type": "ringbuf", "data": {"size": 64}})));
    assert_eq!(
        client.refused("chardev-add", add(json!({"type": "null", "data": {}}))).1,
        "Duplicate ID 'c' for chardev"
    );
    client.run("ringbuf-write", json!({"device": "c", "data": "aGVsbG8=", "format": "base64"}));
    assert_eq!(client.run("ringbuf-read", json!({"device": "c", "size": 9})), "hello");
    client.run("chardev-remove", json!({"id": "c"}));
    assert_eq!(client.refused("chardev-remove", json!({"id": "serial0"})).1, "Chardev 'serial0' is busy");
    assert_eq!(
        client.refused("chardev-add", add(json!({"type": "socket", "data": {"addr": {"type": "inet"}}}))).1,
        "Parameter 'backend.data.addr.data' is missing"
    );
    // Block nodes.
    client.run(
        "blockdev-add",
        json!({"driver": "raw", "node-name": "b", "file": {"driver": "null-co", "size": 4096}}),
    );
    assert_eq!(client.run("query-named-block-nodes", json!({}))[0]["image"]["virtual-size"], 4096);
    client.run("blockdev-del", json!({"node-name": "b"}));
    assert_eq!(
        client.refused("blockdev-del", json!({"node-name": "b"})).1,
        "Failed to find node with node-name='b'"
    );
}

/// Of what there is none here: answers as of a machine of QEMU's without it. And of the balloon, which there is.
#[test]
fn keys_overlays_and_a_balloon() {
    let line = "-M virt -S -m 64 -display none -serial none -monitor none -bios none -drive if=none,id=d,file=null-co:// \
                -device virtio-balloon-device,id=b";
    let machine = Machine::start(line);
    let mut client = Client::ready(&machine);
    let key = json!({"type": "qcode", "data": "a"});
    client.run("send-key", json!({"keys": [key, {"type": "number", "data": 30}], "hold-time": 5}));
    let events = json!({"events": [{"type": "key", "data": {"down": true, "key": key}}]});
    let mut refused = |command: &str, arguments: Value| client.refused(command, arguments).1;
    assert_eq!(refused("input-send-event", events), "VM not running");
    let unknown = json!({"keys": [{"type": "qcode", "data": "nokey"}]});
    let text = refused("send-key", unknown);
    assert!(text.ends_with("does not accept value 'nokey'"), "{text}");
    let vnc = json!({"protocol": "vnc", "password": "x"});
    assert_eq!(refused("set_password", vnc), "Could not set password");
    let spice = json!({"protocol": "spice", "time": "now"});
    assert_eq!(refused("expire_password", spice), "SPICE is not in use");
    let overlay = json!({"node": "d", "overlay": "nosuch"});
    let text = "Cannot find device='nosuch' nor node-name='nosuch'";
    assert_eq!(refused("blockdev-snapshot", overlay), text);
    let raw = json!({"device": "d", "snapshot-file": "/nonexistent", "format": "raw"});
    assert_eq!(refused("blockdev-snapshot-sync", raw), "Backing file not supported for file format 'raw'");
    for (line, answer) in [
        ("sendkey ctrl-alt-f1", ""),
        ("sendkey a-foo", "invalid parameter: foo\n"),
        ("mouse_set 0", "Error: Mouse at index '0' not found\n"),
        ("mouse_move 1 1", ""),
        ("set_password vnc x fail", "Error: parameter 'connected' must be 'keep' when 'protocol' is 'vnc'\n"),
        ("snapshot_blkdev d", "Error: Parameter 'snapshot-file' is missing\n"),
        ("info balloon", "balloon: actual=64\n"),
        ("balloon 0", "Error: Parameter 'value' expects a size\n"),
        ("balloon 32", ""),
        (
            "info block d",
            "d (#d): null-co:// (raw)\n    Removable device: not locked, tray closed\n    Cache mode:       writeback\n",
        ),
    ] {
        assert_eq!(client.hmp(line), answer, "{line}");
    }
    assert_eq!(client.run("query-balloon", json!({})), json!({"actual": 64 << 20}));
    let place = |property: &str| json!({"path": "/machine/peripheral/b", "property": property});
    let stats = client.run("qom-get", place("guest-stats"));
    assert_eq!((&stats["last-update"], &stats["stats"]["stat-free-memory"]), (&json!(0), &json!(u64::MAX)));
    let mut interval = place("guest-stats-polling-interval");
    interval["value"] = json!(-1);
    assert_eq!(client.refused("qom-set", interval.clone()).1, "timer value must be greater than zero");
    interval["value"] = json!(2);
    client.run("qom-set", interval);
    assert_eq!(client.run("qom-get", place("guest-stats-polling-interval")), 2);
    client.run("quit", json!({}));
}

/// The machine's own properties are what the user has asked for, and what holds without that.
#[test]
fn the_machines_properties() {
    let line =
        "-M virt,aclint=on -S -m 64 -smp 4,sockets=2 -display none -serial none -monitor none -bios none";
    let machine = Machine::start(line);
    let mut client = Client::ready(&machine);
    let list = client.run("qom-list", json!({"path": "/machine"}));
    for (name, value) in [
        ("type", json!("virt-machine")),
        ("aclint", json!(true)),
        ("aia", json!("none")),
        ("acpi", json!("auto")),
        ("usb", json!(false)),
        ("graphics", json!(true)),
        ("firmware", json!("none")),
        ("memory-backend", json!("/objects/riscv_virt_board.ram")),
        ("memory", json!({"size": 64 << 20})),
    ] {
        let got = client.run("qom-get", json!({"path": "/machine", "property": name}));
        assert_eq!(got, value, "{name}");
        assert!(list.as_array().unwrap().iter().any(|one| one["name"] == name), "{name} is not listed");
    }
    let smp = client.run("qom-get", json!({"path": "/machine", "property": "smp"}));
    assert_eq!([&smp["cpus"], &smp["sockets"], &smp["cores"]], [4, 2, 2]);
    let hart = |property: &str| json!({"path": "/machine/soc0/harts[3]", "property": property});
    for (property, value) in [("realized", true), ("sstc", true), ("zfh", false), ("zba", true)] {
        assert_eq!(client.run("qom-get", hart(property)), value, "{property}");
    }
    let change = json!({"path": "/machine", "property": "aia", "value": "aplic"});
    assert_eq!(client.refused("qom-set", change).1, "Insufficient permission to perform this operation");
}

#[test]
fn the_object_tree_and_memory() {
    let machine = Machine::start("-M virt -bios none -display none -S -serial null");
    let mut client = Client::ready(&machine);
    let get = |path: &str, property: &str| json!({"path": path, "property": property});
    assert_eq!(client.run("qom-get", get("/machine", "type")), "virt-machine");
    assert_eq!(
        client.refused("qom-get", get("/x", "y")),
        ("DeviceNotFound".into(), "Device '/x' not found".into())
    );
    assert_eq!(client.refused("qom-get", get("/machine", "x")).1, "Property 'virt-machine.x' not found");
    assert_eq!(client.hmp("qom-list /machine/peripheral"), "type (string)\n");
    assert_eq!(client.run("query-memory-size-summary", json!({})), json!({"base-memory": 128 << 20}));
    let file = common::temporary("memory");
    let save = |val: u64, size: u64| json!({"val": val, "size": size, "filename": file.to_str().unwrap()});
    client.run("pmemsave", save(0x1000, 8));
    assert_eq!(std::fs::read(&file).unwrap(), [0x97, 2, 0, 0, 0x13, 0x86, 0x82, 2]);
    client.run("memsave", save(0x1004, 4));
    assert_eq!(std::fs::read(&file).unwrap(), [0x13, 0x86, 0x82, 2]);
    // A core: one note, one stretch for memory and one for each bank of flash that takes writes.
    let dump = json!({"paging": false, "protocol": format!("file:{}", file.display()), "begin": 0x8000_0000u64, "length": 8192});
    client.run("dump-guest-memory", dump);
    let core = std::fs::read(&file).unwrap();
    assert_eq!((&core[..4], core[16], core[18], core[56]), (&b"\x7fELF"[..], 4, 243, 2));
    let word = |at: usize| u64::from_le_bytes(core[at..at + 8].try_into().unwrap());
    let load = 64 + 56;
    assert_eq!((core[load], word(load + 24), word(load + 32)), (1, 0x8000_0000, 8192));
    assert_eq!(word(load + 8) + 8192, core.len() as u64);
    // The program counter stands behind the head of the note and of the status.
    assert_eq!(word(64 + 2 * 56 + 20 + 112), 0x1000);
    assert_eq!(client.run("query-dump", json!({}))["status"], "completed");
    assert_eq!(client.refused("memsave", save(0, 4)).1, "Invalid addr 0x0000000000000000/size 4 specified");
    let _ = std::fs::remove_file(file);
}
