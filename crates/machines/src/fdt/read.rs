//! The flattened form, read with distrust (specification chapter 5).
//!
//! Every offset and length is checked before use; depth and the lengths of names are limited, so that
//! a small file can neither exhaust the stack nor name the same long string a million times.

use std::fmt;

use super::write::{BEGIN_NODE, END, END_NODE, LAST_COMPATIBLE_VERSION, MAGIC, NOP, PROP, VERSION};
use super::{Fdt, Node, Reservation};

/// The largest flattened tree that is read, in bytes: more than any board's, less than harm.
pub(super) const MAX_SIZE: usize = 16 << 20;
/// The deepest nesting of nodes that is read, the root being 1.
const MAX_DEPTH: usize = 64;
/// The longest node or property name in bytes. The specification allows 31; trees in the wild have more.
const MAX_NAME: usize = 255;

/// Why a flattened tree was refused, with libfdt's name of the error where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// As `FDT_ERR_BADMAGIC`.
    pub code: &'static str,
    /// What is wrong, and where.
    pub reason: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code, self.reason)
    }
}

impl std::error::Error for ReadError {}

fn error(code: &'static str, reason: impl Into<String>) -> ReadError {
    ReadError { code, reason: reason.into() }
}

/// A block of the tree and where the next word stands in it.
struct Cursor<'a> {
    block: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let end = self.offset.checked_add(length).filter(|&end| end <= self.block.len());
        let end = end.ok_or_else(|| {
            error(
                "FDT_ERR_TRUNCATED",
                format!("structure block ends within what begins at offset {:#x}", self.offset),
            )
        })?;
        let bytes = self.block.get(self.offset..end).unwrap_or_default();
        self.offset = end.next_multiple_of(4);
        Ok(bytes)
    }

    fn word(&mut self) -> Result<u32, ReadError> {
        let bytes = self.take(4)?;
        Ok(be32(bytes, 0).unwrap_or_default())
    }

    /// A NUL-terminated name at the cursor, which moves past it.
    fn name(&mut self) -> Result<String, ReadError> {
        let at = self.offset;
        let rest = self.block.get(at..).unwrap_or_default();
        let name = terminated(rest).ok_or_else(|| {
            error(
                "FDT_ERR_BADSTRUCTURE",
                format!("node name at offset {at:#x} is too long or not terminated"),
            )
        })?;
        self.take(name.len() + 1)?;
        printable(name).ok_or_else(|| {
            error("FDT_ERR_BADSTRUCTURE", format!("node name at offset {at:#x} is not printable"))
        })
    }
}

fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    let word = bytes.get(offset..offset.checked_add(4)?)?;
    word.try_into().ok().map(u32::from_be_bytes)
}

fn be64(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from(be32(bytes, offset)?) << 32 | u64::from(be32(bytes, offset.checked_add(4)?)?))
}

/// What stands before the first NUL, if that comes early enough.
fn terminated(bytes: &[u8]) -> Option<&[u8]> {
    let window = bytes.get(..MAX_NAME + 1).unwrap_or(bytes);
    let length = window.iter().position(|&byte| byte == 0)?;
    bytes.get(..length)
}

/// Names are printable ASCII without blanks; a slash would make paths ambiguous.
fn printable(name: &[u8]) -> Option<String> {
    let good = name.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'/');
    if good { String::from_utf8(name.to_vec()).ok() } else { None }
}

/// The bytes from `offset` on, `size` of them if given, that a block has to lie in.
fn block<'a>(dtb: &'a [u8], what: &str, offset: u32, size: Option<u32>) -> Result<&'a [u8], ReadError> {
    let start = offset as usize;
    let end = match size {
        Some(size) => start.checked_add(size as usize),
        None => Some(dtb.len()),
    };
    end.and_then(|end| dtb.get(start..end)).ok_or_else(|| {
        error("FDT_ERR_TRUNCATED", format!("{what} at {offset:#x} does not fit in {:#x} bytes", dtb.len()))
    })
}

