//! What a keeper does with a machine beside running it: completing it late, changing its lines, debugging it.

mod common;

use common::{Client, Machine, finisher, program, temporary, until};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

const QUIET: &str = "-M virt -display none -serial none -monitor none -bios none";

fn machine(more: &str) -> (Machine, Client) {
    let machine = Machine::start(&format!("{QUIET} {more}"));
    let client = Client::ready(&machine);
    (machine, client)
}

#[test]
fn a_machine_waits_to_be_completed() {
    let (mut machine, mut client) = machine("-preconfig -no-shutdown");
    assert_eq!(client.run("query-status", json!({}))["status"], "prelaunch");
    for command in ["cont", "query-cpus-fast", "system_reset"] {
        let (_, text) = client.refused(command, json!({}));
        assert_eq!(
            text,
            format!("The command '{command}' is permitted only after machine initialization has completed")
        );
    }
    client.run("x-exit-preconfig", json!({}));
    let (_, text) = client.refused("x-exit-preconfig", json!({}));
    assert_eq!(text, "The command is permitted only before machine initialization");
    until("it does not run", || {
        (client.run("query-status", json!({}))["running"] == json!(true)).then_some(())
    });
    client.run("quit", json!({}));
    assert!(machine.wait().success());
    let (mut machine, mut client) = self::machine("-preconfig");
    client.run("quit", json!({}));
    assert!(machine.wait().success());
}

#[test]
fn parameters_are_set_afterwards() {
    let (_machine, mut client) = machine(
        "-S -drive if=none,id=d,file=null-co:// -device virtio-blk-device,drive=d,id=v \
         -set device.v.serial=abc -set drive.d.file.size=1M",
    );
    let serial = client.run("qom-get", json!({"path": "/machine/peripheral/v", "property": "serial"}));
    assert_eq!(serial, "abc");
    let size = client.run("query-block", json!({}))[0]["inserted"]["image"]["virtual-size"].clone();
    assert_eq!(size, 1 << 20);
    for (line, text) in [
        ("-set device.x.y=1", "-set device.x.y=1: there is no device \"x\" defined"),
        ("-set nosuch.x.y=1", "-set nosuch.x.y=1: There is no option group 'nosuch'"),
        ("-set xy", "-set xy: invalid argument \"xy\""),
        ("-run-with nosuch=1", "-run-with nosuch=1: Invalid parameter 'nosuch'"),
        (
            "-display none -serial none -run-with user=no-such-user",
            "User \"no-such-user\" doesn't exist (and is not <uid>:<gid>)",
        ),
        ("-display none -serial none -run-with chroot=/nonexistent", "chroot failed"),
    ] {
        let output = program(line).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        let seen = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        assert_eq!(seen, format!("tinamou: {text}"));
    }
}

/// As root, the program can become somebody else.
#[test]
fn the_program_runs_as_somebody_else() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (machine, mut client) = machine("-S -run-with user=1234:567,async-teardown=on");
    client.run("query-status", json!({}));
    let tasks = std::fs::read_dir(format!("/proc/{}/task", machine.child.id())).unwrap();
    for task in tasks {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert_eq!(line("Uid:"), "Uid:\t1234\t1234\t1234\t1234");
        assert_eq!(line("Gid:"), "Gid:\t567\t567\t567\t567");
    }
}

