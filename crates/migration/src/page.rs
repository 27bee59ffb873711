//! One page of guest memory, as it is written.

use base::PAGE_SIZE;

/// Bytes of a page.
pub const PAGE: usize = PAGE_SIZE as usize;
/// Where a page that is no smaller compressed is stored as it is.
const WORTHWHILE: usize = PAGE - PAGE / 8;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is zero: nothing is written.
    Zero,
    /// So many bytes follow: all of the page, or fewer, compressed (LZ4 block format).
    Bytes(u16),
    /// It is like a page written elsewhere in the same snapshot.
    Same,
}

impl Form {
    const SAME: u16 = u16::MAX;

    /// As a number in the stream.
    pub fn to_number(self) -> u16 {
        match self {
            Form::Zero => 0,
            Form::Bytes(n) => n,
            Form::Same => Self::SAME,
        }
    }
    /// From the number in the stream.
    pub fn from_number(n: u16) -> Option<Form> {
        match n {
            0 => Some(Form::Zero),
            Self::SAME => Some(Form::Same),
            n if usize::from(n) <= PAGE => Some(Form::Bytes(n)),
            _ => None,
        }
    }
}

/// Whether all bytes are zero.
pub fn is_zero(page: &[u8; PAGE]) -> bool {
    let (words, _) = page.as_chunks::<64>();
    words.iter().all(|part| part.iter().fold(0, |all, b| all | b) == 0)
}

/// Writes a page that is not zero behind `out`.
pub fn pack(page: &[u8; PAGE], out: &mut Vec<u8>) -> Form {
    let start = out.len();
    out.resize(start + lz4_flex::block::get_maximum_output_size(PAGE), 0);
    match lz4_flex::block::compress_into(page, &mut out[start..]) {
        Ok(n) if n <= WORTHWHILE => {
            out.truncate(start + n);
            Form::Bytes(n as u16)
        }
        _ => {
            out.truncate(start);
            out.extend_from_slice(page);
            Form::Bytes(PAGE as u16)
        }
    }
}

/// Reads back what [`pack`] wrote.
///
/// # Errors
/// It is damaged.
pub fn unpack(bytes: &[u8], page: &mut [u8; PAGE]) -> Result<(), String> {
    match bytes.len() {
        0 => page.fill(0),
        PAGE => page.copy_from_slice(bytes),
        _ => match lz4_flex::block::decompress_into(bytes, page) {
            Ok(PAGE) => {}
            Ok(n) => return Err(format!("a page of {n} bytes")),
            Err(error) => return Err(format!("a page cannot be unpacked: {error}")),
        },
    }
    Ok(())
}

/// A number for which equal pages are looked for. Equality itself is then checked.
pub fn fingerprint(page: &[u8; PAGE]) -> u64 {
    // Multiply and rotate, in four lanes so that the processor can overlap them; nobody chooses pages to collide who
    // could gain from it, since equality is checked.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [1u64, 2, 3, 4];
    let (words, _) = page.as_chunks::<32>();
    for part in words {
        let (quads, _) = part.as_chunks::<8>();
        for (lane, quad) in lanes.iter_mut().zip(quads) {
            *lane = (lane.rotate_left(5) ^ u64::from_le_bytes(*quad)).wrapping_mul(MULTIPLIER);
        }
    }
    lanes.iter().fold(0, |all, lane| (all.rotate_left(17) ^ lane).wrapping_mul(MULTIPLIER))
}

#[cfg(test)]
#[path = "page_test.rs"]
mod test;
