use std::cell::{Cell, RefCell};

use super::*;

const RAM: u64 = 0x8000_0000;
const SUCCESS: u64 = 0;

fn code(error: SbiError) -> u64 {
    error as i64 as u64
}

#[derive(Debug, PartialEq)]
enum Call {
    Start(u64, Entry),
    Ipi(HartTargets),
    Fence(HartTargets, Fence),
    Timer(u64, u64),
}

/// Four harts with numbers 0, 1, 2 and 5, of which 5 is stopped; 64 KiB of RAM; a console that takes
/// `room` bytes.
struct Board {
    calls: RefCell<Vec<Call>>,
    ram: RefCell<Vec<u8>>,
    output: RefCell<Vec<u8>>,
    room: Cell<usize>,
    input: RefCell<Vec<u8>>,
    hypervisor: bool,
}

impl Board {
    fn new() -> Board {
        Board {
            calls: RefCell::default(),
            ram: RefCell::new(vec![0; 0x1_0000]),
            output: RefCell::default(),
            room: Cell::new(usize::MAX),
            input: RefCell::default(),
            hypervisor: false,
        }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.take()
    }

    fn range(&self, address: u64, size: u64) -> Option<std::ops::Range<usize>> {
        let start = address.checked_sub(RAM)?;
        let end = start.checked_add(size).filter(|&end| end <= 0x1_0000)?;
        Some(start as usize..end as usize)
    }
}

impl SbiPlatform for Board {
    fn hart_limit(&self) -> u64 {
        6
    }

    fn has_hart(&self, hart: u64) -> bool {
        [0, 1, 2, 5].contains(&hart)
    }

    fn hart_state(&self, hart: u64) -> HartState {
        if hart == 5 { HartState::Stopped } else { HartState::Started }
    }

    fn start_hart(&self, hart: u64, entry: Entry) -> Result<(), SbiError> {
        if hart != 5 {
            return Err(SbiError::AlreadyAvailable);
        }
        self.calls.borrow_mut().push(Call::Start(hart, entry));
        Ok(())
    }

    fn send_ipi(&self, targets: HartTargets) {
        self.calls.borrow_mut().push(Call::Ipi(targets));
    }

    fn remote_fence(&self, targets: HartTargets, fence: Fence) -> Result<(), SbiError> {
        if !self.hypervisor && matches!(fence, Fence::Gvma { .. } | Fence::Vvma { .. }) {
            return Err(SbiError::NotSupported);
        }
        self.calls.borrow_mut().push(Call::Fence(targets, fence));
        Ok(())
    }

    fn set_timer(&self, hart: u64, deadline: u64) {
        self.calls.borrow_mut().push(Call::Timer(hart, deadline));
    }

    fn is_allowed(&self, _: Access, address: u64, size: u64) -> bool {
        self.range(address, size).is_some()
    }

    fn read_memory(&self, address: u64, bytes: &mut [u8]) -> bool {
        let Some(range) = self.range(address, bytes.len() as u64) else { return false };
        bytes.copy_from_slice(&self.ram.borrow()[range]);
        true
    }

    fn write_memory(&self, address: u64, bytes: &[u8]) -> bool {
        let Some(range) = self.range(address, bytes.len() as u64) else { return false };
        self.ram.borrow_mut()[range].copy_from_slice(bytes);
        true
    }

    fn console_write(&self, bytes: &[u8]) -> Result<usize, SbiError> {
        let count = bytes.len().min(self.room.get());
        self.room.set(self.room.get() - count);
        self.output.borrow_mut().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn console_read(&self, bytes: &mut [u8]) -> Result<usize, SbiError> {
        let mut input = self.input.borrow_mut();
        let count = bytes.len().min(input.len());
        bytes[..count].copy_from_slice(&input[..count]);
        input.drain(..count);
        Ok(count)
    }
}

/// A hart whose virtual memory is one word at each of `words`' addresses.
struct Hart {
    xlen: u32,
    registers: [u64; 8],
    software_interrupt: bool,
    words: Vec<(u64, u64)>,
}

impl SbiHart for Hart {
    type Fault = u64;

    fn hart_id(&self) -> u64 {
        1
    }

    fn xlen(&self) -> u32 {
        self.xlen
    }

    fn argument(&self, n: usize) -> u64 {
        self.registers[n]
    }

