//! Snapshots through the program.

mod common;

use common::{Client, Machine, program, temporary};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A directory that goes with its owner.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn store() -> (Directory, String) {
    let store = Directory(temporary("snapshots"));
    let line = format!("-M virt -bios none -S -display none -serial null -snapshots {}", store.0.display());
    (store, line)
}

/// Runs monitor commands one by one; what they print.
fn monitor(line: &str, commands: &[&str]) -> Vec<String> {
    let mut machine = Machine::start(line);
    let mut client = Client::ready(&machine);
    let answers = commands.iter().map(|command| client.hmp(command)).collect();
    client.send("{\"execute\": \"quit\"}");
    machine.wait();
    answers
}

#[test]
fn save_and_load() {
    let (store, line) = store();
    let out = monitor(
        &line,
        &[
            "info snapshots",
            "savevm one",
            "savevm -m two",
            "info snapshots",
            "loadvm one",
            "loadvm two",
            "loadvm nope",
            "info status",
        ],
    );
    let list = "List of snapshots present on all disks:\n\
                ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n\
                --      one              ";
    assert_eq!(out[0], "There is no snapshot available.\n");
    assert!(out[3].starts_with(list) && out[3].contains("\n--      two  "), "{}", out[3]);
    assert!(out[3].ends_with("  0000:00:00.000         --\n"), "{}", out[3]);
    assert_eq!(out[6], "Error: Snapshot 'nope' does not exist in one or more devices\n");
    assert_eq!(out[7], "VM status: paused (prelaunch)\n");
    for silent in [1, 2, 4, 5] {
        assert_eq!(out[silent], "");
    }
    // The tool shows what is in it.
    let mut tool = program(&format!("dump {}/1.state", store.0.display()));
    let output = std::os::unix::process::CommandExt::arg0(&mut tool, "tinamou-snapshot").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "machine 0 (version 1)",
        "  cpu: \"rv64\"",
        "riscv_hart 0 (version 1)",
        "    pc: 0x1000",
        "serial 0 (version 1)",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    // Another process finds what is on disk.
    let out = monitor(&format!("{line} -loadvm one"), &["info snapshots", "delvm one", "info snapshots"]);
    assert!(out[0].starts_with(list) && !out[0].contains("two"), "{}", out[0]);
    assert_eq!(out[2], "There is no snapshot available.\n");
}

#[test]
fn another_machine_is_refused_by_the_field_that_differs() {
    let (_store, line) = store();
    monitor(&line, &["savevm one"]);
    for (more, field) in [
        ("-smp 2", "field 'machine.processors' differs: it is '1' in the saved state and '2' here"),
        ("-cpu max", "field 'machine.cpu' differs: it is 'rv64' in the saved state and 'max' here"),
        (
            "-m 64M",
            "field 'machine.memory.riscv_virt_board.ram' differs: it is '134217728 bytes' in the saved state and \
             '67108864 bytes' here",
        ),
        ("-device virtio-rng-device", "the saved state has no 'virtio-rng', which this machine has"),
    ] {
        let output = program(&format!("{line} {more} -loadvm one")).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(field), "{more}: {error}");
    }
    let output = program(&format!("{line} -loadvm two")).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error, "tinamou: Snapshot 'two' does not exist in one or more devices\n");
}

/// A guest that counts in memory for ever: `sw` of a register that grows, at 0x80001000.
fn counter() -> PathBuf {
    let code: [u32; 5] = [
        0x0000_1517, // auipc a0, 1
        0x0000_0593, // li    a1, 0
        0x0015_8593, // addi  a1, a1, 1
        0x00b5_2023, // sw    a1, 0(a0)
        0xff9f_f06f, // j     -8
    ];
    let path = temporary("counter.bin");
    std::fs::write(&path, code.map(u32::to_le_bytes).concat()).unwrap();
    path
}

/// The counter's value.
fn count(client: &mut Client) -> u32 {
    let text = client.hmp("xp /1xw 0x80001000");
    let number = text.trim().rsplit("0x").next().unwrap();
    u32::from_str_radix(number, 16).unwrap()
}

fn status(client: &mut Client) -> String {
    client.run("query-status", json!({}))["status"].as_str().unwrap().to_owned()
}

