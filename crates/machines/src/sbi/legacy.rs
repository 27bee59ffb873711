//! The legacy extensions (chapter 5): one function per extension id, nothing returned in `a1`, hart
//! masks in the caller's virtual memory.

use super::harts::{HartTargets, range};
use super::{Fence, Outcome, ResetReason, ResetType, SbiError, SbiHart, SbiPlatform, answer, long_argument};

/// Set timer.
pub(super) const FIRST: u64 = 0;
/// System shutdown.
pub(super) const LAST: u64 = 8;

pub(super) fn ecall<H: SbiHart>(platform: &impl SbiPlatform, hart: &mut H, eid: u64) -> Outcome<H::Fault> {
    let result = match eid {
        0 => {
            platform.set_timer(hart.hart_id(), long_argument(hart, 0));
            0
        }
        1 => {
            // Without a console the character is thrown away.
            let _ = platform.console_write(&[hart.argument(0) as u8]);
            0
        }
        2 => {
            let mut byte = [0];
            match platform.console_read(&mut byte) {
                Ok(1) => byte[0].into(),
                _ => u64::MAX,
            }
        }
        3 => hart.clear_software_interrupt().into(),
        4..=7 => match for_mask(platform, hart, eid) {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => error as i64 as u64,
            Err(fault) => return Outcome::Fault(fault),
        },
        LAST => return Outcome::Reset(ResetType::Shutdown, ResetReason::None),
        // Reserved: unknown, for which the answer is the newer convention's.
        _ => {
            answer(hart, Err(SbiError::NotSupported));
            return Outcome::Resume;
        }
    };
    hart.set_result(0, result);
    Outcome::Resume
}

/// Sends an IPI or a fence to the harts of a mask in memory. All of it is read before anything is
/// sent, so that after a fault the call can be made again.
fn for_mask<H: SbiHart>(
    platform: &impl SbiPlatform,
    hart: &mut H,
    eid: u64,
) -> Result<Result<(), SbiError>, H::Fault> {
    let targets = match read_mask(platform, hart)? {
        Ok(targets) => targets,
        Err(error) => return Ok(Err(error)),
    };
    let fence = match fence(hart, eid) {
        Ok(fence) => fence,
        Err(error) => return Ok(Err(error)),
    };
    for targets in targets {
        match fence {
            None => platform.send_ipi(targets),
            Some(fence) => {
                if let Err(error) = platform.remote_fence(targets, fence) {
                    return Ok(Err(error));
                }
            }
        }
    }
    Ok(Ok(()))
}

/// The fence of extension 5 to 7; none for 4, send IPI.
fn fence(hart: &impl SbiHart, eid: u64) -> Result<Option<Fence>, SbiError> {
    if eid < 6 {
        return Ok((eid == 5).then_some(Fence::Instruction));
    }
    let (start, size) = range(hart, hart.argument(1), hart.argument(2))?;
    let asid = (eid == 7).then(|| hart.argument(3));
    Ok(Some(Fence::Vma { start, size, asid }))
}

/// The bit vector that `a0` points to, one bit for each hart. A null pointer means all harts, as old
/// kernels expect from the firmware of their time.
fn read_mask<H: SbiHart>(
    platform: &impl SbiPlatform,
    hart: &mut H,
) -> Result<Result<Vec<HartTargets>, SbiError>, H::Fault> {
    let address = hart.argument(0);
    if address == 0 {
        return Ok(Ok(vec![HartTargets::All]));
    }
    let xlen = u64::from(hart.xlen());
    let harts = platform.hart_limit();
    let mut targets = Vec::new();
    for word in 0..harts.div_ceil(xlen) {
        let mut mask = hart.load_word(address.wrapping_add(word * xlen / 8))?;
        let base = word * xlen;
        // Bits beyond the last hart belong to the word but to no hart.
        if harts - base < 64 {
            mask &= (1 << (harts - base)) - 1;
        }
        if mask == 0 {
            continue;
        }
        match HartTargets::new(platform, base, mask) {
            Ok(set) => targets.push(set),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(targets))
}