    fn set_result(&mut self, n: usize, value: u64) {
        assert!(n < 2);
        self.registers[n] = if self.xlen == 32 { value & 0xffff_ffff } else { value };
    }

    fn load_word(&mut self, virtual_address: u64) -> Result<u64, u64> {
        let word = self.words.iter().find(|(address, _)| *address == virtual_address);
        word.map(|(_, word)| *word).ok_or(virtual_address)
    }

    fn clear_software_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.software_interrupt)
    }

    fn identity(&self) -> [u64; 3] {
        [0, 42, 7]
    }
}

fn hart(xlen: u32, eid: u64, fid: u64, arguments: &[u64]) -> Hart {
    // What a function without a result in a1 must leave alone.
    let mut registers = [0xaaaa; 8];
    registers[..arguments.len()].copy_from_slice(arguments);
    registers[6] = fid;
    registers[7] = eid;
    Hart { xlen, registers, software_interrupt: false, words: Vec::new() }
}

/// Makes a call that resumes; returns `a0` and `a1`.
fn call(board: &Board, eid: u64, fid: u64, arguments: &[u64]) -> (u64, u64) {
    let mut hart = hart(64, eid, fid, arguments);
    let before = hart.registers;
    assert_eq!(ecall(board, &mut hart), Outcome::Resume);
    assert_eq!(hart.registers[2..], before[2..]);
    (hart.registers[0], hart.registers[1])
}

#[test]
fn base_extension() {
    let board = &Board::new();
    let get = |fid| call(board, extension::BASE, fid, &[0]);
    assert_eq!(get(0), (SUCCESS, 0x0200_0000));
    assert_eq!(get(1), (SUCCESS, IMPLEMENTATION_ID));
    assert_eq!(get(4), (SUCCESS, 0));
    assert_eq!(get(5), (SUCCESS, 42));
    assert_eq!(get(6), (SUCCESS, 7));
    assert_eq!(get(7), (code(SbiError::NotSupported), 0));
    let probe = |eid| call(board, extension::BASE, 3, &[eid]);
    for eid in [0, 8, 0x10, 0x5449_4d45, 0x73_5049, 0x5246_4e43, 0x48_534d, 0x5352_5354, 0x4442_434e] {
        assert_eq!(probe(eid), (SUCCESS, 1), "{eid:#x}");
    }
    // Reserved legacy, PMU, SUSP, nonsense.
    for eid in [9, 0xf, 0x50_4d55, 0x5355_5350, u64::MAX] {
        assert_eq!(probe(eid), (SUCCESS, 0), "{eid:#x}");
        assert_eq!(call(board, eid, 0, &[]), (code(SbiError::NotSupported), 0));
    }
    assert!(board.calls().is_empty());
}

#[test]
fn every_extension_refuses_unknown_functions() {
    use extension::*;
    let board = &Board::new();
    for eid in [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN] {
        for fid in [99, u64::MAX] {
            assert_eq!(call(board, eid, fid, &[0; 6]), (code(SbiError::NotSupported), 0), "{eid:#x}");
        }
    }
    assert!(board.calls().is_empty());
}

#[test]
fn timer() {
    let board = &Board::new();
    assert_eq!(call(board, extension::TIME, 0, &[u64::MAX]), (SUCCESS, 0));
    assert_eq!(board.calls(), [Call::Timer(1, u64::MAX)]);
    let mut hart = hart(32, extension::TIME, 0, &[0x8765_4321, 0x12]);
    assert_eq!(ecall(board, &mut hart), Outcome::Resume);
    assert_eq!(board.calls(), [Call::Timer(1, 0x12_8765_4321)]);
}