fn until_status(client: &mut Client, wanted: &str) {
    common::until(wanted, || (status(client) == wanted).then_some(()));
}

#[test]
fn a_running_guest_goes_back_and_forth() {
    let kernel = counter();
    let directory = Directory(temporary("running"));
    let line = format!(
        "-M virt -bios none -m 32M -display none -serial null -kernel {} -snapshots {}",
        kernel.display(),
        directory.0.display()
    );
    let mut first = Machine::start(&line);
    let mut client = Client::ready(&first);
    let (mut before, mut after) = (0, 0);
    let job = |client: &mut Client, command: &str, arguments: Value| {
        client.run(command, arguments);
        loop {
            let change = client.event("JOB_STATUS_CHANGE");
            if change["status"] == "concluded" {
                let id = change["id"].clone();
                let jobs = client.run("query-jobs", json!({}));
                client.run("job-dismiss", json!({ "id": id }));
                return jobs[0]["error"].as_str().map(str::to_owned);
            }
        }
    };
    for tag in ["a", "b"] {
        std::thread::sleep(std::time::Duration::from_millis(20));
        before = after;
        after = count(&mut client);
        let arguments = json!({"job-id": "j", "tag": tag, "vmstate": "memory", "devices": []});
        assert_eq!(job(&mut client, "snapshot-save", arguments.clone()), None);
        let again = job(&mut client, "snapshot-save", arguments);
        assert_eq!(again, Some(format!("Snapshot '{tag}' already exists in one or more devices")));
    }
    client.hmp("savevm c");
    assert!(before < after);
    // Back to the last, to the first, and on to the last again.
    for (tag, from, to) in [("b", after, u32::MAX), ("a", before, after), ("c", after, u32::MAX)] {
        client.hmp("stop");
        let arguments = json!({"job-id": "j", "tag": tag, "vmstate": "memory", "devices": []});
        assert_eq!(job(&mut client, "snapshot-load", arguments), None);
        let value = count(&mut client);
        assert!((from..to).contains(&value), "{tag}: {value} is not in {from}..{to}");
        assert_eq!(status(&mut client), "paused");
        client.run("cont", json!({}));
        common::until("it counts", || (count(&mut client) > value).then_some(()));
    }
    let gone = json!({"job-id": "j", "tag": "x", "devices": ["nodisk"]});
    assert_eq!(client.refused("snapshot-delete", gone).1, "No block device node 'nodisk'");
    client.run("quit", json!({}));
    first.wait();
    let output = Machine::start(&format!("{line} -loadvm c"));
    let mut client = Client::ready(&output);
    common::until("it counts on", || (count(&mut client) > after).then_some(()));
    let _ = std::fs::remove_file(kernel);
}

