//! What the machine is called and what is loaded in it.

use super::{HumanReadableText, Qapi, command};
use crate::{Command, Context};
use base::{Result, error};
use std::fmt::Write;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[DUMPDTB, QUERY_NAME, QUERY_UUID, X_QUERY_JIT, X_QUERY_ROMS];

/// The guest's name.
#[derive(Debug, Qapi)]
pub struct NameInfo {
    name: Option<String>,
}

/// The guest's name.
#[command(hmp("info name", "", "show the current VM name"))]
pub fn query_name(context: &mut Context<'_>) -> Result<NameInfo> {
    let name = context.vm.name();
    if let Some(name) = &name {
        let _ = writeln!(context.out, "{name}");
    }
    Ok(NameInfo { name })
}

/// The guest's UUID.
#[derive(Debug, Qapi)]
pub struct UuidInfo {
    #[qapi(name = "UUID")]
    uuid: String,
}

/// The guest's UUID.
#[command(hmp("info uuid", "", "show the current VM UUID"))]
pub fn query_uuid(context: &mut Context<'_>) -> Result<UuidInfo> {
    let uuid = context.vm.uuid();
    let _ = writeln!(context.out, "{uuid}");
    Ok(UuidInfo { uuid })
}

fn human(text: String) -> Result<HumanReadableText> {
    Ok(HumanReadableText { human_readable_text: text })
}

/// The translator's counters.
#[command(hmp("info jit", "", "show dynamic compiler info"))]
pub fn x_query_jit(context: &mut Context<'_>) -> Result<HumanReadableText> {
    human(context.vm.translation())
}

/// What was loaded into memory.
#[command(hmp("info roms", "", "show roms"))]
pub fn x_query_roms(context: &mut Context<'_>) -> Result<HumanReadableText> {
    human(context.vm.roms())
}

/// Saves the device tree.
#[command(hmp("dumpdtb", "filename", "dump the FDT in dtb format to 'filename'"))]
pub fn dumpdtb(context: &mut Context<'_>, filename: String) -> Result<()> {
    let dtb = context.vm.dtb().ok_or_else(|| error!("This machine doesn't have an FDT"))?;
    std::fs::write(&filename, dtb).map_err(|e| error!("Error saving FDT to file {filename}: {e}"))?;
    let _ = writeln!(context.out, "DTB dumped to '{filename}'");
    Ok(())
}
