//! Network cards, and what a monitor may do with any of them.

pub mod card;
mod checksum;
pub mod e1000e;
