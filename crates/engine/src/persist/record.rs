//! A translation as the file has it.

use cpu::Built;
use host::{Code, Link, Point, Relocation};

/// Bytes of a record before the guest's: see [`encode`].
pub(super) const RECORD_BYTES: usize = 32;
/// Bytes of the guest, from an entry on, that are part of a record's hash. (A shorter block is found only where what follows is the same, too.)
const HEAD: u16 = 8;

/// What a record is looked for by, besides the guest's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    pub(crate) offset: u16,
    pub(crate) mode: u32,
    pub(crate) alone: bool,
    /// Number of the page among those that its jumps can be linked to, and 1; 0 if it can jump to its own alone.
    pub(crate) reach: u16,
}

impl Name {
    pub(super) fn number(self) -> u32 {
        self.offset as u32 >> 1
            | (self.mode & 0x7f) << 11
            | (self.alone as u32) << 18
            | (self.reach as u32) << 19
    }
    /// The name with this number.
    pub(super) fn of(number: u32) -> Name {
        Name {
            offset: (number << 1) as u16 & 4095,
            mode: number >> 11 & 0x7f,
            alone: number >> 18 & 1 != 0,
            reach: (number >> 19) as u16,
        }
    }
    /// What the tables have of a record at whose entry the guest has `head`: nothing of the reach.
    pub(super) fn hash(self, head: u64) -> u32 {
        let mixed = (head ^ ((self.number() & 0x7_ffff) as u64).wrapping_mul(0xd6e8_feb8_6659_fd93))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
    }
}

/// The bytes at an offset of a page, as a number; zeros behind its end. `load` gives eight bytes.
pub(crate) fn head(offset: u16, load: impl FnOnce(u16) -> u64) -> u64 {
    let at = offset.min(4096 - HEAD);
    load(at) >> (8 * (offset - at))
}

/// A translation as the file has it: checksum of what follows, bytes in all (a multiple of 8), name's number, hash; guest's bytes, how
/// many of them the instructions have, how many instructions, hot bytes, bytes of code, links, points, relocations; then the
/// guest's bytes, the code, and the lists in this order. The code was made for offset 0 of code memory.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a>(&'a [u8]);

/// Numbers of two bytes are smaller. Stands for no stub of a link, and marks a relocation that leads to the common code.
const MARK: u16 = 1 << 15;

pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Appends a record. `None`, and nothing appended, if a number is too large.
pub(super) fn encode(
    out: &mut Vec<u8>,
    (name, hash): (Name, u32),
    guest: &[u8],
    built: &Built,
    code: &Code,
) -> Option<()> {
    let small = |n: usize| u16::try_from(n).ok().filter(|&n| n < MARK);
    let counts = [
        small(guest.len())?,
        small(built.length as usize)?,
        small(built.insns as usize)?,
        small(code.hot as usize)?,
        small(code.bytes.len())?,
        small(code.links.len())?,
        small(code.points.len())?,
        small(code.relocations.len())?,
    ];
    let start = out.len();
    out.extend([0; 8]);
    out.extend([name.number(), hash].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(counts.iter().flat_map(|n| n.to_le_bytes()));
    out.extend(guest);
    out.extend(&code.bytes);
    let mut put = |n: u16| out.extend(n.to_le_bytes());
    for l in &code.links {
        let target = l.target as i32 as u32;
        let stub = l.stub.map_or(MARK, |stub| stub as u16);
        let guard = l.guard.map_or(MARK, |guard| guard as u16);
        [l.at as u16, stub, target as u16, (target >> 16) as u16, guard].into_iter().for_each(&mut put);
    }
    for p in &code.points {
        [p.return_offset as u16, p.insn as u16].into_iter().for_each(&mut put);
    }
    for r in &code.relocations {
        put(r.at as u16 | if r.common { MARK } else { 0 });
    }
    out.resize(start + (out.len() - start).next_multiple_of(8), 0);
    let bytes = (out.len() - start) as u32;
    out[start + 4..start + 8].copy_from_slice(&bytes.to_le_bytes());
    let sum = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    Some(())
}

impl<'a> Record<'a> {
    /// The record at the beginning of these bytes, if it has all of its own.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Record<'a>> {
        let len = word(bytes, 4)? as usize;
        let record = bytes.get(..len).filter(|_| len >= RECORD_BYTES && len.is_multiple_of(8))?;
        Some(Record(record))
    }
    pub(super) fn number(self) -> u32 {
        word(self.0, 8).unwrap_or_default()
    }
    pub(super) fn hash(self) -> u32 {
        word(self.0, 12).unwrap_or_default()
    }
    /// All of it.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }
    /// The place behind it, in units of 8 bytes, if it has this one.
    pub(super) fn behind(self, place: u32) -> u32 {
        place + self.0.len() as u32 / 8
    }
    fn count(self, n: usize) -> usize {
        half(self.0, 16 + 2 * n).unwrap_or_default().into()
    }
    /// The guest's bytes.
    pub(super) fn guest(self) -> Option<&'a [u8]> {
        self.0.get(RECORD_BYTES..RECORD_BYTES + self.count(0))
    }
    /// What it is called.
    pub(crate) fn name(self) -> Name {
        Name::of(self.number())
    }
    /// Whether it was made of what is at its offset in this page.
    pub(crate) fn is_in(self, page: &[u8]) -> bool {
        self.guest().is_some_and(|guest| {
            page.get(self.name().offset.into()..).is_some_and(|here| here.starts_with(guest))
        })
    }
    /// Whether it has this number and was made of the first of these bytes.
    pub(super) fn is_of(self, number: u32, bytes: &[u8]) -> bool {
        self.number() == number && self.guest().is_some_and(|guest| bytes.starts_with(guest))
    }
    /// Writes the code, for the offsets in code memory, into `code`. What the guest's half has to say of it; `None` if the record is damaged.
    pub(crate) fn code(self, (base, apart): (usize, usize), code: &mut Code) -> Option<Built> {
        if crc32fast::hash(self.0.get(4..)?) != word(self.0, 0)? {
            return None;
        }
        let [bytes, length, insns, hot, len, links, points, relocations] =
            std::array::from_fn(|n| self.count(n));
        let rest = self.0.get(RECORD_BYTES + bytes..)?;
        let (host, rest) = rest.split_at_checked(len)?;
        let (links, rest) = rest.split_at_checked(10 * links)?;
        let (points, rest) = rest.split_at_checked(4 * points)?;
        let relocations = rest.get(..2 * relocations)?;
        code.bytes.clear();
        code.bytes.extend_from_slice(host);
        code.hot = hot.min(len) as u32;
        code.links.clear();
        code.links.extend(links.chunks_exact(10).filter_map(|l| {
            let [stub, guard] = [2, 8].map(|at| half(l, at).filter(|&n| n != MARK).map(u32::from));
            Some(Link { at: half(l, 0)?.into(), stub, target: (word(l, 4)? as i32).into(), guard })
        }));
        code.points.clear();
        code.points.extend(
            points
                .chunks_exact(4)
                .filter_map(|p| Some(Point { return_offset: half(p, 0)?.into(), insn: half(p, 2)?.into() })),
        );
        code.relocations.clear();
        code.relocations.extend(
            relocations
                .chunks_exact(2)
                .filter_map(|r| half(r, 0))
                .map(|r| Relocation { at: (r & !MARK).into(), common: r & MARK != 0 }),
        );
        code.move_by(base as u32, apart as u32);
        Some(Built {
            insns: insns as u32,
            from: self.name().offset,
            bytes: bytes as u32,
            length: length as u32,
        })
    }
}
