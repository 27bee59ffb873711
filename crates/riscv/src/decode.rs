//! From bits to rows.
//!
//! Instructions are sorted into buckets by the bits that distinguish most of them; a bucket's few candidates are
//! compared one after the other, special cases first.

use crate::extension::Extensions;
use crate::isa::TABLES;
use crate::table::{Row, Xlen};

/// One candidate of a bucket.
#[derive(Clone, Copy)]
struct Candidate {
    mask: u32,
    value: u32,
    row: &'static Row,
}

/// Buckets over some bits of the word.
struct Buckets {
    starts: Vec<u32>,
    candidates: Vec<Candidate>,
}

/// Bits 2-6, 12-14, 25, 28, 30, 31: opcode, funct3 and the busiest bits of funct7.
#[inline(always)]
fn wide_key(w: u32) -> usize {
    (w >> 2 & 31 | (w >> 12 & 7) << 5 | (w >> 25 & 1) << 8 | (w >> 28 & 1) << 9 | (w >> 30) << 10) as usize
}
fn wide_spread(k: u32) -> u32 {
    3 | (k & 31) << 2 | (k >> 5 & 7) << 12 | (k >> 8 & 1) << 25 | (k >> 9 & 1) << 28 | (k >> 10) << 30
}
/// Bits 0-1, 10-15.
#[inline(always)]
fn narrow_key(w: u32) -> usize {
    (w & 3 | (w >> 10 & 63) << 2) as usize
}
fn narrow_spread(k: u32) -> u32 {
    k & 3 | (k >> 2) << 10
}

impl Buckets {
    fn new(rows: &[&'static Row], bits: u32, spread: fn(u32) -> u32) -> Buckets {
        let key_mask = spread((1 << bits) - 1);
        let mut rows = rows.to_vec();
        rows.sort_by_key(|r| std::cmp::Reverse(r.mask.count_ones()));
        let (mut starts, mut candidates) = (Vec::new(), Vec::new());
        for k in 0..1u32 << bits {
            starts.push(candidates.len() as u32);
            let word = spread(k);
            for &row in rows.iter().filter(|r| (word ^ r.value) & r.mask & key_mask == 0) {
                candidates.push(Candidate { mask: row.mask, value: row.value, row });
            }
        }
        starts.push(candidates.len() as u32);
        Buckets { starts, candidates }
    }
    #[inline(always)]
    fn find(&self, k: usize, w: u32) -> Option<&'static Row> {
        let (from, to) = (*self.starts.get(k)? as usize, *self.starts.get(k + 1)? as usize);
        self.candidates.get(from..to)?.iter().find(|c| w & c.mask == c.value).map(|c| c.row)
    }
}

/// Finds rows for one CPU model.
pub struct Decoder {
    wide: Buckets,
    narrow: Buckets,
    rows: Vec<&'static Row>,
}

impl Decoder {
    /// A decoder of the instructions that a model has.
    pub fn new(extensions: Extensions, xlen: u32) -> Decoder {
        let rows: Vec<&'static Row> = TABLES
            .iter()
            .flat_map(|t| t.iter())
            .filter(|r| extensions.has(r.extension))
            .filter(|r| match r.xlen {
                Xlen::Any => true,
                Xlen::Rv32 => xlen == 32,
                Xlen::Rv64 => xlen == 64,
            })
            .collect();
        let of_length = |n: u8| rows.iter().copied().filter(|r| r.length == n).collect::<Vec<_>>();
        Decoder {
            wide: Buckets::new(&of_length(4), 12, wide_spread),
            narrow: Buckets::new(&of_length(2), 8, narrow_spread),
            rows,
        }
    }
    /// The instruction whose bits are `word`; a compressed one in the low half.
    #[inline]
    pub fn decode(&self, word: u32) -> Option<&'static Row> {
        if word & 3 == 3 {
            self.wide.find(wide_key(word), word)
        } else {
            self.narrow.find(narrow_key(word), word & 0xffff)
        }
    }
    /// All instructions of the model.
    pub fn rows(&self) -> &[&'static Row] {
        &self.rows
    }
}

/// The rows that one hart has met last, by a hash of their bits: it meets few different words.
pub struct Recent(Box<[(u32, Option<&'static Row>)]>);

/// log2 of the entries of [`Recent`].
const RECENT_LOG2: u32 = 10;

impl Recent {
    /// An empty memory for `decoder`.
    pub fn new(decoder: &Decoder) -> Recent {
        Recent(vec![(0, decoder.decode(0)); 1 << RECENT_LOG2].into())
    }
    /// As [`Decoder::decode`], by the decoder that it was made for.
    #[inline]
    pub fn decode(&mut self, decoder: &Decoder, word: u32) -> Option<&'static Row> {
        let entry = &mut self.0[(word.wrapping_mul(0x9e37_79b1) >> (32 - RECENT_LOG2)) as usize];
        if entry.0 != word {
            *entry = (word, decoder.decode(word));
        }
        entry.1
    }
}

/// Whether an instruction that begins with these 16 bits has 32.
pub fn is_wide(first: u16) -> bool {
    first & 3 == 3
}
