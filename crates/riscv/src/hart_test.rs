use crate::bus_test::{Machine, RAM};
use crate::mode::{M, S};
use crate::{config, slot};
use cpu::{Cpu, Guest};

fn machine(program: &[u32]) -> Machine {
    let mut m = Machine::new(config::rv64(), 1 << 16);
    m.program(program);
    m
}

#[test]
fn state_survives_saving() {
    let mut m = machine(&[0x0010_0093]);
    m.interpret();
    m.hart.put(slot::STVEC, 0x1234);
    let saved = m.hart.save();
    let bytes = state::to_bytes(&saved);
    let mut read = crate::HartState::default();
    state::from_bytes(&mut read, &bytes).unwrap();
    let mut other = machine(&[]);
    other.hart.restore(&read);
    assert_eq!(other.hart.x(1), 1);
    assert_eq!(other.hart.pc(), RAM + 4);
    assert_eq!(other.hart.get(slot::STVEC), 0x1234);
    assert_eq!(other.hart.privilege(), M);
}

#[test]
fn interrupts_are_taken_by_rank_and_delegation() {
    let mut m = machine(&[]);
    let h = &mut m.hart;
    h.put(slot::MTVEC, RAM + 0x100 + 1);
    h.put(slot::STVEC, RAM + 0x200 + 1);
    h.put(slot::MIE, 0xaaa);
    h.put(slot::MIDELEG, 0x222);
    h.handle().clone().set_line(9, true);
    h.handle().clone().set_line(7, true);
    // M with MIE clear takes nothing.
    assert!(!h.take_interrupt());
    // S takes the machine's first, whatever SIE says, then its own if SIE.
    h.set_privilege(S);
    h.refresh();
    assert!(h.take_interrupt());
    assert_eq!(h.pc(), RAM + 0x100 + 4 * 7);
    assert_eq!(h.get(slot::MCAUSE), 1 << 63 | 7);
    h.handle().clone().set_line(7, false);
    h.set_privilege(S);
    assert!(!h.take_interrupt());
    h.put(slot::MSTATUS, h.get(slot::MSTATUS) | crate::mstatus::SIE);
    assert!(h.take_interrupt());
    assert_eq!(h.pc(), RAM + 0x200 + 4 * 9);
    assert_eq!(h.privilege(), S);
}

#[test]
fn dump_begins_as_qemus() {
    let m = machine(&[]);
    let text = m.hart.dump(true);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], " pc       0000000080000000");
    assert_eq!(lines[1], " mhartid  0000000000000000");
    assert_eq!(lines[2], " mstatus  0000000a00000000");
    assert!(text.contains("\n x0/zero  0000000000000000 x1/ra    0000000000000000 x2/sp "));
    assert!(text.contains("\n f8/fs0   0000000000000000 f9/fs1   0000000000000000 f10/fa0  0000"));
}

#[test]
fn software_clears_what_a_line_latched() {
    // csrrc x0, sip, x1; csrrs x0, sip, x2
    let mut m = machine(&[0x1440_b073, 0x1441_2073]);
    m.hart.put(slot::MIDELEG, 0x222);
    m.hart.set_x(1, 1 << 1);
    m.hart.handle().clone().set_line(1, true);
    m.hart.handle().clone().set_line(9, true);
    assert_eq!(m.hart.mip(), 1 << 1 | 1 << 9);
    m.interpret();
    assert_eq!(m.hart.mip(), 1 << 9);
    // Setting nothing makes nothing of the line a bit that software has to clear.
    m.interpret();
    m.hart.handle().clone().set_line(9, false);
    assert_eq!(m.hart.mip(), 0);
}

#[test]
fn no_pc_is_odd() {
    let mut h = machine(&[]).hart;
    h.set_pc(0x8000_0001);
    assert_eq!(h.pc(), 0x8000_0000);
    h.set_reset_pc(0x1003);
    h.reset();
    assert_eq!(h.pc(), 0x1002);
}
