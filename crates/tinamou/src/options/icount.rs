//! `-icount`: instructions are counted, and make the guest's clock; what comes from outside may be recorded or replayed.

use super::{Opts, number, switch};
use base::{Error, Result, error};
use events::{IcountOptions, MAX_SHIFT, ReplayMode};

/// Recording or replaying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Which of the two.
    pub mode: ReplayMode,
    /// The file.
    pub file: String,
    /// The snapshot at its beginning.
    pub snapshot: Option<String>,
}

/// What `-icount` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IcountConfig {
    /// How instructions are counted; `None`: they are not.
    pub count: Option<IcountOptions>,
    /// What comes from outside is recorded or replayed.
    pub recording: Option<Recording>,
}

/// Reads the option.
///
/// # Errors
/// In the words of the reference.
pub fn read_icount(mut opts: Opts) -> Result<IcountConfig> {
    let shown = opts.clone();
    let blame = |e: Error| shown.blame(e);
    let shift = opts.take("shift");
    let (align, sleep) = (opts.take_switch("align").map_err(blame)?, opts.take("sleep"));
    let (how, file, snapshot) = (opts.take("rr"), opts.take("rrfile"), opts.take("rrsnapshot"));
    opts.finish().map_err(blame)?;
    let recording = how.map(|how| {
        let mode = match how.as_str() {
            "record" => ReplayMode::Record,
            "replay" => ReplayMode::Play,
            _ => return Err(blame(error!("Invalid icount rr option: {how}"))),
        };
        let file = file.ok_or_else(|| blame(error!("File name not specified for replay")))?;
        Ok(Recording { mode, file, snapshot })
    });
    let recording = recording.transpose()?;
    let sleep = sleep.map(|text| switch("sleep", &text)).transpose().map_err(blame)?.unwrap_or(true);
    let Some(shift) = shift else {
        if align.is_some() {
            return Err(blame(error!("Please specify shift option when using align")));
        }
        if recording.is_some() {
            return Err(error!("Please enable icount to use record/replay"));
        }
        return Ok(IcountConfig::default());
    };
    let align = align.unwrap_or(false);
    if align && !sleep {
        return Err(blame(error!("align=on and sleep=off are incompatible")));
    }
    let default = IcountOptions { sleep, align, ..IcountOptions::default() };
    if shift == "auto" {
        // What follows the host's speed cannot be replayed: then it stays what it begins with.
        let count = IcountOptions { adaptive: recording.is_none(), ..default };
        return Ok(IcountConfig { count: Some(count), recording });
    }
    let shift = number(&shift).and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= MAX_SHIFT);
    let shift = shift.ok_or_else(|| blame(error!("icount: Invalid shift value")))?;
    Ok(IcountConfig { count: Some(IcountOptions { shift, ..default }), recording })
}

#[cfg(test)]
#[path = "icount_test.rs"]
mod test;
