//! Options that only ask what there is: `-h`, `-version`, `-M help`, `-device X,help` and the like.

use crate::options::{Config, print_help, version};
use base::trace::Points;
use base::{Result, error};
use machines::MachineType;
use object::{PropertyInfo, TypeInfo, Types, device_help, device_list, properties_help};
use std::fmt::Write;

/// Properties that every machine has: name, type, description.
pub const MACHINE_PROPERTIES: &[(&str, &str, &str)] = &[
    ("append", "string", "Linux kernel command line"),
    ("dtb", "string", "Linux kernel device tree file"),
    ("dump-guest-core", "bool", "Include guest memory in a core dump"),
    ("dumpdtb", "string", "Dump current dtb to a file and quit"),
    ("firmware", "string", "Firmware image"),
    ("graphics", "bool", "Set on/off to enable/disable graphics emulation"),
    ("initrd", "string", "Linux initial ramdisk file"),
    ("kernel", "string", "Linux kernel image file"),
    ("mem-merge", "bool", "Enable/disable memory merge support"),
    ("memory-backend", "link<memory-backend>", "Set RAM backendValid value is ID of hostmem based backend"),
    ("suppress-vmdesc", "bool", "Set on to disable self-describing migration"),
    ("usb", "bool", "Set on/off to enable/disable usb"),
];

/// Machine when the user names none.
pub const DEFAULT_MACHINE: &str = "spike";

/// A kind of `-object`.
pub struct ObjectType {
    /// Its name.
    pub name: &'static str,
    /// The type it is a kind of.
    pub parent: &'static str,
    /// Its properties: name, type, description.
    pub properties: &'static [(&'static str, &'static str, &'static str)],
}

/// What all kinds of memory have.
macro_rules! memory_properties {
    ($($more:expr),*) => {
        &[
            ("dump", "bool", "Set to 'off' to exclude from core dump"),
            ("merge", "bool", "Mark memory as mergeable"),
            ("prealloc", "bool", "Preallocate memory"),
            ("prealloc-threads", "int", "Number of CPU threads to use for prealloc"),
            ("reserve", "bool", "Reserve swap space (or huge pages) if applicable"),
            ("share", "bool", "Mark the memory as private to QEMU or shared"),
            ("size", "int", "Size of the memory region (ex: 500M)"),
            ("x-use-canonical-path-for-ramblock-id", "bool", ""),
            $($more),*
        ]
    };
}

/// Kinds of `-object` that exist.
pub const OBJECTS: &[ObjectType] = &[
    ObjectType {
        name: "iothread",
        parent: "event-loop-base",
        properties: &[
            ("aio-max-batch", "int", ""),
            ("poll-grow", "int", ""),
            ("poll-max-ns", "int", ""),
            ("poll-shrink", "int", ""),
            ("thread-pool-max", "int", ""),
            ("thread-pool-min", "int", ""),
        ],
    },
    ObjectType {
        name: "memory-backend-file",
        parent: "memory-backend",
        properties: memory_properties![("discard-data", "bool", ""), ("mem-path", "string", "")],
    },
    ObjectType {
        name: "memory-backend-memfd",
        parent: "memory-backend",
        properties: memory_properties![("seal", "bool", "Seal growing & shrinking")],
    },
    ObjectType { name: "memory-backend-ram", parent: "memory-backend", properties: memory_properties![] },
    ObjectType { name: "rng-builtin", parent: "rng-backend", properties: &[] },
    ObjectType { name: "rng-random", parent: "rng-backend", properties: &[("filename", "string", "")] },
    ObjectType {
        name: "secret",
        parent: "secret_common",
        properties: &[
            ("data", "string", ""),
            ("file", "string", ""),
            ("format", "QCryptoSecretFormat", ""),
            ("iv", "string", ""),
            ("keyid", "string", ""),
        ],
    },
];

/// All machines, by name: those of the house, and those that come from outside it.
pub fn machines() -> Vec<&'static MachineType> {
    let mut all: Vec<_> = machines::TYPES.iter().chain([&clabpu::MACHINE]).collect();
    all.sort_by_key(|machine| machine.name);
    all
}

/// The machine called so.
pub fn machine(name: &str) -> Option<&'static MachineType> {
    machines().into_iter().find(|machine| machine.name == name)
}

/// All trace points: those of each type of device, and those of the rooms.
pub fn trace_points() -> Vec<&'static Points> {
    let types = types();
    let devices = types.iter().filter_map(|t| t.points.map(|points| points()));
    let rooms = [
        backends::TRACE,
        cpu::TRACE,
        devices::TRACE,
        engine::TRACE,
        events::TRACE,
        memory::TRACE,
        migration::TRACE,
        monitor::TRACE,
        riscv::TRACE,
        &[&crate::jobs::trace::POINTS],
    ];
    let mut all: Vec<_> = devices.chain(rooms.into_iter().flatten().copied()).collect();
    all.sort_by_key(|points| points.name(0));
    all
}

