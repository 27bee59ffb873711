//! The machine protocol of the real program.

mod common;

use common::{Client, Machine, finisher};
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
