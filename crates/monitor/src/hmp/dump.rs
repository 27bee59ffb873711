//! Layout of memory dumps and of printed values.

use super::arguments::Format;
use std::fmt::Write;

/// The most bytes that one dump shows; nobody reads more on a screen.
const LONGEST: u64 = 1 << 20;

/// A character as `/c` shows it.
fn character(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".into(),
        b'\\' => "'\\\\'".into(),
        b'\n' => "'\\n'".into(),
        b'\r' => "'\\r'".into(),
        32..=126 => format!("'{}'", byte as char),
        _ => format!("'\\x{byte:02x}'"),
    }
}

/// Text of a value as `print` shows it.
pub fn value(format: char, value: i64) -> String {
    match format {
        'o' => {
            if value == 0 {
                "0".into()
            } else {
                format!("0{value:o}")
            }
        }
        'x' => format!("{value:#x}"),
        'u' => format!("{}", value as u64),
        'c' => character(value as u8),
        _ => format!("{value}"),
    }
}

/// One item of a dump.
fn item(format: char, size: u32, value: u64) -> String {
    let bits = size as usize * 8;
    match format {
        'o' => {
            let text = if value == 0 { "0".to_owned() } else { format!("0{value:o}") };
            format!("{text:>width$}", width = bits.div_ceil(3))
        }
        'd' if size == 8 => format!("{:>20}", value as i64),
        'd' | 'u' => format!("{value:>width$}", width = (bits * 10).div_ceil(33)),
        'c' => character(value as u8),
        _ => format!("0x{value:0width$x}", width = size as usize * 2),
    }
}

/// A dump of memory from `address` on, of everything but instructions. `read` fills the bytes of one line.
pub fn memory(format: Format, address: u64, read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> String {
    // The number of bytes is reckoned before a character becomes one byte.
    let mut left = format.count.saturating_mul(format.size.into()).min(LONGEST);
    let size = if format.format == 'c' { 1 } else { format.size };
    let line = if size == 1 { 8 } else { 16 };
    let mut out = String::new();
    let mut at = address;
    while left > 0 {
        let mut bytes = vec![0; left.min(line) as usize];
        let _ = write!(out, "{at:016x}:");
        if !read(at, &mut bytes) {
            out.push_str(" Cannot access memory\n");
            break;
        }
        for chunk in bytes.chunks(size as usize) {
            let value = chunk.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
            let _ = write!(out, " {}", item(format.format, size, value));
        }
        out.push('\n');
        at = at.wrapping_add(bytes.len() as u64);
        left -= bytes.len() as u64;
    }
    out
}

#[cfg(test)]
#[path = "dump_test.rs"]
mod test;
