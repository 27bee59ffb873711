//! The CSRs against an interrupt file that only remembers.

use super::*;
use crate::csr::{self, Change};
use crate::hart::Platform;
use std::sync::{Arc, Mutex};

/// A register, the interrupts claimed, and whether there is none on top.
#[derive(Default)]
struct File(Mutex<(u64, Vec<u32>, bool)>);

impl InterruptFile for File {
    fn read(&self, select: u64, _: u32) -> Option<u64> {
        (select == 0x70).then(|| self.0.lock().unwrap().0)
    }
    fn write(&self, _: u64, _: u32, set: u64, clear: u64) {
        let mut kept = self.0.lock().unwrap();
        kept.0 = kept.0 & !clear | set;
    }
    fn top(&self) -> u64 {
        if self.0.lock().unwrap().2 { 0 } else { 7 << 16 | 7 }
    }
    fn claim(&self, id: u32) {
        self.0.lock().unwrap().1.push(id);
    }
}

#[derive(Default)]
struct Machine {
    file: Option<File>,
}

impl Platform for Machine {
    fn time(&self) -> u64 {
        0
    }
    fn arm_stimecmp(&self, _: u32, _: Option<u64>) {}
    fn interrupt_file(&self, _: u32, _: bool) -> Option<&dyn InterruptFile> {
        self.file.as_ref().map(|file| file as &dyn InterruptFile)
    }
}

fn hart(file: Option<File>) -> (Hart, Arc<Machine>) {
    let machine = Arc::new(Machine { file });
    let config = crate::config::rv64().with(crate::Extensions::of(&[E::Smaia, E::Ssaia]));
    (Hart::new(0, config, machine.clone()), machine)
}

/// An access as the instructions make it: both reads and writes.
fn access(hart: &mut Hart, number: u64, change: Change, operand: u64) -> Option<u64> {
    csr::run(hart, number | (change as u64) << 12 | 1 << 14 | 1 << 15, operand)
}

#[test]
fn registers_are_reached_through_the_window() {
    let (mut hart, machine) = hart(Some(File::default()));
    assert_eq!(access(&mut hart, 0x350, Change::Write, 0x70), Some(0));
    assert_eq!(access(&mut hart, 0x351, Change::Set, 5), Some(0));
    assert_eq!(access(&mut hart, 0x351, Change::Clear, 1), Some(5));
    assert_eq!(access(&mut hart, 0x351, Change::Write, 8), Some(4));
    assert_eq!(machine.file.as_ref().unwrap().0.lock().unwrap().0, 8);
    // Priorities are there, and fixed; other numbers are not.
    access(&mut hart, 0x350, Change::Write, 0x32);
    assert_eq!(access(&mut hart, 0x351, Change::Write, 8), Some(0));
    for absent in [0x33, 0x71, 0x1ff] {
        access(&mut hart, 0x350, Change::Write, absent);
        assert_eq!(access(&mut hart, 0x351, Change::Write, 8), None);
    }
    assert_eq!(access(&mut hart, 0x15c, Change::Write, 0), Some(7 << 16 | 7));
    assert_eq!(machine.file.as_ref().unwrap().0.lock().unwrap().1, [7]);
    // A write claims what the same instruction has read: nothing, if there was nothing, whatever has come since.
    machine.file.as_ref().unwrap().0.lock().unwrap().2 = true;
    assert_eq!(access(&mut hart, 0x15c, Change::Write, 0), Some(0));
    assert_eq!(machine.file.as_ref().unwrap().0.lock().unwrap().1, [7]);
}

#[test]
fn without_a_file_there_is_nothing_to_reach() {
    let (mut hart, _) = hart(None);
    access(&mut hart, 0x150, Change::Write, 0x70);
    assert_eq!(access(&mut hart, 0x151, Change::Write, 0), None);
    assert_eq!(access(&mut hart, 0x15c, Change::Write, 0), None);
}

#[test]
fn the_first_pending_interrupt_is_on_top() {
    let (mut hart, _) = hart(None);
    hart.put(slot::MIDELEG, 0x222);
    hart.put(slot::MIE, 0x2a2);
    hart.put(slot::MIP, 0x222);
    assert_eq!((hart.topi(Level::Machine), hart.topi(Level::Supervisor)), (0, 9 << 16 | 1));
    hart.handle.set_line(7, true);
    assert_eq!(hart.topi(Level::Machine), 7 << 16 | 1);
    assert_eq!(access(&mut hart, 0x309, Change::Clear, 0x200), Some(0x202));
    assert_eq!(hart.topi(Level::Supervisor), 1 << 16 | 1);
}
