//! Storage that is no bus device.

pub mod pflash_cfi01;
