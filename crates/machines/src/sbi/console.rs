//! Debug console extension (chapter 12).

use super::{Access, SbiError, SbiHart, SbiPlatform, SbiResult};

/// The most bytes moved by one call: partial writes and reads are allowed, and a guest must not keep
/// the hart's thread from its interrupts.
const MOST: u64 = 64 << 10;
/// Bytes copied at a time.
const PIECE: usize = 512;

pub(super) fn ecall(platform: &impl SbiPlatform, hart: &impl SbiHart, fid: u64) -> SbiResult {
    match fid {
        0 | 1 => {
            let (count, address, above) = (hart.argument(0), hart.argument(1), hart.argument(2));
            let access = if fid == 0 { Access::Read } else { Access::Write };
            // No physical address of these machines is wider than XLEN bits.
            if above != 0 || !platform.is_allowed(access, address, count) {
                return Err(SbiError::InvalidParam);
            }
            let count = count.min(MOST);
            if fid == 0 { write(platform, address, count) } else { read(platform, address, count) }
        }
        2 => match platform.console_write(&[hart.argument(0) as u8])? {
            1 => Ok(0),
            _ => Err(SbiError::Failed),
        },
        _ => Err(SbiError::NotSupported),
    }
}

fn write(platform: &impl SbiPlatform, address: u64, count: u64) -> SbiResult {
    let mut piece = [0; PIECE];
    let mut done = 0;
    while done < count {
        let (bytes, _) = piece.split_at_mut(PIECE.min((count - done) as usize));
        if !platform.read_memory(address.wrapping_add(done), bytes) {
            return Err(SbiError::Failed);
        }
        match platform.console_write(bytes) {
            Ok(written) if written < bytes.len() => return Ok(done + written as u64),
            Ok(_) => done += bytes.len() as u64,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn read(platform: &impl SbiPlatform, address: u64, count: u64) -> SbiResult {
    let mut piece = [0; PIECE];
    let mut done = 0;
    while done < count {
        let (bytes, _) = piece.split_at_mut(PIECE.min((count - done) as usize));
        let got = match platform.console_read(bytes) {
            Ok(got) => got.min(bytes.len()),
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        };
        let whole = got == bytes.len();
        let (bytes, _) = bytes.split_at(got);
        if !platform.write_memory(address.wrapping_add(done), bytes) {
            return Err(SbiError::Failed);
        }
        done += got as u64;
        if !whole {
            break;
        }
    }
    Ok(done)
}