#[test]
fn hart_masks() {
    let board = &Board::new();
    let ipi = |mask, base| call(board, extension::IPI, 0, &[mask, base]);
    assert_eq!(ipi(0b11, 1), (SUCCESS, 0));
    assert_eq!(board.calls(), [Call::Ipi(HartTargets::Mask { base: 1, mask: 0b11 })]);
    assert_eq!(ipi(1, u64::MAX), (SUCCESS, 0));
    assert_eq!(board.calls(), [Call::Ipi(HartTargets::All)]);
    assert_eq!(ipi(0, 0), (SUCCESS, 0));
    board.calls();
    for (mask, base) in [(0b1000, 0), (1, 3), (1, 6), (0, 6), (1 << 63, 0), (0b10, 5), (0b11, u64::MAX - 1)] {
        assert_eq!(ipi(mask, base), (code(SbiError::InvalidParam), 0), "{mask:#b} {base}");
    }
    assert!(board.calls().is_empty());

    let mut hart = hart(32, extension::IPI, 0, &[0, 0xffff_ffff]);
    ecall(board, &mut hart);
    assert_eq!(board.calls(), [Call::Ipi(HartTargets::All)]);
    let mut hart = self::hart(32, extension::IPI, 0, &[8, 0]);
    ecall(board, &mut hart);
    assert_eq!(hart.registers[0], 0xffff_fffd);

    let set = HartTargets::Mask { base: 1, mask: 1 << 63 | 1 };
    assert!(set.contains(1) && set.contains(64) && !set.contains(0) && !set.contains(2) && !set.contains(65));
}

#[test]
fn remote_fences() {
    let mut board = Board::new();
    let fence =
        |board: &Board, fid, start, size| call(board, extension::RFENCE, fid, &[1, 0, start, size, 9]);
    let all = (0, u64::MAX);
    for (start, size, expected) in [
        (0, 0, all),
        (0x1000, u64::MAX, all),
        (0x1000, 0x2000, (0x1000, 0x2000)),
        (0u64.wrapping_sub(0x1000), 0x1000, (0u64.wrapping_sub(0x1000), 0x1000)),
    ] {
        let targets = HartTargets::Mask { base: 0, mask: 1 };
        let (start_seen, size_seen) = expected;
        assert_eq!(fence(&board, 1, start, size), (SUCCESS, 0));
        let seen = Fence::Vma { start: start_seen, size: size_seen, asid: None };
        assert_eq!(board.calls(), [Call::Fence(targets, seen)]);
        assert_eq!(fence(&board, 2, start, size), (SUCCESS, 0));
        let seen = Fence::Vma { start: start_seen, size: size_seen, asid: Some(9) };
        assert_eq!(board.calls(), [Call::Fence(targets, seen)]);
    }
    // fence.i takes no range: whatever is in the registers does not matter.
    assert_eq!(fence(&board, 0, u64::MAX, 7), (SUCCESS, 0));
    assert_eq!(board.calls(), [Call::Fence(HartTargets::Mask { base: 0, mask: 1 }, Fence::Instruction)]);
    for fid in 1..7 {
        assert_eq!(fence(&board, fid, u64::MAX, 2), (code(SbiError::InvalidAddress), 0));
    }
    assert_eq!(call(&board, extension::RFENCE, 1, &[0b1000, 0, 0, 0]), (code(SbiError::InvalidParam), 0));
    for fid in 3..7 {
        assert_eq!(fence(&board, fid, 0, 0), (code(SbiError::NotSupported), 0));
    }
    assert!(board.calls().is_empty());
    board.hypervisor = true;
    for fid in 3..7 {
        assert_eq!(fence(&board, fid, 0, 0), (SUCCESS, 0));
    }
    let (start, size) = all;
    let fences: Vec<_> = board.calls();
    let kinds = [
        Fence::Gvma { start, size, vmid: Some(9) },
        Fence::Gvma { start, size, vmid: None },
        Fence::Vvma { start, size, asid: Some(9) },
        Fence::Vvma { start, size, asid: None },
    ];
    for (seen, kind) in fences.iter().zip(kinds) {
        assert_eq!(*seen, Call::Fence(HartTargets::Mask { base: 0, mask: 1 }, kind));
    }
}

#[test]
fn ranges_of_32_bit_harts() {
    let board = &Board::new();
    let fence = |start, size| {
        let mut hart = hart(32, extension::RFENCE, 1, &[1, 0, start, size]);
        ecall(board, &mut hart);
        (hart.registers[0], board.calls().pop())
    };
    let targets = HartTargets::Mask { base: 0, mask: 1 };
    let vma = |start, size| Some(Call::Fence(targets, Fence::Vma { start, size, asid: None }));
    assert_eq!(fence(0x1000, 0xffff_ffff), (SUCCESS, vma(0, u64::MAX)));
    assert_eq!(fence(0xffff_f000, 0x1000), (SUCCESS, vma(0xffff_f000, 0x1000)));
    assert_eq!(fence(0xffff_f000, 0x1001), (0xffff_fffb, None));
}