/// All types of devices.
pub fn types() -> Types {
    let mut types = Types::new();
    types.add(clabpu::types().into_iter().copied());
    types.add(devices::types().into_iter().copied());
    types.add(devices::pci::INTERFACES.iter().copied());
    // What the devices name as their parents and nothing else is to be known of.
    for (name, parent) in
        [("virtio-device", "device"), ("virtio-serial-port", "device"), ("fw_cfg", "sys-bus-device")]
    {
        if types.find(name).is_none() {
            types.add([TypeInfo::interface(name, Some(parent))]);
        }
    }
    types
}

/// The answer to a command line that only asks, if it is one.
pub fn answer(program: &str, config: &Config) -> Option<Result<String>> {
    match config.print {
        Some("h") => return Some(Ok(print_help(program))),
        Some("version") => return Some(Ok(version())),
        Some("display") => return Some(Ok("Available display backend types:\nnone\n".into())),
        _ => {}
    }
    let ask = |word: &str| matches!(word, "help" | "?");
    if config.firmware_directories.iter().any(|d| ask(d)) {
        let installed = machines::riscv::boot::installed_firmware();
        return Some(Ok(installed.iter().map(|d| format!("{}\n", d.display())).collect()));
    }
    let machine = config.machine.get("type");
    if machine.is_some_and(ask) || config.machine.items().iter().any(|(k, _)| ask(k)) && machine.is_none() {
        return Some(Ok(machine_list()));
    }
    if config.machine.items().iter().any(|(key, _)| ask(key)) {
        return Some(Ok(machine_help(machine.unwrap_or_default())));
    }
    if config.cpu.as_deref().is_some_and(ask) {
        let mut models = riscv::models();
        models.sort_unstable();
        return Some(Ok(models.iter().fold("Available CPUs:\n".to_owned(), |all, m| all + "  " + m + "\n")));
    }
    if config.accelerators.iter().any(|a| a.get("accel").is_some_and(ask)) {
        return Some(Ok("Accelerators supported in QEMU binary:\ntcg\n".into()));
    }
    for device in &config.devices {
        let driver = device.get("driver").unwrap_or_default();
        if ask(driver) {
            return Some(Ok(device_list(&types())));
        }
        if device.items().iter().any(|(key, _)| ask(key)) {
            let missing = || device.blame(error!("Device '{driver}' not found"));
            return Some(device_help(&types(), driver).ok_or_else(missing));
        }
    }
    if config.chardevs.iter().any(|c| c.value.starts_with("backend=help") || c.value.starts_with("backend=?"))
    {
        return Some(Ok(backends::char::BACKEND_HELP.to_owned()));
    }
    if config.netdevs.iter().any(|n| n.get("type").is_some_and(ask)) {
        return Some(Ok("Available netdev backend types:\nuser\n".to_owned()));
    }
    if config.objects.iter().any(|o| o.get("qom-type").is_some_and(ask)) {
        let list = OBJECTS.iter().fold(String::new(), |all, object| all + "  " + object.name + "\n");
        return Some(Ok(format!("List of user creatable objects:\n{list}")));
    }
    if config.trace.iter().any(|pattern| ask(pattern)) {
        let all = base::trace::list(&trace_points());
        return Some(Ok(all.iter().map(|(name, _)| format!("{name}\n")).collect()));
    }
    if config.log_items.as_deref().is_some_and(ask) {
        return Some(Ok(log_items()));
    }
    None
}

/// The text of `-d help`.
pub fn log_items() -> String {
    let mut out = String::from("Log items (comma separated):\n");
    for (_, name, what) in base::log::ITEMS {
        let _ = writeln!(out, "{name:15} {what}");
    }
    out
}

fn machine_list() -> String {
    let mut out = String::from("Supported machines are:\n");
    for machine in machines() {
        let _ = writeln!(out, "{:20} {}", machine.name, machine.desc);
    }
    out
}

fn machine_help(name: &str) -> String {
    let Some(machine) = machine(name) else { return machine_list() };
    let info = |(name, kind, desc): &(&'static str, &'static str, &'static str)| PropertyInfo {
        name,
        kind,
        desc,
        default: None,
    };
    let all = MACHINE_PROPERTIES.iter().chain(machine.properties).map(info).collect();
    properties_help(&format!("{}-machine", machine.name), all)
}
