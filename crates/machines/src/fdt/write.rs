//! The flattened form, written (specification chapter 5).
//!
//! The blocks follow each other as libfdt lays them out: header, memory reservations, structure,
//! strings, without gaps except those that alignment asks for.

use std::collections::HashMap;

use super::{Fdt, Node};

/// Size of the version 17 header; a multiple of 8, so that the reservation block needs no padding.
pub(super) const HEADER_SIZE: usize = 40;
pub(super) const MAGIC: u32 = 0xd00d_feed;
pub(super) const VERSION: u32 = 17;
pub(super) const LAST_COMPATIBLE_VERSION: u32 = 16;

pub(super) const BEGIN_NODE: u32 = 1;
pub(super) const END_NODE: u32 = 2;
pub(super) const PROP: u32 = 3;
pub(super) const NOP: u32 = 4;
pub(super) const END: u32 = 9;

/// Up to this size the strings block is searched for names to share the tail of; beyond it, where no
/// board's tree comes, the search would cost more than the bytes are worth.
const SHARE_LIMIT: usize = 16 << 10;

struct Writer<'a> {
    structure: Vec<u8>,
    strings: Vec<u8>,
    known: HashMap<&'a str, u32>,
}

impl<'a> Writer<'a> {
    fn word(&mut self, word: u32) {
        self.structure.extend_from_slice(&word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.structure.extend_from_slice(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }

    /// The offset of a NUL-terminated name in the strings block; a name that is the tail of an earlier
    /// one shares its bytes.
    fn string(&mut self, name: &'a str) -> u32 {
        if let Some(&offset) = self.known.get(name) {
            return offset;
        }
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        let shared = self.strings.get(..SHARE_LIMIT).unwrap_or(&self.strings);
        let found = shared.windows(bytes.len()).position(|window| window == bytes);
        let offset = found.unwrap_or(self.strings.len()) as u32;
        if found.is_none() {
            self.strings.extend_from_slice(&bytes);
        }
        self.known.insert(name, offset);
        offset
    }

    fn node(&mut self, node: &'a Node) {
        self.word(BEGIN_NODE);
        let mut name = node.name.as_bytes().to_vec();
        name.push(0);
        self.bytes(&name);
        for (name, value) in &node.properties {
            let name = self.string(name);
            self.word(PROP);
            self.word(value.len() as u32);
            self.word(name);
            self.bytes(value);
        }
        for child in &node.children {
            self.node(child);
        }
        self.word(END_NODE);
    }
}

pub(super) fn to_dtb(fdt: &Fdt) -> Vec<u8> {
    let mut writer = Writer { structure: Vec::new(), strings: Vec::new(), known: HashMap::new() };
    writer.node(&fdt.root);
    writer.word(END);

    let reservations = 16 * (fdt.reservations.len() + 1);
    let structure = HEADER_SIZE + reservations;
    let strings = structure + writer.structure.len();
    let total = strings + writer.strings.len();
    let mut dtb = Vec::with_capacity(total);
    for field in [
        MAGIC,
        total as u32,
        structure as u32,
        strings as u32,
        HEADER_SIZE as u32,
        VERSION,
        LAST_COMPATIBLE_VERSION,
        fdt.boot_cpu,
        writer.strings.len() as u32,
        writer.structure.len() as u32,
    ] {
        dtb.extend_from_slice(&field.to_be_bytes());
    }
    for reservation in &fdt.reservations {
        dtb.extend_from_slice(&reservation.address.to_be_bytes());
        dtb.extend_from_slice(&reservation.size.to_be_bytes());
    }
    dtb.extend_from_slice(&[0; 16]);
    dtb.append(&mut writer.structure);
    dtb.append(&mut writer.strings);
    dtb
}
