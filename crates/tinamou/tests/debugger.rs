//! The debugger's stub as a debugger meets it: steps through an exception, breakpoints, watched memory.

mod common;

use common::{PATIENCE, program, temporary, until};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;

/// Takes a trap and returns from it, stores a word, and runs in circles.
const PROGRAM: [u32; 11] = [
    0x0000_0297, // 00  auipc t0, 0
    0x01c2_8293, // 04  addi  t0, t0, 0x1c
    0x3052_9073, // 08  csrw  mtvec, t0
    0x0000_0073, // 0c  ecall
    0x0015_0513, // 10  addi  a0, a0, 1
    0x04a2_a023, // 14  sw    a0, 0x40(t0)
    0xff9f_f06f, // 18  j     0x10
    0x3410_2373, // 1c  csrr  t1, mepc
    0x0043_0313, // 20  addi  t1, t1, 4
    0x3413_1073, // 24  csrw  mepc, t1
    0x3020_0073, // 28  mret
];
const START: u64 = 0x8000_0000;

struct Debugger {
    child: Child,
    socket: PathBuf,
    stream: UnixStream,
}

fn connect(socket: &Path) -> UnixStream {
    let stream = until("the socket does not listen", || UnixStream::connect(socket).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

impl Debugger {
    fn start() -> Debugger {
        Debugger::start_with("")
    }
    /// The same with more options.
    fn start_with(options: &str) -> Debugger {
        let (kernel, socket) = (temporary("program.bin"), temporary("gdb"));
        std::fs::write(&kernel, PROGRAM.map(u32::to_le_bytes).concat()).unwrap();
        let mut command = program(&format!("-M virt -bios none -display none -S {options}"));
        command.arg("-kernel").arg(&kernel);
        command.arg("-gdb").arg(format!("unix:{},server=on,wait=off", socket.display()));
        let child = command.spawn().unwrap();
        let stream = connect(&socket);
        Debugger { child, socket, stream }
    }
    fn ask(&mut self, request: &str) -> String {
        common::ask_stub(&mut self.stream, request)
    }
    /// A register's value.
    fn register(&mut self, n: usize) -> u64 {
        u64::from_str_radix(&self.ask(&format!("p{n:x}")), 16).unwrap().swap_bytes()
    }
    /// Where the program is.
    fn at(&mut self) -> u64 {
        self.register(32).wrapping_sub(START)
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[test]
fn steps_lead_through_an_exception() {
    let mut d = Debugger::start();
    assert_eq!(d.ask(&format!("Z0,{START:x},4")), "OK");
    assert_eq!(d.ask("vCont;c"), "T05thread:01;");
    let mut path = vec![d.at()];
    for _ in 0..10 {
        assert_eq!(d.ask("vCont;s:1"), "T05thread:01;");
        path.push(d.at());
    }
    assert_eq!(path, [0, 4, 8, 0xc, 0x1c, 0x20, 0x24, 0x28, 0x10, 0x14, 0x18]);
    // mcause and mepc, by gdb's numbers for CSRs.
    assert_eq!((d.register(66 + 0x342), d.register(66 + 0x341)), (11, START + 0x10));
}

#[test]
fn of_two_that_stop_at_once_each_is_told_of() {
    let mut d = Debugger::start_with("-smp 2");
    assert_eq!(d.ask(&format!("Z0,{:x},4", START + 0x10)), "OK");
    let turns = |d: &mut Debugger, thread: usize| {
        assert_eq!(d.ask(&format!("Hg{thread}")), "OK");
        d.register(10)
    };
    let mut told = [0, 0];
    // A busy host may let one of them wait for a while.
    let begin = std::time::Instant::now();
    while told.iter().sum::<u64>() < 200 || told.contains(&0) && begin.elapsed().as_secs() < 20 {
        match d.ask("vCont;c").as_str() {
            "T05thread:01;" => told[0] += 1,
            "T05thread:02;" => told[1] += 1,
            other => panic!("{other}"),
        }
    }
    // Nobody goes past it who has not been told of: each has gone round as often, but for the last time.
    for n in 0..2 {
        // They begin with their own numbers in a0.
        let gone = turns(&mut d, n + 1) - n as u64;
        assert!(
            told[n] > 0 && (told[n] - 1..=told[n]).contains(&gone),
            "told {told:?}, hart {n} went round {gone} times"
        );
    }
}

#[test]
fn watched_memory_stops_the_machine_behind_the_access() {
    let mut d = Debugger::start();
    let word = START + 0x5c;
    assert_eq!(d.ask(&format!("Z2,{word:x},4")), "OK");
    for turn in 1..4u64 {
        assert_eq!(d.ask("vCont;c"), format!("T05thread:01;watch:{word:x};"));
        assert_eq!((d.at(), d.register(10)), (0x18, turn));
        assert_eq!(d.ask(&format!("m{word:x},1")), format!("{turn:02x}"));
    }
    // A step over the store tells of it, too; one elsewhere does not.
    for told in ["T05thread:01;", "T05thread:01;", &format!("T05thread:01;watch:{word:x};")] {
        assert_eq!(d.ask("vCont;s:1"), told);
    }
    // Nothing of it is left when it is taken away; a breakpoint stops in its place.
    assert_eq!(d.ask(&format!("z2,{word:x},4")), "OK");
    assert_eq!(d.ask(&format!("Z1,{:x},4", START + 0x14)), "OK");
    assert_eq!(d.ask("vCont;c"), "T05thread:01;");
    assert_eq!(d.at(), 0x14);
    // What is watched beside the word, in its page, is not met.
    assert_eq!(d.ask(&format!("Z4,{:x},8", word + 4)), "OK");
    assert_eq!(d.ask("vCont;c"), "T05thread:01;");
    assert_eq!(d.at(), 0x14);
}

#[test]
fn what_is_loaded_later_is_met() {
    let mut d = Debugger::start();
    assert_eq!(d.ask(&format!("Z0,{:x},4", START + 0x10)), "OK");
    assert_eq!(d.ask("vCont;c"), "T05thread:01;");
    // The program is replaced under the breakpoint: addi a0, a0, 2 instead of 1.
    assert_eq!(d.ask(&format!("M{:x},4:13052500", START + 0x10)), "OK");
    let before = d.register(10);
    for turn in 1..4 {
        assert_eq!(d.ask("vCont;c"), "T05thread:01;");
        assert_eq!((d.at(), d.register(10)), (0x10, before + 2 * turn));
    }
}

#[test]
fn a_debugger_comes_and_goes() {
    let mut d = Debugger::start();
    assert_eq!(d.ask(&format!("Z0,{:x},4", START + 0x10)), "OK");
    assert_eq!(d.ask("vCont;c"), "T05thread:01;");
    let before = d.register(10);
    // What it has set goes with it, and the machine runs on.
    assert_eq!(d.ask("D"), "OK");
    d.stream = connect(&d.socket);
    assert_eq!(d.ask("?"), "T05thread:01;");
    let then = d.register(10);
    assert!((0x10..0x1c).contains(&d.at()) && then >= before);
    // Physical memory, whatever the processor translates.
    assert_eq!(d.ask("Qqemu.PhyMemMode:1"), "OK");
    assert_eq!(d.ask(&format!("m{START:x},4")), "97020000");
    // It goes without a word: the next one finds the machine where it was left.
    d.stream = connect(&d.socket);
    assert_eq!((d.ask("?"), d.register(10)), ("T05thread:01;".to_owned(), then));
    // "VM status: paused" of the monitor's `info status`.
    assert!(d.ask("qRcmd,696e666f20737461747573").starts_with("O564d207374617475733a20706175736564"));
}

#[test]
fn breakpoints_are_met_behind_jumps_to_other_pages() {
    let mut d = Debugger::start();
    // j START+0x1010; there: addi a0, a0, 1 and j START+0x10. Without translation of addresses all pages lie in a row, and the
    // translations jump to each other directly.
    assert_eq!(d.ask(&format!("M{:x},4:6f00907f", START + 0x18)), "OK");
    assert_eq!(d.ask(&format!("M{:x},8:130515006fe0dfff", START + 0x1010)), "OK");
    for place in [0x1010, 0x10, 0x1014] {
        let first = d.register(10);
        assert_eq!(d.ask("D"), "OK");
        std::thread::sleep(std::time::Duration::from_millis(100));
        d.stream = connect(&d.socket);
        assert_eq!(d.ask("?"), "T05thread:01;");
        assert!(d.register(10) > first + 1000, "it has run");
        assert_eq!(d.ask(&format!("Z0,{:x},4", START + place)), "OK");
        for _ in 0..3 {
            assert_eq!(d.ask("vCont;c"), "T05thread:01;");
            assert_eq!(d.at(), place);
        }
        assert_eq!(d.ask(&format!("z0,{:x},4", START + place)), "OK");
    }
}
