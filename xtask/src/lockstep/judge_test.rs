//! Which differences time explains.

use super::*;
use std::sync::Arc;

const RDTIME_A0: u32 = 0xc010_2573;
const ADDI_A1_A0_1: u32 = 0x0015_0593;
const ADDI_A2_ZERO_1: u32 = 0x0010_0613;
const BNEZ_A0: u32 = 0x0005_1463;

/// A record at `pc` whose x registers are 0 but for the given ones.
fn record(pc: u64, instruction: u32, set: &[(usize, u64)]) -> Record {
    let mut names: Vec<String> = (0..32).map(|n| format!("x{n}/r")).collect();
    names.extend(["mip".to_owned(), "scause".into(), "sepc".into(), "stvec".into()]);
    let mut values = vec![0; names.len()];
    for &(at, value) in set {
        values[at] = value;
    }
    Record { pc, instruction: Some(instruction), names: Arc::new(names), values }
}

fn judge() -> Judge {
    let names = record(0, 0, &[]).names;
    Judge::new(&names, &names).expect("a judge")
}

#[test]
fn a_time_read_and_what_is_computed_from_it_may_differ() {
    let mut judge = judge();
    let read = record(0, RDTIME_A0, &[]);
    let (a, b) = (record(4, ADDI_A1_A0_1, &[(10, 5)]), record(4, ADDI_A1_A0_1, &[(10, 9)]));
    assert_eq!(judge.step(Some(&read), &a, &b), Verdict::Tolerated);
    let (c, d) = (record(8, 0x13, &[(10, 5), (11, 6)]), record(8, 0x13, &[(10, 9), (11, 10)]));
    assert_eq!(judge.step(Some(&b), &c, &d), Verdict::Tolerated);
    let (e, f) = (record(12, BNEZ_A0, &[(10, 5)]), record(12, BNEZ_A0, &[(10, 9)]));
    assert_eq!(judge.step(Some(&d), &e, &f), Verdict::Tolerated, "a1 is equal again, a0 still follows");
    assert!(matches!(judge.step(Some(&f), &record(16, 0, &[]), &record(20, 0, &[])), Verdict::MayPart(_)));
}

#[test]
fn any_other_difference_is_a_divergence() {
    let mut judge = judge();
    let before = record(0, ADDI_A2_ZERO_1, &[]);
    let verdict = judge.step(Some(&before), &record(4, 0x13, &[(12, 1)]), &record(4, 0x13, &[(12, 2)]));
    assert_eq!(verdict, Verdict::Diverged("x12/r differs".into()));
    let verdict = judge.step(Some(&before), &record(4, 0x13, &[]), &record(8, 0x13, &[]));
    assert_eq!(verdict, Verdict::Diverged("the program counters differ".into()));
}

#[test]
fn an_interrupt_on_one_side_lets_the_streams_part() {
    let mut judge = judge();
    let before = record(0x100, ADDI_A2_ZERO_1, &[(35, 0x8000)]);
    let stays = record(0x104, 0x13, &[(12, 1), (35, 0x8000)]);
    let taken = record(0x8000, 0x13, &[(12, 1), (33, 1 << 63 | 5), (34, 0x104), (35, 0x8000)]);
    assert_eq!(judge.step(Some(&before), &taken, &stays), Verdict::MayPart("an interrupt in tinamou".into()));
}

#[test]
fn pending_timer_bits_are_not_compared_and_software_bits_are() {
    let mut judge = judge();
    let before = record(0, ADDI_A2_ZERO_1, &[]);
    assert_eq!(
        judge.step(Some(&before), &record(4, 0x13, &[(32, 0x80)]), &record(4, 0x13, &[])),
        Verdict::Equal
    );
    let verdict = judge.step(Some(&before), &record(4, 0x13, &[(32, 2)]), &record(4, 0x13, &[]));
    assert_eq!(verdict, Verdict::Diverged("mip differs".into()));
}

#[test]
fn a_record_that_is_logged_twice_repeats_but_for_what_is_pending() {
    let before = record(0, ADDI_A2_ZERO_1, &[(12, 7)]);
    assert!(repeats(&before, &record(0, ADDI_A2_ZERO_1, &[(12, 7), (32, 0x80)])));
    assert!(!repeats(&before, &record(0, ADDI_A2_ZERO_1, &[(12, 8)])));
    assert!(!repeats(&before, &record(4, ADDI_A2_ZERO_1, &[(12, 7)])));
}
