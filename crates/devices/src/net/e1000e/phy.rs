//! The transceiver (10.5; registers 0 to 15 are those of IEEE 802.3 clause 22), which finds its partner at once.

use state::State;

const CONTROL: u32 = 0;
const STATUS: u32 = 1;
const COPPER_STATUS: u32 = 17;
const PAGE: u32 = 22;

const CONTROL_RESET: u16 = 1 << 15;
const CONTROL_LOOPBACK: u16 = 1 << 14;
const CONTROL_POWER_DOWN: u16 = 1 << 11;
const CONTROL_RESTART: u16 = 1 << 9;
/// Link up, and negotiation over.
const STATUS_LINK: u16 = 0x0024;
/// Speed and duplex resolved, link up.
const COPPER_LINK: u16 = 0x0c00;

/// Page (0 where all pages share the register), register, value after reset, whether it can be written.
const ROWS: &[(u16, u32, u16, bool)] = &[
    (0, CONTROL, 0x1140, true),
    (0, STATUS, 0x7949, false),
    (0, 2, 0x0141, false),
    (0, 3, 0x0cb1, false),
    (0, 4, 0x0de1, true),
    // The partner can do all, too.
    (0, 5, 0x07e0, false),
    (0, 6, 0x0005, false),
    (0, 7, 0x2001, true),
    (0, 8, 0x0000, true),
    (0, 9, 0x0f00, true),
    (0, 10, 0x3c00, false),
    (0, 15, 0x3000, false),
    (0, 16, 0x3360, true),
    // 1000 Mb/s, full duplex.
    (0, COPPER_STATUS, 0xa008, false),
    (0, 18, 0x0000, true),
    (0, 19, 0x0000, false),
    (0, 20, 0x0000, true),
    (0, 21, 0x0000, false),
    (0, PAGE, 0x0000, true),
    (0, 25, 0x0000, true),
    (0, 26, 0x0000, true),
    (0, 29, 0x0000, true),
    (0, 30, 0x0000, true),
    (2, 16, 0x0088, true),
    (2, 18, 0x0000, true),
    (2, 19, 0x0000, false),
    (2, 21, 0x1046, true),
    (3, 16, 0x0000, true),
    (3, 17, 0x0000, true),
    (3, 18, 0x4005, true),
    (3, 19, 0x0000, true),
    (5, 20, 0x0000, true),
    (5, 21, 0x0000, true),
];

/// The transceiver's registers, in the order of their table.
#[derive(Clone, Debug, Default, State)]
#[state(name = "e1000e-phy", post_load = Self::check)]
pub struct Phy {
    registers: Vec<u16>,
}

impl Phy {
    /// After a reset.
    pub fn new() -> Self {
        Self { registers: ROWS.iter().map(|(_, _, value, _)| *value).collect() }
    }

    fn check(&mut self, _: u32) -> Result<(), String> {
        if self.registers.len() == ROWS.len() { Ok(()) } else { Err("there are other registers".into()) }
    }

    fn row(&self, number: u32) -> Option<usize> {
        let shared = number < 16 || matches!(number, PAGE | 25 | 26 | 29 | 30);
        let page = if shared { 0 } else { self.on_page_0(PAGE) & 0xff };
        ROWS.iter().position(|(p, n, ..)| (*p, *n) == (page, number))
    }

    fn on_page_0(&self, number: u32) -> u16 {
        let at = ROWS.iter().position(|(p, n, ..)| (*p, *n) == (0, number));
        at.and_then(|at| self.registers.get(at)).copied().unwrap_or(0)
    }

    /// Whether the transceiver has a link, if the cable has.
    pub fn is_powered(&self) -> bool {
        self.on_page_0(CONTROL) & CONTROL_POWER_DOWN == 0
    }

    /// Whether what is sent comes back.
    pub fn loops_back(&self) -> bool {
        self.on_page_0(CONTROL) & CONTROL_LOOPBACK != 0
    }

    /// Reads a register, with the link up or down; nothing where there is none.
    pub fn read(&self, number: u32, link: bool) -> Option<u16> {
        let row = self.row(number)?;
        let value = *self.registers.get(row)?;
        let page_0 = ROWS.get(row)?.0 == 0;
        Some(match number {
            STATUS if link => value | STATUS_LINK,
            COPPER_STATUS if link && page_0 => value | COPPER_LINK,
            _ => value,
        })
    }

    /// Writes a register; false where there is none.
    pub fn write(&mut self, number: u32, value: u16) -> bool {
        let Some(row) = self.row(number) else { return false };
        if number == CONTROL && value & CONTROL_RESET != 0 {
            *self = Self::new();
        } else if ROWS.get(row).is_some_and(|(.., writable)| *writable)
            && let Some(register) = self.registers.get_mut(row)
        {
            *register = if number == CONTROL { value & !CONTROL_RESTART } else { value };
        }
        true
    }
}
