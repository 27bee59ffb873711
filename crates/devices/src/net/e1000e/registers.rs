//! The registers (10.2): where they are, which of their bits can be written, and what they are after a reset.

use std::sync::OnceLock;

use state::State;

/// Offsets.
#[allow(missing_docs)]
pub mod at {
    pub const CTRL: u32 = 0x0000;
    pub const CTRL_DUP: u32 = 0x0004;
    pub const STATUS: u32 = 0x0008;
    pub const EEC: u32 = 0x0010;
    pub const EERD: u32 = 0x0014;
    pub const CTRL_EXT: u32 = 0x0018;
    pub const MDIC: u32 = 0x0020;
    pub const VET: u32 = 0x0038;
    pub const ICR: u32 = 0x00c0;
    pub const ICS: u32 = 0x00c8;
    pub const IMS: u32 = 0x00d0;
    pub const IMC: u32 = 0x00d8;
    pub const EIAC: u32 = 0x00dc;
    pub const IAM: u32 = 0x00e0;
    pub const IVAR: u32 = 0x00e4;
    pub const RCTL: u32 = 0x0100;
    pub const TCTL: u32 = 0x0400;
    pub const EEWR: u32 = 0x102c;
    pub const PSRCTL: u32 = 0x2170;
    pub const RDBAL: u32 = 0x2800;
    pub const RDT: u32 = 0x2818;
    pub const TDBAL: u32 = 0x3800;
    pub const TDT: u32 = 0x3818;
    pub const TARC: u32 = 0x3840;
    pub const RXCSUM: u32 = 0x5000;
    pub const RFCTL: u32 = 0x5008;
    pub const MTA: u32 = 0x5200;
    pub const RAL: u32 = 0x5400;
    pub const VFTA: u32 = 0x5600;
    pub const SWSM: u32 = 0x5b50;
    pub const SYSTIML: u32 = 0xb600;
    pub const SYSTIMH: u32 = 0xb604;
    pub const TIMINCA: u32 = 0xb608;
}

/// Where the second queue's registers lie, beyond those of the first.
pub const SECOND: u32 = 0x100;
/// Beyond this the time registers alone are kept.
const PLAIN_END: u32 = 0x6000;
const TIME: std::ops::Range<u32> = 0xb600..0xb640;
const WORDS: usize = ((PLAIN_END + 0x40) / 4) as usize;

/// First offset, how many, which bits can be written, value after reset.
type Row = (u32, u32, u32, u32);

const ALL: u32 = u32::MAX;

/// What can be read back. Statistics and what is computed stand elsewhere.
const ROWS: &[Row] = &[
    (at::CTRL, 1, 0xfbff_ffff, 0x0014_0241),
    (at::EEC, 1, 0x0000_0077, 0x0000_0300),
    (at::CTRL_EXT, 1, 0xffff_cfff, 0),
    (0x001c, 1, ALL, 0),
    // Flow control: addresses, type, VLAN type, timer.
    (0x0028, 1, ALL, 0),
    (0x002c, 2, 0xffff, 0),
    (at::VET, 1, 0xffff, 0x8100),
    // ITR, auto clear and auto mask, IVAR, EITR.
    (0x00c4, 1, 0xffff, 0),
    (at::EIAC, 1, 0x01f0_0000, 0),
    (at::IAM, 1, ALL, 0),
    (at::IVAR, 1, ALL, 0),
    (0x00e8, 5, 0xffff, 0),
    (at::RCTL, 1, ALL, 0),
    (0x0170, 1, 0xffff, 0),
    (at::TCTL, 1, ALL, 0),
    (0x0410, 1, ALL, 0x0060_2008),
    (0x0458, 1, 0xffff, 0),
    // LEDs; ownership of configuration, PHY control.
    (0x0e00, 1, ALL, 0x0006_8302),
    (0x0f00, 1, ALL, 0x0000_0008),
    (0x0f08, 1, ALL, 0),
    (0x0f10, 1, ALL, 0x0000_030d),
    // Packet buffer; management of the EEPROM.
    (0x1000, 1, ALL, 0x0014_0014),
    (0x1008, 1, 0x3f, 0x28),
    (0x1010, 1, ALL, 0x8000_0000),
    (0x1028, 1, 0xffff, 2),
    (at::EEWR, 1, 0, 2),
    (0x1030, 4, ALL, 0),
    (0x1050, 1, ALL, 1),
    // Flow control thresholds, packet split.
    (0x2160, 1, 0x8000_fff8, 0),
    (0x2168, 1, 0xfff8, 0),
    (at::PSRCTL, 1, ALL, 0x0004_0402),
    (0x2410, 1, 0x1fff, 0),
    (0x2418, 1, 0x1fff, 0),
    (0x2420, 1, 0x1fff, 0),
    (0x2428, 1, 0x1fff, 0),
    (0x2430, 1, 0x1fff, 0),
    // Receive queues: base, length, head, tail, delay, control.
    (0x2800, 1, 0xffff_fff0, 0),
    (0x2804, 1, ALL, 0),
    (0x2808, 1, 0x000f_ff80, 0),
    (0x2810, 1, 0xffff, 0),
    (0x2818, 1, 0xffff, 0),
    (0x2820, 1, 0xffff, 0),
    (0x2828, 1, ALL, 0x0001_0000),
    (0x282c, 1, 0xffff, 0),
    (0x2900, 1, 0xffff_fff0, 0),
    (0x2904, 1, ALL, 0),
    (0x2908, 1, 0x000f_ff80, 0),
    (0x2910, 1, 0xffff, 0),
    (0x2918, 1, 0xffff, 0),
    (0x2928, 1, ALL, 0x0001_0000),
    (0x2c00, 1, 0xfff, 0),
    (0x2c08, 1, 0xffff, 0),
    (0x3410, 1, 0x1fff, 0x600),
    (0x3418, 1, 0x1fff, 0x600),
    (0x3420, 1, 0x1fff, 0x600),
    (0x3428, 1, 0x1fff, 0x600),
    (0x3430, 1, 0x1fff, 0),
    // Transmit queues.
    (0x3800, 1, 0xffff_fff0, 0),
    (0x3804, 1, ALL, 0),
    (0x3808, 1, 0x000f_ff80, 0),
    (0x3810, 1, 0xffff, 0),
    (0x3818, 1, 0xffff, 0),
    (0x3820, 1, 0xffff, 0),
    (0x3828, 1, ALL, 0),
    (0x382c, 1, 0xffff, 0),
    (at::TARC, 1, 0x7800_07ff, 0x403),
    (0x3900, 1, 0xffff_fff0, 0),
    (0x3904, 1, ALL, 0),
    (0x3908, 1, 0x000f_ff80, 0),
    (0x3910, 1, 0xffff, 0),
    (0x3918, 1, 0xffff, 0),
    (0x3928, 1, ALL, 0),
    (at::TARC + SECOND, 1, 0x7800_07ff, 0x403),
    // Receive filters, checksums, wake-up, management.
    (at::RXCSUM, 1, ALL, 0x300),
    (at::RFCTL, 1, ALL, 0),
    (0x5010, 4, ALL, 0),
    (at::MTA, 128, ALL, 0),
    (at::RAL, 32, ALL, 0),
    (at::VFTA, 128, ALL, 0),
    (0x5800, 1, ALL, 0),
    (0x5808, 1, ALL, 0),
    (0x5810, 1, ALL, 0),
    (0x5818, 1, ALL, 0),
    (0x5820, 3, ALL, 0),
    (0x5830, 1, ALL, 0),
    (0x5838, 1, ALL, 0),
    (0x5840, 7, ALL, 0),
    (0x5860, 1, ALL, 0),
    (0x5880, 12, ALL, 0),
    (0x5a00, 32, ALL, 0),
    (0x5b00, 1, ALL, 0x0680_0000),
    (0x5b08, 1, ALL, 0),
    (0x5b10, 7, ALL, 0),
    (0x5b30, 1, ALL, 0x2000_0004),
    (at::SWSM, 1, 1, 1),
    (0x5b64, 1, ALL, 0),
    (0x5b68, 1, 0x1f, 0),
    // Receive-side scaling: kept, not used.
    (0x5c00, 64, ALL, 0),
    // Time.
    (at::TIMINCA, 2, ALL, 0),
    (0xb614, 1, 0x10, 0),
    (0xb620, 1, 0x1e, 0),
    (0xb634, 1, ALL, 0x88f7),
    (0xb638, 1, ALL, 0x319),
];