#[test]
fn hart_state_management() {
    let board = &Board::new();
    let hsm = |fid, arguments: &[u64]| call(board, extension::HSM, fid, arguments);
    assert_eq!(hsm(0, &[5, RAM + 2, 77]), (SUCCESS, 0));
    assert_eq!(board.calls(), [Call::Start(5, Entry { address: RAM + 2, opaque: 77 })]);
    assert_eq!(hsm(0, &[0, RAM, 0]), (code(SbiError::AlreadyAvailable), 0));
    for hart in [3, 6, u64::MAX] {
        assert_eq!(hsm(0, &[hart, RAM, 0]), (code(SbiError::InvalidParam), 0));
        assert_eq!(hsm(2, &[hart]), (code(SbiError::InvalidParam), 0));
    }
    for address in [0, RAM - 2, RAM + 1, RAM + 0x1_0000, u64::MAX - 1] {
        assert_eq!(hsm(0, &[5, address, 0]), (code(SbiError::InvalidAddress), 0), "{address:#x}");
        assert_eq!(hsm(3, &[0x8000_0000, address, 0]), (code(SbiError::InvalidAddress), 0));
    }
    assert_eq!(hsm(2, &[5]), (SUCCESS, 1));
    assert_eq!(hsm(2, &[2]), (SUCCESS, 0));
    for kind in [1, 0x0fff_ffff, 0x1000_0000, 0x8000_0001, 0xffff_ffff] {
        assert_eq!(hsm(3, &[kind, RAM, 0]), (code(SbiError::InvalidParam), 0));
    }
    assert!(board.calls().is_empty());

    let mut stopping = hart(64, extension::HSM, 1, &[]);
    assert_eq!(ecall(board, &mut stopping), Outcome::Stop);
    let mut waiting = hart(64, extension::HSM, 3, &[0, 0, 0]);
    assert_eq!(ecall(board, &mut waiting), Outcome::Suspend);
    assert_eq!(waiting.registers[..2], [SUCCESS, 0]);
    // A sign-extended 32-bit argument.
    let mut sleeping = hart(64, extension::HSM, 3, &[0xffff_ffff_8000_0000, RAM + 4, 6]);
    let entry = Entry { address: RAM + 4, opaque: 6 };
    assert_eq!(ecall(board, &mut sleeping), Outcome::SuspendThenEnter(entry));
}

#[test]
fn system_resets() {
    let board = &Board::new();
    for (kind, expected) in [(0, ResetType::Shutdown), (1, ResetType::ColdReboot), (2, ResetType::WarmReboot)]
    {
        for (reason, because) in [(0, ResetReason::None), (1, ResetReason::SystemFailure)] {
            let mut hart = hart(64, extension::SRST, 0, &[kind, reason]);
            assert_eq!(ecall(board, &mut hart), Outcome::Reset(expected, because));
        }
    }
    for (kind, reason) in [(3, 0), (0xf000_0000, 0), (0, 2), (0, 0xe000_0000), (1, 0xffff_ffff)] {
        assert_eq!(call(board, extension::SRST, 0, &[kind, reason]), (code(SbiError::InvalidParam), 0));
    }
}

#[test]
fn debug_console() {
    let board = &Board::new();
    let dbcn = |fid, arguments: &[u64]| call(board, extension::DBCN, fid, arguments);
    let text: Vec<u8> = (0..2000u32).map(|n| n as u8).collect();
    assert!(board.write_memory(RAM + 8, &text));
    assert_eq!(dbcn(0, &[2000, RAM + 8, 0]), (SUCCESS, 2000));
    assert_eq!(board.output.take(), text);
    assert_eq!(dbcn(0, &[0, RAM, 0]), (SUCCESS, 0));
    board.room.set(700);
    assert_eq!(dbcn(0, &[2000, RAM + 8, 0]), (SUCCESS, 700));
    assert_eq!(board.output.take(), text[..700]);
    assert_eq!(dbcn(0, &[2000, RAM + 8, 0]), (SUCCESS, 0));
    assert_eq!(dbcn(2, &[b'x'.into()]), (code(SbiError::Failed), 0));
    board.room.set(usize::MAX);
    assert_eq!(dbcn(2, &[0xfff0 | u64::from(b'x' & 0xf)]), (SUCCESS, 0));
    assert_eq!(board.output.take(), [0xf8]);

    board.input.borrow_mut().extend_from_slice(&text[..1500]);
    assert_eq!(dbcn(1, &[1000, RAM, 0]), (SUCCESS, 1000));
    assert_eq!(board.ram.borrow()[..1000], text[..1000]);
    assert_eq!(dbcn(1, &[1000, RAM, 0]), (SUCCESS, 500));
    assert_eq!(dbcn(1, &[1000, RAM, 0]), (SUCCESS, 0));
    board.input.borrow_mut().push(b'k');
    for (count, address, above) in [
        (1, 0, 0),
        (2, RAM + 0xffff, 0),
        (u64::MAX, RAM, 0),
        (1, u64::MAX, 0),
        (1, RAM, 1),
        (u64::MAX - RAM, RAM, 0),
    ] {
        assert_eq!(dbcn(1, &[count, address, above]), (code(SbiError::InvalidParam), 0));
        assert_eq!(dbcn(0, &[count, address, above]), (code(SbiError::InvalidParam), 0));
    }
    assert_eq!(*board.input.borrow(), b"k", "input lost");
}

