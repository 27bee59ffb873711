//! Passes over the intermediate language, in the order in which a block takes them:
//!
//! 1. [`dead`] (backward): which instructions nobody needs, among them slots that are written again before anyone can look, and of which values
//!    nobody needs more than the low half.
//! 2. [`rewrite`] (forward, into a new list): copies what is needed, and at each instruction asks the rules: [`algebra`]
//!    (identities, strength), [`extend`] (extensions that [`facts`] prove superfluous), [`boolean`] (comparisons of
//!    truth values), [`boxing`] (NaN boxes opened again), [`target`] (jumps to known places), [`rotate`] (two shifts that
//!    are a rotation). [`rebase`] makes addresses
//!    relative to what a register holds now.
//!
//! Each rule looks at one instruction and its operands' definitions and gives what should stand there instead. The builder has
//! folded constants and followed slots already; the rules are for what it cannot see.
//!
//! Two walks in all: a block waits for them.
#![forbid(unsafe_code)]

pub mod algebra;
pub mod boolean;
pub mod boxing;
pub mod dead;
pub mod extend;
pub mod facts;
pub mod rebase;
pub mod rewrite;
pub mod rotate;
pub mod target;

use ir::{Block, HelperInfo};

/// The passes, with the tables they keep from block to block.
#[derive(Default)]
pub struct Pipeline {
    dead: dead::Dead,
    rewrite: rewrite::Rewriter,
}

impl Pipeline {
    /// Empty tables.
    pub fn new() -> Pipeline {
        Pipeline::default()
    }
    /// Improves `block`, which is a `region` or not.
    pub fn run(&mut self, block: &mut Block, helpers: &dyn Fn(u16) -> HelperInfo, region: bool) {
        self.dead.mark(block, helpers, region);
        self.rewrite.run(block, &self.dead);
    }
}

/// Improves one block; [`Pipeline`] does it without allocating.
pub fn run(block: &mut Block, helpers: &dyn Fn(u16) -> HelperInfo, region: bool) {
    Pipeline::new().run(block, helpers, region);
}
