//! What becomes a block, where the guest's way through its code has something to say.

use cpu::{Accelerator, Cpus, Exit, Guest};
use engine::{Options, Shared, Tcg};
use memory::{AddressSpace, Ram, Region};
use riscv::{Hart, Platform};
use std::sync::Arc;

/// Where the memory lies.
const RAM: u64 = 0x8000_0000;

struct Still;
impl Platform for Still {
    fn time(&self) -> u64 {
        0
    }
    fn arm_stimecmp(&self, _: u32, _: Option<u64>) {}
}

/// Runs a program to its `wfi`, with a counter of turns in x31; how many instructions have been translated.
fn translated(program: &[u32], turns: u64) -> u64 {
    let ram = Ram::anonymous(1 << 16).unwrap();
    ram.write(0, &program.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>());
    let root = Region::container("system", memory::WHOLE);
    root.add_subregion(RAM, &Region::ram("ram", ram.clone()));
    let space = AddressSpace::new("memory", &root);
    let cpus = Cpus::new();
    let options = Options { regions: false, ..Options::default() };
    let shared = Shared::new::<Hart>(space, cpus.clone(), options).unwrap();
    let mut hart = Hart::new(0, riscv::parse_cpu("max").unwrap(), Arc::new(Still));
    hart.set_reset_pc(RAM);
    hart.set_x(31, turns);
    hart.set_x(5, 1);
    cpus.add(hart.handle().clone());
    let mut tcg = Tcg::<Hart>::new(shared.clone(), hart.config().clone());
    while tcg.run(&mut hart) != Exit::Halted {}
    assert_eq!(hart.x(31), 0);
    assert_eq!(hart.x(6), 2 * 8 * turns);
    shared.cache().counts.guest_insns
}

/// Two calls in a loop: of a function, and of a branch, not taken, that stands before it.
#[test]
fn a_block_ends_where_the_code_behind_a_branch_has_its_own_translation() {
    const COUNT: u32 = 0x0013_0313; // addi x6, x6, 1
    let mut program = vec![0x0180_00ef, 0x0100_00ef]; // jal ra, +24; jal ra, +16
    program.extend([0xffff_8f93, 0xfe0f_9ae3, 0x1050_0073]); // addi x31, x31, -1; bnez x31, -12; wfi
    program.push(0x0250_0463); // beq x0, x5, +40
    program.extend([COUNT; 8]);
    program.extend([0x0000_8067, 0x1050_0073]); // ret; wfi
    // The function, two calls, the end of the turn, and of what is called second only the branch.
    assert_eq!(translated(&program, 10), 9 + 2 + 2 + 1);
}
