//! Storage that is no bus device.

pub mod nvme;
pub mod pflash_cfi01;
