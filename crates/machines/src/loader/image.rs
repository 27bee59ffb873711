//! Linux's RISC-V boot image header, and gzip around anything.
//!
//! Linux Documentation/arch/riscv/boot-image-header.rst: 64 bytes, little-endian, at the start of the
//! file. RFC 1952 for gzip.

use std::io::Read;

use flate2::read::GzDecoder;

/// What the header of a Linux `Image` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    /// Offset of the kernel from the start of RAM that it was linked for.
    pub text_offset: u64,
    /// Memory it needs from its first byte on, zero-filled beyond the file; 0 in old kernels.
    pub image_size: u64,
    /// Version of the header: major in the upper, minor in the lower 16 bits.
    pub version: u32,
}

/// `magic2` at offset 56.
const MAGIC2: [u8; 4] = *b"RSC\x05";
/// Bit 0 of `flags`: a big-endian kernel.
const BIG_ENDIAN: u64 = 1;

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    field(bytes, offset).map(u64::from_le_bytes)
}

/// The header, `None` if there is none.
///
/// # Errors
/// There is one, of a kernel that cannot run.
pub(super) fn header(bytes: &[u8]) -> Result<Option<ImageHeader>, String> {
    if field(bytes, 56) != Some(MAGIC2) {
        return Ok(None);
    }
    let fields = || {
        let version = field(bytes, 32).map(u32::from_le_bytes)?;
        Some((u64_at(bytes, 8)?, u64_at(bytes, 16)?, u64_at(bytes, 24)?, version))
    };
    let Some((text_offset, image_size, flags, version)) = fields() else { return Ok(None) };
    if flags & BIG_ENDIAN != 0 {
        return Err("Linux image is for a big-endian kernel".to_owned());
    }
    if bytes.len() < 64 {
        return Err("Linux image ends within its header".to_owned());
    }
    Ok(Some(ImageHeader { text_offset, image_size, version }))
}

/// Whether this is gzip with the only method there is, deflate.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 8])
}

/// What is inside, if that has not more than `limit` bytes.
///
/// # Errors
/// The data is damaged, cut short, or larger.
pub(super) fn gunzip(bytes: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let mut inside = Vec::new();
    GzDecoder::new(bytes)
        .take(limit.saturating_add(1))
        .read_to_end(&mut inside)
        .map_err(|error| format!("gzip data is damaged: {}", super::reason(&error)))?;
    if inside.len() as u64 > limit {
        return Err(format!("more than the {limit} bytes there is room for when decompressed"));
    }
    Ok(inside)
}
