//! The protocol itself: capabilities, versions, what there is.

use super::{Qapi, command};
use crate::hmp::Executor;
use crate::{Command, Context};
use base::{Result, error};
use qapi::Value;

/// The commands of this file.
pub const COMMANDS: &[Command] =
    &[HUMAN_MONITOR_COMMAND, QMP_CAPABILITIES, QUERY_COMMANDS, QUERY_QMP_SCHEMA, QUERY_VERSION, QUIT];

/// What a client may ask for when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum QmpCapability {
    /// Commands that overtake others.
    Oob,
}

/// Three numbers.
#[derive(Clone, Copy, Debug, Qapi)]
pub struct VersionTriple {
    major: u32,
    minor: u32,
    micro: u32,
}

/// The version of QEMU that is the measure, and this program's own.
#[derive(Clone, Debug, Qapi)]
pub struct VersionInfo {
    qemu: VersionTriple,
    package: String,
}

/// What the server says first.
#[derive(Debug, Qapi)]
pub struct Greeting {
    version: VersionInfo,
    capabilities: Vec<QmpCapability>,
}

fn version() -> VersionInfo {
    VersionInfo {
        qemu: VersionTriple { major: 10, minor: 0, micro: 2 },
        package: format!("Tinamou {}", env!("CARGO_PKG_VERSION")),
    }
}

/// The first words to a client.
pub fn greeting() -> Greeting {
    Greeting { version: version(), capabilities: vec![QmpCapability::Oob] }
}

/// Ends the negotiation that begins each connection.
#[command(name = "qmp_capabilities")]
pub fn qmp_capabilities(context: &mut Context<'_>, enable: Option<Vec<QmpCapability>>) -> Result<()> {
    context.session.negotiated = true;
    context.session.oob = enable.is_some_and(|list| list.contains(&QmpCapability::Oob));
    Ok(())
}

/// The versions.
#[command]
pub fn query_version(_: &mut Context<'_>) -> Result<VersionInfo> {
    Ok(version())
}

/// A command's name.
#[derive(Debug, Qapi)]
pub struct CommandInfo {
    name: String,
}

/// All commands.
#[command]
pub fn query_commands(context: &mut Context<'_>) -> Result<Vec<CommandInfo>> {
    Ok(context.vm.commands().names().map(|name| CommandInfo { name: name.to_owned() }).collect())
}

/// Everything that the protocol can say. Its own type there would be a very long union; it is `any` here.
#[command]
pub fn query_qmp_schema(context: &mut Context<'_>) -> Result<Vec<Value>> {
    Ok(context.vm.commands().schema())
}

/// Runs a line of the monitor for people.
#[command]
pub fn human_monitor_command(
    context: &mut Context<'_>,
    command_line: String,
    cpu_index: Option<i64>,
) -> Result<String> {
    let count = context.vm.cpus().all().len();
    let cpu = usize::try_from(cpu_index.unwrap_or(0)).ok().filter(|n| cpu_index.is_none() || *n < count);
    let cpu = cpu.ok_or_else(|| error!("Parameter 'cpu-index' expects a CPU number"))?;
    Ok(Executor::once(context.vm, cpu, &command_line).replace('\n', "\r\n"))
}

/// Ends the program.
#[command(hmp("quit|q", "", "quit the emulator"))]
pub fn quit(context: &mut Context<'_>) -> Result<()> {
    context.vm.quit();
    Ok(())
}
