//! Counted instructions: a program that is cut at random places, translated, is at each of them where the interpreter is
//! after as many instructions. `TINAMOU_SEED` repeats a run, `TINAMOU_ROUNDS` says how many programs there are.

mod common;

use common::{RAM, Random};
use cpu::{Accelerator, Counter, Cpu, Cpus, Exit, Guest};
use engine::{Options, Shared, Tcg};
use events::{EventLoop, Icount, IcountOptions};
use memory::Ram;
use riscv::{Hart, Platform};
use std::sync::Arc;

/// Where the handler of traps lies, and the data, behind the program.
const HANDLER: u64 = 0x2000;
const DATA: u64 = 0x4000;

struct Around(Arc<Icount>);
impl Platform for Around {
    fn time(&self) -> u64 {
        self.0.now_ns() / 100
    }
    fn instructions(&self) -> Option<u64> {
        Some(self.0.count())
    }
    fn arm_stimecmp(&self, _: u32, _: Option<u64>) {}
}

/// A register that the program computes with: s0 and s1 hold addresses, s2 a status; the handler has others.
fn register(r: &mut Random) -> u32 {
    10 + r.below(8)
}

/// One instruction somewhere before offset `left` from the program's end.
fn instruction(r: &mut Random, left: u32) -> u32 {
    let (rd, rs1, rs2) = (register(r) << 7, register(r) << 15, register(r) << 20);
    let forward = 4 * (1 + r.below(12)).min(left.max(1));
    match r.below(20) {
        0 => r.below(4096) << 20 | rs1 | rd | 0x13,
        1 => rs2 | rs1 | rd | 0x33,
        2 => rs2 | rs1 | 4 << 12 | rd | 0x33,
        3 => 1 << 25 | rs2 | rs1 | rd | 0x33,
        // ld and sd through s0; lbu of a page boundary.
        4 | 5 => (8 * r.below(32)) << 20 | 8 << 15 | 3 << 12 | rd | 0x03,
        6 | 7 => rs2 | 8 << 15 | 3 << 12 | r.below(16) << 7 | 0x23,
        8 => 0xffc << 20 | 8 << 15 | 3 << 12 | rd | 0x03,
        // beq, bne, jal forward.
        9 | 10 => {
            let imm = forward;
            let bits = (imm >> 1 & 15) << 8 | (imm >> 5 & 63) << 25 | (imm >> 11 & 1) << 7;
            bits | rs2 | rs1 | r.below(2) << 12 | 0x63
        }
        11 => (forward >> 1 & 0x3ff) << 21 | (forward >> 11 & 1) << 20 | 0x6f,
        // instret, cycle, time.
        12 | 13 => (0xc00 + r.below(3)) << 20 | 2 << 12 | rd | 0x73,
        // csrrw mscratch; csrrs mie (nothing is pending).
        14 => 0x340 << 20 | rs1 | 1 << 12 | rd | 0x73,
        // ecall, an illegal instruction, a load from nowhere, a jump into nowhere (s1).
        15 => [0x73, 0, 9 << 15 | 3 << 12 | rd | 0x03, 9 << 15 | 1 << 7 | 0x67][r.below(4) as usize],
        // amoadd.d
        16 => rs2 | 8 << 15 | 3 << 12 | rd | 0x2f,
        17 => 0x0000_100f,
        // The float unit becomes clean (csrw mstatus, s2), and is used: fadd.d.
        18 => 0x300 << 20 | 18 << 15 | 1 << 12 | 0x73,
        _ => 1 << 25 | 11 << 20 | 10 << 15 | 10 << 7 | 0x53,
    }
}

/// A program that runs in circles.
fn program(r: &mut Random) -> Vec<u32> {
    let count = 40 + r.below(200);
    let mut code: Vec<u32> = (0..count).map(|n| instruction(r, count - n)).collect();
    let back = (-4 * code.len() as i32) as u32;
    let jal =
        (back >> 20 & 1) << 31 | (back >> 1 & 0x3ff) << 21 | (back >> 11 & 1) << 20 | back & 0xff000 | 0x6f;
    code.push(jal);
    code
}

