use super::Pmp;
use crate::mode::{M, S};
use crate::slot;
use cpu::{Access, Frame};

/// Entries as (configuration, address register).
fn pmp(entries: &[(u8, u64)]) -> Pmp {
    let frame = Frame::default();
    for (n, (config, address)) in entries.iter().enumerate() {
        frame.set(slot::PMPADDR0 + n as u16, *address);
        frame.set(slot::PMPCFG0, frame.get(slot::PMPCFG0) | (*config as u64) << (8 * n));
    }
    Pmp::fold(&frame)
}

#[test]
fn without_entries_only_m_may_do_something() {
    let p = pmp(&[]);
    assert!(p.permission(0x8000_0000, M, 12).allows(Access::Write));
    assert!(!p.permission(0x8000_0000, S, 12).allows(Access::Read));
}

#[test]
fn the_first_match_decides() {
    // NAPOT 256 KiB at 0x80000000: nothing; NAPOT everything: all.
    let p = pmp(&[(0x18, 0x2000_7fff), (0x1f, u64::MAX >> 10)]);
    assert!(!p.permission(0x8000_0000, S, 12).allows(Access::Read));
    assert!(!p.permission(0x8003_fff8, S, 12).allows(Access::Read));
    let free = p.permission(0x8004_0000, S, 30);
    assert!(free.allows(Access::Execute));
    assert_eq!(free.size_log2, 18);
    assert_eq!(p.permission(0x9000_0000, S, 30).size_log2, 28);
    // M is not bound by what is not locked.
    assert!(p.permission(0x8000_0000, M, 12).allows(Access::Write));
}

#[test]
fn ranges_and_single_words() {
    // TOR 0x80000000..0x80001000 read-only, NA4 at 0x80001800 locked without rights, TOR to the end.
    let p = pmp(&[(0x00, 0x2000_0000), (0x09, 0x2000_0400), (0x90, 0x2000_0600), (0x0f, u64::MAX >> 10)]);
    assert!(p.permission(0x8000_0ffc, S, 12).allows(Access::Read));
    assert!(!p.permission(0x8000_0ffc, S, 12).allows(Access::Write));
    assert!(!p.permission(0x8000_1800, M, 12).allows(Access::Read));
    let near = p.permission(0x8000_1804, S, 12);
    assert!(near.allows(Access::Write));
    assert_eq!(near.size_log2, 2);
    assert_eq!(p.permission(0x8000_1000, S, 12).size_log2, 11);
}
