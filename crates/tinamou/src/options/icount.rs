//! `-icount`: instructions are counted, and make the guest's clock.

use super::{Opts, number, switch};
use base::{Error, Result, error};
use events::{IcountOptions, MAX_SHIFT};

/// What `-icount` asks for; `None`: nothing is counted.
pub fn read_icount(mut opts: Opts) -> Result<Option<IcountOptions>> {
    let shown = opts.clone();
    let blame = |e: Error| shown.blame(e);
    let shift = opts.take("shift");
    let (align, sleep) = (opts.take_switch("align").map_err(blame)?, opts.take("sleep"));
    if let Some(how) = opts.take("rr") {
        if !matches!(how.as_str(), "record" | "replay") {
            return Err(blame(error!("Invalid icount rr option: {how}")));
        }
        return Err(blame(error!("recording and replaying is not supported by Tinamou yet")));
    }
    opts.take("rrfile");
    opts.take("rrsnapshot");
    opts.finish().map_err(blame)?;
    let sleep = sleep.map(|text| switch("sleep", &text)).transpose().map_err(blame)?.unwrap_or(true);
    let Some(shift) = shift else {
        return match align {
            Some(_) => Err(blame(error!("Please specify shift option when using align"))),
            None => Ok(None),
        };
    };
    let align = align.unwrap_or(false);
    if align && !sleep {
        return Err(blame(error!("align=on and sleep=off are incompatible")));
    }
    let default = IcountOptions { sleep, align, ..IcountOptions::default() };
    if shift == "auto" {
        return Ok(Some(IcountOptions { adaptive: true, ..default }));
    }
    let shift = number(&shift).and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= MAX_SHIFT);
    let shift = shift.ok_or_else(|| blame(error!("icount: Invalid shift value")))?;
    Ok(Some(IcountOptions { shift, ..default }))
}

#[cfg(test)]
#[path = "icount_test.rs"]
mod test;
