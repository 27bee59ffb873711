//! The command line of those who keep machines: in the background, in the sandbox, with descriptors handed over, with options
//! from a file, with messages of a certain form.

mod common;

use common::{Client, Machine, program, temporary, until};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const QUIET: &str = "-M virt -S -display none -serial none -monitor none -bios none";

/// What a command line that is refused says.
fn refused(words: &[&str]) -> String {
    let output = program(QUIET).args(words).stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

fn written(name: &str, text: &str) -> PathBuf {
    let path = temporary(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_pidfile_belongs_to_one_program() {
    let path = temporary("pid");
    let file = path.to_str().unwrap();
    let mut machine = Machine::start(&format!("{QUIET} -pidfile {file}"));
    let mut client = Client::ready(&machine);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", machine.child.id()));
    let text = "cannot create PID file: Cannot lock pid file: Resource temporarily unavailable";
    assert_eq!(refused(&["-pidfile", file]), format!("tinamou: {text}"));
    assert!(path.exists(), "the other's file is gone");
    client.run("quit", json!({}));
    machine.wait();
    assert!(!path.exists());
}

#[test]
fn the_background_has_no_terminal() {
    let text = "-serial stdio: cannot use stdio with -daemonize";
    let seen = refused(&["-daemonize", "-serial", "stdio"]);
    assert!(seen.starts_with(&format!("tinamou: {text}\n")), "{seen}");
    assert_eq!(refused(&["-daemonize", "-nographic"]), "tinamou: -nographic cannot be used with -daemonize");
    // What is wrong is said before the parent ends, which fails.
    let seen = refused(&["-daemonize", "-device", "nosuch"]);
    assert_eq!(seen, "tinamou: -device nosuch: 'nosuch' is not a valid device model name");
}

/// A call that has been given up ends the program; without the filter it is made.
#[test]
fn the_sandbox_refuses_to_start_programs() {
    for (filter, ends) in [("off", false), ("on", false), ("on,spawn=deny", true)] {
        let mut machine = Machine::start(&format!("{QUIET} -sandbox {filter}"));
        let mut client = Client::ready(&machine);
        let there = temporary("started");
        let uri = format!("exec:cat >{}", there.display());
        client.send(&json!({"execute": "migrate", "arguments": {"uri": uri}}).to_string());
        if ends {
            use std::os::unix::process::ExitStatusExt;
            const SIGSYS: i32 = 31;
            assert_eq!(machine.wait().signal(), Some(SIGSYS), "{filter}");
            continue;
        }
        assert_eq!(client.reply(), json!({"return": {}}), "{filter}");
        until("the program is not started", || there.exists().then_some(()));
        until("the migration does not end", || {
            (client.run("query-migrate", json!({}))["status"] == "completed").then_some(())
        });
        client.run("quit", json!({}));
        machine.wait();
        let _ = std::fs::remove_file(there);
    }
    assert_eq!(
        refused(&["-sandbox", "on,nosuch=1"]),
        "tinamou: -sandbox on,nosuch=1: Invalid parameter 'nosuch'"
    );
    assert_eq!(
        refused(&["-sandbox", "on,elevateprivileges=maybe"]),
        "tinamou: -sandbox on,elevateprivileges=maybe: invalid argument for elevateprivileges"
    );
}

/// An image through a descriptor that the program is started with.
#[test]
fn descriptors_are_inherited() {
    let image = temporary("image");
    std::fs::write(&image, vec![0; 1 << 16]).unwrap();
    let socket = temporary("qmp");
    let line = format!(
        "exec {} {QUIET} -add-fd fd=7,set=2,opaque=theirs -drive file=/dev/fdset/2,format=raw,if=none,id=d \
         -qmp unix:{},server=on,wait=off 7<>{}",
        env!("CARGO_BIN_EXE_tinamou"),
        socket.display(),
        image.display()
    );
    let child = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).spawn().unwrap();
    let mut machine = Machine { child, socket };
    let mut client = Client::ready(&machine);
    let sets = client.run("query-fdsets", json!({}));
    assert_eq!(sets, json!([{"fdset-id": 2, "fds": [{"fd": 7, "opaque": "theirs"}]}]));
    let drive = &client.run("query-block", json!({}))[0];
    assert_eq!(drive["inserted"]["image"]["virtual-size"], 1 << 16);
    client.run("quit", json!({}));
    machine.wait();
    let _ = std::fs::remove_file(image);
    for (option, text) in [
        ("fd=1,set=1", "fd cannot be a standard I/O stream"),
        ("fd=99,set=1", "fd is not valid or already in use"),
        ("set=1", "fd option is required and must be non-negative"),
        ("fd=3", "set option is required and must be non-negative"),
    ] {
        let seen = refused(&["-add-fd", option]);
        assert_eq!(seen, format!("tinamou: -add-fd {option}: {text}"));
    }
}

#[test]
fn options_come_from_a_file() {
    let text = "# what a machine is made of\n[machine]\n  type = \"virt\"\n[name]\n  guest = \"from a file\"\n\
                [device \"r0\"]\n  driver = \"virtio-rng-device\"\n";
    let config = written("machine.cfg", text);
    let line = QUIET.replace("-M virt ", "");
    let machine = Machine::start(&format!("{line} -readconfig {}", config.display()));
    let mut client = Client::ready(&machine);
    assert_eq!(client.run("query-name", json!({}))["name"], "from a file");
    assert!(client.hmp("info qtree").contains("dev: virtio-rng-device, id \"r0\"\n"));
    let _ = std::fs::remove_file(config);
    for (text, wrong) in [
        ("[nosuch \"x\"]\n", "-readconfig F: There is no option group 'nosuch'"),
        ("driver = \"x\"\n", "-readconfig F: no group defined"),
        ("[device]\ndriver = x\n", "F:2: parse error"),
        ("[device]\n driver = \"nosuch\"\n", "F:2: 'nosuch' is not a valid device model name"),
    ] {
        let config = written("wrong.cfg", text);
        let name = config.to_str().unwrap();
        assert_eq!(refused(&["-readconfig", name]), format!("tinamou: {}", wrong.replace('F', name)));
        let _ = std::fs::remove_file(&config);
    }
    let seen = refused(&["-readconfig", "/nonexistent"]);
    let text = "Could not open '/nonexistent': No such file or directory";
    assert_eq!(seen, format!("tinamou: -readconfig /nonexistent: {text}"));
}

#[test]
fn messages_have_the_form_that_is_asked_for() {
    let wrong = "-device nosuch: 'nosuch' is not a valid device model name";
    let seen = refused(&["-msg", "timestamp=on", "-device", "nosuch"]);
    let (time, rest) = seen.split_once(' ').unwrap();
    assert_eq!(rest, format!("tinamou: {wrong}"));
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000000Z");
    let seen = refused(&["-msg", "guest-name=on", "-name", "mine", "-device", "nosuch"]);
    assert_eq!(seen, format!("mine tinamou: {wrong}"));
    assert_eq!(refused(&["-msg", "foo=1"]), "tinamou: -msg foo=1: Invalid parameter 'foo'");
}

#[test]
fn options_are_json() {
    for (option, value, text) in [
        ("-device", r#"{"driver""#, "JSON parse error, premature EOI"),
        ("-device", r#"{"driver":"edu"}}"#, "Expecting at most one JSON value"),
        ("-device", r#"{"driver":"nosuch"}"#, "'nosuch' is not a valid device model name"),
        ("-object", r#"{"qom-type":"rng-random"}"#, "Parameter 'id' is missing"),
        ("-blockdev", r#"{"driver":"file"}"#, "Parameter 'filename' is missing"),
        ("-netdev", r#"{"type":"user"}"#, "Parameter 'id' is missing"),
    ] {
        assert_eq!(refused(&[option, value]), format!("tinamou: {option} {value}: {text}"));
    }
    // Strings may stand in single quotes, as in the machine protocol.
    let socket = temporary("qmp");
    let mut command = program(QUIET);
    command.args(["-device", "{'driver': 'virtio-rng-device', 'id': 'r0'}", "-qmp"]);
    command.arg(format!("unix:{},server=on,wait=off", socket.display()));
    let machine = Machine { child: command.spawn().unwrap(), socket };
    let mut client = Client::ready(&machine);
    assert!(client.hmp("info qtree").contains("id \"r0\""));
}

#[test]
fn actions_are_chosen_and_changed() {
    for (option, text) in [
        ("reboot=none", "Parameter 'reboot' does not accept value 'none'"),
        ("panic=bla", "Parameter 'panic' does not accept value 'bla'"),
        ("nosuch=1", "Invalid parameter 'nosuch'"),
    ] {
        assert_eq!(refused(&["-action", option]), format!("tinamou: -action {option}: {text}"));
    }
    let mut machine = Machine::start(&format!("{QUIET} -action reboot=shutdown,shutdown=pause"));
    let mut client = Client::ready(&machine);
    client.run("cont", json!({}));
    // A reset is an end, and the end a pause.
    client.run("system_reset", json!({}));
    assert_eq!(client.event("SHUTDOWN"), json!({"guest": false, "reason": "host-qmp-system-reset"}));
    assert_eq!(client.run("query-status", json!({}))["status"], "shutdown");
    client.run("set-action", json!({"shutdown": "poweroff"}));
    client.run("quit", json!({}));
    assert!(machine.wait().success());
}
