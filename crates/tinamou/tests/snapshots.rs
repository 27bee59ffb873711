//! Snapshots through the program.

mod common;

use common::{Client, Machine, program, temporary};
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
    let (_store, line) = store();
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
