//! Accesses to device registers: what may go wrong, and how an access is fitted to what a device implements.

use object::{Access, Effect, Endian};

/// What the bus answers when an access does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nothing is there, or it does not take an access of this size and alignment.
    #[error("nothing answers at this address")]
    Decode,
    /// The device is there and reports an error.
    #[error("the device reports an error")]
    Device,
    /// A device's transfer towards the registers of a device that cannot be asked now.
    #[error("a device cannot read another device's registers")]
    Refused,
}

/// An answer of the bus.
pub type BusResult<T> = Result<T, BusError>;

/// The registers of a device, or whatever else answers accesses that are not plain memory.
///
/// Called from any thread, with no device lock held. Sizes and alignments are those of [`Mmio::access`].
pub trait Mmio: Send + Sync {
    /// Reads `size` bytes at `offset` of the region.
    fn read(&self, offset: u64, size: u32) -> BusResult<u64>;
    /// Writes; the effect is performed by whoever made the access.
    fn write(&self, offset: u64, size: u32, value: u64) -> BusResult<Effect>;
    /// Which accesses are allowed and implemented. Must not change.
    fn access(&self) -> Access {
        Access::DEFAULT
    }
}

/// Answers every access with a decode error, as if nothing were there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unassigned;

impl Mmio for Unassigned {
    fn read(&self, _: u64, _: u32) -> BusResult<u64> {
        Err(BusError::Decode)
    }
    fn write(&self, _: u64, _: u32, _: u64) -> BusResult<Effect> {
        Err(BusError::Decode)
    }
}

/// A bus where nobody answers but nobody complains either: reads give ones, writes are lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenBus;

impl Mmio for OpenBus {
    fn read(&self, _: u64, size: u32) -> BusResult<u64> {
        Ok(mask(size))
    }
    fn write(&self, _: u64, _: u32, _: u64) -> BusResult<Effect> {
        Ok(Effect::None)
    }
    fn access(&self) -> Access {
        Access { unaligned: true, ..Access::DEFAULT }
    }
}

#[inline]
const fn mask(size: u32) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 }
}

/// Reads `size` bytes (1, 2, 4 or 8) as a little-endian processor sees them. An access the device does not
/// allow is a decode error; one it allows but does not implement is split or cut out of a larger one.
#[inline]
pub fn mmio_read(mmio: &dyn Mmio, offset: u64, size: u32) -> BusResult<u64> {
    let access = mmio.access();
    if !access.allows(offset, size) {
        refused("read", offset, size);
        return Err(BusError::Decode);
    }
    if size >= access.impl_min && size <= access.impl_max && matches!(access.endian, Endian::Little) {
        return Ok(mmio.read(offset, size)? & mask(size));
    }
    split_read(mmio, &access, offset, size)
}

/// Writes the low `size` bytes of `value`. See [`mmio_read`]; a write narrower than the device implements is
/// widened with zeros.
#[inline]
pub fn mmio_write(mmio: &dyn Mmio, offset: u64, size: u32, value: u64) -> BusResult<Effect> {
    let access = mmio.access();
    if !access.allows(offset, size) {
        refused("write", offset, size);
        return Err(BusError::Decode);
    }
    if size >= access.impl_min && size <= access.impl_max && matches!(access.endian, Endian::Little) {
        return mmio.write(offset, size, value & mask(size));
    }
    split_write(mmio, &access, offset, size, value & mask(size))
}

#[cold]
fn refused(what: &str, offset: u64, size: u32) {
    base::log_limited!(
        base::log::LogMask::INVALID_MEM,
        "Invalid {what} at offset {offset:#x}, size {size}: not allowed for this device"
    );
}

fn from_device(value: u64, size: u32, endian: Endian) -> u64 {
    match endian {
        Endian::Little => value & mask(size),
        Endian::Big => base::endian::swap(value, size) & mask(size),
    }
}

fn split_read(mmio: &dyn Mmio, access: &Access, offset: u64, size: u32) -> BusResult<u64> {
    if size < access.impl_min {
        let wide = access.impl_min;
        let start = offset & !u64::from(wide - 1);
        let lane = (offset - start) as u32;
        let value = from_device(mmio.read(start, wide)?, wide, access.endian);
        // A narrow access across the end of the wide one (allowed only where unaligned ones are) sees zeros.
        return Ok((value >> (lane * 8)) & mask(size));
    }
    let step = size.min(access.impl_max);
    let mut value = 0;
    for i in (0..size).step_by(step as usize) {
        let part = mmio.read(offset.wrapping_add(u64::from(i)), step)?;
        value |= from_device(part, step, access.endian) << (i * 8);
    }
    Ok(value)
}

fn split_write(mmio: &dyn Mmio, access: &Access, offset: u64, size: u32, value: u64) -> BusResult<Effect> {
    if size < access.impl_min {
        let wide = access.impl_min;
        let start = offset & !u64::from(wide - 1);
        let lane = (offset - start) as u32;
        let value = from_device(value << (lane * 8), wide, access.endian);
        return mmio.write(start, wide, value);
    }
    let step = size.min(access.impl_max);
    let mut effect = Effect::None;
    for i in (0..size).step_by(step as usize) {
        let part = from_device(value >> (i * 8), step, access.endian);
        effect = effect.and(mmio.write(offset.wrapping_add(u64::from(i)), step, part)?);
    }
    Ok(effect)
}

#[cfg(test)]
#[path = "bus_test.rs"]
mod test;
