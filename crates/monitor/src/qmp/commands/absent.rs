//! Commands about things of which there is none in any machine here: they say so, as they do in QEMU when a machine has
//! none.

use super::{Qapi, command};
use crate::{Command, Context};
use base::{Result, error};
use qapi::Value;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    INJECT_NMI,
    QUERY_AUDIODEVS,
    QUERY_DISPLAY_OPTIONS,
    QUERY_MICE,
    QUERY_PR_MANAGERS,
    QUERY_TPM,
    QUERY_TPM_MODELS,
    QUERY_TPM_TYPES,
    QUERY_VNC,
    SCREENDUMP,
];

/// Interrupts the guest without asking.
#[command(hmp("nmi", "", "inject an NMI"))]
pub fn inject_nmi(_: &mut Context<'_>) -> Result<()> {
    Err(error!("machine does not provide NMIs"))
}

/// Sound.
#[command]
pub fn query_audiodevs(_: &mut Context<'_>) -> Result<Vec<Value>> {
    Ok(Vec::new())
}

/// The kind of display.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum DisplayType {
    /// None.
    None,
}

/// The display.
#[derive(Debug, Qapi)]
pub struct DisplayOptions {
    #[qapi(name = "type")]
    kind: DisplayType,
}

/// The display.
#[command]
pub fn query_display_options(_: &mut Context<'_>) -> Result<DisplayOptions> {
    Ok(DisplayOptions { kind: DisplayType::None })
}

/// Mice.
#[command(hmp("info mice", "", "show which guest mouse is receiving events"))]
pub fn query_mice(context: &mut Context<'_>) -> Result<Vec<Value>> {
    context.out.push_str("No mouse devices connected\n");
    Ok(Vec::new())
}

/// Keepers of persistent reservations.
#[command]
pub fn query_pr_managers(_: &mut Context<'_>) -> Result<Vec<Value>> {
    Ok(Vec::new())
}

/// Trusted platform modules of the machine.
#[command(hmp("info tpm", "", "show the TPM device"))]
pub fn query_tpm(_: &mut Context<'_>) -> Result<Vec<Value>> {
    Ok(Vec::new())
}

/// Kinds of trusted platform modules.
#[command]
pub fn query_tpm_models(_: &mut Context<'_>) -> Result<Vec<String>> {
    Ok(Vec::new())
}

/// The host's side of them.
#[command]
pub fn query_tpm_types(_: &mut Context<'_>) -> Result<Vec<String>> {
    Ok(Vec::new())
}

/// The server of the display.
#[derive(Debug, Qapi)]
pub struct VncInfo {
    enabled: bool,
}

/// The server of the display.
#[command]
pub fn query_vnc(_: &mut Context<'_>) -> Result<VncInfo> {
    Ok(VncInfo { enabled: false })
}

/// How a picture is written.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum ImageFormat {
    /// Portable pixmap.
    Ppm,
    /// Portable Network Graphics.
    Png,
}

/// Takes a picture of the display.
#[command]
pub fn screendump(
    _: &mut Context<'_>,
    _filename: String,
    _device: Option<String>,
    _head: Option<i64>,
    _format: Option<ImageFormat>,
) -> Result<()> {
    Err(error!("There is no console to take a screendump from"))
}