struct Machine {
    hart: Hart,
    tcg: Tcg<Hart>,
    counter: Arc<Counter>,
    ram: Arc<Ram>,
}

impl Machine {
    fn new(code: &[u32], options: Options) -> Machine {
        let (ram, space) = common::memory();
        common::write_words(&ram, 0, code);
        // Goes on behind the instruction that has trapped; after a jump into nowhere, behind that.
        let handler = [
            0x3410_2ff3, // csrr t6, mepc
            0x3420_2f73, // csrr t5, mcause
            0x0010_0293, // li t0, 1
            0x005f_1463, // bne t5, t0, +8
            0xffc0_8f93, // addi t6, ra, -4
            0x004f_8f93, // addi t6, t6, 4
            0x341f_9073, // csrw mepc, t6
            0x3020_0073, // mret
        ];
        common::write_words(&ram, HANDLER, &handler);
        let (events, _) = EventLoop::new().unwrap();
        let icount = Arc::new(Icount::new(IcountOptions::default()));
        events.clocks().count_instructions(icount.clone());
        let (cpus, counter) = (Cpus::new(), Counter::new(&events, icount.clone()));
        cpus.count(counter.clone());
        let shared = Shared::new::<Hart>(space, cpus.clone(), options).unwrap();
        let mut hart = Hart::new(0, riscv::config::rv64(), Arc::new(Around(icount)));
        hart.set_reset_pc(RAM);
        hart.set_x(8, RAM + DATA);
        hart.set_x(9, 0x1000);
        hart.set_x(18, 0x1800 | 2 << 13);
        assert!(hart.write_register(66 + 0x305, RAM + HANDLER));
        cpus.add(hart.handle().clone());
        let tcg = Tcg::<Hart>::new(shared, hart.config().clone());
        Machine { hart, tcg, counter, ram }
    }
    /// Runs exactly `count` instructions and tells where that has led.
    fn run(&mut self, count: u64) -> String {
        let before = self.counter.icount().count();
        let frame = self.hart.frame().clone();
        self.counter.grant(&frame, count);
        assert_eq!(self.tcg.run(&mut self.hart), Exit::Spent);
        self.counter.exact(frame.budget.load(std::sync::atomic::Ordering::Relaxed));
        assert_eq!(self.counter.icount().count(), before + count);
        format!("{}\ndata {:x}", self.hart.dump(true), common::sum(&self.ram, DATA, 0x1000))
    }
}

#[test]
fn cut_anywhere_it_is_where_the_interpreter_is() {
    let seed = common::seed();
    for round in 0..common::number("TINAMOU_ROUNDS").unwrap_or(60) {
        let r = &mut Random::new(seed, round);
        let code = program(r);
        let small = Options { block_limit: 1 + r.below(9), warmup: 0, ..Options::default() };
        let mut ways = [
            Machine::new(&code, Options { interpret: true, ..Options::default() }),
            Machine::new(&code, Options::default()),
            Machine::new(&code, small),
        ];
        for _ in 0..12 {
            let count = match r.below(3) {
                0 => 1 + r.below(5),
                1 => 1 + r.below(100),
                _ => 1 + r.below(3000),
            };
            let [interpreted, translated, cut] = &mut ways;
            let is = interpreted.run(count.into());
            assert_eq!(translated.run(count.into()), is, "round {round}");
            // The same in pieces.
            let mut left = count;
            while left > 0 {
                let piece = 1 + r.below(left.into());
                left -= piece;
                let at = cut.run(piece.into());
                assert!(left > 0 || at == is, "round {round}, in pieces:\n{at}\nis not\n{is}");
            }
        }
    }
}