#[test]
fn migration() {
    let kernel = counter();
    let line = "-M virt -bios none -m 32M -display none -serial null";
    let (socket, file) = (temporary("migration"), temporary("migration.img"));
    let mut source = Machine::start(&format!("{line} -kernel {}", kernel.display()));
    let mut here = Client::ready(&source);
    let mut target = Machine::start(&format!("{line} -incoming unix:{}", socket.display()));
    let mut there = Client::ready(&target);
    assert_eq!(status(&mut there), "inmigrate");
    assert_eq!(
        here.refused("migrate", json!({"uri": "nowhere:x"})).1,
        "unknown migration protocol: nowhere:x"
    );
    let events = json!({"capabilities": [{"capability": "events", "state": true}]});
    here.run("migrate-set-capabilities", events);
    // It does not end as long as nothing may be sent, and can be given up.
    here.run("migrate-set-parameters", json!({"max-bandwidth": 1}));
    here.run("migrate", json!({"uri": "exec:cat >/dev/null"}));
    assert_eq!(here.event("MIGRATION")["status"], "setup");
    assert_eq!(here.event("MIGRATION")["status"], "active");
    assert!(here.refused("migrate", json!({"uri": "exec:cat"})).1.contains("There's a migration process"));
    here.run("migrate_cancel", json!({}));
    here.run("migrate-set-parameters", json!({"max-bandwidth": 0}));
    let ended = common::until("it ends", || {
        let info = here.run("query-migrate", json!({}));
        (info["status"] == "cancelled").then_some(info)
    });
    assert!(ended["total-time"].is_u64(), "{ended}");
    assert_eq!(status(&mut here), "running");
    here.events.clear();

    let before = count(&mut here);
    here.run("migrate", json!({"uri": format!("unix:{}", socket.display())}));
    for wanted in ["setup", "active", "device", "completed"] {
        assert_eq!(here.event("MIGRATION")["status"], wanted);
    }
    assert_eq!(status(&mut here), "postmigrate");
    let info = here.run("query-migrate", json!({}));
    assert!(info["ram"]["total"].as_u64() > Some(32 << 20) && info["downtime"].is_u64(), "{info}");
    until_status(&mut there, "running");
    let arrived = count(&mut there);
    assert!(arrived >= before);
    common::until("it counts", || (count(&mut there) > arrived).then_some(()));

    // Through a file, from a machine that has been stopped.
    there.run("stop", json!({}));
    let last = count(&mut there);
    assert_eq!(there.hmp(&format!("migrate file:{}", file.display())), "");
    let mut third = Machine::start(&format!("{line} -incoming defer"));
    let mut client = Client::ready(&third);
    client.run("migrate-incoming", json!({"uri": format!("file:{}", file.display())}));
    until_status(&mut client, "paused");
    assert_eq!(count(&mut client), last);
    client.run("cont", json!({}));
    common::until("it counts", || (count(&mut client) > last).then_some(()));
    // Another machine does not take it.
    let other = program(&format!(
        "-M virt -bios none -m 48M -display none -serial null -incoming file:{}",
        file.display()
    ));
    let mut other = other;
    let output = other.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && error.contains("load of migration failed: field 'machine.memory"),
        "{error}"
    );
    for machine in [&mut source, &mut target, &mut third] {
        let _ = machine.child.kill();
    }
    for path in [kernel, socket, file] {
        let _ = std::fs::remove_file(path);
    }
}

#[test]
fn disks() {
    let image = temporary("disk.img");
    let store = Directory(PathBuf::from(format!("{}.snapshots", image.display())));
    std::fs::write(&image, vec![7; 1 << 20]).unwrap();
    let machine = "-M virt -bios none -S -display none -serial null -device virtio-blk-device,drive=d0";
    let line = format!("{machine} -drive file={},format=raw,if=none,id=d0", image.display());
    let out = monitor(&line, &["savevm one", "loadvm one", "savevm two", "delvm two", "savevm -m one"]);
    assert_eq!(out, ["", "", "", "", "Error: Snapshot 'one' is on disk already\n"]);
    let files: Vec<_> = std::fs::read_dir(&store.0).unwrap().flatten().map(|f| f.file_name()).collect();
    assert!(store.0.join("1.d0.disk").exists() && files.len() == 4, "{files:?}");
    // A second run keeps the disk's past too; a program that does not makes the snapshot useless.
    let out = monitor(&format!("{line},snapshot=on -loadvm one"), &["info status", "loadvm one"]);
    assert_eq!(out, ["VM status: paused (prelaunch)\n", ""]);
    std::fs::write(&image, vec![8; 1 << 20]).unwrap();
    let output = program(&format!("{line} -loadvm one")).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("was changed by another program since the snapshot was taken"), "{error}");
    let out = monitor(&format!("{machine} -drive file=null-co://,format=raw,if=none,id=d0"), &["savevm one"]);
    assert_eq!(out, ["Error: Device 'd0' is writable but does not support snapshots\n"]);
    let _ = std::fs::remove_file(image);
}

#[test]
fn a_machine_that_has_ended_is_loaded_and_runs() {
    let kernel = common::finisher(0x5555);
    let (_store, line) = store();
    let mut machine = Machine::start(&format!("{line} -no-shutdown -kernel {}", kernel.display()));
    let mut client = Client::ready(&machine);
    client.hmp("savevm one");
    for _ in 0..2 {
        client.run("cont", json!({}));
        until_status(&mut client, "shutdown");
        assert_eq!(client.hmp("loadvm one"), "");
        assert_eq!(status(&mut client), "paused");
    }
    client.run("quit", json!({}));
    machine.wait();
    let _ = std::fs::remove_file(kernel);
}
