use super::build;
use crate::config::rv64;
use cpu::{Built, Fetch};
use ir::{Builder, Op};

const NOP: u32 = 0x13;

fn page(at: usize, words: &[u32]) -> Vec<u8> {
    let mut p = NOP.to_le_bytes().repeat(1024);
    for (n, w) in words.iter().enumerate() {
        for (k, b) in w.to_le_bytes().iter().enumerate() {
            if let Some(to) = p.get_mut(at + 4 * n + k) {
                *to = *b;
            }
        }
    }
    p
}

fn run(page: &[u8], offset: u16, next: Option<[u8; 16]>) -> (Built, Vec<(Op, u64)>) {
    let b = Builder::new();
    let fetch = Fetch { offset, page, next, limit: 64, goes_on: &|_| false, path: &[], skips: &[] };
    let built = build(3, &rv64(), &fetch, &b);
    let ops = b.block().insts.iter().map(|i| (i.op, i.imm)).collect();
    (built, ops)
}

#[test]
fn a_block_ends_with_the_page() {
    let (built, ops) = run(&page(0, &[]), 4088, None);
    assert_eq!(built, Built { insns: 2, from: 4088, bytes: 8, length: 8 });
    assert_eq!(ops.last(), Some(&(Op::Goto, 4096)));
}

#[test]
fn an_instruction_across_pages_is_a_block_of_its_own() {
    let p = page(4094, &[NOP]);
    assert_eq!(run(&p, 4094, None).0.insns, 0);
    let mut next = [0; 16];
    next[..2].copy_from_slice(&NOP.to_le_bytes()[2..]);
    let (built, ops) = run(&p, 4094, Some(next));
    assert_eq!(built, Built { insns: 1, from: 4094, bytes: 4, length: 4 });
    assert_eq!(ops.last(), Some(&(Op::Goto, 4098)));
    // A block before it stops short of it, and goes there by address.
    let mut p = p;
    p[4092..4094].copy_from_slice(&[1, 0]);
    let (built, ops) = run(&p, 4088, None);
    assert_eq!(built.insns, 2);
    assert_eq!(ops.last().map(|o| o.0), Some(Op::Jump));
}

#[test]
fn branches_to_an_instruction_across_pages_go_by_address() {
    // At 4084: beq x1, x2, +10, to 4094.
    let beq = 0x0020_8563;
    let mut p = page(4084, &[beq]);
    p[4094] = 0x13;
    let (built, ops) = run(&p, 4084, None);
    assert_eq!(built.bytes, 12, "the last half-word was looked at");
    assert!(ops.contains(&(Op::ExitIf, 4088)));
    assert_eq!(ops.last().map(|o| o.0), Some(Op::Jump));
    // A compressed instruction there is reached directly.
    p[4094] = 0x01;
    let (_, ops) = run(&p, 4084, None);
    assert!(ops.contains(&(Op::ExitIf, 4094)));
}

#[test]
fn a_block_goes_on_behind_branches_that_lead_forward() {
    // beq x1, x2, +16; +16; -4; nop; jal x0, 0.
    let p = page(0, &[0x0020_8863, 0x0020_8863, 0xfe20_8ee3, NOP, 0x0000_006f]);
    let built = |goes_on: &dyn Fn(u16) -> bool| {
        let b = Builder::new();
        let fetch = Fetch { offset: 0, page: &p, next: None, limit: 64, goes_on, path: &[], skips: &[] };
        let built = build(3, &rv64(), &fetch, &b);
        let exits = b.block().insts.iter().filter(|i| i.op == Op::ExitIf).map(|i| i.imm).collect::<Vec<_>>();
        (built.insns, exits)
    };
    assert_eq!(built(&|_| false), (1, vec![16]));
    assert_eq!(built(&|offset| offset == 4), (2, vec![16, 20]));
    assert_eq!(built(&|_| true), (3, vec![16, 20, 4]), "a branch that leads back ends it");
}

