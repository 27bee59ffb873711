//! Jobs on disks and disks that change, through the real program: the events are those that QEMU 10.0.2 sends.

mod common;

use common::{Client, Machine, temporary};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const LEN: usize = 4 << 20;

/// An image of random-looking bytes, or of zeroes.
fn image(name: &str, seed: u8, len: usize) -> PathBuf {
    let path = temporary(name);
    let bytes: Vec<u8> = (0..len).map(|n| if seed == 0 { 0 } else { (n >> 9) as u8 ^ seed }).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn machine(disk: &Path, more: &str) -> (Machine, Client) {
    let line = format!(
        "-M virt -S -display none -serial none -monitor none -bios none \
         -drive if=none,id=d0,format=raw,file={} {more} -device virtio-blk-device,drive=d0,id=vb",
        disk.display()
    );
    let machine = Machine::start(&line);
    let client = Client::ready(&machine);
    (machine, client)
}

/// The states that a job goes through until this one, and the events of disk jobs among them.
fn until(client: &mut Client, id: &str, status: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (name, data) = if client.events.is_empty() {
            let message = client.read().unwrap();
            (message["event"].as_str().unwrap().to_owned(), message["data"].clone())
        } else {
            client.events.remove(0)
        };
        if data["id"] != id && data["device"] != id {
            continue;
        }
        match data["status"].as_str() {
            Some(state) => {
                all.push(state.to_owned());
                if state == status {
                    return all;
                }
            }
            None => all.push(name),
        }
    }
}

fn node(client: &mut Client, name: &str, path: &Path) {
    client.run("blockdev-add", json!({"driver": "file", "node-name": name, "filename": path}));
}

#[test]
fn a_mirror_goes_over_to_its_copy() {
    let [disk, copy] = [image("disk", 7, LEN), image("copy", 0, LEN)];
    let (_machine, mut client) = machine(&disk, "");
    node(&mut client, "t", &copy);
    let mut mirror =
        json!({"job-id": "j", "device": "d0", "target": "t", "sync": "full", "granularity": 256});
    let range = "Parameter 'granularity' expects a value in range [512B, 64MB]";
    assert_eq!(client.refused("blockdev-mirror", mirror.clone()).1, range);
    mirror["granularity"] = json!(1000);
    let power = "Parameter 'granularity' expects a power of 2";
    assert_eq!(client.refused("blockdev-mirror", mirror.clone()).1, power);
    mirror["granularity"] = json!(4096);
    mirror["copy-mode"] = json!("write-blocking");
    client.run("blockdev-mirror", mirror);
    assert_eq!(until(&mut client, "j", "ready"), ["created", "running", "ready"]);
    let (_, text) = client.refused("blockdev-del", json!({"node-name": "t"}));
    assert!(text.contains("in use by block job: mirror"), "{text}");
    let job = &client.run("query-block-jobs", json!({}))[0];
    let expected = json!([LEN, LEN, true, "mirror", "ready", true]);
    let seen: Vec<_> =
        ["len", "offset", "ready", "type", "status", "actively-synced"].map(|key| job[key].clone()).into();
    assert_eq!(Value::from(seen), expected);
    client.run("job-pause", json!({"id": "j"}));
    client.run("job-resume", json!({"id": "j"}));
    client.run("job-complete", json!({"id": "j"}));
    let end = [
        "BLOCK_JOB_READY",
        "standby",
        "ready",
        "waiting",
        "pending",
        "BLOCK_JOB_COMPLETED",
        "concluded",
        "null",
    ];
    assert_eq!(until(&mut client, "j", "null"), end);
    let disk_now = &client.run("query-block", json!({}))[0]["inserted"];
    assert_eq!((&disk_now["node-name"], &disk_now["file"]), (&json!("t"), &json!(copy)));
    assert_eq!(client.run("query-block-jobs", json!({})), json!([]));
    assert!(std::fs::read(&disk).unwrap() == std::fs::read(&copy).unwrap());
    // The old image is nobody's now.
    node(&mut client, "old", &disk);
}