pub(super) fn from_dtb(dtb: &[u8]) -> Result<Fdt, ReadError> {
    if be32(dtb, 0) != Some(MAGIC) {
        return Err(error("FDT_ERR_BADMAGIC", "no flattened device tree: magic number missing"));
    }
    if dtb.len() > MAX_SIZE {
        return Err(error("FDT_ERR_NOSPACE", format!("larger than {MAX_SIZE} bytes")));
    }
    let field = |index: usize| {
        be32(dtb, 4 * index).ok_or_else(|| error("FDT_ERR_TRUNCATED", "file ends within the header"))
    };
    let (total, structure, strings, reservations) = (field(1)?, field(2)?, field(3)?, field(4)?);
    let (version, last_compatible, boot_cpu, strings_size) = (field(5)?, field(6)?, field(7)?, field(8)?);
    if version < LAST_COMPATIBLE_VERSION || last_compatible > VERSION {
        return Err(error(
            "FDT_ERR_BADVERSION",
            format!("version {version}, compatible back to {last_compatible}"),
        ));
    }
    let dtb = dtb.get(..total as usize).ok_or_else(|| {
        error("FDT_ERR_TRUNCATED", format!("header tells of {total} bytes, the file has {}", dtb.len()))
    })?;
    // Version 16 has no size of the structure block: it ends where END stands.
    let structure_size = if version >= 17 { Some(field(9)?) } else { None };
    let structure = block(dtb, "structure block", structure, structure_size)?;
    let strings = block(dtb, "strings block", strings, Some(strings_size))?;

    let mut fdt = Fdt { boot_cpu, ..Fdt::default() };
    fdt.reservations = read_reservations(block(dtb, "memory reservation block", reservations, None)?)?;
    fdt.root = read_structure(structure, strings)?;
    fdt.last_phandle = largest_phandle(&fdt.root);
    Ok(fdt)
}

fn read_reservations(block: &[u8]) -> Result<Vec<Reservation>, ReadError> {
    let mut reservations = Vec::new();
    let mut offset = 0;
    loop {
        let (Some(address), Some(size)) = (be64(block, offset), be64(block, offset + 8)) else {
            return Err(error("FDT_ERR_TRUNCATED", "memory reservation block has no end"));
        };
        if (address, size) == (0, 0) {
            return Ok(reservations);
        }
        reservations.push(Reservation { address, size });
        offset += 16;
    }
}

fn read_structure(structure: &[u8], strings: &[u8]) -> Result<Node, ReadError> {
    let mut cursor = Cursor { block: structure, offset: 0 };
    // The nodes begun and not yet ended, outermost first.
    let mut open: Vec<Node> = Vec::new();
    let mut root = None;
    loop {
        let at = cursor.offset;
        let bad = |reason: &str| error("FDT_ERR_BADSTRUCTURE", format!("{reason} at offset {at:#x}"));
        match cursor.word()? {
            NOP => {}
            BEGIN_NODE if root.is_some() => return Err(bad("second root node")),
            BEGIN_NODE if open.len() >= MAX_DEPTH => return Err(bad("too deeply nested node")),
            BEGIN_NODE => open.push(Node::new(cursor.name()?)),
            PROP => {
                let Some(node) = open.last_mut() else { return Err(bad("property outside of a node")) };
                // libfdt and the specification want properties before children; readers that stop
                // at the first child would see another tree than those that do not.
                if !node.children.is_empty() {
                    return Err(bad("property after a child node"));
                }
                let length = cursor.word()? as usize;
                let name = cursor.word()? as usize;
                let value = cursor.take(length)?.to_vec();
                let name = strings.get(name..).and_then(terminated).and_then(printable);
                let name = name.ok_or_else(|| bad("property with a bad name"))?;
                node.properties.push((name, value));
            }
            END_NODE => {
                let Some(node) = open.pop() else { return Err(bad("end of a node that never began")) };
                match open.last_mut() {
                    Some(parent) => parent.children.push(node),
                    None => root = Some(node),
                }
            }
            END => {
                if !open.is_empty() {
                    return Err(bad("end of the tree within a node"));
                }
                let mut root = root.ok_or_else(|| bad("tree without a root node"))?;
                root.name.clear();
                return Ok(root);
            }
            token => return Err(bad(&format!("unknown token {token:#x}"))),
        }
    }
}

fn largest_phandle(node: &Node) -> u32 {
    let own = node.u32("phandle").filter(|&phandle| phandle != u32::MAX).unwrap_or(0);
    node.children.iter().map(largest_phandle).fold(own, u32::max)
}