#[test]
fn a_block_goes_on_where_branches_and_jumps_lead_if_that_is_wanted() {
    // 0: beq x1, x2, +12; two that are gone past; 12: jal x0, +8; one more; 20: jal x1, +8.
    let p = page(0, &[0x0020_8663, NOP, NOP, 0x0080_006f, NOP, 0x0080_00ef, NOP, NOP]);
    let built = |limit: u32, goes_on: &dyn Fn(u16) -> bool| {
        let b = Builder::new();
        let fetch = Fetch { offset: 0, page: &p, next: None, limit, goes_on, path: &[], skips: &[] };
        let built = build(3, &rv64(), &fetch, &b);
        let ops: Vec<_> = b.block().insts.iter().map(|i| (i.op, i.imm)).collect();
        (built, ops)
    };
    let (all, ops) = built(64, &|offset| offset != 4);
    assert_eq!(all, Built { insns: 3, from: 0, bytes: 24, length: 12 });
    assert!(ops.contains(&(Op::ExitIf, 4)), "it is left where the branch is not taken");
    assert_eq!(ops.last(), Some(&(Op::Goto, 28)), "a call ends it");
    // The way past a branch comes first; a jump that is not wanted ends it.
    assert_eq!(built(64, &|offset| offset < 16).0, Built { insns: 4, from: 0, bytes: 16, length: 16 });
    // No byte is looked at that so many instructions in a row could not have.
    let (few, ops) = built(3, &|offset| offset != 4);
    assert_eq!((few, ops.last()), (Built { insns: 1, from: 0, bytes: 4, length: 4 }, Some(&(Op::Goto, 4))));
    assert_eq!(built(5, &|offset| offset != 4).0.insns, 2);
    // 12 is gone to by the branch, 20 no more: the block ends where five instructions in a row would.
    let p = page(0, &[0x0020_8663, NOP, NOP, NOP, NOP, NOP, NOP, NOP]);
    let (b, goes_on) = (Builder::new(), |offset| offset != 4);
    let fetch = Fetch { offset: 0, page: &p, next: None, limit: 5, goes_on: &goes_on, path: &[], skips: &[] };
    assert_eq!(build(3, &rv64(), &fetch, &b), Built { insns: 3, from: 0, bytes: 20, length: 12 });
}

#[test]
fn blocks_have_one_terminal_at_their_end() {
    for word in [0x0000_0073, 0x3020_0073, 0x1234_5678, 0x0000_006f, 0xffff_ffff, 0x1050_0073, 0x1401_1073] {
        let (_, ops) = run(&page(0, &[word]), 0, None);
        let terminals = ops.iter().filter(|o| o.0.is_terminal()).count();
        assert_eq!(terminals, 1, "{word:x}");
        assert!(ops.last().is_some_and(|o| o.0.is_terminal()), "{word:x}");
    }
}

#[test]
fn a_path_is_followed_through_branches_and_calls() {
    let ops = |words: &[u32], path: &[u16]| {
        let b = Builder::new();
        let p = page(0, words);
        let built = build(
            3,
            &rv64(),
            &Fetch { offset: 0, page: &p, next: None, limit: 64, goes_on: &|_| false, path, skips: &[] },
            &b,
        );
        let ops: Vec<_> = b.block().insts.iter().map(|i| (i.op, i.imm)).collect();
        (built, ops)
    };
    // beq x1, x2, +16, taken; there jal ra, -8, and from 8 back by ret: twice round.
    let words = [0x0020_8863, NOP, 0x0000_8067, NOP, 0xff9f_f0ef, 0xfedf_f06f];
    let (built, all) = ops(&words, &[0, 16, 8, 20, 0]);
    assert_eq!(built, Built { insns: 4, from: 0, bytes: 24, length: 16 });
    assert!(all.contains(&(Op::ExitIf, 4)), "it is left where the branch is not taken");
    assert!(!all.iter().any(|(op, _)| *op == Op::Jump), "the call and its return are in the block");
    assert!(all.contains(&(Op::WillReturn, 20)), "which may be left between them");
    assert_eq!(all.last(), Some(&(Op::Goto, 0)));
    // The other way; and one that the code does not take ends the block.
    let (built, all) = ops(&words, &[0, 4, 8]);
    assert_eq!(built.insns, 2);
    assert!(all.contains(&(Op::ExitIf, 16)));
    assert_eq!(ops(&words, &[0, 12, 16]).0.insns, 1);
}

