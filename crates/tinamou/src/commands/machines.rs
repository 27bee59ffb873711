//! Machines, accelerators and options that exist.

use crate::lists::{DEFAULT_MACHINE, machines};
use crate::options::GROUPS;
use base::Result;
use monitor::{Command, Context, command};
use qapi::Qapi;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[QUERY_COMMAND_LINE_OPTIONS, QUERY_KVM, QUERY_MACHINES, QUERY_TARGET];

/// A kind of machine.
#[derive(Debug, Qapi)]
pub struct MachineInfo {
    name: String,
    alias: Option<String>,
    is_default: Option<bool>,
    cpu_max: i64,
    hotpluggable_cpus: bool,
    numa_mem_supported: bool,
    deprecated: bool,
    default_cpu_type: Option<String>,
    default_ram_id: Option<String>,
    acpi: bool,
}

/// The kinds of machines.
#[command]
pub fn query_machines(_: &mut Context<'_>, _compat_props: Option<bool>) -> Result<Vec<MachineInfo>> {
    let info = |machine: &::machines::MachineType| MachineInfo {
        name: machine.name.to_owned(),
        alias: None,
        is_default: (machine.name == DEFAULT_MACHINE).then_some(true),
        cpu_max: machine.max_cpus.into(),
        hotpluggable_cpus: false,
        numa_mem_supported: false,
        deprecated: false,
        default_cpu_type: Some(format!("{}-riscv-cpu", machine.default_cpu))
            .filter(|_| !machine.default_cpu.is_empty()),
        default_ram_id: Some(machine.ram_name.to_owned()).filter(|name| !name.is_empty()),
        acpi: false,
    };
    Ok(machines().into_iter().map(info).collect())
}

/// The architecture of the guests.
#[derive(Debug, Qapi)]
pub struct TargetInfo {
    arch: String,
}

/// The architecture of the guests.
#[command]
pub fn query_target(_: &mut Context<'_>) -> Result<TargetInfo> {
    Ok(TargetInfo { arch: "riscv64".into() })
}

/// Whether KVM is used, and whether it could be.
#[derive(Debug, Qapi)]
pub struct KvmInfo {
    enabled: bool,
    present: bool,
}

/// KVM, which cannot run guests of another architecture.
#[command(hmp("info kvm", "", "show KVM information"))]
pub fn query_kvm(context: &mut Context<'_>) -> Result<KvmInfo> {
    context.out.push_str("kvm support: not compiled\n");
    Ok(KvmInfo { enabled: false, present: false })
}

/// A parameter of an option.
#[derive(Debug, Qapi)]
pub struct CommandLineParameterInfo {
    name: String,
    #[qapi(name = "type")]
    kind: String,
}

/// An option that takes a list of parameters.
#[derive(Debug, Qapi)]
pub struct CommandLineOptionInfo {
    option: String,
    parameters: Vec<CommandLineParameterInfo>,
}

/// The options of the command line and what they take.
#[command]
pub fn query_command_line_options(
    _: &mut Context<'_>,
    option: Option<String>,
) -> Result<Vec<CommandLineOptionInfo>> {
    let wanted = GROUPS.iter().filter(|(name, _)| option.as_ref().is_none_or(|option| option == name));
    let list: Vec<_> = wanted
        .map(|(name, parameters)| CommandLineOptionInfo {
            option: (*name).to_owned(),
            parameters: parameters
                .iter()
                .map(|(name, kind)| CommandLineParameterInfo {
                    name: (*name).to_owned(),
                    kind: (*kind).to_owned(),
                })
                .collect(),
        })
        .collect();
    match option {
        Some(option) if list.is_empty() => Err(base::error!("invalid option name: {option}")),
        _ => Ok(list),
    }
}
