//! Receiving a machine.

use std::io::Read;

use base::{Result, error};

use crate::machine::Machine;
use crate::origin::Origin;
use crate::pages::take_up;
use crate::progress::Progress;
use crate::stream::{Kind, read_magic, read_record};

/// Takes up a stream: memory is written as it comes. Returns the sections for [`Machine::load`]. The machine has not run.
///
/// # Errors
/// The stream is of another machine, damaged, or ends early.
pub fn receive(machine: &Machine, from: &mut impl Read, progress: &Progress) -> Result<Vec<u8>> {
    read_magic(from)?;
    let mut record = Vec::new();
    let mut origin = None;
    let mut sections = None;
    while let Some(kind) = read_record(from, &mut record)? {
        progress.update(|counts| counts.transferred += record.len() as u64);
        match kind {
            Kind::Sections if origin.is_none() => {
                let mut theirs = Origin::default();
                state::from_bytes(&mut theirs, &record)?;
                machine.origin.check(&theirs)?;
                origin = Some(theirs);
            }
            _ if origin.is_none() => return Err(error!("the stream does not say what machine it is of")),
            Kind::Sections => sections = Some(std::mem::take(&mut record)),
            Kind::Pages => {
                let pages = take_up(&record, &machine.blocks)?;
                progress.update(|counts| counts.normal += pages);
            }
            // A snapshot as a stream: the index is for reading it in another order.
            Kind::Index => {}
            Kind::End => break,
        }
    }
    sections.ok_or_else(|| error!("the stream has no devices"))
}
