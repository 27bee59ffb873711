//! The built-in supervisor execution environment: SBI 2.0 served by the emulator itself.
//!
//! RISC-V Supervisor Binary Interface Specification, version 2.0. With `-bios builtin` no firmware
//! runs: harts have no M-mode software, the kernel is entered in S-mode, and an `ecall` from S-mode
//! does not trap but comes here. What a hart is ([`SbiHart`]) and what a machine can do
//! ([`SbiPlatform`]) are traits, so that the extensions can be tested with neither.
//!
//! Present: base, TIME, IPI, RFENCE, HSM, SRST, DBCN and the legacy extensions 0 to 8. Absent, and
//! said so by `sbi_probe_extension`: PMU, SUSP, NACL, STA, CPPC.
//!
//! Before it enters S-mode (boot hart and [`SbiPlatform::start_hart`] alike) the machine sets the
//! M-mode state that firmware would: the constants [`MEDELEG`], [`MIDELEG`], [`MCOUNTEREN`] and
//! [`MENVCFG`], and one PMP entry that opens all of memory; then `satp` = 0, `sstatus.SIE` = 0,
//! `a0` = hart id and `a1` = device tree address or the opaque argument.

mod console;
mod harts;
mod legacy;

pub use harts::{Fence, HartState, HartTargets};

/// Exceptions to be delegated: all but the environment calls that end here (from S-mode) and those
/// that cannot be delegated (from M-mode). There is no M-mode software to take anything else.
pub const MEDELEG: u64 = 0x00f0_b5ff;
/// Interrupts to be delegated: supervisor software, timer, external; counter overflow.
pub const MIDELEG: u64 = 0x2222;
/// Counters that S-mode may read: all.
pub const MCOUNTEREN: u64 = 0xffff_ffff;
/// `menvcfg` bits STCE, PBMTE, ADUE, CBZE, CBCFE and CBIE: what the hart does not have reads as zero.
pub const MENVCFG: u64 = 0xe000_0000_0000_00f0;

/// Version 2.0 in the encoding of `sbi_get_spec_version`: major in bits 30 to 24, minor below.
pub const SPECIFICATION_VERSION: u64 = 2 << 24;
/// Our implementation id: not one of the registered ones (which are small), "Tina" in ASCII.
pub const IMPLEMENTATION_ID: u64 = 0x5469_6e61;
/// Our implementation version.
pub const IMPLEMENTATION_VERSION: u64 = 1;

/// Extension ids (EIDs).
mod extension {
    pub const BASE: u64 = 0x10;
    pub const TIME: u64 = 0x5449_4d45;
    pub const IPI: u64 = 0x0073_5049;
    pub const RFENCE: u64 = 0x5246_4e43;
    pub const HSM: u64 = 0x0048_534d;
    pub const SRST: u64 = 0x5352_5354;
    pub const DBCN: u64 = 0x4442_434e;
}

/// The standard SBI errors (table "Standard SBI Errors").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum SbiError {
    /// Failed for no better-named reason.
    Failed = -1,
    /// Unknown extension or function, or not possible here.
    NotSupported = -2,
    /// An argument is invalid.
    InvalidParam = -3,
    /// Not allowed.
    Denied = -4,
    /// An address is invalid.
    InvalidAddress = -5,
    /// The hart is already started.
    AlreadyAvailable = -6,
    /// Already started.
    AlreadyStarted = -7,
    /// Already stopped.
    AlreadyStopped = -8,
    /// Shared memory is not available.
    NoShmem = -9,
}

/// What a function returns: `sbiret.value`, or `sbiret.error` with a value of zero.
pub type SbiResult = Result<u64, SbiError>;

/// The hart that executes the `ecall`.
pub trait SbiHart {
    /// An exception taken while reading memory for the hart.
    type Fault;

    /// `mhartid`.
    fn hart_id(&self) -> u64;
    /// 32 or 64.
    fn xlen(&self) -> u32;
    /// Register `a0` to `a7` (`n` 0 to 7), zero-extended if XLEN is 32.
    fn argument(&self, n: usize) -> u64;
    /// Sets `a0` or `a1` (`n` 0 or 1) to the low XLEN bits of `value`.
    fn set_result(&mut self, n: usize, value: u64);
    /// Reads XLEN bits at a virtual address, aligned to XLEN, with S-mode's rights and translation.
    ///
    /// # Errors
    /// The page fault or access fault that a load instruction would take.
    fn load_word(&mut self, virtual_address: u64) -> Result<u64, Self::Fault>;
    /// Clears `sip.SSIP`; tells whether it was set.
    fn clear_software_interrupt(&mut self) -> bool;
    /// `mvendorid`, `marchid` and `mimpid`.
    fn identity(&self) -> [u64; 3];
}

