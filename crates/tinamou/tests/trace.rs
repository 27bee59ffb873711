//! Trace points as a user meets them: listed, switched on the command line and by both monitors, and on a time line.

mod common;

use common::{Client, Machine, finisher, program, temporary};
use serde_json::{Value, json};

#[test]
fn points_are_listed_and_unknown_ones_told() {
    let output = program("-trace help").output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    for name in [
        "riscv_trap",
        "vcpu_run",
        "vm_state_notify",
        "gdbstub_io_command",
        "riscv_sifive_test_write",
        "flatview_new",
        "translate_block",
        "handle_qmp_command",
        "virtio_net_transmit",
    ] {
        assert!(list.lines().any(|line| line == name), "{name}:\n{list}");
    }
    let line =
        format!("-M virt -bios none -display none -trace nosuch -kernel {}", finisher(0x5555).display());
    let output = program(&line).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "tinamou: warning: trace event 'nosuch' does not exist\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_happens_is_logged() {
    let (log, events) = (temporary("log"), temporary("events"));
    std::fs::write(&events, "# what ends the guest\nriscv_sifive_test_*\n-riscv_sifive_test_reset\n")
        .unwrap();
    let line = format!(
        "-M virt -bios none -display none -d trace:vm_state_notify -trace events={},file={} -kernel {}",
        events.display(),
        log.display(),
        finisher(0x5555).display()
    );
    let output = program(&line).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
    let text = std::fs::read_to_string(&log).unwrap();
    let first = text.lines().next().unwrap();
    assert_eq!(first, "vm_state_notify running 1 reason 9 (running)");
    assert!(text.contains("riscv_sifive_test_write window 0 addr 0x0 value 0x5555 size 4 ("), "{text}");
    [log, events].into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
}

#[test]
fn the_monitors_switch_them() {
    let machine = Machine::start("-M virt -display none -S");
    let mut client = Client::ready(&machine);
    let state = |client: &mut Client| client.run("trace-event-get-state", json!({"name": "riscv_t?ap"}));
    assert_eq!(state(&mut client), json!([{"name": "riscv_trap", "state": "disabled"}]));
    client.run("trace-event-set-state", json!({"name": "riscv_*", "enable": true}));
    assert_eq!(state(&mut client), json!([{"name": "riscv_trap", "state": "enabled"}]));
    assert_eq!(client.hmp("info trace-events riscv_trap"), "riscv_trap : state 1\n");
    assert_eq!(client.hmp("trace-event riscv_trap off"), "");
    assert_eq!(client.hmp("info trace-events riscv_trap"), "riscv_trap : state 0\n");
    let (class, text) = client.refused("trace-event-get-state", json!({"name": "nosuch"}));
    assert_eq!((class.as_str(), text.as_str()), ("GenericError", "unknown event \"nosuch\""));
    assert_eq!(client.hmp("trace-event nosuch on"), "Error: unknown event \"nosuch\"\n");
}

#[test]
fn a_time_line_can_be_read() {
    let file = temporary("line.json");
    let line = format!(
        "-M virt -bios none -display none --trace-out {} -kernel {}",
        file.display(),
        finisher(0x5555).display()
    );
    assert_eq!(program(&line).status().unwrap().code(), Some(0));
    let line: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let named = |name: &str| line.iter().find(move |event| event["name"] == name);
    let write = named("riscv_sifive_test_write").unwrap();
    assert_eq!(write["ph"], "X");
    let vcpu = line.iter().find(|event| event["args"]["name"] == "CPU 0/TCG").unwrap();
    assert_eq!((&vcpu["ph"], &vcpu["tid"]), (&json!("M"), &write["tid"]));
    assert!(named("vm_state_notify").unwrap()["ts"].as_f64() < write["ts"].as_f64());
    std::fs::remove_file(file).unwrap();
}