#[test]
fn legacy_extensions() {
    let board = &Board::new();
    // Nothing is returned in a1.
    assert_eq!(call(board, 0, 5, &[1234, 0xbbbb]), (0, 0xbbbb));
    assert_eq!(board.calls(), [Call::Timer(1, 1234)]);
    assert_eq!(call(board, 1, 5, &[u64::from(b'A'), 0xbbbb]), (0, 0xbbbb));
    assert_eq!(board.output.take(), b"A");
    assert_eq!(call(board, 2, 5, &[0, 0xbbbb]), (u64::MAX, 0xbbbb));
    board.input.borrow_mut().push(200);
    assert_eq!(call(board, 2, 5, &[0, 0xbbbb]), (200, 0xbbbb));
    assert_eq!(call(board, 3, 0, &[0, 0xbbbb]), (0, 0xbbbb));
    let mut interrupted = hart(64, 3, 0, &[]);
    interrupted.software_interrupt = true;
    assert_eq!(ecall(board, &mut interrupted), Outcome::Resume);
    assert_eq!((interrupted.registers[0], interrupted.software_interrupt), (1, false));
    let mut off = hart(64, 8, 0, &[]);
    assert_eq!(ecall(board, &mut off), Outcome::Reset(ResetType::Shutdown, ResetReason::None));
}

#[test]
fn legacy_masks_are_read_from_virtual_memory() {
    let board = &Board::new();
    let address = 0xffff_ffe0_0000_0000;
    let make = |eid, arguments: &[u64], mask| {
        let mut hart = hart(64, eid, 0, arguments);
        hart.words.push((address, mask));
        let outcome = ecall(board, &mut hart);
        (outcome, hart.registers[0])
    };
    // The two highest bits belong to no hart.
    let targets = HartTargets::Mask { base: 0, mask: 0b10_0101 };
    assert_eq!(make(4, &[address], 0xc000_0000_0000_0025), (Outcome::Resume, 0));
    assert_eq!(board.calls(), [Call::Ipi(targets)]);
    assert_eq!(make(5, &[address], 0b10_0101), (Outcome::Resume, 0));
    assert_eq!(make(6, &[address, 0x1000, 0x1000], 0b10_0101), (Outcome::Resume, 0));
    assert_eq!(make(7, &[address, 0, 0, 3], 0b10_0101), (Outcome::Resume, 0));
    let vma = |start, size, asid| Call::Fence(targets, Fence::Vma { start, size, asid });
    let expected =
        [Call::Fence(targets, Fence::Instruction), vma(0x1000, 0x1000, None), vma(0, u64::MAX, Some(3))];
    assert_eq!(board.calls(), expected);

    assert_eq!(make(4, &[0], 0), (Outcome::Resume, 0));
    assert_eq!(board.calls(), [Call::Ipi(HartTargets::All)]);
    assert_eq!(make(4, &[address], 0), (Outcome::Resume, 0));
    assert_eq!(make(4, &[address], 0b1000), (Outcome::Resume, code(SbiError::InvalidParam)));
    assert_eq!(make(6, &[address, u64::MAX, 9], 1), (Outcome::Resume, code(SbiError::InvalidAddress)));
    assert_eq!(make(4, &[address + 8], 1), (Outcome::Fault(address + 8), address + 8));
    assert!(board.calls().is_empty());
}