fn index(offset: u32) -> Option<usize> {
    match offset {
        _ if offset < PLAIN_END => Some((offset / 4) as usize),
        _ if TIME.contains(&offset) => Some(((PLAIN_END + offset - TIME.start) / 4) as usize),
        _ => None,
    }
}

/// For each register which bits can be written, and its value after reset.
fn table() -> &'static [(u32, u32)] {
    static TABLE: OnceLock<Vec<(u32, u32)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = vec![(0, 0); WORDS];
        for &(first, count, mask, reset) in ROWS {
            for n in 0..count {
                if let Some(entry) = index(first + 4 * n).and_then(|at| table.get_mut(at)) {
                    *entry = (mask, reset);
                }
            }
        }
        // Management: ARP goes to the host.
        if let Some(manc) = index(0x5820).and_then(|at| table.get_mut(at)) {
            manc.1 = 0x1000_0000;
        }
        table
    })
}

/// Where a register of earlier chips is now (10.2.1.2).
pub fn canonical(offset: u32) -> u32 {
    match offset {
        at::CTRL_DUP => at::CTRL,
        0x0040..=0x00bc => at::RAL + offset - 0x40,
        0x0108 => 0x2820,
        0x0110..=0x0118 => 0x2800 + offset - 0x110,
        0x0120 | 0x0128 => 0x2810 + offset - 0x120,
        0x0200..=0x03fc => at::MTA + offset - 0x200,
        0x0420..=0x0428 => 0x3800 + offset - 0x420,
        0x0430 | 0x0438 => 0x3810 + offset - 0x430,
        0x0440 => 0x3820,
        0x0600..=0x07fc => at::VFTA + offset - 0x600,
        _ => offset,
    }
}

/// The registers that keep what is written to them.
#[derive(Clone, Debug, Default, State)]
#[state(name = "e1000e-registers", post_load = Self::check)]
pub struct File(Vec<u32>);

impl File {
    /// All as they are after a reset.
    pub fn new() -> Self {
        Self(table().iter().map(|(_, reset)| *reset).collect())
    }

    fn check(&mut self, _: u32) -> Result<(), String> {
        if self.0.len() == WORDS { Ok(()) } else { Err("there are other registers".into()) }
    }

    /// A register's value; 0 where there is none.
    pub fn get(&self, offset: u32) -> u32 {
        index(offset).and_then(|at| self.0.get(at)).copied().unwrap_or(0)
    }

    /// Sets a register, whatever can be written of it.
    pub fn set(&mut self, offset: u32, value: u32) {
        if let Some(register) = index(offset).and_then(|at| self.0.get_mut(at)) {
            *register = value;
        }
    }

    /// The guest writes a register.
    pub fn write(&mut self, offset: u32, value: u32) {
        let mask = index(offset).and_then(|at| table().get(at)).map_or(0, |(mask, _)| *mask);
        let before = self.get(offset);
        self.set(offset, before & !mask | value & mask);
    }
}
