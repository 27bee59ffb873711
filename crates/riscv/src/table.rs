//! The instruction table: rows, and how a row is written.

use crate::build::Build;
use crate::extension::Extension;
use crate::interpret::Interpreter;
use crate::machine::Meaning;

/// Which XLEN an instruction exists for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xlen {
    /// Both.
    Any,
    /// RV32 only.
    Rv32,
    /// RV64 only.
    Rv64,
}

/// One instruction.
pub struct Row {
    /// Name, with `_` for `.`.
    pub name: &'static str,
    /// Name under which it is disassembled (that of the expansion of a compressed instruction).
    pub text: &'static str,
    /// The extension it belongs to.
    pub extension: Extension,
    /// Where it exists.
    pub xlen: Xlen,
    /// Bits that are fixed.
    pub mask: u32,
    /// Their values.
    pub value: u32,
    /// 2 or 4.
    pub length: u8,
    /// Tells the meaning to the interpreter.
    pub interpret: fn(&Interpreter<'_>, u32) -> Meaning,
    /// Tells the meaning to the builder.
    pub build: fn(&Build<'_>, u32) -> Meaning,
    /// Writes the operands of the word, which stands at the address.
    pub operands: fn(u32, u64) -> String,
}

/// Mask, value and length in bytes of a picture of bits: `0`, `1`, `.` for operands, spaces for the eye.
pub const fn picture(s: &str) -> (u32, u32, u8) {
    let b = s.as_bytes();
    let (mut mask, mut value, mut i, mut n) = (0u32, 0u32, 0, 0);
    while i < b.len() {
        if b[i] != b' ' {
            mask = mask << 1 | (b[i] != b'.') as u32;
            value = value << 1 | (b[i] == b'1') as u32;
            assert!(matches!(b[i], b'0' | b'1' | b'.'), "a picture has only 0, 1, . and spaces");
            n += 1;
        }
        i += 1;
    }
    assert!(n == 32 || n == 16, "a picture has 16 or 32 bits");
    (mask, value, n / 8)
}

/// Whether two pictures may stand side by side: no word fits both, or one is a special case of the other (which
/// then goes first), or they never exist together.
const fn compatible(a: &Row, b: &Row) -> bool {
    let apart = (a.value ^ b.value) & a.mask & b.mask != 0 || a.length != b.length;
    let both = a.mask & b.mask;
    let nested = a.mask != b.mask && (both == a.mask || both == b.mask);
    let elsewhere = matches!((a.xlen, b.xlen), (Xlen::Rv32, Xlen::Rv64) | (Xlen::Rv64, Xlen::Rv32));
    apart || nested || elsewhere
}

/// Refuses overlapping pictures; evaluated by the compiler.
pub const fn check(tables: &[&[Row]]) {
    let mut t = 0;
    while t < tables.len() {
        let mut r = 0;
        while r < tables[t].len() {
            let mut u = t;
            while u < tables.len() {
                let mut s = if u == t { r + 1 } else { 0 };
                while s < tables[u].len() {
                    assert!(compatible(&tables[t][r], &tables[u][s]), "two pictures overlap");
                    s += 1;
                }
                u += 1;
            }
            r += 1;
        }
        t += 1;
    }
}

/// Operands of an instruction.
pub trait Format: Sized {
    /// Takes them out of the word.
    fn of(word: u32) -> Self;
    /// Writes them as assembly; `pc` is the instruction's address.
    fn text(&self, pc: u64) -> String;
}

/// Rows of an extension: XLEN, name, picture, operands, meaning.
macro_rules! isa {
    ($ext:ident; $($xlen:ident $name:ident $picture:literal $format:ident |$m:ident, $i:ident| $body:expr;)*) => {
        #[doc = "Meanings of the instructions."]
        #[allow(missing_docs, clippy::unit_arg, clippy::no_effect, clippy::let_unit_value, unreachable_code, unused_variables)]
        pub mod meaning {
            use super::*;
            $(#[inline]
            pub fn $name<M: $crate::machine::Machine>($m: &M, $i: $format) -> $crate::machine::Meaning {
                $body;
                Ok(())
            })*
        }
        /// The table.
        pub const ROWS: &[$crate::table::Row] = &[$({
            const P: (u32, u32, u8) = $crate::table::picture($picture);
            $crate::table::Row {
                name: stringify!($name),
                text: stringify!($name),
                extension: $crate::extension::Extension::$ext,
                xlen: $crate::table::Xlen::$xlen,
                mask: P.0,
                value: P.1,
                length: P.2,
                interpret: |m: &$crate::interpret::Interpreter<'_>, w: u32| meaning::$name(m, <$format as $crate::table::Format>::of(w)),
                build: |m: &$crate::build::Build<'_>, w: u32| meaning::$name(m, <$format as $crate::table::Format>::of(w)),
                operands: |w: u32, pc: u64| <$format as $crate::table::Format>::text(&<$format as $crate::table::Format>::of(w), pc),
            }
        }),*];
    };
}
pub(crate) use isa;

/// Rows that are another picture of an instruction's meaning: XLEN, name, picture, the instruction it expands to,
/// and its operands. An expansion of `None` is reserved and illegal.
macro_rules! compressed {
    ($($ext:ident $xlen:ident $name:ident $picture:literal $($base:ident)::+ $format:ident |$w:ident| $operands:expr;)*) => {
        /// The table.
        pub const ROWS: &[$crate::table::Row] = &[$({
            const P: (u32, u32, u8) = $crate::table::picture($picture);
            $crate::table::Row {
                name: stringify!($name),
                text: $crate::table::last(stringify!($($base)::+)),
                extension: $crate::extension::Extension::$ext,
                xlen: $crate::table::Xlen::$xlen,
                mask: P.0,
                value: P.1,
                length: P.2,
                interpret: |m: &$crate::interpret::Interpreter<'_>, $w: u32| $($base)::+(m, $operands),
                build: |m: &$crate::build::Build<'_>, $w: u32| $($base)::+(m, $operands),
                operands: |$w: u32, pc: u64| <$format as $crate::table::Format>::text(&$operands, pc),
            }
        }),*];
    };
}
pub(crate) use compressed;

/// What follows the last `::` in a path, without spaces.
pub const fn last(path: &'static str) -> &'static str {
    let b = path.as_bytes();
    let mut i = b.len();
    while i > 0 && b[i - 1] != b':' && b[i - 1] != b' ' {
        i -= 1;
    }
    path.split_at(i).1
}
