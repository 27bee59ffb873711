//! What the machine tells its firmware.

pub mod fw_cfg;
