//! What may follow on a line that a person has begun.

use crate::vm::lock;
use crate::{Names, Vm};

/// What the arguments of commands name: the command, which argument, what.
const ARGUMENTS: &[(&str, usize, Names)] = &[
    ("block_job_cancel", 0, Names::Drives),
    ("block_job_complete", 0, Names::Drives),
    ("block_job_pause", 0, Names::Drives),
    ("block_job_resume", 0, Names::Drives),
    ("block_job_set_speed", 0, Names::Drives),
    ("block_resize", 0, Names::Drives),
    ("block_set_io_throttle", 0, Names::Drives),
    ("block_stream", 0, Names::Drives),
    ("change", 0, Names::Drives),
    ("chardev-change", 0, Names::Chardevs),
    ("chardev-remove", 0, Names::Chardevs),
    ("chardev-send-break", 0, Names::Chardevs),
    ("commit", 0, Names::Drives),
    ("delvm", 0, Names::Snapshots),
    ("device_add", 0, Names::DeviceTypes),
    ("device_del", 0, Names::Devices),
    ("drive_backup", 0, Names::Drives),
    ("drive_del", 0, Names::Drives),
    ("drive_mirror", 0, Names::Drives),
    ("eject", 0, Names::Drives),
    ("help|?", 0, Names::Commands),
    ("info block", 0, Names::Drives),
    ("info trace-events", 0, Names::TracePoints),
    ("loadvm", 0, Names::Snapshots),
    ("log", 0, Names::LogItems),
    ("netdev_del", 0, Names::Networks),
    ("object_add", 0, Names::ObjectTypes),
    ("object_del", 0, Names::Objects),
    ("ringbuf_read", 0, Names::Chardevs),
    ("ringbuf_write", 0, Names::Chardevs),
    ("savevm", 0, Names::Snapshots),
    ("set_link", 0, Names::Networks),
    ("set_link", 1, Names::Switch),
    ("snapshot_blkdev", 0, Names::Drives),
    ("trace-event", 0, Names::TracePoints),
    ("trace-event", 1, Names::Switch),
];

/// The word that is to be completed, and all that it may become, in order.
pub fn choice<'a>(vm: &dyn Vm, text: &'a str) -> (&'a str, Vec<String>) {
    // Some whitespace has more than one byte.
    let word = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    let before = &text[..text.len() - word.len()];
    let mut before = before.split_whitespace();
    let mut all = match before.next() {
        None => of(vm, Names::Commands),
        Some("info") => match before.next() {
            None => of(vm, Names::Information),
            Some(name) => arguments(vm, &format!("info {name}"), before),
        },
        Some("help" | "?") if before.clone().eq(["info"]) => of(vm, Names::Information),
        Some(name) => arguments(vm, name, before),
    };
    all.retain(|name| name.starts_with(word));
    all.sort_unstable();
    all.dedup();
    (word, all)
}

fn arguments<'a>(vm: &dyn Vm, command: &str, before: impl Iterator<Item = &'a str>) -> Vec<String> {
    let place = before.filter(|word| !word.starts_with('-')).count();
    let row = ARGUMENTS.iter().find(|(names, n, _)| *n == place && names.split('|').any(|n| n == command));
    row.map(|row| of(vm, row.2)).unwrap_or_default()
}

fn of(vm: &dyn Vm, names: Names) -> Vec<String> {
    let split = |table: &[super::Command]| {
        table.iter().flat_map(|c| c.names.split('|')).map(str::to_owned).collect::<Vec<_>>()
    };
    let children = |path: &str| {
        let node = vm.root().resolve(path).ok().flatten();
        node.map(|node| node.children().into_iter().map(|(name, _)| name).collect()).unwrap_or_default()
    };
    match names {
        Names::Commands => split(vm.commands().hmp()),
        Names::Information => split(vm.commands().info()),
        Names::Devices => children("/machine/peripheral"),
        Names::Objects => children("/objects"),
        Names::Drives => lock(vm.blocks()).iter().map(|drive| drive.id.clone()).collect(),
        Names::Chardevs => lock(vm.chardevs()).list().into_iter().map(|one| one.id).collect(),
        Names::LogItems => {
            let items = base::log::ITEMS.iter().map(|(_, name, _)| *name);
            items.chain(["none"]).map(str::to_owned).collect()
        }
        Names::Switch => vec!["off".to_owned(), "on".to_owned()],
        Names::DeviceTypes | Names::ObjectTypes | Names::Networks | Names::Snapshots | Names::TracePoints => {
            vm.names(names)
        }
    }
}

#[cfg(test)]
#[path = "completion_test.rs"]
mod test;