#[test]
fn a_path_goes_on_in_the_next_page_if_that_is_where_it_was() {
    let built = |at: usize, path: &[u16]| {
        let b = Builder::new();
        let mut pages = page(0, &[]);
        pages.extend(page(0, &[]));
        // addi x5, x5, 1 twice, jal x0, -8
        for (n, word) in [0x0012_8293u32, 0x0012_8293, 0xff9f_f06f].iter().enumerate() {
            pages[at + 4 * n..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let fetch = Fetch {
            offset: path[0],
            page: &pages,
            next: None,
            limit: 64,
            goes_on: &|_| false,
            path,
            skips: &[],
        };
        let built = build(3, &rv64(), &fetch, &b);
        let ops: Vec<_> = b.block().insts.iter().map(|i| (i.op, i.imm)).collect();
        (built, ops)
    };
    let expected =
        |ops: &[(Op, u64)]| ops.iter().filter(|(op, _)| *op == Op::Expect).map(|o| o.1).collect::<Vec<_>>();
    // Twice round; it asks once, before what has bytes in the second page, be it the upper half of an instruction.
    for (at, asks) in [(4092, 4096), (4090, 4094)] {
        let turn = [at as u16, at as u16 + 4, at as u16 + 8];
        let path = [&turn[..], &turn[..], &turn[..1]].concat();
        let (whole, ops) = built(at, &path);
        assert_eq!(whole, Built { insns: 6, from: at as u16, bytes: 12, length: 24 });
        assert_eq!((expected(&ops), ops.last()), (vec![asks], Some(&(Op::Goto, at as u64))));
    }
    // Nothing is to ask for the page that the first instruction lies in.
    assert_eq!(built(4094, &[4094, 4098, 4102, 4094]).0.insns, 0);
    assert!(expected(&built(100, &[100, 104, 108, 100]).1).is_empty());
}

#[test]
fn what_a_branch_may_lead_past_becomes_a_choice() {
    let built = |skipped: u32, limit: u32| {
        let b = Builder::new();
        // beq x1, x2, +8; what is skipped; addi x6, x6, 1; nop
        let p = page(0, &[0x0020_8463, skipped, 0x0013_0313, NOP]);
        let (path, skips): (&[u16], &[u16]) = (&[0, 8, 12, 16], &[0]);
        let fetch = Fetch { offset: 0, page: &p, next: None, limit, goes_on: &|_| false, path, skips };
        let built = build(3, &rv64(), &fetch, &b);
        let ops: Vec<_> = b.block().insts.iter().map(|i| (i.op, i.imm)).collect();
        (built, ops)
    };
    // addi x5, x5, 1
    let (all, ops) = built(0x0012_8293, 64);
    assert_eq!(all, Built { insns: 3, from: 0, bytes: 16, length: 16 });
    assert!(!ops.iter().any(|(op, _)| *op == Op::ExitIf));
    let choice = ops.iter().position(|(op, _)| *op == Op::Select);
    assert_eq!(choice.map(|n| ops[n + 1]), Some((Op::Set, 5)));
    assert_eq!(ops.last(), Some(&(Op::Goto, 16)));
    // The limit counts what is on the path.
    let (all, ops) = built(0x0012_8293, 1);
    assert_eq!((all.insns, ops.last()), (1, Some(&(Op::Goto, 8))));
    assert!(ops.contains(&(Op::Set, 5)));
    // A load, a division and a jump are more than a choice.
    for word in [0x0001_3283, 0x0262_c2b3, 0x0040_006f] {
        assert_eq!(built(word, 64).0.insns, 0, "{word:x}");
    }
}

#[test]
fn flags_are_read_as_functions_have_left_them() {
    // fsflags zero; fcvt.wu.s a0, fa0 (by a function, which accrues flags); frflags a1
    let p = page(0, &[0x0010_1073, 0xc015_7553, 0x0010_25f3]);
    let b = Builder::new();
    let fetch =
        Fetch { offset: 0, page: &p, next: None, limit: 3, goes_on: &|_| false, path: &[], skips: &[] };
    // Supervisor with dirty floats, to nearest: a mode in which the three are in one block.
    let mode = (0..128).find(|&mode| {
        let b = Builder::new();
        build(mode, &rv64(), &fetch, &b).insns == 3
    });
    build(mode.unwrap(), &rv64(), &fetch, &b);
    let ops: Vec<Op> = b.block().insts.iter().map(|i| i.op).collect();
    let call = ops.iter().position(|&op| op == Op::Call).unwrap();
    assert!(ops[call..].contains(&Op::GetNow), "{ops:?}");
}