#[test]
fn a_backup_waits_for_its_user_or_is_given_up() {
    let [disk, copy, other] = [image("disk", 9, LEN), image("copy", 0, LEN), image("other", 0, LEN / 2)];
    let (_machine, mut client) = machine(&disk, "");
    node(&mut client, "t", &copy);
    node(&mut client, "small", &other);
    let backup = |more: Value| {
        let mut arguments = json!({"job-id": "k", "device": "d0", "target": "t", "sync": "full"});
        more.as_object().unwrap().iter().for_each(|(key, value)| arguments[key] = value.clone());
        arguments
    };
    for (more, text) in [
        (json!({"target": "d0"}), "Source and target cannot be the same"),
        (json!({"device": "nope"}), "Cannot find device='nope' nor node-name='nope'"),
        (json!({"target": "small"}), "Source and target image have different sizes"),
        (json!({"job-id": "1k"}), "Invalid job ID '1k'"),
        (json!({"compress": true}), "Compression is not supported for this drive"),
        (json!({"speed": -1}), "Parameter 'speed' expects a non-negative value"),
        (json!({"sync": "bitmap"}), "must provide a valid bitmap name for 'bitmap' sync mode"),
    ] {
        assert_eq!(client.refused("blockdev-backup", backup(more)).1, text);
    }
    client.run("blockdev-backup", backup(json!({"speed": 1})));
    let (_, text) = client.refused("blockdev-backup", backup(json!({"job-id": "l"})));
    assert_eq!(text, "Node 'd0' is busy: block device is in use by block job: backup");
    let (_, text) = client.refused("job-complete", json!({"id": "k"}));
    assert_eq!(text, "Job 'k' in state 'running' cannot accept command verb 'complete'");
    client.run("block-job-cancel", json!({"device": "k"}));
    let end = ["created", "running", "aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"];
    assert_eq!(until(&mut client, "k", "null"), end);
    let (class, text) = client.refused("block-job-cancel", json!({"device": "k"}));
    assert_eq!((&*class, &*text), ("DeviceNotActive", "Block job 'k' not found"));
    client.run("blockdev-backup", backup(json!({"auto-finalize": false, "auto-dismiss": false})));
    assert_eq!(until(&mut client, "k", "pending"), ["created", "running", "waiting", "pending"]);
    client.run("job-finalize", json!({"id": "k"}));
    assert_eq!(
        until(&mut client, "k", "concluded"),
        ["BLOCK_JOB_PENDING", "BLOCK_JOB_COMPLETED", "concluded"]
    );
    client.run("job-dismiss", json!({"id": "k"}));
    assert!(std::fs::read(&disk).unwrap() == std::fs::read(&copy).unwrap());
    // To a file, by people.
    let file = temporary("backup.img");
    assert_eq!(client.hmp(&format!("drive_backup d0 {} raw", file.display())), "");
    until(&mut client, "d0", "null");
    assert!(std::fs::read(&disk).unwrap() == std::fs::read(&file).unwrap());
    assert_eq!(client.hmp("info block-jobs"), "No active jobs\n");
}

#[test]
fn a_transaction_does_all_or_nothing() {
    let [disk, copy, second] = [image("disk", 3, LEN), image("copy", 0, LEN), image("second", 0, LEN)];
    let (_machine, mut client) = machine(&disk, "-drive if=none,id=d1,file=null-co://,file.size=4M");
    node(&mut client, "t", &copy);
    node(&mut client, "u", &second);
    let action = |id: &str, device: &str, target: &str, speed: u32| {
        let data = json!({"job-id": id, "device": device, "target": target, "sync": "full", "speed": speed});
        json!({"type": "blockdev-backup", "data": data})
    };
    let abort = json!({"type": "abort", "data": {}});
    let (_, text) = client.refused("transaction", json!({"actions": [action("a", "d0", "t", 0), abort]}));
    assert_eq!(text, "Transaction aborted using Abort action");
    assert_eq!(until(&mut client, "a", "null"), ["created", "null"]);
    let grouped = json!({"completion-mode": "grouped"});
    let both = json!([action("a", "d0", "t", 0), action("b", "d1", "u", 1)]);
    client.run("transaction", json!({"actions": both, "properties": grouped}));
    assert_eq!(until(&mut client, "a", "waiting"), ["created", "running", "waiting"]);
    client.run("job-cancel", json!({"id": "b"}));
    assert_eq!(until(&mut client, "a", "null"), ["aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"]);
    let both = json!([action("a", "d0", "t", 0), action("b", "d1", "u", 0)]);
    client.run("transaction", json!({"actions": both, "properties": grouped}));
    until(&mut client, "b", "null");
    assert!(std::fs::read(&disk).unwrap() == std::fs::read(&copy).unwrap());
}

