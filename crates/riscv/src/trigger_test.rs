use super::*;
use crate::bus_test::{Machine, RAM};
use crate::mode::{M, S, U};
use crate::{config, csr};
use cpu::Cpu;

fn machine(program: &[u32]) -> Machine {
    let mut m = Machine::new(config::rv64(), 1 << 16);
    m.program(program);
    m
}
fn set(h: &mut Hart, n: u64, tdata1: u64, tdata2: u64) {
    for (number, v) in [(0x7a0, n), (0x7a2, tdata2), (0x7a1, tdata1)] {
        csr::store(h, csr::find(number).unwrap(), v);
    }
}
fn get(h: &mut Hart, number: u16) -> u64 {
    csr::read(h, csr::find(number).unwrap())
}

#[test]
fn fields_that_do_not_exist_read_as_zero() {
    // What QEMU 10.0.2 leaves of each (its hypervisor bits apart, which this model has not).
    let kept = [
        (0x2000_0000_0000_07ff, 0x2000_0000_0000_005f),
        (0x2000_0000_001f_0000, 0x2000_0000_0003_0000),
        (0x2000_0000_0060_0000, 0x2000_0000_0000_0000),
        (0x2000_0000_0021_0045, 0x2000_0000_0021_0045),
        (0x2000_0000_0022_0045, 0x2000_0000_0000_0045),
        (0x3fff_ffff_ffff_ffff, 0x3000_0000_00ff_fec0),
        (0x6000_0000_0007_0000, 0x6000_0000_0000_0000),
        (0x6000_0000_0005_0045, 0x6000_0000_0005_0045),
        (0x6000_0000_000a_0045, 0x6000_0000_0000_0045),
        (0x6fff_ffff_ffff_ffff, 0x6000_0000_0000_005f),
    ];
    for (written, read) in kept {
        assert_eq!(legal(written, false), Some(read), "{written:x}");
    }
    for none in [0, 1, 4, 5, 7, 8, 15] {
        assert_eq!(legal(none << 60 | 0x45, false), None);
    }
    let mut m = machine(&[]);
    set(&mut m.hart, 5, 2 << 60 | 0x41, 7);
    assert_eq!((get(&mut m.hart, 0x7a0), get(&mut m.hart, 0x7a1)), (0, 2 << 60 | 0x41));
    assert_eq!(get(&mut m.hart, 0x7a4), 0x44);
}

#[test]
fn address_triggers_look_at_bytes_size_kind_and_mode() {
    let mut m = machine(&[]);
    set(&mut m.hart, 1, 2 << 60 | 0x41, RAM + 12);
    let at = |h: &Hart, p, va, n, a| h.triggers.data(p, va, n, a).map(|t| (t.cause, t.value));
    let fires = Some((cause::BREAKPOINT, RAM + 12));
    assert_eq!(at(&m.hart, M, RAM + 8, 8, Access::Read), fires);
    assert_eq!(at(&m.hart, M, RAM + 8, 4, Access::Read), None);
    assert_eq!(at(&m.hart, M, RAM + 13, 1, Access::Read), None);
    assert_eq!(at(&m.hart, M, RAM + 12, 4, Access::Write), None);
    assert_eq!(at(&m.hart, S, RAM + 12, 4, Access::Read), None);
    // 4 bytes, stores, S and U.
    set(&mut m.hart, 1, 6 << 60 | 3 << 16 | 0x1a, RAM + 12);
    assert_eq!(at(&m.hart, U, RAM + 12, 4, Access::Write), fires);
    assert_eq!(at(&m.hart, S, RAM + 12, 8, Access::Write), None);
    assert!(m.hart.triggers.in_page(RAM + 0xfff) && !m.hart.triggers.in_page(RAM + 0x1000));
    set(&mut m.hart, 1, 2 << 60, RAM + 12);
    assert!(!m.hart.triggers.armed);
}

#[test]
fn an_execute_trigger_fires_before_its_instruction() {
    let mut m = machine(&[0x0010_0093, 0x0020_0113]);
    m.hart.put(slot::MTVEC, RAM + 0x100);
    set(&mut m.hart, 0, 2 << 60 | 0x44, RAM + 4);
    m.interpret();
    m.interpret();
    assert_eq!((m.hart.pc(), m.hart.x(1), m.hart.x(2)), (RAM + 0x100, 1, 0));
    assert_eq!(m.hart.get(slot::MCAUSE), cause::BREAKPOINT);
    assert_eq!((m.hart.get(slot::MEPC), m.hart.get(slot::MTVAL)), (RAM + 4, RAM + 4));
}

#[test]
fn icount_lets_that_many_instructions_happen() {
    for count in 1..5 {
        let mut m = machine(&[0x0010_8093; 8]);
        m.hart.put(slot::MTVEC, RAM + 0x100);
        set(&mut m.hart, 0, 3 << 60 | count << COUNT_SHIFT | 0x200, 0);
        for _ in 0..=count {
            m.interpret();
        }
        assert_eq!((m.hart.x(1), m.hart.get(slot::MEPC)), (count, RAM + 4 * count));
        assert_eq!(get(&mut m.hart, 0x7a1) & (COUNT_MASK | PENDING), 0);
        assert!(!m.hart.triggers.armed);
    }
}