#[test]
fn a_line_changes_its_back_end_and_takes_connections() {
    let (mut machine, mut client) =
        machine("-S -chardev null,id=c -device virtio-serial-device -device virtconsole,chardev=c");
    let path = temporary("line.sock");
    let backend = json!({"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": path}}, "server": true, "wait": false}});
    client.run("chardev-change", json!({"id": "c", "backend": backend}));
    assert!(
        client.hmp("info chardev").contains(&format!("c: filename=disconnected:unix:{}", path.display()))
    );
    // A connection that the client has accepted, instead of one through the socket.
    let [ours, theirs] = UnixStream::pair().map(|(a, b)| [a, b]).unwrap();
    common::send_fds(
        client.stream(),
        &json!({"execute": "getfd", "arguments": {"fdname": "theirs"}}).to_string(),
        &[std::os::fd::AsFd::as_fd(&theirs)],
    );
    assert_eq!(client.reply(), json!({"return": {}}));
    drop(theirs);
    client.run("add_client", json!({"protocol": "c", "fdname": "theirs"}));
    assert!(client.hmp("info chardev").contains(&format!("c: filename=unix:{}", path.display())));
    let (_, text) = client.refused("add_client", json!({"protocol": "c", "fdname": "theirs"}));
    assert_eq!(text, "File descriptor named 'theirs' has not been found");
    assert_eq!(client.hmp("chardev-change c ringbuf,size=64"), "");
    let mut rest = Vec::new();
    assert_eq!((&ours).read_to_end(&mut rest).unwrap(), 0);
    assert_eq!(client.hmp("ringbuf_read c 1"), "\n");
    let (_, text) =
        client.refused("chardev-change", json!({"id": "x", "backend": {"type": "null", "data": {}}}));
    assert_eq!(text, "Chardev 'x' does not exist");
    assert!(UnixListener::bind(&path).is_ok(), "the socket is left behind");
    client.run("quit", json!({}));
    machine.wait();
}

/// A pseudo-terminal stands for a serial line: what is written at its other end comes out of it as it is.
#[test]
fn a_serial_line_of_the_host_is_the_guests() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let path = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
    let quiet = QUIET.replace("-serial none", "");
    let machine = Machine::start(&format!("{quiet} -S -chardev serial,id=c,path={path} -serial chardev:c"));
    let mut client = Client::ready(&machine);
    assert!(client.hmp("info chardev").contains("c: filename=serial"));
    let mut far = std::fs::File::from(far);
    far.write_all(b"x\r").unwrap();
    // The UART holds one byte until it is read.
    let byte = |client: &mut Client| client.hmp("xp /1bx 0x10000000");
    until("nothing has come", || byte(&mut client).contains("0x78").then_some(()));
    // A carriage return is left as it is.
    until("no carriage return has come", || byte(&mut client).contains("0x0d").then_some(()));
}

#[test]
fn people_reach_ports_debuggers_and_blocks() {
    let (_machine, mut client) = machine(&format!("-kernel {}", finisher(0).display()));
    for (line, answer) in [
        ("i /bx 0x10000000", "portb[0x0000] = 0xff\n"),
        ("i /wx 0x1234", "portl[0x1234] = 0xffffffff\n"),
        ("o /bx 0x10000000 65", ""),
        ("one-insn-per-tb on", ""),
        ("one-insn-per-tb bla", "unexpected option bla\n"),
        ("gdbserver none", "Disabled gdbserver\n"),
    ] {
        assert_eq!(client.hmp(line), answer, "{line}");
    }
    assert!(client.hmp("info jit").contains("one-insn-per-tb: on"));
    client.hmp("one-insn-per-tb off");
    assert!(client.hmp("info jit").contains("one-insn-per-tb: off"));
    let path = temporary("gdb.sock");
    let device = format!("unix:{}", path.display());
    assert_eq!(
        client.hmp(&format!("gdbserver {device}")),
        format!("Waiting for gdb connection on device '{device}'\n")
    );
    let mut debugger = UnixStream::connect(&path).unwrap();
    debugger.write_all(b"$?#3f").unwrap();
    let mut answer = [0; 4];
    debugger.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+$T0");
    assert_eq!(client.hmp("gdbserver none"), "Disabled gdbserver\n");
    assert!(UnixStream::connect(&path).is_err());
    let text = client.hmp("gdbserver foo");
    assert!(text.ends_with("Could not open gdbserver on device 'foo'\n"), "{text}");
}

#[test]
fn the_guests_clock_tells_when_it_is_set() {
    let tests = temporary("qtest");
    let line = format!("-accel qtest -qtest unix:{},server=on,wait=off", tests.display());
    let (_machine, mut client) = machine(&line);
    let mut processor = UnixStream::connect(&tests).unwrap();
    processor.write_all(b"writel 0x101004 0\nwritel 0x101000 0\n").unwrap();
    let change = client.event("RTC_CHANGE");
    assert!(change["offset"].as_i64().unwrap() < -1_000_000_000, "{change}");
    assert!(change["qom-path"].as_str().unwrap().starts_with("/machine/"), "{change}");
}