/// The machine around the harts. All methods may be called on any hart's thread at once.
pub trait SbiPlatform {
    /// One more than the largest hart id.
    fn hart_limit(&self) -> u64;
    /// Whether this hart exists and may run S-mode.
    fn has_hart(&self, hart: u64) -> bool {
        hart < self.hart_limit()
    }
    /// The HSM state of a hart for which [`SbiPlatform::has_hart`] holds.
    fn hart_state(&self, hart: u64) -> HartState;
    /// Starts a stopped hart in S-mode as `entry` says. Finding it stopped and starting it are one
    /// step: of two harts that start the same third one, one gets the error.
    ///
    /// # Errors
    /// [`SbiError::AlreadyAvailable`] if it is not stopped.
    fn start_hart(&self, hart: u64, entry: Entry) -> Result<(), SbiError>;
    /// Sets `sip.SSIP` of the harts.
    fn send_ipi(&self, targets: HartTargets);
    /// Performs a fence on the harts, the calling one included if it is among them; returns when all
    /// have done so, or are certain to before their next instruction.
    ///
    /// # Errors
    /// [`SbiError::NotSupported`] for a hypervisor fence if a target has no hypervisor extension.
    fn remote_fence(&self, targets: HartTargets, fence: Fence) -> Result<(), SbiError>;
    /// Clears the supervisor timer interrupt of the hart and raises it when `time` reaches `deadline`.
    fn set_timer(&self, hart: u64, deadline: u64);
    /// Whether all of these bytes of guest physical memory exist and S-mode may do this with them.
    fn is_allowed(&self, access: Access, address: u64, size: u64) -> bool;
    /// Copies from guest physical memory that S-mode may read; false if any of it is not.
    fn read_memory(&self, address: u64, bytes: &mut [u8]) -> bool;
    /// Copies to guest physical memory that S-mode may write; false if any of it is not.
    fn write_memory(&self, address: u64, bytes: &[u8]) -> bool;
    /// Writes to the debug console as many bytes as it takes without blocking; returns how many.
    ///
    /// # Errors
    /// [`SbiError::Failed`] for an I/O error, [`SbiError::Denied`] if there is no console.
    fn console_write(&self, bytes: &[u8]) -> Result<usize, SbiError>;
    /// Reads what has come in on the debug console, without blocking; returns the number of bytes.
    ///
    /// # Errors
    /// As for [`SbiPlatform::console_write`].
    fn console_read(&self, bytes: &mut [u8]) -> Result<usize, SbiError>;
}

/// What is done with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Write to it.
    Write,
    /// Execute from it.
    Execute,
}

/// Where a hart begins in S-mode, with `satp` = 0, `sstatus.SIE` = 0 and its id in `a0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Physical address of the first instruction.
    pub address: u64,
    /// What `a1` holds.
    pub opaque: u64,
}

/// A kind of system reset (table "SRST System Reset Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetType {
    /// Power off.
    Shutdown,
    /// Power off and on again.
    ColdReboot,
    /// Reset the harts and parts of the system.
    WarmReboot,
}

/// Why a reset is asked for (table "SRST System Reset Reasons").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// None given.
    None,
    /// The guest has failed.
    SystemFailure,
}

/// How the hart goes on after its `ecall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<F> {
    /// With the next instruction; the results are in its registers.
    Resume,
    /// With the next instruction, after waiting for an interrupt as WFI does: the results are in its
    /// registers, its HSM state is `Suspended` meanwhile.
    Suspend,
    /// At an entry point, after waiting for an interrupt: a non-retentive suspend.
    SuspendThenEnter(Entry),
    /// Not at all: its HSM state is to be `Stopped` from now on.
    Stop,
    /// Not at all: the system is to be reset or powered off.
    Reset(ResetType, ResetReason),
    /// With this exception, `sepc` pointing to the `ecall`.
    Fault(F),
}