#[test]
fn temporary_changes_are_committed_and_images_made() {
    let disk = image("disk", 5, LEN);
    let (_machine, mut client) = machine(&disk, "-snapshot");
    client.run("block-stream", json!({"device": "d0"}));
    assert_eq!(until(&mut client, "d0", "null").last().unwrap(), "null");
    client.run("block-commit", json!({"job-id": "c", "device": "d0"}));
    until(&mut client, "c", "ready");
    client.run("block-job-complete", json!({"device": "c"}));
    until(&mut client, "c", "null");
    let (_, text) = client.refused("block-commit", json!({"device": "d0"}));
    assert_eq!(text, "cannot commit an image into itself");
    let path = temporary("new.img");
    let options = json!({"driver": "file", "filename": path, "size": 1 << 20});
    client.run("blockdev-create", json!({"job-id": "new", "options": options}));
    assert_eq!(
        until(&mut client, "new", "concluded"),
        ["created", "running", "waiting", "pending", "concluded"]
    );
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
}

#[test]
fn disks_change_in_use() {
    let [disk, medium] = [image("disk", 1, LEN), image("medium", 2, LEN / 2)];
    let (_machine, mut client) = machine(&disk, "-drive if=none,id=e0 -drive if=none,id=f0,file=null-co://");
    client.run("block_resize", json!({"device": "d0", "size": 2 * LEN}));
    assert_eq!(std::fs::metadata(&disk).unwrap().len(), 2 * LEN as u64);
    assert_eq!(client.hmp("block_resize d0 4M"), "");
    let size = client.run("query-block", json!({}))[0]["inserted"]["image"]["virtual-size"].clone();
    assert_eq!(size, json!(LEN));
    let (_, text) = client.refused("block_resize", json!({"device": "f0", "size": 1}));
    assert_eq!(text, "Image format driver does not support resize");
    assert_eq!(client.hmp("block_set_io_throttle d0 1000000 0 0 0 0 0"), "");
    let info = client.hmp("info block");
    assert!(info.contains("I/O throttling:   bps=1000000 bps_rd=0"), "{info}");
    let limits =
        json!({"id": "vb", "bps": 0, "bps_rd": 5, "bps_wr": 0, "iops": 1, "iops_rd": 1, "iops_wr": 0});
    let (_, text) = client.refused("block_set_io_throttle", limits);
    assert_eq!(text, "bps/iops/max total values and read/write values cannot be used at the same time");
    assert_eq!(client.hmp("eject d0"), "Error: Device 'd0' is not removable\n");
    assert_eq!(client.hmp(&format!("change e0 {} raw", medium.display())), "");
    assert!(client.hmp("info block").contains("e0 (#e0): "));
    client.run("eject", json!({"device": "e0"}));
    assert!(
        client
            .hmp("info block")
            .contains("e0: [not inserted]\n    Removable device: not locked, tray closed")
    );
    node(&mut client, "n", &medium);
    let option = |more: Value| {
        let mut options = json!({"driver": "file", "node-name": "n", "filename": medium});
        more.as_object().unwrap().iter().for_each(|(key, value)| options[key] = value.clone());
        json!({"options": [options]})
    };
    client.run("blockdev-reopen", option(json!({"read-only": true})));
    let nodes = client.run("query-named-block-nodes", json!({}));
    let ours = nodes.as_array().unwrap().iter().find(|node| node["node-name"] == "n").unwrap();
    assert_eq!(ours["ro"], json!(true));
    for (more, text) in [
        (json!({"filename": disk}), "Cannot change the option 'filename'"),
        (json!({"node-name": "m"}), "Failed to find node with node-name='m'"),
    ] {
        assert_eq!(client.refused("blockdev-reopen", option(more)).1, text);
    }
}