/// Serves an `ecall` from S-mode (or VS-mode's hypervisor, HS-mode).
pub fn ecall<H: SbiHart>(platform: &impl SbiPlatform, hart: &mut H) -> Outcome<H::Fault> {
    let (eid, fid) = (hart.argument(7), hart.argument(6));
    let result = match eid {
        0..=0xf => return legacy::ecall(platform, hart, eid),
        extension::BASE => base(hart, fid),
        extension::TIME => time(platform, hart, fid),
        extension::IPI => harts::ipi(platform, hart, fid),
        extension::RFENCE => harts::remote_fence(platform, hart, fid),
        extension::DBCN => console::ecall(platform, hart, fid),
        extension::HSM => match harts::state_management(platform, hart, fid) {
            Ok(harts::Change::None(value)) => Ok(value),
            Ok(harts::Change::Stop) => return Outcome::Stop,
            Ok(harts::Change::Suspend) => {
                answer(hart, Ok(0));
                return Outcome::Suspend;
            }
            Ok(harts::Change::SuspendThenEnter(entry)) => return Outcome::SuspendThenEnter(entry),
            Err(error) => Err(error),
        },
        extension::SRST => match system_reset(hart, fid) {
            Ok((kind, reason)) => return Outcome::Reset(kind, reason),
            Err(error) => Err(error),
        },
        _ => Err(SbiError::NotSupported),
    };
    answer(hart, result);
    Outcome::Resume
}

fn answer(hart: &mut impl SbiHart, result: SbiResult) {
    let (error, value) = match result {
        Ok(value) => (0, value),
        Err(error) => (error as i64 as u64, 0),
    };
    hart.set_result(0, error);
    hart.set_result(1, value);
}

/// The largest number a register of the hart holds: also -1 as an argument.
fn register_max(hart: &impl SbiHart) -> u64 {
    if hart.xlen() == 32 { u32::MAX.into() } else { u64::MAX }
}

/// A 64-bit argument that begins in register `n`: two registers if XLEN is 32.
fn long_argument(hart: &impl SbiHart, n: usize) -> u64 {
    if hart.xlen() == 32 { hart.argument(n) | hart.argument(n + 1) << 32 } else { hart.argument(n) }
}

/// Base extension, chapter 4.
fn base(hart: &impl SbiHart, fid: u64) -> SbiResult {
    let [vendor, architecture, implementation] = hart.identity();
    match fid {
        0 => Ok(SPECIFICATION_VERSION),
        1 => Ok(IMPLEMENTATION_ID),
        2 => Ok(IMPLEMENTATION_VERSION),
        3 => Ok(is_present(hart.argument(0)).into()),
        4 => Ok(vendor),
        5 => Ok(architecture),
        6 => Ok(implementation),
        _ => Err(SbiError::NotSupported),
    }
}

fn is_present(eid: u64) -> bool {
    use extension::*;
    matches!(eid, legacy::FIRST..=legacy::LAST | BASE | TIME | IPI | RFENCE | HSM | SRST | DBCN)
}

/// Timer extension, chapter 6.
fn time(platform: &impl SbiPlatform, hart: &impl SbiHart, fid: u64) -> SbiResult {
    match fid {
        0 => {
            platform.set_timer(hart.hart_id(), long_argument(hart, 0));
            Ok(0)
        }
        _ => Err(SbiError::NotSupported),
    }
}

/// System reset extension, chapter 10.
fn system_reset(hart: &impl SbiHart, fid: u64) -> Result<(ResetType, ResetReason), SbiError> {
    if fid != 0 {
        return Err(SbiError::NotSupported);
    }
    // Both parameters are 32 bits wide: what is above is not looked at.
    let kind = match hart.argument(0) as u32 {
        0 => ResetType::Shutdown,
        1 => ResetType::ColdReboot,
        2 => ResetType::WarmReboot,
        _ => return Err(SbiError::InvalidParam),
    };
    let reason = match hart.argument(1) as u32 {
        0 => ResetReason::None,
        1 => ResetReason::SystemFailure,
        _ => return Err(SbiError::InvalidParam),
    };
    Ok((kind, reason))
}

#[cfg(test)]
#[path = "sbi_test.rs"]
mod test;
